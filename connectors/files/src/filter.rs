//! Cursor ranges, applied here because files cannot select rows themselves.

use std::cmp::Ordering;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, TimeUnit};
use transload_core::connector::{CursorFilter, CursorSummary};
use transload_core::schema::CursorValue;
use transload_core::{Error, Result};

/// A column whose values have an order: numbers (everything that is counted in a unit) or texts.
enum Ordered<'a> {
    Numbers(Box<dyn Fn(usize) -> i128 + 'a>),
    Texts(&'a arrow_array::StringArray),
}

impl<'a> Ordered<'a> {
    fn of(array: &'a ArrayRef) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Int8 => numbers::<Int8Type>(array, 1),
            DataType::Int16 => numbers::<Int16Type>(array, 1),
            DataType::Int32 => numbers::<Int32Type>(array, 1),
            DataType::Int64 => numbers::<Int64Type>(array, 1),
            DataType::UInt8 => numbers::<UInt8Type>(array, 1),
            DataType::UInt16 => numbers::<UInt16Type>(array, 1),
            DataType::UInt32 => numbers::<UInt32Type>(array, 1),
            DataType::UInt64 => numbers::<UInt64Type>(array, 1),
            DataType::Decimal128(..) => numbers::<Decimal128Type>(array, 1),
            DataType::Date32 => numbers::<Date32Type>(array, 1),
            DataType::Timestamp(TimeUnit::Second, _) => numbers::<TimestampSecondType>(array, 1_000_000_000),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                numbers::<TimestampMillisecondType>(array, 1_000_000)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => numbers::<TimestampMicrosecondType>(array, 1000),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => numbers::<TimestampNanosecondType>(array, 1),
            DataType::Utf8 => Self::Texts(array.as_string::<i32>()),
            other => return Err(unsupported(other)),
        })
    }

    fn compare(&self, a: usize, b: usize) -> Ordering {
        match self {
            Self::Numbers(value) => value(a).cmp(&value(b)),
            Self::Texts(texts) => texts.value(a).as_bytes().cmp(texts.value(b).as_bytes()),
        }
    }
}

fn numbers<T: ArrowPrimitiveType<Native: Into<i128>>>(array: &ArrayRef, unit: i128) -> Ordered<'_> {
    let values = array.as_primitive::<T>().values();
    Ordered::Numbers(Box::new(move |row| values[row].into() * unit))
}

fn unsupported(data_type: &DataType) -> Error {
    Error::unsupported(format!("a column of type {data_type} cannot be a cursor"))
        .hint("choose an integer, decimal, date, timestamp or text column")
}

/// A bound in the column's own order.
#[derive(Debug, Clone)]
enum Bound {
    Number(i128),
    Text(Vec<u8>),
}

/// A cursor range for a column of a known type.
#[derive(Debug, Clone)]
pub(crate) struct RowFilter {
    lo: Option<Bound>,
    hi: Option<Bound>,
    lo_inclusive: bool,
    include_nulls: bool,
}

impl RowFilter {
    /// Checks the bounds against the column's type.
    ///
    /// # Errors
    /// `unsupported` for a column that cannot be a cursor, `schema_changed` for a bound of another type.
    pub(crate) fn new(filter: &CursorFilter, data_type: &DataType) -> Result<Self> {
        if !CursorValue::supports(data_type) {
            return Err(unsupported(data_type).with("column", &filter.column));
        }
        let bound = |value: &Option<CursorValue>| {
            value.as_ref().map(|value| Bound::of(value, data_type, &filter.column)).transpose()
        };
        Ok(Self {
            lo: bound(&filter.lo)?,
            hi: bound(&filter.hi)?,
            lo_inclusive: filter.lo_inclusive,
            include_nulls: filter.include_nulls,
        })
    }

    /// Which rows of the cursor column are wanted.
    pub(crate) fn mask(&self, array: &ArrayRef) -> Result<BooleanArray> {
        let ordered = Ordered::of(array)?;
        let in_range = |lo: Option<Ordering>, hi: Option<Ordering>| {
            lo.is_none_or(|order| order.is_gt() || (order.is_eq() && self.lo_inclusive))
                && hi.is_none_or(Ordering::is_le)
        };
        let wanted = |row: usize| {
            if array.is_null(row) {
                return self.include_nulls;
            }
            let against = |bound: &Bound| match (&ordered, bound) {
                (Ordered::Numbers(value), Bound::Number(bound)) => value(row).cmp(bound),
                (Ordered::Texts(texts), Bound::Text(bound)) => {
                    texts.value(row).as_bytes().cmp(bound.as_slice())
                }
                // `Bound::of` made the bound for the column's type.
                _ => Ordering::Equal,
            };
            in_range(self.lo.as_ref().map(against), self.hi.as_ref().map(against))
        };
        Ok(BooleanArray::new(BooleanBuffer::collect_bool(array.len(), wanted), None))
    }
}

impl Bound {
    fn of(value: &CursorValue, data_type: &DataType, column: &str) -> Result<Self> {
        let number = match (value, data_type) {
            (CursorValue::Int(value), t) if t.is_integer() => Some((*value).into()),
            (CursorValue::UInt(value), t) if t.is_integer() => Some((*value).into()),
            (CursorValue::Decimal(unscaled, scale), DataType::Decimal128(_, own)) if scale == own => {
                unscaled.parse().ok()
            }
            (CursorValue::Date(days), DataType::Date32) => Some((*days).into()),
            (CursorValue::DateTime(nanos), DataType::Timestamp(_, None))
            | (CursorValue::Timestamp(nanos), DataType::Timestamp(_, Some(_))) => Some(nanos.0),
            (CursorValue::Text(text), DataType::Utf8) => return Ok(Self::Text(text.clone().into_bytes())),
            _ => None,
        };
        number
            .map(Self::Number)
            .ok_or_else(|| CursorFilter::other_type(column, &data_type.to_string(), value))
    }
}

/// Takes in one more array of the cursor column.
pub(crate) fn summarise(summary: &mut CursorSummary, array: &ArrayRef) -> Result<()> {
    let ordered = Ordered::of(array)?;
    let (mut min, mut max) = (None, None);
    for row in 0..array.len() {
        if array.is_null(row) {
            summary.nulls += 1;
            continue;
        }
        min = Some(min.filter(|min| ordered.compare(*min, row).is_le()).unwrap_or(row));
        max = Some(max.filter(|max| ordered.compare(*max, row).is_ge()).unwrap_or(row));
    }
    let value = |row: Option<usize>| row.map_or(Ok(None), |row| CursorValue::from_array(array, row));
    let better = |old: &Option<CursorValue>, new: &CursorValue, wanted: Ordering| {
        old.as_ref().is_none_or(|old| new.compare(old) == Some(wanted))
    };
    if let Some(min) = value(min)?.filter(|new| better(&summary.min, new, Ordering::Less)) {
        summary.min = Some(min);
    }
    if let Some(max) = value(max)?.filter(|new| better(&summary.max, new, Ordering::Greater)) {
        summary.max = Some(max);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        Date32Array, Decimal128Array, Int8Array, StringArray, TimestampMillisecondArray, UInt64Array,
    };
    use std::sync::Arc;
    use transload_core::ErrorKind;
    use transload_core::schema::Nanos;

    fn arrays() -> Vec<ArrayRef> {
        vec![
            Arc::new(Int8Array::from(vec![Some(-128), None, Some(0), Some(127)])),
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), Some(0), None, Some(1 << 63)])),
            Arc::new(Date32Array::from(vec![Some(-1), Some(0), None, Some(20_000)])),
            Arc::new(TimestampMillisecondArray::from(vec![Some(-1), None, Some(5)]).with_timezone("UTC")),
            Arc::new(TimestampMillisecondArray::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
            Arc::new(
                Decimal128Array::from(vec![Some(-5), Some(500), None])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
            Arc::new(StringArray::from(vec![Some(""), Some("B"), Some("a"), None, Some("é")])),
        ]
    }

    /// Every pair of values of every type as a range, against `CursorValue::compare`.
    #[test]
    fn masks_agree_with_the_order_of_cursor_values() {
        for array in arrays() {
            let values: Vec<_> =
                (0..array.len()).map(|row| CursorValue::from_array(&array, row).unwrap()).collect();
            for lo in &values {
                for hi in &values {
                    for (lo_inclusive, include_nulls) in
                        [(true, true), (true, false), (false, true), (false, false)]
                    {
                        let filter = CursorFilter {
                            column: "c".into(),
                            lo: lo.clone(),
                            lo_inclusive,
                            hi: hi.clone(),
                            include_nulls,
                        };
                        let mask = RowFilter::new(&filter, array.data_type()).unwrap().mask(&array).unwrap();
                        for (row, value) in values.iter().enumerate() {
                            let expected = match value {
                                None => include_nulls,
                                Some(value) => {
                                    let above =
                                        lo.as_ref().is_none_or(|lo| match value.compare(lo).unwrap() {
                                            Ordering::Greater => true,
                                            Ordering::Equal => lo_inclusive,
                                            Ordering::Less => false,
                                        });
                                    above && hi.as_ref().is_none_or(|hi| value.compare(hi).unwrap().is_le())
                                }
                            };
                            assert_eq!(mask.value(row), expected, "{lo:?} {hi:?} {value:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn summaries_span_batches() {
        let mut summary = CursorSummary::default();
        for values in [vec![Some("m"), None], vec![None], vec![Some("z"), Some("a")], vec![]] {
            let array: ArrayRef = Arc::new(StringArray::from(values));
            summarise(&mut summary, &array).unwrap();
        }
        assert_eq!(summary.min, Some(CursorValue::Text("a".into())));
        assert_eq!(summary.max, Some(CursorValue::Text("z".into())));
        assert_eq!(summary.nulls, 2);
    }

    #[test]
    fn wrong_types_are_refused() {
        let filter = |lo| CursorFilter {
            column: "c".into(),
            lo: Some(lo),
            lo_inclusive: true,
            hi: None,
            include_nulls: false,
        };
        let error = RowFilter::new(&filter(CursorValue::Text("1".into())), &DataType::Int64).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChanged);
        let error = RowFilter::new(&filter(CursorValue::Decimal("1".into(), 3)), &DataType::Decimal128(5, 2))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SchemaChanged);
        let error = RowFilter::new(&filter(CursorValue::Int(1)), &DataType::Float64).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let zoned = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
        assert!(RowFilter::new(&filter(CursorValue::DateTime(Nanos(1))), &zoned).is_err());
    }
}
