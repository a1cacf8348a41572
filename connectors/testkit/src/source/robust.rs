//! Snapshots, streams that are dropped, sessions side by side, names from hell.

use std::sync::Arc;

use futures::StreamExt as _;
use transload_core::ErrorKind;
use transload_core::connector::{ReadPlan, ReadSession};

use super::{integer, numbered};
use crate::cell::{Cell, Row};
use crate::check::{equal, error_with_hint, read_plan};
use crate::fixture::{Done, Failure};
use crate::suite::{Cases, Ctx};
use crate::table::{Kind, TestColumn, TestTable, same_rows};

pub(super) fn add(cases: &mut Cases) {
    if cases.subject().capability().snapshot {
        cases.add("source::snapshot", snapshot);
    }
    cases.add("source::later_rows_are_seen_by_later_sessions", later_sessions);
    cases.add("source::a_stream_dropped_midway", dropped_midway);
    cases.add("source::two_sessions_at_once", two_sessions);
    cases.add("source::hostile_names", hostile_names);
}

fn more(ctx: &Ctx, table: &TestTable, from: i32) -> Done<TestTable> {
    let id = integer(ctx)?;
    Ok(table.with_rows((from..from + 5).map(|n| vec![id.nth(n), Cell::text("later")]).collect()))
}

async fn snapshot(ctx: Arc<Ctx>) -> Done {
    let table = numbered(&ctx, "snapshot", 30)?;
    let made = ctx.create(&table).await?;
    let session = ctx.open_source().await?.begin(&made).await?;
    ctx.insert(&made, &more(&ctx, &table, 1000)?).await?;
    if ctx.tables()?.facts().changes_end_sessions {
        let read = read_error(session.as_ref()).await;
        return error_with_hint("a changed table", read, &[ErrorKind::Conflict, ErrorKind::SchemaChanged])
            .map(|_| ());
    }
    if ctx.subject.capability().cursor {
        let max = session.cursor_summary("id").await?.max.map(|max| max.to_string());
        equal("highest cursor of the snapshot", &max, &integer(&ctx)?.nth(29).to_plain())?;
    }
    for parallelism in [1, 4] {
        let plan = ReadPlan { parallelism, ..ReadPlan::default() };
        let rows = read_plan(session.as_ref(), &plan).await?;
        same_rows(&rows, &table.rows, &table.forms())?;
        ctx.insert(&made, &more(&ctx, &table, 2000 + 10 * i32::try_from(parallelism)?)?).await?;
    }
    Ok(session.close().await?)
}

/// Reads to the end, for the error that comes.
async fn read_error(session: &dyn ReadSession) -> transload_core::Result<()> {
    for split in session.splits(&ReadPlan::default()).await? {
        let mut batches = session.read(&split).await?;
        while let Some(batch) = batches.next().await {
            batch?;
        }
    }
    Ok(())
}

async fn later_sessions(ctx: Arc<Ctx>) -> Done {
    let table = numbered(&ctx, "later", 3)?;
    let made = ctx.create(&table).await?;
    let source = ctx.open_source().await?;
    let first = source.begin(&made).await?;
    equal("rows", &read_plan(first.as_ref(), &ReadPlan::default()).await?.len(), &3)?;
    first.close().await?;
    ctx.insert(&made, &more(&ctx, &table, 100)?).await?;
    let second = source.begin(&made).await?;
    equal("rows of a later session", &read_plan(second.as_ref(), &ReadPlan::default()).await?.len(), &8)
}

async fn dropped_midway(ctx: Arc<Ctx>) -> Done {
    let table = numbered(&ctx, "dropped", 20_000)?;
    let made = ctx.create(&table).await?;
    let source = ctx.open_source().await?;
    let plan = ReadPlan { batch_bytes: 4096, parallelism: 2, ..ReadPlan::default() };
    let session = source.begin(&made).await?;
    for split in session.splits(&plan).await? {
        let mut batches = session.read(&split).await?;
        let first = batches.next().await.ok_or_else(|| Failure::new("a split without batches"))??;
        equal("rows in the first batch", &(first.num_rows() > 0), &true)?;
        drop(batches);
    }
    // The same session, the same source and a new one go on.
    let rows = read_plan(session.as_ref(), &ReadPlan::default()).await?;
    equal("rows read by the same session", &rows.len(), &20_000)?;
    drop(session);
    let again = source.begin(&made).await?;
    let rows = read_plan(again.as_ref(), &ReadPlan { limit: Some(10), ..ReadPlan::default() }).await?;
    equal("rows read by a later session", &rows.len(), &10)
}

async fn two_sessions(ctx: Arc<Ctx>) -> Done {
    let (one, two) = (numbered(&ctx, "one", 3000)?, numbered(&ctx, "two", 2000)?);
    let (first, second) = (ctx.create(&one).await?, ctx.create(&two).await?);
    let source = ctx.open_source().await?;
    let (a, b, c) = tokio::try_join!(source.begin(&first), source.begin(&second), source.begin(&first))?;
    let plan = ReadPlan { parallelism: 2, batch_bytes: 2048, ..ReadPlan::default() };
    let (a, b, c) = tokio::join!(
        read_plan(a.as_ref(), &plan),
        read_plan(b.as_ref(), &plan),
        read_plan(c.as_ref(), &plan)
    );
    same_rows(&a?, &one.rows, &[])?;
    same_rows(&b?, &two.rows, &[])?;
    same_rows(&c?, &one.rows, &[])
}

/// Names that break naive quoting. `{}` becomes the unique part.
const HOSTILE: [&str; 11] = [
    "two words {}",
    "select",
    "dou\"ble{}",
    "sin'gle{}",
    "back`tick{}",
    "semi;colon{}",
    "ünï表🦀{}",
    "Robert'); DROP TABLE students;-- {}",
    "per%cent{}",
    "UPPER{}",
    "brack[et]{}",
];

async fn hostile_names(ctx: Arc<Ctx>) -> Done {
    let fixture = Arc::clone(ctx.tables()?);
    let id = integer(&ctx)?;
    let names = || {
        HOSTILE
            .iter()
            .map(|name| name.replace("{}", "").trim().to_owned())
            .filter(|name| fixture.accepts_name(name))
    };
    let columns: Vec<_> = names().map(|name| TestColumn::new(name, Kind::Text)).collect();
    let short = ctx.unique.replace('_', "");
    for template in HOSTILE.iter().filter(|name| name.contains("{}")) {
        let name = template.replace("{}", &short);
        if !fixture.accepts_name(&name) {
            continue;
        }
        let mut table = TestTable::new(&name, vec![TestColumn::new("id", id).required()]);
        table.columns.extend(columns.iter().cloned());
        let row = |n: i32| -> Row {
            let mut row = vec![id.nth(n)];
            row.extend(columns.iter().map(|column| Cell::Text(format!("{} {n}", column.name))));
            row
        };
        table.rows = (0..5).map(row).collect();
        let check = async {
            let made = ctx.create(&table).await?;
            let source = ctx.open_source().await?;
            let session = source.begin(&made).await?;
            let rows = read_plan(session.as_ref(), &ReadPlan::default()).await?;
            same_rows(&rows, &table.rows, &[])?;
            equal("rows of a sample", &source.sample(&made, 3).await?.num_rows(), &3)?;
            if !ctx.subject.capability().cursor || !fixture.facts().text_cursors {
                return Ok(());
            }
            for column in &columns {
                let summary = session.cursor_summary(&column.name).await?;
                let highest = summary.max.ok_or_else(|| Failure::new("no highest value"))?;
                equal("highest", &highest.to_string(), &format!("{} 4", column.name))?;
                let filter = transload_core::connector::CursorFilter {
                    column: column.name.clone(),
                    lo: Some(highest),
                    lo_inclusive: true,
                    hi: None,
                    include_nulls: false,
                };
                let columns = vec![column.name.clone()];
                let plan = ReadPlan { columns, filter: Some(filter), ..ReadPlan::default() };
                equal("rows", &read_plan(session.as_ref(), &plan).await?.len(), &1)
                    .map_err(|failure| failure.during(&format!("column {:?}", column.name)))?;
            }
            Ok(())
        };
        check.await.map_err(|failure: Failure| failure.during(&format!("table {name:?}")))?;
    }
    Ok(())
}
