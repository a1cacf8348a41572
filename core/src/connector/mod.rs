//! The contract between the engine and a system: [`Connector`], [`Source`], [`ReadSession`],
//! [`Destination`] and [`LoadWriter`].
//!
//! What holds for every method, and what implementors may rely on:
//!
//! - **Errors** are classified once, at the connector's edge, from codes and not from message texts.
//! - **Retry, timeout, logging, progress** wrap connectors from outside. A connector tries once.
//! - **Cancellation** is dropping the future or stream. Nothing may stay half visible after that.
//! - **Identifiers** are quoted by one function per dialect; **values** are bound or encoded, never pasted.
//! - What [`Capability`] does not declare answers with an `unsupported` error; what it declares works.
//!   The behaviour suite in `connectors/testkit` tests both directions.

mod covered;
mod deletes;
mod descriptor;
mod load;
mod read;
mod registry;

use std::fmt;
use std::sync::Arc;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use serde_json::{Map, Value, json};

pub use covered::CursorInterval;
pub(crate) use covered::{Gap, cover, gaps, order};
pub use deletes::{Deletes, Extent, KeyComparison, Missing};
pub use descriptor::{Capability, Category, Descriptor};
pub use load::{
    BoundaryRows, LoadOutcome, LoadPlan, LoadRecord, LoadRequest, LoadWriter, OnSchemaChange, PrepareOutcome,
    WriteMode, newest_by_job,
};
pub use read::{CursorFilter, CursorSummary, OpenTransaction, ReadPlan, ReadSession, Settled, Split};
pub use registry::{ConnectionStatus, Registry, TestStatus};

use crate::connection::Connection;
use crate::error::{Error, Result, ResultExt as _};
use crate::proof::{ProofLevel, TableFigures};
use crate::schema::{Evolvable, TableCheck, TableRef, TableSchema, TargetRef, TargetTable, Warning};
use crate::secret::Secret;

/// A connection whose credentials have been fetched: what a [`Connector`] opens.
#[derive(Debug, Clone)]
pub struct Credentialed {
    /// The connection.
    pub connection: Connection,
    /// Its secret, if it has one. For most systems this is the password.
    pub secret: Option<Secret>,
}

/// The code for one system type. Cheap to create, stateless.
#[async_trait]
pub trait Connector: Send + Sync + fmt::Debug {
    /// What a user interface and the registry need to know, as data.
    fn descriptor(&self) -> Descriptor;

    /// Checks the options of a connection without any I/O.
    ///
    /// # Errors
    /// `config` for unknown, missing or wrong options.
    fn validate(&self, connection: &Connection) -> Result<()>;

    /// Opens the connection for reading. The source is read-only: nothing the engine runs may change it.
    /// May defer all I/O to the first use.
    ///
    /// # Errors
    /// `config`, and `unsupported` where [`Capability::source`] is false.
    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>>;

    /// Opens the connection for loading.
    ///
    /// # Errors
    /// `config`, and `unsupported` where [`Capability::destination`] is false.
    async fn destination(&self, target: Credentialed) -> Result<Arc<dyn Destination>>;
}

/// What a system answered to a connection test.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerInfo {
    /// Product and version as the system names them, for example `PostgreSQL 15.20`.
    pub version: String,
    /// Whether the connection is encrypted; `None` where that means nothing (a local file).
    pub tls: Option<bool>,
}

/// One schema (or database, dataset, folder) of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaInfo {
    /// Its name.
    pub name: String,
    /// Its comment, where the system keeps one.
    pub comment: Option<String>,
}

impl SchemaInfo {
    /// The JSON form, as the bindings give it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"name": self.name, "comment": self.comment})
    }
}

/// What a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableKind {
    /// A table that holds rows.
    Table,
    /// A view.
    View,
    /// A materialised view.
    MaterializedView,
    /// A partitioned table (its partitions are not listed).
    Partitioned,
    /// A foreign or external table.
    Foreign,
    /// A file, or a set of files read as one table.
    File,
}

impl TableKind {
    /// The stable name, for example `materialized_view`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::MaterializedView => "materialized_view",
            Self::Partitioned => "partitioned",
            Self::Foreign => "foreign",
            Self::File => "file",
        }
    }
}

/// One table of a source, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Schema and name.
    pub table: TableRef,
    /// What it is.
    pub kind: TableKind,
    /// Whether this user may read it, at least some of its columns. True where a system has no privileges.
    pub readable: bool,
    /// Estimated number of rows; `None` where the system does not know without counting.
    pub rows_estimate: Option<u64>,
    /// Bytes on disk without indexes, where the system knows; it may be an estimate.
    pub bytes: Option<u64>,
    /// When statistics were last gathered, as RFC 3339 text, where the system keeps them.
    pub last_analyzed: Option<String>,
    /// When dead rows were last cleaned up, as RFC 3339 text, where the system has such a thing.
    pub last_vacuumed: Option<String>,
    /// Last change of the rows as RFC 3339 text, where the system truly knows it (a file's time does count,
    /// a guess from statistics does not).
    pub last_change: Option<String>,
    /// Its comment.
    pub comment: Option<String>,
}

impl TableInfo {
    /// A readable table of which nothing else is known.
    #[must_use]
    pub fn new(table: TableRef, kind: TableKind) -> Self {
        Self {
            table,
            kind,
            readable: true,
            rows_estimate: None,
            bytes: None,
            last_analyzed: None,
            last_vacuumed: None,
            last_change: None,
            comment: None,
        }
    }

    /// The JSON form, as the bindings give it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "schema": self.table.schema,
            "name": self.table.name,
            "kind": self.kind.as_str(),
            "readable": self.readable,
            "rows_estimate": self.rows_estimate,
            "bytes": self.bytes,
            "last_analyzed": self.last_analyzed,
            "last_vacuumed": self.last_vacuumed,
            "last_change": self.last_change,
            "comment": self.comment,
        })
    }
}

/// An opened connection that rows are read from.
#[async_trait]
pub trait Source: Send + Sync + fmt::Debug {
    /// Connects and asks for the version.
    ///
    /// # Errors
    /// `auth`, `unreachable`, `tls`, `not_found` (the database) and so on.
    async fn check(&self) -> Result<ServerInfo>;

    /// Lists schemas, without the system's own. A source without schemas answers an empty list.
    ///
    /// # Errors
    /// As [`Self::check`].
    async fn schemas(&self) -> Result<Vec<SchemaInfo>>;

    /// Lists the tables of a schema, or of all schemas, ordered by schema and name.
    ///
    /// # Errors
    /// As [`Self::check`]; `not_found` for a schema that does not exist.
    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>>;

    /// Columns, types, keys and comments from the catalog.
    ///
    /// # Errors
    /// `not_found` for a table that does not exist, `permission` for one that may not be read.
    async fn describe(&self, table: &TableRef) -> Result<TableSchema>;

    /// Up to `rows` rows as one batch, from anywhere in the table, in the schema that
    /// [`Self::describe`] gives; fewer when [`SAMPLE_BYTES`](crate::batch::SAMPLE_BYTES) are together. An empty
    /// table gives an empty batch.
    ///
    /// # Errors
    /// As [`Self::describe`].
    async fn sample(&self, table: &TableRef, rows: usize) -> Result<RecordBatch> {
        let session = self.begin(table).await.operation("sample")?;
        let sample = session.sample(rows).await.operation("sample")?;
        session.close().await.operation("sample")?;
        Ok(sample)
    }

    /// Begins reading one table. Where [`Capability::snapshot`] is declared, everything that the session
    /// reads, the cursor summary included, is one consistent snapshot taken here.
    ///
    /// # Errors
    /// As [`Self::describe`].
    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>>;

    /// Begins as [`Self::begin`] does, and says up to where the values of a cursor column are settled: no
    /// transaction that the session's snapshot does not see can still bring rows at or below that value, as
    /// long as the column gets its value from the clock of the server while its row is written.
    ///
    /// It is one call because the order matters: open transactions must be looked at before the snapshot is
    /// taken, so that one that ends in between is seen either as open or by the snapshot.
    ///
    /// # Errors
    /// `unsupported` where [`Capability::open_transactions`] is false, for a column without such a value, and
    /// where open transactions cannot be seen at all; `permission` where this user may not see them.
    async fn begin_settled(&self, table: &TableRef, cursor: &str) -> Result<(Box<dyn ReadSession>, Settled)> {
        Err(Error::unsupported("this source cannot tell which transactions are open")
            .with("table", table)
            .with("column", cursor)
            .hint("set `load.lag` above the longest transaction instead of `load.cursor_bound`"))
    }
}

/// An opened connection that tables are loaded into.
///
/// A load is visible all at once or not at all. What the engine must remember (the [`LoadRecord`]) is
/// committed with the rows.
#[async_trait]
pub trait Destination: Send + Sync + fmt::Debug {
    /// Connects and asks for the version, and whether it may write.
    ///
    /// # Errors
    /// `auth`, `unreachable`, `permission` and so on.
    async fn check(&self) -> Result<ServerInfo>;

    /// Checks what a job says to this destination in its own words (`destination.options`). Called before anything
    /// is read or made. By default there is nothing to say.
    ///
    /// # Errors
    /// `config` for unknown or impossible options, `unsupported` where there are none.
    fn check_options(&self, options: &Map<String, Value>) -> Result<()> {
        let names: Vec<&str> = options.keys().map(String::as_str).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::unsupported(format!("this destination takes no options of a job: {}", names.join(", ")))
            .hint("leave `destination.options` out"))
    }

    /// Creates the dataset unless it exists.
    ///
    /// # Errors
    /// `permission` and so on.
    async fn ensure_dataset(&self, dataset: &str) -> Result<()>;

    /// The table as it is now, or `None`.
    ///
    /// # Errors
    /// Those of reaching the system.
    async fn table(&self, target: &TargetRef) -> Result<Option<TargetTable>>;

    /// Compares the table that is there with `target`, without changing it.
    ///
    /// # Errors
    /// Those of reaching the system.
    async fn validate(&self, target: &TargetTable) -> Result<TableCheck> {
        let existing = self.table(&target.target).await?;
        let mut check = target.check_against(existing.as_ref(), Evolvable::COLUMNS);
        if let Err(error) = target.layout.refuse("this destination") {
            check.add_problem(&error);
        }
        Ok(check)
    }

    /// Creates the table, or checks the existing one against `target` and evolves it as far as `policy`
    /// allows. It never drops or narrows anything. Called before any row is read.
    ///
    /// # Errors
    /// `schema_changed` where the existing table cannot take the rows; the error names each column.
    async fn prepare(&self, target: &TargetTable, policy: OnSchemaChange) -> Result<PrepareOutcome>;

    /// Takes back a table that [`Self::prepare`] created in this run, so that it can be created with other
    /// types. A table that holds a row or a load by now is left alone. `true` if the table is gone; by default
    /// every table is left alone.
    ///
    /// # Errors
    /// `permission` and so on.
    async fn withdraw(&self, target: &TargetRef) -> Result<bool> {
        let _ = target;
        Ok(false)
    }

    /// Holds what a load is about to bring against the limits of the system, before any row is read. Gives warnings.
    ///
    /// # Errors
    /// `config` where the load would be refused at its end.
    async fn plan_load(&self, plan: LoadPlan<'_>) -> Result<Vec<Warning>> {
        let _ = plan;
        Ok(Vec::new())
    }

    /// The newest committed load of this job into this table, or `None`. `job` is
    /// [`EtlJob::identity`](crate::EtlJob::identity).
    ///
    /// # Errors
    /// Those of reaching the system.
    async fn last_load(&self, target: &TargetRef, job: &str) -> Result<Option<LoadRecord>>;

    /// Figures of the rows of a table that `extent` names, computed by the system itself, in the order of `target`'s columns. A figure that it cannot express as
    /// [`Measure`](crate::proof::Measure) of the target's Arrow type says is `None`.
    ///
    /// # Errors
    /// `unsupported` where the destination cannot, and for a window over a column that it cannot compare.
    async fn figures(
        &self,
        target: &TargetTable,
        extent: Extent<'_>,
        level: ProofLevel,
    ) -> Result<TableFigures> {
        let _ = (target, extent, level);
        Err(Error::unsupported("this destination cannot compute figures of its rows"))
    }

    /// The newest committed load of every job that had this name when it loaded into this table, in any order. A
    /// job whose cursor or key was changed is another one to [`Self::last_load`]; here it is still found.
    ///
    /// # Errors
    /// Those of reaching the system.
    async fn last_loads(&self, target: &TargetRef, job_name: &str) -> Result<Vec<LoadRecord>>;

    /// Begins a load. Cleans what dead loads of the same table staged. A second load of the same table at
    /// the same time is a `conflict`.
    ///
    /// # Errors
    /// `conflict`, `permission` and so on.
    async fn begin_load(&self, request: LoadRequest) -> Result<Box<dyn LoadWriter>>;
}
