//! Load strategies over several runs.

use std::sync::Arc;

use transload_core::connector::Capability;
use transload_core::proof::ProofLevel;
use transload_core::{ErrorKind, EtlJob, RunReport};

use super::{Orders, Set, holds, succeed, target_of};
use crate::check::{ensure, equal};
use crate::fixture::{Done, Failure};
use crate::suite::Pair;

pub(super) fn add(set: &mut Set<'_>, capability: Capability, cursor: bool) {
    if capability.replace {
        set.add("replace", replace);
        set.add("replace_by_an_empty_source", replace_by_empty);
        set.add("replace_by_a_source_that_shrank", replace_by_fewer);
    }
    if capability.append && cursor {
        set.add("append_with_ties_at_the_boundary", append_with_ties);
        set.add("append_equal_rows_are_a_multiset", append_multiset);
        set.add("append_nothing_new", append_nothing_new);
        set.add("append_from_an_empty_source", append_from_empty);
        set.add("append_null_cursor_is_reported", append_null_cursor);
        set.add("append_cursor_backwards_is_reported", append_backwards);
        set.add("append_many_runs", append_many_runs);
        set.add("backfill_since", backfill_since);
        set.add("row_limit_moves_no_watermark", row_limit);
        set.add("a_changed_job_is_no_silent_restart", changed_job);
    }
    if capability.merge && cursor {
        set.add("merge_with_updates", merge);
        set.add("merge_without_cursor", merge_without_cursor);
    }
}

pub(super) fn warned(report: &RunReport, code: &str) -> Done {
    ensure(report.warnings.iter().any(|(_, warning)| warning.code == code), || {
        format!("no warning {code}: {:?}", report.warnings)
    })
}

async fn replace(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "replaced")?;
    let first = orders.rows(&[(1, 1, "one"), (2, 2, "two"), (2, 2, "two"), (3, -1, "")]);
    orders.put(&pair, first.clone()).await?;
    let (runner, job) = (pair.runner()?, orders.job(&pair)?.replace().build()?);
    let report = succeed(&runner, &job).await?;
    equal("rows written", &report.rows.written, &4)?;
    profiled(&report)?;
    ensure(report.committed && report.load_id.is_some(), || "nothing was committed".to_owned())?;
    holds(&pair, "first run", &first).await?;
    let second = orders.rows(&[(4, 4, "four")]);
    orders.put(&pair, second.clone()).await?;
    succeed(&runner, &job).await?;
    holds(&pair, "second run", &second).await
}

/// The rows are ids 1, 2, 2, 3, so every source and destination must say this of them.
fn profiled(report: &RunReport) -> Done {
    let profile = report.profile.as_ref().ok_or_else(|| Failure::new("the run has no profile"))?;
    equal("profiled rows", &profile.rows, &4)?;
    let id = profile.columns.first().ok_or_else(|| Failure::new("the profile has no columns"))?;
    equal("nulls and values of id", &(id.nulls, id.distinct), &(0, Some(3)))?;
    // Text in files without types, where a key has letters and zeros before its number.
    let ends =
        |value: &Option<String>, with: char| value.as_deref().is_some_and(|value| value.ends_with(with));
    ensure(ends(&id.min, '1') && ends(&id.max, '3'), || format!("lowest and highest id: {id:?}"))
}

async fn replace_by_empty(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "emptied")?;
    let rows = orders.rows(&[(1, 1, "one")]);
    orders.put(&pair, rows.clone()).await?;
    let (runner, job) = (pair.runner()?, orders.job(&pair)?.replace());
    succeed(&runner, &job.clone().build()?).await?;
    orders.put(&pair, Vec::new()).await?;
    super::fail(&runner, &job.clone().build()?, ErrorKind::Data).await?;
    holds(&pair, "after the refusal", &rows).await?;
    succeed(&runner, &job.allow_empty().build()?).await?;
    holds(&pair, "allowed", &[]).await
}

async fn replace_by_fewer(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "shrunk")?;
    let rows = orders.rows(&[(1, 1, "one"), (2, 2, "two"), (3, 3, "three"), (4, 4, "four")]);
    orders.put(&pair, rows.clone()).await?;
    let (runner, job) = (pair.runner()?, orders.job(&pair)?.replace());
    succeed(&runner, &job.clone().min_ratio(0.5).build()?).await?;
    let fewer = orders.rows(&[(9, 9, "nine")]);
    orders.put(&pair, fewer.clone()).await?;
    super::fail(&runner, &job.clone().min_ratio(0.5).build()?, ErrorKind::Data).await?;
    holds(&pair, "after the refusal", &rows).await?;
    // Small tables are not judged unless the job says so, and a quarter is not less than a quarter.
    succeed(&runner, &job.min_ratio(0.25).build()?).await?;
    holds(&pair, "allowed", &fewer).await
}

fn append_job(orders: &Orders, pair: &Pair) -> Done<EtlJob> {
    Ok(orders.job(pair)?.append("at").build()?)
}

async fn append_with_ties(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "ties")?;
    let first = orders.rows(&[(1, 1, "a"), (2, 5, "b"), (3, 5, "c")]);
    orders.put(&pair, first.clone()).await?;
    let (runner, job) = (pair.runner()?, append_job(&orders, &pair)?);
    let report = succeed(&runner, &job).await?;
    equal("first run", &(report.rows.written, report.rows.already_loaded), &(3, 0))?;
    // Rows with the very cursor of the watermark arrive late, and newer ones.
    let late = orders.rows(&[(4, 5, "late"), (5, 5, "late too"), (6, 6, "newer")]);
    orders.insert(&pair, late.clone()).await?;
    let report = succeed(&runner, &job).await?;
    equal("second run", &(report.rows.written, report.rows.already_loaded), &(3, 2))?;
    holds(&pair, "second run", &[first.clone(), late.clone()].concat()).await?;
    // Once more at an unmoved watermark: first late rows only, then nothing.
    let later = orders.rows(&[(7, 6, "latest")]);
    orders.insert(&pair, later.clone()).await?;
    let report = succeed(&runner, &job).await?;
    equal("third run", &report.rows.written, &1)?;
    let report = succeed(&runner, &job).await?;
    equal("fourth run", &(report.rows.written, report.committed), &(0, false))?;
    // A row that is older than the watermark is not seen by append.
    orders.insert(&pair, orders.rows(&[(8, 2, "too old")])).await?;
    equal("fifth run", &succeed(&runner, &job).await?.rows.written, &0)?;
    holds(&pair, "all runs", &[first, late, later].concat()).await
}

async fn append_multiset(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "equal")?;
    let first = orders.rows(&[(1, 1, "x"), (1, 1, "x")]);
    orders.put(&pair, first.clone()).await?;
    let (runner, job) = (pair.runner()?, append_job(&orders, &pair)?);
    succeed(&runner, &job).await?;
    let third = orders.rows(&[(1, 1, "x")]);
    orders.insert(&pair, third.clone()).await?;
    equal("second run", &succeed(&runner, &job).await?.rows.written, &1)?;
    equal("third run", &succeed(&runner, &job).await?.rows.written, &0)?;
    holds(&pair, "equal rows", &[first, third].concat()).await
}

async fn append_nothing_new(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "nothing")?;
    let rows = orders.rows(&[(1, 1, "a"), (2, 2, "b")]);
    orders.put(&pair, rows.clone()).await?;
    let (runner, job) = (pair.runner()?, append_job(&orders, &pair)?);
    succeed(&runner, &job).await?;
    let before = last_sequence(&pair, &job).await?;
    for _ in 0..2 {
        let report = succeed(&runner, &job).await?;
        equal("written, committed", &(report.rows.written, report.committed), &(0, false))?;
    }
    equal("sequence", &last_sequence(&pair, &job).await?, &before)?;
    holds(&pair, "three runs", &rows).await
}

async fn last_sequence(pair: &Pair, job: &EtlJob) -> Done<Option<u64>> {
    let destination = pair.into.open_destination().await?;
    let last = destination.last_load(&target_of(pair), &job.identity()).await?;
    Ok(last.map(|last| last.sequence))
}

async fn append_from_empty(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "empty")?;
    orders.put(&pair, Vec::new()).await?;
    let (runner, job) = (pair.runner()?, append_job(&orders, &pair)?);
    equal("written", &succeed(&runner, &job).await?.rows.written, &0)?;
    let rows = orders.rows(&[(1, 1, "a")]);
    orders.insert(&pair, rows.clone()).await?;
    equal("written", &succeed(&runner, &job).await?.rows.written, &1)?;
    holds(&pair, "after rows came", &rows).await
}

async fn append_null_cursor(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "nulls")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a"), (2, -1, "no cursor")])).await?;
    let report = succeed(&pair.runner()?, &append_job(&orders, &pair)?).await?;
    equal("written", &report.rows.written, &1)?;
    warned(&report, "W_NULL_CURSOR")?;
    holds(&pair, "without the NULL", &orders.rows(&[(1, 1, "a")])).await
}

async fn append_backwards(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "backwards")?;
    let rows = orders.rows(&[(1, 1, "a"), (2, 9, "b")]);
    orders.put(&pair, rows.clone()).await?;
    let (runner, job) = (pair.runner()?, append_job(&orders, &pair)?);
    succeed(&runner, &job).await?;
    orders.put(&pair, orders.rows(&[(1, 1, "a")])).await?;
    let report = succeed(&runner, &job).await?;
    equal("written", &report.rows.written, &0)?;
    warned(&report, "W_CURSOR_BACKWARDS")?;
    holds(&pair, "after it went back", &rows).await
}

async fn append_many_runs(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "many")?;
    let mut all = orders.rows(&[(0, 0, "first")]);
    orders.put(&pair, all.clone()).await?;
    let (runner, job) = (pair.runner()?, append_job(&orders, &pair)?);
    succeed(&runner, &job).await?;
    for run in 1..6 {
        // Half of each run's rows are at the watermark of the one before.
        let rows: Vec<_> = (0..10).map(|n| orders.row(run * 100 + n, run - 1 + n % 2, "more")).collect();
        orders.insert(&pair, rows.clone()).await?;
        all.extend(rows);
        equal("written", &succeed(&runner, &job).await?.rows.written, &10)?;
    }
    holds(&pair, "all runs", &all).await
}

async fn backfill_since(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "backfill")?;
    let all = orders.rows(&[(1, 1, "old"), (2, 5, "at the bound"), (3, 6, "new")]);
    orders.put(&pair, all.clone()).await?;
    let since = orders.at.nth(5).to_plain().unwrap_or_default().replace("+00", "Z").replace(' ', "T");
    let job = orders.job(&pair)?.append("at").backfill_since(since).build()?;
    let runner = pair.runner()?;
    equal("written", &succeed(&runner, &job).await?.rows.written, &2)?;
    let newer = orders.rows(&[(4, 6, "late"), (5, 2, "old and late")]);
    orders.insert(&pair, newer.clone()).await?;
    equal("written", &succeed(&runner, &job).await?.rows.written, &1)?;
    let expected = all.into_iter().skip(1).chain(newer.into_iter().take(1)).collect::<Vec<_>>();
    holds(&pair, "since the bound", &expected).await
}

async fn row_limit(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "trial")?;
    let rows: Vec<_> = (0..50).map(|n| orders.row(n, n, "row")).collect();
    orders.put(&pair, rows).await?;
    let runner = pair.runner()?;
    let trial = orders.job(&pair)?.append("at").row_limit(5).build()?;
    let report = succeed(&runner, &trial).await?;
    equal("written by the trial", &report.rows.written, &5)?;
    let destination = pair.into.open_destination().await?;
    let last = destination.last_load(&target_of(&pair), &trial.identity()).await?;
    equal("watermark after the trial", &last.and_then(|last| last.watermark), &None)?;
    // The rows of the trial stay, so the target has more than the window.
    let full = orders.job(&pair)?.append("at").proof(ProofLevel::Off).build()?;
    equal("written by the full run", &succeed(&runner, &full).await?.rows.written, &50)
}

async fn changed_job(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "changed")?;
    let rows = orders.rows(&[(1, 1, "a"), (2, 2, "b")]);
    orders.put(&pair, rows.clone()).await?;
    let runner = pair.runner()?;
    let job = || orders.job(&pair);
    succeed(&runner, &job()?.append("at").build()?).await?;
    let error = super::fail(&runner, &job()?.append("id").build()?, ErrorKind::Config).await?;
    ensure(error.message().contains("cursor was `at` and is `id`"), || format!("what changed: {error}"))?;
    holds(&pair, "after the refusal", &rows).await?;
    // The job as it was goes on, and so does the changed one if it is told that this is meant.
    equal("written", &succeed(&runner, &job()?.append("at").build()?).await?.rows.written, &0)?;
    let restarted = job()?.append("id").restart().build()?;
    equal("written", &succeed(&runner, &restarted).await?.rows.written, &2)?;
    equal("written", &succeed(&runner, &restarted).await?.rows.written, &0)?;
    holds(&pair, "after the restart", &[rows.clone(), rows].concat()).await?;
    super::fail(&runner, &job()?.append("at").build()?, ErrorKind::Config).await?;
    if pair.into.subject.capability().replace {
        succeed(&runner, &job()?.replace().build()?).await?;
        holds(&pair, "replaced", &orders.rows(&[(1, 1, "a"), (2, 2, "b")])).await?;
        // An `append` after it would double the snapshot.
        super::fail(&runner, &job()?.append("id").build()?, ErrorKind::Config).await?;
    }
    Ok(())
}

async fn merge(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "merged")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a"), (2, 2, "b"), (3, -1, "no cursor")])).await?;
    let (runner, job) = (pair.runner()?, orders.job(&pair)?.merge(["id"], Some("at")).build()?);
    let report = succeed(&runner, &job).await?;
    equal("first run", &(report.rows.inserted, report.rows.updated), &(3, 0))?;
    orders.put(&pair, orders.rows(&[(1, 1, "a"), (2, 3, "B"), (3, -1, "still none"), (4, 3, "d")])).await?;
    let report = succeed(&runner, &job).await?;
    equal("second run", &(report.rows.inserted, report.rows.updated), &(1, 2))?;
    let expected = orders.rows(&[(1, 1, "a"), (2, 3, "B"), (3, -1, "still none"), (4, 3, "d")]);
    holds(&pair, "second run", &expected).await?;
    // Two versions of one row in one load: the newer one wins.
    orders.put(&pair, orders.rows(&[(1, 7, "newest"), (1, 6, "older"), (4, 3, "d")])).await?;
    let report = succeed(&runner, &job).await?;
    equal("superseded", &report.rows.superseded, &1)?;
    let expected = orders.rows(&[(1, 7, "newest"), (2, 3, "B"), (3, -1, "still none"), (4, 3, "d")]);
    holds(&pair, "third run", &expected).await
}

async fn merge_without_cursor(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "merged")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a"), (2, 2, "b")])).await?;
    let (runner, job) = (pair.runner()?, orders.job(&pair)?.merge(["id"], None).build()?);
    succeed(&runner, &job).await?;
    orders.put(&pair, orders.rows(&[(2, 1, "B"), (3, 1, "c")])).await?;
    let report = succeed(&runner, &job).await?;
    equal("second run", &(report.rows.inserted, report.rows.updated), &(1, 1))?;
    holds(&pair, "second run", &orders.rows(&[(1, 1, "a"), (2, 1, "B"), (3, 1, "c")])).await
}
