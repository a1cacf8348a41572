//! Every BigQuery type as an Arrow column: written, read back, and what the Parquet schema says.
#![expect(clippy::unwrap_used, reason = "helpers of tests; a panic is a failed test")]

mod common;

use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::types::Decimal256Type;
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    Float64Array, Int64Array, RecordBatch, StringArray, StructArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use arrow_schema::DataType;
use common::*;
use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use transload_core::connector::{OnSchemaChange, WriteMode};
use transload_core::schema::{BigQueryType, Mode, RecordField, TargetColumn};

fn columns() -> Vec<(TargetColumn, ArrayRef)> {
    let nullable = |name: &str, data_type: &str| column(name, data_type, Mode::Nullable);
    let mut list = ListBuilder::new(Int64Builder::new());
    list.append_value([Some(1), Some(2)]);
    list.append_value([]);
    let record = BigQueryType::Record(vec![
        RecordField { name: "a".into(), data_type: BigQueryType::Int64, mode: Mode::Nullable },
        RecordField { name: "b".into(), data_type: BigQueryType::String, mode: Mode::Nullable },
    ]);
    let DataType::Struct(fields) = record.arrow_type() else { panic!("a record is a struct") };
    let inner: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), None])),
        Arc::new(StringArray::from(vec![None, Some("x")])),
    ];
    let record = TargetColumn {
        name: "rec".into(),
        data_type: record,
        mode: Mode::Nullable,
        description: Some("d".into()),
    };
    let wide = <Decimal256Type as ArrowPrimitiveType>::Native::from_i128(i128::MIN);
    vec![
        (nullable("s", "STRING"), Arc::new(StringArray::from(vec![Some("é"), None]))),
        (nullable("by", "BYTES"), Arc::new(BinaryArray::from(vec![Some(&[0u8, 255][..]), None]))),
        (nullable("i", "INT64"), Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        (nullable("f", "FLOAT64"), Arc::new(Float64Array::from(vec![Some(-0.5), None]))),
        (
            nullable("n", "NUMERIC(10,2)"),
            Arc::new(
                Decimal128Array::from(vec![Some(-12345), None]).with_precision_and_scale(10, 2).unwrap(),
            ),
        ),
        (
            nullable("bn", "BIGNUMERIC"),
            Arc::new(Decimal256Array::from(vec![Some(wide), None]).with_precision_and_scale(76, 38).unwrap()),
        ),
        (nullable("b", "BOOL"), Arc::new(BooleanArray::from(vec![Some(true), None]))),
        (nullable("d", "DATE"), Arc::new(Date32Array::from(vec![Some(-719_162), None]))),
        (nullable("dt", "DATETIME"), Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None]))),
        (nullable("ti", "TIME"), Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_999_999), None]))),
        (
            nullable("ts", "TIMESTAMP"),
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_456), None]).with_timezone("UTC"),
            ),
        ),
        (nullable("j", "JSON"), Arc::new(StringArray::from(vec![Some("{\"a\":1}"), None]))),
        (nullable("g", "GEOGRAPHY"), Arc::new(StringArray::from(vec![Some("POINT(1 2)"), None]))),
        (column("li", "INT64", Mode::Repeated), Arc::new(list.finish())),
        (record, Arc::new(StructArray::new(fields, inner, None))),
    ]
}

#[tokio::test]
async fn every_type_is_written_and_read_back() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    let (target, arrays): (Vec<_>, Vec<_>) = columns().into_iter().unzip();
    let target = table_of(target);
    to.prepare(&target, OnSchemaChange::Evolve).await.unwrap();
    assert_eq!(to.table(&target.target).await.unwrap().unwrap(), target, "the description is exact");
    let written = RecordBatch::try_new(target.arrow_schema(), arrays).unwrap();
    load(&to, &target, WriteMode::Replace, ("j", "r", 1), vec![written.clone()]).await.unwrap();
    let part = parts(root.path()).unwrap().remove(0);
    let back = read_part(&part);
    assert_eq!(back.len(), 1);
    for (field, (a, b)) in
        written.schema().fields().iter().zip(written.columns().iter().zip(back[0].columns()))
    {
        assert_eq!(a.data_type(), b.data_type(), "{}", field.name());
        assert_eq!(a, b, "{}", field.name());
    }

    let reader = SerializedFileReader::new(std::fs::File::open(&part).unwrap()).unwrap();
    let metadata = reader.metadata();
    assert!(metadata.file_metadata().created_by().unwrap().starts_with("transload "));
    let schema = metadata.file_metadata().schema_descr();
    let logical = |name: &str| {
        let found = schema.columns().iter().find(|column| column.path().parts()[0] == name).unwrap();
        found.logical_type_ref().cloned()
    };
    let micros = |utc| Some(LogicalType::timestamp(utc, TimeUnit::MICROS));
    assert_eq!(logical("ts"), micros(true));
    assert_eq!(logical("dt"), micros(false));
    assert_eq!(logical("n"), Some(LogicalType::decimal(2, 10)));
    assert_eq!(logical("bn"), Some(LogicalType::decimal(38, 76)));
    assert_eq!(logical("d"), Some(LogicalType::Date));
    assert_eq!(logical("s"), Some(LogicalType::String));
    let list = schema.columns().iter().find(|column| column.path().parts()[0] == "li").unwrap();
    assert_eq!(list.path().parts().len(), 3, "a three-level list: {}", list.path());
    let ids = metadata.row_group(0).columns().iter().find(|c| c.column_path().string() == "i").unwrap();
    assert_eq!(ids.statistics().unwrap().null_count_opt(), Some(1), "statistics are there");
    assert!(ids.statistics().unwrap().min_bytes_opt().is_some());
}
