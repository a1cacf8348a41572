import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { tableFromArrays, tableFromIPC, tableToIPC } from "apache-arrow";
import { Connection, connectors, jobSchema, version } from "transload";
import { PASSWORD, failure, memoryWithOrders, orders } from "./support.mjs";

test("documents, JSON texts and URLs give the same connection", () => {
  const document = { name: "lake", type: "memory", path: "lake" };
  const connection = new Connection(document);
  assert.deepEqual([connection.name, connection.type], ["lake", "memory"]);
  assert.deepEqual(connection.toJSON(), document);
  assert.deepEqual(new Connection(JSON.stringify(document)).toJSON(), document);
  assert.deepEqual(new Connection("memory:lake", { name: "lake" }).toJSON(), document);
  assert.equal(new Connection("memory:lake").name, "memory");
  assert.equal(new Connection("memory:lake").fingerprint(), connection.fingerprint());
  assert.notEqual(new Connection("memory:other").fingerprint(), connection.fingerprint());
  assert.match(connection.fingerprint(), /^[0-9a-f]{32}$/);
  assert.equal(connection.suggestedName(), "memory lake");
});

test("wrong documents name what is wrong", async () => {
  const unknown = await failure(() => new Connection({ type: "memry" }), "config");
  assert.match(unknown.hint, /memory/);
  const option = await failure(() => new Connection({ type: "memory", pth: "x" }), "config");
  assert.match(option.message, /`pth`.*did you mean `path`\?/);
  await failure(() => new Connection({ path: "x" }), "config");
  await failure(() => new Connection(undefined), "config");
  await failure(() => new Connection("no url"), "config");
  await failure(() => new Connection('{"type": '), "config");
});

test("a memory connection answers a test, lists, describes and samples", async () => {
  const shop = memoryWithOrders(500);
  const status = await shop.test({ timeoutMs: 60_000 });
  assert.deepEqual([status.status, status.tls, status.error], ["ok", null, null]);
  assert.equal(status.version, `transload ${version}`);
  assert.equal(typeof status.latency_ms, "number");

  assert.deepEqual(await shop.schemas(), [{ name: "public", comment: null }]);
  const [table, ...others] = await shop.tables("public");
  assert.equal(others.length, 0);
  assert.deepEqual([table.schema, table.name, table.kind, table.rows_estimate], ["public", "orders", "table", 500]);
  assert.ok(table.bytes > 0);

  const described = await shop.describe("orders", "public");
  assert.deepEqual(
    described.columns.map((column) => [column.name, column.arrow_type]),
    [["id", "Int64"], ["total", "Float64"], ["name", "Utf8"]],
  );

  const sample = tableFromIPC(await shop.sample("orders", { schema: "public", rows: 7 }));
  assert.equal(sample.numRows, 7);
  // Spread over the table, not its first rows.
  const ids = Array.from(sample, (row) => Number(row.id));
  assert.ok(ids[6] > 50 && ids.every((id, i) => i === 0 || id > ids[i - 1]), ids.join());
  assert.equal(tableFromIPC(await shop.sample("orders", { schema: "public" })).numRows, 100);
});

test("memory connections with the same path share their tables; put replaces", async () => {
  const a = new Connection("memory:shared-by-two");
  const b = new Connection({ type: "memory", path: "shared-by-two", name: "b" });
  a.put("t", orders(0, 3));
  assert.equal((await b.tables())[0].rows_estimate, 3);
  b.put("t", orders(0, 5));
  assert.equal((await a.tables())[0].rows_estimate, 5);
  await failure(() => new Connection("memory:not-shared").describe("t"), "not_found");
});

test("put takes Arrow IPC files, streams of several batches and dictionaries", async () => {
  const table = tableFromArrays({ word: ["a", "b", "a", null] });
  const memory = new Connection("memory:formats");
  for (const [name, bytes] of [
    ["file", tableToIPC(table, "file")],
    ["stream", tableToIPC(table.concat(table), "stream")],
  ]) {
    memory.put(name, bytes);
    const back = tableFromIPC(await memory.read(name).toBuffer());
    assert.deepEqual(back.toArray().map((row) => row.word).slice(0, 4), ["a", "b", "a", null]);
    assert.equal((await memory.describe(name)).columns[0].arrow_type, "Utf8");
  }
  assert.equal(tableFromIPC(await memory.read("stream").toBuffer()).numRows, 8);
  const broken = await failure(() => memory.put("t", new Uint8Array([1, 2, 3])), "data");
  assert.equal(broken.operation, "put");
  await failure(() => memory.put("t", Buffer.from("ARROW1 and then nothing")), "data");
});

test("errors carry code, operation, context, hint and cause", async () => {
  const shop = memoryWithOrders(1, "my shop");
  const error = await failure(() => shop.describe("ordres", "public"), "not_found");
  assert.ok(error instanceof Error);
  assert.equal(error.name, "TransloadError");
  assert.equal(error.retryable, false);
  assert.equal(error.operation, "describe");
  assert.equal(error.context.connection, "my shop");
  assert.equal(error.report, undefined);
  assert.ok(error.message.startsWith("table public.ordres does not exist"));
  assert.ok(error.message.endsWith(error.hint));
  assert.match(error.stack, /connection\.test\.mjs/);
  assert.equal(JSON.parse(JSON.stringify(error)).code, "not_found");
  assert.match(inspect(error), /code: 'not_found'/);

  const broken = await failure(() => shop.put("t", new Uint8Array(8)), "data");
  assert.ok(broken.causes.length > 0);
  assert.equal(broken.cause.message, broken.causes[0]);
});

test("wrong options are refused by name, wrong arguments by type", async () => {
  const shop = memoryWithOrders(1);
  const error = await failure(() => shop.read("orders", { colums: ["id"] }), "config");
  assert.match(error.message, /did you mean `columns`\?/);
  await failure(() => shop.sample("orders", { rows: "many" }), "config");
  await assert.rejects(shop.describe(7), /String/);
});

test("an unreachable host is a status, with a hint and without the password", async () => {
  const nowhere = new Connection(`postgresql://etl:${PASSWORD}@127.0.0.1:9/shop?tls=disable`);
  const status = await nowhere.test({ timeoutMs: 60_000 });
  assert.equal(status.status, "failed");
  assert.equal(status.error.kind, "unreachable");
  assert.ok(status.error.hint);
  assert.ok(!JSON.stringify(status).includes(PASSWORD));
});

test("a password appears in no text", async () => {
  const url = `postgresql://etl:${PASSWORD}@127.0.0.1:9/shop?tls=disable`;
  const document = { type: "postgresql", host: "127.0.0.1", port: 9, database: "shop", username: "etl", password: PASSWORD, tls: "disable" };
  for (const connection of [new Connection(url), new Connection(document), new Connection(JSON.stringify(document))]) {
    const error = await failure(() => connection.schemas(), "unreachable");
    assert.equal(error.retryable, true);
    for (const text of [
      inspect(connection, { depth: 9, showHidden: true }),
      JSON.stringify(connection),
      String(connection),
      connection.suggestedName(),
      inspect(error, { depth: 9, showHidden: true }),
      error.stack,
      JSON.stringify(error),
    ]) {
      assert.ok(!text.includes(PASSWORD), text);
    }
    assert.equal(connection.toJSON().host, "127.0.0.1");
  }
  for (const broken of [`postgresql://etl:${PASSWORD}@host:port/shop`, `{"type": "postgresql", "password": "${PASSWORD}"`, PASSWORD]) {
    const error = await failure(() => new Connection(broken), "config");
    assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes(PASSWORD), error.message);
  }
});

test("connectors describe themselves and jobs have a JSON Schema", () => {
  const types = connectors().map((descriptor) => descriptor.type);
  for (const type of ["memory", "files", "dataset", "postgresql", "redshift", "sqlite", "bigquery"]) {
    assert.ok(types.includes(type), `${type} is missing in ${types}`);
  }
  const redshift = connectors().find((descriptor) => descriptor.type === "redshift");
  assert.deepEqual([redshift.default_port, redshift.category], [5439, "warehouse"]);
  assert.ok(redshift.options.properties.host && redshift.options.properties.fetch_rows);
  const postgres = connectors().find((descriptor) => descriptor.type === "postgresql");
  assert.deepEqual([postgres.default_port, postgres.takes_secret, postgres.category], [5432, true, "relational"]);
  assert.ok(postgres.capability.source && postgres.capability.snapshot);
  assert.ok(postgres.options.properties.host);
  assert.ok(jobSchema().properties.destination);
  assert.match(version, /^\d+\.\d+\.\d+/);
});
