//! Runs whose destination fails in the middle, and runs that are cancelled.

use std::sync::Arc;

use transload_core::connector::Capability;
use transload_core::job::StepDocument;
use transload_core::{CancelHandle, ErrorKind, EtlJob, RunStatus};

use super::{Orders, Set, fail, holds, succeed};
use crate::cell::Row;
use crate::check::{ensure, equal};
use crate::fault::{Fault, Faulty, Script};
use crate::fixture::Done;
use crate::suite::Pair;

pub(super) fn add(set: &mut Set<'_>, capability: Capability, cursor: bool, integers: bool) {
    if capability.append && cursor {
        for (name, fault) in [
            ("append_refused_at_begin", Fault::RefuseBegin),
            ("append_refused_at_write", Fault::RefuseWrite(0)),
            ("append_failed_commit", Fault::FailCommit),
            ("append_committed_but_reported_failure", Fault::CommitThenFail),
        ] {
            set.add(&format!("fault_{name}"), move |pair| append_with(pair, fault));
        }
        set.add("cancel_in_the_middle", cancel_in_the_middle);
        set.add("cancel_during_the_commit", |pair| cancel_during_commit(pair, true));
        set.add("cancel_during_a_commit_that_fails", |pair| cancel_during_commit(pair, false));
        // Only numbers can be cut into ranges: text has no distance.
        if integers {
            set.add("cancel_during_the_commit_of_a_range", cancel_between_ranges);
        }
        set.add("dropped_run_in_the_middle", dropped_in_the_middle);
    }
    if capability.merge && cursor {
        set.add("fault_merge_committed_but_reported_failure", merge_committed_but_failed);
    }
    if capability.replace {
        set.add("fault_replace_failed_commit", |pair| replace_with(pair, Fault::FailCommit));
        set.add("fault_replace_committed_but_reported_failure", |pair| {
            replace_with(pair, Fault::CommitThenFail)
        });
        set.add("cancelled_before_it_began", cancelled_before);
    }
}

fn append_job(orders: &Orders, pair: &Pair) -> Done<EtlJob> {
    Ok(orders.job(pair)?.append("at").build()?)
}

async fn append_with(pair: Arc<Pair>, fault: Fault) -> Done {
    let mut orders = Orders::new(&pair, "faulty")?;
    let first = orders.rows(&[(1, 1, "a"), (2, 2, "b"), (3, 2, "b")]);
    orders.put(&pair, first.clone()).await?;
    let committed = fault == Fault::CommitThenFail;
    // The first load goes wrong, those after it go well, the last one goes wrong in the same way.
    let script = match fault {
        Fault::CommitThenFail => Script::new(&[fault, Fault::None, Fault::None, fault]),
        _ => Script::new(&[fault, Fault::None, fault]),
    };
    let runner = pair.runner_with(Faulty::new(pair.into.subject.connector(), &script))?;
    let job = append_job(&orders, &pair)?;
    let error = fail(&runner, &job, ErrorKind::Unreachable).await?;
    ensure(error.is_retryable(), || format!("a lost connection is worth another try: {error}"))?;
    holds(&pair, "after the fault", if committed { &first } else { &[] }).await?;
    if committed {
        // The next run finds the record, and that there is nothing new.
        equal("written", &succeed(&runner, &job).await?.rows.written, &0)?;
        orders.insert(&pair, orders.rows(&[(4, 2, "late")])).await?;
        equal("written", &succeed(&runner, &job).await?.rows.written, &1)?;
    } else {
        equal("written", &succeed(&runner, &job).await?.rows.written, &3)?;
    }
    let more = orders.rows(&[(5, 5, "more")]);
    orders.insert(&pair, more.clone()).await?;
    // One of these runs meets the last fault of the script.
    for _ in 0..3 {
        let report = runner.run(&job).await;
        if report.status == RunStatus::Succeeded && report.rows.written == 0 {
            break;
        }
    }
    let late = if committed { orders.rows(&[(4, 2, "late")]) } else { Vec::new() };
    holds(&pair, "in the end", &[first, late, more].concat()).await
}

async fn merge_committed_but_failed(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "faulty")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a"), (2, 2, "b")])).await?;
    let script = Script::new(&[Fault::CommitThenFail]);
    let runner = pair.runner_with(Faulty::new(pair.into.subject.connector(), &script))?;
    let job = orders.job(&pair)?.merge(["id"], Some("at")).build()?;
    fail(&runner, &job, ErrorKind::Unreachable).await?;
    orders.put(&pair, orders.rows(&[(1, 1, "a"), (2, 3, "B")])).await?;
    succeed(&runner, &job).await?;
    holds(&pair, "after the next run", &orders.rows(&[(1, 1, "a"), (2, 3, "B")])).await
}

async fn replace_with(pair: Arc<Pair>, fault: Fault) -> Done {
    let mut orders = Orders::new(&pair, "faulty")?;
    let first = orders.rows(&[(1, 1, "a")]);
    orders.put(&pair, first.clone()).await?;
    let script = Script::new(&[Fault::None, fault]);
    let runner = pair.runner_with(Faulty::new(pair.into.subject.connector(), &script))?;
    let job = orders.job(&pair)?.replace().build()?;
    succeed(&runner, &job).await?;
    let second = orders.rows(&[(2, 2, "b"), (3, 3, "c")]);
    orders.put(&pair, second.clone()).await?;
    fail(&runner, &job, ErrorKind::Unreachable).await?;
    let committed = fault == Fault::CommitThenFail;
    holds(&pair, "after the fault", if committed { &second } else { &first }).await?;
    succeed(&runner, &job).await?;
    holds(&pair, "after the next run", &second).await
}

/// Rows enough for several batches.
fn many(orders: &Orders) -> Vec<Row> {
    (0..2000).map(|n| orders.row(n, n, "row")).collect()
}

async fn cancel_in_the_middle(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "cancelled")?;
    let rows = many(&orders);
    orders.put(&pair, rows.clone()).await?;
    let script = Script::new(&[Fault::HangAtWrite(0)]);
    let cancel = CancelHandle::new();
    let runner = pair.runner_with(Faulty::new(pair.into.subject.connector(), &script))?;
    let cancellable = runner.clone().cancel_with(&cancel);
    let job = append_job(&orders, &pair)?;
    let canceller = tokio::spawn(async move {
        script.hung().await;
        cancel.cancel();
    });
    let report = cancellable.run(&job).await;
    canceller.abort();
    equal("status", &report.status, &RunStatus::Cancelled)?;
    equal("committed", &report.committed, &false)?;
    equal("kind", &report.error.as_ref().map(transload_core::Error::kind), &Some(ErrorKind::Cancelled))?;
    holds(&pair, "after the cancel", &[]).await?;
    equal("written", &succeed(&runner, &job).await?.rows.written, &2000)?;
    holds(&pair, "after the next run", &rows).await
}

/// Runs a job and cancels it as soon as a commit has begun.
async fn cancelled_at_commit(pair: &Pair, job: &EtlJob, script: &Script) -> Done<transload_core::RunReport> {
    let cancel = CancelHandle::new();
    let runner = pair.runner_with(Faulty::new(pair.into.subject.connector(), script))?.cancel_with(&cancel);
    let script = script.clone();
    let canceller = tokio::spawn(async move {
        script.hung().await;
        cancel.cancel();
        script.go_on();
    });
    let report = runner.run(job).await;
    canceller.await?;
    Ok(report)
}

/// A commit that has begun decides, and the report tells what it did.
async fn cancel_during_commit(pair: Arc<Pair>, goes_well: bool) -> Done {
    let mut orders = Orders::new(&pair, "late_cancel")?;
    let rows = orders.rows(&[(1, 1, "a"), (2, 2, "b")]);
    orders.put(&pair, rows.clone()).await?;
    let job = append_job(&orders, &pair)?;
    let fault = if goes_well { Fault::SlowCommit } else { Fault::SlowCommitFails };
    let report = cancelled_at_commit(&pair, &job, &Script::new(&[fault])).await?;
    equal("committed", &report.committed, &goes_well)?;
    if goes_well {
        equal("status", &report.status, &RunStatus::Succeeded)?;
        equal("written", &report.rows.written, &2)?;
    } else {
        // What ended the run is the commit, not the cancel: it says whether anything was done.
        equal("status", &report.status, &RunStatus::Failed)?;
        let kind = report.error.as_ref().map(transload_core::Error::kind);
        equal("kind", &kind, &Some(ErrorKind::Unreachable))?;
    }
    holds(&pair, "after the cancel", if goes_well { &rows } else { &[] }).await?;
    let report = succeed(&pair.runner()?, &job).await?;
    equal("written by the next run", &report.rows.written, &if goes_well { 0 } else { 2 })?;
    holds(&pair, "after the next run", &rows).await
}

/// The range whose commit has begun is committed, the next one is not begun.
async fn cancel_between_ranges(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "late_cancel")?;
    let rows: Vec<Row> = (0..40).map(|n| orders.row(n, n, "row")).collect();
    orders.put(&pair, rows.clone()).await?;
    let job = orders.job(&pair)?.append("id").backfill_step(StepDocument::Units(10)).build()?;
    let report = cancelled_at_commit(&pair, &job, &Script::new(&[Fault::SlowCommit])).await?;
    equal("status", &report.status, &RunStatus::Cancelled)?;
    equal("committed", &(report.committed, report.ranges_committed), &(true, 1))?;
    let first = usize::try_from(report.rows.written)?;
    ensure(first > 0 && first < 40, || format!("{first} rows of the first range"))?;
    holds(&pair, "after the cancel", rows.get(..first).unwrap_or_default()).await?;
    let report = succeed(&pair.runner()?, &job).await?;
    equal("written by both", &(first + usize::try_from(report.rows.written)?), &40)?;
    holds(&pair, "after the next run", &rows).await
}

async fn dropped_in_the_middle(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "dropped")?;
    let rows = many(&orders);
    orders.put(&pair, rows.clone()).await?;
    let script = Script::new(&[Fault::HangAtWrite(0)]);
    let runner = pair.runner_with(Faulty::new(pair.into.subject.connector(), &script))?;
    let job = append_job(&orders, &pair)?;
    tokio::select! {
        report = runner.run(&job) => {
            return Err(crate::Failure::new(format!("a run that hangs ended: {}", report.to_json())));
        }
        () = script.hung() => {}
    }
    holds(&pair, "after the drop", &[]).await?;
    // Tasks of a dropped run end by themselves, and with them their hold on the table.
    let mut report = runner.run(&job).await;
    let begun = std::time::Instant::now();
    while report.error.as_ref().map(transload_core::Error::kind) == Some(ErrorKind::Conflict) {
        if begun.elapsed() > crate::wait::PATIENCE {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        report = runner.run(&job).await;
    }
    report.into_result()?;
    holds(&pair, "after the next run", &rows).await
}

async fn cancelled_before(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "cancelled")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a")])).await?;
    let cancel = CancelHandle::new();
    cancel.cancel();
    let runner = pair.runner()?.cancel_with(&cancel);
    let report = runner.run(&orders.job(&pair)?.replace().build()?).await;
    equal("status", &report.status, &RunStatus::Cancelled)?;
    holds(&pair, "after the cancel", &[]).await
}
