"""The client of a control plane, against a small one in this process."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import transload
from conftest import job
from transload import ControlPlane

TOKEN = "t0ken-of-the-test"


class Host(BaseHTTPRequestHandler):
    jobs: dict = {}
    connections: list = []
    reports: dict = {}
    broken = False

    def answer(self, status, body=None):
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        if status == 503:
            # Later than anybody waits, so that a test need not wait for a deadline.
            self.send_header("retry-after", "86400")
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        if self.headers["authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, {"detail": "Invalid token."})
        path, _, query = self.path.partition("?")
        ids = [path.rpartition("/")[2]] if path != "/v1/jobs" else [i for i in self.jobs if f"id={i}" in query] or self.jobs
        if not set(ids) <= set(self.jobs):
            return self.answer(404)
        jobs = [{"id": i, "document": self.jobs[i]} for i in ids]
        return self.answer(200, {"jobs": jobs, "connections": self.connections})

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/report"):
            if Host.broken:
                return self.answer(503)
            self.reports[self.path.split("/")[3]] = body
        return self.answer(204)

    def log_message(self, *_):
        pass


@pytest.fixture
def url(shop, lake, tmp_path):
    # A password does not travel; this process has it in its environment.
    connections = [connection.to_dict() for connection in (shop, lake)]
    Host.jobs = {"1": job(load={"strategy": "append", "cursor": "id"}), "2": {"name": "wrong", "sorce": {}}}
    Host.connections, Host.reports, Host.broken = connections, {}, False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_job_is_run_and_reported(url, tmp_path):
    control = ControlPlane(url, TOKEN, spool=tmp_path / "spool")
    right, wrong = control.jobs()
    assert (right["id"], right["document"]["name"], right["error"]) == ("1", "orders", None)
    assert (wrong["document"], wrong["error"]["kind"]) == (None, "config")
    assert [one["id"] for one in control.jobs(["1"])] == ["1"]
    done = control.run("1")
    assert (done["report"]["status"], done["delivered"]) == ("succeeded", True), done
    assert [end["report"]["rows"] for end in Host.reports.values()] == [done["report"]["rows"]]
    Host.broken = True
    done = control.run("1")
    assert (done["report"]["status"], done["delivered"], done["error"]["kind"]) == ("succeeded", False, "unreachable")
    assert os.path.exists(done["kept_at"])
    Host.broken = False
    assert control.send_spooled() == {"sent": 1, "kept": 0, "refused": 0, "error": None}
    assert len(Host.reports) == 2


def test_what_is_wrong_is_raised(url, monkeypatch):
    with pytest.raises(transload.AuthError, match="refused the token"):
        ControlPlane(url, "wrong").jobs()
    monkeypatch.setenv("CONTROL_PLANE_TOKEN_OF_TEST", TOKEN)
    control = ControlPlane(url, credentials="env:CONTROL_PLANE_TOKEN_OF_TEST")
    with pytest.raises(transload.NotFoundError, match="get job 77"):
        control.run("77")
    with pytest.raises(transload.ConfigError):
        control.run("2")
    assert [end["error"]["kind"] for end in Host.reports.values()] == ["config"]
    with pytest.raises(transload.ConfigError, match="plain HTTP"):
        ControlPlane("http://control.example.com", TOKEN)
    with pytest.raises(ValueError):
        ControlPlane(url)
    assert TOKEN not in repr(control)
