//! The functions that SQLite is taught. Values come with the codes of their types beside them.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::functions::{Aggregate, Context, FunctionFlags};

use super::scalar;
use super::storage::Database;
use crate::error::{Result, SqlError};
use crate::types::collation::comparisons;
use crate::types::convert::{assign, convert, integer};
use crate::types::datum::{Datum, Stored};
use crate::types::{SqlType, numbers};

fn code(context: &Context<'_>, at: usize) -> Result<SqlType> {
    let code: i64 = context.get(at)?;
    SqlType::of_code(code).ok_or_else(|| SqlError::unsupported(format_args!("the type {code}")))
}

fn datum(context: &Context<'_>, at: usize, ty: &SqlType) -> Result<Datum> {
    let value = context.get_raw(at);
    Datum::of_stored(ty, value)
        .ok_or_else(|| SqlError::unsupported(format_args!("a {} that is kept as {value:?}", ty.kind.name())))
}

/// `t_cast(value, from, to, style)`
fn cast(context: &Context<'_>) -> Result<Stored> {
    let (from, to) = (code(context, 1)?, code(context, 2)?);
    let style: i64 = context.get(3)?;
    convert(&datum(context, 0, &from)?, &from, &to, style).map(Datum::stored)
}

/// `t_assign(value, from, to, column)`
fn put(context: &Context<'_>) -> Result<Stored> {
    let (from, to) = (code(context, 1)?, code(context, 2)?);
    let column: String = context.get(3)?;
    assign(&datum(context, 0, &from)?, &from, &to, &column).map(Datum::stored)
}

/// `t_call(function, type of the result, value, its type, ...)`
fn call(context: &Context<'_>) -> Result<Stored> {
    let name: String = context.get(0)?;
    let result = code(context, 1)?;
    let mut arguments = Vec::new();
    for at in (2..context.len()).step_by(2) {
        let ty = code(context, at + 1)?;
        arguments.push((ty, datum(context, at, &ty)?));
    }
    scalar::call(&name, &result, &arguments).map(Datum::stored)
}

/// `t_like(value, pattern, escape, ignores case)`
fn like(context: &Context<'_>) -> Result<Option<bool>> {
    let text = |at| -> Result<Option<Vec<char>>> {
        Ok(context.get::<Option<String>>(at)?.map(|text| text.chars().collect()))
    };
    let (Some(value), Some(pattern)) = (text(0)?, text(1)?) else { return Ok(None) };
    let escape = text(2)?.and_then(|escape| escape.first().copied());
    let fold = |text: Vec<char>| text.into_iter().flat_map(char::to_lowercase).collect();
    let (value, pattern) = if context.get(3)? { (fold(value), fold(pattern)) } else { (value, pattern) };
    Ok(Some(scalar::is_like(&value, &pattern, escape)))
}

/// SUM and AVG: the type of the result, the value, its type.
struct Sum {
    average: bool,
}

/// What a sum has come to.
#[derive(Default)]
struct Total {
    ty: Option<(SqlType, SqlType)>,
    count: i64,
    scaled: i128,
    float: f64,
}

impl Aggregate<Total, Stored> for Sum {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Total> {
        Ok(Total::default())
    }

    fn step(&self, context: &mut Context<'_>, total: &mut Total) -> rusqlite::Result<()> {
        let (result, ty) = (code(context, 0)?, code(context, 2)?);
        total.ty = Some((result, ty));
        let overflow = || SqlError::overflow(result.kind.name());
        match datum(context, 1, &ty)? {
            Datum::Null => return Ok(()),
            Datum::Int(value) => {
                total.scaled = total.scaled.checked_add(i128::from(value)).ok_or_else(overflow)?
            }
            Datum::Scaled(value) => total.scaled = total.scaled.checked_add(value).ok_or_else(overflow)?,
            Datum::Float(value) => total.float += value,
            _ => {
                let text = format!("Operand data type {} is invalid for sum operator.", ty.kind.name());
                return Err(SqlError::new(8117, 16, text).into());
            }
        }
        total.count += 1;
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, total: Option<Total>) -> rusqlite::Result<Stored> {
        let Some(Total { ty: Some((result, ty)), count, scaled, float }) = total else {
            return Ok(Stored::Null);
        };
        if count == 0 {
            return Ok(Stored::Null);
        }
        if result.kind.is_float() {
            return Ok(Stored::Real(if self.average { float / count as f64 } else { float }));
        }
        let overflow = || SqlError::overflow(result.kind.name());
        let scaled = numbers::rescale(scaled, ty.scale, result.scale).ok_or_else(overflow)?;
        let scaled = if self.average { scaled / i128::from(count) } else { scaled };
        if result.kind.is_integer() {
            return Ok(integer(scaled, &result)?.stored());
        }
        if numbers::fits(scaled, 38) { Ok(Datum::Scaled(scaled).stored()) } else { Err(overflow().into()) }
    }
}

pub(super) fn register(connection: &Connection, database: &Arc<Database>, session: u16) -> Result<()> {
    for (name, compare) in comparisons() {
        connection.create_collation(name, compare)?;
    }
    let pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let scalar = |name: &std::ffi::CStr, count, function: fn(&Context<'_>) -> Result<Stored>| {
        connection.create_scalar_function(name, count, pure, move |context| Ok(function(context)?))
    };
    scalar(c"t_cast", 4, cast)?;
    scalar(c"t_try_cast", 4, |context| Ok(cast(context).unwrap_or(Stored::Null)))?;
    scalar(c"t_assign", 4, put)?;
    scalar(c"t_call", -1, call)?;
    connection.create_scalar_function(c"t_like", 4, pure, |context| Ok(like(context)?))?;
    connection.create_aggregate_function(c"t_sum", 3, pure, Sum { average: false })?;
    connection.create_aggregate_function(c"t_avg", 3, pure, Sum { average: true })?;
    let counters = database.clone();
    connection.create_scalar_function(c"t_identity", 1, FunctionFlags::SQLITE_UTF8, move |context| {
        Ok(counters.next_identity(context.get(0)?, session))
    })?;
    let counters = database.clone();
    connection.create_scalar_function(
        c"t_given_identity",
        2,
        FunctionFlags::SQLITE_UTF8,
        move |context| {
            let value: i64 = context.get(1)?;
            counters.raise_identity(context.get(0)?, value);
            Ok(value)
        },
    )?;
    let counters = database.clone();
    connection.create_scalar_function(c"t_row_version", 0, FunctionFlags::SQLITE_UTF8, move |_| {
        Ok(counters.next_row_version(session).to_be_bytes().to_vec())
    })?;
    Ok(())
}
