//! Merging by key.

use std::sync::Arc;

use transload_core::ErrorKind;
use transload_core::connector::{LoadOutcome, WriteMode};
use transload_core::schema::{BigQueryType, Mode};

use super::{Loading, record, rows};
use crate::cell::Cell;
use crate::check::{ensure, equal, error_of};
use crate::fixture::Done;
use crate::suite::{Cases, Ctx};
use crate::table::target;

pub(super) fn add(cases: &mut Cases) {
    if !cases.subject().capability().merge {
        cases.add("destination::merge_is_unsupported", unsupported);
        return;
    }
    cases.add("destination::merge", merge);
    cases.add("destination::merge_duplicates_within_a_load", duplicates);
    cases.add("destination::merge_by_several_columns", several_columns);
    cases.add("destination::merge_refuses_null_keys", null_keys);
    cases.add("destination::merge_is_idempotent", idempotent);
}

fn by_id(order_by: Option<&str>) -> WriteMode {
    WriteMode::Merge { key: vec!["id".to_owned()], order_by: order_by.map(str::to_owned) }
}

async fn unsupported(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    error_of("begin_load", loading.begin(by_id(None), "000001-a").await, &[ErrorKind::Unsupported])
        .map(|_| ())
}

fn counts(outcome: &LoadOutcome) -> (u64, u64, u64) {
    (outcome.inserted, outcome.updated, outcome.superseded)
}

async fn merge(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let first = rows(&[(1, "a", 1), (2, "b", 2), (3, "c", 3)]);
    let outcome = loading.load(by_id(Some("at")), &first, record("a", 1, 3)).await?;
    equal("(inserted, updated, superseded)", &counts(&outcome), &(3, 0, 0))?;
    loading.holds("first load", &first).await?;
    let second = rows(&[(2, "B", 4), (4, "d", 4)]);
    let outcome = loading.load(by_id(Some("at")), &second, record("a", 2, 2)).await?;
    equal("(inserted, updated, superseded)", &counts(&outcome), &(1, 1, 0))?;
    loading.holds("second load", &rows(&[(1, "a", 1), (2, "B", 4), (3, "c", 3), (4, "d", 4)])).await?;
    // An empty merge changes nothing.
    let outcome = loading.load(by_id(None), &[], record("a", 3, 0)).await?;
    equal("(inserted, updated, superseded)", &counts(&outcome), &(0, 0, 0))?;
    loading.holds("empty merge", &rows(&[(1, "a", 1), (2, "B", 4), (3, "c", 3), (4, "d", 4)])).await
}

async fn duplicates(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    loading.load(by_id(None), &rows(&[(1, "old", 0), (9, "kept", 0)]), record("a", 1, 2)).await?;
    // The highest value of `at` wins; of equals the later written one; NULL is lowest. Over two batches.
    let writer = loading.begin(by_id(Some("at")), "000002-a").await?;
    let mut batch = rows(&[(1, "newest", 5), (2, "tie, first", 7), (3, "x", 1)]);
    batch.push(vec![Cell::Int(4), Cell::text("has none"), Cell::Null]);
    loading.write(writer.as_ref(), &batch).await?;
    let batch = rows(&[(1, "older", 4), (2, "tie, later", 7), (4, "has one", -5)]);
    loading.write(writer.as_ref(), &batch).await?;
    let outcome = writer.commit(record("a", 2, 7)).await?;
    equal("(inserted, updated, superseded)", &counts(&outcome), &(3, 1, 3))?;
    let expected = [(1, "newest", 5), (2, "tie, later", 7), (3, "x", 1), (4, "has one", -5), (9, "kept", 0)];
    loading.holds("by the newest", &rows(&expected)).await?;
    // Without an order the later written one wins.
    let outcome = loading.load(by_id(None), &rows(&[(1, "p", 9), (1, "q", 1)]), record("a", 3, 2)).await?;
    equal("(inserted, updated, superseded)", &counts(&outcome), &(0, 1, 1))?;
    let expected = [(1, "q", 1), (2, "tie, later", 7), (3, "x", 1), (4, "has one", -5), (9, "kept", 0)];
    loading.holds("by the last written", &rows(&expected)).await
}

async fn several_columns(ctx: Arc<Ctx>) -> Done {
    let columns = [
        ("country", BigQueryType::String, Mode::Required),
        ("day", BigQueryType::Date, Mode::Required),
        ("total", BigQueryType::Numeric(None), Mode::Nullable),
    ];
    let loading = Loading::prepare(&ctx, target(&ctx.dataset(), "composite", &columns)).await?;
    let row = |country: &str, day: i32, total: &str| {
        vec![Cell::text(country), Cell::Date(day), Cell::Decimal(total.to_owned())]
    };
    let mode = || WriteMode::Merge { key: vec!["country".into(), "day".into()], order_by: None };
    let first = [row("de", 1, "1"), row("de", 2, "2"), row("d", 1, "3"), row("", 1, "4")];
    loading.load(mode(), &first, record("a", 1, 4)).await?;
    let outcome = loading.load(mode(), &[row("de", 2, "22"), row("", 2, "5")], record("a", 2, 2)).await?;
    equal("(inserted, updated, superseded)", &counts(&outcome), &(1, 1, 0))?;
    let expected =
        [row("de", 1, "1"), row("de", 2, "22"), row("d", 1, "3"), row("", 1, "4"), row("", 2, "5")];
    loading.holds("merged", &expected).await
}

async fn null_keys(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let first = rows(&[(1, "a", 1)]);
    loading.load(by_id(None), &first, record("a", 1, 1)).await?;
    let attempt = async {
        let writer = loading.begin(by_id(None), "000002-a").await?;
        let batch = crate::table::to_batch(
            &loading.table.arrow_schema(),
            &[vec![Cell::Int(1), Cell::text("b"), Cell::Null], vec![Cell::Null, Cell::text("x"), Cell::Null]],
        );
        let batch = batch.map_err(|failure| transload_core::Error::internal(format!("{failure:?}")))?;
        writer.write(batch).await?;
        writer.commit(record("a", 2, 2)).await
    };
    let error = error_of("a key that is NULL", attempt.await, &[ErrorKind::Data])?;
    ensure(error.to_string().contains("id"), || format!("the column is not named: {error}"))?;
    loading.holds("after the refusal", &first).await
}

async fn idempotent(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    loading.load(by_id(None), &rows(&[(1, "a", 1), (2, "b", 2)]), record("a", 1, 2)).await?;
    let change = rows(&[(2, "B", 3), (3, "c", 3)]);
    loading.load(by_id(None), &change, record("a", 2, 2)).await?;
    let again = loading.load(by_id(None), &change, record("a", 2, 2)).await?;
    equal("already committed", &again.already_committed, &true)?;
    loading.holds("merged once", &rows(&[(1, "a", 1), (2, "B", 3), (3, "c", 3)])).await
}
