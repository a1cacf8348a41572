"""BigQuery both ways, against the emulator; its own query engine is the oracle, asked over REST."""

import json
import urllib.request
import uuid
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import transload
from conftest import loaded, needed, orders
from transload import Connection, Runner, SchemaMapper


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
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.loads(response.read() or b"{}")


@pytest.fixture
def dataset(endpoint, project):
    name = f"python_{uuid.uuid4().hex[:10]}"
    yield name
    call("DELETE", f"{endpoint}/bigquery/v2/projects/{project}/datasets/{name}?deleteContents=true")


def test_a_job_loads_exactly_the_new_rows(shop, endpoint, project, dataset):
    warehouse = Connection(type="bigquery", name="warehouse", project=project, endpoint=endpoint)
    assert warehouse.test(timeout=60)["status"] == "ok"
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


def test_a_job_chooses_its_way_in(shop, endpoint, project, dataset):
    storage = needed("TRANSLOAD_TEST_BIGQUERY_GRPC")
    warehouse = Connection(
        type="bigquery", name="warehouse", project=project, endpoint=endpoint, storage_endpoint=storage
    )
    job = {
        "name": "orders",
        "source": {"connection": "shop", "schema": "public", "table": "orders"},
        "destination": {
            "connection": "warehouse",
            "dataset": dataset,
            "table": "orders",
            "options": {"load_method": "storage_write"},
        },
    }
    assert Runner([shop, warehouse]).run(job).rows["inserted"] == 1000
    job["destination"]["options"] = {"load_methd": "file"}
    with pytest.raises(transload.ConfigError, match="load_method"):
        Runner([shop, warehouse]).run(job)
    [bigquery] = [described for described in transload.connectors() if described["type"] == "bigquery"]
    assert set(bigquery["job_options"]["properties"]) == {"load_method", "staging_prefix"}


ROWS = 3000


@pytest.fixture(scope="module")
def source(endpoint, project):
    """A connection that reads, which takes the Storage API beside REST."""
    storage = needed("TRANSLOAD_TEST_BIGQUERY_GRPC")
    return Connection(
        type="bigquery", name="bigquery", project=project, endpoint=endpoint, storage_endpoint=storage
    )


@pytest.fixture(scope="module")
def ask(endpoint, project):
    """Runs a statement at the emulator and gives its rows as texts."""

    def run(sql):
        body = {"query": sql, "useLegacySql": False, "timeoutMs": 100_000}
        answer = call("POST", f"{endpoint}/bigquery/v2/projects/{project}/queries", body)
        assert answer["jobComplete"], answer
        return [[field["v"] for field in row["f"]] for row in answer.get("rows", [])]

    return run


@pytest.fixture(scope="module")
def sales(endpoint, project, ask):
    """A dataset with a table `orders`, made by statements."""
    name = f"python_{uuid.uuid4().hex[:10]}"
    ask(f"CREATE SCHEMA `{name}`")
    ask(
        f"""CREATE TABLE `{name}`.`orders` (id INT64 NOT NULL, placed_at TIMESTAMP NOT NULL, total NUMERIC(12,2),
            note STRING, info JSON, tags ARRAY<STRING>, shipped STRUCT<day DATE, days INT64>)
            OPTIONS (description = 'what was bought')"""
    )
    ask(insert(name, 1, ROWS))
    yield name
    call("DELETE", f"{endpoint}/bigquery/v2/projects/{project}/datasets/{name}?deleteContents=true")


def insert(dataset, first, last):
    return f"""INSERT `{dataset}`.`orders` (id, placed_at, total, note, info, tags, shipped)
        SELECT i, TIMESTAMP_ADD(TIMESTAMP '2024-01-01 00:00:00+00', INTERVAL i MINUTE), CAST(i AS NUMERIC) / 4,
               IF(MOD(i, 3) > 0, CONCAT('note ', CAST(i AS STRING)), NULL),
               PARSE_JSON(CONCAT('[', CAST(i AS STRING), ']')), ['a', 'b'], STRUCT(DATE '2024-02-29', i)
        FROM UNNEST(GENERATE_ARRAY({first}, {last})) AS i"""


def test_bigquery_is_browsed(source, sales):
    assert source.test(timeout=60)["status"] == "ok"
    assert sales in [row["name"] for row in source.schemas()]
    [table] = source.tables(sales)
    assert (table["name"], table["kind"], table["rows_estimate"]) == ("orders", "table", ROWS)
    described = source.describe(f"{sales}.orders")
    assert described["comment"] == "what was bought"
    assert [(column["name"], column["source_type"], column["nullable"]) for column in described["columns"]] == [
        ("id", "INT64", False),
        ("placed_at", "TIMESTAMP", False),
        ("total", "NUMERIC(12,2)", True),
        ("note", "STRING", True),
        ("info", "JSON", True),
        ("tags", "ARRAY<STRING>", False),
        ("shipped", "STRUCT<day DATE, days INT64>", True),
    ]
    assert source.sample("orders", schema=sales, rows=7).num_rows == 7


def test_rows_arrive_as_bigquery_has_them(source, sales, ask):
    [expected] = ask(
        f"""SELECT count(*), sum(id), sum(total), count(note), sum(shipped.days), sum(ARRAY_LENGTH(tags))
            FROM `{sales}`.`orders`"""
    )
    table = pa.table(source.read("orders", schema=sales, parallelism=2))
    got = [
        table.num_rows,
        pc.sum(table["id"]).as_py(),
        pc.sum(table["total"]).as_py(),
        table.num_rows - table["note"].null_count,
        pc.sum(pc.struct_field(table["shipped"], "days")).as_py(),
        pc.sum(pc.list_value_length(table["tags"])).as_py(),
    ]
    assert got == [Decimal(value) for value in expected]
    placed = sorted(table["placed_at"].cast(pa.int64()).to_pylist())
    [[first, last]] = ask(
        f"SELECT UNIX_MICROS(min(placed_at)), UNIX_MICROS(max(placed_at)) FROM `{sales}`.`orders`"
    )
    assert [placed[0], placed[-1]] == [int(first), int(last)]
    few = pa.table(source.read(f"{sales}.orders", columns=["note", "id"], limit=5))
    assert (few.column_names, few.num_rows) == (["note", "id"], 5)


def test_types_stay_what_they_are(source, sales):
    mapping = SchemaMapper().propose(source, "orders", sales)
    got = [(field["name"], field["type"], field["mode"]) for field in mapping.to_bigquery_schema()]
    assert got == [
        ("id", "INT64", "REQUIRED"),
        ("placed_at", "TIMESTAMP", "REQUIRED"),
        ("total", "NUMERIC", "NULLABLE"),
        ("note", "STRING", "NULLABLE"),
        ("info", "JSON", "NULLABLE"),
        ("tags", "STRING", "REPEATED"),
        ("shipped", "RECORD", "NULLABLE"),
    ]


def test_a_job_from_bigquery_continues_at_its_watermark(source, sales, ask, lake):
    runner = Runner([source, lake])
    job = {
        "name": "orders",
        "source": {"connection": "bigquery", "schema": sales, "table": "orders", "columns": ["id", "placed_at"]},
        "destination": {"connection": "lake", "dataset": "raw", "table": "orders"},
        "load": {"strategy": "append", "cursor": "placed_at"},
    }
    assert runner.run(job).rows["written"] == ROWS
    assert runner.run(job).rows["written"] == 0
    ask(insert(sales, ROWS + 1, ROWS + 10))
    try:
        assert runner.run(job).rows["written"] == 10
    finally:
        ask(f"DELETE FROM `{sales}`.`orders` WHERE id > {ROWS}")
    assert loaded(lake) == ROWS + 10


def test_a_missing_storage_endpoint_is_told(endpoint, project, sales):
    half = Connection(type="bigquery", name="half", project=project, endpoint=endpoint)
    with pytest.raises(transload.ConfigError, match="storage_endpoint"):
        half.sample("orders", schema=sales)
