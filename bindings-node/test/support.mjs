// What several test files need.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { tableFromArrays, tableToIPC } from "apache-arrow";
import { Connection, TransloadError } from "transload";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The password that no text may ever show. */
export const PASSWORD = "hunter2-s3cret";

/** An environment variable that tests cannot do without. */
export function needed(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: run \`make services-up\` and source the env file that it names`);
  }
  return value;
}

/** A folder that is gone after the tests of the file. */
export function temporaryFolder() {
  const folder = mkdtempSync(join(tmpdir(), "transload-node-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Orders with growing ids, as Arrow IPC bytes. */
export function orders(from, to) {
  const length = to - from;
  const ids = BigInt64Array.from({ length }, (_, i) => BigInt(from + i));
  const totals = Float64Array.from({ length }, (_, i) => (from + i) / 4);
  const names = Array.from({ length }, (_, i) => `customer ${(from + i) % 10}`);
  return tableToIPC(tableFromArrays({ id: ids, total: totals, name: names }), "stream");
}

let stores = 0;

/** A connection to a memory store of its own, with a table `public.orders` of ids `0..rows`. */
export function memoryWithOrders(rows, name = "shop") {
  const connection = new Connection(`memory:store-${process.pid}-${stores++}`, { name });
  connection.put("orders", orders(0, rows), "public");
  return connection;
}

/** Asserts like `assert.rejects` that `action` ends with a TransloadError of a code, and gives it. */
export async function failure(action, code) {
  let error;
  try {
    await action();
  } catch (thrown) {
    error = thrown;
  }
  if (!(error instanceof TransloadError)) throw error ?? new Error(`it succeeded; ${code} was expected`);
  if (error.code !== code) throw new Error(`code ${error.code} where ${code} was expected`, { cause: error });
  return error;
}

/** All batches of a reader as one Arrow table. */
export async function collect(reader, tableFromIPC) {
  const tables = [];
  for await (const ipc of reader) tables.push(tableFromIPC(ipc));
  return tables.reduce((all, table) => all.concat(table));
}
