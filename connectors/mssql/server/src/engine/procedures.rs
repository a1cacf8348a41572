//! Procedures: `sp_executesql`, extended properties, and `tds_test`, which only this server has.

use rusqlite::OptionalExtension as _;

use super::session::Session;
use super::{Engine, Flow};
use crate::error::{Result, SqlError};
use crate::sql::ast::{Expr, Name};
use crate::sql::parser::parse_expression;
use crate::types::convert::convert;
use crate::types::datum::Datum;
use crate::types::encode::Pieces;
use crate::types::{Kind, MAX, SqlType};
use crate::wire::request::Parameter;
use crate::wire::token::Done;

impl Engine {
    /// `EXEC name ...` in a batch.
    pub(super) fn exec(&mut self, name: &Name, arguments: &[(Option<String>, Expr)]) -> Result<Flow> {
        let mut parameters = Vec::new();
        for (name, value) in arguments {
            let (ty, value) = self.evaluate(value)?;
            parameters.push(Parameter { name: name.clone().unwrap_or_default(), ty, value });
        }
        let kind = std::mem::replace(&mut self.done, Done::InProcedure);
        let flow = self.procedure(&name.last().cloned().unwrap_or_default(), &parameters);
        self.done = kind;
        let flow = flow?;
        self.outbox.tokens().return_status(0);
        self.outbox.done(Done::Procedure, 0xE0, None);
        Ok(flow)
    }

    /// A procedure by its name.
    pub(super) fn procedure(&mut self, name: &str, parameters: &[Parameter]) -> Result<Flow> {
        let name = name.rsplit('.').next().unwrap_or(name).trim_matches(['[', ']']).to_ascii_lowercase();
        match name.as_str() {
            "sp_executesql" => self.execute_sql(parameters),
            "sp_addextendedproperty" | "sp_updateextendedproperty" | "sp_dropextendedproperty" => {
                self.session.check_define("ALTER", &self.database.name)?;
                let name = name.clone();
                self.writing(&[], |engine| engine.extended_property(&name, parameters))?;
                Ok(Flow::Next)
            }
            "tds_test" => self.test(parameters),
            "sp_reset_connection" => {
                self.roll_back();
                let (login, application) = (self.session.login.clone(), self.session.application.clone());
                self.session = Session::new(self.session.number, &login, &application);
                Ok(Flow::Next)
            }
            _ => Err(SqlError::new(2812, 16, format!("Could not find stored procedure '{name}'."))),
        }
    }

    /// `sp_executesql`: the statement, the declaration of its parameters (whose types the values bring along), values.
    fn execute_sql(&mut self, parameters: &[Parameter]) -> Result<Flow> {
        let [statement, rest @ ..] = parameters else {
            let text = "Procedure or function 'sp_executesql' expects parameter '@statement', which was not supplied.";
            return Err(SqlError::new(201, 16, text));
        };
        let text = text(statement).unwrap_or_default();
        self.shared.log(&text);
        let declared = declared(rest.first().and_then(self::text).unwrap_or_default().as_str());
        let outer = std::mem::take(&mut self.session.variables);
        for (at, parameter) in rest.iter().skip(1).enumerate() {
            let name = if parameter.name.is_empty() {
                declared.get(at).cloned().unwrap_or_default()
            } else {
                parameter.name.clone()
            };
            self.session.variables.insert(name.to_lowercase(), (parameter.ty, parameter.value.clone()));
        }
        let flow = self.text(&text);
        self.session.variables = outer;
        Ok(flow)
    }

    fn extended_property(&mut self, procedure: &str, parameters: &[Parameter]) -> Result<()> {
        let find = |wanted: &str| {
            let place = PROPERTY.iter().position(|name| *name == wanted);
            parameters.iter().enumerate().find_map(|(at, parameter)| {
                let named = parameter.name.eq_ignore_ascii_case(wanted);
                let placed =
                    parameter.name.is_empty() && place == Some(at) && procedure != "sp_dropextendedproperty";
                (named || placed).then_some(parameter)
            })
        };
        let name = find("@name").and_then(text).unwrap_or_default();
        let level = |number: u8| find(&format!("@level{number}name")).and_then(text);
        let (class, major, minor) = self.property_of(level(0), level(1), level(2))?;
        let value = match find("@value") {
            Some(value) => convert(&value.value, &value.ty, &SqlType::of(Kind::Variant), 0)?,
            None => Datum::Null,
        };
        let key = rusqlite::params![class, major, minor, name];
        let exists = self
            .connection
            .query_row(
                "SELECT 1 FROM \"~properties\" WHERE class = ?1 AND major_id = ?2 AND minor_id = ?3 AND name = ?4",
                key,
                |_| Ok(()),
            )
            .optional()?
            .is_some();
        match (procedure, exists) {
            ("sp_addextendedproperty", true) => {
                let text = format!("Property cannot be added. Property '{name}' already exists.");
                Err(SqlError::new(15233, 16, text))
            }
            ("sp_addextendedproperty", false) | ("sp_updateextendedproperty", true) => {
                self.connection.execute(
                    "INSERT OR REPLACE INTO \"~properties\" VALUES (?1, ?2, ?3, ?4, ?5)",
                    rusqlite::params![class, major, minor, name, value.stored()],
                )?;
                Ok(())
            }
            (_, true) => {
                self.connection.execute(
                    "DELETE FROM \"~properties\" WHERE class = ?1 AND major_id = ?2 AND minor_id = ?3 AND name = ?4",
                    key,
                )?;
                Ok(())
            }
            (_, false) => {
                let text =
                    format!("Property cannot be updated or deleted. Property '{name}' does not exist.");
                Err(SqlError::new(15217, 16, text))
            }
        }
    }

    /// Class and numbers of what a property belongs to: the database, a schema, a table or a column.
    fn property_of(
        &self,
        schema: Option<String>,
        object: Option<String>,
        column: Option<String>,
    ) -> Result<(i64, i64, i64)> {
        let Some(schema) = schema else { return Ok((0, 0, 0)) };
        let missing = || {
            let text = format!(
                "Object is invalid. Extended properties are not permitted on '{schema}', or the object does not exist."
            );
            SqlError::new(15135, 16, text)
        };
        let Some(object) = object else {
            let number = self
                .connection
                .query_row("SELECT schema_id FROM \"~schemas\" WHERE name = ?1", [&schema], |row| row.get(0))
                .optional()?;
            return Ok((3, number.ok_or_else(missing)?, 0));
        };
        let binder = self.binder();
        let object = binder.object(&vec![schema.clone(), object])?;
        let Some(column) = column else { return Ok((1, object.id, 0)) };
        let columns = binder.columns_of(object.id)?;
        let column =
            columns.iter().find(|known| super::bind::same(&known.name, &column)).ok_or_else(missing)?;
        Ok((1, object.id, column.id))
    }

    /// `EXEC tds_test 'what'`: see the README for what there is.
    fn test(&mut self, parameters: &[Parameter]) -> Result<Flow> {
        let command = parameters.first().and_then(text).unwrap_or_default();
        let (what, table) = match command.split_once(" on ") {
            Some((what, table)) => (what, Some(table)),
            None => (command.as_str(), None),
        };
        let words: Vec<&str> = what.split_whitespace().collect();
        match (words.as_slice(), table) {
            (_, Some(table)) => {
                let Expr::Column(name) = parse_expression(table)? else {
                    return Err(SqlError::object(table));
                };
                let object = self.binder().object(&name)?;
                self.shared.faults.order(self.database.number, object.id, self.session.number, what)?;
            }
            (["kill", session], _) => {
                let session = session.parse().map_err(|_| SqlError::syntax(session))?;
                self.shared.kill(session)?;
            }
            (["pieces", size, known], _) => {
                let size = size.parse().map_err(|_| SqlError::syntax(size))?;
                self.session.pieces = Pieces { size, length_known: *known == "known" };
            }
            (["lineitem" | "mixed", rows], _) => {
                let rows = rows.parse().map_err(|_| SqlError::syntax(rows))?;
                let shape = if words[0] == "mixed" {
                    crate::generate::Shape::Mixed
                } else {
                    crate::generate::Shape::Lineitem
                };
                return self.send_generated(shape, rows);
            }
            _ => return Err(SqlError::unsupported(format_args!("the test '{command}'"))),
        }
        Ok(Flow::Next)
    }

    /// Rows that no table holds.
    fn send_generated(&mut self, shape: crate::generate::Shape, rows: u64) -> Result<Flow> {
        self.outbox.tokens().columns(&shape.columns());
        for row in 0..rows {
            self.signals.check()?;
            crate::generate::row(self.outbox.tokens().bytes(), shape, row);
            self.outbox.send_full();
        }
        self.outbox.done(self.done, 0xC1, Some(rows));
        Ok(Flow::Next)
    }
}

/// The parameters of `sp_addextendedproperty`, in their order.
const PROPERTY: [&str; 8] = [
    "@name",
    "@value",
    "@level0type",
    "@level0name",
    "@level1type",
    "@level1name",
    "@level2type",
    "@level2name",
];

fn text(parameter: &Parameter) -> Option<String> {
    match convert(&parameter.value, &parameter.ty, &SqlType::with_length(Kind::NVarChar, MAX), 0) {
        Ok(Datum::Text(text)) => Some(String::from_utf8_lossy(&text).into_owned()),
        _ => None,
    }
}

/// The names in `@a int, @b decimal(10, 2)`.
fn declared(text: &str) -> Vec<String> {
    let mut depth = 0;
    let parts = text.split(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.filter_map(|part| part.split_whitespace().next()).map(str::to_owned).collect()
}
