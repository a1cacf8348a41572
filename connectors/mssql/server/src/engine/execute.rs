//! Statements, one at a time.

use std::time::Duration;

use rusqlite::Statement as Prepared;

use super::bind::{Binder, Bound, OutColumn};
use super::session::Isolation;
use super::{Engine, Flow};
use crate::error::{Result, SqlError};
use crate::sql::ast::{Body, Expr, Item, Query, Statement};
use crate::sql::parser::parse_expression;
use crate::types::convert::convert;
use crate::types::datum::{Datum, Stored};
use crate::types::{Kind, MAX, SqlType};
use crate::wire::token::Notice;

/// Gives a statement its values; those that it does not name are left out.
pub(super) fn bind(statement: &mut Prepared<'_>, values: &[Stored]) -> Result<()> {
    for (at, value) in values.iter().enumerate().take(statement.parameter_count()) {
        statement.raw_bind_parameter(at + 1, value)?;
    }
    Ok(())
}

impl Engine {
    pub(super) fn statement(&mut self, statement: &Statement) -> Result<Flow> {
        if self.depth > 32 {
            return Err(SqlError::new(217, 16, "Maximum nesting level exceeded (limit 32)."));
        }
        self.depth += 1;
        let flow = self.one_statement(statement);
        self.depth -= 1;
        flow
    }

    fn one_statement(&mut self, statement: &Statement) -> Result<Flow> {
        if let Some(flow) = self.control(statement)? {
            return Ok(flow);
        }
        match statement {
            Statement::Insert { table, columns, source } => self.insert(table, columns, source)?,
            Statement::Update { table, sets, filter } => self.update(table, sets, filter.as_ref())?,
            Statement::Delete { table, filter } => self.delete(table, filter.as_ref())?,
            Statement::Truncate(table) => self.truncate(table)?,
            Statement::Begin => self.begin(),
            Statement::Commit => self.commit()?,
            Statement::Rollback => self.roll_back_asked()?,
            Statement::Set { option, value } => self.set(option, value)?,
            Statement::Isolation(level) => {
                self.session.isolation = match level.as_str() {
                    "READ UNCOMMITTED" => Isolation::ReadUncommitted,
                    "READ COMMITTED" => Isolation::ReadCommitted,
                    "SNAPSHOT" => Isolation::Snapshot,
                    _ => Isolation::Locking,
                };
            }
            Statement::Use(name) => self.use_database(name)?,
            Statement::WaitFor(delay) => self.wait(&delay.0)?,
            Statement::Kill(session) => self.shared.kill(*session)?,
            Statement::Nothing => {}
            definition => self.define(definition)?,
        }
        // Changes of rows have told their numbers already.
        if !matches!(
            statement,
            Statement::Insert { .. } | Statement::Update { .. } | Statement::Delete { .. }
        ) {
            self.outbox.done(self.done, 0, None);
        }
        Ok(Flow::Next)
    }

    /// Statements that answer by what they run, or by nothing; `None` for all others.
    fn control(&mut self, statement: &Statement) -> Result<Option<Flow>> {
        Ok(Some(match statement {
            Statement::Query(query) => self.select(query)?,
            Statement::If { condition, then, otherwise } => {
                let branch = if self.holds(condition)? { then } else { otherwise };
                self.block(branch)?
            }
            Statement::While { condition, body } => {
                while self.holds(condition)? {
                    self.signals.check()?;
                    let flow = self.block(body)?;
                    if flow != Flow::Next {
                        return Ok(Some(flow));
                    }
                }
                Flow::Next
            }
            Statement::Exec { name, arguments } => self.exec(name, arguments)?,
            Statement::ExecText(text) => {
                let text = self.text_of(text)?;
                self.text(&text)
            }
            Statement::Declare(variables) => {
                for (name, ty, value) in variables {
                    self.session.variables.insert(name.to_lowercase(), (ty.ty, Datum::Null));
                    if let Some(value) = value {
                        self.assign(name, value)?;
                    }
                }
                Flow::Next
            }
            Statement::Assign { variable, value } => {
                self.assign(variable, value)?;
                Flow::Next
            }
            Statement::Print(value) => {
                let text = self.text_of(value)?;
                self.outbox.notice(&Notice { number: 0, class: 0, state: 1, text, line: 1 });
                Flow::Next
            }
            Statement::RaisError { message, severity, state, arguments } => {
                self.raise(message, severity, state, arguments)?
            }
            Statement::Throw { number, message, state } => {
                let number = u32::try_from(self.int_of(number)?).unwrap_or(50_000);
                let text = self.text_of(message)?;
                let state = u8::try_from(self.int_of(state)?).unwrap_or(1);
                let error = SqlError { state, ..SqlError::new(number, 16, text) };
                self.report(&error, 1);
                Flow::Stop
            }
            _ => return Ok(None),
        }))
    }

    fn block(&mut self, statements: &[Statement]) -> Result<Flow> {
        for statement in statements {
            let flow = match self.signals.check().and_then(|()| self.statement(statement)) {
                Ok(flow) => flow,
                Err(error) => self.report(&error, 1),
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    pub(super) fn binder(&self) -> Binder<'_> {
        Binder::new(&self.connection, &self.database, &self.shared, &self.session)
    }

    fn select(&mut self, query: &Query) -> Result<Flow> {
        if let Body::Select(select) = &query.body
            && select.into.is_some()
        {
            return Err(SqlError::unsupported("SELECT INTO"));
        }
        let mut binder = self.binder();
        let bound = binder.query(query)?;
        let (values, accesses) = (binder.values, binder.accesses);
        let read = self.before_read(&accesses);
        let flow = match read {
            Ok(()) => match variables_of(query) {
                Some(names) => self.fetch_variables(&names, &bound.sql, &bound.columns, &values),
                None => {
                    let tables = accesses.iter().map(|access| access.table);
                    let plan = self.shared.faults.next(self.database.number, tables);
                    self.send_rows(&bound, &values, &plan)
                }
            },
            Err(error) => Err(error),
        };
        self.release_alone();
        flow
    }

    /// `SELECT @a = x`: the last row's values stay.
    fn fetch_variables(
        &mut self,
        names: &[String],
        sql: &str,
        columns: &[OutColumn],
        values: &[Stored],
    ) -> Result<Flow> {
        let mut last = None;
        {
            let mut statement = self.connection.prepare_cached(sql)?;
            bind(&mut statement, values)?;
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                let cells = columns.iter().enumerate().map(|(at, column)| {
                    Ok(Datum::of_stored(&column.ty, row.get_ref(at)?).unwrap_or(Datum::Null))
                });
                last = Some(cells.collect::<Result<Vec<_>>>()?);
            }
        }
        for ((name, column), datum) in names.iter().zip(columns).zip(last.into_iter().flatten()) {
            self.put_variable(name, &column.ty, &datum)?;
        }
        Ok(Flow::Next)
    }

    pub(super) fn put_variable(&mut self, name: &str, ty: &SqlType, datum: &Datum) -> Result<()> {
        let undeclared = || SqlError::new(137, 15, format!("Must declare the scalar variable \"{name}\"."));
        let (to, slot) = self.session.variables.get_mut(&name.to_lowercase()).ok_or_else(undeclared)?;
        *slot = convert(datum, ty, to, 0)?;
        Ok(())
    }

    fn assign(&mut self, name: &str, value: &Expr) -> Result<()> {
        let (ty, datum) = self.evaluate(value)?;
        self.put_variable(name, &ty, &datum)
    }

    /// The value of an expression that reads no table of its own.
    pub(super) fn evaluate(&mut self, value: &Expr) -> Result<(SqlType, Datum)> {
        let mut binder = self.binder();
        let bound = binder.expression(value)?;
        let (values, accesses) = (binder.values, binder.accesses);
        self.before_read(&accesses)?;
        let datum = self.one_value(&bound, &values);
        self.release_alone();
        Ok((bound.ty, datum?))
    }

    fn one_value(&self, bound: &Bound, values: &[Stored]) -> Result<Datum> {
        let mut statement = self.connection.prepare_cached(&format!("SELECT {}", bound.sql))?;
        bind(&mut statement, values)?;
        let mut rows = statement.raw_query();
        let Some(row) = rows.next()? else { return Ok(Datum::Null) };
        Ok(Datum::of_stored(&bound.ty, row.get_ref(0)?).unwrap_or(Datum::Null))
    }

    fn holds(&mut self, condition: &Expr) -> Result<bool> {
        let mut binder = self.binder();
        let sql = binder.predicate(condition)?;
        let (values, accesses) = (binder.values, binder.accesses);
        self.before_read(&accesses)?;
        let mut statement = self.connection.prepare_cached(&format!("SELECT {sql}"))?;
        bind(&mut statement, &values)?;
        let mut rows = statement.raw_query();
        let holds: Option<bool> = match rows.next()? {
            Some(row) => row.get(0)?,
            None => None,
        };
        Ok(holds.unwrap_or(false))
    }

    pub(super) fn text_of(&mut self, value: &Expr) -> Result<String> {
        let (ty, datum) = self.evaluate(value)?;
        match convert(&datum, &ty, &SqlType::with_length(Kind::NVarChar, MAX), 0)? {
            Datum::Text(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            _ => Ok(String::new()),
        }
    }

    pub(super) fn int_of(&mut self, value: &Expr) -> Result<i64> {
        let (ty, datum) = self.evaluate(value)?;
        match convert(&datum, &ty, &SqlType::of(Kind::BigInt), 0)? {
            Datum::Int(value) => Ok(value),
            _ => Ok(0),
        }
    }

    fn raise(&mut self, message: &Expr, severity: &Expr, state: &Expr, arguments: &[Expr]) -> Result<Flow> {
        let (ty, _) = self.evaluate(message)?;
        let (number, mut text) = if ty.kind.is_integer() {
            let number = u32::try_from(self.int_of(message)?).unwrap_or(50_000);
            (number, super::faults::numbered(number, self.session.number).text)
        } else {
            (50_000, self.text_of(message)?)
        };
        for argument in arguments {
            let value = self.text_of(argument)?;
            let place = ["%s", "%d", "%i"].iter().filter_map(|sign| text.find(sign)).min();
            if let Some(at) = place {
                text.replace_range(at..at + 2, &value);
            }
        }
        let class = u8::try_from(self.int_of(severity)?).unwrap_or(16);
        let state = u8::try_from(self.int_of(state)?).unwrap_or(1);
        let error = SqlError { state, ..SqlError::new(number, class, text) };
        if class > 10 {
            return Ok(self.report(&error, 1));
        }
        self.outbox.notice(&Notice { number, class, state, text: error.text, line: 1 });
        Ok(Flow::Next)
    }

    fn wait(&mut self, delay: &Expr) -> Result<()> {
        let text = self.text_of(delay)?;
        let wrong = || {
            SqlError::new(
                148,
                15,
                format!("Incorrect time syntax in time string '{text}' used with WAITFOR."),
            )
        };
        let parsed = crate::types::temporal::parse(&text).and_then(|parsed| parsed.time).ok_or_else(wrong)?;
        let units = u64::try_from(parsed).map_err(|_| wrong())?;
        self.signals.pause(Duration::from_nanos(units * 100))
    }

    fn set(&mut self, option: &str, value: &str) -> Result<()> {
        let on = value == "ON";
        match option {
            "NOCOUNT" => self.session.no_count = on,
            "XACT_ABORT" => self.session.aborts = on,
            "LOCK_TIMEOUT" => self.session.lock_timeout = value.parse().unwrap_or(-1),
            "ROWCOUNT" => self.session.row_limit = value.parse().unwrap_or(0),
            "IMPLICIT_TRANSACTIONS" | "FMTONLY" | "NOEXEC" if on => {
                return Err(SqlError::unsupported(format_args!("SET {option} ON")));
            }
            // All of these are as servers have them by default, whatever is asked for.
            known if OPTIONS.contains(&known) => {}
            other => match other.strip_prefix("IDENTITY_INSERT ") {
                Some(table) => {
                    let name = match parse_expression(&bracketed(table))? {
                        Expr::Column(name) => name,
                        _ => return Err(SqlError::object(table)),
                    };
                    let object = self.binder().object(&name)?;
                    self.session.identity_insert = on.then_some(object.id);
                }
                None => {
                    let text = format!("'{other}' is not a recognized SET option.");
                    return Err(SqlError::new(195, 15, text));
                }
            },
        }
        Ok(())
    }

    /// Database changes come with the ENVCHANGE and the message of a login.
    fn use_database(&mut self, name: &str) -> Result<()> {
        let missing = || {
            let text =
                format!("Database '{name}' does not exist. Make sure that the name is entered correctly.");
            SqlError::new(911, 16, text)
        };
        let database = self.shared.databases.find(name).ok_or_else(missing)?;
        if self.session.transactions > 0 {
            return Err(SqlError::new(
                226,
                16,
                "USE statement not allowed within multi-statement transaction.",
            ));
        }
        self.connection = database.open(self.session.number)?;
        self.signals.runs_on(&self.connection);
        let old = std::mem::replace(&mut self.database, database);
        let new = self.database.name.clone();
        self.outbox.tokens().environment(1, &new, &old.name);
        let text = format!("Changed database context to '{new}'.");
        self.outbox.notice(&Notice { number: 5701, class: 0, state: 1, text, line: 1 });
        Ok(())
    }
}

/// Options that change nothing here.
const OPTIONS: [&str; 22] = [
    "ANSI_DEFAULTS",
    "ANSI_NULLS",
    "ANSI_NULL_DFLT_OFF",
    "ANSI_NULL_DFLT_ON",
    "ANSI_PADDING",
    "ANSI_WARNINGS",
    "ARITHABORT",
    "ARITHIGNORE",
    "CONCAT_NULL_YIELDS_NULL",
    "CONTEXT_INFO",
    "CURSOR_CLOSE_ON_COMMIT",
    "DATEFIRST",
    "DATEFORMAT",
    "DEADLOCK_PRIORITY",
    "FMTONLY",
    "IMPLICIT_TRANSACTIONS",
    "LANGUAGE",
    "NOEXEC",
    "NUMERIC_ROUNDABORT",
    "QUERY_GOVERNOR_COST_LIMIT",
    "QUOTED_IDENTIFIER",
    "TEXTSIZE",
];

/// A name that was joined by dots, in brackets again.
fn bracketed(name: &str) -> String {
    let parts: Vec<String> = name.split('.').map(|part| format!("[{}]", part.replace(']', "]]"))).collect();
    parts.join(".")
}

/// The variables of `SELECT @a = x, @b = y`.
fn variables_of(query: &Query) -> Option<Vec<String>> {
    let Body::Select(select) = &query.body else { return None };
    select
        .items
        .iter()
        .map(|item| match item {
            Item::Assign { variable, .. } => Some(variable.clone()),
            _ => None,
        })
        .collect()
}
