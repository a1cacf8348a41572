use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, TimeUnit};

use super::*;
use crate::schema::{ColumnSchema, SchemaMapper, TableMapping, TableRef};

const DAY: i64 = 86_400_000_000;

fn described(rows: Option<u64>) -> TableSchema {
    let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut table = TableSchema::new(
        TableRef::new("public", "orders"),
        vec![
            ColumnSchema::new("id", "bigint", DataType::Int64).required(),
            ColumnSchema::new("customerId", "bigint", DataType::Int64),
            ColumnSchema::new("updated_at", "timestamptz", zoned.clone()),
            ColumnSchema::new("created_at", "timestamptz", zoned),
            ColumnSchema::new("due", "date", DataType::Date32),
            ColumnSchema::new("status", "text", DataType::Utf8),
            ColumnSchema::new("country", "text", DataType::Utf8),
            ColumnSchema::new("weight_key", "float8", DataType::Float64),
        ],
    );
    table.primary_key = vec!["id".to_owned()];
    table.rows_estimate = rows;
    table
}

/// 1,000 rows over `days` days; `due` is mostly NULL, `status` has three values, `country` one.
fn sample(table: &TableSchema, days: i64) -> RecordBatch {
    let times = |shift: i64| {
        let at = (0..1000).map(|row| (19_000 + row * days / 1000) * DAY + shift);
        Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC")) as ArrayRef
    };
    let texts = |choices: &[&str]| {
        Arc::new(StringArray::from_iter_values((0..1000).map(|row| choices[row % choices.len()]))) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..1000)),
        Arc::new(Int64Array::from_iter_values((0..1000).map(|row| row % 100))),
        times(DAY / 2),
        times(0),
        Arc::new(Date32Array::from_iter((0..1000).map(|row| (row % 10 == 0).then_some(19_000)))),
        texts(&["new", "paid", "sent"]),
        texts(&["CH"]),
        Arc::new(arrow_array::Float64Array::from(vec![1.5; 1000])),
    ];
    RecordBatch::try_new(table.arrow_schema(), columns).unwrap()
}

fn advice(rows: Option<u64>, days: i64) -> LayoutAdvice {
    let table = described(rows);
    let sample = sample(&table, days);
    SchemaMapper::default().map(&table, Some(&sample)).unwrap().advice
}

fn by(advice: &LayoutAdvice) -> Option<(&str, Granularity, u64)> {
    let advised = advice.partitioning.as_ref()?;
    Some((&advised.partitioning.column, advised.partitioning.granularity, advised.partitions))
}

#[test]
fn the_finest_partition_of_a_gigabyte_wins() {
    // Ids, dates and a float of 8 bytes; a status of 3 and a country of 2, with 2 each for their length.
    let per_row = advice(Some(1), 10).bytes_estimate.unwrap();
    assert_eq!(per_row, 8 * 6 + 2 + 3 + 2 + 2);
    let rows = |gigabytes: u64| Some(gigabytes * 1_000_000_000 / per_row + 1);
    assert_eq!(by(&advice(rows(500), 365)), Some(("created_at", Granularity::Day, 365)));
    assert_eq!(by(&advice(rows(100), 365)), Some(("created_at", Granularity::Month, 13)));
    assert_eq!(by(&advice(rows(12), 3650)), Some(("created_at", Granularity::Year, 10)));
    let small = advice(rows(1), 3650);
    assert_eq!(by(&small), None);
    assert!(small.notes[0].contains("less than 1 GB a year"), "{:?}", small.notes);
    // Not more partitions than one job can touch.
    assert_eq!(by(&advice(rows(50_000), 7_300)), Some(("created_at", Granularity::Month, 240)));
}

#[test]
fn without_size_or_sample_the_advice_says_what_is_missing() {
    let advised = advice(None, 365);
    assert_eq!(by(&advised), None);
    assert!(advised.notes[0].contains("size is not known; `created_at` would be"), "{:?}", advised.notes);
    let table = described(Some(1_000_000_000));
    let advised = SchemaMapper::default().map(&table, None).unwrap().advice;
    assert!(advised.notes[0].contains("not known without a sample"), "{:?}", advised.notes);
    let columns: Vec<&str> = advised.clustering.iter().map(|advised| advised.column.as_str()).collect();
    assert_eq!(columns, ["id", "customerId", "status", "country"]);
}

#[test]
fn clustering_goes_by_keys_then_dates_then_distinct_values() {
    let columns = |advice: &LayoutAdvice| -> Vec<String> {
        advice.clustering.iter().map(|advised| advised.column.clone()).collect()
    };
    // `country` has one value, `weight_key` is a double.
    let daily = advice(Some(10_000_000_000), 365);
    assert_eq!(columns(&daily), ["id", "customerId", "status"]);
    assert!(daily.clustering[1].reason.contains("100 distinct values"), "{:?}", daily.clustering);
    let monthly = advice(Some(1_700_000_000), 365);
    assert_eq!(columns(&monthly), ["id", "created_at", "customerId", "status"]);
    let tiny = advice(Some(1000), 365);
    assert!(tiny.clustering.is_empty());
    assert!(tiny.notes[1].contains("less than 64 MB"), "{:?}", tiny.notes);
}

#[test]
fn values_far_away_are_counted_or_rule_the_column_out() {
    let table = described(Some(10_000_000_000));
    let far = |count: usize| {
        let batch = sample(&table, 365);
        let at = (0..1000).map(|row| {
            if row < count { 2_932_896 * DAY } else { (19_000 + i64::try_from(row).unwrap() % 365) * DAY }
        });
        let mut columns = batch.columns().to_vec();
        columns[3] = Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC"));
        let batch = RecordBatch::try_new(batch.schema(), columns).unwrap();
        SchemaMapper::default().map(&table, Some(&batch)).unwrap().advice
    };
    let one = far(1);
    assert_eq!(by(&one), Some(("created_at", Granularity::Day, 365)));
    let codes: Vec<&str> =
        one.partitioning.iter().flat_map(|advised| &advised.warnings).map(|w| w.code.as_str()).collect();
    assert_eq!(codes, ["W_PARTITION_RANGE"]);
    assert_eq!(by(&far(20)), Some(("updated_at", Granularity::Day, 365)));
}

#[test]
fn what_bigquery_cannot_do_is_refused_with_what_it_can() {
    let mapping = SchemaMapper::default().map(&described(None), None).unwrap();
    let check = |column: &str, granularity, days| {
        check_partitioning(&mapping, &Partitioning { column: column.to_owned(), granularity }, days)
    };
    let refusal = |column: &str, granularity, days| check(column, granularity, days).unwrap_err().to_string();
    assert!(
        refusal("status", Granularity::Day, None).contains("possible columns: updated_at, created_at, due")
    );
    assert!(refusal("due", Granularity::Hour, None).contains("possible: DAY, MONTH, YEAR"));
    let error = refusal("created_at", Granularity::Day, Some(10_001));
    assert!(error.contains("10001 partitions") && error.contains("possible: MONTH, YEAR"), "{error}");
    assert!(refusal("created_at", Granularity::Hour, Some(417)).contains("possible: DAY, MONTH, YEAR"));
    assert_eq!(check("created_at", Granularity::Day, Some(10_000)).unwrap()[0].code, "W_PARTITIONS");
    assert_eq!(check("created_at", Granularity::Day, Some(4_001)).unwrap().len(), 1);
    assert_eq!(check("created_at", Granularity::Day, Some(4_000)).unwrap(), []);
    assert_eq!(check("created_at", Granularity::Hour, Some(100)).unwrap(), []);
}

#[test]
fn words_of_names() {
    for (name, expected) in [
        ("orderId", vec!["order", "id"]),
        ("ORDER ID", vec!["order", "id"]),
        ("created_at", vec!["created", "at"]),
        ("updatedAtUTC", vec!["updated", "at", "utc"]),
    ] {
        assert_eq!(words(name), expected);
    }
}

#[test]
fn ranges_of_a_dense_key_where_no_time_is() {
    let made = |rows: u64, step: i64, with_day: bool| {
        let mut columns = vec![ColumnSchema::new("id", "bigint", DataType::Int64).required()];
        let mut arrays: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from_iter_values((0..1000).map(|n| 1 + n * step)))];
        if with_day {
            columns.push(ColumnSchema::new("day", "date", DataType::Date32));
            arrays.push(Arc::new(Date32Array::from_iter_values((0..1000).map(|n| 19_000 + n))));
        }
        let mut table = TableSchema::new(TableRef::new("public", "t"), columns);
        table.primary_key = vec!["id".to_owned()];
        table.rows_estimate = Some(rows);
        let sample = RecordBatch::try_new(table.arrow_schema(), arrays).unwrap();
        SchemaMapper::default().map(&table, Some(&sample)).unwrap()
    };
    // 8 GB in a billion keys of eight bytes: eight partitions wished, of which a round number of keys makes five.
    let mapping = made(1_000_000_000, 1_000_000, false);
    let advised = mapping.advice.range_partitioning.clone().unwrap();
    assert_eq!((advised.column.as_str(), advised.range.interval), ("id", 200_000_000));
    assert_eq!((advised.range.start, advised.range.end, advised.partitions), (0, 2_000_000_000, 10));
    assert!(advised.reason.contains("keys to come"), "{}", advised.reason);
    let ddl = mapping.to_ddl(&crate::schema::TargetRef::new("d", "t"), true);
    assert!(ddl.contains("RANGE_BUCKET(`id`, GENERATE_ARRAY(0, 2000000000, 200000000))"), "{ddl}");
    assert_eq!(TableMapping::from_json(&mapping.to_json()).unwrap(), mapping);
    // Never more than one job may touch, however large.
    let huge = made(1_000_000_000_000_000, 1_000_000_000_000, false).advice.range_partitioning.unwrap();
    assert!(huge.partitions <= 4_000, "{huge:?}");
    // Sparse keys, a small table, and a table with a time.
    for (mapping, why) in [
        (made(1_000_000_000, 1_000_000_000, false), "leave most partitions empty"),
        (made(1_000, 1, false), "is little for partitions"),
    ] {
        assert_eq!(mapping.advice.range_partitioning, None);
        assert!(mapping.advice.notes.iter().any(|note| note.contains(why)), "{:?}", mapping.advice.notes);
    }
    assert_eq!(made(1_000_000_000, 1_000_000, true).advice.range_partitioning, None);
}
