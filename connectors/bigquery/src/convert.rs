//! Types that a Parquet load cannot fill: how they are staged, and the expression that turns what was staged
//! into the target's value. Pure.
//!
//! | Target | Staged as | Turned by |
//! |---|---|---|
//! | JSON | STRING | `PARSE_JSON`, refusing numbers that would be rounded |
//! | GEOGRAPHY | STRING (well-known text) | `ST_GEOGFROMTEXT` |
//! | BIGNUMERIC | STRING | `CAST` |
//! | INTERVAL | RECORD of months, days, seconds, microseconds | intervals of one part each and a difference of times |
//! | `RANGE<T>` | RECORD of start and end | `RANGE` |
//! | RECORD with any of these | RECORD | field by field |
//!
//! All others are loaded as they are. The same holds inside arrays and records.

use std::sync::Arc;

use arrow_array::builder::Int64Builder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal256Type, IntervalMonthDayNanoType};
use arrow_array::{Array as _, ArrayRef, ListArray, StringArray, StructArray, make_array};
use arrow_schema::{DataType, Field, IntervalUnit};
use transload_core::schema::{BigQueryType, Mode, RecordField, TargetColumn};
use transload_core::{Error, Result};

use crate::sql::quote;

/// Parts of a staged INTERVAL. BigQuery has no interval of parts of a second but as a difference.
const INTERVAL_PARTS: [&str; 4] = ["months", "days", "seconds", "micros"];

/// The type that a value has in the staging table.
pub(crate) fn stage_type(data_type: &BigQueryType) -> BigQueryType {
    let field =
        |name: &str, data_type| RecordField { name: name.to_owned(), data_type, mode: Mode::Nullable };
    match data_type {
        // Parquet has decimals of 76 digits, too, but who reads them as doubles does so silently.
        BigQueryType::Json | BigQueryType::Geography | BigQueryType::BigNumeric(_) => BigQueryType::String,
        BigQueryType::Interval => {
            BigQueryType::Record(INTERVAL_PARTS.map(|part| field(part, BigQueryType::Int64)).to_vec())
        }
        BigQueryType::Range(element) => BigQueryType::Record(vec![
            field("start", BigQueryType::clone(element)),
            field("end", BigQueryType::clone(element)),
        ]),
        BigQueryType::Record(fields) => {
            let staged = |inner: &RecordField| RecordField {
                data_type: stage_type(&inner.data_type),
                // What must not be NULL is checked when the rows enter the target.
                mode: if inner.mode == Mode::Repeated { Mode::Repeated } else { Mode::Nullable },
                name: inner.name.clone(),
            };
            BigQueryType::Record(fields.iter().map(staged).collect())
        }
        other => other.clone(),
    }
}

/// The expression that turns the staged column `staged` into the target's.
pub(crate) fn converted(column: &TargetColumn, staged: &str) -> String {
    expression(&column.data_type, column.mode, staged, 0).unwrap_or_else(|| staged.to_owned())
}

/// `None` where the staged value is the target's. `depth` keeps the names of nested elements apart.
fn expression(data_type: &BigQueryType, mode: Mode, staged: &str, depth: usize) -> Option<String> {
    if mode == Mode::Repeated {
        let (item, at) = (format!("x{depth}"), format!("o{depth}"));
        let value = expression(data_type, Mode::Nullable, &item, depth + 1)?;
        return Some(format!(
            "ARRAY(SELECT {value} FROM UNNEST({staged}) AS {item} WITH OFFSET AS {at} ORDER BY {at})"
        ));
    }
    Some(match data_type {
        BigQueryType::Json => format!("PARSE_JSON({staged}, wide_number_mode=>'exact')"),
        BigQueryType::Geography => format!("ST_GEOGFROMTEXT({staged})"),
        BigQueryType::BigNumeric(_) => format!("CAST({staged} AS BIGNUMERIC)"),
        BigQueryType::Interval => format!(
            "INTERVAL {staged}.months MONTH + INTERVAL {staged}.days DAY + INTERVAL {staged}.seconds SECOND + \
             (TIMESTAMP_MICROS({staged}.micros) - TIMESTAMP_MICROS(0))"
        ),
        // A NULL bound is an open end, a NULL range is none.
        BigQueryType::Range(_) => {
            format!("IF({staged} IS NULL, NULL, RANGE({staged}.`start`, {staged}.`end`))")
        }
        BigQueryType::Record(fields) => {
            let mut changed = false;
            let mut field = |inner: &RecordField| {
                let path = format!("{staged}.{}", quote(&inner.name));
                let value = expression(&inner.data_type, inner.mode, &path, depth);
                changed |= value.is_some();
                format!("{} AS {}", value.unwrap_or(path), quote(&inner.name))
            };
            let fields: Vec<String> = fields.iter().map(&mut field).collect();
            if !changed {
                return None;
            }
            format!("IF({staged} IS NULL, NULL, STRUCT({}))", fields.join(", "))
        }
        _ => return None,
    })
}

/// An array of the target's values as it is staged.
///
/// # Errors
/// `data` for an interval with parts below a microsecond, `internal` for an array of another type than the
/// target's.
pub(crate) fn stage_array(array: &ArrayRef, want: &Field) -> Result<ArrayRef> {
    let (from, to) = (array.data_type(), want.data_type());
    if from == to {
        return Ok(Arc::clone(array));
    }
    match (from, to) {
        (DataType::Interval(IntervalUnit::MonthDayNano), DataType::Struct(_)) => intervals(array, to),
        (DataType::Decimal256(..), DataType::Utf8) => {
            let decimals = array.as_primitive::<Decimal256Type>();
            let text = |row| decimals.is_valid(row).then(|| decimals.value_as_string(row));
            Ok(Arc::new((0..decimals.len()).map(text).collect::<StringArray>()))
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = stage_array(list.values(), item)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls)?))
        }
        (DataType::Struct(sent), DataType::Struct(fields)) if sent.len() == fields.len() => {
            let inner = array.as_struct();
            let columns =
                inner.columns().iter().zip(fields).map(|(column, field)| stage_array(column, field));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let nulls = inner.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len())?))
        }
        // Only metadata of nested fields can differ; the buffers stay the same.
        _ if from.equals_datatype(to) => {
            Ok(make_array(array.to_data().into_builder().data_type(to.clone()).build()?))
        }
        _ => Err(Error::internal("a batch does not have the schema of its target table")
            .with("column", want.name())
            .with("type", from.to_string())),
    }
}

fn intervals(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let DataType::Struct(fields) = to else {
        return Err(Error::internal("an interval is staged as a record"));
    };
    let mut parts = INTERVAL_PARTS.map(|_| Int64Builder::with_capacity(array.len()));
    for value in array.as_primitive::<IntervalMonthDayNanoType>() {
        let values = match value {
            None => [None; 4],
            Some(value) => {
                let micros = value.nanoseconds / 1000;
                if micros * 1000 != value.nanoseconds {
                    return Err(Error::data("an interval has parts below a microsecond")
                        .with("nanoseconds", value.nanoseconds)
                        .hint("BigQuery's INTERVAL has microseconds; load the column as STRING instead"));
                }
                let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
                [i64::from(value.months), i64::from(value.days), seconds, rest].map(Some)
            }
        };
        for (part, value) in parts.iter_mut().zip(values) {
            part.append_option(value);
        }
    }
    let columns = parts.iter_mut().map(|part| Arc::new(part.finish()) as ArrayRef).collect();
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns, array.nulls().cloned())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::IntervalMonthDayNanoArray;
    use arrow_array::types::{Int64Type, IntervalMonthDayNano};

    fn column(data_type: &str, mode: Mode) -> TargetColumn {
        TargetColumn { name: "c".into(), data_type: data_type.parse().unwrap(), mode, description: None }
    }

    #[test]
    fn only_what_needs_it_is_turned() {
        for (data_type, mode, expected) in [
            ("INT64", Mode::Nullable, "s.c0"),
            ("NUMERIC", Mode::Repeated, "s.c0"),
            ("BIGNUMERIC(40,2)", Mode::Nullable, "CAST(s.c0 AS BIGNUMERIC)"),
            ("RECORD<a INT64, b ARRAY<STRING>>", Mode::Repeated, "s.c0"),
            ("JSON", Mode::Required, "PARSE_JSON(s.c0, wide_number_mode=>'exact')"),
            ("RANGE<DATE>", Mode::Nullable, "IF(s.c0 IS NULL, NULL, RANGE(s.c0.`start`, s.c0.`end`))"),
            (
                "JSON",
                Mode::Repeated,
                "ARRAY(SELECT PARSE_JSON(x0, wide_number_mode=>'exact') FROM UNNEST(s.c0) AS x0 WITH OFFSET AS o0 ORDER BY o0)",
            ),
            (
                "RECORD<a INT64, g GEOGRAPHY>",
                Mode::Nullable,
                "IF(s.c0 IS NULL, NULL, STRUCT(s.c0.`a` AS `a`, ST_GEOGFROMTEXT(s.c0.`g`) AS `g`))",
            ),
            (
                "RECORD<a ARRAY<GEOGRAPHY>>",
                Mode::Repeated,
                "ARRAY(SELECT IF(x0 IS NULL, NULL, STRUCT(ARRAY(SELECT ST_GEOGFROMTEXT(x1) FROM UNNEST(x0.`a`) AS x1 \
                 WITH OFFSET AS o1 ORDER BY o1) AS `a`)) FROM UNNEST(s.c0) AS x0 WITH OFFSET AS o0 ORDER BY o0)",
            ),
        ] {
            assert_eq!(converted(&column(data_type, mode), "s.c0"), expected, "{data_type}");
        }
    }

    #[test]
    fn staged_types_are_those_that_parquet_fills() {
        for (data_type, expected) in [
            ("NUMERIC(10,2)", "NUMERIC(10,2)"),
            ("GEOGRAPHY", "STRING"),
            (
                "INTERVAL",
                "RECORD<months INT64 NULLABLE, days INT64 NULLABLE, seconds INT64 NULLABLE, micros INT64 NULLABLE>",
            ),
            ("RANGE<DATETIME>", "RECORD<start DATETIME NULLABLE, end DATETIME NULLABLE>"),
            ("RECORD<j JSON REQUIRED, l ARRAY<JSON>>", "RECORD<j STRING NULLABLE, l STRING REPEATED>"),
        ] {
            assert_eq!(stage_type(&data_type.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn intervals_keep_their_parts() {
        let value = |nanos| Some(IntervalMonthDayNano::new(-14, 3, nanos));
        let array: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![value(-1_500_001_000), None]));
        let want = Field::new("c0", stage_type(&BigQueryType::Interval).arrow_type(), true);
        let staged = stage_array(&array, &want).unwrap();
        let staged = staged.as_struct();
        let part = |i: usize| staged.column(i).as_primitive::<Int64Type>().value(0);
        assert_eq!([part(0), part(1), part(2), part(3)], [-14, 3, -1, -500_001]);
        assert!(staged.is_null(1));
        let fine: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![value(1)]));
        assert_eq!(stage_array(&fine, &want).unwrap_err().kind(), transload_core::ErrorKind::Data);
    }
}
