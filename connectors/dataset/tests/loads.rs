//! Replace and append, schemas, names and errors, on a real file system.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use common::*;
use transload_core::connector::{Extent, OnSchemaChange, WriteMode};
use transload_core::proof::{Fold, ProofLevel, SideProof, Verdict};
use transload_core::schema::{Mode, TargetRef, TargetTable};
use transload_core::{Connection, ErrorKind};
use transload_testkit::wait::PATIENCE;

const EVOLVE: OnSchemaChange = OnSchemaChange::Evolve;

#[tokio::test]
async fn append_adds_and_replace_replaces_with_their_records() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.ensure_dataset("raw").await.unwrap();
    let target = orders();
    assert!(to.table(&target.target).await.unwrap().is_none());
    assert!(to.prepare(&target, EVOLVE).await.unwrap().created);
    assert_eq!(to.table(&target.target).await.unwrap().unwrap(), target);
    assert!(!to.prepare(&target, EVOLVE).await.unwrap().created);

    let one =
        load(&to, &target, WriteMode::Append, ("j", "a-1", 1), vec![batch(&[(1, Some("x")), (2, None)])]);
    let one = one.await.unwrap();
    assert_eq!((one.inserted, one.already_committed), (2, false));
    assert!(one.bytes > 0);
    load(&to, &target, WriteMode::Append, ("k", "b-1", 9), vec![batch(&[(3, None)])]).await.unwrap();
    load(&to, &target, WriteMode::Append, ("j", "a-2", 2), vec![batch(&[(4, None)])]).await.unwrap();
    assert_eq!(ids(root.path()), [1, 2, 3, 4]);
    let last = to.last_load(&target.target, "j").await.unwrap().unwrap();
    assert_eq!((last.load_id.as_str(), last.sequence, last.rows), ("a-2", 2, 1));
    assert!(to.last_load(&target.target, "nobody").await.unwrap().is_none());

    load(&to, &target, WriteMode::Replace, ("j", "r-1", 3), vec![batch(&[(7, Some("y"))])]).await.unwrap();
    assert_eq!(rows(root.path()), [(7, Some("y".to_owned()))]);
    assert_eq!(to.last_load(&target.target, "j").await.unwrap().unwrap().load_id, "r-1");
    assert!(to.last_load(&target.target, "k").await.unwrap().is_none(), "replace drops loads of other jobs");
}

#[tokio::test]
async fn committing_a_load_twice_is_one_load() {
    for mode in [WriteMode::Append, WriteMode::Replace, merge_by(&["id"], None)] {
        let root = tempfile::tempdir().unwrap();
        let to = open(root.path()).await;
        to.prepare(&orders(), EVOLVE).await.unwrap();
        for again in [false, true] {
            let rows = vec![batch(&[(1, None), (2, None)])];
            let outcome = load(&to, &orders(), mode.clone(), ("j", "same", 1), rows).await.unwrap();
            assert_eq!(outcome.already_committed, again, "{mode:?}");
            assert_eq!(ids(root.path()), [1, 2], "{mode:?}");
        }
    }
}

#[tokio::test]
async fn loads_without_rows_commit_their_record() {
    for mode in [WriteMode::Append, WriteMode::Replace, merge_by(&["id"], None)] {
        let root = tempfile::tempdir().unwrap();
        let to = open(root.path()).await;
        to.prepare(&orders(), EVOLVE).await.unwrap();
        load(&to, &orders(), mode.clone(), ("j", "empty", 1), vec![]).await.unwrap();
        assert_eq!(to.last_load(&orders().target, "j").await.unwrap().unwrap().load_id, "empty");
        assert_eq!(parts(root.path()).unwrap().len(), 1, "{mode:?}: one file with the schema");
        assert!(rows(root.path()).is_empty());
        load(&to, &orders(), WriteMode::Append, ("j", "next", 2), vec![batch(&[(1, None)])]).await.unwrap();
        load(&to, &orders(), WriteMode::Append, ("j", "later", 3), vec![]).await.unwrap();
        assert_eq!(ids(root.path()), [1]);
    }
}

#[tokio::test]
async fn a_small_load_in_many_batches_is_one_file() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), EVOLVE).await.unwrap();
    let batches = (0..200).map(|id| batch(&[(id, Some("x"))])).collect();
    load(&to, &orders(), WriteMode::Replace, ("j", "r", 1), batches).await.unwrap();
    assert_eq!(parts(root.path()).unwrap().len(), 1);
    assert_eq!(ids(root.path()), (0..200).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_write_many_files_and_no_row_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let connection = Connection::new("d", "dataset")
        .option("path", root.path().to_str().unwrap())
        .option("file_bytes", 20_000)
        .option("row_group_rows", 1000);
    let to = open_with(connection).await;
    to.prepare(&orders(), EVOLVE).await.unwrap();
    let writer = begin(&to, WriteMode::Append, "a").await.unwrap();
    let work = |task: i64| {
        let writer = &writer;
        async move {
            for number in 0..25 {
                let first = (task * 25 + number) * 1000;
                let notes: Vec<String> =
                    (first..first + 1000).map(|id| format!("note {}", id * 7919)).collect();
                let rows: Vec<_> = (first..).zip(notes.iter().map(|note| Some(note.as_str()))).collect();
                writer.write(batch(&rows)).await.unwrap();
            }
        }
    };
    tokio::join!(work(0), work(1), work(2), work(3));
    writer.commit(record("j", "a", 1)).await.unwrap();
    assert_eq!(ids(root.path()), (0..100_000).collect::<Vec<_>>());
    assert!(parts(root.path()).unwrap().len() > 4, "files are cut at `file_bytes`");
}

#[tokio::test]
async fn schemas_evolve_freeze_and_refuse() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    let target = orders();
    to.prepare(&target, EVOLVE).await.unwrap();
    load(&to, &target, WriteMode::Append, ("j", "a", 1), vec![batch(&[(1, None)])]).await.unwrap();

    let wider = table_of(vec![
        column("id", "INT64", Mode::Nullable),
        column("note", "STRING", Mode::Nullable),
        column("price", "NUMERIC(10,2)", Mode::Required),
    ]);
    let frozen = to.prepare(&wider, OnSchemaChange::Freeze).await.unwrap_err();
    assert_eq!(frozen.kind(), ErrorKind::SchemaChanged);
    assert!(frozen.message().contains("price") && frozen.message().contains("`id`"), "{frozen}");
    assert_eq!(to.table(&target.target).await.unwrap().unwrap(), target, "nothing changed");
    let outcome = to.prepare(&wider, EVOLVE).await.unwrap();
    assert_eq!((outcome.added, outcome.relaxed), (vec!["price".to_owned()], vec!["id".to_owned()]));
    let now = to.table(&target.target).await.unwrap().unwrap();
    assert_eq!(now.column("price").unwrap().mode, Mode::Nullable, "rows from before have none");
    let impossible = table_of(vec![column("id", "STRING", Mode::Nullable)]);
    assert_eq!(to.prepare(&impossible, EVOLVE).await.unwrap_err().kind(), ErrorKind::SchemaChanged);
    assert_eq!(to.table(&target.target).await.unwrap().unwrap(), now);
    assert_eq!(ids(root.path()), [1]);
}

#[tokio::test]
async fn two_loads_at_once_are_a_conflict() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), EVOLVE).await.unwrap();
    let first = begin(&to, WriteMode::Append, "a").await.unwrap();
    let error = begin(&open(root.path()).await, WriteMode::Append, "b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.context_value("path").is_some() && error.hint_text().is_some());
    first.abort().await.unwrap();
    begin(&to, WriteMode::Append, "b").await.unwrap().abort().await.unwrap();
}

#[tokio::test]
async fn names_and_load_ids_do_not_leave_their_folder() {
    let root = tempfile::tempdir().unwrap();
    let to = open(&root.path().join("in")).await;
    for name in ["", ".", "..", "../x", "a/b", ".x", "_x", "a\0b"] {
        for target in [TargetRef::new(name, "t"), TargetRef::new("d", name)] {
            assert_eq!(to.table(&target).await.unwrap_err().kind(), ErrorKind::Config, "{name:?}");
        }
    }
    to.prepare(&orders(), EVOLVE).await.unwrap();
    for load_id in ["", "../../../../evil", "a/b", "a b"] {
        let error = begin(&to, WriteMode::Append, load_id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{load_id:?}");
    }
}

#[tokio::test]
async fn connections_are_tested_at_the_same_time() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    for _ in 0..50 {
        let (one, two, three) = tokio::join!(to.check(), to.check(), to.check());
        one.and(two).and(three).unwrap();
    }
}

#[tokio::test]
async fn folders_that_cannot_be_used_are_named() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for path in [file.join("below"), root.path().join("no/such/parent")] {
        let to = open(&path).await;
        for error in [to.check().await.unwrap_err(), to.ensure_dataset("raw").await.unwrap_err()] {
            assert!(
                error.context_value("path").unwrap().starts_with(root.path().to_str().unwrap()),
                "{error}"
            );
            assert!(error.hint_text().is_some() && !error.is_retryable());
        }
        assert!(!root.path().join("no").exists(), "a typing error in the path grows no tree");
    }
    open(root.path()).await.check().await.unwrap();
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "the check leaves nothing");
}

/// sysfs refuses new folders with EPERM or EROFS even to root.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_folder_without_the_right_to_write_is_a_permission_error() {
    let error = open("/sys/kernel".as_ref()).await.ensure_dataset("raw").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
}

#[tokio::test]
async fn a_foreign_folder_and_a_damaged_record_are_errors() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    std::fs::create_dir_all(table_folder(root.path())).unwrap();
    std::fs::write(table_folder(root.path()).join("mine.txt"), "keep").unwrap();
    assert!(to.prepare(&orders(), EVOLVE).await.is_err());
    assert!(
        load(&to, &orders(), WriteMode::Replace, ("j", "r", 1), vec![batch(&[(1, None)])]).await.is_err()
    );
    assert!(table_folder(root.path()).join("mine.txt").exists());
    std::fs::remove_dir_all(table_folder(root.path())).unwrap();

    to.prepare(&orders(), EVOLVE).await.unwrap();
    load(&to, &orders(), WriteMode::Append, ("j", "a", 1), vec![batch(&[(1, None)])]).await.unwrap();
    let path = table_folder(root.path()).join("load=a/_load.json");
    std::fs::write(&path, "{").unwrap();
    assert_eq!(to.last_load(&orders().target, "j").await.unwrap_err().kind(), ErrorKind::Data);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        to.last_load(&orders().target, "j").await.unwrap_err().kind(),
        ErrorKind::Data,
        "a missing one too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_the_old_or_the_new_rows_while_tables_are_replaced() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), EVOLVE).await.unwrap();
    let content = |round: i64| (0..500 + round).map(|_| (round, None)).collect::<Vec<_>>();
    load(&to, &orders(), WriteMode::Replace, ("j", "r-0", 1), vec![batch(&content(0))]).await.unwrap();
    let (stop, states) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (path, stopped, read) = (root.path().to_owned(), Arc::clone(&stop), Arc::clone(&states));
    let reader = std::thread::spawn(move || {
        let mut seen = std::collections::BTreeSet::new();
        while !stopped.load(Ordering::Relaxed) {
            // A file that went away is an error to list again, never a part of the answer.
            let Ok(parts) = parts(&path) else { continue };
            let files: Vec<_> = parts.iter().map(std::fs::File::open).collect();
            // An empty list is "no files found" to every reader: the old folder went while it was listed.
            if files.is_empty() || files.iter().any(Result::is_err) {
                continue;
            }
            let mut rounds = Vec::new();
            for file in files {
                use arrow_array::cast::AsArray as _;
                use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder as Builder;
                for batch in Builder::try_new(file.unwrap()).unwrap().build().unwrap() {
                    let ids = batch.unwrap();
                    let ids = ids.column(0).as_primitive::<arrow_array::types::Int64Type>();
                    rounds.extend(ids.values().iter().copied());
                }
            }
            let round = rounds[0];
            assert!(rounds.iter().all(|other| *other == round), "a mix of two loads");
            assert_eq!(rounds.len(), usize::try_from(500 + round).unwrap());
            seen.insert(round);
            read.store(seen.len(), Ordering::Relaxed);
        }
    });
    let begun = Instant::now();
    for round in 1.. {
        let enough = round > 60 && states.load(Ordering::Relaxed) > 1;
        if enough || reader.is_finished() || begun.elapsed() > PATIENCE {
            break;
        }
        let id = format!("r-{round}");
        load(&to, &orders(), WriteMode::Replace, ("j", &id, 1), vec![batch(&content(round))]).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    assert!(states.load(Ordering::Relaxed) > 1, "the reader read more than one state");
}

#[tokio::test]
async fn figures_see_every_file_and_whatever_case_its_columns_are_spelt_in() {
    let root = tempfile::tempdir().unwrap();
    let to = open(root.path()).await;
    to.prepare(&orders(), EVOLVE).await.unwrap();
    let rows = batch(&[(1, Some("x")), (2, None), (3, Some("y"))]);
    load(&to, &orders(), WriteMode::Append, ("j", "one", 1), vec![rows.clone()]).await.unwrap();
    let compared = async |target: &TargetTable| {
        let mut fold = Fold::new(&target.arrow_schema(), ProofLevel::Values);
        fold.add(&rows).unwrap();
        let names = ["id".to_owned(), "note".to_owned()];
        let there = to.figures(target, Extent::default(), ProofLevel::Values).await.unwrap();
        SideProof::compare(fold.finish(), &there, &names, 0.0)
    };
    assert_eq!(compared(&orders()).await.verdict, Verdict::Equal);
    let spelt =
        table_of(vec![column("ID", "INT64", Mode::Required), column("Note", "STRING", Mode::Nullable)]);
    assert_eq!(compared(&spelt).await.verdict, Verdict::Equal);

    // Somebody exchanges a file for one of the same size with another value.
    let with_rows = |root: &Path| {
        let holds_rows = |part: &PathBuf| read_part(part).iter().any(|batch| batch.num_rows() > 0);
        parts(root).unwrap().into_iter().find(holds_rows).unwrap()
    };
    let part = with_rows(root.path());
    let other = open(&root.path().join("elsewhere")).await;
    other.prepare(&orders(), EVOLVE).await.unwrap();
    let tampered = batch(&[(1, Some("x")), (2, None), (3, Some("z"))]);
    load(&other, &orders(), WriteMode::Append, ("j", "one", 1), vec![tampered]).await.unwrap();
    let source = with_rows(&root.path().join("elsewhere"));
    std::fs::copy(&source, &part).unwrap();
    let side = compared(&orders()).await;
    assert_eq!(side.reason.as_deref(), Some("columns with other values: note"), "{side:?}");
    assert_eq!(side.columns[1].different, ["checksum", "max"]);

    // And one that is there twice.
    std::fs::copy(&source, part.with_file_name("again.parquet")).unwrap();
    assert_eq!(compared(&orders()).await.reason.as_deref(), Some("3 rows passed and 6 are there"));
}
