//! Loads that end in the middle leave nothing that is seen, and nothing for long.

mod common;

use std::fs;
use std::path::Path;
use std::task::{Context, Waker};

use common::*;
use transload_core::connector::{OnSchemaChange, WriteMode};

fn staged(root: &Path) -> usize {
    let hidden = root.join("raw/.transload/orders");
    ["staging", "trash"]
        .iter()
        .filter_map(|name| fs::read_dir(hidden.join(name)).ok())
        .map(Iterator::count)
        .sum()
}

#[tokio::test]
async fn dropped_and_aborted_loads_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    for mode in [WriteMode::Append, WriteMode::Replace, merge_by(&["id"], None)] {
        let writer = begin(&to, mode.clone(), "dead").await.unwrap();
        writer.write(batch(&[(1, None)])).await.unwrap();
        drop(writer);
        let writer = begin(&to, mode, "dead").await.unwrap();
        writer.write(batch(&[(1, None)])).await.unwrap();
        writer.abort().await.unwrap();
        assert_eq!(staged(root.path()), 0);
        assert!(rows(root.path()).is_empty());
        assert!(to.last_load(&orders().target, "j").await.unwrap().is_none());
    }
}

/// The encoder of a dropped load may still be at work when the same load begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_load_never_writes_into_the_next_one() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    for round in 0..200u64 {
        let id = format!("a-{round}");
        let writer = begin(&to, WriteMode::Replace, &id).await.unwrap();
        writer.write(batch(&[(-1, None)])).await.unwrap();
        drop(writer);
        load(&to, &orders(), WriteMode::Replace, ("j", &id, round), vec![batch(&[(1, None)])]).await.unwrap();
        assert_eq!(ids(root.path()), [1], "round {round}");
    }
}

#[tokio::test]
async fn what_a_killed_process_left_is_cleaned_by_the_next_load() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    let hidden = root.path().join("raw/.transload/orders");
    for left in ["staging/dead-0123/load=dead", "staging/table/load=dead", "trash/old/load=x"] {
        fs::create_dir_all(hidden.join(left)).unwrap();
        fs::write(hidden.join(left).join("part-0-000.parquet"), "half a file").unwrap();
    }
    load(&to, &orders(), WriteMode::Append, ("j", "a", 1), vec![batch(&[(1, None)])]).await.unwrap();
    assert_eq!(staged(root.path()), 0);
    assert_eq!(ids(root.path()), [1]);
}

/// After a failed write the load can only be aborted: a commit must not publish what came before.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_failed_cannot_be_committed() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    let writer = begin(&to, WriteMode::Append, "a").await.unwrap();
    // The staging folder goes away under the load, as with a disk that fails.
    fs::remove_dir_all(root.path().join("raw/.transload/orders/staging")).unwrap();
    let mut failed = false;
    for id in 0..100 {
        failed |= writer.write(batch(&[(id, None)])).await.is_err();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(failed, "a write tells of the failure");
    assert!(writer.commit(record("j", "a", 1)).await.is_err());
    assert!(rows(root.path()).is_empty());
}

/// A commit brings what was sealed; a seal that nobody waited for has lost its files, so no commit may follow.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_is_committed_and_nothing_less() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), OnSchemaChange::Evolve).await.unwrap();
    let writer = begin(&to, WriteMode::Append, "a").await.unwrap();
    writer.write(batch(&[(1, None), (2, None)])).await.unwrap();
    writer.seal().await.unwrap();
    assert!(rows(root.path()).is_empty());
    writer.commit(record("j", "a", 1)).await.unwrap();
    assert_eq!(ids(root.path()), [1, 2]);

    // Dropped in between, if it is not done at once.
    let mut dropped = None;
    for _ in 0..100 {
        let writer = begin(&to, WriteMode::Append, "b").await.unwrap();
        writer.write(batch(&[(3, None)])).await.unwrap();
        if writer.seal().as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            dropped = Some(writer);
            break;
        }
        writer.abort().await.unwrap();
    }
    let writer = dropped.expect("a seal takes longer than its first step");
    assert!(writer.commit(record("j", "b", 2)).await.is_err());
    assert_eq!(ids(root.path()), [1, 2]);
    load(&to, &orders(), WriteMode::Append, ("j", "b", 2), vec![batch(&[(3, None)])]).await.unwrap();
    assert_eq!(ids(root.path()), [1, 2, 3]);
    assert_eq!(staged(root.path()), 0);
}
