//! Rows that the source deleted: its keys against those of the files.
//!
//! A key is kept as 128 bits of its hash. When they become too many for memory they go to files, apart by their first
//! bits, and the keys of the table do likewise; then one part after the other is compared. What is found is a bit a row.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array as _, RecordBatch};
use arrow_row::{RowConverter, SortField};
use arrow_schema::SchemaRef;
use transload_core::connector::{Deletes, KeyComparison, LoadRequest, Missing, WriteMode};
use transload_core::schema::TargetTable;
use transload_core::{Error, Result};

use crate::connect::TableFolders;
use crate::error::io_error;
use crate::figures::conform;
use crate::merge::{broken, open, part_files};
use crate::stored;

/// Files that keys are parted into, of which two sets are open at once: a billion keys are 250 MB a part.
const PARTS: usize = 64;
/// Bytes of a hash.
const HASH: usize = 16;
/// Bytes of a hash, the number of a file, the number of a row, and whether the row is marked.
const ENTRY: usize = HASH + 4 + 8 + 1;

/// The keys that the source has.
#[derive(Debug)]
pub(crate) struct KeySet {
    /// The key columns as files hold them.
    schema: SchemaRef,
    /// Where files without a name are made.
    folder: PathBuf,
    /// How many hashes may be in memory.
    most: usize,
    hashes: Vec<u128>,
    /// Where all are, once there were too many.
    spilled: Option<Parts>,
}

/// A bit a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rows(Vec<u64>);

impl Rows {
    fn add(&mut self, row: usize) {
        let (word, bit) = (row / 64, row % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    pub(crate) fn has(&self, row: usize) -> bool {
        self.0.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// What becomes of rows of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Not marked, and gone at the source.
    pub(crate) gone: Rows,
    /// Marked, and there again.
    pub(crate) back: Rows,
}

/// What was found, by file.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) compared: KeyComparison,
    pub(crate) fates: HashMap<PathBuf, Fate>,
}

impl KeySet {
    /// For a load that compares keys; others have none.
    pub(crate) fn of(request: &LoadRequest, table: &TargetTable, folder: &Path) -> Result<Option<Self>> {
        let (Some(_), WriteMode::Merge { key, .. }) = (&request.deletes.missing, &request.mode) else {
            return Ok(None);
        };
        let schema = stored::schema(table);
        let place = |name: &String| {
            let found = schema.fields().iter().position(|field| field.name().eq_ignore_ascii_case(name));
            found.ok_or_else(|| Error::internal(format!("the table has no key column `{name}`")))
        };
        let places = key.iter().map(place).collect::<Result<Vec<_>>>()?;
        // A quarter of the memory; the rows of the load wait in files meanwhile.
        let most = (request.memory_budget / 4 / HASH).max(PARTS);
        let (schema, folder) = (Arc::new(schema.project(&places)?), folder.to_owned());
        Ok(Some(Self { schema, folder, most, hashes: Vec::new(), spilled: None }))
    }

    /// Takes keys that the source has.
    pub(crate) fn add(&mut self, keys: &RecordBatch) -> Result<()> {
        let keys = conform(keys, &self.schema)?;
        self.hashes.extend(hashes(&keys)?.into_iter().flatten());
        if self.hashes.len() < self.most {
            return Ok(());
        }
        self.hashes.sort_unstable();
        self.hashes.dedup();
        if self.hashes.len() < self.most / 2 {
            return Ok(());
        }
        self.spill()
    }

    fn spill(&mut self) -> Result<()> {
        let parts = match &mut self.spilled {
            Some(parts) => parts,
            None => self.spilled.insert(Parts::new(&self.folder)?),
        };
        for hash in self.hashes.drain(..) {
            parts.put(hash, &hash.to_le_bytes())?;
        }
        Ok(())
    }

    /// Compares them with all rows of the table.
    pub(crate) fn compare(mut self, folders: &TableFolders, deletes: &Deletes) -> Result<Found> {
        if self.spilled.is_some() {
            self.spill()?;
        }
        self.hashes.sort_unstable();
        self.hashes.dedup();
        let mut files = Vec::new();
        for load in folders.loads()? {
            files.extend(part_files(&load)?);
        }
        let mut fates = vec![Fate::default(); files.len()];
        let mut there = match &self.spilled {
            Some(_) => Some(Parts::new(&self.folder)?),
            None => None,
        };
        let mut rows = 0;
        for (number, (path, fate)) in files.iter().zip(&mut fates).enumerate() {
            let mut met = |row: usize, hash: u128, marked: bool| {
                rows += u64::from(!marked);
                match &mut there {
                    None => {
                        judge(fate, row, marked, self.hashes.binary_search(&hash).is_ok());
                        Ok(())
                    }
                    Some(there) => there.put(hash, &entry(hash, number, row, marked)?),
                }
            };
            scan(path, &self.schema, deletes, &mut met)?;
        }
        if let (Some(known), Some(there)) = (self.spilled, there) {
            join(known, there, &mut fates)?;
        }
        let (gone, back) = fates
            .iter()
            .fold((0, 0), |(gone, back), fate| (gone + fate.gone.count(), back + fate.back.count()));
        let changed = files.into_iter().zip(fates).filter(|(_, fate)| *fate != Fate::default());
        Ok(Found {
            compared: KeyComparison { rows, gone, back, bytes_billed: None },
            fates: changed.collect(),
        })
    }
}

/// The same with columns as the table spells them.
pub(crate) fn spelled(deletes: &Deletes, table: &TargetTable) -> Deletes {
    let spelled = |name: &mut String| {
        if let Some(column) = table.column(name) {
            name.clone_from(&column.name);
        }
    };
    let mut deletes = deletes.clone();
    if let Some(Missing::Mark { column, .. }) = &mut deletes.missing {
        spelled(column);
    }
    if let Some(tombstone) = &mut deletes.tombstone {
        spelled(&mut tombstone.column);
    }
    deletes
}

fn judge(fate: &mut Fate, row: usize, marked: bool, there: bool) {
    match (marked, there) {
        (false, false) => fate.gone.add(row),
        (true, true) => fate.back.add(row),
        _ => {}
    }
}

/// Hashes of the rows of a batch of keys; `None` where a column is NULL.
fn hashes(keys: &RecordBatch) -> Result<Vec<Option<u128>>> {
    let fields = keys.columns().iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(keys.columns())?;
    let hash = |(row, key): (usize, arrow_row::Row<'_>)| {
        let whole = keys.columns().iter().all(|column| column.is_valid(row));
        whole.then(|| {
            let mut bytes = [0; HASH];
            blake3::Hasher::new().update(key.as_ref()).finalize_xof().fill(&mut bytes);
            u128::from_le_bytes(bytes)
        })
    };
    Ok(rows.iter().enumerate().map(hash).collect())
}

/// Tells number, hash and mark of every row of a file that has a key and may change.
fn scan(
    path: &Path,
    keys: &SchemaRef,
    deletes: &Deletes,
    met: &mut dyn FnMut(usize, u128, bool) -> Result<()>,
) -> Result<()> {
    let mark = deletes.mark().map(|(column, _)| column);
    let dead = deletes.tombstone.as_ref();
    let mut columns: Vec<&str> = keys.fields().iter().map(|field| field.name().as_str()).collect();
    columns.extend(mark);
    columns.extend(dead.map(|tombstone| tombstone.column.as_str()));
    let mut row = 0;
    for batch in open(path, Some(&columns))? {
        let batch = batch.map_err(|error| broken(path, error))?;
        let mark = mark.and_then(|name| batch.column_by_name(name));
        // A file may be older than the column.
        let dead = dead.filter(|tombstone| batch.column_by_name(&tombstone.column).is_some());
        let dead = dead.map(|tombstone| tombstone.rows(&batch)).transpose()?;
        for (at, hash) in hashes(&conform(&batch, keys)?)?.into_iter().enumerate() {
            let marked = mark.is_some_and(|marks| marks.is_valid(at));
            let stays_marked = marked && dead.as_ref().is_some_and(|dead| dead.value(at));
            if let Some(hash) = hash.filter(|_| !stays_marked) {
                met(row, hash, marked)?;
            }
            row += 1;
        }
    }
    Ok(())
}

/// Files without a name, of which one is used for hashes that begin alike.
#[derive(Debug)]
struct Parts(Vec<BufWriter<File>>, PathBuf);

impl Parts {
    fn new(folder: &Path) -> Result<Self> {
        let file = || {
            let file =
                tempfile::tempfile_in(folder).map_err(|error| io_error("create a file in", folder, error));
            file.map(|file| BufWriter::with_capacity(8 * 1024, file))
        };
        let files = std::iter::repeat_with(file).take(PARTS);
        Ok(Self(files.collect::<Result<_>>()?, folder.to_owned()))
    }

    fn put(&mut self, hash: u128, bytes: &[u8]) -> Result<()> {
        let [first, ..] = hash.to_be_bytes();
        let file = self.0.get_mut(usize::from(first) % PARTS);
        let file = file.ok_or_else(|| Error::internal("a key belongs to no part"))?;
        file.write_all(bytes).map_err(|error| io_error("write keys to a file in", &self.1, error))
    }

    /// The parts, to be read from their beginning.
    fn into_files(self) -> Result<Vec<BufReader<File>>> {
        let folder = self.1;
        let failed = |error| io_error("read keys from a file in", &folder, error);
        let back = |writer: BufWriter<File>| {
            let mut file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
            file.rewind().map_err(failed)?;
            Ok(BufReader::with_capacity(64 * 1024, file))
        };
        self.0.into_iter().map(back).collect()
    }
}

fn entry(hash: u128, file: usize, row: usize, marked: bool) -> Result<[u8; ENTRY]> {
    let too_many = |_| Error::internal("a table has more files or rows than can be counted");
    let file = u32::try_from(file).map_err(too_many)?;
    let row = u64::try_from(row).map_err(too_many)?;
    let mut bytes = [0; ENTRY];
    let parts = hash
        .to_le_bytes()
        .into_iter()
        .chain(file.to_le_bytes())
        .chain(row.to_le_bytes())
        .chain([u8::from(marked)]);
    for (place, byte) in bytes.iter_mut().zip(parts) {
        *place = byte;
    }
    Ok(bytes)
}

/// Compares part with part.
fn join(known: Parts, there: Parts, fates: &mut [Fate]) -> Result<()> {
    let lost = |error| Error::internal("keys could not be read back").source_error(error);
    for (mut known, mut there) in known.into_files()?.into_iter().zip(there.into_files()?) {
        let mut bytes = Vec::new();
        known.read_to_end(&mut bytes).map_err(lost)?;
        let mut hashes: Vec<u128> =
            bytes.as_chunks::<HASH>().0.iter().map(|h| u128::from_le_bytes(*h)).collect();
        drop(bytes);
        hashes.sort_unstable();
        let mut entry = [0; ENTRY];
        loop {
            match there.read_exact(&mut entry) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(lost(error)),
            }
            let [h @ .., f0, f1, f2, f3, r0, r1, r2, r3, r4, r5, r6, r7, marked] = entry;
            let there = hashes.binary_search(&u128::from_le_bytes(h)).is_ok();
            let file = usize::try_from(u32::from_le_bytes([f0, f1, f2, f3])).unwrap_or(usize::MAX);
            let row = u64::from_le_bytes([r0, r1, r2, r3, r4, r5, r6, r7]);
            if let (Some(fate), Ok(row)) = (fates.get_mut(file), usize::try_from(row)) {
                judge(fate, row, marked == 1, there);
            }
        }
    }
    Ok(())
}
