// A control plane in one file, without dependencies: docs/control-plane.md. It keeps runs in memory; a real one has a
// database with a unique key on the run's id.
//
//   EXAMPLE=jobs.json PORT=8000 TRANSLOAD_CONTROL_PLANE_TOKEN=... node server.mjs

import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { isDeepStrictEqual } from "node:util";

const { EXAMPLE, PORT = "8000", TRANSLOAD_CONTROL_PLANE_TOKEN: token } = process.env;
if (!EXAMPLE || !token) throw new Error("set EXAMPLE and TRANSLOAD_CONTROL_PLANE_TOKEN");

const { connections, jobs: documents } = JSON.parse(readFileSync(EXAMPLE, "utf8"));
const jobs = new Map(documents.map((document, index) => [String(index + 1), document]));
/** By the id of the run: `{ progress, end, cancel }`. */
const runs = new Map();

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const digest = (text) => createHash("sha256").update(text).digest();
const expected = digest(`Bearer ${token}`);

/** These jobs with the connections that they name. */
function answer(ids) {
  const chosen = ids.map((id) => ({ id, document: jobs.get(id) }));
  const named = new Set(chosen.flatMap(({ document: job }) => [job.source.connection, job.destination.connection]));
  return { jobs: chosen, connections: connections.filter(({ name }) => named.has(name)), next_page: null };
}

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  let body;
  try {
    body = JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw new Refused(400, "the body is no JSON");
  }
  if (typeof body?.job_id !== "string") throw new Refused(400, "the body is not what the contract says");
  if (!jobs.has(body.job_id)) throw new Refused(422, "there is no such job");
  return body;
}

function run(id) {
  if (!runs.has(id)) runs.set(id, { progress: null, end: null, cancel: false });
  return runs.get(id);
}

/** Status and body of the answer. */
async function handle(request) {
  if (!timingSafeEqual(digest(request.headers.authorization ?? ""), expected)) throw new Refused(401, "wrong token");
  const url = new URL(request.url, "http://localhost");
  const [version, kind, id, what, ...more] = url.pathname.slice(1).split("/").map(decodeURIComponent);
  if (version !== "v1" || more.length > 0) throw new Refused(404, "no such path");
  const route = `${request.method} ${kind}${id === undefined ? "" : "/id"}${what === undefined ? "" : `/${what}`}`;
  switch (route) {
    case "GET jobs": {
      const ids = url.searchParams.getAll("id");
      const wanted = (key) => ids.length === 0 || ids.includes(key);
      const enabled = (key) => url.searchParams.get("enabled") !== "true" || jobs.get(key).enabled !== false;
      return [200, answer([...jobs.keys()].filter((key) => wanted(key) && enabled(key)))];
    }
    case "GET jobs/id":
      if (!jobs.has(id)) throw new Refused(404, `there is no job ${id}`);
      return [200, answer([id])];
    case "PUT runs/id/progress": {
      const { progress } = await bodyOf(request);
      const known = run(id);
      if (!known.end) known.progress = progress; // what comes after the report is late
      return [200, { cancel: known.cancel }];
    }
    case "PUT runs/id/report": {
      const end = await bodyOf(request);
      const known = run(id);
      if (!known.end) {
        known.end = end;
        return [201];
      }
      // Sent again: its answer was lost. The very same report is nothing new.
      if (isDeepStrictEqual(known.end, end)) return [204];
      throw new Refused(409, "another report has this id");
    }
    default:
      throw new Refused(404, "no such path");
  }
}

createServer(async (request, response) => {
  let status, body;
  try {
    [status, body] = await handle(request);
  } catch (error) {
    status = error.status ?? 500;
    body = { error: { message: error.status ? error.message : "a failure of the control plane" } };
    if (!error.status) console.error(error);
  }
  response.writeHead(status, body ? { "content-type": "application/json" } : {});
  response.end(body ? JSON.stringify(body) : undefined);
}).listen(Number(PORT), "127.0.0.1");
