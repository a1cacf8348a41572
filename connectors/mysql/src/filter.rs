//! Cursor columns in SQL: which columns can be one, how they are compared, and bounds as literals.

use transload_core::connector::CursorFilter;
use transload_core::schema::{ColumnSchema, CursorValue};
use transload_core::{Error, Result};
use transload_sql::{hex_literal, quote_backquoted};

use crate::types::{ReadAs, Wire};

/// A text by its bytes in UTF-8, whatever its character set and collation are.
pub(crate) fn bytes_of_text(column: &str) -> String {
    format!("CAST(CONVERT({column} USING utf8mb4) AS BINARY)")
}

/// A column as it is compared and ordered: text by its bytes, as the engine does.
pub(crate) fn comparable(column: &ColumnSchema, read: &ReadAs) -> Result<String> {
    let name = quote_backquoted(&column.name)?;
    if !read.ordered {
        let text = format!("column `{}` of type {} cannot be a cursor", column.name, column.source_type);
        return Err(Error::unsupported(text).with("column", &column.name).hint(
            "choose an integer, decimal of up to 38 digits, date, datetime, timestamp or text column",
        ));
    }
    Ok(match read.wire {
        Wire::Text => bytes_of_text(&name),
        Wire::Bits | Wire::Bits64 => format!("({name} + 0)"),
        _ => name,
    })
}

/// The condition of a cursor range; `None` where every row is in it.
pub(crate) fn condition(
    filter: &CursorFilter,
    column: &ColumnSchema,
    read: &ReadAs,
) -> Result<Option<String>> {
    let compared = comparable(column, read)?;
    let mut bounds = Vec::new();
    if let Some(lo) = &filter.lo {
        let (literal, rounded) = literal(lo, column, read)?;
        // A bound between two values of the column lies above the one that it was rounded down to.
        let operator = if filter.lo_inclusive && !rounded { ">=" } else { ">" };
        bounds.push(format!("{compared} {operator} {literal}"));
    }
    if let Some(hi) = &filter.hi {
        bounds.push(format!("{compared} <= {}", literal(hi, column, read)?.0));
    }
    let name = quote_backquoted(&column.name)?;
    // Asked of a NOT NULL column, IS NULL is true of zero dates.
    Ok(match (bounds.is_empty(), filter.include_nulls, column.nullable) {
        (true, true, _) | (true, _, false) => None,
        (true, false, true) => Some(format!("{name} IS NOT NULL")),
        (false, true, true) => Some(format!("({} OR {name} IS NULL)", bounds.join(" AND "))),
        (false, _, _) => Some(bounds.join(" AND ")),
    })
}

/// A bound as a literal, and whether it was rounded down to microseconds. Its type is the column's own, so that an
/// index serves the comparison.
pub(crate) fn literal(value: &CursorValue, column: &ColumnSchema, read: &ReadAs) -> Result<(String, bool)> {
    use Wire::{
        Bits, Bits64, Date, DateTime, Decimal128, Int8, Int16, Int32, Int64, Timestamp, Unsigned, Unsigned64,
    };
    let exactly = |text: String| Ok((text, false));
    match (value, read.wire) {
        (
            CursorValue::Int(_) | CursorValue::UInt(_),
            Int8 | Int16 | Int32 | Int64 | Unsigned(_) | Bits | Bits64 | Unsigned64 | Decimal128(..),
        )
        | (CursorValue::Decimal(..), Decimal128(..) | Unsigned64 | Bits64) => exactly(value.to_string()),
        (CursorValue::Date(days), Date) => exactly(format!("DATE'{}'", date_text((*days).into())?)),
        (CursorValue::DateTime(nanos), DateTime) | (CursorValue::Timestamp(nanos), Timestamp) => {
            timestamp(nanos.0)
        }
        (CursorValue::Text(text), Wire::Text) => exactly(hex_literal(text.as_bytes())),
        _ => Err(CursorFilter::other_type(&column.name, &column.source_type, value)),
    }
}

/// Sessions run in UTC, so that DATETIME and TIMESTAMP read the same text.
fn timestamp(nanos: i128) -> Result<(String, bool)> {
    let micros = nanos.div_euclid(1000);
    let (days, micros) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let date = date_text(i64::try_from(days).map_err(|_| beyond())?)?;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let text = format!("TIMESTAMP'{date} {hours:02}:{minutes:02}:{:02}.{fraction:06}'", seconds % 60);
    Ok((text, nanos.rem_euclid(1000) != 0))
}

fn beyond() -> Error {
    Error::data("a cursor bound beyond the years 0 to 9999").hint("choose a bound that the column can hold")
}

/// A day of the proleptic Gregorian calendar.
///
/// The algorithm counts in eras of 400 years that begin on 1 March: Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`.
fn date_text(days: i64) -> Result<String> {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return Err(beyond());
    }
    Ok(format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ZeroDates;
    use crate::types::{CatalogType, read_as};
    use transload_core::ErrorKind;
    use transload_core::schema::Nanos;

    fn sql(type_name: &str, nullable: bool, filter: &CursorFilter) -> Result<Option<String>> {
        let catalog = CatalogType {
            name: type_name.split(' ').next().unwrap().into(),
            text: type_name.into(),
            precision: 20,
            scale: 2,
            ..CatalogType::default()
        };
        let read = read_as(&catalog, ZeroDates::Refuse);
        let mut column = ColumnSchema::new(&filter.column, type_name, read.wire.arrow());
        column.nullable = nullable;
        condition(filter, &column, &read)
    }

    fn range(lo: Option<CursorValue>, hi: Option<CursorValue>) -> CursorFilter {
        CursorFilter { column: "c".into(), lo, lo_inclusive: true, hi, include_nulls: false }
    }

    #[test]
    fn bounds_are_typed_and_never_escape() {
        let text = CursorValue::Text("it's \\".into());
        assert_eq!(
            sql("varchar", true, &range(Some(text), None)).unwrap().unwrap(),
            "CAST(CONVERT(`c` USING utf8mb4) AS BINARY) >= X'69742773205C'"
        );
        let at = |nanos| CursorValue::DateTime(Nanos(nanos));
        assert_eq!(
            sql("datetime", true, &range(Some(at(1_500)), Some(at(-1)))).unwrap().unwrap(),
            "`c` > TIMESTAMP'1970-01-01 00:00:00.000001' AND `c` <= TIMESTAMP'1969-12-31 23:59:59.999999'"
        );
        let nulls = CursorFilter { include_nulls: true, ..range(None, Some(CursorValue::Int(-5))) };
        assert_eq!(sql("int", true, &nulls).unwrap().unwrap(), "(`c` <= -5 OR `c` IS NULL)");
        assert_eq!(sql("int", false, &nulls).unwrap().unwrap(), "`c` <= -5");
        assert_eq!(sql("int", true, &range(None, None)).unwrap().unwrap(), "`c` IS NOT NULL");
        assert_eq!(sql("int", false, &range(None, None)).unwrap(), None);
        let decimal = CursorValue::Decimal("-5".into(), 2);
        assert_eq!(sql("decimal", true, &range(Some(decimal), None)).unwrap().unwrap(), "`c` >= -0.05");
        let huge = CursorValue::Decimal(u64::MAX.to_string(), 0);
        assert_eq!(
            sql("bigint unsigned", true, &range(Some(huge), None)).unwrap().unwrap(),
            "`c` >= 18446744073709551615"
        );
        assert!(sql("datetime", true, &range(Some(at(i128::MAX)), None)).is_err());
    }

    #[test]
    fn a_window_of_another_type_is_refused() {
        let error = sql("text", true, &range(Some(CursorValue::Int(1)), None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChanged);
        for unordered in ["year", "json", "enum", "time", "float", "double", "blob", "uuid"] {
            let error = sql(unordered, true, &range(None, None)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{unordered}");
        }
    }
}
