//! Loads: replace, append, and everything that may go wrong between begin and commit.

use std::sync::Arc;

use transload_core::connector::{LoadOutcome, LoadRecord, WriteMode};
use transload_core::schema::{BigQueryType, Mode};
use transload_core::{ErrorKind, connector::LoadWriter};

use super::{Loading, record, rows};
use crate::cell::{Cell, Row};
use crate::check::{ensure, equal, error_of};
use crate::fixture::{Done, Failure};
use crate::generate::target_rows;
use crate::suite::{Cases, Ctx};
use crate::table::{target, to_batch};

pub(super) fn add(cases: &mut Cases) {
    let capability = cases.subject().capability();
    if capability.replace {
        cases.add("destination::replace", replace);
    } else {
        cases.add("destination::replace_is_unsupported", |ctx| unsupported(ctx, WriteMode::Replace));
    }
    if !capability.append {
        cases.add("destination::append_is_unsupported", |ctx| unsupported(ctx, WriteMode::Append));
        return;
    }
    cases.add("destination::append", append);
    cases.add("destination::empty_load", empty_load);
    cases.add("destination::commit_is_idempotent", commit_is_idempotent);
    cases.add("destination::overtaken_by_another_run", overtaken);
    cases.add("destination::dropped_writer", dropped_writer);
    cases.add("destination::abort", abort);
    cases.add("destination::invisible_before_commit", invisible_before_commit);
    cases.add("destination::writes_from_several_tasks", several_tasks);
    cases.add("destination::second_load_at_once", second_load);
    cases.add("destination::two_tables_at_once", two_tables);
    let types = cases.subject().destination.as_ref().map(|fixture| fixture.facts().types).unwrap_or_default();
    for data_type in types {
        let name: String =
            data_type.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = name.trim_end_matches('_').to_lowercase();
        cases.add(&format!("destination::type_{name}"), move |ctx| type_round_trip(ctx, data_type));
    }
    cases.add("destination::odd_column_names", odd_column_names);
}

async fn unsupported(ctx: Arc<Ctx>, mode: WriteMode) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let begun = loading.begin(mode, "000001-a").await;
    error_of("begin_load", begun, &[ErrorKind::Unsupported]).map(|_| ())
}

async fn replace(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let first = rows(&[(1, "a", 1), (2, "b", 2), (2, "b", 2)]);
    let outcome = loading.load(WriteMode::Replace, &first, record("a", 1, 3)).await?;
    equal("inserted", &outcome.inserted, &3)?;
    loading.holds("first load", &first).await?;
    let second = rows(&[(7, "z", 9)]);
    let outcome = loading.load(WriteMode::Replace, &second, record("a", 2, 1)).await?;
    equal("inserted", &(outcome.inserted, outcome.updated, outcome.already_committed), &(1, 0, false))?;
    loading.holds("second load", &second).await?;
    let last = loading.destination.last_load(&loading.table.target, "a").await?;
    equal("last load", &last.map(|last| last.sequence), &Some(2))?;
    loading.load(WriteMode::Replace, &[], record("a", 3, 0)).await?;
    loading.holds("replaced by nothing", &[]).await
}

async fn append(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let first = rows(&[(1, "a", 1), (2, "b", 2)]);
    let outcome = loading.load(WriteMode::Append, &first, record("a", 1, 2)).await?;
    let counts = |o: &LoadOutcome| (o.inserted, o.updated, o.superseded, o.already_committed);
    equal("counts", &counts(&outcome), &(2, 0, 0, false))?;
    loading.holds("first load", &first).await?;
    // Equal rows are rows of their own.
    let second = rows(&[(2, "b", 2), (3, "c", 3), (3, "c", 3)]);
    let outcome = loading.load(WriteMode::Append, &second, record("a", 2, 3)).await?;
    equal("counts", &counts(&outcome), &(3, 0, 0, false))?;
    loading.holds("second load", &[first, second].concat()).await
}

async fn empty_load(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let writer = loading.begin(WriteMode::Append, "000001-a").await?;
    let outcome = writer.commit(record("a", 1, 0)).await?;
    equal("inserted by a load without a batch", &outcome.inserted, &0)?;
    loading.holds("a load without a batch", &[]).await?;
    let outcome = loading.load(WriteMode::Append, &[], record("a", 2, 0)).await?;
    equal("inserted by an empty batch", &outcome.inserted, &0)?;
    let last = loading.destination.last_load(&loading.table.target, "a").await?;
    equal("last load", &last.map(|last| last.sequence), &Some(2))?;
    let some = rows(&[(1, "a", 1)]);
    loading.load(WriteMode::Append, &some, record("a", 3, 1)).await?;
    loading.holds("a load after empty ones", &some).await
}

async fn commit_is_idempotent(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let some = rows(&[(1, "a", 1), (2, "b", 2)]);
    loading.load(WriteMode::Append, &some, record("a", 1, 2)).await?;
    let again = loading.load(WriteMode::Append, &some, record("a", 1, 2)).await?;
    equal("already committed", &again.already_committed, &true)?;
    equal("inserted", &again.inserted, &0)?;
    loading.holds("the same load again", &some).await?;
    // Also when another process does it.
    let other = Loading::prepare(&ctx, loading.table.clone()).await?;
    let again = other.load(WriteMode::Append, &some, record("a", 1, 2)).await?;
    equal("already committed, seen by another", &again.already_committed, &true)?;
    other.holds("the same load by another", &some).await?;
    let more = rows(&[(3, "c", 3)]);
    other.load(WriteMode::Append, &more, record("a", 2, 1)).await?;
    other.holds("the next load", &[some, more].concat()).await
}

/// Two runs that looked for the last load at the same time: the one that commits later must not add what the other
/// one has added.
async fn overtaken(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let first = rows(&[(1, "a", 1)]);
    loading.load(WriteMode::Append, &first, record("a", 1, 1)).await?;
    let late = LoadRecord { load_id: "000001-late".to_owned(), ..record("a", 1, 1) };
    let writer = loading.begin(WriteMode::Append, &late.load_id).await?;
    loading.write(writer.as_ref(), &first).await?;
    let error = error_of("a load that was overtaken", writer.commit(late).await, &[ErrorKind::Conflict])?;
    ensure(error.is_retryable(), || format!("the next run is right: {error}"))?;
    loading.holds("after the refusal", &first).await?;
    // Loads of other jobs count for themselves.
    loading.load(WriteMode::Append, &first, record("b", 1, 1)).await?;
    let last = loading.destination.last_load(&loading.table.target, "a").await?;
    equal("last load", &last.map(|last| last.load_id), &Some("000001-a".to_owned()))
}

/// Begins a load, ends it without commit by `end`, and sees that nothing came of it.
async fn ended_without_commit<F, R>(ctx: Arc<Ctx>, end: F) -> Done
where
    F: Fn(Box<dyn LoadWriter>) -> R,
    R: Future<Output = Done>,
{
    let loading = Loading::prepared(&ctx).await?;
    let first = rows(&[(1, "a", 1)]);
    loading.load(WriteMode::Append, &first, record("a", 1, 1)).await?;
    let lost = rows(&[(8, "lost", 8), (9, "lost", 9)]);
    for mode in [WriteMode::Append, WriteMode::Replace] {
        if mode == WriteMode::Replace && !ctx.subject.capability().replace {
            continue;
        }
        let writer = loading.begin(mode, "000002-a").await?;
        loading.write(writer.as_ref(), &lost).await?;
        end(writer).await?;
        loading.holds("after the end without commit", &first).await?;
        let last = loading.destination.last_load(&loading.table.target, "a").await?;
        equal("last load", &last.map(|last| last.sequence), &Some(1))?;
    }
    let next = rows(&[(2, "b", 2)]);
    loading.load(WriteMode::Append, &next, record("a", 2, 1)).await?;
    loading.holds("the next load", &[first, next].concat()).await
}

async fn dropped_writer(ctx: Arc<Ctx>) -> Done {
    ended_without_commit(ctx, async |writer| {
        drop(writer);
        Ok(())
    })
    .await
}

async fn abort(ctx: Arc<Ctx>) -> Done {
    ended_without_commit(ctx, async |writer| Ok(writer.abort().await?)).await
}

async fn invisible_before_commit(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let writer = loading.begin(WriteMode::Append, "000001-a").await?;
    let some = rows(&[(1, "a", 1)]);
    for _ in 0..3 {
        loading.write(writer.as_ref(), &some).await?;
        loading.holds("before the commit", &[]).await?;
    }
    writer.commit(record("a", 1, 3)).await?;
    loading.holds("after the commit", &vec![some; 3].concat()).await
}

async fn several_tasks(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let writer = Arc::new(loading.begin(WriteMode::Append, "000001-a").await?);
    let schema = loading.table.arrow_schema();
    let mut tasks = tokio::task::JoinSet::new();
    let mut expected: Vec<Row> = Vec::new();
    for task in 0..4_i64 {
        let batch = |b: i64| -> Vec<Row> {
            let id = |n: i64| task * 100_000 + b * 1000 + n;
            (0..500).map(|n| vec![Cell::Int(id(n)), Cell::text("x".repeat(20)), Cell::Int(task)]).collect()
        };
        let batches: Vec<Vec<Row>> = (0..6).map(batch).collect();
        expected.extend(batches.concat());
        let (writer, schema) = (Arc::clone(&writer), Arc::clone(&schema));
        tasks.spawn(async move {
            for batch in batches {
                writer.write(to_batch(&schema, &batch)?).await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let writer = Arc::into_inner(writer).ok_or_else(|| Failure::new("a task kept the writer"))?;
    let outcome = writer.commit(record("a", 1, expected.len())).await?;
    equal("inserted", &outcome.inserted, &u64::try_from(expected.len())?)?;
    loading.holds("written by several tasks", &expected).await
}

async fn second_load(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let first = loading.begin(WriteMode::Append, "000001-a").await?;
    error_of("a second load", loading.begin(WriteMode::Append, "000001-b").await, &[ErrorKind::Conflict])?;
    let other = Loading::prepare(&ctx, loading.table.clone()).await?;
    error_of("by another", other.begin(WriteMode::Append, "000001-b").await, &[ErrorKind::Conflict])?;
    let some = rows(&[(1, "a", 1)]);
    loading.write(first.as_ref(), &some).await?;
    first.commit(record("a", 1, 1)).await?;
    loading.holds("the first load", &some).await?;
    other.load(WriteMode::Append, &some, record("b", 1, 1)).await?;
    loading.holds("the second load, later", &vec![some; 2].concat()).await
}

async fn two_tables(ctx: Arc<Ctx>) -> Done {
    let one = Loading::prepared(&ctx).await?;
    let mut table = one.table.clone();
    table.target.table = "loaded_too".to_owned();
    let two = Loading::prepare(&ctx, table).await?;
    // One load first: what a destination makes once per dataset is there then. (Making that twice at once is
    // up to the system's own locking, which stand-ins for it do differently.)
    let before = rows(&[(0, "before", 0)]);
    one.load(WriteMode::Append, &before, record("a", 1, 1)).await?;
    let (a, b) = (rows(&[(1, "a", 1)]), rows(&[(2, "b", 2), (3, "c", 3)]));
    let (first, second) = tokio::join!(
        one.load(WriteMode::Append, &a, record("a", 2, 1)),
        two.load(WriteMode::Append, &b, record("a", 1, 2))
    );
    first?;
    second?;
    one.holds("the first table", &[before, a].concat()).await?;
    two.holds("the second table", &b).await
}

async fn type_round_trip(ctx: Arc<Ctx>, data_type: BigQueryType) -> Done {
    let fixture = Arc::clone(ctx.loaded()?);
    let mut columns = vec![
        ("nullable", data_type.clone(), Mode::Nullable),
        ("required", data_type.clone(), Mode::Required),
    ];
    if !matches!(data_type, BigQueryType::Json | BigQueryType::Geography) {
        columns.push(("repeated", data_type, Mode::Repeated));
    }
    let loading = Loading::prepare(&ctx, target(&ctx.dataset(), "typed", &columns)).await?;
    let there = loading.destination.table(&loading.table.target).await?;
    let told =
        there.map(|table| table.columns.into_iter().map(|c| (c.data_type, c.mode)).collect::<Vec<_>>());
    let expected = loading.table.columns.iter().map(|c| (c.data_type.clone(), c.mode)).collect();
    equal("types", &told, &Some(expected))?;
    let expected = target_rows(&loading.table, |data_type, cell| fixture.accepts(data_type, cell))?;
    loading.load(WriteMode::Append, &expected, record("a", 1, expected.len())).await?;
    loading.holds("values", &expected).await
}

async fn odd_column_names(ctx: Arc<Ctx>) -> Done {
    let names = ["select", "from", "table", "order", "UPPER", "_leading", "n1", "a_b_c", "end"];
    let columns: Vec<_> = names.iter().map(|&name| (name, BigQueryType::String, Mode::Nullable)).collect();
    let loading = Loading::prepare(&ctx, target(&ctx.dataset(), "odd", &columns)).await?;
    let row = |n: usize| -> Row { names.iter().map(|name| Cell::Text(format!("{name} {n}"))).collect() };
    loading.load(WriteMode::Append, &[row(1)], record("a", 1, 1)).await?;
    loading.holds("appended", &[row(1)]).await?;
    if ctx.subject.capability().merge {
        let mode = WriteMode::Merge { key: vec!["select".into()], order_by: Some("order".into()) };
        loading.load(mode, &[row(1), row(2)], record("a", 2, 2)).await?;
        loading.holds("merged", &[row(1), row(2)]).await?;
    }
    let last = loading.destination.last_load(&loading.table.target, "a").await?;
    ensure(last.is_some(), || "no last load".to_owned())
}
