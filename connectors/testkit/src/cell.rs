//! Values that every system is asked to keep, apart from Arrow and from any system's own types.

use std::cmp::Ordering;
use std::fmt;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time, date};
use serde_json::Value;

/// A double that can be compared and ordered: by its bits, except that every NaN is the same.
#[derive(Clone, Copy)]
pub struct Float(pub f64);

impl Float {
    fn bits(self) -> u64 {
        if self.0.is_nan() { f64::NAN.to_bits() } else { self.0.to_bits() }
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Float {}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bits().cmp(&other.bits())
    }
}

impl fmt::Debug for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// No value.
    Null,
    /// Boolean.
    Bool(bool),
    /// Integer.
    Int(i64),
    /// Double.
    Float(Float),
    /// Decimal as text, for example `-12.50`.
    Decimal(String),
    /// Text; also JSON, UUID (with hyphens) and geography.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01, without zone.
    DateTime(i64),
    /// Microseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// Microseconds since midnight.
    Time(i64),
    /// Array.
    List(Vec<Cell>),
    /// Record: values by field.
    Record(Vec<(String, Cell)>),
}

/// One row: a value per column.
pub type Row = Vec<Cell>;

impl Cell {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Whether it is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The value as plain text: ISO 8601 for dates and times (a space before the time of day, `+00` after an
    /// instant), `\x...` for bytes, `NaN`/`Infinity` for doubles. `None` for NULL, arrays and records.
    ///
    /// PostgreSQL and SQLite read all of these as they are.
    #[must_use]
    pub fn to_plain(&self) -> Option<String> {
        Some(match self {
            Self::Null | Self::List(_) | Self::Record(_) => return None,
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(Float(value)) if value.is_infinite() => {
                if *value > 0.0 {
                    "Infinity".to_owned()
                } else {
                    "-Infinity".to_owned()
                }
            }
            Self::Float(Float(value)) => format!("{value:?}"),
            Self::Decimal(text) | Self::Text(text) => text.clone(),
            Self::Bytes(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("\\x{hex}")
            }
            Self::Date(days) => date_of(*days).to_string(),
            Self::DateTime(micros) => civil(*micros),
            Self::Timestamp(micros) => format!("{}+00", civil(*micros)),
            Self::Time(micros) => {
                let time = Time::midnight().wrapping_add(SignedDuration::from_micros(*micros));
                time.strftime("%H:%M:%S%.6f").to_string()
            }
        })
    }
}

fn date_of(days: i32) -> Date {
    let epoch = date(1970, 1, 1);
    epoch.saturating_add(SignedDuration::from_hours(i64::from(days) * 24))
}

fn civil(micros: i64) -> String {
    let epoch = date(1970, 1, 1).to_datetime(Time::midnight());
    let value: DateTime = epoch.saturating_add(SignedDuration::from_micros(micros));
    value.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// How values of a column are brought into one form before they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Plain,
    /// JSON documents: white space and the order of keys mean nothing.
    Json,
    /// UUIDs: 16 bytes and any text form are the same.
    Uuid,
    /// Decimals: an integer is one too. (Zeros after the last digit behind the point never mean anything.)
    Decimal,
    /// Arrays: NULL and the empty one are the same, as BigQuery has it.
    List,
}

/// Brings a value into the one form of its column.
#[must_use]
pub fn canonical(cell: Cell, form: Form) -> Cell {
    match (form, cell) {
        (Form::List, Cell::Null) => Cell::List(Vec::new()),
        (_, Cell::List(items)) => {
            Cell::List(items.into_iter().map(|item| canonical(item, Form::Plain)).collect())
        }
        (Form::Json, Cell::Text(text)) => match serde_json::from_str::<Value>(&text) {
            Ok(value) => Cell::Text(sorted(value).to_string()),
            Err(_) => Cell::Text(text),
        },
        (Form::Uuid, Cell::Bytes(bytes)) if bytes.len() == 16 => Cell::Text(uuid_text(&bytes)),
        (Form::Uuid, Cell::Text(text)) => Cell::Text(text.to_lowercase()),
        (_, Cell::Decimal(text)) => Cell::Decimal(trimmed(&text)),
        (Form::Decimal, Cell::Int(value)) => Cell::Decimal(value.to_string()),
        (_, cell) => cell,
    }
}

/// Sixteen bytes as a UUID's text.
#[must_use]
pub fn uuid_text(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match (hex.get(..8), hex.get(8..12), hex.get(12..16), hex.get(16..20), hex.get(20..)) {
        (Some(a), Some(b), Some(c), Some(d), Some(e)) => format!("{a}-{b}-{c}-{d}-{e}"),
        _ => hex,
    }
}

fn trimmed(text: &str) -> String {
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let digits = digits.trim_start_matches('0');
    match digits {
        "" => "0".to_owned(),
        _ if digits.starts_with('.') => format!("{sign}0{digits}"),
        _ => format!("{sign}{digits}"),
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_texts() {
        for (cell, text) in [
            (Cell::Date(0), "1970-01-01"),
            (Cell::Date(-719_162), "0001-01-01"),
            (Cell::Timestamp(-1), "1969-12-31 23:59:59.999999+00"),
            (Cell::DateTime(1_500_000), "1970-01-01 00:00:01.500000"),
            (Cell::Time(86_399_999_999), "23:59:59.999999"),
            (Cell::Bytes(vec![0, 255]), "\\x00ff"),
            (Cell::Float(Float(f64::NEG_INFINITY)), "-Infinity"),
            (Cell::Float(Float(0.1)), "0.1"),
        ] {
            assert_eq!(cell.to_plain().as_deref(), Some(text));
        }
    }

    #[test]
    fn forms() {
        let decimal = |text: &str| canonical(Cell::Decimal(text.to_owned()), Form::Decimal);
        for (a, b) in [("1.50", "1.5"), ("-0.00", "0"), ("0100", "100"), ("-000.50", "-0.5"), (".5", "0.5")] {
            assert_eq!(decimal(a), decimal(b));
        }
        assert_ne!(decimal("100"), decimal("1"));
        assert_eq!(
            canonical(Cell::text(r#"{"b": 1, "a": [1,2]}"#), Form::Json),
            canonical(Cell::text(r#"{"a":[1, 2],"b":1}"#), Form::Json)
        );
        assert_eq!(
            canonical(Cell::Bytes(vec![0x11; 16]), Form::Uuid),
            Cell::text("11111111-1111-1111-1111-111111111111")
        );
    }
}
