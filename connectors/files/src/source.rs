//! The source: lists, describes, samples and opens sessions.

use std::path::Path;

use async_trait::async_trait;
use transload_core::connector::{ReadSession, SchemaInfo, ServerInfo, Source, TableInfo, TableKind};
use transload_core::schema::{TableRef, TableSchema};
use transload_core::{Error, ErrorKind, Result, ResultExt as _};

use crate::config::FilesConfig;
use crate::connect::{DataFile, Kind, Root};
use crate::parquet::ParquetTable;
use crate::session::{FileSession, Files};
use crate::stream::blocking;
use crate::text;

/// The files of one connection.
#[derive(Debug)]
pub(crate) struct FileSource {
    root: Root,
}

impl FileSource {
    pub(crate) fn new(config: FilesConfig) -> Self {
        Self { root: Root::new(config) }
    }

    async fn open(&self, table: &TableRef) -> Result<Files> {
        let (root, table) = (self.root.clone(), table.clone());
        blocking(move || Files::open(&root, &table).with("table", &table)).await
    }
}

#[async_trait]
impl Source for FileSource {
    async fn check(&self) -> Result<ServerInfo> {
        let root = self.root.clone();
        blocking(move || {
            root.check()?;
            let files = root.files()?;
            if files.is_empty() {
                let path = Path::new(&root.config.path).display();
                return Err(Error::new(ErrorKind::NotFound, format!("{path} holds no tables"))
                    .with("path", path)
                    .hint("expected .csv, .tsv, .txt or .parquet files; set `format` for other endings"));
            }
            Ok(ServerInfo { version: format!("files ({})", files.len()), tls: None })
        })
        .await
        .operation("check")
    }

    async fn schemas(&self) -> Result<Vec<SchemaInfo>> {
        Ok(Vec::new())
    }

    async fn tables(&self, schema: Option<&str>) -> Result<Vec<TableInfo>> {
        if let Some(schema) = schema {
            return Err(Error::new(ErrorKind::NotFound, format!("schema {schema} does not exist"))
                .operation("tables")
                .hint("files have no schemas: leave the schema out"));
        }
        let root = self.root.clone();
        blocking(move || Ok(root.files()?.iter().map(|file| info(&root, file)).collect()))
            .await
            .operation("tables")
    }

    async fn describe(&self, table: &TableRef) -> Result<TableSchema> {
        Ok(self.open(table).await.operation("describe")?.table)
    }

    async fn begin(&self, table: &TableRef) -> Result<Box<dyn ReadSession>> {
        let files = self.open(table).await.operation("begin")?;
        Ok(Box::new(FileSession::new(files)))
    }
}

fn info(root: &Root, file: &DataFile) -> TableInfo {
    // A list stays a list: a file that is broken says so when it is described.
    let rows_estimate = match root.kind(file) {
        Ok(Kind::Parquet) => ParquetTable::open(&file.path).ok().map(|table| table.rows()),
        Ok(_) => text::rows_estimate(&file.path, file.bytes, 0).ok(),
        Err(_) => None,
    };
    let modified = file.modified.and_then(|time| jiff::Timestamp::try_from(time).ok());
    TableInfo {
        rows_estimate,
        bytes: Some(file.bytes),
        last_change: modified.map(|time| time.to_string()),
        ..TableInfo::new(TableRef::unqualified(&file.name), TableKind::File)
    }
}
