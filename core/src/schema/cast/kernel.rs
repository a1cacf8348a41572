//! What is done to one column, chosen once.

use std::sync::Arc;

use arrow_array::builder::NullBufferBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use super::nested::{ListCast, StructCast};
use super::number::NumberCast;
use super::parse::Misfit;
use super::policy::RoundPolicy;
use super::temporal::TemporalCast;
use super::text::TextCast;
use super::{text, to_text};
use crate::error::Result;
use crate::schema::table::Extension;

/// A column in its new type. Rejected rows are NULL in it.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) array: ArrayRef,
    /// Rows whose value does not fit, ascending; a row of a record may be there several times.
    pub(super) rejected: Vec<(usize, Misfit)>,
    /// Rows whose value was rounded, ascending.
    pub(super) rounded: Vec<usize>,
    /// Rows of records in which an empty text became NULL, ascending. Those of other columns show by
    /// themselves: see [`blanks`].
    pub(super) blank_fields: Vec<usize>,
}

impl Cast {
    pub(super) fn clean(array: ArrayRef) -> Self {
        Self::checked(array, Vec::new())
    }

    pub(super) fn checked(array: ArrayRef, rejected: Vec<(usize, Misfit)>) -> Self {
        Self { array, rejected, rounded: Vec::new(), blank_fields: Vec::new() }
    }
}

/// How a column is cast.
#[derive(Debug, Clone)]
pub(super) enum Kernel {
    /// The array is the result.
    Same,
    /// Arrow's own cast, only for pairs in which every value survives.
    Arrow(DataType),
    /// A column without values.
    Nulls(DataType),
    /// Arrow's cast first (of a representation: dictionaries, large offsets), then another kernel.
    After(DataType, Box<Self>),
    /// Canonical text first, then another kernel.
    ViaText(Box<Self>),
    /// Canonical text; JSON text for lists and records.
    ToText(Option<Extension>),
    /// Text that is read.
    Text(TextCast),
    /// Text in another Arrow form, checked to be JSON.
    CheckJson,
    Number(NumberCast),
    Temporal(TemporalCast),
    List(Box<ListCast>),
    Struct(StructCast),
}

impl Kernel {
    pub(super) fn run(&self, array: &ArrayRef, rounding: RoundPolicy) -> Result<Cast> {
        match self {
            Self::Same => Ok(Cast::clean(Arc::clone(array))),
            Self::Arrow(data_type) => Ok(Cast::clean(arrow_cast::cast(array, data_type)?)),
            Self::Nulls(data_type) => Ok(Cast::clean(new_null_array(data_type, array.len()))),
            Self::After(data_type, kernel) => kernel.run(&arrow_cast::cast(array, data_type)?, rounding),
            Self::ViaText(kernel) => {
                kernel.run(&(Arc::new(to_text::column(array, None)?) as ArrayRef), rounding)
            }
            Self::ToText(extension) => Ok(Cast::clean(Arc::new(to_text::column(array, *extension)?))),
            Self::Text(cast) => Ok(cast.run(array, rounding)),
            Self::CheckJson => Ok(text::check_json(array.as_string::<i32>())),
            Self::Number(cast) => cast.run(array, rounding),
            Self::Temporal(cast) => cast.run(array, rounding),
            Self::List(cast) => cast.run(array, rounding),
            Self::Struct(cast) => cast.run(array, rounding),
        }
    }

    /// Whether there are values that do not fit. `false` where every value of the source's type does.
    pub(super) fn may_reject(&self) -> bool {
        match self {
            Self::Same | Self::Arrow(_) | Self::Nulls(_) | Self::ToText(_) => false,
            Self::After(_, kernel) | Self::ViaText(kernel) => kernel.may_reject(),
            Self::Number(cast) => !cast.holds_all,
            Self::Text(_) | Self::CheckJson | Self::Temporal(_) | Self::List(_) => true,
            Self::Struct(cast) => cast.may_reject(),
        }
    }
}

/// Rows that were a value and are NULL without being rejected: empty texts read as another type.
pub(super) fn blanks(source: &dyn Array, cast: &Cast) -> Vec<usize> {
    let before = source.logical_nulls();
    let after = cast.array.logical_nulls();
    let count = |nulls: &Option<NullBuffer>| nulls.as_ref().map_or(0, NullBuffer::null_count);
    if count(&before) == count(&after) {
        return cast.blank_fields.clone();
    }
    let is_null = |nulls: &Option<NullBuffer>, row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let mut rejected = cast.rejected.iter().map(|(row, _)| *row).peekable();
    let mut rows = cast.blank_fields.clone();
    for row in (0..source.len()).filter(|row| is_null(&after, *row) && !is_null(&before, *row)) {
        while rejected.next_if(|other| *other < row).is_some() {}
        if rejected.peek() != Some(&row) {
            rows.push(row);
        }
    }
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Gives a value near by for a row whose own does not fit.
pub(super) type Rounded<'a, T> = &'a dyn Fn(usize) -> Result<<T as ArrowPrimitiveType>::Native, Misfit>;

/// Builds a primitive column row by row. `read` is called for rows that are not NULL; `None` makes a NULL.
pub(super) fn build<T: ArrowPrimitiveType>(
    length: usize,
    nulls: Option<&NullBuffer>,
    data_type: DataType,
    read: impl FnMut(usize) -> Result<Option<T::Native>, Misfit>,
) -> Cast {
    build_rounding::<T>(length, nulls, data_type, read, None)
}

/// [`build`], where `round` is asked for rows whose value has too many digits.
pub(super) fn build_rounding<T: ArrowPrimitiveType>(
    length: usize,
    nulls: Option<&NullBuffer>,
    data_type: DataType,
    mut read: impl FnMut(usize) -> Result<Option<T::Native>, Misfit>,
    round: Option<Rounded<'_, T>>,
) -> Cast {
    let mut odd = OddRows::<T> { missing: Vec::new(), rejected: Vec::new(), rounded: Vec::new(), round };
    let mut take = |row: usize| match read(row) {
        Ok(Some(value)) => value,
        other => odd.value(row, other.err()),
    };
    let values: Vec<T::Native> = match nulls.filter(|nulls| nulls.null_count() > 0) {
        None => (0..length).map(take).collect(),
        Some(nulls) => (0..length)
            .map(|row| if nulls.is_valid(row) { take(row) } else { T::Native::default() })
            .collect(),
    };
    let OddRows { missing, rejected, rounded, .. } = odd;
    let nulls = without(nulls, &missing, length);
    let array = PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(data_type);
    Cast { array: Arc::new(array), rejected, rounded, blank_fields: Vec::new() }
}

/// Rows without a value of their own.
struct OddRows<'a, T: ArrowPrimitiveType> {
    missing: Vec<usize>,
    rejected: Vec<(usize, Misfit)>,
    rounded: Vec<usize>,
    round: Option<Rounded<'a, T>>,
}

impl<T: ArrowPrimitiveType> OddRows<'_, T> {
    #[cold]
    fn value(&mut self, row: usize, misfit: Option<Misfit>) -> T::Native {
        let mut misfit = misfit;
        if let (Some(round), Some(true)) = (self.round, misfit.map(Misfit::can_round)) {
            match round(row) {
                Ok(value) => {
                    self.rounded.push(row);
                    return value;
                }
                Err(other) => misfit = Some(other),
            }
        }
        self.missing.push(row);
        self.rejected.extend(misfit.map(|misfit| (row, misfit)));
        T::Native::default()
    }
}

/// `nulls` with the ascending rows `missing` NULL as well.
pub(super) fn without(nulls: Option<&NullBuffer>, missing: &[usize], length: usize) -> Option<NullBuffer> {
    if missing.is_empty() {
        return nulls.cloned();
    }
    let mut builder = NullBufferBuilder::new(length);
    let mut done = 0;
    for &row in missing {
        builder.append_n_non_nulls(row.saturating_sub(done));
        builder.append_null();
        done = row + 1;
    }
    builder.append_n_non_nulls(length.saturating_sub(done));
    NullBuffer::union(nulls, builder.finish().as_ref())
}
