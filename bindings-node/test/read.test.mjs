import assert from "node:assert/strict";
import { test } from "node:test";
import { RecordBatchReader, tableFromArrays, tableFromIPC, tableToIPC } from "apache-arrow";
import { Connection } from "transload";
import { collect, failure, memoryWithOrders } from "./support.mjs";

const ROWS = 20_000;
// Small, so that a table has many batches.
const many = { schema: "public", batchBytes: 32 * 1024 };

const sum = (table, column) => {
  let total = 0;
  for (const value of table.getChild(column)) total += Number(value);
  return total;
};

test("every batch is a complete Arrow IPC stream", async () => {
  const shop = memoryWithOrders(ROWS);
  let batches = 0;
  let rows = 0;
  let total = 0;
  for await (const ipc of shop.read("orders", many)) {
    assert.ok(ipc instanceof Uint8Array);
    const table = tableFromIPC(ipc);
    assert.deepEqual(table.schema.names, ["id", "total", "name"]);
    batches += 1;
    rows += table.numRows;
    total += sum(table, "id");
  }
  assert.ok(batches > 10, `${batches} batches`);
  assert.deepEqual([rows, total], [ROWS, (ROWS * (ROWS - 1)) / 2]);
});

test("toIPC() is one stream for RecordBatchReader", async () => {
  const shop = memoryWithOrders(ROWS);
  const reader = await RecordBatchReader.from(shop.read("orders", many).toIPC());
  let batches = 0;
  let rows = 0;
  for await (const batch of reader) {
    batches += 1;
    rows += batch.numRows;
  }
  assert.ok(batches > 10, `${batches} batches`);
  assert.equal(rows, ROWS);
});

test("toBuffer() is the whole table", async () => {
  const table = tableFromIPC(await memoryWithOrders(ROWS).read("orders", many).toBuffer());
  assert.equal(table.numRows, ROWS);
  assert.equal(sum(table, "total"), (ROWS * (ROWS - 1)) / 8);
  assert.equal(table.get(11).name, "customer 1");
});

test("columns and limit are pushed down", async () => {
  const shop = memoryWithOrders(ROWS);
  const reader = shop.read("orders", { schema: "public", columns: ["name", "id"], limit: 25 });
  const table = await collect(reader, tableFromIPC);
  assert.deepEqual(table.schema.names, ["name", "id"]);
  assert.equal(table.numRows, 25);
});

test("an empty table has a schema and no batch", async () => {
  const memory = new Connection("memory:empty");
  memory.put("t", tableToIPC(tableFromArrays({ id: new Int32Array(0) }), "stream"));
  let batches = 0;
  for await (const _ of memory.read("t")) batches += 1;
  assert.equal(batches, 0);
  const table = tableFromIPC(await memory.read("t").toBuffer());
  assert.deepEqual([table.schema.names, table.numRows], [["id"], 0]);
});

test("a loop that ends early closes the reader", async () => {
  const reader = memoryWithOrders(ROWS).read("orders", many);
  const iterator = reader[Symbol.asyncIterator]();
  let seen = 0;
  for await (const _ of iterator) if (++seen === 2) break;
  assert.equal(seen, 2);
  assert.deepEqual(await iterator.next(), { done: true, value: undefined });
});

test("an exception in the loop closes the reader and comes through", async () => {
  const reader = memoryWithOrders(ROWS).read("orders", many);
  const iterator = reader[Symbol.asyncIterator]();
  await assert.rejects(async () => {
    for await (const _ of iterator) throw new RangeError("enough");
  }, RangeError);
  assert.equal((await iterator.next()).done, true);
});

test("nothing is lost when the next batch is asked for before the last has come", async () => {
  const iterator = memoryWithOrders(ROWS).read("orders", many)[Symbol.asyncIterator]();
  let rows = 0;
  for (;;) {
    const results = await Promise.all([iterator.next(), iterator.next(), iterator.next()]);
    for (const { value } of results) if (value) rows += tableFromIPC(value).numRows;
    if (results.some((result) => result.done)) break;
  }
  assert.equal(rows, ROWS);
});

test("a reader can be read once, and a closed one is at its end", async () => {
  const shop = memoryWithOrders(3);
  const reader = shop.read("orders", { schema: "public" });
  await reader.toBuffer();
  assert.throws(() => reader[Symbol.asyncIterator](), /call read\(\) again/);
  const closed = shop.read("orders", { schema: "public" });
  await closed.close();
  await closed.close();
  assert.equal((await closed[Symbol.asyncIterator]().next()).done, true);
});

test("errors come where the reading is", async () => {
  const shop = memoryWithOrders(3);
  const iterator = shop.read("nothing", { schema: "public" })[Symbol.asyncIterator]();
  const error = await failure(() => iterator.next(), "not_found");
  assert.equal(error.context.connection, "shop");
  assert.equal((await iterator.next()).done, true, "after an error comes the end");
  const column = await failure(() => shop.read("orders", { schema: "public", columns: ["idd"] }).toBuffer(), "not_found");
  assert.match(column.hint, /did you mean `id`\?/);
});
