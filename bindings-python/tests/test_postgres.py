"""PostgreSQL: the server is the oracle."""

import uuid
from urllib.parse import quote, unquote, urlsplit

import duckdb
import pg8000.native
import polars as pl
import pyarrow as pa
import pytest
import transload
from conftest import PASSWORD, needed
from transload import CancelHandle, Connection, Runner, SchemaMapper

ROWS = 20_000


@pytest.fixture(scope="module")
def url():
    return needed("TRANSLOAD_TEST_POSTGRES_URL")


@pytest.fixture(scope="module")
def database(url):
    parts = urlsplit(url)
    connection = pg8000.native.Connection(
        unquote(parts.username),
        host=parts.hostname,
        port=parts.port,
        database=parts.path[1:],
        password=unquote(parts.password or ""),
    )
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def schema(database):
    name = f"python_{uuid.uuid4().hex[:10]}"
    database.run(f"CREATE SCHEMA {name}")
    database.run(
        f"""CREATE TABLE {name}.orders (id bigint PRIMARY KEY, placed_at timestamptz NOT NULL,
            total numeric(12,2), note text, info jsonb)"""
    )
    database.run(
        f"""INSERT INTO {name}.orders
            SELECT i, '2024-01-01Z'::timestamptz + i * interval '1 minute', i * 0.25,
                   CASE WHEN i % 3 > 0 THEN 'note ' || i END, jsonb_build_object('i', i)
            FROM generate_series(1, {ROWS}) AS i"""
    )
    database.run(f"COMMENT ON TABLE {name}.orders IS 'what was bought'")
    yield name
    database.run(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def server(url):
    return Connection(url, name="shop")


def test_the_server_is_browsed(server, schema):
    status = server.test()
    assert (status["status"], status["error"]) == ("ok", None)
    assert status["version"].startswith("PostgreSQL ")
    assert schema in [row["name"] for row in server.schemas()]
    assert [table["name"] for table in server.tables(schema)] == ["orders"]
    table = server.describe(f"{schema}.orders")
    assert (table["primary_key"], table["comment"]) == (["id"], "what was bought")
    assert [column["source_type"] for column in table["columns"]] == [
        "bigint",
        "timestamp with time zone",
        "numeric(12,2)",
        "text",
        "jsonb",
    ]
    assert server.sample("orders", schema=schema, rows=7).num_rows == 7


def test_rows_arrive_as_the_server_has_them(server, schema, database):
    [expected] = database.run(
        f"SELECT count(*), sum(id), sum(total), count(note), max(placed_at) FROM {schema}.orders"
    )
    reader = server.read("orders", schema=schema, parallelism=2)
    query = "SELECT count(*), sum(id), sum(total), count(note) FROM reader"
    [got] = duckdb.connect().sql(query).fetchall()
    assert list(got) == expected[:4]
    placed = pa.table(server.read("orders", schema=schema))["placed_at"]
    assert max(placed.cast(pa.int64()).to_pylist()) == expected[4].timestamp() * 1_000_000
    assert pl.DataFrame(server.read(f"{schema}.orders"))["total"].sum() == expected[2]


def test_catalog_types_get_bigquery_types(server, schema):
    mapping = SchemaMapper().propose(server, "orders", schema)
    got = [(f["name"], f["type"], f["mode"]) for f in mapping.to_bigquery_schema()]
    assert got == [
        ("id", "INT64", "REQUIRED"),
        ("placed_at", "TIMESTAMP", "REQUIRED"),
        ("total", "NUMERIC", "NULLABLE"),
        ("note", "STRING", "NULLABLE"),
        ("info", "JSON", "NULLABLE"),
    ]


def test_a_job_continues_at_its_watermark(server, schema, database, lake):
    runner = Runner([server, lake])
    job = {
        "name": "orders",
        "source": {"connection": "shop", "schema": schema, "table": "orders"},
        "destination": {"connection": "lake", "dataset": "raw", "table": "orders"},
        "load": {"strategy": "append", "cursor": "placed_at"},
    }
    assert runner.run(job).rows["written"] == ROWS
    assert runner.run(job).rows["written"] == 0
    database.run(
        f"""INSERT INTO {schema}.orders SELECT id + {ROWS}, placed_at + interval '30 days', total
            FROM {schema}.orders WHERE id <= 10"""
    )
    try:
        assert runner.run(job).rows["written"] == 10
        [expected] = database.run(f"SELECT count(*), sum(id), sum(total) FROM {schema}.orders")
    finally:
        database.run(f"DELETE FROM {schema}.orders WHERE id > {ROWS}")
    glob = f"{lake.to_dict()['path']}/raw/orders/*/*.parquet"
    assert list(duckdb.connect().sql(f"SELECT count(*), sum(id), sum(total) FROM '{glob}'").fetchall()[0]) == expected


def test_a_cancelled_run_stops_the_query_at_the_server(server, schema, database, lake):
    name = f"numbers_{uuid.uuid4().hex[:6]}"
    # In the select list, a series is computed row by row.
    database.run(f"CREATE VIEW {schema}.{name} AS SELECT generate_series(1, 2000000000) AS id")
    handle = CancelHandle()
    job = {
        "name": "numbers",
        "source": {"connection": "shop", "schema": schema, "table": name},
        "destination": {"connection": "lake", "dataset": "raw", "table": "numbers"},
    }
    with pytest.raises(transload.Cancelled) as error:
        Runner([server, lake]).run(job, lambda p: p["rows_written"] and handle.cancel(), handle)
    assert error.value.report["committed"] is False
    busy = f"""SELECT count(*) FROM pg_stat_activity
               WHERE query LIKE '%{name}%' AND state = 'active' AND pid <> pg_backend_pid()"""
    for _ in range(1200):
        if database.run(busy) == [[0]]:
            break
        database.run("SELECT pg_sleep(0.05)")
    assert database.run(busy) == [[0]]


def test_refused_credentials_are_an_auth_error_without_the_password(url):
    parts = urlsplit(url)
    wrong = parts._replace(netloc=f"{quote(parts.username)}:{PASSWORD}@{parts.hostname}:{parts.port}")
    connection = Connection(wrong.geturl(), name="wrong")
    with pytest.raises(transload.AuthError) as error:
        connection.tables()
    assert (error.value.retryable, error.value.context["connection"]) == (False, "wrong")
    status = connection.test()
    assert (status["status"], status["error"]["kind"]) == ("failed", "auth")
    for text in (repr(error.value), str(vars(error.value)), str(status), repr(connection)):
        assert PASSWORD not in text


def test_credentials_may_come_from_the_environment(url, monkeypatch):
    parts = urlsplit(url)
    monkeypatch.setenv("TRANSLOAD_PYTHON_PG", unquote(parts.password or ""))
    plain = parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl()
    assert Connection(plain, credentials="env:TRANSLOAD_PYTHON_PG").test()["status"] == "ok"
