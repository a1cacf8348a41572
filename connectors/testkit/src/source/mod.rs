//! What every source must do.

mod catalog;
mod cursor;
mod read;
mod robust;

use crate::cell::{Cell, Row};
use crate::suite::{Cases, Ctx};
use crate::table::{Kind, TestColumn, TestTable};

pub(crate) fn add(cases: &mut Cases) {
    if cases.subject().source.is_none() {
        return;
    }
    catalog::add(cases);
    read::add(cases);
    cursor::add(cases);
    robust::add(cases);
}

/// The kind that stands for integers: text where the source has no integers.
pub(crate) fn integer(ctx: &Ctx) -> crate::Done<Kind> {
    Ok(if ctx.tables()?.facts().kinds.contains(&Kind::Int) { Kind::Int } else { Kind::Text })
}

/// A table `(id, what)` with `rows` rows.
pub(crate) fn numbered(ctx: &Ctx, what: &str, rows: i32) -> crate::Done<TestTable> {
    let id = integer(ctx)?;
    let columns = vec![TestColumn::new("id", id).required(), TestColumn::new("what", Kind::Text)];
    let rows: Vec<Row> = (0..rows).map(|n| vec![id.nth(n), Cell::Text(format!("row {n}"))]).collect();
    Ok(TestTable::new(ctx.name(what), columns).key(&["id"]).rows(rows))
}
