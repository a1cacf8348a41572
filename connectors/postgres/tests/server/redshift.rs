//! Redshift, as far as a PostgreSQL can show it: the database of `redshift_stand_in`, read with Redshift's statements
//! through cursors in the text format, beside the same tables read as PostgreSQL's.
//!
//! What this does not prove: that Redshift takes these statements, fills its catalog like `redshift_catalog.sql`, and
//! prints values like PostgreSQL.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Decimal128Type, Decimal256Type, Float64Type, Int32Type};
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use futures::TryStreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use transload_core::connector::{CursorFilter, ReadPlan, Source, TableKind};
use transload_core::schema::{CursorValue, Nanos, TableRef};
use transload_core::{Connection, ErrorKind, Registry, Result, Secret};
use transload_postgres::{Postgres, Redshift};

use crate::redshift_stand_in;
use crate::support::{batches, connect, read_plan, url};

async fn open(connection: &Connection) -> Result<Arc<dyn Source>> {
    Registry::new().with(Postgres).with(Redshift).source(connection).await
}

fn redshift() -> Connection {
    redshift_stand_in::connection(&url())
}

/// Tables of one test, in a schema of its own.
struct Place {
    admin: tokio_postgres::Client,
    schema: String,
}

impl Place {
    /// `NAME.` in the statements stands for the schema.
    async fn new(sql: &str) -> Self {
        let admin = connect(&redshift_stand_in::url(&url())).await;
        let schema = format!("place_{:016x}", rand::random::<u64>());
        let place = Self { admin, schema };
        place.run(&format!("SET lock_timeout = '30s'; CREATE SCHEMA {}; {sql}", place.schema)).await;
        place
    }

    async fn run(&self, sql: &str) {
        let sql = sql.replace("NAME.", &format!("{}.", self.schema));
        self.admin.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    fn table(&self, name: &str) -> TableRef {
        TableRef::new(&self.schema, name)
    }

    async fn end(self) {
        self.run(&format!("DROP SCHEMA {} CASCADE", self.schema)).await;
    }
}

/// One table with every type that PostgreSQL and Redshift share.
const SHARED: &str = "CREATE TABLE NAME.t AS SELECT g AS id, (g % 30000)::smallint AS s, g * 1000000007::bigint AS l,
      CASE WHEN g % 5 > 0 THEN (g - 500) / 3.0 END::numeric(18,4) AS n, (g / 7.0)::numeric(38,20) AS w,
      sin(g)::real AS r, CASE g % 100 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' ELSE tan(g)::text END::float8 AS d,
      CASE WHEN g % 3 > 0 THEN g % 2 = 0 END AS b, repeat('ü', g % 9)::varchar(300) AS v, (g % 7)::char(3) AS c,
      '2000-01-01'::date + (g - 500) * 1731 AS day, '2000-01-01'::timestamp + (g - 500) * interval '173 days 1.000001 s' AS at,
      '1999-01-01 00:00+00'::timestamptz + g * interval '7 h 0.5 s' AS z, '00:00'::time + g * interval '86.123456 s' AS o,
      decode(md5(g::text), 'hex') AS y, json_build_object('a', g) AS j
   FROM generate_series(1, 1000) g";

/// Column by column: to Arrow's equality no NaN equals another, and Redshift's type table has wide decimals where
/// PostgreSQL's has narrow ones.
fn same(one: &RecordBatch, other: &RecordBatch) {
    assert_eq!(one.num_rows(), other.num_rows());
    for (index, field) in one.schema().fields().iter().enumerate() {
        let (one, other) = (one.column(index), other.column(index));
        match (one.data_type(), other.data_type()) {
            (DataType::Float64, DataType::Float64) => {
                let bits = |array: &ArrayRef| -> Vec<_> {
                    array.as_primitive::<Float64Type>().iter().map(|value| value.map(f64::to_bits)).collect()
                };
                assert_eq!(bits(one), bits(other), "{field}");
            }
            (DataType::Decimal256(..), DataType::Decimal128(..)) => {
                let (one, other) =
                    (one.as_primitive::<Decimal256Type>(), other.as_primitive::<Decimal128Type>());
                for row in 0..one.len() {
                    assert_eq!(one.is_null(row), other.is_null(row), "{field}");
                    assert_eq!(one.value_as_string(row), other.value_as_string(row), "{field}");
                }
            }
            _ => assert_eq!(one, other, "{field}"),
        }
    }
}

#[tokio::test]
async fn rows_are_those_that_postgresql_reads() {
    let place = Place::new(SHARED).await;
    let plan = ReadPlan::default();
    let postgres = open(&Connection::from_url(&redshift_stand_in::url(&url())).unwrap()).await.unwrap();
    let session = postgres.begin(&place.table("t")).await.unwrap();
    let expected = read_plan(session.as_ref(), &plan).await.unwrap();
    drop(session);
    for fetch_rows in [1, 7, 999, 1000, 1001, 0] {
        let source = open(&redshift().option("fetch_rows", fetch_rows)).await.unwrap();
        let session = source.begin(&place.table("t")).await.unwrap();
        let read = read_plan(session.as_ref(), &plan).await.unwrap();
        same(&read, &expected);
        // Again, in the same session: one cursor is closed before the next is opened.
        same(
            &read_plan(session.as_ref(), &ReadPlan { parallelism: 4, ..plan.clone() }).await.unwrap(),
            &expected,
        );
        session.close().await.unwrap();
    }
    place.end().await;
}

#[tokio::test]
async fn windows_limits_and_columns_are_pushed_down() {
    let place = Place::new(SHARED).await;
    let session = open(&redshift()).await.unwrap().begin(&place.table("t")).await.unwrap();
    let plan = ReadPlan { columns: vec!["l".into(), "id".into()], limit: Some(5), ..ReadPlan::default() };
    let read = read_plan(session.as_ref(), &plan).await.unwrap();
    assert_eq!((read.num_rows(), read.num_columns()), (5, 2));
    for column in ["id", "s", "l", "n", "day", "at", "z"] {
        let summary = session.cursor_summary(column).await.unwrap();
        let sql = format!("SELECT count(*) FROM {}.t WHERE {column} IS NOT NULL", place.schema);
        let count: i64 = place.admin.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(1000 - summary.nulls, u64::try_from(count).unwrap(), "{column}");
        let rows = |lo: &Option<CursorValue>, lo_inclusive, hi: &Option<CursorValue>| {
            let filter = CursorFilter {
                column: column.into(),
                lo: lo.clone(),
                lo_inclusive,
                hi: hi.clone(),
                include_nulls: false,
            };
            let plan = ReadPlan { filter: Some(filter), ..ReadPlan::default() };
            let session = &session;
            async move {
                let all = batches(session.as_ref(), &plan).await.unwrap();
                all.iter().map(RecordBatch::num_rows).sum::<usize>()
            }
        };
        let count = usize::try_from(count).unwrap();
        assert_eq!(rows(&summary.min, true, &summary.max).await, count, "{column}");
        let middle = match (&summary.min, &summary.max) {
            (Some(CursorValue::DateTime(min)), Some(CursorValue::DateTime(max))) => {
                Some(CursorValue::DateTime(Nanos(min.0.midpoint(max.0))))
            }
            (Some(CursorValue::Timestamp(min)), Some(CursorValue::Timestamp(max))) => {
                Some(CursorValue::Timestamp(Nanos(min.0.midpoint(max.0))))
            }
            (Some(CursorValue::Int(min)), Some(CursorValue::Int(max))) => {
                Some(CursorValue::Int(min.midpoint(*max)))
            }
            // More digits after the point than the column has.
            (Some(CursorValue::Decimal(..)), _) => Some(CursorValue::Decimal("1234567".into(), 5)),
            (Some(CursorValue::Date(_)), _) => Some(CursorValue::Date(0)),
            _ => panic!("{column}: {summary:?}"),
        };
        let (below, above) = (rows(&None, true, &middle).await, rows(&middle, false, &None).await);
        assert_eq!(below + above, count, "{column}");
        assert!(below > 0 && above > 0, "{column}: {below} and {above}");
    }
    for column in ["v", "c", "d", "b", "j", "w"] {
        let error = session.cursor_summary(column).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{column}");
    }
    drop(session);
    place.end().await;
}

#[tokio::test]
async fn a_session_is_one_snapshot() {
    let place = Place::new("CREATE TABLE NAME.t AS SELECT g AS id FROM generate_series(1, 5000) g").await;
    let session = open(&redshift()).await.unwrap().begin(&place.table("t")).await.unwrap();
    // What reads the table keeps it, but not its rows.
    place.run("INSERT INTO NAME.t VALUES (6000); DELETE FROM NAME.t WHERE id = 1").await;
    let alter = place.admin.batch_execute("SET lock_timeout = '100ms'").await;
    alter.unwrap();
    let sql = format!("ALTER TABLE {}.t ADD COLUMN late int", place.schema);
    assert!(place.admin.batch_execute(&sql).await.is_err(), "the session locks its table");
    let read = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    let ids: Vec<i32> = read.column(0).as_primitive::<Int32Type>().values().to_vec();
    assert_eq!((ids.len(), ids.iter().min(), ids.iter().max()), (5000, Some(&1), Some(&5000)));
    let error = read_twice(session.as_ref()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    // A stream that was dropped half-way leaves session and snapshot as they are.
    let read = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap();
    assert_eq!(read.num_rows(), 5000);
    session.close().await.unwrap();
    place.end().await;
}

async fn read_twice(session: &dyn transload_core::connector::ReadSession) -> Result<()> {
    let plan = ReadPlan { batch_bytes: 100, ..ReadPlan::default() };
    let splits = session.splits(&plan).await?;
    let mut first = session.read(&splits[0]).await?;
    first.try_next().await?;
    session.read(&splits[0]).await.map(|_| ())
}

#[tokio::test]
async fn what_fails_ends_the_session() {
    let place = Place::new(
        "CREATE TABLE NAME.t (id int, v float8); INSERT INTO NAME.t SELECT g, 1 FROM generate_series(1, 3000) g;
         CREATE VIEW NAME.broken AS SELECT id, 1 / (id - 2500) AS v FROM NAME.t",
    )
    .await;
    let session = open(&redshift()).await.unwrap().begin(&place.table("broken")).await.unwrap();
    let error = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    // There is no savepoint to go back to.
    let error = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unreachable && error.is_retryable(), "{error}");
    drop(session);
    // Without a cursor, dropping a stream has to cancel the query.
    let source = open(&redshift().option("fetch_rows", 0)).await.unwrap();
    let session = source.begin(&place.table("t")).await.unwrap();
    let plan = ReadPlan { batch_bytes: 100, ..ReadPlan::default() };
    let split = session.splits(&plan).await.unwrap().remove(0);
    drop(session.read(&split).await.unwrap());
    match read_plan(session.as_ref(), &plan).await {
        // The answer was under way as a whole before the cancel came.
        Ok(read) => assert_eq!(read.num_rows(), 3000),
        Err(error) => assert!(error.kind() == ErrorKind::Unreachable && error.is_retryable(), "{error}"),
    }
    drop(session);
    place.end().await;
}

#[tokio::test]
async fn discovery_asks_the_documented_catalog() {
    let place = Place::new(
        "CREATE TABLE NAME.orders (id bigint NOT NULL, shop int, no int DEFAULT 7, total numeric(12,2), tags json,
            PRIMARY KEY (shop, id), UNIQUE (no));
         COMMENT ON COLUMN NAME.orders.shop IS 'sortkey 1';
         COMMENT ON TABLE NAME.orders IS 'of all shops';
         INSERT INTO NAME.orders SELECT g, 1, g FROM generate_series(1, 10) g;
         ANALYZE NAME.orders; CREATE TABLE NAME.empty (id int); CREATE VIEW NAME.v AS SELECT 1 AS one",
    )
    .await;
    let source = open(&redshift()).await.unwrap();
    assert!(source.schemas().await.unwrap().iter().any(|found| found.name == place.schema));
    let info = source.check().await.unwrap();
    assert!(info.version.contains("PostgreSQL"), "the stand-in says what it is: {}", info.version);
    let tables = source.tables(Some(&place.schema)).await.unwrap();
    let names: Vec<_> = tables.iter().map(|table| (table.table.name.as_str(), table.kind)).collect();
    assert_eq!(names, [("empty", TableKind::Table), ("orders", TableKind::Table), ("v", TableKind::View)]);
    let (empty, orders) = (&tables[0], &tables[1]);
    assert_eq!((empty.rows_estimate, empty.bytes, empty.readable), (None, None, true));
    assert_eq!((orders.rows_estimate, orders.bytes), (Some(10), Some(3 << 20)));
    assert_eq!(orders.comment.as_deref(), Some("of all shops"));
    assert!(source.tables(None).await.unwrap().iter().any(|table| table.table == orders.table));
    let described = source.describe(&place.table("orders")).await.unwrap();
    assert_eq!(described.primary_key, ["shop", "id"]);
    assert_eq!(described.unique_keys, [["no"]]);
    let facts: Vec<_> = described
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.source_type.as_str(), c.nullable, c.indexed, c.default.as_deref()))
        .collect();
    assert_eq!(
        facts,
        [
            ("id", "bigint", false, false, None),
            ("shop", "integer", false, true, None),
            ("no", "integer", true, false, Some("7")),
            ("total", "numeric(12,2)", true, false, None),
            ("tags", "super", true, false, None),
        ]
    );
    for (table, word) in [
        (place.table("oders"), "did you mean `orders`?"),
        (TableRef::new(format!("{}x", place.schema), "t"), "does not exist"),
    ] {
        let error = source.describe(&table).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(word), "{error}");
    }
    let error = source.tables(Some("no such schema")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = source.begin_settled(&place.table("orders"), "id").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    place.end().await;
}

/// As an ordinary user: what may not be read is listed as such, and nobody but superusers sees sizes.
#[tokio::test]
async fn ordinary_users() {
    let place =
        Place::new("CREATE TABLE NAME.mine AS SELECT 1 AS id; CREATE TABLE NAME.hidden AS SELECT 1 AS id")
            .await;
    let user = format!("user_{}", place.schema);
    place
        .run(&format!(
            "CREATE USER {user} PASSWORD 'for a test'; GRANT USAGE ON SCHEMA {0} TO {user};
             GRANT SELECT ON NAME.mine TO {user}",
            place.schema
        ))
        .await;
    let connection = redshift().option("username", user.as_str()).password(Secret::new("for a test"));
    let source = open(&connection).await.unwrap();
    let tables = source.tables(Some(&place.schema)).await.unwrap();
    let facts: Vec<_> =
        tables.iter().map(|table| (table.table.name.as_str(), table.readable, table.bytes)).collect();
    assert_eq!(facts, [("hidden", false, None), ("mine", true, None)]);
    let error = source.describe(&place.table("hidden")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permission, "{error}");
    let session = source.begin(&place.table("mine")).await.unwrap();
    assert_eq!(read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap().num_rows(), 1);
    drop(session);
    place.run(&format!("DROP OWNED BY {user}; DROP USER {user}")).await;
    place.end().await;
}

#[tokio::test]
async fn memory_does_not_grow_with_the_answer() {
    let place = Place::new(
        "CREATE TABLE NAME.t AS SELECT g AS id, repeat('x', 1000) AS filler FROM generate_series(1, 20000) g",
    )
    .await;
    let session = open(&redshift()).await.unwrap().begin(&place.table("t")).await.unwrap();
    let plan = ReadPlan { batch_bytes: 1 << 20, ..ReadPlan::default() };
    let parts = batches(session.as_ref(), &plan).await.unwrap();
    assert!(parts.len() >= 19, "{} batches", parts.len());
    let sum: i64 = parts
        .iter()
        .flat_map(|part| part.column(0).as_primitive::<Int32Type>().values().to_vec())
        .map(i64::from)
        .sum();
    assert_eq!(sum, 20000 * 20001 / 2);
    drop(session);
    place.end().await;
}

#[test]
fn options_are_those_of_postgresql_and_one_more() {
    let registry = Registry::new().with(Postgres).with(Redshift);
    let connection =
        |options: &str| Connection::from_url(&format!("redshift://etl@cluster/dev?{options}")).unwrap();
    registry.validate(&connection("fetch_rows=4000&tls=verify-full&read_timeout=60")).unwrap();
    for (options, word) in [
        ("fetch_row=1", "fetch_rows"),
        ("fetch_rows=2000000", "fetch_rows"),
        ("target_session_attrs=primary", "target_session_attrs"),
    ] {
        let error = registry.validate(&connection(options)).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(word), "{error}");
    }
}

/// A server that says no more than its version, which Redshift has not changed since it left PostgreSQL: this proves
/// what happens if it says so, not that it does.
#[tokio::test]
async fn redshift_under_the_name_of_postgresql_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut start_up = [0; 8];
        stream.read_exact(&mut start_up[..4]).await.unwrap();
        let length = usize::try_from(i32::from_be_bytes(start_up[..4].try_into().unwrap())).unwrap();
        stream.read_exact(&mut vec![0; length - 4]).await.unwrap();
        let mut answer = b"R\0\0\0\x08\0\0\0\0".to_vec();
        let parameter = b"server_version\08.0.2\0";
        answer.push(b'S');
        answer.extend(i32::try_from(parameter.len() + 4).unwrap().to_be_bytes());
        answer.extend(parameter);
        answer.extend(b"Z\0\0\0\x05I");
        stream.write_all(&answer).await.unwrap();
        let _ = stream.read(&mut [0; 64]).await;
    });
    let address = format!("postgresql://etl@127.0.0.1:{port}/dev?tls=disable");
    let error = open(&Connection::from_url(&address).unwrap()).await.unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`redshift`"), "{error}");
    serving.await.unwrap();
}
