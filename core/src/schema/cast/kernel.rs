//! What is done to one column, chosen once.

use std::sync::Arc;

use arrow_array::builder::NullBufferBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, ArrowPrimitiveType, PrimitiveArray, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;

use super::nested::{ListCast, StructCast};
use super::number::NumberCast;
use super::parse::Misfit;
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
}

impl Cast {
    pub(super) fn clean(array: ArrayRef) -> Self {
        Self { array, rejected: Vec::new() }
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
    pub(super) fn run(&self, array: &ArrayRef) -> Result<Cast> {
        match self {
            Self::Same => Ok(Cast::clean(Arc::clone(array))),
            Self::Arrow(data_type) => Ok(Cast::clean(arrow_cast::cast(array, data_type)?)),
            Self::Nulls(data_type) => Ok(Cast::clean(new_null_array(data_type, array.len()))),
            Self::After(data_type, kernel) => kernel.run(&arrow_cast::cast(array, data_type)?),
            Self::ViaText(kernel) => kernel.run(&(Arc::new(to_text::column(array, None)?) as ArrayRef)),
            Self::ToText(extension) => Ok(Cast::clean(Arc::new(to_text::column(array, *extension)?))),
            Self::Text(cast) => cast.run(array),
            Self::CheckJson => Ok(text::check_json(array.as_string::<i32>())),
            Self::Number(cast) => cast.run(array),
            Self::Temporal(cast) => cast.run(array),
            Self::List(cast) => cast.run(array),
            Self::Struct(cast) => cast.run(array),
        }
    }
}

/// Builds a primitive column row by row. `read` is called for rows that are not NULL; `None` makes a NULL.
pub(super) fn build<T: ArrowPrimitiveType>(
    length: usize,
    nulls: Option<&NullBuffer>,
    data_type: DataType,
    mut read: impl FnMut(usize) -> Result<Option<T::Native>, Misfit>,
) -> Cast {
    let mut missing = Vec::new();
    let mut rejected = Vec::new();
    let mut take = |row: usize| match read(row) {
        Ok(Some(value)) => value,
        other => {
            missing.push(row);
            rejected.extend(other.err().map(|misfit| (row, misfit)));
            T::Native::default()
        }
    };
    let values: Vec<T::Native> = match nulls.filter(|nulls| nulls.null_count() > 0) {
        None => (0..length).map(take).collect(),
        Some(nulls) => (0..length)
            .map(|row| if nulls.is_valid(row) { take(row) } else { T::Native::default() })
            .collect(),
    };
    let nulls = without(nulls, &missing, length);
    let array = PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(data_type);
    Cast { array: Arc::new(array), rejected }
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
