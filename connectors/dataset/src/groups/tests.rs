//! Batches of all kinds are read back as they were, and what the footer says of them is true.

use std::collections::HashSet;
use std::ops::Range;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    StringArray, StructArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::concat::concat_batches;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use parquet::basic::{Compression, PageType, ZstdLevel};
use parquet::column::page::Page;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy};
use parquet::file::properties::EnabledStatistics;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Case {
    seed: u64,
    /// Distinct values; the dictionary's limit is 32,768.
    distinct: u64,
    nulls: Nulls,
    /// Rows of batches.
    batches: Vec<usize>,
    group_rows: usize,
    codec: Compression,
}

#[derive(Debug, Clone, Copy)]
enum Nulls {
    None,
    All,
    /// Each with this chance in a hundred.
    Some(u64),
    /// So many rows one after the other, then as many without.
    Blocks(u64),
}

impl Nulls {
    fn at(self, row: u64, random: u64) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(percent) => random % 100 < percent,
            Self::Blocks(rows) => (row / rows).is_multiple_of(2),
        }
    }
}

fn mix(seed: u64, n: u64) -> u64 {
    let mut x = seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2 {
        x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    x ^ (x >> 29)
}

/// Texts of every length up to 40 bytes, and long ones that differ only in the middle.
fn text(value: u64) -> String {
    let length = usize::try_from(value % 41).unwrap();
    match value % 7 {
        0 => format!("{}{value:020}{}", "a".repeat(50), "z".repeat(30)),
        1 => "\u{0}".repeat(length % 5),
        2 => format!("é€{value}\u{1f600}").chars().take(length).collect(),
        _ => format!("{value:x}{value:o}").chars().cycle().take(length).collect(),
    }
}

fn batch(case: &Case, rows: Range<u64>) -> RecordBatch {
    let value = |row: u64, column: u64| {
        let value = mix(case.seed ^ column, row) % case.distinct;
        // Far from each other, in both directions.
        mix(7, value)
    };
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for required in [false, true] {
        let nulls = if required { Nulls::None } else { case.nulls };
        let each = |column: u64| {
            let rows = rows.clone();
            rows.map(move |row| (!nulls.at(row, mix(column, row))).then(|| value(row, column)))
        };
        let signed = |column| each(column).map(|value| value.map(u64::cast_signed));
        let digits =
            |column, most: i64| signed(column).map(move |value| value.map(|value| i128::from(value % most)));
        let decimals = |column, most, precision| {
            let array: Decimal128Array = digits(column, most).collect();
            Arc::new(array.with_precision_and_scale(precision, 2).unwrap()) as ArrayRef
        };
        let mut list = ListBuilder::new(Int64Builder::new());
        for value in signed(20) {
            list.append_option(value.map(|value| (0..value.rem_euclid(4)).map(Some)));
        }
        let inner: ArrayRef = Arc::new(each(21).map(|value| value.map(text)).collect::<StringArray>());
        let inner_field = Arc::new(Field::new("t", DataType::Utf8, true));
        let bytes: Vec<Option<Vec<u8>>> = each(2)
            .map(|value| {
                value.map(|value| value.to_be_bytes()[..usize::try_from(value % 9).unwrap()].to_vec())
            })
            .collect();
        let arrays: Vec<(&str, ArrayRef)> = vec![
            ("text", Arc::new(each(1).map(|value| value.map(text)).collect::<StringArray>())),
            ("bytes", Arc::new(bytes.iter().map(|value| value.as_deref()).collect::<BinaryArray>())),
            ("int", Arc::new(signed(3).collect::<Int64Array>())),
            (
                "date",
                Arc::new(
                    signed(4)
                        .map(|value| value.map(|value| i32::try_from(value % i64::from(i32::MAX)).unwrap()))
                        .collect::<Date32Array>(),
                ),
            ),
            ("datetime", Arc::new(signed(5).collect::<TimestampMicrosecondArray>())),
            ("timestamp", Arc::new(signed(6).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
            (
                "time",
                Arc::new(
                    signed(7)
                        .map(|value| value.map(|value| value.rem_euclid(86_400_000_000)))
                        .collect::<Time64MicrosecondArray>(),
                ),
            ),
            ("decimal9", decimals(8, 1_000_000_000, 9)),
            ("decimal18", decimals(9, 1_000_000_000_000_000_000, 18)),
            ("decimal38", decimals(10, i64::MAX, 38)),
            (
                "bool",
                Arc::new(each(11).map(|value| value.map(|value| value % 2 == 0)).collect::<BooleanArray>()),
            ),
            (
                "float",
                Arc::new(
                    each(12)
                        .map(|value| value.map(|value| f64::from_bits(value >> 12 | 1 << 61)))
                        .collect::<Float64Array>(),
                ),
            ),
            ("list", Arc::new(list.finish())),
            ("record", Arc::new(StructArray::new(vec![inner_field].into(), vec![inner], None))),
        ];
        for (name, array) in arrays {
            let name = if required { format!("required {name}") } else { name.to_owned() };
            fields.push(Field::new(name, array.data_type().clone(), !required));
            columns.push(array);
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// The batches of a case: slices of larger ones.
fn batches(case: &Case) -> Vec<RecordBatch> {
    let mut start = 0;
    let mut batches = Vec::new();
    for rows in &case.batches {
        let end = start + u64::try_from(*rows).unwrap();
        let skip = usize::try_from(start % 13).unwrap();
        let wide = batch(case, start..end + 20);
        batches.push(wide.slice(skip, *rows));
        start = end;
    }
    batches
}

fn write(case: &Case, batches: &[RecordBatch], file: File, folder: &std::path::Path) {
    let properties = WriterProperties::builder()
        .set_compression(case.codec)
        .set_max_row_group_row_count(Some(case.group_rows))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build();
    let first = batches.first();
    let schema = batches[0].schema();
    let mut writer = GroupWriter::new(file, schema, properties, folder.to_owned(), first).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
}

/// Lowest and highest value of an array as arrays of one row, and the number of distinct ones.
fn real(array: &ArrayRef) -> (Option<(ArrayRef, ArrayRef)>, usize) {
    let converter = RowConverter::new(vec![SortField::new(array.data_type().clone())]).unwrap();
    let rows = converter.convert_columns(std::slice::from_ref(array)).unwrap();
    let valid: Vec<usize> = (0..array.len()).filter(|row| array.is_valid(*row)).collect();
    let low = valid.iter().min_by_key(|row| rows.row(**row));
    let high = valid.iter().max_by_key(|row| rows.row(**row));
    let distinct: HashSet<_> = valid.iter().map(|row| rows.row(*row)).collect();
    (low.zip(high).map(|(low, high)| (array.slice(*low, 1), array.slice(*high, 1))), distinct.len())
}

fn check_statistics(column: &ColumnChunkMetaData, array: &ArrayRef, low: &ArrayRef, high: &ArrayRef) {
    let name = column.column_path().string();
    let statistics = column.statistics().unwrap();
    assert_eq!(statistics.null_count_opt(), Some(u64::try_from(array.null_count()).unwrap()), "{name}");
    let (real, distinct) = real(array);
    if let Some(count) = statistics.distinct_count_opt() {
        assert_eq!(count, u64::try_from(distinct).unwrap(), "{name}");
    }
    let Some((real_low, real_high)) = real else {
        assert!(statistics.min_bytes_opt().is_none() && statistics.max_bytes_opt().is_none());
        return;
    };
    if *array.data_type() == DataType::Utf8 {
        let text =
            |array: &ArrayRef| array.as_any().downcast_ref::<StringArray>().unwrap().value(0).to_owned();
        assert!(text(low) <= text(&real_low) && text(high) >= text(&real_high), "{name}");
        assert_eq!(statistics.min_is_exact(), text(low) == text(&real_low), "{name}");
        assert_eq!(statistics.max_is_exact(), text(high) == text(&real_high), "{name}");
        assert!(text(&real_low).len() > 64 || statistics.min_is_exact(), "{name}");
        assert!(text(&real_high).len() > 64 || statistics.max_is_exact(), "{name}");
    } else {
        assert_eq!((low, high), (&real_low, &real_high), "{name}");
    }
}

fn check_groups(file: &File, metadata: &ArrowReaderMetadata, all: &RecordBatch, group_rows: usize) {
    let parquet = metadata.metadata();
    let reader = SerializedFileReader::new(file.try_clone().unwrap()).unwrap();
    let (mut row, mut end) = (0, 4);
    for (index, group) in parquet.row_groups().iter().enumerate() {
        let rows = usize::try_from(group.num_rows()).unwrap();
        assert!(rows == group_rows || row + rows == all.num_rows());
        for (leaf, column) in group.columns().iter().enumerate() {
            let (start, length) = column.byte_range();
            assert_eq!(start, end, "chunks follow one another");
            end = start + length;
            check_pages(&reader, index, leaf, column);
        }
        for (field, array) in all.schema().fields().iter().zip(all.columns()) {
            if field.data_type().is_nested() {
                continue;
            }
            let of = StatisticsConverter::try_new(field.name(), metadata.schema(), metadata.parquet_schema());
            let of = of.unwrap();
            let column = group.column(of.parquet_column_index().unwrap());
            assert_eq!(column.num_values(), group.num_rows());
            let low = of.row_group_mins([group]).unwrap();
            let high = of.row_group_maxes([group]).unwrap();
            check_statistics(column, &array.slice(row, rows), &low, &high);
        }
        row += rows;
    }
    assert_eq!(row, all.num_rows());
}

fn check_pages(reader: &SerializedFileReader<File>, group: usize, leaf: usize, column: &ColumnChunkMetaData) {
    let name = column.column_path().string();
    let pages = reader.get_row_group(group).unwrap().get_column_page_reader(leaf).unwrap();
    let pages: Vec<Page> = pages.map(|page| page.unwrap()).collect();
    let values: u32 = pages.iter().filter(|page| page.is_data_page()).map(Page::num_values).sum();
    assert_eq!(i64::from(values), column.num_values(), "{name}");
    if column.compression() == Compression::UNCOMPRESSED {
        assert_eq!(column.compressed_size(), column.uncompressed_size(), "{name}");
    }
    for stats in column.page_encoding_stats().unwrap() {
        let found = pages.iter().filter(|page| {
            let dictionary = stats.page_type == PageType::DICTIONARY_PAGE;
            page.encoding() == stats.encoding && page.is_dictionary_page() == dictionary
        });
        assert_eq!(found.count(), usize::try_from(stats.count).unwrap(), "{name}");
        assert!(column.encodings().any(|encoding| encoding == stats.encoding), "{name}");
    }
}

fn metadata(file: &File) -> ArrowReaderMetadata {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    ArrowReaderMetadata::load(file, options.with_encoding_stats_as_mask(false)).unwrap()
}

fn check(case: &Case) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.parquet");
    let batches = batches(case);
    write(case, &batches, File::create_new(&path).unwrap(), folder.path());
    let all = concat_batches(&batches[0].schema(), &batches).unwrap();
    let file = File::open(&path).unwrap();
    let metadata = metadata(&file);
    check_groups(&file, &metadata, &all, case.group_rows);

    let reader = |selection: Option<RowSelection>| {
        let file = file.try_clone().unwrap();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
        let builder = builder.with_batch_size(10_000);
        let builder = match selection {
            Some(selection) => builder.with_row_selection(selection),
            None => builder,
        };
        let batches: Vec<RecordBatch> = builder.build().unwrap().map(|batch| batch.unwrap()).collect();
        concat_batches(&all.schema(), &batches).unwrap()
    };
    assert!(reader(None) == all, "rows are read back as they were");
    // By the offset index, which says where pages begin.
    let last = all.num_rows().saturating_sub(3);
    let selection =
        RowSelection::from(vec![RowSelector::skip(last), RowSelector::select(all.num_rows() - last)]);
    assert!(reader(Some(selection)) == all.slice(last, all.num_rows() - last), "the last rows are found");
}

fn cases() -> impl Strategy<Value = Case> {
    let distinct = prop_oneof![
        Just(1),
        Just(2),
        3..300_u64,
        Just(32_767),
        Just(32_768),
        Just(32_769),
        Just(40_000),
        Just(u64::MAX)
    ];
    let nulls = prop_oneof![
        Just(Nulls::None),
        Just(Nulls::All),
        (1..99_u64).prop_map(Nulls::Some),
        (1..40_000_u64).prop_map(Nulls::Blocks),
    ];
    let rows = prop_oneof![Just(0), Just(1), 2..100_usize, 1000..10_000_usize, Just(40_000)];
    let codec = prop_oneof![
        Just(Compression::UNCOMPRESSED),
        Just(Compression::SNAPPY),
        Just(Compression::ZSTD(ZstdLevel::default())),
    ];
    let groups = prop_oneof![1..500_usize, 5_000..80_000_usize, Just(1_000_000)];
    (any::<u64>(), distinct, nulls, prop::collection::vec(rows, 1..4), groups, codec).prop_map(
        |(seed, distinct, nulls, batches, group_rows, codec)| {
            // Not thousands of row groups.
            let group_rows = group_rows.max(batches.iter().sum::<usize>() / 20);
            Case { seed, distinct, nulls, batches, group_rows, codec }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(case in cases()) {
        check(&case);
    }
}

/// A dictionary that becomes too large within a row group, and columns that are then no longer given one.
#[test]
fn dictionaries_that_grow_too_large_are_left() {
    let case = Case {
        seed: 1,
        distinct: u64::MAX,
        nulls: Nulls::Some(20),
        // The first batch is too small to show it.
        batches: vec![5_000, 200_000],
        group_rows: 120_000,
        codec: Compression::SNAPPY,
    };
    check(&case);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.parquet");
    write(&case, &batches(&case), File::create_new(&path).unwrap(), folder.path());
    let metadata = metadata(&File::open(&path).unwrap());
    let encodings = |group: usize, name: &str| {
        let columns = metadata.metadata().row_group(group).columns();
        let column = columns.iter().find(|column| column.column_path().string() == name).unwrap();
        let pages = column.page_encoding_stats().unwrap();
        pages.iter().map(|pages| (pages.page_type, pages.encoding)).collect::<Vec<_>>()
    };
    let (data, dictionary) = (PageType::DATA_PAGE, PageType::DICTIONARY_PAGE);
    let mixed = [(dictionary, Encoding::PLAIN), (data, Encoding::RLE_DICTIONARY), (data, Encoding::PLAIN)];
    for name in ["int", "text", "date", "decimal18"] {
        assert_eq!(encodings(0, name), mixed, "{name}");
    }
    assert_eq!(encodings(1, "int"), [(data, Encoding::DELTA_BINARY_PACKED)]);
    assert_eq!(encodings(1, "text"), [(data, Encoding::PLAIN)]);
}
