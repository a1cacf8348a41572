//! Merge against a model in memory.
#![expect(clippy::unwrap_used, reason = "helpers of tests; a panic is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray};
use common::*;
use transload_core::ErrorKind;
use transload_core::connector::{OnSchemaChange, WriteMode};
use transload_core::schema::{Mode, TargetTable};

type Key = (i64, String);
type Value = (Option<String>, Option<i64>);

fn target() -> TargetTable {
    table_of(vec![
        column("shop", "INT64", Mode::Required),
        column("code", "STRING", Mode::Required),
        column("note", "STRING", Mode::Nullable),
        column("version", "INT64", Mode::Nullable),
    ])
}

fn rows_batch(rows: &[(Key, Value)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0.0)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.0.1.as_str())).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1.0.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1.1).collect::<Int64Array>()),
    ];
    RecordBatch::try_new(target().arrow_schema(), columns).unwrap()
}

fn stored(root: &std::path::Path) -> Vec<(Key, Value)> {
    let mut all = Vec::new();
    for part in parts(root).unwrap() {
        for batch in read_part(&part) {
            let (shop, version) =
                (batch.column(0).as_primitive::<Int64Type>(), batch.column(3).as_primitive::<Int64Type>());
            let (code, note) = (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
            for row in 0..batch.num_rows() {
                let note = note.is_valid(row).then(|| note.value(row).to_owned());
                let version = version.is_valid(row).then(|| version.value(row));
                all.push(((shop.value(row), code.value(row).to_owned()), (note, version)));
            }
        }
    }
    all.sort();
    all
}

async fn against_the_model(seed: u64, order_by: Option<&str>) {
    let mut random = Random(seed);
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&target(), OnSchemaChange::Evolve).await.unwrap();
    let mut model: BTreeMap<Key, Value> = BTreeMap::new();
    let keys = 3 + random.below(60);
    for round in 1..=8 {
        let mut winners: BTreeMap<Key, Value> = BTreeMap::new();
        let mut written = 0u64;
        let mut batches = Vec::new();
        for _ in 0..random.below(4) {
            let mut batch_rows = Vec::new();
            for _ in 0..random.below(30) {
                let number = random.below(keys);
                // Codes whose joined texts could be mistaken for each other, some long, some empty.
                let code = ["", "a", "aa", "a\0", "a long code, longer than the blocks of the row format"]
                    [usize::try_from(number % 5).unwrap()];
                let key = (i64::try_from(number / 5).unwrap() - 3, code.to_owned());
                let note = (random.below(3) > 0).then(|| format!("n{}", random.below(1000)));
                let version = (random.below(5) > 0).then(|| i64::try_from(random.below(4)).unwrap() - 1);
                written += 1;
                let wins = winners.get(&key).is_none_or(|best| order_by.is_none() || version >= best.1);
                if wins {
                    winners.insert(key.clone(), (note.clone(), version));
                }
                batch_rows.push((key, (note, version)));
            }
            batches.push(rows_batch(&batch_rows));
        }
        let updated = winners.keys().filter(|key| model.contains_key(key)).count();
        let (inserted, winning) = (winners.len() - updated, winners.len());
        let untouched = model.keys().filter(|key| !winners.contains_key(key)).count();
        model.extend(winners);
        let id = format!("m-{round}");
        let mode = merge_by(&["shop", "code"], order_by);
        let outcome = load(&to, &target(), mode, ("j", &id, round), batches).await.unwrap();
        assert_eq!(
            stored(root.path()),
            model.clone().into_iter().collect::<Vec<_>>(),
            "seed {seed} round {round}"
        );
        let counts = (outcome.inserted, outcome.updated, outcome.superseded);
        let expected = (inserted, updated, usize::try_from(written).unwrap() - winning);
        let expected =
            (expected.0.try_into().unwrap(), expected.1.try_into().unwrap(), expected.2.try_into().unwrap());
        assert_eq!(counts, expected, "seed {seed} round {round}");
        assert!(outcome.rewritten <= u64::try_from(untouched).unwrap());
        assert_eq!(to.last_load(&target().target, "j").await.unwrap().unwrap().sequence, round);
    }
}

#[tokio::test]
async fn random_merges_equal_the_model() {
    for seed in 0..25 {
        against_the_model(seed, Some("version")).await;
        against_the_model(seed + 1000, None).await;
    }
}

#[tokio::test]
async fn only_files_with_a_replaced_row_are_rewritten() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    for (number, first) in [(1, 0), (2, 100)] {
        let rows: Vec<_> = (first..first + 10).map(|id| (id, Some("old"))).collect();
        let id = format!("a-{number}");
        load(&to, &orders(), WriteMode::Append, ("j", &id, number), vec![batch(&rows)]).await.unwrap();
    }
    let before = parts(root.path()).unwrap();
    let fresh = batch(&[(3, Some("new")), (500, Some("new"))]);
    let outcome = load(&to, &orders(), merge_by(&["id"], None), ("j", "m-3", 3), vec![fresh]).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated, outcome.rewritten), (1, 1, 9));
    let after = parts(root.path()).unwrap();
    for part in before.iter().filter(|part| part.to_str().unwrap().contains("load=a-")) {
        let touched = part.to_str().unwrap().contains("load=a-1");
        assert_eq!(after.contains(part), !touched, "{}", part.display());
    }
    assert_eq!(ids(root.path()).len(), 21);
    let loads =
        ["a-1", "a-2", "m-3"].map(|id| table_folder(root.path()).join(format!("load={id}/_load.json")));
    assert!(loads.iter().all(|path| path.exists()), "every load keeps its record");
}

#[tokio::test]
async fn a_table_is_merged_into_many_times() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    let rows: Vec<_> = (0..100).map(|id| (id, None)).collect();
    load(&to, &orders(), WriteMode::Append, ("j", "a", 1), vec![batch(&rows)]).await.unwrap();
    for round in 0..60i64 {
        let id = format!("m-{round}");
        let sequence = u64::try_from(round).unwrap() + 2;
        let rows = batch(&[(round, Some("new"))]);
        load(&to, &orders(), merge_by(&["id"], None), ("j", &id, sequence), vec![rows]).await.unwrap();
    }
    assert_eq!(ids(root.path()), (0..100).collect::<Vec<_>>());
    let longest = parts(root.path()).unwrap().iter().map(|p| p.file_name().unwrap().len()).max();
    assert!(longest.unwrap() < 64, "names do not grow with every merge");
}

#[tokio::test]
async fn duplicates_in_the_table_are_all_replaced_by_one_row() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    let twice = batch(&[(1, Some("old")), (1, Some("older")), (2, None)]);
    load(&to, &orders(), WriteMode::Append, ("j", "a", 1), vec![twice]).await.unwrap();
    let fresh = batch(&[(1, Some("new")), (3, None)]);
    let outcome = load(&to, &orders(), merge_by(&["id"], None), ("j", "m", 2), vec![fresh]).await.unwrap();
    assert_eq!(rows(root.path()), [(1, Some("new".to_owned())), (2, None), (3, None)]);
    assert_eq!((outcome.inserted, outcome.updated, outcome.rewritten), (1, 1, 1));
}

#[tokio::test]
async fn null_keys_and_impossible_keys_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    let nulls = vec![batch(&[(1, Some("a")), (2, None)])];
    let error = load(&to, &orders(), merge_by(&["note"], None), ("j", "m", 1), nulls).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains("note"), "{error}");
    assert!(rows(root.path()).is_empty());
    let rows = vec![batch(&[(1, None)])];
    assert!(load(&to, &orders(), merge_by(&["nothing"], None), ("j", "m", 1), rows).await.is_err());
}

#[tokio::test]
async fn a_key_column_that_older_files_lack_matches_none_of_their_rows() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    let old = table_of(vec![column("note", "STRING", Mode::Nullable)]);
    to.prepare(&old, OnSchemaChange::Evolve).await.unwrap();
    let notes: ArrayRef = Arc::new(StringArray::from(vec!["before"]));
    let before = RecordBatch::try_new(old.arrow_schema(), vec![notes]).unwrap();
    load(&to, &old, WriteMode::Append, ("j", "a", 1), vec![before]).await.unwrap();
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    let fresh = vec![batch(&[(1, None)])];
    let outcome = load(&to, &orders(), merge_by(&["id"], None), ("j", "m", 2), fresh).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated), (1, 0));
}

/// `prepare` lets a narrower decimal into a wider column, so the files must have the column's scale.
#[tokio::test]
async fn a_narrower_decimal_key_meets_the_same_number() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    let mut outcomes = Vec::new();
    for (number, (precision, scale, value)) in [(38, 9, 1_500_000_000), (6, 2, 150)].into_iter().enumerate() {
        let text = format!("NUMERIC({precision},{scale})");
        let target = table_of(vec![column("k", &text, Mode::Required)]);
        to.prepare(&target, OnSchemaChange::Evolve).await.unwrap();
        let values = Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale).unwrap();
        let batch = RecordBatch::try_new(target.arrow_schema(), vec![Arc::new(values)]).unwrap();
        let id = format!("m-{number}");
        let sequence = u64::try_from(number).unwrap() + 1;
        outcomes.push(
            load(&to, &target, merge_by(&["k"], None), ("j", &id, sequence), vec![batch]).await.unwrap(),
        );
    }
    assert_eq!((outcomes[1].inserted, outcomes[1].updated), (0, 1), "1.50 is 1.500000000");
    for part in parts(root.path()).unwrap() {
        for batch in read_part(&part) {
            let values = batch.column(0).as_primitive::<Decimal128Type>();
            assert_eq!(values.scale(), 9, "one type in all files");
            assert!(values.iter().all(|value| value == Some(1_500_000_000)));
        }
    }
}

/// Statistics may only rule out row groups that hold none of the keys.
#[tokio::test]
async fn row_groups_are_found_by_their_statistics() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    let connection = transload_core::Connection::new("d", "dataset").option("path", path);
    let to = open_with(connection.option("row_group_rows", 100).option("durable", false)).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    let rows: Vec<_> = (0..1000).map(|id| (id, Some("old"))).collect();
    load(&to, &orders(), WriteMode::Append, ("j", "a", 1), vec![batch(&rows)]).await.unwrap();
    for (round, keys) in
        [vec![0], vec![999], vec![99, 100], vec![500, 5000], vec![-1, 1000]].into_iter().enumerate()
    {
        let fresh: Vec<_> = keys.iter().map(|id| (*id, Some("new"))).collect();
        let id = format!("m-{round}");
        let sequence = u64::try_from(round).unwrap() + 2;
        let there = keys.iter().filter(|id| (0..1000).contains(*id)).count();
        let fresh = vec![batch(&fresh)];
        let outcome =
            load(&to, &orders(), merge_by(&["ID"], None), ("j", &id, sequence), fresh).await.unwrap();
        assert_eq!(outcome.updated, u64::try_from(there).unwrap(), "{keys:?}");
    }
    assert_eq!(ids(root.path()).len(), 1003);
}
