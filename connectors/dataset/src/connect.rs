//! The folders of a table, and small file operations whose errors name their path.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use serde::Serialize;
use serde::de::DeserializeOwned;
use transload_core::schema::TargetRef;
use transload_core::{Error, ErrorKind, Result};

use crate::error::io_error;

/// The load that a new table begins with: one empty file, no record.
pub(crate) const CREATED_LOAD: &str = "load=000000-created";
pub(crate) const SCHEMA_FILE: &str = "_schema.json";
pub(crate) const LOAD_FILE: &str = "_load.json";

/// Times that a table which is exchanged meanwhile is looked at.
const LOOKS: usize = 4;

/// Where everything of one table is.
#[derive(Debug, Clone)]
pub(crate) struct TableFolders {
    root: PathBuf,
    pub(crate) dataset: PathBuf,
    /// What readers see.
    pub(crate) live: PathBuf,
    hidden: PathBuf,
}

impl TableFolders {
    pub(crate) fn new(root: &Path, target: &TargetRef) -> Result<Self> {
        check_name("dataset", &target.dataset)?;
        check_name("table", &target.table)?;
        let dataset = root.join(&target.dataset);
        let hidden = dataset.join(".transload").join(&target.table);
        Ok(Self { root: root.to_owned(), live: dataset.join(&target.table), hidden, dataset })
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.hidden.join("staging")
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.hidden.join("trash")
    }

    pub(crate) fn load(&self, load_id: &str) -> PathBuf {
        self.live.join(format!("load={load_id}"))
    }

    /// Creates the folder of the dataset. The parent of the root must be there: a typing error in `path`
    /// must not grow a tree somewhere.
    pub(crate) fn create_dataset(&self) -> Result<()> {
        create_root(&self.root)?;
        create_folder(&self.dataset)
    }

    /// Folders of committed loads, sorted by name.
    pub(crate) fn loads(&self) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.live) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error("list", &self.live, error)),
        };
        let mut loads = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| io_error("list", &self.live, error))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("load=") {
                loads.push(path);
            }
        }
        loads.sort();
        Ok(loads)
    }

    /// What `look` sees of one state of the table. Who reads holds no lock, so a commit may exchange the folder
    /// meanwhile; then it looks again.
    ///
    /// # Errors
    /// Those of `look`; a retryable `conflict` for a table that is exchanged each time.
    pub(crate) fn steady<T>(&self, look: impl Fn() -> Result<T>) -> Result<T> {
        for _ in 0..LOOKS {
            // Open until they are compared, so that nothing else gets its inode.
            let before = match File::open(&self.live) {
                Ok(folder) => Some(folder),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(_) => return look(),
            };
            let seen = look();
            let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
            let was = before.as_ref().map(|folder| folder.metadata().map(id)).transpose();
            if was.is_ok_and(|was| was == fs::metadata(&self.live).map(id).ok()) {
                return seen;
            }
        }
        Err(Error::new(ErrorKind::Conflict, format!("{} changes again and again", self.live.display()))
            .with("path", self.live.display())
            .retryable(true)
            .hint("run the job again when other loads into the table have ended"))
    }

    /// The lock of the table: one load at a time. It is released when the file is dropped, and by the
    /// kernel when the process dies.
    pub(crate) fn lock(&self) -> Result<File> {
        self.create_dataset()?;
        create_folder(&self.hidden)?;
        let path = self.hidden.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| io_error("open lock", &path, error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::new(
                ErrorKind::Conflict,
                format!("another load into {} is in progress", self.live.display()),
            )
            .with("path", path.display())
            .retryable(true)
            .hint("wait for it to end and run the job again")),
            Err(error) => Err(io_error("lock", &path, error.into())),
        }
    }

    /// Removes what dead loads left. Only with the lock held.
    pub(crate) fn clean(&self) {
        for folder in [self.staging(), self.trash()] {
            remove_folder(&folder);
        }
    }
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let bad =
        name.is_empty() || name.starts_with(['.', '_']) || name.contains(['/', '\\', '\0', '=', '*', '?']);
    if bad {
        return Err(Error::config(format!("`{name}` cannot be the name of a {what} in a folder"))
            .with(what.to_owned(), name)
            .hint("it must not be empty, begin with `.` or `_`, or hold / \\ = * ?"));
    }
    Ok(())
}

/// Creates one folder, not its parents.
pub(crate) fn create_root(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if !path.is_dir() => Err(io_error("create folder", path, error)),
        _ => Ok(()),
    }
}

/// Load ids become folder names; the contract says what they are made of.
pub(crate) fn check_load_id(load_id: &str) -> Result<()> {
    if !load_id.is_empty() && load_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(());
    }
    Err(Error::config(format!("`{}` is not a load id", load_id.escape_debug()))
        .hint("use letters, digits and `-` only"))
}

/// Sixteen hexadecimal digits that no other load uses.
pub(crate) fn token() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

pub(crate) fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| io_error("create folder", path, error))
}

/// Best effort: what cannot be removed now is removed by a later load.
pub(crate) fn remove_folder(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "folder could not be removed");
    }
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|error| io_error("move a finished load to", to, error))
}

/// Exchanges two folders in one step.
pub(crate) fn exchange(one: &Path, other: &Path) -> Result<()> {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
        .map_err(|error| io_error("exchange table folder", other, error.into()))
}

pub(crate) fn sync(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| io_error("sync", path, error))
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::internal("plain data could not be serialised").source_error(error))?;
    let written = File::create(path).and_then(|mut file| file.write_all(&text));
    written.map_err(|error| io_error("write", path, error))
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path, error)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| {
        Error::data(format!("{} is damaged", path.display()))
            .with("path", path.display())
            .source_error(error)
            .hint("restore the file, or move the table's folder away to start afresh")
    })
}
