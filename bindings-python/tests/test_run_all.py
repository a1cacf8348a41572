"""Many jobs in one call, deadlines, limits of connections, and ready progress."""

import asyncio
import json
import subprocess
import sys
import threading

import pytest
import transload
from conftest import job, loaded, orders
from transload import CancelHandle, Connection, Runner


def into(table: str, source: str = "orders", connection: str = "shop", **fields):
    name = fields.pop("name", table)
    document = job(connection, source, **fields)
    document["destination"] = {"connection": "lake", "dataset": "raw", "table": table}
    return document | {"name": name}


def test_one_report_a_job_and_a_failing_one_stops_no_other(shop, lake):
    events = []
    here = threading.get_ident()
    jobs = [
        into("one"),
        into("off", enabled=False),
        into("missing", source="nowhere"),
        into("two", connection="nobody"),
        transload.EtlJob(into("three")),
    ]
    batch = Runner([shop, lake]).run_all(
        jobs, concurrency=2, on_progress=lambda p: events.append((threading.get_ident(), p["job"], p["phase"]))
    )
    assert batch.status == "partial"
    assert [report["job"] for report in batch.reports] == ["one", "off", "missing", "two", "three"]
    statuses = [report["status"] for report in batch.reports]
    assert statuses == ["succeeded", "skipped", "failed", "failed", "succeeded"]
    assert batch.reports[1]["warnings"][0]["code"] == "W_SKIPPED"
    assert [report["error"] and report["error"]["kind"] for report in batch.reports[2:]] == [
        "not_found",
        "config",
        None,
    ]
    assert batch.totals | {"rows_written": 2000, "skipped": 1, "failed": 2, "jobs": 5} == batch.totals
    assert batch.to_dict() == json.loads(batch.to_json())
    assert repr(batch) == "BatchReport(partial: 2 of 4 jobs, 2000 rows)"
    assert {thread for thread, _, _ in events} == {here}
    assert {name for _, name, phase in events if phase == "done"} == {"one", "missing", "two", "three"}
    assert loaded(lake, "one") == loaded(lake, "three") == 1000


def test_a_job_that_is_cut_runs_as_its_shards(shop, lake):
    load = {"strategy": "append", "cursor": "id", "shard_at": ["100", "400"]}
    whole = transload.EtlJob(into("cut", load=load))
    shards = whole.shards()
    assert [shard.to_dict()["load"]["shard"] for shard in shards] == [0, 1, 2]
    runner = Runner([shop, lake])
    # One after the other, as processes would run them, and all together.
    assert [runner.run(shard).shard for shard in reversed(shards)] == [2, 1, 0]
    assert loaded(lake, "cut") == 1000
    assert runner.run_all(shards).totals["rows_written"] == 0
    with pytest.raises(transload.ConfigError, match="shards"):
        runner.run(whole)
    assert transload.EtlJob(into("one")).shards() == [transload.EtlJob(into("one"))]


def test_an_exception_of_the_callback_cancels_all(shop, endless, lake):
    class Enough(Exception):
        pass

    def stop(progress):
        if progress["job"] == "endless" and progress["rows_written"] > 0:
            raise Enough

    jobs = [into("orders", name="orders"), into("endless", "numbers", "endless")]
    with pytest.raises(Enough) as raised:
        Runner([shop, endless, lake]).run_all(jobs, on_progress=stop)
    report = raised.value.report
    assert report["status"] == "cancelled"
    assert [one["job"] for one in report["reports"]] == ["orders", "endless"]
    assert report["reports"][1]["status"] == "cancelled"


def test_another_thread_and_another_task_cancel_all(endless, lake):
    handle = CancelHandle()
    jobs = [into("one", "numbers", "endless"), into("two", "numbers", "endless")]
    timer = threading.Timer(0.3, handle.cancel)
    timer.start()
    batch = Runner([endless, lake]).run_all(jobs, cancel=handle)
    assert (batch.status, batch.totals["cancelled"]) == ("cancelled", 2)

    async def give_up():
        running = asyncio.create_task(Runner([endless, lake]).run_all_async(jobs))
        await asyncio.sleep(0.3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(give_up())


def test_a_deadline(endless, lake):
    with pytest.raises(transload.TransloadTimeoutError, match="deadline") as raised:
        Runner([endless, lake], deadline=0.4).run(into("orders", "numbers", "endless"))
    assert raised.value.report["committed"] is False
    with pytest.raises(transload.ConfigError, match="deadline"):
        Runner(deadline=-1.0)


def test_limits_of_a_connection(shop, lake):
    limits = {"parallel_reads": 1, "parallel_jobs": 1, "rows_per_second": 2000}
    slow = Connection(shop.to_dict() | {"limits": limits})
    assert slow.to_dict()["limits"] == limits
    assert Connection("memory:x", limits=limits).to_dict()["limits"] == limits
    report = Runner([slow, lake]).run(into("orders"))
    # A thousand rows at two thousand a second.
    assert report.seconds["load"] >= 0.4
    with pytest.raises(transload.ConfigError, match="parallel_readers"):
        Connection(shop.to_dict() | {"limits": {"parallel_readers": 1}})
    with pytest.raises(transload.ConfigError, match="limits"):
        Connection(shop.to_dict() | {"limits": {"parallel_reads": 0}})


def test_progress_tells_rate_and_splits(shop, lake):
    events = []
    Runner([shop, lake]).run(into("orders"), on_progress=events.append)
    assert events[-1]["splits"] == {"total": 1, "active": 0, "done": 1}
    assert all(event["rows_per_second"] >= 0 for event in events)


SCRIPT = """
import sys
import transload

transload.set_memory_budget(64 << 20)
try:
    transload.set_memory_budget(64 << 20)
except transload.ConfigError:
    print("once")
shop = transload.Connection("memory:shop", name="shop")
import pyarrow
shop.put("public.orders", pyarrow.table({"id": [1, 2, 3]}))
lake = transload.Connection("memory:lake", name="lake")
job = {
    "name": "orders",
    "source": {"connection": "shop", "schema": "public", "table": "orders"},
    "destination": {"connection": "lake", "dataset": "raw", "table": "orders"},
    "load": {"strategy": "replace"},
}
progress = {"True": True, "json": "json", "None": None}[sys.argv[1]]
print(transload.Runner([shop, lake]).run(job, progress=progress).rows["written"])
"""


def said(progress: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, progress], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.split() == ["once", "3"]
    return done.stderr.splitlines()


def test_ready_progress_goes_to_standard_error():
    assert said("None") == said("True") == []  # no terminal, no line
    events = [json.loads(line) for line in said("json")]
    assert (events[0]["phase"], events[-1]["status"]) == ("connect", "succeeded")


def test_progress_must_be_known(shop, lake):
    with pytest.raises(transload.ConfigError, match="progress"):
        Runner([shop, lake]).run(into("orders"), progress="yes")
