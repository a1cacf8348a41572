//! Chooses the kernel of a column.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};

use super::kernel::Kernel;
use super::nested::{ListCast, StructCast};
use super::number::{NumberCast, NumberTarget};
use super::parse::{Separators, Want};
use super::possible::{possible_types, recipe_for, time_format};
use super::temporal::TemporalCast;
use super::text::TextCast;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::bigquery::{BigQueryType, Mode, RecordField};
use crate::schema::recipe::Recipe;
use crate::schema::table::{ColumnSchema, Extension, list_item};

const SECOND: i64 = 1_000_000;
const MILLISECOND: i64 = 1_000;

impl Kernel {
    /// The kernel that casts a column of `source` to `target` by `recipe`.
    pub(super) fn plan(
        source: &DataType,
        extension: Option<Extension>,
        target: &BigQueryType,
        mode: Mode,
        recipe: &Recipe,
    ) -> Result<Self> {
        let planned = match (list_item(source), mode) {
            (Some(item), Mode::Repeated) => return list(source, item, target, recipe),
            (None, Mode::Repeated) if *source == DataType::Null => {
                let item = Arc::new(Field::new("item", target.arrow_type(), true));
                Some(Self::Nulls(DataType::List(item)))
            }
            (None, Mode::Repeated) => None,
            (Some(_), _) => as_text(target),
            _ => scalar(source, extension, target, recipe)?,
        };
        planned.ok_or_else(|| {
            let possible: Vec<&str> =
                possible_types(source, extension).iter().map(BigQueryType::name).collect();
            Error::new(
                ErrorKind::TypeMapping,
                format!("a column of type {source} cannot be loaded as {} {target} {recipe}", mode.as_str()),
            )
            .hint(format!("possible types for it: {}", possible.join(", ")))
        })
    }
}

/// Whether values keep the kind of their type, so that those that fit are the same; at most their width,
/// unit, scale or layout changes.
pub(super) fn same_kind(
    source: &DataType,
    extension: Option<Extension>,
    target: &BigQueryType,
    mode: Mode,
) -> bool {
    use BigQueryType as T;
    if let Some(item) = list_item(source) {
        let element = ColumnSchema::from_field(item);
        return mode == Mode::Repeated
            && same_kind(&element.data_type, element.extension, target, Mode::Nullable);
    }
    match (source, target) {
        (DataType::Dictionary(_, value), _) => same_kind(value, extension, target, mode),
        (DataType::RunEndEncoded(_, value), _) => same_kind(value.data_type(), extension, target, mode),
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, _) => match extension {
            Some(Extension::Json) => *target == T::Json,
            Some(Extension::GeoWkt) => *target == T::Geography,
            _ => *target == T::String,
        },
        (DataType::Struct(fields), T::Record(targets)) => {
            fields.iter().zip(targets).all(|(field, target)| {
                let field = ColumnSchema::from_field(field);
                same_kind(&field.data_type, field.extension, &target.data_type, target.mode)
            })
        }
        (DataType::Null, _)
        | (DataType::Boolean, T::Bool)
        | (DataType::Date32 | DataType::Date64, T::Date)
        | (DataType::Timestamp(_, None), T::DateTime)
        | (DataType::Timestamp(_, Some(_)), T::Timestamp)
        | (DataType::Time32(_) | DataType::Time64(_), T::Time)
        | (DataType::Interval(_), T::Interval)
        | (DataType::Struct(_), T::Range(_)) => true,
        (
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_),
            T::Bytes,
        ) => extension.is_none(),
        (number, T::Int64) => number.is_integer(),
        (number, T::Float64) => number.is_floating(),
        (number, T::Numeric(_) | T::BigNumeric(_)) => number.is_decimal(),
        _ => false,
    }
}

fn list(source: &DataType, item: &Field, target: &BigQueryType, recipe: &Recipe) -> Result<Kernel> {
    let element = ColumnSchema::from_field(item);
    let kernel = Kernel::plan(&element.data_type, element.extension, target, Mode::Nullable, recipe)?;
    let result = Arc::new(Field::new("item", target.arrow_type(), true));
    let cast = Kernel::List(Box::new(ListCast { item: result, kernel }));
    Ok(match source {
        DataType::List(_) => cast,
        _ => Kernel::After(DataType::List(Arc::new(item.clone())), Box::new(cast)),
    })
}

/// The text forms that any value has.
fn as_text(target: &BigQueryType) -> Option<Kernel> {
    match target {
        BigQueryType::String => Some(Kernel::ToText(None)),
        BigQueryType::Json => Some(Kernel::ViaText(Box::new(Kernel::CheckJson))),
        _ => None,
    }
}

fn scalar(
    source: &DataType,
    extension: Option<Extension>,
    target: &BigQueryType,
    recipe: &Recipe,
) -> Result<Option<Kernel>> {
    if extension == Some(Extension::Uuid) && *target == BigQueryType::String {
        return Ok((*source == DataType::FixedSizeBinary(16)).then_some(Kernel::ToText(extension)));
    }
    Ok(match source {
        DataType::Null => Some(Kernel::Nulls(target.arrow_type())),
        DataType::Dictionary(_, value) => after(value, extension, target, recipe)?,
        DataType::RunEndEncoded(_, value) => after(value.data_type(), extension, target, recipe)?,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => from_text(source, target, recipe)?,
        DataType::Struct(fields) => match target {
            BigQueryType::Record(targets) => Some(record(fields, targets)?),
            BigQueryType::Range(_) if *source == target.arrow_type() => Some(Kernel::Same),
            _ => as_text(target),
        },
        DataType::Map(..) | DataType::Union(..) => as_text(target),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
            if *target == BigQueryType::Bytes =>
        {
            Some(if *source == DataType::Binary { Kernel::Same } else { Kernel::Arrow(DataType::Binary) })
        }
        _ if matches!(target, BigQueryType::String) => Some(Kernel::ToText(None)),
        // The number alone, in the unit of the type.
        DataType::Duration(_) => (*target == BigQueryType::Int64).then_some(Kernel::Arrow(DataType::Int64)),
        _ if *target == BigQueryType::Interval && *source == target.arrow_type() => Some(Kernel::Same),
        DataType::Boolean => match target {
            BigQueryType::Bool => Some(Kernel::Same),
            BigQueryType::Int64 => Some(Kernel::Arrow(DataType::Int64)),
            _ => None,
        },
        _ if source.is_temporal() => temporal(source, target),
        _ if source.is_numeric() => number(source, target, recipe)?,
        _ => None,
    })
}

fn after(
    plain: &DataType,
    extension: Option<Extension>,
    target: &BigQueryType,
    recipe: &Recipe,
) -> Result<Option<Kernel>> {
    let kernel = scalar(plain, extension, target, recipe)?;
    Ok(kernel.map(|kernel| Kernel::After(plain.clone(), Box::new(kernel))))
}

fn from_text(source: &DataType, target: &BigQueryType, recipe: &Recipe) -> Result<Option<Kernel>> {
    let plain = *source == DataType::Utf8;
    Ok(match (recipe, target) {
        (Recipe::Direct | Recipe::ToText, BigQueryType::String | BigQueryType::Geography)
        | (Recipe::Direct, BigQueryType::Json) => {
            Some(match (target, plain) {
                // Sources check what they mark as JSON, but not for the numbers that BigQuery would change.
                (BigQueryType::Json, true) => Kernel::CheckJson,
                (BigQueryType::Json, false) => Kernel::After(DataType::Utf8, Box::new(Kernel::CheckJson)),
                (_, true) => Kernel::Same,
                (_, false) => Kernel::Arrow(DataType::Utf8),
            })
        }
        (Recipe::ParseJson, BigQueryType::Json) if plain => Some(Kernel::CheckJson),
        (Recipe::ParseJson, BigQueryType::Json) => {
            Some(Kernel::After(DataType::Utf8, Box::new(Kernel::CheckJson)))
        }
        _ => parse(target, recipe)?.map(Kernel::Text),
    })
}

fn parse(target: &BigQueryType, recipe: &Recipe) -> Result<Option<TextCast>> {
    let arrow = target.arrow_type();
    Ok(match (recipe, target) {
        (Recipe::ParseInteger, BigQueryType::Int64) => Some(TextCast::Integer),
        (Recipe::ParseDecimal, BigQueryType::Numeric(_) | BigQueryType::BigNumeric(_)) => {
            target.precision_scale().map(|(precision, scale)| match target {
                BigQueryType::Numeric(_) => TextCast::Decimal128(precision, scale, arrow),
                _ => TextCast::Decimal256(precision, scale, arrow),
            })
        }
        (Recipe::ParseFloat, BigQueryType::Float64) => Some(TextCast::Float),
        (Recipe::ParseGrouped { format }, target) => {
            let plain = match target {
                BigQueryType::Int64 => Recipe::ParseInteger,
                BigQueryType::Float64 => Recipe::ParseFloat,
                _ => Recipe::ParseDecimal,
            };
            let cast = parse(target, &plain)?;
            cast.zip(Separators::new(format))
                .map(|(cast, separators)| TextCast::Grouped(separators, Box::new(cast)))
        }
        (Recipe::ParseBool { yes, no }, BigQueryType::Bool) => {
            Some(TextCast::Bool { yes: yes.clone(), no: no.clone() })
        }
        (Recipe::ParseDate { format }, BigQueryType::Date) => {
            Some(TextCast::Date(time_format(format, Want::Date)?))
        }
        (Recipe::ParseTime { format }, BigQueryType::Time) => {
            Some(TextCast::Time(time_format(format, Want::Time)?, arrow))
        }
        (Recipe::ParseDateTime { format }, BigQueryType::DateTime) => {
            Some(TextCast::Instant(time_format(format, Want::DateTime)?, arrow))
        }
        (Recipe::ParseTimestamp { format }, BigQueryType::Timestamp) => {
            Some(TextCast::Instant(time_format(format, Want::Timestamp)?, arrow))
        }
        (Recipe::EpochSeconds, BigQueryType::Timestamp) => Some(TextCast::Epoch(SECOND, arrow)),
        (Recipe::EpochMillis, BigQueryType::Timestamp) => Some(TextCast::Epoch(MILLISECOND, arrow)),
        _ => None,
    })
}

fn temporal(source: &DataType, target: &BigQueryType) -> Option<Kernel> {
    let arrow = target.arrow_type();
    let cast = match (source, target) {
        (DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, None), BigQueryType::Date) => {
            TemporalCast::Date
        }
        (DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, None), BigQueryType::DateTime)
        | (DataType::Timestamp(_, Some(_)), BigQueryType::Timestamp) => TemporalCast::Instant(arrow),
        (DataType::Time32(TimeUnit::Second | TimeUnit::Millisecond), BigQueryType::Time)
        | (DataType::Time64(TimeUnit::Microsecond | TimeUnit::Nanosecond), BigQueryType::Time) => {
            TemporalCast::Time(arrow)
        }
        _ => return None,
    };
    Some(Kernel::Temporal(cast))
}

fn number(source: &DataType, target: &BigQueryType, recipe: &Recipe) -> Result<Option<Kernel>> {
    if matches!(recipe, Recipe::ParseDate { .. }) {
        let parse = parse(target, recipe)?.filter(|_| source.is_integer());
        return Ok(parse.map(|cast| Kernel::ViaText(Box::new(Kernel::Text(cast)))));
    }
    // One kernel per width: narrow sources are widened first, which loses nothing.
    let (wide, scale) = match source {
        DataType::UInt64 => (DataType::UInt64, 0),
        source if source.is_integer() => (DataType::Int64, 0),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            (DataType::Decimal128(*precision, *scale), *scale)
        }
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => (source.clone(), *scale),
        source if source.is_floating() => (DataType::Float64, 0),
        _ => return Ok(None),
    };
    let widened = |kernel: Kernel| {
        if *source == wide { kernel } else { Kernel::After(wide.clone(), Box::new(kernel)) }
    };
    if wide == target.arrow_type() && *recipe == Recipe::Direct {
        return Ok(Some(if *source == wide { Kernel::Same } else { Kernel::Arrow(wide) }));
    }
    let holds_all = holds_all(source, target);
    if wide == DataType::Float64 && *recipe == Recipe::Direct {
        return Ok(match target {
            BigQueryType::Int64 => {
                Some(widened(Kernel::Number(NumberCast { scale, to: NumberTarget::Int64, holds_all })))
            }
            // The shortest text that stands for the number is the decimal that people mean by it: of a
            // float as wide as it is, since 0.1 widened is 0.10000000149011612.
            _ => parse(target, &Recipe::ParseDecimal)?
                .map(|cast| Kernel::ViaText(Box::new(Kernel::Text(cast)))),
        });
    }
    let to = number_target(&wide, target, recipe);
    Ok(to.map(|to| widened(Kernel::Number(NumberCast { scale, to, holds_all }))))
}

/// Whether every number of the source's type is one of the target's.
fn holds_all(source: &DataType, target: &BigQueryType) -> bool {
    let (digits, scale) = match source {
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => (i16::from(*precision), i16::from(*scale)),
        _ => return false,
    };
    match (target, target.precision_scale()) {
        (BigQueryType::Int64, _) => digits - scale <= 18 && scale <= 0,
        (BigQueryType::Float64, _) => scale == 0 && digits <= 15,
        (_, Some((precision, to))) => {
            let to = i16::from(to);
            scale <= to && digits - scale <= i16::from(precision) - to
        }
        _ => false,
    }
}

fn number_target(wide: &DataType, target: &BigQueryType, recipe: &Recipe) -> Option<NumberTarget> {
    let data_type = target.arrow_type();
    let integer = wide.is_integer();
    Some(match (recipe, target) {
        (Recipe::Direct, BigQueryType::Int64) => NumberTarget::Int64,
        (Recipe::Direct, BigQueryType::Float64) if integer => NumberTarget::Float64,
        (Recipe::Direct, BigQueryType::Numeric(_)) => {
            let (precision, scale) = target.precision_scale()?;
            NumberTarget::Decimal128 { precision, scale, data_type }
        }
        (Recipe::Direct, BigQueryType::BigNumeric(_)) => {
            let (precision, scale) = target.precision_scale()?;
            NumberTarget::Decimal256 { precision, scale, data_type }
        }
        (Recipe::IntegerToBool, BigQueryType::Bool) if integer => NumberTarget::Bool,
        (Recipe::EpochSeconds, BigQueryType::Timestamp) if integer => NumberTarget::Epoch(SECOND, data_type),
        (Recipe::EpochMillis, BigQueryType::Timestamp) if integer => {
            NumberTarget::Epoch(MILLISECOND, data_type)
        }
        _ => return None,
    })
}

fn record(sources: &Fields, targets: &[RecordField]) -> Result<Kernel> {
    if sources.len() != targets.len() {
        return Err(Error::new(
            ErrorKind::TypeMapping,
            format!("a record of {} fields cannot be loaded as one of {}", sources.len(), targets.len()),
        )
        .hint("map the table again"));
    }
    let kernels = sources
        .iter()
        .zip(targets)
        .map(|(source, target)| {
            let field = ColumnSchema::from_field(source);
            let uuid = field.extension == Some(Extension::Uuid) && target.data_type == BigQueryType::String;
            let recipe = if uuid || (field.extension.is_some() && field.data_type == DataType::Utf8) {
                Recipe::Direct
            } else {
                recipe_for(&field.data_type, &target.data_type, None)?
            };
            Kernel::plan(&field.data_type, field.extension, &target.data_type, target.mode, &recipe)
                .map_err(|error| error.with("field", source.name()))
        })
        .collect::<Result<_>>()?;
    Ok(Kernel::Struct(StructCast { fields: targets.iter().map(RecordField::to_field).collect(), kernels }))
}
