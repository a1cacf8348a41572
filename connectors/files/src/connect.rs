//! Finding the files of a connection: tables, patterns and what a file holds.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use transload_core::schema::TableRef;
use transload_core::{Error, ErrorKind, Result};

use crate::config::{FilesConfig, Format};
use crate::error::{changed, io_error};

/// One file as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFile {
    /// Path below the root, with `/` between folders.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// When it was changed last, where the file system knows.
    pub(crate) modified: Option<SystemTime>,
}

impl DataFile {
    fn look(name: String, path: PathBuf) -> Result<Self> {
        let metadata = fs::metadata(&path).map_err(|error| io_error("open", &path, error))?;
        Ok(Self { name, path, bytes: metadata.len(), modified: metadata.modified().ok() })
    }

    /// Fails if the file is no longer the one that was looked at.
    pub(crate) fn unchanged(&self) -> Result<()> {
        let now = Self::look(self.name.clone(), self.path.clone()).map_err(|_| changed(&self.path))?;
        if now == *self { Ok(()) } else { Err(changed(&self.path)) }
    }

    fn ending(&self) -> String {
        self.path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
    }
}

/// What one file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text with this usual delimiter.
    Delimited(u8),
    /// Fixed-width text.
    Fixed,
    /// Parquet.
    Parquet,
}

/// The directory or file that a connection names.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    path: PathBuf,
    pub(crate) config: Arc<FilesConfig>,
}

impl Root {
    pub(crate) fn new(config: FilesConfig) -> Self {
        Self { path: PathBuf::from(&config.path), config: Arc::new(config) }
    }

    /// The name of the single file, or `None` for a directory.
    fn single(&self) -> Result<Option<DataFile>> {
        let metadata = fs::metadata(&self.path).map_err(|error| io_error("open", &self.path, error))?;
        if metadata.is_dir() {
            return Ok(None);
        }
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned();
        DataFile::look(name, self.path.clone()).map(Some)
    }

    /// Checks that the path is there and may be read.
    pub(crate) fn check(&self) -> Result<()> {
        match self.single()? {
            Some(file) => {
                self.kind(&file)?;
                fs::File::open(&file.path).map(drop).map_err(|error| io_error("open", &file.path, error))
            }
            None => fs::read_dir(&self.path).map(drop).map_err(|error| io_error("list", &self.path, error)),
        }
    }

    /// Every file that fits the format, by name.
    pub(crate) fn files(&self) -> Result<Vec<DataFile>> {
        match self.single()? {
            Some(file) => Ok(vec![file]),
            None => self.below(&self.path, ""),
        }
    }

    /// The files of one table, by name: a file, a pattern, or a folder of Parquet files.
    pub(crate) fn resolve(&self, table: &TableRef) -> Result<Vec<DataFile>> {
        let missing = || {
            Error::new(ErrorKind::NotFound, format!("table {table} does not exist"))
                .with("table", table)
                .hint("check the name, or list the tables with tables()")
        };
        if table.schema.is_some() {
            return Err(missing().hint("files have no schemas: leave the schema out"));
        }
        if let Some(file) = self.single()? {
            return if file.name == table.name { Ok(vec![file]) } else { Err(missing()) };
        }
        inside_root(&table.name)?;
        let path = self.path.join(&table.name);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                let mut files = self.below(&path, table.name.trim_end_matches('/'))?;
                files.retain(|file| self.kind(file).is_ok_and(|kind| kind == Kind::Parquet));
                if files.is_empty() { Err(no_parquet(&table.name)) } else { Ok(files) }
            }
            Ok(_) => Ok(vec![DataFile::look(table.name.clone(), path)?]),
            Err(_) if table.name.contains(['*', '?']) => {
                let pattern: Vec<&str> = table.name.split('/').collect();
                let mut files = self.below(&self.path, "")?;
                files.retain(|file| matches_path(&pattern, &file.name.split('/').collect::<Vec<_>>()));
                if files.is_empty() { Err(missing()) } else { Ok(files) }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(io_error("open", &path, error).with("table", table)),
        }
    }

    /// The files that fit the format below a folder, by name. Hidden ones and those that begin with `_`
    /// are left out (temporary files, `_SUCCESS`), and linked folders are not followed.
    fn below(&self, folder: &Path, prefix: &str) -> Result<Vec<DataFile>> {
        let mut files = Vec::new();
        let mut folders = vec![(folder.to_owned(), prefix.to_owned())];
        while let Some((folder, prefix)) = folders.pop() {
            let list_error = |error| io_error("list", &folder, error);
            for entry in fs::read_dir(&folder).map_err(list_error)? {
                let entry = entry.map_err(list_error)?;
                let Ok(name) = entry.file_name().into_string() else {
                    tracing::warn!(path = %entry.path().display(), "left out: the file name is not UTF-8");
                    continue;
                };
                if name.starts_with(['.', '_']) {
                    continue;
                }
                let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                let is_folder = entry.file_type().map_err(list_error)?.is_dir();
                if is_folder {
                    folders.push((entry.path(), name));
                    continue;
                }
                // A file may vanish between listing and looking, and a link may lead nowhere.
                let Ok(file) = DataFile::look(name, entry.path()) else { continue };
                if file.path.is_file() && self.fits(&file) {
                    files.push(file);
                }
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// Whether a file in a directory is a table by its ending.
    fn fits(&self, file: &DataFile) -> bool {
        let ending = file.ending();
        match self.config.format {
            Format::Auto => ["csv", "tsv", "txt", "parquet"].contains(&ending.as_str()),
            Format::Csv => ["csv", "txt"].contains(&ending.as_str()),
            Format::Tsv => ["tsv", "tab", "txt"].contains(&ending.as_str()),
            Format::FixedWidth => ["txt", "dat", "prn"].contains(&ending.as_str()),
            Format::Parquet => ending == "parquet",
        }
    }

    /// What a file holds, by the option or by its ending.
    pub(crate) fn kind(&self, file: &DataFile) -> Result<Kind> {
        let delimited = self.config.delimiter.is_some();
        match (self.config.format, file.ending().as_str()) {
            (Format::Csv, _) | (Format::Auto, "csv") => Ok(Kind::Delimited(b',')),
            (Format::Tsv, _) | (Format::Auto, "tsv") => Ok(Kind::Delimited(b'\t')),
            (Format::Auto, "txt") if delimited => Ok(Kind::Delimited(b',')),
            (Format::FixedWidth, _) | (Format::Auto, "txt") => Ok(Kind::Fixed),
            (Format::Parquet, _) | (Format::Auto, "parquet") => Ok(Kind::Parquet),
            (Format::Auto, _) => Err(Error::config(format!("the format of {} is not known", file.name))
                .with("path", file.path.display())
                .hint("set `format` to csv, tsv, fixed_width or parquet")),
        }
    }
}

fn no_parquet(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("the folder {name} holds no Parquet files"))
        .with("table", name)
        .hint(format!("name text files by a pattern, for example `{name}/*.csv`"))
}

/// A table name never leads out of the root.
fn inside_root(name: &str) -> Result<()> {
    let plain =
        Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if plain && !name.is_empty() && !name.contains('\\') && !name.contains('\0') {
        return Ok(());
    }
    Err(Error::config(format!("`{}` is not a path below the directory", name.escape_debug()))
        .with("table", name.escape_debug())
        .hint("name files relative to the connection's `path`, without `..`"))
}

/// Whether a path fits a pattern, segment by segment; `**` is any number of folders.
fn matches_path(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            matches_path(rest, path) || (!path.is_empty() && matches_path(pattern, &path[1..]))
        }
        (Some((segment, pattern)), Some((name, path))) => {
            matches_name(segment.as_bytes(), name.as_bytes()) && matches_path(pattern, path)
        }
        _ => false,
    }
}

/// Whether a name fits a pattern with `*` (any text) and `?` (one byte). Runs in linear memory and at most
/// quadratic time, whatever the pattern.
fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        matches_path(&pattern.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>())
    }

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "d/a.csv", false),
            ("d/*.csv", "d/a.csv", true),
            ("d/**/*.parquet", "d/x.parquet", true),
            ("d/**/*.parquet", "d/e/f/x.parquet", true),
            ("d/**/*.parquet", "e/x.parquet", false),
            ("**", "a/b", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("***", "", true),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
        // Backtracking must not explode.
        assert!(!matches_name("*a".repeat(50).as_bytes(), "a".repeat(49).as_bytes()));
        let hostile = format!("{}b", "*a".repeat(30));
        assert!(!matches_name(hostile.as_bytes(), "a".repeat(5000).as_bytes()));
    }

    #[test]
    fn names_stay_inside() {
        for name in ["../x", "a/../../x", "/etc/passwd", "..", "", "a\\b", "a\0"] {
            assert_eq!(inside_root(name).unwrap_err().kind(), ErrorKind::Config, "{name:?}");
        }
        for name in ["a", "a/b.csv", "..a", "a..b/c", "./a"] {
            inside_root(name).unwrap();
        }
    }
}
