// SQL Server: the test server of this repository, which is started with the table that is read. It proves the binding
// and the wire, not SQL Server's own behaviour; see connectors/mssql/server/README.md.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { tableFromIPC } from "apache-arrow";
import { Connection, Runner } from "transload";
import { PASSWORD, collect, failure, needed, temporaryFolder } from "./support.mjs";

const ROWS = 900;
let process_;
let document;

before(async () => {
  const rows = Array.from({ length: ROWS }, (_, index) => index + 1).map(
    (n) =>
      `(${n}, '2024-01-01T10:${String(n % 60).padStart(2, "0")}:${String(Math.floor(n / 60)).padStart(2, "0")}', ${n}.25, ${n % 3 ? `N'größe ${n}'` : "NULL"})`,
  );
  const script = join(temporaryFolder(), "tables.sql");
  writeFileSync(
    script,
    `CREATE SCHEMA shop
GO
CREATE TABLE shop.orders (id BIGINT NOT NULL PRIMARY KEY, placed_at DATETIME2(6) NOT NULL, total DECIMAL(12,2) NULL,
  note NVARCHAR(50) NULL)
GO
INSERT INTO shop.orders VALUES ${rows.join(", ")}
GO
`,
  );
  process_ = spawn(needed("TRANSLOAD_TEST_TDS_SERVER"), ["--run", script], { stdio: ["pipe", "pipe", "inherit"] });
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: process_.stdout }).once("line", resolve);
    process_.once("exit", (code) => reject(new Error(`the test server ended with ${code}`)));
  });
  const { host, port, username, password, database } = JSON.parse(line);
  document = { name: "shop", type: "sqlserver", trust: "all", host, port, username, password, database };
});

after(() => process_.stdin.end());

test("the server is tested, browsed and described", async () => {
  const shop = new Connection(document);
  const status = await shop.test();
  assert.equal(status.status, "ok", JSON.stringify(status));
  assert.match(status.version, /^SQL Server \d+/);
  assert.deepEqual((await shop.tables("shop")).map(({ name }) => name), ["orders"]);
  assert.deepEqual((await shop.describe("orders", "shop")).primary_key, ["id"]);
});

test("rows arrive in apache-arrow as they were written", async () => {
  const table = await collect(new Connection(document).read("orders", { schema: "shop", columns: ["id", "note"] }), tableFromIPC);
  let ids = 0n;
  for (const id of table.getChild("id")) ids += id;
  assert.deepEqual([table.numRows, ids, table.getChild("note").nullCount], [ROWS, BigInt((ROWS * (ROWS + 1)) / 2), ROWS / 3]);
});

test("a job loads new rows only", async () => {
  const lake = { name: "lake", type: "dataset", path: join(temporaryFolder(), "lake") };
  const runner = new Runner({ connections: [document, lake] });
  const job = {
    name: "orders",
    source: { connection: "shop", schema: "shop", table: "orders" },
    destination: { connection: "lake", dataset: "raw", table: "orders" },
    load: { strategy: "append", cursor: "placed_at" },
    proof: "values",
  };
  const first = await runner.run(job);
  assert.deepEqual([first.rows.written, first.proof.verdict], [ROWS, "equal"]);
  assert.equal((await runner.run(job)).rows.written, 0);
});

test("refused credentials are an auth error without the password", async () => {
  const error = await failure(() => new Connection({ ...document, password: PASSWORD }).tables(), "auth");
  assert.ok(!JSON.stringify(error).includes(PASSWORD) && !error.stack.includes(PASSWORD));
});
