//! The source: discovery, and beginning sessions.

use async_trait::async_trait;
use transload_core::connector::{ReadSession, SchemaInfo, ServerInfo, Settled, Source, TableInfo};
use transload_core::schema::{CursorValue, TableRef, TableSchema};
use transload_core::{Error, ErrorKind, Result, ResultExt as _, Secret};
use transload_sql::ranges::BYTES_WORTH_A_SPLIT;

use crate::catalog::{
    Described, SCHEMAS, describe_sql, described, is_missing, missing, names_sql, quoted, schema_info,
    table_info, tables_sql, touch_sql,
};
use crate::channel::Answer;
use crate::config::{Isolation, MssqlConfig};
use crate::connect::{Connect, Opened, Server};
use crate::session::MssqlSession;
use crate::snapshot::{BEGIN, share};
use crate::types::Wire;

#[derive(Debug)]
pub(crate) struct MssqlSource {
    connect: Connect,
}

/// A connection inside a transaction, and the table as it sees it.
struct Begun {
    opened: Opened,
    server: Server,
    isolation: Isolation,
    described: Described,
    /// The answers to what was asked ahead of the transaction, among others.
    answers: Vec<Answer>,
}

impl Begun {
    /// Why what a session reads is not of one moment.
    fn no_snapshot(&self) -> Option<&'static str> {
        match (self.isolation, self.server.is_synapse(), self.server.versioned) {
            (Isolation::Snapshot, ..) => None,
            (_, true, _) => Some(
                "Azure Synapse has no snapshots: rows that are written meanwhile may be read or not, and a transaction \
                 may be seen in part",
            ),
            (_, _, true) => Some(
                "read under READ COMMITTED with row versions: each statement sees one moment, but the range of the \
                 cursor, the rows and a proof are read by several",
            ),
            _ => Some(
                "read under READ COMMITTED: rows that are written meanwhile may be read or not, rows whose key changes \
                 may be read twice, and a transaction may be seen in part; ALLOW_SNAPSHOT_ISOLATION of the database \
                 would help",
            ),
        }
    }
}

impl MssqlSource {
    pub(crate) fn new(config: &MssqlConfig, secret: Option<&Secret>) -> Result<Self> {
        Ok(Self { connect: Connect::new(config, secret)? })
    }

    /// Runs statements, and describes the table in what they leave: one round trip.
    async fn describe_after(
        &self,
        opened: &mut Opened,
        server: &Server,
        ahead: &str,
        table: &TableRef,
    ) -> Result<(Described, Vec<Answer>)> {
        let sql = format!("{ahead}{}", describe_sql(table, server)?);
        let answers = match opened.channel.query(&sql).await {
            Ok(answers) => answers,
            Err(error) if is_missing(&error) => {
                let names = opened.channel.query(&names_sql(table)?).await?;
                return Err(missing(table, error, &names));
            }
            Err(error) => return Err(error.with("table", table)),
        };
        Ok((described(table, &answers, server, self.connect.options())?, answers))
    }

    /// A connection inside a transaction. `first` is asked ahead of it.
    async fn begun(&self, table: &TableRef, first: &str) -> Result<Begun> {
        let (mut opened, server) = self.connect.meet().await?;
        let isolation = self.connect.isolation(&server)?;
        let settings = self.connect.settings(&server, isolation);
        // Without a snapshot a transaction would only hold locks.
        let begin = if isolation == Isolation::Snapshot { BEGIN } else { "" };
        let touch = touch_sql(&quoted(table)?);
        let ahead: Vec<_> = [settings.as_str(), first, begin, &touch, ""].into_iter().collect();
        let ahead = ahead
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| format!("{part};\n"))
            .collect::<String>();
        let (described, answers) = self.describe_after(&mut opened, &server, &ahead, table).await?;
        Ok(Begun { opened, server, isolation, described, answers })
    }

    async fn session(&self, begun: Begun, shared: bool) -> Result<Box<dyn ReadSession>> {
        let no_snapshot = begun.no_snapshot();
        let Begun { mut opened, server, mut described, .. } = begun;
        let parts = usize::try_from(described.bytes / BYTES_WORTH_A_SPLIT).unwrap_or(usize::MAX);
        let count = self.connect.options().session_connections.min(parts);
        let mut others = Vec::new();
        if shared && count > 1 && no_snapshot.is_none() && described.is_table && !described.leading.is_empty()
        {
            let table = described.table.table.clone();
            others = share(&self.connect, &server, &mut opened, &described.quoted, count)
                .await
                .with("table", &table)?;
            // The new snapshot may be of an altered table.
            described = self.describe_after(&mut opened, &server, "", &table).await?.0;
        }
        others.insert(0, opened);
        Ok(Box::new(MssqlSession::new(others, described, no_snapshot)))
    }
}

#[async_trait]
impl Source for MssqlSource {
    async fn check(&self) -> Result<ServerInfo> {
        let (opened, server) = self.connect.meet().await?;
        let version = format!("{} {} ({})", server.product(), server.version, server.edition);
        Ok(ServerInfo { version, tls: Some(opened.channel.is_tls()) })
    }

    async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        let answers = self.connect.ask(SCHEMAS).await?;
        let Some(answer) = answers.last() else { return Ok(Vec::new()) };
        let mut schemas =
            answer.rows.iter().map(|row| schema_info(answer, row)).collect::<Result<Vec<SchemaInfo>>>()?;
        schemas.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(schemas)
    }

    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        let (mut opened, server) = self.connect.meet().await?;
        let answers = opened.channel.query(&tables_sql(schema, &server)?).await?;
        let [.., found, tables] = answers.as_slice() else {
            return Err(Error::internal("the catalog gave too few results"));
        };
        if let Some(schema) = schema.filter(|_| found.rows.is_empty()) {
            return Err(Error::new(ErrorKind::NotFound, format!("schema {schema} does not exist"))
                .with("schema", schema)
                .hint("list the schemas with schemas()"));
        }
        let mut infos =
            tables.rows.iter().map(|row| table_info(tables, row)).collect::<Result<Vec<TableInfo>>>()?;
        infos.sort_by(|one, other| one.table.cmp(&other.table));
        Ok(infos)
    }

    async fn describe(&self, table: &TableRef) -> Result<TableSchema> {
        Ok(self.begun(table, "").await?.described.table)
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        let begun = self.begun(table, "").await?;
        self.session(begun, true).await
    }

    async fn begin_settled(&self, table: &TableRef, cursor: &str) -> Result<(Box<dyn ReadSession>, Settled)> {
        // Ahead of the snapshot, so that what commits in between is seen and bounded away, not missed.
        let begun = self.begun(table, "SELECT CAST(MIN_ACTIVE_ROWVERSION() AS binary(8)) AS bound").await?;
        let (column, read) = begun.described.column(cursor)?;
        if read.wire != Wire::RowVersion {
            let text =
                format!("open transactions bound a rowversion, and `{cursor}` is {}", column.source_type);
            return Err(Error::unsupported(text)
                .with("table", table)
                .with("column", cursor)
                .hint("set `load.lag` above the longest transaction instead of `load.cursor_bound`"));
        }
        let bound =
            begun.answers.iter().find(|answer| answer.columns.first().is_some_and(|name| name == "bound"));
        let text = bound.and_then(|answer| answer.rows.first()?.first()?.as_deref());
        let digits = text.and_then(|text| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok());
        let bound = digits.ok_or_else(|| Error::internal("the server gave no lowest active rowversion"))?;
        // The lowest one that a transaction may still bring; all below it are settled.
        let upto = CursorValue::Binary(bound.saturating_sub(1).to_be_bytes().to_vec());
        Ok((self.session(begun, false).await?, Settled { upto, waits_for: None }))
    }
}
