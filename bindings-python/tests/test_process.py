"""Signals, forks and the end of the process: each in a process of its own."""

import signal
import time

import pytest
from conftest import child, job, loaded, run_child
from transload import Runner

INTERRUPTED = """
import sys, transload
source = transload.Connection(type="sqlite", name="endless", path=sys.argv[1])
lake = transload.Connection(type="dataset", name="lake", path=sys.argv[2])
job = {"name": "j", "source": {"connection": "endless", "table": "numbers"},
       "destination": {"connection": "lake", "dataset": "raw", "table": "orders"}}
def tell(progress):
    if progress["rows_written"]:
        print("loading", flush=True)
try:
    transload.Runner([source, lake]).run(job, on_progress=tell)
except KeyboardInterrupt as interrupt:
    print(interrupt.report["status"], interrupt.report["committed"], flush=True)
    raise
"""

READING = """
import sys, polars, pyarrow, transload
source = transload.Connection(type="sqlite", name="endless", path=sys.argv[1])
reader = source.read("numbers")
print("loading", flush=True)
READ
"""


def interrupt(code, *arguments):
    """Sends SIGINT once the child says so; gives what it printed afterwards and how it ended."""
    process = child(code, *arguments)
    try:
        assert process.stdout.readline() == "loading\n", process.communicate(timeout=10)
        time.sleep(0.3)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.communicate()
    return out, err, process.returncode, time.monotonic() - begun


def test_ctrl_c_ends_a_run_with_nothing_loaded(endless, lake):
    paths = [connection.to_dict()["path"] for connection in (endless, lake)]
    out, err, status, seconds = interrupt(INTERRUPTED, *paths)
    assert status == -signal.SIGINT, err
    assert out.splitlines()[-1] == "cancelled False"
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert seconds < 10
    assert loaded(lake) == 0
    # The next run is not in the way of what is left, and finds nothing to continue.
    Runner([endless, lake]).run(job("endless", "numbers", row_limit=5))
    assert loaded(lake) == 5


# A library that pulls raises an error of its own, and the interrupt comes with the next Python code.
LIBRARY = """
try:
    {pull}
except Exception as error:
    assert "cancelled" in str(error), error
    sys.stdout.flush()
"""


@pytest.mark.parametrize(
    "read",
    [
        "for batch in reader: pass",
        LIBRARY.format(pull="pyarrow.RecordBatchReader.from_stream(reader).read_all()"),
        LIBRARY.format(pull="polars.DataFrame(reader)"),
    ],
    ids=["loop", "pyarrow", "polars"],
)
def test_ctrl_c_ends_a_read(endless, read):
    _, err, status, seconds = interrupt(READING.replace("READ", read), endless.to_dict()["path"])
    assert status == -signal.SIGINT, err
    assert "KeyboardInterrupt" in err
    assert seconds < 10


WAITING = """
import socket, sys, threading, transload
server = socket.create_server(("127.0.0.1", 0))  # accepts and never answers
port = server.getsockname()[1]
print("loading", flush=True)
transload.Connection(f"postgresql://u@127.0.0.1:{port}/d", tls="disable", connect_timeout=60).tables()
"""


def test_ctrl_c_ends_a_wait_for_a_silent_server():
    _, err, status, seconds = interrupt(WAITING)
    assert status == -signal.SIGINT, err
    assert seconds < 5


FORK = """
import os, sys, threading, time, transload
lake = transload.Connection(type="dataset", name="lake", path=sys.argv[2])
shop = transload.Connection(type="files", name="shop", path=sys.argv[1])
runner = transload.Runner([shop, lake])
def job(name):
    return {"name": name, "source": {"connection": "shop", "table": "orders.csv"},
            "destination": {"connection": "lake", "dataset": "raw", "table": name}}
assert runner.run(job("parent")).rows["written"] == 3   # the runtime is there before the fork
reader = shop.read("orders.csv")
children = []
for number in range(3):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            report = runner.run(job(f"child{number}"))
            assert report.rows["written"] == 3
            try:
                list(reader)
            except transload.UnsupportedError as error:
                assert "after the fork" in error.hint
                status = 0
            del reader
        finally:
            os._exit(status)
    children.append(pid)
for pid in children:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print(sum(len(batch) for batch in reader), runner.run(job("again")).rows["written"])
"""


def test_a_forked_child_has_a_runtime_of_its_own(tmp_path):
    (tmp_path / "orders.csv").write_text("id\n1\n2\n3\n")
    # Python 3.12 warns of every fork of a process with threads.
    code = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n" + FORK
    assert run_child(code, tmp_path, tmp_path / "lake") == "3 3"


def test_a_forked_child_has_a_memory_budget_of_its_own(tmp_path):
    """Nobody gives back in the child what the parent's runs had when it was forked."""
    (tmp_path / "orders.csv").write_text("id\n1\n2\n3\n")
    code = """
import os, socket, sys, threading, time, transload, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of every fork of a process with threads
transload.set_memory_budget(16 << 20)
silent = socket.create_server(("127.0.0.1", 0))
waiting = transload.Connection(
    type="postgres", name="shop", host="127.0.0.1", port=silent.getsockname()[1], username="x", connect_timeout=600)
files = transload.Connection(type="files", name="shop", path=sys.argv[1])
lake = transload.Connection(type="dataset", name="lake", path=sys.argv[2])
def job(name, table):
    return {"name": name, "source": {"connection": "shop", "table": table},
            "destination": {"connection": "lake", "dataset": "raw", "table": name}}
run = lambda: transload.Runner([waiting, lake]).run(job("parent", "public.orders"))
threading.Thread(target=run, daemon=True).start()
accepted = silent.accept()  # the run has its memory, and waits for the server to speak
time.sleep(0.5)
pid = os.fork()
if pid == 0:
    status = 1
    try:
        status = int(transload.Runner([files, lake]).run(job("child", "orders.csv")).rows["written"] != 3)
    finally:
        os._exit(status)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print("done")
"""
    assert run_child(code, tmp_path, tmp_path / "lake") == "done"


def test_the_process_ends_with_a_reader_open(endless):
    code = """
import sys, transload
reader = transload.Connection(type="sqlite", path=sys.argv[1]).read("numbers", parallelism=2)
next(reader)
print("done")
"""
    assert run_child(code, endless.to_dict()["path"]) == "done"


def test_the_process_ends_while_a_thread_runs_a_job(endless, lake):
    code = """
import sys, threading, transload
source = transload.Connection(type="sqlite", name="endless", path=sys.argv[1])
lake = transload.Connection(type="dataset", name="lake", path=sys.argv[2])
job = {"name": "j", "source": {"connection": "endless", "table": "numbers"},
       "destination": {"connection": "lake", "dataset": "raw", "table": "orders"}}
loading = threading.Event()
run = lambda: transload.Runner([source, lake]).run(job, lambda p: p["rows_written"] and loading.set())
threading.Thread(target=run, daemon=True).start()
assert loading.wait(100)
print("done")
"""
    assert run_child(code, endless.to_dict()["path"], lake.to_dict()["path"]) == "done"
    assert loaded(lake) == 0


def test_signal_handlers_of_the_host_run_during_a_wait(endless, tmp_path):
    """And what they raise ends the run, as it ends Python's own waits."""
    code = """
import signal, sys, transload
source = transload.Connection(type="sqlite", name="endless", path=sys.argv[1])
lake = transload.Connection(type="dataset", name="lake", path=sys.argv[2])
def alarm(*_):
    print(transload.Connection("memory:x").test()["status"])  # the engine may be called from here
    raise TimeoutError("enough")
signal.signal(signal.SIGALRM, alarm)
def begun(progress, armed=[]):
    if not armed:
        armed.append(signal.setitimer(signal.ITIMER_REAL, 0.5))
try:
    transload.Runner([source, lake]).run({
        "name": "j", "source": {"connection": "endless", "table": "numbers"},
        "destination": {"connection": "lake", "dataset": "raw", "table": "orders"}}, on_progress=begun)
except TimeoutError as error:
    print(error, error.report["status"])
"""
    assert run_child(code, endless.to_dict()["path"], tmp_path / "lake") == "ok\nenough cancelled"
