//! Text to other types.

use std::sync::Arc;

use arrow_array::builder::BooleanBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, Float64Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{Array as _, ArrayRef, ArrowPrimitiveType, StringArray, StringArrayType};
use arrow_schema::DataType;

use super::kernel::{Cast, build, build_rounding, without};
use super::parse::{self, Misfit, TimeFormat};
use super::policy::RoundPolicy;

/// How text becomes a value.
#[derive(Debug, Clone)]
pub(super) enum TextCast {
    Integer,
    Decimal128(u8, u8, DataType),
    Decimal256(u8, u8, DataType),
    Float,
    Bool {
        yes: String,
        no: String,
    },
    Date(TimeFormat),
    Time(TimeFormat, DataType),
    /// With or without an offset; the type says which.
    Instant(TimeFormat, DataType),
    /// Units since 1970 of so many microseconds.
    Epoch(i64, DataType),
    /// A number whose separators are taken out first.
    Grouped(parse::Separators, Box<Self>),
}

impl TextCast {
    pub(super) fn run(&self, array: &ArrayRef, rounding: RoundPolicy) -> Cast {
        let rounds = rounding == RoundPolicy::Round;
        match array.data_type() {
            DataType::LargeUtf8 => self.each(array.as_string::<i64>(), rounds),
            DataType::Utf8View => self.each(array.as_string_view(), rounds),
            _ => self.each(array.as_string::<i32>(), rounds),
        }
    }

    fn each<'a, S: StringArrayType<'a>>(&self, array: S, rounds: bool) -> Cast {
        match self {
            Self::Integer => read::<Int64Type, S>(array, DataType::Int64, parse::integer, None),
            Self::Decimal128(precision, scale, data_type) => {
                let (precision, scale) = (*precision, *scale);
                let exact = |text: &[u8]| parse::decimal128(text, precision, scale);
                let round = |text: &[u8]| parse::rounded_decimal128(text, precision, scale);
                read::<Decimal128Type, S>(
                    array,
                    data_type.clone(),
                    exact,
                    if rounds { Some(&round) } else { None },
                )
            }
            Self::Decimal256(precision, scale, data_type) => {
                let exact = |text: &[u8]| parse::decimal256(text, *precision, *scale);
                let round = |text: &[u8]| parse::rounded_decimal256(text, *precision, *scale);
                read::<Decimal256Type, S>(
                    array,
                    data_type.clone(),
                    exact,
                    if rounds { Some(&round) } else { None },
                )
            }
            Self::Float => {
                let round: Option<Near<'_, Float64Type>> =
                    if rounds { Some(&parse::nearest_float) } else { None };
                read::<Float64Type, S>(array, DataType::Float64, parse::float, round)
            }
            Self::Bool { yes, no } => booleans(array, yes, no),
            Self::Date(format) => {
                read::<Date32Type, S>(array, DataType::Date32, |text| format.date(text), None)
            }
            Self::Time(format, data_type) => {
                let cutting = rounds.then(|| format.cutting());
                let round = cutting.as_ref().map(|format| |text: &[u8]| format.time(text));
                let round = round.as_ref().map(|round| round as Near<'_, Time64MicrosecondType>);
                let exact = |text: &[u8]| format.time(text);
                read::<Time64MicrosecondType, S>(array, data_type.clone(), exact, round)
            }
            Self::Instant(format, data_type) => {
                let cutting = rounds.then(|| format.cutting());
                let round = cutting.as_ref().map(|format| |text: &[u8]| format.date_time(text));
                let round = round.as_ref().map(|round| round as Near<'_, TimestampMicrosecondType>);
                let exact = |text: &[u8]| format.date_time(text);
                read::<TimestampMicrosecondType, S>(array, data_type.clone(), exact, round)
            }
            Self::Grouped(separators, cast) => {
                // What has the wrong form must not be read with another meaning.
                let plain = |text: &str| match text.trim() {
                    "" => String::new(),
                    text => separators.plain(text).unwrap_or_else(|| "?".to_owned()),
                };
                let plain: StringArray = array.iter().map(|text| text.map(plain)).collect();
                cast.each(&plain, rounds)
            }
            Self::Epoch(unit, data_type) => {
                let exact = |text: &[u8]| super::temporal::epoch(i128::from(parse::integer(text)?), *unit);
                read::<TimestampMicrosecondType, S>(array, data_type.clone(), exact, None)
            }
        }
    }
}

/// Reads a text as a value near by.
type Near<'a, T> = &'a dyn Fn(&[u8]) -> Result<<T as ArrowPrimitiveType>::Native, Misfit>;

fn read<'a, T: ArrowPrimitiveType, S: StringArrayType<'a>>(
    array: S,
    data_type: DataType,
    parse: impl Fn(&[u8]) -> Result<T::Native, Misfit>,
    near: Option<Near<'_, T>>,
) -> Cast {
    let exact = |row| trimmed(array.value(row), |text| parse(text.as_bytes()));
    let Some(near) = near else {
        return build::<T>(array.len(), array.nulls(), data_type, exact);
    };
    let round = |row: usize| near(array.value(row).trim().as_bytes());
    build_rounding::<T>(array.len(), array.nulls(), data_type, exact, Some(&round))
}

/// Reads a text; only where that fails are blanks looked for, so that clean columns pay nothing for them.
#[inline]
fn trimmed<V>(text: &str, parse: impl Fn(&str) -> Result<V, Misfit>) -> Result<Option<V>, Misfit> {
    match parse(text) {
        Ok(value) => Ok(Some(value)),
        Err(misfit) => match text.trim() {
            "" => Ok(None),
            trimmed if trimmed.len() == text.len() => Err(misfit),
            trimmed => parse(trimmed).map(Some),
        },
    }
}

fn booleans<'a, S: StringArrayType<'a>>(array: S, yes: &str, no: &str) -> Cast {
    let mut builder = BooleanBuilder::with_capacity(array.len());
    let mut rejected = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        match trimmed(array.value(row), |text| parse::boolean(text, yes, no)) {
            Ok(value) => builder.append_option(value),
            Err(misfit) => {
                builder.append_null();
                rejected.push((row, misfit));
            }
        }
    }
    Cast::checked(Arc::new(builder.finish()), rejected)
}

/// Texts that are JSON, as they are; empty ones become NULL.
pub(super) fn check_json(array: &StringArray) -> Cast {
    let mut missing = Vec::new();
    let mut rejected = Vec::new();
    for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
        let text = array.value(row);
        if text.trim().is_empty() {
            missing.push(row);
        } else if let Err(misfit) = parse::json(text.as_bytes()) {
            missing.push(row);
            rejected.push((row, misfit));
        }
    }
    let nulls = without(array.nulls(), &missing, array.len());
    let checked = StringArray::new(array.offsets().clone(), array.values().clone(), nulls);
    Cast::checked(Arc::new(checked), rejected)
}
