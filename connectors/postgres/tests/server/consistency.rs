//! The splits of one session together are one snapshot of one table, whatever the table is and whoever changes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use futures::TryStreamExt;
use futures::future::try_join_all;
use transload_core::connector::{ReadPlan, ReadSession};
use transload_core::schema::TableRef;

use crate::support::{Place, client, in_schema};

/// Reads all splits at once, from splits that went through JSON, as other workers would get them.
async fn read_parallel(session: &dyn ReadSession, plan: &ReadPlan) -> (usize, Vec<RecordBatch>) {
    let splits = session.splits(plan).await.unwrap();
    let splits: Vec<_> = splits
        .iter()
        .map(|split| serde_json::from_str(&serde_json::to_string(split).unwrap()).unwrap())
        .collect();
    let streams = try_join_all(splits.iter().map(|split| session.read(split))).await.unwrap();
    let parts = try_join_all(streams.into_iter().map(TryStreamExt::try_collect::<Vec<_>>)).await.unwrap();
    (splits.len(), parts.into_iter().flatten().collect())
}

fn plan(parallelism: usize) -> ReadPlan {
    ReadPlan { parallelism, ..ReadPlan::default() }
}

fn int4(batches: &[RecordBatch], column: &str) -> Vec<i32> {
    let columns = batches.iter().map(|batch| batch.column_by_name(column).unwrap());
    columns.flat_map(|column| column.as_primitive::<Int32Type>().values().to_vec()).collect()
}

/// `id` of every row, ordered, as several parallelisms read it; they must agree with what the server counts.
async fn ids_at_every_parallelism(place: &Place, table: &str, most_splits: usize) -> Vec<i32> {
    let expected: Vec<i32> = place
        .admin
        .query(&format!("SELECT id FROM {table} ORDER BY id"), &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    for parallelism in [1, 2, 3, 4, 7] {
        let session = place.begin(table).await;
        let (splits, batches) = read_parallel(session.as_ref(), &plan(parallelism)).await;
        let mut ids = int4(&batches, "id");
        ids.sort_unstable();
        assert!(ids == expected, "{table} at {parallelism}: {} rows of {}", ids.len(), expected.len());
        assert_eq!(splits, parallelism.min(most_splits), "{table} at {parallelism}");
        session.close().await.unwrap();
    }
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_changes_all_the_time_reads_as_one_snapshot() {
    in_schema(|place| async move {
        // Transfers between accounts keep the sum; new and deleted rows come in pairs that keep it too. Rows move
        // all over the table, since each update writes a new version.
        place
            .run(
                "CREATE TABLE accounts (id int, amount bigint, filler text);
                 INSERT INTO accounts SELECT g, 1000, repeat('x', 900) FROM generate_series(1, 40000) g;
                 CREATE UNIQUE INDEX ON accounts (id)",
            )
            .await;
        let (stop, transfers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut writers = Vec::new();
        for worker in 0..3_i64 {
            let (client, stop, transfers, schema) =
                (client().await, Arc::clone(&stop), Arc::clone(&transfers), place.schema.clone());
            writers.push(tokio::spawn(async move {
                for round in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    // Each worker has accounts of its own, so that no two wait for each other.
                    let (a, b) = (round * 7919 % 13_000 * 3 + worker + 1, round * 104_729 % 13_000 * 3 + worker + 1);
                    let (plus, minus) = (1_000_000 + round * 6 + worker, 1_000_003 + round * 6 + worker);
                    let sql = format!(
                        "BEGIN; UPDATE {schema}.accounts SET amount = amount - 7 WHERE id = {a};
                         UPDATE {schema}.accounts SET amount = amount + 7 WHERE id = {b};
                         INSERT INTO {schema}.accounts VALUES ({plus}, 11, repeat('y', 500)), ({minus}, -11, '');
                         DELETE FROM {schema}.accounts WHERE id IN ({plus} - 600, {minus} - 600); COMMIT"
                    );
                    client.batch_execute(&sql).await.unwrap();
                    transfers.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let plan = ReadPlan { columns: vec!["id".into(), "amount".into(), "filler".into()], ..plan(4) };
        for round in 0..8 {
            let before = transfers.load(Ordering::Relaxed);
            let session = place.begin("accounts").await;
            // Something happens between the snapshot and the reads.
            tokio::time::sleep(Duration::from_millis(40)).await;
            let (splits, batches) = read_parallel(session.as_ref(), &plan).await;
            assert!(splits >= 4, "{splits}");
            let amounts = batches.iter().map(|batch| batch.column(1).as_primitive::<Int64Type>());
            let sum: i64 = amounts.flat_map(|amounts| amounts.values().to_vec()).sum();
            let ids = int4(&batches, "id");
            let mut distinct = ids.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(sum, 40_000_000, "round {round}");
            assert_eq!(distinct.len(), ids.len(), "round {round}: rows twice");
            assert_eq!(distinct.iter().filter(|id| **id <= 40_000).count(), 40_000, "round {round}");
            // Another look of the same session, over one connection, sees the same rows.
            let one = ReadPlan { parallelism: 1, ..plan.clone() };
            let mut again = int4(&read_parallel(session.as_ref(), &one).await.1, "id");
            again.sort_unstable();
            assert!(again == distinct, "round {round}: {} and {} rows", again.len(), distinct.len());
            session.close().await.unwrap();
            assert!(transfers.load(Ordering::Relaxed) > before, "nobody wrote during round {round}");
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.unwrap();
        }
    })
    .await;
}

const WIDE: &str = "repeat(md5(g::text), 30)";

#[tokio::test(flavor = "multi_thread")]
async fn partitioned_tables_are_read_whole() {
    in_schema(|place| async move {
        place
            .run(&format!(
                "CREATE TABLE p (id int, filler text) PARTITION BY RANGE (id);
                 CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (MINVALUE) TO (10000);
                 CREATE TABLE p_empty PARTITION OF p FOR VALUES FROM (10000) TO (20000);
                 CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (20000) TO (MAXVALUE) PARTITION BY HASH (id);
                 CREATE TABLE p_high_0 PARTITION OF p_high FOR VALUES WITH (MODULUS 2, REMAINDER 0);
                 CREATE TABLE p_high_1 PARTITION OF p_high FOR VALUES WITH (MODULUS 2, REMAINDER 1);
                 CREATE TABLE p_default PARTITION OF p DEFAULT;
                 INSERT INTO p SELECT g, {WIDE} FROM generate_series(-15000, 9999) g;
                 INSERT INTO p SELECT g, {WIDE} FROM generate_series(20000, 35000) g; INSERT INTO p VALUES (NULL, 'x')"
            ))
            .await;
        place.run("DELETE FROM p WHERE id IS NULL").await;
        // Each split has its range of pages of each partition.
        assert_eq!(ids_at_every_parallelism(&place, "p", 3).await.len(), 40_001);
        // A partition may be read by its own name, in parallel.
        assert_eq!(ids_at_every_parallelism(&place, "p_low", 3).await.len(), 25_000);
        assert_eq!(ids_at_every_parallelism(&place, "p_empty", 1).await.len(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_is_read_with_its_children() {
    in_schema(|place| async move {
        // Ranges of pages hold for each table by itself; the largest is a child.
        place
            .run(&format!(
                "CREATE TABLE parent (id int, filler text); CREATE TABLE child (more int) INHERITS (parent);
                 CREATE TABLE grandchild () INHERITS (child);
                 INSERT INTO parent SELECT g, {WIDE} FROM generate_series(1, 20000) g;
                 INSERT INTO child SELECT g, {WIDE}, 1 FROM generate_series(20001, 70000) g;
                 INSERT INTO grandchild SELECT g, {WIDE}, 1 FROM generate_series(70001, 70100) g"
            ))
            .await;
        assert_eq!(ids_at_every_parallelism(&place, "parent", 6).await.len(), 70_100);
        assert_eq!(ids_at_every_parallelism(&place, "child", 6).await.len(), 50_100);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_tables_and_partitions_are_read_whole() {
    in_schema(|place| async move {
        let schema = place.schema.clone();
        let (host, port, user, password) = {
            let config: tokio_postgres::Config = crate::support::url().parse().unwrap();
            let password = String::from_utf8(config.get_password().unwrap().to_vec()).unwrap();
            ("127.0.0.1", config.get_ports()[0], config.get_user().unwrap().to_owned(), password)
        };
        // Over a parent with a foreign child, ranges of pages would mean something else for the child.
        place
            .run(&format!(
                "CREATE EXTENSION IF NOT EXISTS postgres_fdw SCHEMA public;
                 CREATE SERVER {schema}_self FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{host}', port '{port}', dbname 'postgres');
                 CREATE USER MAPPING FOR CURRENT_USER SERVER {schema}_self OPTIONS (user '{user}', password '{password}');
                 CREATE TABLE real (id int, filler text);
                 INSERT INTO real SELECT g, {WIDE} FROM generate_series(1, 20000) g;
                 CREATE FOREIGN TABLE f (id int, filler text) SERVER {schema}_self OPTIONS (schema_name '{schema}', table_name 'real');
                 CREATE TABLE p (id int, filler text) PARTITION BY RANGE (id);
                 CREATE FOREIGN TABLE p_far PARTITION OF p FOR VALUES FROM (1) TO (30000) SERVER {schema}_self
                    OPTIONS (schema_name '{schema}', table_name 'real');
                 CREATE TABLE p_near PARTITION OF p FOR VALUES FROM (30000) TO (90000);
                 INSERT INTO p_near SELECT g, {WIDE} FROM generate_series(30001, 50000) g;
                 CREATE TABLE parent (id int, filler text);
                 INSERT INTO parent SELECT g, {WIDE} FROM generate_series(30001, 60000) g;
                 CREATE FOREIGN TABLE child () INHERITS (parent) SERVER {schema}_self OPTIONS (schema_name '{schema}', table_name 'real')"
            ))
            .await;
        let checked = async {
            assert_eq!(ids_at_every_parallelism(&place, "f", 1).await.len(), 20_000);
            assert_eq!(ids_at_every_parallelism(&place, "p", 1).await.len(), 40_000);
            assert_eq!(ids_at_every_parallelism(&place, "parent", 1).await.len(), 50_000);
        };
        checked.await;
        place.run(&format!("DROP SERVER {schema}_self CASCADE")).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_and_materialised_views() {
    in_schema(|place| async move {
        place
            .run(&format!(
                "CREATE TABLE t AS SELECT g AS id, {WIDE} AS filler FROM generate_series(1, 20000) g;
                 CREATE VIEW v AS SELECT a.id, a.filler FROM t a JOIN t b ON a.id = b.id WHERE a.id % 3 > 0;
                 CREATE MATERIALIZED VIEW m AS SELECT * FROM t UNION ALL SELECT id + 20000, filler FROM t;
                 CREATE MATERIALIZED VIEW unfilled AS SELECT * FROM t WITH NO DATA"
            ))
            .await;
        assert_eq!(ids_at_every_parallelism(&place, "v", 1).await.len(), 13_334);
        assert_eq!(ids_at_every_parallelism(&place, "m", 4).await.len(), 40_000);
        let error = place.read("unfilled").await.unwrap_err();
        assert_eq!(error.context_value("sqlstate"), Some("55000"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_do_not_decide_what_is_read() {
    in_schema(|place| async move {
        // NULL keys, one key in most of the rows, gaps of deleted rows, and pages that are empty at both ends.
        place
            .run(&format!(
                "CREATE TABLE t (id int, k bigint, filler text);
                 INSERT INTO t SELECT g, CASE WHEN g % 10 = 0 THEN NULL WHEN g % 10 < 9 THEN 1 ELSE g::bigint * 1000000 END, {WIDE}
                 FROM generate_series(1, 60000) g; CREATE INDEX ON t (k);
                 DELETE FROM t WHERE id BETWEEN 20000 AND 30000 OR id < 3000 OR id > 57000"
            ))
            .await;
        assert_eq!(ids_at_every_parallelism(&place, "t", 7).await.len(), 43_999 + 1);
        let session = place.begin("t").await;
        let (_, batches) = read_parallel(session.as_ref(), &plan(4)).await;
        let nulls: usize = batches.iter().map(|batch| arrow_array::Array::null_count(batch.column(1))).sum();
        let counted = place.number("SELECT count(*) FROM t WHERE k IS NULL").await;
        assert_eq!(i64::try_from(nulls).unwrap(), counted);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wide_rows_outside_the_table_are_read_whole() {
    in_schema(|place| async move {
        // 300 kB a row, stored aside and not compressed: the table itself is 2 pages, the values are 90 MB.
        place
            .run(
                "CREATE TABLE wide (id int, body text); ALTER TABLE wide ALTER body SET STORAGE EXTERNAL;
                 INSERT INTO wide SELECT g, repeat(md5(g::text), 9600) FROM generate_series(1, 300) g;
                 INSERT INTO wide SELECT g, NULL FROM generate_series(301, 310) g",
            )
            .await;
        assert_eq!(ids_at_every_parallelism(&place, "wide", 1).await.len(), 310);
        let session = place.begin("wide").await;
        let (_, batches) =
            read_parallel(session.as_ref(), &ReadPlan { batch_bytes: 1 << 20, ..plan(4) }).await;
        assert!(batches.len() > 60, "{} batches", batches.len());
        let bodies = batches.iter().flat_map(|batch| batch.column(1).as_string::<i32>().iter());
        let bytes: usize = bodies.flatten().map(str::len).sum();
        assert_eq!(bytes, 300 * 32 * 9600);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_on_pages_that_came_after_the_description_are_read() {
    in_schema(|place| async move {
        place
            .run(&format!(
                "CREATE TABLE t AS SELECT g AS id, {WIDE} AS filler FROM generate_series(1, 20000) g"
            ))
            .await;
        let session = place.begin("t").await;
        place.run(&format!("INSERT INTO t SELECT g, {WIDE} FROM generate_series(20001, 60000) g")).await;
        let (splits, batches) = read_parallel(session.as_ref(), &plan(3)).await;
        let mut ids = int4(&batches, "id");
        ids.sort_unstable();
        // The snapshot does not see them.
        assert_eq!((splits, ids), (2, (1..=20_000).collect()));
        // Splits that were planned on fewer pages than there are: a session of a snapshot that sees all of them.
        let later = place.begin("t").await;
        let few = session.splits(&plan(2)).await.unwrap();
        let many = later.splits(&plan(2)).await.unwrap();
        let mut ids = Vec::new();
        for (few, many) in few.into_iter().zip(many) {
            let mut split = many;
            split.part["lo"] = few.part["lo"].clone();
            split.part["hi"] = few.part["hi"].clone();
            ids.extend(int4(&later.read(&split).await.unwrap().try_collect::<Vec<_>>().await.unwrap(), "id"));
        }
        ids.sort_unstable();
        assert_eq!(ids, (1..=60_000).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn rows_and_the_cursor_bound_are_of_one_snapshot() {
    in_schema(|place| async move {
        place
            .run(&format!(
                "CREATE TABLE t AS SELECT g AS id, {WIDE} AS filler FROM generate_series(1, 20000) g"
            ))
            .await;
        let session = place.begin("t").await;
        place.run("INSERT INTO t VALUES (99999, ''); DELETE FROM t WHERE id = 20000").await;
        let max = session.cursor_summary("id").await.unwrap().max;
        assert_eq!(max.map(|max| max.to_string()).as_deref(), Some("20000"));
        let (_, batches) = read_parallel(session.as_ref(), &plan(2)).await;
        assert_eq!(int4(&batches, "id").into_iter().max(), Some(20_000));
        let other = TableRef::new(&place.schema, "t");
        let late = place.source().await.begin(&other).await.unwrap();
        assert_eq!(late.cursor_summary("id").await.unwrap().max.unwrap().to_string(), "99999");
    })
    .await;
}
