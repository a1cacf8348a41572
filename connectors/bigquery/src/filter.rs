//! Cursor ranges as conditions, with bounds as literals of the column's own type. No I/O.

use transload_core::connector::CursorFilter;
use transload_core::schema::{BigQueryType, ColumnSchema, CursorValue, Nanos};
use transload_core::{Error, Result};

use crate::sql;

/// Checks that a column can be a cursor, and gives its type.
///
/// # Errors
/// `unsupported` for types that the engine cannot order.
pub(crate) fn cursor_type(column: &ColumnSchema) -> Result<&BigQueryType> {
    let known = column.bigquery_type.as_ref();
    let ordered = CursorValue::supports(&column.data_type) && column.extension.is_none();
    known.filter(|_| ordered).ok_or_else(|| {
        Error::unsupported(format!(
            "column `{}` of type {} cannot be a cursor",
            column.name, column.source_type
        ))
        .with("column", &column.name)
        .hint("choose an INT64, NUMERIC, DATE, DATETIME, TIMESTAMP or STRING column")
    })
}

/// The condition of a cursor range; `None` where every row is in it.
///
/// # Errors
/// `unsupported` for a column that cannot be a cursor, `schema_changed` for bounds of another type.
pub(crate) fn condition(
    filter: &CursorFilter,
    hi_open: bool,
    column: &ColumnSchema,
) -> Result<Option<String>> {
    let data_type = cursor_type(column)?;
    let name = sql::quote(&column.name);
    let mut bounds = Vec::new();
    if let Some(lo) = &filter.lo {
        let (literal, rounded) = literal(lo, column, data_type)?;
        // A bound between two values of the column lies above the one that it was rounded down to.
        let operator = if filter.lo_inclusive && !rounded { ">=" } else { ">" };
        bounds.push(format!("{name} {operator} {literal}"));
    }
    if let Some(hi) = &filter.hi {
        let (literal, rounded) = literal(hi, column, data_type)?;
        let operator = if hi_open && !rounded { "<" } else { "<=" };
        bounds.push(format!("{name} {operator} {literal}"));
    }
    Ok(match (bounds.is_empty(), filter.include_nulls) {
        (true, true) => None,
        (true, false) => Some(format!("{name} IS NOT NULL")),
        (false, true) => Some(format!("(({}) OR {name} IS NULL)", bounds.join(" AND "))),
        (false, false) => Some(bounds.join(" AND ")),
    })
}

/// A bound as a literal, and whether it was rounded down to the column's precision.
fn literal(value: &CursorValue, column: &ColumnSchema, data_type: &BigQueryType) -> Result<(String, bool)> {
    let exact = |text: String| Ok((text, false));
    match (value, data_type) {
        (CursorValue::Int(number), BigQueryType::Int64) => exact(number.to_string()),
        // Beyond INT64: a NUMERIC is compared with it exactly.
        (CursorValue::UInt(number), BigQueryType::Int64) => exact(format!("NUMERIC '{number}'")),
        (CursorValue::Int(_) | CursorValue::UInt(_) | CursorValue::Decimal(..), BigQueryType::Numeric(_)) => {
            exact(format!("NUMERIC {}", sql::literal(&value.to_string())))
        }
        (CursorValue::Date(_), BigQueryType::Date) => {
            exact(format!("DATE {}", sql::literal(&value.to_string())))
        }
        (CursorValue::DateTime(nanos), BigQueryType::DateTime) => {
            let (micros, rounded) = micros(*nanos);
            Ok((format!("DATETIME {}", sql::literal(&CursorValue::DateTime(micros).to_string())), rounded))
        }
        (CursorValue::Timestamp(nanos), BigQueryType::Timestamp) => {
            let (micros, rounded) = micros(*nanos);
            Ok((format!("TIMESTAMP {}", sql::literal(&CursorValue::Timestamp(micros).to_string())), rounded))
        }
        (CursorValue::Text(text), BigQueryType::String) => exact(sql::literal(text)),
        _ => Err(CursorFilter::other_type(&column.name, &column.source_type, value)),
    }
}

fn micros(nanos: Nanos) -> (Nanos, bool) {
    let rest = nanos.0.rem_euclid(1000);
    (Nanos(nanos.0 - rest), rest != 0)
}

/// The expressions that give a cursor's lowest and highest value as texts that [`value`] reads.
pub(crate) fn bounds(column: &ColumnSchema) -> Result<(String, String)> {
    let name = sql::quote(&column.name);
    let form = |value: String| match cursor_type(column) {
        Ok(BigQueryType::Timestamp) => Ok(format!("UNIX_MICROS({value})")),
        Ok(BigQueryType::Date) => Ok(format!("UNIX_DATE({value})")),
        Ok(_) => Ok(value),
        Err(error) => Err(error),
    };
    Ok((form(format!("MIN({name})"))?, form(format!("MAX({name})"))?))
}

/// A cursor value from the text that a query gave for an expression of [`bounds`].
///
/// # Errors
/// `internal` for a text that is no such value.
pub(crate) fn value(text: &str, column: &ColumnSchema) -> Result<CursorValue> {
    let bad = || {
        Error::internal("BigQuery gave a cursor value that cannot be read")
            .with("column", &column.name)
            .with("value", text)
            .hint("report this with the column's type")
    };
    Ok(match cursor_type(column)? {
        BigQueryType::Int64 => CursorValue::Int(text.parse().map_err(|_| bad())?),
        BigQueryType::Timestamp => {
            let micros: i64 = text.parse().map_err(|_| bad())?;
            CursorValue::Timestamp(Nanos(i128::from(micros) * 1000))
        }
        BigQueryType::Date => CursorValue::Date(text.parse().map_err(|_| bad())?),
        BigQueryType::Numeric(_) => {
            let arrow_schema::DataType::Decimal128(_, scale) = column.data_type else { return Err(bad()) };
            CursorValue::Decimal(unscaled(text, scale).ok_or_else(bad)?, scale)
        }
        BigQueryType::String => CursorValue::Text(text.to_owned()),
        _ => CursorValue::parse(text, &column.data_type)?,
    })
}

/// `-12.5` at scale 3 as `-12500`.
fn unscaled(text: &str, scale: i8) -> Option<String> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let rest = usize::try_from(scale).ok()?.checked_sub(fraction.len())?;
    let number: i128 = format!("{whole}{fraction}{}", "0".repeat(rest)).parse().ok()?;
    Some(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_core::ErrorKind;

    fn column(data_type: &str) -> ColumnSchema {
        let bigquery_type: BigQueryType = data_type.parse().unwrap();
        let mut column = ColumnSchema::new("a`b", data_type, bigquery_type.arrow_type());
        column.extension = bigquery_type.extension();
        column.bigquery_type = Some(bigquery_type);
        column
    }

    fn filter(lo: Option<CursorValue>, hi: Option<CursorValue>) -> CursorFilter {
        CursorFilter { column: "a`b".into(), lo, lo_inclusive: true, hi, include_nulls: false }
    }

    #[test]
    fn bounds_are_literals_of_the_columns_type() {
        let nanos = |nanos| Some(CursorValue::Timestamp(Nanos(nanos)));
        for (data_type, lo, expected) in [
            ("INT64", Some(CursorValue::Int(-5)), "`a\\`b` >= -5"),
            ("INT64", Some(CursorValue::UInt(u64::MAX)), "`a\\`b` >= NUMERIC '18446744073709551615'"),
            ("NUMERIC(10,2)", Some(CursorValue::Decimal("-150".into(), 2)), "`a\\`b` >= NUMERIC '-1.50'"),
            ("DATE", Some(CursorValue::Date(-719_162)), "`a\\`b` >= DATE '0001-01-01'"),
            (
                "DATETIME",
                Some(CursorValue::DateTime(Nanos(1_000))),
                "`a\\`b` >= DATETIME '1970-01-01T00:00:00.000001'",
            ),
            ("TIMESTAMP", nanos(1_000), "`a\\`b` >= TIMESTAMP '1970-01-01T00:00:00.000001Z'"),
            // Nothing at microsecond 0 is at or above it.
            ("TIMESTAMP", nanos(1), "`a\\`b` > TIMESTAMP '1970-01-01T00:00:00Z'"),
            ("STRING", Some(CursorValue::Text("a'\\\n".into())), "`a\\`b` >= 'a\\'\\\\\\u000a'"),
        ] {
            let condition = condition(&filter(lo, None), false, &column(data_type)).unwrap();
            assert_eq!(condition.as_deref(), Some(expected));
        }
    }

    #[test]
    fn nulls_and_ends_of_a_range() {
        let id = column("INT64");
        let with_nulls = |filter: CursorFilter| CursorFilter { include_nulls: true, ..filter };
        let between = filter(Some(CursorValue::Int(1)), Some(CursorValue::Int(2)));
        let exclusive = CursorFilter { lo_inclusive: false, ..between.clone() };
        for (filter, expected) in [
            (with_nulls(filter(None, None)), None),
            (filter(None, None), Some("`a\\`b` IS NOT NULL")),
            (between.clone(), Some("`a\\`b` >= 1 AND `a\\`b` <= 2")),
            (exclusive, Some("`a\\`b` > 1 AND `a\\`b` <= 2")),
            (with_nulls(between), Some("((`a\\`b` >= 1 AND `a\\`b` <= 2) OR `a\\`b` IS NULL)")),
        ] {
            assert_eq!(condition(&filter, false, &id).unwrap().as_deref(), expected);
            let open = condition(&filter, true, &id).unwrap();
            assert_eq!(open, expected.map(|expected| expected.replace("<=", "<")));
        }
    }

    #[test]
    fn other_types_are_refused() {
        let text = filter(Some(CursorValue::Text("x".into())), None);
        assert_eq!(condition(&text, false, &column("INT64")).unwrap_err().kind(), ErrorKind::SchemaChanged);
        for data_type in ["BYTES", "FLOAT64", "BOOL", "BIGNUMERIC", "JSON", "GEOGRAPHY", "TIME"] {
            let error = condition(&text, false, &column(data_type)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{data_type}");
        }
    }

    #[test]
    fn values_keep_their_precision() {
        let read = |text: &str, data_type: &str| value(text, &column(data_type));
        assert_eq!(read("-12.5", "NUMERIC(10,3)").unwrap(), CursorValue::Decimal("-12500".into(), 3));
        assert_eq!(read("-0.000000001", "NUMERIC").unwrap(), CursorValue::Decimal("-1".into(), 9));
        assert_eq!(read("-1", "TIMESTAMP").unwrap(), CursorValue::Timestamp(Nanos(-1000)));
        assert_eq!(read("-719162", "DATE").unwrap(), CursorValue::Date(-719_162));
        let second = Nanos(1_000_001_000);
        assert_eq!(read("1970-01-01T00:00:01.000001", "DATETIME").unwrap(), CursorValue::DateTime(second));
        for (text, data_type) in [("1.2345", "NUMERIC(10,3)"), ("1e5", "NUMERIC"), ("x", "INT64")] {
            assert!(read(text, data_type).is_err(), "{text}");
        }
    }
}
