"""Reading tables as Arrow streams, by the PyCapsule protocol."""

import sqlite3
import threading

import duckdb
import polars as pl
import pyarrow as pa
import pytest
import transload
from conftest import orders, run_child
from transload import Connection, TransloadError


def test_pyarrow_reads(shop):
    table = pa.RecordBatchReader.from_stream(shop.read("public.orders")).read_all()
    assert table.cast(orders(0, 1).schema) == orders(0, 1000)
    assert table.schema.field("id").metadata == {b"transload.source_type": b"Int64"}


def test_polars_reads(shop):
    frame = pl.DataFrame(shop.read("public.orders"))
    assert frame["id"].sum() == sum(range(1000))
    assert frame["name"].null_count() == 143


def test_duckdb_reads(shop):
    reader = shop.read("public.orders")
    assert reader.column_names == ["id", "total", "name"]
    assert duckdb.connect().sql("SELECT count(*), sum(id), count(name) FROM reader").fetchall() == [(1000, 499500, 857)]


def test_the_plan_is_pushed_down(shop):
    reader = shop.read("orders", schema="public", columns=["name", "id"], limit=10, parallelism=2)
    table = pa.table(reader)
    assert (table.column_names, table.num_rows) == (["name", "id"], 10)
    with pytest.raises(transload.NotFoundError, match="no column `nmae`") as error:
        shop.read("public.orders", columns=["nmae"])
    assert error.value.hint == "did you mean `name`?"


def test_a_loop_gives_batches(shop):
    batches = list(shop.read("public.orders"))
    assert sum(len(batch) for batch in batches) == 1000
    assert repr(batches[0]) == f"RecordBatch({len(batches[0])} rows: id, total, name)"
    assert (batches[0].num_columns, batches[0].column_names) == (3, ["id", "total", "name"])
    assert batches[0].nbytes > 8 * 1000
    assert pa.schema(batches[0]) == pa.record_batch(batches[0]).schema
    assert pl.DataFrame(batches[0])["id"].to_list() == list(range(1000))


def test_batches_cross_without_a_copy(shop):
    batch = shop.sample("public.orders", rows=1000)
    first, second = pa.record_batch(batch), pa.record_batch(batch)

    def addresses(rows: pa.RecordBatch) -> list[int]:
        return [buffer.address for column in rows.columns for buffer in column.buffers() if buffer]

    assert len(addresses(first)) >= 5
    assert addresses(first) == addresses(second)
    # The memory lives as long as any of its views.
    del batch, first
    assert second["id"].to_pylist() == list(range(1000))


def test_no_arrow_library_is_imported(tmp_path):
    code = """
import sys, transload
class Rows:
    def __init__(self, batch): self.batch = batch
    def __arrow_c_array__(self, requested_schema=None): return self.batch.__arrow_c_array__(requested_schema)
memory = transload.Connection("memory:x")
source = transload.Connection(type="files", path=sys.argv[1])
memory.put("t", Rows(source.sample("t.csv")))
print(sum(len(batch) for batch in memory.read("t")), type(memory.read("t").__arrow_c_stream__()).__name__)
assert not {"pyarrow", "numpy", "pandas", "polars"} & set(sys.modules)
"""
    (tmp_path / "t.csv").write_text("a\n1\n2\n")
    assert run_child(code, tmp_path) == "2 PyCapsule"


def test_a_stream_is_handed_over_once(shop):
    reader = shop.read("public.orders")
    assert pa.schema(reader).names == reader.column_names
    pa.table(reader)
    for use in (pa.table, list):
        with pytest.raises(RuntimeError, match="read the table again"):
            use(reader)
    finished = shop.read("public.orders")
    list(finished)
    assert (list(finished), pa.table(finished).num_rows) == ([], 0)


def test_leaving_a_with_block_stops_the_read(endless):
    with endless.read("numbers") as reader:
        assert len(next(reader)) > 0
    assert list(reader) == []


def test_a_reader_that_failed_has_no_end(tmp_path):
    """An end would say that these were all rows."""
    database = sqlite3.connect(tmp_path / "broken.db")
    database.execute(
        """CREATE VIEW broken AS
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
           SELECT CASE WHEN i = 200000 THEN abs(i - 200000 - 9223372036854775807 - 1) ELSE i END AS i FROM n"""
    )
    database.close()
    source = Connection(type="sqlite", path=str(tmp_path / "broken.db"))
    reader = source.read("broken")
    with pytest.raises(TransloadError, match="overflow"):
        list(reader)
    for use in (list, pa.table):
        with pytest.raises(RuntimeError, match="failed before its end"):
            use(reader)
    library = pa.RecordBatchReader.from_stream(source.read("broken"))
    for _ in range(3):
        with pytest.raises(pa.ArrowException, match="overflow"):
            library.read_all()


def test_a_large_table_is_pulled_on_demand(endless):
    reader = pa.RecordBatchReader.from_stream(endless.read("numbers"))
    ids = [reader.read_next_batch()["id"][0].as_py() for _ in range(3)]
    assert int(ids[0]) == 1
    assert len(set(ids)) == 3


def test_two_threads_cannot_pull_from_one_reader(tmp_path):
    database = sqlite3.connect(tmp_path / "stuck.db")
    database.execute(
        """CREATE VIEW stuck AS
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0"""
    )
    database.close()
    # In a process of its own, since the thread that waits for a first row never ends.
    code = """
import queue, sys, threading, transload
reader = transload.Connection(type="sqlite", path=sys.argv[1]).read("stuck")
said = queue.Queue()
def pull():
    try:
        next(reader)
    except RuntimeError as error:
        said.put(error)
for _ in range(2):
    threading.Thread(target=pull, daemon=True).start()
# One of the two is refused, which is when the other one reads.
print(said.get(timeout=100))
try:
    reader.__arrow_c_stream__()
except RuntimeError as error:
    print(error)
"""
    assert run_child(code, tmp_path / "stuck.db").splitlines() == ["another thread is reading this table"] * 2


def test_another_thread_may_read_what_this_one_opened(shop):
    reader = pa.RecordBatchReader.from_stream(shop.read("public.orders"))
    rows = []
    thread = threading.Thread(target=lambda: rows.append(reader.read_all().num_rows))
    thread.start()
    thread.join()
    assert rows == [1000]


@pytest.fixture
def broken(tmp_path) -> Connection:
    """A table whose second row is not what its type says."""
    database = sqlite3.connect(tmp_path / "broken.db")
    database.executescript("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), ('not a number');")
    database.close()
    return Connection(type="sqlite", name="broken", path=tmp_path / "broken.db")


def test_errors_while_reading_are_raised(broken):
    with pytest.raises(transload.DataError, match="not a number|column"):
        list(broken.read("t"))
    for use in (pa.table, pl.DataFrame):
        with pytest.raises(Exception, match=r"\(data"):
            use(broken.read("t"))
    reader = broken.read("t")
    with pytest.raises(duckdb.Error, match=r"\(data"):
        duckdb.connect().sql("SELECT sum(id) FROM reader").fetchall()


def test_a_reader_is_read_inside_a_callback(shop, lake):
    """The GIL is released twice there: by our run and by the library that pulls."""
    rows = []
    runner = transload.Runner([shop, lake])
    document = {
        "name": "x",
        "source": {"connection": "shop", "schema": "public", "table": "orders"},
        "destination": {"connection": "lake", "dataset": "raw", "table": "orders"},
    }
    runner.run(document, on_progress=lambda _: rows.append(pl.DataFrame(shop.read("public.orders")).height))
    assert rows and set(rows) == {1000}
