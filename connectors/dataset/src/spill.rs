//! Where encoded pages wait for the end of their row group.
//!
//! Columns stand one behind the other in a row group, and batches bring all of them at once. The parquet crate
//! keeps finished pages on the heap, thousands of blocks of all sizes, between which freed ones cannot be used
//! again. Here the first few stay there, so that a small load touches nothing else, and the others wait in a file
//! without a name beside the one that is being written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::errors::{ParquetError, Result};

/// Bytes of one row group that wait on the heap.
const HEAP: usize = 8 * 1024 * 1024;

/// Makes the stores of the columns of a file's row groups.
#[derive(Debug)]
pub(crate) struct SpillFactory {
    folder: PathBuf,
    group: Mutex<Arc<Group>>,
}

impl SpillFactory {
    /// Files without a name are made in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { group: Mutex::new(Arc::new(Group::new(folder.clone()))), folder }
    }

    /// Bytes of the finished pages of the row group that was begun last, on the heap and in its file.
    pub(crate) fn bytes(&self) -> usize {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        group.heap.load(Ordering::Relaxed).saturating_add(group.end.load(Ordering::Relaxed))
    }

    /// A store for one more column of the row group that was begun last.
    pub(crate) fn store(&self) -> Store {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        Store { group: Arc::clone(&group), pages: Vec::new(), resident: 0 }
    }
}

impl PageStoreFactory for SpillFactory {
    fn create(&self, column: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>> {
        if column.column_index() == 0 {
            // A new row group; the file of the last one goes with its stores.
            let mut group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
            *group = Arc::new(Group::new(self.folder.clone()));
        }
        Ok(Box::new(self.store()))
    }
}

/// What the columns of one row group share.
#[derive(Debug)]
struct Group {
    folder: PathBuf,
    heap: AtomicUsize,
    file: OnceLock<File>,
    end: AtomicUsize,
}

impl Group {
    fn new(folder: PathBuf) -> Self {
        Self { folder, heap: AtomicUsize::new(0), file: OnceLock::new(), end: AtomicUsize::new(0) }
    }

    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = tempfile::tempfile_in(&self.folder)?;
        Ok(self.file.get_or_init(|| file))
    }

    fn put(&self, page: Bytes) -> io::Result<Page> {
        let length = page.len();
        if self.heap.fetch_add(length, Ordering::Relaxed) + length <= HEAP {
            return Ok(Page::Heap(page));
        }
        self.heap.fetch_sub(length, Ordering::Relaxed);
        let start = self.end.fetch_add(length, Ordering::Relaxed);
        self.file()?.write_all_at(&page, offset(start)?)?;
        Ok(Page::Filed { start, length })
    }
}

fn offset(start: usize) -> io::Result<u64> {
    u64::try_from(start).map_err(io::Error::other)
}

enum Page {
    Heap(Bytes),
    Filed { start: usize, length: usize },
    Taken,
}

/// The pages of one column of one row group. Keys count up from 0.
pub(crate) struct Store {
    group: Arc<Group>,
    pages: Vec<Page>,
    resident: usize,
}

impl PageStore for Store {
    fn put(&mut self, page: Bytes) -> Result<PageKey> {
        let key = u64::try_from(self.pages.len()).map_err(|error| ParquetError::External(error.into()))?;
        let page = self.group.put(page)?;
        if let Page::Heap(page) = &page {
            self.resident += page.len();
        }
        self.pages.push(page);
        Ok(PageKey::new(key))
    }

    fn take(&mut self, key: PageKey) -> Result<Bytes> {
        let page = usize::try_from(key.get()).ok().and_then(|key| self.pages.get_mut(key));
        match page.map(|page| std::mem::replace(page, Page::Taken)) {
            Some(Page::Heap(page)) => {
                self.resident = self.resident.saturating_sub(page.len());
                Ok(page)
            }
            Some(Page::Filed { start, length }) => {
                let mut page = vec![0; length];
                self.group.file()?.read_exact_at(&mut page, offset(start)?)?;
                Ok(page.into())
            }
            Some(Page::Taken) | None => {
                Err(ParquetError::General("a page was asked for that is not there".to_owned()))
            }
        }
    }

    fn memory_size(&self) -> usize {
        self.resident
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back_from_heap_and_file() {
        let folder = tempfile::tempdir().unwrap();
        let group = Arc::new(Group::new(folder.path().to_owned()));
        let mut store = Store { group, pages: Vec::new(), resident: 0 };
        let page = |n: u8| Bytes::from(vec![n; HEAP / 4 + usize::from(n)]);
        let keys: Vec<_> = (0..6).map(|n| store.put(page(n)).unwrap()).collect();
        assert!(store.memory_size() <= HEAP && store.memory_size() > HEAP / 2);
        assert!(matches!(store.pages[5], Page::Filed { .. }));
        for n in [5, 0, 3, 1, 2, 4] {
            assert_eq!(store.take(keys[usize::from(n)]).unwrap(), page(n));
        }
        assert_eq!(store.memory_size(), 0);
        assert!(store.take(keys[0]).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
