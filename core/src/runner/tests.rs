use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Int64Array, RecordBatch, StringArray};

use super::*;
use crate::error::ErrorKind;
use crate::job::EtlJobBuilder;
use crate::memory::Memory;
use crate::schema::RejectPolicy;
use crate::schema::TargetRef;

/// Row numbers and texts, of which the one at `trash` is no date. A sample of 40 does not see it.
fn put(memory: &Memory, rows: i64, trash: &[(i64, &str)]) {
    let text = |row: i64| match trash.iter().find(|(at, _)| *at == row) {
        Some((_, text)) => (*text).to_owned(),
        None => format!("2024-{:02}-{:02}", row % 12 + 1, row % 28 + 1),
    };
    let days = StringArray::from_iter_values((0..rows).map(text));
    let numbers =
        StringArray::from_iter_values((0..rows).map(
            |row| match trash.iter().find(|(at, _)| at + 1 == row) {
                Some((_, "two")) => "x".to_owned(),
                _ => row.to_string(),
            },
        ));
    let ids = Arc::new(Int64Array::from_iter_values(0..rows)) as _;
    let batch = RecordBatch::try_from_iter([
        ("id", ids),
        ("day", Arc::new(days) as _),
        ("n", Arc::new(numbers) as _),
    ])
    .unwrap();
    memory.put("shop", "public", "orders", batch).unwrap();
}

fn runner(memory: &Memory) -> Runner {
    let connection = |name: &str| Connection::from_url(&format!("memory:{name}")).unwrap().named(name);
    Runner::new(Registry::new().with(memory.clone()))
        .connection(connection("shop"))
        .connection(connection("lake"))
        .options(RunnerOptions::default().sample_rows(40))
}

fn job() -> EtlJobBuilder {
    EtlJob::builder("orders").from("shop", "public.orders").into("lake", "raw", "orders")
}

fn codes(report: &RunReport, code: &str) -> Vec<String> {
    let found = report.warnings.iter().filter(|(_, warning)| warning.code == code);
    found.map(|(column, _)| column.clone().unwrap_or_default()).collect()
}

async fn types(runner: &Runner, memory: &Memory) -> Vec<String> {
    let lake = runner.registry().destination(runner.connection_named("lake").unwrap()).await.unwrap();
    let target = lake.table(&TargetRef::new("raw", "orders")).await.unwrap().unwrap();
    let _ = memory;
    target.columns.iter().map(|column| column.data_type.to_string()).collect()
}

#[tokio::test]
async fn a_type_of_the_sample_that_does_not_hold_becomes_text() {
    let memory = Memory::default();
    put(&memory, 500, &[(305, "soon")]);
    let runner = runner(&memory);
    let report = runner.run(&job().replace().build().unwrap()).await;
    assert_eq!(report.status, RunStatus::Succeeded, "{report:?}");
    assert_eq!((report.attempts, report.rows.read, report.rows.written), (2, 500, 500));
    assert_eq!(codes(&report, "W_DEMOTED"), ["day"]);
    assert_eq!(codes(&report, "W_INFERRED"), ["n"]);
    assert_eq!(types(&runner, &memory).await, ["INT64", "STRING", "INT64"]);
    let loaded = memory.get("lake", "raw", "orders").unwrap();
    assert_eq!(loaded.column(1).as_string::<i32>().value(305), "soon");
    // The next load keeps both decisions.
    let report = runner.run(&job().replace().build().unwrap()).await;
    assert_eq!((report.status, report.attempts), (RunStatus::Succeeded, 1));
    assert_eq!(types(&runner, &memory).await, ["INT64", "STRING", "INT64"]);
}

#[tokio::test]
async fn each_type_that_does_not_hold_becomes_text() {
    let memory = Memory::default();
    put(&memory, 500, &[(305, "two")]);
    let runner = runner(&memory);
    let report = runner.run(&job().append("id").build().unwrap()).await;
    assert_eq!((report.status, report.attempts), (RunStatus::Succeeded, 3), "{report:?}");
    assert_eq!(codes(&report, "W_DEMOTED"), ["day", "n"]);
    assert_eq!(types(&runner, &memory).await, ["INT64", "STRING", "STRING"]);
    assert_eq!(report.rows.written, 500);
}

#[tokio::test]
async fn a_type_that_somebody_has_seen_is_never_given_up() {
    // Approved.
    let memory = Memory::default();
    put(&memory, 500, &[(305, "soon")]);
    let runner = runner(&memory);
    let proposed = runner.propose(&job().replace().build().unwrap()).await.unwrap();
    let approved = job().replace().approved_hash(proposed.hash()).build().unwrap();
    let refused = |report: RunReport| {
        let error = report.error.expect("the run fails");
        assert_eq!((error.kind(), report.attempts, report.committed), (ErrorKind::Data, 1, false));
        assert!(error.message().contains("`soon` of column `day`"), "{error}");
        assert!(error.hint_text().unwrap().contains("STRING"), "{error:?}");
        error
    };
    let error = refused(runner.run(&approved).await);
    assert!(error.hint_text().unwrap().contains("found in a sample"));

    // The table was there, without any load.
    let report = runner.run(&job().replace().build().unwrap()).await;
    refused(report);

    // A load was committed.
    let memory = Memory::default();
    put(&memory, 300, &[]);
    let runner = self::runner(&memory);
    assert_eq!(runner.run(&job().replace().build().unwrap()).await.status, RunStatus::Succeeded);
    put(&memory, 500, &[(305, "soon")]);
    refused(runner.run(&job().replace().build().unwrap()).await);
    assert_eq!(memory.get("lake", "raw", "orders").unwrap().num_rows(), 300);

    // The job has said what becomes of it.
    let memory = Memory::default();
    put(&memory, 500, &[(305, "soon")]);
    let report =
        self::runner(&memory).run(&job().replace().on_reject(RejectPolicy::Null).build().unwrap()).await;
    assert_eq!((report.attempts, report.rejects[0].rejected), (1, 1));
    assert!(codes(&report, "W_DEMOTED").is_empty());
}

#[tokio::test]
async fn null_tokens_are_counted_in_the_ledger() {
    let memory = Memory::default();
    let texts: Vec<String> =
        (0..400).map(|i| if i % 50 == 7 { "NA".into() } else { i.to_string() }).collect();
    let batch = RecordBatch::try_from_iter([("n", Arc::new(StringArray::from(texts)) as _)]).unwrap();
    memory.put("shop", "public", "orders", batch).unwrap();
    let report =
        runner(&memory).options(RunnerOptions::default()).run(&job().replace().build().unwrap()).await;
    assert_eq!(report.status, RunStatus::Succeeded, "{report:?}");
    assert_eq!(report.ledger[0].counts.blank, 8, "{:?}", report.ledger);
    assert_eq!(memory.get("lake", "raw", "orders").unwrap().column(0).null_count(), 8);
}

#[tokio::test]
async fn options_that_a_destination_does_not_take_end_the_run_before_it_begins() {
    let memory = Memory::default();
    put(&memory, 3, &[]);
    let runner = runner(&memory);
    let job = job().destination_option("load_method", "file").build().unwrap();
    let report = runner.run(&job).await;
    let error = report.error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("load_method"), "{error}");
    let lake = runner.registry().destination(runner.connection_named("lake").unwrap()).await.unwrap();
    assert!(lake.table(&TargetRef::new("raw", "orders")).await.unwrap().is_none());
    assert_eq!(EtlJob::from_json(job.to_json().unwrap()).unwrap(), job);
}
