//! Rows on their way to the client.

use rusqlite::types::ValueRef;

use super::bind::{BoundQuery, OutColumn};
use super::faults::{Action, Plan};
use super::{Engine, Flow, execute};
use crate::error::{Result, SqlError};
use crate::types::SqlType;
use crate::types::datum::{Datum, Stored};
use crate::types::encode::{Pieces, null, value};
use crate::wire::token::Column;

/// The command number of SELECT in DONE.
const SELECT: u16 = 0xC1;

impl Engine {
    /// Runs a query and sends its rows.
    pub(super) fn send_rows(&mut self, query: &BoundQuery, values: &[Stored], plan: &Plan) -> Result<Flow> {
        let columns: Vec<Column> = query.columns.iter().map(shown).collect();
        let limit = if self.session.row_limit == 0 { u64::MAX } else { self.session.row_limit };
        let Self { connection, outbox, signals, session, .. } = self;
        let mut statement = connection.prepare_cached(&query.sql)?;
        execute::bind(&mut statement, values)?;
        let mut rows = statement.raw_query();
        // The first row comes before the meta data, so that an error in it is told instead of them.
        let mut next = rows.next()?;
        outbox.tokens().columns(&columns);
        if !query.order.is_empty() {
            outbox.tokens().order(&query.order);
        }
        let mut count = 0;
        while let Some(row) = next {
            if count >= limit {
                break;
            }
            signals.check()?;
            if let Some(time) = plan.pause {
                outbox.send(true);
                signals.pause(time)?;
            }
            match plan.action_at(count) {
                Some(Action::Fail(error)) => return Err(error.clone()),
                Some(Action::Close) => return Ok(Flow::Cut),
                Some(Action::Hang) => {
                    outbox.send(true);
                    signals.pause(std::time::Duration::from_secs(3600))?;
                }
                None => {}
            }
            write_row(outbox.tokens().bytes(), &columns, session.pieces, |at| row.get_ref(at))?;
            count += 1;
            outbox.send_full();
            next = rows.next()?;
        }
        match plan.action_at(count) {
            Some(Action::Fail(error)) if count == 0 => return Err(error.clone()),
            Some(Action::Close) if count == 0 => return Ok(Flow::Cut),
            _ => {}
        }
        self.session.row_count = i64::try_from(count).unwrap_or(i64::MAX);
        self.outbox.done(self.done, SELECT, Some(count).filter(|_| !self.session.no_count));
        Ok(Flow::Next)
    }
}

fn shown(column: &OutColumn) -> Column {
    let origin = column.origin.clone().unwrap_or_default();
    Column {
        nullable: column.nullable,
        identity: origin.identity,
        computed: origin.computed,
        table: origin.table,
        ..Column::new(column.name.clone(), column.ty)
    }
}

/// A row, in the shorter of its two forms [2.2.7.17, 2.2.7.20].
fn write_row<'a>(
    to: &mut Vec<u8>,
    columns: &[Column],
    pieces: Pieces,
    cell: impl Fn(usize) -> rusqlite::Result<ValueRef<'a>>,
) -> Result<()> {
    let mut row = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let raw = cell(at)?;
        let datum = Datum::of_stored(&column.ty, raw);
        row.push(datum.ok_or_else(|| {
            SqlError::unsupported(format_args!("a {} that is kept as {raw:?}", column.ty.kind.name()))
        })?);
    }
    write_values(to, columns, pieces, &row)
}

fn write_values(to: &mut Vec<u8>, columns: &[Column], pieces: Pieces, row: &[Datum]) -> Result<()> {
    // Before a byte is written: half a row would leave nothing that a client can read.
    if let Some((column, _)) =
        columns.iter().zip(row).find(|(column, datum)| datum.is_null() && !column.nullable)
    {
        return Err(SqlError::unsupported(format_args!("NULL in the column {} that has none", column.name)));
    }
    let nulls = columns.iter().zip(row).filter(|(_, datum)| datum.is_null());
    let spared: usize = nulls.map(|(column, _)| null_bytes(&column.ty)).sum();
    let bitmap = columns.len().div_ceil(8);
    let compressed = spared > bitmap;
    to.push(if compressed { 0xD2 } else { 0xD1 });
    if compressed {
        let begin = to.len();
        to.resize(begin + bitmap, 0);
        for (at, datum) in row.iter().enumerate() {
            to[begin + at / 8] |= u8::from(datum.is_null()) << (at % 8);
        }
    }
    for (column, datum) in columns.iter().zip(row) {
        match datum {
            Datum::Null if compressed => {}
            Datum::Null => null(to, &column.ty),
            datum => value(to, &column.ty, column.nullable, datum, pieces),
        }
    }
    Ok(())
}

fn null_bytes(ty: &SqlType) -> usize {
    let mut bytes = Vec::new();
    null(&mut bytes, ty);
    bytes.len()
}
