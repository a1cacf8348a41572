//! Runs that find what the source deleted.

use std::sync::Arc;

use transload_core::connector::Capability;
use transload_core::job::{DeletePolicy, SoftDeletePolicy};
use transload_core::schema::DeletedWhen;
use transload_core::{ErrorKind, RunReport};

use super::{Orders, Set, holds, succeed, target_of};
use crate::cell::{Cell, Row};
use crate::check::{ensure, equal};
use crate::fault::{Fault, Faulty, Script};
use crate::fixture::{Done, Failure};
use crate::suite::Pair;

pub(super) fn add(set: &mut Set<'_>, capability: Capability, cursor: bool) {
    if !(capability.merge && capability.deletes && cursor && set.from.capability().snapshot) {
        return;
    }
    set.add("detect_deletes_removes", remove);
    set.add("detect_deletes_marks", mark);
    set.add("detect_deletes_without_cursor", without_cursor);
    set.add("detect_deletes_refuses_an_emptied_source", emptied);
    set.add("detect_deletes_after_a_lost_commit", lost_commit);
    set.add("soft_delete_removes", soft_delete);
}

fn changed(report: &RunReport) -> (u64, u64, u64) {
    (report.rows.inserted, report.rows.updated, report.rows.deleted)
}

async fn remove(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "deleted")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a"), (2, 2, "b"), (3, 3, "c"), (4, -1, "no cursor")])).await?;
    let job = orders.job(&pair)?.merge(["id"], Some("at")).detect_deletes(DeletePolicy::Remove).build()?;
    let runner = pair.runner()?;
    let report = succeed(&runner, &job).await?;
    equal("first run", &(changed(&report), report.rows.keys), &((4, 0, 0), 4))?;
    // One below the window is gone, one in it is changed, one is new.
    let second = orders.rows(&[(2, 4, "B"), (3, 3, "c"), (4, -1, "no cursor"), (5, 5, "e")]);
    orders.put(&pair, second.clone()).await?;
    let report = succeed(&runner, &job).await?;
    equal("second run", &(changed(&report), report.rows.keys), &((1, 1, 1), 4))?;
    holds(&pair, "second run", &second).await?;
    // Nothing but deletions, the row with the watermark among them.
    let third = orders.rows(&[(2, 4, "B"), (3, 3, "c")]);
    orders.put(&pair, third.clone()).await?;
    let report = succeed(&runner, &job).await?;
    equal("third run", &(changed(&report), report.committed), &((0, 0, 2), true))?;
    holds(&pair, "third run", &third).await?;
    let destination = pair.into.open_destination().await?;
    let last = destination.last_load(&target_of(&pair), &job.identity()).await?;
    equal("by the record", &last.map(|last| (last.sequence, last.rows, last.deleted)), &Some((3, 0, 2)))?;
    // And nothing at all.
    let report = succeed(&runner, &job).await?;
    equal("fourth run", &(changed(&report), report.committed), &((0, 0, 0), false))?;
    holds(&pair, "fourth run", &third).await
}

/// Ids of the target with whether each is marked.
async fn marks(pair: &Pair, what: &str, expected: &[(i32, bool)], orders: &Orders) -> Done {
    let table = super::target_table(pair).await?.ok_or_else(|| Failure::new("the target is not there"))?;
    let place = |name: &str| table.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
    let (Some(id), Some(mark)) = (place("id"), place("_deleted_at")) else {
        return Err(Failure::new("the target has no column that marks"));
    };
    let rows = pair.into.loaded()?.read(&table).await?.unwrap_or_default();
    let plain = |row: &Row| {
        (row.get(id).and_then(Cell::to_plain), row.get(mark).is_some_and(|mark| *mark != Cell::Null))
    };
    let mut found: Vec<_> = rows.iter().map(plain).collect();
    found.sort();
    let mut wanted: Vec<_> =
        expected.iter().map(|(id, marked)| (orders.id.nth(*id).to_plain(), *marked)).collect();
    wanted.sort();
    equal(what, &found, &wanted)
}

async fn mark(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "marked")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a"), (2, 2, "b"), (3, 3, "c")])).await?;
    let runner = pair.runner()?;
    // Rows of before deletes were looked for.
    succeed(&runner, &orders.job(&pair)?.merge(["id"], Some("at")).build()?).await?;
    let job = orders.job(&pair)?.merge(["id"], Some("at")).detect_deletes(DeletePolicy::Mark).build()?;
    orders.put(&pair, orders.rows(&[(2, 2, "b"), (4, 4, "d")])).await?;
    let report = succeed(&runner, &job).await?;
    equal("first run", &(report.rows.inserted, report.rows.marked, report.rows.deleted), &(1, 2, 0))?;
    marks(&pair, "first run", &[(1, true), (2, false), (3, true), (4, false)], &orders).await?;
    // One is back as it was, one is back with a change.
    orders.put(&pair, orders.rows(&[(1, 1, "a"), (3, 5, "C"), (4, 4, "d")])).await?;
    let report = succeed(&runner, &job).await?;
    equal("second run", &(report.rows.updated, report.rows.marked, report.rows.unmarked), &(1, 1, 1))?;
    marks(&pair, "second run", &[(1, false), (2, true), (3, false), (4, false)], &orders).await?;
    let report = succeed(&runner, &job).await?;
    equal("third run", &report.committed, &false)
}

async fn without_cursor(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "all_keys")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a"), (2, 2, "b")])).await?;
    let job = orders.job(&pair)?.merge(["id"], None).detect_deletes(DeletePolicy::Remove).build()?;
    let runner = pair.runner()?;
    succeed(&runner, &job).await?;
    let second = orders.rows(&[(2, 1, "B"), (3, 1, "c")]);
    orders.put(&pair, second.clone()).await?;
    equal("second run", &changed(&succeed(&runner, &job).await?), &(1, 1, 1))?;
    holds(&pair, "second run", &second).await
}

async fn emptied(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "emptied_of_keys")?;
    let rows = orders.rows(&[(1, 1, "a"), (2, 2, "b"), (3, 3, "c"), (4, 4, "d")]);
    orders.put(&pair, rows.clone()).await?;
    let job = orders.job(&pair)?.merge(["id"], Some("at")).detect_deletes(DeletePolicy::Remove);
    let runner = pair.runner()?;
    succeed(&runner, &job.clone().build()?).await?;
    let one = orders.rows(&[(4, 4, "d")]);
    orders.put(&pair, one.clone()).await?;
    let strict = job.clone().max_deleted_ratio(0.5).build()?;
    let error = super::fail(&runner, &strict, ErrorKind::Data).await?;
    ensure(error.message().contains("3 of the target's 4 rows"), || format!("what is refused: {error}"))?;
    holds(&pair, "after the refusal", &rows).await?;
    succeed(&runner, &job.clone().build()?).await?;
    holds(&pair, "small tables may shrink", &one).await?;
    orders.put(&pair, Vec::new()).await?;
    super::fail(&runner, &job.clone().build()?, ErrorKind::Data).await?;
    holds(&pair, "after the second refusal", &one).await?;
    succeed(&runner, &job.allow_empty().build()?).await?;
    holds(&pair, "allowed", &[]).await
}

async fn lost_commit(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "lost")?;
    let first = orders.rows(&[(1, 1, "a"), (2, 2, "b"), (3, 3, "c")]);
    orders.put(&pair, first.clone()).await?;
    let job = orders.job(&pair)?.merge(["id"], Some("at")).detect_deletes(DeletePolicy::Remove).build()?;
    succeed(&pair.runner()?, &job).await?;
    let second = orders.rows(&[(2, 4, "B"), (3, 3, "c")]);
    orders.put(&pair, second.clone()).await?;
    // Lost before it was done, then done and its answer lost.
    let script = Script::new(&[Fault::FailCommit, Fault::CommitThenFail]);
    let runner = pair.runner_with(Faulty::new(pair.into.subject.connector(), &script))?;
    let once = runner.clone().options(transload_core::RunnerOptions::default().retries(0));
    let report = once.run(&job).await;
    ensure(report.error.is_some() && !report.committed, || format!("it did not fail: {report:?}"))?;
    holds(&pair, "before the commit", &first).await?;
    let report = once.run(&job).await;
    ensure(report.error.is_some(), || format!("it did not fail: {report:?}"))?;
    holds(&pair, "after the commit", &second).await?;
    let report = succeed(&runner, &job).await?;
    equal("after it", &(changed(&report), report.committed), &((0, 0, 0), false))?;
    holds(&pair, "once more", &second).await
}

async fn soft_delete(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "soft")?;
    // No text is a row that is alive.
    let rows = |orders: &Orders, rows: &[(i32, i32, Option<&str>)]| -> Vec<Row> {
        let cell = |gone: &Option<&str>| gone.map_or(Cell::Null, Cell::text);
        let mut made = Vec::new();
        for (id, at, gone) in rows {
            let mut row = orders.row(*id, *at, "");
            row.truncate(2);
            row.push(cell(gone));
            made.push(row);
        }
        made
    };
    orders.put(&pair, rows(&orders, &[(1, 1, None), (2, 2, None), (3, 3, Some("gone"))])).await?;
    let job = orders.job(&pair)?.merge(["id"], Some("at"));
    let job = job.soft_delete("what", DeletedWhen::NotNull, SoftDeletePolicy::Remove).build()?;
    let runner = pair.runner()?;
    let report = succeed(&runner, &job).await?;
    equal("first run", &(changed(&report), report.rows.tombstones), &((2, 0, 0), 1))?;
    orders.put(&pair, rows(&orders, &[(1, 4, Some("gone")), (2, 2, None), (3, 5, None)])).await?;
    let report = succeed(&runner, &job).await?;
    equal("second run", &(changed(&report), report.rows.tombstones), &((1, 0, 1), 1))?;
    holds(&pair, "second run", &rows(&orders, &[(2, 2, None), (3, 5, None)])).await
}
