//! The figures of batches.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Decimal256Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::i256;
use arrow_cast::cast;
use arrow_schema::{DataType, SchemaRef};
use md5::{Digest as _, Md5};

use super::figures::{Checksum, ColumnFigures, TableFigures};
use super::measure::{Measure, SQUARE_MODULUS, SUM_MODULUS};
use super::{ProofLevel, TEXT_CHARACTERS, float_text};
use crate::error::{Error, Result};

/// Adds up figures batch by batch. Parts of different tasks are merged at the end, in any order.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{Int64Array, RecordBatch};
/// use transload_core::proof::{Fold, ProofLevel};
///
/// let ids = Arc::new(Int64Array::from(vec![Some(3), None, Some(-1)])) as _;
/// let batch = RecordBatch::try_from_iter([("id", ids)])?;
/// let mut fold = Fold::new(&batch.schema(), ProofLevel::Values);
/// fold.add(&batch)?;
/// let figures = fold.finish();
/// assert_eq!((figures.rows, figures.columns[0].values), (3, Some(2)));
/// assert_eq!(figures.columns[0].checksum.unwrap().sum, 2);
/// assert_eq!(figures.columns[0].min.as_deref(), Some("-1"));
/// # Ok::<(), transload_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Fold {
    rows: u64,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    measure: Measure,
    values: u64,
    checksum: Checksum,
    extremes: Extremes,
}

/// The lowest and the highest value.
#[derive(Debug, Default)]
enum Extremes {
    #[default]
    None,
    Numbers(i256, i256),
    Floats(f64, f64),
    /// A float was NaN, which systems order differently.
    NotANumber,
    Texts(String, String),
}

impl Fold {
    /// For batches of a schema.
    #[must_use]
    pub fn new(schema: &SchemaRef, level: ProofLevel) -> Self {
        let columns = schema.fields().iter().map(|field| Column {
            measure: if level >= ProofLevel::Values {
                Measure::of(field.data_type())
            } else {
                Measure::Presence
            },
            values: 0,
            checksum: Checksum::default(),
            extremes: Extremes::None,
        });
        Self { rows: 0, columns: columns.collect() }
    }

    /// Adds a batch of the schema; columns behind those of the schema are left out.
    ///
    /// # Errors
    /// `internal` for a batch with fewer columns.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_columns() < self.columns.len() {
            return Err(Error::internal("a batch lacks columns that are to be proven"));
        }
        self.rows += count(batch.num_rows());
        for (column, array) in self.columns.iter_mut().zip(batch.columns()) {
            column.add(array)?;
        }
        Ok(())
    }

    /// Adds what another fold of the same schema has seen.
    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        for (column, other) in self.columns.iter_mut().zip(other.columns) {
            column.values += other.values;
            column.checksum.add(other.checksum);
            column.extremes.widen(other.extremes);
        }
    }

    /// The figures.
    #[must_use]
    pub fn finish(self) -> TableFigures {
        let columns = self.columns.into_iter().map(|column| {
            let (min, max) = column.extremes.texts();
            let summed = !matches!(column.measure, Measure::Presence);
            let checksum = summed.then_some(column.checksum);
            ColumnFigures { values: Some(column.values), checksum, min, max }
        });
        TableFigures { rows: self.rows, columns: columns.collect() }
    }
}

impl Column {
    fn add(&mut self, array: &ArrayRef) -> Result<()> {
        // Dictionaries and runs are only another layout.
        let plain = match array.data_type() {
            DataType::Dictionary(_, value) => cast(array, value)?,
            DataType::RunEndEncoded(_, value) => cast(array, value.data_type())?,
            _ => array.clone(),
        };
        self.values += count(plain.len() - plain.logical_null_count());
        let extremes = match self.measure {
            Measure::Integer => self.integers(&plain)?,
            Measure::Decimal(scale) => self.decimals(&plain, scale)?,
            Measure::Float => self.floats(&plain)?,
            Measure::Text => {
                let texts = cast(&plain, &DataType::LargeUtf8)?;
                let texts = texts.as_string::<i64>();
                texts.iter().flatten().for_each(|text| self.code(code_of_bytes(text.as_bytes())));
                let pair =
                    arrow_arith::aggregate::min_string(texts).zip(arrow_arith::aggregate::max_string(texts));
                pair.map_or(Extremes::None, |(min, max)| Extremes::Texts(min.to_owned(), max.to_owned()))
            }
            Measure::Bytes => {
                let bytes = cast(&plain, &DataType::LargeBinary)?;
                bytes.as_binary::<i64>().iter().flatten().for_each(|bytes| self.code(code_of_bytes(bytes)));
                Extremes::None
            }
            Measure::Presence => Extremes::None,
        };
        self.extremes.widen(extremes);
        Ok(())
    }

    fn code(&mut self, code: i64) {
        let square = code % SQUARE_MODULUS;
        self.checksum.add(Checksum { sum: code % SUM_MODULUS, squares: square * square });
    }

    fn integers(&mut self, array: &ArrayRef) -> Result<Extremes> {
        if *array.data_type() == DataType::UInt64 {
            let numbers = array.as_primitive::<UInt64Type>();
            for number in numbers.iter().flatten() {
                let rest = |modulus: i64| i64::try_from(number % modulus.unsigned_abs()).unwrap_or_default();
                let square = rest(SQUARE_MODULUS);
                self.checksum.add(Checksum { sum: rest(SUM_MODULUS), squares: square * square });
            }
            let pair = arrow_arith::aggregate::min(numbers).zip(arrow_arith::aggregate::max(numbers));
            return Ok(numbers_of(
                pair.map(|(min, max)| (i256::from_i128(min.into()), i256::from_i128(max.into()))),
            ));
        }
        let numbers = cast(array, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>();
        numbers.iter().flatten().for_each(|number| self.code(number));
        let pair = arrow_arith::aggregate::min(numbers).zip(arrow_arith::aggregate::max(numbers));
        Ok(numbers_of(pair.map(|(min, max)| (i256::from_i128(min.into()), i256::from_i128(max.into())))))
    }

    fn decimals(&mut self, array: &ArrayRef, scale: i8) -> Result<Extremes> {
        if let DataType::Decimal256(..) = array.data_type() {
            let numbers = array.as_primitive::<Decimal256Type>();
            let rest = |number: i256, modulus: i64| {
                let rest = number.wrapping_rem(i256::from_i128(modulus.into()));
                rest.to_i128().and_then(|rest| i64::try_from(rest).ok()).unwrap_or_default()
            };
            for number in numbers.iter().flatten() {
                let square = rest(number, SQUARE_MODULUS);
                self.checksum.add(Checksum { sum: rest(number, SUM_MODULUS), squares: square * square });
            }
            let pair = arrow_arith::aggregate::min(numbers).zip(arrow_arith::aggregate::max(numbers));
            return Ok(numbers_of(pair));
        }
        let numbers = cast(array, &DataType::Decimal128(38, scale))?;
        let numbers = numbers.as_primitive::<Decimal128Type>();
        for number in numbers.iter().flatten() {
            // Few are wider than 64 bits, and division of those is slow.
            if let Ok(number) = i64::try_from(number) {
                self.code(number);
            } else {
                let rest = |modulus: i64| i64::try_from(number % i128::from(modulus)).unwrap_or_default();
                let square = rest(SQUARE_MODULUS);
                self.checksum.add(Checksum { sum: rest(SUM_MODULUS), squares: square * square });
            }
        }
        let pair = arrow_arith::aggregate::min(numbers).zip(arrow_arith::aggregate::max(numbers));
        Ok(numbers_of(pair.map(|(min, max)| (i256::from_i128(min), i256::from_i128(max)))))
    }

    fn floats(&mut self, array: &ArrayRef) -> Result<Extremes> {
        let floats = cast(array, &DataType::Float64)?;
        let floats = floats.as_primitive::<Float64Type>();
        let (mut min, mut max, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
        for float in floats.iter().flatten() {
            self.code(float.to_bits().cast_signed());
            (min, max) = (min.min(float), max.max(float));
            nan |= float.is_nan();
        }
        let empty = floats.null_count() == floats.len();
        Ok(match (empty, nan) {
            (true, _) => Extremes::None,
            (_, true) => Extremes::NotANumber,
            _ => Extremes::Floats(min, max),
        })
    }
}

fn numbers_of(pair: Option<(i256, i256)>) -> Extremes {
    pair.map_or(Extremes::None, |(min, max)| Extremes::Numbers(min, max))
}

impl Extremes {
    fn widen(&mut self, other: Self) {
        match (&mut *self, other) {
            (_, Self::None) | (Self::NotANumber, _) => {}
            (Self::Numbers(min, max), Self::Numbers(low, high)) => {
                *min = (*min).min(low);
                *max = (*max).max(high);
            }
            (Self::Floats(min, max), Self::Floats(low, high)) => {
                *min = min.min(low);
                *max = max.max(high);
            }
            (Self::Texts(min, max), Self::Texts(low, high)) => {
                if low < *min {
                    *min = low;
                }
                if high > *max {
                    *max = high;
                }
            }
            (_, other) => *self = other,
        }
    }

    fn texts(self) -> (Option<String>, Option<String>) {
        let cut = |text: String| text.chars().take(TEXT_CHARACTERS).collect();
        match self {
            Self::None | Self::NotANumber => (None, None),
            Self::Numbers(min, max) => (Some(min.to_string()), Some(max.to_string())),
            Self::Floats(min, max) => (Some(float_text(min)), Some(float_text(max))),
            Self::Texts(min, max) => (Some(cut(min)), Some(cut(max))),
        }
    }
}

/// The code of a text (its UTF-8) or of bytes: the first 60 bits of the MD5, which is what fifteen hexadecimal digits say, which every SQL system can turn into a
/// positive integer. It is there to tell values apart, not to keep secrets.
#[must_use]
pub fn code_of_bytes(bytes: &[u8]) -> i64 {
    let digest = Md5::digest(bytes);
    let first = digest.iter().take(8).fold(0_u64, |code, byte| (code << 8) | u64::from(*byte));
    (first >> 4).cast_signed()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
