//! The destination: preparing tables and beginning loads.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use transload_core::connector::{
    Destination, Extent, LoadPlan, LoadRecord, LoadRequest, LoadWriter, OnSchemaChange, PrepareOutcome,
    ServerInfo, newest_by_job,
};
use transload_core::proof::{ProofLevel, TableFigures};
use transload_core::schema::{Mode, TargetColumn, TargetRef, TargetTable, Warning};
use transload_core::{Error, Result};

use crate::config::DatasetConfig;
use crate::connect::{
    CREATED_LOAD, LOAD_FILE, SCHEMA_FILE, TableFolders, create_folder, read_json, rename, sync, token,
    write_json,
};
use crate::encode::{EncodeOptions, PartWriter};
use crate::figures::figures;
use crate::stored;
use crate::writer::DatasetWriter;

#[derive(Debug, Clone)]
pub(crate) struct DatasetDestination {
    config: Arc<DatasetConfig>,
}

/// `_schema.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredSchema {
    description: Option<String>,
    columns: Vec<StoredColumn>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredColumn {
    name: String,
    #[serde(rename = "type")]
    data_type: String,
    /// Fields of a RECORD, whose type text alone does not tell them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<StoredColumn>,
    mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

impl StoredColumn {
    fn of(name: &str, data_type: &transload_core::schema::BigQueryType, mode: Mode) -> Self {
        use transload_core::schema::BigQueryType;
        let (text, fields) = match data_type {
            BigQueryType::Record(fields) => {
                let fields = fields.iter().map(|f| Self::of(&f.name, &f.data_type, f.mode)).collect();
                ("RECORD".to_owned(), fields)
            }
            other => (other.to_string(), Vec::new()),
        };
        Self { name: name.to_owned(), data_type: text, fields, mode, description: None }
    }

    fn data_type(&self) -> Result<transload_core::schema::BigQueryType> {
        use transload_core::schema::{BigQueryType, RecordField};
        if self.data_type != "RECORD" {
            return self.data_type.parse();
        }
        let field =
            |f: &Self| Ok(RecordField { name: f.name.clone(), data_type: f.data_type()?, mode: f.mode });
        Ok(BigQueryType::Record(self.fields.iter().map(field).collect::<Result<_>>()?))
    }
}

impl StoredSchema {
    pub(crate) fn of(table: &TargetTable) -> Self {
        let columns = table.columns.iter().map(|column| StoredColumn {
            description: column.description.clone(),
            ..StoredColumn::of(&column.name, &column.data_type, column.mode)
        });
        Self { description: table.description.clone(), columns: columns.collect() }
    }

    fn into_table(self, target: &TargetRef) -> Result<TargetTable> {
        let columns = self.columns.into_iter().map(|column| {
            Ok(TargetColumn {
                data_type: column.data_type()?,
                name: column.name,
                mode: column.mode,
                description: column.description,
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(TargetTable { description: self.description, ..TargetTable::new(target.clone(), columns) })
    }
}

/// Runs file work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("a task that works on files died").source_error(error))?
}

impl DatasetDestination {
    pub(crate) fn new(config: DatasetConfig) -> Self {
        Self { config: Arc::new(config) }
    }

    fn folders(&self, target: &TargetRef) -> Result<TableFolders> {
        TableFolders::new(&self.config.path, target)
    }
}

pub(crate) fn existing(folders: &TableFolders, target: &TargetRef) -> Result<Option<TargetTable>> {
    let stored: Option<StoredSchema> = folders.steady(|| {
        let stored = read_json(&folders.live.join(SCHEMA_FILE))?;
        if stored.is_none() && folders.live.exists() {
            return Err(Error::data(format!(
                "{} is a folder but not a table of transload: it has no {SCHEMA_FILE}",
                folders.live.display()
            ))
            .hint("choose another table name, or move the folder away"));
        }
        Ok(stored)
    })?;
    stored.map(|stored| stored.into_table(target)).transpose()
}

/// The folder of a new table, complete before it appears. Only with the lock held.
fn create_table(folders: &TableFolders, target: &TargetTable, config: &DatasetConfig) -> Result<()> {
    let staged = folders.staging().join(format!("prepare-{}", token()));
    // A file with the schema and no rows: a glob over an empty table finds something.
    let empty = staged.join(CREATED_LOAD);
    create_folder(&empty)?;
    let options = EncodeOptions::new(config, 0, 1);
    PartWriter::new(options, stored::schema(target), &empty, "part".to_owned()).finish(true)?;
    write_schema(&staged, target, config.durable)?;
    if config.durable {
        sync(&empty)?;
        sync(&staged)?;
    }
    rename(&staged, &folders.live)?;
    if config.durable { sync(&folders.dataset) } else { Ok(()) }
}

fn prepare(
    folders: &TableFolders,
    target: &TargetTable,
    policy: OnSchemaChange,
    config: &DatasetConfig,
) -> Result<PrepareOutcome> {
    if let Some(there) = existing(folders, &target.target)?
        && target.evolve(&there, policy)?.1 == there
    {
        return Ok(PrepareOutcome::default());
    }
    // Nobody may change a table under a running load. What was read above may have changed until here.
    let _lock = folders.lock()?;
    folders.clean();
    let Some(there) = existing(folders, &target.target)? else {
        create_table(folders, target, config)?;
        return Ok(PrepareOutcome { created: true, ..PrepareOutcome::default() });
    };
    let (outcome, evolved) = target.evolve(&there, policy)?;
    if evolved != there {
        write_schema(&folders.live, &evolved, config.durable)?;
        if config.durable {
            sync(&folders.live)?;
        }
    }
    Ok(outcome)
}

/// Moves the folder of a table without any load away at once, then removes it.
fn withdraw(folders: &TableFolders) -> Result<bool> {
    let _lock = folders.lock()?;
    let loads = folders.loads()?;
    let untouched =
        |load: &std::path::PathBuf| load.ends_with(CREATED_LOAD) && !load.join(LOAD_FILE).exists();
    if loads.is_empty() || !loads.iter().all(untouched) {
        return Ok(false);
    }
    create_folder(&folders.trash())?;
    rename(&folders.live, &folders.trash().join(format!("withdrawn-{}", token())))?;
    folders.clean();
    Ok(true)
}

/// Writes `_schema.json` so that a reader sees the old one or the new one.
pub(crate) fn write_schema(folder: &Path, table: &TargetTable, durable: bool) -> Result<()> {
    let path = folder.join(SCHEMA_FILE);
    let temporary = folder.join(format!("{SCHEMA_FILE}.{}", std::process::id()));
    write_json(&temporary, &StoredSchema::of(table))?;
    if durable {
        sync(&temporary)?;
    }
    rename(&temporary, &path)
}

/// The records of all loads of a table.
pub(crate) fn records(folders: &TableFolders) -> Result<Vec<LoadRecord>> {
    folders.steady(|| records_now(folders))
}

fn records_now(folders: &TableFolders) -> Result<Vec<LoadRecord>> {
    let mut records = Vec::new();
    for load in folders.loads()? {
        let path = load.join(LOAD_FILE);
        match read_json(&path)? {
            Some(record) => records.push(record),
            None if load.ends_with(CREATED_LOAD) => {}
            None => {
                return Err(Error::data(format!("{} is missing", path.display()))
                    .with("path", path.display())
                    .hint("restore the file; without it the state of the table is not known"));
            }
        }
    }
    Ok(records)
}

#[async_trait]
impl Destination for DatasetDestination {
    async fn check(&self) -> Result<ServerInfo> {
        let config = Arc::clone(&self.config);
        blocking(move || {
            let parent = config.path.parent().filter(|_| !config.path.exists());
            // Before the first load the parent is what counts. Only writing proves that one may write.
            let probe = parent.unwrap_or(&config.path).join(format!(".transload-check-{}", token()));
            write_json(&probe, &())?;
            std::fs::remove_file(&probe).map_err(|error| crate::error::io_error("remove", &probe, error))?;
            Ok(ServerInfo { version: format!("folder {}", config.path.display()), tls: None })
        })
        .await
    }

    async fn ensure_dataset(&self, dataset: &str) -> Result<()> {
        let folders = self.folders(&TargetRef::new(dataset, "any"))?;
        blocking(move || folders.create_dataset()).await
    }

    async fn table(&self, target: &TargetRef) -> Result<Option<TargetTable>> {
        let (folders, target) = (self.folders(target)?, target.clone());
        blocking(move || existing(&folders, &target)).await
    }

    async fn prepare(&self, target: &TargetTable, policy: OnSchemaChange) -> Result<PrepareOutcome> {
        target.layout.refuse("a Parquet dataset")?;
        let (folders, target, config) =
            (self.folders(&target.target)?, target.clone(), Arc::clone(&self.config));
        blocking(move || prepare(&folders, &target, policy, &config)).await
    }

    async fn withdraw(&self, target: &TargetRef) -> Result<bool> {
        let folders = self.folders(target)?;
        blocking(move || withdraw(&folders)).await
    }

    async fn plan_load(&self, plan: LoadPlan<'_>) -> Result<Vec<Warning>> {
        Ok(stored::warnings(plan.target))
    }

    async fn last_load(&self, target: &TargetRef, job: &str) -> Result<Option<LoadRecord>> {
        let (folders, job) = (self.folders(target)?, job.to_owned());
        blocking(move || {
            let records = records(&folders)?.into_iter().filter(|record| record.job == job);
            Ok(newest_by_job(records).pop())
        })
        .await
    }

    async fn last_loads(&self, target: &TargetRef, job_name: &str) -> Result<Vec<LoadRecord>> {
        let (folders, name) = (self.folders(target)?, job_name.to_owned());
        blocking(move || {
            Ok(newest_by_job(records(&folders)?.into_iter().filter(|record| record.job_name == name)))
        })
        .await
    }

    async fn figures(
        &self,
        target: &TargetTable,
        extent: Extent<'_>,
        level: ProofLevel,
    ) -> Result<TableFigures> {
        let (folders, target) = (self.folders(&target.target)?, target.clone());
        let (window, mark) = (extent.window.cloned(), extent.unmarked_in.map(str::to_owned));
        let hi_open = extent.hi_open;
        blocking(move || {
            let extent = Extent { window: window.as_ref(), hi_open, unmarked_in: mark.as_deref() };
            figures(&folders, &target, extent, level)
        })
        .await
    }

    async fn begin_load(&self, request: LoadRequest) -> Result<Box<dyn LoadWriter>> {
        let (folders, config) = (self.folders(&request.target.target)?, Arc::clone(&self.config));
        let writer = blocking(move || DatasetWriter::begin(folders, &config, request)).await?;
        Ok(Box::new(writer))
    }
}
