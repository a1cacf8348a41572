//! The behaviour suite on CSV and on Parquet files.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use transload_core::Connection;
use transload_core::connector::TableKind;
use transload_core::schema::TableRef;
use transload_files::Files;
use transload_testkit::{Cell, Done, Failure, Kind, SourceFacts, SourceFixture, Subject, TestTable, run};

/// A folder of files, and what was written into each.
#[derive(Clone)]
struct Folder {
    path: PathBuf,
    ending: &'static str,
    written: Arc<Mutex<BTreeMap<String, TestTable>>>,
}

impl Folder {
    fn new(path: PathBuf, ending: &'static str) -> Done<Self> {
        fs::create_dir_all(&path)?;
        // A folder without a table is a connection test that fails.
        let folder = Self { path, ending, written: Arc::default() };
        let columns = vec![transload_testkit::TestColumn::new("id", Kind::Text)];
        folder.write("always-there", &TestTable::new("always-there", columns))?;
        Ok(folder)
    }

    fn file(&self, table: &str) -> String {
        format!("{table}.{}", self.ending)
    }

    fn write(&self, name: &str, table: &TestTable) -> Done {
        let path = self.path.join(self.file(name));
        match self.ending {
            "csv" => {
                let header: Vec<_> = table.columns.iter().map(|c| quoted(&c.name)).collect();
                fs::write(path, header.join(",") + "\r\n" + &lines(table))?;
            }
            _ => {
                // Beside and renamed, as careful programs do it. Several row groups, so that there is
                // something to split.
                let beside = self.path.join(format!(".{}", self.file(name)));
                let batch = table.to_batch()?;
                let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1000)).build();
                let mut writer =
                    ArrowWriter::try_new(fs::File::create(&beside)?, batch.schema(), Some(properties))?;
                writer.write(&batch)?;
                writer.close()?;
                fs::rename(beside, path)?;
            }
        }
        self.written.lock().unwrap().insert(self.file(name), table.clone());
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Every value is quoted, so that the empty text differs from NULL.
fn lines(table: &TestTable) -> String {
    let field = |cell: &Cell| cell.to_plain().map(|text| quoted(&text)).unwrap_or_default();
    table.rows.iter().map(|row| row.iter().map(field).collect::<Vec<_>>().join(",") + "\r\n").collect()
}

#[async_trait]
impl SourceFixture for Folder {
    fn facts(&self) -> SourceFacts {
        let parquet = self.ending == "parquet";
        SourceFacts {
            kinds: if parquet { Kind::ALL.to_vec() } else { vec![Kind::Text] },
            not_null: parquet,
            table_kind: TableKind::File,
            changes_end_sessions: true,
            ..SourceFacts::default()
        }
    }

    fn accepts_name(&self, name: &str) -> bool {
        !name.contains('/')
    }

    async fn create(&self, table: &TestTable) -> Done<TableRef> {
        self.write(&table.name, table)?;
        Ok(TableRef::unqualified(self.file(&table.name)))
    }

    async fn insert(&self, table: &TableRef, rows: &TestTable) -> Done {
        let old = self.written.lock().unwrap().get(&table.name).cloned();
        let mut all = old.ok_or_else(|| Failure::new(format!("{table} was not written")))?;
        all.rows.extend(rows.rows.iter().cloned());
        if self.ending == "csv" {
            let mut file = fs::OpenOptions::new().append(true).open(self.path.join(&table.name))?;
            file.write_all(lines(rows).as_bytes())?;
            self.written.lock().unwrap().insert(table.name.clone(), all);
            return Ok(());
        }
        let name = all.name.clone();
        self.write(&name, &all)
    }

    async fn drop_table(&self, table: &TableRef) -> Done {
        match fs::remove_file(self.path.join(&table.name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn subject(name: &'static str, folder: Folder) -> Subject {
    let connection = Connection::new(name, "files").option("path", folder.path.to_string_lossy());
    Subject::new(name, Files, move || Ok(connection.clone())).source(folder)
}

fn main() -> ExitCode {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = |ending| Folder::new(root.path().join(ending), ending).expect("a folder for tables");
    run(&[subject("files-csv", folder("csv")), subject("files-parquet", folder("parquet"))])
}
