"""Jobs and runs."""

import asyncio
import copy
import glob
import json
import pickle
import threading
import time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
import transload
from conftest import PASSWORD, job, loaded, orders
from transload import CancelHandle, Connection, EtlJob, Runner, Schedule


def parquet(lake: Connection, table: str = "orders") -> str:
    return f"{lake.to_dict()['path']}/raw/{table}/*/*.parquet"


APPEND = {"load": {"strategy": "append", "cursor": "id"}}


def test_a_job_is_loaded_and_read_back_by_everyone(shop, lake):
    report = Runner([shop, lake]).run(job(**APPEND))
    assert (report.status, report.committed, report.rows["written"]) == ("succeeded", True, 1000)
    files = parquet(lake)
    expected = orders(0, 1000)
    everything = f"SELECT * FROM read_parquet('{files}', hive_partitioning=false) ORDER BY id"
    assert pa.table(duckdb.connect().sql(everything)).cast(expected.schema) == expected
    frame = pl.read_parquet(files, hive_partitioning=False).sort("id")
    assert frame.to_arrow().cast(expected.schema) == expected
    assert ds.dataset(glob.glob(files)).to_table().sort_by("id").cast(expected.schema) == expected


def test_a_second_run_loads_only_what_is_new(shop, lake):
    runner = Runner([shop, lake])
    assert runner.run(job(**APPEND)).rows["written"] == 1000
    second = runner.run(job(**APPEND))
    assert (second.rows["written"], second.committed) == (0, False)
    shop.put("public.orders", orders(0, 1100))
    third = runner.run(EtlJob(job(**APPEND)))
    assert (third.rows["written"], third.window["continues"], third.window["hi"]) == (100, True, "1099")
    counts = f"SELECT count(*), count(DISTINCT id), sum(id) FROM '{parquet(lake)}'"
    assert duckdb.connect().sql(counts).fetchall() == [(1100, 1100, sum(range(1100)))]


def test_a_backfill_in_ranges(shop, lake):
    runner = Runner([shop, lake])
    load = {"strategy": "append", "cursor": "id", "backfill_since": "500", "backfill_step": 200}
    report = runner.run(job(load=load))
    told = [(part["lo"], part["hi"], part["rows"]) for part in report.ranges]
    assert told == [("500", "700", 201), ("700", "900", 200), ("900", "999", 99)]
    assert (report.ranges_committed, report.rows["written"]) == (3, 500)
    earlier = runner.run(job(load={"strategy": "append", "cursor": "id", "until": "2000"}))
    assert (earlier.rows["written"], earlier.window["null_cursors"]) == (500, 0)
    assert "W_GAP_FILLED" in [warning["code"] for warning in earlier.warnings]
    counts = f"SELECT count(*), count(DISTINCT id) FROM '{parquet(lake)}'"
    assert duckdb.connect().sql(counts).fetchall() == [(1000, 1000)]


def test_a_changed_job_is_refused(shop, lake):
    runner = Runner([shop, lake])
    runner.run(job(**APPEND))
    merge = {"strategy": "merge", "key": ["id"], "cursor": "id"}
    with pytest.raises(transload.ConfigError, match="strategy was `append` and is `merge`"):
        runner.run(job(load=merge))
    assert runner.run(job(load={**merge, "restart": True})).rows["updated"] == 1000


def test_deletes_at_the_source(shop, lake):
    runner = Runner([shop, lake])
    merge = {"strategy": "merge", "key": ["id"], "cursor": "id", "detect_deletes": {"policy": "mark"}}
    assert runner.run(job(load=merge)).rows["keys"] == 1000
    shop.put("public.orders", orders(0, 900))
    report = runner.run(job(load=merge))
    assert (report.rows["marked"], report.rows["deleted"], report.committed) == (100, 0, True)
    marked = f"SELECT count(_deleted_at), min(id) FILTER (_deleted_at IS NOT NULL) FROM '{parquet(lake)}'"
    assert duckdb.connect().sql(marked).fetchall() == [(100, 900)]
    merge["detect_deletes"] = {"policy": "remove"}
    assert runner.run(job(load=merge)).rows["deleted"] == 100
    shop.put("public.orders", orders(0, 1))
    merge["detect_deletes"]["max_ratio"] = 0.5
    with pytest.raises(transload.DataError, match="899 of the target's 900 rows"):
        runner.run(job(load=merge))
    with pytest.raises(transload.ConfigError, match="load.detect_deletes"):
        EtlJob(job(load={"strategy": "append", "cursor": "id", "detect_deletes": {"policy": "remove"}}))


def test_the_report(shop, lake):
    report = Runner([shop, lake], memory_bytes=32 << 20, parallelism=2).run(job(**APPEND))
    document = report.to_dict()
    assert document == json.loads(report.to_json())
    assert document["error"] is None
    for field in set(document) - {"error", "engine"}:
        assert getattr(report, field) == document[field], field
    assert report.rows["read"] == report.rows["already_loaded"] + report.rows["written"]
    assert report.seconds["total"] > 0 and report.bytes_read > 0 and report.batches > 0
    assert (report.source, report.destination) == ("shop: public.orders", "lake: raw.orders")
    assert repr(report).startswith("RunReport(orders: succeeded, 1000 rows in ")
    assert "\n" not in repr(report)


def test_values_that_do_not_fit_go_to_the_quarantine(shop, lake):
    shop.put("public.orders", pa.table({"id": [1, 2, 3], "name": ["7", "x", "8"]}))
    mapping = {"overrides": {"name": {"type": "INT64"}}, "on_reject": "quarantine"}
    report = Runner([shop, lake]).run(job(load={"strategy": "merge", "key": ["id"]}, mapping=mapping))
    assert report.rows["incomplete"] == 1 and not report.lossless
    assert report.quarantine == {"table": "raw.orders_quarantine", "rows": 1}
    ids, names = report.ledger
    assert (ids["exact"], names["converted"], names["quarantined"]) == (3, 2, 1)
    example = {"change": "quarantined", "value": "x", "row_key": '{"id":2}', "reason": "is not an integer"}
    assert names["examples"] == [example]
    kept = pl.read_parquet(parquet(lake, "orders_quarantine"), hive_partitioning=False)
    columns = ["_load_id", "row_key", "column_name", "value", "reason"]
    assert kept.select(columns).rows() == [(report.load_id, '{"id":2}', "name", "x", "form")]
    texts = {"connection": "lake", "dataset": "raw", "table": "texts"}
    as_text = {"overrides": {"name": {"on_reject": "text"}}}
    clean = Runner([shop, lake]).run(job(mapping=as_text, destination=texts))
    assert clean.lossless and clean.quarantine is None


def test_propose_and_prepare(shop, lake):
    runner = Runner([shop, lake])
    document = job(mapping={"overrides": {"total": {"type": "NUMERIC"}}})
    mapping = runner.propose(document)
    assert mapping.column("total")["bigquery_type"] == "NUMERIC"
    check = runner.validate(document)
    assert (check["exists"], check["fits"], check["in_place"]) == (False, False, True)
    assert [column["fit"] for column in check["columns"]] == ["new", "new", "new"]
    target = runner.prepare(document)
    check = runner.validate(document)
    assert (check["target"], check["fits"]) == ("raw.orders", True)
    other = runner.propose(job(mapping={"overrides": {"total": {"type": "STRING"}}}))
    check = other.validate(lake, "raw.orders", layout={"partition_by": {"column": "id"}})
    assert (check["fits"], check["in_place"]) == (False, False)
    assert check["columns"][1]["fit"] == "impossible"
    assert "NUMERIC" in check["columns"][1]["hint"]
    assert "partition_by" in check["problems"][0]
    with pytest.raises(transload.ConfigError, match="unknown field `partition_on`"):
        other.validate(lake, "raw.orders", layout={"partition_on": "x"})
    assert (target["dataset"], target["table"]) == ("raw", "orders")
    assert [column["type"] for column in target["columns"]] == ["INT64", "NUMERIC", "STRING"]
    assert Runner([shop, lake]).run(document).rows["written"] == 1000


def test_jobs_are_values():
    one = EtlJob(job(**APPEND))
    assert one == EtlJob(json.dumps(job(**APPEND))) == pickle.loads(pickle.dumps(one)) == copy.copy(one)
    assert (one.name, len(one.identity), one.cron()) == ("orders", 32, None)
    assert one.identity != EtlJob(job(load={"strategy": "append", "cursor": "total"})).identity
    assert EtlJob(one.to_dict()) == EtlJob(one.to_json()) == one
    assert repr(one) == "EtlJob(orders: shop public.orders -> lake raw.orders, append)"
    daily = EtlJob(job(schedule={"every": "daily", "at": "02:05"}))
    assert daily.cron() == "5 2 * * *"
    with pytest.raises(transload.ConfigError, match="unknown field `laod`") as error:
        EtlJob(job(laod={}))
    assert error.value.hint == "did you mean `load`?"
    with pytest.raises(TypeError):
        EtlJob(7)
    assert set(job()) <= set(transload.schema_of_job()["properties"])


def test_schedules():
    daily = EtlJob(job(schedule={"every": "daily", "at": "02:30", "timezone": "Europe/Berlin"}))
    after = datetime(2026, 3, 28, 12, tzinfo=timezone.utc)
    spring, next_day = daily.next_runs(2, after=after)
    assert spring.isoformat() == "2026-03-29T03:00:00+02:00", "02:30 is left out that day"
    assert next_day.isoformat() == "2026-03-30T02:30:00+02:00"
    assert spring.tzinfo == ZoneInfo("Europe/Berlin")
    assert daily.schedule == Schedule(daily.to_dict()["schedule"]) == copy.copy(daily.schedule)
    assert daily.schedule.cloud_scheduler() == {"schedule": "30 2 * * *", "timeZone": "Europe/Berlin"}
    assert len(Schedule({"cron": "*/15 8-18 * * mon-fri"}).next_runs()) == 5
    assert Schedule({"every": "manual"}).next_runs() == EtlJob(job()).next_runs() == []
    assert EtlJob(job()).schedule is None
    assert Schedule({"every": "monthly", "day": 31}).next_runs(1, after=after)[0].day == 31
    with pytest.raises(transload.UnsupportedError, match="day 31"):
        Schedule({"every": "monthly", "day": 31}).cron()
    with pytest.raises(transload.ConfigError, match="did you mean `Europe/Berlin`") as error:
        Schedule({"every": "daily", "timezone": "Europe/Berlim"})
    assert error.value.context["field"] == "schedule.timezone"
    with pytest.raises(TypeError, match="tzinfo"):
        daily.next_runs(after=datetime(2026, 3, 28, 12))


def test_connections_of_a_runner(lake):
    with pytest.raises(transload.ConfigError, match="no connection is named `shop`") as error:
        Runner([{"type": "memory", "name": "ship"}, lake]).run(job())
    assert error.value.hint == "did you mean `ship`?"
    assert Runner()
    with pytest.raises(TypeError):
        Runner([3])


def test_progress_is_told_in_this_thread(shop, lake):
    events = []
    here = threading.get_ident()
    report = Runner([shop, lake]).run(job(), on_progress=lambda p: events.append((threading.get_ident(), p)))
    assert {thread for thread, _ in events} == {here}
    phases = [event["phase"] for _, event in events]
    assert list(dict.fromkeys(phases)) == ["connect", "describe", "map", "prepare", "load", "commit", "done"]
    last = events[-1][1]
    assert (last["status"], last["rows_written"], last["job"]) == ("succeeded", 1000, "orders")
    assert report.rows["written"] == 1000


def test_an_exception_of_the_callback_cancels_the_run(endless, lake):
    class Enough(Exception):
        pass

    def stop(progress):
        if progress["rows_written"] > 0:
            raise Enough

    with pytest.raises(Enough) as raised:
        Runner([endless, lake]).run(job("endless", "numbers"), on_progress=stop)
    report = raised.value.report
    assert (report["status"], report["committed"]) == ("cancelled", False)
    assert loaded(lake) == 0


def test_another_thread_cancels_a_run_while_this_one_computes(endless, lake):
    handle = CancelHandle()
    outcome = []
    started = threading.Event()

    def run():
        try:
            Runner([endless, lake]).run(job("endless", "numbers"), lambda _: started.set(), handle)
        except transload.TransloadError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(100)
    # The run never ends by itself: that this thread goes on shows that the GIL is free.
    time.sleep(0.3)
    assert not handle.is_cancelled and thread.is_alive()
    handle.cancel()
    thread.join(300)
    [error] = outcome
    assert isinstance(error, transload.Cancelled) and handle.is_cancelled
    assert error.report["status"] == "cancelled"
    assert error.context["job"] == "orders"
    assert loaded(lake) == 0
    # A cancelled handle stays cancelled.
    with pytest.raises(transload.Cancelled):
        Runner([endless, lake]).run(job("endless", "numbers"), cancel=handle)


def test_two_runs_at_once(shop, endless, tmp_path):
    """Each is inside its run when the other one loads: a barrier in both callbacks."""
    barrier = threading.Barrier(2)
    reports = {}

    def run(name):
        lake = Connection(type="dataset", name="lake", path=tmp_path / name)
        met = []

        def meet(progress):
            if progress["phase"] == "load" and not met:
                met.append(barrier.wait(100))

        reports[name] = Runner([shop, lake]).run(job(), on_progress=meet)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert [reports[name].rows["written"] for name in ("one", "two")] == [1000, 1000]


def test_failures_carry_the_report(shop, lake, tmp_path):
    with pytest.raises(transload.NotFoundError) as error:
        Runner([shop, lake]).run(job(table="nothing"))
    assert error.value.report["status"] == "failed"
    assert error.value.report["error"]["kind"] == "not_found"
    assert error.value.context["job"] == "orders"
    away = Connection(f"postgresql://u:{PASSWORD}@127.0.0.1:1/d", name="shop", tls="disable")
    with pytest.raises(transload.UnreachableError) as error:
        Runner([away, lake]).run(job())
    assert error.value.retryable
    assert PASSWORD not in str(error.value.report) + str(error.value) + repr(error.value)


def test_awaiting_a_run(shop, lake):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        report = await Runner([shop, lake]).run_async(job())
        ticking.cancel()
        return report, ticks

    report, ticks = asyncio.run(main())
    assert report.rows["written"] == 1000
    assert ticks > 1


def test_cancelling_the_awaiting_task_cancels_the_run(endless, lake):
    async def main():
        handle = CancelHandle()
        loading = asyncio.Event()
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(
            Runner([endless, lake]).run_async(
                job("endless", "numbers"),
                lambda p: p["rows_written"] and loop.call_soon_threadsafe(loading.set),
                handle,
            )
        )
        await asyncio.wait_for(loading.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 30)
        return handle.is_cancelled

    assert asyncio.run(main())
    assert loaded(lake) == 0
