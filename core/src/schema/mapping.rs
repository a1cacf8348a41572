//! A proposed mapping: plain data with a stable JSON form and a hash.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::added::{AddedMapping, AddedValue};
use super::advice::{LayoutAdvice, Partitioning, RangeAdvice};
use super::bigquery::{BigQueryType, Mode};
use super::cast::{RejectPolicy, RoundPolicy};
use super::ddl;
use super::diff::MappingDiff;
use super::evidence::Evidence;
use super::layout::IntegerRange;
use super::layout_document::LayoutDocument;
use super::recipe::Recipe;
use super::table::TableRef;
use super::target::{TargetColumn, TargetRef, TargetTable};
use crate::error::{Error, ErrorKind, Result};

/// How sure a mapping is, as a band; the score behind it is in `0.0..=1.0`.
///
/// `high` from 0.90, `medium` from 0.70, `low` below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Below 0.70.
    Low,
    /// 0.70 to 0.90.
    Medium,
    /// 0.90 and above.
    High,
}

impl Confidence {
    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The band of a score.
    #[must_use]
    pub fn of_score(score: f64) -> Self {
        if score >= 0.9 {
            Self::High
        } else if score >= 0.7 {
            Self::Medium
        } else {
            Self::Low
        }
    }

    /// The score that stands for a band where nothing was measured (types from a catalog).
    #[must_use]
    pub fn score(self) -> f64 {
        match self {
            Self::High => 0.95,
            Self::Medium => 0.80,
            Self::Low => 0.50,
        }
    }
}

/// Whether every value of a column survives its mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lossless {
    /// Yes, always.
    Yes,
    /// Those that pass the check at run time; others follow the reject policy.
    Conditional,
    /// Something is dropped by design.
    No,
}

/// A stable code and what it means here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Warning {
    /// Stable identifier, for example `W_NUM_UNBOUNDED`.
    pub code: String,
    /// One sentence for people.
    pub text: String,
}

impl Warning {
    /// A warning.
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.text)
    }
}

/// Another type that the column could get.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The type.
    pub bigquery_type: BigQueryType,
    /// How values are read; the `format` to give in an override.
    pub recipe: Recipe,
    /// How sure it is, 0 to 1.
    pub score: f64,
    /// The band of the score.
    pub confidence: Confidence,
    /// One sentence.
    pub reason: String,
    /// What speaks for it.
    pub evidence: Option<Evidence>,
}

/// The proposal for one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnMapping {
    /// Name at the source.
    pub source_name: String,
    /// The source's type text.
    pub source_type: String,
    /// Arrow type of the source's batches, as text.
    pub arrow_type: String,
    /// Name at the destination.
    pub target_name: String,
    /// Type at the destination.
    pub bigquery_type: BigQueryType,
    /// NULLABLE, REQUIRED or REPEATED.
    pub mode: Mode,
    /// How each value becomes one of the type.
    pub recipe: Recipe,
    /// The band of `score`.
    pub confidence: Confidence,
    /// 0 to 1.
    pub score: f64,
    /// One sentence.
    pub reason: String,
    /// Whether every value survives.
    pub lossless: Lossless,
    /// What to look out for.
    pub warnings: Vec<Warning>,
    /// Other types that the column could get, best first.
    pub alternatives: Vec<Alternative>,
    /// Description for the destination.
    pub description: Option<String>,
    /// The type was set by the job.
    pub overridden: bool,
    /// Texts that become NULL, such as `NA` in a column of numbers. Compared after trimming, as they are spelt.
    #[serde(default)]
    pub null_tokens: Vec<String>,
    /// What the sample said about the type, where it was found in a sample.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// What the texts of a STRING column are where that was recognised, for example `uuid` or `email`.
    #[serde(default)]
    pub semantic: Option<String>,
    /// What happens to values that do not fit; `None` where nobody chose, which is
    /// [`RejectPolicy::Fail`] in a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_reject: Option<RejectPolicy>,
    /// What happens to values with more digits than the type keeps.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_round: RoundPolicy,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl ColumnMapping {
    /// What of it counts for [`TableMapping::hash`], in a form that never changes.
    fn identity(&self) -> String {
        let mut identity = format!(
            "column {:?} {:?} {} {} {} {:?} {}",
            self.source_name,
            self.target_name,
            self.bigquery_type,
            self.mode.as_str(),
            self.recipe.kind(),
            self.recipe.format().unwrap_or_default(),
            self.arrow_type
        );
        if let Some(policy) = self.on_reject.filter(|policy| policy.makes_null()) {
            identity.push_str(&format!(" on_reject {policy}"));
        }
        if self.on_round == RoundPolicy::Round {
            identity.push_str(" on_round round");
        }
        if !self.null_tokens.is_empty() {
            identity.push_str(&format!(" null_tokens {:?}", self.null_tokens));
        }
        identity
    }
}

/// The proposal for one table. See [`SchemaMapper`](super::SchemaMapper).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TableMapping {
    /// The source table.
    pub table: TableRef,
    /// Its columns, without the dropped ones.
    pub columns: Vec<ColumnMapping>,
    /// Columns that the source does not have, behind the others.
    #[serde(default)]
    pub added: Vec<AddedMapping>,
    /// Columns that overrides drop.
    pub dropped: Vec<String>,
    /// Columns of the primary key, by their names at the source.
    pub primary_key: Vec<String>,
    /// The table's comment.
    pub description: Option<String>,
    /// How to lay the table out.
    #[serde(default)]
    pub advice: LayoutAdvice,
}

impl TableMapping {
    /// A column by its name at the source.
    #[must_use]
    pub fn column(&self, source_name: &str) -> Option<&ColumnMapping> {
        self.columns.iter().find(|column| column.source_name == source_name)
    }

    /// The table that a destination must hold.
    #[must_use]
    pub fn target_table(&self, target: TargetRef) -> TargetTable {
        let columns = self
            .columns
            .iter()
            .map(|column| TargetColumn {
                name: column.target_name.clone(),
                data_type: column.bigquery_type.clone(),
                mode: column.mode,
                description: column.description.clone(),
            })
            .chain(self.added.iter().map(AddedMapping::target))
            .collect();
        TargetTable { description: self.description.clone(), ..TargetTable::new(target, columns) }
    }

    /// The table that a destination must hold, laid out as a job wants it. `advise` says that the table is still to
    /// be made, so that advice counts.
    ///
    /// # Errors
    /// Those of [`LayoutDocument::resolve`].
    pub fn wanted_table(
        &self,
        target: TargetRef,
        layout: &LayoutDocument,
        advise: bool,
    ) -> Result<TargetTable> {
        let mut table = self.target_table(target);
        table.layout = layout.resolve(advise.then_some(&self.advice))?;
        if let Some(description) = &layout.description {
            table.description = Some(description.clone());
        }
        Ok(table)
    }

    /// A target of the source's own names, for statements that are only looked at.
    #[must_use]
    pub fn default_target(&self) -> TargetRef {
        TargetRef::new(self.table.schema.as_deref().unwrap_or("dataset"), &*self.table.name)
    }

    /// Hash of everything that decides what rows look like at the destination: names, types, modes and
    /// recipes. Reasons, scores and warnings do not count, nor does the order of the columns, nor how a
    /// library spells a type or orders the fields of a document. 32 hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut lines: Vec<String> = self.columns.iter().map(ColumnMapping::identity).collect();
        lines.extend(self.added.iter().map(|added| {
            let value = match &added.value {
                AddedValue::LoadedAt => "loaded_at".to_owned(),
                AddedValue::LoadId => "load_id".to_owned(),
                AddedValue::DeletedAt => "deleted_at".to_owned(),
                AddedValue::Constant(text) => format!("constant {text:?}"),
            };
            format!("added {:?} {} {value}", added.target_name, added.bigquery_type)
        }));
        lines.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        for line in lines {
            hasher.update(line.as_bytes());
            hasher.update(b"\n");
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// The stable JSON form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "table": self.table,
            "columns": self.columns,
            "added": self.added,
            "dropped": self.dropped,
            "primary_key": self.primary_key,
            "description": self.description,
            "advice": self.advice,
            "hash": self.hash(),
        })
    }

    /// BigQuery's JSON form of the schema, as its API and `bq` take it.
    #[must_use]
    pub fn to_bigquery_schema(&self) -> Value {
        let target = self.target_table(TargetRef::new("", ""));
        target.columns.iter().map(TargetColumn::to_bigquery_json).collect()
    }

    /// Reads the JSON form back, for example that of the mapping that a person has approved.
    ///
    /// # Errors
    /// `config` for another document, and for one whose columns do not have the hash that it names.
    pub fn from_json(document: &Value) -> Result<Self> {
        let invalid = |text: String| {
            Error::config(text).operation("read mapping").hint("give what `to_json` has written, unchanged")
        };
        let mapping = Self::deserialize(document).map_err(|error| invalid(format!("no mapping: {error}")))?;
        match document.get("hash").and_then(Value::as_str) {
            Some(hash) if hash == mapping.hash() => Ok(mapping),
            Some(hash) => Err(invalid(format!("the mapping says hash {hash} but has {}", mapping.hash()))),
            None => Err(invalid("the mapping has no hash".to_owned())),
        }
    }

    /// Checks that this is the mapping that somebody approved.
    ///
    /// # Errors
    /// `schema_changed` for another hash.
    pub fn check_approved(&self, hash: &str) -> Result<()> {
        if self.hash() == hash {
            return Ok(());
        }
        let text = format!("the mapping of table {} is not the approved one", self.table);
        Err(Error::new(ErrorKind::SchemaChanged, text)
            .with("approved", hash)
            .with("found", self.hash())
            .hint("compare both with diff and approve the new hash, or pin columns with overrides"))
    }

    /// What changed since `before`, for a table that is `target` at BigQuery.
    #[must_use]
    pub fn diff(&self, before: &Self, target: &TargetRef) -> MappingDiff {
        MappingDiff::between(before, self, target)
    }

    /// `CREATE TABLE IF NOT EXISTS` in BigQuery's SQL; `advised` adds the advised partitioning and clustering.
    #[must_use]
    pub fn to_ddl(&self, target: &TargetRef, advised: bool) -> String {
        let mut table = self.target_table(target.clone());
        if advised {
            table.layout.partition_by = self.advice.partition_by();
            table.layout.cluster_by =
                Some(self.advice.clustering.iter().map(|advice| advice.column.clone()).collect());
        }
        ddl::create_table(&table)
    }

    /// All warnings with the names of their columns.
    pub fn warnings(&self) -> impl Iterator<Item = (&str, &Warning)> {
        self.columns.iter().flat_map(|column| {
            column.warnings.iter().map(move |warning| (column.source_name.as_str(), warning))
        })
    }

    fn advice_text(&self, text: &mut String) {
        if let Some(advised) = &self.advice.partitioning {
            let Partitioning { column, granularity } = &advised.partitioning;
            text.push_str(&format!("advice: partition by {column} ({granularity}): {}\n", advised.reason));
            for warning in &advised.warnings {
                text.push_str(&format!("    warning {warning}\n"));
            }
        }
        if let Some(advised) = &self.advice.range_partitioning {
            let RangeAdvice { column, range, reason, .. } = advised;
            let IntegerRange { start, end, interval } = range;
            text.push_str(&format!(
                "advice: partition by {column} ({start} to {end} by {interval}): {reason}\n"
            ));
        }
        for advised in &self.advice.clustering {
            text.push_str(&format!("advice: cluster by {}: {}\n", advised.column, advised.reason));
        }
    }

    /// A table for people: column, source type, BigQuery type, mode, confidence, reason, then offers and
    /// warnings on lines of their own.
    #[must_use]
    pub fn to_text(&self) -> String {
        let header =
            ["column", "source type", "BigQuery type", "mode", "confidence", "reason"].map(str::to_owned);
        let rows: Vec<[String; 6]> = self
            .columns
            .iter()
            .map(|c| {
                [
                    c.target_name.clone(),
                    c.source_type.clone(),
                    c.bigquery_type.to_string(),
                    c.mode.as_str().to_owned(),
                    format!("{} {:.2}", c.confidence.as_str(), c.score),
                    c.reason.clone(),
                ]
            })
            .collect();
        let mut widths = [0; 6];
        for row in std::iter::once(&header).chain(&rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |row: &[String; 6]| {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        let mut text = line(&header);
        text.push_str(&line(&widths.map(|width| "-".repeat(width.min(60)))));
        for (row, column) in rows.iter().zip(&self.columns) {
            text.push_str(&line(row));
            for offer in column.alternatives.iter().filter(|offer| offer.confidence >= Confidence::Medium) {
                text.push_str(&format!(
                    "    offer: {} {} ({} {:.2}): {}\n",
                    offer.bigquery_type,
                    offer.recipe,
                    offer.confidence.as_str(),
                    offer.score,
                    offer.reason
                ));
            }
            for warning in &column.warnings {
                text.push_str(&format!("    warning {warning}\n"));
            }
        }
        self.advice_text(&mut text);
        for added in &self.added {
            text.push_str(&format!("added: {} {}\n", added.target_name, added.bigquery_type));
        }
        text
    }
}

/// What a job may change of one column's proposal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnOverride {
    /// BigQuery type, for example `NUMERIC(10,2)`. An impossible one is refused with the possible ones.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
    /// How text is read, for example `%Y%m%d` for a DATE, `Y/N` for a BOOL or `,.` for a number like 1,234.5.
    /// Without it the format that detection found is used, else the standard one of the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Texts that stand for no value in this column and become NULL, for example `["NA", "-"]`. Blanks around
    /// them do not count. Not for a column that stays STRING.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub null_tokens: Vec<String>,
    /// `NULLABLE` or `REQUIRED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Name at the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Description at the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What happens to values of this column that do not fit. Default: `mapping.on_reject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_reject: Option<RejectPolicy>,
    /// What happens to values of this column with more digits than its type keeps. Default:
    /// `mapping.on_round`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_round: Option<RoundPolicy>,
    /// Leave the column out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drop: bool,
}

/// Overrides by the column's name at the source.
pub type Overrides = BTreeMap<String, ColumnOverride>;

/// Overrides that keep what detection chose in an earlier load, for [`LoadRecord::pinned`]
/// (crate::connector::LoadRecord::pinned).
pub(crate) fn pins(mapping: &TableMapping) -> Overrides {
    let mut pins = BTreeMap::new();
    for column in &mapping.columns {
        if column.warnings.iter().any(|warning| warning.code == "W_INFERRED") && !column.overridden {
            let pin = ColumnOverride {
                data_type: Some(column.bigquery_type.to_string()),
                format: column.recipe.format(),
                null_tokens: column.null_tokens.clone(),
                ..ColumnOverride::default()
            };
            pins.insert(column.source_name.clone(), pin);
        }
    }
    pins
}
