//! Cursor summaries and windows.

use std::sync::Arc;

use transload_core::ErrorKind;
use transload_core::connector::{CursorFilter, ReadPlan};
use transload_core::schema::CursorValue;

use super::integer;
use crate::cell::{Cell, Row};
use crate::check::{ensure, equal, error_of, read_plan};
use crate::fixture::{Done, Failure};
use crate::suite::{Cases, Ctx};
use crate::table::{Kind, TestColumn, TestTable, same_rows};

pub(super) fn add(cases: &mut Cases) {
    if !cases.subject().capability().cursor {
        cases.add("source::cursor_is_unsupported", cursor_is_unsupported);
        return;
    }
    let Some(facts) = cases.subject().source.as_ref().map(|fixture| fixture.facts()) else { return };
    if !facts.text_cursors {
        cases.add("source::cursor_of_text_is_unsupported", cursor_is_unsupported);
    }
    let serves = |kind: &Kind| kind.is_cursor() && (facts.text_cursors || *kind != Kind::Text);
    for kind in facts.kinds.iter().copied().filter(serves) {
        let name = kind.name();
        cases.add(&format!("source::cursor_summary_{name}"), move |ctx| summary(ctx, kind));
        cases.add(&format!("source::cursor_windows_{name}"), move |ctx| windows(ctx, kind));
    }
    cases.add("source::cursor_of_another_type", of_another_type);
    cases.add("source::settled_cursor", settled);
}

/// 40 rows: ids from 0, cursor values 0, 0, 0, 1, 1, 1, ... and every tenth NULL.
fn table(ctx: &Ctx, kind: Kind) -> Done<TestTable> {
    let id = integer(ctx)?;
    let columns = vec![TestColumn::new("id", id).required(), TestColumn::new("at", kind)];
    let value = |n: i32| if n % 10 == 9 { Cell::Null } else { kind.nth(n / 3) };
    // Not in the order of the cursor, as rows of a table are in no order.
    let rows: Vec<Row> = (0..40).map(|n| (n * 7) % 40).map(|n| vec![id.nth(n), value(n)]).collect();
    Ok(TestTable::new(ctx.name("cursor"), columns).key(&["id"]).rows(rows))
}

async fn cursor_is_unsupported(ctx: Arc<Ctx>) -> Done {
    let table = table(&ctx, Kind::Text)?;
    let session = ctx.open_source().await?.begin(&ctx.create(&table).await?).await?;
    error_of("cursor_summary", session.cursor_summary("at").await, &[ErrorKind::Unsupported])?;
    let filter = filter("at", None, None);
    let plan = ReadPlan { filter: Some(filter), ..ReadPlan::default() };
    error_of("splits", session.splits(&plan).await, &[ErrorKind::Unsupported]).map(|_| ())
}

/// Where open transactions can be seen, a time has a bound and a number has none; elsewhere neither has.
async fn settled(ctx: Arc<Ctx>) -> Done {
    let source = ctx.open_source().await?;
    let declared = ctx.subject.capability().open_transactions;
    for kind in ctx.tables()?.facts().kinds.into_iter().filter(|kind| kind.is_cursor()) {
        let table = TestTable { name: ctx.name(kind.name()), ..table(&ctx, kind)? };
        let rows = table.rows.len();
        let made = ctx.create(&table).await?;
        let begun = source.begin_settled(&made, "at").await;
        if !(declared && kind == Kind::Timestamp) {
            error_of(kind.name(), begun, &[ErrorKind::Unsupported])?;
            continue;
        }
        let (session, settled) = begun?;
        let max = session.cursor_summary("at").await?.max.ok_or_else(|| Failure::new("no highest cursor"))?;
        ensure(settled.upto.compare(&max).is_some(), || {
            format!("{settled:?} cannot be compared with {max:?}")
        })?;
        let read = read_plan(session.as_ref(), &ReadPlan::default()).await?;
        equal("rows of a settled session", &read.len(), &rows)?;
    }
    Ok(())
}

fn filter(column: &str, lo: Option<&CursorValue>, hi: Option<&CursorValue>) -> CursorFilter {
    CursorFilter {
        column: column.to_owned(),
        lo: lo.cloned(),
        lo_inclusive: true,
        hi: hi.cloned(),
        include_nulls: false,
    }
}

/// The cursor value of a cell, as the session itself spells it (decimals carry the column's scale).
async fn bound(
    session: &dyn transload_core::connector::ReadSession,
    kind: Kind,
    n: i32,
) -> Done<CursorValue> {
    let nanos = |micros: i64| transload_core::schema::Nanos(i128::from(micros) * 1000);
    Ok(match kind.nth(n) {
        Cell::Int(value) => CursorValue::Int(value),
        Cell::Date(days) => CursorValue::Date(days),
        Cell::DateTime(at) => CursorValue::DateTime(nanos(at)),
        Cell::Timestamp(at) => CursorValue::Timestamp(nanos(at)),
        Cell::Decimal(text) => {
            let Some(CursorValue::Decimal(_, scale)) = session.cursor_summary("at").await?.max else {
                return Err(Failure::new("the highest value of a decimal column is no decimal"));
            };
            // `nth` gives one digit behind the point.
            let tenths: i64 = text.replace('.', "").parse()?;
            let rest = u32::try_from(scale)? - 1;
            CursorValue::Decimal((tenths * 10_i64.pow(rest)).to_string(), scale)
        }
        Cell::Text(text) => CursorValue::Text(text),
        other => return Err(Failure::new(format!("{other:?} is no cursor value"))),
    })
}

async fn summary(ctx: Arc<Ctx>, kind: Kind) -> Done {
    let table = table(&ctx, kind)?;
    let session = ctx.open_source().await?.begin(&ctx.create(&table).await?).await?;
    let summary = session.cursor_summary("at").await?;
    equal("rows without a cursor", &summary.nulls, &4)?;
    equal("lowest", &summary.min, &Some(bound(session.as_ref(), kind, 0).await?))?;
    equal("highest", &summary.max, &Some(bound(session.as_ref(), kind, 12).await?))
}

async fn windows(ctx: Arc<Ctx>, kind: Kind) -> Done {
    let table = table(&ctx, kind)?;
    let made = ctx.create(&table).await?;
    let session = ctx.open_source().await?.begin(&made).await?;
    let session = session.as_ref();
    let at = |n: i32| bound(session, kind, n);
    let expected = |from: i32, to: i32, nulls: bool| -> Vec<Row> {
        let wanted: Vec<Cell> = (from..=to).map(|n| kind.nth(n)).collect();
        let keep =
            |row: &&Row| row.get(1).is_some_and(|cell| wanted.contains(cell) || (nulls && cell.is_null()));
        table.rows.iter().filter(keep).cloned().collect()
    };
    let low = at(4).await?;
    let high = at(8).await?;
    let exclusive = |filter: CursorFilter| CursorFilter { lo_inclusive: false, ..filter };
    let with_nulls = |filter: CursorFilter| CursorFilter { include_nulls: true, ..filter };
    let between = filter("at", Some(&low), Some(&high));
    for (what, window, rows) in [
        ("no bounds", filter("at", None, None), expected(0, 12, false)),
        ("no bounds, nulls", with_nulls(filter("at", None, None)), expected(0, 12, true)),
        ("up to", filter("at", None, Some(&low)), expected(0, 4, false)),
        ("from, inclusive", filter("at", Some(&high), None), expected(8, 12, false)),
        ("from, exclusive", exclusive(filter("at", Some(&high), None)), expected(9, 12, false)),
        ("between, inclusive", between.clone(), expected(4, 8, false)),
        ("between, exclusive", exclusive(between.clone()), expected(5, 8, false)),
        ("between, nulls", with_nulls(between), expected(4, 8, true)),
        ("one value", filter("at", Some(&low), Some(&low)), expected(4, 4, false)),
        ("empty", exclusive(filter("at", Some(&low), Some(&low))), Vec::new()),
    ] {
        for parallelism in [1, 3] {
            let plan = ReadPlan { filter: Some(window.clone()), parallelism, ..ReadPlan::default() };
            let read = read_plan(session, &plan).await?;
            same_rows(&read, &rows, &table.forms())
                .map_err(|failure| failure.during(&format!("{what}, parallelism {parallelism}")))?;
        }
    }
    // Windows that follow one another hold every row once, also when the cursor itself is not read.
    let mut ids = Vec::new();
    let cut = [None, Some(at(2).await?), Some(low), Some(high), None];
    for (i, pair) in cut.windows(2).enumerate() {
        let [lo, hi] = pair else { continue };
        let window =
            CursorFilter { include_nulls: i == 0, ..exclusive(filter("at", lo.as_ref(), hi.as_ref())) };
        let plan = ReadPlan { columns: vec!["id".into()], filter: Some(window), ..ReadPlan::default() };
        ids.extend(read_plan(session, &plan).await?);
    }
    let all: Vec<Row> = table.rows.iter().map(|row| row.iter().take(1).cloned().collect()).collect();
    same_rows(&ids, &all, &[]).map_err(|failure| failure.during("windows that follow one another"))
}

async fn of_another_type(ctx: Arc<Ctx>) -> Done {
    let kind = integer(&ctx)?;
    let table = table(&ctx, kind)?;
    let session = ctx.open_source().await?.begin(&ctx.create(&table).await?).await?;
    let wrong = if kind == Kind::Int { CursorValue::Text("x".into()) } else { CursorValue::Int(1) };
    let plan = ReadPlan { filter: Some(filter("at", Some(&wrong), None)), ..ReadPlan::default() };
    let read = async {
        let mut rows = 0;
        for split in session.splits(&plan).await? {
            let mut batches = session.read(&split).await?;
            while let Some(batch) = futures::StreamExt::next(&mut batches).await {
                rows += batch?.num_rows();
            }
        }
        Ok::<_, transload_core::Error>(rows)
    };
    let error = error_of(
        "a window of another type",
        read.await,
        &[ErrorKind::SchemaChanged, ErrorKind::Config, ErrorKind::Data],
    )?;
    ensure(error.hint_text().is_some(), || format!("no hint: {error}"))
}
