//! Dates, times, and days that no calendar has.

use rand::Rng as _;
use transload_core::ErrorKind;
use transload_core::connector::ReadPlan;
use transload_core::proof::{Fold, ProofLevel};
use transload_testkit::Cell;
use transload_testkit::generate::Seeded;

use super::support::{open, place, read_plan};
use super::types::check;

fn quoted(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| format!("'{value}'")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn days() {
    let place = place();
    let mut seeded = Seeded::from_env();
    let mut values = quoted(&[
        "1000-01-01",
        "9999-12-31",
        "0001-01-01",
        "0000-01-01",
        "0000-02-28",
        "0000-03-01",
        "1970-01-01",
        "1969-12-31",
        "2000-02-29",
        "1900-02-28",
        "2024-02-29",
    ]);
    let day = |rng: &mut rand::rngs::StdRng| {
        format!(
            "{:04}-{:02}-{:02}",
            rng.random_range(1..=9999),
            rng.random_range(1..=12),
            rng.random_range(1..=28)
        )
    };
    values.extend((0..300).map(|_| format!("'{}'", day(&mut seeded.rng))));
    check(&place, "DATE", &values, "c").await;
    let mut moments = quoted(&[
        "1000-01-01 00:00:00",
        "9999-12-31 23:59:59.999999",
        "0001-01-01 00:00:00.000001",
        "0000-01-01 00:00:00",
        "1969-12-31 23:59:59.999999",
        "2024-02-29 12:00:00",
    ]);
    moments.extend((0..300).map(|_| {
        let rng = &mut seeded.rng;
        format!(
            "'{} {:02}:{:02}:{:02}.{:06}'",
            day(rng),
            rng.random_range(0..24),
            rng.random_range(0..60),
            rng.random_range(0..60),
            rng.random_range(0..1_000_000)
        )
    }));
    for digits in [0, 3, 6] {
        // The server rounds what a column has no digits for, so that this also meets the year 10000.
        let fits: Vec<_> = moments
            .iter()
            .filter(|moment| digits == 6 || !moment.contains("9999-12-31 23:59:59.9"))
            .cloned()
            .collect();
        check(&place, &format!("DATETIME({digits})"), &fits, "CAST(c AS DATETIME(6))").await;
    }
    let mut instants = quoted(&[
        "1970-01-01 00:00:01",
        "2038-01-19 03:14:07.999999",
        "2024-03-31 02:30:00",
        "2024-10-27 02:30:00",
    ]);
    instants.extend((0..200).map(|_| {
        format!(
            "FROM_UNIXTIME({}.{:06})",
            seeded.rng.random_range(1_u32..0x7fff_ffff),
            seeded.rng.random_range(0..1_000_000)
        )
    }));
    check(&place, "TIMESTAMP(6)", &instants, "CAST(c AS DATETIME(6))").await;
    check(
        &place,
        "TIMESTAMP",
        &quoted(&["2024-10-27 00:30:00", "2024-10-27 01:30:00"]),
        "CAST(c AS DATETIME(6))",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_of_time() {
    let place = place();
    let mut seeded = Seeded::from_env();
    for digits in 0..=6 {
        let mut values = quoted(&[
            "838:59:59.000000",
            "-838:59:59.000000",
            "00:00:00",
            "24:00:00",
            "100:00:00",
            "-00:00:01",
            "23:59:59.5",
            "-0:0:0.000001",
        ]);
        values.extend((0..100).map(|_| {
            let sign = if seeded.rng.random() { "-" } else { "" };
            format!(
                "'{sign}{}:{:02}:{:02}.{:06}'",
                seeded.rng.random_range(0..838),
                seeded.rng.random_range(0..60),
                seeded.rng.random_range(0..60),
                seeded.rng.random_range(0..1_000_000)
            )
        }));
        check(&place, &format!("TIME({digits})"), &values, "CAST(c AS CHAR)").await;
    }
}

const NO_DAYS: [&str; 5] = ["0000-00-00", "2024-00-00", "2024-02-00", "2024-00-05", "2024-02-31"];

#[tokio::test(flavor = "multi_thread")]
async fn days_that_no_calendar_has_follow_the_policy() {
    let place = place();
    place.run("CREATE TABLE t (id INT PRIMARY KEY, d DATE NOT NULL, m DATETIME(3) NULL, s TIMESTAMP NULL DEFAULT 0)");
    for (id, day) in NO_DAYS.iter().enumerate() {
        place.run(&format!("SET sql_mode = 'ALLOW_INVALID_DATES'; INSERT INTO t VALUES ({id}, '{day}', '{day} 10:00:00.5', 0)"));
    }
    place.run("INSERT INTO t VALUES (5, '2024-02-29', '2024-02-29 10:00:00.5', '2024-02-29 10:00:00')");
    for column in ["d", "m", "s"] {
        let session = place.begin("t").await;
        let plan = ReadPlan { columns: vec![column.into()], ..ReadPlan::default() };
        let error = read_plan(session.as_ref(), &plan).await.unwrap_err();
        assert_eq!((error.kind(), error.context_value("column")), (ErrorKind::Data, Some(column)));
        assert!(error.hint_text().unwrap().contains("zero_dates"), "{error}");
        // The session lives on.
        let plan = ReadPlan { columns: vec!["id".into()], ..ReadPlan::default() };
        assert_eq!(read_plan(session.as_ref(), &plan).await.unwrap().num_rows(), 6);
    }
    let lenient = place.connection().option("zero_dates", "null");
    let session = open(&lenient).await.unwrap().begin(&place.table("t")).await.unwrap();
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    assert!(session.table().columns[1].nullable, "it is declared NOT NULL, and holds NULL now");
    assert_eq!(batch.columns().iter().map(|column| column.null_count()).collect::<Vec<_>>(), [0, 5, 5, 5]);
    let mut fold = Fold::new(&batch.schema(), ProofLevel::Values);
    fold.add(&batch).unwrap();
    let server = session.figures(&ReadPlan::default(), ProofLevel::Values).await.unwrap();
    assert_eq!(fold.finish(), server);
    let as_text = place.connection().option("zero_dates", "text");
    let session = open(&as_text).await.unwrap().begin(&place.table("t")).await.unwrap();
    let batch = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    let expected = place.run("SELECT id, d, m, s FROM t ORDER BY id");
    let found = transload_testkit::arrow::rows(&batch).unwrap();
    let found: Vec<Vec<_>> =
        found.iter().map(|row| row.iter().map(|cell| cell.to_plain().unwrap()).collect()).collect();
    assert_eq!(found, expected);
}

/// With a day that no calendar has, a column has no lowest value that a window could begin at.
#[tokio::test(flavor = "multi_thread")]
async fn cursors_refuse_days_that_no_calendar_has() {
    let place = place();
    place.run("CREATE TABLE t (at DATETIME NULL); SET sql_mode = ''; INSERT INTO t VALUES ('0000-00-00'), ('2024-01-01'), (NULL)");
    let error = place.begin("t").await.cursor_summary("at").await.unwrap_err();
    assert_eq!((error.kind(), error.context_value("column")), (ErrorKind::Data, Some("at")));
    place.run("DELETE FROM t WHERE at = 0");
    let summary = place.begin("t").await.cursor_summary("at").await.unwrap();
    assert_eq!((summary.nulls, summary.max.unwrap().to_string()), (1, "2024-01-01T00:00:00".to_owned()));
    let rows = transload_testkit::arrow::rows(&place.read("t").await.unwrap()).unwrap();
    assert!(rows.contains(&vec![Cell::Null]));
}
