import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { Connection, ControlPlane } from "transload";
import { failure, memoryWithOrders } from "./support.mjs";

const token = "t0ken-of-the-test";

/** A small control plane in this process. */
async function host(t) {
  const shop = memoryWithOrders(100);
  const lake = new Connection(`memory:lake-of-${shop.toJSON().path}`, { name: "lake" });
  const document = {
    name: "orders",
    source: { connection: "shop", schema: "public", table: "orders" },
    destination: { connection: "lake", dataset: "raw", table: "orders" },
    load: { strategy: "append", cursor: "id" },
  };
  const state = { jobs: { 1: document, 2: { name: "wrong", sorce: {} } }, reports: {}, broken: false };
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const answer = (status, body) => response.writeHead(status).end(body && JSON.stringify(body));
    if (request.headers.authorization !== `Bearer ${token}`) return answer(401, { detail: "Invalid token." });
    const url = new URL(request.url, "http://localhost");
    const [, , kind, id, what] = url.pathname.split("/");
    if (kind === "jobs") {
      if (id && !state.jobs[id]) return answer(404);
      const asked = url.searchParams.getAll("id");
      const ids = id ? [id] : asked.length > 0 ? asked : Object.keys(state.jobs);
      const jobs = ids.map((key) => ({ id: key, document: state.jobs[key] }));
      return answer(200, { jobs, connections: [shop.toJSON(), lake.toJSON()] });
    }
    if (what === "report") {
      // Later than anybody waits, so that a test need not wait for a deadline.
      if (state.broken) return response.writeHead(503, { "retry-after": "86400" }).end();
      state.reports[id] = JSON.parse(Buffer.concat(chunks).toString());
    }
    return answer(204);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { ...{ state }, url: `http://127.0.0.1:${server.address().port}` };
}

test("a job of a control plane is run and reported", async (t) => {
  const { state, url } = await host(t);
  const spool = join(mkdtempSync(join(tmpdir(), "transload-")), "spool");
  const control = new ControlPlane(url, { token, spool });
  const [right, wrong] = await control.jobs();
  assert.deepEqual([right.id, right.document.name, right.error], ["1", "orders", null]);
  assert.deepEqual([wrong.document, wrong.error.kind], [null, "config"]);
  assert.equal((await control.jobs(["1"])).length, 1);
  const done = await control.run("1");
  assert.deepEqual([done.report.status, done.report.rows.written, done.delivered], ["succeeded", 100, true]);
  assert.equal(Object.values(state.reports)[0].report.rows.written, 100);
  state.broken = true;
  const kept = await control.run("1");
  assert.deepEqual([kept.report.status, kept.delivered, kept.error.kind], ["succeeded", false, "unreachable"]);
  assert.ok(existsSync(kept.keptAt));
  state.broken = false;
  assert.deepEqual(await control.sendSpooled(), { sent: 1, kept: 0, refused: 0, error: null });
  assert.equal(Object.keys(state.reports).length, 2);
});

test("what a control plane refuses is an error", async (t) => {
  const { state, url } = await host(t);
  await failure(() => new ControlPlane(url, { token: "wrong" }).jobs(), "auth");
  const control = new ControlPlane(url, { token });
  await failure(() => control.run("77"), "not_found");
  await failure(() => control.run("2"), "config");
  assert.equal(Object.values(state.reports)[0].error.kind, "config");
  await failure(() => new ControlPlane("http://control.example.com", { token }), "config");
  await failure(() => new ControlPlane(url, {}), "config");
  await failure(() => new ControlPlane(url, { token, spol: "x" }), "config");
  assert.ok(!inspect(control).includes(token));
});
