"""The language-neutral cases of `connectors/testkit/cases`; the README there tells their format."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from transload import Connection, EtlJob, Runner, TransloadError

CASES = sorted((Path(__file__).parents[2] / "connectors" / "testkit" / "cases").glob("*.json"))
assert CASES, "the cases are missing"


def known(value: dict[str, Any], *fields: str) -> None:
    """A slip in a case must not be a check that never runs."""
    assert not value.keys() - set(fields)


def placed(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return value.replace("${dir}", str(folder))
    if isinstance(value, list):
        return [placed(item, folder) for item in value]
    if isinstance(value, dict):
        return {key: placed(item, folder) for key, item in value.items()}
    return value


def write(folder: Path, files: dict[str, str], mode: str) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8", newline="") as file:
            file.write(text)


def as_document(error: TransloadError) -> dict[str, Any]:
    return {"kind": error.kind, "hint": error.hint, "context": error.context, "text": str(error)}


def check_error(error: dict[str, Any] | None, wanted: dict[str, Any] | None) -> None:
    if wanted is None:
        assert error is None, error
        return
    known(wanted, "kind", "says", "context")
    assert error is not None, f"no error, expected {wanted}"
    assert error["kind"] == wanted["kind"], error
    assert error["hint"], error
    text = error.get("text") or json.dumps(error, ensure_ascii=False)
    for says in wanted.get("says", []):
        assert says in text
    for key, value in wanted.get("context", {}).items():
        assert error["context"].get(key) == value


def run(runner: Runner, document: dict[str, Any], expect: dict[str, Any]) -> None:
    known(expect, "status", "committed", "rows", "lossless", "ledger", "warnings", "error")
    wanted = expect.get("status", "succeeded")
    try:
        job = EtlJob(document)
    except TransloadError as error:
        assert wanted == "refused", error
        check_error(as_document(error), expect.get("error"))
        return
    error = None
    try:
        report = runner.run(job).to_dict()
    except TransloadError as raised:
        assert raised.report is not None
        report, error = raised.report, as_document(raised)
    assert report["status"] == wanted, error
    check_error(error, expect.get("error"))
    if "committed" in expect:
        assert report["committed"] == expect["committed"]
    assert expect.get("rows", {}).items() <= report["rows"].items(), report["rows"]
    assert report["lossless"] == expect.get("lossless", report["lossless"])
    ledger = {column["column"]: column for column in report["ledger"]}
    for column, counts in expect.get("ledger", {}).items():
        assert counts.items() <= ledger[column].items(), ledger[column]
    codes = {warning["code"] for warning in report["warnings"]}
    assert codes >= set(expect.get("warnings", []))


def read(connection: Connection, what: dict[str, Any], expect: dict[str, Any]) -> None:
    known(what, "connection", "schema", "table", "columns")
    known(expect, "rows", "count", "error")
    try:
        reader = connection.read(what["table"], schema=what.get("schema"), columns=what.get("columns"))
        batches = [pa.record_batch(batch) for batch in reader]
    except TransloadError as error:
        check_error(as_document(error), expect.get("error"))
        return
    check_error(None, expect.get("error"))
    rows = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    assert len(rows) == expect.get("count", len(rows))
    if "rows" in expect:
        assert Counter(rows) == Counter(map(tuple, expect["rows"]))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_case(case: Path, tmp_path: Path) -> None:
    document = json.loads(case.read_text(encoding="utf-8"))
    known(document, "about", "files", "connections", "steps")
    write(tmp_path, document["files"], "w")
    connections = {c["name"]: Connection(placed(c, tmp_path)) for c in document["connections"]}
    runner = Runner(list(connections.values()))
    assert document["steps"]
    for step in document["steps"]:
        known(step, "write", "append", "run", "validate", "test", "read", "expect")
        expect = step.get("expect", {})
        write(tmp_path, step.get("write", {}), "w")
        write(tmp_path, step.get("append", {}), "a")
        if "run" in step:
            run(runner, placed(step["run"], tmp_path), expect)
        elif "validate" in step:
            error = None
            try:
                Connection(placed(step["validate"], tmp_path))
            except TransloadError as raised:
                error = as_document(raised)
            check_error(error, expect.get("error"))
        elif "test" in step:
            status = connections[step["test"]].test(timeout=60)
            assert status["status"] == expect["status"], status
            check_error(status["error"], expect.get("error"))
        elif "read" in step:
            read(connections[step["read"]["connection"]], step["read"], expect)
