//! Figures of a table by queries of SQLite; see `transload_core::proof`.
//!
//! SQLite finds, filters and adds up the rows. It has no MD5 and no text form of doubles that reads back as the same
//! double, so these two come as functions from here.

use arrow_array::Array as _;
use arrow_array::cast::AsArray as _;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};
use transload_core::connector::ReadPlan;
use transload_core::proof::{ProofLevel, TableFigures, code_of_bytes};
use transload_core::{Error, Result};
use transload_sql::figures::{
    COLUMNS_PER_QUERY, FigureDialect, Measured, Order, inner_list, outer_list, parse,
};

use crate::decode::Column;
use crate::query;
use crate::read::Reader;
use crate::types::Reading;

const FIGURES: FigureDialect = FigureDialect {
    text: str::to_owned,
    modulus: |code, modulus| format!("{code} % {modulus}"),
    left: |text, characters| format!("substr({text}, 1, {characters})"),
};

/// Digits up to which a decimal that is stored as a double can be scaled without error.
const EXACT_DIGITS: u8 = 15;

/// How a column is measured. `column` is its quoted name.
fn measured(column: &str, reading: Reading, level: ProofLevel) -> Measured {
    let mut measured = Measured { value: Some(column.to_owned()), ..Measured::default() };
    if level < ProofLevel::Values {
        return measured;
    }
    (measured.code, measured.order) = match reading {
        Reading::Integer | Reading::Boolean => (Some(column.to_owned()), Some(Order::Code)),
        Reading::Real => (None, Some(Order::Float(column.to_owned()))),
        Reading::Decimal(precision, scale @ 0..) if precision <= EXACT_DIGITS => {
            let power = format!("1{}.0", "0".repeat(usize::from(scale.unsigned_abs())));
            (Some(format!("CAST(round({column} * {power}) AS INTEGER)")), Some(Order::Code))
        }
        Reading::Decimal(..) => (None, None),
        Reading::Blob => (Some(format!("transload_code({column})")), None),
        Reading::Text | Reading::AnyAsText => {
            let text = format!("transload_text({column})");
            (Some(format!("transload_code({text})")), Some(Order::Text(text)))
        }
    };
    measured
}

impl Reader {
    /// The figures of a plan's rows. Blocks.
    pub(crate) fn figures(
        &self,
        connection: &Connection,
        plan: &ReadPlan,
        level: ProofLevel,
    ) -> Result<TableFigures> {
        let wrong = |error| self.wrong(error);
        add_functions(connection).map_err(wrong)?;
        let (fields, _) = self.fields(&plan.columns)?;
        let named = fields.iter().filter_map(|field| {
            Some((self.table.schema.columns.get(*field)?, self.table.readings.get(*field)?))
        });
        let columns = named
            .map(|(column, reading)| Ok(measured(&query::column(&column.name)?, *reading, level)))
            .collect::<Result<Vec<_>>>()?;
        let mut figures = TableFigures::default();
        for part in columns.chunks(COLUMNS_PER_QUERY) {
            let rows = query::figures(&self.table, &inner_list(part), plan.filter.as_ref())?;
            let sql = format!("SELECT {} FROM ({})", outer_list(FIGURES, part).join(", "), rows.sql);
            let mut statement = connection.prepare(&sql).map_err(wrong)?;
            let width = statement.column_count();
            let mut answers = statement.query(params_from_iter(&rows.values)).map_err(wrong)?;
            let row = answers.next().map_err(wrong)?;
            let row = row.ok_or_else(|| Error::internal("an aggregate without a row"))?;
            let cells = (0..width).map(|cell| row.get_ref(cell).map(text_of).map_err(wrong));
            let (rows, of_part) = parse(&cells.collect::<Result<Vec<_>>>()?, part)?;
            figures.rows = rows;
            figures.columns.extend(of_part);
        }
        Ok(figures)
    }
}

fn text_of(cell: ValueRef<'_>) -> Option<String> {
    match cell {
        ValueRef::Integer(value) => Some(value.to_string()),
        ValueRef::Real(value) => Some(format!("{value:?}")),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

fn add_functions(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("transload_code", 1, flags, |context| {
        Ok(match context.get_raw(0) {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(code_of_bytes(bytes)),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => None,
        })
    })?;
    connection.create_scalar_function("transload_text", 1, flags, |context| {
        let value = context.get_raw(0);
        let failed = |error: String| rusqlite::Error::UserFunctionError(error.into());
        let mut column = Column::new(Reading::AnyAsText).map_err(|error| failed(error.to_string()))?;
        column.append(value).map_err(|why| failed(why.to_owned()))?;
        let texts = column.finish();
        let texts = texts.as_string::<i32>();
        Ok(texts.is_valid(0).then(|| texts.value(0).to_owned()))
    })
}
