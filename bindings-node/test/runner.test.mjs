import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { tableFromArrays, tableFromIPC, tableToIPC } from "apache-arrow";
import { Connection, EtlJob, Runner, Schedule } from "transload";
import { failure, memoryWithOrders, orders } from "./support.mjs";

const document = {
  name: "orders",
  source: { connection: "shop", schema: "public", table: "orders" },
  destination: { connection: "lake", dataset: "raw", table: "orders" },
  load: { strategy: "append", cursor: "id" },
};

/** A shop with orders and an empty lake. */
function both(rows) {
  const shop = memoryWithOrders(rows);
  const lake = new Connection(`memory:lake-of-${shop.toJSON().path}`, { name: "lake" });
  return { shop, lake, runner: new Runner({ connections: [shop, lake] }) };
}

const rowsOf = async (connection) =>
  tableFromIPC(await connection.read("orders", { schema: "raw" }).toBuffer()).numRows;

test("job documents are checked", async () => {
  const job = new EtlJob({ ...document, schedule: { every: "daily", at: "02:30" } });
  assert.equal(job.name, "orders");
  assert.match(job.identity, /^[0-9a-f]{32}$/);
  assert.equal(job.cron(), "30 2 * * *");
  assert.equal(new EtlJob(document).cron(), null);
  assert.equal(new EtlJob(job.toJSON()).identity, job.identity);
  assert.equal(new EtlJob(JSON.stringify(job)).identity, job.identity);
  assert.match(inspect(job), /^EtlJob \{/);
  const wrong = { ...document, load: { strategy: "append", curser: "id" } };
  assert.match((await failure(() => new EtlJob(wrong), "config")).message, /did you mean `cursor`\?/);
  await failure(() => new EtlJob({ ...document, load: { strategy: "append" } }), "config");
  await failure(() => new EtlJob(undefined), "config");
});

test("schedules know their next runs", async () => {
  const schedule = { every: "daily", at: "02:30", timezone: "Europe/Berlin" };
  const after = new Date("2026-03-28T12:00:00Z");
  const expected = ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"];
  assert.deepEqual(new Schedule(schedule).nextRuns(2, { after }), expected, "02:30 is left out on the 29th");
  assert.deepEqual(new EtlJob({ ...document, schedule }).nextRuns(2, { after }), expected);
  assert.deepEqual(new EtlJob(document).nextRuns(), []);
  assert.deepEqual(new Schedule(schedule).toJSON(), schedule);
  assert.deepEqual(new Schedule({ cron: "0 2 * * 7" }).cloudScheduler(), { schedule: "0 2 * * 7", timeZone: "Etc/UTC" });
  assert.equal(new Schedule({ every: "manual" }).cloudScheduler(), null);
  assert.equal(new Schedule({ cron: "*/5 * * * *" }).nextRuns().length, 5);
  const last = new Schedule({ every: "monthly", day: 31 });
  assert.equal(last.nextRuns(1, { after: new Date("2027-02-01") })[0], "2027-02-28T00:00:00+00:00");
  await failure(() => last.cron(), "unsupported");
  await failure(() => new Schedule({ every: "daily", timezone: "Nowhere/Else" }), "config");
  await failure(() => new Schedule(schedule).nextRuns(1, { after: new Date(NaN) }), "config");
});

test("rows that the source deleted are removed or marked", async () => {
  const { shop, lake, runner } = both(1000);
  const load = { strategy: "merge", key: ["id"], cursor: "id", detect_deletes: { policy: "remove" } };
  const first = await runner.run(new EtlJob({ ...document, load }));
  assert.deepEqual([first.rows.keys, first.rows.deleted], [1000, 0]);
  shop.put("orders", orders(0, 900), "public");
  const second = await runner.run(new EtlJob({ ...document, load }));
  assert.deepEqual([second.rows.keys, second.rows.deleted, second.committed], [900, 100, true]);
  assert.equal(await rowsOf(lake), 900);
  await failure(() => new EtlJob({ ...document, load: { ...load, mark_column: "gone_at" } }), "config");
});

test("a run reports, a second one finds nothing new, a third one the new rows", async () => {
  const { shop, lake, runner } = both(1000);
  const job = new EtlJob(document);
  const first = await runner.run(job);
  assert.deepEqual(
    [first.status, first.committed, first.rows.read, first.rows.written, first.error],
    ["succeeded", true, 1000, 1000, null],
  );
  assert.deepEqual([first.window.cursor, first.window.hi], ["id", "999"]);
  assert.ok(first.seconds.total > 0 && Date.parse(first.finished_at) >= Date.parse(first.started_at));

  const second = await runner.run(job);
  assert.deepEqual([second.status, second.rows.written], ["succeeded", 0]);
  assert.equal(await rowsOf(lake), 1000);

  shop.put("orders", orders(0, 1200), "public");
  const third = await runner.run(document);
  assert.equal(third.rows.written, 200);
  assert.equal(await rowsOf(lake), 1200);
});

test("a backfill is committed in ranges, and an earlier start loads what lies before", async () => {
  const { lake, runner } = both(1000);
  const job = (load) => ({ ...document, load: { strategy: "append", cursor: "id", ...load } });
  const events = [];
  const onProgress = (progress) => events.push(progress);
  const report = await runner.run(job({ backfill_since: "500", backfill_step: 200 }), { onProgress });
  assert.deepEqual(report.ranges.map(({ lo, hi, rows }) => [lo, hi, rows]), [
    ["500", "700", 201],
    ["700", "900", 200],
    ["900", "999", 99],
  ]);
  assert.equal(report.ranges_committed, 3);
  assert.deepEqual([events.at(-1).range, events.at(-1).ranges, events.at(-1).eta_seconds], [3, 3, null]);
  const earlier = await runner.run(job({ on_null_cursor: "fail" }));
  assert.deepEqual([earlier.rows.written, earlier.window.null_cursors], [500, 0]);
  assert.ok(earlier.warnings.some((warning) => warning.code === "W_GAP_FILLED"));
  assert.equal(await rowsOf(lake), 1000);
  await failure(() => runner.run({ ...document, load: { strategy: "merge", key: ["id"], cursor: "id" } }), "config");
});

test("progress comes in order and ends before the promise settles", async () => {
  const { runner } = both(1000);
  const events = [];
  const report = await runner.run(document, { onProgress: (progress) => events.push(progress) });
  const phases = [...new Set(events.map((event) => event.phase))];
  assert.deepEqual(phases, ["connect", "describe", "map", "prepare", "load", "commit", "done"]);
  const last = events.at(-1);
  assert.deepEqual(
    [last.job, last.phase, last.status, last.rows_read, last.rows_written],
    ["orders", "done", "succeeded", report.rows.read, report.rows.written],
  );
  assert.ok(events.slice(0, -1).every((event) => event.status === null));
});

test("a callback that throws ends the run with what it threw", async () => {
  const { lake, runner } = both(1000);
  let calls = 0;
  const onProgress = () => {
    calls += 1;
    throw new RangeError("enough");
  };
  await assert.rejects(runner.run(document, { onProgress }), { name: "RangeError", message: "enough" });
  assert.equal(calls, 1);
  await assert.rejects(runner.run(document, { onProgress }), RangeError);
  // The lake is as a cancelled or a finished run leaves it; a later run completes it in any case.
  await runner.run(document);
  assert.equal(await rowsOf(lake), 1000);
});

test("a signal that is aborted before the run cancels it before it loads", async () => {
  const { lake, runner } = both(1000);
  const reason = new Error("changed my mind");
  const error = await failure(() => runner.run(document, { signal: AbortSignal.abort(reason) }), "cancelled");
  assert.equal(error.cause, reason);
  assert.equal(error.report.status, "cancelled");
  assert.equal(error.report.committed, false);
  await failure(() => lake.describe("orders", "raw"), "not_found");
});

test("a signal that is aborted while the run goes on cancels it", async () => {
  const { shop, lake, runner } = both(200_000);
  // A row a second: the run does not end before the signal is heard, however busy the machine is.
  const slow = new Runner({ connections: [{ ...shop.toJSON(), limits: { rows_per_second: 1 } }, lake] });
  const controller = new AbortController();
  const events = [];
  const onProgress = (progress) => {
    events.push(progress);
    controller.abort();
  };
  const error = await failure(() => slow.run(document, { onProgress, signal: controller.signal }), "cancelled");
  assert.equal(error.cause.name, "AbortError");
  assert.equal(error.retryable, false);
  assert.equal(events.at(-1).status, "cancelled");
  const report = await runner.run(document);
  assert.equal(report.rows.written, 200_000);
  assert.equal(await rowsOf(lake), 200_000);
});

test("a failed run rejects with its report", async () => {
  const { runner } = both(10);
  const missing = { ...document, source: { ...document.source, table: "nothing" } };
  const error = await failure(() => runner.run(missing), "not_found");
  assert.deepEqual([error.report.status, error.report.job, error.context.job], ["failed", "orders", "orders"]);
  assert.equal(error.report.error.kind, "not_found");
  assert.ok(!Object.keys(error).includes("report"), "log lines do not repeat the report");

  const elsewhere = { ...document, destination: { ...document.destination, connection: "lkae" } };
  assert.match((await failure(() => runner.run(elsewhere), "config")).hint, /did you mean `lake`\?/);
});

test("values that do not fit fail the run, or become NULL and are counted", async () => {
  const shop = new Connection("memory:rejects", { name: "shop" });
  const texts = Array.from({ length: 100 }, (_, i) => (i === 42 ? "n/a?" : String(i)));
  shop.put("orders", tableToIPC(tableFromArrays({ id: Int32Array.from(texts.keys()), amount: texts }), "stream"), "public");
  const lake = new Connection("memory:rejects-lake", { name: "lake" });
  const runner = new Runner({ connections: [shop, lake] });
  const mapping = { overrides: { amount: { type: "INT64" } } };
  const error = await failure(() => runner.run({ ...document, mapping }), "data");
  assert.equal(error.context.column, "amount");
  const report = await runner.run({ ...document, mapping: { ...mapping, on_reject: "null" } });
  assert.deepEqual(
    report.rejects.map((reject) => [reject.column, reject.rejected]),
    [["amount", 1]],
  );
  assert.equal(report.rows.written, 100);

  const load = { strategy: "merge", key: ["id"] };
  const destination = { ...document.destination, table: "kept" };
  const kept = await runner.run({ ...document, load, destination, mapping: { ...mapping, on_reject: "quarantine" } });
  assert.deepEqual(kept.quarantine, { table: `${destination.dataset}.kept_quarantine`, rows: 1 });
  assert.deepEqual([kept.rows.incomplete, kept.lossless], [1, false]);
  const amounts = kept.ledger.find((column) => column.column === "amount");
  assert.deepEqual([amounts.converted, amounts.quarantined], [99, 1]);
  const reason = "is not an integer";
  assert.deepEqual(amounts.examples, [{ change: "quarantined", value: "n/a?", row_key: '{"id":42}', reason }]);
  const bytes = await lake.read("kept_quarantine", { schema: destination.dataset, columns: ["value"] }).toBuffer();
  assert.deepEqual(tableFromIPC(bytes).toArray().map((row) => row.value), ["n/a?"]);
});

test("a report says what the columns hold", async () => {
  const { runner } = both(10);
  const { profile } = await runner.run({ ...document, load: { strategy: "replace" }, profile: "counts" });
  assert.equal(profile.rows, 10);
  const id = profile.columns.find((column) => column.name === "id");
  assert.deepEqual([id.nulls, id.distinct, id.min], [0, 10, undefined]);
  assert.equal((await runner.run({ ...document, load: { strategy: "replace" }, profile: "off" })).profile, null);
});

test("a run proves what it loaded", async () => {
  const { runner } = both(10);
  const { proof } = await runner.run({ ...document, load: { strategy: "replace" }, proof: "values" });
  assert.deepEqual([proof.source.verdict, proof.destination.verdict], ["equal", "equal"]);
  assert.deepEqual([proof.destination.rows, proof.destination.rows_there], [10, 10]);
  assert.equal((await runner.run({ ...document, load: { strategy: "replace" } })).proof, null);
});

test("propose maps and prepare creates the table, both without rows", async () => {
  const { lake, runner } = both(10);
  const job = { ...document, mapping: { overrides: { total: { type: "NUMERIC" } } } };
  const mapping = await runner.propose(job);
  assert.equal(mapping.column("total").bigquery_type, "NUMERIC");
  await failure(() => lake.describe("orders", "raw"), "not_found");
  const before = await runner.validate(job);
  assert.deepEqual([before.exists, before.in_place, before.columns[0].fit], [false, true, "new"]);
  const target = await runner.prepare(job);
  assert.equal((await runner.validate(job)).fits, true);
  const other = await runner.propose({ ...document, mapping: { overrides: { total: { type: "STRING" } } } });
  const check = await other.validate(lake, "raw.orders", { cluster_by: ["id"] });
  assert.deepEqual([check.in_place, check.columns[1].fit], [false, "impossible"]);
  assert.match(check.problems[0], /cluster_by/);
  assert.deepEqual([target.dataset, target.table], ["raw", "orders"]);
  assert.deepEqual(
    target.columns.map((column) => [column.name, column.type]),
    [["id", "INT64"], ["total", "NUMERIC"], ["name", "STRING"]],
  );
  assert.equal(await rowsOf(lake), 0);
});

test("runner options are checked; connections may be documents and URLs", async () => {
  await failure(() => new Runner({ memory_bytes: 1 }), "config");
  await failure(() => new Runner({ connections: [{ type: "memry" }] }), "config");
  const runner = new Runner({
    connections: ["memory:given-as-url", { type: "memory", name: "lake", path: "given" }],
    memoryBytes: 64 * 1024 * 1024,
    parallelism: 2,
    sampleRows: 100,
  });
  new Connection("memory:given-as-url").put("orders", orders(0, 5), "public");
  const job = { ...document, source: { ...document.source, connection: "memory" } };
  assert.equal((await runner.run(job)).rows.written, 5);
});

test("runs may go on side by side", async () => {
  const reports = await Promise.all(Array.from({ length: 8 }, () => both(5000).runner.run(document)));
  assert.ok(reports.every((report) => report.rows.written === 5000));
});
