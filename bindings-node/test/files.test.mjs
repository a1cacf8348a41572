// The main job on local files: 69,659 real purchases from a fixed-width text into a Parquet dataset.
import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { tableFromIPC } from "apache-arrow";
import { Connection, Runner } from "transload";
import { collect, failure, root, temporaryFolder } from "./support.mjs";

const file = join(root, "..", "examples", "data", "cdnow_master.txt");

/** The oracle: rows, CDs and cents as this test reads them itself. */
const expected = readFileSync(file, "latin1")
  .split(/\r?\n/)
  .slice(1)
  .map((line) => line.trim().split(/\s+/))
  .filter((fields) => fields.length === 4)
  .reduce(
    (sum, [, , cds, dollars]) => ({
      rows: sum.rows + 1,
      cds: sum.cds + Number(cds),
      cents: sum.cents + Math.round(Number(dollars) * 100),
    }),
    { rows: 0, cds: 0, cents: 0 },
  );

const text = () => new Connection({ name: "text", type: "files", path: file, format: "fixed_width" });

const job = {
  name: "purchases",
  source: { connection: "text", table: "cdnow_master.txt" },
  destination: { connection: "lake", dataset: "raw", table: "purchases" },
  load: { strategy: "append", cursor: "date" },
  mapping: {
    overrides: {
      customer_id: { type: "INT64" },
      date: { type: "DATE", format: "%Y%m%d" },
      number_of_cds: { type: "INT64" },
      dollar_value: { type: "FLOAT64" },
    },
  },
};

test("a text file is described and read into apache-arrow", async () => {
  const connection = text();
  assert.equal((await connection.test()).status, "ok");
  const [table] = await connection.tables();
  assert.deepEqual([table.name, table.kind], ["cdnow_master.txt", "file"]);
  const described = await connection.describe("cdnow_master.txt");
  assert.deepEqual(
    described.columns.map((column) => column.name),
    ["customer_id", "date", "number_of_cds", "dollar_value"],
  );
  const rows = await collect(connection.read("cdnow_master.txt", { columns: ["number_of_cds"] }), tableFromIPC);
  let cds = 0;
  for (const value of rows.getChild("number_of_cds")) cds += Number(value);
  assert.deepEqual([rows.numRows, cds], [expected.rows, expected.cds]);
});

test("a job loads it into a dataset; a second run finds nothing new", async () => {
  const lake = new Connection({ name: "lake", type: "dataset", path: join(temporaryFolder(), "lake") });
  const runner = new Runner({ connections: [text(), lake] });
  const events = [];
  const first = await runner.run(job, { onProgress: (progress) => events.push(progress) });
  assert.deepEqual([first.status, first.committed, first.rows.written], ["succeeded", true, expected.rows]);
  assert.equal(events.at(-1).rows_written, expected.rows);
  assert.ok(first.bytes_written > 0);

  const second = await runner.run(job);
  assert.deepEqual([second.status, second.committed, second.rows.written], ["succeeded", false, 0]);

  // The Parquet files themselves, through the other connector.
  const parquet = new Connection({ type: "files", path: lake.toJSON().path });
  const back = await collect(parquet.read("raw/purchases/**/*.parquet"), tableFromIPC);
  let cds = 0;
  let cents = 0;
  for (const value of back.getChild("number_of_cds")) cds += Number(value);
  for (const value of back.getChild("dollar_value")) cents += Math.round(value * 100);
  assert.deepEqual({ rows: back.numRows, cds, cents }, expected);
});

test("a cancelled run leaves no rows in the dataset", async () => {
  const path = join(temporaryFolder(), "lake");
  const into = (text) => new Runner({ connections: [text, { name: "lake", type: "dataset", path }] });
  // A row a second: the run does not end before the signal is heard, however busy the machine is.
  const slow = into({ ...text().toJSON(), limits: { rows_per_second: 1 } });
  const controller = new AbortController();
  const onProgress = ({ phase }) => phase === "prepare" && controller.abort();
  const error = await failure(() => slow.run(job, { onProgress, signal: controller.signal }), "cancelled");
  assert.equal(error.report.committed, false);
  const report = await into(text()).run(job);
  assert.deepEqual([report.rows.already_loaded, report.rows.written], [0, expected.rows]);
  assert.ok(readdirSync(path).length > 0);
});

test("put belongs to memory, and a missing file is not found", async () => {
  await failure(() => text().put("t", new Uint8Array(0)), "unsupported");
  const nowhere = new Connection({ type: "files", path: join(root, "no-such-folder") });
  assert.equal((await nowhere.test()).status, "failed");
  await failure(() => nowhere.describe("orders.csv"), "not_found");
});

test("a missing SQLite file is not found, and is not created", async () => {
  const path = join(temporaryFolder(), "shop.db");
  const shop = new Connection(`sqlite:${path}`);
  const status = await shop.test();
  assert.deepEqual([status.status, status.error.kind], ["failed", "not_found"]);
  await failure(() => shop.tables(), "not_found");
  assert.equal(existsSync(path), false);
});
