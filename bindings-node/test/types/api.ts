// Never run: it compiles only if the declarations say what the package does. Uses every public name.
import { RecordBatchReader, tableFromArrays, tableFromIPC, tableToIPC, type Table } from "apache-arrow";
import {
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
  type AddedColumn,
  type AddedMapping,
  type AddedValue,
  type Alternative,
  type AssignedJob,
  type BigQueryField,
  type BatchReport,
  type Capability,
  type ColumnFigures,
  type ColumnLedger,
  type ColumnMapping,
  type ColumnOverride,
  type ColumnProfile,
  type ColumnSchema,
  type ConnectionDocument,
  type ConnectionLimits,
  type ConnectionOptions,
  type ConnectionStatus,
  type ControlPlaneOptions,
  type ControlledRun,
  type Descriptor,
  type ErrorCode,
  type ErrorDocument,
  type Evidence,
  type Fit,
  type JobDocument,
  type Json,
  type LayoutAdvice,
  type MappingChange,
  type MappingDiff,
  type Partitioning,
  type Phase,
  type ProfileLevel,
  type Proof,
  type ProofLevel,
  type Progress,
  type ReadOptions,
  type RejectPolicy,
  type RunAllOptions,
  type RunOptions,
  type RunReport,
  type RunnerOptions,
  type SampleOptions,
  type ScheduleDocument,
  type SpoolOutcome,
  type SchemaInfo,
  type SchemaMapperOptions,
  type TableCheck,
  type TableInfo,
  type TableLayout,
  type TableMappingDocument,
  type SideProof,
  type Verdict,
  type TableProfile,
  type TableSchema,
  type TargetTable,
  type TestOptions,
  type Warning,
} from "transload";

const document: ConnectionDocument = { name: "shop", type: "postgresql", host: "db", credentials: "env:SHOP" };
const options: ConnectionOptions = { name: "shop" };
const connection = new Connection(document);
const named: string = new Connection("memory:shop", options).name + connection.type;
// @ts-expect-error a connection has a type
new Connection({ name: "shop" });
// @ts-expect-error it cannot be renamed
connection.name = "other";

async function browse(): Promise<void> {
  const wait: TestOptions = { timeoutMs: 500 };
  const status: ConnectionStatus = await connection.test(wait);
  const error: ErrorDocument | null = status.error;
  const kind: ErrorCode | undefined = error?.kind;
  const schemas: SchemaInfo[] = await connection.schemas();
  const tables: TableInfo[] = await connection.tables(schemas[0]?.name);
  const table: TableSchema = await connection.describe("orders", "public");
  const column: ColumnSchema | undefined = table.columns[0];
  const few: SampleOptions = { rows: 5 };
  const sample: Table = tableFromIPC(await connection.sample("orders", few));
  connection.put("copy", tableToIPC(sample, "stream"));
  console.log(kind, tables, column, connection.fingerprint(), connection.suggestedName(), connection.toJSON().name);
}

async function read(): Promise<number> {
  const all: ReadOptions = { schema: "public", columns: ["id"], limit: 10, parallelism: 2, batchBytes: 1 << 20 };
  const reader: TableReader = connection.read("orders", all);
  let rows = 0;
  for await (const ipc of reader) rows += tableFromIPC(ipc).numRows;
  const batches = await RecordBatchReader.from(connection.read("orders").toIPC());
  for await (const batch of batches) rows += batch.numRows;
  rows += tableFromIPC(await connection.read("orders").toBuffer()).numRows;
  await reader.close();
  // @ts-expect-error readers come from read()
  new TableReader();
  return rows;
}

async function map(): Promise<TableMapping> {
  const override: ColumnOverride = { type: "NUMERIC(10,2)", mode: "REQUIRED" };
  const choices: SchemaMapperOptions = { overrides: { total: override }, detectTypes: false, sampleRows: 10 };
  const mapper = new SchemaMapper(choices);
  const mapping = await mapper.propose(connection, "orders", "public");
  const first: ColumnMapping | undefined = mapping.column("id") ?? mapping.columns[0];
  const warning: Warning | undefined = first?.warnings[0];
  const alternative: Alternative | undefined = first?.alternatives[0];
  const evidence: Evidence | null | undefined = alternative?.evidence;
  const stored: TableMappingDocument = mapping.toJSON();
  const fields: BigQueryField[] = mapping.toBigQuerySchema();
  console.log(warning, evidence, stored.hash === mapping.hash, fields, mapping.toText());
  const stamp: AddedColumn = { value: "loaded_at" };
  const constant: AddedValue = { constant: "eu" };
  const wider = new SchemaMapper({ added: { _loaded_at: stamp, region: { value: constant } } });
  const added: AddedMapping | undefined = stored.added[0];
  const advice: LayoutAdvice = TableMapping.fromJSON(stored).advice;
  const wish: Partitioning = advice.partitioning ?? { column: "day", granularity: "DAY" };
  const warnings: Warning[] = mapping.checkPartitioning(wish, 10);
  const diff: MappingDiff = mapping.diff(stored, "raw.orders");
  const change: MappingChange | undefined = diff.changes[0];
  mapping.checkApproved(mapping.hash);
  console.log(wider, added, warnings, change?.ddl, diff.text, mapping.toDDL("raw.orders", { advised: true }));
  console.log(SchemaMapper.forType(SchemaMapper.systems()[0] ?? "oracle", "DATE").bigquery_type);
  return mapper.map(tableToIPC(tableFromArrays({ id: new Int32Array(3) })), { table: "t" });
}

async function run(): Promise<void> {
  const written: JobDocument = {
    name: "orders",
    source: { connection: "shop", table: "orders" },
    destination: { connection: "lake", dataset: "raw", table: "orders" },
    load: { strategy: "append", cursor: "id" },
  };
  const job = new EtlJob(written);
  const schedule: ScheduleDocument = { every: "weekly", weekday: "friday", at: "02:00", timezone: "Europe/Berlin" };
  const runs: string[] = [...new Schedule(schedule).nextRuns(3, { after: new Date() }), ...job.nextRuns()];
  const scheduler: { schedule: string; timeZone: string } | null = new Schedule(schedule).cloudScheduler();
  console.log(runs, scheduler?.timeZone, new Schedule(schedule).cron(), new Schedule(schedule).toJSON().every);
  const again: JobDocument = job.toJSON();
  const where: ControlPlaneOptions = { credentials: "env:TOKEN", spool: "/var/spool/transload", deadline: 30 };
  const control = new ControlPlane("https://control.example.com", where);
  const assigned: AssignedJob[] = await control.jobs(["1"]);
  const controlled: ControlledRun = await control.run(assigned[0]?.id ?? "1");
  const spooled: SpoolOutcome = await control.sendSpooled();
  console.log(controlled.report.status, controlled.delivered, controlled.keptAt, spooled.sent);
  const setting: RunnerOptions = { connections: [connection, document, "memory:lake"], memoryBytes: 1 << 26 };
  const runner = new Runner(setting);
  const controller = new AbortController();
  const seen: Phase[] = [];
  const how: RunOptions = {
    onProgress: (progress: Progress) => void seen.push(progress.phase),
    signal: controller.signal,
    progress: "json",
  };
  const limits: ConnectionLimits = { parallel_reads: 2, rows_per_second: 1000 };
  const many: RunAllOptions = { ...how, concurrency: 4, perConnection: 2, progress: true };
  const batch: BatchReport = await new Runner({ connections: [{ ...document, limits }], deadlineMs: 1000 }).runAll(
    [job, written],
    many,
  );
  console.log(batch.status, batch.totals.rows_written, batch.reports[0]?.seconds.wait);
  try {
    const report: RunReport = await runner.run(job, how);
    console.log(report.rows.written, report.seconds.total, report.window?.hi);
    const ledger: ColumnLedger | undefined = report.ledger[0];
    console.log(report.lossless, report.quarantine?.rows, ledger?.examples[0]?.row_key);
    const profile: TableProfile | null = report.profile;
    const profiled: ColumnProfile | undefined = profile?.columns[0];
    console.log(profiled?.quantiles?.p50, profiled?.top?.[0]?.count);
    const proof: Proof | null = report.proof;
    const side: SideProof | undefined = proof?.destination;
    const figures: ColumnFigures | undefined = side?.columns[0]?.figures;
    const verdict: Verdict | undefined = proof?.verdict;
    console.log(verdict, side?.rows_there, figures?.checksum?.sum);
  } catch (error) {
    if (!(error instanceof TransloadError)) throw error;
    const code: ErrorCode = error.code;
    const rejected: number | undefined = error.report?.rejects.length;
    console.log(code, error.retryable, error.operation, error.context["table"], error.hint, error.causes[0]);
    console.log(rejected, error.cause, error.toJSON().message);
  }
  const target: TargetTable = await runner.prepare(again);
  const proposed: TableMapping = await runner.propose(job);
  console.log(target.columns, proposed.hash, job.identity, job.name, job.cron(), job.shards().length);
  const layout: TableLayout = { cluster_by: ["id"] };
  const checked: TableCheck = await proposed.validate(connection, "raw.orders", layout);
  const fit: Fit | undefined = checked.columns[0]?.fit;
  const level: ProfileLevel = "counts";
  const proves: ProofLevel = "values";
  const policy: RejectPolicy = "quarantine";
  console.log(fit, await runner.validate({ ...written, profile: level, proof: proves, mapping: { on_reject: policy } }));
  // @ts-expect-error no such strategy
  await runner.run({ ...written, load: { strategy: "upsert" } });
}

const descriptors: Descriptor[] = connectors();
const capability: Capability | undefined = descriptors[0]?.capability;
const schema: { [key: string]: Json } = jobSchema();
setMemoryBudget(1 << 28);
console.log(version.length, named, capability, schema, browse, read, map, run);
