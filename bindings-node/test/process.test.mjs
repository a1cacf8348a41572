// How the package behaves in a process: worker threads, exit, require, and its README.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { Connection } from "transload";
import { orders, root, temporaryFolder } from "./support.mjs";

/** Runs a program in a process of its own, inside the package, so that `transload` is this one. */
function run(code, type = "module") {
  const options = { cwd: root, encoding: "utf8", timeout: 300_000 };
  const ended = spawnSync(process.execPath, [`--input-type=${type}`, "--eval", code], options);
  assert.equal(ended.status, 0, `${ended.signal ?? ""} ${ended.stderr}`);
  return ended.stdout.trim();
}

test("both require and import give the package", () => {
  const print = "console.log(typeof Connection, typeof version)";
  assert.equal(run(`const { Connection, version } = require("transload"); ${print}`, "commonjs"), "function string");
  assert.equal(run(`import { Connection, version } from "transload"; ${print}`), "function string");
});

test("a worker thread sees the tables of the process's memory, and may end at any time", async () => {
  new Connection("memory:of-the-process").put("orders", orders(0, 1234));
  const code = `
    const { parentPort } = require("node:worker_threads");
    const { Connection, Runner, SchemaMapper } = require("transload");
    const memory = new Connection("memory:of-the-process");
    memory.tables().then(([table]) => {
      // All of it is left behind, and what it belongs to is freed with the thread.
      for (let i = 0; i < 100; i++) {
        const own = new Connection("memory:of-the-process");
        own.test(), own.schemas(), own.tables(), own.describe("orders"), own.sample("orders");
        own.read("orders").toBuffer(), own.read("orders")[Symbol.asyncIterator]().next();
        new SchemaMapper().propose(own, "orders");
        const job = {
          name: "orders",
          source: { connection: own.name, table: "orders" },
          destination: { connection: "lake", dataset: "raw", table: "t" + i },
          load: { strategy: "replace" },
        };
        const runner = new Runner({ connections: [own, new Connection("memory:lake-of-the-threads", { name: "lake" })] });
        runner.run(job, { onProgress: () => {} }), runner.propose(job);
      }
      parentPort.postMessage(table.rows_estimate);
    });`;
  for (let i = 0; i < 10; i++) {
    const worker = new Worker(code, { eval: true });
    const rows = await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
    assert.equal(rows, 1234);
    await worker.terminate();
  }
});

test("an open reader does not keep the process alive, a pending promise does", () => {
  const head = `
    import { Connection } from "transload";
    import { tableFromArrays, tableToIPC } from "apache-arrow";
    const memory = new Connection("memory:x");
    memory.put("t", tableToIPC(tableFromArrays({ id: new Int32Array(1e5) }), "stream"));`;
  run(`${head} await memory.read("t", { batchBytes: 4096 })[Symbol.asyncIterator]().next();`);
  assert.equal(run(`${head} memory.tables().then(([t]) => console.log(t.rows_estimate));`), "100000");
});

test("the example of the README runs", () => {
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const [example] = /(?<=```js\n)[^]*?(?=```)/.exec(readme);
  const code = example.replaceAll("/data/", `${temporaryFolder()}/`);
  assert.equal(run(code), ["ok", "6 rows", "total: NUMERIC", "6 rows loaded", "0 rows loaded"].join("\n"));
});
