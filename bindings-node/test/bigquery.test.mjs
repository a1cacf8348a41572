// A job into BigQuery, against the emulator; its own query engine is the oracle.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, test } from "node:test";
import { Connection, Runner } from "transload";
import { memoryWithOrders, needed, orders } from "./support.mjs";

const endpoint = needed("TRANSLOAD_TEST_BIGQUERY_URL");
const project = needed("TRANSLOAD_TEST_BIGQUERY_PROJECT");
const dataset = `node_${randomBytes(5).toString("hex")}`;
const rest = `${endpoint}/bigquery/v2/projects/${project}`;

async function ask(sql) {
  const response = await fetch(`${rest}/queries`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query: sql, useLegacySql: false }),
  });
  const answer = await response.json();
  assert.ok(response.ok && answer.rows, JSON.stringify(answer));
  return answer.rows[0].f.map((field) => field.v);
}

after(() => fetch(`${rest}/datasets/${dataset}?deleteContents=true`, { method: "DELETE" }));

test("a job loads exactly the new rows into BigQuery", async () => {
  const warehouse = new Connection({ name: "warehouse", type: "bigquery", project, endpoint });
  assert.equal((await warehouse.test()).status, "ok");
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
