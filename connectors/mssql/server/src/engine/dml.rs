//! INSERT, UPDATE, DELETE and TRUNCATE.

use super::Engine;
use super::bind::{Access, Binder, Bound, Object, RegisteredColumn, assigned, same};
use super::execute::bind;
use crate::error::{Result, SqlError};
use crate::sql::ast::{Expr, Literal, Name, Source};
use crate::sql::parser::parse_expression;
use crate::types::datum::{Datum, Stored};
use crate::types::temporal::{DAY, LAST_DAY};
use crate::types::{Kind, SqlType};

/// Command numbers in DONE.
const INSERT: u16 = 0xC3;
const DELETE: u16 = 0xC4;
const UPDATE: u16 = 0xC5;

/// A statement as SQLite takes it, and the tables that it reads.
struct Change {
    sql: String,
    values: Vec<Stored>,
    accesses: Vec<Access>,
}

/// `9999-12-31 23:59:59.9999999`: the end of the period of rows that are current.
const FOREVER: i64 = LAST_DAY * DAY + DAY - 1;

impl Engine {
    /// A table that may be written, with its columns.
    fn target(&self, name: &Name, permission: &str) -> Result<(Object, Vec<RegisteredColumn>)> {
        let binder = self.binder();
        let object = binder.object(name)?;
        self.session.check_write(permission, &object, &self.database.name)?;
        if object.kind != "U" {
            return Err(SqlError::unsupported("changes of views"));
        }
        let columns = binder.columns_of(object.id)?;
        Ok((object, columns))
    }

    pub(super) fn insert(&mut self, table: &Name, names: &[String], source: &Source) -> Result<()> {
        let (object, columns) = self.target(table, "INSERT")?;
        let explicit = self.session.identity_insert == Some(object.id);
        let targets = targets(&object, &columns, names, explicit)?;
        let change = {
            let mut binder = self.binder();
            let sql = match source {
                Source::Values(rows) => insert_rows(&mut binder, &object, &columns, &targets, rows)?,
                Source::Default => insert_rows(&mut binder, &object, &columns, &[], &[Vec::new()])?,
                Source::Query(query) => {
                    let bound = binder.query(query)?;
                    if bound.columns.len() != targets.len() {
                        return Err(mismatch(names.is_empty(), bound.columns.len() > targets.len()));
                    }
                    let given: Vec<Bound> =
                        bound.columns.iter().zip(1..).map(|(column, number)| column.bound(number)).collect();
                    let row = row_values(&mut binder, &object, &columns, &targets, &given)?;
                    format!("{} SELECT {} FROM ({})", head(&object, &columns), row.join(", "), bound.sql)
                }
            };
            Change { sql, values: binder.values, accesses: binder.accesses }
        };
        self.change(&object, &change, INSERT, 1)
    }

    pub(super) fn update(
        &mut self,
        table: &Name,
        sets: &[(String, Expr)],
        filter: Option<&Expr>,
    ) -> Result<()> {
        let (object, columns) = self.target(table, "UPDATE")?;
        let change = {
            let mut binder = self.binder();
            let place = format!("t{}", object.id);
            binder.registered(&object, &object.name, &place)?;
            let mut parts = Vec::new();
            for (name, value) in sets {
                let column = columns.iter().find(|column| same(&column.name, name));
                let column = column.ok_or_else(|| SqlError::column(name))?;
                check_settable(column)?;
                let value = match value {
                    Expr::Literal(Literal::Default) => default_of(&mut binder, column)?,
                    value => binder.expression(value)?,
                };
                parts.push(format!("c{} = {}", column.id, assigned(&value, &column.ty, &column.name)));
            }
            for column in &columns {
                if column.ty.kind == Kind::RowVersion {
                    parts.push(format!("c{} = t_row_version()", column.id));
                }
            }
            let filter = filter.map(|filter| binder.predicate(filter)).transpose()?;
            let filter = filter.map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
            let sql = format!("UPDATE {place} SET {}{filter}", parts.join(", "));
            Change { sql, values: binder.values, accesses: binder.accesses }
        };
        self.change(&object, &change, UPDATE, 0)
    }

    pub(super) fn delete(&mut self, table: &Name, filter: Option<&Expr>) -> Result<()> {
        let (object, _) = self.target(table, "DELETE")?;
        let change = {
            let mut binder = self.binder();
            let place = format!("t{}", object.id);
            binder.registered(&object, &object.name, &place)?;
            let filter = filter.map(|filter| binder.predicate(filter)).transpose()?;
            // SQLite counts no rows when it throws all of them away at once.
            let filter = filter.map_or_else(|| " WHERE 1".to_owned(), |filter| format!(" WHERE {filter}"));
            let sql = format!("DELETE FROM {place}{filter}");
            Change { sql, values: binder.values, accesses: binder.accesses }
        };
        self.change(&object, &change, DELETE, -1)
    }

    pub(super) fn truncate(&mut self, table: &Name) -> Result<()> {
        let (object, _) = self.target(table, "ALTER")?;
        self.writing(&[object.id], |engine| {
            engine.connection.execute_batch(&format!("DELETE FROM t{}", object.id))?;
            engine
                .connection
                .execute("UPDATE \"~objects\" SET row_count = 0 WHERE object_id = ?1", [object.id])?;
            Ok(())
        })
    }

    /// Runs a statement and keeps the number of the table's rows; `sign` says whether they become more.
    fn change(&mut self, object: &Object, change: &Change, command: u16, sign: i64) -> Result<()> {
        self.before_read(&change.accesses)?;
        let count = self.writing(&[object.id], |engine| {
            let mut statement = engine.connection.prepare_cached(&change.sql)?;
            bind(&mut statement, &change.values)?;
            let count = i64::try_from(statement.raw_execute()?).unwrap_or(i64::MAX);
            if sign != 0 {
                engine.connection.execute(
                    "UPDATE \"~objects\" SET row_count = row_count + ?1 WHERE object_id = ?2",
                    (sign * count, object.id),
                )?;
            }
            Ok(count)
        })?;
        self.session.row_count = count;
        let shown = u64::try_from(count).ok().filter(|_| !self.session.no_count);
        self.outbox.done(self.done, command, shown);
        Ok(())
    }
}

/// Columns that a row of the table has in SQLite.
fn kept(columns: &[RegisteredColumn]) -> impl Iterator<Item = &RegisteredColumn> {
    columns.iter().filter(|column| column.computed.is_none())
}

fn head(object: &Object, columns: &[RegisteredColumn]) -> String {
    let names: Vec<String> = kept(columns).map(|column| format!("c{}", column.id)).collect();
    format!("INSERT INTO t{} ({})", object.id, names.join(", "))
}

/// Which columns the values are for.
fn targets<'a>(
    object: &Object,
    columns: &'a [RegisteredColumn],
    names: &[String],
    explicit: bool,
) -> Result<Vec<&'a RegisteredColumn>> {
    if names.is_empty() {
        let takes = |column: &&RegisteredColumn| {
            let given = column.ty.kind == Kind::RowVersion || column.period != 0 || column.column_set;
            column.computed.is_none() && !given && (!column.identity || explicit)
        };
        return Ok(columns.iter().filter(takes).collect());
    }
    let mut targets = Vec::new();
    for name in names {
        let column = columns.iter().find(|column| same(&column.name, name));
        let column = column.ok_or_else(|| SqlError::column(name))?;
        if column.identity && !explicit {
            let text = format!(
                "Cannot insert explicit value for identity column in table '{}' when IDENTITY_INSERT is set to OFF.",
                object.name
            );
            return Err(SqlError::new(544, 16, text));
        }
        if !column.identity {
            check_settable(column)?;
        }
        targets.push(column);
    }
    Ok(targets)
}

fn check_settable(column: &RegisteredColumn) -> Result<()> {
    let name = &column.name;
    if column.computed.is_some() {
        let text = format!(
            "The column \"{name}\" cannot be modified because it is either a computed column or is the result of a \
             UNION operator."
        );
        return Err(SqlError::new(271, 16, text));
    }
    match column.ty.kind {
        Kind::RowVersion => {
            Err(SqlError::new(273, 16, "Cannot insert an explicit value into a timestamp column."))
        }
        _ if column.period != 0 => {
            let text = format!("Cannot insert an explicit value into a GENERATED ALWAYS column '{name}'.");
            Err(SqlError::new(13536, 16, text))
        }
        _ if column.identity => {
            Err(SqlError::new(8102, 16, format!("Cannot update identity column '{name}'.")))
        }
        _ => Ok(()),
    }
}

fn mismatch(whole: bool, more: bool) -> SqlError {
    if whole {
        return SqlError::new(
            213,
            16,
            "Column name or number of supplied values does not match table definition.",
        );
    }
    let (few, many) = if more { ("fewer", 110) } else { ("more", 109) };
    let text = format!(
        "There are {few} columns in the INSERT statement than values specified in the VALUES clause. The number of \
         values in the VALUES clause must match the number of columns specified in the INSERT statement."
    );
    SqlError::new(many, 15, text)
}

fn insert_rows(
    binder: &mut Binder<'_>,
    object: &Object,
    columns: &[RegisteredColumn],
    targets: &[&RegisteredColumn],
    rows: &[Vec<Expr>],
) -> Result<String> {
    if rows.len() > 1000 {
        let text = "The number of row value expressions in the INSERT statement exceeds the maximum allowed number of \
                    1000 row values.";
        return Err(SqlError::new(10738, 15, text));
    }
    let mut list = Vec::new();
    for row in rows {
        if row.len() != targets.len() {
            return Err(mismatch(targets.is_empty(), row.len() > targets.len()));
        }
        let mut given = Vec::new();
        for (value, column) in row.iter().zip(targets) {
            given.push(match value {
                Expr::Literal(Literal::Default) => default_of(binder, column)?,
                value => binder.expression(value)?,
            });
        }
        list.push(format!("({})", row_values(binder, object, columns, targets, &given)?.join(", ")));
    }
    Ok(format!("{} VALUES {}", head(object, columns), list.join(", ")))
}

/// The values of a whole row, those that were not given among them.
fn row_values(
    binder: &mut Binder<'_>,
    object: &Object,
    columns: &[RegisteredColumn],
    targets: &[&RegisteredColumn],
    given: &[Bound],
) -> Result<Vec<String>> {
    let mut row = Vec::new();
    for column in kept(columns) {
        let value =
            targets.iter().zip(given).find(|(target, _)| target.id == column.id).map(|(_, value)| value);
        row.push(match value {
            Some(value) if column.identity => {
                format!("t_given_identity({}, {})", object.id, identity(value, column))
            }
            Some(value) => assigned(value, &column.ty, &column.name),
            None if column.identity => format!("t_identity({})", object.id),
            None if column.ty.kind == Kind::RowVersion => "t_row_version()".to_owned(),
            None if column.period == 2 => binder.value(Datum::Time(FOREVER)),
            None => {
                let value = default_of(binder, column)?;
                assigned(&value, &column.ty, &column.name)
            }
        });
    }
    Ok(row)
}

/// Identities are counted as integers, whatever their type.
fn identity(value: &Bound, column: &RegisteredColumn) -> String {
    assigned(value, &SqlType::of(Kind::BigInt), &column.name)
}

/// The value that a column has by itself: its default, the time for the start of a period, or NULL.
fn default_of(binder: &mut Binder<'_>, column: &RegisteredColumn) -> Result<Bound> {
    let text = match &column.default {
        Some(text) => text.as_str(),
        None if column.period == 1 => "SYSUTCDATETIME()",
        None => "NULL",
    };
    binder.expression(&parse_expression(text)?)
}
