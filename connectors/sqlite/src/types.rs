//! The type table: declared type to Arrow.
//!
//! SQLite's types belong to values, not to columns. What a column declares only gives it an *affinity*; the
//! rules here follow the order of SQLite's own.

use arrow_schema::DataType;
use transload_core::schema::{Confidence, Lossless, TypeNote, Warning};

/// How the values of a column are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// INTEGER as Int64.
    Integer,
    /// REAL as Float64.
    Real,
    /// 0 and 1 as Boolean.
    Boolean,
    /// Decimals with precision and scale, stored as INTEGER or REAL.
    Decimal(u8, i8),
    /// BLOB as Binary.
    Blob,
    /// TEXT, and the text form of numbers; blobs are refused.
    Text,
    /// Every storage class as text.
    AnyAsText,
}

impl Reading {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::Real => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Decimal(precision, scale) => DataType::Decimal128(precision, scale),
            Self::Blob => DataType::Binary,
            Self::Text | Self::AnyAsText => DataType::Utf8,
        }
    }
}

/// How a column of a declared type is read. `strict` is whether its table is STRICT.
pub(crate) fn reading(declared: &str, strict: bool) -> (Reading, TypeNote) {
    let upper = declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| upper.contains(word));
    if strict {
        return strict_reading(&upper);
    }
    let (reading, confidence) = if has(&["INT"]) {
        (Reading::Integer, Confidence::Medium)
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        (Reading::Text, Confidence::High)
    } else if has(&["BLOB"]) {
        (Reading::Blob, Confidence::Medium)
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        (Reading::Real, Confidence::High)
    } else if has(&["BOOL"]) {
        (Reading::Boolean, Confidence::Medium)
    } else if let Some((precision, scale)) = decimal(&upper) {
        (Reading::Decimal(precision, scale), Confidence::Medium)
    } else {
        (Reading::Text, Confidence::Low)
    };
    (reading, note(reading, confidence, &upper))
}

fn strict_reading(upper: &str) -> (Reading, TypeNote) {
    let reading = match upper {
        "INT" | "INTEGER" => Reading::Integer,
        "REAL" => Reading::Real,
        "BLOB" => Reading::Blob,
        _ => Reading::Text,
    };
    let mut note = TypeNote::default();
    if upper == "ANY" {
        note.lossless = Lossless::Conditional;
        note.reason = Some("an ANY column holds values of every type; they are read as text".to_owned());
        note.warnings.push(dynamic());
    }
    (reading, note)
}

fn dynamic() -> Warning {
    Warning::new("W_DYNAMIC", "any cell may hold any type of value; every value is checked when it is read")
}

fn note(reading: Reading, confidence: Confidence, upper: &str) -> TypeNote {
    let mut note =
        TypeNote { confidence, lossless: Lossless::Conditional, reason: None, warnings: vec![dynamic()] };
    match reading {
        Reading::Boolean => {
            note.reason = Some("declared BOOLEAN; SQLite stores 0 and 1".to_owned());
            note.warnings.push(Warning::new(
                "W_BOOL_ASSUMED",
                "values other than 0 and 1 are errors when they are read",
            ));
        }
        Reading::Decimal(..) => {
            note.reason = Some("declared with precision and scale".to_owned());
            note.warnings.push(Warning::new(
                "W_FLOAT_APPROX",
                "SQLite stores decimals as binary floats: more than 15 digits were lost when they were stored",
            ));
        }
        Reading::Text if upper.is_empty() => {
            note.reason = Some("no declared type; values are read as text".to_owned());
        }
        Reading::Text if confidence == Confidence::Low => {
            note.reason = Some("SQLite has no such type; what is stored is read as text".to_owned());
        }
        _ => {}
    }
    note
}

/// Precision and scale of `DECIMAL(p, s)` and `NUMERIC(p)`, if an Arrow decimal can hold them.
fn decimal(upper: &str) -> Option<(u8, i8)> {
    let (name, rest) = upper.split_once('(')?;
    if !["DECIMAL", "NUMERIC", "NUMBER", "DEC"].contains(&name.trim()) {
        return None;
    }
    let mut numbers = rest.trim_end().strip_suffix(')')?.split(',').map(|number| number.trim().parse::<u8>());
    let precision = numbers.next()?.ok()?;
    let scale = numbers.next().unwrap_or(Ok(0)).ok()?;
    let fits = (1..=38).contains(&precision) && scale <= precision && numbers.next().is_none();
    fits.then_some((precision, i8::try_from(scale).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types() {
        for (declared, expected) in [
            ("INTEGER", Reading::Integer),
            ("int", Reading::Integer),
            ("UNSIGNED BIG INT", Reading::Integer),
            ("CHARINT", Reading::Integer),
            ("FLOATING POINT", Reading::Integer),
            ("VARCHAR(20)", Reading::Text),
            ("nvarchar", Reading::Text),
            ("CLOB", Reading::Text),
            ("BLOB", Reading::Blob),
            ("DOUBLE PRECISION", Reading::Real),
            ("float", Reading::Real),
            ("BOOLEAN", Reading::Boolean),
            ("bool", Reading::Boolean),
            ("DECIMAL(10,2)", Reading::Decimal(10, 2)),
            ("numeric( 38 , 38 )", Reading::Decimal(38, 38)),
            ("NUMERIC(5)", Reading::Decimal(5, 0)),
            ("DECIMAL", Reading::Text),
            ("DECIMAL(39,2)", Reading::Text),
            ("DECIMAL(2,5)", Reading::Text),
            ("DECIMAL(1,2,3)", Reading::Text),
            ("DATE", Reading::Text),
            ("DATETIME", Reading::Text),
            ("TIMESTAMP", Reading::Text),
            ("STRING", Reading::Text),
            ("", Reading::Text),
        ] {
            assert_eq!(reading(declared, false).0, expected, "{declared}");
        }
        for (declared, expected) in [
            ("INT", Reading::Integer),
            ("REAL", Reading::Real),
            ("TEXT", Reading::Text),
            ("BLOB", Reading::Blob),
            ("ANY", Reading::Text),
        ] {
            assert_eq!(reading(declared, true).0, expected, "{declared}");
        }
    }

    #[test]
    fn notes_tell_what_is_assumed() {
        let codes = |declared, strict| -> Vec<String> {
            reading(declared, strict).1.warnings.into_iter().map(|warning| warning.code).collect()
        };
        assert_eq!(codes("BOOLEAN", false), ["W_DYNAMIC", "W_BOOL_ASSUMED"]);
        assert_eq!(codes("DECIMAL(5,2)", false), ["W_DYNAMIC", "W_FLOAT_APPROX"]);
        assert!(codes("INTEGER", true).is_empty());
        assert_eq!(codes("ANY", true), ["W_DYNAMIC"]);
    }
}
