"""The stub says what the module has, and the package passes a strict type check."""

import subprocess
import sys
from pathlib import Path

import transload

PACKAGE = Path(transload.__file__).parent


def run(*command, cwd):
    done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stub_is_the_module(tmp_path):
    run("mypy.stubtest", "transload", cwd=tmp_path)


def test_the_package_and_its_use_are_typed(tmp_path):
    (tmp_path / "use.py").write_text(
        """
import polars
from transload import Connection, Runner, RunReport, SchemaMapper, TransloadError

shop = Connection("memory:shop", name="shop")
shop.put("orders", polars.DataFrame({"id": [1]}))
mapping = SchemaMapper().propose(shop, "orders")
for batch in shop.read("orders", columns=["id"]):
    print(batch.num_rows, mapping.columns[0]["bigquery_type"])
try:
    report: RunReport = Runner([shop, {"type": "memory"}]).run({"name": "x"}, on_progress=print)
except TransloadError as error:
    kind: str = error.kind
"""
    )
    run("mypy", "--strict", "use.py", cwd=tmp_path)
    run("mypy", "--strict", "-p", "transload", cwd=tmp_path)


def test_the_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").exists()
    assert sorted(transload.__all__) == sorted(
        {name for name in vars(transload) if not name.startswith("_")} | {"__version__"}
    )
