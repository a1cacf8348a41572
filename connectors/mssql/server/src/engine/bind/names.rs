//! Tables and columns by their names.

use rusqlite::OptionalExtension as _;

use super::{Access, Binder, Bound, Origin, OutColumn, ScopeColumn, ScopeTable};
use crate::engine::catalog;
use crate::error::{Result, SqlError};
use crate::sql::ast::Name;
use crate::sql::parser::parse_expression;
use crate::types::SqlType;

/// A table or view of the registry.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Object {
    pub(in crate::engine) id: i64,
    pub(in crate::engine) schema: String,
    pub(in crate::engine) name: String,
    /// `U` or `V`.
    pub(in crate::engine) kind: String,
    pub(in crate::engine) definition: Option<String>,
}

/// A column of the registry.
#[derive(Debug, Clone)]
pub(in crate::engine) struct RegisteredColumn {
    pub(in crate::engine) id: i64,
    pub(in crate::engine) name: String,
    pub(in crate::engine) ty: SqlType,
    pub(in crate::engine) nullable: bool,
    pub(in crate::engine) identity: bool,
    pub(in crate::engine) default: Option<String>,
    pub(in crate::engine) computed: Option<String>,
    pub(in crate::engine) hidden: bool,
    pub(in crate::engine) column_set: bool,
    pub(in crate::engine) period: u8,
}

/// The schema and the name of an object; `dbo` if none is said.
pub(in crate::engine) fn schema_and_name(name: &Name) -> (&str, &str) {
    match name.as_slice() {
        [.., schema, name] if !schema.is_empty() => (schema, name),
        [.., name] => ("dbo", name),
        [] => ("dbo", ""),
    }
}

impl Binder<'_> {
    /// A table or view of the session's database.
    pub(in crate::engine) fn object(&self, name: &Name) -> Result<Object> {
        let missing = || SqlError::object(&name.join("."));
        if let [.., database, _, _] = name.as_slice()
            && !database.is_empty()
            && !database.eq_ignore_ascii_case(&self.database.name)
        {
            return Err(missing());
        }
        let (schema, table) = schema_and_name(name);
        let object = self
            .connection
            .query_row(
                "SELECT o.object_id, s.name, o.name, o.type, o.definition FROM \"~objects\" o \
                 JOIN \"~schemas\" s ON s.schema_id = o.schema_id \
                 WHERE s.name = ?1 AND o.name = ?2 AND o.type IN ('U', 'V')",
                (schema, table),
                |row| {
                    Ok(Object {
                        id: row.get(0)?,
                        schema: row.get(1)?,
                        name: row.get(2)?,
                        kind: row.get(3)?,
                        definition: row.get(4)?,
                    })
                },
            )
            .optional()?
            .ok_or_else(missing)?;
        self.session.check_read(self.connection, &object, &self.database.name)?;
        Ok(object)
    }

    pub(in crate::engine) fn columns_of(&self, object: i64) -> Result<Vec<RegisteredColumn>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT column_id, name, code, nullable, identity_seed IS NOT NULL, default_text, computed, hidden, \
             column_set, period FROM \"~columns\" WHERE object_id = ?1 ORDER BY column_id",
        )?;
        let rows = statement.query_map([object], |row| {
            let code: i64 = row.get(2)?;
            Ok(RegisteredColumn {
                id: row.get(0)?,
                name: row.get(1)?,
                ty: SqlType::of_code(code)
                    .ok_or_else(|| SqlError::unsupported(format_args!("the type {code}")))?,
                nullable: row.get(3)?,
                identity: row.get(4)?,
                default: row.get(5)?,
                computed: row.get(6)?,
                hidden: row.get(7)?,
                column_set: row.get(8)?,
                period: row.get(9)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// A table in FROM: its SQL; its columns come into the scope.
    pub(super) fn table(&mut self, name: &Name, alias: Option<&String>, hints: &[String]) -> Result<String> {
        let shown = alias.cloned().unwrap_or_else(|| name.last().cloned().unwrap_or_default());
        if let [single] = name.as_slice()
            && let Some(common) =
                self.commons.iter().rev().find(|common| common.name.eq_ignore_ascii_case(single))
        {
            let (sql, columns) = (common.sql.clone(), common.columns.clone());
            let place = self.fresh("q");
            self.add_columns(&shown, &place, &columns);
            return Ok(format!("{sql} AS {place}"));
        }
        let (schema, table) = schema_and_name(name);
        if let Some(view) = self.system_view(schema, table) {
            let place = self.fresh("q");
            let columns = view
                .columns
                .into_iter()
                .map(|(name, ty)| ScopeColumn {
                    bound: Bound::new(format!("{place}.\"{name}\""), ty),
                    name,
                    hidden: false,
                })
                .collect();
            self.add_table(&shown, columns);
            return Ok(format!("({}) AS {place}", view.sql));
        }
        let object = self.object(name)?;
        if object.kind == "V" {
            return self.view(&object, &shown);
        }
        self.accesses.push(Access { table: object.id, hints: hints.to_vec() });
        let place = self.fresh("q");
        self.registered(&object, &shown, &place)?;
        Ok(format!("t{} AS {place}", object.id))
    }

    fn system_view(&self, schema: &str, table: &str) -> Option<catalog::View> {
        let name = format!("{schema}.{table}").to_ascii_lowercase();
        match name.as_str() {
            "sys.databases" => Some(catalog::databases(&self.shared.databases.list())),
            "sys.dm_exec_sessions" => Some(catalog::sessions(&self.shared.session_list())),
            _ => catalog::view(&name, self.database),
        }
    }

    /// Brings the columns of a table into the scope, the computed ones after those that they are computed of.
    pub(in crate::engine) fn registered(&mut self, object: &Object, alias: &str, place: &str) -> Result<()> {
        let registered = self.columns_of(object.id)?;
        let plain = registered.iter().filter(|column| column.computed.is_none()).map(|column| {
            let origin = Origin {
                identity: column.identity,
                computed: column.period != 0,
                table: object.name.clone(),
            };
            let bound = Bound {
                nullable: column.nullable,
                origin: Some(origin),
                ..Bound::new(format!("{place}.c{}", column.id), column.ty)
            };
            ScopeColumn { name: column.name.clone(), bound, hidden: column.hidden }
        });
        let plain: Vec<ScopeColumn> = plain.collect();
        // Computed columns see those of their own table alone.
        self.scopes.push(vec![ScopeTable { alias: alias.to_owned(), columns: plain.clone() }]);
        let mut columns = Vec::new();
        for column in &registered {
            let Some(text) = &column.computed else {
                columns.extend(plain.iter().find(|plain| plain.name == column.name).cloned());
                continue;
            };
            let value = self.expression(&parse_expression(text)?);
            let value = match value {
                Ok(value) => value,
                Err(error) => {
                    self.scopes.pop();
                    return Err(error);
                }
            };
            let origin = Origin { computed: true, table: object.name.clone(), ..Origin::default() };
            let bound = Bound { origin: Some(origin), literal: false, ..value };
            columns.push(ScopeColumn { name: column.name.clone(), bound, hidden: column.hidden });
        }
        self.scopes.pop();
        self.leave_out_sparse(&registered, &mut columns);
        self.add_table(alias, columns);
        Ok(())
    }

    /// With a column set, `*` leaves out what it stands for.
    fn leave_out_sparse(&self, registered: &[RegisteredColumn], columns: &mut [ScopeColumn]) {
        if !registered.iter().any(|column| column.column_set) {
            return;
        }
        for (column, registered) in columns.iter_mut().zip(registered) {
            column.hidden |= registered.nullable && !registered.column_set;
        }
    }

    fn view(&mut self, object: &Object, alias: &str) -> Result<String> {
        let failed = || SqlError::object(&object.name);
        let definition = object.definition.clone().ok_or_else(failed)?;
        let parsed =
            crate::sql::parser::parse(&definition)?.into_iter().next().map(|placed| placed.statement);
        let Some(crate::sql::ast::Statement::CreateView { columns, query, .. }) = parsed else {
            return Err(failed());
        };
        if self.depth > 30 {
            return Err(SqlError::new(217, 16, "Maximum view nesting level exceeded."));
        }
        self.depth += 1;
        // A view sees nothing of what stands around it.
        let outer = std::mem::take(&mut self.scopes);
        let bound = self.nested(&query);
        self.scopes = outer;
        self.depth -= 1;
        let mut bound = bound?;
        for (column, name) in bound.columns.iter_mut().zip(columns) {
            column.name = name;
        }
        let place = self.fresh("q");
        self.add_columns(alias, &place, &bound.columns);
        Ok(format!("({}) AS {place}", bound.sql))
    }

    pub(super) fn add_columns(&mut self, alias: &str, place: &str, columns: &[OutColumn]) {
        let columns = columns
            .iter()
            .zip(1..)
            .map(|(column, number)| ScopeColumn {
                name: column.name.clone(),
                bound: Bound {
                    nullable: column.nullable,
                    origin: column.origin.clone(),
                    ..Bound::new(format!("{place}.o{number}"), column.ty)
                },
                hidden: false,
            })
            .collect();
        self.add_table(alias, columns);
    }

    pub(super) fn add_table(&mut self, alias: &str, columns: Vec<ScopeColumn>) {
        if self.scopes.is_empty() {
            self.scopes.push(Vec::new());
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(ScopeTable { alias: alias.to_owned(), columns });
        }
    }

    /// A column by its name, from the innermost query outwards.
    pub(super) fn column(&self, name: &Name) -> Result<Bound> {
        let (table, column) = match name.as_slice() {
            [column] => (None, column),
            [.., table, column] => (Some(table), column),
            [] => return Err(SqlError::column("")),
        };
        for scope in self.scopes.iter().rev() {
            let tables = scope.iter().filter(|known| table.is_none_or(|table| same(&known.alias, table)));
            let mut found = tables
                .flat_map(|table| &table.columns)
                .filter(|known| same(&known.name, column))
                .map(|known| &known.bound);
            if let Some(first) = found.next() {
                if found.next().is_some() && table.is_none() {
                    return Err(SqlError::new(209, 16, format!("Ambiguous column name '{column}'.")));
                }
                return Ok(first.clone());
            }
        }
        match table {
            Some(table) if !self.scopes.iter().flatten().any(|known| same(&known.alias, table)) => {
                let text = format!("The multi-part identifier \"{}\" could not be bound.", name.join("."));
                Err(SqlError::new(4104, 16, text))
            }
            _ => Err(SqlError::column(column)),
        }
    }
}

/// Names are compared without regard to case.
pub(in crate::engine) fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}
