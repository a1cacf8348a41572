// MySQL and MariaDB: the server, which is MariaDB, is the oracle, through its own client.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { tableFromIPC } from "apache-arrow";
import { Connection, Runner } from "transload";
import { PASSWORD, collect, failure, needed, temporaryFolder } from "./support.mjs";

const url = needed("TRANSLOAD_TEST_MARIADB_URL");
const schema = `node_${randomBytes(5).toString("hex")}`;
const ROWS = 20_000;
const shop = new Connection(url, { name: "shop" });

/** The rows of statements, as texts. */
function ask(sql) {
  const { hostname, port, username, password, pathname } = new URL(url);
  const options = ["--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"];
  // Sequences such as `seq_1_to_9` need a database.
  const output = execFileSync("mariadb", [...options, `--host=${hostname}`, `--port=${port}`, `--user=${username}`, pathname.slice(1)], {
    input: `SET time_zone = '+00:00'; ${sql}`,
    env: { ...process.env, MYSQL_PWD: decodeURIComponent(password) },
    encoding: "utf8",
  });
  return output.split("\n").filter(Boolean).map((line) => line.split("\t"));
}

before(() => {
  ask(`CREATE DATABASE ${schema} CHARACTER SET utf8mb4;
    CREATE TABLE ${schema}.orders (id BIGINT PRIMARY KEY, placed_at DATETIME(6) NOT NULL, total DECIMAL(12,2),
      note TEXT, info JSON) COMMENT 'what was bought';
    INSERT INTO ${schema}.orders SELECT seq, '2024-01-01' + INTERVAL seq MINUTE, seq * 0.25,
      IF(seq % 3 > 0, CONCAT('größe ', seq), NULL), JSON_OBJECT('i', seq) FROM seq_1_to_${ROWS}`);
});

after(() => ask(`DROP DATABASE ${schema}`));

test("the server is tested, browsed and described", async () => {
  const status = await shop.test();
  assert.equal(status.status, "ok", JSON.stringify(status));
  assert.match(status.version, /^MariaDB \d+/);
  assert.deepEqual((await shop.tables(schema)).map(({ name }) => name), ["orders"]);
  const table = await shop.describe("orders", schema);
  assert.deepEqual([table.primary_key, table.comment], [["id"], "what was bought"]);
});

test("rows arrive in apache-arrow as the server has them", async () => {
  const table = await collect(shop.read("orders", { schema, columns: ["id", "note"] }), tableFromIPC);
  let ids = 0n;
  for (const id of table.getChild("id")) ids += id;
  const [server] = ask(`SELECT COUNT(*), SUM(id), COUNT(*) - COUNT(note), MAX(note) FROM ${schema}.orders`);
  const notes = [...table.getChild("note")].filter(Boolean).sort();
  assert.deepEqual([String(table.numRows), String(ids), String(table.getChild("note").nullCount), notes.at(-1)], server);
});

test("a job loads new rows only", async () => {
  const lake = { name: "lake", type: "dataset", path: join(temporaryFolder(), "lake") };
  const runner = new Runner({ connections: [shop, lake] });
  const job = {
    name: "orders",
    source: { connection: "shop", schema, table: "orders" },
    destination: { connection: "lake", dataset: "raw", table: "orders" },
    load: { strategy: "append", cursor: "placed_at" },
    proof: "values",
  };
  const first = await runner.run(job);
  assert.deepEqual([first.rows.written, first.proof.verdict], [ROWS, "equal"]);
  assert.equal((await runner.run(job)).rows.written, 0);
});

test("refused credentials are an auth error without the password", async () => {
  const wrong = new URL(url);
  wrong.password = PASSWORD;
  const error = await failure(() => new Connection(wrong.href, { name: "wrong" }).tables(), "auth");
  assert.ok(!JSON.stringify(error).includes(PASSWORD) && !error.stack.includes(PASSWORD));
});
