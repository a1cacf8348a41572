//! Splits, samples, chains of statements, and streams that are dropped.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use futures::StreamExt as _;
use transload_core::ErrorKind;
use transload_core::connector::{CursorFilter, ReadPlan, ReadSession};
use transload_core::schema::CursorValue;
use transload_testkit::wait::eventually;

use super::support::{Place, batches, open, place, read_plan};

/// A table of 200,000 rows and about 60 MB, whose key is an expression of `seq`.
fn large(place: &Place, key_type: &str, key: &str) {
    place.run(&format!(
        "CREATE TABLE t (k {key_type}, n BIGINT, t CHAR(250), PRIMARY KEY (k)); \
         INSERT INTO t SELECT {key}, seq, REPEAT('x', 250) FROM seq_1_to_200000; ANALYZE TABLE t"
    ));
}

/// Every row once, over as many splits as there are; gives their shares of the rows.
async fn all_once(session: &dyn ReadSession, rows: usize, plan: &ReadPlan) -> Vec<usize> {
    let (mut seen, mut shares) = (BTreeSet::new(), Vec::new());
    for split in session.splits(plan).await.unwrap() {
        let mut stream = session.read(&split).await.unwrap();
        let mut share = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch.unwrap();
            share += batch.num_rows();
            let numbers = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>();
            assert!(numbers.values().iter().all(|number| seen.insert(*number)), "a row twice");
        }
        shares.push(share);
    }
    assert_eq!(seen.len(), rows);
    shares
}

fn parallel(parallelism: usize) -> ReadPlan {
    ReadPlan { parallelism, columns: vec!["n".into()], ..ReadPlan::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_of_every_kind_of_key_hold_every_row_once() {
    for (key_type, key) in [
        ("BIGINT", "seq"),
        ("INT UNSIGNED", "seq * 20000"),
        ("BIGINT UNSIGNED", "18446744073709551615 - seq"),
        ("BIGINT", "-9223372036854775807 + CAST(seq AS SIGNED) * 46116860184273"),
        ("DECIMAL(18,4)", "seq / 7"),
        ("DATETIME(6)", "'2020-01-01' + INTERVAL seq SECOND"),
        ("TIMESTAMP(3)", "FROM_UNIXTIME(1000000000 + seq)"),
    ] {
        let place = place();
        large(&place, key_type, key);
        let session = place.begin("t").await;
        let shares = all_once(session.as_ref(), 200_000, &parallel(3)).await;
        assert_eq!(shares.len(), 3, "{key_type}");
        assert!(shares.iter().all(|share| *share > 45_000), "{key_type} {key}: {shares:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_follow_where_the_rows_are() {
    let place = place();
    // Nearly all keys lie in a thousandth of the range.
    large(&place, "BIGINT", "IF(seq > 199990, seq * 1000000000, seq)");
    let session = place.begin("t").await;
    let shares = all_once(session.as_ref(), 200_000, &parallel(4)).await;
    assert!(shares.iter().all(|share| *share > 45_000), "{shares:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_are_in_one_split() {
    let place = place();
    place.run(
        "CREATE TABLE t (k BIGINT NULL, n BIGINT, t CHAR(250), KEY (k)); \
         INSERT INTO t SELECT IF(seq % 3 = 0, NULL, seq), seq, REPEAT('x', 250) FROM seq_1_to_200000; ANALYZE TABLE t",
    );
    let session = place.begin("t").await;
    assert_eq!(all_once(session.as_ref(), 200_000, &parallel(2)).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_no_range_is_made_of_are_read_in_one() {
    for (key_type, key) in [
        ("CHAR(32) COLLATE utf8mb4_general_ci", "MD5(seq)"),
        ("UUID", "UUID()"),
        ("BINARY(16)", "UNHEX(MD5(seq))"),
    ] {
        let place = place();
        large(&place, key_type, key);
        let session = place.begin("t").await;
        assert_eq!(all_once(session.as_ref(), 200_000, &parallel(4)).await, [200_000], "{key_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_cut_by_their_own_cursor() {
    let place = place();
    large(&place, "BIGINT", "seq");
    let session = place.begin("t").await;
    let window = |column: &str, lo, hi| ReadPlan {
        filter: Some(CursorFilter {
            column: column.into(),
            lo: Some(CursorValue::Int(lo)),
            lo_inclusive: false,
            hi: Some(CursorValue::Int(hi)),
            include_nulls: false,
        }),
        ..parallel(4)
    };
    let shares = all_once(session.as_ref(), 100_000, &window("k", 50_000, 150_000)).await;
    assert!(shares.len() == 3 && shares.iter().all(|share| *share > 10_000), "{shares:?}");
    // Another column's window is not cut by the key.
    assert_eq!(all_once(session.as_ref(), 10, &window("n", 10, 20)).await, [10]);
    let up_to = CursorFilter { lo: None, ..window("n", 0, 1000).filter.unwrap() };
    let plan = ReadPlan { filter: Some(up_to), ..parallel(4) };
    assert_eq!(all_once(session.as_ref(), 1000, &plan).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_for_the_whole_table() {
    let place = place();
    large(&place, "BIGINT", "seq");
    let session = place.begin("t").await;
    let plan = ReadPlan { limit: Some(123), ..parallel(4) };
    assert_eq!(read_plan(session.as_ref(), &plan).await.unwrap().num_rows(), 123);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_keep_to_their_bytes() {
    let place = place();
    large(&place, "BIGINT", "seq");
    let session = place.begin("t").await;
    let plan = ReadPlan { batch_bytes: 1 << 20, ..ReadPlan::default() };
    let all = batches(session.as_ref(), &plan).await.unwrap();
    let largest = all.iter().map(transload_core::batch::batch_bytes).max().unwrap();
    assert!(all.len() > 40 && largest < 1_200_000, "{} batches of at most {largest} bytes", all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_come_from_all_over_the_table() {
    let place = place();
    large(&place, "BIGINT", "seq");
    let session = place.begin("t").await;
    let sample = session.sample(1000).await.unwrap();
    let keys = sample.column(0).as_primitive::<Int64Type>().values();
    assert!(sample.num_rows() > 500 && sample.num_rows() <= 1000, "{}", sample.num_rows());
    let spread: BTreeSet<_> = keys.iter().map(|key| key / 25_000).collect();
    assert!(spread.len() >= 7, "{spread:?}");
    place.run("CREATE TABLE small (n BIGINT); INSERT INTO small SELECT seq FROM seq_1_to_30");
    assert_eq!(place.begin("small").await.sample(10).await.unwrap().num_rows(), 10);
    assert_eq!(place.begin("small").await.sample(100).await.unwrap().num_rows(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_frees_its_connection_and_keeps_the_snapshot() {
    for compression in [false, true] {
        drop_streams(compression).await;
    }
}

async fn drop_streams(compression: bool) {
    let place = place();
    large(&place, "BIGINT", "seq");
    let shop = place.connection().option("compression", compression);
    let session = open(&shop).await.unwrap().begin(&place.table("t")).await.unwrap();
    place.run("DELETE FROM t WHERE n > 1000");
    let plan = ReadPlan { batch_bytes: 1 << 20, ..ReadPlan::default() };
    let splits = session.splits(&plan).await.unwrap();
    let began = Instant::now();
    for _ in 0..5 {
        let mut stream = session.read(&splits[0]).await.unwrap();
        assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
        // Also in the middle of a message.
        let mut given_up = false;
        while !given_up {
            match tokio::time::timeout(Duration::from_micros(200), stream.next()).await {
                Ok(Some(batch)) => drop(batch.unwrap()),
                Ok(None) => stream = session.read(&splits[0]).await.unwrap(),
                Err(_) => given_up = true,
            }
        }
    }
    assert_eq!(all_once(session.as_ref(), 200_000, &parallel(1)).await, [200_000]);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    session.close().await.unwrap();
    let left = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%FROM `{}`%' AND info NOT LIKE '%processlist%'",
        place.schema
    );
    eventually("nothing runs on", || async { place.cell(&left) == "0" }).await;
}

/// Also questions and reads that are given up before their first row.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_is_ended_at_the_server() {
    let place = place();
    place.run(
        "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t SELECT seq FROM seq_1_to_20000; \
        CREATE VIEW v AS SELECT id, SLEEP(0.1) AS s FROM t",
    );
    let running = format!(
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%`{}`.`v`%' AND info NOT LIKE '%processlist%'",
        place.schema
    );
    for question in [true, false] {
        let session = place.begin("v").await;
        let asking = async {
            if question {
                session.cursor_summary("s").await.map(|_| ())
            } else {
                let plan = ReadPlan { batch_bytes: 1 << 18, ..ReadPlan::default() };
                read_plan(session.as_ref(), &plan).await.map(|_| ())
            }
        };
        // It would take more than half an hour.
        tokio::select! {
            answer = asking => panic!("{answer:?}"),
            () = eventually("it is asked", || async { place.cell(&running) == "1" }) => {}
        }
        eventually("it ends", || async { place.cell(&running) == "0" }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_side_by_side_are_as_many_as_were_planned() {
    let place = place();
    large(&place, "BIGINT", "seq");
    let session = place.begin("t").await;
    let plan = ReadPlan { parallelism: 4, batch_bytes: 1 << 20, ..ReadPlan::default() };
    let splits = session.splits(&plan).await.unwrap();
    assert_eq!(splits.len(), 3, "16 MiB each at least");
    let mut streams = Vec::new();
    for split in &splits {
        streams.push(session.read(split).await.unwrap());
    }
    // One more than there are connections for.
    assert_eq!(session.read(&splits[0]).await.err().unwrap().kind(), ErrorKind::Config);
    let mut rows = 0;
    for mut stream in streams {
        while let Some(batch) = stream.next().await {
            rows += batch.unwrap().num_rows();
        }
    }
    assert_eq!(rows, 200_000);
}
