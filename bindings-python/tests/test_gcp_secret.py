"""`credentials: "gcp-secret:..."` against a small server that answers as Secret Manager does; no real one is asked."""

import base64
import http.server
import json
import threading

import pytest
from transload import Connection

NAME = "model-5-connection-12-credentials"


@pytest.fixture
def secret_manager(monkeypatch):
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path.split("?")[0])
            found = f"/secrets/{NAME}/" in self.path
            payload = {"data": base64.b64encode(b"123456789").decode(), "dataCrc32c": "3808858755"}
            missing = {"error": {"code": 404, "message": "not found", "status": "NOT_FOUND"}}
            body = json.dumps({"name": self.path, "payload": payload} if found else missing).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    yield asked
    server.shutdown()
    server.server_close()


def test_a_reference_is_read_when_a_connection_is_opened(secret_manager):
    # Nobody listens on port 9: what counts is that the secret is fetched before, and that it is not shown.
    shop = {"name": "shop", "type": "postgresql", "host": "127.0.0.1", "port": 9, "database": "d", "username": "u"}
    status = Connection({**shop, "credentials": f"gcp-secret:{NAME}@7"}).test()
    assert secret_manager == [f"/v1/projects/my-project/secrets/{NAME}/versions/7:access"]
    assert "123456789" not in json.dumps(status)
    assert status["error"]["kind"] == "unreachable"
    status = Connection({**shop, "credentials": "gcp-secret:other"}).test()
    assert (status["status"], status["error"]["kind"]) == ("error", "not_found")
    assert secret_manager[1:] == ["/v1/projects/my-project/secrets/other/versions/latest:access"]
