use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array,
    Int64Array, ListArray, RecordBatch, StringArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    types::Int64Type,
};
use arrow_buffer::i256;
use arrow_schema::{Field, Schema};

use super::*;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

fn profile(batches: &[RecordBatch], level: ProfileLevel) -> TableProfile {
    let mut profiler = Profiler::new(&batches[0].schema(), level, 7).unwrap();
    for batch in batches {
        profiler.add(batch).unwrap();
    }
    profiler.finish().unwrap()
}

fn one(column: ArrayRef, level: ProfileLevel) -> ColumnProfile {
    profile(&[batch(vec![("c", column)])], level).columns.remove(0)
}

fn ends(column: ArrayRef) -> (String, String) {
    let profile = one(column, ProfileLevel::Values);
    (profile.min.unwrap(), profile.max.unwrap())
}

#[test]
fn every_type_has_its_lowest_and_highest_value() {
    let pair = |low: &str, high: &str| (low.to_owned(), high.to_owned());
    assert_eq!(ends(Arc::new(Int64Array::from(vec![3, i64::MIN, 9]))), pair("-9223372036854775808", "9"));
    let floats = Float64Array::from(vec![1.5, f64::NAN, -0.5]);
    assert_eq!(ends(Arc::new(floats)), pair("-0.5", "1.5"));
    let decimals = Decimal128Array::from(vec![150, -1]).with_precision_and_scale(9, 2).unwrap();
    assert_eq!(ends(Arc::new(decimals)), pair("-0.01", "1.50"));
    let wide =
        Decimal256Array::from(vec![i256::from(5), i256::from(7)]).with_precision_and_scale(76, 38).unwrap();
    assert_eq!(ends(Arc::new(wide)).1, format!("0.{}7", "0".repeat(37)));
    assert_eq!(ends(Arc::new(Date32Array::from(vec![0, -1]))), pair("1969-12-31", "1970-01-01"));
    assert_eq!(ends(Arc::new(Time64MicrosecondArray::from(vec![1, 0]))), pair("00:00:00", "00:00:00.000001"));
    let instants = TimestampMicrosecondArray::from(vec![0, 1_000_000]).with_timezone("UTC");
    assert_eq!(ends(Arc::new(instants)), pair("1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"));
    assert_eq!(ends(Arc::new(StringArray::from(vec!["b", "Z", "é"]))), pair("Z", "é"));
    assert_eq!(ends(Arc::new(BinaryArray::from_vec(vec![b"\xff", b"\x00"]))), pair("AA==", "/w=="));
}

#[test]
fn counts_of_every_kind() {
    let texts =
        one(Arc::new(StringArray::from(vec![Some(""), None, Some("äb"), Some("c")])), ProfileLevel::Counts);
    assert_eq!((texts.nulls, texts.empty, texts.distinct), (1, Some(1), Some(3)));
    assert_eq!(texts.lengths, Some(Lengths { min: 0, max: 3, mean: 4.0 / 3.0 }));
    assert_eq!((texts.min, texts.max, texts.top), (None, None, None), "values do not belong to the counts");

    let flags = one(
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
        ProfileLevel::Values,
    );
    assert_eq!((flags.nulls, flags.trues, flags.distinct), (1, Some(2), None));

    let nans = Float64Array::from(vec![Some(f64::NAN), None, Some(f64::NAN)]);
    let nans = one(Arc::new(nans), ProfileLevel::Values);
    assert_eq!((nans.nan, nans.nulls, nans.min, nans.quantiles), (Some(2), 1, None, None));

    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    let lists = one(Arc::new(lists), ProfileLevel::TopValues);
    assert_eq!((lists.nulls, lists.empty, lists.top), (1, Some(1), None));
    assert_eq!(lists.lengths, Some(Lengths { min: 0, max: 2, mean: 1.0 }));

    let nothing = one(Arc::new(Int64Array::from(vec![None, None])), ProfileLevel::TopValues);
    assert_eq!((nothing.nulls, nothing.distinct, nothing.min), (2, Some(0), None));
    assert_eq!(nothing.top, Some(Vec::new()));
}

#[test]
fn nothing_is_kept_when_nothing_is_wanted() {
    let batch = batch(vec![("c", Arc::new(Int64Array::from(vec![1])))]);
    assert_eq!(profile(&[batch], ProfileLevel::Off), TableProfile { rows: 1, columns: vec![] });
}

#[test]
fn json_has_lengths_but_no_order() {
    let field = Field::new("c", arrow_schema::DataType::Utf8, true)
        .with_metadata([("ARROW:extension:name".to_owned(), "arrow.json".to_owned())].into());
    let column = Arc::new(StringArray::from(vec!["{}"]));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap();
    let profile = profile(&[batch], ProfileLevel::Values).columns.remove(0);
    assert_eq!((profile.min, profile.lengths.map(|l| l.max)), (None, Some(2)));
}

#[test]
fn quantiles_are_exact_for_few_rows_and_near_for_many() {
    let few =
        one(Arc::new(Int64Array::from_iter((0..=100).rev().map(Some).chain([None]))), ProfileLevel::Values);
    let quantiles = few.quantiles.unwrap();
    let read: Vec<_> = quantiles.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(read, [("p05", "5"), ("p25", "25"), ("p50", "50"), ("p75", "75"), ("p95", "95")]);

    // A million rows in order, in batches: a sample of the first ones would be far off.
    let batches: Vec<_> = (0..16)
        .map(|i| {
            let ids = Int64Array::from_iter_values((i * 62_500)..((i + 1) * 62_500));
            batch(vec![("c", Arc::new(ids))])
        })
        .collect();
    let many = profile(&batches, ProfileLevel::Values).columns.remove(0).quantiles.unwrap();
    for (name, share) in QUANTILES {
        let value: f64 = many[name].parse().unwrap();
        // Five standard errors.
        let tolerance = 5.0 * 1e6 * (share * (1.0 - share) / sample::ROWS as f64).sqrt();
        assert!((value - share * 1e6).abs() < tolerance, "{name}: {value}");
    }
}

#[test]
fn the_parts_of_a_table_make_its_profile() {
    let column = |start: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(start..start + 500)) };
    let parts = [batch(vec![("c", column(0))]), batch(vec![("c", column(500))])];
    let mut joined = Profiler::new(&parts[0].schema(), ProfileLevel::TopValues, 1).unwrap();
    let mut other = Profiler::new(&parts[0].schema(), ProfileLevel::TopValues, 2).unwrap();
    joined.add(&parts[0]).unwrap();
    other.add(&parts[1]).unwrap();
    joined.merge(other).unwrap();
    let joined = joined.finish().unwrap();
    let whole = profile(&parts, ProfileLevel::TopValues);
    assert_eq!(joined.rows, 1000);
    assert_eq!(
        (&joined.columns[0].min, &joined.columns[0].max),
        (&whole.columns[0].min, &whole.columns[0].max)
    );
    assert_eq!(joined.columns[0].distinct, whole.columns[0].distinct);
    assert_eq!(joined.columns[0].quantiles, whole.columns[0].quantiles);
}

#[test]
fn frequent_values_come_first_and_say_how_sure_they_are() {
    let flags = StringArray::from_iter_values((0..1000).map(|i| match i % 10 {
        0 => "R",
        1..=3 => "N",
        _ => "A",
    }));
    let top = one(Arc::new(flags), ProfileLevel::TopValues).top.unwrap();
    let exact = |value: &str, count| TopValue { value: value.to_owned(), count, error: 0 };
    assert_eq!(top, [exact("A", 600), exact("N", 300), exact("R", 100)]);

    // Half the rows hold one value, all others are different.
    let skewed = Int64Array::from_iter_values((0..100_000).map(|i| if i % 2 == 0 { 42 } else { i }));
    let top = one(Arc::new(skewed), ProfileLevel::TopValues).top.unwrap();
    assert_eq!(top[0].value, "42");
    assert!(top[0].count <= 50_000 && top[0].count + top[0].error >= 50_000, "{top:?}");
}

#[test]
fn long_texts_are_cut_between_characters() {
    let long = "ä".repeat(5000);
    let profile = one(Arc::new(StringArray::from(vec![long.as_str()])), ProfileLevel::TopValues);
    assert_eq!(profile.max, Some(format!("{}…", "ä".repeat(100))));
    assert_eq!(profile.top, Some(vec![]));
}

#[test]
fn very_wide_tables_are_counted_only() {
    let columns: Vec<_> = (0..=DETAILED_COLUMNS).map(|i| format!("c{i}")).collect();
    let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let wide = batch(columns.iter().map(|name| (name.as_str(), Arc::clone(&values))).collect());
    let profile = profile(&[wide], ProfileLevel::TopValues);
    let column = &profile.columns[DETAILED_COLUMNS];
    assert_eq!((column.nulls, column.distinct, column.min.as_deref()), (1, None, None));
}
