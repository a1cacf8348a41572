/**
 * transload moves tables: sources to Arrow, mapped to BigQuery types, loaded exactly once.
 *
 * JSON documents (connections, jobs, reports, mappings) have the same field names as in every other
 * language, in `snake_case`. Options of methods are in `camelCase`. Every method that reaches a system
 * returns a promise and rejects with a {@link TransloadError}.
 */

/** A JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What went wrong, in few, stable words. */
export type ErrorCode =
  | "config"
  | "auth"
  | "permission"
  | "unreachable"
  | "tls"
  | "timeout"
  | "not_found"
  | "conflict"
  | "type_mapping"
  | "schema_changed"
  | "data"
  | "rate_limited"
  | "cancelled"
  | "unsupported"
  | "internal";

/** The JSON form of an error inside a status or a report. */
export interface ErrorDocument {
  /** What went wrong. */
  kind: ErrorCode;
  /** Whether the same call may succeed later without a change. */
  retryable: boolean;
  /** What failed, without context. */
  message: string;
  /** The operation that failed. */
  operation: string | null;
  /** What to do about it. */
  hint: string | null;
  /** Facts: connection, table, column and so on. */
  context: Record<string, string>;
  /** Texts of the causes, outermost first. */
  causes: string[];
}

/**
 * What every failed operation of the engine throws. Its message is one line: what failed, where, why, and
 * what to do. It never holds a secret.
 */
export class TransloadError extends Error {
  private constructor();
  readonly name: "TransloadError";
  /** What went wrong. */
  readonly code: ErrorCode;
  /** Whether the same call may succeed later without a change. */
  readonly retryable: boolean;
  /** The operation that failed, where known. */
  readonly operation?: string;
  /** Facts: connection, table, column, job and so on. */
  readonly context: Readonly<Record<string, string>>;
  /** What to do about it, where known. */
  readonly hint?: string;
  /** Texts of the causes, outermost first; the same as the chain of `cause`. */
  readonly causes: readonly string[];
  /** The cause: an Error made of `causes`, or the reason of the AbortSignal that cancelled a run. */
  readonly cause?: unknown;
  /** The report of the run that failed; only on errors of {@link Runner.run}. */
  readonly report?: RunReport;
  /** A JSON form for logs and APIs, without the report. */
  toJSON(): {
    name: "TransloadError";
    code: ErrorCode;
    message: string;
    retryable: boolean;
    operation?: string;
    context: Record<string, string>;
    hint?: string;
    causes: string[];
  };
}

/** A connection as JSON. Which other fields there are depends on the type: see {@link connectors}. */
export interface ConnectionDocument {
  /** The name that jobs refer to. Default: the type. */
  name?: string;
  /** The system's type, for example `postgresql`. */
  type: string;
  /** Where the secret is kept: `env:NAME`, `file:PATH` or `gcp-secret:NAME`. */
  credentials?: string;
  /** The secret itself; it leaves the document at once and is never printed. */
  password?: string;
  /** How much the engine may ask of the system at once, in all runs of a {@link Runner} together. */
  limits?: ConnectionLimits;
  /** Options of the connector. */
  [option: string]: unknown;
}

/** How much the engine may ask of one system at once; what is not set is not limited. */
export interface ConnectionLimits {
  /** Most splits (parts of tables) that are read at once; each needs a connection of its own in most systems. */
  parallel_reads?: number;
  /** Most jobs of one {@link Runner.runAll} that use the system at once. */
  parallel_jobs?: number;
  /** Most rows read a second, counted by batches. */
  rows_per_second?: number;
  /** Most bytes of Arrow data read a second, counted by batches. */
  bytes_per_second?: number;
}

/** What a connection test found. */
export interface ConnectionStatus {
  /** `ok`: it works. `failed`: the system said no. `error`: it could not be found out. */
  status: "ok" | "failed" | "error";
  /** How long the test took, in milliseconds. */
  latency_ms: number;
  /** Product and version as the system names them, if it was reached. */
  version: string | null;
  /** Whether the connection is encrypted; `null` where that means nothing. */
  tls: boolean | null;
  /** What went wrong. */
  error: ErrorDocument | null;
}

/** A schema (or dataset, or folder) of a source. */
export interface SchemaInfo {
  name: string;
  comment: string | null;
}

/** A table of a source, as a list shows it. */
export interface TableInfo {
  /** Schema, where the source has schemas. */
  schema: string | null;
  name: string;
  kind: "table" | "view" | "materialized_view" | "partitioned" | "foreign" | "file";
  /** Whether this user may read it, at least some of its columns. */
  readable: boolean;
  /** Estimated rows; `null` where the system does not know without counting. */
  rows_estimate: number | null;
  /** Bytes on disk without indexes, where the system knows; it may be an estimate. */
  bytes: number | null;
  /** When statistics were last gathered, as RFC 3339 text. */
  last_analyzed: string | null;
  /** When dead rows were last cleaned up, as RFC 3339 text. */
  last_vacuumed: string | null;
  /** Last change of the rows as RFC 3339 text, where the system truly knows it. */
  last_change: string | null;
  comment: string | null;
}

/** A column of a source table. */
export interface ColumnSchema {
  name: string;
  /** The source's own type text. */
  source_type: string;
  /** Arrow type of the batches, as text. */
  arrow_type: string;
  /** Arrow extension type, for example `arrow.json`. */
  extension: string | null;
  nullable: boolean;
  comment: string | null;
  /** The default expression as text. */
  default: string | null;
  /** The source computes the value. */
  generated: boolean;
  /** An index makes this column a good cursor. */
  indexed: boolean;
  /** It belongs to the primary key. */
  primary_key: boolean;
}

/** A table as its source describes it. */
export interface TableSchema {
  schema: string | null;
  name: string;
  columns: ColumnSchema[];
  /** Columns of the primary key, in key order. */
  primary_key: string[];
  /** Column lists of the other unique keys. */
  unique_keys: string[][];
  rows_estimate: number | null;
  comment: string | null;
}

/** Options of {@link Connection}. */
export interface ConnectionOptions {
  /** Name of the connection, in place of the one in the document or URL. */
  name?: string;
}

/** Options of {@link Connection.test}. */
export interface TestOptions {
  /** After this many milliseconds the test ends as `error`. Default: 10,000. */
  timeoutMs?: number;
}

/** Options of {@link Connection.sample}. */
export interface SampleOptions {
  /** Schema of the table. */
  schema?: string;
  /** At most this many rows. Default: 100. */
  rows?: number;
}

/** Options of {@link Connection.read}. */
export interface ReadOptions {
  /** Schema of the table. */
  schema?: string;
  /** Columns in the wanted order. Default: all. */
  columns?: string[];
  /** At most this many rows in all (any rows). Default: all. */
  limit?: number;
  /** Parts of the table that are read at once; with more than one the order of rows is not defined. Default: 1. */
  parallelism?: number;
  /** Wished bytes of a batch. Default: 16 MiB. */
  batchBytes?: number;
}

/**
 * A named way into one system. It holds no open socket: every call opens and closes its own.
 *
 * A URL is `type://user:password@host:port/database?option=value`, or `type:path` for systems that are
 * files. Connections of type `memory` share one store in the process; the path names a part of it.
 *
 * Where a source has schemas, a table may be written as `schema.table`. With the schema given apart the name
 * is taken as it is, dots included.
 */
export class Connection {
  /**
   * Checks type and options without any I/O.
   *
   * @param documentOrUrl a document, its JSON text, or a URL
   * @throws TransloadError `config` for an unknown type, and unknown, missing or wrong options
   */
  constructor(documentOrUrl: ConnectionDocument | string, options?: ConnectionOptions);
  /** The name that jobs refer to. */
  readonly name: string;
  /** The system's type. */
  readonly type: string;
  /** Tests the connection. The answer is a status, whatever happens. */
  test(options?: TestOptions): Promise<ConnectionStatus>;
  /** Lists the schemas, without the system's own. Empty for a source without schemas. */
  schemas(): Promise<SchemaInfo[]>;
  /** Lists the tables of a schema, or of all. */
  tables(schema?: string): Promise<TableInfo[]>;
  /** Columns, types and keys of a table. */
  describe(table: string, schema?: string): Promise<TableSchema>;
  /** Some rows from anywhere in the table, as one Arrow IPC stream for `tableFromIPC`. */
  sample(table: string, options?: SampleOptions): Promise<Buffer>;
  /** Reads a table. Nothing is opened before the first batch is asked for. */
  read(table: string, options?: ReadOptions): TableReader;
  /**
   * Puts a table into a `memory` connection, in place of one with the same name.
   *
   * @param ipc an Arrow IPC stream or file, for example of `tableToIPC`
   * @throws TransloadError `unsupported` for connections of other types, `data` for broken bytes
   */
  put(table: string, ipc: Uint8Array, schema?: string): void;
  /** The same for two connections to the same place as the same user: 32 hexadecimal digits. */
  fingerprint(): string;
  /** A name for a form to propose. */
  suggestedName(): string;
  /** The document, without any secret. */
  toJSON(): ConnectionDocument & { name: string };
}

/**
 * A table being read. The engine reads as far as its consumer asks, and a loop that ends early stops the
 * read at the source. A reader can be read once.
 *
 * ```js
 * for await (const ipc of connection.read("orders")) console.log(tableFromIPC(ipc).numRows);
 * ```
 */
export class TableReader implements AsyncIterable<Buffer> {
  private constructor();
  /** The batches, each a complete Arrow IPC stream for `tableFromIPC`. An empty table has none. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Buffer>;
  /**
   * The bytes of one Arrow IPC stream of the whole table: the schema first, also of an empty table. For
   * `RecordBatchReader.from`, files and HTTP responses.
   */
  toIPC(): AsyncIterableIterator<Buffer>;
  /** The whole table as one Arrow IPC stream, for tables that fit into memory. */
  toBuffer(): Promise<Buffer>;
  /** Stops the read at the source, also in the middle of a batch. Who waits for one gets the end. */
  close(): Promise<void>;
}

/** What a job or mapper may change of one column's proposal. */
export interface ColumnOverride {
  /** BigQuery type, for example `NUMERIC(10,2)`. */
  type?: string;
  /** How text is read, for example `%Y%m%d` for a DATE, or `,.` for a number like 1,234.5. */
  format?: string;
  /** Texts that stand for no value and become NULL, for example `["NA", "-"]`. */
  null_tokens?: string[];
  mode?: "NULLABLE" | "REQUIRED";
  /** Name at the destination. */
  name?: string;
  /** Description at the destination. */
  description?: string;
  /** What happens to values that do not fit. Default: that of the mapping. */
  on_reject?: RejectPolicy;
  /** What happens to values with more digits than the type keeps. Default: that of the mapping. */
  on_round?: "refuse" | "round";
  /** Leave the column out. */
  drop?: boolean;
}

/** A stable code and what it means here. */
export interface Warning {
  code: string;
  text: string;
}

/** What the values of a sample said about one type. */
export interface Evidence {
  /** Rows of the sample. */
  sampled: number;
  /** Values looked at, without NULL and texts that stand for none. */
  values: number;
  /** Distinct ones among them. */
  distinct: number;
  /** Distinct ones that fit the type. */
  matched: number;
  /** `matched` of `distinct`, 0 to 1. */
  share: number;
  /** Rows with blanks around their value, which are trimmed. */
  padded: number;
  /** Why another reading cannot be ruled out. */
  ambiguity:
    | "date_order"
    | "century"
    | "grouping"
    | "number_or_time"
    | "number_or_boolean"
    | "one_polarity"
    | "constant"
    | null;
  /** Texts that become NULL with this type, with their rows. */
  null_tokens: { text: string; rows: number }[];
  counter_examples: string[];
  examples: string[];
}

/** Another type that a column could get. */
export interface Alternative {
  bigquery_type: Json;
  /** How values are read. */
  recipe: Json;
  /** 0 to 1. */
  score: number;
  confidence: "high" | "medium" | "low";
  reason: string;
  evidence: Evidence | null;
}

/** The proposal for one column. */
export interface ColumnMapping {
  source_name: string;
  source_type: string;
  arrow_type: string;
  target_name: string;
  /** The type as text, for example `NUMERIC(12,2)`; a document for a STRUCT. */
  bigquery_type: Json;
  mode: "NULLABLE" | "REQUIRED" | "REPEATED";
  /** How each value becomes one of the type. */
  recipe: Json;
  confidence: "high" | "medium" | "low";
  /** 0 to 1. */
  score: number;
  reason: string;
  /** Whether every value survives; `conditional`: those that pass the check at run time. */
  lossless: "yes" | "conditional" | "no";
  warnings: Warning[];
  /** Other types that the column could get, best first. */
  alternatives: Alternative[];
  description: string | null;
  /** The type was set by an override. */
  overridden: boolean;
  /** What happens to values that do not fit, where the job or an override says it. */
  on_reject?: RejectPolicy;
  /** What happens to values with more digits than the type keeps; `refuse` where it is missing. */
  on_round?: "refuse" | "round";
  /** Texts that become NULL, such as `NA` in a column of numbers. */
  null_tokens: string[];
  /** What the sample said about the type, where it was found in a sample. */
  evidence: Evidence | null;
  /** What the texts of a STRING column are, where that was recognised, for example `uuid` or `email`. */
  semantic: string | null;
}

/** What fills a column that the source does not have. */
export type AddedValue = "loaded_at" | "load_id" | { constant: string };

/** A column that the source does not have. */
export interface AddedColumn {
  value: AddedValue;
  /** BigQuery type of a constant. Default: `STRING`. */
  type?: string;
  description?: string;
}

/** An added column of a mapping. */
export interface AddedMapping {
  target_name: string;
  bigquery_type: Json;
  value: AddedValue;
  description: string | null;
}

/** How a table is cut into partitions. */
export interface Partitioning {
  /** Name of a DATE, DATETIME or TIMESTAMP column at the destination. */
  column: string;
  /** `HOUR` is not for DATE. */
  granularity: "HOUR" | "DAY" | "MONTH" | "YEAR";
}

/** How to lay a table out; advice only. */
export interface LayoutAdvice {
  partitioning: (Partitioning & { partitions: number; reason: string; warnings: Warning[] }) | null;
  /** By which ranges of an integer key to partition, where no time will do. */
  range_partitioning?: {
    column: string;
    start: number;
    end: number;
    interval: number;
    partitions: number;
    reason: string;
  };
  /** At most four columns, in this order. */
  clustering: { column: string; reason: string }[];
  /** Why something is not advised. */
  notes: string[];
  bytes_estimate: number | null;
}

/** One change of one column. */
export interface MappingChange {
  /** Name at the destination, after the change. */
  column: string;
  kind: "added" | "removed" | "renamed" | "type" | "mode" | "description" | "reading";
  from: string | null;
  to: string | null;
  /** Whether BigQuery applies it to the existing table. */
  in_place: boolean;
  /** The statement that applies it, where one is needed. */
  ddl: string | null;
  reason: string;
}

/** What changed between two mappings. */
export interface MappingDiff {
  from_hash: string;
  to_hash: string;
  /** Whether BigQuery applies all changes to the existing table. */
  in_place: boolean;
  changes: MappingChange[];
  /** A statement that rewrites the table, where not all changes go in place and every value has a cast. */
  rebuild: string | null;
  /** The changes for people. */
  text: string;
}

/** A mapping as JSON. */
export interface TableMappingDocument {
  table: { schema?: string; name: string };
  columns: ColumnMapping[];
  /** Columns that the source does not have, behind the others. */
  added: AddedMapping[];
  /** How to lay the table out. */
  advice: LayoutAdvice;
  /** Columns that overrides drop. */
  dropped: string[];
  primary_key: string[];
  description: string | null;
  hash: string;
}

/** A column as BigQuery's API and `bq` take it. */
export interface BigQueryField {
  name: string;
  type: string;
  mode: "NULLABLE" | "REQUIRED" | "REPEATED";
  description?: string;
  fields?: BigQueryField[];
  [property: string]: unknown;
}

/** How a table is laid out and kept. What is left out is not looked at in a table that exists. */
export interface TableLayout {
  /** By what the table is partitioned; a table that exists cannot be partitioned in another way. */
  partition_by?:
    | "advised"
    | {
        /** Name of a column at the destination. */
        column?: string;
        /** Default: `DAY`. */
        granularity?: "HOUR" | "DAY" | "MONTH" | "YEAR";
        /** Partitions of an INT64 column. */
        range?: { start: number; end: number; interval: number };
        /** In place of a column: by the time at which rows arrive. */
        ingestion_time?: "HOUR" | "DAY" | "MONTH" | "YEAR";
      };
  /** Up to four columns. */
  cluster_by?: "advised" | string[];
  /** Whether queries must name the partitions that they read. */
  require_partition_filter?: boolean;
  /** Only for a new table, for example `90d`. */
  partition_expires_after?: string;
  /** Only for a new table, for example `30d`. */
  expires_after?: string;
  labels?: Record<string, string>;
  /** Default: the comment of the source table. */
  description?: string;
}

/** How one thing of an existing table compares with the wanted one. */
export type Fit = "matches" | "new" | "in_place" | "impossible" | "not_loaded";

/** How an existing table compares with the wanted one. */
export interface TableCheck {
  /** `dataset.table`. */
  target: string;
  exists: boolean;
  /** Rows can be loaded without any change. */
  fits: boolean;
  /** The table can be made, or changed in place. */
  in_place: boolean;
  columns: {
    column: string;
    fit: Fit;
    existing: string | null;
    wanted: string | null;
    reason: string | null;
    hint: string | null;
    /** Statements that make the changes, where DDL can. */
    ddl: string[];
  }[];
  /** Differences of layout and descriptions. */
  options: { option: string; fit: Fit; reason: string; hint: string | null; ddl: string | null }[];
  /** Why the wanted table could not be made at all. */
  problems: string[];
}

/** The mapping that is proposed for a table. */
export class TableMapping {
  private constructor();
  /**
   * Reads what `toJSON` gave.
   *
   * @throws TransloadError `config` if it was changed since
   */
  static fromJSON(document: TableMappingDocument | string): TableMapping;
  readonly columns: ColumnMapping[];
  /** How to lay the table out. */
  readonly advice: LayoutAdvice;
  /** Hash of everything that decides what rows look like at the destination. */
  readonly hash: string;
  /** A column by its name at the source. */
  column(sourceName: string): ColumnMapping | undefined;
  /** The stable JSON form. */
  toJSON(): TableMappingDocument;
  /** A table for people. */
  toText(): string;
  /** BigQuery's JSON form of the schema. */
  toBigQuerySchema(): BigQueryField[];
  /** `CREATE TABLE IF NOT EXISTS` for `dataset.table`; `advised` adds the advised partitions and clusters. */
  toDDL(table?: string, options?: { advised?: boolean }): string;
  /** What changed since `before`, with statements for `dataset.table`. */
  diff(before: TableMapping | TableMappingDocument, table?: string): MappingDiff;
  /** Compares the table `dataset.table` of a connection with this mapping, without changing it. */
  validate(connection: Connection | ConnectionDocument | string, table: string, layout?: TableLayout): Promise<TableCheck>;
  /**
   * Checks that this is the mapping that somebody approved.
   *
   * @throws TransloadError `schema_changed` if it has another hash
   */
  checkApproved(hash: string): void;
  /**
   * Checks a wish for partitions; `days` is how many days the column's values span. Gives warnings.
   *
   * @throws TransloadError `type_mapping` for what BigQuery cannot do, with what it can
   */
  checkPartitioning(partitioning: Partitioning, days?: number): Warning[];
}

/** Options of {@link SchemaMapper}. */
export interface SchemaMapperOptions {
  /** Overrides by the column's name at the source. */
  overrides?: Record<string, ColumnOverride>;
  /** Columns that the source does not have, by their name at the destination. */
  added?: Record<string, AddedColumn>;
  /** Look for types hidden in text columns, and apply those found at high confidence. Default: true. */
  detectTypes?: boolean;
  /** Rows that are looked at for that. Default: 10,000. */
  sampleRows?: number;
  /** Evidence may show values of the sample. Default: true. */
  showValues?: boolean;
}

/** Proposes BigQuery types for the columns of a table. */
export class SchemaMapper {
  /** @throws TransloadError `config` for unknown or wrong options */
  constructor(options?: SchemaMapperOptions);
  /** The systems that {@link SchemaMapper.forType} knows. */
  static systems(): string[];
  /**
   * What a type of a system becomes, for example of `oracle` `NUMBER(10,2)`.
   *
   * @throws TransloadError `not_found` for an unknown system or type
   */
  static forType(system: string, sourceType: string): ColumnMapping;
  /** Describes and samples a table of a connection and maps it. */
  propose(connection: Connection | ConnectionDocument | string, table: string, schema?: string): Promise<TableMapping>;
  /**
   * Maps an Arrow IPC stream or file, without any I/O.
   *
   * @param table name for messages; default `table`
   * @throws TransloadError `type_mapping` for an impossible override, `data` for broken bytes
   */
  map(ipc: Uint8Array, table?: { table?: string; schema?: string }): TableMapping;
}

/** A job as JSON: one source table to one destination table. {@link jobSchema} is its JSON Schema. */
export interface JobDocument {
  /** Name of the job; part of its identity. */
  name: string;
  source: { connection: string; schema?: string; table: string; columns?: string[] };
  destination: {
    connection: string;
    dataset: string;
    table: string;
    /** What only this kind of destination understands; wins over options of the connection. */
    options?: { [name: string]: Json };
  } & TableLayout;
  /** Default: `replace`. */
  load?: {
    strategy: "replace" | "append" | "merge";
    /** The column that grows; required for `append`. */
    cursor?: string;
    /** Key columns; required for `merge`. */
    key?: string[];
    /** The first load begins this many days ago. */
    backfill_days?: number;
    /** The first load begins at this cursor value; moved to an earlier one, the next run loads what lies before. */
    backfill_since?: string;
    /** Nothing at or past this cursor value is loaded. */
    until?: string;
    /** Cut what is to be loaded into ranges of this length, each committed by itself. */
    backfill_step?: number | string;
    /**
     * `append`: cut the job at these cursor values, in ascending order, into shards that several processes load at the same
     * time; see {@link EtlJob.shards}.
     */
    shard_at?: string[];
    /** Which shard this document is, from 0. */
    shard?: number;
    /** Rows without a cursor value. Default: `include` for `merge`, `warn` for `append`. */
    on_null_cursor?: "include" | "warn" | "skip" | "fail";
    /** The job was changed and shall begin afresh in the same table; what it loaded before stays there. */
    restart?: boolean;
    /** A number for integer and decimal cursors, a duration such as `15m` for dates and times. */
    lag?: number | string;
    /**
     * `max` (default), or `oldest_transaction`: not past the start of the oldest transaction that is still open at
     * the source, so that rows it commits later are not missed.
     */
    cursor_bound?: "max" | "oldest_transaction";
    lookback?: number | string;
    /** `replace`, and `merge` with `detect_deletes`: go on even if the source is empty and the target is not. */
    allow_empty?: boolean;
    /**
     * `merge`: find the rows of the target that the source has no longer, and remove or mark them. Stops when more
     * than `max_ratio` (0 to 1; default 0.5 for targets of 1,000 rows or more) of them would go.
     */
    detect_deletes?: { policy: "remove" | "mark"; max_ratio?: number };
    /** `merge`: a column of the source says which rows are deleted. Default of `deleted_when`: `not_null`. */
    soft_delete?: { column: string; deleted_when?: "not_null" | "true"; policy: "keep" | "remove" | "mark" };
    /** The column that has the time at which a row was found deleted. Default: `_deleted_at`. */
    mark_column?: string;
    /**
     * `replace`: stop when the new rows are fewer than this share (0 to 1) of those of the last load. Default: 0.5
     * after a load of 1,000 rows or more.
     */
    min_ratio?: number;
  };
  mapping?: {
    overrides?: Record<string, ColumnOverride>;
    on_schema_change?: "evolve" | "evolve_columns_only" | "freeze";
    /** What happens to values that do not fit. Default: `fail`. Columns of key and cursor always `fail`. */
    on_reject?: RejectPolicy;
    /** What happens to values with more digits than their type keeps. Default: `refuse`. */
    on_round?: "refuse" | "round";
    /** Most rows that may have a value that does not fit: a number, or a share such as `0.5%`. Default: any. */
    max_rejects?: number | string;
    /** The table for values under `quarantine`. Default: the target's name with `_quarantine` behind it. */
    quarantine_table?: string;
    detect_types?: boolean;
    /** Columns that the source does not have, by their name at the destination. */
    add?: Record<string, AddedColumn>;
    /** The hash of the only mapping that a run may use. */
    approved_hash?: string;
  };
  /** For the host; the engine itself does not wait. */
  schedule?: ScheduleDocument | null;
  enabled?: boolean;
  /** At most this many rows, for trials; such a run never moves the watermark. */
  row_limit?: number | null;
  /** How much the report says of the values that were loaded. Default: `values`. */
  profile?: ProfileLevel;
  /** Whether the run proves that nothing was lost, doubled or changed on the way. Default: `off`. */
  proof?: ProofLevel;
}

/** When a host should run a job: `every` or `cron`. */
export interface ScheduleDocument {
  every?: "manual" | "hourly" | "daily" | "weekly" | "monthly";
  /** Five fields of cron, as Google Cloud Scheduler reads them. */
  cron?: string;
  /** Time of day as `HH:MM`; for `hourly` only the minute counts. Default: `00:00`. */
  at?: string;
  /** `weekly`: the day. Default: `monday`. */
  weekday?: "sunday" | "monday" | "tuesday" | "wednesday" | "thursday" | "friday" | "saturday";
  /** `monthly`: 1 to 31; in a month that is shorter, its last day. Default: 1. */
  day?: number;
  /** IANA name of the time zone. Default: `UTC`. */
  timezone?: string;
}

/**
 * A valid schedule. A job at a time of day runs once a day whatever the clocks do: a time that the clock leaves
 * out runs in the first minute after it, one that comes twice runs the first time. A job through all hours runs
 * once an hour.
 */
export class Schedule {
  /** @throws TransloadError `config`, naming the field */
  constructor(document: ScheduleDocument);
  /**
   * The next `n` runs (default 5) after an instant (default: now), in RFC 3339 with the offset of the schedule's
   * zone; none for `manual`.
   */
  nextRuns(n?: number, options?: { after?: Date }): string[];
  /**
   * The five fields of cron, in the schedule's own zone; `null` for `manual`.
   * @throws TransloadError `unsupported` for the days 29 to 31 of every month
   */
  cron(): string | null;
  /** What a Google Cloud Scheduler job takes; `null` for `manual`. */
  cloudScheduler(): { schedule: string; timeZone: string } | null;
  /** The document. */
  toJSON(): ScheduleDocument;
}

/** Options of a client. Give either `token` or `credentials`. */
export interface ControlPlaneOptions {
  /** The bearer token. */
  token?: string;
  /** Where it is kept, such as `env:NAME`. */
  credentials?: string;
  /** A folder for reports that cannot be delivered. */
  spool?: string;
  /** Seconds for a call with all its tries. Default: 60. */
  deadline?: number;
  /** Whether the token may go over plain HTTP to another machine. Default: false. */
  allowHttp?: boolean;
}

/** A job of a control plane: its document, or what is wrong with it. */
export interface AssignedJob {
  id: string;
  document: JobDocument | null;
  error: ErrorDocument | null;
}

/** A run that a control plane was told of. */
export interface ControlledRun {
  /** Also that of a run that failed. */
  report: RunReport;
  /** Whether the control plane has the report. */
  delivered: boolean;
  /** Where the report is kept otherwise. */
  keptAt: string | null;
  /** Why it was not delivered. */
  error: ErrorDocument | null;
}

/** What became of the reports in the spool folder. */
export interface SpoolOutcome {
  sent: number;
  kept: number;
  refused: number;
  error: ErrorDocument | null;
}

/**
 * Fetches jobs of a control plane and delivers the reports of their runs; the contract is in docs/control-plane.md.
 * What may pass by itself is tried again until the deadline.
 */
export class ControlPlane {
  /**
   * @param url what stands before `/v1`
   * @throws TransloadError `config` for a wrong address or option
   */
  constructor(url: string, options: ControlPlaneOptions);
  /** These jobs, or all that are enabled. */
  jobs(ids?: string[]): Promise<AssignedJob[]>;
  /** Fetches a job, runs it, and delivers progress and report. Rejects with what kept the job from beginning. */
  run(jobId: string): Promise<ControlledRun>;
  /** Delivers what earlier processes left in the spool folder. */
  sendSpooled(): Promise<SpoolOutcome>;
}

/** A valid job. */
export class EtlJob {
  /**
   * @param document a job document or its JSON text
   * @throws TransloadError `config`, naming the field and, for an unknown one, the nearest known one
   */
  constructor(document: JobDocument | string);
  readonly name: string;
  /** What makes this job this job in the eyes of a destination: 32 hexadecimal digits. */
  readonly identity: string;
  /** The next runs of the job's schedule; none without one. See `Schedule.nextRuns`. */
  nextRuns(n?: number, options?: { after?: Date }): string[];
  /** The five fields of cron of the job's schedule, in the schedule's time zone; `null` without one. */
  cron(): string | null;
  /**
   * The parts of a job that `load.shard_at` cuts, which several processes may run at the same time; of any other job the job
   * itself. A job that is cut cannot run itself.
   */
  shards(): EtlJob[];
  /** The document. */
  toJSON(): JobDocument;
}

/** What a run is doing. */
export type Phase = "wait" | "connect" | "describe" | "map" | "prepare" | "load" | "commit" | "done";

/** How far a run is. */
export interface Progress {
  job: string;
  phase: Phase;
  /** How it ended; `null` until the phase is `done`. */
  status: "succeeded" | "failed" | "cancelled" | null;
  rows_read: number;
  /** Rows given to the destination so far; visible only after the commit. */
  rows_written: number;
  /** Bytes of Arrow data read so far. */
  bytes_read: number;
  /** Rows read a second, over the last three seconds. */
  rows_per_second: number;
  /** The parts of the table: all of them (0 until they are planned), those being read, those read to their end. */
  splits: { total: number; active: number; done: number };
  /** Seconds since the run began. */
  seconds: number;
  /** Which of the ranges is being loaded, from 1. */
  range: number;
  /** How many ranges the run loads and commits one by one. */
  ranges: number;
  /** Seconds that the rest will take, if it goes on as until now; `null` while that is unknown. */
  eta_seconds: number | null;
}

/**
 * What happens to a value that does not fit the type of its column: it ends the load (`fail`), becomes NULL and is
 * counted (`null`), becomes NULL and goes with key, column and reason into a table beside the target
 * (`quarantine`), or the column is a STRING that takes every value as the text that the source gives (`text`).
 */
export type RejectPolicy = "fail" | "null" | "quarantine" | "text";

/** What became of the values of one column. The counts add up to the rows. */
export interface ColumnLedger {
  /** Its name at the source. */
  column: string;
  /** Its name at the destination. */
  target: string;
  bigquery_type: string;
  /** NULL at the source, NULL at the destination. */
  null: number;
  /** The same value of the same kind. */
  exact: number;
  /** The same value as another kind of type, for example a text read as a date. */
  converted: number;
  /** Changed to a value near by, which only `on_round` allows. */
  rounded: number;
  /** Text that stands for no value in a column of another type: empty, or a null token. NULL. */
  blank: number;
  /** Did not fit and became NULL. */
  nulled: number;
  /** As `nulled`, and kept in the quarantine table. */
  quarantined: number;
  /** Up to three values of each of the last four kinds. */
  examples: {
    change: "rounded" | "blank" | "nulled" | "quarantined";
    value: string;
    /** The key columns, or the cursor, as a JSON object. */
    row_key: string | null;
    reason: string | null;
  }[];
}

/** What happened in one run of one job. */
export interface RunReport {
  job: string;
  /** `skipped` only in the report of {@link Runner.runAll}: the job is disabled. */
  status: "succeeded" | "failed" | "cancelled" | "skipped";
  strategy: "replace" | "append" | "merge";
  /** Which shard of the job, of those that are cut (`load.shard_at`); counted from 0. */
  shard?: number;
  source: string;
  destination: string;
  /** The deterministic id of the load, once the window was decided. */
  /** How often the run began: 1, and one more for each retry. */
  attempts: number;
  load_id: string | null;
  /** Whether a load was committed. A run that found nothing new succeeds without one. */
  committed: boolean;
  /** The range of cursor values that was loaded. */
  window: {
    cursor: string;
    lo: string | null;
    /** Inclusive, but for `load.until`. */
    hi: string | null;
    /** The job has loaded before. */
    continues: boolean;
    /** Rows of the source that have no cursor value. */
    null_cursors: number;
  } | null;
  /** The ranges that were committed one by one, of jobs with a cursor: the newest 100. */
  ranges: { lo: string | null; hi: string | null; rows: number; load_id: string; seconds: number }[];
  /** How many ranges were committed. */
  ranges_committed: number;
  rows: {
    read: number;
    /** Read at an end of a range, or without a cursor, and dropped: an earlier load has them, or another range. */
    already_loaded: number;
    written: number;
    inserted: number;
    updated: number;
    superseded: number;
    rewritten: number;
    /** Written rows of which a value did not fit and is NULL. */
    incomplete: number;
    /** Keys of the source that were compared with the target (`load.detect_deletes`). */
    keys: number;
    /** Rows of the target that were removed because the source deleted them. */
    deleted: number;
    /** Rows of the target that were marked because the source has them no longer. */
    marked: number;
    /** Marked rows of the target whose key is back at the source and which no written row replaced. */
    unmarked: number;
    /** Written rows that say of themselves that they are deleted (`load.soft_delete`). */
    tombstones: number;
  };
  /**
   * Whether the run succeeded and every value at the destination is the one at the source: nothing was rounded,
   * nothing became NULL.
   */
  lossless: boolean;
  /** Values that did not fit and became NULL, by column, for the columns that have any. */
  rejects: { column: string; rejected: number; examples: string[] }[];
  /** What became of every value, by column. Of a run that failed: of those that it had cast until then. */
  ledger: ColumnLedger[];
  /** What the quarantine got, if anything. It has it even if the run failed after that. */
  quarantine: { table: string; rows: number } | null;
  /** What the rows hold, as the job's `profile` asks. */
  profile: TableProfile | null;
  /** Whether source and destination hold what passed through the run, as the job's `proof` asks. */
  proof: Proof | null;
  bytes_read: number;
  bytes_written: number;
  /** Bytes that the destination bills for putting the rows in place, where it bills by bytes (BigQuery). */
  bytes_billed: number | null;
  batches: number;
  /** Seconds by phase, and `total`. */
  seconds: Record<Exclude<Phase, "done"> | "total", number>;
  mapping_hash: string | null;
  warnings: (Warning & { column: string | null })[];
  error: ErrorDocument | null;
  /** RFC 3339. */
  started_at: string;
  /** RFC 3339. */
  finished_at: string;
  /** Version of the engine. */
  engine: string;
}

/** What a run proves: nothing; rows and NULLs; also checksums, lowest and highest values. */
export type ProofLevel = "off" | "counts" | "values";

/** Whether two sides hold the same; `not_compared` says why in its reason. */
export type Verdict = "equal" | "not_compared" | "different";

/** Figures of a column; `null` where the system cannot tell. */
export interface ColumnFigures {
  /** Rows in which it is not NULL. */
  values: number | null;
  /** Whole numbers as texts, since they pass 2^53. */
  checksum: { sum: string; squares: string } | null;
  min: string | null;
  max: string | null;
}

/** The proof of one side: what passed through the run beside what the system says it holds. */
export interface SideProof {
  verdict: Verdict;
  reason?: string;
  /** Rows that passed through the run. */
  rows: number;
  /** Rows that the system counts. */
  rows_there?: number;
  columns: {
    column: string;
    verdict: Verdict;
    /** Of `values`, `checksum`, `min`, `max`. */
    compared: string[];
    different?: string[];
    figures: ColumnFigures;
    /** The system's figures, where they differ. */
    there?: ColumnFigures;
  }[];
  /** Seconds that the system's query took. */
  seconds: number;
}

/** What was read against the source, what was written against the destination. */
export interface Proof {
  verdict: Verdict;
  source: SideProof;
  destination: SideProof;
}

/**
 * How much a profile says: nothing; counts and lengths; also lowest and highest values and quantiles; also the most
 * frequent values.
 */
export type ProfileLevel = "off" | "counts" | "values" | "top_values";

/** What the rows of a load hold. */
export interface TableProfile {
  rows: number;
  columns: ColumnProfile[];
}

/** What one column holds. Values are texts, exact; texts of more than 100 characters are cut and end in `…`. */
export interface ColumnProfile {
  name: string;
  nulls: number;
  /** About how many different values it has; the standard error is 1.6 %. */
  distinct?: number;
  min?: string;
  max?: string;
  /** Floating-point columns: values that are not a number. */
  nan?: number;
  /** Booleans: rows that are true. */
  trues?: number;
  /** Texts, bytes and lists: values without a character, byte or element. */
  empty?: number;
  /** Lengths in bytes; of lists, numbers of elements. */
  lengths?: { min: number; max: number; mean: number };
  /** Exact up to 2,048 rows, then from a random sample of so many. */
  quantiles?: Record<"p05" | "p25" | "p50" | "p75" | "p95", string>;
  /** The most frequent values; `error` is how much oftener one may come than `count`. */
  top?: { value: string; count: number; error: number }[];
}

/** The table that a destination must hold. */
export interface TargetTable {
  dataset: string;
  table: string;
  description: string | null;
  columns: BigQueryField[];
}

/** Options of {@link Runner}. */
export interface RunnerOptions {
  /** The connections that jobs name. */
  connections?: (Connection | ConnectionDocument | string)[];
  /**
   * Bytes that rows in flight of one run should have. Default: 256 MiB, at least 16 MiB. A run gets at most half of
   * what is free of the memory that all runs share: see {@link setMemoryBudget}.
   */
  memoryBytes?: number;
  /** Parts of a table that are read at once. Default: the number of cores, at most 4. */
  parallelism?: number;
  /** Rows that are sampled for type detection. Default: 10,000. */
  sampleRows?: number;
  /**
   * How often a run begins again after an error that may pass by itself (a lost connection, a restart, a lock).
   * Default: 0. Nothing is doubled. The pause before is random, up to 1, 2, 4 ... 60 seconds.
   */
  retries?: number;
  /**
   * Milliseconds that one job may take in all, retries and waiting included; then it fails with `timeout`. A commit
   * that has begun is finished. Default: no limit.
   */
  deadlineMs?: number;
}

/** Options of {@link Runner.run}. */
export interface RunOptions {
  /**
   * Called when the phase changes, about ten times a second while rows move, and at the end: always before
   * the promise settles. If it throws, the run is cancelled and the promise rejects with what it threw.
   */
  onProgress?: (progress: Progress) => void;
  /** Cancels the run: nothing of its load becomes visible unless the commit had begun. */
  signal?: AbortSignal;
  /** `true` shows a line on standard error, if that is a terminal; `"json"` writes every event there as JSON. */
  progress?: boolean | "json";
}

/** Options of {@link Runner.runAll}. `onProgress` gets the events of all jobs, each with the name of its job. */
export interface RunAllOptions extends RunOptions {
  /** Jobs at once. Default: twice the number of cores, at most 8. */
  concurrency?: number;
  /** Jobs at once that use one connection. Default: 4; its `limits.parallel_jobs` wins over it. */
  perConnection?: number;
}

/** What happened in the runs of many jobs. */
export interface BatchReport {
  /** `succeeded`: every job that was not skipped; `failed`: none of them. */
  status: "succeeded" | "partial" | "failed" | "cancelled";
  totals: {
    jobs: number;
    succeeded: number;
    failed: number;
    cancelled: number;
    skipped: number;
    rows_read: number;
    rows_written: number;
    bytes_read: number;
    bytes_written: number;
  };
  /** One report a job, in the order given. */
  reports: RunReport[];
  started_at: string;
  finished_at: string;
  engine: string;
}

/** Runs jobs. */
export class Runner {
  /** @throws TransloadError `config` for unknown or wrong options */
  constructor(options?: RunnerOptions);
  /**
   * Runs a job to its end.
   *
   * @throws TransloadError what ended the run, with the report in `report`; `cancelled` if `signal` aborted
   */
  run(job: EtlJob | JobDocument | string, options?: RunOptions): Promise<RunReport>;
  /**
   * Runs many jobs and reports on each. A job that fails stops no other one and is no exception: it is in the
   * report. Source connections take turns, jobs into one table run one after the other, disabled ones are skipped.
   *
   * @throws TransloadError `config` for wrong jobs or options
   */
  runAll(jobs: Iterable<EtlJob | JobDocument | string>, options?: RunAllOptions): Promise<BatchReport>;
  /** The mapping that a run of the job would use, without loading. */
  propose(job: EtlJob | JobDocument | string): Promise<TableMapping>;
  /** Compares the table at the destination with the one that the job needs, without changing it. */
  validate(job: EtlJob | JobDocument | string): Promise<TableCheck>;
  /** Creates or evolves the target table as the job needs it, without loading rows. */
  prepare(job: EtlJob | JobDocument | string): Promise<TargetTable>;
}

/** What a connector can do. */
export interface Capability {
  source: boolean;
  destination: boolean;
  schemas: boolean;
  /** Everything one read sees is one consistent snapshot. */
  snapshot: boolean;
  /** Incremental loads by a cursor column. */
  cursor: boolean;
  /** `cursor_bound: "oldest_transaction"`. */
  open_transactions: boolean;
  /** The system itself computes figures of its rows, with which runs prove that nothing was lost. */
  figures: boolean;
  replace: boolean;
  append: boolean;
  merge: boolean;
  /** A merge can remove or mark rows that the source deleted. */
  deletes: boolean;
  /** A destination keeps committed loads when the process ends. */
  durable: boolean;
}

/** What a user interface needs to offer a connector: a tile, a form, defaults. */
export interface Descriptor {
  /** The type that connections name. */
  type: string;
  /** Other spellings of the type that are accepted. */
  aliases: string[];
  label: string;
  category: "relational" | "warehouse" | "nosql" | "files" | "object_store" | "memory";
  default_port: number | null;
  /** Whether connections take credentials. */
  takes_secret: boolean;
  /** JSON Schema of the options. */
  options: { [key: string]: Json };
  /** JSON Schema of what a job may say to it in `destination.options`; empty for nothing. */
  job_options: { [key: string]: Json };
  capability: Capability;
}

/** Descriptors of all connectors, for a user interface. */
export function connectors(): Descriptor[];

/** JSON Schema of job documents. */
export function jobSchema(): { [key: string]: Json };

/**
 * Sets the memory that rows in flight of all runs of this process share: default 256 MiB, at least 16 MiB. Once, and
 * before the first run.
 *
 * @throws TransloadError `config` after that
 */
export function setMemoryBudget(bytes: number): void;

/** The version of the engine. */
export const version: string;
