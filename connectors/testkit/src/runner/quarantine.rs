//! Values that do not fit, kept in a table of their own.

use std::sync::Arc;

use transload_core::connector::Capability;
use transload_core::job::{EtlJobBuilder, MaxRejectsDocument};
use transload_core::schema::{Mode, RejectPolicy, TargetRef};
use transload_core::{ErrorKind, RunReport, RunStatus, Runner};

use super::{Orders, Set, fail, holds, succeed, target_table};
use crate::cell::{Cell, Row};
use crate::check::{ensure, equal};
use crate::fault::{Fault, Faulty, Script};
use crate::fixture::{Done, Failure};
use crate::suite::Pair;

pub(super) fn add(set: &mut Set<'_>, capability: Capability, cursor: bool) {
    if !(capability.replace && capability.append) {
        return;
    }
    set.add("quarantine_keeps_what_does_not_fit", keeps);
    set.add("quarantine_of_many_batches", many_batches);
    set.add("policies_of_columns", of_columns);
    set.add("text_policy_keeps_every_value", keeps_text);
    set.add("too_many_rejects_load_nothing", too_many);
    set.add("required_columns_do_not_become_null", required);
    if cursor {
        for (name, faults, kept) in [
            // The first load of a run is that of the rows, the second one that of the quarantine.
            ("failed_commit", [Fault::FailCommit, Fault::None], 2),
            ("refused_quarantine", [Fault::None, Fault::RefuseBegin], 0),
            ("failed_quarantine_commit", [Fault::None, Fault::FailCommit], 0),
            ("quarantine_committed_but_reported_failure", [Fault::None, Fault::CommitThenFail], 2),
        ] {
            set.add(&format!("quarantine_fault_{name}"), move |pair| with_fault(pair, faults, kept));
        }
        set.add("quarantine_fault_committed_but_reported_failure", committed_but_failed);
    }
}

/// One value of the quarantine table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    load_id: String,
    row_key: Option<String>,
    /// Column, target type, value, reason.
    of: [String; 4],
}

async fn quarantine(pair: &Pair) -> Done<Vec<Kept>> {
    let target = TargetRef::new(pair.into.dataset(), "orders_quarantine");
    let Some(table) = pair.into.open_destination().await?.table(&target).await? else {
        return Ok(Vec::new());
    };
    let rows = pair.into.loaded()?.read(&table).await?.unwrap_or_default();
    let place = |name: &str| {
        let found = table.columns.iter().position(|column| column.name == name);
        found.ok_or_else(|| Failure::new(format!("the quarantine has no column {name}")))
    };
    let text = |row: &Row, name: &str| -> Done<String> {
        match row.get(place(name)?) {
            Some(Cell::Text(text)) => Ok(text.clone()),
            other => Err(Failure::new(format!("{name} of the quarantine is {other:?}"))),
        }
    };
    let mut kept = Vec::new();
    for row in &rows {
        ensure(matches!(row.get(place("_loaded_at")?), Some(Cell::Timestamp(_))), || {
            format!("no _loaded_at in {row:?}")
        })?;
        for filled in ["source_type", "message"] {
            ensure(!text(row, filled)?.is_empty(), || format!("{filled} is empty"))?;
        }
        let none = row.get(place("row_key")?).is_some_and(Cell::is_null);
        kept.push(Kept {
            load_id: text(row, "_load_id")?,
            row_key: if none { None } else { Some(text(row, "row_key")?) },
            of: [
                text(row, "column_name")?,
                text(row, "target_type")?,
                text(row, "value")?,
                text(row, "reason")?,
            ],
        });
    }
    kept.sort();
    Ok(kept)
}

fn value(what: &str) -> [String; 4] {
    ["what", "INT64", what, "form"].map(str::to_owned)
}

/// Two rows of four have a `what` that is no integer.
fn mixed(orders: &Orders) -> Vec<Row> {
    orders.rows(&[(1, 1, "7"), (2, 2, "seven"), (3, 3, "1.5"), (4, 4, "-8")])
}

fn loaded(orders: &Orders) -> Vec<Row> {
    let row = |n: i32, what: Cell| vec![orders.id.nth(n), orders.at.nth(n), what];
    vec![row(1, Cell::Int(7)), row(2, Cell::Null), row(3, Cell::Null), row(4, Cell::Int(-8))]
}

fn job(orders: &Orders, pair: &Pair) -> Done<EtlJobBuilder> {
    let job = orders.job(pair)?.override_type("what", "INT64", None);
    Ok(job.on_reject(RejectPolicy::Quarantine))
}

fn key(orders: &Orders, n: i32) -> String {
    match orders.id.nth(n) {
        Cell::Int(n) => format!("{{\"id\":{n}}}"),
        other => format!("{{\"id\":\"{}\"}}", other.to_plain().unwrap_or_default()),
    }
}

fn ledger_adds_up(report: &RunReport) -> Done {
    for column in &report.ledger {
        let counts = column.counts;
        let sum = counts.null
            + counts.exact
            + counts.converted
            + counts.rounded
            + counts.blank
            + counts.nulled
            + counts.quarantined;
        equal(&format!("the ledger of {}", column.column), &sum, &report.rows.written)?;
    }
    equal("lossless", &report.lossless, &report.ledger.iter().all(|column| column.counts.is_lossless()))
}

async fn keeps(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "kept")?;
    orders.put(&pair, mixed(&orders)).await?;
    let runner = pair.runner()?;
    let job = job(&orders, &pair)?;
    let job = if pair.into.subject.capability().merge { job.merge(["id"], None) } else { job.replace() };
    let keyed = pair.into.subject.capability().merge;
    let job = job.build()?;
    let report = succeed(&runner, &job).await?;
    holds(&pair, "the rows", &loaded(&orders)).await?;
    let row_key = |n| keyed.then(|| key(&orders, n));
    let load_id = report.load_id.clone().unwrap_or_default();
    let mut expected: Vec<Kept> = [(2, "seven"), (3, "1.5")]
        .map(|(n, what)| Kept { load_id: load_id.clone(), row_key: row_key(n), of: value(what) })
        .into();
    expected.sort();
    equal("the quarantine", &quarantine(&pair).await?, &expected)?;

    ledger_adds_up(&report)?;
    equal("rows that are not whole", &report.rows.incomplete, &2)?;
    let rejects: Vec<_> = report.rejects.iter().map(|r| (r.column.as_str(), r.rejected)).collect();
    equal("rejects", &rejects, &vec![("what", 2)])?;
    let json = report.to_json();
    let column = json["ledger"].as_array().and_then(|all| all.iter().find(|one| one["column"] == "what"));
    let column = column.ok_or_else(|| Failure::new(format!("no ledger of what: {json}")))?;
    equal("converted", &column["converted"].as_u64(), &Some(2))?;
    equal("quarantined", &column["quarantined"].as_u64(), &Some(2))?;
    equal("lossless", &json["lossless"].as_bool(), &Some(false))?;
    equal("rows of the quarantine", &json["quarantine"]["rows"].as_u64(), &Some(2))?;
    ensure(report.warnings.iter().any(|(_, warning)| warning.code == "W_QUARANTINED"), || {
        "no warning W_QUARANTINED".to_owned()
    })?;

    // Another load adds to the quarantine; one without rejects leaves it alone and is lossless.
    orders.put(&pair, orders.rows(&[(5, 5, "five")])).await?;
    let report = succeed(&runner, &job).await?;
    equal("the quarantine", &quarantine(&pair).await?.len(), &3)?;
    equal("its new rows", &report.quarantine.map(|kept| kept.rows), &Some(1))?;
    orders.put(&pair, orders.rows(&[(6, 6, "6")])).await?;
    let report = succeed(&runner, &job).await?;
    equal("its new rows", &report.quarantine, &None)?;
    equal("lossless", &report.lossless, &true)?;
    equal("the quarantine", &quarantine(&pair).await?.len(), &3)
}

async fn many_batches(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "many")?;
    let long = "x".repeat(200);
    let what = |n: i32| if n % 2 == 0 { format!("{long}{n}") } else { n.to_string() };
    let rows: Vec<Row> = (0..5000).map(|n| orders.row(n, n, &what(n))).collect();
    orders.put(&pair, rows).await?;
    let report = succeed(&pair.runner()?, &job(&orders, &pair)?.replace().build()?).await?;
    ledger_adds_up(&report)?;
    equal("incomplete rows", &report.rows.incomplete, &2500)?;
    let kept = quarantine(&pair).await?;
    let mut values: Vec<String> = kept.into_iter().map(|Kept { of: [_, _, value, _], .. }| value).collect();
    let mut expected: Vec<String> = (0..5000).step_by(2).map(what).collect();
    values.sort();
    expected.sort();
    // The whole values, not the excerpts of the report.
    ensure(values == expected, || format!("{} values of {} are there", values.len(), expected.len()))
}

async fn of_columns(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "each")?;
    orders.put(&pair, mixed(&orders)).await?;
    let runner = pair.runner()?;
    let other = |of_job, of_column| -> Done<_> {
        Ok(job(&orders, &pair)?.replace().on_reject(of_job).on_reject_of("what", of_column).build()?)
    };
    let error = fail(&runner, &other(RejectPolicy::Quarantine, RejectPolicy::Fail)?, ErrorKind::Data).await?;
    ensure(error.to_string().contains("seven"), || format!("the value is not named: {error}"))?;
    let report = succeed(&runner, &other(RejectPolicy::Quarantine, RejectPolicy::Null)?).await?;
    equal("the quarantine", &report.quarantine, &None)?;
    equal("the quarantine", &quarantine(&pair).await?, &Vec::new())?;
    holds(&pair, "with NULLs", &loaded(&orders)).await?;
    let report = succeed(&runner, &other(RejectPolicy::Fail, RejectPolicy::Quarantine)?).await?;
    equal("its rows", &report.quarantine.map(|kept| kept.rows), &Some(2))?;
    equal("the quarantine", &quarantine(&pair).await?.len(), &2)
}

async fn keeps_text(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "texts")?;
    orders.put(&pair, mixed(&orders)).await?;
    let runner = pair.runner()?;
    let contradiction = job(&orders, &pair)?.replace().on_reject_of("what", RejectPolicy::Text).build()?;
    let error = fail(&runner, &contradiction, ErrorKind::TypeMapping).await?;
    ensure(error.hint_text().is_some(), || format!("no hint: {error}"))?;
    let job = orders.job(&pair)?.replace().on_reject_of("what", RejectPolicy::Text).build()?;
    let report = succeed(&runner, &job).await?;
    equal("lossless", &report.lossless, &true)?;
    let rows = [(1, "7"), (2, "seven"), (3, "1.5"), (4, "-8")];
    let rows = rows.map(|(n, what)| vec![orders.id.nth(n), orders.at.nth(n), Cell::text(what)]);
    holds(&pair, "texts", &rows).await
}

async fn too_many(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "limit")?;
    orders.put(&pair, mixed(&orders)).await?;
    let runner = pair.runner()?;
    let limited = |limit| -> Done<_> { Ok(job(&orders, &pair)?.replace().max_rejects(limit).build()?) };
    for limit in [MaxRejectsDocument::Rows(1), MaxRejectsDocument::Share("49.9%".to_owned())] {
        let error = fail(&runner, &limited(limit)?, ErrorKind::Data).await?;
        ensure(error.context_value("column") == Some("what") && error.hint_text().is_some(), || {
            format!("the error names no column: {error}")
        })?;
        holds(&pair, "after the refusal", &[]).await?;
        equal("the quarantine", &quarantine(&pair).await?, &Vec::new())?;
    }
    succeed(&runner, &limited(MaxRejectsDocument::Share("50%".to_owned()))?).await?;
    succeed(&runner, &limited(MaxRejectsDocument::Rows(2))?).await?;
    holds(&pair, "within the limit", &loaded(&orders)).await
}

async fn required(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "required")?;
    orders.put(&pair, mixed(&orders)).await?;
    let runner = pair.runner()?;
    let mut document = serde_json::json!({"what": {"type": "INT64", "mode": "REQUIRED"}});
    let with = |overrides: &serde_json::Value| -> Done<_> {
        let mut job = orders.job(&pair)?.replace().on_reject(RejectPolicy::Quarantine).build()?.to_json()?;
        job["mapping"]["overrides"] = overrides.clone();
        Ok(transload_core::EtlJob::from_json(job)?)
    };
    let error = fail(&runner, &with(&document)?, ErrorKind::TypeMapping).await?;
    ensure(error.to_string().contains("REQUIRED") && error.hint_text().is_some(), || {
        format!("the mode is not named: {error}")
    })?;
    equal("the target", &target_table(&pair).await?, &None)?;
    document["what"]["mode"] = "NULLABLE".into();
    succeed(&runner, &with(&document)?).await?;
    let table = target_table(&pair).await?.ok_or_else(|| Failure::new("no target"))?;
    equal("the mode", &table.column("what").map(|column| column.mode), &Some(Mode::Nullable))?;
    holds(&pair, "with NULLs", &loaded(&orders)).await
}

/// The first run fails, the next one goes well; every value that does not fit is there once.
async fn with_fault(pair: Arc<Pair>, faults: [Fault; 2], kept: usize) -> Done {
    let mut orders = Orders::new(&pair, "faulty")?;
    orders.put(&pair, mixed(&orders)).await?;
    let script = Script::new(&faults);
    let runner = pair.runner_with(Faulty::new(pair.into.subject.connector(), &script))?;
    let job = job(&orders, &pair)?.append("at").build()?;
    let report = runner.run(&job).await;
    equal("status", &report.status, &RunStatus::Failed)?;
    equal("committed", &report.committed, &false)?;
    holds(&pair, "after the fault", &[]).await?;
    equal("values after the fault", &quarantine(&pair).await?.len(), &kept)?;
    let again = succeed(&runner, &job).await?;
    equal("the load", &again.load_id, &report.load_id)?;
    holds(&pair, "after the next run", &loaded(&orders)).await?;
    once(&pair, &again, &runner, &job).await
}

async fn committed_but_failed(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "faulty")?;
    orders.put(&pair, mixed(&orders)).await?;
    let script = Script::new(&[Fault::CommitThenFail]);
    let runner = pair.runner_with(Faulty::new(pair.into.subject.connector(), &script))?;
    let job = job(&orders, &pair)?.append("at").build()?;
    let report = runner.run(&job).await;
    equal("status", &report.status, &RunStatus::Failed)?;
    holds(&pair, "after the fault", &loaded(&orders)).await?;
    once(&pair, &report, &runner, &job).await
}

/// The quarantine holds the two values of a load once, and a run without news leaves it so.
async fn once(pair: &Pair, report: &RunReport, runner: &Runner, job: &transload_core::EtlJob) -> Done {
    for _ in 0..2 {
        let kept = quarantine(pair).await?;
        let values: Vec<_> = kept.iter().map(|kept| kept.of.clone()).collect();
        equal("the quarantine", &values, &vec![value("1.5"), value("seven")])
            .or_else(|_| equal("the quarantine", &values, &vec![value("seven"), value("1.5")]))?;
        ensure(kept.iter().all(|kept| Some(&kept.load_id) == report.load_id.as_ref()), || {
            format!("another load: {kept:?}, {:?}", report.load_id)
        })?;
        equal("written", &succeed(runner, job).await?.rows.written, &0)?;
    }
    Ok(())
}
