//! The source: discovery, and beginning sessions.

use async_trait::async_trait;
use transload_core::connector::{ReadSession, SchemaInfo, ServerInfo, Source, TableInfo};
use transload_core::schema::{TableRef, TableSchema};
use transload_core::{Error, ErrorKind, Result, ResultExt as _, Secret};
use transload_sql::ranges::BYTES_WORTH_A_SPLIT;

use crate::catalog::{
    Described, describe_sql, described, missing, names_sql, schema_info, schemas_sql, table_info, tables_sql,
};
use crate::config::{MysqlConfig, SharedSnapshot};
use crate::connect::{Connect, Opened};
use crate::error::code_of;
use crate::protocol::Flavour;
use crate::session::MysqlSession;
use crate::snapshot::{BEGIN, share};

#[derive(Debug)]
pub(crate) struct MysqlSource {
    connect: Connect,
}

impl MysqlSource {
    pub(crate) fn new(config: &MysqlConfig, secret: Option<&Secret>) -> Result<Self> {
        Ok(Self { connect: Connect::new(config, secret)? })
    }

    /// Runs statements, and describes the table in what they leave: one round trip.
    async fn describe_after(&self, opened: &mut Opened, ahead: &str, table: &TableRef) -> Result<Described> {
        let flavour = opened.flavour;
        let sql = format!("{ahead}{}", describe_sql(table, flavour)?);
        let answers = match opened.channel.query(&sql).await {
            Ok(answers) => answers,
            Err(error) if code_of(&error) == Some(1054) && flavour == Flavour::Mysql => {
                // MySQL 5.7 knows no SRID of a column.
                opened.channel.query(&sql.replace(", srs_id AS srid", "")).await.with("table", table)?
            }
            Err(error) if matches!(code_of(&error), Some(1146 | 1049)) => {
                let names = opened.channel.query(&names_sql(table)).await?;
                return Err(missing(table, error, &names));
            }
            Err(error) => return Err(error.with("table", table)),
        };
        described(table, &answers, flavour, self.connect.options().zero_dates)
    }

    /// A connection inside a read-only snapshot, and the table as that snapshot sees it.
    async fn begun(&self, table: &TableRef) -> Result<(Opened, Described)> {
        let mut opened = self.connect.open().await?;
        let ahead = format!("{}; {BEGIN}; ", self.connect.settings(opened.flavour));
        let described = self.describe_after(&mut opened, &ahead, table).await?;
        Ok((opened, described))
    }
}

#[async_trait]
impl Source for MysqlSource {
    async fn check(&self) -> Result<ServerInfo> {
        let (mut opened, _) = self.connect.ask("DO 0").await?;
        let product = match opened.flavour {
            Flavour::Mysql => "MySQL",
            Flavour::Mariadb => "MariaDB",
        };
        // 10.11.19-MariaDB-0+deb12u1-log
        let version = opened.version.split("-MariaDB").next().unwrap_or(&opened.version);
        let info = ServerInfo { version: format!("{product} {version}"), tls: Some(opened.channel.is_tls()) };
        opened.channel.quit().await;
        Ok(info)
    }

    async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        let mut opened = self.connect.open().await?;
        let answers = opened.channel.query(&schemas_sql(opened.flavour)).await;
        let answers = match answers {
            // Before MariaDB 10.5 schemas have no comments.
            Err(error) if code_of(&error) == Some(1054) => {
                opened.channel.query(&schemas_sql(Flavour::Mysql)).await?
            }
            answers => answers?,
        };
        opened.channel.quit().await;
        let Some(answer) = answers.last() else { return Ok(Vec::new()) };
        answer.rows.iter().map(|row| schema_info(answer, row)).collect()
    }

    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        let (mut opened, answers) = self.connect.ask(&tables_sql(schema)).await?;
        opened.channel.quit().await;
        let [.., found, tables] = answers.as_slice() else {
            return Err(Error::internal("the catalog gave too few results"));
        };
        match schema {
            Some(schema) if found.rows.is_empty() => {
                Err(Error::new(ErrorKind::NotFound, format!("schema {schema} does not exist"))
                    .with("schema", schema)
                    .hint("list the schemas with schemas()"))
            }
            _ => tables.rows.iter().map(|row| table_info(tables, row)).collect(),
        }
    }

    async fn describe(&self, table: &TableRef) -> Result<TableSchema> {
        let (mut opened, described) = self.begun(table).await?;
        opened.channel.quit().await;
        Ok(described.table)
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        let (mut opened, mut described) = self.begun(table).await?;
        let options = self.connect.options();
        let parts = usize::try_from(described.bytes / BYTES_WORTH_A_SPLIT).unwrap_or(usize::MAX);
        let count = options.session_connections.min(parts);
        let mut others = Vec::new();
        if count > 1
            && described.transactional
            && !described.leading.is_empty()
            && options.shared_snapshot != SharedSnapshot::Never
        {
            others =
                share(&self.connect, &mut opened, &described.quoted, count).await.with("table", table)?;
            // The new snapshot does not hold the lock of the old one yet.
            described = self.describe_after(&mut opened, "", table).await?;
        }
        others.insert(0, opened);
        Ok(Box::new(MysqlSession::new(self.connect.clone(), others, described)))
    }
}
