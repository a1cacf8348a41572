import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspect } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { tableFromIPC } from "apache-arrow";
import pg from "pg";
import { Connection, Runner, SchemaMapper } from "transload";
import { PASSWORD, collect, failure, needed, temporaryFolder } from "./support.mjs";

const url = needed("TRANSLOAD_TEST_POSTGRES_URL");
const schema = `node_${randomBytes(5).toString("hex")}`;
const ROWS = 20_000;
const BIG_ROWS = 1_000_000;

const database = new pg.Client({ connectionString: url, ssl: false });
const shop = new Connection(url, { name: "shop" });

before(async () => {
  await database.connect();
  await database.query(`
    CREATE SCHEMA ${schema};
    CREATE TABLE ${schema}.orders (
      id bigint PRIMARY KEY, placed_at timestamptz NOT NULL, total numeric(12,2), note text, tags text[], info jsonb);
    INSERT INTO ${schema}.orders
      SELECT i, '2024-01-01Z'::timestamptz + i * interval '1 minute', i * 0.25,
        CASE WHEN i % 3 > 0 THEN 'note ' || i END, ARRAY['a', 'b'], jsonb_build_object('i', i)
      FROM generate_series(1, ${ROWS}) AS i;
    CREATE TABLE ${schema}.big AS SELECT i AS id, repeat('x', 200) AS filler FROM generate_series(1, ${BIG_ROWS}) AS i;
    COMMENT ON TABLE ${schema}.orders IS 'what was bought'`);
});

after(async () => {
  await database.query(`DROP SCHEMA ${schema} CASCADE`);
  await database.end();
});

const ask = async (sql) => (await database.query(sql)).rows[0];

test("the server is tested, browsed and described", async () => {
  const status = await shop.test();
  assert.equal(status.status, "ok", JSON.stringify(status));
  assert.match(status.version, /PostgreSQL \d+/);
  assert.ok((await shop.schemas()).some(({ name }) => name === schema));
  assert.deepEqual((await shop.tables(schema)).map(({ name }) => name), ["big", "orders"]);
  const table = await shop.describe("orders", schema);
  assert.deepEqual([table.primary_key, table.comment], [["id"], "what was bought"]);
  assert.deepEqual(
    table.columns.map((column) => [column.name, column.source_type, column.nullable]),
    [
      ["id", "bigint", false],
      ["placed_at", "timestamp with time zone", false],
      ["total", "numeric(12,2)", true],
      ["note", "text", true],
      ["tags", "text[]", true],
      ["info", "jsonb", true],
    ],
  );
  assert.deepEqual(await shop.describe(`${schema}.orders`), table);
});

test("rows arrive in apache-arrow as the server has them", async () => {
  const options = { schema, columns: ["id", "note"], parallelism: 2, batchBytes: 64 * 1024 };
  const table = await collect(shop.read("orders", options), tableFromIPC);
  let ids = 0n;
  for (const id of table.getChild("id")) ids += id;
  const server = await ask(`SELECT count(*), sum(id), count(*) - count(note) AS missing FROM ${schema}.orders`);
  assert.deepEqual(
    [String(table.numRows), String(ids), String(table.getChild("note").nullCount)],
    [server.count, server.sum, server.missing],
  );
});

test("a loop that ends early stops the query at the server", async () => {
  let rows = 0;
  for await (const ipc of shop.read(`${schema}.big`, { batchBytes: 64 * 1024 })) {
    rows += tableFromIPC(ipc).numRows;
    if (rows > 1000) break;
  }
  assert.ok(rows > 1000 && rows < BIG_ROWS / 2, `${rows} rows`);
  const busy = `SELECT count(*)::int AS queries FROM pg_stat_activity
    WHERE query LIKE '%${schema}%big%' AND state = 'active' AND pid <> pg_backend_pid()`;
  let queries;
  for (let tries = 0; tries < 1200; tries++) {
    ({ queries } = await ask(busy));
    if (queries === 0) return;
    await sleep(50);
  }
  assert.fail(`${queries} queries still run after a minute`);
});

test("a job loads new rows only, and cancelling loads none", async () => {
  const lake = { name: "lake", type: "dataset", path: join(temporaryFolder(), "lake") };
  const runner = new Runner({ connections: [shop, lake], memoryBytes: 64 * 1024 * 1024 });
  const job = {
    name: "orders",
    source: { connection: "shop", schema, table: "orders" },
    destination: { connection: "lake", dataset: "raw", table: "orders" },
    load: { strategy: "append", cursor: "placed_at" },
  };
  assert.equal((await runner.run(job)).rows.written, ROWS);
  assert.equal((await runner.run(job)).rows.written, 0);
  await database.query(`INSERT INTO ${schema}.orders SELECT id + ${ROWS}, placed_at + interval '30 days', total
    FROM ${schema}.orders WHERE id <= 10`);
  const third = await runner.run(job);
  assert.equal(third.rows.written, 10);
  assert.equal(third.window.continues, true);
  await database.query(`DELETE FROM ${schema}.orders WHERE id > ${ROWS}`);

  const big = { ...job, name: "big", source: { ...job.source, table: "big" }, load: { strategy: "replace" } };
  big.destination = { ...job.destination, table: "big" };
  const controller = new AbortController();
  const onProgress = ({ rows_read }) => rows_read > 0 && controller.abort();
  const error = await failure(() => runner.run(big, { onProgress, signal: controller.signal }), "cancelled");
  assert.ok(error.report.rows.read < BIG_ROWS);
  assert.equal(error.report.committed, false);
});

test("catalog types get BigQuery types", async () => {
  const mapping = await new SchemaMapper().propose(shop, "orders", schema);
  assert.deepEqual(
    mapping.toBigQuerySchema().map((field) => [field.name, field.type, field.mode]),
    [
      ["id", "INT64", "REQUIRED"],
      ["placed_at", "TIMESTAMP", "REQUIRED"],
      ["total", "NUMERIC", "NULLABLE"],
      ["note", "STRING", "NULLABLE"],
      ["tags", "JSON", "NULLABLE"],
      ["info", "JSON", "NULLABLE"],
    ],
  );
});

test("refused credentials are an auth error without the password", async () => {
  const wrong = new URL(url);
  wrong.password = PASSWORD;
  const connection = new Connection(wrong.href, { name: "wrong" });
  const error = await failure(() => connection.tables(), "auth");
  assert.deepEqual([error.retryable, error.context.connection], [false, "wrong"]);
  const status = await connection.test();
  assert.deepEqual([status.status, status.error.kind], ["failed", "auth"]);
  for (const text of [inspect(error, { depth: 9 }), JSON.stringify(status), inspect(connection), error.stack]) {
    assert.ok(!text.includes(PASSWORD), text);
  }
});

test("credentials may come from the environment", async () => {
  const plain = new URL(url);
  process.env.TRANSLOAD_NODE_TEST_PASSWORD = decodeURIComponent(plain.password);
  plain.password = "";
  const document = { ...new Connection(plain.href).toJSON(), credentials: "env:TRANSLOAD_NODE_TEST_PASSWORD" };
  const connection = new Connection(document);
  assert.equal((await connection.test()).status, "ok");
  assert.equal(connection.toJSON().credentials, "env:TRANSLOAD_NODE_TEST_PASSWORD");
  delete process.env.TRANSLOAD_NODE_TEST_PASSWORD;
  await failure(() => connection.tables(schema), "not_found");
});

test("a missing table and a missing column are not found, with the nearest name", async () => {
  await failure(() => shop.describe("ordres", schema), "not_found");
  const reader = shop.read("orders", { schema, columns: ["totl"] });
  assert.match((await failure(() => reader.toBuffer(), "not_found")).hint, /`total`/);
});
