// The language-neutral cases of `connectors/testkit/cases`; the README there tells their format.
import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { tableFromIPC } from "apache-arrow";
import { Connection, EtlJob, Runner, TransloadError } from "transload";
import { root, temporaryFolder } from "./support.mjs";

const folder = join(root, "..", "connectors", "testkit", "cases");
const cases = readdirSync(folder).filter((name) => name.endsWith(".json"));
assert.ok(cases.length > 0, "the cases are missing");

/** A slip in a case must not be a check that never runs. */
function known(value, ...fields) {
  for (const name of Object.keys(value)) assert.ok(fields.includes(name), `unknown field \`${name}\``);
}

function placed(value, at) {
  if (typeof value === "string") return value.replaceAll("${dir}", at);
  if (Array.isArray(value)) return value.map((item) => placed(item, at));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, placed(item, at)]));
}

function write(at, files, into) {
  for (const [name, text] of Object.entries(files ?? {})) {
    mkdirSync(dirname(join(at, name)), { recursive: true });
    into(join(at, name), text);
  }
}

/** The error that `action` ends with, or what it gives. */
async function outcome(action) {
  try {
    return { value: await action() };
  } catch (error) {
    if (!(error instanceof TransloadError)) throw error;
    return { error: { kind: error.code, hint: error.hint, context: error.context, text: error.message }, thrown: error };
  }
}

function checkError(error, wanted) {
  if (wanted === undefined) return assert.equal(error ?? null, null, error?.text);
  known(wanted, "kind", "says", "context");
  assert.ok(error, `no error, expected ${JSON.stringify(wanted)}`);
  assert.equal(error.kind, wanted.kind, error.text);
  assert.ok(error.hint, `no hint: ${error.text}`);
  const text = error.text ?? JSON.stringify(error);
  for (const says of wanted.says ?? []) assert.ok(text.includes(says), `it does not say ${says}: ${text}`);
  for (const [key, value] of Object.entries(wanted.context ?? {})) assert.equal(error.context[key], value);
}

async function run(runner, document, expect) {
  known(expect, "status", "committed", "rows", "lossless", "ledger", "warnings", "error");
  const job = await outcome(() => new EtlJob(document));
  if (job.error) {
    assert.equal("refused", expect.status ?? "succeeded", job.error.text);
    return checkError(job.error, expect.error);
  }
  const ran = await outcome(() => runner.run(job.value));
  const report = ran.value ?? ran.thrown.report;
  assert.equal(report.status, expect.status ?? "succeeded", ran.error?.text);
  checkError(ran.error, expect.error);
  if ("committed" in expect) assert.equal(report.committed, expect.committed);
  for (const [count, value] of Object.entries(expect.rows ?? {})) assert.equal(report.rows[count], value, count);
  if ("lossless" in expect) assert.equal(report.lossless, expect.lossless);
  for (const [column, counts] of Object.entries(expect.ledger ?? {})) {
    const found = report.ledger.find((one) => one.column === column);
    for (const [count, value] of Object.entries(counts)) assert.equal(found?.[count], value, `${column}.${count}`);
  }
  const codes = report.warnings.map((warning) => warning.code);
  for (const code of expect.warnings ?? []) assert.ok(codes.includes(code), `${code} is not among ${codes}`);
}

async function read(connection, what, expect) {
  known(what, "connection", "schema", "table", "columns");
  known(expect, "rows", "count", "error");
  const { schema, columns } = what;
  const bytes = await outcome(async () => connection.read(what.table, { schema, columns }).toBuffer());
  checkError(bytes.error, expect.error);
  if (bytes.error) return;
  const plain = (value) => (typeof value === "bigint" ? Number(value) : value);
  const rows = tableFromIPC(bytes.value).toArray().map((row) => JSON.stringify([...row].map(([, v]) => plain(v))));
  assert.equal(rows.length, expect.count ?? rows.length);
  if (expect.rows) assert.deepEqual(rows.sort(), expect.rows.map((row) => JSON.stringify(row)).sort());
}

for (const name of cases) {
  const at = temporaryFolder();
  test(name.replace(/\.json$/, ""), async () => {
    const document = JSON.parse(readFileSync(join(folder, name), "utf8"));
    known(document, "about", "files", "connections", "steps");
    write(at, document.files, writeFileSync);
    const connections = document.connections.map((connection) => new Connection(placed(connection, at)));
    const named = (wanted) => connections.find((connection) => connection.name === wanted);
    const runner = new Runner({ connections });
    assert.ok(document.steps.length > 0);
    for (const step of document.steps) {
      known(step, "write", "append", "run", "validate", "test", "read", "expect");
      const expect = step.expect ?? {};
      write(at, step.write, writeFileSync);
      write(at, step.append, appendFileSync);
      if (step.run) await run(runner, placed(step.run, at), expect);
      if (step.validate) {
        const checked = await outcome(() => new Connection(placed(step.validate, at)));
        checkError(checked.error, expect.error);
      }
      if (step.test) {
        const status = await named(step.test).test({ timeoutMs: 60_000 });
        assert.equal(status.status, expect.status, JSON.stringify(status));
        checkError(status.error, expect.error);
      }
      if (step.read) await read(named(step.read.connection), step.read, expect);
    }
  });
}
