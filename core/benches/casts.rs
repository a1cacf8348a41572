//! What checked casts cost: values a second on one core, the ledger included.
//!
//! `cargo bench -p transload-core --bench casts`

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use transload_core::SchemaMapper;
use transload_core::schema::{
    Caster, ColumnOverride, ColumnSchema, Overrides, RejectPolicy, TableRef, TableSchema,
};

const ROWS: i64 = 65_536;

/// Numbers without order.
fn scattered(modulus: i64) -> impl Iterator<Item = i64> {
    (0..ROWS).map(move |i| i.wrapping_mul(0x5851_F42D_4C95_7F2D).rem_euclid(modulus))
}

fn texts(modulus: i64, text: impl Fn(i64) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(scattered(modulus).map(text)))
}

fn date(n: i64) -> String {
    format!("{:04}-{:02}-{:02}", 1970 + n % 80, 1 + n % 12, 1 + n % 28)
}

/// Name, values, type.
fn columns() -> Vec<(&'static str, ArrayRef, &'static str)> {
    let instant = |n| format!("{}T{:02}:{:02}:{:02}.{:06}Z", date(n), n % 24, n % 60, n % 59, n % 1_000_000);
    let money = |n: i64| format!("{}.{:02}", n / 100, n % 100);
    let json =
        |n: i64| format!(r#"{{"id": {n}, "name": "row {n}", "tags": ["a", "b"], "price": {}.5}}"#, n % 100);
    let decimals = Decimal128Array::from_iter_values(scattered(10_000_000).map(i128::from));
    let micros = TimestampMicrosecondArray::from_iter_values(scattered(1 << 50)).with_timezone("UTC");
    let nanos = TimestampNanosecondArray::from_iter_values(scattered(1 << 50).map(|n| n * 1_000));
    let rejects = |n: i64| if n % 10 == 0 { "n/a".to_owned() } else { n.to_string() };
    vec![
        ("text to INT64", texts(1_000_000_000, |n| n.to_string()), "INT64"),
        ("text to INT64, a tenth of it rejected", texts(1_000_000_000, rejects), "INT64"),
        ("text to NUMERIC(18,2)", texts(1_000_000_000, money), "NUMERIC(18,2)"),
        ("text to FLOAT64", texts(1_000_000_000, money), "FLOAT64"),
        ("text to DATE", texts(1_000_000, date), "DATE"),
        ("text to TIMESTAMP", texts(1_000_000_000, instant), "TIMESTAMP"),
        ("text to JSON", texts(1_000_000, json), "JSON"),
        (
            "decimal128(15,2) to NUMERIC(15,2)",
            Arc::new(decimals.clone().with_precision_and_scale(15, 2).unwrap()),
            "NUMERIC(15,2)",
        ),
        (
            "decimal128(15,2) to NUMERIC(18,4)",
            Arc::new(decimals.with_precision_and_scale(15, 2).unwrap()),
            "NUMERIC(18,4)",
        ),
        ("timestamp(us, UTC) to TIMESTAMP", Arc::new(micros), "TIMESTAMP"),
        ("timestamp(ns) to DATETIME", Arc::new(nanos), "DATETIME"),
        ("int64 to INT64", Arc::new(Int64Array::from_iter_values(scattered(1 << 40))), "INT64"),
    ]
}

fn casts(c: &mut Criterion) {
    let mut group = c.benchmark_group("cast");
    group.throughput(Throughput::Elements(u64::try_from(ROWS).unwrap()));
    for (name, values, data_type) in columns() {
        let column = ColumnSchema::new("c", "c", values.data_type().clone());
        let table = TableSchema::new(TableRef::unqualified("t"), vec![column]);
        let wanted = ColumnOverride { data_type: Some(data_type.to_owned()), ..ColumnOverride::default() };
        let overrides = Overrides::from([("c".to_owned(), wanted)]);
        let mapping = SchemaMapper::default().with_overrides(overrides).map(&table, None).unwrap();
        let batch = RecordBatch::try_new(table.arrow_schema(), vec![values]).unwrap();
        let caster = Caster::new(&mapping, &batch.schema(), RejectPolicy::Quarantine).unwrap();
        group.bench_function(name, |b| b.iter(|| black_box(caster.cast(black_box(&batch)).unwrap())));
    }
    group.finish();
}

criterion_group!(benches, casts);
criterion_main!(benches);
