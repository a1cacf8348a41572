//! What BigQuery's words say about rows that it did not take: which column, which value, what to do; and the row
//! itself, looked up in our own file by that value.
//!
//! BigQuery has no fields for these: `errors[].location` names a file, `query` or nothing, and failures of Parquet
//! files name no row. The words are those that people have reported (see the tests), so a new wording only costs the
//! explanation: the message itself is always part of the error.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Time64MicrosecondType, TimestampMicrosecondType};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use transload_core::schema::canonical_texts;

/// What stands before and behind the name of a column.
const COLUMN: [(&str, &str); 7] = [
    ("column '", "'"),
    ("field '", "'"),
    ("Field '", "'"),
    ("Required field ", " cannot be null"),
    ("Field ", " has changed"),
    ("Field ", " has incompatible"),
    ("writing field ", " "),
];

/// What stands before and behind a value.
const VALUE: [(&str, &str); 4] = [
    ("value of ", " microseconds"),
    ("datetime value ", " for field"),
    ("timestamp value ", " for field"),
    ("value '", "'"),
];

/// Words of a message, and what to do then.
const HINTS: [(&str, &str); 6] = [
    (
        "Cannot return an invalid",
        "BigQuery's dates and times are those of the years 1 to 9999: set `on_reject` of the column to \"null\" or \
         \"quarantine\", or load it as STRING",
    ),
    (
        "cannot be null",
        "the column is REQUIRED at BigQuery: let `mapping.on_schema_change` be \"evolve\" and the column NULLABLE, or \
         load no NULL",
    ),
    (
        "does not match the target cpp_type",
        "the staging table is not as it was made: let nobody change tables that begin with _tl_, and run the job again",
    ),
    ("null element", "BigQuery's arrays have no NULL elements: load the column as JSON"),
    (
        "ST_GeogFromText",
        "GEOGRAPHY takes well-known text in WGS 84: load the column as STRING to see the value",
    ),
    ("JSON", "the text is no JSON that BigQuery keeps exactly: load the column as STRING"),
];

/// Columns of an excerpt, beside the one that it is about, and characters of a value in it.
const COLUMNS: usize = 6;
const CHARACTERS: usize = 40;

fn between<'a>(message: &'a str, marks: &[(&str, &str)]) -> Option<&'a str> {
    marks.iter().find_map(|(before, behind)| {
        let from = message.find(before)? + before.len();
        let rest = message.get(from..)?;
        let text = rest.get(..rest.find(behind)?)?;
        // A mark far away belongs to another sentence.
        (!text.is_empty() && text.chars().count() <= 300).then_some(text)
    })
}

/// The name of the column that a message is about.
pub(crate) fn column(message: &str) -> Option<&str> {
    between(message, &COLUMN)
}

/// The value that a message is about.
pub(crate) fn value(message: &str) -> Option<&str> {
    between(message, &VALUE)
}

/// What to do about a message, where its kind is known.
pub(crate) fn hint(message: &str) -> Option<&'static str> {
    HINTS.iter().find(|(words, _)| message.contains(words)).map(|(_, hint)| *hint)
}

/// The first row of a staged file whose column at `index` holds `value`, as `name=value` of the first columns and
/// that one. Blocks. `None` where there is none, or the file cannot be read.
pub(crate) fn row(path: &Path, names: &[&str], index: usize, value: &str) -> Option<String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).ok()?).ok()?;
    let shown: Vec<usize> = (0..names.len()).filter(|i| *i < COLUMNS || *i == index).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), shown.iter().copied());
    let at = shown.iter().position(|i| *i == index)?;
    for batch in builder.with_projection(mask).build().ok()? {
        let batch = batch.ok()?;
        if let Some(row) = position(batch.column(at), value) {
            return excerpt(&batch, row, &shown.iter().map(|i| names[*i]).collect::<Vec<_>>());
        }
    }
    None
}

/// BigQuery prints dates and times as the numbers that the file holds, and other values as texts.
fn position(array: &ArrayRef, value: &str) -> Option<usize> {
    let number: Option<i64> = value.parse().ok();
    let of = |found: Option<i64>| found.is_some() && found == number;
    if let Some(days) = array.as_primitive_opt::<Date32Type>() {
        return days.iter().position(|day| of(day.map(i64::from)));
    }
    if let Some(micros) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        return micros.iter().position(of);
    }
    if let Some(micros) = array.as_primitive_opt::<Time64MicrosecondType>() {
        return micros.iter().position(of);
    }
    canonical_texts(array).ok()?.iter().position(|text| text == Some(value))
}

fn excerpt(batch: &RecordBatch, row: usize, names: &[&str]) -> Option<String> {
    let mut text = String::new();
    for (name, column) in names.iter().zip(batch.columns()) {
        let value = canonical_texts(&column.slice(row, 1)).ok()?;
        let value = if value.is_null(0) { "NULL" } else { value.value(0) };
        let mut short: String = value.chars().take(CHARACTERS).collect();
        if short.len() < value.len() {
            short.push('…');
        }
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{name}={short}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::PartWriter;
    use arrow_array::{Int64Array, StringArray, TimestampMicrosecondArray};
    use std::sync::Arc;

    #[test]
    fn messages_that_were_reported() {
        for (source, message, name, at, told) in [
            (
                "googleapis/python-bigquery#61",
                "Error while reading data, error message: Invalid datetime value -62135596800000001 for field 'c2' of type \
                 'INT64' (logical type 'TIMESTAMP_MICROS'): generic::out_of_range: Cannot return an invalid datetime value \
                 of -62135596800000001 microseconds relative to the Unix epoch. The range of valid datetime values is \
                 [0001-01-1 00:00:00, 9999-12-31 23:59:59.999999]",
                Some("c2"),
                Some("-62135596800000001"),
                Some("years 1 to 9999"),
            ),
            (
                "broadinstitute/depmap_omics#152",
                "Error while reading table: p.d.t, error message: Parquet column 'c1' has type BYTE_ARRAY which does not \
                 match the target cpp_type INT64.",
                Some("c1"),
                None,
                Some("_tl_"),
            ),
            (
                "googleapis/java-bigquery#13",
                "Error while reading data, error message: Provided schema is not compatible with the file 'part.parquet'. \
                 Field 'c0' is specified as NULLABLE in provided schema which does not match REQUIRED as specified in the \
                 file.",
                Some("c0"),
                None,
                None,
            ),
            (
                "googleapis/google-cloud-python#8093",
                "Provided Schema does not match Table p:d.t. Field bar has changed mode from REQUIRED to NULLABLE",
                Some("bar"),
                None,
                None,
            ),
            (
                "erezsh/Preql#37",
                "Required field id cannot be null",
                Some("id"),
                None,
                Some("REQUIRED at BigQuery"),
            ),
            (
                "the scripted server of tests/scripted.rs",
                "Error while reading data, error message: Invalid value '2026-13-01' for column 'c1' at row 7",
                Some("c1"),
                Some("2026-13-01"),
                None,
            ),
            ("a failure of its own kind", "Resources exceeded during query execution", None, None, None),
        ] {
            assert_eq!((column(message), value(message)), (name, at), "{source}");
            assert_eq!(hint(message).is_some(), told.is_some(), "{source}");
            assert!(hint(message).unwrap_or_default().contains(told.unwrap_or_default()), "{source}");
        }
    }

    #[test]
    fn the_row_is_found_by_its_value() {
        let folder = tempfile::tempdir().unwrap();
        let ids = Arc::new(Int64Array::from_iter_values(0..3000)) as ArrayRef;
        let at = TimestampMicrosecondArray::from_iter((0..3000).map(|i| (i != 1).then_some(i * 1000)));
        let what = StringArray::from_iter_values((0..3000).map(|i| format!("{}{i}", "x".repeat(60))));
        let batch = RecordBatch::try_from_iter([
            ("c0", ids),
            ("c1", Arc::new(at.with_timezone("UTC")) as ArrayRef),
            ("c2", Arc::new(what) as ArrayRef),
        ])
        .unwrap();
        let mut part = PartWriter::create(folder.path(), 1, &batch.schema(), 1 << 20).unwrap();
        part.write(&batch).unwrap();
        let file = part.finish().unwrap();
        let names = ["id", "at", "what"];
        let found = row(&file.path, &names, 1, "2500000").unwrap();
        assert_eq!(found, format!("id=2500, at=1970-01-01T00:00:02.5Z, what={}…", "x".repeat(40)));
        assert!(row(&file.path, &names, 0, "1").unwrap().starts_with("id=1, at=NULL, what=x"));
        assert_eq!(row(&file.path, &names, 1, "17"), None);
        assert_eq!(row(Path::new("/nowhere"), &names, 1, "0"), None);
    }
}
