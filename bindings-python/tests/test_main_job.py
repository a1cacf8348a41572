"""The main job from Python: read, map, run, read back with other libraries, fail well."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import polars
import pyarrow
import pyarrow.parquet
import pytest
import transload

CDNOW = Path(__file__).parents[2] / "examples" / "data" / "cdnow_master.txt"


def server(name: str) -> str:
    """The address of a test server; a missing one is a failure, not a skip."""
    if name not in os.environ:
        pytest.fail(f"{name} is not set; start the services with `make services-up`")
    return os.environ[name]


@pytest.fixture
def shop(tmp_path: Path) -> dict:
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = "".join(f"{i},2024-01-{i % 28 + 1:02},{i}.50,name {i}\n" for i in range(1, 101))
    (folder / "orders.csv").write_text("id,placed_on,total,note\n" + rows)
    return {"name": "shop", "type": "files", "path": str(folder)}


@pytest.fixture
def lake(tmp_path: Path) -> dict:
    return {"name": "lake", "type": "dataset", "path": str(tmp_path / "lake")}


def job(**more: object) -> dict:
    document = {
        "name": "orders",
        "source": {"connection": "shop", "table": "orders.csv"},
        "destination": {"connection": "lake", "dataset": "raw", "table": "orders"},
        "load": {"strategy": "append", "cursor": "id"},
        "mapping": {"overrides": {
            "id": {"type": "INT64"}, "placed_on": {"type": "DATE"}, "total": {"type": "NUMERIC(9,2)"}}},
    }
    return document | more


def test_a_report_says_what_the_columns_hold(shop: dict, lake: dict) -> None:
    runner = transload.Runner([shop, lake])
    profile = runner.run(job(load={"strategy": "replace"}, profile="top_values")).profile
    assert profile is not None and profile["rows"] == 100
    columns = {column["name"]: column for column in profile["columns"]}
    total = columns["total"]
    assert (total["nulls"], total["min"], total["max"]) == (0, "1.50", "100.50")
    assert total["quantiles"]["p50"] in ("50.50", "51.50")
    assert 94 <= columns["note"]["distinct"] <= 100
    assert columns["note"]["lengths"]["max"] == len("name 100")
    top = columns["placed_on"]["top"][0]
    assert (top["value"][:8], top["count"], top["error"]) == ("2024-01-", 4, 0)
    assert runner.run(job(load={"strategy": "replace"}, profile="off")).profile is None
    with pytest.raises(transload.ConfigError, match="top_values"):
        runner.run(job(profile="everything"))


def test_a_run_proves_what_it_loaded(tmp_path: Path, lake: dict) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)")
        database.executemany("INSERT INTO orders VALUES (?, ?)", [(n, f"name {n}") for n in range(100)])
    document = job(source={"connection": "db", "table": "orders"}, mapping={}, proof="values")
    runner = transload.Runner([{"name": "db", "type": "sqlite", "path": str(path)}, lake])
    proof = runner.run(document).proof
    assert proof is not None and proof["verdict"] == "equal"
    source, target = proof["source"], proof["destination"]
    assert (source["rows"], source["rows_there"], target["rows_there"]) == (100, 100, 100)
    assert target["columns"][0]["compared"] == ["values", "checksum", "min", "max"]
    assert target["columns"][0]["figures"]["checksum"]["sum"] == str(sum(range(100)))
    assert runner.run(job(source={"connection": "db", "table": "orders"}, mapping={})).proof is None


def test_a_job_runs_once_and_others_read_the_result(shop: dict, lake: dict) -> None:
    runner = transload.Runner([shop, lake])
    replace = job(load={"strategy": "replace"})
    report = runner.run(replace)
    assert (report.status, report.rows["written"], report.committed) == ("succeeded", 100, True)
    files = f"{lake['path']}/raw/orders/*/*.parquet"
    total = "select count(*), sum(total), min(placed_on)::varchar from read_parquet(?)"
    assert [str(x) for x in duckdb.connect().execute(total, [files]).fetchall()[0]] == ["100", "5100.00", "2024-01-01"]
    frame = polars.read_parquet(files, hive_partitioning=False)
    assert frame.height == 100 and frame.schema["placed_on"] == polars.Date
    paths = [str(p) for p in Path(lake["path"]).glob("raw/orders/*/*.parquet")]
    tables = [pyarrow.parquet.ParquetFile(p).read() for p in paths]
    table = pyarrow.concat_tables(t for t in tables if t.num_rows)
    assert table.schema.field("total").type == pyarrow.decimal128(9, 2)
    assert report.to_dict()["job"] == "orders" and json.dumps(report.to_dict())


def test_read_is_a_stream_that_every_library_takes(shop: dict) -> None:
    connection = transload.Connection(shop)
    reader = pyarrow.RecordBatchReader.from_stream(connection.read("orders.csv"))
    assert reader.read_all().num_rows == 100
    assert polars.DataFrame(connection.read("orders.csv")).height == 100
    stream = pyarrow.RecordBatchReader.from_stream(connection.read("orders.csv"))
    assert duckdb.connect().execute("select count(*) from stream").fetchall() == [(100,)]


def test_postgres_types_arrive() -> None:
    connection = transload.Connection(server("TRANSLOAD_TEST_POSTGRES_URL"))
    status = connection.test()
    assert status["status"] == "ok" and status["version"].startswith("PostgreSQL"), status
    table = pyarrow.RecordBatchReader.from_stream(connection.read("pg_catalog.pg_namespace")).read_all()
    assert "pg_catalog" in table.column("nspname").to_pylist()


def test_the_mapping_is_shown_with_reasons() -> None:
    text = transload.Connection({"type": "files", "name": "t", "path": str(CDNOW), "format": "fixed_width"})
    mapping = transload.SchemaMapper().propose(text, "cdnow_master.txt")
    by_name = {c["source_name"]: c for c in mapping.columns}
    assert by_name["customer_id"]["bigquery_type"] == "STRING"
    offer = by_name["date"]["alternatives"][0]
    assert (offer["bigquery_type"], offer["confidence"]) == ("DATE", "medium")
    assert "<table" in mapping._repr_html_() and len(mapping.hash) == 32


def test_errors_are_one_tree_with_fields(shop: dict, lake: dict) -> None:
    runner = transload.Runner([shop, lake])
    with pytest.raises(transload.NotFoundError) as missing:
        runner.run(job(source={"connection": "shop", "table": "nothing.csv"}))
    assert isinstance(missing.value, transload.TransloadError)
    assert missing.value.kind == "not_found" and missing.value.report["status"] == "failed"
    with pytest.raises(transload.ConfigError, match="unknown field"):
        transload.EtlJob(job(shedule={}))
    with pytest.raises(transload.TypeMappingError):
        runner.run(job(mapping={"overrides": {"note": {"type": "VARCHAR"}}}))
    with pytest.raises(transload.DataError, match="note"):
        runner.run(job(mapping={"overrides": {"note": {"type": "INT64"}}}))
    assert not list(Path(lake["path"]).glob("raw/orders/load=0000*-[0-9a-f]*[!d]/_load.json"))


def test_no_secret_is_ever_shown() -> None:
    at = server("TRANSLOAD_TEST_POSTGRES_URL").split("@")[1]
    connection = transload.Connection(f"postgresql://postgres:hunter2-secret@{at}", name="shop")
    status = connection.test()
    assert status["status"] == "failed" and status["error"]["kind"] == "auth"
    with pytest.raises(transload.AuthError) as refused:
        connection.tables()
    shown = [repr(connection), str(connection.to_dict()), str(status), repr(refused.value), str(refused.value), str(vars(refused.value))]
    assert not any("hunter2" in text for text in shown)


def test_progress_and_cancel(shop: dict, lake: dict) -> None:
    runner, events = transload.Runner([shop, lake]), []
    replace = job(load={"strategy": "replace"})
    runner.run(replace, on_progress=events.append)
    assert events[-1]["phase"] == "done" and events[-1]["status"] == "succeeded"
    handle = transload.CancelHandle()
    handle.cancel()
    with pytest.raises(transload.Cancelled):
        runner.run(replace, cancel=handle)


def test_ctrl_c_stops_a_run_and_leaves_no_half_load(tmp_path: Path) -> None:
    program = """
import sys, transload
print("ready", flush=True)
runner = transload.Runner([
    {"name": "pg", "type": "postgresql", **eval(sys.argv[1])},
    {"name": "lake", "type": "dataset", "path": sys.argv[2]}])
runner.run({"name": "big", "source": {"connection": "pg", "schema": "public", "table": sys.argv[3]},
            "destination": {"connection": "lake", "dataset": "raw", "table": "big"}})
"""
    import urllib.parse

    url = urllib.parse.urlsplit(server("TRANSLOAD_TEST_POSTGRES_URL"))
    view = f"slow_{os.getpid()}"
    sql = f"create view {view} as select i, pg_sleep(0.01)::text as s from generate_series(1, 100000) i"
    subprocess.run(["psql", "-q", url.geturl(), "-c", sql], check=True)
    options = {"host": url.hostname, "port": url.port, "database": "postgres", "username": url.username,
               "password": url.password}
    child = subprocess.Popen([sys.executable, "-c", program, repr(options), str(tmp_path / "lake"), view],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(2)
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=120)
        assert child.returncode != 0 and "KeyboardInterrupt" in stderr, stderr
        assert not list((tmp_path / "lake").glob("raw/big/load=*/_load.json"))
    finally:
        child.kill()
        child.communicate()
        subprocess.run(["psql", "-q", url.geturl(), "-c", f"drop view {view}"], check=True)
