//! Fixed-width text: where the columns stand, and cutting lines there.
//!
//! Positions count characters. In a line of ASCII they are its bytes; only other lines are counted.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use memchr::memchr;
use transload_core::Result;

use super::block::{BLOCK, BlockReader};
use super::columns::TextColumn;
use super::{Dialect, Problem};
use crate::config::FixedColumn;

/// How much of a file is looked at to find its columns.
const DERIVE_BYTES: u64 = 16 * 1024 * 1024;

/// Where the columns of a line stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FixedLayout {
    columns: Vec<Range<usize>>,
    /// Positions that must be blank in every line, because the columns were derived from that.
    gaps: Vec<Range<usize>>,
    derived: bool,
}

impl FixedLayout {
    /// The positions that the options give. What stands between the columns is left out.
    pub(crate) fn explicit(columns: &[FixedColumn]) -> Self {
        let columns = columns.iter().map(|c| c.start..c.start + c.width).collect();
        Self { columns, gaps: Vec::new(), derived: false }
    }

    /// A layout that no line fits: for a file that has a header and nothing else.
    pub(crate) fn none(columns: usize) -> Self {
        Self { columns: vec![0..0; columns], gaps: Vec::new(), derived: true }
    }

    /// Finds columns as the runs of positions that are blank in no or only some of the lines.
    pub(crate) fn derive(path: &Path, range: Range<u64>, dialect: &Dialect) -> Result<Self> {
        let end = range.end.min(range.start.saturating_add(DERIVE_BYTES));
        let whole = end == range.end;
        let mut reader = BlockReader::open(path, range.start..end, BLOCK)?;
        let mut used: Vec<bool> = Vec::new();
        reader.advance(0)?;
        while !reader.block().is_empty() {
            let block = reader.block();
            let mut at = 0;
            while let Some(length) = memchr(b'\n', &block[at..]) {
                let line = trim_end(&block[at..at + length]);
                let next = at + length + 1;
                // Where the look ends inside a line, that line is only a part of one.
                let partial = !whole && reader.at_end() && next == block.len();
                if !partial && !dialect.is_comment(line) {
                    mark(line, &mut used)
                        .map_err(|error| reader.locate(Problem::encoding(at + error.valid_up_to())))?;
                }
                at = next;
            }
            reader.advance(at)?;
        }
        Ok(Self::of_used(&used))
    }

    fn of_used(used: &[bool]) -> Self {
        let mut layout = Self { columns: Vec::new(), gaps: Vec::new(), derived: true };
        let mut start = 0;
        for run in used.chunk_by(|a, b| a == b) {
            let range = start..start + run.len();
            start = range.end;
            if run.first() == Some(&true) { layout.columns.push(range) } else { layout.gaps.push(range) }
        }
        layout
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Cuts the whole lines of a block; answers bytes consumed and records found.
    pub(super) fn cut(
        &self,
        block: &[u8],
        dialect: &Dialect,
        columns: &mut [TextColumn],
    ) -> Result<(usize, usize), Problem> {
        let (mut at, mut rows) = (0, 0);
        while let Some(length) = memchr(b'\n', &block[at..]) {
            let line = trim_end(&block[at..at + length]);
            if !line.is_empty() && !dialect.is_comment(line) {
                let positions = Positions::of(line).map_err(|error| Problem::encoding(at + error))?;
                self.check(line, &positions).map_err(|problem| Problem { at: at + problem.at, ..problem })?;
                for column in columns.iter_mut() {
                    let raw = self.field(line, &positions, column.field());
                    column.push(dialect.value(raw.trim_ascii()));
                }
                rows += 1;
            }
            at += length + 1;
        }
        Ok((at, rows))
    }

    fn field<'a>(&self, line: &'a [u8], positions: &Positions, field: usize) -> &'a [u8] {
        let Some(range) = self.columns.get(field) else { return b"" };
        let open_end = self.derived && field + 1 == self.columns.len();
        let end = if open_end { line.len() } else { positions.byte(range.end, line) };
        line.get(positions.byte(range.start, line)..end).unwrap_or_default()
    }

    /// What was derived must hold for every line: gaps are blank, and nothing new begins behind the last
    /// column (a longer last value is fine).
    fn check(&self, line: &[u8], positions: &Positions) -> Result<(), Problem> {
        if !self.derived {
            return Ok(());
        }
        for gap in &self.gaps {
            let start = positions.byte(gap.start, line);
            let slice = &line[start..positions.byte(gap.end, line)];
            if let Some(at) = slice.iter().position(|byte| *byte != b' ') {
                return Err(Problem::new(
                    start + at,
                    format!(
                        "a value stands at position {}, which is blank in the lines that the columns were derived from",
                        gap.start + at
                    ),
                    "give `columns` with name, start and width of each",
                ));
            }
        }
        let last_end = self.columns.last().map_or(0, |last| last.end);
        let beyond = &line[positions.byte(last_end, line)..];
        if self.columns.last().is_none_or(Range::is_empty) || beyond.contains(&b' ') {
            return Err(Problem::new(
                0,
                format!("a line goes on behind position {last_end}, where the last column ends"),
                "give `columns` with name, start and width of each",
            ));
        }
        Ok(())
    }
}

/// Without the line break and the blanks before it.
fn trim_end(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

fn mark(line: &[u8], used: &mut Vec<bool>) -> Result<(), std::str::Utf8Error> {
    let mut set = |position: usize, blank: bool| {
        if position >= used.len() {
            used.resize(position + 1, false);
        }
        used[position] |= !blank;
    };
    if line.is_ascii() {
        line.iter().enumerate().for_each(|(position, byte)| set(position, *byte == b' '));
    } else {
        let text = std::str::from_utf8(line)?;
        text.chars().enumerate().for_each(|(position, c)| set(position, c == ' '));
    }
    Ok(())
}

/// From positions in characters to positions in bytes.
struct Positions<'a>(Cow<'a, [usize]>);

impl Positions<'_> {
    /// The error is the number of valid bytes.
    fn of(line: &[u8]) -> Result<Self, usize> {
        if line.is_ascii() {
            return Ok(Self(Cow::Borrowed(&[])));
        }
        let text = std::str::from_utf8(line).map_err(|error| error.valid_up_to())?;
        Ok(Self(Cow::Owned(text.char_indices().map(|(at, _)| at).collect())))
    }

    fn byte(&self, position: usize, line: &[u8]) -> usize {
        if self.0.is_empty() {
            position.min(line.len())
        } else {
            self.0.get(position).copied().unwrap_or(line.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_runs_of_used_positions() {
        let mut used = Vec::new();
        for line in [" 001  1   11.77", " 002 12  177.00", "", " 3     é     x"] {
            mark(trim_end(line.as_bytes()), &mut used).unwrap();
        }
        let layout = FixedLayout::of_used(&used);
        assert_eq!(layout.columns, [1..4, 5..8, 9..15]);
        assert_eq!(layout.gaps, [0..1, 4..5, 8..9]);
    }

    #[test]
    fn positions_count_characters() {
        let line = "aéb c".as_bytes();
        let positions = Positions::of(line).ok().unwrap();
        assert_eq!([0, 1, 2, 3, 5, 9].map(|at| positions.byte(at, line)), [0, 1, 3, 4, 6, 6]);
    }
}
