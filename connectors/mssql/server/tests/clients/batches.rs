//! Batches: results, errors, transactions, the catalog.

use super::support::{cell, cells, connect, error, log_in, rows, run, runs, start};

#[tokio::test(flavor = "multi_thread")]
async fn logins_are_checked() {
    let server = start().await;
    for (user, password, database, number) in
        [("sa", "wrong", "shop", 18456), ("nobody", "x", "", 18456), ("sa", "Secret1!", "nowhere", 4060)]
    {
        let refused = log_in(&server, user, password, database).await.unwrap_err();
        assert_eq!(refused.code(), Some(number), "{refused}");
    }
    let mut client = log_in(&server, "etl", server.password(), "").await.unwrap();
    assert_eq!(cell(&mut client, "SELECT DB_NAME()").await, "shop");
    assert_eq!(error(&mut client, "CREATE TABLE t (a int)").await, 262);
    assert_eq!(server.logins().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_put_in_come_out() {
    let server = start().await;
    let mut client = connect(&server).await;
    run(
        &mut client,
        "CREATE SCHEMA [odd]]name];
         CREATE TABLE [odd]]name].[t 1] (id int IDENTITY(10, 5) PRIMARY KEY, [a]]b] nvarchar(20) NULL, n decimal(10, 2))",
    )
    .await;
    run(
        &mut client,
        "INSERT INTO [odd]]name].[t 1] ([a]]b], n) VALUES (N'eins', 1.5), (N'zwei', -2), (NULL, NULL)",
    )
    .await;
    let all = cells(&mut client, "SELECT id, [a]]b], n FROM [odd]]name].[t 1] ORDER BY id").await;
    assert_eq!(all, [["10", "eins", "1.50"], ["15", "zwei", "-2.00"], ["20", "-", "-"]]);
    run(&mut client, "UPDATE [odd]]name].[t 1] SET n = n * 2 WHERE [a]]b] IS NOT NULL; DELETE FROM [odd]]name].[t 1] WHERE id = 20").await;
    let sums =
        cells(&mut client, "SELECT COUNT(*), SUM(n), MIN([a]]b]), MAX(id) FROM [odd]]name].[t 1]").await;
    assert_eq!(sums, [["2", "-1.00", "eins", "15"]]);
    assert_eq!(error(&mut client, "INSERT INTO [odd]]name].[t 1] (n) VALUES (123456789)").await, 8115);
    assert_eq!(error(&mut client, "SELECT x FROM [odd]]name].[t 1]").await, 207);
    assert_eq!(error(&mut client, "SELECT 1 FROM nowhere").await, 208);
    assert_eq!(error(&mut client, "SELECT FROM t").await, 156);
    assert_eq!(error(&mut client, "SELECT 1 +").await, 102);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_are_run_before_anybody_logs_in() {
    let server = start().await;
    server
        .run("CREATE SCHEMA a\nGO\nCREATE TABLE a.t (id int)\ngo\nINSERT INTO a.t VALUES (1), (2)")
        .await
        .unwrap();
    assert_eq!(cell(&mut connect(&server).await, "SELECT COUNT(*) FROM a.t").await, "2");
    let failed = server.run("INSERT INTO a.nowhere VALUES (1)").await.unwrap_err();
    assert!(failed.to_string().starts_with("error 208: "), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_come_with_calls() {
    let server = start().await;
    let mut client = connect(&server).await;
    run(
        &mut client,
        "CREATE TABLE p (id bigint, name nvarchar(50)); INSERT INTO p VALUES (1, N'a'), (2, N'b')",
    )
    .await;
    let found =
        client.query("SELECT name FROM p WHERE id = @P1 AND name <> @P2", &[&2_i64, &"x"]).await.unwrap();
    let rows = found.into_first_result().await.unwrap();
    assert_eq!(rows[0].get::<&str, _>(0), Some("b"));
    let changed = client.execute("UPDATE p SET name = @P1 WHERE id > @P2", &[&"z", &0_i32]).await.unwrap();
    assert_eq!(changed.total(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_gives_a_result_for_each_select() {
    let server = start().await;
    let mut client = connect(&server).await;
    let results = client.simple_query("SELECT 1; SELECT 2, N'b'; SELECT 3 WHERE 1 = 0").await.unwrap();
    let results = results.into_results().await.unwrap();
    assert_eq!(results.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0]);
    assert_eq!(
        cell(&mut client, "DECLARE @a int = 4; SET @a = @a * 3; IF @a > 10 SELECT @a ELSE SELECT 0").await,
        "12"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_stays_while_others_write() {
    let server = start().await;
    let (mut reader, mut writer) = (connect(&server).await, connect(&server).await);
    run(&mut writer, "CREATE TABLE s (id int PRIMARY KEY); INSERT INTO s VALUES (1), (2)").await;
    run(&mut reader, "SET TRANSACTION ISOLATION LEVEL SNAPSHOT").await;
    run(&mut reader, "BEGIN TRANSACTION").await;
    assert_eq!(cell(&mut reader, "SELECT COUNT(*) FROM s").await, "2");
    run(&mut writer, "INSERT INTO s VALUES (3)").await;
    assert_eq!(cell(&mut reader, "SELECT COUNT(*) FROM s").await, "2");
    assert_eq!(error(&mut reader, "DELETE FROM s WHERE id = 3; DELETE FROM s WHERE id = 1").await, 3960);
    assert_eq!(cell(&mut reader, "SELECT @@TRANCOUNT").await, "0");
    assert_eq!(cell(&mut reader, "SELECT COUNT(*) FROM s").await, "3");
    let mut plain = log_in(&server, "sa", server.password(), "plain").await.unwrap();
    run(&mut plain, "CREATE TABLE s (id int); SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRANSACTION")
        .await;
    assert_eq!(error(&mut plain, "SELECT id FROM s").await, 3952);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_keep_readers_waiting_until_their_time_is_up() {
    let server = start().await;
    let (mut reader, mut writer) = (connect(&server).await, connect(&server).await);
    run(&mut writer, "CREATE TABLE l (id int); INSERT INTO l VALUES (1)").await;
    run(&mut writer, "BEGIN TRANSACTION; UPDATE l SET id = 2").await;
    assert_eq!(error(&mut reader, "SET LOCK_TIMEOUT 50; SELECT id FROM l").await, 1222);
    assert_eq!(cell(&mut reader, "SELECT id FROM l WITH (NOLOCK)").await, "1");
    run(&mut writer, "ROLLBACK").await;
    assert_eq!(cell(&mut reader, "SELECT id FROM l").await, "1");
    run(&mut reader, "BEGIN TRANSACTION; SELECT COUNT(*) FROM l WITH (TABLOCK, HOLDLOCK)").await;
    assert_eq!(error(&mut writer, "SET LOCK_TIMEOUT 50; INSERT INTO l VALUES (3)").await, 1222);
    run(&mut reader, "ROLLBACK").await;
    run(&mut writer, "INSERT INTO l VALUES (3)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_versions_grow_and_the_open_one_is_known() {
    let server = start().await;
    let (mut one, mut other) = (connect(&server).await, connect(&server).await);
    run(&mut one, "CREATE TABLE v (id int, ver rowversion); INSERT INTO v (id) VALUES (1), (2)").await;
    assert_eq!(cell(&mut one, "SELECT ver FROM v WHERE id = 2").await, "0000000000000002");
    run(&mut one, "BEGIN TRANSACTION; UPDATE v SET id = 3 WHERE id = 1").await;
    assert_eq!(
        cell(&mut other, "SELECT CAST(MIN_ACTIVE_ROWVERSION() AS binary(8))").await,
        "0000000000000003"
    );
    assert_eq!(cell(&mut other, "SELECT @@DBTS").await, "0000000000000003");
    run(&mut one, "COMMIT").await;
    assert_eq!(
        cell(&mut other, "SELECT CAST(MIN_ACTIVE_ROWVERSION() AS binary(8))").await,
        "0000000000000004"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_tells_of_tables() {
    let server = start().await;
    let mut client = connect(&server).await;
    run(
        &mut client,
        "CREATE SCHEMA cat;
         CREATE TABLE cat.t (b int NOT NULL, a nvarchar(20) NOT NULL, c AS (b + 1), d datetime2(3) NULL DEFAULT NULL,
             e varchar(max) COLLATE Latin1_General_BIN2, PRIMARY KEY (b, a), UNIQUE (d));
         EXEC sp_addextendedproperty 'MS_Description', N'of d', 'SCHEMA', 'cat', 'TABLE', 't', 'COLUMN', 'd';
         INSERT INTO cat.t (b, a) VALUES (1, N'x')",
    )
    .await;
    let columns = cells(
        &mut client,
        "SELECT c.name, y.name, c.max_length, c.is_nullable, c.is_computed, c.collation_name, CAST(e.value AS nvarchar(100)) \
         FROM sys.columns AS c JOIN sys.types AS y ON y.user_type_id = c.user_type_id \
         LEFT JOIN sys.extended_properties AS e ON e.class = 1 AND e.major_id = c.object_id AND e.minor_id = c.column_id \
         WHERE c.object_id = OBJECT_ID(N'cat.t') ORDER BY c.column_id",
    )
    .await;
    let default = "SQL_Latin1_General_CP1_CI_AS";
    assert_eq!(
        columns,
        [
            ["b", "int", "4", "0", "0", "-", "-"],
            ["a", "nvarchar", "40", "0", "0", default, "-"],
            ["c", "int", "4", "0", "1", "-", "-"],
            ["d", "datetime2", "7", "1", "0", "-", "of d"],
            ["e", "varchar", "-1", "1", "0", "Latin1_General_BIN2", "-"],
        ]
    );
    let keys = cells(
        &mut client,
        "SELECT i.index_id, i.is_primary_key, i.is_unique, c.name FROM sys.indexes i JOIN sys.index_columns k \
         ON k.object_id = i.object_id AND k.index_id = i.index_id JOIN sys.columns c ON c.object_id = k.object_id \
         AND c.column_id = k.column_id WHERE i.object_id = OBJECT_ID('cat.t') ORDER BY i.index_id, k.key_ordinal",
    )
    .await;
    assert_eq!(keys, [["1", "1", "1", "b"], ["1", "1", "1", "a"], ["2", "0", "1", "d"]]);
    let sizes = cells(
        &mut client,
        "SELECT (SELECT SUM(p.rows) FROM sys.partitions AS p WHERE p.object_id = o.object_id AND p.index_id IN (0, 1)), \
         RTRIM(o.type) FROM sys.objects o JOIN sys.schemas s ON s.schema_id = o.schema_id WHERE s.name = 'cat' AND o.type IN ('U')",
    )
    .await;
    assert_eq!(sizes, [["1", "U"]]);
    run(&mut client, "DROP TABLE cat.t; DROP SCHEMA cat").await;
    assert_eq!(rows(&mut client, "SELECT 1 FROM sys.schemas WHERE name = N'CAT'").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_come_when_they_are_ordered() {
    let server = start().await;
    let mut client = connect(&server).await;
    run(&mut client, "CREATE TABLE f (id int); INSERT INTO f VALUES (1), (2), (3)").await;
    run(&mut client, "EXEC tds_test 'fail 1205 after 2 on [dbo].[f]'").await;
    assert_eq!(error(&mut client, "SELECT id FROM f").await, 1205);
    assert_eq!(cell(&mut client, "SELECT COUNT(*) FROM f").await, "3");
    run(&mut client, "EXEC tds_test 'close after 1 on f'").await;
    let cut = async { client.simple_query("SELECT id FROM f").await?.into_first_result().await };
    assert!(cut.await.is_err());
    let mut client = connect(&server).await;
    assert_eq!(error(&mut client, "RAISERROR ('stop', 20, 1) WITH LOG").await, 50000);
    let mut victim = connect(&server).await;
    let session = cell(&mut victim, "SELECT @@SPID").await;
    let mut killer = connect(&server).await;
    run(&mut killer, &format!("KILL {session}")).await;
    assert!(victim.simple_query("SELECT 1").await.is_err());
    let mut victim = connect(&server).await;
    let session = cell(&mut victim, "SELECT @@SPID").await;
    let numbers =
        "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT MAX(i) FROM n";
    let killing = async {
        runs(&server, numbers).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        run(&mut killer, &format!("KILL {session}")).await;
    };
    assert_eq!(tokio::join!(error(&mut victim, numbers), killing).0, 596);
    assert_eq!(error(&mut killer, "KILL 9999").await, 6106);
}

#[tokio::test(flavor = "multi_thread")]
async fn histograms_count_all_rows_of_an_index() {
    let server = start().await;
    let mut client = connect(&server).await;
    run(&mut client, "CREATE TABLE h (id bigint CONSTRAINT pk_h PRIMARY KEY, other int)").await;
    run(
        &mut client,
        "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO h SELECT i * 10, i FROM n",
    )
    .await;
    let steps = cells(
        &mut client,
        "SELECT COUNT(*), SUM(x.row_count), MAX(CAST(x.high AS bigint)) FROM (SELECT h.range_high_key AS high, \
         CAST(h.range_rows + h.equal_rows AS bigint) AS row_count FROM sys.stats AS t \
         CROSS APPLY sys.dm_db_stats_histogram(t.object_id, t.stats_id) AS h WHERE t.object_id = OBJECT_ID('h')) AS x",
    )
    .await;
    assert_eq!(steps, [["200", "1000", "10000"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_put_together_as_t_sql_says() {
    let server = start().await;
    let mut client = connect(&server).await;
    run(
        &mut client,
        "CREATE TABLE q (id int PRIMARY KEY, g varchar(10), v decimal(10, 2));
         INSERT INTO q VALUES (1, 'a', 1), (2, 'A ', 2.5), (3, 'b', NULL), (4, NULL, 4);
         CREATE VIEW vq (num, grp) AS SELECT id, g FROM q WHERE id < 4",
    )
    .await;
    let asked = [
        ("SELECT g, COUNT(*), SUM(v) FROM q GROUP BY g HAVING COUNT(*) > 1", "a,2,3.50"),
        ("SELECT TOP (2) id FROM q ORDER BY id DESC", "4|3"),
        ("SELECT id FROM q ORDER BY id OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY", "2|3"),
        ("SELECT num FROM vq WHERE grp = 'B'", "3"),
        ("SELECT id FROM q WHERE g LIKE 'a%' AND id NOT IN (1)", "2"),
        ("SELECT id FROM q WHERE g IS NULL OR v BETWEEN 2 AND 3 ORDER BY 1", "2|4"),
        (
            "SELECT x.n FROM (SELECT ROW_NUMBER() OVER (ORDER BY id DESC) AS n, id FROM q) AS x WHERE x.id = 4",
            "1",
        ),
        ("SELECT CASE WHEN v IS NULL THEN -1 ELSE v END FROM q ORDER BY id", "1.00|2.50|-1.00|4.00"),
        ("SELECT a.id FROM q a LEFT JOIN q b ON b.id = a.id + 1 WHERE b.id IS NULL", "4"),
        ("SELECT 1 AS x UNION ALL SELECT 2.5 UNION ALL SELECT NULL ORDER BY x DESC", "2.5|1.0|-"),
        ("SELECT COALESCE(NULL, g, 'none') FROM q WHERE id = 4", "none"),
        ("SELECT v.a + v.b FROM (VALUES (1, 2), (3, 4)) AS v (a, b)", "3|7"),
        ("SELECT TRY_CAST('x' AS int), TRY_CONVERT(int, '7')", "-,7"),
        ("SELECT DISTINCT g FROM q WHERE g IS NOT NULL ORDER BY g", "a|b"),
        (
            "SELECT MAX(x) FROM (SELECT id AS x FROM q WHERE EXISTS (SELECT 1 FROM q z WHERE z.id = q.id + 3)) AS t",
            "1",
        ),
        (
            "SELECT STUFF('abcd', 2, 1, 'XY'), CHARINDEX('c', 'abc'), LEN('ab  '), DATALENGTH(N'ab')",
            "aXYcd,3,2,4",
        ),
        ("SELECT DATEADD(month, 1, CAST('2024-01-31' AS date))", "Date(Some(Date(738944)))"),
    ];
    for (sql, expected) in asked {
        let rows = cells(&mut client, sql).await;
        let found: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
        assert_eq!(found.join("|"), expected, "{sql}");
    }
    let failing = [
        ("SELECT 1 / 0", 8134),
        ("SELECT CAST('x' AS int)", 245),
        ("SELECT CAST('2024-02-30' AS date)", 241),
        ("SELECT CAST(300 AS tinyint)", 8115),
        ("INSERT INTO q VALUES (1, 'a', 1)", 2627),
        ("INSERT INTO q (g) VALUES ('a')", 515),
        ("INSERT INTO q VALUES (9, 'much too long', 1)", 2628),
        ("CREATE TABLE q (a int)", 2714),
        ("DROP TABLE nowhere", 3701),
        ("SELECT nosuch(1)", 195),
        ("SELECT id FROM q a CROSS JOIN q b", 209),
        ("COMMIT", 3902),
        ("EXEC nosuch", 2812),
        ("SELECT @nothing", 137),
        // What SQL Server does not take, though others do.
        ("SELECT id AS precision FROM q", 156),
        ("SELECT key FROM q", 156),
        ("SELECT x.n FROM (SELECT COUNT(*) FROM q) AS x", 8155),
        ("SELECT COUNT(*) FROM (SELECT id, id FROM q) AS x", 8156),
        ("SELECT COUNT(*) FROM (SELECT id FROM q ORDER BY id) AS x", 1033),
        ("SELECT COUNT(*) FROM (SELECT id FROM q)", 102),
        ("SELECT 1 WHERE CAST('a' AS text) = 'a'", 402),
        ("SELECT id FROM q LIMIT 1", 102),
    ];
    for (sql, number) in failing {
        assert_eq!(error(&mut client, sql).await, number, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_can_be_altered() {
    let server = start().await;
    let mut client = connect(&server).await;
    run(&mut client, "CREATE TABLE a (id int, gone int); INSERT INTO a VALUES (1, 1)").await;
    run(&mut client, "ALTER TABLE a ADD n int NOT NULL DEFAULT 7, twice AS (id * 2), v rowversion").await;
    run(&mut client, "ALTER TABLE a DROP COLUMN gone; ALTER TABLE a ALTER COLUMN id bigint NOT NULL").await;
    assert_eq!(cells(&mut client, "SELECT id, n, twice FROM a").await, [["1", "7", "2"]]);
    run(&mut client, "CREATE UNIQUE INDEX ia ON a (id) INCLUDE (n); UPDATE a SET n = DEFAULT, id = 5").await;
    assert_eq!(cells(&mut client, "SELECT id, n, twice FROM a").await, [["5", "7", "10"]]);
    let hidden = "CREATE TABLE p (id int PRIMARY KEY, s datetime2 GENERATED ALWAYS AS ROW START HIDDEN NOT NULL, \
                  e datetime2 GENERATED ALWAYS AS ROW END HIDDEN NOT NULL, PERIOD FOR SYSTEM_TIME (s, e)) \
                  WITH (SYSTEM_VERSIONING = ON); INSERT INTO p (id) VALUES (1)";
    run(&mut client, hidden).await;
    assert_eq!(cells(&mut client, "SELECT * FROM p").await, [["1"]]);
    assert_eq!(
        cell(&mut client, "SELECT CAST(e AS varchar(40)) FROM p").await,
        "9999-12-31 23:59:59.9999999"
    );
    assert_eq!(cell(&mut client, "SELECT temporal_type FROM sys.tables WHERE name = 'p'").await, "2");
}
