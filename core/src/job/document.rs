//! The JSON form of a job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::deletes::{DetectDeletesDocument, SoftDeleteDocument};
use super::schedule::Schedule;
use super::strategy::{Backfill, CursorBound, LoadStrategy, NullCursors, Shard};
use crate::connector::OnSchemaChange;
use crate::error::{Error, Result};
use crate::profile::ProfileLevel;
use crate::proof::ProofLevel;
use crate::schema::{
    AddedColumns, CursorStep, LayoutDocument, Overrides, RejectPolicy, RoundPolicy, duration,
};

/// One table to one table, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobDocument {
    /// Name of the job; part of its identity.
    pub name: String,
    /// What to read.
    pub source: SourceDocument,
    /// Where to load.
    pub destination: DestinationDocument,
    /// How to load. Default: `replace`.
    #[serde(default)]
    pub load: LoadDocument,
    /// Types and names.
    #[serde(default)]
    pub mapping: MappingDocument,
    /// When the host should run it; the engine itself does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Whether the job takes part in runs of many jobs. Default: true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// How much the report says of the values that were loaded. Default: `values`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub profile: ProfileLevel,
    /// Whether the run proves that nothing was lost, doubled or changed on the way. Default: `off`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub proof: ProofLevel,
    /// At most this many rows, for trials; such a run never moves the watermark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_limit: Option<u64>,
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceDocument {
    /// Name of the connection.
    pub connection: String,
    /// Schema of the table, where the source has schemas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Name of the table.
    pub table: String,
    /// Columns to read, in this order. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
}

/// Where to load.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationDocument {
    /// Name of the connection.
    pub connection: String,
    /// Dataset; created if it is not there.
    pub dataset: String,
    /// Name of the table; created if it is not there.
    pub table: String,
    /// How the table is laid out and kept.
    #[serde(flatten)]
    pub layout: LayoutDocument,
    /// What only this kind of destination understands; its page lists the names. They win over options of the
    /// connection.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
}

/// The name of a load strategy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StrategyName {
    /// The target holds exactly one snapshot of the source.
    #[default]
    Replace,
    /// Rows past the watermark are added.
    Append,
    /// Rows past the watermark are upserted by key.
    Merge,
}

/// How to load.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoadDocument {
    /// `replace`, `append` or `merge`.
    pub strategy: StrategyName,
    /// The column that grows; required for `append`, optional for `merge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Key columns; required for `merge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<String>>,
    /// What becomes of rows without a cursor value: `include` (default of `merge`) reads them on every run and loads
    /// those that are new or changed, `warn` (default of `append`) leaves them out and says how many there are, `skip`
    /// leaves them out without a word, `fail` ends the run. The report counts them in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_null_cursor: Option<NullCursors>,
    /// The first load begins this many days ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill_days: Option<u32>,
    /// The first load begins at this cursor value, inclusive. Moved to an earlier value later, or left out, it makes the
    /// next run load what lies before the first load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill_since: Option<String>,
    /// Nothing at or past this cursor value is loaded: the end is exclusive, so that another job can begin there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Cut what is to be loaded into ranges of this length, oldest first, each committed by itself, so that a run that
    /// stops in between is continued: a number for integer and decimal cursors, a duration such as `"30d"` for dates
    /// and times. Default: one range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill_step: Option<StepDocument>,
    /// `append`: cut the job at these cursor values, in ascending order, into shards that several processes load into the
    /// table at the same time, each with a snapshot, a commit and a watermark of its own. The last one also loads what comes
    /// later, the first one rows without a cursor value. A job that has loaded may not be cut in another way. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shard_at: Vec<String>,
    /// Which shard this document is, from 0 to the number of cuts. A job that is cut and names none cannot run itself: its
    /// shards can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<usize>,
    /// Leave the newest rows to a later run: a number for integer cursors, a duration such as `"15m"` for
    /// dates and times. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<StepDocument>,
    /// `max` (default): up to the highest cursor. `oldest_transaction`: not past the start of the oldest
    /// transaction still open at the source, so that rows it commits later are not missed; for cursors that get
    /// the time of the server when their row is written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cursor_bound: CursorBound,
    /// The job was changed (cursor, key, strategy, source) and shall begin afresh in the same table: loads that it
    /// made before the change no longer count, and their rows stay. Has no effect once it has. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
    /// `merge`: read this far below the watermark again; a number or a duration. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookback: Option<StepDocument>,
    /// `replace`, and `merge` with `detect_deletes`: go on even if the source is empty and the target is not. Default:
    /// false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_empty: bool,
    /// `replace`: stop, and change nothing, when the new rows are fewer than this share (0 to 1) of those that
    /// the last load brought. Default: 0.5 after a load of 1,000 rows or more, and no limit after a smaller
    /// one. 0 switches the check off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ratio: Option<f64>,
    /// `merge`: find the rows of the target that the source has no longer, and remove or mark them. The target must
    /// belong to this job alone. Default: they stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detect_deletes: Option<DetectDeletesDocument>,
    /// `merge`: a column of the source says which rows are deleted. Default: such rows are rows like others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_delete: Option<SoftDeleteDocument>,
    /// The column of the target that has the time at which a run found a row deleted, a TIMESTAMP, NULL while the row
    /// is alive; it is added to the target under the policy `mark`. Default: `_deleted_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark_column: Option<String>,
}

/// A number (integer and decimal cursors) or a duration text (dates and times).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StepDocument {
    /// Units of an integer or decimal cursor.
    Units(i64),
    /// A duration, for example `15m` or `2d`.
    Duration(String),
}

/// A number of rows, or a share of them as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MaxRejectsDocument {
    /// So many rows.
    Rows(u64),
    /// A share of the rows written, for example `0.5%`.
    Share(String),
}

/// Types and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingDocument {
    /// Overrides by the column's name at the source.
    #[serde(default)]
    pub overrides: Overrides,
    /// `evolve` (default) adds and widens columns of an existing target and lets its options follow the job,
    /// `evolve_columns_only` leaves the options alone, `freeze` refuses any difference.
    #[serde(default)]
    pub on_schema_change: OnSchemaChange,
    /// What happens to values that do not fit: `fail` (default), `null`, `quarantine` or `text`. Columns of the
    /// key and the cursor always `fail`.
    #[serde(default)]
    pub on_reject: RejectPolicy,
    /// What happens to values with more digits than their type keeps: `refuse` (default), so that they do not
    /// fit, or `round`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_round: RoundPolicy,
    /// The run fails once more rows than this have a value that does not fit: a number of rows, or a share of
    /// those written such as `"0.5%"`. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rejects: Option<MaxRejectsDocument>,
    /// The table for values under `quarantine`, in the dataset of the target. Default: the name of the target
    /// with `_quarantine` behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine_table: Option<String>,
    /// Look for types hidden in text columns and apply those found at high confidence. Default: true.
    #[serde(default = "yes")]
    pub detect_types: bool,
    /// Columns that the source does not have, by their name at the destination: when and with which load a row
    /// came, or a constant.
    #[serde(default, skip_serializing_if = "is_default")]
    pub add: AddedColumns,
    /// The hash of the only mapping that a run may use; any other ends it with `schema_changed`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub approved_hash: Option<String>,
}

impl Default for MappingDocument {
    fn default() -> Self {
        Self {
            overrides: Overrides::default(),
            on_schema_change: OnSchemaChange::default(),
            on_reject: RejectPolicy::default(),
            on_round: RoundPolicy::default(),
            max_rejects: None,
            quarantine_table: None,
            detect_types: true,
            add: AddedColumns::default(),
            approved_hash: None,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn yes() -> bool {
    true
}

/// How many rows of a run may have a value that does not fit.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum MaxRejects {
    /// So many rows.
    Rows(u64),
    /// So much of the rows written: 0 to 1.
    Share(f64),
}

impl MappingDocument {
    pub(super) fn max_rejects(&self) -> Result<Option<MaxRejects>> {
        Ok(match &self.max_rejects {
            None => None,
            Some(MaxRejectsDocument::Rows(rows)) => Some(MaxRejects::Rows(*rows)),
            Some(MaxRejectsDocument::Share(text)) => {
                let percent =
                    text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                let percent = percent.filter(|percent| (0.0..=100.0).contains(percent)).ok_or_else(|| {
                    invalid(format!("`mapping.max_rejects`: `{text}` is no share"))
                        .hint("write a number of rows such as 100, or a share such as \"0.5%\"")
                })?;
                Some(MaxRejects::Share(percent / 100.0))
            }
        })
    }

    fn check(&self, destination: &DestinationDocument) -> Result<()> {
        let own = self.overrides.values().filter_map(|column| column.on_reject);
        let nulls = self.on_reject.makes_null() || own.clone().any(RejectPolicy::makes_null);
        if self.max_rejects()?.is_some() && !nulls {
            return Err(invalid("`mapping.max_rejects` limits what no `on_reject` allows")
                .hint("set `mapping.on_reject` to \"null\" or \"quarantine\", or leave `max_rejects` out"));
        }
        let quarantines = self.on_reject == RejectPolicy::Quarantine
            || own.clone().any(|policy| policy == RejectPolicy::Quarantine);
        match &self.quarantine_table {
            Some(_) if !quarantines => {
                Err(invalid("`mapping.quarantine_table` is named, but nothing goes there")
                    .hint("set `mapping.on_reject` to \"quarantine\", or leave `quarantine_table` out"))
            }
            Some(name) if name.trim().is_empty() => {
                Err(invalid("`mapping.quarantine_table` is empty").hint("leave it out for the default"))
            }
            Some(name) if name.eq_ignore_ascii_case(&destination.table) => {
                Err(invalid("`mapping.quarantine_table` is the target itself").hint("give it another name"))
            }
            _ => Ok(()),
        }
    }
}

impl LoadDocument {
    /// A strategy without options.
    #[must_use]
    pub fn new(strategy: StrategyName) -> Self {
        Self { strategy, ..Self::default() }
    }

    /// Which part of a job that is cut this is.
    pub(super) fn shard(&self) -> Option<Shard<'_>> {
        self.shard.map(|index| Shard { index, at: &self.shard_at })
    }

    fn check_shards(&self) -> Result<()> {
        let count = self.shard_at.len();
        if count > 0 && self.strategy != StrategyName::Append {
            return Err(invalid("`load.shard_at` does not belong to this strategy").hint(
                "only `append` can be cut: `replace` has one commit, and a `merge` by several processes could put an \
                 older row in the place of a newer one",
            ));
        }
        if self.shard.is_some_and(|shard| count == 0 || shard > count) {
            return Err(invalid("`load.shard` is none of the shards that `load.shard_at` makes")
                .with("shards", if count == 0 { 0 } else { count + 1 })
                .hint("it counts from 0 to the number of values in `load.shard_at`"));
        }
        if count > 0 && self.backfill_days.is_some() {
            return Err(invalid(
                "`load.backfill_days` begins elsewhere every day, and `load.shard_at` does not",
            )
            .hint("use `load.backfill_since`"));
        }
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = self.shard_at.iter().find(|at| !seen.insert(at.as_str())) {
            return Err(invalid(format!("`load.shard_at` has {twice} twice")).hint("name it once"));
        }
        Ok(())
    }

    /// Where the job's part of the cursor begins and ends.
    fn ends(&self) -> Result<(Option<Backfill>, Option<String>)> {
        let (backfill, until) = (self.backfill()?, self.until.clone());
        let Some(Shard { index, at }) = self.shard() else { return Ok((backfill, until)) };
        let since = index.checked_sub(1).and_then(|before| at.get(before)).cloned().map(Backfill::Since);
        Ok((since.or(backfill), at.get(index).cloned().or(until)))
    }

    fn backfill(&self) -> Result<Option<Backfill>> {
        match (self.backfill_days, &self.backfill_since) {
            (Some(_), Some(_)) => {
                Err(invalid("both `load.backfill_days` and `load.backfill_since` are given")
                    .hint("keep one of the two"))
            }
            (Some(days), None) => Ok(Some(Backfill::Days(days))),
            (None, Some(since)) => Ok(Some(Backfill::Since(since.clone()))),
            (None, None) => Ok(None),
        }
    }

    /// What only a cursor gives a meaning.
    fn refuse_windows(&self) -> Result<()> {
        refuse(self.backfill_days.is_some(), "backfill_days")?;
        refuse(self.backfill_since.is_some(), "backfill_since")?;
        refuse(self.until.is_some(), "until")?;
        refuse(self.backfill_step.is_some(), "backfill_step")?;
        refuse(self.on_null_cursor.is_some(), "on_null_cursor")?;
        refuse(self.lag.is_some(), "lag")?;
        refuse(!is_default(&self.cursor_bound), "cursor_bound")?;
        refuse(self.lookback.is_some(), "lookback")
    }

    fn backfill_step(&self) -> Result<Option<CursorStep>> {
        let step = step(self.backfill_step.as_ref(), "backfill_step")?;
        if step.as_ref().is_some_and(CursorStep::is_zero) {
            return Err(invalid("`load.backfill_step` is zero").hint("leave it out for one range"));
        }
        Ok(step)
    }

    fn strategy(&self) -> Result<LoadStrategy> {
        self.check_shards()?;
        let ((backfill, until), lag) = (self.ends()?, step(self.lag.as_ref(), "lag")?);
        let (bound, step_of_ranges) = (self.cursor_bound, self.backfill_step()?);
        match self.strategy {
            StrategyName::Replace => {
                refuse(self.cursor.is_some(), "cursor")?;
                refuse(self.key.is_some(), "key")?;
                self.refuse_windows()?;
                self.refuse_deletes()?;
                refuse(self.restart, "restart")?;
                if self.min_ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
                    return Err(invalid("`load.min_ratio` is not a number from 0 to 1")
                        .hint("0.8 stops a load that brings less than 80 % of the rows of the last one"));
                }
                Ok(LoadStrategy::Replace { allow_empty: self.allow_empty, min_ratio: self.min_ratio })
            }
            StrategyName::Append => {
                refuse(self.key.is_some(), "key")?;
                refuse(self.lookback.is_some(), "lookback")?;
                self.refuse_deletes()?;
                refuse(self.allow_empty, "allow_empty")?;
                refuse(self.min_ratio.is_some(), "min_ratio")?;
                let cursor = self.cursor.clone().ok_or_else(|| missing("cursor", "the column that grows"))?;
                let nulls = self.on_null_cursor.unwrap_or(NullCursors::Warn);
                // One shard is enough to load them, or to warn of them.
                let elsewhere = self.shard.is_some_and(|shard| shard > 0) && nulls != NullCursors::Fail;
                let nulls = if elsewhere { NullCursors::Skip } else { nulls };
                Ok(LoadStrategy::Append { cursor, backfill, lag, bound, until, step: step_of_ranges, nulls })
            }
            StrategyName::Merge => {
                refuse(self.min_ratio.is_some(), "min_ratio")?;
                let key = self.key.clone().filter(|key| !key.is_empty());
                let key = key.ok_or_else(|| missing("key", "the columns that identify a row"))?;
                let lookback = step(self.lookback.as_ref(), "lookback")?;
                if self.cursor.is_none() {
                    self.refuse_windows()?;
                }
                Ok(LoadStrategy::Merge {
                    key,
                    cursor: self.cursor.clone(),
                    backfill,
                    lag,
                    bound,
                    until,
                    step: step_of_ranges,
                    nulls: self.on_null_cursor.unwrap_or(NullCursors::Include),
                    lookback,
                })
            }
        }
    }
}

pub(super) fn refuse(given: bool, field: &str) -> Result<()> {
    if given {
        return Err(invalid(format!("`load.{field}` does not belong to this strategy"))
            .hint("drop the field or choose another `load.strategy`"));
    }
    Ok(())
}

fn missing(field: &str, what: &str) -> Error {
    invalid(format!("`load.{field}` is missing")).hint(format!("name {what}"))
}

fn step(document: Option<&StepDocument>, field: &str) -> Result<Option<CursorStep>> {
    let bad = |what: &str| {
        invalid(format!("`load.{field}`: {what}"))
            .hint("write a number for integer cursors or a duration such as \"15m\" or \"2d\"")
    };
    match document {
        None => Ok(None),
        Some(StepDocument::Units(units)) if *units >= 0 => Ok(Some(CursorStep::Units(*units))),
        Some(StepDocument::Units(_)) => Err(bad("it must not be negative")),
        Some(StepDocument::Duration(text)) => match duration(text) {
            Some(duration) if !duration.is_negative() => Ok(Some(CursorStep::Duration(duration))),
            Some(_) => Err(bad("it must not be negative")),
            None => Err(bad(&format!("`{text}` is not a duration"))),
        },
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::config(format!("job document: {}", message.into()))
}

impl JobDocument {
    /// A document with a name and nothing else.
    pub(super) fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source: SourceDocument::default(),
            destination: DestinationDocument::default(),
            load: LoadDocument::default(),
            mapping: MappingDocument::default(),
            schedule: None,
            enabled: true,
            profile: ProfileLevel::default(),
            proof: ProofLevel::default(),
            row_limit: None,
        }
    }

    /// Checks everything that needs no I/O and gives the typed strategy.
    pub(super) fn check(&self) -> Result<LoadStrategy> {
        for (field, text) in [
            ("name", &self.name),
            ("source.connection", &self.source.connection),
            ("source.table", &self.source.table),
            ("destination.connection", &self.destination.connection),
            ("destination.dataset", &self.destination.dataset),
            ("destination.table", &self.destination.table),
        ] {
            if text.trim().is_empty() {
                return Err(invalid(format!("`{field}` is empty"))
                    .with("field", field)
                    .hint("every job names its source, its destination and itself"));
            }
        }
        if let Some(columns) = &self.source.columns {
            if columns.is_empty() {
                return Err(invalid("`source.columns` is empty").hint("leave it out to read all columns"));
            }
            let mut seen = std::collections::BTreeSet::new();
            if let Some(twice) = columns.iter().find(|column| !seen.insert(column.as_str())) {
                return Err(invalid(format!("`source.columns` names `{twice}` twice")).hint("name it once"));
            }
        }
        if let Some(schedule) = &self.schedule {
            schedule.check()?;
        }
        self.destination.layout.check()?;
        let strategy = self.load.strategy()?;
        self.check_needed_columns(&strategy)?;
        self.check_deletes()?;
        self.mapping.check(&self.destination)?;
        Ok(strategy)
    }

    fn check_needed_columns(&self, strategy: &LoadStrategy) -> Result<()> {
        let told = self.load.soft_delete.as_ref().map(|soft| soft.column.as_str());
        for needed in strategy.key().iter().map(String::as_str).chain(strategy.cursor()).chain(told) {
            let chosen =
                self.source.columns.as_ref().is_none_or(|columns| columns.iter().any(|c| c == needed));
            let dropped = self.mapping.overrides.get(needed).is_some_and(|column| column.drop);
            if !chosen || dropped {
                return Err(invalid(format!(
                    "column `{needed}` is needed by the load strategy but not loaded"
                ))
                .hint("add it to `source.columns` and do not drop it"));
            }
            let policy = self.mapping.overrides.get(needed).and_then(|column| column.on_reject);
            if policy.is_some_and(RejectPolicy::makes_null) {
                return Err(invalid(format!(
                    "column `{needed}` is needed by the load strategy, so its values cannot become NULL"
                ))
                .with("field", format!("mapping.overrides.{needed}.on_reject"))
                .hint("set its `on_reject` to \"fail\" or \"text\", or leave it out"));
            }
        }
        Ok(())
    }
}
