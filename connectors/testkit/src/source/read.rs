//! Reading rows.

use std::sync::Arc;

use transload_core::ErrorKind;
use transload_core::batch::SAMPLE_BYTES;
use transload_core::connector::{ReadPlan, Split};

use super::numbered;
use crate::cell::{Cell, Row};
use crate::check::{ensure, equal, error_with_hint, read_plan, read_split};
use crate::fixture::Done;
use crate::generate::{Seeded, all_kinds};
use crate::suite::{Cases, Ctx};
use crate::table::{Kind, TestColumn, TestTable, same_rows};

pub(super) fn add(cases: &mut Cases) {
    cases.add("source::all_types_and_edges", all_types_and_edges);
    cases.add("source::sample", sample);
    cases.add("source::columns_in_wanted_order", columns_in_wanted_order);
    cases.add("source::missing_column", missing_column);
    cases.add("source::row_limit", row_limit);
    cases.add("source::empty_table", empty_table);
    cases.add("source::splits_cover_each_row_once", splits_cover_each_row_once);
    cases.add("source::batch_bytes", batch_bytes);
    cases.add("source::batches_are_bounded", batches_are_bounded);
    cases.add("source::samples_are_bounded", samples_are_bounded);
    cases.add("source::wide_table", wide_table);
}

async fn all_types_and_edges(ctx: Arc<Ctx>) -> Done {
    let mut seeded = Seeded::from_env();
    let table = all_kinds(&ctx.name("every"), ctx.tables()?.as_ref(), &mut seeded, 60);
    let run = async {
        let made = ctx.create(&table).await?;
        let source = ctx.open_source().await?;
        let session = source.begin(&made).await?;
        let rows = read_plan(session.as_ref(), &ReadPlan::default()).await?;
        session.close().await?;
        same_rows(&rows, &table.rows, &table.forms())?;
        let sample = source.sample(&made, 10_000).await?;
        same_rows(&crate::arrow::rows(&sample)?, &table.rows, &table.forms()).map_err(|f| f.during("sample"))
    };
    seeded.explain(run.await)
}

async fn sample(ctx: Arc<Ctx>) -> Done {
    let table = numbered(&ctx, "sampled", 50)?;
    let made = ctx.create(&table).await?;
    let source = ctx.open_source().await?;
    let schema = source.describe(&made).await?.arrow_schema();
    for wanted in [0, 1, 7, 50, 1000] {
        let batch = source.sample(&made, wanted).await?;
        equal("schema of a sample", &batch.schema(), &schema)?;
        let rows = crate::arrow::rows(&batch)?;
        ensure(rows.len() <= wanted.min(50), || format!("{} rows for a sample of {wanted}", rows.len()))?;
        ensure(wanted == 0 || !rows.is_empty(), || format!("no rows for a sample of {wanted}"))?;
        let strange = rows.iter().find(|row| !table.rows.contains(row));
        ensure(strange.is_none(), || format!("the table has no row {strange:?}"))?;
    }
    Ok(())
}

async fn columns_in_wanted_order(ctx: Arc<Ctx>) -> Done {
    let table = numbered(&ctx, "columns", 20)?;
    let made = ctx.create(&table).await?;
    let session = ctx.open_source().await?.begin(&made).await?;
    let plan = |columns: &[&str]| ReadPlan {
        columns: columns.iter().map(|&name| name.to_owned()).collect(),
        ..ReadPlan::default()
    };
    let swapped: Vec<Row> = table.rows.iter().map(|row| row.iter().rev().cloned().collect()).collect();
    same_rows(&read_plan(session.as_ref(), &plan(&["what", "id"])).await?, &swapped, &[])?;
    let one: Vec<Row> = table.rows.iter().map(|row| row.iter().skip(1).cloned().collect()).collect();
    same_rows(&read_plan(session.as_ref(), &plan(&["what"])).await?, &one, &[])?;
    Ok(session.close().await?)
}

async fn missing_column(ctx: Arc<Ctx>) -> Done {
    let made = ctx.create(&numbered(&ctx, "columns", 2)?).await?;
    let session = ctx.open_source().await?.begin(&made).await?;
    let plan = ReadPlan { columns: vec!["id".into(), "whatt".into()], ..ReadPlan::default() };
    let error = error_with_hint("splits", session.splits(&plan).await, &[ErrorKind::NotFound])?;
    ensure(error.to_string().contains("`what`"), || format!("the nearest column is not named: {error}"))?;
    if ctx.subject.capability().cursor {
        error_with_hint("cursor", session.cursor_summary("no_such").await, &[ErrorKind::NotFound])?;
    }
    Ok(())
}

async fn row_limit(ctx: Arc<Ctx>) -> Done {
    let table = numbered(&ctx, "limited", 100)?;
    let made = ctx.create(&table).await?;
    let session = ctx.open_source().await?.begin(&made).await?;
    for parallelism in [1, 4] {
        for limit in [0, 1, 17, 100, 1000] {
            let plan = ReadPlan { limit: Some(limit), parallelism, ..ReadPlan::default() };
            let rows = read_plan(session.as_ref(), &plan).await?;
            let expected = usize::try_from(limit)?.min(100);
            equal(&format!("rows for limit {limit}, parallelism {parallelism}"), &rows.len(), &expected)?;
            let strange = rows.iter().find(|row| !table.rows.contains(row));
            ensure(strange.is_none(), || format!("the table has no row {strange:?}"))?;
        }
    }
    Ok(())
}

async fn empty_table(ctx: Arc<Ctx>) -> Done {
    let made = ctx.create(&numbered(&ctx, "empty", 0)?).await?;
    let source = ctx.open_source().await?;
    equal("rows of a sample", &source.sample(&made, 10).await?.num_rows(), &0)?;
    equal("columns of a sample", &source.sample(&made, 10).await?.num_columns(), &2)?;
    let session = source.begin(&made).await?;
    for parallelism in [1, 4] {
        let plan = ReadPlan { parallelism, ..ReadPlan::default() };
        equal("rows", &read_plan(session.as_ref(), &plan).await?.len(), &0)?;
    }
    if ctx.subject.capability().cursor {
        let summary = session.cursor_summary("id").await?;
        equal("summary", &summary, &transload_core::connector::CursorSummary::default())?;
    }
    Ok(())
}

/// Enough rows for every source to have something to split.
const MANY: i32 = 20_000;

async fn splits_cover_each_row_once(ctx: Arc<Ctx>) -> Done {
    let table = numbered(&ctx, "many", MANY)?;
    let made = ctx.create(&table).await?;
    let session = ctx.open_source().await?.begin(&made).await?;
    for parallelism in [0, 1, 2, 4, 7] {
        let plan = ReadPlan { parallelism, ..ReadPlan::default() };
        let splits = session.splits(&plan).await?;
        ensure(splits.len() <= parallelism.max(1) * 64, || {
            format!("{} splits for {parallelism}", splits.len())
        })?;
        let mut rows = Vec::new();
        for (i, split) in splits.iter().enumerate() {
            equal("index of a split", &split.index, &i)?;
            // Any worker may get a split as JSON.
            let travelled: Split = serde_json::from_str(&serde_json::to_string(split)?)?;
            equal("a split after a journey as JSON", &travelled, split)?;
            let session = session.as_ref();
            rows.push(async move { read_split(session, &travelled).await });
        }
        let rows: Vec<Row> = futures::future::try_join_all(rows).await?.concat();
        same_rows(&rows, &table.rows, &table.forms())
            .map_err(|failure| failure.during(&format!("parallelism {parallelism}")))?;
    }
    Ok(session.close().await?)
}

async fn batch_bytes(ctx: Arc<Ctx>) -> Done {
    let table = numbered(&ctx, "batches", 5000)?;
    let made = ctx.create(&table).await?;
    let session = ctx.open_source().await?.begin(&made).await?;
    for batch_bytes in [1, 1000, 64 * 1024, 0] {
        let plan = ReadPlan { batch_bytes, ..ReadPlan::default() };
        let rows = read_plan(session.as_ref(), &plan).await?;
        same_rows(&rows, &table.rows, &table.forms())
            .map_err(|failure| failure.during(&format!("batch_bytes {batch_bytes}")))?;
    }
    Ok(())
}

async fn batches_are_bounded(ctx: Arc<Ctx>) -> Done {
    let mut table = numbered(&ctx, "bounded", 10_000)?;
    for row in &mut table.rows {
        row[1] = Cell::Text("x".repeat(400));
    }
    let made = ctx.create(&table).await?;
    let session = ctx.open_source().await?.begin(&made).await?;
    // 4 MB of texts; the wish is the smallest that a runner has.
    let plan = ReadPlan { batch_bytes: 256 * 1024, ..ReadPlan::default() };
    for split in session.splits(&plan).await? {
        for batch in crate::check::drain(session.read(&split).await?).await? {
            let bytes = transload_core::batch::batch_bytes(&batch);
            ensure(bytes <= 1024 * 1024, || format!("a batch of {bytes} bytes where 256 KiB are wished"))?;
        }
    }
    Ok(())
}

async fn samples_are_bounded(ctx: Arc<Ctx>) -> Done {
    let mut table = numbered(&ctx, "fat", 60)?;
    for row in &mut table.rows {
        row[1] = Cell::Text("x".repeat(1024 * 1024));
    }
    let made = ctx.create(&table).await?;
    let batch = ctx.open_source().await?.sample(&made, 1000).await?;
    let bytes = transload_core::batch::batch_bytes(&batch);
    ensure(batch.num_rows() > 0, || "a sample without rows".to_owned())?;
    ensure(bytes <= SAMPLE_BYTES * 3 / 2, || format!("a sample of {bytes} bytes"))
}

async fn wide_table(ctx: Arc<Ctx>) -> Done {
    let columns: Vec<_> = (0..300).map(|n| TestColumn::new(format!("c{n}"), Kind::Text)).collect();
    let row: Row =
        (0..300).map(|n| if n % 3 == 0 { Cell::Null } else { Cell::Text(n.to_string()) }).collect();
    let table = TestTable::new(ctx.name("wide"), columns).rows(vec![row; 5]);
    let made = ctx.create(&table).await?;
    let session = ctx.open_source().await?.begin(&made).await?;
    let rows = read_plan(session.as_ref(), &ReadPlan::default()).await?;
    same_rows(&rows, &table.rows, &[])
}
