//! Windows: every kind of cursor, rows without one, ranges, and what is done once and not twice.

use std::sync::Arc;

use transload_core::connector::Capability;
use transload_core::job::{EtlJobBuilder, NullCursors, StepDocument};
use transload_core::{ErrorKind, EtlJob, RunReport};

use super::strategy::warned;
use super::{Orders, Set, fail, holds, succeed, target_of};
use crate::cell::{Cell, Row};
use crate::check::{ensure, equal};
use crate::fault::{Fault, Faulty, Script};
use crate::fixture::Done;
use crate::suite::Pair;
use crate::table::{Kind, TestColumn, TestTable};

pub(super) fn add(set: &mut Set<'_>, capability: Capability, cursor: bool) {
    let Some(facts) = set.from.source.as_ref().map(|fixture| fixture.facts()) else { return };
    if !cursor || !capability.append {
        return;
    }
    let serves = |kind: &Kind| kind.is_cursor() && (facts.text_cursors || *kind != Kind::Text);
    for kind in facts.kinds.iter().copied().filter(serves) {
        set.add(&format!("append_by_{}", kind.name()), move |pair| append_by(pair, kind));
        if capability.merge {
            set.add(&format!("merge_by_{}", kind.name()), move |pair| merge_by(pair, kind));
        }
    }
    set.add("append_null_cursor_is_included_once", append_with_nulls);
    set.add("null_cursor_fails_where_the_job_says_so", null_fails);
    // Numbers that can be counted on.
    if facts.kinds.contains(&Kind::Int) {
        set.add("append_lag_leaves_the_newest_rows", lag);
        set.add("until_is_exclusive", until);
        set.add("shards_load_every_row_once", shards);
        set.add("backfill_in_ranges", ranges);
        set.add("backfill_goes_on_where_it_stopped", resumed);
        set.add("backfill_moved_to_an_earlier_start", moved_earlier);
    }
    if capability.merge {
        set.add("merge_nothing_new_commits_nothing", merge_nothing_new);
        if facts.kinds.contains(&Kind::Int) {
            set.add("merge_lookback_reads_again", lookback);
        }
    }
}

/// Zero, the epoch or the empty text, where the source keeps it.
fn falsy(pair: &Pair, kind: Kind) -> Done<Cell> {
    let cell = match kind {
        Kind::Int => Cell::Int(0),
        Kind::Decimal => Cell::Decimal("0.0".to_owned()),
        Kind::Date => Cell::Date(0),
        Kind::DateTime => Cell::DateTime(0),
        Kind::Timestamp => Cell::Timestamp(0),
        _ => Cell::text(""),
    };
    Ok(if pair.from.tables()?.accepts(kind, &cell) { cell } else { kind.nth(0) })
}

/// A table `(id, at)` whose cursor is of a kind, and the job that loads it.
async fn by_kind(pair: &Pair, kind: Kind, rows: Vec<Row>) -> Done<(Orders, EtlJobBuilder)> {
    let mut orders = Orders::new(pair, kind.name())?;
    let columns = vec![TestColumn::new("id", orders.id).required(), TestColumn::new("at", kind)];
    orders.table = TestTable::new(pair.from.name(kind.name()), columns);
    orders.put(pair, rows).await?;
    let job = orders.job(pair)?;
    Ok((orders, job))
}

/// Ties at a watermark that counts as nothing in many languages, and at the next one.
async fn append_by(pair: Arc<Pair>, kind: Kind) -> Done {
    let orders = Orders::new(&pair, "kinds")?;
    let row = |id: i32, at: &Cell| vec![orders.id.nth(id), at.clone()];
    let (zero, one, two) = (falsy(&pair, kind)?, kind.nth(1), kind.nth(2));
    let mut all = vec![row(1, &zero), row(2, &zero)];
    let (orders, job) = by_kind(&pair, kind, all.clone()).await?;
    let (runner, job) = (pair.runner()?, job.append("at").build()?);
    let mut counts = Vec::new();
    counts.push(succeed(&runner, &job).await?.rows);
    for late in [vec![row(3, &zero), row(4, &one)], vec![row(5, &one)], vec![row(6, &two), row(7, &one)]] {
        orders.insert(&pair, late.clone()).await?;
        all.extend(late);
        counts.push(succeed(&runner, &job).await?.rows);
    }
    let report = succeed(&runner, &job).await?;
    equal("committed by a run without new rows", &report.committed, &false)?;
    let counts: Vec<_> = counts.iter().map(|rows| (rows.written, rows.already_loaded)).collect();
    equal("written and already loaded", &counts, &vec![(2, 0), (2, 2), (1, 1), (2, 2)])?;
    holds(&pair, "all runs", &all).await
}

async fn merge_by(pair: Arc<Pair>, kind: Kind) -> Done {
    let orders = Orders::new(&pair, "kinds")?;
    let row = |id: i32, at: &Cell| vec![orders.id.nth(id), at.clone()];
    let (zero, one, two) = (falsy(&pair, kind)?, kind.nth(1), kind.nth(2));
    let (mut orders, job) = by_kind(&pair, kind, vec![row(1, &zero), row(2, &zero)]).await?;
    let (runner, job) = (pair.runner()?, job.merge(["id"], Some("at")).build()?);
    succeed(&runner, &job).await?;
    let now = vec![row(1, &zero), row(2, &one), row(3, &zero), row(4, &two)];
    orders.put(&pair, now.clone()).await?;
    let report = succeed(&runner, &job).await?;
    equal("second run", &(report.rows.inserted, report.rows.updated), &(2, 1))?;
    holds(&pair, "second run", &now).await?;
    equal("committed by a run without new rows", &succeed(&runner, &job).await?.committed, &false)
}

async fn append_with_nulls(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "nulls")?;
    let mut all = orders.rows(&[(1, 1, "a"), (2, -1, "no cursor"), (2, -1, "no cursor")]);
    orders.put(&pair, all.clone()).await?;
    let job = orders.job(&pair)?.append("at").on_null_cursor(NullCursors::Include).build()?;
    let runner = pair.runner()?;
    let report = succeed(&runner, &job).await?;
    equal("written", &report.rows.written, &3)?;
    nulls(&report, 2)?;
    // Nothing new; then a third equal row and another one, while no cursor value is new.
    equal("committed", &succeed(&runner, &job).await?.committed, &false)?;
    let late = orders.rows(&[(2, -1, "no cursor"), (3, -1, "none either")]);
    orders.insert(&pair, late.clone()).await?;
    all.extend(late);
    let report = succeed(&runner, &job).await?;
    equal("written", &report.rows.written, &2)?;
    nulls(&report, 4)?;
    let newer = orders.rows(&[(4, 4, "newer")]);
    orders.insert(&pair, newer.clone()).await?;
    all.extend(newer);
    equal("written", &succeed(&runner, &job).await?.rows.written, &1)?;
    holds(&pair, "all runs", &all).await
}

fn nulls(report: &RunReport, expected: u64) -> Done {
    let found = report.window.as_ref().map(|window| window.null_cursors);
    equal("rows without a cursor in the report", &found, &Some(expected))
}

async fn null_fails(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "nulls")?;
    let mut all = orders.rows(&[(1, 1, "a")]);
    orders.put(&pair, all.clone()).await?;
    let job = orders.job(&pair)?.append("at").on_null_cursor(NullCursors::Fail).build()?;
    let runner = pair.runner()?;
    succeed(&runner, &job).await?;
    all.extend(orders.rows(&[(2, -1, "no cursor"), (3, 3, "c")]));
    orders.put(&pair, all.clone()).await?;
    fail(&runner, &job, ErrorKind::Data).await?;
    holds(&pair, "after the refusal", all.get(..1).unwrap_or_default()).await
}

async fn lag(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "lag")?;
    let mut all: Vec<Row> = (0..10).map(|n| orders.row(n, n, "row")).collect();
    orders.put(&pair, all.clone()).await?;
    let job = orders.job(&pair)?.append("id").lag(StepDocument::Units(3)).build()?;
    let runner = pair.runner()?;
    equal("written", &succeed(&runner, &job).await?.rows.written, &7)?;
    // Rows that come late, but not later than the lag allows.
    let late = orders.rows(&[(7, 0, "late"), (6, 0, "at the watermark"), (12, 0, "newest")]);
    orders.insert(&pair, late.clone()).await?;
    all.extend(late);
    equal("written", &succeed(&runner, &job).await?.rows.written, &5)?;
    let expected = all.iter().filter(|row| row.first() != Some(&Cell::Int(12))).cloned().collect::<Vec<_>>();
    holds(&pair, "all but the newest", &expected).await
}

async fn until(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "until")?;
    let all: Vec<Row> = (0..10).map(|n| orders.row(n, n, "row")).collect();
    orders.put(&pair, all.clone()).await?;
    let runner = pair.runner()?;
    let job = |until: &str| -> Done<EtlJob> { Ok(orders.job(&pair)?.append("id").until(until).build()?) };
    equal("written", &succeed(&runner, &job("4")?).await?.rows.written, &4)?;
    equal("committed again", &succeed(&runner, &job("4")?).await?.committed, &false)?;
    // Moved on, it goes on with the row that it ended before.
    equal("written", &succeed(&runner, &job("7")?).await?.rows.written, &3)?;
    equal("written", &succeed(&runner, &job("100")?).await?.rows.written, &3)?;
    holds(&pair, "all", &all).await
}

/// In any order, each for itself, again and again.
async fn shards(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "shards")?;
    let mut all = thirty(&orders);
    orders.put(&pair, all.clone()).await?;
    let whole = orders.job(&pair)?.append("id").shard_at(["10", "20"]).build()?;
    fail(&pair.runner()?, &whole, ErrorKind::Config).await?;
    let shards = whole.shards()?;
    let mut written = Vec::new();
    // Each by a runner of its own, as processes have it.
    for index in [2, 0, 0, 1, 2, 1] {
        let report = succeed(&pair.runner()?, &shards[index]).await?;
        equal("shard of the report", &report.shard, &Some(index))?;
        written.push(report.rows.written);
    }
    equal("written", &written, &vec![11, 10, 0, 11, 0, 0])?;
    holds(&pair, "all shards", &all).await?;
    let more = vec![orders.row(30, 30, "more"), orders.row(29, 29, "a third one")];
    orders.insert(&pair, more.clone()).await?;
    all.extend(more);
    for (shard, rows) in shards.iter().zip([0, 0, 2]) {
        equal("written later", &succeed(&pair.runner()?, shard).await?.rows.written, &rows)?;
    }
    holds(&pair, "later", &all).await?;
    // Shards of cuts that do not ascend would overlap: none of them runs, whichever it is.
    for (since, cuts) in [(None, ["20", "10"]), (None, ["10", "010"]), (Some("15"), ["10", "20"])] {
        let job = orders.job(&pair)?.append("id").shard_at(cuts);
        let job = since.into_iter().fold(job, EtlJobBuilder::backfill_since).restart().build()?;
        for shard in job.shards()? {
            let error = fail(&pair.runner()?, &shard, ErrorKind::Config).await?;
            ensure(error.message().contains("not past"), || {
                format!("it is not said what is wrong: {error}")
            })?;
        }
    }
    // Cut in another way, rows would come twice.
    let other = orders.job(&pair)?.append("id").shard_at(["15"]).build()?.shards()?;
    let error = fail(&pair.runner()?, &other[0], ErrorKind::Config).await?;
    ensure(error.message().contains("shard_at"), || format!("it is not said what changed: {error}"))?;
    holds(&pair, "after the refusal", &all).await
}

/// Rows with ids 0 to 29, twice each of 10 and 20, which are ends of ranges.
fn thirty(orders: &Orders) -> Vec<Row> {
    let ids = (0..30).chain([10, 20]);
    ids.map(|id| orders.row(id, id, if id % 7 == 0 { "seventh" } else { "row" })).collect()
}

fn in_ranges(orders: &Orders, pair: &Pair) -> Done<EtlJobBuilder> {
    Ok(orders.job(pair)?.append("id").backfill_step(StepDocument::Units(10)))
}

async fn ranges(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "ranges")?;
    let all = thirty(&orders);
    orders.put(&pair, all.clone()).await?;
    let (runner, job) = (pair.runner()?, in_ranges(&orders, &pair)?.build()?);
    let report = succeed(&runner, &job).await?;
    equal("written", &(report.rows.written, report.rows.inserted), &(32, 32))?;
    let told: Vec<_> =
        report.ranges.iter().map(|range| (range.lo.as_deref(), range.hi.as_deref(), range.rows)).collect();
    let expected = vec![(None, Some("10"), 12), (Some("10"), Some("20"), 11), (Some("20"), Some("29"), 9)];
    equal("ranges", &told, &expected)?;
    equal("committed ranges", &report.ranges_committed, &3)?;
    holds(&pair, "all ranges", &all).await?;
    let again = succeed(&runner, &job).await?;
    equal("a second run", &(again.rows.written, again.committed), &(0, false))
}

/// The number of the last load of a job, and what it covers.
async fn last(pair: &Pair, job: &EtlJob) -> Done<Option<(u64, usize)>> {
    let destination = pair.into.open_destination().await?;
    let last = destination.last_load(&target_of(pair), &job.identity()).await?;
    Ok(last.map(|last| (last.sequence, last.covered.len())))
}

async fn resumed(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "resumed")?;
    let mut all = thirty(&orders);
    orders.put(&pair, all.clone()).await?;
    let job = in_ranges(&orders, &pair)?.build()?;
    for (fault, ranges) in [(Fault::RefuseWrite(0), 1), (Fault::CommitThenFail, 1)] {
        let script = Script::new(&[Fault::None, fault]);
        let runner = pair.runner_with(Faulty::new(pair.into.subject.connector(), &script))?;
        let report = runner.run(&job).await;
        ensure(report.error.is_some(), || "a run that met a fault succeeded".to_owned())?;
        equal("committed before the fault", &report.ranges_committed, &ranges)?;
        equal("written before the fault", &report.rows.written, &report.ranges.iter().map(|r| r.rows).sum())?;
    }
    // The first run left one range. The second one began with the second range, and committed the third as well,
    // of which it only did not learn.
    equal("the last load", &last(&pair, &job).await?, &Some((3, 1)))?;
    holds(&pair, "before it is resumed", &all).await?;
    let newer = orders.rows(&[(29, 0, "late"), (31, 0, "newer")]);
    orders.insert(&pair, newer.clone()).await?;
    all.extend(newer);
    equal("written", &succeed(&pair.runner()?, &job).await?.rows.written, &2)?;
    holds(&pair, "after it was resumed", &all).await
}

async fn moved_earlier(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "earlier")?;
    let all = thirty(&orders);
    orders.put(&pair, all.clone()).await?;
    let runner = pair.runner()?;
    let job = |since: &str| -> Done<EtlJob> { Ok(in_ranges(&orders, &pair)?.backfill_since(since).build()?) };
    equal("written", &succeed(&runner, &job("20")?).await?.rows.written, &11)?;
    let report = succeed(&runner, &job("5")?).await?;
    equal("written", &report.rows.written, &16)?;
    warned(&report, "W_GAP_FILLED")?;
    let last_load = last(&pair, &job("5")?).await?;
    equal("intervals", &last_load.map(|(_, covered)| covered), &Some(1))?;
    // A later start takes nothing back, and no start at all means everything.
    equal("written", &succeed(&runner, &job("25")?).await?.rows.written, &0)?;
    let everything: EtlJob = in_ranges(&orders, &pair)?.build()?;
    equal("written", &succeed(&runner, &everything).await?.rows.written, &5)?;
    holds(&pair, "everything", &all).await?;
    equal("committed by one more run", &succeed(&runner, &everything).await?.committed, &false)
}

async fn merge_nothing_new(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "same")?;
    let rows = orders.rows(&[(1, 1, "a"), (2, 2, "b"), (3, 2, "c"), (4, -1, "no cursor")]);
    orders.put(&pair, rows.clone()).await?;
    let (runner, job) = (pair.runner()?, orders.job(&pair)?.merge(["id"], Some("at")).build()?);
    succeed(&runner, &job).await?;
    for _ in 0..2 {
        let report = succeed(&runner, &job).await?;
        let counts = (report.rows.read, report.rows.already_loaded, report.committed);
        equal("read, already loaded, committed", &counts, &(3, 3, false))?;
    }
    // A change without a newer cursor is found at the watermark, and is found once.
    let changed = orders.rows(&[(1, 1, "a"), (2, 2, "B"), (3, 2, "c"), (4, -1, "still none")]);
    orders.put(&pair, changed.clone()).await?;
    let report = succeed(&runner, &job).await?;
    equal("written, updated", &(report.rows.written, report.rows.updated), &(2, 2))?;
    holds(&pair, "changed", &changed).await?;
    equal("committed", &succeed(&runner, &job).await?.committed, &false)?;
    // And back again.
    orders.put(&pair, rows.clone()).await?;
    equal("written", &succeed(&runner, &job).await?.rows.written, &2)?;
    holds(&pair, "changed back", &rows).await
}

async fn lookback(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "lookback")?;
    let rows: Vec<Row> = (0..10).map(|n| orders.row(n, n, "row")).collect();
    orders.put(&pair, rows.clone()).await?;
    let job = orders.job(&pair)?.merge(["id"], Some("id")).lookback(StepDocument::Units(3)).build()?;
    let runner = pair.runner()?;
    succeed(&runner, &job).await?;
    let changed: Vec<Row> =
        (0..10).map(|n| orders.row(n, n, if n == 7 || n == 2 { "changed" } else { "row" })).collect();
    orders.put(&pair, changed.clone()).await?;
    let report = succeed(&runner, &job).await?;
    equal("read", &report.rows.read, &4)?;
    // The row below the lookback is out of reach.
    let expected: Vec<Row> =
        (0..10).map(|n| orders.row(n, n, if n == 7 { "changed" } else { "row" })).collect();
    holds(&pair, "after the second run", &expected).await
}
