//! What servers send apart from rows: greetings, column definitions, ends of results.
//!
//! Sources: "Client/Server Protocol" of the MySQL and of the MariaDB manual.

use transload_core::{Error, Result};

/// Largest payload of one packet; a payload of just this length is continued in the next one.
pub(crate) const MOST: usize = 0xff_ffff;

pub(crate) mod capability {
    pub(crate) const LONG_PASSWORD: u32 = 1;
    pub(crate) const LONG_FLAG: u32 = 1 << 2;
    pub(crate) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(crate) const COMPRESS: u32 = 1 << 5;
    pub(crate) const PROTOCOL_41: u32 = 1 << 9;
    pub(crate) const SSL: u32 = 1 << 11;
    pub(crate) const TRANSACTIONS: u32 = 1 << 13;
    pub(crate) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(crate) const MULTI_STATEMENTS: u32 = 1 << 16;
    pub(crate) const MULTI_RESULTS: u32 = 1 << 17;
    pub(crate) const PLUGIN_AUTH: u32 = 1 << 19;
    pub(crate) const CONNECT_ATTRS: u32 = 1 << 20;
    pub(crate) const PLUGIN_AUTH_LENENC: u32 = 1 << 21;
    pub(crate) const DEPRECATE_EOF: u32 = 1 << 24;
}

/// The status flag that says that another result follows.
const MORE_RESULTS: u16 = 8;

/// Types of columns on the wire.
pub(crate) mod column_type {
    pub(crate) const TINY: u8 = 1;
    pub(crate) const SHORT: u8 = 2;
    pub(crate) const LONG: u8 = 3;
    pub(crate) const FLOAT: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const NULL: u8 = 6;
    pub(crate) const TIMESTAMP: u8 = 7;
    pub(crate) const LONGLONG: u8 = 8;
    pub(crate) const INT24: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const DATETIME: u8 = 12;
    pub(crate) const YEAR: u8 = 13;
}

/// Reads what a payload holds, from its beginning to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parser<'a>(pub(crate) &'a [u8]);

impl<'a> Parser<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| broken("a message that is cut"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| broken("a message that is cut"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.fixed().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.fixed().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// A text that ends with a zero byte, or with the payload.
    pub(crate) fn text(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let (text, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest.get(1..).unwrap_or_default();
        text
    }

    /// A number of one to nine bytes; `None` for NULL.
    pub(crate) fn length(&mut self) -> Result<Option<usize>> {
        let number = match self.u8()? {
            0xfb => return Ok(None),
            0xfc => u64::from(self.u16()?),
            0xfd => {
                let [a, b, c] = self.fixed()?;
                u64::from(u32::from_le_bytes([a, b, c, 0]))
            }
            0xfe => u64::from_le_bytes(self.fixed()?),
            0xff => return Err(broken("a length that is none")),
            number => u64::from(number),
        };
        usize::try_from(number).map(Some).map_err(|_| broken("a length beyond this machine"))
    }

    /// Bytes with their length ahead; `None` for NULL.
    pub(crate) fn bytes(&mut self) -> Result<Option<&'a [u8]>> {
        match self.length()? {
            Some(length) => self.take(length).map(Some),
            None => Ok(None),
        }
    }
}

/// Appends bytes with their length ahead.
pub(crate) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    match u16::try_from(bytes.len()) {
        Ok(length @ 0..=250) => to.extend(length.to_le_bytes().first()),
        Ok(length) => {
            to.push(0xfc);
            to.extend(length.to_le_bytes());
        }
        Err(_) => {
            to.push(0xfe);
            to.extend(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        }
    }
    to.extend_from_slice(bytes);
}

/// Which of the two families a server is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    Mysql,
    Mariadb,
}

/// The first message of a server.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) version: String,
    pub(crate) flavour: Flavour,
    pub(crate) thread: u32,
    pub(crate) capabilities: u32,
    pub(crate) plugin: String,
    pub(crate) nonce: Vec<u8>,
}

impl Greeting {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self> {
        let mut parser = Parser(payload);
        if parser.u8()? != 10 {
            return Err(broken("a greeting of an unknown protocol"));
        }
        let version = String::from_utf8_lossy(parser.text()).into_owned();
        let thread = parser.u32()?;
        let mut nonce = parser.take(8)?.to_vec();
        parser.take(1)?;
        let low = parser.u16()?;
        parser.take(3)?; // character set and status
        let capabilities = u32::from(low) | (u32::from(parser.u16()?) << 16);
        let length = usize::from(parser.u8()?);
        parser.take(10)?;
        let rest = parser.take(length.saturating_sub(8).max(13))?;
        nonce.extend_from_slice(rest.strip_suffix(&[0]).unwrap_or(rest));
        let plugin = String::from_utf8_lossy(parser.text()).into_owned();
        // MariaDB 10 and 11 put this ahead, for replicas that know no such number.
        let real = version.strip_prefix("5.5.5-").unwrap_or(&version).to_owned();
        let flavour = if real.contains("MariaDB") { Flavour::Mariadb } else { Flavour::Mysql };
        Ok(Self { version: real, flavour, thread, capabilities, plugin, nonce })
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnDefinition {
    pub(crate) name: String,
    pub(crate) kind: u8,
    pub(crate) unsigned: bool,
}

impl ColumnDefinition {
    pub(crate) fn parse(payload: &[u8]) -> Result<Self> {
        let mut parser = Parser(payload);
        for _ in 0..4 {
            parser.bytes()?; // catalog, schema, table, its own name
        }
        let name = String::from_utf8_lossy(parser.bytes()?.unwrap_or_default()).into_owned();
        parser.bytes()?; // the column's own name
        parser.length()?;
        parser.take(6)?; // character set and length
        let kind = parser.u8()?;
        let flags = parser.u16()?;
        Ok(Self { name, kind, unsigned: flags & 0x20 != 0 })
    }
}

/// Whether an OK or EOF packet says that another result follows.
pub(crate) fn more_results(payload: &[u8], deprecate_eof: bool) -> Result<bool> {
    let mut parser = Parser(payload);
    if parser.u8()? == 0xfe && !deprecate_eof {
        parser.u16()?; // warnings
    } else {
        parser.length()?; // rows
        parser.length()?; // last id
    }
    Ok(parser.u16()? & MORE_RESULTS != 0)
}

pub(crate) fn broken(what: &str) -> Error {
    Error::data(format!("the server sent {what}"))
        .hint("is it MySQL or MariaDB, or is a proxy between that changes the stream?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_form() {
        for length in [0_usize, 1, 250, 251, 65_535, 65_536, 70_000] {
            let mut bytes = Vec::new();
            put_bytes(&mut bytes, &vec![7; length]);
            let mut parser = Parser(&bytes);
            assert_eq!(parser.bytes().unwrap().unwrap().len(), length);
            assert!(parser.0.is_empty());
            for cut in 0..bytes.len().min(12) {
                assert!(length == 0 && cut > 0 || Parser(&bytes[..cut]).bytes().is_err());
            }
        }
        assert_eq!(Parser(&[0xfb]).bytes().unwrap(), None);
        assert_eq!(Parser(&[0xfd, 1, 2, 3]).length().unwrap(), Some(0x03_02_01));
        assert!(Parser(&[0xff]).length().is_err());
    }

    #[test]
    fn greetings_tell_the_flavour() {
        let greeting = |version: &str| {
            let mut bytes = vec![10];
            bytes.extend(version.as_bytes());
            bytes.push(0);
            bytes.extend(7_u32.to_le_bytes());
            bytes.extend(b"12345678\0");
            bytes.extend([0xff, 0xf7, 8, 2, 0, 0xff, 0x81, 21]);
            bytes.extend([0; 10]);
            bytes.extend(b"abcdefghijkl\0mysql_native_password\0");
            bytes
        };
        let maria = Greeting::parse(&greeting("5.5.5-10.11.19-MariaDB-log")).unwrap();
        assert_eq!((maria.version.as_str(), maria.flavour), ("10.11.19-MariaDB-log", Flavour::Mariadb));
        assert_eq!((maria.thread, maria.nonce.as_slice()), (7, &b"12345678abcdefghijkl"[..]));
        assert_eq!((maria.plugin.as_str(), maria.capabilities), ("mysql_native_password", 0x81ff_f7ff));
        assert_eq!(Greeting::parse(&greeting("8.4.0")).unwrap().flavour, Flavour::Mysql);
        for cut in 0..40 {
            assert!(Greeting::parse(&greeting("8.4.0")[..cut]).is_err());
        }
    }
}
