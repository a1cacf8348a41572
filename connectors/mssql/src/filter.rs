//! Cursor columns in SQL: which columns can be one, how they are compared, and bounds as literals.

use transload_core::connector::CursorFilter;
use transload_core::schema::{ColumnSchema, CursorValue};
use transload_core::{Error, Result};
use transload_sql::quote_bracketed;

use crate::temporal::{put_date, put_time};
use crate::types::{ReadAs, Wire};

/// A text in UTF-8, whatever its collation is.
pub(crate) fn utf8_of(column: &str, length: &str) -> String {
    format!("CAST({column} COLLATE Latin1_General_100_BIN2_UTF8 AS varchar({length}))")
}

/// A column as it is compared and ordered: text by its bytes, as the engine does.
pub(crate) fn comparable(column: &ColumnSchema, read: &ReadAs) -> Result<String> {
    let name = quote_bracketed(&column.name)?;
    if !read.ordered {
        let text = format!("column `{}` of type {} cannot be a cursor", column.name, column.source_type);
        return Err(Error::unsupported(text).with("column", &column.name).hint(
            "choose an integer, decimal, date, datetime or rowversion column, or from SQL Server 2019 on a text column",
        ));
    }
    Ok(match read.wire {
        Wire::Text | Wire::Coded => {
            // Strings are compared without blanks at their ends, bytes are not.
            let length = if read.long { "max" } else { "8000" };
            format!("CAST({} AS varbinary({length}))", utf8_of(&name, length))
        }
        _ => name,
    })
}

/// A side of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Bound {
    /// An operator and a literal.
    Compare(&'static str, String),
    /// Every value of the column's type is within.
    All,
    /// None is.
    None,
}

/// The condition of a cursor range; `None` where every row is in it.
pub(crate) fn condition(
    filter: &CursorFilter,
    column: &ColumnSchema,
    read: &ReadAs,
) -> Result<Option<String>> {
    let compared = comparable(column, read)?;
    let mut bounds = Vec::new();
    let sides = [
        filter.lo.as_ref().map(|lo| bound(lo, column, read, Side::From { inclusive: filter.lo_inclusive })),
        filter.hi.as_ref().map(|hi| bound(hi, column, read, Side::Upto)),
    ];
    for side in sides.into_iter().flatten() {
        match side? {
            Bound::Compare(operator, literal) => bounds.push(format!("{compared} {operator} {literal}")),
            // A bound bounds NULL away all the same.
            Bound::All => bounds.push(format!("{} IS NOT NULL", quote_bracketed(&column.name)?)),
            Bound::None => bounds.push("1 = 0".to_owned()),
        }
    }
    let name = quote_bracketed(&column.name)?;
    Ok(match (bounds.is_empty(), filter.include_nulls, column.nullable) {
        (true, true, _) | (true, _, false) => None,
        (true, false, true) => Some(format!("{name} IS NOT NULL")),
        (false, true, true) => Some(format!("({} OR {name} IS NULL)", bounds.join(" AND "))),
        (false, _, _) => Some(bounds.join(" AND ")),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    From { inclusive: bool },
    Upto,
}

/// What a bound says of a column, whose values are those that batches hold: times of 100 ns are cut to microseconds
/// there, so they are compared as if they were.
fn bound(value: &CursorValue, column: &ColumnSchema, read: &ReadAs, side: Side) -> Result<Bound> {
    let wire = read.wire;
    if let CursorValue::DateTime(nanos) | CursorValue::Timestamp(nanos) = value
        && is_of(value, wire)
    {
        return instant(wire, nanos.0, side);
    }
    if let Some((least, most)) = limits(wire)
        && let Some(number) = whole(value).filter(|_| is_of(value, wire))
    {
        match side {
            Side::From { .. } if number > most => return Ok(Bound::None),
            Side::From { .. } if number < least => return Ok(Bound::All),
            Side::Upto if number < least => return Ok(Bound::None),
            Side::Upto if number > most => return Ok(Bound::All),
            _ => {}
        }
    }
    let operator = match side {
        Side::From { inclusive: true } => ">=",
        Side::From { inclusive: false } => ">",
        Side::Upto => "<=",
    };
    Ok(Bound::Compare(operator, literal(value, column, read)?))
}

/// Lowest and highest whole number of a type.
fn limits(wire: Wire) -> Option<(i128, i128)> {
    Some(match wire {
        Wire::Tiny => (0, 255),
        Wire::Int16 => (i16::MIN.into(), i16::MAX.into()),
        Wire::Int32 => (i32::MIN.into(), i32::MAX.into()),
        Wire::Int64 => (i64::MIN.into(), i64::MAX.into()),
        Wire::Date => (-719_162, 2_932_896),
        _ => return None,
    })
}

fn whole(value: &CursorValue) -> Option<i128> {
    match value {
        CursorValue::Int(value) => Some((*value).into()),
        CursorValue::UInt(value) => Some((*value).into()),
        CursorValue::Date(days) => Some((*days).into()),
        _ => None,
    }
}

/// Whether a value can be compared with a column.
fn is_of(value: &CursorValue, wire: Wire) -> bool {
    use Wire::{
        Coded, Date, DateTime, DateTime2, DateTimeOffset, Decimal, Int16, Int32, Int64, Money, RowVersion,
        SmallDateTime, Text, Tiny,
    };
    match value {
        CursorValue::Int(_) | CursorValue::UInt(_) => {
            matches!(wire, Tiny | Int16 | Int32 | Int64 | Decimal(..) | Money(_))
        }
        CursorValue::Decimal(..) => matches!(wire, Decimal(..) | Money(_)),
        CursorValue::Date(_) => wire == Date,
        CursorValue::DateTime(_) => matches!(wire, DateTime2 | DateTime | SmallDateTime),
        CursorValue::Timestamp(_) => wire == DateTimeOffset,
        CursorValue::Text(_) => matches!(wire, Text | Coded),
        CursorValue::Binary(_) => wire == RowVersion,
        _ => false,
    }
}

/// A value as a literal. Its type is the column's own, so that an index serves the comparison.
pub(crate) fn literal(value: &CursorValue, column: &ColumnSchema, read: &ReadAs) -> Result<String> {
    if !is_of(value, read.wire) {
        return Err(CursorFilter::other_type(&column.name, &column.source_type, value));
    }
    match value {
        CursorValue::Int(_) | CursorValue::UInt(_) if read.wire == Wire::Int64 => {
            Ok(format!("CAST({value} AS bigint)"))
        }
        CursorValue::Date(days) => {
            let mut text = Vec::new();
            put_date(&mut text, (*days).into());
            Ok(format!("CAST('{}' AS date)", String::from_utf8_lossy(&text)))
        }
        CursorValue::DateTime(nanos) | CursorValue::Timestamp(nanos) => {
            let scale = Scale::of(read.wire);
            Ok(scale.literal(scale.floor(nanos.0).0))
        }
        CursorValue::Text(text) => Ok(hex(text.as_bytes())),
        CursorValue::Binary(bytes) => Ok(hex(bytes)),
        value => Ok(value.to_string()),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{digits}")
}

const DAY_NANOS: i128 = 86_400_000_000_000;

/// The values that a type of times has, counted since 1970.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// As batches hold them.
    Micros {
        zoned: bool,
    },
    /// 1/300 s.
    Ticks,
    Minutes,
}

impl Scale {
    fn of(wire: Wire) -> Self {
        match wire {
            Wire::DateTime => Self::Ticks,
            Wire::SmallDateTime => Self::Minutes,
            wire => Self::Micros { zoned: wire == Wire::DateTimeOffset },
        }
    }

    /// The highest value that is not above a time, and whether it is that time.
    fn floor(self, nanos: i128) -> (i128, bool) {
        match self {
            Self::Micros { .. } => (nanos.div_euclid(1000), nanos.rem_euclid(1000) == 0),
            Self::Minutes => (nanos.div_euclid(60_000_000_000), nanos.rem_euclid(60_000_000_000) == 0),
            Self::Ticks => {
                // Values are milliseconds that lie up to a third of one off their tick.
                let near = (nanos * 3).div_euclid(10_000_000) + 1;
                let tick =
                    (near - 2..=near).rev().find(|tick| self.nanos(*tick) <= nanos).unwrap_or(near - 2);
                (tick, self.nanos(tick) == nanos)
            }
        }
    }

    fn nanos(self, value: i128) -> i128 {
        match self {
            Self::Micros { .. } => value * 1000,
            Self::Minutes => value * 60_000_000_000,
            Self::Ticks => (value * 10 + 1).div_euclid(3) * 1_000_000,
        }
    }

    /// Lowest and highest day of the type, since 1970.
    fn days(self) -> (i128, i128) {
        match self {
            Self::Micros { .. } => (-719_162, 2_932_896),
            Self::Ticks => (-79_257, 2_932_896),
            Self::Minutes => (-25_567, 39_968),
        }
    }

    /// Whether a value lies below, within or above what the type has.
    fn place(self, value: i128) -> std::cmp::Ordering {
        let day = self.nanos(value).div_euclid(DAY_NANOS);
        let (least, most) = self.days();
        if day < least {
            std::cmp::Ordering::Less
        } else if day > most {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        }
    }

    fn literal(self, value: i128) -> String {
        let nanos = self.nanos(value);
        let (least, most) = self.days();
        let day = nanos.div_euclid(DAY_NANOS).clamp(least, most);
        let ticks = nanos.rem_euclid(DAY_NANOS) / 100;
        let (digits, zone, name) = match self {
            Self::Micros { zoned: false } => (7, "", "datetime2(7)"),
            Self::Micros { zoned: true } => (7, "+00:00", "datetimeoffset(7)"),
            Self::Ticks => (3, "", "datetime"),
            Self::Minutes => (0, "", "smalldatetime"),
        };
        let mut text = Vec::new();
        put_date(&mut text, i64::try_from(day).unwrap_or(0));
        text.push(b'T');
        put_time(&mut text, i64::try_from(ticks).unwrap_or(0), digits);
        format!("CAST('{}{zone}' AS {name})", String::from_utf8_lossy(&text))
    }
}

fn instant(wire: Wire, nanos: i128, side: Side) -> Result<Bound> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let beyond = || {
        Error::data("a cursor bound beyond every calendar").hint("choose a bound that the column can hold")
    };
    if nanos.checked_mul(4).is_none() {
        return Err(beyond());
    }
    let scale = Scale::of(wire);
    let (floor, exact) = scale.floor(nanos);
    Ok(match side {
        Side::From { inclusive } => {
            let from = if inclusive && exact { floor } else { floor + 1 };
            match scale.place(from) {
                Less => Bound::All,
                Equal => Bound::Compare(">=", scale.literal(from)),
                Greater => Bound::None,
            }
        }
        // What is cut off lies between a value and the next one.
        Side::Upto if matches!(scale, Scale::Micros { .. }) => {
            match (scale.place(floor), scale.place(floor + 1)) {
                (Less, _) => Bound::None,
                (_, Greater) => Bound::All,
                _ => Bound::Compare("<", scale.literal(floor + 1)),
            }
        }
        Side::Upto => match scale.place(floor) {
            Less => Bound::None,
            Equal => Bound::Compare("<=", scale.literal(floor)),
            Greater => Bound::All,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{CatalogType, read_as};
    use transload_core::ErrorKind;
    use transload_core::schema::Nanos;

    fn sql(name: &str, nullable: bool, filter: &CursorFilter) -> Result<Option<String>> {
        let catalog = CatalogType {
            name: name.into(),
            base: name.into(),
            length: 20,
            precision: 20,
            scale: if name.starts_with("datetime") { 7 } else { 2 },
        };
        let options = serde_json::from_value(serde_json::json!({})).unwrap();
        let read = read_as(&catalog, &options);
        let mut column = ColumnSchema::new(&filter.column, name, read.wire.arrow());
        column.nullable = nullable;
        condition(filter, &column, &read)
    }

    fn range(lo: Option<CursorValue>, hi: Option<CursorValue>) -> CursorFilter {
        CursorFilter { column: "c".into(), lo, lo_inclusive: true, hi, include_nulls: false }
    }

    fn at(nanos: i128) -> CursorValue {
        CursorValue::DateTime(Nanos(nanos))
    }

    #[test]
    fn bounds_are_typed_and_never_escape() {
        let text = CursorValue::Text("it's ]".into());
        assert_eq!(
            sql("nvarchar", true, &range(Some(text), None)).unwrap().unwrap(),
            "CAST(CAST([c] COLLATE Latin1_General_100_BIN2_UTF8 AS varchar(8000)) AS varbinary(8000)) >= 0x69742773205d"
        );
        let nulls = CursorFilter { include_nulls: true, ..range(None, Some(CursorValue::Int(-5))) };
        assert_eq!(sql("int", true, &nulls).unwrap().unwrap(), "([c] <= -5 OR [c] IS NULL)");
        assert_eq!(sql("bigint", false, &nulls).unwrap().unwrap(), "[c] <= CAST(-5 AS bigint)");
        assert_eq!(sql("int", true, &range(None, None)).unwrap().unwrap(), "[c] IS NOT NULL");
        assert_eq!(sql("int", false, &range(None, None)).unwrap(), None);
        assert_eq!(
            sql("tinyint", false, &range(Some(CursorValue::Int(256)), None)).unwrap().unwrap(),
            "1 = 0"
        );
        assert_eq!(
            sql("smallint", true, &range(None, Some(CursorValue::Int(1 << 40)))).unwrap().unwrap(),
            "[c] IS NOT NULL"
        );
        let decimal = CursorValue::Decimal("-5".into(), 2);
        assert_eq!(sql("decimal", true, &range(Some(decimal), None)).unwrap().unwrap(), "[c] >= -0.05");
        let version = CursorValue::Binary(vec![0, 0, 0, 0, 0, 0, 1, 255]);
        assert_eq!(
            sql("timestamp", true, &range(None, Some(version))).unwrap().unwrap(),
            "[c] <= 0x00000000000001ff"
        );
    }

    #[test]
    fn what_batches_cut_off_is_cut_off_in_bounds() {
        assert_eq!(
            sql("datetime2", false, &range(Some(at(1_500)), Some(at(-1)))).unwrap().unwrap(),
            "[c] >= CAST('1970-01-01T00:00:00.0000020' AS datetime2(7)) AND [c] < CAST('1970-01-01T00:00:00.0000000' AS datetime2(7))"
        );
        assert_eq!(
            sql("datetime", false, &range(Some(at(3_000_001)), Some(at(6_999_999)))).unwrap().unwrap(),
            "[c] >= CAST('1970-01-01T00:00:00.007' AS datetime) AND [c] <= CAST('1970-01-01T00:00:00.003' AS datetime)"
        );
        assert_eq!(
            sql("smalldatetime", false, &range(Some(at(1)), Some(at(60_000_000_000)))).unwrap().unwrap(),
            "[c] >= CAST('1970-01-01T00:01:00' AS smalldatetime) AND [c] <= CAST('1970-01-01T00:01:00' AS smalldatetime)"
        );
        let zoned = CursorValue::Timestamp(Nanos(0));
        assert_eq!(
            sql("datetimeoffset", false, &range(None, Some(zoned))).unwrap().unwrap(),
            "[c] < CAST('1970-01-01T00:00:00.0000010+00:00' AS datetimeoffset(7))"
        );
        // The last microsecond of the calendar has none behind it.
        let last = at(253_402_300_799_999_999_000);
        assert_eq!(
            sql("datetime2", false, &range(None, Some(last.clone()))).unwrap().unwrap(),
            "[c] IS NOT NULL"
        );
        assert_eq!(sql("smalldatetime", false, &range(Some(last), None)).unwrap().unwrap(), "1 = 0");
        assert!(sql("datetime2", true, &range(Some(at(i128::MAX)), None)).is_err());
    }

    #[test]
    fn ticks_are_found_from_every_side() {
        let scale = Scale::Ticks;
        for tick in (-1000..1000).chain([i128::from(i32::MAX) * 100]) {
            let nanos = scale.nanos(tick);
            assert_eq!(scale.floor(nanos), (tick, true));
            assert_eq!(scale.floor(nanos - 1), (tick - 1, false));
            assert_eq!(scale.floor(nanos + 1), (tick, false));
        }
    }

    #[test]
    fn a_window_of_another_type_is_refused() {
        let error = sql("nvarchar", true, &range(Some(CursorValue::Int(1)), None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChanged);
        for unordered in
            ["bit", "xml", "float", "varbinary", "uniqueidentifier", "ntext", "time", "sql_variant"]
        {
            let error = sql(unordered, true, &range(None, None)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{unordered}");
        }
    }
}
