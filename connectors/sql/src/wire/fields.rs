//! Located fields, and what columns of them are made of.

use std::sync::Arc;

use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{ArrayRef, PrimitiveArray};
use arrow_buffer::{NullBuffer, NullBufferBuilder};

/// A value, or what is wrong with it: words that follow "column `x` holds".
pub type Decoded<T> = Result<T, &'static str>;

/// Where a field stands in the bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    start: u32,
    /// Negative for NULL.
    length: i32,
}

impl Field {
    /// A field without a value.
    pub const NULL: Self = Self { start: 0, length: -1 };

    /// A field of so many bytes. One that begins behind 4 GiB or is longer than 2 GiB, which no server sends, is found
    /// to be cut when it is decoded.
    #[inline]
    #[must_use]
    pub fn new(start: usize, length: usize) -> Self {
        Self {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            length: i32::try_from(length).unwrap_or(i32::MAX),
        }
    }

    /// The field that is all of these bytes, if there are any.
    #[must_use]
    pub fn whole(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::NULL, |bytes| Self::new(0, bytes.len()))
    }

    #[inline]
    fn is_null(self) -> bool {
        self.length < 0
    }

    /// `None` for NULL.
    #[inline]
    fn of(self, bytes: &[u8]) -> Decoded<Option<&[u8]>> {
        let Ok(length) = usize::try_from(self.length) else { return Ok(None) };
        // 32 bits always fit.
        let start = usize::try_from(self.start).unwrap_or(usize::MAX);
        match bytes.get(start..).and_then(|from| from.get(..length)) {
            Some(field) => Ok(Some(field)),
            None => Err("a field that is cut"),
        }
    }
}

/// The fields of one column in some rows.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    /// Row by row, beginning with the first one of this column.
    fields: &'a [Field],
    columns: usize,
    nulls: bool,
}

impl<'a> Fields<'a> {
    /// Those of a column. `fields` holds the fields of all `columns`, row by row; `nulls` says whether one of them may
    /// be NULL.
    #[must_use]
    pub fn new(bytes: &'a [u8], fields: &'a [Field], column: usize, columns: usize, nulls: bool) -> Self {
        Self { bytes, fields: fields.get(column..).unwrap_or_default(), columns, nulls }
    }

    #[inline]
    fn iter(self) -> impl ExactSizeIterator<Item = Field> + 'a {
        self.fields.iter().step_by(self.columns).copied()
    }

    /// Hands on every field; `None` for NULL.
    ///
    /// # Errors
    /// The first that `push` gives, and fields that are not in the bytes.
    #[inline]
    pub fn each(self, mut push: impl FnMut(Option<&'a [u8]>) -> Decoded<()>) -> Decoded<()> {
        self.iter().try_for_each(|field| push(field.of(self.bytes)?))
    }

    /// Fields of any length into values of one; NULL as zero.
    ///
    /// # Errors
    /// The first that `decode` gives.
    #[inline]
    pub fn values<T: Default>(
        self,
        to: &mut Vec<T>,
        mut decode: impl FnMut(&'a [u8]) -> Decoded<T>,
    ) -> Decoded<()> {
        to.reserve(self.iter().len());
        self.each(|field| {
            to.push(field.map(&mut decode).transpose()?.unwrap_or_default());
            Ok(())
        })
    }

    /// Fields of `N` bytes into values; NULL as zero.
    ///
    /// # Errors
    /// The first that `decode` gives, and fields of another length.
    #[inline]
    pub fn fixed<T: Default, const N: usize>(
        self,
        to: &mut Vec<T>,
        decode: impl Fn([u8; N]) -> Decoded<T>,
    ) -> Decoded<()> {
        self.values(to, |field| decode(field.try_into().map_err(|_| "a value of the wrong length")?))
    }

    /// Fields that may turn out to hold no value, as `decode` says by `None`. Gives the rows that do, counted from the
    /// first of these, for [`Self::append_validity`].
    ///
    /// # Errors
    /// The first that `decode` gives.
    #[inline]
    pub fn or_none<T: Default>(
        self,
        to: &mut Vec<T>,
        decode: impl Fn(&'a [u8]) -> Decoded<Option<T>>,
    ) -> Decoded<Vec<usize>> {
        let mut none = Vec::new();
        to.reserve(self.iter().len());
        let mut row = 0;
        self.each(|field| {
            let value = match field {
                Some(field) => decode(field)?,
                None => Some(T::default()),
            };
            if value.is_none() {
                none.push(row);
            }
            row += 1;
            to.push(value.unwrap_or_default());
            Ok(())
        })?;
        Ok(none)
    }

    /// Values of any length, which `append` puts one behind the other; NULL as an empty one.
    ///
    /// # Errors
    /// The first that `append` gives, and more than 2 GiB in one batch.
    #[inline]
    pub fn variable(
        self,
        to: &mut Variable,
        mut append: impl FnMut(&'a [u8], &mut Vec<u8>) -> Decoded<()>,
    ) -> Decoded<()> {
        to.offsets.reserve(self.iter().len());
        self.each(|field| {
            if let Some(field) = field {
                append(field, &mut to.data)?;
            }
            to.end()
        })
    }

    /// Says which of the fields are NULL. `none` are rows that hold a value which is NULL all the same, in their order.
    pub fn append_validity(self, to: &mut NullBufferBuilder, none: &[usize]) {
        if none.is_empty() && !(self.nulls && self.iter().any(Field::is_null)) {
            to.append_n_non_nulls(self.iter().len());
            return;
        }
        let mut none = none.iter().peekable();
        for (row, field) in self.iter().enumerate() {
            let is_none = none.next_if(|none| **none == row).is_some();
            to.append(!field.is_null() && !is_none);
        }
    }
}

/// Values of any length, one behind the other.
#[derive(Debug)]
pub struct Variable {
    /// Where each begins, and where the last ends.
    pub offsets: Vec<i32>,
    /// Their bytes.
    pub data: Vec<u8>,
}

impl Variable {
    /// Room for so many values and bytes.
    #[must_use]
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, data: Vec::with_capacity(bytes) }
    }

    /// Ends a value where the data ends.
    ///
    /// # Errors
    /// More than 2 GiB in one batch.
    #[inline]
    pub fn end(&mut self) -> Decoded<()> {
        let end = i32::try_from(self.data.len()).map_err(|_| "more than 2 GiB of values in one batch")?;
        self.offsets.push(end);
        Ok(())
    }
}

/// An array of values that are as Arrow wants them.
#[must_use]
pub fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"\x01\x02ab\x03\x04";

    /// Two columns in three rows: (1, "ab"), (2, NULL), (NULL, "").
    fn fields() -> Vec<Field> {
        let field = Field::new;
        vec![field(0, 1), field(2, 2), field(1, 1), Field::NULL, Field::NULL, field(6, 0)]
    }

    #[test]
    fn columns_are_taken_out_of_rows() {
        let fields = fields();
        let column = |column| Fields::new(BYTES, &fields, column, 2, true);
        let mut numbers = Vec::new();
        column(0).fixed(&mut numbers, |[byte]| Ok(byte)).unwrap();
        assert_eq!(numbers, [1, 2, 0]);
        let mut texts = Variable::with_capacity(3, 2);
        let append = |field: &[u8], data: &mut Vec<u8>| {
            data.extend_from_slice(field);
            Ok(())
        };
        column(1).variable(&mut texts, append).unwrap();
        assert_eq!((texts.offsets.as_slice(), texts.data.as_slice()), (&[0, 2, 2, 2][..], &b"ab"[..]));
        let mut numbers: Vec<u8> = Vec::new();
        assert_eq!(column(1).fixed(&mut numbers, |[byte]| Ok(byte)), Err("a value of the wrong length"));
    }

    #[test]
    fn a_value_may_be_none() {
        let fields = fields();
        let column = Fields::new(BYTES, &fields, 0, 2, true);
        let mut numbers = Vec::new();
        let none = column.or_none(&mut numbers, |field| Ok((field != [2]).then_some(field[0]))).unwrap();
        assert_eq!((numbers.as_slice(), none.as_slice()), (&[1, 0, 0][..], &[1][..]));
        let mut nulls = NullBufferBuilder::new(0);
        column.append_validity(&mut nulls, &none);
        column.append_validity(&mut nulls, &[]);
        let valid: Vec<bool> = nulls.finish().unwrap().iter().collect();
        assert_eq!(valid, [true, false, false, true, true, false]);
    }

    #[test]
    fn fields_outside_of_the_bytes_are_cut() {
        for field in [Field::new(5, 2), Field::new(usize::MAX, 1), Field::new(0, usize::MAX)] {
            let fields = [field];
            let read = Fields::new(BYTES, &fields, 0, 1, false).each(|_| Ok(()));
            assert_eq!(read, Err("a field that is cut"));
        }
    }
}
