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
