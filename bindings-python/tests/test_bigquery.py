"""A job into BigQuery, against the emulator; its own query engine is the oracle, asked over REST."""

import json
import urllib.request
import uuid

import pytest
from conftest import needed, orders
from transload import Connection, Runner


@pytest.fixture(scope="module")
def endpoint():
    return needed("TRANSLOAD_TEST_BIGQUERY_URL")


@pytest.fixture(scope="module")
def project():
    return needed("TRANSLOAD_TEST_BIGQUERY_PROJECT")


def call(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read() or b"{}")


@pytest.fixture
def dataset(endpoint, project):
    name = f"python_{uuid.uuid4().hex[:10]}"
    yield name
    call("DELETE", f"{endpoint}/bigquery/v2/projects/{project}/datasets/{name}?deleteContents=true")


def test_a_job_loads_exactly_the_new_rows(shop, endpoint, project, dataset):
    warehouse = Connection(type="bigquery", name="warehouse", project=project, endpoint=endpoint)
    assert warehouse.test()["status"] == "ok"
    runner = Runner([shop, warehouse])
    job = {
        "name": "orders",
        "source": {"connection": "shop", "schema": "public", "table": "orders"},
        "destination": {"connection": "warehouse", "dataset": dataset, "table": "orders"},
        "load": {"strategy": "append", "cursor": "id"},
    }

    def ask():
        query = f"SELECT count(*), count(DISTINCT id), sum(id), count(name) FROM `{project}.{dataset}.orders`"
        body = {"query": query, "useLegacySql": False}
        answer = call("POST", f"{endpoint}/bigquery/v2/projects/{project}/queries", body)
        return [int(field["v"]) for field in answer["rows"][0]["f"]]

    first = runner.run(job)
    assert (first.status, first.rows["written"]) == ("succeeded", 1000)
    assert ask() == [1000, 1000, sum(range(1000)), 857]
    assert runner.run(job).rows["written"] == 0
    shop.put("public.orders", orders(0, 1200))
    assert runner.run(job).rows["written"] == 200
    assert ask()[:3] == [1200, 1200, sum(range(1200))]
    table = call("GET", f"{endpoint}/bigquery/v2/projects/{project}/datasets/{dataset}/tables/orders")
    types = {field["name"]: field["type"] for field in table["schema"]["fields"]}
    assert types["id"] in ("INTEGER", "INT64") and types["name"] == "STRING"
