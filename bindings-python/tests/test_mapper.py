"""The mapper and its proposals."""

import json
import sqlite3

import polars as pl
import pyarrow as pa
import pytest
import transload
from transload import Connection, SchemaMapper

ORDERS = {
    "id": [1, 2, 3],
    "placed": ["2024-01-01 10:00:00", "2024-01-02 11:30:00", "2024-02-03 12:00:00"],
    "note": ["a", "<b>bold</b>", None],
}


def types(mapping):
    return {column["source_name"]: column["bigquery_type"] for column in mapping.columns}


def test_arrow_data_is_mapped_without_a_connection():
    mapping = SchemaMapper().map(pa.table(ORDERS))
    assert types(mapping)["id"] == "INT64"
    assert types(mapping)["note"] == "STRING"
    assert mapping == SchemaMapper().map(pl.DataFrame(ORDERS))
    schema = SchemaMapper().map(pa.table(ORDERS).schema)
    assert types(schema) == {"id": "INT64", "placed": "STRING", "note": "STRING"}


def test_types_hidden_in_text_are_looked_for_when_wished():
    days = pa.table({"day": [f"2024-01-{day:02}" for day in range(1, 31)] * 30})
    with_detection = SchemaMapper().map(days).column("day")
    candidates = [with_detection, *with_detection["alternatives"]]
    assert "DATE" in {candidate["bigquery_type"] for candidate in candidates}
    without = SchemaMapper(detect_types=False).map(days).column("day")
    assert (without["bigquery_type"], without["alternatives"]) == ("STRING", [])


def test_source_types_travel_as_metadata():
    field = pa.field("m", pa.decimal128(19, 2), metadata={"transload.source_type": "money"})
    assert SchemaMapper().map(pa.schema([field])).columns[0]["source_type"] == "money"


def test_a_table_is_proposed(tmp_path):
    database = sqlite3.connect(tmp_path / "shop.db")
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total DECIMAL(10, 2), note TEXT)")
    database.close()
    shop = Connection(type="sqlite", name="shop", path=tmp_path / "shop.db")
    mapping = SchemaMapper().propose(shop, "orders")
    assert (mapping.table, mapping.primary_key, len(mapping)) == ("orders", ["id"], 3)
    assert SchemaMapper().propose({"type": "sqlite", "path": tmp_path / "shop.db"}, "orders") == mapping
    with pytest.raises(transload.NotFoundError) as error:
        SchemaMapper().propose(shop, "orderz")
    assert error.value.context["connection"] == "shop"


def test_overrides_win_and_impossible_ones_are_refused():
    overrides = {"id": {"type": "STRING", "name": "key"}, "note": {"drop": True}}
    mapping = SchemaMapper(overrides).map(pa.table(ORDERS))
    assert (types(mapping)["id"], mapping.column("id")["target_name"]) == ("STRING", "key")
    assert (mapping.dropped, mapping.column("note")) == (["note"], None)
    with pytest.raises(transload.TypeMappingError, match="cannot be loaded as GEOGRAPHY") as error:
        SchemaMapper({"id": {"type": "GEOGRAPHY"}}).map(pa.table(ORDERS))
    assert "INT64" in error.value.hint
    with pytest.raises(transload.ConfigError, match="unknown field `id.tpye`"):
        SchemaMapper({"id": {"tpye": "STRING"}})
    with pytest.raises(transload.NotFoundError):
        SchemaMapper({"nope": {"type": "STRING"}}).map(pa.table(ORDERS))


def test_the_forms_of_a_mapping():
    mapping = SchemaMapper().map(pa.table(ORDERS), table="orders", schema="public")
    assert mapping.to_dict() == json.loads(mapping.to_json())
    assert mapping.to_dict()["hash"] == mapping.hash
    assert len(mapping.hash) == 32
    assert mapping.to_bigquery_schema()[0] == {"name": "id", "type": "INT64", "mode": "NULLABLE"}
    assert "BigQuery type" in mapping.to_text() == str(mapping)
    assert repr(mapping) == f"TableMapping(public.orders: 3 columns, {mapping.hash})"


def test_a_notebook_shows_a_table_and_no_foreign_html():
    evil = "<script>alert(1)</script>"
    html = SchemaMapper().map(pa.table({evil: [1], "ok": ["x"]}))._repr_html_()
    assert html.count("<tr>") == 3
    assert "<script>" not in html
    assert "color:#2e7d32" in html
