//! The tokens that answers consist of [2.2.7].

use crate::types::SqlType;
use crate::types::collation::Collation;
use crate::types::encode::type_info;

/// Bits of the status of DONE.
pub(crate) const MORE: u16 = 0x01;
const ERROR: u16 = 0x02;
const COUNT: u16 = 0x10;
const ATTENTION: u16 = 0x20;

/// Which of the three DONE tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Done {
    /// Of a statement in a batch.
    Statement = 0xFD,
    /// Of a procedure.
    Procedure = 0xFE,
    /// Of a statement in a procedure.
    InProcedure = 0xFF,
}

/// A message of the server: an error from class 11 on, else information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) number: u32,
    pub(crate) class: u8,
    pub(crate) state: u8,
    pub(crate) text: String,
    pub(crate) line: u32,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) ty: SqlType,
    pub(crate) nullable: bool,
    pub(crate) identity: bool,
    pub(crate) computed: bool,
    /// The table's name, which the meta data of `text`, `ntext` and `image` carry.
    pub(crate) table: String,
}

impl Column {
    pub(crate) fn new(name: impl Into<String>, ty: SqlType) -> Self {
        Self { name: name.into(), ty, nullable: true, identity: false, computed: false, table: String::new() }
    }
}

/// A part of an answer.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Vec<u8>);

impl Tokens {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// For rows, which write their own bytes.
    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    pub(crate) fn done(&mut self, kind: Done, status: u16, command: u16, rows: Option<u64>) {
        self.0.push(kind as u8);
        self.0.extend((status | if rows.is_some() { COUNT } else { 0 }).to_le_bytes());
        self.0.extend(command.to_le_bytes());
        self.0.extend(rows.unwrap_or(0).to_le_bytes());
    }

    pub(crate) fn failed(&mut self, kind: Done, status: u16) {
        self.done(kind, status | ERROR, 0, None);
    }

    /// The answer to an attention.
    pub(crate) fn attention(&mut self) {
        self.done(Done::Statement, ATTENTION, 0, None);
    }

    pub(crate) fn notice(&mut self, notice: &Notice, server: &str) {
        let mut body = Vec::new();
        body.extend(notice.number.to_le_bytes());
        body.extend([notice.state, notice.class]);
        long_text(&mut body, &notice.text);
        short_text(&mut body, server);
        short_text(&mut body, "");
        body.extend(notice.line.to_le_bytes());
        self.counted(if notice.class > 10 { 0xAA } else { 0xAB }, &body);
    }

    /// A change of the environment whose values are texts: 1 database, 2 language, 4 packet size.
    pub(crate) fn environment(&mut self, kind: u8, new: &str, old: &str) {
        let mut body = vec![kind];
        short_text(&mut body, new);
        short_text(&mut body, old);
        self.counted(0xE3, &body);
    }

    /// A change of the environment whose values are bytes: 7 collation, 8 to 10 transactions.
    pub(crate) fn environment_bytes(&mut self, kind: u8, new: &[u8], old: &[u8]) {
        let mut body = vec![kind];
        for value in [new, old] {
            body.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
            body.extend_from_slice(value);
        }
        self.counted(0xE3, &body);
    }

    /// Tells the client to log in elsewhere.
    pub(crate) fn route(&mut self, host: &str, port: u16) {
        let mut place = vec![0];
        place.extend(port.to_le_bytes());
        long_text(&mut place, host);
        let mut body = vec![20];
        body.extend(short(place.len()));
        body.extend(place);
        body.extend([0, 0]);
        self.counted(0xE3, &body);
    }

    pub(crate) fn login_ack(&mut self, version: u32, program: [u8; 4]) {
        let mut body = vec![1];
        body.extend(version.to_be_bytes());
        short_text(&mut body, "Microsoft SQL Server");
        body.extend(program);
        self.counted(0xAD, &body);
    }

    pub(crate) fn features(&mut self, acknowledged: &[u8]) {
        self.0.push(0xAE);
        self.0.extend_from_slice(acknowledged);
        self.0.push(0xFF);
    }

    /// What a procedure returns.
    pub(crate) fn return_status(&mut self, status: i32) {
        self.0.push(0x79);
        self.0.extend(status.to_le_bytes());
    }

    pub(crate) fn columns(&mut self, columns: &[Column]) {
        self.0.push(0x81);
        self.0.extend(short(columns.len()));
        for column in columns {
            let flags = u16::from(column.nullable)
                | if column.computed || column.identity { 0 } else { 0x08 }
                | if column.identity { 0x10 } else { 0 }
                | if column.computed { 0x20 } else { 0 };
            self.0.extend(column.ty.user_type().to_le_bytes());
            self.0.extend(flags.to_le_bytes());
            type_info(&mut self.0, &column.ty, column.nullable, &column.table);
            short_text(&mut self.0, &column.name);
        }
    }

    /// The columns, counted from 1, by which a result is ordered.
    pub(crate) fn order(&mut self, columns: &[u16]) {
        let body: Vec<u8> = columns.iter().flat_map(|column| column.to_le_bytes()).collect();
        self.counted(0xA9, &body);
    }

    pub(crate) fn collation(&mut self, collation: Collation) {
        self.environment_bytes(7, &collation.to_bytes(), &[]);
    }

    fn counted(&mut self, token: u8, body: &[u8]) {
        self.0.push(token);
        self.0.extend(short(body.len()));
        self.0.extend_from_slice(body);
    }
}

fn short(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes()
}

/// A text with its number of code units before it in one byte; what is longer is cut.
pub(crate) fn short_text(to: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().take(255).collect();
    to.push(u8::try_from(units.len()).unwrap_or(u8::MAX));
    to.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
}

/// A text with its number of code units before it in two bytes; what is longer is cut.
pub(crate) fn long_text(to: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().take(8000).collect();
    to.extend(short(units.len()));
    to.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
}
