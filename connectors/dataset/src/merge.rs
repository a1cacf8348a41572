//! `merge`: the new rows, and the existing files without the rows they replace.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow_array::{Array as _, BooleanArray, RecordBatch, RecordBatchReader as _};
use arrow_row::{RowConverter, SortField};
use arrow_select::filter::filter_record_batch;
use jiff::Timestamp;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use transload_core::connector::{LoadOutcome, LoadRecord};
use transload_core::schema::Tombstone;
use transload_core::{Error, Result};

use crate::connect::{LOAD_FILE, create_folder, token};
use crate::deletes::{Fate, Found, Rows};
use crate::encode::{EncodeOptions, Part, PartWriter};
use crate::error::{io_error, parquet_error};
use crate::marks;
use crate::prune::Ranges;
use crate::publish::{append, exchange_table, new_table_folder, seal_load, sync_folder};
use crate::stored;
use crate::writer::Staged;

/// Rows of a batch while existing files are read; small, since only keys are kept.
const BATCH_ROWS: usize = 16_384;

/// The row of the load that wins for a key: file, row, and its `order_by` in comparable form.
struct Winner {
    file: usize,
    row: usize,
    order: Box<[u8]>,
    /// An existing row has the same key.
    matched: bool,
    /// It says that it is deleted, and takes this many existing rows away.
    dead: bool,
    took: u64,
}

type Keys = HashMap<Box<[u8]>, Winner>;

/// How the rows of a load meet those that are there.
pub(crate) struct By<'a> {
    pub(crate) key: &'a [String],
    pub(crate) order_by: Option<&'a str>,
    /// What the keys of the source say.
    pub(crate) found: Found,
}

pub(crate) fn merge(
    staged: &Staged,
    encode: &EncodeOptions,
    parts: Vec<Part>,
    record: &mut LoadRecord,
    by: By<'_>,
    outcome: &mut LoadOutcome,
) -> Result<()> {
    let By { key, order_by, mut found } = by;
    // As the table spells them.
    let named = |name: &str| staged.table.column(name).map_or(name, |column| &column.name).to_owned();
    let key: &[String] = &key.iter().map(|name| named(name)).collect::<Vec<_>>();
    let order_by = order_by.map(named);
    let deletes = &staged.request.deletes;
    let (mut keys, ranges, rows) = winners(&parts, key, order_by.as_deref(), deletes.removed())?;
    outcome.superseded = count(rows - keys.len());
    if outcome.superseded > 0 || keys.values().any(|winner| winner.dead) {
        drop_losers(staged, encode, &parts, &keys, key)?;
    }
    let mut plans = Vec::new();
    for load in staged.folders.loads()? {
        for part in part_files(&load)? {
            let (hits, total) = hits(&part, key, &mut keys, &ranges)?;
            let fate = found.fates.remove(&part).unwrap_or_default();
            plans.push(FilePlan { load: load.clone(), part, hits, fate, total });
        }
    }
    if !found.fates.is_empty() {
        return Err(Error::internal("files of the table are gone that were there when keys were compared"));
    }
    // Rows of the load and not of the table: a key may be in the table more than once.
    let alive = |winner: &&Winner| !winner.dead;
    outcome.updated = count(keys.values().filter(alive).filter(|winner| winner.matched).count());
    outcome.inserted = count(keys.values().filter(alive).count()).saturating_sub(outcome.updated);
    outcome.deleted = keys.values().filter(|winner| winner.dead).map(|winner| winner.took).sum();
    let mark = deletes.mark();
    for plan in &plans {
        plan.count(mark.is_some(), outcome);
    }
    (record.deleted, record.marked) = (outcome.deleted, outcome.marked);
    seal_load(staged, record)?;
    if plans.iter().all(FilePlan::stays) {
        return append(staged, record);
    }
    let table = rebuild(staged, encode, &plans, mark, outcome)?;
    fs::rename(&staged.folder, table.join(format!("load={}", record.load_id)))
        .map_err(|error| io_error("move load to", &table, error))?;
    exchange_table(staged, &table)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// What happens to one existing file.
struct FilePlan {
    load: PathBuf,
    part: PathBuf,
    /// Rows that new ones replace, ascending.
    hits: Vec<usize>,
    /// What becomes of others.
    fate: Fate,
    total: usize,
}

impl FilePlan {
    fn stays(&self) -> bool {
        self.hits.is_empty() && self.fate == Fate::default()
    }

    /// The rows that no new one replaces and that are gone, or back.
    fn count(&self, marks: bool, outcome: &mut LoadOutcome) {
        let hit = |rows: &Rows| count(self.hits.iter().filter(|row| rows.has(**row)).count());
        let gone = self.fate.gone.count() - hit(&self.fate.gone);
        *(if marks { &mut outcome.marked } else { &mut outcome.deleted }) += gone;
        outcome.unmarked += self.fate.back.count() - hit(&self.fate.back);
    }

    /// Whether no row of the file is left.
    fn goes(&self, marks: bool) -> bool {
        let mut rows = self.hits.iter().copied().peekable();
        (0..self.total).all(|row| rows.next_if_eq(&row).is_some() || (!marks && self.fate.gone.has(row)))
    }
}

/// The winning row of every key of the load, and the number of rows.
fn winners(
    parts: &[Part],
    key: &[String],
    order_by: Option<&str>,
    removed: Option<&Tombstone>,
) -> Result<(Keys, Ranges, usize)> {
    let mut keys = Keys::new();
    let mut ranges = Ranges::of(key.len());
    let mut rows = 0;
    let mut columns: Vec<&str> = key.iter().map(String::as_str).collect();
    columns.extend(order_by.filter(|order| !key.iter().any(|column| column == order)));
    columns.extend(removed.map(|tombstone| tombstone.column.as_str()));
    for (file, part) in parts.iter().enumerate() {
        let mut row = 0;
        for batch in open(&part.path, Some(&columns))? {
            let batch = batch.map_err(|error| broken(&part.path, error))?;
            let these = encoded(&batch, key, true)?;
            ranges.add(&batch, key)?;
            let orders = match order_by {
                Some(order) => encoded(&batch, &[order.to_owned()], false)?,
                None => vec![Box::default(); batch.num_rows()],
            };
            let dead = removed.map(|tombstone| tombstone.rows(&batch)).transpose()?;
            for (at, (key, order)) in these.into_iter().zip(orders).enumerate() {
                let dead = dead.as_ref().is_some_and(|dead| dead.value(at));
                let winner = Winner { file, row, order, matched: false, dead, took: 0 };
                // At a tie the later written row wins.
                if keys.get(&key).is_none_or(|best| winner.order >= best.order) {
                    keys.insert(key, winner);
                }
                row += 1;
            }
        }
        rows += row;
    }
    Ok((keys, ranges, rows))
}

/// Key (or order) columns of a batch as comparable bytes, a row each.
fn encoded(batch: &RecordBatch, names: &[String], refuse_null: bool) -> Result<Vec<Box<[u8]>>> {
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let column = batch.column_by_name(name).ok_or_else(|| {
            Error::data(format!("a file of the table has no key column `{name}`"))
                .with("column", name)
                .hint("load the table anew with `replace`, then merge by the new key")
        })?;
        if refuse_null && column.null_count() > 0 {
            return Err(Error::data(format!(
                "key column `{name}` holds NULL, so rows cannot be merged by it"
            ))
            .with("column", name)
            .hint("choose key columns that are never NULL"));
        }
        columns.push(column.clone());
    }
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    Ok(rows.iter().map(|row| Box::from(row.as_ref())).collect())
}

/// Writes the staged files again without rows that another row of the load with the same key replaced, and without
/// those that say that they are deleted.
fn drop_losers(
    staged: &Staged,
    encode: &EncodeOptions,
    parts: &[Part],
    keys: &Keys,
    key: &[String],
) -> Result<()> {
    let schema = stored::schema(&staged.table);
    for (file, part) in parts.iter().enumerate() {
        let mut writer = PartWriter::new(
            encode.clone(),
            schema.clone(),
            &staged.folder,
            format!("{}-unique", stem(&part.path)),
        );
        let mut row = 0;
        for batch in open(&part.path, None)? {
            let batch = batch.map_err(|error| broken(&part.path, error))?;
            let mut keep = Vec::with_capacity(batch.num_rows());
            for these in encoded(&batch, key, true)? {
                let wins = |best: &Winner| (best.file, best.row) == (file, row) && !best.dead;
                keep.push(keys.get(&these).is_some_and(wins));
                row += 1;
            }
            writer.write(&filter_record_batch(&batch, &BooleanArray::from(keep))?)?;
        }
        writer.finish(false)?;
        fs::remove_file(&part.path).map_err(|error| io_error("remove", &part.path, error))?;
    }
    Ok(())
}

/// Rows of an existing file whose key the load has, and its number of rows. Statistics rule out row
/// groups first; of the others only the key columns are read.
fn hits(part: &Path, key: &[String], keys: &mut Keys, ranges: &Ranges) -> Result<(Vec<usize>, usize)> {
    let file = File::open(part).map_err(|error| io_error("open", part, error))?;
    let failed = |error| parquet_error("read", part, error);
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(failed)?;
    let groups = metadata.metadata().row_groups();
    let rows: Vec<usize> =
        groups.iter().map(|group| usize::try_from(group.num_rows()).unwrap_or(0)).collect();
    let mut found = Vec::new();
    let mut start = 0;
    // Rows of a file that is older than a key column have NULL there, which no key of the load equals.
    if key.iter().all(|name| metadata.schema().column_with_name(name).is_some()) {
        let wanted = ranges.row_groups(&metadata, key).map_err(failed)?;
        for (group, wanted) in wanted.into_iter().enumerate() {
            if wanted {
                let file = file.try_clone().map_err(|error| io_error("open", part, error))?;
                let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
                let names: Vec<&str> = key.iter().map(String::as_str).collect();
                let reader = columns_only(builder.with_row_groups(vec![group]), &names);
                let mut row = start;
                for batch in reader.with_batch_size(BATCH_ROWS).build().map_err(failed)? {
                    let batch = batch.map_err(|error| broken(part, error))?;
                    for these in encoded(&batch, key, false)? {
                        if let Some(winner) = keys.get_mut(&these) {
                            winner.matched = true;
                            winner.took += 1;
                            found.push(row);
                        }
                        row += 1;
                    }
                }
            }
            start += rows.get(group).copied().unwrap_or(0);
        }
    }
    Ok((found, rows.iter().sum()))
}

/// The new table folder with all existing loads: files without hits are hard links, others are rewritten.
fn rebuild(
    staged: &Staged,
    encode: &EncodeOptions,
    plans: &[FilePlan],
    mark: Option<(&str, Timestamp)>,
    outcome: &mut LoadOutcome,
) -> Result<PathBuf> {
    let table = new_table_folder(staged)?;
    // A new name each time: a reader that still has an old name finds no file rather than another content.
    let tag = token();
    for load in staged.folders.loads()? {
        let folder = inside(&table, &load)?;
        create_folder(&folder)?;
        let load_file = load.join(LOAD_FILE);
        if load_file.exists() {
            link(&load_file, &folder.join(LOAD_FILE))?;
        }
    }
    for plan in plans {
        let folder = inside(&table, &plan.load)?;
        if plan.stays() {
            link(&plan.part, &inside(&folder, &plan.part)?)?;
        } else if !plan.goes(mark.is_some()) {
            let (rows, bytes) = rewrite(plan, encode, &folder, &tag, mark)?;
            outcome.rewritten += rows;
            outcome.bytes += bytes;
        }
    }
    for load in staged.folders.loads()? {
        sync_folder(staged, &inside(&table, &load)?)?;
    }
    Ok(table)
}

/// Writes a file again: without rows that are replaced or removed, and with marks. Answers how many rows are the same as
/// before, and the bytes.
fn rewrite(
    plan: &FilePlan,
    encode: &EncodeOptions,
    folder: &Path,
    tag: &str,
    mark: Option<(&str, Timestamp)>,
) -> Result<(u64, u64)> {
    let reader = open(&plan.part, None)?;
    let schema = marks::with_mark(&reader.schema(), mark.map(|(column, _)| column));
    let prefix = format!("{}-m{tag}", base(&plan.part));
    let mut writer = PartWriter::new(encode.clone(), schema.clone(), folder, prefix);
    let mut hits = plan.hits.iter().copied().peekable();
    let (mut row, mut same) = (0, 0);
    for batch in reader {
        let batch = batch.map_err(|error| broken(&plan.part, error))?;
        let rows = row..row + batch.num_rows();
        let mut keep = Vec::with_capacity(batch.num_rows());
        for row in rows.clone() {
            let gone = plan.fate.gone.has(row);
            let hit = hits.next_if_eq(&row).is_some();
            keep.push(!hit && (mark.is_some() || !gone));
            same += u64::from(!hit && !gone && !plan.fate.back.has(row));
        }
        row = rows.end;
        let batch = marks::marked(&batch, &schema, mark, rows, &plan.fate)?;
        writer.write(&filter_record_batch(&batch, &BooleanArray::from(keep))?)?;
    }
    Ok((same, writer.finish(false)?.iter().map(|part| part.bytes).sum()))
}

fn inside(folder: &Path, path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| Error::internal("a path without a name"))?;
    Ok(folder.join(name))
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The name that a file was first written under: rewriting it again must not make it longer each time.
fn base(path: &Path) -> String {
    let stem = stem(path);
    stem.split_once("-m").map_or(stem.as_str(), |(base, _)| base).to_owned()
}

fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to).map_err(|error| io_error("link", to, error))
}

pub(crate) fn part_files(load: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(load).map_err(|error| io_error("list", load, error))? {
        let path = entry.map_err(|error| io_error("list", load, error))?.path();
        if path.extension().is_some_and(|ending| ending == "parquet") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

pub(crate) fn broken(path: &Path, error: arrow_schema::ArrowError) -> Error {
    Error::data(format!("{} cannot be read", path.display()))
        .source_error(error)
        .hint("the file is damaged; restore it or load the table anew with `replace`")
}

pub(crate) fn open(path: &Path, columns: Option<&[&str]>) -> Result<ParquetRecordBatchReader> {
    let file = File::open(path).map_err(|error| io_error("open", path, error))?;
    let failed = |error| parquet_error("read", path, error);
    let mut builder =
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(failed)?.with_batch_size(BATCH_ROWS);
    if let Some(columns) = columns {
        builder = columns_only(builder, columns);
    }
    builder.build().map_err(failed)
}

fn columns_only(
    builder: ParquetRecordBatchReaderBuilder<File>,
    columns: &[&str],
) -> ParquetRecordBatchReaderBuilder<File> {
    let fields = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
    let roots: Vec<usize> = fields
        .filter(|(_, field)| columns.iter().any(|column| column.eq_ignore_ascii_case(field.name())))
        .map(|(index, _)| index)
        .collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    builder.with_projection(mask)
}
