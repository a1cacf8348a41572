//! What a connector's test file provides, so that the suite can test it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use transload_core::connector::{
    Capability, Connector, Credentialed, Descriptor, Destination, Source, TableKind,
};
use transload_core::schema::{BigQueryType, TableRef, TargetRef, TargetTable};
use transload_core::{Connection, Registry, Result};

use crate::cell::{Cell, Row};
use crate::table::{Kind, TestTable};

/// Why a case did not pass. There is no third outcome: what cannot run with a subject is not in its set of cases.
#[derive(Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Says what was being done.
    #[must_use]
    pub fn during(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every error is a failure; `Failure` is no `Error` itself, which is what makes this possible.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            if !text.contains(&next.to_string()) {
                text = format!("{text}: {next}");
            }
            cause = next.source();
        }
        Self(text)
    }
}

/// Result of everything in the suite.
pub type Done<T = ()> = std::result::Result<T, Failure>;

/// An environment variable that a test needs.
///
/// Tests of a server that answers one request at a time run in a group of cargo-nextest. A second
/// server has its address in `<name>_1`, and those of the group's second slot use that.
///
/// # Errors
/// A failure that says which variable is missing and how to get it.
pub fn need_env(name: &str) -> Done<String> {
    let slot = std::env::var("NEXTEST_TEST_GROUP_SLOT").ok();
    let of_slot = slot.and_then(|slot| std::env::var(format!("{name}_{slot}")).ok());
    of_slot.map_or_else(|| std::env::var(name), Ok).map_err(|_| {
        Failure::new(format!("{name} is not set: start the servers with connectors/testkit/services/up.sh"))
    })
}

/// What a source can hold, beyond its [`Capability`].
#[derive(Debug, Clone)]
pub struct SourceFacts {
    /// Column kinds that it keeps exactly.
    pub kinds: Vec<Kind>,
    /// Whether its catalog knows primary keys.
    pub primary_keys: bool,
    /// Whether its catalog knows NOT NULL.
    pub not_null: bool,
    /// What its tables are.
    pub table_kind: TableKind,
    /// Whether a session whose table changes ends with a `conflict` or `schema_changed` error, in place of
    /// going on with the rows of its beginning. Default: no.
    pub changes_end_sessions: bool,
    /// Whether a text column can be a cursor: the source orders text by its bytes. Default: yes.
    pub text_cursors: bool,
}

impl Default for SourceFacts {
    fn default() -> Self {
        Self {
            kinds: vec![Kind::Text],
            primary_keys: false,
            not_null: false,
            table_kind: TableKind::Table,
            changes_end_sessions: false,
            text_cursors: true,
        }
    }
}

/// Makes tables at a source by other means than transload.
#[async_trait]
pub trait SourceFixture: Send + Sync {
    /// What the source can hold.
    fn facts(&self) -> SourceFacts;

    /// Whether a table or column may have this name. Default: yes.
    fn accepts_name(&self, _name: &str) -> bool {
        true
    }

    /// Whether a column of this kind keeps this value. Default: yes.
    fn accepts(&self, _kind: Kind, _value: &Cell) -> bool {
        true
    }

    /// Creates a table with its rows, and says how transload names it.
    async fn create(&self, table: &TestTable) -> Done<TableRef>;

    /// Adds rows to a table, durable when this returns.
    async fn insert(&self, table: &TableRef, rows: &TestTable) -> Done;

    /// Drops a table; a missing one is fine.
    async fn drop_table(&self, table: &TableRef) -> Done;
}

/// What a destination can hold, beyond its [`Capability`].
#[derive(Debug, Clone)]
pub struct DestinationFacts {
    /// Column types that it keeps exactly.
    pub types: Vec<BigQueryType>,
}

/// Reads and drops tables at a destination by other means than transload.
#[async_trait]
pub trait DestinationFixture: Send + Sync {
    /// What the destination can hold.
    fn facts(&self) -> DestinationFacts;

    /// Whether a column of this type keeps this value. Default: yes.
    fn accepts(&self, _data_type: &BigQueryType, _value: &Cell) -> bool {
        true
    }

    /// All rows that readers see, with the columns of `table` in their order; `None` if there is no table.
    async fn read(&self, table: &TargetTable) -> Done<Option<Vec<Row>>>;

    /// Drops a dataset with its tables; a missing one is fine.
    async fn drop_dataset(&self, dataset: &str) -> Done;
}

/// One connector under test.
#[derive(Clone)]
pub struct Subject {
    /// What its cases are named after, for example `postgres` or `files-csv`.
    pub name: &'static str,
    connector: Arc<dyn Connector>,
    connection: Arc<dyn Fn() -> Done<Connection> + Send + Sync>,
    /// Makes tables to read.
    pub source: Option<Arc<dyn SourceFixture>>,
    /// Looks at tables that were loaded.
    pub destination: Option<Arc<dyn DestinationFixture>>,
}

impl Subject {
    /// A connector; `connection` is called by each case and may fail where a server is missing.
    pub fn new(
        name: &'static str,
        connector: impl Connector + 'static,
        connection: impl Fn() -> Done<Connection> + Send + Sync + 'static,
    ) -> Self {
        let (connector, connection) = (Arc::new(connector), Arc::new(connection));
        Self { name, connector, connection, source: None, destination: None }
    }

    /// Lets the source cases run.
    #[must_use]
    pub fn source(mut self, fixture: impl SourceFixture + 'static) -> Self {
        self.source = Some(Arc::new(fixture));
        self
    }

    /// Lets the destination cases run.
    #[must_use]
    pub fn destination(mut self, fixture: impl DestinationFixture + 'static) -> Self {
        self.destination = Some(Arc::new(fixture));
        self
    }

    /// The connector.
    #[must_use]
    pub fn connector(&self) -> Shared {
        Shared(Arc::clone(&self.connector))
    }

    /// What the connector declares.
    #[must_use]
    pub fn capability(&self) -> Capability {
        self.connector.descriptor().capability
    }

    /// A registry with this connector only.
    #[must_use]
    pub fn registry(&self) -> Registry {
        Registry::new().with(self.connector())
    }

    /// The connection under test.
    ///
    /// # Errors
    /// A missing server.
    pub fn connection(&self) -> Done<Connection> {
        (self.connection)()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subject").field(&self.name).finish()
    }
}

/// A connector that several registries share.
#[derive(Debug, Clone)]
pub struct Shared(pub(crate) Arc<dyn Connector>);

#[async_trait]
impl Connector for Shared {
    fn descriptor(&self) -> Descriptor {
        self.0.descriptor()
    }

    fn validate(&self, connection: &Connection) -> Result<()> {
        self.0.validate(connection)
    }

    async fn source(&self, target: Credentialed) -> Result<Arc<dyn Source>> {
        self.0.source(target).await
    }

    async fn destination(&self, target: Credentialed) -> Result<Arc<dyn Destination>> {
        self.0.destination(target).await
    }
}

/// The fixture of the memory connector, which the runner cases of every other connector use as the other
/// end.
#[derive(Debug, Clone)]
pub struct MemoryFixture {
    memory: transload_core::memory::Memory,
    store: String,
}

impl MemoryFixture {
    /// A subject with a store of its own.
    #[must_use]
    pub fn subject(store: &str) -> Subject {
        let memory = transload_core::memory::Memory::default();
        let fixture = Self { memory: memory.clone(), store: store.to_owned() };
        let connection = Connection::new("memory", "memory").option("path", store);
        Subject::new("memory", memory, move || Ok(connection.clone()))
            .source(fixture.clone())
            .destination(fixture)
    }

    const DATASET: &str = "suite";
}

#[async_trait]
impl SourceFixture for MemoryFixture {
    fn facts(&self) -> SourceFacts {
        SourceFacts { kinds: Kind::ALL.to_vec(), not_null: true, ..SourceFacts::default() }
    }

    async fn create(&self, table: &TestTable) -> Done<TableRef> {
        self.memory.put(&self.store, Self::DATASET, &table.name, table.to_batch()?)?;
        Ok(TableRef::new(Self::DATASET, &table.name))
    }

    async fn insert(&self, table: &TableRef, rows: &TestTable) -> Done {
        let schema = table.schema.as_deref().unwrap_or_default();
        let old = self.memory.get(&self.store, schema, &table.name);
        let old = old.ok_or_else(|| Failure::new(format!("{table} is not in memory")))?;
        let mut all = rows.clone();
        all.rows = crate::arrow::rows(&old)?;
        all.rows.extend(rows.rows.iter().cloned());
        Ok(self.memory.put(&self.store, schema, &table.name, all.to_batch()?)?)
    }

    async fn drop_table(&self, _: &TableRef) -> Done {
        // The store is gone with the process.
        Ok(())
    }
}

#[async_trait]
impl DestinationFixture for MemoryFixture {
    fn facts(&self) -> DestinationFacts {
        DestinationFacts { types: crate::table::all_target_types() }
    }

    async fn read(&self, table: &TargetTable) -> Done<Option<Vec<Row>>> {
        let TargetRef { dataset, table: name } = &table.target;
        let Some(batch) = self.memory.get(&self.store, dataset, name) else { return Ok(None) };
        let indices: Vec<usize> = table
            .columns
            .iter()
            .map(|column| batch.schema().index_of(&column.name))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Some(crate::arrow::rows(&batch.project(&indices)?)?))
    }

    async fn drop_dataset(&self, _: &str) -> Done {
        Ok(())
    }
}
