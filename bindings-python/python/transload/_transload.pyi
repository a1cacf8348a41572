"""The native half of transload. Use it through the package `transload`, which has every name."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from os import PathLike
from typing import Any, Literal, Protocol, final

from typing_extensions import CapsuleType, Self, disjoint_base

__all__ = [
    "__version__",
    "Connection",
    "SchemaMapper",
    "TableMapping",
    "ControlPlane",
    "EtlJob",
    "Schedule",
    "MappingDiff",
    "Runner",
    "CancelHandle",
    "RunReport",
    "BatchReport",
    "RecordBatch",
    "RecordBatchReader",
    "connectors",
    "schema_of_job",
    "set_memory_budget",
]

__version__: str
"""Version of package and engine."""

class _ArrowArray(Protocol):
    def __arrow_c_array__(self, requested_schema: Any = None) -> tuple[Any, Any]: ...

class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...

class _ArrowSchema(Protocol):
    def __arrow_c_schema__(self) -> Any: ...

def set_memory_budget(bytes: int) -> None:
    """Sets the memory that rows in flight of all runs of this process share; default 256 MiB, at least 16 MiB.

    Once, and before the first run. Raises ConfigError after that.
    """

def connectors() -> list[dict[str, Any]]:
    """What each connector of this build is and can do, as data for a user interface.

    Keys: `type`, `aliases`, `label`, `category`, `default_port`, `takes_secret`, `options` (JSON Schema),
    `job_options` (JSON Schema of a job's `destination.options`, empty for none), `capability`.
    """

def schema_of_job() -> dict[str, Any]:
    """The JSON Schema of job documents."""

@final
class Connection:
    """A named way into one system: type, address, options, and a reference to its credentials.

    It holds no socket: every call opens and closes its own. A password leaves documents and URLs at once
    and is never printed; better, name where it is kept, with `credentials="env:NAME"`.

    >>> from transload import Connection
    >>> shop = Connection("postgresql://etl@db.internal/shop", name="shop", credentials="env:SHOP_PASSWORD")
    >>> shop
    Connection(shop (postgresql shop on db.internal))
    """

    def __new__(
        cls, document_or_url: Mapping[str, Any] | str | None = None, /, **options: Any
    ) -> Self:
        """From a dict, a JSON text, a URL, or options alone; options win over the document.

        Type and options are checked, without any I/O. Raises ConfigError, which names the nearest known
        option.
        """

    @property
    def name(self) -> str:
        """The name that jobs refer to. Default: the type."""

    @property
    def type(self) -> str:
        """The system's type, for example `postgresql`."""

    def test(self, timeout: float = 10.0) -> dict[str, Any]:
        """Tests the connection; what the system says is a status and never raises.

        `timeout` is in seconds. Keys: `status` (`ok`; `failed`: the system said no; `error`: it could not
        be found out), `latency_ms`, `version`, `tls`, `error`.
        """

    def schemas(self) -> list[dict[str, Any]]:
        """The schemas, with `name` and `comment`; empty where a source has none."""

    def tables(self, schema: str | None = None) -> list[dict[str, Any]]:
        """The tables of a schema, or of all.

        Keys: `schema`, `name`, `kind`, `readable` (whether this user may read it), `rows_estimate`, `bytes`,
        `last_analyzed`, `last_vacuumed`, `last_change`, `comment`. Times are RFC 3339 texts; what a system does
        not know is `None`.
        """

    def describe(self, table: str, schema: str | None = None) -> dict[str, Any]:
        """Columns, types, keys and comments of a table.

        `table` may be `schema.table` where sources have schemas; with `schema` given it is a plain name.
        Raises NotFoundError.
        """

    def sample(self, table: str, schema: str | None = None, rows: int = 100) -> RecordBatch:
        """Up to `rows` rows, from anywhere in the table."""

    def read(
        self,
        table: str,
        schema: str | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        parallelism: int | None = None,
    ) -> RecordBatchReader:
        """Reads a table as an Arrow stream, a batch when it is asked for.

        `columns`: these, in this order; default all. `limit`: at most this many rows. `parallelism`: parts
        read at once, default 1; the order of rows is not defined.

        >>> polars.DataFrame(connection.read("public.orders"))  # doctest: +SKIP
        """

    def put(
        self, table: str, data: _ArrowArray | _ArrowStream | _ArrowSchema, schema: str | None = None
    ) -> None:
        """Puts a table into a `memory:` connection, in place of one with the same name.

        `data` is anything that speaks Arrow: a pyarrow, polars or pandas table, a batch, a reader.
        Raises UnsupportedError for other connections.
        """

    def fingerprint(self) -> str:
        """The same for two connections that lead to the same place as the same user."""

    def suggested_name(self) -> str:
        """A name for a form to propose, for example `postgresql shop on db.internal`."""

    def to_dict(self) -> dict[str, Any]:
        """The document, without any secret."""

@final
class RecordBatch:
    """Rows in Arrow's layout, which any Arrow library takes without a copy.

    `pyarrow.record_batch(batch)`, `polars.DataFrame(batch)`
    """

    @property
    def num_rows(self) -> int:
        """Number of rows."""

    @property
    def num_columns(self) -> int:
        """Number of columns."""

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""

    @property
    def nbytes(self) -> int:
        """Bytes that the values occupy."""

    def __arrow_c_array__(
        self, requested_schema: CapsuleType | None = None
    ) -> tuple[CapsuleType, CapsuleType]:
        """The batch by the Arrow PyCapsule protocol."""

    def __arrow_c_schema__(self) -> CapsuleType:
        """The schema by the Arrow PyCapsule protocol."""

    def __len__(self) -> int: ...
@final
class RecordBatchReader:
    """A table being read. Iterate over it, or hand it to an Arrow library, once.

    `pyarrow.RecordBatchReader.from_stream(reader)`, `polars.DataFrame(reader)`, `duckdb.sql("FROM reader")`

    Batches are read when they are asked for; what the next one needs is all that is in memory. Errors in a
    loop are exceptions of transload; an Arrow library raises its own, with the same text. Ctrl-C does
    likewise: in a loop it is a KeyboardInterrupt; a library that pulls raises its own error first, and the
    KeyboardInterrupt follows with the next Python code. After either, the reader has no end, since rows would be
    missing: going on raises a RuntimeError, and a library gets the same error again. Leaving a `with` block, or dropping the reader,
    stops the read at the source.
    """

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> RecordBatch: ...
    def __arrow_c_stream__(self, requested_schema: CapsuleType | None = None) -> CapsuleType:
        """The remaining batches by the Arrow PyCapsule protocol; this reader then has none.

        Raises RuntimeError when they were handed over before.
        """

    def __arrow_c_schema__(self) -> CapsuleType:
        """The schema by the Arrow PyCapsule protocol."""

    def close(self) -> None:
        """Stops the read. A stream that was handed over is its new owner's."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: object) -> None: ...
@final
class SchemaMapper:
    """Proposes BigQuery types for the columns of a table."""

    def __new__(
        cls,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        detect_types: bool = True,
        sample_rows: int = 10_000,
        added: Mapping[str, Mapping[str, Any]] | None = None,
        show_values: bool = True,
    ) -> Self:
        """`overrides`: by the column's name at the source, what to change of its proposal: `type`,
        `format`, `null_tokens`, `mode`, `name`, `description`, `drop`. `detect_types`: look for types hidden in text, in
        at most `sample_rows` rows. `added`: by their name at the destination, columns that the source does
        not have, for example `{"_loaded_at": {"value": "loaded_at"}, "_load_id": {"value": "load_id"},
        "region": {"value": {"constant": "eu"}}}`. `show_values`: evidence may show values of the sample.
        """

    @staticmethod
    def systems() -> list[str]:
        """The systems that `for_type` knows."""

    @staticmethod
    def for_type(system: str, source_type: str) -> dict[str, Any]:
        """What a type of a system becomes, for example of `"oracle"` `"NUMBER(10,2)"`; the keys of
        `TableMapping.columns`.

        Raises NotFoundError for an unknown system or type, TypeMappingError where the type's text says too
        little.
        """

    def propose(
        self,
        connection: Connection | Mapping[str, Any] | str,
        table: str,
        schema: str | None = None,
    ) -> TableMapping:
        """Describes and samples a table and maps it.

        Raises TypeMappingError for an impossible override, with the possible ones; NotFoundError for one
        of a column that does not exist.
        """

    def map(
        self,
        data: _ArrowArray | _ArrowStream | _ArrowSchema,
        table: str = "table",
        schema: str | None = None,
    ) -> TableMapping:
        """Maps Arrow data, without any I/O. `table` and `schema` are names for messages.

        A bare Arrow schema does too; types hidden in text are then not found.
        """

@final
class TableMapping:
    """The proposal for one table. In a notebook it shows as a table."""

    @property
    def table(self) -> str:
        """The source table."""

    @property
    def columns(self) -> list[dict[str, Any]]:
        """The proposals.

        Keys: `source_name`, `source_type`, `arrow_type`, `target_name`, `bigquery_type`, `mode`, `recipe`,
        `confidence`, `score`, `reason`, `lossless`, `warnings`, `alternatives`, `description`,
        `overridden`.
        """

    @staticmethod
    def from_json(document: str | Mapping[str, Any]) -> TableMapping:
        """Reads what `to_json` or `to_dict` gave. Raises ConfigError if it was changed since."""

    @property
    def added(self) -> list[dict[str, Any]]:
        """Columns that the source does not have: `target_name`, `bigquery_type`, `value`, `description`."""

    @property
    def advice(self) -> dict[str, Any]:
        """How to lay the table out: `partitioning` (`column`, `granularity`, `partitions`, `reason`,
        `warnings`) or None, `clustering` (a list of `column` and `reason`), `notes`, `bytes_estimate`.
        """

    @property
    def dropped(self) -> list[str]:
        """Columns that overrides leave out."""

    @property
    def primary_key(self) -> list[str]:
        """Columns of the primary key, by their names at the source."""

    @property
    def hash(self) -> str:
        """Changes with everything that decides what rows look like at the destination."""

    def column(self, name: str) -> dict[str, Any] | None:
        """The proposal for a column, by its name at the source."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form as a dict."""

    def to_json(self) -> str:
        """The JSON form."""

    def to_text(self) -> str:
        """A table for people, with offers and warnings."""

    def to_bigquery_schema(self) -> list[dict[str, Any]]:
        """BigQuery's JSON form of the schema, as its API and `bq` take it."""

    def to_ddl(self, table: str | None = None, advised: bool = False) -> str:
        """`CREATE TABLE IF NOT EXISTS` for `dataset.table`; with the advised partitioning and clustering
        on request.
        """

    def diff(self, before: TableMapping, table: str | None = None) -> MappingDiff:
        """What changed since `before`, with statements for `dataset.table`."""

    def validate(
        self,
        connection: Connection | Mapping[str, Any] | str,
        table: str,
        layout: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Compares the table `dataset.table` of a connection with this mapping, without changing it.

        `layout` has the fields of a job's `destination` that lay a table out: `partition_by`, `cluster_by`,
        `labels` and so on. Keys: `target`, `exists`, `fits` (rows can be loaded as it is), `in_place` (what
        differs can be changed in place), `columns` and `options` (each with `fit`, `reason`, `hint` and `ddl`),
        `problems`.
        """

    def check_approved(self, hash: str) -> None:
        """Raises SchemaChangedError if this is not the mapping with that hash."""

    def check_partitioning(
        self, column: str, granularity: str, days: int | None = None
    ) -> list[dict[str, str]]:
        """Checks a wish: `HOUR`, `DAY`, `MONTH` or `YEAR` of a column whose values span `days`.

        Gives warnings. Raises TypeMappingError for what BigQuery cannot do, naming what it can.
        """

    def _repr_html_(self) -> str: ...
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__ = None  # type: ignore[assignment]

@final
class MappingDiff:
    """What changed between two mappings. In a notebook it shows as a table."""

    @property
    def changes(self) -> list[dict[str, Any]]:
        """The changes: `column`, `kind`, `from`, `to`, `in_place`, `ddl`, `reason`."""

    @property
    def in_place(self) -> bool:
        """Whether BigQuery applies all of them to the existing table."""

    @property
    def rebuild(self) -> str | None:
        """A statement that rewrites the table, where not all changes go in place and every value has a
        cast.
        """

    def to_dict(self) -> dict[str, Any]:
        """The JSON form as a dict."""

    def to_text(self) -> str:
        """One line per change, with the statements."""

    def _repr_html_(self) -> str: ...
    def __len__(self) -> int: ...

@final
class EtlJob:
    """One source table to one destination table. A job that exists is valid."""

    def __new__(cls, document: EtlJob | Mapping[str, Any] | str, /) -> Self:
        """From a dict or a JSON text. Raises ConfigError, which names the field."""

    @property
    def name(self) -> str:
        """The job's name."""

    @property
    def identity(self) -> str:
        """What makes this job this job: name, source table, strategy, cursor and key, as a hash.

        A job with another identity does not continue the watermark of the old one.
        """

    @property
    def schedule(self) -> Schedule | None:
        """When the host should run it."""

    def next_runs(self, n: int = 5, *, after: datetime | None = None) -> list[datetime]:
        """The next runs of the schedule; none without one, and for `manual`. See `Schedule.next_runs`."""

    def cron(self) -> str | None:
        """The five fields of cron of the schedule; None without one, and for `manual`."""

    def shards(self) -> list[EtlJob]:
        """The parts of a job that `load.shard_at` cuts, which several processes may run at the same time.

        Of any other job the job itself. A job that is cut cannot run itself.
        """

    def to_dict(self) -> dict[str, Any]:
        """The document."""

    def to_json(self) -> str:
        """The document as a JSON text."""

    def __getnewargs__(self) -> tuple[dict[str, Any]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__ = None  # type: ignore[assignment]

@final
class Schedule:
    """When a host should run a job: `every` (manual, hourly, daily, weekly, monthly) or `cron`, in a time zone.

    A job at a time of day runs once a day whatever the clocks do: a time that the clock leaves out runs in the
    first minute after it, one that comes twice runs the first time. A job through all hours runs once an hour.
    """

    def __new__(cls, document: Schedule | Mapping[str, Any], /) -> Self:
        """From a dict. Raises ConfigError, which names the field."""

    def next_runs(self, n: int = 5, *, after: datetime | None = None) -> list[datetime]:
        """The next `n` runs after an instant (default: now), in the schedule's zone; none for `manual`.

        `after` must have a time zone.
        """

    def cron(self) -> str | None:
        """The five fields of cron, in the schedule's own zone; None for `manual`.

        Raises UnsupportedError for the days 29 to 31 of every month.
        """

    def cloud_scheduler(self) -> dict[str, str] | None:
        """`schedule` and `timeZone`, as a Google Cloud Scheduler job takes them; None for `manual`."""

    def to_dict(self) -> dict[str, Any]:
        """The document."""

    def __getnewargs__(self) -> tuple[dict[str, Any]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    __hash__ = None  # type: ignore[assignment]

@final
class ControlPlane:
    """Fetches jobs of a control plane and delivers the reports of their runs.

    The contract is in docs/control-plane.md. What may pass by itself is tried again until the deadline.
    """

    def __new__(
        cls,
        url: str,
        token: str | None = None,
        *,
        credentials: str | None = None,
        spool: str | PathLike[str] | None = None,
        deadline: float = 60.0,
        allow_http: bool = False,
    ) -> Self:
        """`url` is what stands before `/v1`; `credentials` a reference to the token, such as `env:NAME`.

        `spool` is a folder for reports that cannot be delivered; `deadline` seconds for a call with all its tries;
        `allow_http` lets the token go over plain HTTP to another machine.
        """

    def jobs(self, ids: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """These jobs, or all that are enabled: `id`, and `document` or what is wrong with it as `error`."""

    def run(self, job_id: str) -> dict[str, Any]:
        """Fetches a job, runs it, and delivers progress and report.

        Gives `report`, also that of a run that failed, `delivered`, and if not, `kept_at` and `error`. Ctrl-C drops the
        run; it is not reported then. Raises what kept the job from beginning.
        """

    def send_spooled(self) -> dict[str, Any]:
        """Delivers what earlier processes left in the spool folder: `sent`, `kept`, `refused`, `error`."""

@disjoint_base
class Runner:
    """Runs jobs over connections. `transload.Runner` adds the asynchronous form."""

    def __new__(
        cls,
        connections: Sequence[Connection | Mapping[str, Any] | str] | None = None,
        memory_bytes: int | None = None,
        parallelism: int | None = None,
        retries: int = 0,
        deadline: float | None = None,
    ) -> Self:
        """`memory_bytes`: what rows in flight of one run should have; default 256 MiB, at least 16 MiB. A run
        gets at most half of what is free of the memory that all runs share: see `set_memory_budget`.
        `parallelism`: parts of a table read at once; default the number of cores, at most 4.
        `retries`: how often a run begins again after an error that may pass by itself (a lost connection, a
        restart, a lock). Nothing is doubled. The pause before is random, up to 1, 2, 4 ... 60 seconds.
        `deadline`: seconds that one job may take in all, retries and waiting included; then it fails as
        TransloadTimeoutError. A commit that has begun is finished.
        """

    def run(
        self,
        job: EtlJob | Mapping[str, Any] | str,
        on_progress: Callable[[dict[str, Any]], object] | None = None,
        cancel: CancelHandle | None = None,
        progress: bool | Literal["json"] | None = None,
    ) -> RunReport:
        """Runs a job to its end, without the GIL.

        `on_progress` is called in this thread, when the phase changes, about ten times a second while rows
        move, and at the end; keys: `job`, `phase`, `status`, `rows_read`, `rows_written`, `bytes_read`,
        `rows_per_second`, `splits` (`total`, `active`, `done`), `seconds`, `range` and `ranges` (which of how many
        ranges is being loaded), `eta_seconds` (None while unknown). What it raises cancels the run and is raised.

        `progress=True` shows a line on standard error, if that is a terminal; `"json"` writes every event
        there as a line of JSON.

        Raises the error that ended the run, with its `report`; Cancelled after `cancel.cancel()`;
        KeyboardInterrupt after Ctrl-C, once the run has cleaned up. Nothing half loaded stays. If the
        commit had begun it decides, and `report["committed"]` tells; interrupts and exceptions of the
        callback carry a `report` too.
        """

    def run_all(
        self,
        jobs: Sequence[EtlJob | Mapping[str, Any] | str],
        concurrency: int | None = None,
        per_connection: int | None = None,
        on_progress: Callable[[dict[str, Any]], object] | None = None,
        cancel: CancelHandle | None = None,
        progress: bool | Literal["json"] | None = None,
    ) -> BatchReport:
        """Runs many jobs, without the GIL, and reports on each. A job that fails is in the report and stops no
        other one, so nothing is raised for it.

        `concurrency`: jobs at once; default twice the number of cores, at most 8. `per_connection`: jobs at
        once that use one connection; default 4; `limits.parallel_jobs` of a connection wins over it. Source
        connections take turns; jobs into one table run one after the other; disabled jobs are `skipped`.

        `on_progress`, `cancel` and `progress` as of `run`; every event names its job. An interrupt and what the
        callback raises cancel all jobs and are raised, with the dict of the BatchReport in `report`.
        """

    def propose(self, job: EtlJob | Mapping[str, Any] | str) -> TableMapping:
        """The mapping that a run of the job would use."""

    def validate(self, job: EtlJob | Mapping[str, Any] | str) -> dict[str, Any]:
        """Compares the table at the destination with the one that the job needs, without changing it.

        Keys as of `TableMapping.validate`.
        """

    def prepare(self, job: EtlJob | Mapping[str, Any] | str) -> dict[str, Any]:
        """Creates or evolves the target table without loading rows, and gives it.

        Keys: `dataset`, `table`, `description`, `columns`. Raises SchemaChangedError where the existing
        table cannot take the rows.
        """

@final
class CancelHandle:
    """Cancels runs, from any thread. A cancelled handle stays cancelled."""

    def __new__(cls) -> Self: ...
    def cancel(self) -> None:
        """Stops the runs: each raises Cancelled, unless its commit had begun."""

    @property
    def is_cancelled(self) -> bool:
        """Whether it has been cancelled."""

@final
class BatchReport:
    """What happened in the runs of many jobs."""

    @property
    def status(self) -> str:
        """`succeeded` (every job that was not skipped), `partial`, `failed` (none) or `cancelled`."""

    @property
    def totals(self) -> dict[str, int]:
        """Sums: `jobs`, `succeeded`, `failed`, `cancelled`, `skipped`, `rows_read`, `rows_written`,
        `bytes_read`, `bytes_written`.
        """

    @property
    def reports(self) -> list[dict[str, Any]]:
        """One report a job, in the order given: keys as of RunReport, and `error`."""

    @property
    def started_at(self) -> str:
        """When it began, RFC 3339."""

    @property
    def finished_at(self) -> str:
        """When it ended, RFC 3339."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form as a dict."""

    def to_json(self) -> str:
        """The JSON form."""

@final
class RunReport:
    """What happened in one run that succeeded. Reports of other runs are on their exceptions, as dicts."""

    @property
    def job(self) -> str:
        """The job's name."""

    @property
    def status(self) -> str:
        """`succeeded`."""

    @property
    def source(self) -> str:
        """`connection: table` of the source."""

    @property
    def destination(self) -> str:
        """`connection: dataset.table` of the destination."""

    @property
    def strategy(self) -> str:
        """`replace`, `append` or `merge`."""

    @property
    def shard(self) -> int | None:
        """Which shard of the job, of those that are cut (`load.shard_at`); counted from 0."""

    @property
    def attempts(self) -> int:
        """How often the run began: 1, and one more for each retry."""

    @property
    def load_id(self) -> str | None:
        """The deterministic id of the load, once the window was decided."""

    @property
    def committed(self) -> bool:
        """Whether a load was committed. A run that found nothing new succeeds without one."""

    @property
    def window(self) -> dict[str, Any] | None:
        """The range of cursor values, for jobs with a cursor: `cursor`, `lo`, `hi`, `continues`, `null_cursors` (rows
        of the source that have no cursor value).
        """

    @property
    def ranges(self) -> list[dict[str, Any]]:
        """The ranges that were committed one by one, for jobs with a cursor, the newest 100: `lo`, `hi`, `rows`,
        `load_id`, `seconds`.
        """

    @property
    def ranges_committed(self) -> int:
        """How many ranges were committed."""

    @property
    def rows(self) -> dict[str, int]:
        """Row counts: `read`, `already_loaded`, `written`, `inserted`, `updated`, `superseded`,
        `rewritten`, `incomplete` (written rows of which a value did not fit and is NULL), `keys` (of the
        source, compared by `load.detect_deletes`), `deleted`, `marked` and `unmarked` (rows of the target
        that the source deleted, or has again), `tombstones` (written rows that say that they are deleted).
        """

    @property
    def rejects(self) -> list[dict[str, Any]]:
        """Values that did not fit and became NULL: `column`, `rejected`, `examples`."""

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """What became of every value, by column: `column`, `target`, `bigquery_type`, the counts `null`,
        `exact`, `converted`, `rounded`, `blank`, `nulled` and `quarantined`, and `examples` of the last
        four (`change`, `value`, `row_key`, `reason`).
        """

    @property
    def lossless(self) -> bool:
        """Whether the run succeeded and every value at the destination is the one at the source:
        nothing was rounded, nothing became NULL.
        """

    @property
    def quarantine(self) -> dict[str, Any] | None:
        """What the quarantine got, if anything: `table`, `rows`."""

    @property
    def profile(self) -> dict[str, Any] | None:
        """What the rows hold, as the job's `profile` asks (`off`, `counts`, `values`, `top_values`): `rows`
        and `columns`, each with `name`, `nulls` and, where they make sense, `distinct`, `min`, `max`,
        `lengths`, `empty`, `nan`, `trues`, `quantiles`, `top`. Values are texts.
        """

    @property
    def proof(self) -> dict[str, Any] | None:
        """Whether source and destination hold what passed through the run, as the job's `proof` asks (`off`,
        `counts`, `values`): `verdict` (`equal`, `not_compared`, `different`) and the sides `source` and
        `destination`, each with `verdict`, `reason`, `rows`, `rows_there`, `columns` and `seconds`.
        """

    @property
    def bytes_read(self) -> int:
        """Bytes of Arrow data read."""

    @property
    def bytes_written(self) -> int:
        """Encoded bytes written or sent."""

    @property
    def bytes_billed(self) -> int | None:
        """Bytes that the destination bills for putting the rows in place, where it bills by bytes (BigQuery)."""

    @property
    def batches(self) -> int:
        """Batches read."""

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by phase, and `total`."""

    @property
    def mapping_hash(self) -> str | None:
        """Hash of the mapping used."""

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """What to look out for: `column`, `code`, `text`."""

    @property
    def started_at(self) -> str:
        """When it began, RFC 3339."""

    @property
    def finished_at(self) -> str:
        """When it ended, RFC 3339."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form as a dict."""

    def to_json(self) -> str:
        """The JSON form."""
