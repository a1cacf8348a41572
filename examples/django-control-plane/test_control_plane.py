"""Starts a control plane and runs the real program against it: `TRANSLOAD_JOB=PATH pytest test_control_plane.py`.

Once with the control plane of this folder, and once with the one in Node beside it.
"""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOKEN = "t0ken-of-the-test"


class DjangoTest(unittest.TestCase):
    # Any other control plane that reads the file EXAMPLE and takes PORT and TRANSLOAD_CONTROL_PLANE_TOKEN.
    serve: list[str] = []

    @classmethod
    def setUpClass(cls):
        cls.job = os.environ["TRANSLOAD_JOB"]

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        # Bound until the end, which keeps all others from the port but not the server that asks for it by number.
        kept = socket.socket()
        self.addCleanup(kept.close)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        self.port = str(kept.getsockname()[1])
        with sqlite3.connect(self.folder / "shop.db") as shop:
            shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total TEXT)")
            shop.executemany("INSERT INTO orders VALUES (?, ?)", [(i, f"{i}.50") for i in range(100)])
        example = json.loads((HERE / "example.json").read_text())
        other = {**example["jobs"][0], "name": "missing", "source": {"connection": "shop", "table": "nowhere"}}
        example["jobs"] += [{**other, "enabled": False}]
        self.example = self.folder / "example.json"
        self.example.write_text(json.dumps(example))
        self.environment = {
            "PATH": os.environ["PATH"],
            "PORT": self.port,
            "TRANSLOAD_CONTROL_PLANE_TOKEN": TOKEN,
            "TRANSLOAD_CONTROL_PLANE_URL": f"http://127.0.0.1:{self.port}",
            "CONTROL_PLANE_DB": str(self.folder / "control_plane.db"),
            "EXAMPLE": str(self.example),
        }
        command = self.serve or [sys.executable, str(HERE / "manage.py"), "runserver", "--noreload", self.port]
        if not self.serve:
            for arguments in (["migrate", "-v", "0"], ["load", str(self.example)]):
                subprocess.run([sys.executable, str(HERE / "manage.py"), *arguments], env=self.environment, check=True)
        log = self.folder / "server.log"
        with log.open("wb") as output:
            server = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        until = time.monotonic() + 120
        while server.poll() is None and time.monotonic() < until:
            try:
                self.ask("GET", "/v1/jobs")
                return
            except OSError:
                time.sleep(0.05)
        self.fail(f"the control plane does not start: {log.read_text()}")

    def ask(self, method, path, body=None, token=TOKEN):
        """Status and body of an answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or "null")

    def run_job(self, **more):
        done = subprocess.run(
            [self.job], env=self.environment | more, cwd=self.folder, capture_output=True, text=True, timeout=300
        )
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def test_the_real_program(self):
        code, entries = self.run_job()
        self.assertEqual(code, 0, entries)
        (report,) = [entry["report"] for entry in entries if "report" in entry]
        self.assertEqual(report["rows"]["written"], 100)
        # What the control plane has now: the very report under the id of the run.
        (run_id,) = {entry["run_id"] for entry in entries if entry.get("run_id")}
        end = {"run_id": run_id, "job_id": "1", "report": report, "error": None, "task": {"index": 0, "count": 1, "attempt": 0}}
        self.assertIn(self.ask("PUT", f"/v1/runs/{run_id}/report", end)[0], (200, 204), "the same report again")
        other = {**end, "report": {**report, "job": "another"}}
        self.assertEqual(self.ask("PUT", f"/v1/runs/{run_id}/report", other)[0], 409)
        # The job that is not enabled runs when it is asked for, and fails; its report arrives too.
        code, entries = self.run_job(TRANSLOAD_JOBS="2")
        self.assertEqual(code, 1, entries)
        self.assertEqual(self.run_job(TRANSLOAD_JOBS="99")[0], 2)
        self.assertEqual(self.run_job(TRANSLOAD_CONTROL_PLANE_TOKEN="wrong")[0], 2)

    def test_the_contract(self):
        status, answer = self.ask("GET", "/v1/jobs?enabled=true")
        self.assertEqual((status, [job["id"] for job in answer["jobs"]]), (200, ["1"]))
        self.assertEqual({connection["name"] for connection in answer["connections"]}, {"shop", "lake"})
        self.assertEqual([job["id"] for job in self.ask("GET", "/v1/jobs?id=2&id=77")[1]["jobs"]], ["2"])
        self.assertEqual(self.ask("GET", "/v1/jobs/2")[1]["jobs"][0]["id"], "2")
        self.assertEqual(self.ask("GET", "/v1/jobs/77")[0], 404)
        self.assertEqual(self.ask("GET", "/v1/jobs/2", token="wrong")[0], 401)
        run = f"/v1/runs/{uuid.uuid4()}"
        progress = {"job_id": "1", "progress": {"job": "orders", "phase": "load"}}
        self.assertIn(self.ask("PUT", f"{run}/progress", progress)[0], (200, 204))
        self.assertEqual(self.ask("PUT", f"{run}/report", {"nothing": 1})[0], 400)


class NodeTest(DjangoTest):
    serve = [shutil.which("node") or "node", str(HERE.parent / "node-control-plane" / "server.mjs")]


if __name__ == "__main__":
    unittest.main(verbosity=2)
