//! What is kept of one column while its batches pass.

use std::sync::Arc;

use arrow_arith::aggregate::{max, max_binary, max_string, min, min_binary, min_string};
use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, PrimitiveArray, StringArray,
    downcast_primitive_array,
};
use arrow_schema::{ArrowError, DataType, Field};
use arrow_select::concat::concat;
use arrow_select::filter::filter;

use super::distinct::Distinct;
use super::top::TopValues;
use super::{ColumnProfile, Lengths, ProfileLevel};
use crate::error::Result;
use crate::schema::to_text;

/// Bytes of a text that are kept for the lowest and the highest one.
const KEPT: usize = 256;

/// Characters of a text that a profile shows.
const SHOWN: usize = 100;

/// What is kept of one column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    ordered: bool,
    values: u64,
    nulls: u64,
    nan: u64,
    trues: u64,
    empty: u64,
    length: Option<Length>,
    /// The lowest and the highest value, as a column of two rows.
    ends: Option<ArrayRef>,
    distinct: Option<Distinct>,
    top: Option<TopValues>,
}

#[derive(Debug, Clone, Copy)]
struct Length {
    min: i64,
    max: i64,
    sum: i64,
}

impl Length {
    fn join(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max), sum: self.sum + other.sum }
    }
}

impl Column {
    pub(super) fn new(field: &Field, level: ProfileLevel, detailed: bool) -> Result<Self> {
        let data_type = field.data_type();
        // The texts of JSON and geography have an order that says nothing.
        let plain = field.extension_type_name().is_none();
        let has_text = !data_type.is_nested() && !matches!(data_type, DataType::Interval(_) | DataType::Null);
        let wants_top = detailed && level >= ProfileLevel::TopValues && has_text;
        Ok(Self {
            ordered: detailed && level >= ProfileLevel::Values && plain,
            values: 0,
            nulls: 0,
            nan: 0,
            trues: 0,
            empty: 0,
            length: None,
            ends: None,
            distinct: if detailed { Distinct::of(data_type) } else { None },
            top: if wants_top { Some(TopValues::new()?) } else { None },
        })
    }

    pub(super) fn add(&mut self, column: &ArrayRef) -> Result<()> {
        let nulls = column.logical_null_count();
        self.nulls += nulls as u64;
        self.values += (column.len() - nulls) as u64;
        if nulls == column.len() {
            return Ok(());
        }
        self.nan += nans(column) as u64;
        match column.data_type() {
            DataType::Boolean => self.trues += column.as_boolean().true_count() as u64,
            DataType::Utf8 => self.lengths(column, column.as_string::<i32>().value_offsets()),
            DataType::Binary => self.lengths(column, column.as_binary::<i32>().value_offsets()),
            DataType::List(_) => self.lengths(column, column.as_list::<i32>().value_offsets()),
            _ => {}
        }
        if self.ordered {
            let ends = ends(column)?;
            self.join_ends(ends)?;
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.add(column);
        }
        if let Some(top) = &mut self.top {
            top.add(column)?;
        }
        Ok(())
    }

    /// Adds what another task has seen of the same column.
    pub(super) fn merge(&mut self, other: Self) -> Result<()> {
        self.values += other.values;
        self.nulls += other.nulls;
        self.nan += other.nan;
        self.trues += other.trues;
        self.empty += other.empty;
        self.length = match (self.length, other.length) {
            (Some(a), Some(b)) => Some(a.join(b)),
            (a, b) => a.or(b),
        };
        self.join_ends(other.ends)?;
        if let (Some(mine), Some(theirs)) = (&mut self.distinct, &other.distinct) {
            mine.merge(theirs);
        }
        if let (Some(mine), Some(theirs)) = (&mut self.top, &other.top) {
            mine.merge(theirs);
        }
        Ok(())
    }

    fn lengths(&mut self, column: &dyn Array, offsets: &[i32]) {
        let (mut min, mut max, mut sum, mut empty) = (i32::MAX, 0_i32, 0_i64, 0_u64);
        let mut one = |length: i32| {
            (min, max) = (min.min(length), max.max(length));
            sum += i64::from(length);
            empty += u64::from(length == 0);
        };
        match column.nulls().filter(|nulls| nulls.null_count() > 0) {
            // A loop without branches, which the compiler turns into one over vectors.
            None => offsets.windows(2).for_each(|pair| one(pair[1] - pair[0])),
            Some(nulls) => nulls.valid_indices().for_each(|row| one(offsets[row + 1] - offsets[row])),
        }
        self.empty += empty;
        let new = Length { min: i64::from(min), max: i64::from(max), sum };
        self.length = Some(self.length.map_or(new, |known| known.join(new)));
    }

    fn join_ends(&mut self, other: Option<ArrayRef>) -> Result<()> {
        self.ends = match (self.ends.take(), other) {
            (Some(a), Some(b)) => ends(&concat(&[a.as_ref(), b.as_ref()])?)?,
            (a, b) => a.or(b),
        };
        Ok(())
    }

    pub(super) fn finish(&self, name: &str, data_type: &DataType) -> Result<ColumnProfile> {
        let counted = |wanted: bool, count: u64| wanted.then_some(count);
        let (min, max) = match &self.ends {
            Some(ends) => {
                let texts = to_text(ends)?;
                (Some(shown(texts.value(0))), Some(shown(texts.value(1))))
            }
            None => (None, None),
        };
        let sized = matches!(data_type, DataType::Utf8 | DataType::Binary | DataType::List(_));
        let rounded = |estimate: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and the rows"
            )]
            let estimate = estimate.round() as u64;
            // An estimate may pass what is possible.
            estimate.clamp(u64::from(self.values > 0), self.values)
        };
        Ok(ColumnProfile {
            name: name.to_owned(),
            nulls: self.nulls,
            distinct: self.distinct.as_ref().map(|distinct| rounded(distinct.estimate())),
            min,
            max,
            nan: counted(data_type.is_floating(), self.nan),
            trues: counted(*data_type == DataType::Boolean, self.trues),
            empty: counted(sized, self.empty),
            lengths: self.length.map(|length| Lengths {
                min: length.min.unsigned_abs(),
                max: length.max.unsigned_abs(),
                mean: length.sum as f64 / self.values as f64,
            }),
            quantiles: None,
            top: self.top.as_ref().map(TopValues::finish),
        })
    }
}

/// The lowest and the highest value, NULL and NaN left out; `None` without a value and for types without an order.
fn ends(column: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
    let column = &without_nan(column)?;
    Ok(match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            min_string(texts).zip(max_string(texts)).map(|(low, high)| {
                Arc::new(StringArray::from(vec![cut_text(low), cut_text(high)])) as ArrayRef
            })
        }
        DataType::Binary => {
            let bytes = column.as_binary::<i32>();
            let cut = |value: &[u8]| value[..value.len().min(KEPT)].to_vec();
            min_binary(bytes)
                .zip(max_binary(bytes))
                .map(|(low, high)| Arc::new(BinaryArray::from_iter_values([cut(low), cut(high)])) as ArrayRef)
        }
        DataType::Interval(_) | DataType::Duration(_) => None,
        _ => downcast_primitive_array!(
            column => min(column).zip(max(column)).map(|(low, high)| {
                let ends = two(column, low, high);
                Arc::new(ends) as ArrayRef
            }),
            _ => None,
        ),
    })
}

/// A column of two values with the type of `like`, its precision or zone included.
fn two<T: arrow_array::ArrowPrimitiveType>(
    like: &PrimitiveArray<T>,
    low: T::Native,
    high: T::Native,
) -> PrimitiveArray<T> {
    PrimitiveArray::<T>::from_iter_values([low, high]).with_data_type(like.data_type().clone())
}

fn cut_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(KEPT)]
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn floats(column: &dyn Array) -> Option<&Float64Array> {
    column.as_primitive_opt::<Float64Type>()
}

/// Values that are not a number.
pub(super) fn nans(column: &dyn Array) -> usize {
    floats(column).map_or(0, |floats| floats.iter().flatten().filter(|value| value.is_nan()).count())
}

fn without_nan(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match floats(column) {
        Some(floats) if nans(floats) > 0 => {
            let numbers: BooleanArray =
                floats.iter().map(|value| Some(value.is_some_and(|value| !value.is_nan()))).collect();
            filter(floats, &numbers)
        }
        _ => Ok(Arc::clone(column)),
    }
}
