"""Connections: documents, tests of them, browsing."""

import json
import os
import sqlite3

import polars as pl
import pyarrow as pa
import pytest
import transload
from conftest import PASSWORD, orders
from transload import Connection


def test_a_dict_a_json_text_a_url_and_options_are_the_same():
    document = {"name": "a", "type": "postgresql", "host": "h", "database": "d", "username": "u"}
    same = [
        Connection(document),
        Connection(json.dumps(document)),
        Connection("postgresql://u@h/d", name="a"),
        Connection(**document),
        Connection({**document, "name": "other"}, name="a"),
    ]
    assert len({connection.fingerprint() for connection in same}) == 1
    assert {connection.name for connection in same} == {"a"}
    assert same[0].to_dict() == document
    assert (same[0].type, same[0].suggested_name()) == ("postgresql", "postgresql d on h")


def test_unknown_options_name_the_nearest_known_one():
    with pytest.raises(transload.ConfigError, match="unknown field `hots`") as error:
        Connection("postgresql://h/d", hots="x")
    assert error.value.hint == "did you mean `host`?"
    with pytest.raises(transload.ConfigError, match="no connector for the type `postgre`"):
        Connection(type="postgre")
    with pytest.raises(transload.ConfigError, match="not valid JSON at line 1"):
        Connection('{"type": "postgresql", "password": "' + PASSWORD)


@pytest.mark.parametrize("wrong", [(), (3,), (b"x",), ({1: 2},), ({"type": object()},)])
def test_wrong_types_are_type_errors(wrong):
    with pytest.raises(TypeError):
        Connection(*wrong)


def test_a_document_that_holds_itself_is_an_error():
    document = {"type": "memory"}
    document["path"] = document
    with pytest.raises(transload.ConfigError, match="nested deeper"):
        Connection(document)


def test_a_test_answers_a_status(shop):
    status = shop.test(timeout=60)
    assert (status["status"], status["error"]) == ("ok", None)
    assert status["version"] == f"transload {transload.__version__}"
    assert set(status) == {"status", "latency_ms", "version", "tls", "error"}
    nobody = Connection("postgresql://u@127.0.0.1:1/d", tls="disable").test(timeout=60)
    assert (nobody["status"], nobody["error"]["kind"]) == ("failed", "unreachable")
    with pytest.raises(ValueError, match="timeout"):
        shop.test(timeout=-1)


def test_memory_is_browsed(shop):
    assert [schema["name"] for schema in shop.schemas()] == ["public"]
    [table] = shop.tables("public")
    assert (table["schema"], table["name"], table["kind"], table["rows_estimate"]) == (
        "public",
        "orders",
        "table",
        1000,
    )
    assert shop.tables() == [table]
    described = shop.describe("public.orders")
    assert described == shop.describe("orders", schema="public")
    assert [column["name"] for column in described["columns"]] == ["id", "total", "name"]


def test_a_name_with_a_dot_is_one_name_where_a_schema_is_given(shop):
    shop.put("a.b", orders(0, 3), schema="public")
    assert shop.sample("a.b", schema="public").num_rows == 3


@pytest.mark.parametrize(
    "data",
    [
        orders(0, 3),
        orders(0, 3).to_batches()[0],
        orders(0, 3).to_reader(),
        pl.DataFrame(orders(0, 3)),
        pa.table(orders(0, 3)).cast(
            pa.schema([("id", pa.int64()), ("total", pa.float64()), ("name", pa.large_string())])
        ),
    ],
    ids=["table", "batch", "reader", "polars", "large texts"],
)
def test_memory_takes_what_speaks_arrow(shop, data):
    shop.put("put", data, schema="public")
    back = pa.table(shop.read("public.put"))
    assert back.cast(orders(0, 3).schema) == orders(0, 3)


def test_put_is_for_memory_only(tmp_path):
    sqlite3.connect(tmp_path / "x.db").close()
    with pytest.raises(transload.UnsupportedError, match="memory connections only"):
        Connection(type="sqlite", path=tmp_path / "x.db").put("t", orders(0, 1))
    with pytest.raises(TypeError, match="__arrow_c_array__"):
        Connection("memory:x").put("t", [1, 2])


def test_sqlite_is_browsed(tmp_path):
    database = sqlite3.connect(tmp_path / "shop.db")
    database.executescript(
        """CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT NOT NULL, paid BOOLEAN);
           INSERT INTO orders VALUES (1, 'a', 1), (2, 'b', NULL);"""
    )
    database.close()
    shop = Connection(f"sqlite:{tmp_path / 'shop.db'}", name="shop")
    assert shop.test()["version"].startswith("SQLite 3")
    assert [table["name"] for table in shop.tables()] == ["orders"]
    described = shop.describe("orders")
    assert described["primary_key"] == ["id"]
    assert [column["source_type"] for column in described["columns"]] == ["INTEGER", "TEXT", "BOOLEAN"]
    assert pa.table(shop.read("orders"))["name"].to_pylist() == ["a", "b"]
    with pytest.raises(transload.NotFoundError):
        shop.describe("nothing")


def test_files_are_browsed(tmp_path):
    (tmp_path / "orders.csv").write_text("id,name\n1,a\n2,b\n")
    pl.DataFrame({"x": [1, 2, 3]}).write_parquet(tmp_path / "numbers.parquet")
    files = Connection(type="files", path=tmp_path)
    assert [table["name"] for table in files.tables()] == ["numbers.parquet", "orders.csv"]
    assert pa.table(files.read("orders.csv"))["name"].to_pylist() == ["a", "b"]
    assert pl.DataFrame(files.read("numbers.parquet"))["x"].to_list() == [1, 2, 3]


def test_secrets_are_never_shown():
    os.environ["TRANSLOAD_PYTHON_TEST"] = PASSWORD
    connections = [
        Connection(f"postgresql://u:{PASSWORD}@127.0.0.1:1/d", tls="disable"),
        Connection("postgresql://u@127.0.0.1:1/d", tls="disable", password=PASSWORD),
        Connection({"type": "postgresql", "host": "127.0.0.1", "port": 1, "password": PASSWORD}),
        Connection(type="postgresql", host="127.0.0.1", port=1, credentials="env:TRANSLOAD_PYTHON_TEST"),
    ]
    for connection in connections:
        with pytest.raises(transload.UnreachableError) as error:
            connection.tables()
        shown = [repr(connection), str(connection), str(connection.to_dict()), str(connection.test())]
        shown += [repr(error.value), str(error.value), str(vars(error.value))]
        assert not [text for text in shown if PASSWORD in text]


def test_a_missing_secret_is_not_the_systems_refusal():
    connection = Connection(type="postgresql", credentials="env:TRANSLOAD_NOT_THERE")
    status = connection.test()
    assert (status["status"], status["error"]["kind"]) == ("error", "not_found")


def test_connectors_describe_themselves():
    connectors = {connector["type"]: connector for connector in transload.connectors()}
    assert set(connectors) >= {"bigquery", "dataset", "files", "memory", "postgresql", "redshift", "sqlite"}
    redshift = connectors["redshift"]
    assert (redshift["default_port"], redshift["category"]) == (5439, "warehouse")
    assert {"host", "fetch_rows"} <= set(redshift["options"]["properties"])
    postgresql = connectors["postgresql"]
    assert (postgresql["default_port"], postgresql["takes_secret"]) == (5432, True)
    assert "host" in postgresql["options"]["properties"]
    assert postgresql["capability"]["source"] is True
