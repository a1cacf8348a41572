// Many jobs in one call, deadlines, limits of connections, and ready progress.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { Connection, EtlJob, Runner } from "transload";
import { failure, memoryWithOrders, root } from "./support.mjs";

const job = (name, changes = {}) => ({
  name,
  source: { connection: "shop", schema: "public", table: "orders" },
  destination: { connection: "lake", dataset: "raw", table: name },
  load: { strategy: "replace" },
  ...changes,
});

function both(rows, options = {}, limits) {
  const shop = memoryWithOrders(rows);
  const document = limits ? { ...shop.toJSON(), limits } : shop;
  const lake = new Connection(`memory:lake-of-${shop.toJSON().path}`, { name: "lake" });
  return new Runner({ connections: [document, lake], ...options });
}

test("one report a job, and a failing one stops no other", async () => {
  const events = [];
  const missing = job("missing", { source: { connection: "shop", schema: "public", table: "nowhere" } });
  const jobs = [job("one"), job("off", { enabled: false }), missing, new EtlJob(job("two")), JSON.stringify(job("three"))];
  const batch = await both(500).runAll(jobs, {
    concurrency: 2,
    perConnection: 2,
    onProgress: (progress) => events.push(progress),
  });
  assert.equal(batch.status, "partial");
  assert.deepEqual(
    batch.reports.map((report) => [report.job, report.status]),
    [
      ["one", "succeeded"],
      ["off", "skipped"],
      ["missing", "failed"],
      ["two", "succeeded"],
      ["three", "succeeded"],
    ],
  );
  assert.equal(batch.reports[1].warnings[0].code, "W_SKIPPED");
  assert.equal(batch.reports[2].error.kind, "not_found");
  assert.deepEqual([batch.totals.rows_written, batch.totals.skipped, batch.totals.failed], [1500, 1, 1]);
  const ended = events.filter((event) => event.phase === "done").map((event) => event.job);
  assert.deepEqual(ended.toSorted(), ["missing", "one", "three", "two"]);
  assert.deepEqual(events.at(-1).splits.active, 0);
  assert.equal((await both(1).runAll([])).status, "succeeded");
  await failure(() => both(1).runAll([{ name: "x" }]), "config");
  await failure(() => both(1).runAll([], { concurency: 1 }), "config");
});

test("a job that is cut runs as its shards", async () => {
  const whole = new EtlJob(job("cut", { load: { strategy: "append", cursor: "id", shard_at: ["100", "400"] } }));
  const shards = whole.shards();
  assert.deepEqual(
    shards.map((shard) => shard.toJSON().load.shard),
    [0, 1, 2],
  );
  const runner = both(500);
  const batch = await runner.runAll(shards);
  assert.equal(batch.status, "succeeded");
  assert.deepEqual(
    batch.reports.map((report) => report.shard),
    [0, 1, 2],
  );
  assert.equal(batch.totals.rows_written, 500);
  assert.equal((await runner.runAll(shards)).totals.rows_written, 0);
  await assert.rejects(runner.run(whole), /shards/);
});

test("a signal and a callback that throws stop all", async () => {
  // A row a second: the jobs do not end by themselves in a test's time.
  const slow = () => both(1000, {}, { rows_per_second: 1 });
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 200);
  const began = Date.now();
  const batch = await slow().runAll([job("one"), job("two")], { signal: controller.signal });
  assert.deepEqual([batch.status, batch.totals.cancelled], ["cancelled", 2]);
  assert.ok(Date.now() - began < 10_000);
  const oops = new Error("oops");
  const throwing = slow().runAll([job("one"), job("two")], {
    onProgress: () => {
      throw oops;
    },
  });
  await assert.rejects(throwing, oops);
});

test("a deadline ends a run, limits of a connection slow it down", async () => {
  const late = both(1000, { deadlineMs: 200 }, { rows_per_second: 1 });
  const error = await failure(() => late.run(job("one")), "timeout");
  assert.equal(error.report.committed, false);
  const report = await both(1000, {}, { rows_per_second: 2000 }).run(job("one"));
  assert.ok(report.seconds.load >= 0.4, `${report.seconds.load}`);
  await failure(() => new Connection({ type: "memory", limits: { parallel_reads: 0 } }), "config");
});

test("ready progress goes to standard error, and the memory is set once", () => {
  const script = `
    import { Connection, Runner, setMemoryBudget } from "transload";
    import { memoryWithOrders } from "./test/support.mjs";
    setMemoryBudget(64 * 2 ** 20);
    try { setMemoryBudget(64 * 2 ** 20); } catch (error) { console.log(error.code); }
    const lake = new Connection("memory:lake", { name: "lake" });
    const runner = new Runner({ connections: [memoryWithOrders(3), lake] });
    const report = await runner.run(${JSON.stringify(job("one"))}, { progress: JSON.parse(process.argv[1]) });
    console.log(report.rows.written);`;
  const said = (progress) => {
    const done = spawnSync(process.execPath, ["--input-type=module", "-e", script, JSON.stringify(progress)], {
      cwd: root,
      encoding: "utf8",
      timeout: 300_000,
    });
    assert.deepEqual([done.status, done.stdout.split("\n")], [0, ["config", "3", ""]], done.stderr);
    return done.stderr.split("\n").filter((line) => line);
  };
  assert.deepEqual(said(true), []); // no terminal, no line
  const events = said("json").map((line) => JSON.parse(line));
  assert.deepEqual([events[0].phase, events.at(-1).status], ["connect", "succeeded"]);
});
