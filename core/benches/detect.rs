//! Text values that detection looks at per second, on one core: `cargo bench -p transload-core --bench detect`.
//!
//! Mixed data: sixteen columns of 10,000 values, from numbers and dates to free text, half of them with nearly as
//! many distinct values as rows. The values are made by a fixed rule, so that every run sees the same.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use transload_core::schema::detect;

const ROWS: u64 = 10_000;

/// A number for each row and column, the same in every run.
fn noise(row: u64, column: u64) -> u64 {
    let mut state =
        (row + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (column + 1).wrapping_mul(0xD1B5_4A32_D192_ED03);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 8
}

type Make = fn(u64, u64) -> String;

fn columns() -> Vec<(&'static str, Vec<String>)> {
    let made: [(&str, Make); 16] = [
        ("integer", |_, n| (n % 1_000_000_000).to_string()),
        ("small_integer", |_, n| (n % 100).to_string()),
        ("decimal", |_, n| format!("{}.{:02}", n % 100_000, n / 7 % 100)),
        ("double", |_, n| format!("{}.{:04}e-0{}", n % 9 + 1, n / 9 % 10_000, n % 8 + 1)),
        ("iso_date", |_, n| format!("20{:02}-{:02}-{:02}", n % 25, n / 31 % 12 + 1, n / 401 % 28 + 1)),
        ("us_date", |_, n| format!("{:02}/{:02}/20{:02}", n / 31 % 12 + 1, n / 401 % 28 + 1, n % 25)),
        ("instant", |row, n| {
            format!(
                "2024-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                n % 12 + 1,
                n / 13 % 28 + 1,
                row % 24,
                n % 60,
                n / 7 % 60,
                n % 1000
            )
        }),
        ("time", |_, n| format!("{:02}:{:02}:{:02}", n % 24, n / 31 % 60, n / 401 % 60)),
        ("boolean", |_, n| ["true", "false"][usize::from(n % 3 == 0)].to_owned()),
        ("zip", |_, n| format!("{:05}", n % 100_000)),
        ("uuid", |row, n| {
            format!(
                "{:08x}-{:04x}-4{:03x}-a{:03x}-{n:012x}",
                row.wrapping_mul(2_654_435_761) & 0xffff_ffff,
                n & 0xffff,
                n & 0xfff,
                row & 0xfff
            )
        }),
        ("json", |row, n| format!("{{\"id\": {row}, \"name\": \"n{n}\", \"ok\": true}}")),
        ("word", |_, n| {
            ["red", "green", "blue", "black", "white"][usize::try_from(n % 5).unwrap_or(0)].to_owned()
        }),
        ("sentence", |row, n| format!("Order {row} was sent to customer {n} without a note, and came back")),
        ("email", |_, n| format!("user{n}@example.com")),
        ("with_tokens", |_, n| if n % 20 == 0 { "NA".to_owned() } else { (n % 100_000).to_string() }),
    ];
    let rows = |place: usize, make: Make| {
        let place = u64::try_from(place).unwrap_or(0);
        (0..ROWS).map(|row| make(row, noise(row, place))).collect()
    };
    made.into_iter().enumerate().map(|(place, (name, make))| (name, rows(place, make))).collect()
}

fn bench(criterion: &mut Criterion) {
    let columns = columns();
    let look = |name: &str, values: &[String]| detect(name, values.iter().map(|value| Some(value.as_str())));
    let mut group = criterion.benchmark_group("detect");
    group.throughput(Throughput::Elements(ROWS * u64::try_from(columns.len()).unwrap_or(1)));
    group.bench_function("mixed", |bencher| {
        bencher.iter(|| {
            for (name, values) in &columns {
                black_box(look(name, values));
            }
        });
    });
    group.throughput(Throughput::Elements(ROWS));
    for (name, values) in &columns {
        group.bench_function(*name, |bencher| bencher.iter(|| black_box(look(name, values))));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
