"""MySQL and MariaDB: the server, which is MariaDB, is the oracle, through its own client."""

import os
import subprocess
import uuid
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pytest
import transload
from conftest import PASSWORD, needed
from transload import Connection, Runner

ROWS = 20_000


@pytest.fixture(scope="module")
def url():
    return needed("TRANSLOAD_TEST_MARIADB_URL")


@pytest.fixture(scope="module")
def ask(url):
    at = urlsplit(url)
    client = ["mariadb", "--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"]
    client += [f"--host={at.hostname}", f"--port={at.port}", f"--user={at.username}"]
    # Sequences such as `seq_1_to_9` need a database.
    client.append(at.path[1:])

    def run(sql):
        done = subprocess.run(
            client, input=f"SET time_zone = '+00:00'; {sql}", capture_output=True, text=True,
            env={**os.environ, "MYSQL_PWD": at.password},
        )
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    return run


@pytest.fixture(scope="module")
def schema(ask):
    name = f"python_{uuid.uuid4().hex[:10]}"
    ask(
        f"""CREATE DATABASE {name} CHARACTER SET utf8mb4;
            CREATE TABLE {name}.orders (id BIGINT UNSIGNED PRIMARY KEY, placed_at TIMESTAMP(6) NOT NULL,
              total DECIMAL(12,2), note TEXT, info JSON, took TIME, born DATE) COMMENT 'what was bought';
            INSERT INTO {name}.orders SELECT seq, '2024-01-01' + INTERVAL seq MINUTE, seq * 0.25,
              IF(seq % 3 > 0, CONCAT('größe ', seq), NULL), JSON_OBJECT('i', seq), SEC_TO_TIME(seq * 100), NULL
              FROM seq_1_to_{ROWS}"""
    )
    yield name
    ask(f"DROP DATABASE {name}")


@pytest.fixture
def server(url):
    return Connection(url, name="shop")


def test_the_server_is_browsed(server, schema):
    status = server.test()
    assert (status["status"], status["error"]) == ("ok", None)
    assert status["version"].startswith("MariaDB ")
    assert schema in [row["name"] for row in server.schemas()]
    assert [table["name"] for table in server.tables(schema)] == ["orders"]
    table = server.describe(f"{schema}.orders")
    assert (table["primary_key"], table["comment"]) == (["id"], "what was bought")
    assert table["columns"][0]["source_type"] == "bigint(20) unsigned"
    assert server.sample("orders", schema=schema, rows=7).num_rows == 7


def test_rows_arrive_as_the_server_has_them(server, schema, ask):
    [expected] = ask(f"SELECT COUNT(*), SUM(id), SUM(total), COUNT(note), SUM(LENGTH(note)), MAX(CAST(took AS CHAR)) FROM {schema}.orders")
    reader = server.read("orders", schema=schema, parallelism=2)
    query = "SELECT count(*), sum(id), sum(total), count(note), sum(strlen(note)), max(took) FROM reader"
    [got] = duckdb.connect().sql(query).fetchall()
    assert [str(value) for value in got] == expected
    placed = pa.table(server.read("orders", schema=schema))["placed_at"].cast(pa.int64()).to_pylist()
    [[last]] = ask(f"SELECT UNIX_TIMESTAMP(MAX(placed_at)) * 1000000 FROM {schema}.orders")
    assert max(placed) == int(float(last))


def test_a_job_continues_at_its_watermark(server, schema, ask, lake):
    runner = Runner([server, lake])
    job = {
        "name": "orders",
        "source": {"connection": "shop", "schema": schema, "table": "orders"},
        "destination": {"connection": "lake", "dataset": "raw", "table": "orders"},
        "load": {"strategy": "append", "cursor": "placed_at"},
        "proof": "values",
    }
    first = runner.run(job)
    assert (first.rows["written"], first.proof["verdict"]) == (ROWS, "equal")
    assert runner.run(job).rows["written"] == 0
    ask(f"INSERT INTO {schema}.orders (id, placed_at) SELECT id + {ROWS}, placed_at + INTERVAL 30 DAY FROM {schema}.orders WHERE id <= 10")
    try:
        assert runner.run(job).rows["written"] == 10
    finally:
        ask(f"DELETE FROM {schema}.orders WHERE id > {ROWS}")


def test_refused_credentials_are_an_auth_error_without_the_password(url):
    parts = urlsplit(url)
    wrong = parts._replace(netloc=f"{parts.username}:{PASSWORD}@{parts.hostname}:{parts.port}")
    connection = Connection(wrong.geturl(), name="wrong")
    with pytest.raises(transload.AuthError) as error:
        connection.tables()
    status = connection.test()
    assert (status["status"], status["error"]["kind"]) == ("failed", "auth")
    for text in (repr(error.value), str(vars(error.value)), str(status), repr(connection)):
        assert PASSWORD not in text
