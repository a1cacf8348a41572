//! Casts batches of a source to the types of a mapping, value by value checked.

mod kernel;
mod ledger;
mod nested;
mod number;
pub(super) mod parse;
mod plan;
mod policy;
mod possible;
mod quarantine;
mod temporal;
mod text;
mod to_json;
pub(super) mod to_text;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow_schema::{DataType, Field, SchemaRef};
use arrow_select::take::take;
use jiff::Timestamp;

use self::kernel::{Cast, Kernel, blanks};
pub use self::ledger::{BatchLedger, Change, ColumnLedger, Counts, Ledger, LedgerExample};
use self::parse::Misfit;
pub use self::policy::{RejectPolicy, RoundPolicy};
pub use self::possible::{possible_types, recipe_for};
pub use self::quarantine::quarantine_table;
use super::added::{AddedMapping, AddedValue};
use super::bigquery::{BigQueryType, Mode};
use super::mapping::{ColumnMapping, TableMapping};
use super::table::{ColumnSchema, Extension};
use super::target::TargetRef;
use super::tombstone::Tombstone;
use crate::error::{Error, ErrorKind, Result};

/// Examples of changed values that are kept per column, batch and kind of change.
const EXAMPLES: usize = 3;

/// Characters of a value that errors and examples show.
const EXCERPT: usize = 80;

/// Applies a [`TableMapping`] to batches. Nothing is wrapped, cut or rounded unless the mapping asks for it:
/// a value either is the same in its new type or does not fit, and then the [`RejectPolicy`] decides. What
/// became of every value is in the [`BatchLedger`].
///
/// Texts are trimmed of blanks before they are read as another type, and an empty one is NULL then, which
/// is no reject but counted. A NULL list stays NULL; BigQuery stores it as an empty one.
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
/// let (batch, ledger) = caster.cast(&batch)?;
/// assert_eq!(batch.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(12), None, None]);
/// let (counts, examples) = &ledger.columns[0];
/// assert_eq!((counts.converted, counts.nulled, counts.null), (1, 1, 1));
/// assert_eq!(examples[0].value, "1.5");
/// # Ok::<(), transload_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Caster {
    columns: Vec<ColumnCast>,
    /// Name and place in the input of the columns that tell a row.
    key: Vec<(String, usize)>,
    /// Name and, once it is known, the one value of the columns that the source does not have.
    added: Vec<(AddedMapping, Option<ArrayRef>)>,
    /// Rows that a load marks as deleted.
    marking: Option<Tombstone>,
    input: SchemaRef,
    output: SchemaRef,
}

#[derive(Debug, Clone)]
struct ColumnCast {
    source_name: String,
    source_type: String,
    target_name: String,
    target: String,
    extension: Option<Extension>,
    index: usize,
    required: bool,
    kernel: Kernel,
    /// Texts that become NULL.
    null_tokens: Vec<String>,
    /// Its type was found in a sample.
    inferred: bool,
    /// The kind of type stays, so values that fit are exact.
    same_kind: bool,
    policy: RejectPolicy,
    rounding: RoundPolicy,
}

impl Caster {
    /// Plans the casts. `input` is the schema of the source's batches; the output has one column per
    /// column of the mapping, in its order, with the Arrow types of the target table. `policy` holds for
    /// columns for which the mapping names none.
    ///
    /// # Errors
    /// `type_mapping` for a column whose type cannot become the mapped one, with the possible types;
    /// `schema_changed` for a column that the input lacks.
    pub fn new(mapping: &TableMapping, input: &SchemaRef, policy: RejectPolicy) -> Result<Self> {
        let output = mapping.target_table(TargetRef::new("", "")).arrow_schema();
        let columns = mapping
            .columns
            .iter()
            .map(|column| ColumnCast::new(column, input, policy))
            .collect::<Result<_>>()?;
        let added = mapping.added.iter().map(|column| {
            let value = match &column.value {
                AddedValue::Constant(text) => Some(constant(text, &column.bigquery_type)?),
                AddedValue::LoadedAt | AddedValue::LoadId | AddedValue::DeletedAt => None,
            };
            Ok((column.clone(), value))
        });
        let added = added.collect::<Result<_>>()?;
        let (input, marking) = (Arc::clone(input), None);
        let caster = Self { columns, key: Vec::new(), added, marking, input, output };
        Ok(caster.with_row_key(&mapping.primary_key))
    }

    /// Sets the columns by which errors, ledger and quarantine name a row, by their names at the source.
    /// Those that the input lacks are left out. Default: the primary key.
    #[must_use]
    pub fn with_row_key(mut self, columns: &[String]) -> Self {
        let place = |name: &String| Some((name.clone(), self.input.index_of(name).ok()?));
        self.key = columns.iter().filter_map(place).collect();
        self
    }

    /// Tells which load the rows belong to, for columns that the mapping adds. Without such columns it need
    /// not be called.
    #[must_use]
    pub fn for_load(mut self, load_id: &str, loaded_at: Timestamp) -> Self {
        for (column, value) in &mut self.added {
            match column.value {
                AddedValue::LoadId => *value = Some(Arc::new(StringArray::from(vec![load_id]))),
                AddedValue::LoadedAt | AddedValue::DeletedAt => {
                    let micros = TimestampMicrosecondArray::from(vec![loaded_at.as_microsecond()]);
                    *value = Some(Arc::new(micros.with_timezone("UTC")));
                }
                AddedValue::Constant(_) => {}
            }
        }
        self
    }

    /// Sets by which column of the target rows say that they are deleted, so that [`AddedValue::DeletedAt`] has the
    /// time of the load for them. Without it no row is marked.
    #[must_use]
    pub fn marking(mut self, tombstone: Option<Tombstone>) -> Self {
        self.marking = tombstone;
        self
    }

    /// The schema of the batches that [`Self::cast`] returns.
    #[must_use]
    pub fn output_schema(&self) -> &SchemaRef {
        &self.output
    }

    /// Whether values of some column may have to be quarantined.
    #[must_use]
    pub fn quarantines(&self) -> bool {
        self.columns
            .iter()
            .any(|column| column.policy == RejectPolicy::Quarantine && column.kernel.may_reject())
    }

    /// A ledger of nothing, to which those of batches are added.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let columns = self.columns.iter().map(|column| ColumnLedger {
            column: column.source_name.clone(),
            target: column.target_name.clone(),
            bigquery_type: column.target.clone(),
            ..ColumnLedger::default()
        });
        Ledger { columns: columns.collect(), incomplete_rows: 0 }
    }

    /// Casts a batch of the input schema. The second part tells what became of the values.
    ///
    /// # Errors
    /// `data` under [`RejectPolicy::Fail`] for the first value that does not fit, and under every policy
    /// for a NULL in a REQUIRED column; `schema_changed` for a batch of another schema.
    pub fn cast(&self, batch: &RecordBatch) -> Result<(RecordBatch, BatchLedger)> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        let mut ledger =
            BatchLedger { columns: Vec::with_capacity(self.columns.len()), ..BatchLedger::default() };
        let mut incomplete = BTreeSet::new();
        let mut quarantined = Vec::new();
        for column in &self.columns {
            let source = self.source(batch, column)?;
            let cast = column.kernel.run(&column.without_tokens(source)?, column.rounding)?;
            if let Some((row, misfit)) = cast.rejected.first() {
                if !column.policy.makes_null() {
                    return Err(self.does_not_fit(batch, column, source, *row, *misfit));
                }
                incomplete.extend(cast.rejected.iter().map(|(row, _)| *row));
                if column.policy == RejectPolicy::Quarantine {
                    quarantined.push(self.quarantine(batch, column, source, &cast.rejected)?);
                }
            }
            if column.required
                && let Some(nulls) = cast.array.logical_nulls()
                && let Some(row) = (0..nulls.len()).find(|row| nulls.is_null(*row))
            {
                return Err(self.is_null(batch, column, row));
            }
            ledger.columns.push(self.count(batch, column, source, &cast)?);
            arrays.push(cast.array);
        }
        let first = UInt32Array::from(vec![0; batch.num_rows()]);
        for (column, value) in &self.added {
            let value = value.as_ref().ok_or_else(|| {
                Error::internal(format!("added column `{}` has no value: for_load", column.target_name))
            })?;
            let filled = match (&column.value, &self.marking) {
                (AddedValue::DeletedAt, Some(tombstone)) => self.marked(tombstone, &arrays)?,
                (AddedValue::DeletedAt, None) => UInt32Array::new_null(batch.num_rows()),
                _ => first.clone(),
            };
            arrays.push(take(value, &filled, None)?);
        }
        ledger.incomplete_rows = count(incomplete.len());
        ledger.quarantined = quarantine::together(&quarantined)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.output), arrays, &options)?;
        Ok((batch, ledger))
    }

    /// The one value for rows that are deleted, NULL for others.
    fn marked(&self, tombstone: &Tombstone, arrays: &[ArrayRef]) -> Result<UInt32Array> {
        let place = self.columns.iter().position(|column| column.target_name == tombstone.column);
        let column = place.and_then(|place| arrays.get(place));
        let column = column.ok_or_else(|| Error::internal("the column that marks rows is not loaded"))?;
        let dead = tombstone.when.rows(column)?;
        Ok(dead.iter().map(|dead| (dead == Some(true)).then_some(0)).collect())
    }

    /// What became of the values of one column. Only rows whose value changed are looked at one by one.
    fn count(
        &self,
        batch: &RecordBatch,
        column: &ColumnCast,
        source: &ArrayRef,
        cast: &Cast,
    ) -> Result<(Counts, Vec<LedgerExample>)> {
        let mut rejected: Vec<usize> = cast.rejected.iter().map(|(row, _)| *row).collect();
        rejected.dedup();
        // A row counts once: the worst that became of it.
        let mut rounded = cast.rounded.clone();
        rounded.retain(|row| rejected.binary_search(row).is_err());
        let mut blank = blanks(source, cast);
        blank.retain(|row| rejected.binary_search(row).is_err() && rounded.binary_search(row).is_err());
        let null = source.logical_null_count();
        let kept = source.len().saturating_sub(null + rejected.len() + rounded.len() + blank.len());
        let mut counts = Counts {
            null: count(null),
            rounded: count(rounded.len()),
            blank: count(blank.len()),
            ..Counts::default()
        };
        *(if column.same_kind { &mut counts.exact } else { &mut counts.converted }) = count(kept);
        let change = if column.policy == RejectPolicy::Quarantine {
            counts.quarantined = count(rejected.len());
            Change::Quarantined
        } else {
            counts.nulled = count(rejected.len());
            Change::Nulled
        };
        let mut examples = Vec::new();
        for (change, rows) in [(change, &rejected), (Change::Rounded, &rounded), (Change::Blank, &blank)] {
            let first = rows.get(..EXAMPLES.min(rows.len())).unwrap_or_default();
            if first.is_empty() {
                continue;
            }
            let keys = self.row_keys(batch, first)?;
            for (row, key) in first.iter().zip(&keys) {
                let misfit = cast
                    .rejected
                    .iter()
                    .find(|(other, _)| other == row)
                    .map(|(_, misfit)| misfit.to_string());
                let reason = match change {
                    Change::Rounded => Some("has more digits than its type".to_owned()),
                    _ => misfit,
                };
                let value = excerpt(source, *row)?;
                examples.push(LedgerExample { change, value, row_key: key.map(str::to_owned), reason });
            }
        }
        Ok((counts, examples))
    }

    fn quarantine(
        &self,
        batch: &RecordBatch,
        column: &ColumnCast,
        source: &ArrayRef,
        rejected: &[(usize, Misfit)],
    ) -> Result<RecordBatch> {
        let rows: Vec<usize> = rejected.iter().map(|(row, _)| *row).collect();
        let values = take(source, &indices(&rows)?, None)?;
        let misfits = rejected.iter().map(|(_, misfit)| *misfit);
        quarantine::rows(column, &values, self.row_keys(batch, &rows)?, misfits)
    }

    /// The key columns of some rows as JSON objects; NULL without a key.
    fn row_keys(&self, batch: &RecordBatch, rows: &[usize]) -> Result<StringArray> {
        if self.key.is_empty() {
            return Ok(StringArray::new_null(rows.len()));
        }
        let rows = indices(rows)?;
        let mut columns = Vec::with_capacity(self.key.len());
        for (name, index) in &self.key {
            let column = batch
                .columns()
                .get(*index)
                .ok_or_else(|| Error::internal(format!("the batch has no key column `{name}`")))?;
            let values = take(column, &rows, None)?;
            // With the metadata, which may say that a text is JSON.
            let field = Field::new(name, values.data_type().clone(), true);
            let metadata = self.input.field(*index).metadata().clone();
            columns.push((Arc::new(field.with_metadata(metadata)), values));
        }
        to_json::column(&(Arc::new(StructArray::from(columns)) as ArrayRef), None)
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
             source, or set on_reject, of the mapping or of this column, to \"null\" or \"quarantine\""
        } else {
            "correct it at the source, override the type of the column (STRING takes every value), or set \
             on_reject, of the mapping or of this column, to \"null\", \"quarantine\" or \"text\""
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
    fn new(column: &ColumnMapping, input: &SchemaRef, policy: RejectPolicy) -> Result<Self> {
        let (index, field) = input.column_with_name(&column.source_name).ok_or_else(|| {
            Error::new(
                ErrorKind::SchemaChanged,
                format!("the source has no column `{}` that the mapping names", column.source_name),
            )
            .with("column", &column.source_name)
            .hint("map the table again")
        })?;
        let source = ColumnSchema::from_field(field);
        let kernel =
            plan_column(&source, column).map_err(|error| error.with("column", &column.source_name))?;
        Ok(Self {
            source_name: column.source_name.clone(),
            source_type: source.source_type,
            target_name: column.target_name.clone(),
            target: column.bigquery_type.to_string(),
            extension: source.extension,
            index,
            required: column.mode == Mode::Required,
            kernel,
            null_tokens: column.null_tokens.clone(),
            inferred: column.evidence.is_some(),
            same_kind: plan::same_kind(
                &source.data_type,
                source.extension,
                &column.bigquery_type,
                column.mode,
            ),
            policy: column.on_reject.unwrap_or(policy),
            rounding: column.on_round,
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
        match mask.true_count() {
            0 => Ok(Arc::clone(source)),
            _ => Ok(arrow_select::nullif::nullif(source, &mask)?),
        }
    }
}

fn plan_column(source: &ColumnSchema, column: &ColumnMapping) -> Result<Kernel> {
    Kernel::plan(&source.data_type, source.extension, &column.bigquery_type, column.mode, &column.recipe)
}

/// The texts that values have where they are loaded as STRING: numbers plain, dates and times and intervals as ISO
/// 8601, bytes in base64, lists and records as JSON. For destinations that have no type for them.
///
/// # Errors
/// `unsupported` for types without a text form.
pub fn canonical_texts(array: &ArrayRef) -> Result<StringArray> {
    to_text::column(array, None)
}

/// Whether there are values of the source's type that do not fit the mapped one.
pub(super) fn may_reject(source: &ColumnSchema, column: &ColumnMapping) -> bool {
    plan_column(source, column).is_ok_and(|kernel| kernel.may_reject())
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn indices(rows: &[usize]) -> Result<UInt32Array> {
    let index = |row: &usize| u32::try_from(*row).map_err(|_| Error::internal("a batch has too many rows"));
    rows.iter().map(index).collect::<Result<Vec<_>>>().map(UInt32Array::from)
}

/// One value of a type, from its text.
pub(super) fn constant(text: &str, target: &BigQueryType) -> Result<ArrayRef> {
    let recipe = recipe_for(&DataType::Utf8, target, None)?;
    let kernel = Kernel::plan(&DataType::Utf8, None, target, Mode::Nullable, &recipe)?;
    let text_array: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let cast = kernel.run(&text_array, RoundPolicy::Refuse)?;
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
mod properties;
#[cfg(test)]
mod tests;
