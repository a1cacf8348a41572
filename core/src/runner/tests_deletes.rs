//! Rows that the source deleted, through runs over tables in memory.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array as _, ArrayRef, BooleanArray, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow_schema::{DataType, Field};

use super::*;
use crate::error::ErrorKind;
use crate::job::{DeletePolicy, EtlJobBuilder, SoftDeletePolicy, StepDocument};
use crate::memory::Memory;
use crate::proof::{ProofLevel, Verdict};
use crate::schema::{DeletedWhen, RejectPolicy, TargetRef};

/// `(id, at, what, gone)`.
type Row = (i64, i64, &'static str, Option<&'static str>);

fn put(memory: &Memory, rows: &[Row]) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let at: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let what: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.2)));
    let gone: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.3)));
    let columns = [("id", ids, false), ("at", at, false), ("what", what, true), ("gone", gone, true)];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    memory.put("shop", "public", "orders", batch).unwrap();
}

fn plain(rows: &[(i64, i64)]) -> Vec<Row> {
    rows.iter().map(|(id, at)| (*id, *at, "x", None)).collect()
}

fn runner(memory: &Memory) -> Runner {
    let connection = |name: &str| Connection::from_url(&format!("memory:{name}")).unwrap().named(name);
    Runner::new(Registry::new().with(memory.clone()))
        .connection(connection("shop"))
        .connection(connection("lake"))
}

fn job() -> EtlJobBuilder {
    EtlJob::builder("orders")
        .from("shop", "public.orders")
        .into("lake", "raw", "orders")
        .merge(["id"], Some("at"))
        .proof(ProofLevel::Values)
}

async fn succeed(runner: &Runner, job: &EtlJobBuilder) -> RunReport {
    let report = runner.run(&job.clone().build().unwrap()).await;
    assert_eq!(report.status, RunStatus::Succeeded, "{report:?}");
    if let Some(proof) = &report.proof {
        assert_ne!(proof.verdict, Verdict::Different, "{proof:?}");
    }
    report
}

async fn refused(runner: &Runner, job: &EtlJobBuilder, kind: ErrorKind) -> Error {
    let report = runner.run(&job.clone().build().unwrap()).await;
    assert!(!report.committed, "{report:?}");
    let error = report.error.expect("the run fails");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

/// Ids of the target, sorted, and whether each is marked.
fn stored(memory: &Memory) -> Vec<(i64, bool)> {
    let batch = memory.get("lake", "raw", "orders").unwrap();
    let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
    let marks = batch.column_by_name("_deleted_at");
    let mut rows: Vec<_> =
        (0..ids.len()).map(|row| (ids.value(row), marks.is_some_and(|marks| marks.is_valid(row)))).collect();
    rows.sort_unstable();
    rows
}

fn alive(ids: &[i64]) -> Vec<(i64, bool)> {
    ids.iter().map(|id| (*id, false)).collect()
}

async fn last(runner: &Runner) -> crate::connector::LoadRecord {
    let lake = runner.registry().destination(runner.connection_named("lake").unwrap()).await.unwrap();
    lake.last_loads(&TargetRef::new("raw", "orders"), "orders").await.unwrap().remove(0)
}

#[tokio::test]
async fn rows_that_the_source_deleted_are_removed() {
    let memory = Memory::default();
    let (runner, job) = (runner(&memory), job().detect_deletes(DeletePolicy::Remove));
    put(&memory, &plain(&[(1, 1), (2, 2), (3, 3), (4, 4)]));
    let report = succeed(&runner, &job).await;
    assert_eq!((report.rows.keys, report.rows.deleted, report.rows.inserted), (4, 0, 4));
    // Deleted below the window, with changes in it.
    put(&memory, &plain(&[(1, 1), (3, 5), (4, 4)]));
    let report = succeed(&runner, &job).await;
    assert_eq!((report.rows.deleted, report.rows.updated, report.rows.written), (1, 1, 1));
    assert_eq!((stored(&memory), last(&runner).await.deleted), (alive(&[1, 3, 4]), 1));
    assert_eq!(report.proof.unwrap().verdict, Verdict::Equal);
    // Nothing but a deletion, of the highest cursor at that: no row is read, and yet there is a load.
    put(&memory, &plain(&[(1, 1), (4, 4)]));
    let report = succeed(&runner, &job).await;
    assert_eq!((report.rows.read, report.rows.deleted, report.committed), (0, 1, true));
    assert_eq!(stored(&memory), alive(&[1, 4]));
    let record = last(&runner).await;
    assert_eq!((record.rows, record.deleted, record.sequence), (0, 1, 3));
    // The watermark stays where it was, and nothing new is no load.
    let report = succeed(&runner, &job).await;
    assert_eq!((report.committed, report.rows.deleted, last(&runner).await.sequence), (false, 0, 3));
    put(&memory, &plain(&[(1, 1), (4, 4), (5, 6)]));
    assert_eq!(succeed(&runner, &job).await.rows.written, 1);
    assert_eq!(stored(&memory), alive(&[1, 4, 5]));
}

#[tokio::test]
async fn without_a_cursor_keys_are_compared_too() {
    let memory = Memory::default();
    let job = job().merge(["id"], None).detect_deletes(DeletePolicy::Remove);
    let runner = runner(&memory);
    put(&memory, &plain(&[(1, 1), (2, 2), (3, 3)]));
    succeed(&runner, &job).await;
    put(&memory, &plain(&[(1, 1), (3, 9), (4, 4)]));
    let report = succeed(&runner, &job).await;
    assert_eq!((report.rows.deleted, report.rows.updated, report.rows.inserted), (1, 2, 1));
    assert_eq!((stored(&memory), report.proof.unwrap().verdict), (alive(&[1, 3, 4]), Verdict::Equal));
}

#[tokio::test]
async fn marks_come_and_go() {
    let memory = Memory::default();
    let (runner, job) = (runner(&memory), job().detect_deletes(DeletePolicy::Mark));
    put(&memory, &plain(&[(1, 1), (2, 2), (3, 3)]));
    succeed(&runner, &job).await;
    assert_eq!(stored(&memory), alive(&[1, 2, 3]));
    put(&memory, &plain(&[(3, 3)]));
    let report = succeed(&runner, &job).await;
    assert_eq!((report.rows.marked, report.rows.deleted, last(&runner).await.marked), (2, 0, 2));
    assert_eq!(report.proof.unwrap().verdict, Verdict::Equal);
    assert_eq!(stored(&memory), [(1, true), (2, true), (3, false)]);
    let marks = memory.get("lake", "raw", "orders").unwrap();
    let marks = marks.column_by_name("_deleted_at").unwrap().as_primitive::<TimestampMicrosecondType>();
    let time = marks.iter().flatten().next().unwrap();
    assert!((report.started_at.as_microsecond() - time).abs() < 1_000_000, "{time}");
    // Marked rows are not marked again, and do not count for the ratio.
    let report = succeed(&runner, &job).await;
    assert_eq!((report.committed, report.rows.marked), (false, 0));
    // One comes back as it was, the other one changed.
    put(&memory, &plain(&[(1, 1), (2, 7), (3, 3)]));
    let report = succeed(&runner, &job).await;
    assert_eq!((report.rows.unmarked, report.rows.updated, report.rows.marked), (1, 1, 0));
    assert_eq!(stored(&memory), alive(&[1, 2, 3]));
}

#[tokio::test]
async fn a_source_that_lost_much_is_refused() {
    let memory = Memory::default();
    let (runner, job) = (runner(&memory), job().detect_deletes(DeletePolicy::Remove));
    let rows = |n: i64| plain(&(0..n).map(|id| (id, id)).collect::<Vec<_>>());
    put(&memory, &rows(2_000));
    succeed(&runner, &job).await;
    put(&memory, &rows(999));
    let error = refused(&runner, &job, ErrorKind::Data).await;
    assert!(error.message().contains("1001 of the target's 2000 rows"), "{error}");
    assert!(error.hint_text().unwrap().contains("max_ratio"), "{error:?}");
    assert_eq!(stored(&memory).len(), 2_000);
    // Exactly half is not more than half.
    put(&memory, &rows(1_000));
    assert_eq!(succeed(&runner, &job).await.rows.deleted, 1_000);
    put(&memory, &rows(400));
    assert_eq!(succeed(&runner, &job.clone().max_deleted_ratio(1.0)).await.rows.deleted, 600);
    // Small targets are judged only if the job says so.
    put(&memory, &rows(100));
    refused(&runner, &job.clone().max_deleted_ratio(0.1), ErrorKind::Data).await;
    assert_eq!(succeed(&runner, &job).await.rows.deleted, 300);
    // An empty source, whatever the ratio.
    put(&memory, &rows(0));
    let error = refused(&runner, &job.clone().max_deleted_ratio(1.0), ErrorKind::Data).await;
    assert!(error.hint_text().unwrap().contains("allow_empty"), "{error:?}");
    let report = succeed(&runner, &job.allow_empty()).await;
    assert_eq!((report.rows.deleted, stored(&memory).len()), (100, 0));
}

#[tokio::test]
async fn only_the_last_range_compares_keys() {
    let memory = Memory::default();
    let job = job().backfill_step(StepDocument::Units(10)).detect_deletes(DeletePolicy::Remove);
    let runner = runner(&memory);
    put(&memory, &plain(&(0..50).map(|id| (id, id)).collect::<Vec<_>>()));
    let report = succeed(&runner, &job).await;
    assert!(report.ranges_committed > 3, "{report:?}");
    assert_eq!((report.rows.keys, stored(&memory).len()), (50, 50));
    put(&memory, &plain(&(10..90).map(|id| (id, id)).collect::<Vec<_>>()));
    let report = succeed(&runner, &job).await;
    assert_eq!((report.rows.keys, report.rows.deleted), (80, 10));
    assert_eq!(stored(&memory).len(), 80);
    assert_eq!(report.proof.unwrap().verdict, Verdict::Equal);
}

#[tokio::test]
async fn rejected_rows_and_rows_without_a_key_delete_nothing() {
    let memory = Memory::default();
    let job = job()
        .override_type("what", "INT64", None)
        .on_reject(RejectPolicy::Null)
        .detect_deletes(DeletePolicy::Remove);
    let runner = runner(&memory);
    put(&memory, &[(1, 1, "1", None), (2, 2, "no number", None)]);
    succeed(&runner, &job).await;
    put(&memory, &[(1, 1, "1", None), (2, 3, "nor this", None)]);
    let report = succeed(&runner, &job).await;
    assert_eq!((report.rows.deleted, report.rows.incomplete), (0, 1));
    assert_eq!(stored(&memory), alive(&[1, 2]));

    // A key that is NULL outside of the window.
    let memory = Memory::default();
    let rows = |ids: &[Option<i64>]| {
        let at = Int64Array::from_iter_values(1..=i64::try_from(ids.len()).unwrap());
        let columns =
            [("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef), ("at", Arc::new(at) as _)];
        memory.put("shop", "public", "orders", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    };
    let runner = self::runner(&memory);
    let job = self::job().backfill_since("2").detect_deletes(DeletePolicy::Remove);
    rows(&[None, Some(2), Some(3)]);
    let report = succeed(&runner, &job).await;
    assert_eq!((report.rows.keys, report.rows.written), (2, 2));
    assert!(report.warnings.iter().any(|(_, warning)| warning.code == "W_NULL_KEY"), "{report:?}");
}

#[tokio::test]
async fn keys_that_do_not_fit_their_type_are_counted_and_not_compared() {
    let memory = Memory::default();
    let rows = |ids: &[&str]| {
        let at = Int64Array::from_iter_values(1..=i64::try_from(ids.len()).unwrap());
        let columns =
            [("id", Arc::new(StringArray::from(ids.to_vec())) as ArrayRef), ("at", Arc::new(at) as _)];
        memory.put("shop", "public", "orders", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    };
    let runner = runner(&memory);
    let job = job().override_type("id", "INT64", None).detect_deletes(DeletePolicy::Remove);
    // Outside of the window: a row in it whose key does not fit ends the run.
    let windowed = job.clone().backfill_since("2");
    rows(&["none", "2", "3", "4"]);
    let report = succeed(&runner, &windowed).await;
    assert_eq!((report.rows.keys, report.rows.written), (3, 3));
    rows(&["none", "2", "99999999999999999999", "4"]);
    let report = succeed(&runner, &windowed).await;
    assert_eq!((report.rows.keys, report.rows.deleted, stored(&memory)), (2, 1, alive(&[2, 4])));
    let (_, warning) = report.warnings.iter().find(|(_, warning)| warning.code == "W_NULL_KEY").unwrap();
    assert!(warning.text.starts_with("2 rows") && warning.text.contains("does not fit"), "{warning:?}");
    refused(&runner, &job.restart(), ErrorKind::Data).await;
}

#[tokio::test]
async fn keys_are_compared_in_the_types_of_the_target() {
    let memory = Memory::default();
    let rows = |ids: &[&str]| {
        let at = Int64Array::from_iter_values(1..=i64::try_from(ids.len()).unwrap());
        let columns = [
            ("id", Arc::new(StringArray::from(ids.to_vec())) as ArrayRef),
            ("line", Arc::new(Int64Array::from_iter_values((0..).take(ids.len()).map(|n| n % 2))) as _),
            ("at", Arc::new(at) as _),
        ];
        memory.put("shop", "public", "orders", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    };
    let runner = runner(&memory);
    let job = job()
        .merge(["id", "line"], Some("at"))
        .override_type("id", "INT64", None)
        .detect_deletes(DeletePolicy::Remove);
    rows(&["1", "2", "3"]);
    succeed(&runner, &job).await;
    // The same numbers in another spelling.
    rows(&["01", " 2", "5"]);
    let report = succeed(&runner, &job).await;
    assert_eq!((report.rows.deleted, stored(&memory)), (1, alive(&[1, 2, 5])));
    let float = self::job().override_type("id", "FLOAT64", None).merge(["id"], None);
    let float = float.restart().detect_deletes(DeletePolicy::Remove).override_type("id", "FLOAT64", None);
    let memory = Memory::default();
    put(&memory, &plain(&[(1, 1)]));
    let error = refused(&self::runner(&memory), &float, ErrorKind::Config).await;
    assert!(error.message().contains("cannot be compared"), "{error}");
}

#[tokio::test]
async fn rows_that_say_so_are_deleted() {
    let memory = Memory::default();
    let runner = runner(&memory);
    let job = |policy| job().soft_delete("gone", DeletedWhen::NotNull, policy);
    put(&memory, &[(1, 1, "a", None), (2, 2, "b", None), (3, 3, "c", Some("gone"))]);
    let report = succeed(&runner, &job(SoftDeletePolicy::Remove)).await;
    assert_eq!((report.rows.tombstones, report.rows.inserted, report.rows.deleted), (1, 2, 0));
    assert_eq!(report.proof.unwrap().verdict, Verdict::Equal);
    // A row dies, one comes back, and one dies within the load after a change.
    put(
        &memory,
        &[
            (1, 4, "a", Some("gone")),
            (2, 2, "b", None),
            (3, 5, "c", None),
            (4, 6, "d", None),
            (4, 7, "d", Some("gone")),
        ],
    );
    let report = succeed(&runner, &job(SoftDeletePolicy::Remove)).await;
    assert_eq!((report.rows.tombstones, report.rows.inserted, report.rows.deleted), (2, 1, 1));
    assert_eq!((stored(&memory), last(&runner).await.deleted), (alive(&[2, 3]), 1));
    // Kept, they are rows like others; marked, they have the time.
    let memory = Memory::default();
    let runner = self::runner(&memory);
    put(&memory, &[(1, 1, "a", None), (2, 2, "b", Some("gone"))]);
    let report = succeed(&runner, &job(SoftDeletePolicy::Keep)).await;
    assert_eq!((report.rows.tombstones, stored(&memory)), (1, alive(&[1, 2])));
    put(&memory, &[(1, 4, "a", Some("gone")), (2, 3, "b", Some("gone")), (3, 3, "c", None)]);
    let marks = job(SoftDeletePolicy::Mark).detect_deletes(DeletePolicy::Mark);
    succeed(&runner, &marks).await;
    assert_eq!(stored(&memory), [(1, true), (2, true), (3, false)]);
    // Its key is there, and yet it stays marked, since it says so itself.
    put(&memory, &[(1, 4, "a", Some("gone")), (2, 5, "b", None)]);
    let report = succeed(&runner, &marks).await;
    assert_eq!((report.rows.marked, report.rows.unmarked), (1, 0));
    assert_eq!(stored(&memory), [(1, true), (2, false), (3, true)]);
    assert_ne!(report.proof.unwrap().verdict, Verdict::Different);
}

#[tokio::test]
async fn a_flag_says_so() {
    let memory = Memory::default();
    let columns = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef),
        ("gone", Arc::new(BooleanArray::from(vec![Some(false), Some(true), None])) as _),
    ];
    memory.put("shop", "public", "orders", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    let job =
        |column: &str, when| job().merge(["id"], None).soft_delete(column, when, SoftDeletePolicy::Remove);
    let runner = runner(&memory);
    succeed(&runner, &job("gone", DeletedWhen::True)).await;
    assert_eq!(stored(&memory), alive(&[1, 3]));
    let error = refused(&runner, &job("gnoe", DeletedWhen::True), ErrorKind::Config).await;
    assert!(error.to_string().contains("gnoe"), "{error}");
    let memory = Memory::default();
    put(&memory, &plain(&[(1, 1)]));
    let runner = self::runner(&memory);
    let error = refused(&runner, &job("what", DeletedWhen::True), ErrorKind::Config).await;
    assert!(error.message().contains("not BOOL"), "{error}");
}

#[tokio::test]
async fn lists_and_records_do_not_say_so() {
    let memory = Memory::default();
    let tags = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)]), None]);
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let place = StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), inner)]);
    let columns = [
        ("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
        ("tags", Arc::new(tags) as _),
        ("place", Arc::new(place) as _),
    ];
    memory.put("shop", "public", "orders", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    for column in ["tags", "place"] {
        let job = job().merge(["id"], None).proof(ProofLevel::Off);
        let job = job.soft_delete(column, DeletedWhen::NotNull, SoftDeletePolicy::Remove);
        let error = refused(&runner(&memory), &job, ErrorKind::Config).await;
        assert!(error.message().contains(column) && error.message().contains("list or a record"), "{error}");
    }
}
