//! Proposes BigQuery types for the columns of a source table.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_schema::DataType;

use super::added::{AddedColumns, AddedMapping};
use super::advice::LayoutAdvice;
use super::bigquery::{BigQueryType, Mode};
use super::cast::{RejectPolicy, RoundPolicy, possible_types, recipe_for};
use super::catalog::{by_catalog, name_preview_type, wider};
use super::detect::{Candidate, Detection, detect};
use super::mapping::{
    Alternative, ColumnMapping, ColumnOverride, Confidence, Lossless, Overrides, TableMapping, Warning,
};
use super::names::target_names_beside;
use super::recipe::Recipe;
use super::rejects;
use super::systems::look_up_type;
use super::table::{ColumnSchema, TableSchema};
use crate::error::{Error, ErrorKind, Result};

/// Columns of a table at BigQuery, those of records included.
const MAX_COLUMNS: usize = 10_000;

/// Characters of a column's description at BigQuery.
const MAX_DESCRIPTION: usize = 1_024;

/// What a [`SchemaMapper`] may do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapperOptions {
    /// Look for types hidden in text columns of the sample. Default: true.
    pub detect_types: bool,
    /// Apply a detected type at high confidence without counter-example; otherwise it is only offered.
    /// Default: true.
    pub apply_detected: bool,
    /// How many alternatives a column keeps. Default: 3.
    pub alternatives: usize,
    /// Descriptions come from the source's comments. Default: true.
    pub keep_comments: bool,
    /// Evidence shows up to three values of the sample. Default: true; false for data that nobody may see.
    pub show_values: bool,
    /// What happens to values that do not fit, for columns whose override says nothing. Where they become
    /// NULL, a column whose values are checked cannot be REQUIRED. Default: `fail`.
    pub on_reject: RejectPolicy,
    /// What happens to values with more digits than their type keeps, for columns whose override says
    /// nothing. Default: `refuse`.
    pub on_round: RoundPolicy,
}

impl Default for MapperOptions {
    fn default() -> Self {
        Self {
            detect_types: true,
            apply_detected: true,
            alternatives: 3,
            keep_comments: true,
            show_values: true,
            on_reject: RejectPolicy::Fail,
            on_round: RoundPolicy::Refuse,
        }
    }
}

/// Proposes a [`TableMapping`] for a [`TableSchema`]. Pure: no I/O, same input, same answer.
///
/// ```
/// use arrow_schema::DataType;
/// use transload_core::SchemaMapper;
/// use transload_core::schema::{ColumnSchema, TableRef, TableSchema};
///
/// let table = TableSchema::new(
///     TableRef::new("public", "orders"),
///     vec![
///         ColumnSchema::new("id", "bigint", DataType::Int64).required(),
///         ColumnSchema::new("total", "numeric(12,2)", DataType::Decimal128(12, 2)),
///     ],
/// );
/// let mapping = SchemaMapper::default().map(&table, None)?;
/// assert_eq!(mapping.columns[0].bigquery_type.to_string(), "INT64");
/// assert_eq!(mapping.columns[0].mode.as_str(), "REQUIRED");
/// assert_eq!(mapping.columns[1].bigquery_type.to_string(), "NUMERIC(12,2)");
/// # Ok::<(), transload_core::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct SchemaMapper {
    options: MapperOptions,
    overrides: Overrides,
    added: AddedColumns,
}

impl SchemaMapper {
    /// A mapper with options.
    #[must_use]
    pub fn new(options: MapperOptions) -> Self {
        Self { options, overrides: Overrides::new(), added: AddedColumns::new() }
    }

    /// Sets the overrides, by the column's name at the source.
    #[must_use]
    pub fn with_overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    /// Sets the columns that the source does not have, by their names at the destination.
    #[must_use]
    pub fn with_added(mut self, added: AddedColumns) -> Self {
        self.added = added;
        self
    }

    /// Proposes a mapping. `sample` is a batch of the table's rows in which text columns are searched for
    /// hidden types; without it they stay STRING.
    ///
    /// # Errors
    /// `not_found` for an override of a column that does not exist; `type_mapping` for an impossible
    /// override (the error lists the possible types) and for a type that has no mapping.
    pub fn map(&self, table: &TableSchema, sample: Option<&RecordBatch>) -> Result<TableMapping> {
        for name in self.overrides.keys() {
            table.column(name).map_err(|error| error.operation("apply override"))?;
        }
        let none = ColumnOverride::default();
        let override_of = |name: &str| self.overrides.get(name).unwrap_or(&none);
        let (kept, dropped): (Vec<_>, Vec<_>) =
            table.columns.iter().partition(|column| !override_of(&column.name).drop);
        if kept.is_empty() {
            return Err(Error::config(format!("every column of table {} is dropped", table.table)));
        }
        let names = target_names_beside(
            kept.iter().map(|column| (column.name.as_str(), override_of(&column.name).name.as_deref())),
        )
        .map_err(|error| error.operation("apply override").with("table", &table.table))?;
        let mut columns = Vec::with_capacity(kept.len());
        for (column, target_name) in kept.iter().zip(names) {
            let wanted = override_of(&column.name);
            let mapped = self
                .column(column, wanted, sample, target_name)
                .map_err(|error| error.with("table", &table.table).with("column", &column.name))?;
            columns.push(mapped);
        }
        let added = self.added(&columns)?;
        check_size(table, &columns, added.len())?;
        let mut mapping = TableMapping {
            table: table.table.clone(),
            columns,
            added,
            dropped: dropped.into_iter().map(|column| column.name.clone()).collect(),
            primary_key: table.primary_key.clone(),
            description: table.comment.clone().filter(|_| self.options.keep_comments),
            advice: LayoutAdvice::default(),
        };
        mapping.advice = LayoutAdvice::of(&mapping, table, sample);
        Ok(mapping)
    }

    /// Checks overrides against a table without a sample: the first impossible one is the error.
    ///
    /// # Errors
    /// Those of [`Self::map`].
    pub fn validate(&self, table: &TableSchema) -> Result<()> {
        self.map(table, None).map(|_| ())
    }

    /// What a type of a system becomes, by the reference of all types: see [`look_up_type`]. The column is
    /// called `value`; types that would hold if the values proved it are among the alternatives.
    ///
    /// ```
    /// use transload_core::SchemaMapper;
    ///
    /// let price = SchemaMapper::for_type("oracle", "NUMBER(10,2)")?;
    /// assert_eq!(price.bigquery_type.to_string(), "NUMERIC(10,2)");
    /// let flag = SchemaMapper::for_type("mysql", "tinyint(1)")?;
    /// assert_eq!(flag.bigquery_type.to_string(), "INT64");
    /// assert_eq!(flag.alternatives[0].bigquery_type.to_string(), "BOOL");
    /// # Ok::<(), transload_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// `not_found` for an unknown system or type; `type_mapping` where the text says too little, for example
    /// a record without its fields.
    pub fn for_type(system: &str, source_type: &str) -> Result<ColumnMapping> {
        let answer = look_up_type(system, source_type)?;
        let column = answer.column("value")?;
        let mut mapped = by_catalog(&column, column.name.clone())?;
        if answer.holds {
            name_preview_type(&mut mapped, &answer.row.bigquery_type);
        }
        for row in &answer.advice {
            let Ok(other) =
                answer.column_by(row, "value").and_then(|other| by_catalog(&other, other.name.clone()))
            else {
                continue;
            };
            let recipe = recipe_for(&column.data_type, &other.bigquery_type, None);
            let (true, Ok(recipe)) = (other.bigquery_type != mapped.bigquery_type, recipe) else { continue };
            mapped.alternatives.push(Alternative {
                bigquery_type: other.bigquery_type,
                recipe,
                score: other.score,
                confidence: other.confidence,
                reason: format!("if {}", row.condition),
                evidence: None,
            });
        }
        Ok(mapped)
    }

    fn column(
        &self,
        column: &ColumnSchema,
        wanted: &ColumnOverride,
        sample: Option<&RecordBatch>,
        target_name: String,
    ) -> Result<ColumnMapping> {
        let detection = self.detection(column, sample);
        let mut mapped = by_catalog(column, target_name)?;
        if self.options.keep_comments {
            mapped.description = column.comment.clone();
        }
        mapped.alternatives = wider(column, &mapped).into_iter().take(self.options.alternatives).collect();
        if mapped.target_name != column.name && wanted.name.is_none() {
            mapped
                .warnings
                .push(Warning::new("W_NAME", format!("named `{}` in BigQuery", mapped.target_name)));
            mapped.description = Some(with_source_name(mapped.description.as_deref(), &column.name));
        }
        if let Some(detection) = &detection {
            self.apply_detection(&mut mapped, detection);
        }
        if wanted.data_type.is_some() || wanted.format.is_some() {
            apply_override(&mut mapped, column, wanted, detection.as_ref())?;
        }
        if let Some(mode) = wanted.mode {
            mapped.mode = check_mode(mode, &mapped)?;
        }
        mapped.on_round = wanted.on_round.unwrap_or(self.options.on_round);
        rejects::apply(&mut mapped, column, wanted, self.options.on_reject)?;
        if let Some(description) = &wanted.description {
            mapped.description = Some(check_description(description)?);
        }
        Ok(mapped)
    }

    fn added(&self, columns: &[ColumnMapping]) -> Result<Vec<AddedMapping>> {
        let added = self.added.iter().map(|(name, column)| AddedMapping::new(name, column));
        let added = added.collect::<Result<Vec<_>>>()?;
        for (index, new) in added.iter().enumerate() {
            let same = |name: &str| name.to_lowercase() == new.target_name.to_lowercase();
            let before = added.iter().take(index).any(|other| same(&other.target_name));
            if before || columns.iter().any(|column| same(&column.target_name)) {
                let text = format!("added column `{}` has the name of another column", new.target_name);
                return Err(Error::new(ErrorKind::TypeMapping, text)
                    .with("column", &new.target_name)
                    .hint("give it another name, or rename the other one with an override"));
            }
        }
        Ok(added)
    }

    fn detection(&self, column: &ColumnSchema, sample: Option<&RecordBatch>) -> Option<Detection> {
        if !self.options.detect_types || column.data_type != DataType::Utf8 || column.extension.is_some() {
            return None;
        }
        let values = sample?.column_by_name(&column.name)?.as_string_opt::<i32>()?;
        let mut detection = detect(&column.name, values.iter());
        if !self.options.show_values {
            for candidate in &mut detection.candidates {
                candidate.evidence.examples.clear();
                candidate.evidence.counter_examples.clear();
            }
        }
        Some(detection)
    }

    /// Text stays text unless proven: applied at high confidence without counter-example, else offered.
    fn apply_detection(&self, mapped: &mut ColumnMapping, detection: &Detection) {
        mapped.warnings.extend(detection.vetoes.iter().cloned());
        let offers = detection.candidates.iter().map(alternative);
        mapped.alternatives = offers.take(self.options.alternatives).collect();
        let Some(best) = detection.candidates.first() else {
            mapped.reason = format!("text; no other type fits {} sampled values", detection.values);
            return;
        };
        // `19970101` is a number and a date: two readings that both fit are an answer, not a choice for us.
        // Of 0 and 1 the name decides: without a hint in it, a boolean never comes first.
        let decided = best.bigquery_type == BigQueryType::Bool;
        let rival = detection.candidates.iter().find(|c| c.score >= 0.7 && family(c) != family(best));
        let rival = rival.filter(|_| !decided);
        let proven = best.score >= 0.9 && best.evidence.matched == best.evidence.distinct;
        if let Some(rival) = rival {
            let (number, other) = if family(best) == Family::Number { (best, rival) } else { (rival, best) };
            mapped.alternatives.retain(|offer| offer.bigquery_type != other.bigquery_type);
            mapped.alternatives.insert(0, alternative(other));
            mapped.reason =
                format!("text kept; it reads as {} and as {}", other.bigquery_type, number.bigquery_type);
        } else if proven && self.options.apply_detected {
            apply_candidate(mapped, best);
        } else if best.score >= 0.7 {
            mapped.reason = format!("text kept; {} is offered ({:.2})", best.bigquery_type, best.score);
        }
    }
}

/// Readings that contradict each other when both fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Number,
    Time,
    Other,
}

fn family(candidate: &Candidate) -> Family {
    match candidate.bigquery_type {
        BigQueryType::Int64
        | BigQueryType::Float64
        | BigQueryType::Numeric(_)
        | BigQueryType::BigNumeric(_) => Family::Number,
        BigQueryType::Date | BigQueryType::DateTime | BigQueryType::Timestamp | BigQueryType::Time => {
            Family::Time
        }
        _ => Family::Other,
    }
}

fn apply_candidate(mapped: &mut ColumnMapping, best: &Candidate) {
    mapped.bigquery_type = best.bigquery_type.clone();
    mapped.recipe = best.recipe.clone();
    mapped.score = best.score;
    mapped.confidence = Confidence::of_score(best.score);
    mapped.reason.clone_from(&best.reason);
    mapped.lossless = Lossless::Conditional;
    mapped.warnings.extend(best.warnings.iter().cloned());
    mapped
        .warnings
        .push(Warning::new("W_INFERRED", "found in a sample; every value is checked while loading"));
    // Empty texts become NULL.
    mapped.mode = Mode::Nullable;
    mapped.alternatives.retain(|offer| offer.bigquery_type != best.bigquery_type);
}

fn alternative(candidate: &Candidate) -> Alternative {
    Alternative {
        bigquery_type: candidate.bigquery_type.clone(),
        recipe: candidate.recipe.clone(),
        score: candidate.score,
        confidence: Confidence::of_score(candidate.score),
        reason: candidate.reason.clone(),
        evidence: Some(candidate.evidence.clone()),
    }
}

fn apply_override(
    mapped: &mut ColumnMapping,
    column: &ColumnSchema,
    wanted: &ColumnOverride,
    detection: Option<&Detection>,
) -> Result<()> {
    let bigquery_type = match &wanted.data_type {
        Some(text) => text.parse::<BigQueryType>().map_err(|error| with_possible(error, column))?,
        None => mapped.bigquery_type.clone(),
    };
    if bigquery_type == mapped.bigquery_type && wanted.format.is_none() {
        mapped.overridden = true;
        return Ok(());
    }
    if mapped.mode == Mode::Repeated
        && bigquery_type != BigQueryType::String
        && bigquery_type != BigQueryType::Json
    {
        return Err(impossible(column, &bigquery_type));
    }
    if matches!(bigquery_type, BigQueryType::Record(_)) && bigquery_type != mapped.bigquery_type {
        return Err(impossible(column, &bigquery_type));
    }
    // Without a format of its own, an override accepts what detection found for that type.
    let offered = detection
        .filter(|_| wanted.format.is_none())
        .and_then(|detection| detection.candidates.iter().find(|c| c.bigquery_type == bigquery_type));
    let recipe = match offered {
        Some(candidate) => candidate.recipe.clone(),
        None => recipe_for(&column.data_type, &bigquery_type, wanted.format.as_deref())
            .map_err(|_| impossible(column, &bigquery_type))?,
    };
    if mapped.mode == Mode::Repeated || (mapped.mode == Mode::Required && recipe != Recipe::Direct) {
        mapped.mode = Mode::Nullable;
    }
    mapped.reason = match recipe {
        Recipe::Direct => "set by the job".to_owned(),
        _ => format!("set by the job; read {recipe}"),
    };
    // A type that is offered as one that holds every value loses nothing more than the proposal did.
    let wider = wider(column, mapped).iter().any(|offer| offer.bigquery_type == bigquery_type);
    mapped.lossless = if wider { mapped.lossless } else { Lossless::Conditional };
    mapped.alternatives.retain(|offer| offer.bigquery_type != bigquery_type);
    mapped.bigquery_type = bigquery_type;
    mapped.recipe = recipe;
    mapped.overridden = true;
    mapped.score = 1.0;
    mapped.confidence = Confidence::High;
    Ok(())
}

/// BigQuery's limits of a table.
fn check_size(table: &TableSchema, columns: &[ColumnMapping], added: usize) -> Result<()> {
    let leaves: usize = columns.iter().map(|column| column.bigquery_type.leaves()).sum();
    if leaves + added > MAX_COLUMNS {
        let text = format!(
            "table {} has {} columns, nested ones included, and BigQuery takes {MAX_COLUMNS}",
            table.table,
            leaves + added
        );
        let hint = "choose columns with `source.columns`, or load records as JSON with overrides";
        return Err(Error::new(ErrorKind::TypeMapping, text).with("table", &table.table).hint(hint));
    }
    Ok(())
}

fn check_description(text: &str) -> Result<String> {
    if text.chars().count() > MAX_DESCRIPTION {
        return Err(Error::new(ErrorKind::TypeMapping, "the description of a column is too long")
            .hint(format!("BigQuery takes {MAX_DESCRIPTION} characters")));
    }
    Ok(text.to_owned())
}

/// The source's comment and the name that a column has there.
fn with_source_name(comment: Option<&str>, name: &str) -> String {
    let note = format!("source column: {name}");
    let text = comment.map_or_else(|| note.clone(), |comment| format!("{comment}; {note}"));
    text.chars().take(MAX_DESCRIPTION).collect()
}

fn impossible(column: &ColumnSchema, bigquery_type: &BigQueryType) -> Error {
    let error = Error::new(
        ErrorKind::TypeMapping,
        format!(
            "column `{}` of type {} cannot be loaded as {bigquery_type}",
            column.name, column.source_type
        ),
    );
    with_possible(error, column)
}

fn with_possible(error: Error, column: &ColumnSchema) -> Error {
    let possible: Vec<String> =
        possible_types(&column.data_type, column.extension).iter().map(ToString::to_string).collect();
    error.hint(format!("possible types for it: {}", possible.join(", ")))
}

fn check_mode(mode: Mode, mapped: &ColumnMapping) -> Result<Mode> {
    if (mode == Mode::Repeated) != (mapped.mode == Mode::Repeated) {
        return Err(Error::new(
            ErrorKind::TypeMapping,
            format!("column `{}` cannot get the mode {}", mapped.source_name, mode.as_str()),
        )
        .hint(match mapped.mode {
            Mode::Repeated => "an array column is always REPEATED",
            _ => "choose NULLABLE or REQUIRED",
        }));
    }
    Ok(mode)
}

/// Overrides that keep what detection chose in an earlier load, for [`LoadRecord::pinned`]
/// (crate::connector::LoadRecord::pinned).
pub(crate) fn pins(mapping: &TableMapping) -> Overrides {
    let mut pins = BTreeMap::new();
    for column in &mapping.columns {
        if column.warnings.iter().any(|warning| warning.code == "W_INFERRED") && !column.overridden {
            let pin = ColumnOverride {
                data_type: Some(column.bigquery_type.to_string()),
                format: column.recipe.format(),
                ..ColumnOverride::default()
            };
            pins.insert(column.source_name.clone(), pin);
        }
    }
    pins
}
