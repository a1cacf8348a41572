//! Messages of the Storage Read API to batches of the promised schema and size.

use std::sync::Arc;

use arrow_array::builder::IntervalMonthDayNanoBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Decimal128Type, Decimal256Type, DecimalType, IntervalMonthDayNano,
};
use arrow_array::{Array, ArrayRef, ListArray, PrimitiveArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::{Buffer, i256};
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::{DataType, Field, IntervalUnit, SchemaRef};
use bytes::Bytes;
use transload_core::batch::{BATCH_BYTES, BATCH_ROWS, batch_bytes, split_by_bytes};
use transload_core::{Error, ErrorKind, Result};

/// Decodes the messages of one stream.
#[derive(Debug)]
pub(crate) struct Decoder {
    ipc: StreamDecoder,
    schema: SchemaRef,
}

impl Decoder {
    /// `message` is the schema as the session gave it, `schema` the one that batches shall have.
    pub(crate) fn new(message: &Bytes, schema: SchemaRef) -> Result<Self> {
        let mut decoder = Self { ipc: StreamDecoder::new(), schema };
        decoder.feed(message)?;
        Ok(decoder)
    }

    fn feed(&mut self, message: &Bytes) -> Result<Option<RecordBatch>> {
        // No copy: the arrays share the message.
        let mut buffer = Buffer::from(message.clone());
        while !buffer.is_empty() {
            if let Some(batch) = self.ipc.decode(&mut buffer).map_err(|error| unreadable(&error))? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// One message as a batch of the promised schema.
    pub(crate) fn batch(&mut self, message: &Bytes) -> Result<RecordBatch> {
        let batch = self.feed(message)?.ok_or_else(|| {
            Error::internal("a message of the Storage API holds no whole batch").hint("report this")
        })?;
        // Columns come in the table's order, whatever was asked for.
        let column = |field: &Arc<Field>| {
            let (index, sent) = batch.schema_ref().column_with_name(field.name()).ok_or_else(|| {
                changed(format!("BigQuery sent no column `{}`", field.name())).with("column", field.name())
            })?;
            conform(batch.column(index), field).map_err(|error| {
                error.with("column", field.name()).with("sent", sent.data_type().to_string())
            })
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| changed("BigQuery sent other columns than the table has").source_error(error))
    }
}

fn unreadable(error: &arrow_schema::ArrowError) -> Error {
    Error::new(ErrorKind::Unreachable, format!("a message of the Storage API cannot be read: {error}"))
        .hint("try again; report this if it happens twice")
}

fn changed(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::SchemaChanged, message).hint("run the job again: the table changed while it ran")
}

/// Gives an array the wanted type without changing a value. BigQuery sends most columns as they are wanted;
/// decimals come in the type's full width, ranges with names of their own, intervals as text from some
/// servers.
fn conform(array: &ArrayRef, want: &Field) -> Result<ArrayRef> {
    let (from, to) = (array.data_type(), want.data_type());
    if from == to {
        return Ok(Arc::clone(array));
    }
    match (from, to) {
        (DataType::Decimal128(_, from), DataType::Decimal128(precision, to)) => {
            let values = rescale::<Decimal128Type, Decimal128Type>(array, *from, *to, |v| Some(v.into()))?;
            Ok(Arc::new(values.with_precision_and_scale(*precision, *to)?))
        }
        (DataType::Decimal128(_, from), DataType::Decimal256(precision, to)) => {
            let values = rescale::<Decimal128Type, Decimal256Type>(array, *from, *to, |v| Some(v.into()))?;
            Ok(Arc::new(values.with_precision_and_scale(*precision, *to)?))
        }
        (DataType::Decimal256(_, from), DataType::Decimal256(precision, to)) => {
            let values = rescale::<Decimal256Type, Decimal256Type>(array, *from, *to, Some)?;
            Ok(Arc::new(values.with_precision_and_scale(*precision, *to)?))
        }
        (DataType::Utf8, DataType::Interval(IntervalUnit::MonthDayNano)) => intervals(array.as_string()),
        (DataType::Timestamp(a, Some(_)), DataType::Timestamp(b, Some(_))) if a == b => retyped(array, to),
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = conform(list.values(), item)?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls)?))
        }
        (DataType::Struct(sent), DataType::Struct(fields)) if sent.len() == fields.len() => {
            let inner = array.as_struct();
            let columns = inner.columns().iter().zip(fields).map(|(column, field)| conform(column, field));
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let nulls = inner.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len())?))
        }
        _ => Err(changed(format!("BigQuery sent a column as {from} where {to} is expected"))),
    }
}

/// The same values under a type of the same layout.
fn retyped(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let data = array.to_data().into_builder().data_type(to.clone()).build()?;
    Ok(arrow_array::make_array(data))
}

/// Decimals at another scale, exactly.
fn rescale<F, T>(
    array: &ArrayRef,
    from: i8,
    to: i8,
    widen: impl Fn(F::Native) -> Option<i256>,
) -> Result<PrimitiveArray<T>>
where
    F: ArrowPrimitiveType + DecimalType,
    T: ArrowPrimitiveType + DecimalType,
    F::Native: Narrow,
    T::Native: Narrow,
{
    let array = array.as_primitive::<F>();
    let step = i32::from(to) - i32::from(from);
    let factor = i256::from_i128(10).checked_pow(step.unsigned_abs()).ok_or_else(beyond)?;
    array.try_unary::<_, T, Error>(|value| {
        let value = widen(value).ok_or_else(beyond)?;
        let scaled = if step >= 0 {
            value.checked_mul(factor)
        } else {
            (value.checked_rem(factor) == Some(i256::ZERO)).then(|| value.checked_div(factor)).flatten()
        };
        scaled.and_then(T::Native::narrow).ok_or_else(beyond)
    })
}

fn beyond() -> Error {
    Error::data("a decimal has more digits than its column is declared with")
        .hint("report this: BigQuery sent it")
}

/// Integers behind decimals, from the widest.
trait Narrow: Sized {
    fn narrow(value: i256) -> Option<Self>;
}

impl Narrow for i128 {
    fn narrow(value: i256) -> Option<Self> {
        value.to_i128()
    }
}

impl Narrow for i256 {
    fn narrow(value: i256) -> Option<Self> {
        Some(value)
    }
}

fn intervals(texts: &StringArray) -> Result<ArrayRef> {
    let mut values = IntervalMonthDayNanoBuilder::with_capacity(texts.len());
    for text in texts {
        let value = text.map(|text| {
            interval(text).ok_or_else(|| {
                Error::data("an interval cannot be read").with("value", text).hint("report this")
            })
        });
        values.append_option(value.transpose()?);
    }
    Ok(Arc::new(values.finish()))
}

/// BigQuery's canonical text: `[sign]Y-M [sign]D [sign]H:M:S[.F]`.
fn interval(text: &str) -> Option<IntervalMonthDayNano> {
    let mut parts = text.split(' ');
    let (months, days, time) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let signed = |text: &'_ str| match text.strip_prefix('-') {
        Some(rest) => (-1_i64, rest.to_owned()),
        None => (1, text.to_owned()),
    };
    let (sign, months) = signed(months);
    let (years, months) = months.split_once('-')?;
    let months = sign * (years.parse::<i64>().ok()? * 12 + months.parse::<i64>().ok()?);
    let (sign, time) = signed(time);
    let mut units = time.split(':');
    let (hours, minutes, seconds) = (units.next()?, units.next()?, units.next()?);
    if units.next().is_some() {
        return None;
    }
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
    let fraction: i64 =
        if fraction.len() > 9 { return None } else { format!("{fraction:0<9}").parse().ok()? };
    let seconds = (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?) * 60
        + seconds.parse::<i64>().ok()?;
    let nanos = sign * seconds.checked_mul(1_000_000_000)?.checked_add(fraction)?;
    Some(IntervalMonthDayNano::new(i32::try_from(months).ok()?, days.parse().ok()?, nanos))
}

/// Collects batches until they have the wished size, and cuts those that are larger.
#[derive(Debug)]
pub(crate) struct Chunks {
    schema: SchemaRef,
    bytes: usize,
    held: Vec<RecordBatch>,
    held_rows: usize,
    held_bytes: usize,
}

impl Chunks {
    /// `bytes` is the wished size, 0 for the default.
    pub(crate) fn new(schema: SchemaRef, bytes: usize) -> Self {
        let bytes = if bytes == 0 { BATCH_BYTES } else { bytes };
        Self { schema, bytes, held: Vec::new(), held_rows: 0, held_bytes: 0 }
    }

    /// Takes a batch, gives those that are complete.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        self.held_rows += batch.num_rows();
        self.held_bytes += batch_bytes(&batch);
        if batch.num_rows() > 0 {
            self.held.push(batch);
        }
        if self.held_rows >= BATCH_ROWS || self.held_bytes >= self.bytes {
            self.take()
        } else {
            Ok(Vec::new())
        }
    }

    /// What is left.
    pub(crate) fn take(&mut self) -> Result<Vec<RecordBatch>> {
        let held = std::mem::take(&mut self.held);
        (self.held_rows, self.held_bytes) = (0, 0);
        let batch = match held.as_slice() {
            [] => return Ok(Vec::new()),
            [one] => one.clone(),
            several => arrow_select::concat::concat_batches(&self.schema, several)?,
        };
        let mut pieces = Vec::new();
        for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
            let rows = batch.slice(start, BATCH_ROWS.min(batch.num_rows() - start));
            pieces.extend(split_by_bytes(&rows, self.bytes));
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Decimal128Array, Int64Array};
    use arrow_schema::Schema;

    #[test]
    fn intervals_in_every_sign() {
        let parts = |text: &str| {
            let value = interval(text)?;
            Some((value.months, value.days, value.nanoseconds))
        };
        assert_eq!(parts("1-2 3 4:5:6.789"), Some((14, 3, 14_706_789_000_000)));
        assert_eq!(parts("-1-2 -3 -4:5:6.000001"), Some((-14, -3, -14_706_000_001_000)));
        assert_eq!(parts("0-0 0 0:0:0"), Some((0, 0, 0)));
        assert_eq!(parts("-10000-0 3660000 0:0:0"), Some((-120_000, 3_660_000, 0)));
        // Arrow's 64 bits of nanoseconds end at 292 years; BigQuery's own limit is 10,000.
        for bad in [
            "0-0 0 -87840000:0:0",
            "",
            "1-2",
            "1-2 3 4:5",
            "1-2 3 4:5:6 7",
            "a-b c d:e:f",
            "0-0 0 0:0:0.1234567891",
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    #[test]
    fn decimals_change_their_scale_only_exactly() {
        let sent = Decimal128Array::from(vec![Some(1_500_000_000), None, Some(-2_250_000_000)]);
        let sent: ArrayRef = Arc::new(sent.with_precision_and_scale(38, 9).unwrap());
        let narrow = Field::new("n", DataType::Decimal128(10, 2), true);
        let narrowed = conform(&sent, &narrow).unwrap();
        assert_eq!(narrowed.as_primitive::<Decimal128Type>().value(2), -225);
        let wide = Field::new("n", DataType::Decimal256(76, 38), true);
        let widened = conform(&sent, &wide).unwrap();
        assert_eq!(
            widened.as_primitive::<Decimal256Type>().value_as_string(0),
            format!("1.5{}", "0".repeat(37))
        );
        let coarse = Field::new("n", DataType::Decimal128(10, 1), true);
        assert_eq!(conform(&sent, &coarse).unwrap_err().kind(), ErrorKind::Data);
    }

    #[test]
    fn another_type_is_an_error_and_not_a_guess() {
        let sent: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let want = Field::new("n", DataType::Utf8, true);
        assert_eq!(conform(&sent, &want).unwrap_err().kind(), ErrorKind::SchemaChanged);
    }

    #[test]
    fn chunks_have_the_wished_size_and_every_row() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
        let batch = |rows: std::ops::Range<i64>| {
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from_iter_values(rows))])
                .unwrap()
        };
        let mut chunks = Chunks::new(Arc::clone(&schema), 800);
        let mut out = Vec::new();
        for (from, to) in [(0, 10), (10, 10), (10, 95), (95, 500), (500, 501)] {
            out.extend(chunks.push(batch(from..to)).unwrap());
        }
        out.extend(chunks.take().unwrap());
        assert!(chunks.take().unwrap().is_empty());
        let sizes: Vec<usize> = out.iter().map(RecordBatch::num_rows).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 501);
        assert!(sizes.iter().all(|rows| *rows <= 100), "{sizes:?}");
        let values: Vec<i64> = out
            .iter()
            .flat_map(|batch| {
                batch.column(0).as_primitive::<arrow_array::types::Int64Type>().values().to_vec()
            })
            .collect();
        assert_eq!(values, (0..501).collect::<Vec<_>>());
        // Rows alone make a chunk, too.
        let mut chunks = Chunks::new(schema.clone(), usize::MAX);
        assert_eq!(chunks.push(batch(0..200_000)).unwrap().len(), 4);
    }
}
