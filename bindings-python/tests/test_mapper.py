"""The mapper and its proposals."""

import datetime
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


def test_the_evidence_for_a_detected_type_is_kept():
    ages = pa.table({"age": [str(n) for n in range(100)] + ["NA", " 7 "], "id": ["a@example.com"] * 102})
    mapping = SchemaMapper().map(ages)
    age = mapping.column("age")
    assert (age["bigquery_type"], age["null_tokens"]) == ("INT64", ["NA"])
    evidence = age["evidence"]
    assert (evidence["sampled"], evidence["matched"], evidence["share"], evidence["padded"]) == (102, 100, 1.0, 1)
    assert evidence["null_tokens"] == [{"text": "NA", "rows": 1}]
    assert evidence["examples"]
    assert mapping.column("id")["semantic"] == "email"
    assert not SchemaMapper(show_values=False).map(ages).column("age")["evidence"]["examples"]
    wished = SchemaMapper(overrides={"age": {"type": "INT64", "null_tokens": ["NA", "-"]}}).map(ages)
    assert wished.column("age")["null_tokens"] == ["NA", "-"]


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


def test_a_type_is_looked_up_without_a_table():
    price = SchemaMapper.for_type("oracle", "NUMBER(10,2)")
    assert (price["bigquery_type"], price["confidence"], price["lossless"]) == ("NUMERIC(10,2)", "high", "yes")
    flag = SchemaMapper.for_type("mysql", "tinyint(1)")
    assert (flag["bigquery_type"], flag["alternatives"][0]["bigquery_type"]) == ("INT64", "BOOL")
    assert "snowflake" in SchemaMapper.systems()
    with pytest.raises(transload.NotFoundError):
        SchemaMapper.for_type("oracle", "NUMBR")


def test_columns_can_be_added():
    added = {"_load_id": {"value": "load_id"}, "region": {"value": {"constant": "7"}, "type": "INT64"}}
    mapping = SchemaMapper(added=added).map(pa.table(ORDERS))
    assert [column["target_name"] for column in mapping.added] == ["_load_id", "region"]
    assert mapping.to_bigquery_schema()[-1]["type"] == "INT64"
    with pytest.raises(transload.TypeMappingError, match="has the name of another column"):
        SchemaMapper(added={"ID": {"value": "load_id"}}).map(pa.table(ORDERS))
    with pytest.raises(transload.ConfigError):
        SchemaMapper(added={"x": {"value": "nope"}})


def test_a_mapping_is_stored_approved_and_compared():
    approved = SchemaMapper().map(pa.table(ORDERS), table="orders", schema="shop")
    assert transload.TableMapping.from_json(approved.to_json()) == approved
    assert transload.TableMapping.from_json(approved.to_dict()) == approved
    with pytest.raises(transload.ConfigError, match="says hash"):
        transload.TableMapping.from_json({**approved.to_dict(), "hash": "0"})
    approved.check_approved(approved.hash)

    wanted = {"id": {"type": "NUMERIC"}, "note": {"type": "JSON"}}
    changed = SchemaMapper(wanted).map(pa.table(ORDERS), table="orders", schema="shop")
    with pytest.raises(transload.SchemaChangedError, match="not the approved one"):
        changed.check_approved(approved.hash)
    diff = changed.diff(approved, "raw.orders")
    assert (len(diff), diff.in_place) == (2, False)
    assert diff.changes[0]["ddl"] == "ALTER TABLE `raw`.`orders` ALTER COLUMN `id` SET DATA TYPE NUMERIC;"
    assert "PARSE_JSON(`note`) AS `note`" in diff.rebuild
    assert "NOT in place" in diff.to_text() == str(diff)
    html = diff._repr_html_()
    assert (html.count("<tr>"), "color:#c62828" in html) == (3, True)
    assert len(approved.diff(approved)) == 0
    with pytest.raises(transload.ConfigError, match="dataset.table"):
        changed.diff(approved, "orders")


def test_statements_and_advice():
    mapping = SchemaMapper().map(pa.table({"day": [datetime.date(2024, 1, 1)], "id": [1]}), table="t", schema="s")
    assert mapping.to_ddl() == "CREATE TABLE IF NOT EXISTS `s`.`t` (\n  `day` DATE,\n  `id` INT64\n);"
    assert "CLUSTER BY" not in mapping.to_ddl("a.b")
    assert mapping.to_ddl("a.b", advised=True).endswith("CLUSTER BY `id`;") == bool(mapping.advice["clustering"])
    assert mapping.advice["notes"]
    assert mapping.check_partitioning("day", "DAY", 4000) == []
    assert mapping.check_partitioning("day", "DAY", 4001)[0]["code"] == "W_PARTITIONS"
    with pytest.raises(transload.TypeMappingError, match="10001 partitions"):
        mapping.check_partitioning("day", "DAY", 10_001)
    with pytest.raises(transload.TypeMappingError, match="cannot be partitioned"):
        mapping.check_partitioning("id", "DAY")
