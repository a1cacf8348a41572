"""What several test files need."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transload import Connection

#: The password that no text may ever show.
PASSWORD = "hunter2-s3cret"

_stores = itertools.count()


def needed(name: str) -> str:
    """An environment variable that tests cannot do without."""
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"{name} is not set: run `make services-up` and source the env file that it names")
    return value


def orders(start: int, end: int) -> pa.Table:
    """Orders with growing ids."""
    ids = range(start, end)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "total": pa.array([i / 4 for i in ids], pa.float64()),
            "name": pa.array([f"customer {i % 10}" if i % 7 else None for i in ids], pa.string()),
        }
    )


@pytest.fixture
def shop() -> Connection:
    """A memory store of its own, with a table `public.orders` of ids 0 to 999."""
    connection = Connection(f"memory:store-{next(_stores)}", name="shop")
    connection.put("public.orders", orders(0, 1000))
    return connection


@pytest.fixture
def lake(tmp_path: Path) -> Connection:
    """A dataset in a folder of its own."""
    return Connection(type="dataset", name="lake", path=tmp_path / "lake")


@pytest.fixture
def endless(tmp_path: Path) -> Connection:
    """A SQLite database whose table `numbers` is computed and never ends in a test's time."""
    path = tmp_path / "endless.db"
    database = sqlite3.connect(path)
    database.execute(
        """CREATE VIEW numbers AS
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000)
           SELECT i AS id, 'number ' || i AS label FROM n"""
    )
    database.close()
    return Connection(type="sqlite", name="endless", path=path)


def job(source: str = "shop", table: str = "orders", **changes: object) -> dict[str, object]:
    """A job from a source into `lake: raw.orders`."""
    schema = {"schema": "public"} if source == "shop" else {}
    document: dict[str, object] = {
        "name": "orders",
        "source": {"connection": source, "table": table, **schema},
        "destination": {"connection": "lake", "dataset": "raw", "table": "orders"},
        "load": {"strategy": "replace"},
    }
    return document | changes


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process of its own that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_child(code: str, *arguments: object) -> str:
    """Runs `code` in a process of its own to its good end and gives what it printed."""
    process = child(code, *arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, f"{process.returncode}: {err}"
    return out.strip()


def loaded(lake: Connection, table: str = "orders") -> int:
    """Rows in the files of a table, which may be there without any."""
    root = Path(lake.to_dict()["path"]) / "raw" / table
    return sum(pq.read_metadata(file).num_rows for file in root.rglob("*.parquet"))
