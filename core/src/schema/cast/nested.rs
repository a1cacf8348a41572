//! Lists to repeated columns, structs to records.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, ListArray, StructArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{FieldRef, Fields};

use super::kernel::blanks;
use super::kernel::{Cast, Kernel, without};
use super::parse::Misfit;
use super::policy::RoundPolicy;
use crate::error::{Error, Result};

/// Casts the elements of a list. An element that is NULL or does not fit makes the list not fit.
#[derive(Debug, Clone)]
pub(super) struct ListCast {
    /// The field of the elements in the result.
    pub(super) item: FieldRef,
    pub(super) kernel: Kernel,
}

impl ListCast {
    pub(super) fn run(&self, array: &ArrayRef, rounding: RoundPolicy) -> Result<Cast> {
        let list = array.as_list::<i32>();
        let offsets = list.offsets();
        let (first, last) = match offsets.as_ref() {
            [first, .., last] => (*first, *last),
            _ => (0, 0),
        };
        let place =
            |offset: i32| usize::try_from(offset).map_err(|_| Error::internal("a list has a bad offset"));
        let values = list.values().slice(place(first)?, place(last - first)?);
        let cast = self.kernel.run(&values, rounding)?;
        let offsets = OffsetBuffer::new(offsets.iter().map(|offset| offset - first).collect());
        let (mut rejected, mut gone) = (Vec::new(), Vec::new());
        let nulls = cast.array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        if nulls.is_some() || !cast.rejected.is_empty() {
            let mut misfits = cast.rejected.iter().peekable();
            for row in 0..list.len() {
                let (start, end) = (place(offsets[row])?, place(offsets[row + 1])?);
                while misfits.next_if(|(element, _)| *element < start).is_some() {}
                if list.is_null(row) {
                    continue;
                }
                let misfit = misfits.peek().filter(|(element, _)| *element < end).map(|(_, misfit)| *misfit);
                // An array has no NULL elements; of a record that is an element, a field may be NULL.
                if nulls.as_ref().is_some_and(|nulls| (start..end).any(|element| nulls.is_null(element))) {
                    gone.push(row);
                    rejected.push((row, misfit.unwrap_or(Misfit::NullElement)));
                } else {
                    rejected.extend(misfit.map(|misfit| (row, misfit)));
                }
            }
        }
        let rounded = rows_of(&cast.rounded, &offsets, list);
        let blank_fields = rows_of(&cast.blank_fields, &offsets, list);
        let item = Arc::clone(&self.item);
        let result = ListArray::try_new(item, offsets, cast.array, list.nulls().cloned())?;
        if gone.is_empty() {
            return Ok(Cast { array: Arc::new(result), rejected, rounded, blank_fields });
        }
        // Taking the good rows drops the elements of the others.
        let indices = (0..u32::try_from(list.len())
            .map_err(|_| Error::internal("a batch has too many rows"))?)
            .collect();
        let indices = UInt32Array::new(indices, without(None, &gone, list.len()));
        Ok(Cast {
            array: arrow_select::take::take(&result, &indices, None)?,
            rejected,
            rounded,
            blank_fields,
        })
    }
}

/// The rows of a list that hold these ascending elements.
fn rows_of(elements: &[usize], offsets: &OffsetBuffer<i32>, list: &ListArray) -> Vec<usize> {
    if elements.is_empty() {
        return Vec::new();
    }
    let place = |row: usize| offsets.get(row).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    let mut elements = elements.iter().peekable();
    let holds = |row: &usize| {
        let (start, end) = (place(*row), place(row + 1));
        while elements.next_if(|element| **element < start).is_some() {}
        elements.peek().is_some_and(|element| **element < end)
    };
    (0..list.len()).filter(|row| list.is_valid(*row)).filter(holds).collect()
}

/// Casts the fields of a struct, by position.
#[derive(Debug, Clone)]
pub(super) struct StructCast {
    /// The fields of the result.
    pub(super) fields: Fields,
    pub(super) kernels: Vec<Kernel>,
}

impl StructCast {
    /// Whether a value of some field may not fit, or a field that may be NULL is REQUIRED.
    pub(super) fn may_reject(&self) -> bool {
        self.fields.iter().any(|field| !field.is_nullable()) || self.kernels.iter().any(Kernel::may_reject)
    }

    pub(super) fn run(&self, array: &ArrayRef, rounding: RoundPolicy) -> Result<Cast> {
        let source = array.as_struct();
        let mut rejected = Vec::new();
        let (mut rounded, mut blank_fields) = (Vec::new(), Vec::new());
        let mut missing = Vec::new();
        let mut columns = Vec::with_capacity(self.kernels.len());
        for ((kernel, field), column) in self.kernels.iter().zip(&self.fields).zip(source.columns()) {
            let cast = kernel.run(column, rounding)?;
            blank_fields.extend(blanks(column, &cast).into_iter().filter(|row| source.is_valid(*row)));
            rounded.extend(cast.rounded.into_iter().filter(|row| source.is_valid(*row)));
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
        for rows in [&mut rounded, &mut blank_fields] {
            rows.sort_unstable();
            rows.dedup();
        }
        let nulls: Option<NullBuffer> = without(source.nulls(), &missing, source.len());
        let result = StructArray::try_new_with_length(self.fields.clone(), columns, nulls, source.len())?;
        Ok(Cast { array: Arc::new(result), rejected, rounded, blank_fields })
    }
}
