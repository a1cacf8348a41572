//! Lists to repeated columns, structs to records.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, ListArray, StructArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{FieldRef, Fields};

use super::kernel::{Cast, Kernel, without};
use super::parse::Misfit;
use crate::error::{Error, Result};

/// Casts the elements of a list. An element that is NULL or does not fit makes the list not fit.
#[derive(Debug, Clone)]
pub(super) struct ListCast {
    /// The field of the elements in the result.
    pub(super) item: FieldRef,
    pub(super) kernel: Kernel,
}

impl ListCast {
    pub(super) fn run(&self, array: &ArrayRef) -> Result<Cast> {
        let list = array.as_list::<i32>();
        let offsets = list.offsets();
        let (first, last) = match offsets.as_ref() {
            [first, .., last] => (*first, *last),
            _ => (0, 0),
        };
        let place =
            |offset: i32| usize::try_from(offset).map_err(|_| Error::internal("a list has a bad offset"));
        let values = list.values().slice(place(first)?, place(last - first)?);
        let cast = self.kernel.run(&values)?;
        let offsets = OffsetBuffer::new(offsets.iter().map(|offset| offset - first).collect());
        let mut rejected = Vec::new();
        if let Some(nulls) = cast.array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
            let mut misfits = cast.rejected.iter().peekable();
            for row in 0..list.len() {
                let (start, end) = (place(offsets[row])?, place(offsets[row + 1])?);
                while misfits.next_if(|(element, _)| *element < start).is_some() {}
                if list.is_null(row) || (start..end).all(|element| nulls.is_valid(element)) {
                    continue;
                }
                let misfit = misfits.peek().filter(|(element, _)| *element < end).map(|(_, misfit)| *misfit);
                rejected.push((row, misfit.unwrap_or(Misfit::NullElement)));
            }
        }
        let item = Arc::clone(&self.item);
        let result = ListArray::try_new(item, offsets, cast.array, list.nulls().cloned())?;
        if rejected.is_empty() {
            return Ok(Cast::clean(Arc::new(result)));
        }
        // Taking the good rows drops the elements of the others.
        let rows: Vec<usize> = rejected.iter().map(|(row, _)| *row).collect();
        let indices = (0..u32::try_from(list.len())
            .map_err(|_| Error::internal("a batch has too many rows"))?)
            .collect();
        let indices = UInt32Array::new(indices, without(None, &rows, list.len()));
        Ok(Cast { array: arrow_select::take::take(&result, &indices, None)?, rejected })
    }
}

/// Casts the fields of a struct, by position.
#[derive(Debug, Clone)]
pub(super) struct StructCast {
    /// The fields of the result.
    pub(super) fields: Fields,
    pub(super) kernels: Vec<Kernel>,
}

impl StructCast {
    pub(super) fn run(&self, array: &ArrayRef) -> Result<Cast> {
        let source = array.as_struct();
        let mut rejected = Vec::new();
        let mut missing = Vec::new();
        let mut columns = Vec::with_capacity(self.kernels.len());
        for ((kernel, field), column) in self.kernels.iter().zip(&self.fields).zip(source.columns()) {
            let cast = kernel.run(column)?;
            // What a NULL record holds in its fields is no value.
            rejected.extend(cast.rejected.into_iter().filter(|(row, _)| source.is_valid(*row)));
            if !field.is_nullable()
                && let Some(nulls) = cast.array.logical_nulls()
            {
                let rows = (0..nulls.len()).filter(|row| nulls.is_null(*row) && source.is_valid(*row));
                missing.extend(rows);
            }
            columns.push(cast.array);
        }
        missing.sort_unstable();
        missing.dedup();
        rejected.extend(missing.iter().map(|row| (*row, Misfit::RequiredField)));
        rejected.sort_by_key(|(row, _)| *row);
        let nulls: Option<NullBuffer> = without(source.nulls(), &missing, source.len());
        let result = StructArray::try_new_with_length(self.fields.clone(), columns, nulls, source.len())?;
        Ok(Cast { array: Arc::new(result), rejected })
    }
}
