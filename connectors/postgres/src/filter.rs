//! Cursor columns in SQL: which columns can be one, how they are compared, and bounds as literals.

use transload_core::connector::CursorFilter;
use transload_core::schema::{ColumnSchema, CursorValue};
use transload_core::{Error, Result};
use transload_sql::quote_identifier;

use crate::dialect::{Cast, Dialect};
use crate::types::{ReadAs, Select, Wire};

/// A column as it is selected, so that the server sends its wire form. Functions and types are named with
/// their schemas: a search path may lead elsewhere.
pub(crate) fn select(name: &str, select: &Select) -> Result<String> {
    expression(&quote_identifier(name)?, select)
}

fn expression(name: &str, select: &Select) -> Result<String> {
    Ok(match select {
        Select::Plain => name.to_owned(),
        Select::Cast(to) => format!("{name}::pg_catalog.{to}"),
        Select::Json(form) => form.sql(name)?,
        Select::WellKnownText(schema) => format!("{}.ST_AsText({name}, {DIGITS})", quote_identifier(schema)?),
        Select::GeographyText(schema) => {
            let schema = quote_identifier(schema)?;
            format!(
                "CASE WHEN {schema}.ST_SRID({name}::{schema}.geometry) = 4326 THEN {schema}.ST_AsText({name}, {DIGITS}) \
                 ELSE {schema}.ST_AsEWKT({name}, {DIGITS}) END"
            )
        }
        Select::Unchecked(inner) => {
            format!("pg_catalog.convert_to(({})::pg_catalog.text, 'SQL_ASCII')", expression(name, inner)?)
        }
        Select::Widened => format!("{name}::float8"),
        Select::RedshiftGeography => format!("ST_AsText({name}, 17)"),
        Select::Padded => format!("pg_catalog.textin(pg_catalog.bpcharout({name}))"),
    })
}

/// Digits after the point that PostGIS may print: the smallest double has 324 zeros and 17 digits. Left to
/// itself it rounds to 15.
const DIGITS: u16 = 350;

/// A column as it is compared and ordered: text by its bytes, as the engine does.
pub(crate) fn comparable(dialect: Dialect, column: &ColumnSchema, read: &ReadAs) -> Result<String> {
    if !read.ordered {
        return Err(Error::unsupported(format!(
            "column `{}` of type {} cannot be a cursor",
            column.name, column.source_type
        ))
        .with("column", &column.name)
        .hint(match dialect {
            Dialect::Postgres => "choose an integer, numeric(p,s), date, timestamp or text column",
            Dialect::Redshift => "choose an integer, decimal, date or timestamp column",
        }));
    }
    match read.wire {
        Wire::Text => Ok(format!("{}::pg_catalog.text COLLATE \"C\"", quote_identifier(&column.name)?)),
        _ => select(&column.name, &read.select),
    }
}

/// The condition of a cursor range; `None` where every row is in it.
pub(crate) fn condition(
    dialect: Dialect,
    filter: &CursorFilter,
    column: &ColumnSchema,
    read: &ReadAs,
) -> Result<Option<String>> {
    let compared = comparable(dialect, column, read)?;
    let mut bounds = Vec::new();
    if let Some(lo) = &filter.lo {
        let (literal, rounded) = literal(dialect, lo, column, read)?;
        // A bound between two values of the column lies above the one that it was rounded down to.
        let operator = if filter.lo_inclusive && !rounded { ">=" } else { ">" };
        bounds.push(format!("{compared} {operator} {literal}"));
    }
    if let Some(hi) = &filter.hi {
        bounds.push(format!("{compared} <= {}", literal(dialect, hi, column, read)?.0));
    }
    let name = quote_identifier(&column.name)?;
    Ok(match (bounds.is_empty(), filter.include_nulls) {
        (true, true) => None,
        (true, false) => Some(format!("{name} IS NOT NULL")),
        (false, true) => Some(format!("({} OR {name} IS NULL)", bounds.join(" AND "))),
        (false, false) => Some(bounds.join(" AND ")),
    })
}

/// A bound as a typed literal, and whether it was rounded down to the column's precision. The type is the
/// column's own family, so that an index serves the comparison.
fn literal(
    dialect: Dialect,
    value: &CursorValue,
    column: &ColumnSchema,
    read: &ReadAs,
) -> Result<(String, bool)> {
    let typed = |text: &str, cast: Cast| Ok((dialect.typed(text, cast)?, false));
    match (value, read.wire) {
        (CursorValue::Int(number), Wire::Int2 | Wire::Int4 | Wire::Int8) => {
            typed(&number.to_string(), Cast::Int8)
        }
        (CursorValue::UInt(number), Wire::Int2 | Wire::Int4 | Wire::Int8) => {
            typed(&number.to_string(), Cast::Numeric)
        }
        (CursorValue::Int(_) | CursorValue::UInt(_) | CursorValue::Decimal(..), Wire::Decimal128(..)) => {
            typed(&value.to_string(), Cast::Numeric)
        }
        (CursorValue::Date(days), Wire::Date) => typed(&date_text((*days).into()), Cast::Date),
        (CursorValue::DateTime(nanos), Wire::DateTime) => timestamp(dialect, nanos.0, Cast::Timestamp),
        (CursorValue::Timestamp(nanos), Wire::Timestamp) => timestamp(dialect, nanos.0, Cast::Timestamptz),
        (CursorValue::Text(text), Wire::Text) => typed(text, Cast::Text),
        _ => Err(CursorFilter::other_type(&column.name, &column.source_type, value)),
    }
}

/// Sessions run in UTC, so that both timestamp types read the same text.
fn timestamp(dialect: Dialect, nanos: i128, cast: Cast) -> Result<(String, bool)> {
    let micros = nanos.div_euclid(1000);
    let (days, micros) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let days = i64::try_from(days).map_err(|_| Error::data("a cursor bound beyond every calendar"))?;
    let date = date_text(days);
    let (date, era) = date.strip_suffix(" BC").map_or((date.as_str(), ""), |date| (date, " BC"));
    let text = format!(
        "{date} {:02}:{:02}:{:02}.{fraction:06}{era}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    Ok((dialect.typed(&text, cast)?, nanos.rem_euclid(1000) != 0))
}

/// A day of the proleptic Gregorian calendar as PostgreSQL reads it, for every year it has.
///
/// The algorithm counts in eras of 400 years that begin on 1 March: Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`.
fn date_text(days: i64) -> String {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if year > 0 {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{:04}-{month:02}-{day:02} BC", 1 - year)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{CatalogType, read_as};
    use transload_core::ErrorKind;
    use transload_core::schema::Nanos;

    fn column(name: &str, type_name: &str, modifier: i32) -> (ColumnSchema, ReadAs) {
        let read = read_as(&CatalogType::built_in(type_name, modifier));
        (ColumnSchema::new(name, type_name, read.wire.arrow()), read)
    }

    fn sql(type_name: &str, filter: &CursorFilter) -> Result<Option<String>> {
        let (column, read) = column(&filter.column, type_name, ((20 << 16) | 2) + 4);
        condition(Dialect::Postgres, filter, &column, &read)
    }

    fn range(lo: Option<CursorValue>, hi: Option<CursorValue>) -> CursorFilter {
        CursorFilter { column: "c".into(), lo, lo_inclusive: true, hi, include_nulls: false }
    }

    #[test]
    fn days_of_every_era() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (11_016, "2000-02-29"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "10000-01-01"),
        ] {
            assert_eq!(date_text(days), text);
        }
    }

    #[test]
    fn bounds_are_typed_and_escaped() {
        let text = CursorValue::Text("it's \\".into());
        assert_eq!(
            sql("text", &range(Some(text), None)).unwrap().unwrap(),
            "\"c\"::pg_catalog.text COLLATE \"C\" >= E'it''s \\\\'::pg_catalog.text"
        );
        let at = |nanos| CursorValue::DateTime(Nanos(nanos));
        assert_eq!(
            sql("timestamp", &range(Some(at(1_500)), Some(at(-1)))).unwrap().unwrap(),
            "\"c\" > E'1970-01-01 00:00:00.000001'::timestamp AND \"c\" <= E'1969-12-31 23:59:59.999999'::timestamp"
        );
        let nulls = CursorFilter { include_nulls: true, ..range(None, Some(CursorValue::Int(-5))) };
        assert_eq!(sql("int4", &nulls).unwrap().unwrap(), "(\"c\" <= E'-5'::bigint OR \"c\" IS NULL)");
        assert_eq!(sql("int4", &range(None, None)).unwrap().unwrap(), "\"c\" IS NOT NULL");
        let decimal = CursorValue::Decimal("-5".into(), 2);
        assert_eq!(
            sql("numeric", &range(Some(decimal), None)).unwrap().unwrap(),
            "\"c\" >= E'-0.05'::numeric"
        );
    }

    #[test]
    fn a_window_of_another_type_is_refused() {
        let error = sql("text", &range(Some(CursorValue::Int(1)), None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChanged);
        for unordered in ["uuid", "jsonb", "bpchar", "interval", "bool", "float8", "no_such_type"] {
            let error = sql(unordered, &range(None, None)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{unordered}");
        }
    }
}
