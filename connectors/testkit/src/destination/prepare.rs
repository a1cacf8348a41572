//! Creating and evolving tables.

use std::sync::Arc;

use transload_core::ErrorKind;
use transload_core::connector::{OnSchemaChange, PrepareOutcome, WriteMode};
use transload_core::schema::{BigQueryType, Fit, Granularity, Mode, PartitionBy, Partitioning, TargetTable};

use super::{Loading, record};
use crate::cell::{Cell, Row};
use crate::check::{ensure, equal, error_with_hint};
use crate::fixture::{Done, Failure};
use crate::suite::{Cases, Ctx};
use crate::table::target;

pub(super) fn add(cases: &mut Cases) {
    cases.add("destination::check", check);
    cases.add("destination::prepare_creates_once", creates_once);
    cases.add("destination::evolve_adds_and_relaxes", evolves);
    cases.add("destination::freeze_refuses", freeze_refuses);
    cases.add("destination::impossible_change", impossible_change);
    cases.add("destination::layout_is_kept_or_refused", layout_is_kept_or_refused);
    cases.add("destination::validate_changes_nothing", validate_changes_nothing);
    cases.add("destination::load_without_prepare", load_without_prepare);
}

async fn check(ctx: Arc<Ctx>) -> Done {
    let info = ctx.open_destination().await?.check().await?;
    ensure(!info.version.trim().is_empty(), || "the version is empty".to_owned())
}

fn simple(ctx: &Ctx) -> TargetTable {
    let columns =
        [("id", BigQueryType::Int64, Mode::Required), ("what", BigQueryType::String, Mode::Nullable)];
    target(&ctx.dataset(), "evolving", &columns)
}

fn with(table: &TargetTable, more: &[(&str, BigQueryType, Mode)]) -> TargetTable {
    let mut wider = table.clone();
    wider.columns.extend(target("", "", more).columns);
    wider
}

/// Names, types and modes of the table as the destination tells it.
async fn told(ctx: &Ctx, table: &TargetTable) -> Done<Vec<(String, String, Mode)>> {
    let destination = ctx.open_destination().await?;
    let there = destination.table(&table.target).await?;
    let there = there.ok_or_else(|| Failure::new(format!("{} is not there", table.target)))?;
    equal("name of the table", &there.target, &table.target)?;
    Ok(there.columns.into_iter().map(|c| (c.name, c.data_type.to_string(), c.mode)).collect())
}

fn columns(table: &TargetTable) -> Vec<(String, String, Mode)> {
    table.columns.iter().map(|c| (c.name.clone(), c.data_type.to_string(), c.mode)).collect()
}

async fn creates_once(ctx: Arc<Ctx>) -> Done {
    let table = simple(&ctx);
    let destination = ctx.open_destination().await?;
    equal("a table before it is made", &destination.table(&table.target).await?, &None)?;
    equal("its last load", &destination.last_load(&table.target, "job").await?, &None)?;
    destination.ensure_dataset(&table.target.dataset).await?;
    destination.ensure_dataset(&table.target.dataset).await?;
    equal("a table before it is made", &destination.table(&table.target).await?, &None)?;
    let first = destination.prepare(&table, OnSchemaChange::Evolve).await?;
    equal("first prepare", &first, &PrepareOutcome { created: true, ..PrepareOutcome::default() })?;
    for policy in [OnSchemaChange::Evolve, OnSchemaChange::Freeze] {
        let again = destination.prepare(&table, policy).await?;
        equal("second prepare", &again, &PrepareOutcome::default())?;
    }
    equal("columns", &told(&ctx, &table).await?, &columns(&table))?;
    equal("last load", &destination.last_load(&table.target, "job").await?, &None)?;
    let rows = ctx.loaded()?.read(&table).await?;
    equal("rows of a fresh table", &rows.map(|rows| rows.len()), &Some(0))
}

async fn evolves(ctx: Arc<Ctx>) -> Done {
    let table = simple(&ctx);
    let old = Loading::prepare(&ctx, table.clone()).await?;
    let row: Row = vec![Cell::Int(1), Cell::text("old")];
    old.load(WriteMode::Append, &[row], record("a", 1, 1)).await?;
    // REQUIRED is relaxed, a new column comes, also one that is REQUIRED for new rows.
    let mut wider = with(&table, &[("note", BigQueryType::String, Mode::Nullable)]);
    wider.columns[0].mode = Mode::Nullable;
    let wider = with(&wider, &[("must", BigQueryType::Int64, Mode::Required)]);
    let outcome = old.destination.prepare(&wider, OnSchemaChange::Evolve).await?;
    equal("created", &outcome.created, &false)?;
    equal("added", &outcome.added, &vec!["note".to_owned(), "must".to_owned()])?;
    equal("relaxed", &outcome.relaxed, &vec!["id".to_owned()])?;
    let mut expected = columns(&wider);
    expected[3].2 = Mode::Nullable;
    equal("columns", &told(&ctx, &wider).await?, &expected)?;
    let again = old.destination.prepare(&wider, OnSchemaChange::Evolve).await?;
    equal("prepare once more", &again, &PrepareOutcome::default())?;

    let mut nullable = wider.clone();
    nullable.columns[3].mode = Mode::Nullable;
    let new = Loading::prepare(&ctx, nullable).await?;
    let last = new.destination.last_load(&table.target, "a").await?;
    equal("last load after evolving", &last.map(|last| last.sequence), &Some(1))?;
    let added = vec![Cell::Null, Cell::text("new"), Cell::text("n"), Cell::Int(5)];
    new.load(WriteMode::Append, std::slice::from_ref(&added), record("a", 2, 1)).await?;
    let kept = vec![Cell::Int(1), Cell::text("old"), Cell::Null, Cell::Null];
    new.holds("after evolving", &[kept.clone(), added.clone()]).await?;

    // A job that brings fewer columns leaves the others NULL.
    let narrow =
        target(&table.target.dataset, &table.target.table, &[("id", BigQueryType::Int64, Mode::Nullable)]);
    let fewer = Loading::prepare(&ctx, narrow).await?;
    fewer.load(WriteMode::Append, &[vec![Cell::Int(3)]], record("a", 3, 1)).await?;
    let short = vec![Cell::Int(3), Cell::Null, Cell::Null, Cell::Null];
    new.holds("after a load with fewer columns", &[kept, added, short]).await
}

async fn freeze_refuses(ctx: Arc<Ctx>) -> Done {
    let table = simple(&ctx);
    let loading = Loading::prepare(&ctx, table.clone()).await?;
    let wider = with(&table, &[("note", BigQueryType::String, Mode::Nullable)]);
    let refused = loading.destination.prepare(&wider, OnSchemaChange::Freeze).await;
    let error = error_with_hint("prepare", refused, &[ErrorKind::SchemaChanged])?;
    ensure(error.to_string().contains("note"), || format!("the column is not named: {error}"))?;
    equal("columns", &told(&ctx, &table).await?, &columns(&table))
}

async fn impossible_change(ctx: Arc<Ctx>) -> Done {
    let table = simple(&ctx);
    let loading = Loading::prepare(&ctx, table.clone()).await?;
    let mut other = with(&table, &[("note", BigQueryType::String, Mode::Nullable)]);
    other.columns[1].data_type = BigQueryType::Date;
    let refused = loading.destination.prepare(&other, OnSchemaChange::Evolve).await;
    let error = error_with_hint("prepare", refused, &[ErrorKind::SchemaChanged])?;
    ensure(error.to_string().contains("what"), || format!("the column is not named: {error}"))?;
    equal("columns after a refusal", &told(&ctx, &table).await?, &columns(&table))
}

/// A wish for partitions, clusters and labels is fulfilled or refused by name, never ignored.
async fn layout_is_kept_or_refused(ctx: Arc<Ctx>) -> Done {
    let mut table = with(&simple(&ctx), &[("day", BigQueryType::Date, Mode::Nullable)]);
    table.layout.partition_by =
        Some(PartitionBy::Time(Partitioning { column: "day".to_owned(), granularity: Granularity::Month }));
    table.layout.cluster_by = Some(vec!["what".to_owned()]);
    table.layout.labels.insert("team".to_owned(), "tests".to_owned());
    let destination = ctx.open_destination().await?;
    destination.ensure_dataset(&table.target.dataset).await?;
    let check = destination.validate(&table).await?;
    match destination.prepare(&table, OnSchemaChange::Evolve).await {
        Ok(_) => {
            equal("problems before", &check.problems, &Vec::new())?;
            let there = destination.table(&table.target).await?;
            let there = there.ok_or_else(|| Failure::new("the table is not there"))?;
            equal("partitions", &there.layout.partition_by, &table.layout.partition_by)?;
            equal("clusters", &there.layout.cluster_by, &table.layout.cluster_by)?;
            equal("labels", &there.layout.labels, &table.layout.labels)
        }
        refused => {
            let error = error_with_hint("prepare", refused, &[ErrorKind::Unsupported])?;
            for field in ["partition_by", "cluster_by", "labels"] {
                ensure(error.to_string().contains(field), || format!("`{field}` is not named: {error}"))?;
            }
            equal("the table after a refusal", &destination.table(&table.target).await?, &None)?;
            ensure(!check.in_place(), || "validate promised what prepare refuses".to_owned())
        }
    }
}

async fn validate_changes_nothing(ctx: Arc<Ctx>) -> Done {
    let table = simple(&ctx);
    let destination = ctx.open_destination().await?;
    destination.ensure_dataset(&table.target.dataset).await?;
    let check = destination.validate(&table).await?;
    ensure(!check.exists && check.in_place() && !check.fits(), || format!("{:?}", check.to_json()))?;
    equal("the table after validate", &destination.table(&table.target).await?, &None)?;
    destination.prepare(&table, OnSchemaChange::Evolve).await?;
    ensure(destination.validate(&table).await?.fits(), || "the table just made does not fit".to_owned())?;
    let mut other = with(&table, &[("note", BigQueryType::String, Mode::Nullable)]);
    other.columns[1].data_type = BigQueryType::Date;
    let check = destination.validate(&other).await?;
    let fits: Vec<Fit> = check.columns.iter().map(|column| column.fit).collect();
    equal("fits", &fits, &vec![Fit::Matches, Fit::Impossible, Fit::InPlace])?;
    equal("columns after validate", &told(&ctx, &table).await?, &columns(&table))
}

async fn load_without_prepare(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepare(&ctx, simple(&ctx)).await?;
    let mut missing = loading.table.clone();
    missing.target.table = "never_made".to_owned();
    let missing = Loading { table: missing, ctx: Arc::clone(&ctx), destination: loading.destination };
    // A destination may find out when it begins or when it commits, but not load into nowhere.
    let attempt = async {
        let writer = missing.begin(WriteMode::Append, "000001-x").await?;
        writer.commit(record("x", 1, 0)).await
    };
    error_with_hint("a load without prepare", attempt.await, &[ErrorKind::NotFound]).map(|_| ())
}
