//! Values that do not fit, limits of columns, wrong tables, all types end to end.

use std::sync::Arc;

use transload_core::connector::Capability;
use transload_core::schema::{RejectPolicy, TargetTable};
use transload_core::{ErrorKind, EtlJob, RunnerOptions};

use super::{Orders, Set, fail, holds, succeed, target_table};
use crate::cell::{Cell, Row};
use crate::check::{ensure, equal};
use crate::fixture::Done;
use crate::generate::{Seeded, all_kinds};
use crate::suite::Pair;
use crate::table::{Kind, same_rows, target_form};

pub(super) fn add(set: &mut Set<'_>, capability: Capability, _cursor: bool) {
    if !capability.replace {
        return;
    }
    set.add("all_types", all_types);
    set.add("a_value_that_does_not_fit_fails_the_run", does_not_fit);
    set.add("a_value_that_does_not_fit_becomes_null", becomes_null);
    set.add("a_type_of_the_sample_that_does_not_hold_becomes_text", demoted);
    set.add("chosen_columns", chosen_columns);
    set.add("missing_table_makes_no_target", missing_table);
    set.add("impossible_override", impossible_override);
    set.add("override_without_a_type_keeps_the_one_found", keeps_found_type);
    set.add("hostile_column_names", hostile_column_names);
    set.add("target_that_cannot_take_the_rows", wrong_target);
}

async fn all_types(pair: Arc<Pair>) -> Done {
    let mut seeded = Seeded::from_env();
    let fixture = Arc::clone(pair.from.tables()?);
    let destination = Arc::clone(pair.into.loaded()?);
    let mut table = all_kinds(&pair.from.name("every"), fixture.as_ref(), &mut seeded, 40);
    // What the destination cannot keep is NULL; its own cases say what that is.
    for row in &mut table.rows {
        for (cell, column) in row.iter_mut().zip(&table.columns) {
            let data_type = target_type(column.kind);
            if !destination.accepts(&data_type, cell) {
                *cell = Cell::Null;
            }
        }
    }
    let run = async {
        let made = pair.from.create(&table).await?;
        let job = EtlJob::builder(pair.from.name("job")).from_table("from", made);
        let mut job = job.into("into", pair.into.dataset(), "orders").replace();
        // Text stays text here; what detection makes of it is tested in core.
        for column in table.columns.iter().filter(|column| column.kind == Kind::Text) {
            job = job.override_type(&column.name, "STRING", None);
        }
        succeed(&pair.runner()?, &job.build()?).await?;
        let target = target_table(&pair).await?.ok_or_else(|| crate::Failure::new("no target"))?;
        let read = destination.read(&target).await?.unwrap_or_default();
        let forms: Vec<_> = table
            .columns
            .iter()
            .zip(&target.columns)
            .map(|(column, there)| match column.kind {
                Kind::Json | Kind::Uuid | Kind::Decimal => column.kind.form(),
                _ => target_form(&there.data_type, there.mode),
            })
            .collect();
        same_rows(&read, &table.rows, &forms)
    };
    seeded.explain(run.await)
}

fn target_type(kind: Kind) -> transload_core::schema::BigQueryType {
    use transload_core::schema::BigQueryType as T;
    match kind {
        Kind::Bool => T::Bool,
        Kind::Int => T::Int64,
        Kind::Float => T::Float64,
        Kind::Decimal => T::Numeric(Some((18, 4))),
        Kind::Text | Kind::Uuid => T::String,
        Kind::Bytes => T::Bytes,
        Kind::Date => T::Date,
        Kind::DateTime => T::DateTime,
        Kind::Timestamp => T::Timestamp,
        Kind::Time => T::Time,
        Kind::Json => T::Json,
    }
}

async fn does_not_fit(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "unfit")?;
    let good = orders.rows(&[(1, 1, "7")]);
    orders.put(&pair, good).await?;
    let job = orders.job(&pair)?.replace().override_type("what", "INT64", None).build()?;
    let runner = pair.runner()?;
    succeed(&runner, &job).await?;
    let loaded: Vec<Row> = vec![vec![orders.id.nth(1), orders.at.nth(1), Cell::Int(7)]];
    holds(&pair, "values that fit", &loaded).await?;
    let mut rows: Vec<Row> = (0..3000).map(|n| orders.row(n, n, "8")).collect();
    rows.push(orders.row(5000, 5000, "eight"));
    orders.put(&pair, rows).await?;
    let error = fail(&runner, &job, ErrorKind::Data).await?;
    let text = error.to_string();
    ensure(text.contains("what") && text.contains("eight"), || {
        format!("the error names neither column nor value: {text}")
    })?;
    ensure(error.hint_text().is_some(), || format!("no hint: {text}"))?;
    holds(&pair, "after the run that failed", &loaded).await
}

async fn becomes_null(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "nulled")?;
    let rows = orders.rows(&[(1, 1, "7"), (2, 2, "seven"), (3, 3, "1.5"), (4, 4, "-8")]);
    orders.put(&pair, rows).await?;
    let job = orders.job(&pair)?.replace().override_type("what", "INT64", None);
    let report = succeed(&pair.runner()?, &job.on_reject(RejectPolicy::Null).build()?).await?;
    equal("rows written", &report.rows.written, &4)?;
    let rejects: Vec<_> = report.rejects.iter().map(|r| (r.column.as_str(), r.rejected)).collect();
    equal("rejects", &rejects, &vec![("what", 2)])?;
    ensure(report.warnings.iter().any(|(_, warning)| warning.code == "W_REJECTED"), || {
        "no warning W_REJECTED".to_owned()
    })?;
    let row = |n: i32, what: Cell| vec![orders.id.nth(n), orders.at.nth(n), what];
    let expected = [row(1, Cell::Int(7)), row(2, Cell::Null), row(3, Cell::Null), row(4, Cell::Int(-8))];
    holds(&pair, "with NULLs", &expected).await
}

/// The sample sees integers only; a value behind it is none. Nobody has asked for integers, so the table of the
/// first load holds text.
async fn demoted(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "demoted")?;
    let what = |n: i32| if n == 305 { "soon".to_owned() } else { n.to_string() };
    let rows: Vec<Row> = (0..500).map(|n| orders.row(n, n, &what(n))).collect();
    orders.put(&pair, rows.clone()).await?;
    let runner = pair.runner()?.options(RunnerOptions::default().sample_rows(40));
    let report = succeed(&runner, &orders.job(&pair)?.replace().build()?).await?;
    // A source that samples by chance may have seen the value.
    let demoted = report.warnings.iter().filter(|(_, warning)| warning.code == "W_DEMOTED").count();
    equal("demoted columns", &demoted, &usize::try_from(report.attempts - 1).unwrap_or(0))?;
    holds(&pair, "the column as text", &rows).await
}

async fn chosen_columns(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "chosen")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a b"), (2, 2, "c d")])).await?;
    let runner = pair.runner()?;
    let job = orders.job(&pair)?.columns(["what", "id"]).replace();
    succeed(&runner, &job.clone().build()?).await?;
    let target = target_table(&pair).await?.ok_or_else(|| crate::Failure::new("no target"))?;
    let names: Vec<_> = target.columns.iter().map(|column| column.name.as_str()).collect();
    equal("columns of the target", &names, &vec!["what", "id"])?;
    let expected = [vec![Cell::text("a b"), orders.id.nth(1)], vec![Cell::text("c d"), orders.id.nth(2)]];
    holds(&pair, "chosen columns", &expected).await?;
    let job = job.columns(["what", "idd"]).build()?;
    let error = fail(&runner, &job, ErrorKind::NotFound).await?;
    ensure(error.to_string().contains("`id`"), || format!("the nearest column is not named: {error}"))
}

async fn missing_table(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "gone")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a")])).await?;
    let job = orders.job(&pair)?.replace().build()?;
    pair.from.tables()?.drop_table(&orders.made()?).await?;
    if pair.from.subject.name == "memory" {
        // Tables in memory are never dropped, so the job names one that was not made.
        let mut missing = orders.made()?;
        missing.name.push_str("_not");
        let job = EtlJob::builder("gone").from_table("from", missing);
        let job = job.into("into", pair.into.dataset(), "orders").build()?;
        fail(&pair.runner()?, &job, ErrorKind::NotFound).await?;
    } else {
        fail(&pair.runner()?, &job, ErrorKind::NotFound).await?;
    }
    equal("the target", &target_table(&pair).await?, &None)
}

async fn impossible_override(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "override")?;
    orders.put(&pair, orders.rows(&[(1, 1, "a")])).await?;
    let runner = pair.runner()?;
    for (column, data_type, kind) in [
        ("at", "GEOGRAPHY", ErrorKind::TypeMapping),
        ("what", "VARCHAR(10)", ErrorKind::TypeMapping),
        ("wat", "STRING", ErrorKind::NotFound),
    ] {
        if column == "at" && orders.at == Kind::Text {
            continue;
        }
        let job = orders.job(&pair)?.replace().override_type(column, data_type, None).build()?;
        let error = fail(&runner, &job, kind).await?;
        ensure(error.hint_text().is_some(), || format!("no hint: {error}"))?;
    }
    equal("the target", &target_table(&pair).await?, &None)
}

async fn keeps_found_type(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "found")?;
    let rows: Vec<Row> = (1..400).map(|n| orders.row(n, n, &(n * 7).to_string())).collect();
    orders.put(&pair, rows).await?;
    let runner = pair.runner()?;
    let mut document = orders.job(&pair)?.replace().build()?.to_json()?;
    let found = |table: Option<TargetTable>| {
        table.and_then(|table| table.column("what").map(|column| column.data_type.to_string()))
    };
    succeed(&runner, &EtlJob::from_json(document.clone())?).await?;
    equal("the type found", &found(target_table(&pair).await?).as_deref(), &Some("INT64"))?;
    // What the job says of the column later is no reason to forget its type.
    document["mapping"]["overrides"] = serde_json::json!({"what": {"on_reject": "null"}});
    let report = succeed(&runner, &EtlJob::from_json(document)?).await?;
    equal("the type kept", &found(target_table(&pair).await?).as_deref(), &Some("INT64"))?;
    equal("lossless", &report.lossless, &true)
}

async fn hostile_column_names(pair: Arc<Pair>) -> Done {
    let fixture = Arc::clone(pair.from.tables()?);
    let names = ["two words", "dou\"ble", "semi;colon", "ünï表", "select", "1st", "a.b", "UPPER", "'; DROP"];
    let names: Vec<_> = names.into_iter().filter(|name| fixture.accepts_name(name)).collect();
    let columns = names.iter().map(|&name| crate::TestColumn::new(name, Kind::Text)).collect();
    let row = |n: i32| -> Row { names.iter().map(|name| Cell::Text(format!("{name} {n}"))).collect() };
    let table = crate::TestTable::new(pair.from.name("hostile"), columns).rows((0..3).map(row).collect());
    let made = pair.from.create(&table).await?;
    let job = EtlJob::builder(pair.from.name("job")).from_table("from", made);
    let job = job.into("into", pair.into.dataset(), "orders").replace().build()?;
    let runner = pair.runner()?;
    succeed(&runner, &job).await?;
    holds(&pair, "first run", &table.rows).await?;
    succeed(&runner, &job).await?;
    holds(&pair, "second run", &table.rows).await
}

async fn wrong_target(pair: Arc<Pair>) -> Done {
    let mut orders = Orders::new(&pair, "wrong")?;
    let rows = orders.rows(&[(1, 1, "12")]);
    orders.put(&pair, rows).await?;
    let runner = pair.runner()?;
    succeed(&runner, &orders.job(&pair)?.replace().override_type("what", "INT64", None).build()?).await?;
    let expected: Vec<Row> = vec![vec![orders.id.nth(1), orders.at.nth(1), Cell::Int(12)]];
    let other = orders.job(&pair)?.replace().override_type("what", "STRING", None).build()?;
    let error = fail(&runner, &other, ErrorKind::SchemaChanged).await?;
    ensure(error.to_string().contains("what"), || format!("the column is not named: {error}"))?;
    holds(&pair, "after the refusal", &expected).await
}
