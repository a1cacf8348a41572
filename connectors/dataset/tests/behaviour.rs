//! The behaviour suite on the Parquet dataset. Tables are read back with the `parquet` crate, by the glob
//! that the README gives to readers.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use async_trait::async_trait;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use transload_core::Connection;
use transload_core::schema::TargetTable;
use transload_dataset::Dataset;
use transload_testkit::{
    Cell, DestinationFacts, DestinationFixture, Done, Row, Subject, arrow, run, table::all_target_types,
};

struct Lake(PathBuf);

/// The paths of `<table>/*/*.parquet`.
fn parquet_files(table: &Path) -> Done<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in fs::read_dir(table)? {
        let folder = folder?;
        if folder.file_type()?.is_dir() {
            for file in fs::read_dir(folder.path())? {
                files.push(file?.path());
            }
        }
    }
    files.retain(|file| file.extension().is_some_and(|ending| ending == "parquet"));
    Ok(files)
}

#[async_trait]
impl DestinationFixture for Lake {
    fn facts(&self) -> DestinationFacts {
        DestinationFacts { types: all_target_types() }
    }

    async fn read(&self, table: &TargetTable) -> Done<Option<Vec<Row>>> {
        let folder = self.0.join(&table.target.dataset).join(&table.target.table);
        if !folder.exists() {
            return Ok(None);
        }
        let mut rows = Vec::new();
        for file in parquet_files(&folder)? {
            for batch in ParquetRecordBatchReaderBuilder::try_new(fs::File::open(file)?)?.build()? {
                let batch = batch?;
                let column = |name: &str| batch.column_by_name(name);
                for row in 0..batch.num_rows() {
                    // A file from before a column was added does not have it.
                    let cell = |name: &str| column(name).map_or(Ok(Cell::Null), |c| arrow::cell(c, row));
                    rows.push(table.columns.iter().map(|c| cell(&c.name)).collect::<Done<Row>>()?);
                }
            }
        }
        Ok(Some(rows))
    }

    async fn drop_dataset(&self, dataset: &str) -> Done {
        match fs::remove_dir_all(self.0.join(dataset)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn main() -> ExitCode {
    let root = tempfile::tempdir().expect("a temporary folder");
    let path = root.path().to_owned();
    let connection = Connection::new("lake", "dataset").option("path", path.to_string_lossy());
    run(&[Subject::new("dataset", Dataset, move || Ok(connection.clone())).destination(Lake(path))])
}
