//! Streams of rows for benchmarks: their bytes are those of a whole answer, without a server.

use crate::types::datum::Datum;
use crate::types::encode::{Pieces, null, value};
use crate::types::temporal::{DAY, SECOND};
use crate::types::{Kind, MAX, SqlType};
use crate::wire::packet::Answer;
use crate::wire::token::{Column, Done, Tokens};

/// What rows look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The sixteen columns of TPC-H's lineitem, none of them NULL.
    Lineitem,
    /// One column of every family, a third of the cells NULL.
    Mixed,
}

impl Shape {
    pub(crate) fn columns(self) -> Vec<Column> {
        let narrow = |length| SqlType::with_length(Kind::VarChar, length);
        let of = SqlType::of;
        let columns = match self {
            Self::Lineitem => vec![
                ("l_orderkey", of(Kind::BigInt)),
                ("l_partkey", of(Kind::BigInt)),
                ("l_suppkey", of(Kind::BigInt)),
                ("l_linenumber", of(Kind::Int)),
                ("l_quantity", SqlType::decimal(15, 2)),
                ("l_extendedprice", SqlType::decimal(15, 2)),
                ("l_discount", SqlType::decimal(15, 2)),
                ("l_tax", SqlType::decimal(15, 2)),
                ("l_returnflag", SqlType::with_length(Kind::Char, 1)),
                ("l_linestatus", SqlType::with_length(Kind::Char, 1)),
                ("l_shipdate", of(Kind::Date)),
                ("l_commitdate", of(Kind::Date)),
                ("l_receiptdate", of(Kind::Date)),
                ("l_shipinstruct", SqlType::with_length(Kind::Char, 25)),
                ("l_shipmode", SqlType::with_length(Kind::Char, 10)),
                ("l_comment", narrow(44)),
            ],
            Self::Mixed => vec![
                ("flag", of(Kind::Bit)),
                ("small", of(Kind::SmallInt)),
                ("number", of(Kind::Int)),
                ("big", of(Kind::BigInt)),
                ("single", of(Kind::Real)),
                ("double", of(Kind::Float)),
                ("amount", SqlType::decimal(38, 10)),
                ("price", of(Kind::Money)),
                ("day", of(Kind::Date)),
                ("clock", SqlType::with_scale(Kind::Time, 6)),
                ("moment", SqlType::with_scale(Kind::DateTime2, 7)),
                ("instant", SqlType::with_scale(Kind::DateTimeOffset, 6)),
                ("old", of(Kind::DateTime)),
                ("id", of(Kind::UniqueIdentifier)),
                ("name", SqlType::with_length(Kind::NVarChar, 100)),
                ("note", SqlType::with_length(Kind::NVarChar, MAX)),
                ("bytes", SqlType::with_length(Kind::VarBinary, 100)),
            ],
        };
        let required = self == Self::Lineitem;
        let column = |(name, ty)| Column { nullable: !required, ..Column::new(name, ty) };
        columns.into_iter().map(column).collect()
    }
}

/// Numbers that look random and are the same every time.
fn mixed_bits(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

fn below(seed: u64, limit: u64) -> i64 {
    i64::try_from(mixed_bits(seed) % limit).unwrap_or(0)
}

/// One row, as its token.
pub(crate) fn row(to: &mut Vec<u8>, shape: Shape, number: u64) {
    let columns = shape.columns();
    let cells: Vec<Datum> =
        columns.iter().zip(0..).map(|(column, at)| cell(shape, &column.ty, number, at)).collect();
    to.push(0xD1);
    for (column, datum) in columns.iter().zip(&cells) {
        match datum {
            Datum::Null => null(to, &column.ty),
            datum => value(to, &column.ty, column.nullable, datum, Pieces::default()),
        }
    }
}

const WORDS: [&str; 8] =
    ["carefully ", "final ", "deposits ", "quickly ", "bold ", "requests ", "sleep ", "furiously "];

fn words(seed: u64, most: usize) -> String {
    let mut text = String::new();
    for at in 0..2 + mixed_bits(seed) % 5 {
        let word = usize::try_from(mixed_bits(seed ^ (at + 1)) % 8).unwrap_or(0);
        text.push_str(WORDS[word]);
    }
    text.truncate(most);
    text
}

fn cell(shape: Shape, ty: &SqlType, number: u64, at: u64) -> Datum {
    let seed = number * 64 + at;
    if shape == Shape::Mixed && mixed_bits(seed ^ 0xABCD).is_multiple_of(3) {
        return Datum::Null;
    }
    let text = |text: String| Datum::Text(text.into_bytes());
    match ty.kind {
        Kind::Bit => Datum::Int(below(seed, 2)),
        Kind::SmallInt => Datum::Int(below(seed, 30_000)),
        Kind::Int if shape == Shape::Lineitem => Datum::Int(1 + below(seed, 7)),
        Kind::Int => Datum::Int(below(seed, 1 << 31)),
        Kind::BigInt if at == 0 => Datum::Int(i64::try_from(number / 4 + 1).unwrap_or(i64::MAX)),
        Kind::BigInt => Datum::Int(below(seed, 1 << 40)),
        kind if kind.is_scaled() => Datum::Scaled(i128::from(below(seed, 10_494_950))),
        Kind::Real => Datum::Float(below(seed, 1 << 20) as f64 / 8.0),
        Kind::Float => Datum::Float(below(seed, 1 << 40) as f64 / 1024.0),
        Kind::Date => Datum::Time(727_000 + below(seed, 2500)),
        Kind::Time => Datum::Time(below(seed, 86_400) * SECOND),
        Kind::DateTime2 => {
            Datum::Time((727_000 + below(seed, 2500)) * DAY + below(seed ^ 7, 864_000_000_000))
        }
        Kind::DateTimeOffset => {
            Datum::Offset((727_000 + below(seed, 2500)) * DAY + below(seed ^ 7, 86_400_000_000) * 10, 120)
        }
        Kind::DateTime => Datum::Time(below(seed, 1_000_000_000_000)),
        Kind::UniqueIdentifier => {
            let half = mixed_bits(seed).to_le_bytes();
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&half);
            bytes[8..].copy_from_slice(&half);
            Datum::Guid(bytes)
        }
        Kind::Char if ty.length == 1 => text(if below(seed, 2) == 0 { "N" } else { "R" }.to_owned()),
        Kind::Char => text(format!("{:<width$}", "DELIVER", width = usize::from(ty.length))),
        Kind::VarChar => text(words(seed, usize::from(ty.length))),
        Kind::NVarChar => text(format!("{}é", words(seed, 90))),
        _ => Datum::Bytes(mixed_bits(seed).to_le_bytes().to_vec()),
    }
}

/// The tokens of a whole answer: meta data, rows, DONE.
#[must_use]
pub fn tokens(shape: Shape, rows: u64) -> Vec<u8> {
    let mut tokens = Tokens::default();
    tokens.columns(&shape.columns());
    for number in 0..rows {
        row(tokens.bytes(), shape, number);
    }
    tokens.done(Done::Statement, 0, 0xC1, Some(rows));
    tokens.into_bytes()
}

/// The same, in packets of this size, as a server sends them. At least 512 bytes.
#[must_use]
pub fn packets(shape: Shape, rows: u64, packet_size: usize) -> Vec<u8> {
    let mut answer = Answer::new(packet_size.clamp(512, 32_767), 51);
    let mut packets = answer.add(&tokens(shape, rows));
    packets.extend(answer.end());
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_the_same_every_time_and_grow_by_rows() {
        for shape in [Shape::Lineitem, Shape::Mixed] {
            assert_eq!(tokens(shape, 10), tokens(shape, 10));
            assert!(tokens(shape, 20).len() > tokens(shape, 10).len() + 10 * shape.columns().len());
            assert!(packets(shape, 10, 4096).len() > tokens(shape, 10).len());
        }
    }
}
