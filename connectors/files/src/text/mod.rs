//! Text files: delimited and fixed width.

pub(crate) mod block;
mod columns;
mod fixed;
mod reader;
mod scan;
#[cfg(test)]
mod tests;

use std::path::Path;

use memchr::memchr;
use transload_core::schema::{ColumnSchema, TableRef, TableSchema};
use transload_core::{Error, Result};

use crate::config::{FilesConfig, FixedColumn};
use block::{BLOCK, BlockReader};
pub(crate) use fixed::FixedLayout;
pub(crate) use reader::{TextReader, rows_estimate, sample};

/// What is wrong at a position of a block.
#[derive(Debug)]
pub(crate) struct Problem {
    at: usize,
    message: String,
    hint: &'static str,
}

impl Problem {
    fn new(at: usize, message: impl Into<String>, hint: &'static str) -> Self {
        Self { at, message: message.into(), hint }
    }

    fn ragged(at: usize, expected: usize, found: usize) -> Self {
        Self::new(
            at,
            format!("a line has {found} fields, expected {expected}"),
            "correct that line, or check the options `delimiter`, `quote` and `skip_rows`",
        )
    }

    fn after_quote(at: usize) -> Self {
        Self::new(
            at,
            "text follows the closing quote of a field",
            "double the quotes inside the field, or set `quote` to an empty text if quotes mean nothing here",
        )
    }

    fn open_quote(at: usize) -> Self {
        Self::new(
            at,
            "the file ends inside a quoted field of the record that starts here",
            "close the quote, or set `quote` to an empty text if quotes mean nothing here",
        )
    }

    fn too_long() -> Self {
        Self::new(
            0,
            "a record is longer than 64 MiB",
            "look for a quote that is never closed, or check that it is a text file",
        )
    }

    fn encoding(at: usize) -> Self {
        Self::new(
            at,
            "a line is not valid UTF-8",
            "convert the file to UTF-8 first, for example with iconv, or correct that line",
        )
    }
}

/// How delimited text is written, and what holds for every text.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    pub(crate) delimiter: u8,
    pub(crate) quote: Option<u8>,
    pub(crate) header: bool,
    pub(crate) skip_rows: usize,
    pub(crate) comment: Option<Vec<u8>>,
    pub(crate) null_values: Vec<Vec<u8>>,
}

impl Dialect {
    /// The usual dialect with a delimiter.
    #[cfg(test)]
    pub(crate) fn new(delimiter: u8) -> Self {
        Self {
            delimiter,
            quote: Some(b'"'),
            header: true,
            skip_rows: 0,
            comment: None,
            null_values: Vec::new(),
        }
    }

    /// The dialect that the options describe; `delimiter` is that of the format.
    pub(crate) fn of(config: &FilesConfig, delimiter: u8) -> Result<Self> {
        Ok(Self {
            delimiter: config.delimiter_byte()?.unwrap_or(delimiter),
            quote: config.quote_byte()?,
            header: config.header.unwrap_or(true),
            skip_rows: config.skip_rows,
            comment: config.comment.as_ref().map(|text| text.as_bytes().to_vec()),
            null_values: config.null_values.iter().map(|text| text.as_bytes().to_vec()).collect(),
        })
    }

    /// The value of an unquoted field.
    fn value<'a>(&self, raw: &'a [u8]) -> Option<&'a [u8]> {
        let null = raw.is_empty() || self.null_values.iter().any(|null| null == raw);
        (!null).then_some(raw)
    }

    fn is_comment(&self, line: &[u8]) -> bool {
        self.comment.as_ref().is_some_and(|prefix| line.starts_with(prefix))
    }
}

/// How the lines of a file are cut into fields.
#[derive(Debug, Clone)]
pub(crate) enum Cut {
    /// At a delimiter.
    Delimited,
    /// At positions.
    Fixed(FixedLayout),
}

/// A text file as a table.
#[derive(Debug, Clone)]
pub(crate) struct TextTable {
    /// Names of the columns.
    pub(crate) names: Vec<String>,
    /// Position of the first record in the file.
    pub(crate) data_start: u64,
    /// How lines are cut.
    pub(crate) cut: Cut,
    /// How fields are written.
    pub(crate) dialect: Dialect,
}

impl TextTable {
    /// Looks at the head of a delimited text.
    pub(crate) fn delimited(path: &Path, bytes: u64, dialect: Dialect) -> Result<Self> {
        let mut head = Head::open(path, bytes, &dialect)?;
        let Some((fields, next)) = head.record(&dialect)? else { return Err(empty(path)) };
        let names = if dialect.header {
            head.next = next;
            checked_names(path, fields)?
        } else {
            (1..=fields.len()).map(|number| format!("column_{number}")).collect()
        };
        Ok(Self { names, data_start: head.position(), cut: Cut::Delimited, dialect })
    }

    /// Looks at the head of a fixed-width text.
    pub(crate) fn fixed(path: &Path, bytes: u64, dialect: Dialect, columns: &[FixedColumn]) -> Result<Self> {
        let mut head = Head::open(path, bytes, &dialect)?;
        let mut words = None;
        if dialect.header {
            let Some((line, next)) = head.line(&dialect)? else { return Err(empty(path)) };
            words = Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            head.next = next;
        }
        let data_start = head.position();
        if !columns.is_empty() {
            let names = columns.iter().map(|column| column.name.clone()).collect();
            return Ok(Self { names, data_start, cut: Cut::Fixed(FixedLayout::explicit(columns)), dialect });
        }
        let layout = FixedLayout::derive(path, data_start..bytes, &dialect)?;
        let names = match words {
            Some(words) if layout.is_empty() => {
                // A header without data: the names are all there is to know.
                let layout = FixedLayout::none(words.len());
                let names = checked_names(path, words)?;
                return Ok(Self { names, data_start, cut: Cut::Fixed(layout), dialect });
            }
            Some(words) if words.len() == layout.len() => checked_names(path, words)?,
            Some(words) => return Err(header_mismatch(path, words.len(), layout.len())),
            None if layout.is_empty() => return Err(empty(path)),
            None => (1..=layout.len()).map(|number| format!("column_{number}")).collect(),
        };
        Ok(Self { names, data_start, cut: Cut::Fixed(layout), dialect })
    }

    /// The schema: every column is text and may be NULL; types are found by the mapper.
    pub(crate) fn schema(&self, table: TableRef) -> TableSchema {
        let text = |name: &String| ColumnSchema::new(name, "text", arrow_schema::DataType::Utf8);
        TableSchema::new(table, self.names.iter().map(text).collect())
    }

    /// Whether a line break always ends a record, so that the file can be entered anywhere.
    pub(crate) fn splittable(&self) -> bool {
        matches!(self.cut, Cut::Fixed(_)) || self.dialect.quote.is_none()
    }
}

fn empty(path: &Path) -> Error {
    Error::data(format!("{} is empty: it has no columns", path.display()))
        .with("path", path.display())
        .hint("write a header line, or leave the file out")
}

fn header_mismatch(path: &Path, words: usize, columns: usize) -> Error {
    Error::data(format!(
        "{}: the header has {words} names, but the lines below show {columns} columns",
        path.display()
    ))
    .with("path", path.display())
    .hint("give `columns` with name, start and width of each; use the format `tsv` for tabs")
}

fn checked_names(path: &Path, names: Vec<String>) -> Result<Vec<String>> {
    let names: Vec<String> = names.into_iter().map(|name| name.trim().to_owned()).collect();
    let blank = names.iter().position(String::is_empty);
    let problem = match blank {
        Some(at) => Some(format!("column {} has no name in the header", at + 1)),
        None => names
            .iter()
            .enumerate()
            .find(|(at, name)| names[..*at].contains(name))
            .map(|(_, name)| format!("the header names the column `{name}` twice")),
    };
    match problem {
        None => Ok(names),
        Some(problem) => Err(Error::data(format!("{}: {problem}", path.display()))
            .with("path", path.display())
            .hint("correct the header, or set `header` to false and `skip_rows` to 1 to read by position")),
    }
}

/// The first lines of a file.
struct Head {
    reader: BlockReader,
    /// Position in the block of the next line.
    next: usize,
    bytes: u64,
}

impl Head {
    /// Opens a file behind its byte order mark and the lines to skip.
    fn open(path: &Path, bytes: u64, dialect: &Dialect) -> Result<Self> {
        let mut reader = BlockReader::open(path, 0..bytes, BLOCK)?;
        reader.advance(0)?;
        let next = if reader.block().starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let mut head = Self { reader, next, bytes };
        for _ in 0..dialect.skip_rows {
            head.skip_line()?;
        }
        Ok(head)
    }

    fn position(&self) -> u64 {
        // A last line without a line break got one in the block, but not in the file.
        self.reader.position(self.next).min(self.bytes)
    }

    fn rest(&self) -> &[u8] {
        self.reader.block().get(self.next..).unwrap_or_default()
    }

    /// Makes the block start at the next line and reads on.
    fn refill(&mut self) -> Result<()> {
        let consumed = self.next.min(self.reader.block().len());
        self.next = 0;
        self.reader.advance(consumed)
    }

    /// The position behind the next line, or `None` at the end.
    fn line_end(&mut self) -> Result<Option<usize>> {
        loop {
            if let Some(length) = memchr(b'\n', self.rest()) {
                return Ok(Some(self.next + length + 1));
            }
            if self.reader.at_end() {
                return Ok(None);
            }
            self.refill()?;
        }
    }

    fn skip_line(&mut self) -> Result<()> {
        self.next = self.line_end()?.unwrap_or(self.reader.block().len());
        Ok(())
    }

    /// The next line that is neither blank nor a comment, and the position behind it.
    fn line(&mut self, dialect: &Dialect) -> Result<Option<(String, usize)>> {
        while let Some(end) = self.line_end()? {
            let line = &self.reader.block()[self.next..end];
            if !dialect.is_comment(line) && !line.trim_ascii().is_empty() {
                let line = self.text(line, self.next)?.to_owned();
                return Ok(Some((line, end)));
            }
            self.next = end;
        }
        Ok(None)
    }

    fn text<'a>(&self, raw: &'a [u8], at: usize) -> Result<&'a str> {
        std::str::from_utf8(raw)
            .map_err(|error| self.reader.locate(Problem::encoding(at + error.valid_up_to())))
    }

    /// The fields of the next record that is neither blank nor a comment, and the position behind it.
    fn record(&mut self, dialect: &Dialect) -> Result<Option<(Vec<String>, usize)>> {
        if self.line(dialect)?.is_none() {
            return Ok(None);
        }
        loop {
            let mut ends = Vec::new();
            let found = scan::find_record(self.reader.block(), self.next, dialect, &mut ends)
                .map_err(|problem| self.reader.locate(problem))?;
            if let Some(next) = found {
                return Ok(Some((self.fields(&ends, dialect)?, next)));
            }
            if self.reader.at_end() {
                return Err(self.reader.locate(Problem::open_quote(self.next)));
            }
            self.refill()?;
        }
    }

    fn fields(&self, ends: &[u32], dialect: &Dialect) -> Result<Vec<String>> {
        let mut start = self.next;
        let mut fields = Vec::with_capacity(ends.len());
        for end in ends {
            let raw = &self.reader.block()[start..*end as usize];
            let text = self.text(raw, start)?.trim();
            let quote = dialect.quote.map(char::from);
            let inner = quote.and_then(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
            fields.push(match (inner, quote) {
                (Some(inner), Some(quote)) => inner.replace(&format!("{quote}{quote}"), &quote.to_string()),
                _ => text.to_owned(),
            });
            start = *end as usize + 1;
        }
        Ok(fields)
    }
}
