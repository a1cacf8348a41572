//! What a profile and a proof of equality cost: nanoseconds a value, for whole rows like TPC-H lineitem's, for one
//! column's count of different values beside the library's, and for the figures of a column of each kind.
//!
//! `cargo bench -p transload-core --bench profile`

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use datasketches::hll::{HllSketch, HllType};
use transload_core::profile::{ProfileLevel, Profiler};
use transload_core::proof::{Fold, ProofLevel};

const ROWS: i64 = 65_536;

/// A stream of numbers without order.
fn scattered(count: i64, modulus: i64) -> impl Iterator<Item = i64> {
    (0..count).map(move |i| i.wrapping_mul(0x5851_F42D_4C95_7F2D).rem_euclid(modulus))
}

fn lineitem() -> RecordBatch {
    let integers = |modulus| Arc::new(Int64Array::from_iter_values(scattered(ROWS, modulus))) as ArrayRef;
    let decimals = |modulus: i64| {
        let values = Decimal128Array::from_iter_values(scattered(ROWS, modulus).map(i128::from));
        Arc::new(values.with_precision_and_scale(15, 2).unwrap()) as ArrayRef
    };
    let dates = || {
        let days = scattered(ROWS, 2500).map(|day| i32::try_from(day).unwrap() + 8000);
        Arc::new(Date32Array::from_iter_values(days)) as ArrayRef
    };
    let texts = |modulus, prefix: &str| {
        Arc::new(StringArray::from_iter_values(scattered(ROWS, modulus).map(|i| format!("{prefix}{i}"))))
            as ArrayRef
    };
    RecordBatch::try_from_iter([
        ("l_orderkey", integers(6_000_000)),
        ("l_partkey", integers(200_000)),
        ("l_suppkey", integers(10_000)),
        ("l_linenumber", integers(7)),
        ("l_quantity", decimals(50)),
        ("l_extendedprice", decimals(10_000_000)),
        ("l_discount", decimals(11)),
        ("l_tax", decimals(9)),
        ("l_returnflag", texts(3, "")),
        ("l_linestatus", texts(2, "")),
        ("l_shipdate", dates()),
        ("l_commitdate", dates()),
        ("l_receiptdate", dates()),
        ("l_shipinstruct", texts(4, "DELIVER IN PERSON")),
        ("l_shipmode", texts(7, "TRUCK")),
        ("l_comment", texts(6_000_000, "carefully regular deposits ")),
    ])
    .unwrap()
}

fn rows(c: &mut Criterion) {
    let batch = lineitem();
    let mut group = c.benchmark_group("lineitem");
    group.throughput(Throughput::Elements(u64::try_from(ROWS).unwrap() * batch.num_columns() as u64));
    for level in [ProfileLevel::Counts, ProfileLevel::Values, ProfileLevel::TopValues] {
        let mut profiler = Profiler::new(&batch.schema(), level, 1).unwrap();
        group.bench_function(format!("{level:?}"), |b| b.iter(|| profiler.add(black_box(&batch)).unwrap()));
    }
}

fn distinct(c: &mut Criterion) {
    let batch = lineitem();
    let mut group = c.benchmark_group("distinct");
    group.throughput(Throughput::Elements(u64::try_from(ROWS).unwrap()));
    for column in ["l_orderkey", "l_comment"] {
        let values = batch.column_by_name(column).unwrap();
        let one = RecordBatch::try_from_iter([(column, Arc::clone(values))]).unwrap();
        let mut profiler = Profiler::new(&one.schema(), ProfileLevel::Counts, 1).unwrap();
        group.bench_function(format!("{column}/transload"), |b| {
            b.iter(|| profiler.add(black_box(&one)).unwrap())
        });
        let mut sketch = HllSketch::new(12, HllType::Hll8).unwrap();
        group.bench_function(format!("{column}/datasketches"), |b| {
            b.iter(|| {
                if let Some(numbers) = values.as_any().downcast_ref::<Int64Array>() {
                    numbers.values().iter().for_each(|value| sketch.update(value));
                } else if let Some(texts) = values.as_any().downcast_ref::<StringArray>() {
                    texts.iter().flatten().for_each(|text| sketch.update(text));
                }
            });
        });
    }
}

fn proof(c: &mut Criterion) {
    let batch = lineitem();
    let mut group = c.benchmark_group("proof");
    group.throughput(Throughput::Elements(u64::try_from(ROWS).unwrap()));
    for column in ["l_orderkey", "l_extendedprice", "l_shipdate", "l_shipmode", "l_comment"] {
        let values = Arc::clone(batch.column_by_name(column).unwrap());
        let one = RecordBatch::try_from_iter([(column, values)]).unwrap();
        let mut fold = Fold::new(&one.schema(), ProofLevel::Values);
        group.bench_function(column, |b| b.iter(|| fold.add(black_box(&one)).unwrap()));
    }
}

criterion_group!(benches, rows, distinct, proof);
criterion_main!(benches);
