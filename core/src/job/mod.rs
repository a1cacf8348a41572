//! Jobs: one source table to one destination table, with a load strategy, column choice and overrides.
//!
//! [`JobDocument`] is the JSON form that people and control planes write; [`EtlJob`] is what the engine
//! runs. A job that exists is valid: everything that can be checked without I/O has been checked.

mod builder;
mod deletes;
mod document;
mod schedule;
mod strategy;

use jiff::{Timestamp, Zoned};
use serde_json::{Map, Value};

pub use builder::EtlJobBuilder;
pub use deletes::{DeletePolicy, DetectDeletesDocument, SoftDeleteDocument, SoftDeletePolicy};
pub use document::{
    DestinationDocument, JobDocument, LoadDocument, MappingDocument, MaxRejects, MaxRejectsDocument,
    SourceDocument, StepDocument, StrategyName,
};
pub use schedule::{CloudSchedulerFields, Every, Schedule, Weekday};
pub use strategy::{Backfill, CursorBound, LoadStrategy, NullCursors, Shard};

use crate::connector::OnSchemaChange;
use crate::document::parse;
use crate::error::{Error, Result};
use crate::profile::ProfileLevel;
use crate::proof::ProofLevel;
use crate::schema::{LayoutDocument, Overrides, RejectPolicy, RoundPolicy, TableRef, TargetRef};

/// A valid job: one source table to one destination table.
///
/// ```
/// use transload_core::EtlJob;
///
/// let job = EtlJob::builder("daily_orders")
///     .from("shop", "public.orders")
///     .into("lake", "raw_data", "orders")
///     .append("created_at")
///     .build()?;
/// assert_eq!(job.strategy().cursor(), Some("created_at"));
///
/// // The same job as a document, the same in every language.
/// let same = EtlJob::from_json(serde_json::json!({
///     "name": "daily_orders",
///     "source": {"connection": "shop", "schema": "public", "table": "orders"},
///     "destination": {"connection": "lake", "dataset": "raw_data", "table": "orders"},
///     "load": {"strategy": "append", "cursor": "created_at"},
/// }))?;
/// assert_eq!(job.identity(), same.identity());
/// # Ok::<(), transload_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EtlJob {
    document: JobDocument,
    strategy: LoadStrategy,
    max_rejects: Option<MaxRejects>,
}

impl EtlJob {
    /// Starts a builder.
    pub fn builder(name: impl Into<String>) -> EtlJobBuilder {
        EtlJobBuilder::new(name)
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// `config`, naming the field and, for an unknown one, the nearest known one.
    pub fn from_json(value: Value) -> Result<Self> {
        Self::from_document(parse("job document", value)?)
    }

    /// Checks a document.
    ///
    /// # Errors
    /// `config`, naming the field.
    pub fn from_document(document: JobDocument) -> Result<Self> {
        let strategy = document.check()?;
        let max_rejects = document.mapping.max_rejects()?;
        Ok(Self { document, strategy, max_rejects })
    }

    /// The JSON form.
    ///
    /// # Errors
    /// None in practice; serialising plain data cannot fail.
    pub fn to_json(&self) -> Result<Value> {
        serde_json::to_value(&self.document)
            .map_err(|error| Error::internal("a job could not be serialised").source_error(error))
    }

    /// The job's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.document.name
    }

    /// Name of the source's connection.
    #[must_use]
    pub fn source_connection(&self) -> &str {
        &self.document.source.connection
    }

    /// The source table.
    #[must_use]
    pub fn source_table(&self) -> TableRef {
        TableRef { schema: self.document.source.schema.clone(), name: self.document.source.table.clone() }
    }

    /// Chosen columns; empty for all.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        self.document.source.columns.as_deref().unwrap_or_default()
    }

    /// Name of the destination's connection.
    #[must_use]
    pub fn destination_connection(&self) -> &str {
        &self.document.destination.connection
    }

    /// The target table.
    #[must_use]
    pub fn target(&self) -> TargetRef {
        TargetRef::new(&self.document.destination.dataset, &self.document.destination.table)
    }

    /// How the target table is laid out and kept.
    #[must_use]
    pub fn layout(&self) -> &LayoutDocument {
        &self.document.destination.layout
    }

    /// What the job says to its destination in that one's own words.
    #[must_use]
    pub fn destination_options(&self) -> &Map<String, Value> {
        &self.document.destination.options
    }

    /// The load strategy.
    #[must_use]
    pub fn strategy(&self) -> &LoadStrategy {
        &self.strategy
    }

    /// Whether loads that the job made before it was changed are to be ignored.
    #[must_use]
    pub fn restarts(&self) -> bool {
        self.document.load.restart
    }

    /// Which part of a job that is cut this is.
    #[must_use]
    pub fn shard(&self) -> Option<Shard<'_>> {
        self.document.load.shard()
    }

    /// Where the job is cut, as text in the cursor's form; empty if it is not.
    #[must_use]
    pub fn shard_at(&self) -> &[String] {
        &self.document.load.shard_at
    }

    /// The parts of a job that `load.shard_at` cuts, which several processes may run at the same time; of any other job
    /// the job itself.
    ///
    /// # Errors
    /// None in practice; the cuts were checked with the job.
    ///
    /// ```
    /// use transload_core::EtlJob;
    ///
    /// let job = EtlJob::builder("events")
    ///     .from("shop", "public.events")
    ///     .into("lake", "raw", "events")
    ///     .append("at")
    ///     .shard_at(["2024-01-01", "2025-01-01"])
    ///     .build()?;
    /// let shards = job.shards()?;
    /// assert_eq!(shards.len(), 3);
    /// assert_eq!(shards[1].strategy().until(), Some("2025-01-01"));
    /// # Ok::<(), transload_core::Error>(())
    /// ```
    pub fn shards(&self) -> Result<Vec<Self>> {
        if self.shard_at().is_empty() || self.shard().is_some() {
            return Ok(vec![self.clone()]);
        }
        let shard = |index| {
            let mut document = self.document.clone();
            document.load.shard = Some(index);
            Self::from_document(document)
        };
        (0..=self.shard_at().len()).map(shard).collect()
    }

    /// All ends of a job that is cut, from where its first part begins to where the last one ends; empty if it is not.
    pub(crate) fn ends_of_shards(&self) -> Vec<&str> {
        let load = &self.document.load;
        if load.shard_at.is_empty() {
            return Vec::new();
        }
        load.backfill_since.iter().chain(&load.shard_at).chain(&load.until).map(String::as_str).collect()
    }

    /// Refuses a job that only its parts can do.
    pub(crate) fn check_whole(&self) -> Result<()> {
        if self.shard_at().is_empty() || self.shard().is_some() {
            return Ok(());
        }
        let text = format!(
            "job `{}` is cut into {} shards and runs as those",
            self.name(),
            self.shard_at().len() + 1
        );
        Err(Error::config(text).hint("run what its `shards()` gives, here or in several processes"))
    }

    /// Overrides of the mapping, by column.
    #[must_use]
    pub fn overrides(&self) -> &Overrides {
        &self.document.mapping.overrides
    }

    /// Whether types hidden in text columns are looked for.
    #[must_use]
    pub fn detects_types(&self) -> bool {
        self.document.mapping.detect_types
    }

    /// The hash of the only mapping that a run may use.
    #[must_use]
    pub fn approved_hash(&self) -> Option<&str> {
        self.document.mapping.approved_hash.as_deref()
    }

    /// What may happen to an existing target table.
    #[must_use]
    pub fn on_schema_change(&self) -> OnSchemaChange {
        self.document.mapping.on_schema_change
    }

    /// What happens to values that do not fit.
    #[must_use]
    pub fn on_reject(&self) -> RejectPolicy {
        self.document.mapping.on_reject
    }

    /// What happens to values with more digits than their type keeps.
    #[must_use]
    pub fn on_round(&self) -> RoundPolicy {
        self.document.mapping.on_round
    }

    /// How many rows may have a value that does not fit; `None` for any number.
    #[must_use]
    pub fn max_rejects(&self) -> Option<MaxRejects> {
        self.max_rejects
    }

    /// The table for values under [`RejectPolicy::Quarantine`].
    #[must_use]
    pub fn quarantine_target(&self) -> TargetRef {
        let DestinationDocument { dataset, table, .. } = &self.document.destination;
        let named = self.document.mapping.quarantine_table.clone();
        TargetRef::new(dataset, named.unwrap_or_else(|| format!("{table}_quarantine")))
    }

    /// The schedule, for the host; the engine itself does not wait.
    #[must_use]
    pub fn schedule(&self) -> Option<&Schedule> {
        self.document.schedule.as_ref()
    }

    /// The first `n` runs of its schedule after an instant; none without a schedule, and for `manual`.
    ///
    /// # Errors
    /// None in practice; the schedule was checked with the job.
    pub fn next_runs(&self, n: usize, after: Timestamp) -> Result<Vec<Zoned>> {
        self.schedule().map_or(Ok(Vec::new()), |schedule| schedule.next(n, after))
    }

    /// Whether the job takes part in runs of many jobs.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.document.enabled
    }

    /// How much the report says of the values that were loaded.
    #[must_use]
    pub fn profile(&self) -> ProfileLevel {
        self.document.profile
    }

    /// Whether the run proves that nothing was lost, doubled or changed on the way.
    #[must_use]
    pub fn proof(&self) -> ProofLevel {
        self.document.proof
    }

    /// At most this many rows, for trials. A run with a limit never moves the watermark.
    #[must_use]
    pub fn row_limit(&self) -> Option<u64> {
        self.document.row_limit
    }

    /// What makes this job this job in the eyes of a destination: its name, source table, strategy, cursor and key, and
    /// which shard it is. A job with another cursor or key does not continue the old one's watermark: its run ends with a
    /// `config` error unless the document says `load.restart`.
    /// 32 hexadecimal digits.
    #[must_use]
    pub fn identity(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let source = &self.document.source;
        for part in [
            self.name(),
            &source.connection,
            source.schema.as_deref().unwrap_or_default(),
            &source.table,
            self.strategy.as_str(),
            self.strategy.cursor().unwrap_or_default(),
        ] {
            hasher.update(part.as_bytes());
            hasher.update(b"\0");
        }
        for column in self.strategy.key() {
            hasher.update(column.as_bytes());
            hasher.update(b"\0");
        }
        if let Some(Shard { index, at }) = self.shard() {
            for cut in at {
                hasher.update(cut.as_bytes());
                hasher.update(b"\0");
            }
            hasher.update(index.to_string().as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(load: Value) -> Result<EtlJob> {
        EtlJob::from_json(json!({
            "name": "j",
            "source": {"connection": "a", "schema": "public", "table": "orders"},
            "destination": {"connection": "b", "dataset": "raw", "table": "orders"},
            "load": load,
        }))
    }

    #[test]
    fn documents_round_trip() {
        let load = json!({"strategy": "merge", "key": ["id"], "cursor": "at", "lookback": "2h", "backfill_days": 9, "cursor_bound": "oldest_transaction"});
        let first = job(load).unwrap();
        let again = EtlJob::from_json(first.to_json().unwrap()).unwrap();
        assert_eq!(first, again);
    }

    #[test]
    fn wrong_documents_name_the_field() {
        for (load, expected) in [
            (json!({"strategy": "append"}), "`load.cursor` is missing"),
            (json!({"strategy": "merge", "cursor": "at"}), "`load.key` is missing"),
            (json!({"strategy": "replace", "cursor": "at"}), "`load.cursor` does not belong to"),
            (
                json!({"strategy": "append", "cursor": "at", "lookback": "1h"}),
                "`load.lookback` does not belong to",
            ),
            (json!({"strategy": "append", "cursor": "at", "lag": "soon"}), "`load.lag`"),
            (json!({"strategy": "append", "cursor": "at", "cursor_bound": "oldest"}), "oldest_transaction"),
            (
                json!({"strategy": "replace", "cursor_bound": "oldest_transaction"}),
                "`load.cursor_bound` does not belong to",
            ),
            (
                json!({"strategy": "merge", "key": ["id"], "cursor_bound": "oldest_transaction"}),
                "`load.cursor_bound` does not belong to",
            ),
            (json!({"strategy": "append", "cursor": "a", "backfill_days": 1, "backfill_since": "x"}), "both"),
            (
                json!({"strategy": "merge", "key": ["id"], "cursor": "a", "shard_at": ["1"]}),
                "`load.shard_at`",
            ),
            (json!({"strategy": "append", "cursor": "a", "shard": 0}), "`load.shard` is none of"),
            (
                json!({"strategy": "append", "cursor": "a", "shard_at": ["1"], "shard": 2}),
                "`load.shard` is none of",
            ),
            (
                json!({"strategy": "append", "cursor": "a", "shard_at": ["1", "1"]}),
                "`load.shard_at` has 1 twice",
            ),
            (
                json!({"strategy": "append", "cursor": "a", "shard_at": ["1"], "backfill_days": 1}),
                "elsewhere every day",
            ),
            (json!({"strategy": "appendd", "cursor": "at"}), "appendd"),
            (json!({"strategy": "append", "curser": "at"}), "unknown field `load.curser`"),
        ] {
            let error = job(load.clone()).unwrap_err();
            assert!(error.to_string().contains(expected), "{load}: {error}");
            assert_eq!(error.kind(), crate::ErrorKind::Config);
        }
    }

    #[test]
    fn shards_have_ends_and_identities_of_their_own() {
        let load = json!({"strategy": "append", "cursor": "id", "backfill_since": "5", "until": "99", "shard_at": ["10", "20"], "on_null_cursor": "include"});
        let whole = job(load).unwrap();
        let shards = whole.shards().unwrap();
        let ends: Vec<_> = shards
            .iter()
            .map(|shard| match shard.strategy() {
                LoadStrategy::Append { backfill: Some(Backfill::Since(since)), until, nulls, .. } => {
                    (since.as_str(), until.as_deref().unwrap(), *nulls)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let (include, skip) = (NullCursors::Include, NullCursors::Skip);
        assert_eq!(ends, [("5", "10", include), ("10", "20", skip), ("20", "99", skip)]);
        let identities: std::collections::BTreeSet<_> =
            shards.iter().chain([&whole]).map(EtlJob::identity).collect();
        assert_eq!(identities.len(), 4);
        assert!(whole.check_whole().unwrap_err().hint_text().unwrap().contains("shards()"));
        for shard in &shards {
            shard.check_whole().unwrap();
            assert_eq!(shard.shards().unwrap(), std::slice::from_ref(shard));
            assert_eq!(EtlJob::from_json(shard.to_json().unwrap()).unwrap(), *shard);
        }
    }

    #[test]
    fn policies_for_values_that_do_not_fit() {
        let with = |load: Value, mapping: Value| {
            EtlJob::from_json(json!({
                "name": "j",
                "source": {"connection": "a", "schema": "public", "table": "orders"},
                "destination": {"connection": "b", "dataset": "raw", "table": "orders"},
                "load": load,
                "mapping": mapping,
            }))
        };
        let replace = || json!({"strategy": "replace"});
        let plain = with(replace(), json!({"on_reject": "quarantine", "max_rejects": 100})).unwrap();
        assert_eq!(plain.quarantine_target().to_string(), "raw.orders_quarantine");
        assert_eq!(plain.max_rejects(), Some(MaxRejects::Rows(100)));
        assert_eq!(EtlJob::from_json(plain.to_json().unwrap()).unwrap(), plain);
        let document = json!({
            "on_round": "round", "max_rejects": " 2.5% ", "quarantine_table": "bad",
            "overrides": {"a": {"on_reject": "quarantine", "on_round": "refuse"}},
        });
        let other = with(replace(), document).unwrap();
        assert_eq!(other.quarantine_target().to_string(), "raw.bad");
        assert_eq!(other.max_rejects(), Some(MaxRejects::Share(0.025)));
        assert_eq!(EtlJob::from_json(other.to_json().unwrap()).unwrap(), other);
        let merge = || json!({"strategy": "merge", "key": ["id"], "cursor": "at"});
        for (load, mapping, expected) in [
            (replace(), json!({"on_reject": "drop"}), "quarantine"),
            (replace(), json!({"max_rejects": 1}), "`mapping.max_rejects` limits"),
            (replace(), json!({"on_reject": "text", "max_rejects": 1}), "`mapping.max_rejects` limits"),
            (replace(), json!({"on_reject": "null", "max_rejects": "1"}), "is no share"),
            (replace(), json!({"on_reject": "null", "max_rejects": "101%"}), "is no share"),
            (replace(), json!({"on_reject": "null", "quarantine_table": "q"}), "nothing goes there"),
            (
                replace(),
                json!({"on_reject": "quarantine", "quarantine_table": "Orders"}),
                "the target itself",
            ),
            (replace(), json!({"on_reject": "quarantine", "quarantine_table": " "}), "is empty"),
            (merge(), json!({"overrides": {"id": {"on_reject": "null"}}}), "cannot become NULL"),
            (merge(), json!({"overrides": {"at": {"on_reject": "quarantine"}}}), "cannot become NULL"),
        ] {
            let error = with(load, mapping.clone()).unwrap_err();
            assert!(error.to_string().contains(expected), "{mapping}: {error}");
            assert!(error.hint_text().is_some() || expected == "quarantine", "{error}");
        }
        with(merge(), json!({"on_reject": "null", "overrides": {"at": {"on_reject": "text"}}})).unwrap();
    }

    #[test]
    fn a_changed_cursor_or_key_is_another_job() {
        let a = job(json!({"strategy": "append", "cursor": "at"})).unwrap();
        let b = job(json!({"strategy": "append", "cursor": "id"})).unwrap();
        assert_ne!(a.identity(), b.identity());
    }
}
