//! What a connector says about itself, as data.

use serde::Serialize;
use serde_json::Value;

/// Where a system stands in a catalogue of connectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Category {
    /// A relational database.
    Relational,
    /// A data warehouse.
    Warehouse,
    /// A document, key-value or wide-column store.
    Nosql,
    /// Files.
    Files,
    /// An object store.
    ObjectStore,
    /// The process's own memory.
    Memory,
}

/// What a connector can do. Declared once; the behaviour suite tests both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Capability {
    /// Tables can be read.
    pub source: bool,
    /// Tables can be loaded.
    pub destination: bool,
    /// A source has schemas between the connection and its tables.
    pub schemas: bool,
    /// Everything one read session reads is one consistent snapshot.
    pub snapshot: bool,
    /// A source can select rows by a cursor column and tell its range.
    pub cursor: bool,
    /// A source can tell up to where open transactions leave a cursor alone
    /// ([`Source::begin_settled`](super::Source::begin_settled)).
    pub open_transactions: bool,
    /// The system itself computes figures of its rows, with which runs prove that nothing was lost
    /// ([`ReadSession::figures`](super::ReadSession::figures), [`Destination::figures`](super::Destination::figures)).
    pub figures: bool,
    /// A destination can replace a table atomically.
    pub replace: bool,
    /// A destination can append.
    pub append: bool,
    /// A destination can merge by key.
    pub merge: bool,
    /// A merge can remove or mark the rows that the source has no longer, or that say that they are deleted
    /// ([`LoadWriter::keep`](super::LoadWriter::keep)).
    pub deletes: bool,
    /// A destination keeps committed loads when the process ends.
    pub durable: bool,
}

impl Capability {
    /// A source without any further ability.
    pub const SOURCE: Self = Self { source: true, ..Self::NONE };
    /// Nothing.
    pub const NONE: Self = Self {
        source: false,
        destination: false,
        schemas: false,
        snapshot: false,
        cursor: false,
        open_transactions: false,
        figures: false,
        replace: false,
        append: false,
        merge: false,
        deletes: false,
        durable: false,
    };
    /// A durable destination with every load strategy.
    pub const DESTINATION: Self = Self {
        destination: true,
        replace: true,
        append: true,
        merge: true,
        deletes: true,
        durable: true,
        ..Self::NONE
    };

    /// With schemas.
    #[must_use]
    pub const fn with_schemas(mut self) -> Self {
        self.schemas = true;
        self
    }

    /// With a consistent snapshot.
    #[must_use]
    pub const fn with_snapshot(mut self) -> Self {
        self.snapshot = true;
        self
    }

    /// With cursor windows.
    #[must_use]
    pub const fn with_cursor(mut self) -> Self {
        self.cursor = true;
        self
    }

    /// With a cursor bound below open transactions.
    #[must_use]
    pub const fn with_open_transactions(mut self) -> Self {
        self.open_transactions = true;
        self
    }

    /// With figures of its rows.
    #[must_use]
    pub const fn with_figures(mut self) -> Self {
        self.figures = true;
        self
    }

    /// With everything that either has.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            source: self.source || other.source,
            destination: self.destination || other.destination,
            schemas: self.schemas || other.schemas,
            snapshot: self.snapshot || other.snapshot,
            cursor: self.cursor || other.cursor,
            open_transactions: self.open_transactions || other.open_transactions,
            figures: self.figures || other.figures,
            replace: self.replace || other.replace,
            append: self.append || other.append,
            merge: self.merge || other.merge,
            deletes: self.deletes || other.deletes,
            durable: self.durable || other.durable,
        }
    }
}

/// What a user interface needs to offer a connector: a tile, a form, defaults.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Descriptor {
    /// The type that connections name, for example `postgresql`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Other spellings of the type that are accepted (URL schemes).
    pub aliases: &'static [&'static str],
    /// The name people read.
    pub label: &'static str,
    /// Where it stands in a catalogue.
    pub category: Category,
    /// The port a form shows, where there is one.
    pub default_port: Option<u16>,
    /// Whether the connection takes credentials.
    pub takes_secret: bool,
    /// JSON Schema of the options, derived from the connector's typed configuration.
    pub options: Value,
    /// JSON Schema of what a job may say to it as a destination (`destination.options`); empty for nothing.
    pub job_options: Value,
    /// What it can do.
    pub capability: Capability,
}

impl Descriptor {
    /// A descriptor without aliases, port or secret.
    #[must_use]
    pub fn new(kind: &'static str, label: &'static str, category: Category, capability: Capability) -> Self {
        Self {
            kind,
            aliases: &[],
            label,
            category,
            default_port: None,
            takes_secret: false,
            options: Value::Object(serde_json::Map::new()),
            job_options: Value::Object(serde_json::Map::new()),
            capability,
        }
    }

    /// Sets the other spellings.
    #[must_use]
    pub fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Sets the default port.
    #[must_use]
    pub fn default_port(mut self, port: u16) -> Self {
        self.default_port = Some(port);
        self
    }

    /// Says that connections take credentials.
    #[must_use]
    pub fn takes_secret(mut self) -> Self {
        self.takes_secret = true;
        self
    }

    /// Takes the option schema from the connector's typed configuration.
    #[must_use]
    pub fn options_of<T: schemars::JsonSchema>(mut self) -> Self {
        self.options = crate::document::schema_of::<T>().to_value();
        self
    }

    /// Takes the schema of a job's options from their type.
    #[must_use]
    pub fn job_options_of<T: schemars::JsonSchema>(mut self) -> Self {
        self.job_options = crate::document::schema_of::<T>().to_value();
        self
    }
}
