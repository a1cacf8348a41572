//! Casts batches of a source to the types of a mapping, value by value checked.

mod kernel;
mod nested;
mod number;
pub(super) mod parse;
mod plan;
mod possible;
mod temporal;
mod text;
mod to_json;
pub(super) mod to_text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::cast::AsArray as _;
use arrow_array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow_schema::{DataType, SchemaRef};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::kernel::Kernel;
use self::parse::Misfit;
pub use self::possible::{possible_types, recipe_for};
use super::added::{AddedMapping, AddedValue};
use super::bigquery::{BigQueryType, Mode};
use super::mapping::{ColumnMapping, TableMapping};
use super::table::ColumnSchema;
use super::target::TargetRef;
use crate::error::{Error, ErrorKind, Result};

/// Examples of rejected values that are kept per column and batch.
const EXAMPLES: usize = 3;

/// Characters of a value that errors and examples show.
const EXCERPT: usize = 80;

/// What happens to a value that does not fit the type of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectPolicy {
    /// The load fails and names column, value and row. Nothing is committed. The default.
    #[default]
    Fail,
    /// The value becomes NULL and is counted.
    Null,
}

/// Values of one column that became NULL because they do not fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnRejects {
    /// The column's name at the source.
    pub column: String,
    /// How many values (not rows).
    pub rejected: u64,
    /// Up to three of them, each cut to 80 characters.
    pub examples: Vec<String>,
}

/// Applies a [`TableMapping`] to batches. Nothing is rounded, wrapped or cut: a value either is the same
/// in its new type or does not fit, and then the [`RejectPolicy`] decides.
///
/// Texts are trimmed of blanks before they are read as another type, and an empty one is NULL then, which
/// is no reject. A NULL list stays NULL; BigQuery stores it as an empty one.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{RecordBatch, StringArray, cast::AsArray, types::Int64Type};
/// use arrow_schema::DataType;
/// use transload_core::SchemaMapper;
/// use transload_core::schema::{
///     Caster, ColumnOverride, ColumnSchema, Overrides, RejectPolicy, TableRef, TableSchema,
/// };
///
/// let table = TableSchema::new(TableRef::new("public", "t"), vec![ColumnSchema::new("n", "text", DataType::Utf8)]);
/// let as_integer = ColumnOverride { data_type: Some("INT64".to_owned()), ..ColumnOverride::default() };
/// let overrides = Overrides::from([("n".to_owned(), as_integer)]);
/// let mapping = SchemaMapper::default().with_overrides(overrides).map(&table, None)?;
///
/// let texts = StringArray::from(vec![Some(" 12 "), Some("1.5"), None]);
/// let batch = RecordBatch::try_new(table.arrow_schema(), vec![Arc::new(texts)])?;
/// let caster = Caster::new(&mapping, &batch.schema(), RejectPolicy::Null)?;
/// let (batch, rejects) = caster.cast(&batch)?;
/// assert_eq!(batch.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(12), None, None]);
/// assert_eq!((rejects[0].rejected, rejects[0].examples[0].as_str()), (1, "1.5"));
/// # Ok::<(), transload_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Caster {
    columns: Vec<ColumnCast>,
    /// Name and place in the input of the columns of the primary key that are there.
    key: Vec<(String, usize)>,
    /// Name and, once it is known, the one value of the columns that the source does not have.
    added: Vec<(AddedMapping, Option<ArrayRef>)>,
    input: SchemaRef,
    output: SchemaRef,
    policy: RejectPolicy,
}

#[derive(Debug, Clone)]
struct ColumnCast {
    source_name: String,
    target: String,
    index: usize,
    required: bool,
    kernel: Kernel,
    /// Texts that become NULL, and how many did, in all clones of this caster.
    null_tokens: Vec<String>,
    nulled: Arc<AtomicU64>,
    /// Its type was found in a sample.
    inferred: bool,
}

impl Caster {
    /// Plans the casts. `input` is the schema of the source's batches; the output has one column per
    /// column of the mapping, in its order, with the Arrow types of the target table.
    ///
    /// # Errors
    /// `type_mapping` for a column whose type cannot become the mapped one, with the possible types;
    /// `schema_changed` for a column that the input lacks.
    pub fn new(mapping: &TableMapping, input: &SchemaRef, policy: RejectPolicy) -> Result<Self> {
        let output = mapping.target_table(TargetRef::new("", "")).arrow_schema();
        let columns =
            mapping.columns.iter().map(|column| ColumnCast::new(column, input)).collect::<Result<_>>()?;
        let key = mapping
            .primary_key
            .iter()
            .filter_map(|name| Some((name.clone(), input.index_of(name).ok()?)))
            .collect();
        let added = mapping.added.iter().map(|column| {
            let value = match &column.value {
                AddedValue::Constant(text) => Some(constant(text, &column.bigquery_type)?),
                AddedValue::LoadedAt | AddedValue::LoadId => None,
            };
            Ok((column.clone(), value))
        });
        let added = added.collect::<Result<_>>()?;
        Ok(Self { columns, key, added, input: Arc::clone(input), output, policy })
    }

    /// Tells which load the rows belong to, for columns that the mapping adds. Without such columns it need
    /// not be called.
    #[must_use]
    pub fn for_load(mut self, load_id: &str, loaded_at: Timestamp) -> Self {
        for (column, value) in &mut self.added {
            match column.value {
                AddedValue::LoadId => *value = Some(Arc::new(StringArray::from(vec![load_id]))),
                AddedValue::LoadedAt => {
                    let micros = TimestampMicrosecondArray::from(vec![loaded_at.as_microsecond()]);
                    *value = Some(Arc::new(micros.with_timezone("UTC")));
                }
                AddedValue::Constant(_) => {}
            }
        }
        self
    }

    /// The schema of the batches that [`Self::cast`] returns.
    #[must_use]
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// Casts a batch of the input schema. The second part counts the values that became NULL, for the
    /// columns that have any.
    ///
    /// # Errors
    /// `data` under [`RejectPolicy::Fail`] for the first value that does not fit, and under both policies
    /// for a NULL in a REQUIRED column; `schema_changed` for a batch of another schema.
    pub fn cast(&self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<ColumnRejects>)> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        let mut rejects = Vec::new();
        for column in &self.columns {
            let source = self.source(batch, column)?;
            let cast = column.kernel.run(&column.without_tokens(source)?)?;
            if let Some((row, misfit)) = cast.rejected.first() {
                if self.policy == RejectPolicy::Fail {
                    return Err(self.does_not_fit(batch, column, source, *row, *misfit));
                }
                rejects.push(column.rejects(source, &cast.rejected)?);
            }
            if column.required
                && let Some(nulls) = cast.array.logical_nulls()
                && let Some(row) = (0..nulls.len()).find(|row| nulls.is_null(*row))
            {
                return Err(self.is_null(batch, column, row));
            }
            arrays.push(cast.array);
        }
        let first = UInt32Array::from(vec![0; batch.num_rows()]);
        for (column, value) in &self.added {
            let value = value.as_ref().ok_or_else(|| {
                Error::internal(format!("added column `{}` has no value: for_load", column.target_name))
            })?;
            arrays.push(arrow_select::take::take(value, &first, None)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.output), arrays, &options)?;
        Ok((batch, rejects))
    }

    /// How many values became NULL so far because their text is one of the column's null tokens; only columns
    /// that have any, by their names at the source.
    pub fn null_tokens(&self) -> impl Iterator<Item = (&str, u64)> {
        let counted = self.columns.iter().map(|c| (c.source_name.as_str(), c.nulled.load(Ordering::Relaxed)));
        counted.filter(|(_, nulled)| *nulled > 0)
    }

    fn source<'a>(&self, batch: &'a RecordBatch, column: &ColumnCast) -> Result<&'a ArrayRef> {
        let source = batch.columns().get(column.index);
        source.filter(|array| array.data_type() == self.input.field(column.index).data_type()).ok_or_else(
            || {
                Error::new(
                    ErrorKind::SchemaChanged,
                    format!("the source sent a batch without the described column `{}`", column.source_name),
                )
                .with("column", &column.source_name)
                .hint("its schema changed while it was read; run the job again")
            },
        )
    }

    fn does_not_fit(
        &self,
        batch: &RecordBatch,
        column: &ColumnCast,
        source: &ArrayRef,
        row: usize,
        misfit: Misfit,
    ) -> Error {
        let value = excerpt(source, row).unwrap_or_default();
        let error = Error::data(format!(
            "value `{value}` of column `{}` does not fit {}: it {misfit}",
            column.source_name, column.target
        ));
        let hint = if column.inferred {
            "the type was found in a sample: override it with STRING to keep the text, correct the value at the \
             source, or set mapping.on_reject to \"null\""
        } else {
            "correct it at the source, override the type of the column (STRING takes every value), or set \
             mapping.on_reject to \"null\""
        };
        self.at_row(error, batch, column, row).with("value", value).with("reason", misfit).hint(hint)
    }

    fn is_null(&self, batch: &RecordBatch, column: &ColumnCast, row: usize) -> Error {
        let error =
            Error::data(format!("column `{}` is REQUIRED and a row has no value for it", column.source_name));
        self.at_row(error, batch, column, row)
            .hint("set the mode of the column to NULLABLE with an override, or correct the row at the source")
    }

    fn at_row(&self, error: Error, batch: &RecordBatch, column: &ColumnCast, row: usize) -> Error {
        let error = error.with("column", &column.source_name);
        let key: Vec<String> = self
            .key
            .iter()
            .filter_map(|(name, index)| {
                let value = excerpt(batch.columns().get(*index)?, row).unwrap_or_default();
                Some(format!("{name}={value}"))
            })
            .collect();
        if key.is_empty() { error } else { error.with("row", key.join(", ")) }
    }
}

impl ColumnCast {
    fn new(column: &ColumnMapping, input: &SchemaRef) -> Result<Self> {
        let (index, field) = input.column_with_name(&column.source_name).ok_or_else(|| {
            Error::new(
                ErrorKind::SchemaChanged,
                format!("the source has no column `{}` that the mapping names", column.source_name),
            )
            .with("column", &column.source_name)
            .hint("map the table again")
        })?;
        let source = ColumnSchema::from_field(field);
        let kernel = Kernel::plan(
            &source.data_type,
            source.extension,
            &column.bigquery_type,
            column.mode,
            &column.recipe,
        )
        .map_err(|error| error.with("column", &column.source_name))?;
        Ok(Self {
            source_name: column.source_name.clone(),
            target: column.bigquery_type.to_string(),
            index,
            required: column.mode == Mode::Required,
            kernel,
            null_tokens: column.null_tokens.clone(),
            nulled: Arc::default(),
            inferred: column.evidence.is_some(),
        })
    }

    /// The column with NULL where a text stands for no value.
    fn without_tokens(&self, source: &ArrayRef) -> Result<ArrayRef> {
        if self.null_tokens.is_empty() || !source.data_type().is_string() {
            return Ok(Arc::clone(source));
        }
        let is_token = |text: Option<&str>| {
            text.is_some_and(|text| {
                let text = text.trim();
                self.null_tokens.iter().any(|token| token == text)
            })
        };
        let mask: BooleanArray = match source.data_type() {
            DataType::LargeUtf8 => {
                source.as_string::<i64>().iter().map(|text| Some(is_token(text))).collect()
            }
            DataType::Utf8View => source.as_string_view().iter().map(|text| Some(is_token(text))).collect(),
            _ => source.as_string::<i32>().iter().map(|text| Some(is_token(text))).collect(),
        };
        let nulled = u64::try_from(mask.true_count()).unwrap_or(u64::MAX);
        if nulled == 0 {
            return Ok(Arc::clone(source));
        }
        self.nulled.fetch_add(nulled, Ordering::Relaxed);
        Ok(arrow_select::nullif::nullif(source, &mask)?)
    }

    fn rejects(&self, source: &ArrayRef, rejected: &[(usize, Misfit)]) -> Result<ColumnRejects> {
        let examples =
            rejected.iter().take(EXAMPLES).map(|(row, _)| excerpt(source, *row)).collect::<Result<_>>()?;
        Ok(ColumnRejects {
            column: self.source_name.clone(),
            rejected: u64::try_from(rejected.len()).unwrap_or(u64::MAX),
            examples,
        })
    }
}

/// One value of a type, from its text.
pub(super) fn constant(text: &str, target: &BigQueryType) -> Result<ArrayRef> {
    let recipe = recipe_for(&DataType::Utf8, target, None)?;
    let kernel = Kernel::plan(&DataType::Utf8, None, target, Mode::Nullable, &recipe)?;
    let cast = kernel.run(&(Arc::new(StringArray::from(vec![text])) as ArrayRef))?;
    if cast.rejected.is_empty() && cast.array.is_valid(0) {
        return Ok(cast.array);
    }
    let text = format!("constant `{text}` does not fit {target}");
    Err(Error::new(ErrorKind::TypeMapping, text)
        .hint("give another value or another type; STRING takes any text"))
}

/// The value of one cell for people, cut to a readable length.
fn excerpt(array: &ArrayRef, row: usize) -> Result<String> {
    let texts = to_text::column(&array.slice(row, 1), None)?;
    if texts.is_null(0) {
        return Ok("NULL".to_owned());
    }
    let text = texts.value(0);
    match text.char_indices().nth(EXCERPT) {
        Some(_) => Ok(text.chars().take(EXCERPT - 1).chain(['\u{2026}']).collect()),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
