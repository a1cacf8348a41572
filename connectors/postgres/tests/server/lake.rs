//! Whole runs from the server into a dataset of Parquet files, which are then read without transload.

use std::path::{Path, PathBuf};

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::TempDir;
use transload_core::job::EtlJobBuilder;
use transload_core::schema::TableRef;
use transload_core::{Connection, EtlJob, Registry, RunReport, RunStatus, Runner, RunnerOptions};
use transload_dataset::Dataset;
use transload_postgres::Postgres;

pub(crate) struct Lake(TempDir);

impl Lake {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn table(&self) -> PathBuf {
        self.0.path().join("raw/t")
    }

    /// A job from a table into the lake's only table.
    pub(crate) fn job(table: TableRef) -> EtlJobBuilder {
        EtlJob::builder("job").from_table("shop", table).into("lake", "raw", "t")
    }

    pub(crate) fn runner(&self, shop: &Connection) -> Runner {
        let lake = Connection::new("lake", "dataset").option("path", self.0.path().to_str().unwrap());
        Runner::new(Registry::new().with(Postgres).with(Dataset))
            .connection(shop.clone().named("shop"))
            .connection(lake.option("durable", false))
            .options(RunnerOptions::default().parallelism(4).memory_bytes(16 << 20))
    }

    pub(crate) async fn run(&self, shop: &Connection, job: &EtlJob) -> RunReport {
        self.runner(shop).run(job).await
    }

    /// A run that must go well.
    pub(crate) async fn load(&self, shop: &Connection, job: &EtlJob) -> RunReport {
        let report = self.run(shop, job).await;
        assert_ne!(report.status, RunStatus::Failed, "{:?}", report.error);
        report
    }

    /// The column `id` of everything that readers see, ordered.
    pub(crate) fn ids(&self) -> Vec<i64> {
        let mut ids = Vec::new();
        for file in files(&self.table()) {
            let reader =
                ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
            for batch in reader.build().unwrap() {
                let batch = batch.unwrap();
                let column = batch.column_by_name("id").unwrap();
                assert_eq!(column.null_count(), 0);
                ids.extend(column.as_primitive::<Int64Type>().values());
            }
        }
        ids.sort_unstable();
        ids
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            found.push(path);
        }
    }
    found
}
