//! Rows that the source deleted.

use std::sync::Arc;

use transload_core::ErrorKind;
use transload_core::connector::{
    Deletes, KeyComparison, LoadOutcome, LoadRecord, LoadWriter, Missing, WriteMode,
};
use transload_core::schema::{BigQueryType, DeletedWhen, Mode, TargetColumn, TargetTable, Tombstone};

use super::{Loading, record, rows};
use crate::cell::{Cell, Row};
use crate::check::{equal, error_of};
use crate::fixture::Done;
use crate::suite::{Cases, Ctx};
use crate::table::{target, to_batch};

pub(super) fn add(cases: &mut Cases) {
    let capability = cases.subject().capability();
    if !capability.merge {
        return;
    }
    if !capability.deletes {
        cases.add("destination::deletes_are_unsupported", unsupported);
        return;
    }
    cases.add("destination::deletes_rows_without_a_key", remove);
    cases.add("destination::deletes_by_several_columns", several_columns);
    cases.add("destination::deletes_no_row_whose_key_is_null", null_keys);
    cases.add("destination::deletes_by_marks", mark);
    cases.add("destination::deletes_rows_that_say_so", tombstones);
    cases.add("destination::deletes_nothing_before_the_commit", aborted);
}

fn by_id() -> WriteMode {
    WriteMode::Merge { key: vec!["id".to_owned()], order_by: Some("at".to_owned()) }
}

fn removing() -> Deletes {
    Deletes { missing: Some(Missing::Remove), ..Deletes::default() }
}

async fn unsupported(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let told = async {
        let writer = loading.begin_deleting(by_id(), removing(), "000001-a").await?;
        writer.compare_keys().await
    };
    error_of("compare_keys", told.await, &[ErrorKind::Unsupported]).map(|_| ())
}

impl Loading {
    /// The columns of the target that are the key, as a table.
    fn keys(&self, key: &[&str]) -> TargetTable {
        let columns = key.iter().filter_map(|name| self.table.column(name).cloned()).collect();
        TargetTable::new(self.table.target.clone(), columns)
    }

    /// A load of rows with the keys that the source has.
    async fn load_deleting(
        &self,
        mode: WriteMode,
        deletes: Deletes,
        new: &[Row],
        keys: &[Row],
        record: LoadRecord,
    ) -> Done<(KeyComparison, LoadOutcome)> {
        let writer = self.begin_deleting(mode.clone(), deletes, &record.load_id).await?;
        if !new.is_empty() {
            self.write(writer.as_ref(), new).await?;
        }
        let compared = self.tell(writer.as_ref(), &mode, keys).await?;
        writer.seal().await?;
        Ok((compared, writer.commit(record).await?))
    }

    /// Tells keys in two batches, the last of them twice.
    async fn tell(&self, writer: &dyn LoadWriter, mode: &WriteMode, keys: &[Row]) -> Done<KeyComparison> {
        let WriteMode::Merge { key, .. } = mode else { return Ok(KeyComparison::default()) };
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let schema = self.keys(&key).arrow_schema();
        for part in
            [keys.get(..keys.len() / 2), keys.get(keys.len() / 2..), keys.last().map(std::slice::from_ref)]
        {
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                writer.keep(to_batch(&schema, part)?).await?;
            }
        }
        Ok(writer.compare_keys().await?)
    }
}

fn ids(ids: &[i64]) -> Vec<Row> {
    ids.iter().map(|id| vec![Cell::Int(*id)]).collect()
}

/// `(rows, gone, back)`; what a comparison costs is each destination's own.
fn told(compared: KeyComparison) -> (u64, u64, u64) {
    (compared.rows, compared.gone, compared.back)
}

fn counts(outcome: &LoadOutcome) -> (u64, u64, u64) {
    (outcome.inserted, outcome.updated, outcome.deleted)
}

async fn remove(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let first = rows(&[(1, "a", 1), (2, "b", 2), (3, "c", 3), (4, "d", 4)]);
    let load = |new: Vec<Row>, keys: &'static [i64], record| {
        let loading = &loading;
        async move { loading.load_deleting(by_id(), removing(), &new, &ids(keys), record).await }
    };
    // A load into an empty table has nothing to delete.
    let (compared, outcome) = load(first, &[1, 2, 3, 4], record("a", 1, 4)).await?;
    equal("compared with nothing", &told(compared), &(0, 0, 0))?;
    equal("(inserted, updated, deleted)", &counts(&outcome), &(4, 0, 0))?;
    // One is gone, one is changed, one is new; keys that the target does not have change nothing.
    let (compared, outcome) =
        load(rows(&[(2, "B", 5), (5, "e", 5)]), &[1, 2, 4, 5, 99], record("a", 2, 2)).await?;
    equal("compared", &told(compared), &(4, 1, 0))?;
    equal("(inserted, updated, deleted)", &counts(&outcome), &(1, 1, 1))?;
    loading.holds("one gone", &rows(&[(1, "a", 1), (2, "B", 5), (4, "d", 4), (5, "e", 5)])).await?;
    let last = loading.destination.last_load(&loading.table.target, "a").await?;
    equal("deleted, by the record", &last.map(|last| (last.deleted, last.marked)), &Some((1, 0)))?;
    // Without any row of its own.
    let (compared, outcome) = load(Vec::new(), &[5], record("a", 3, 0)).await?;
    equal("compared", &told(compared), &(4, 3, 0))?;
    equal("(inserted, updated, deleted)", &counts(&outcome), &(0, 0, 3))?;
    loading.holds("three gone", &rows(&[(5, "e", 5)])).await?;
    // No key at all: whoever calls has decided that.
    let (compared, outcome) = load(Vec::new(), &[], record("a", 4, 0)).await?;
    equal("(rows, gone, deleted)", &(compared.rows, compared.gone, outcome.deleted), &(1, 1, 1))?;
    loading.holds("none left", &[]).await
}

async fn several_columns(ctx: Arc<Ctx>) -> Done {
    let columns = [
        ("country", BigQueryType::String, Mode::Required),
        ("day", BigQueryType::Date, Mode::Required),
        ("total", BigQueryType::Numeric(None), Mode::Nullable),
    ];
    let loading = Loading::prepare(&ctx, target(&ctx.dataset(), "composite", &columns)).await?;
    // Not in the order of the table.
    let mode = || WriteMode::Merge { key: vec!["day".into(), "country".into()], order_by: None };
    let row =
        |country: &str, day: i32| vec![Cell::text(country), Cell::Date(day), Cell::Decimal("1".to_owned())];
    let key = |country: &str, day: i32| vec![Cell::Date(day), Cell::text(country)];
    let first = [row("de", 1), row("de", 2), row("d", 1), row("", 1)];
    loading.load(mode(), &first, record("a", 1, 4)).await?;
    let keys = [key("de", 1), key("", 1), key("d", 2), key("e", 1)];
    let done = loading.load_deleting(mode(), removing(), &[row("", 1)], &keys, record("a", 2, 1)).await?;
    equal("(inserted, updated, deleted)", &counts(&done.1), &(0, 1, 2))?;
    loading.holds("two gone", &[row("de", 1), row("", 1)]).await
}

/// The load has a REQUIRED key, the table that is there a NULLABLE one.
async fn null_keys(ctx: Arc<Ctx>) -> Done {
    let mut loading = Loading::prepared(&ctx).await?;
    let row = |id: Cell, what: &str| vec![id, Cell::text(what), Cell::Int(1)];
    let first = [row(Cell::Int(1), "a"), row(Cell::Null, "no key"), row(Cell::Int(2), "b")];
    loading.load(WriteMode::Append, &first, record("b", 1, 3)).await?;
    let as_it_is = loading.table.clone();
    for column in loading.table.columns.iter_mut().filter(|column| column.name == "id") {
        column.mode = Mode::Required;
    }
    let (compared, outcome) =
        loading.load_deleting(by_id(), removing(), &[], &ids(&[1]), record("a", 1, 0)).await?;
    equal("compared", &told(compared), &(2, 1, 0))?;
    equal("deleted", &outcome.deleted, &1)?;
    loading.table = as_it_is;
    loading.holds("one gone", &first[..2]).await
}

const AT: i64 = 1_700_000_000_000_000;

fn marking(tombstone: Option<Tombstone>) -> Done<Deletes> {
    let at = jiff::Timestamp::from_microsecond(AT)?;
    let missing = Some(Missing::Mark { column: "gone_at".to_owned(), at });
    Ok(Deletes { missing, tombstone, remove_tombstones: false })
}

/// `(id, what, at, gone_at)`, of which the last may be NULL.
fn marked(values: &[(i64, &str, i64, Option<i64>)]) -> Vec<Row> {
    let time = |at: &Option<i64>| at.map_or(Cell::Null, Cell::Timestamp);
    values
        .iter()
        .map(|(id, what, at, gone)| vec![Cell::Int(*id), Cell::text(*what), Cell::Int(*at), time(gone)])
        .collect()
}

async fn mark(ctx: Arc<Ctx>) -> Done {
    let mut loading = Loading::prepared(&ctx).await?;
    // Rows of before the column.
    loading.load(by_id(), &rows(&[(1, "a", 1), (2, "b", 2), (3, "c", 3)]), record("a", 1, 3)).await?;
    let column = |name: &str, data_type| TargetColumn {
        name: name.to_owned(),
        data_type,
        mode: Mode::Nullable,
        description: None,
    };
    loading.table.columns.push(column("gone_at", BigQueryType::Timestamp));
    loading.destination.prepare(&loading.table, transload_core::connector::OnSchemaChange::Evolve).await?;
    let load = |deletes, new: Vec<Row>, keys: &'static [i64], record| {
        let loading = &loading;
        async move { loading.load_deleting(by_id(), deletes, &new, &ids(keys), record).await }
    };
    let new = marked(&[(4, "d", 4, None)]);
    let (compared, outcome) = load(marking(None)?, new, &[3, 4], record("a", 2, 1)).await?;
    equal("compared", &told(compared), &(3, 2, 0))?;
    equal("(deleted, marked, unmarked)", &(outcome.deleted, outcome.marked, outcome.unmarked), &(0, 2, 0))?;
    let holds = marked(&[(1, "a", 1, Some(AT)), (2, "b", 2, Some(AT)), (3, "c", 3, None), (4, "d", 4, None)]);
    loading.holds("two marked", &holds).await?;
    let last = loading.destination.last_load(&loading.table.target, "a").await?;
    equal("marked, by the record", &last.map(|last| (last.deleted, last.marked)), &Some((0, 2)))?;
    // One comes back as it was, one with a change, which is no mark that was taken away; one goes.
    let new = marked(&[(2, "B", 5, None)]);
    let (compared, outcome) = load(marking(None)?, new, &[1, 2, 4], record("a", 3, 1)).await?;
    equal("compared", &told(compared), &(2, 1, 2))?;
    equal("(deleted, marked, unmarked)", &(outcome.deleted, outcome.marked, outcome.unmarked), &(0, 1, 1))?;
    let holds = marked(&[(1, "a", 1, None), (2, "B", 5, None), (3, "c", 3, Some(AT)), (4, "d", 4, None)]);
    loading.holds("two back", &holds).await?;
    // What says of itself that it is deleted stays marked, though its key is there.
    let says_so = Tombstone { column: "what".to_owned(), when: DeletedWhen::NotNull };
    let (compared, _) = load(marking(Some(says_so))?, Vec::new(), &[1, 2, 3, 4], record("a", 4, 0)).await?;
    equal("compared", &told(compared), &(3, 0, 0))?;
    loading.holds("none back", &holds).await
}

async fn tombstones(ctx: Arc<Ctx>) -> Done {
    let columns = [
        ("id", BigQueryType::Int64, Mode::Nullable),
        ("what", BigQueryType::String, Mode::Nullable),
        ("at", BigQueryType::Int64, Mode::Nullable),
        ("gone", BigQueryType::Bool, Mode::Nullable),
    ];
    let loading = Loading::prepare(&ctx, target(&ctx.dataset(), "told", &columns)).await?;
    let row = |id: i64, what: &str, at: i64, gone: Option<bool>| {
        vec![Cell::Int(id), Cell::text(what), Cell::Int(at), gone.map_or(Cell::Null, Cell::Bool)]
    };
    let tombstone = Some(Tombstone { column: "gone".to_owned(), when: DeletedWhen::True });
    let deletes = || Deletes { missing: None, tombstone: tombstone.clone(), remove_tombstones: true };
    let load = |new: Vec<Row>, sequence| {
        let (loading, deletes) = (&loading, deletes());
        async move {
            let record = record("a", sequence, new.len());
            let writer = loading.begin_deleting(by_id(), deletes, &record.load_id).await?;
            loading.write(writer.as_ref(), &new).await?;
            writer.seal().await?;
            Done::Ok(writer.commit(record).await?)
        }
    };
    let first = vec![
        row(1, "a", 1, None),
        row(2, "b", 2, Some(false)),
        row(3, "c", 3, Some(true)),
        row(4, "d", 4, None),
    ];
    let outcome = load(first, 1).await?;
    equal("(inserted, updated, deleted)", &counts(&outcome), &(3, 0, 0))?;
    // One dies, one is born and dies within the load, one dies and lives again.
    let second = vec![
        row(1, "a", 5, Some(true)),
        row(5, "e", 5, None),
        row(5, "e", 6, Some(true)),
        row(2, "b", 5, Some(true)),
        row(2, "B", 6, None),
    ];
    let outcome = load(second, 2).await?;
    equal("(inserted, updated, deleted)", &counts(&outcome), &(0, 1, 1))?;
    equal("superseded", &outcome.superseded, &2)?;
    loading.holds("one dead", &[row(2, "B", 6, None), row(4, "d", 4, None)]).await?;
    let last = loading.destination.last_load(&loading.table.target, "a").await?;
    equal("deleted, by the record", &last.map(|last| last.deleted), &Some(1))?;
    // Nothing but deaths.
    let outcome = load(vec![row(4, "d", 9, Some(true)), row(7, "never there", 9, Some(true))], 3).await?;
    equal("(inserted, updated, deleted)", &counts(&outcome), &(0, 0, 1))?;
    loading.holds("one left", &[row(2, "B", 6, None)]).await
}

async fn aborted(ctx: Arc<Ctx>) -> Done {
    let loading = Loading::prepared(&ctx).await?;
    let first = rows(&[(1, "a", 1), (2, "b", 2)]);
    loading.load(by_id(), &first, record("a", 1, 2)).await?;
    let writer = loading.begin_deleting(by_id(), removing(), "000002-a").await?;
    loading.tell(writer.as_ref(), &by_id(), &ids(&[1])).await?;
    writer.abort().await?;
    loading.holds("after the abort", &first).await?;
    // The same load again, and once more.
    let again = |keys: &'static [i64]| {
        let loading = &loading;
        async move { loading.load_deleting(by_id(), removing(), &[], &ids(keys), record("a", 2, 0)).await }
    };
    equal("deleted", &again(&[1]).await?.1.deleted, &1)?;
    equal("already committed", &again(&[]).await?.1.already_committed, &true)?;
    loading.holds("deleted once", &rows(&[(1, "a", 1)])).await
}
