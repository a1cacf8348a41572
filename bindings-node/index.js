"use strict";

// The API, described in index.d.ts. Everything that does something is in the engine (src/); here are the
// shapes that JavaScript expects: objects instead of JSON texts, async iteration, AbortSignal, Error.

const { TransloadError, call, callAsync } = require("./lib/errors.js");
const native = require("./lib/native.js");

const inspect = Symbol.for("nodejs.util.inspect.custom");

/** The engine takes documents and options as JSON texts. */
const json = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? null));

// Set by the classes themselves, so that only this file can reach what they wrap.
let connectionOf;
let jobOf;

class TableReader {
  #native;
  #how;

  constructor(reader) {
    this.#native = reader;
  }

  [Symbol.asyncIterator]() {
    return this.#iterate("batches", () => this.#native.nextBatch());
  }

  toIPC() {
    return this.#iterate("toIPC()", () => this.#native.nextChunk());
  }

  async toBuffer() {
    const chunks = [];
    for await (const chunk of this.toIPC()) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  close() {
    return this.#native.close();
  }

  [Symbol.asyncDispose]() {
    return this.close();
  }

  #iterate(how, next) {
    if (this.#how) throw new TypeError(`this reader is being read as ${this.#how}; call read() again for another one`);
    this.#how = how;
    const reader = this.#native;
    return {
      async next() {
        const value = await callAsync(next);
        return value === null ? { done: true, value: undefined } : { done: false, value };
      },
      async return(value) {
        await reader.close();
        return { done: true, value };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }
}
// Node 18 has no Symbol.asyncDispose; there the method above got the key "undefined".
delete TableReader.prototype.undefined;

class Connection {
  #native;

  static {
    connectionOf = (value) => (value instanceof Connection ? value : new Connection(value)).#native;
  }

  constructor(documentOrUrl, options = {}) {
    this.#native = call(() => new native.Connection(json(documentOrUrl), options.name));
  }

  get name() {
    return this.#native.name;
  }

  get type() {
    return this.#native.type;
  }

  async test({ timeoutMs = 10_000 } = {}) {
    return JSON.parse(await callAsync(() => this.#native.test(timeoutMs)));
  }

  async schemas() {
    return JSON.parse(await callAsync(() => this.#native.schemas()));
  }

  async tables(schema) {
    return JSON.parse(await callAsync(() => this.#native.tables(schema)));
  }

  async describe(table, schema) {
    return JSON.parse(await callAsync(() => this.#native.describe(table, schema)));
  }

  sample(table, options = {}) {
    return callAsync(() => this.#native.sample(table, json(options)));
  }

  read(table, options = {}) {
    return new TableReader(call(() => this.#native.read(table, json(options))));
  }

  put(table, ipc, schema) {
    call(() => this.#native.put(table, ipc, schema));
  }

  fingerprint() {
    return this.#native.fingerprint();
  }

  suggestedName() {
    return this.#native.suggestedName();
  }

  toJSON() {
    return JSON.parse(this.#native.toJson());
  }

  [inspect](_depth, options, inspectValue) {
    return `Connection ${inspectValue(this.toJSON(), options)}`;
  }
}

class TableMapping {
  #document;
  #text;
  #bigquery;

  constructor(text) {
    const parts = JSON.parse(text);
    this.#document = parts.mapping;
    this.#text = parts.text;
    this.#bigquery = parts.bigquery;
  }

  get columns() {
    return this.#document.columns;
  }

  get hash() {
    return this.#document.hash;
  }

  column(sourceName) {
    return this.columns.find((column) => column.source_name === sourceName);
  }

  toJSON() {
    return this.#document;
  }

  toText() {
    return this.#text;
  }

  toBigQuerySchema() {
    return this.#bigquery;
  }

  static fromJSON(document) {
    return new TableMapping(call(() => native.readMapping(json(document))));
  }

  get advice() {
    return this.#document.advice;
  }

  toDDL(table, { advised = false } = {}) {
    return call(() => native.mappingDdl(json(this.#document), table, advised));
  }

  diff(before, table) {
    const parts = JSON.parse(
      call(() => native.mappingDiff(json(before), json(this.#document), table)),
    );
    return { ...parts.diff, text: parts.text };
  }

  checkApproved(hash) {
    call(() => native.checkApproved(json(this.#document), hash));
  }

  async validate(connection, table, layout = {}) {
    return JSON.parse(
      await callAsync(() => connectionOf(connection).validateTable(json(this.#document), table, json(layout))),
    );
  }

  checkPartitioning(partitioning, days) {
    return JSON.parse(
      call(() => native.checkPartitioning(json(this.#document), json(partitioning), days)),
    );
  }

  [inspect](_depth, options, inspectValue) {
    return `TableMapping ${inspectValue(this.#document, options)}`;
  }
}

class SchemaMapper {
  #native;

  constructor(options = {}) {
    this.#native = call(() => new native.SchemaMapper(json(options)));
  }

  static systems() {
    return native.typeSystems();
  }

  static forType(system, sourceType) {
    return JSON.parse(call(() => native.typeMapping(system, sourceType)));
  }

  async propose(connection, table, schema) {
    return new TableMapping(
      await callAsync(() => connectionOf(connection).propose(this.#native, table, schema)),
    );
  }

  map(ipc, { table = "table", schema } = {}) {
    return new TableMapping(call(() => this.#native.map(ipc, table, schema)));
  }
}

class Schedule {
  #native;

  constructor(document) {
    this.#native = call(() => new native.Schedule(json(document)));
  }

  nextRuns(n = 5, { after } = {}) {
    return call(() => this.#native.nextRuns(n, after?.getTime()));
  }

  cron() {
    return call(() => this.#native.cron());
  }

  cloudScheduler() {
    return JSON.parse(call(() => this.#native.cloudScheduler()));
  }

  toJSON() {
    return JSON.parse(this.#native.toJson());
  }

  [inspect](_depth, options, inspectValue) {
    return `Schedule ${inspectValue(this.toJSON(), options)}`;
  }
}

class EtlJob {
  #native;

  static {
    jobOf = (value) => (value instanceof EtlJob ? value : new EtlJob(value)).#native;
  }

  constructor(document) {
    this.#native = call(() => new native.EtlJob(json(document)));
  }

  get name() {
    return this.#native.name;
  }

  get identity() {
    return this.#native.identity;
  }

  nextRuns(n = 5, { after } = {}) {
    return call(() => this.#native.nextRuns(n, after?.getTime()));
  }

  cron() {
    return call(() => this.#native.cron());
  }

  shards() {
    return call(() => this.#native.shards()).map((text) => new EtlJob(text));
  }

  toJSON() {
    return JSON.parse(this.#native.toJson());
  }

  [inspect](_depth, options, inspectValue) {
    return `EtlJob ${inspectValue(this.toJSON(), options)}`;
  }
}

class ControlPlane {
  #native;

  constructor(url, options = {}) {
    this.#native = call(() => new native.ControlPlane(json({ ...options, url })));
  }

  async jobs(ids) {
    return JSON.parse(await callAsync(() => this.#native.jobs(ids)));
  }

  async run(jobId) {
    return JSON.parse(await callAsync(() => this.#native.run(String(jobId))));
  }

  async sendSpooled() {
    return JSON.parse(await callAsync(() => this.#native.sendSpooled()));
  }
}

class Runner {
  #native;

  constructor({ connections = [], ...options } = {}) {
    this.#native = call(() => new native.Runner(json(options)));
    for (const connection of connections) this.#native.add(connectionOf(connection));
  }

  async run(job, { onProgress, signal, progress } = {}) {
    const nativeJob = jobOf(job);
    const show = shown(progress);
    const outcome = await watched(1, onProgress, signal, (handle, receive) =>
      this.#native.run(nativeJob, handle, receive, show),
    );
    const { report, error } = outcome;
    if (!error) return report;
    const cause = error.kind === "cancelled" ? signal?.reason : undefined;
    throw new TransloadError(error, { report, cause });
  }

  async runAll(jobs, { onProgress, signal, progress, ...options } = {}) {
    const documents = Array.from(jobs, (job) => (job instanceof EtlJob ? job : new EtlJob(job)).toJSON());
    const enabled = documents.filter((job) => job.enabled !== false).length;
    const show = shown(progress);
    return watched(enabled, onProgress, signal, (handle, receive) =>
      this.#native.runAll(json(documents), json(options), handle, receive, show),
    );
  }

  async propose(job) {
    return new TableMapping(await callAsync(() => this.#native.propose(jobOf(job))));
  }

  async validate(job) {
    return JSON.parse(await callAsync(() => this.#native.validate(jobOf(job))));
  }

  async prepare(job) {
    return JSON.parse(await callAsync(() => this.#native.prepare(jobOf(job))));
  }
}

/** What the engine shows on standard error. */
function shown(progress) {
  if (progress === undefined || progress === null || progress === false) return "";
  if (progress === true) return "line";
  if (progress === "json") return "json";
  throw new TypeError('`progress` is true, false or "json"');
}

/** Runs `work`, which tells the end of so many `jobs`, until it is over; `signal` and a callback that throws cancel. */
async function watched(jobs, onProgress, signal, work) {
  const handle = new native.CancelHandle();
  const cancel = () => handle.cancel();
  const calls = onProgress && new ProgressCalls(jobs, onProgress, cancel);
  if (signal?.aborted) cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  let outcome;
  try {
    outcome = JSON.parse(await callAsync(() => work(handle, calls?.receive)));
    await calls?.done;
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
  if (calls?.thrown) throw calls.thrown.error;
  return outcome;
}

/** Calls of a progress callback: the last one comes before the promise of the run, or of many, settles. */
class ProgressCalls {
  constructor(jobs, callback, cancel) {
    let running = jobs;
    this.done = new Promise((resolve) => {
      if (running === 0) resolve();
      this.receive = (text) => {
        const progress = JSON.parse(text);
        try {
          // Once it has thrown, the run is over for the caller.
          if (!this.thrown) callback(progress);
        } catch (error) {
          this.thrown = { error };
          cancel();
        }
        if (progress.phase === "done" && --running === 0) resolve();
      };
    });
  }
}

/** Descriptors of all connectors. */
const connectors = () => JSON.parse(call(() => native.connectors()));

/** JSON Schema of job documents. */
const jobSchema = () => JSON.parse(native.jobSchema());

/** Sets the memory that all runs of this process share. */
const setMemoryBudget = (bytes) => call(() => native.setMemoryBudget(bytes));

/** The version of the engine. */
const version = native.version();

module.exports = {
  Connection,
  ControlPlane,
  EtlJob,
  Runner,
  Schedule,
  SchemaMapper,
  TableMapping,
  TableReader,
  TransloadError,
  connectors,
  jobSchema,
  setMemoryBudget,
  version,
};
