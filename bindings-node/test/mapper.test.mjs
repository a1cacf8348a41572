import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { tableFromArrays, tableToIPC } from "apache-arrow";
import { Connection, SchemaMapper, TableMapping } from "transload";
import { failure, memoryWithOrders } from "./support.mjs";

const signups = tableToIPC(
  tableFromArrays({
    id: Int32Array.from({ length: 400 }, (_, i) => i),
    day: Array.from({ length: 400 }, (_, i) => `2024-${String(1 + (i % 12)).padStart(2, "0")}-${String(1 + (i % 28)).padStart(2, "0")}`),
  }),
  "stream",
);

test("a table of a connection gets a mapping", async () => {
  const mapping = await new SchemaMapper().propose(memoryWithOrders(50), "orders", "public");
  assert.ok(mapping instanceof TableMapping);
  assert.deepEqual(
    mapping.columns.map((column) => [column.target_name, column.bigquery_type]),
    [["id", "INT64"], ["total", "FLOAT64"], ["name", "STRING"]],
  );
  const id = mapping.column("id");
  assert.equal(id.confidence, "high");
  assert.ok(id.score >= 0.9 && id.score <= 1);
  assert.ok(id.reason);
  assert.equal(mapping.column("nothing"), undefined);
  assert.match(mapping.hash, /^[0-9a-f]{32}$/);
  assert.equal(mapping.toJSON().hash, mapping.hash);
  assert.deepEqual(mapping.toJSON().table, { schema: "public", name: "orders" });
  assert.match(mapping.toText(), /^column +source type +BigQuery type/);
  assert.deepEqual(
    mapping.toBigQuerySchema().map((field) => [field.name, field.type, field.mode]),
    [["id", "INT64", "REQUIRED"], ["total", "FLOAT64", "REQUIRED"], ["name", "STRING", "NULLABLE"]],
  );
  assert.match(inspect(mapping), /^TableMapping \{/);
});

test("Arrow bytes get a mapping without any connection", () => {
  const mapping = new SchemaMapper().map(signups, { table: "signups", schema: "web" });
  assert.deepEqual(mapping.toJSON().table, { schema: "web", name: "signups" });
  assert.equal(mapping.column("id").bigquery_type, "INT64");
});

test("dates in text are found, and left alone on request", () => {
  const found = new SchemaMapper().map(signups).column("day");
  assert.equal(found.bigquery_type, "DATE");
  assert.ok(found.warnings.some((warning) => warning.code === "W_INFERRED"));
  assert.deepEqual([found.evidence.sampled, found.evidence.share, found.evidence.null_tokens], [400, 1, []]);
  const kept = new SchemaMapper({ detectTypes: false }).map(signups).column("day");
  assert.equal(kept.bigquery_type, "STRING");
});

test("overrides win, and impossible ones are refused with the possible types", async () => {
  const overrides = { id: { type: "NUMERIC", name: "order_id" }, total: { drop: true } };
  const shop = memoryWithOrders(5);
  const plain = await new SchemaMapper().propose(shop, "orders", "public");
  const mapping = await new SchemaMapper({ overrides }).propose(shop, "orders", "public");
  assert.deepEqual([mapping.column("id").bigquery_type, mapping.column("id").target_name], ["NUMERIC", "order_id"]);
  assert.deepEqual(mapping.toJSON().dropped, ["total"]);
  assert.notEqual(mapping.hash, plain.hash);

  const impossible = new SchemaMapper({ overrides: { id: { type: "GEOGRAPHY" } } });
  const error = await failure(() => impossible.propose(shop, "orders", "public"), "type_mapping");
  assert.equal(error.context.column, "id");
  assert.match(error.hint, /INT64/);
  const missing = new SchemaMapper({ overrides: { idd: { type: "STRING" } } });
  assert.match((await failure(() => missing.propose(shop, "orders", "public"), "not_found")).hint, /`id`/);
});

test("wrong options are refused by name", async () => {
  assert.match((await failure(() => new SchemaMapper({ detectType: false }), "config")).message, /`detectTypes`/);
  const override = await failure(() => new SchemaMapper({ overrides: { id: { typ: "STRING" } } }), "config");
  assert.match(override.message, /did you mean `type`\?/);
  await failure(() => new SchemaMapper().map(new Uint8Array(3)), "data");
});

test("a connection may be given as a document or URL", async () => {
  new Connection("memory:mapped").put("signups", signups);
  const mapping = await new SchemaMapper().propose("memory:mapped", "signups");
  assert.equal(mapping.columns.length, 2);
});

test("a type is looked up without a table", async () => {
  const price = SchemaMapper.forType("oracle", "NUMBER(10,2)");
  assert.deepEqual([price.bigquery_type, price.confidence, price.lossless], ["NUMERIC(10,2)", "high", "yes"]);
  assert.equal(SchemaMapper.forType("mysql", "tinyint(1)").alternatives[0].bigquery_type, "BOOL");
  assert.ok(SchemaMapper.systems().includes("snowflake"));
  await failure(() => SchemaMapper.forType("oracle", "NUMBR"), "not_found");
});

test("a mapping is stored, approved, compared and written as SQL", async () => {
  const names = { table: "signups", schema: "web" };
  const approved = new SchemaMapper().map(signups, names);
  const stored = JSON.parse(JSON.stringify(approved));
  assert.deepEqual(TableMapping.fromJSON(stored).toJSON(), approved.toJSON());
  assert.match((await failure(() => TableMapping.fromJSON({ ...stored, hash: "0" }), "config")).message, /says hash/);
  approved.checkApproved(stored.hash);

  const added = { _load_id: { value: "load_id" } };
  const changed = new SchemaMapper({ added, overrides: { id: { type: "NUMERIC" }, day: { type: "STRING" } } }).map(signups, names);
  await failure(() => changed.checkApproved(stored.hash), "schema_changed");
  const diff = changed.diff(stored, "raw.signups");
  assert.deepEqual(
    diff.changes.map((change) => [change.column, change.kind, change.in_place]),
    [["id", "type", true], ["day", "type", false], ["_load_id", "added", true]],
  );
  assert.equal(diff.changes[0].ddl, "ALTER TABLE `raw`.`signups` ALTER COLUMN `id` SET DATA TYPE NUMERIC;");
  assert.match(diff.rebuild, /CAST\(`day` AS STRING\)/);
  assert.match(diff.text, /NOT in place/);
  assert.equal(approved.diff(approved).changes.length, 0);
  assert.match(changed.toDDL(), /^CREATE TABLE IF NOT EXISTS `web`.`signups` \(/);
  assert.match((await failure(() => changed.toDDL("signups"), "config")).hint, /dataset.table/);
  await failure(() => new SchemaMapper({ added: { id: { value: "load_id" } } }).map(signups), "type_mapping");
});

test("wishes for partitions are checked against BigQuery's limits", async () => {
  const mapping = new SchemaMapper().map(signups);
  assert.ok(mapping.advice.notes.length > 0);
  const daily = { column: "day", granularity: "DAY" };
  assert.deepEqual(mapping.checkPartitioning(daily, 4000), []);
  assert.equal(mapping.checkPartitioning(daily, 4001)[0].code, "W_PARTITIONS");
  assert.match((await failure(() => mapping.checkPartitioning(daily, 10001), "type_mapping")).hint, /MONTH, YEAR/);
  await failure(() => mapping.checkPartitioning({ column: "id", granularity: "DAY" }), "type_mapping");
});
