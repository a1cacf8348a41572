// BigQuery both ways, against the emulator; its own query engine is the oracle.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { tableFromIPC } from "apache-arrow";
import { Connection, Runner, SchemaMapper, connectors } from "transload";
import { collect, failure, memoryWithOrders, needed, orders, temporaryFolder } from "./support.mjs";

const endpoint = needed("TRANSLOAD_TEST_BIGQUERY_URL");
const project = needed("TRANSLOAD_TEST_BIGQUERY_PROJECT");
const dataset = `node_${randomBytes(5).toString("hex")}`;
const rest = `${endpoint}/bigquery/v2/projects/${project}`;
const sales = `${dataset}_sales`;
const ROWS = 3000;
const source = new Connection({
  name: "bigquery",
  type: "bigquery",
  project,
  endpoint,
  storage_endpoint: needed("TRANSLOAD_TEST_BIGQUERY_GRPC"),
});

/** The first row of a statement's result, as texts; nothing for a statement without rows. */
async function ask(sql) {
  const response = await fetch(`${rest}/queries`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query: sql, useLegacySql: false, timeoutMs: 100_000 }),
  });
  const answer = await response.json();
  assert.ok(response.ok && answer.jobComplete, JSON.stringify(answer));
  return answer.rows?.[0].f.map((field) => field.v);
}

const insert = (first, last) =>
  ask(`INSERT \`${sales}\`.\`orders\` (id, placed_at, total, note, info, tags, shipped)
    SELECT i, TIMESTAMP_ADD(TIMESTAMP '2024-01-01 00:00:00+00', INTERVAL i MINUTE), CAST(i AS NUMERIC) / 4,
           IF(MOD(i, 3) > 0, CONCAT('note ', CAST(i AS STRING)), NULL),
           PARSE_JSON(CONCAT('[', CAST(i AS STRING), ']')), ['a', 'b'], STRUCT(DATE '2024-02-29', i)
    FROM UNNEST(GENERATE_ARRAY(${first}, ${last})) AS i`);

before(async () => {
  await ask(`CREATE SCHEMA \`${sales}\``);
  await ask(`CREATE TABLE \`${sales}\`.\`orders\` (id INT64 NOT NULL, placed_at TIMESTAMP NOT NULL,
    total NUMERIC(12,2), note STRING, info JSON, tags ARRAY<STRING>, shipped STRUCT<day DATE, days INT64>)
    OPTIONS (description = 'what was bought')`);
  await insert(1, ROWS);
});

after(async () => {
  for (const name of [dataset, sales]) {
    await fetch(`${rest}/datasets/${name}?deleteContents=true`, { method: "DELETE" });
  }
});

test("a job loads exactly the new rows into BigQuery", async () => {
  const warehouse = new Connection({ name: "warehouse", type: "bigquery", project, endpoint });
  assert.equal((await warehouse.test({ timeoutMs: 60_000 })).status, "ok");
  const shop = memoryWithOrders(5000);
  const runner = new Runner({ connections: [shop, warehouse] });
  const job = {
    name: "orders",
    source: { connection: "shop", schema: "public", table: "orders" },
    destination: { connection: "warehouse", dataset, table: "orders" },
    load: { strategy: "append", cursor: "id" },
  };
  const count = `SELECT count(*), count(DISTINCT id), sum(id) FROM \`${project}.${dataset}.orders\``;
  const sum = (rows) => String((rows * (rows - 1)) / 2);

  const first = await runner.run(job);
  assert.deepEqual([first.status, first.rows.written], ["succeeded", 5000]);
  assert.deepEqual(await ask(count), ["5000", "5000", sum(5000)]);

  assert.equal((await runner.run(job)).rows.written, 0);
  shop.put("orders", orders(0, 5200), "public");
  assert.equal((await runner.run(job)).rows.written, 200);
  assert.deepEqual(await ask(count), ["5200", "5200", sum(5200)]);
});

test("a job chooses its way into BigQuery", async () => {
  const options = { project, endpoint, storage_endpoint: needed("TRANSLOAD_TEST_BIGQUERY_GRPC") };
  const warehouse = new Connection({ name: "warehouse", type: "bigquery", ...options });
  const runner = new Runner({ connections: [memoryWithOrders(100), warehouse] });
  const job = (chosen) => ({
    name: "chosen",
    source: { connection: "shop", schema: "public", table: "orders" },
    destination: { connection: "warehouse", dataset, table: "chosen", options: chosen },
  });
  assert.equal((await runner.run(job({ load_method: "storage_write" }))).rows.inserted, 100);
  const error = await failure(() => runner.run(job({ load_methd: "file" })), "config");
  assert.match(error.message, /load_method/);
  const [bigquery] = connectors().filter(({ type }) => type === "bigquery");
  assert.deepEqual(Object.keys(bigquery.job_options.properties).sort(), ["load_method", "staging_prefix"]);
});

test("BigQuery is tested, browsed and described", async () => {
  assert.equal((await source.test({ timeoutMs: 60_000 })).status, "ok");
  assert.ok((await source.schemas()).some(({ name }) => name === sales));
  const [table, ...others] = await source.tables(sales);
  assert.deepEqual([table.name, table.kind, table.rows_estimate, others], ["orders", "table", ROWS, []]);
  const described = await source.describe("orders", sales);
  assert.equal(described.comment, "what was bought");
  assert.deepEqual(
    described.columns.map((column) => [column.name, column.source_type, column.nullable]),
    [
      ["id", "INT64", false],
      ["placed_at", "TIMESTAMP", false],
      ["total", "NUMERIC(12,2)", true],
      ["note", "STRING", true],
      ["info", "JSON", true],
      ["tags", "ARRAY<STRING>", false],
      ["shipped", "STRUCT<day DATE, days INT64>", true],
    ],
  );
  assert.deepEqual(await source.describe(`${sales}.orders`), described);
});

test("rows arrive in apache-arrow as BigQuery has them", async () => {
  const options = { schema: sales, columns: ["id", "note", "shipped"], parallelism: 2 };
  const table = await collect(source.read("orders", options), tableFromIPC);
  let [ids, days] = [0n, 0n];
  for (const id of table.getChild("id")) ids += id;
  for (const shipped of table.getChild("shipped")) days += shipped.days;
  assert.deepEqual(
    [table.numRows, ids, table.numRows - table.getChild("note").nullCount, days].map(String),
    await ask(`SELECT count(*), sum(id), count(note), sum(shipped.days) FROM \`${sales}\`.\`orders\``),
  );
});

test("types stay what they are", async () => {
  const mapping = await new SchemaMapper().propose(source, "orders", sales);
  assert.deepEqual(
    mapping.toBigQuerySchema().map(({ name, type, mode }) => [name, type, mode]),
    [
      ["id", "INT64", "REQUIRED"],
      ["placed_at", "TIMESTAMP", "REQUIRED"],
      ["total", "NUMERIC", "NULLABLE"],
      ["note", "STRING", "NULLABLE"],
      ["info", "JSON", "NULLABLE"],
      ["tags", "STRING", "REPEATED"],
      ["shipped", "RECORD", "NULLABLE"],
    ],
  );
});

test("a job from BigQuery continues at its watermark", async () => {
  const lake = { name: "lake", type: "dataset", path: join(temporaryFolder(), "lake") };
  const runner = new Runner({ connections: [source, lake] });
  const job = {
    name: "orders",
    source: { connection: "bigquery", schema: sales, table: "orders", columns: ["id", "placed_at"] },
    destination: { connection: "lake", dataset: "raw", table: "orders" },
    load: { strategy: "append", cursor: "placed_at" },
  };
  assert.equal((await runner.run(job)).rows.written, ROWS);
  assert.equal((await runner.run(job)).rows.written, 0);
  await insert(ROWS + 1, ROWS + 10);
  try {
    assert.equal((await runner.run(job)).rows.written, 10);
  } finally {
    await ask(`DELETE FROM \`${sales}\`.\`orders\` WHERE id > ${ROWS}`);
  }
});

test("a missing storage_endpoint is told", async () => {
  const half = new Connection({ name: "half", type: "bigquery", project, endpoint });
  const error = await failure(() => half.sample("orders", { schema: sales }), "config");
  assert.match(error.message, /storage_endpoint/);
});
