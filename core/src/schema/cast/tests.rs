use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeBinaryBuilder, Int64Builder, ListBuilder, MapBuilder, StringBuilder, StringDictionaryBuilder,
};
use arrow_array::cast::AsArray as _;
use arrow_array::new_null_array;
use arrow_array::types::*;
use arrow_array::*;
use arrow_buffer::i256;
use arrow_schema::{DataType, Field, Schema, TimeUnit};

use super::*;
use crate::error::ErrorKind;
use crate::schema::bigquery::{BigQueryType, RecordField};
use crate::schema::mapping::{ColumnMapping, Confidence, Lossless, TableMapping};
use crate::schema::recipe::Recipe;
use crate::schema::table::{ColumnSchema, Extension, TableRef};

fn mapped(name: &str, target: &BigQueryType, mode: Mode, recipe: Recipe) -> ColumnMapping {
    ColumnMapping {
        source_name: name.to_owned(),
        source_type: String::new(),
        arrow_type: String::new(),
        target_name: name.to_owned(),
        bigquery_type: target.clone(),
        mode,
        recipe,
        confidence: Confidence::High,
        score: 1.0,
        reason: String::new(),
        lossless: Lossless::Yes,
        warnings: Vec::new(),
        alternatives: Vec::new(),
        description: None,
        overridden: false,
        on_reject: None,
        on_round: RoundPolicy::Refuse,
    }
}

fn table(columns: Vec<ColumnMapping>, key: &[&str]) -> TableMapping {
    TableMapping {
        table: TableRef::new("public", "t"),
        columns,
        added: Vec::new(),
        dropped: Vec::new(),
        primary_key: key.iter().map(|&name| name.to_owned()).collect(),
        description: None,
        advice: crate::schema::LayoutAdvice::default(),
    }
}

/// One column through a caster: its rows as text, and how many were rejected.
fn cast_field(field: Field, array: ArrayRef, target: &str, mode: Mode, recipe: Recipe) -> (Vec<String>, u64) {
    let target: BigQueryType = target.parse().unwrap();
    run(field, array, &target, mode, recipe)
}

fn run(
    field: Field,
    array: ArrayRef,
    target: &BigQueryType,
    mode: Mode,
    recipe: Recipe,
) -> (Vec<String>, u64) {
    let schema = Arc::new(Schema::new(vec![field]));
    let mapping = table(vec![mapped("c", target, mode, recipe)], &[]);
    // A slice, so that offsets are part of every test.
    let padded = arrow_select::concat::concat(&[&array.slice(0, 1.min(array.len())), &array]).unwrap();
    let sliced = padded.slice(1.min(array.len()), array.len());
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![sliced]).unwrap();
    let caster = Caster::new(&mapping, &schema, RejectPolicy::Null).unwrap();
    let (result, ledger) = caster.cast(&batch).unwrap();
    assert_eq!(result.schema(), *caster.output_schema());
    let counts = ledger.columns[0].0;
    adds_up(&counts, batch.num_rows());
    let texts = to_text::column(result.column(0), None).unwrap();
    let rows = texts.iter().map(|text| text.unwrap_or("NULL").to_owned()).collect();
    (rows, counts.rejected())
}

fn adds_up(counts: &Counts, rows: usize) {
    let Counts { null, exact, converted, rounded, blank, nulled, quarantined } = *counts;
    let sum = null + exact + converted + rounded + blank + nulled + quarantined;
    assert_eq!(sum, u64::try_from(rows).unwrap(), "{counts:?}");
}

fn cast(array: impl Array + 'static, target: &str, recipe: Recipe) -> (Vec<String>, u64) {
    let field = Field::new("c", array.data_type().clone(), true);
    cast_field(field, Arc::new(array), target, Mode::Nullable, recipe)
}

fn direct(array: impl Array + 'static, target: &str) -> (Vec<String>, u64) {
    cast(array, target, Recipe::Direct)
}

/// Casts texts in all three Arrow forms by the recipe of an override; they must agree.
fn parse(texts: &[&str], target: &str, format: Option<&str>) -> (Vec<String>, u64) {
    let recipe = recipe_for(&DataType::Utf8, &target.parse().unwrap(), format).unwrap();
    let result = cast(StringArray::from(texts.to_vec()), target, recipe.clone());
    assert_eq!(cast(LargeStringArray::from(texts.to_vec()), target, recipe.clone()), result);
    assert_eq!(cast(StringViewArray::from(texts.to_vec()), target, recipe), result);
    result
}

#[test]
fn integers_widen_and_are_checked() {
    let extremes = [i64::MIN, -1, i64::MAX];
    let plain: Vec<String> = extremes.iter().map(ToString::to_string).collect();
    assert_eq!(direct(Int64Array::from(extremes.to_vec()), "INT64"), (plain.clone(), 0));
    assert_eq!(direct(Int8Array::from(vec![-128, 127]), "INT64").0, ["-128", "127"]);
    assert_eq!(direct(UInt32Array::from(vec![u32::MAX]), "INT64").0, ["4294967295"]);
    let unsigned = UInt64Array::from(vec![Some(u64::MAX), None, Some(7)]);
    assert_eq!(direct(unsigned.clone(), "INT64"), (vec!["NULL".into(), "NULL".into(), "7".into()], 1));
    assert_eq!(direct(unsigned, "NUMERIC(20)").0, ["18446744073709551615", "NULL", "7"]);
    assert_eq!(direct(Int64Array::from(extremes.to_vec()), "BIGNUMERIC(19)"), (plain, 0));
    assert_eq!(
        direct(Int16Array::from(vec![99, 100]), "NUMERIC(4,2)"),
        (vec!["99.00".into(), "NULL".into()], 1)
    );
    let edge = 1_i64 << 53;
    assert_eq!(direct(Int64Array::from(vec![edge, edge + 1]), "FLOAT64").1, 1);
}

#[test]
fn integers_by_recipe() {
    let bits = Int32Array::from(vec![0, 1, 2]);
    assert_eq!(
        cast(bits, "BOOL", Recipe::IntegerToBool),
        (vec!["false".into(), "true".into(), "NULL".into()], 1)
    );
    let seconds = Int64Array::from(vec![0, 1_700_000_000, 253_402_300_799, 253_402_300_800, i64::MAX]);
    let (rows, rejected) = cast(seconds, "TIMESTAMP", Recipe::EpochSeconds);
    assert_eq!(rows[..3], ["1970-01-01T00:00:00Z", "2023-11-14T22:13:20Z", "9999-12-31T23:59:59Z"]);
    assert_eq!(rejected, 2);
    let millis = Int64Array::from(vec![-1]);
    assert_eq!(cast(millis, "TIMESTAMP", Recipe::EpochMillis).0, ["1969-12-31T23:59:59.999Z"]);
    let recipe = recipe_for(&DataType::Int32, &BigQueryType::Date, Some("%Y%m%d")).unwrap();
    let days = Int32Array::from(vec![19_970_101, 19_970_230]);
    assert_eq!(cast(days, "DATE", recipe), (vec!["1997-01-01".into(), "NULL".into()], 1));
}

#[test]
fn floats() {
    assert_eq!(direct(Float32Array::from(vec![0.5, f32::NAN]), "FLOAT64").0, ["0.5", "NaN"]);
    let values = Float64Array::from(vec![1.0, -0.0, 1.5, f64::NAN, 9.3e18, -9_223_372_036_854_775_808.0]);
    let (rows, rejected) = direct(values, "INT64");
    assert_eq!(rows, ["1", "0", "NULL", "NULL", "NULL", "-9223372036854775808"]);
    assert_eq!(rejected, 3);
    let values = Float64Array::from(vec![0.1, 1e20, 1e-10, f64::INFINITY]);
    let (rows, rejected) = direct(values, "NUMERIC");
    assert_eq!(rows[..2], ["0.100000000", "100000000000000000000.000000000"]);
    assert_eq!(rejected, 2);
}

#[test]
fn decimals_are_never_rounded() {
    let source =
        |p, s| Decimal128Array::from(vec![12_300, 12_345, -99_999]).with_precision_and_scale(p, s).unwrap();
    assert_eq!(direct(source(10, 2), "NUMERIC(10,2)").0, ["123.00", "123.45", "-999.99"]);
    assert_eq!(direct(source(10, 2), "NUMERIC(12,2)").0, ["123.00", "123.45", "-999.99"]);
    assert_eq!(direct(source(10, 2), "NUMERIC(4,2)").1, 3);
    assert_eq!(direct(source(10, 2), "NUMERIC").0[1], "123.450000000");
    assert_eq!(direct(source(10, 2), "BIGNUMERIC(12,4)").0, ["123.0000", "123.4500", "-999.9900"]);
    assert_eq!(
        direct(source(10, 2), "NUMERIC(10,1)"),
        (vec!["123.0".into(), "NULL".into(), "NULL".into()], 2)
    );
    assert_eq!(direct(source(10, 2), "INT64"), (vec!["123".into(), "NULL".into(), "NULL".into()], 2));
    let negative = Decimal128Array::from(vec![123]).with_precision_and_scale(3, -2).unwrap();
    assert_eq!(direct(negative, "NUMERIC(5)").0, ["12300"]);
    let narrow = Decimal32Array::from(vec![12_345]).with_precision_and_scale(9, 2).unwrap();
    assert_eq!(direct(narrow, "NUMERIC(9,2)").0, ["123.45"]);

    let most = 10_i128.pow(38) - 1;
    let wide = Decimal128Array::from(vec![most, -most]).with_precision_and_scale(38, 0).unwrap();
    assert_eq!(direct(wide.clone(), "BIGNUMERIC").1, 0);
    assert_eq!(direct(wide.clone(), "NUMERIC").1, 2);
    assert_eq!(direct(wide, "NUMERIC(29)").1, 2);
    let values = vec![i256::from_i128(1_500), i256::from_i128(most), i256::from_i128(1)];
    let source = Decimal256Array::from(values).with_precision_and_scale(76, 3).unwrap();
    let (rows, rejected) = direct(source, "NUMERIC(10,1)");
    assert_eq!((rows, rejected), (vec!["1.5".into(), "NULL".into(), "NULL".into()], 2));
}

#[test]
fn temporal_ranges() {
    let days = Date32Array::from(vec![Some(-719_162), Some(2_932_896), None, Some(-719_163), Some(i32::MAX)]);
    let (rows, rejected) = direct(days.clone(), "DATE");
    assert_eq!(rows, ["0001-01-01", "9999-12-31", "NULL", "NULL", "NULL"]);
    assert_eq!(rejected, 2);
    assert_eq!(direct(days, "DATETIME").0[..2], ["0001-01-01T00:00:00", "9999-12-31T00:00:00"]);
    assert_eq!(
        direct(Date64Array::from(vec![86_400_000, 1]), "DATE"),
        (vec!["1970-01-02".into(), "NULL".into()], 1)
    );

    let seconds = TimestampSecondArray::from(vec![0, -62_135_596_800, -62_135_596_801, i64::MAX]);
    let (rows, rejected) = direct(seconds, "DATETIME");
    assert_eq!(rows[..2], ["1970-01-01T00:00:00", "0001-01-01T00:00:00"]);
    assert_eq!(rejected, 2);
    let micros = TimestampMicrosecondArray::from(vec![-1, 253_402_300_800_000_000, i64::MIN]);
    assert_eq!(
        direct(micros, "DATETIME"),
        (vec!["1969-12-31T23:59:59.999999".into(), "NULL".into(), "NULL".into()], 2)
    );
    let nanos = TimestampNanosecondArray::from(vec![1_000, 1_001, -1_000]).with_timezone("Europe/Berlin");
    let (rows, rejected) = direct(nanos, "TIMESTAMP");
    assert_eq!(rows, ["1970-01-01T00:00:00.000001Z", "NULL", "1969-12-31T23:59:59.999999Z"]);
    assert_eq!(rejected, 1);
    let zoned = TimestampMicrosecondArray::from(vec![0]).with_timezone("+05:30");
    assert_eq!(direct(zoned, "TIMESTAMP").0, ["1970-01-01T00:00:00Z"]);
    let midnight = TimestampMillisecondArray::from(vec![86_400_000, 86_400_001, i64::MAX]);
    assert_eq!(direct(midnight, "DATE"), (vec!["1970-01-02".into(), "NULL".into(), "NULL".into()], 2));

    let times = Time64NanosecondArray::from(vec![0, 1_000, 1, 86_400_000_000_000]);
    assert_eq!(
        direct(times, "TIME"),
        (vec!["00:00:00".into(), "00:00:00.000001".into(), "NULL".into(), "NULL".into()], 2)
    );
    assert_eq!(direct(Time32SecondArray::from(vec![86_399, 86_400]), "TIME").1, 1);
    assert_eq!(direct(Time64MicrosecondArray::from(vec![-1, 5]), "TIME").1, 1);
}

#[test]
fn nothing_is_copied_where_types_agree() {
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC"));
    let kernel =
        Kernel::plan(array.data_type(), None, &BigQueryType::Timestamp, Mode::Nullable, &Recipe::Direct)
            .unwrap();
    assert!(Arc::ptr_eq(&kernel.run(&array, RoundPolicy::Refuse).unwrap().array, &array));
    let json: ArrayRef = Arc::new(StringArray::from(vec!["{}"]));
    let kernel = Kernel::plan(
        json.data_type(),
        Some(Extension::Json),
        &BigQueryType::Json,
        Mode::Nullable,
        &Recipe::ParseJson,
    )
    .unwrap();
    let checked = kernel.run(&json, RoundPolicy::Refuse).unwrap().array;
    assert_eq!(checked.as_string::<i32>().values().as_ptr(), json.as_string::<i32>().values().as_ptr());
}

#[test]
fn text_numbers() {
    let texts = ["0", " 12 ", "\u{a0}7", "-0", "9223372036854775808", "1.0", "", "  ", "\u{2212}1", "1_000"];
    let (rows, rejected) = parse(&texts, "INT64", None);
    assert_eq!(rows, ["0", "12", "7", "0", "NULL", "NULL", "NULL", "NULL", "NULL", "NULL"]);
    assert_eq!(rejected, 4);
    let texts = ["1.5", " 1.50 ", "1e2", "0.123", "99999999.99", "100000000", "", "1,5"];
    let (rows, rejected) = parse(&texts, "NUMERIC(10,2)", None);
    assert_eq!(rows, ["1.50", "1.50", "100.00", "NULL", "99999999.99", "NULL", "NULL", "NULL"]);
    assert_eq!(rejected, 3);
    let (rows, rejected) = parse(&["1.5", "0.1234567891"], "BIGNUMERIC(20,10)", None);
    assert_eq!((rows[1].as_str(), rejected), ("0.1234567891", 0));
    let (rows, rejected) = parse(&["1e400", "NaN", " .5", "x", ""], "FLOAT64", None);
    assert_eq!(rows, ["NULL", "NaN", "0.5", "NULL", "NULL"]);
    assert_eq!(rejected, 2);
}

#[test]
fn text_booleans_dates_and_json() {
    assert_eq!(
        parse(&["TRUE", " false", "t", ""], "BOOL", None),
        (vec!["true".into(), "false".into(), "NULL".into(), "NULL".into()], 1)
    );
    assert_eq!(parse(&["y", "N"], "BOOL", Some("Y/N")).0, ["true", "false"]);
    assert_eq!(
        parse(&["1997-01-01 ", "1997-02-29", ""], "DATE", None),
        (vec!["1997-01-01".into(), "NULL".into(), "NULL".into()], 1)
    );
    assert_eq!(parse(&["19970101"], "DATE", Some("%Y%m%d")).0, ["1997-01-01"]);
    assert_eq!(
        parse(&["10:00:00.5", "24:00:00"], "TIME", None),
        (vec!["10:00:00.5".into(), "NULL".into()], 1)
    );
    assert_eq!(parse(&["2024-01-25 10:00", "2024-01-25T10:00:00Z"], "DATETIME", None).1, 1);
    assert_eq!(
        parse(&["2024-01-25T10:00:00+02:00", "2024-01-25T10:00:00"], "TIMESTAMP", None).0,
        ["2024-01-25T08:00:00Z", "NULL"]
    );
    assert_eq!(parse(&["1700000000"], "TIMESTAMP", Some("s")).0, ["2023-11-14T22:13:20Z"]);
    assert_eq!(
        parse(&["{\"a\": 1}", "{a}", " ", "[18446744073709551616]"], "JSON", None),
        (vec!["{\"a\": 1}".into(), "NULL".into(), "NULL".into(), "NULL".into()], 2)
    );
    assert_eq!(parse(&["", " x "], "STRING", None), (vec!["".into(), " x ".into()], 0));
}

#[test]
fn canonical_texts() {
    let text = |array: ArrayRef| to_text::column(&array, None).unwrap().value(0).to_owned();
    assert_eq!(text(Arc::new(Float64Array::from(vec![1.0]))), "1.0");
    assert_eq!(text(Arc::new(Float64Array::from(vec![f64::NEG_INFINITY]))), "-Infinity");
    assert_eq!(text(Arc::new(BinaryArray::from_vec(vec![b"\x00\xff"]))), "AP8=");
    assert_eq!(text(Arc::new(BooleanArray::from(vec![true]))), "true");
    assert_eq!(
        text(Arc::new(Decimal128Array::from(vec![-5]).with_precision_and_scale(5, 2).unwrap())),
        "-0.05"
    );
    assert_eq!(
        text(Arc::new(TimestampMillisecondArray::from(vec![1_500]).with_timezone("UTC"))),
        "1970-01-01T00:00:01.5Z"
    );
    assert_eq!(text(Arc::new(TimestampNanosecondArray::from(vec![-1]))), "1969-12-31T23:59:59.999999999");
    assert_eq!(text(Arc::new(Time32MillisecondArray::from(vec![3_600_010]))), "01:00:00.01");
    assert_eq!(
        direct(
            Decimal256Array::from(vec![i256::from_i128(7)]).with_precision_and_scale(76, 2).unwrap(),
            "INT64"
        )
        .1,
        1
    );
}

#[test]
fn uuids_dictionaries_and_nulls() {
    let mut uuids = FixedSizeBinaryBuilder::new(16);
    uuids.append_value([0xAB; 16]).unwrap();
    uuids.append_null();
    let array: ArrayRef = Arc::new(uuids.finish());
    let field =
        ColumnSchema::new("c", "uuid", DataType::FixedSizeBinary(16)).extension(Extension::Uuid).to_field();
    let expected = vec!["abababab-abab-abab-abab-abababababab".to_owned(), "NULL".to_owned()];
    assert_eq!(cast_field(field, Arc::clone(&array), "STRING", Mode::Nullable, Recipe::ToText).0, expected);
    assert_eq!(direct(array.as_fixed_size_binary().clone(), "BYTES").1, 0);

    let mut dictionary = StringDictionaryBuilder::<Int32Type>::new();
    dictionary.extend([Some("1"), None, Some("x"), Some("1")]);
    let array = dictionary.finish();
    assert_eq!(
        cast(array.clone(), "INT64", Recipe::ParseInteger),
        (vec!["1".into(), "NULL".into(), "NULL".into(), "1".into()], 1)
    );
    assert_eq!(direct(array, "STRING").0, ["1", "NULL", "x", "1"]);
    assert_eq!(direct(NullArray::new(2), "DATE").0, ["NULL", "NULL"]);
}

fn lists() -> ListArray {
    let mut builder = ListBuilder::new(Int64Builder::new());
    builder.append_value([Some(1), Some(2)]);
    builder.append_null();
    builder.append_value([]);
    builder.append_value([Some(3), None]);
    builder.append_value([Some(4)]);
    builder.finish()
}

#[test]
fn lists_repeat() {
    let field = Field::new("c", lists().data_type().clone(), true);
    let go =
        |target: &str, recipe| cast_field(field.clone(), Arc::new(lists()), target, Mode::Repeated, recipe);
    let expected: Vec<String> = ["[1,2]", "NULL", "[]", "NULL", "[4]"].map(str::to_owned).to_vec();
    assert_eq!(go("INT64", Recipe::Direct), (expected, 1));
    assert_eq!(go("STRING", Recipe::ToText).0[0], "[\"1\",\"2\"]");
    // 2, 3 and 4 are no booleans; the list with the 1 has a 2 beside it.
    assert_eq!(go("BOOL", Recipe::IntegerToBool).1, 3);
    let text = cast_field(field.clone(), Arc::new(lists()), "JSON", Mode::Nullable, Recipe::ToText);
    assert_eq!(text, (["[1,2]", "NULL", "[]", "[3,null]", "[4]"].map(str::to_owned).to_vec(), 0));
    let large =
        arrow_cast::cast(&lists(), &DataType::LargeList(Arc::new(Field::new("item", DataType::Int64, true))))
            .unwrap();
    let field = Field::new("c", large.data_type().clone(), true);
    assert_eq!(cast_field(field, large, "INT64", Mode::Repeated, Recipe::Direct).1, 1);
}

#[test]
fn structs_become_records_or_json() {
    let a: ArrayRef = Arc::new(UInt64Array::from(vec![Some(1), Some(u64::MAX), Some(2), None]));
    let b: ArrayRef = Arc::new(StringArray::from(vec![Some("x\""), Some("y"), None, None]));
    let fields = vec![Field::new("a", DataType::UInt64, true), Field::new("b", DataType::Utf8, true)];
    let nulls = Some(vec![true, true, true, false].into());
    let array: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![a, b], nulls));
    let field = Field::new("c", array.data_type().clone(), true);
    let record = |mode| {
        BigQueryType::Record(vec![
            RecordField { name: "a".into(), data_type: BigQueryType::Int64, mode: Mode::Nullable },
            RecordField { name: "b".into(), data_type: BigQueryType::String, mode },
        ])
    };
    let (rows, rejected) =
        run(field.clone(), Arc::clone(&array), &record(Mode::Nullable), Mode::Nullable, Recipe::Direct);
    assert_eq!(rows, [r#"{"a":1,"b":"x\""}"#, r#"{"a":null,"b":"y"}"#, r#"{"a":2,"b":null}"#, "NULL"]);
    assert_eq!(rejected, 1);
    let (rows, rejected) =
        run(field.clone(), Arc::clone(&array), &record(Mode::Required), Mode::Nullable, Recipe::Direct);
    assert_eq!((rows[2].as_str(), rejected), ("NULL", 2));
    let recipe = recipe_for(array.data_type(), &BigQueryType::Json, None).unwrap();
    let (rows, rejected) = run(field, array, &BigQueryType::Json, Mode::Nullable, recipe);
    assert_eq!(rows[1], r#"{"a":18446744073709551615,"b":"y"}"#);
    assert_eq!(rejected, 0);

    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).unwrap();
    let map = map.finish();
    assert_eq!(cast(map, "JSON", Recipe::ToText).0, [r#"{"k":1}"#]);
}

#[test]
fn a_reject_fails_the_load_by_default() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("total", DataType::Utf8, true),
    ]));
    let target = BigQueryType::Numeric(Some((10, 2)));
    let columns = |mode| vec![mapped("total", &target, mode, Recipe::ParseDecimal)];
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![
            Arc::new(Int64Array::from(vec![5, 6])),
            Arc::new(StringArray::from(vec![Some("1.25"), Some("1.255")])),
        ],
    )
    .unwrap();
    let caster = Caster::new(&table(columns(Mode::Nullable), &["id"]), &schema, RejectPolicy::Fail).unwrap();
    let error = caster.cast(&batch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    for part in ["total", "1.255", "NUMERIC(10,2)", "more than 2 digits after the point"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!(error.context_value("row"), Some("id=6"));
    assert!(!error.is_retryable());

    let caster = Caster::new(&table(columns(Mode::Nullable), &["id"]), &schema, RejectPolicy::Null).unwrap();
    let (result, ledger) = caster.cast(&batch).unwrap();
    assert_eq!(result.num_rows(), 2);
    let counts = Counts { converted: 1, nulled: 1, ..Counts::default() };
    let example = LedgerExample {
        change: Change::Nulled,
        value: "1.255".into(),
        row_key: Some(r#"{"id":6}"#.into()),
        reason: Some("has more than 2 digits after the point".into()),
    };
    assert_eq!((ledger.columns, ledger.incomplete_rows), (vec![(counts, vec![example])], 1));
    assert_eq!(ledger.quarantined, None);

    let caster = Caster::new(&table(columns(Mode::Required), &["id"]), &schema, RejectPolicy::Null).unwrap();
    let error = caster.cast(&batch).unwrap_err();
    assert!(error.message().contains("REQUIRED"), "{error}");
    assert_eq!(error.context_value("row"), Some("id=6"));
    let other =
        RecordBatch::try_from_iter([("id", batch.column(1).clone()), ("total", batch.column(1).clone())]);
    assert!(caster.cast(&batch.project(&[0]).unwrap()).is_err());
    assert!(caster.cast(&other.unwrap()).is_err());
}

#[test]
fn examples_are_short() {
    let long = "x".repeat(500);
    let array: ArrayRef = Arc::new(StringArray::from(vec![long.as_str()]));
    let excerpt = excerpt(&array, 0).unwrap();
    assert_eq!(excerpt.chars().count(), 80);
    assert!(excerpt.ends_with('\u{2026}'));
}

#[test]
fn impossible_casts_are_refused_with_the_possible_types() {
    let refuse = |source: &DataType, target: &str, format| {
        let error = recipe_for(source, &target.parse().unwrap(), format).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TypeMapping);
        error.to_string()
    };
    assert!(refuse(&DataType::Boolean, "DATE", None).contains("possible types for it: BOOL, INT64, STRING"));
    let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
    assert!(refuse(&naive, "TIMESTAMP", None).contains("DATETIME, DATE, STRING"));
    assert!(refuse(&DataType::Utf8, "INT64", Some("%Y")).contains("is not a format of a number"));
    assert!(refuse(&DataType::Utf8, "JSON", Some("%Y")).contains("takes no format"));
    assert!(refuse(&DataType::Utf8, "BOOL", Some("YN")).contains("slash"));
    assert!(refuse(&DataType::Utf8, "DATE", Some("%Y-%m")).contains("lacks year, month and day"));
    assert!(refuse(&DataType::Utf8, "BYTES", None).contains("possible"));
    let plan =
        Kernel::plan(&DataType::Utf8, None, &BigQueryType::Int64, Mode::Repeated, &Recipe::ParseInteger);
    assert_eq!(plan.unwrap_err().kind(), ErrorKind::TypeMapping);

    let schema = Arc::new(Schema::new(vec![Field::new("c", DataType::Boolean, true)]));
    let mapping = table(vec![mapped("c", &BigQueryType::Date, Mode::Nullable, Recipe::Direct)], &[]);
    let error = Caster::new(&mapping, &schema, RejectPolicy::Fail).unwrap_err();
    assert_eq!(error.context_value("column"), Some("c"));
    let mapping = table(vec![mapped("d", &BigQueryType::Bool, Mode::Nullable, Recipe::Direct)], &[]);
    assert_eq!(
        Caster::new(&mapping, &schema, RejectPolicy::Fail).unwrap_err().kind(),
        ErrorKind::SchemaChanged
    );
}

/// Every possible type of every scalar Arrow type has a recipe, and the recipe has a kernel.
#[test]
fn possible_types_are_possible() {
    let utc = Some("UTC".into());
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let sources = [
        DataType::Null,
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float16,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal32(9, 2),
        DataType::Decimal64(18, 2),
        DataType::Decimal128(38, 2),
        DataType::Decimal128(10, 2),
        DataType::Decimal256(76, 2),
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::FixedSizeBinary(3),
        DataType::Date32,
        DataType::Date64,
        DataType::Time32(TimeUnit::Second),
        DataType::Time32(TimeUnit::Millisecond),
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::Timestamp(TimeUnit::Nanosecond, utc),
        DataType::Duration(TimeUnit::Second),
        DataType::Interval(arrow_schema::IntervalUnit::MonthDayNano),
        DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
        DataType::Map(
            Arc::new(Field::new(
                "entries",
                DataType::Struct(
                    vec![
                        Field::new("keys", DataType::Utf8, false),
                        Field::new("values", DataType::Int8, true),
                    ]
                    .into(),
                ),
                false,
            )),
            false,
        ),
        DataType::Struct(
            vec![
                Field::new("a", DataType::Int8, true),
                Field::new("b", DataType::List(item(DataType::Utf8)), true),
            ]
            .into(),
        ),
        DataType::List(item(DataType::List(item(DataType::Int8)))),
    ];
    for source in sources {
        let possible = possible_types(&source, None);
        assert!(possible.contains(&BigQueryType::String), "{source}");
        for target in possible {
            let recipe = recipe_for(&source, &target, None).unwrap();
            let kernel = Kernel::plan(&source, None, &target, Mode::Nullable, &recipe).unwrap();
            let empty = kernel.run(&new_null_array(&source, 2), RoundPolicy::Refuse).unwrap().array;
            assert_eq!(*empty.data_type(), target.arrow_type(), "{source} as {target}");
            assert_eq!(
                empty.logical_nulls().map_or(0, |nulls| nulls.null_count()),
                2,
                "{source} as {target}"
            );
            let list = DataType::List(item(source.clone()));
            if source.is_nested() {
                continue;
            }
            let kernel = Kernel::plan(&list, None, &target, Mode::Repeated, &recipe).unwrap();
            let array = new_null_array(&list, 1);
            assert_eq!(kernel.run(&array, RoundPolicy::Refuse).unwrap().array.len(), 1, "{list} as {target}");
        }
    }
}

#[test]
fn numbers_with_separators() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![
        Some("1.234,5"),
        Some(" -12 "),
        Some("1.5"),
        Some(""),
        None,
        Some("x"),
    ]));
    let field = Field::new("c", DataType::Utf8, true);
    let recipe = |format: &str| Recipe::ParseGrouped { format: format.to_owned() };
    let cast = cast_field(field.clone(), Arc::clone(&texts), "NUMERIC(10,2)", Mode::Nullable, recipe(".,"));
    assert_eq!(cast, (["1234.50", "-12.00", "NULL", "NULL", "NULL", "NULL"].map(str::to_owned).to_vec(), 2));
    let recipe = recipe_for(&DataType::Utf8, &BigQueryType::Int64, Some("'.")).unwrap();
    assert_eq!(recipe.format().as_deref(), Some("'."));
    let error = recipe_for(&DataType::Utf8, &BigQueryType::Int64, Some("%d")).unwrap_err().to_string();
    assert!(error.contains("`,.` for 1,234.5"), "{error}");
}
