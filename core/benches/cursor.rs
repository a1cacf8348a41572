//! What it costs to find the rows at a watermark in a batch: one comparison by Arrow's kernel beside a walk over the
//! rows, which is how it was done before.
//!
//! `cargo bench -p transload-core --bench cursor`

use std::cmp::Ordering;
use std::hint::black_box;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use transload_core::schema::CursorValue;

const ROWS: usize = 65_536;

fn walked(array: &ArrayRef, value: &CursorValue) -> Vec<usize> {
    let equals = |row: &usize| {
        let this = CursorValue::from_array(array, *row).unwrap();
        this.is_some_and(|this| this.compare(value).is_some_and(Ordering::is_eq))
    };
    (0..array.len()).filter(equals).collect()
}

fn rows_at_the_watermark(c: &mut Criterion) {
    let numbers = || (0..i64::try_from(ROWS).unwrap()).map(|row| row / 3);
    let times = TimestampMicrosecondArray::from_iter_values(numbers()).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 3] = [
        ("integer", Arc::new(Int64Array::from_iter_values(numbers()))),
        ("timestamp", Arc::new(times)),
        ("text", Arc::new(StringArray::from_iter_values(numbers().map(|n| format!("order-{n:012}"))))),
    ];
    let mut group = c.benchmark_group("rows_at_the_watermark");
    group.throughput(Throughput::Elements(u64::try_from(ROWS).unwrap()));
    for (name, array) in columns {
        // The last value of the batch: the walk that ends at the first equal row sees all of it.
        let value = CursorValue::from_array(&array, ROWS - 1).unwrap().unwrap();
        assert_eq!(value.rows_in(&array).unwrap(), walked(&array, &value));
        group.bench_function(format!("{name}/walk"), |b| b.iter(|| walked(black_box(&array), &value)));
        group.bench_function(format!("{name}/kernel"), |b| {
            b.iter(|| value.rows_in(black_box(&array)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, rows_at_the_watermark);
criterion_main!(benches);
