"""SQL Server: the test server of this repository, which is started with the table that is read.

It proves the binding and the wire, not SQL Server's own behaviour; see connectors/mssql/server/README.md.
"""

import json
import subprocess

import pyarrow as pa
import pytest
import transload
from conftest import PASSWORD, needed
from transload import Connection, Runner

ROWS = 900


def row(n: int) -> str:
    note = f"N'größe {n}'" if n % 3 else "NULL"
    return f"({n}, '2024-01-01T10:{n % 60:02}:{n // 60:02}', {n}.25, {note})"


SCRIPT = f"""CREATE SCHEMA shop
GO
CREATE TABLE shop.orders (id BIGINT NOT NULL PRIMARY KEY, placed_at DATETIME2(6) NOT NULL, total DECIMAL(12,2) NULL,
  note NVARCHAR(50) NULL)
GO
INSERT INTO shop.orders VALUES {", ".join(map(row, range(1, ROWS + 1)))}
GO
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    script = tmp_path_factory.mktemp("sqlserver") / "tables.sql"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [needed("TRANSLOAD_TEST_TDS_SERVER"), "--run", str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield json.loads(process.stdout.readline())
        process.stdin.close()


@pytest.fixture
def document(address):
    named = {key: address[key] for key in ("host", "port", "username", "password", "database")}
    return {"name": "shop", "type": "sqlserver", "trust": "all", **named}


def test_the_server_is_browsed(document):
    server = Connection(document)
    status = server.test()
    assert (status["status"], status["error"], status["tls"]) == ("ok", None, True)
    assert status["version"].startswith("SQL Server ")
    assert "shop" in [row["name"] for row in server.schemas()]
    assert [table["name"] for table in server.tables("shop")] == ["orders"]
    table = server.describe("shop.orders")
    assert table["primary_key"] == ["id"]
    assert [column["source_type"] for column in table["columns"]] == [
        "bigint", "datetime2(6)", "decimal(12,2)", "nvarchar(50)",
    ]


def test_rows_arrive_as_they_were_written(document):
    table = pa.table(Connection(document).read("orders", schema="shop"))
    rows = sorted(zip(table["id"].to_pylist(), table["total"].to_pylist(), table["note"].to_pylist()))
    assert [row[0] for row in rows] == list(range(1, ROWS + 1))
    assert all(str(total) == f"{n}.25" for n, total, _ in rows)
    assert all(note == (f"größe {n}" if n % 3 else None) for n, _, note in rows)


def test_a_job_loads_new_rows_only(document, lake):
    runner = Runner([Connection(document), lake])
    job = {
        "name": "orders",
        "source": {"connection": "shop", "schema": "shop", "table": "orders"},
        "destination": {"connection": "lake", "dataset": "raw", "table": "orders"},
        "load": {"strategy": "append", "cursor": "placed_at"},
        "proof": "values",
    }
    first = runner.run(job)
    assert (first.rows["written"], first.proof["verdict"]) == (ROWS, "equal")
    assert runner.run(job).rows["written"] == 0


def test_refused_credentials_are_an_auth_error_without_the_password(document):
    connection = Connection({**document, "password": PASSWORD})
    with pytest.raises(transload.AuthError) as error:
        connection.tables()
    for text in (repr(error.value), str(vars(error.value)), repr(connection)):
        assert PASSWORD not in text
