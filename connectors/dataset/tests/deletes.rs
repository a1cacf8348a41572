//! Rows that the source deleted: more keys than fit into memory, files that stay as they are, and types.
#![expect(clippy::unwrap_used, reason = "helpers of tests; a panic is a failed test")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use common::*;
use transload_core::connector::{
    Deletes, Destination, KeyComparison, LoadOutcome, LoadRequest, Missing, OnSchemaChange, WriteMode,
};
use transload_core::schema::{Mode, TargetTable};

fn removing() -> Deletes {
    Deletes { missing: Some(Missing::Remove), ..Deletes::default() }
}

fn ids_batch(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let schema = table_of(vec![column("id", "INT64", Mode::Required)]).arrow_schema();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    RecordBatch::try_new(schema, vec![ids]).unwrap()
}

/// A load of rows with the keys that the source has.
async fn deleting(
    to: &Arc<dyn Destination>,
    memory_budget: usize,
    sequence: u64,
    new: &[(i64, Option<&str>)],
    keys: Vec<RecordBatch>,
) -> (KeyComparison, LoadOutcome) {
    let load_id = format!("{sequence:06}-a");
    let request = LoadRequest {
        deletes: removing(),
        memory_budget,
        ..request(&orders(), merge_by(&["id"], None), &load_id)
    };
    let writer = to.begin_load(request).await.unwrap();
    if !new.is_empty() {
        writer.write(batch(new)).await.unwrap();
    }
    for keys in keys {
        writer.keep(keys).await.unwrap();
    }
    let compared = writer.compare_keys().await.unwrap();
    writer.seal().await.unwrap();
    (compared, writer.commit(record("a", &load_id, sequence)).await.unwrap())
}

#[tokio::test]
async fn keys_that_do_not_fit_into_memory_are_compared_in_files() {
    const ROWS: i64 = 40_000;
    // Room for 1,024 keys, and for all of them: the same comes of both.
    for memory in [64 << 10, 64 << 20] {
        let root = tempfile::tempdir().unwrap();
        let to = open(root.path()).await;
        to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
        for part in 0..4 {
            let rows: Vec<_> = (0..ROWS / 4).map(|n| (n * 4 + part, Some("x"))).collect();
            let id = format!("{:06}-b", part + 1);
            let sequence = u64::try_from(part + 1).unwrap();
            load(&to, &orders(), WriteMode::Append, ("b", &id, sequence), vec![batch(&rows)]).await.unwrap();
        }
        // A third of the keys are gone; some come twice, some the target does not have.
        let known: Vec<i64> = (0..ROWS).filter(|id| id % 3 != 0).collect();
        let mut keys: Vec<RecordBatch> =
            known.chunks(1_500).rev().map(|part| ids_batch(part.iter().copied())).collect();
        keys.push(ids_batch(ROWS..ROWS + 5_000));
        keys.push(ids_batch(0..0));
        keys.push(ids_batch((0..3_000).filter(|id| id % 3 != 0)));
        let new = [(1, Some("new")), (ROWS, Some("more"))];
        let (compared, outcome) = deleting(&to, memory, 1, &new, keys).await;
        let gone = u64::try_from(ROWS - i64::try_from(known.len()).unwrap()).unwrap();
        let rows = u64::try_from(ROWS).unwrap();
        assert_eq!(compared, KeyComparison { rows, gone, ..KeyComparison::default() });
        assert_eq!((outcome.deleted, outcome.inserted, outcome.updated), (gone, 1, 1));
        let expected: BTreeSet<i64> = known.into_iter().chain([ROWS]).collect();
        assert_eq!(ids(root.path()), expected.into_iter().collect::<Vec<_>>(), "{memory} bytes");
        let hidden = root.path().join("raw/.transload/orders/staging");
        assert_eq!(
            std::fs::read_dir(hidden).map(Iterator::count).unwrap_or(0),
            0,
            "nothing stays in staging"
        );
    }
}

#[tokio::test]
async fn files_without_a_row_that_goes_are_not_written_again() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    for (sequence, ids) in [(1, [1, 2]), (2, [3, 4]), (3, [5, 6])] {
        let rows = ids.map(|id| (id, None));
        let id = format!("{sequence:06}-b");
        load(&to, &orders(), WriteMode::Append, ("b", &id, sequence), vec![batch(&rows)]).await.unwrap();
    }
    let inodes = |root: &std::path::Path| -> BTreeSet<u64> {
        use std::os::unix::fs::MetadataExt as _;
        parts(root).unwrap().iter().map(|part| part.metadata().unwrap().ino()).collect()
    };
    let before = inodes(root.path());
    // One file stays, one loses a row, one goes.
    let (_, outcome) = deleting(&to, 64 << 20, 1, &[], vec![ids_batch([1, 2, 3])]).await;
    assert_eq!((outcome.deleted, outcome.rewritten, ids(root.path())), (3, 1, vec![1, 2, 3]));
    let after = inodes(root.path());
    // The empty file that the table began with stays as well.
    assert_eq!(after.len(), before.len() - 1);
    assert_eq!(before.intersection(&after).count(), before.len() - 2);
}

#[tokio::test]
async fn keys_of_a_narrower_type_are_compared_as_the_table_has_them() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    let table = |key: &str| -> TargetTable {
        table_of(vec![column("id", key, Mode::Nullable), column("note", "STRING", Mode::Nullable)])
    };
    let (narrow, wide) = (table("NUMERIC(6, 2)"), table("NUMERIC"));
    to.prepare(&wide, OnSchemaChange::Evolve).await.unwrap();
    let ids = Decimal128Array::from(vec![Some(1_000_000_000), Some(2_000_000_000), None]);
    let ids: ArrayRef = Arc::new(ids.with_precision_and_scale(38, 9).unwrap());
    let notes: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("no key")]));
    let rows = RecordBatch::try_new(wide.arrow_schema(), vec![ids, notes]).unwrap();
    load(&to, &wide, WriteMode::Append, ("b", "000001-b", 1), vec![rows]).await.unwrap();
    let request =
        LoadRequest { deletes: removing(), ..request(&narrow, merge_by(&["id"], None), "000001-a") };
    let writer = to.begin_load(request).await.unwrap();
    let two = Decimal128Array::from(vec![200]).with_precision_and_scale(6, 2).unwrap();
    let key = RecordBatch::try_from_iter([("id", Arc::new(two) as ArrayRef)]).unwrap();
    writer.keep(key).await.unwrap();
    // The row without a key is left alone.
    let told = KeyComparison { rows: 2, gone: 1, ..KeyComparison::default() };
    assert_eq!(writer.compare_keys().await.unwrap(), told);
    writer.commit(record("a", "000001-a", 1)).await.unwrap();
    let left: usize =
        parts(root.path()).unwrap().iter().flat_map(|part| read_part(part)).map(|b| b.num_rows()).sum();
    assert_eq!(left, 2);
}

#[tokio::test]
async fn a_commit_without_a_comparison_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    load(&to, &orders(), WriteMode::Append, ("b", "000001-b", 1), vec![batch(&[(1, None)])]).await.unwrap();
    let request =
        LoadRequest { deletes: removing(), ..request(&orders(), merge_by(&["id"], None), "000001-a") };
    let writer = to.begin_load(request).await.unwrap();
    assert!(writer.commit(record("a", "000001-a", 1)).await.is_err());
    assert_eq!(ids(root.path()), [1]);
    let writer = begin(&to, merge_by(&["id"], None), "000002-a").await.unwrap();
    assert!(writer.keep(ids_batch([1])).await.is_err(), "a load that does not compare takes no keys");
}
