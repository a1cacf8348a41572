//! Reads a byte range of a file in blocks that the caller consumes up to the last whole record.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use transload_core::{Error, Result};

use super::Problem;
use crate::error::{changed, io_error};

/// Bytes per read: small enough that a block stays in the cache of one core while its columns are copied.
pub(crate) const BLOCK: usize = 256 * 1024;

/// The longest record. Past it an unclosed quote is far more likely than a value.
const MAX_RECORD: usize = 64 * 1024 * 1024;

/// A window over a byte range of a file.
#[derive(Debug)]
pub(crate) struct BlockReader {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    filled: usize,
    /// Position in the file of `buffer[0]`.
    base: u64,
    /// Position in the file of the next byte to read.
    next: u64,
    end: u64,
    terminated: bool,
}

impl BlockReader {
    /// Opens `range` of a file. Nothing is read before the first [`Self::advance`].
    pub(crate) fn open(path: &Path, range: Range<u64>, block: usize) -> Result<Self> {
        let mut file = File::open(path).map_err(|error| io_error("open", path, error))?;
        file.seek(SeekFrom::Start(range.start)).map_err(|error| io_error("read", path, error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            buffer: vec![0; block.max(1)],
            filled: 0,
            base: range.start,
            next: range.start,
            end: range.end.max(range.start),
            terminated: false,
        })
    }

    /// The bytes at hand. At the end of the range they end with a line break even if the file does not.
    pub(crate) fn block(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    /// Whether nothing follows the block.
    pub(crate) fn at_end(&self) -> bool {
        self.terminated
    }

    /// Position in the file of a position in the block.
    pub(crate) fn position(&self, in_block: usize) -> u64 {
        self.base + u64::try_from(in_block).unwrap_or(u64::MAX)
    }

    /// Drops `consumed` bytes from the front and reads more. If nothing was consumed the block grows.
    pub(crate) fn advance(&mut self, consumed: usize) -> Result<()> {
        self.base = self.position(consumed);
        self.buffer.copy_within(consumed..self.filled, 0);
        self.filled -= consumed;
        if self.filled == self.buffer.len() && !self.terminated {
            if self.filled >= MAX_RECORD {
                return Err(self.locate(Problem::too_long()));
            }
            self.buffer.resize(self.filled * 2, 0);
        }
        while self.next < self.end && self.filled < self.buffer.len() {
            let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
            let until = self.filled.saturating_add(left).min(self.buffer.len());
            let read = match self.file.read(&mut self.buffer[self.filled..until]) {
                Ok(0) => return Err(changed(&self.path)),
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(io_error("read", &self.path, error)),
            };
            self.filled += read;
            self.next += u64::try_from(read).unwrap_or(u64::MAX);
        }
        if self.next == self.end && !self.terminated {
            self.terminated = true;
            if self.filled > 0 && self.buffer[self.filled - 1] != b'\n' {
                self.buffer.truncate(self.filled);
                self.buffer.push(b'\n');
                self.filled += 1;
            }
        }
        Ok(())
    }

    /// A problem at a position of the block as an error with its line number.
    pub(crate) fn locate(&self, problem: Problem) -> Error {
        let position = self.position(problem.at);
        let error = Error::data(format!("{}: {}", self.path.display(), problem.message))
            .with("path", self.path.display());
        let error = match line_of(&self.path, position) {
            Ok(line) => error.with("line", line),
            // The file vanished meanwhile: the position is still worth something.
            Err(_) => error.with("byte", position),
        };
        error.hint(problem.hint)
    }
}

/// The number, from 1, of the line that holds a byte position. Counted only when an error needs it.
fn line_of(path: &Path, position: u64) -> std::io::Result<u64> {
    let mut rest = File::open(path)?.take(position);
    let mut buffer = vec![0; BLOCK];
    let mut line = 1;
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(line),
            read => line += u64::try_from(memchr::memchr_iter(b'\n', &buffer[..read]).count()).unwrap_or(0),
        }
    }
}

/// The first position at or after `wanted` where a line starts, or the end of the file.
pub(crate) fn line_start(path: &Path, wanted: u64, end: u64) -> Result<u64> {
    if wanted == 0 || wanted >= end {
        return Ok(wanted.min(end));
    }
    // A line that starts exactly at `wanted` has its predecessor's line break just before it.
    let mut reader = BlockReader::open(path, wanted - 1..end, BLOCK)?;
    reader.advance(0)?;
    while !reader.block().is_empty() {
        if let Some(at) = memchr::memchr(b'\n', reader.block()) {
            return Ok(reader.position(at + 1).min(end));
        }
        let whole = reader.block().len();
        reader.advance(whole)?;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_arrives_once_and_the_end_has_a_line_break() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for text in ["", "a", "a\n", "abc\ndef\nghi", "\n\n"] {
            std::fs::write(&path, text).unwrap();
            for block in 1..6 {
                let mut reader = BlockReader::open(&path, 0..text.len() as u64, block).unwrap();
                let mut seen = Vec::new();
                reader.advance(0).unwrap();
                while !reader.block().is_empty() {
                    let half = reader.block().len().div_ceil(2);
                    seen.extend_from_slice(&reader.block()[..half]);
                    reader.advance(half).unwrap();
                }
                assert!(reader.at_end());
                let mut expected = text.to_owned();
                if !text.is_empty() && !text.ends_with('\n') {
                    expected.push('\n');
                }
                assert_eq!(String::from_utf8(seen).unwrap(), expected, "{block}");
            }
        }
    }

    #[test]
    fn line_starts_and_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "ab\ncd\nef").unwrap();
        let starts: Vec<u64> = (0..9).map(|at| line_start(&path, at, 8).unwrap()).collect();
        assert_eq!(starts, [0, 3, 3, 3, 6, 6, 6, 8, 8]);
        let lines: Vec<u64> = (0..8).map(|at| line_of(&path, at).unwrap()).collect();
        assert_eq!(lines, [1, 1, 1, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn a_file_that_shrank_is_a_conflict() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        let mut reader = BlockReader::open(&path, 0..10, 4).unwrap();
        let error = reader.advance(0).and_then(|()| reader.advance(3)).unwrap_err();
        assert_eq!(error.kind(), transload_core::ErrorKind::Conflict);
    }
}
