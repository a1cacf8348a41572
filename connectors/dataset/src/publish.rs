//! The commit: staged files and their load record become visible by one rename.

use std::path::{Path, PathBuf};

use transload_core::connector::{LoadOutcome, LoadRecord, WriteMode};
use transload_core::{Error, ErrorKind, Result, ResultExt as _};

use crate::connect::{LOAD_FILE, SCHEMA_FILE, create_folder, exchange, read_json, rename, sync, write_json};
use crate::deletes::Found;
use crate::destination::{records, write_schema};
use crate::encode::{EncodeOptions, Part, PartWriter};
use crate::merge;
use crate::stored;
use crate::writer::Staged;

/// Makes a load visible. Idempotent by load id.
pub(crate) fn publish(
    staged: &Staged,
    encode: EncodeOptions,
    parts: Vec<Part>,
    found: Found,
    mut record: LoadRecord,
) -> Result<LoadOutcome> {
    let committed: Option<LoadRecord> = read_json(&staged.folders.load(&record.load_id).join(LOAD_FILE))?;
    if committed.is_some_and(|committed| committed.job == record.job) {
        return Ok(LoadOutcome { already_committed: true, ..LoadOutcome::default() });
    }
    if !matches!(staged.request.mode, WriteMode::Replace) {
        refuse_overtaken(staged, &record)?;
    }
    let bytes = parts.iter().map(|part| part.bytes).sum();
    let mut outcome = LoadOutcome { inserted: record.rows, bytes, ..LoadOutcome::default() };
    match &staged.request.mode {
        WriteMode::Append => {
            seal_load(staged, &record)?;
            append(staged, &record)?;
        }
        WriteMode::Merge { key, order_by } => {
            let by = merge::By { key, order_by: order_by.as_deref(), found };
            merge::merge(staged, &encode, parts, &mut record, by, &mut outcome)?;
        }
        // `Replace`, and whatever a later version adds, which is safest as a whole table.
        _ => {
            if parts.is_empty() {
                let schema = stored::schema(&staged.table);
                PartWriter::new(encode, schema, &staged.folder, "part-0".to_owned()).finish(true)?;
            }
            seal_load(staged, &record)?;
            replace(staged, &record)?;
        }
    }
    staged.folders.clean();
    Ok(outcome)
}

/// Another run of the job may have committed between this run's look at the last load and its lock of the table.
fn refuse_overtaken(staged: &Staged, record: &LoadRecord) -> Result<()> {
    let overtaken = |other: &LoadRecord| other.job == record.job && other.sequence >= record.sequence;
    if !records(&staged.folders)?.iter().any(overtaken) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, "another load of this job was committed meanwhile")
        .with("target", &staged.request.target.target)
        .retryable(true)
        .hint("run the job again; make sure that only one run at a time loads a table"))
}

/// The load folder gets its record; after that it is complete.
pub(crate) fn seal_load(staged: &Staged, record: &LoadRecord) -> Result<()> {
    let path = staged.folder.join(LOAD_FILE);
    write_json(&path, record)?;
    if staged.config.durable {
        sync(&path)?;
        sync(&staged.folder)?;
    }
    Ok(())
}

pub(crate) fn append(staged: &Staged, record: &LoadRecord) -> Result<()> {
    rename(&staged.folder, &staged.folders.load(&record.load_id)).operation("commit")?;
    sync_folder(staged, &staged.folders.live)
}

fn replace(staged: &Staged, record: &LoadRecord) -> Result<()> {
    let table = new_table_folder(staged)?;
    rename(&staged.folder, &table.join(format!("load={}", record.load_id)))?;
    exchange_table(staged, &table)
}

/// A folder beside the staged load that will become the table.
pub(crate) fn new_table_folder(staged: &Staged) -> Result<PathBuf> {
    let table = staged.folders.staging().join("table");
    create_folder(&table)?;
    write_schema(&table, &staged.table, staged.config.durable)?;
    Ok(table)
}

/// Puts a complete table folder in place of the live one; the old one becomes trash.
pub(crate) fn exchange_table(staged: &Staged, table: &Path) -> Result<()> {
    sync_folder(staged, table)?;
    if staged.folders.live.join(SCHEMA_FILE).exists() {
        exchange(table, &staged.folders.live).operation("commit")?;
    } else {
        rename(table, &staged.folders.live).operation("commit")?;
    }
    sync_folder(staged, &staged.folders.dataset)
}

pub(crate) fn sync_folder(staged: &Staged, folder: &Path) -> Result<()> {
    if staged.config.durable { sync(folder) } else { Ok(()) }
}
