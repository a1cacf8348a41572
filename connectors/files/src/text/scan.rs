//! Finds where records and fields of delimited text end.

use memchr::{memchr, memchr2, memrchr};

use super::{Dialect, Problem};

/// The separators of the whole records of one block, kept between blocks to reuse its memory.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Where each record starts.
    pub(crate) starts: Vec<u32>,
    /// Where each field ends (at its separator), record after record.
    pub(crate) ends: Vec<u32>,
    /// Whether a field may be quoted.
    pub(crate) quoted: bool,
    /// Bytes of the block that the records and skipped lines take.
    pub(crate) consumed: usize,
}

/// Every byte of a word that equals `needle` gets its top bit set in the answer; exact for all bytes.
#[inline]
fn matches(word: u64, needle: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let zeroed = word ^ needle;
    !(((zeroed & LOW) + LOW) | zeroed | LOW)
}

impl Scan {
    /// Finds the whole records of `block`, each of which must have `width` fields.
    pub(crate) fn scan(&mut self, block: &[u8], dialect: &Dialect, width: usize) -> Result<(), Problem> {
        self.starts.clear();
        self.ends.clear();
        self.consumed = 0;
        self.quoted = dialect.quote.is_some_and(|quote| memchr(quote, block).is_some());
        if self.quoted || dialect.comment.is_some() {
            self.scan_records(block, dialect, width)
        } else {
            self.scan_plain(block, dialect.delimiter, width)
        }
    }

    /// Without quotes and comments every delimiter and line break separates.
    fn scan_plain(&mut self, block: &[u8], delimiter: u8, width: usize) -> Result<(), Problem> {
        let Some(last) = memrchr(b'\n', block) else { return Ok(()) };
        let block = &block[..=last];
        let (words, rest) = block.as_chunks::<8>();
        let delimiters = u64::from_ne_bytes([delimiter; 8]);
        let breaks = u64::from_ne_bytes([b'\n'; 8]);
        let mut record = Record { start: 0, first: 0, width };
        let mut base: u32 = 0;
        for word in words {
            let word = u64::from_le_bytes(*word);
            let at_break = matches(word, breaks);
            let mut hits = matches(word, delimiters) | at_break;
            while hits != 0 {
                let bit = hits.trailing_zeros();
                let at = base + bit / 8;
                self.ends.push(at);
                if at_break >> bit & 1 == 1 {
                    self.end_record(block, at, &mut record)?;
                }
                hits &= hits - 1;
            }
            base += 8;
        }
        for (byte, at) in rest.iter().zip(base..) {
            if *byte == delimiter || *byte == b'\n' {
                self.ends.push(at);
                if *byte == b'\n' {
                    self.end_record(block, at, &mut record)?;
                }
            }
        }
        self.consumed = block.len();
        Ok(())
    }

    /// A line break was pushed: the record is whole.
    #[inline]
    fn end_record(&mut self, block: &[u8], at: u32, record: &mut Record) -> Result<(), Problem> {
        if self.ends.len() - record.first == record.width {
            self.starts.push(record.start);
            record.first = self.ends.len();
        } else {
            self.uneven(block, at, record)?;
        }
        record.start = at + 1;
        Ok(())
    }

    /// A blank line is no record (unless the table has one column); anything else is ragged.
    #[cold]
    fn uneven(&mut self, block: &[u8], at: u32, record: &Record) -> Result<(), Problem> {
        let found = self.ends.len() - record.first;
        let line = &block[record.start as usize..at as usize];
        if found == 1 && matches!(line, b"" | b"\r") {
            self.ends.truncate(record.first);
            return Ok(());
        }
        Err(Problem::ragged(record.start as usize, record.width, found))
    }

    fn scan_records(&mut self, block: &[u8], dialect: &Dialect, width: usize) -> Result<(), Problem> {
        let mut record = Record { start: 0, first: 0, width };
        loop {
            let start = record.start as usize;
            if dialect.is_comment(&block[start..]) {
                let Some(length) = memchr(b'\n', &block[start..]) else { break };
                record.start = position(start + length + 1);
            } else {
                let Some(next) = find_record(block, start, dialect, &mut self.ends)? else { break };
                self.end_record(block, position(next - 1), &mut record)?;
            }
            self.consumed = record.start as usize;
        }
        self.ends.truncate(record.first);
        Ok(())
    }
}

struct Record {
    start: u32,
    /// Index of its first field in `ends`.
    first: usize,
    width: usize,
}

/// Blocks are far shorter than 4 GiB (see `block::MAX_RECORD`).
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Appends where the fields of the record at `start` end; answers where the next record starts, or `None`
/// if the record is not whole.
pub(crate) fn find_record(
    block: &[u8],
    start: usize,
    dialect: &Dialect,
    ends: &mut Vec<u32>,
) -> Result<Option<usize>, Problem> {
    let mut field = start;
    loop {
        let end = match dialect.quote {
            Some(quote) if block.get(field) == Some(&quote) => find_quoted_end(block, field, quote, dialect)?,
            _ => {
                let rest = block.get(field..).unwrap_or_default();
                memchr2(dialect.delimiter, b'\n', rest).map(|length| field + length)
            }
        };
        let Some(end) = end else { return Ok(None) };
        ends.push(position(end));
        if block[end] == b'\n' {
            return Ok(Some(end + 1));
        }
        field = end + 1;
    }
}

/// The separator after the quoted field at `start`; `None` if it is not whole.
fn find_quoted_end(
    block: &[u8],
    start: usize,
    quote: u8,
    dialect: &Dialect,
) -> Result<Option<usize>, Problem> {
    let mut at = start + 1;
    loop {
        let Some(length) = memchr(quote, &block[at..]) else { return Ok(None) };
        at += length + 1;
        match block.get(at) {
            Some(next) if *next == quote => at += 1,
            _ => break,
        }
    }
    match (block.get(at), block.get(at + 1)) {
        (None, _) | (Some(b'\r'), None) => Ok(None),
        (Some(b'\n'), _) => Ok(Some(at)),
        (Some(next), _) if *next == dialect.delimiter => Ok(Some(at)),
        (Some(b'\r'), Some(b'\n')) => Ok(Some(at + 1)),
        _ => Err(Problem::after_quote(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matching_is_exact_for_every_pair_of_bytes() {
        for needle in 0..=255u8 {
            for byte in 0..=255u8 {
                // The neighbours must not disturb: a carry would.
                let word = u64::from_le_bytes([needle, byte, needle, byte, 0, 255, byte, needle]);
                let found = matches(word, u64::from_ne_bytes([needle; 8]));
                for (i, b) in word.to_le_bytes().into_iter().enumerate() {
                    assert_eq!(found >> (i * 8 + 7) & 1 == 1, b == needle, "{needle} {byte} {i}");
                }
                assert_eq!(found & 0x7f7f_7f7f_7f7f_7f7f, 0);
            }
        }
    }

    #[test]
    fn both_scanners_agree_where_there_are_no_quotes() {
        let dialect = Dialect::new(b',');
        for text in
            ["a,b\n1,2\n", "a,b\r\n\r\n\n1,\n,2\n", "\n", "", "a,b", "aaaaaaaaaaaaaaaa,bbbbbbbbbb\n,\nx"]
        {
            let (mut plain, mut general) = (Scan::default(), Scan::default());
            plain.scan_plain(text.as_bytes(), b',', 2).unwrap();
            general.scan_records(text.as_bytes(), &dialect, 2).unwrap();
            assert_eq!((&plain.starts, &plain.ends), (&general.starts, &general.ends), "{text:?}");
            assert_eq!(plain.consumed, general.consumed, "{text:?}");
        }
    }
}
