//! The writer that a load hands out, and its commit.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array as _, RecordBatch};
use async_trait::async_trait;
use transload_core::connector::{Deletes, KeyComparison, LoadOutcome, LoadRecord, LoadWriter};
use transload_core::{Error, ErrorKind, Result};

use crate::commit::{self, Apply, Commit, Delete, RecordRow, State};
use crate::deletes::{Compared, KeySql, Keys};
use crate::jobs::{ATTEMPTS, Row, Submitted, failure};
use crate::load::{Load, Totals, short_hash};
use crate::prune::{Bounds, Range};
use crate::sql::{self, LOADS_TABLE};
use crate::stage::Stage;
use crate::{encode, error};

/// What the staged rows do to the target; indexes are those of the load's columns.
#[derive(Debug)]
pub(crate) enum Mode {
    Append,
    Replace,
    Merge { key: Vec<usize>, order_by: Option<usize>, ranges: Vec<Range>, deletes: Deletes },
}

impl Mode {
    pub(crate) fn is_merge(&self) -> bool {
        matches!(self, Self::Merge { .. })
    }
}

/// Targets that this process is loading.
static ACTIVE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// What a commit script must find.
#[derive(Debug, Clone, Copy)]
struct Expected {
    totals: Totals,
    /// Rows that go, or are marked.
    gone: u64,
}

/// Ids of commits that others began and that left no record, past which no further one is looked at.
const MOST_FOUND: u32 = 1_000;

/// Holds a target for one load.
#[derive(Debug)]
pub(crate) struct Claim(String);

impl Claim {
    /// # Errors
    /// `conflict` while another load of this process holds the target.
    pub(crate) fn take(target: String) -> Result<Self> {
        if ACTIVE.lock().unwrap_or_else(PoisonError::into_inner).insert(target.clone()) {
            return Ok(Self(target));
        }
        Err(Error::new(ErrorKind::Conflict, "another load of the same table is in progress")
            .with("target", target)
            .hint("wait for it, or abort it"))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        ACTIVE.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// A load in progress.
#[derive(Debug)]
pub(crate) struct Writer {
    load: Arc<Load>,
    mode: Mode,
    rows: Stage,
    /// Of a load that compares keys.
    keys: Option<Keys>,
    next_row: AtomicI64,
    already_committed: bool,
    finished: bool,
    _claim: Claim,
}

impl Writer {
    /// Starts the pipelines behind a load. `keys` is the staging table of the source's keys, if they are compared.
    pub(crate) fn start(
        load: Arc<Load>,
        keys: Option<Load>,
        mode: Mode,
        already_committed: bool,
        claim: Claim,
    ) -> Self {
        let keys = keys.map(|keys| Keys {
            stage: Stage::start(Arc::new(keys), already_committed),
            compared: Mutex::default(),
        });
        Self {
            rows: Stage::start(Arc::clone(&load), already_committed),
            load,
            mode,
            keys,
            next_row: AtomicI64::new(0),
            already_committed,
            finished: false,
            _claim: claim,
        }
    }

    /// A key that is NULL would match no row and be inserted again by every load.
    fn check_keys(&self, batch: &RecordBatch) -> Result<()> {
        let Mode::Merge { key, .. } = &self.mode else { return Ok(()) };
        for index in key {
            if batch.columns().get(*index).is_some_and(|column| column.null_count() > 0) {
                let column = self.load.columns.get(*index).map_or("", |column| column.name.as_str());
                return Err(Error::data("a key column of a merge holds NULL")
                    .with("target", &self.load.target)
                    .with("column", column)
                    .hint("choose a key that is never NULL, or filter such rows out"));
            }
        }
        Ok(())
    }

    /// Quoted path of the load records.
    fn loads(&self) -> String {
        sql::path(&self.load.client.project, &self.load.target.dataset, LOADS_TABLE)
    }

    /// The script of the commit.
    fn script(&self, totals: &Totals, compared: Option<&Compared>, record: RecordRow<'_>) -> String {
        let load = &self.load;
        let project = &load.client.project;
        let target = sql::path(project, &load.target.dataset, &load.target.table);
        let loads = self.loads();
        let staging = load.staging_path();
        let ranges = match &self.mode {
            Mode::Merge { ranges, .. } => ranges.as_slice(),
            Mode::Append | Mode::Replace => &[],
        };
        let within: Vec<Bounds> = ranges.iter().filter_map(Range::bounds).collect();
        let apply = match &self.mode {
            Mode::Append => Apply::Append,
            Mode::Replace => Apply::Replace,
            Mode::Merge { key, order_by, deletes, .. } => Apply::Merge {
                key,
                order_by: *order_by,
                within: &within,
                removed: deletes
                    .removed()
                    .and_then(|tombstone| Some((self.place(&tombstone.column)?, tombstone))),
            },
        };
        let keys = self.keys.as_ref().map(|keys| keys.stage.load.staging_path());
        let delete = compared.and_then(|compared| {
            let path = keys.as_deref().filter(|_| compared.keys.rows > 0);
            let (keys, found) = (compared.keys.rows, compared.found);
            Some(Delete { by: self.key_sql(&target, path)?, keys, found })
        });
        let pruned = ranges.iter().any(|range| range.partitions);
        commit::commit_script(&Commit {
            target: &target,
            loads: &loads,
            staging: (totals.rows > 0).then_some((staging.as_str(), totals.rows)),
            columns: &load.columns,
            apply,
            delete,
            record,
            every_partition: load.every_partition.as_deref().filter(|_| !pruned),
            nonce: &load.nonce,
        })
    }

    /// Index of a column of the load.
    fn place(&self, name: &str) -> Option<usize> {
        self.load.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The statements by the source's keys; `None` for a load that compares none.
    fn key_sql<'a>(&'a self, target: &'a str, keys: Option<&'a str>) -> Option<KeySql<'a>> {
        let (Mode::Merge { deletes, .. }, Some(stage)) = (&self.mode, &self.keys) else { return None };
        let (columns, every_partition) = (&stage.stage.load.columns, self.load.every_partition.as_deref());
        Some(KeySql { target, every_partition, keys, columns, deletes })
    }

    /// What the keys said.
    fn compared(&self) -> Result<Option<Compared>> {
        let Some(keys) = &self.keys else { return Ok(None) };
        let compared = *keys.compared.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = || Error::internal("a load was committed before its keys were compared");
        compared.ok_or_else(missing).map(Some)
    }

    /// Runs the commit under an id that follows from target, job and sequence alone. A job id can succeed only
    /// once, and the next id is tried only after the one before has failed: whoever tries again, however often,
    /// and however many runs there are at once, a job's sequence number is committed once.
    async fn run_commit(
        &self,
        script: &str,
        expected: Expected,
        record: RecordRow<'_>,
    ) -> Result<LoadOutcome> {
        let load = &self.load;
        let (created, sequence) = (load.created.to_string(), record.sequence.to_string());
        let place = [&load.client.project, &load.target.dataset, &load.target.table, &created];
        let mut place: Vec<&str> = place.into_iter().map(String::as_str).collect();
        place.extend([record.job, &sequence]);
        let stem = format!("tl_commit_{}_{}", short_hash(&place), record.sequence);
        let mut tries = load.client.retry.begin();
        // Attempts of this run, and ids that were taken.
        let (mut attempt, mut found) = (1, 0);
        loop {
            let id = format!("{stem}_a{}", attempt + found);
            let submitted = load.client.submit_query(&id, &load.location, script).await?;
            let done = load.client.wait(&id, &load.location).await?;
            match failure(&done, "cannot commit the load", &id) {
                None => {
                    if let Some(outcome) = self.settle(&id, expected, &record).await? {
                        let query = done.statistics.as_ref().and_then(|statistics| statistics.query.as_ref());
                        let billed = query.and_then(|query| query.total_bytes_billed);
                        let bytes_billed = billed.and_then(|bytes| u64::try_from(bytes).ok());
                        return Ok(LoadOutcome { bytes_billed, ..outcome });
                    }
                    tracing::warn!(job = id, "an earlier commit under this id left no record");
                }
                // What a job of another run died of says nothing about this one.
                Some(error) if submitted == Submitted::Existed && found < MOST_FOUND => {
                    tracing::warn!(job = id, %error, "an earlier commit under this id failed");
                }
                Some(error) => {
                    let error = load.explained(error);
                    if !error.is_retryable() || error.kind() == ErrorKind::Conflict && !raced(&error) {
                        return Err(error);
                    }
                    tracing::warn!(job = id, %error, "the commit failed and runs again");
                    tries.again(error).await?;
                }
            }
            if submitted == Submitted::Existed && found < MOST_FOUND {
                found += 1;
                continue;
            }
            if attempt >= ATTEMPTS {
                return Err(Error::new(ErrorKind::Conflict, "the load could not be committed")
                    .with("target", &load.target)
                    .with("job_id", id)
                    .hint("look at the jobs of this name in BigQuery, and run the job again"));
            }
            attempt += 1;
        }
    }

    /// What a successful commit job did: the outcome, or `None` if it was another run's that left nothing.
    async fn settle(
        &self,
        id: &str,
        expected: Expected,
        record: &RecordRow<'_>,
    ) -> Result<Option<LoadOutcome>> {
        let Expected { totals, gone } = expected;
        let client = &self.load.client;
        let rows = match client.rows(id, &self.load.location).await {
            Ok(rows) => rows,
            // Results are kept for a day.
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.with("target", &self.load.target)),
        };
        let row = rows.first();
        let text = |index: usize| row.and_then(|row: &Row| row.get(index)?.as_deref());
        let number = |index: usize| text(index).and_then(|text| text.parse::<u64>().ok());
        let mine = text(3) == Some(self.load.nonce.as_str());
        let state = text(0).and_then(State::parse);
        let committed = mine && state == Some(State::Committed);
        let counts = [1, 2, 4, 5, 6, 7].map(number);
        if let (
            true,
            [Some(distinct), Some(inserted), Some(deleted), Some(marked), Some(unmarked), Some(dead)],
        ) = (committed, counts)
            && (totals.rows == 0 || if self.mode.is_merge() { distinct > 0 } else { inserted == totals.rows })
            && (deleted + marked >= gone)
        {
            let mut outcome = LoadOutcome {
                inserted,
                deleted,
                marked,
                unmarked,
                bytes: totals.bytes,
                ..LoadOutcome::default()
            };
            if self.mode.is_merge() {
                outcome.updated = distinct.saturating_sub(dead + inserted);
                outcome.superseded = totals.rows.saturating_sub(distinct);
            }
            return Ok(Some(outcome));
        }
        // The emulator rolls variables back with a transaction, so a script that gave up says 0 there: what counts
        // is whether there is a record.
        let found = self.find(record).await?;
        if found.is_none() && mine && state == Some(State::Changed) {
            return Err(Error::new(ErrorKind::Conflict, "the target was changed after its keys were compared")
                .with("target", &self.load.target)
                .retryable(true)
                .hint("nothing was committed: run the job again, and make sure that nobody else writes to the table"));
        }
        if found.is_none() && (committed || mine && state == Some(State::Incomplete)) {
            return Err(Error::new(ErrorKind::Conflict, "the staged rows are not those that were written")
                .with("target", &self.load.target)
                .with("written", totals.rows)
                .retryable(true)
                .hint(
                    "nothing was committed; another run of the same table may have dropped them: run the job again, \
                     and make sure that only one run at a time loads a table",
                ));
        }
        Ok(found)
    }

    /// Looks for the record of this load, or of one that overtook it.
    async fn find(&self, record: &RecordRow<'_>) -> Result<Option<LoadOutcome>> {
        let query = commit::lookup(&self.loads(), record);
        let rows = self.load.client.select(&self.load.location, &query).await?;
        let count = |index: usize| -> u64 {
            let cell = rows.first().and_then(|row| row.get(index)?.as_deref());
            cell.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        match (count(0), count(1)) {
            (0, 0) => Ok(None),
            (0, _) => {
                Err(Error::new(ErrorKind::Conflict, "another load of this job was committed meanwhile")
                    .with("target", &self.load.target)
                    .retryable(true)
                    .hint("run the job again; make sure that only one run at a time loads a table"))
            }
            _ => Ok(Some(LoadOutcome { already_committed: true, ..LoadOutcome::default() })),
        }
    }

    async fn stage_and_commit(&self, record: &LoadRecord) -> Result<LoadOutcome> {
        let compared = self.compared()?;
        let totals = self.rows.rest().await?;
        let json = serde_json::to_string(record)
            .map_err(|error| Error::internal("a load record could not be encoded").source_error(error))?;
        let row = RecordRow {
            load_id: &self.load.load_id,
            table: &self.load.target.table,
            table_created: self.load.created,
            job: &record.job,
            job_name: &record.job_name,
            sequence: record.sequence,
            json: &json,
        };
        let script = self.script(&totals, compared.as_ref(), row);
        let bytes = totals.bytes + compared.map_or(0, |compared| compared.keys.bytes);
        let expected = Expected {
            totals: Totals { bytes, ..totals },
            gone: compared.map_or(0, |compared| compared.found.gone),
        };
        Box::pin(self.run_commit(&script, expected, row)).await
    }

    /// Deletes what was staged.
    async fn drop_staging(&self) -> Result<()> {
        let keys = match &self.keys {
            Some(keys) => keys.stage.load.drop_staging().await,
            None => Ok(()),
        };
        self.load.drop_staging().await.and(keys)
    }

    /// Deletes the staging table; if that fails, the next load or the expiration does it.
    async fn clean(&mut self) {
        self.finished = true;
        if let Err(error) = self.drop_staging().await {
            tracing::warn!(target_table = %self.load.target, %error, "the staging table stays until it expires");
        }
    }
}

/// Whether a transaction lost against another one, and may win when it runs again.
fn raced(error: &Error) -> bool {
    error.context_value("reason") == Some("concurrentUpdate")
}

#[async_trait]
impl LoadWriter for Writer {
    async fn write(&self, batch: RecordBatch) -> Result<()> {
        if self.already_committed || batch.num_rows() == 0 {
            return Ok(());
        }
        self.check_keys(&batch)?;
        if let Mode::Merge { ranges, .. } = &self.mode {
            ranges.iter().for_each(|range| range.add(&batch));
        }
        let rows = i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
        let first = self.mode.is_merge().then(|| self.next_row.fetch_add(rows, Ordering::Relaxed));
        self.rows.send(encode::stage(&batch, &self.load.stage_schema, first)?).await
    }

    async fn keep(&self, keys: RecordBatch) -> Result<()> {
        let Some(told) = &self.keys else {
            return Err(Error::internal("keys were told to a load that does not compare them"));
        };
        if self.already_committed || keys.num_rows() == 0 {
            return Ok(());
        }
        told.stage.send(encode::stage(&keys, &told.stage.load.stage_schema, None)?).await
    }

    async fn compare_keys(&self) -> Result<KeyComparison> {
        let load = &self.load;
        let target = sql::path(&load.client.project, &load.target.dataset, &load.target.table);
        match &self.keys {
            Some(_) if self.already_committed => Ok(KeyComparison::default()),
            Some(keys) => {
                let sql = |path: Option<&str>| {
                    self.key_sql(&target, path).map(|sql| sql.compare()).unwrap_or_default()
                };
                Box::pin(keys.compare(sql)).await
            }
            None => Err(Error::internal("a load without deletes was asked to compare keys")),
        }
    }

    async fn seal(&self) -> Result<()> {
        if !self.already_committed {
            self.rows.rest().await?;
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>, record: LoadRecord) -> Result<LoadOutcome> {
        if self.already_committed {
            self.finished = true;
            return Ok(LoadOutcome { already_committed: true, ..LoadOutcome::default() });
        }
        let outcome = self.stage_and_commit(&record).await;
        // A commit of unknown outcome may still need what is staged; the next load cleans it.
        let unclear = matches!(&outcome, Err(error) if error::is_unclear(error));
        if unclear {
            self.finished = true;
        } else {
            self.clean().await;
        }
        outcome
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        self.rows.stop().await;
        if let Some(keys) = &self.keys {
            keys.stage.stop().await;
        }
        self.finished = true;
        self.drop_staging().await
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.rows.abort();
        let mut loads = vec![Arc::clone(&self.load)];
        if let Some(keys) = &mut self.keys {
            keys.stage.abort();
            loads.push(Arc::clone(&keys.stage.load));
        }
        if self.finished {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                for load in loads {
                    if let Err(error) = load.drop_staging().await {
                        tracing::debug!(%error, "the staging table of a dropped load stays until it expires");
                    }
                }
            });
        }
    }
}
