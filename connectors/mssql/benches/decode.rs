//! Answers of SQL Server, made here, from memory into Arrow; beside tiberius, whose rows are taken apart into vectors as
//! ConnectorX does. Neither reads from a network. `cargo bench -p transload-mssql --features fuzzing`.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a benchmark; a panic ends it")]

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::TryStreamExt as _;
use futures::io::{AsyncRead, AsyncWrite};
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, QueryItem};
use transload_mssql::fuzzing::decode_answer;

const ROWS: u64 = 100_000;
const PACKET: usize = 16_383;

/// A number without pattern.
fn mixed(row: u64) -> u64 {
    (row ^ (row >> 7)).wrapping_mul(0x5851_f42d_4c95_7f2d).rotate_left(23) & 0x7fff_ffff
}

/// A type as results describe it.
#[derive(Clone, Copy)]
enum Type {
    Int,
    BigInt,
    Decimal,
    Money,
    Float,
    Bit,
    Date,
    DateTime2,
    Guid,
    Char,
    NVarChar,
    NVarCharMax,
}

impl Type {
    fn describe(self, to: &mut Vec<u8>) {
        let collation = [9, 4, 0xd0, 0, 52];
        match self {
            Self::Int => to.extend([0x26, 4]),
            Self::BigInt => to.extend([0x26, 8]),
            Self::Decimal => to.extend([0x6a, 9, 15, 2]),
            Self::Money => to.extend([0x6e, 8]),
            Self::Float => to.extend([0x6d, 8]),
            Self::Bit => to.extend([0x68, 1]),
            Self::Date => to.extend([0x28]),
            Self::DateTime2 => to.extend([0x2a, 7]),
            Self::Guid => to.extend([0x24, 16]),
            Self::Char => to.extend([&[0xa7, 100, 0][..], &collation].concat()),
            Self::NVarChar => to.extend([&[0xe7, 200, 0][..], &collation].concat()),
            Self::NVarCharMax => to.extend([&[0xe7, 0xff, 0xff][..], &collation].concat()),
        }
    }

    fn put(self, to: &mut Vec<u8>, value: u64) {
        const WORDS: [&str; 8] =
            ["carefully", "final", "deposits", "sleep", "quickly", "ironic", "packages", "about"];
        let word = |n: u64| WORDS[(mixed(value * 5 + n) % 8) as usize];
        let text = (0..1 + value % 4).map(word).collect::<Vec<_>>().join(" ");
        match self {
            Self::Int => to.extend([&[4][..], &(value as u32).to_le_bytes()].concat()),
            Self::BigInt => to.extend([&[8][..], &value.to_le_bytes()].concat()),
            Self::Decimal => to.extend([&[9, 1][..], &(value % 10_000_000).to_le_bytes()].concat()),
            Self::Money => to.extend([&[8, 0, 0, 0, 0][..], &(value as u32).to_le_bytes()].concat()),
            Self::Float => to.extend([&[8][..], &(value as f64 / 7.0).to_le_bytes()].concat()),
            Self::Bit => to.extend([1, (value & 1) as u8]),
            Self::Date => to.extend([&[3][..], &(727_000 + value % 2500).to_le_bytes()[..3]].concat()),
            Self::DateTime2 => {
                let ticks = (value * 1001 % 864_000_000_000).to_le_bytes();
                to.extend([&[8][..], &ticks[..5], &(727_000 + value % 2500).to_le_bytes()[..3]].concat());
            }
            Self::Guid => {
                to.extend([&[16][..], &u128::from(value).wrapping_mul(1 << 77 | 7).to_le_bytes()].concat())
            }
            Self::Char => {
                to.extend((text.len() as u16).to_le_bytes());
                to.extend(text.bytes());
            }
            Self::NVarChar => {
                to.extend((text.len() as u16 * 2).to_le_bytes());
                to.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            }
            Self::NVarCharMax => {
                let text = text.repeat(4);
                to.extend((text.len() as u64 * 2).to_le_bytes());
                to.extend((text.len() as u32 * 2).to_le_bytes());
                to.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
                to.extend([0; 4]);
            }
        }
    }
}

/// As lineitem of TPC-H.
fn lineitem() -> Vec<Type> {
    use Type::{Char, Date, Decimal, Int};
    vec![
        Int, Int, Int, Int, Decimal, Decimal, Decimal, Decimal, Char, Char, Date, Date, Date, Char, Char,
        Char,
    ]
}

/// One of each, some of them NULL.
fn all_kinds() -> Vec<Type> {
    use Type::{BigInt, Bit, DateTime2, Float, Guid, Money, NVarChar, NVarCharMax};
    vec![BigInt, NVarChar, DateTime2, Float, Bit, Guid, NVarCharMax, Money, NVarChar]
}

/// An answer in packets. With `nulls`, rows begin with a bit for each column.
fn answer(types: &[Type], nulls: bool) -> Vec<u8> {
    let mut tokens = vec![0x81];
    tokens.extend((types.len() as u16).to_le_bytes());
    for (index, of) in types.iter().enumerate() {
        tokens.extend([0, 0, 0, 0, 9, 0]);
        of.describe(&mut tokens);
        let name = format!("c{index}");
        tokens.push(name.len() as u8);
        tokens.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
    }
    for row in 0..ROWS {
        let is_null = |column: usize| nulls && mixed(row * 31 + column as u64).is_multiple_of(5);
        tokens.push(if nulls { 0xd2 } else { 0xd1 });
        if nulls {
            for bytes in 0..types.len().div_ceil(8) {
                let bits =
                    (0..8).filter(|bit| is_null(bytes * 8 + bit)).fold(0_u8, |bits, bit| bits | 1 << bit);
                tokens.push(bits);
            }
        }
        for (column, of) in types.iter().enumerate().filter(|(column, _)| !is_null(*column)) {
            of.put(&mut tokens, mixed(row * 17 + column as u64));
        }
    }
    tokens.extend(done(ROWS));
    in_packets(&tokens)
}

fn done(rows: u64) -> Vec<u8> {
    [&[0xfd, 0x10, 0, 0xc1, 0][..], &rows.to_le_bytes()].concat()
}

fn in_packets(payload: &[u8]) -> Vec<u8> {
    let count = payload.chunks(PACKET - 8).len();
    let packets = payload.chunks(PACKET - 8).enumerate().map(|(index, piece)| {
        let length = (piece.len() as u16 + 8).to_be_bytes();
        [&[4, u8::from(index + 1 == count), length[0], length[1], 0, 0, 1, 0][..], piece].concat()
    });
    packets.collect::<Vec<_>>().concat()
}

/// A server that says what it was told to say, whatever it is asked: no encryption, welcome, the answer.
struct Replay {
    answers: Vec<Vec<u8>>,
    reading: Vec<u8>,
    at: usize,
}

impl Replay {
    fn new(answer: Vec<u8>) -> Self {
        let prelogin = [&[0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff][..], &[16, 0, 0, 0, 0, 0], &[2]].concat();
        let name: Vec<u8> = "replay".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let body = [&[1, 0x74, 0, 0, 4, 6][..], &name, &[16, 0, 0, 0]].concat();
        let login = [&[0xad][..], &(body.len() as u16).to_le_bytes(), &body, &done(0)].concat();
        let answers = vec![answer, in_packets(&login), in_packets(&prelogin)];
        Self { answers, reading: Vec::new(), at: 0 }
    }
}

impl AsyncRead for Replay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        to: &mut [u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.at == self.reading.len() {
            (self.reading, self.at) = (self.answers.pop().unwrap_or_default(), 0);
        }
        let count = to.len().min(self.reading.len() - self.at);
        to[..count].copy_from_slice(&self.reading[self.at..self.at + count]);
        self.at += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The values of a column, as ConnectorX keeps them.
#[derive(Default)]
struct Vectors {
    ints: Vec<Option<i64>>,
    floats: Vec<Option<f64>>,
    decimals: Vec<Option<i128>>,
    dates: Vec<Option<u32>>,
    times: Vec<Option<(u32, u64)>>,
    ids: Vec<Option<u128>>,
    texts: Vec<Option<String>>,
}

impl Vectors {
    fn push(&mut self, value: ColumnData<'static>) {
        match value {
            ColumnData::I32(value) => self.ints.push(value.map(i64::from)),
            ColumnData::I64(value) => self.ints.push(value),
            ColumnData::Bit(value) => self.ints.push(value.map(i64::from)),
            ColumnData::F64(value) => self.floats.push(value),
            ColumnData::Numeric(value) => self.decimals.push(value.map(|value| value.value())),
            ColumnData::Date(value) => self.dates.push(value.map(|value| value.days())),
            ColumnData::DateTime2(value) => {
                self.times.push(value.map(|value| (value.date().days(), value.time().increments())));
            }
            ColumnData::Guid(value) => self.ids.push(value.map(|value| value.as_u128())),
            ColumnData::String(value) => self.texts.push(value.map(|value| value.into_owned())),
            other => panic!("{other:?}"),
        }
    }
}

async fn by_tiberius(answer: Vec<u8>, columns: usize) -> usize {
    let mut config = Config::new();
    config.authentication(AuthMethod::sql_server("a", "b"));
    config.encryption(EncryptionLevel::NotSupported);
    let mut client = Client::connect(config, Replay::new(answer)).await.unwrap();
    let mut stream = client.simple_query("SELECT").await.unwrap();
    let mut vectors: Vec<Vectors> = (0..columns).map(|_| Vectors::default()).collect();
    let mut rows = 0;
    while let Some(item) = stream.try_next().await.unwrap() {
        let QueryItem::Row(row) = item else { continue };
        rows += 1;
        for (value, vectors) in row.into_iter().zip(&mut vectors) {
            vectors.push(value);
        }
    }
    black_box(&vectors);
    rows
}

fn decode(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (name, types, nulls) in [("lineitem", lineitem(), false), ("mixed", all_kinds(), true)] {
        let answer = answer(&types, nulls);
        let rows = usize::try_from(ROWS).unwrap();
        assert_eq!(decode_answer(&answer, 65_536).unwrap(), rows);
        assert_eq!(runtime.block_on(by_tiberius(answer.clone(), types.len())), rows);
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10).throughput(Throughput::Bytes(answer.len() as u64));
        group.bench_function("transload", |bencher| {
            bencher.iter(|| decode_answer(black_box(&answer), 65_536).unwrap());
        });
        group.bench_function("tiberius", |bencher| {
            bencher.iter(|| runtime.block_on(by_tiberius(answer.clone(), types.len())));
        });
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
