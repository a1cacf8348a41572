//! CREATE, ALTER, DROP, GRANT.

use std::sync::atomic::Ordering;

use rusqlite::OptionalExtension as _;

use super::Engine;
use super::bind::{Object, assigned, same, schema_and_name};
use super::catalog::user_type_id;
use super::tables::column_type;
use crate::error::{Result, SqlError};
use crate::sql::ast::{Alter, ColumnDefinition, Name, Query, Statement};
use crate::types::Kind;

impl Engine {
    pub(super) fn define(&mut self, statement: &Statement) -> Result<()> {
        self.session.check_define(named(statement), &self.database.name)?;
        match statement {
            Statement::CreateTable(table) => self.writing(&[], |engine| engine.create_table(table)),
            Statement::CreateSchema(name) => self.writing(&[], |engine| engine.create_schema(name)),
            Statement::CreateDatabase(name) => self.shared.databases.create(name).map(drop),
            Statement::CreateIndex { table, key } => {
                let object = self.binder().object(table)?;
                self.writing(&[object.id], |engine| engine.create_key(&object, key))
            }
            Statement::CreateView { name, query, text, .. } => {
                self.writing(&[], |engine| engine.create_view(name, query, text))
            }
            Statement::AlterTable { table, change } => {
                let object = self.binder().object(table)?;
                self.writing(&[object.id], |engine| engine.alter_table(&object, change))
            }
            Statement::AlterDatabase { name, option, on } => {
                self.alter_database(name.as_deref(), option, *on)
            }
            Statement::Drop { what, names, if_exists, on } => {
                for name in names {
                    self.drop_one(what, name, *if_exists, on.as_ref())?;
                }
                Ok(())
            }
            Statement::Grant { verb, object: Some(object), user, .. } => self.grant(verb, object, user),
            Statement::Grant { .. } => Ok(()),
            other => Err(SqlError::unsupported(format_args!("{other:?}"))),
        }
    }

    fn schema_id(&self, name: &str) -> Result<i64> {
        let missing = || {
            let text = format!(
                "The specified schema name \"{name}\" either does not exist or you do not have permission to use it."
            );
            SqlError::new(2760, 16, text)
        };
        self.connection
            .query_row("SELECT schema_id FROM \"~schemas\" WHERE name = ?1", [name], |row| row.get(0))
            .optional()?
            .ok_or_else(missing)
    }

    fn create_schema(&mut self, name: &str) -> Result<()> {
        if self.schema_id(name).is_ok() {
            return Err(taken(name));
        }
        self.connection.execute(
            "INSERT INTO \"~schemas\" VALUES (max(4, (SELECT max(schema_id) FROM \"~schemas\" WHERE schema_id < 16384)) + 1, ?1)",
            [name],
        )?;
        Ok(())
    }

    /// A row of the registry; its number.
    pub(super) fn add_object(
        &mut self,
        name: &Name,
        kind: &str,
        parent: i64,
        definition: Option<&str>,
    ) -> Result<i64> {
        let (schema, object) = schema_and_name(name);
        let schema = self.schema_id(schema)?;
        let exists: bool = self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM \"~objects\" WHERE schema_id = ?1 AND name = ?2)",
            (schema, object),
            |row| row.get(0),
        )?;
        if exists {
            return Err(taken(object));
        }
        self.connection.execute(
            "INSERT INTO \"~objects\" (schema_id, name, type, parent_id, created, definition) VALUES (?1, ?2, ?3, ?4, 0, ?5)",
            (schema, object, kind, parent, definition),
        )?;
        Ok(self.connection.last_insert_rowid())
    }

    fn create_view(&mut self, name: &Name, query: &Query, text: &str) -> Result<()> {
        let columns = self.binder().query(query)?.columns;
        let Some(Statement::CreateView { columns: names, .. }) =
            crate::sql::parser::parse(text)?.into_iter().next().map(|placed| placed.statement)
        else {
            return Err(SqlError::syntax("VIEW"));
        };
        let id = self.add_object(name, "V", 0, Some(text))?;
        let (schema, view) = schema_and_name(name);
        let object = Object {
            id,
            schema: schema.to_owned(),
            name: view.to_owned(),
            kind: "V".to_owned(),
            definition: None,
        };
        for (at, column) in columns.into_iter().enumerate() {
            let name = names.get(at).cloned().unwrap_or(column.name);
            if name.is_empty() {
                let text = format!(
                    "Create View or Function failed because no column name was specified for column {}.",
                    at + 1
                );
                return Err(SqlError::new(4511, 16, text));
            }
            let definition =
                ColumnDefinition { name, nullable: Some(column.nullable), ..ColumnDefinition::default() };
            let number = i64::try_from(at + 1).unwrap_or(i64::MAX);
            self.add_column(&object, number, &definition, &column.ty, false)?;
        }
        Ok(())
    }

    fn alter_table(&mut self, object: &Object, change: &Alter) -> Result<()> {
        match change {
            Alter::Add(columns, keys) => {
                for column in columns {
                    self.append_column(object, column)?;
                }
                keys.iter().try_for_each(|key| self.create_key(object, key))
            }
            Alter::DropColumn(names) => {
                for name in names {
                    let columns = self.binder().columns_of(object.id)?;
                    let column = columns.iter().find(|column| same(&column.name, name));
                    let column = column.ok_or_else(|| SqlError::new(4924, 16, format!("ALTER TABLE DROP COLUMN failed because column '{name}' does not exist in table '{}'.", object.name)))?;
                    self.connection.execute(
                        "DELETE FROM \"~columns\" WHERE object_id = ?1 AND column_id = ?2",
                        (object.id, column.id),
                    )?;
                    if column.computed.is_none() {
                        let sql = format!("ALTER TABLE t{} DROP COLUMN c{}", object.id, column.id);
                        self.connection.execute_batch(&sql)?;
                    }
                }
                Ok(())
            }
            Alter::DropConstraint(names) => names.iter().try_for_each(|name| self.drop_index(object, name)),
            Alter::Column(column) => self.alter_column(object, column),
        }
    }

    /// A column behind the others; rows that are there get its default if it has to have a value.
    fn append_column(&mut self, object: &Object, column: &ColumnDefinition) -> Result<()> {
        let number: i64 = self.connection.query_row(
            "SELECT coalesce(max(column_id), 0) + 1 FROM \"~columns\" WHERE object_id = ?1",
            [object.id],
            |row| row.get(0),
        )?;
        let Some(ty) = column_type(column)? else {
            let mut columns = vec![ColumnDefinition::default(); usize::try_from(number - 1).unwrap_or(0)];
            columns.push(column.clone());
            return self.add_computed(object, &columns);
        };
        self.add_column(object, number, column, &ty, false)?;
        let collation = format!(" COLLATE {}", ty.collation.sqlite_name());
        let collation = if ty.kind.is_text() { collation } else { String::new() };
        self.connection
            .execute_batch(&format!("ALTER TABLE t{} ADD COLUMN c{number}{collation}", object.id))?;
        let value = match &column.default {
            Some((default, _)) if column.nullable == Some(false) => {
                let mut binder = self.binder();
                let bound = binder.expression(default)?;
                Some((assigned(&bound, &ty, &column.name), binder.values))
            }
            _ if ty.kind == Kind::RowVersion => Some(("t_row_version()".to_owned(), Vec::new())),
            _ if column.identity.is_some() => Some((format!("t_identity({})", object.id), Vec::new())),
            _ => None,
        };
        if let Some((value, values)) = value {
            let mut statement =
                self.connection.prepare(&format!("UPDATE t{} SET c{number} = {value}", object.id))?;
            super::execute::bind(&mut statement, &values)?;
            statement.raw_execute()?;
        }
        Ok(())
    }

    fn alter_column(&mut self, object: &Object, column: &ColumnDefinition) -> Result<()> {
        let columns = self.binder().columns_of(object.id)?;
        let known = columns.iter().find(|known| same(&known.name, &column.name));
        let known = known.ok_or_else(|| SqlError::column(&column.name))?;
        let Some(ty) = column_type(column)? else { return Err(SqlError::syntax("AS")) };
        self.connection.execute_batch(&format!(
            "UPDATE t{} SET c{} = t_assign(c{}, {}, {}, '')",
            object.id,
            known.id,
            known.id,
            known.ty.code(),
            ty.code()
        ))?;
        let name = column.ty.as_ref().map_or("", |ty| ty.name.as_str());
        let (system, user) = user_type_id(name, ty.kind);
        let collation = (ty.kind.is_text() && ty.kind != Kind::Xml).then(|| ty.collation.name());
        self.connection.execute(
            "UPDATE \"~columns\" SET code = ?3, system_type_id = ?4, user_type_id = ?5, max_length = ?6, \
             precision = ?7, scale = ?8, collation_name = ?9, nullable = ?10 WHERE object_id = ?1 AND column_id = ?2",
            rusqlite::params![
                object.id,
                known.id,
                ty.code(),
                system,
                user,
                ty.catalog_length(),
                ty.catalog_precision(),
                ty.catalog_scale(),
                collation,
                column.nullable != Some(false),
            ],
        )?;
        Ok(())
    }

    fn alter_database(&mut self, name: Option<&str>, option: &str, on: bool) -> Result<()> {
        let database = match name {
            Some(name) => self.shared.databases.find(name),
            None => Some(self.database.clone()),
        };
        let database = database.ok_or_else(|| {
            SqlError::new(
                5011,
                14,
                "User does not have permission to alter the database, or it does not exist.",
            )
        })?;
        match option {
            "ALLOW_SNAPSHOT_ISOLATION" => database.snapshot.store(on, Ordering::Relaxed),
            "READ_COMMITTED_SNAPSHOT" => database.versioned.store(on, Ordering::Relaxed),
            _ => {}
        }
        Ok(())
    }

    fn drop_one(&mut self, what: &str, name: &Name, if_exists: bool, on: Option<&Name>) -> Result<()> {
        match what {
            "DATABASE" => {
                let name = name.concat();
                match self.shared.databases.drop(&name) {
                    Err(_) if if_exists => Ok(()),
                    done => done,
                }
            }
            "SCHEMA" => self.writing(&[], |engine| engine.drop_schema(&name.concat(), if_exists)),
            "INDEX" => {
                let (table, index) = match (on, name.as_slice()) {
                    (Some(table), [.., index]) => (table.clone(), index.clone()),
                    (None, [before @ .., index]) => (before.to_vec(), index.clone()),
                    _ => return Err(SqlError::syntax("INDEX")),
                };
                let object = self.binder().object(&table)?;
                self.writing(&[object.id], |engine| engine.drop_index(&object, &index))
            }
            _ => {
                let object = match self.binder().object(name) {
                    Ok(object) => object,
                    Err(_) if if_exists => return Ok(()),
                    Err(_) => {
                        let what = what.to_ascii_lowercase();
                        let text = format!(
                            "Cannot drop the {what} '{}', because it does not exist or you do not have permission.",
                            name.join(".")
                        );
                        return Err(SqlError::new(3701, 11, text));
                    }
                };
                self.writing(&[object.id], |engine| engine.drop_object(&object))
            }
        }
    }

    fn drop_object(&mut self, object: &Object) -> Result<()> {
        for sql in [
            "DELETE FROM \"~objects\" WHERE object_id = ?1 OR parent_id = ?1",
            "DELETE FROM \"~columns\" WHERE object_id = ?1",
            "DELETE FROM \"~indexes\" WHERE object_id = ?1",
            "DELETE FROM \"~index_columns\" WHERE object_id = ?1",
            "DELETE FROM \"~properties\" WHERE class = 1 AND major_id = ?1",
            "DELETE FROM \"~denied\" WHERE object_id = ?1",
        ] {
            self.connection.execute(sql, [object.id])?;
        }
        if object.kind == "U" {
            self.connection.execute_batch(&format!("DROP TABLE t{}", object.id))?;
        }
        Ok(())
    }

    fn drop_schema(&mut self, name: &str, if_exists: bool) -> Result<()> {
        let id = match self.schema_id(name) {
            Ok(id) => id,
            Err(_) if if_exists => return Ok(()),
            Err(_) => {
                let text = format!(
                    "Cannot drop the schema '{name}', because it does not exist or you do not have permission."
                );
                return Err(SqlError::new(15151, 16, text));
            }
        };
        let first: Option<String> = self
            .connection
            .query_row("SELECT name FROM \"~objects\" WHERE schema_id = ?1 LIMIT 1", [id], |row| row.get(0))
            .optional()?;
        if let Some(object) = first {
            let text =
                format!("Cannot drop schema '{name}' because it is being referenced by object '{object}'.");
            return Err(SqlError::new(3729, 16, text));
        }
        self.connection.execute("DELETE FROM \"~schemas\" WHERE schema_id = ?1", [id])?;
        self.connection.execute("DELETE FROM \"~properties\" WHERE class = 3 AND major_id = ?1", [id])?;
        Ok(())
    }

    fn drop_index(&mut self, object: &Object, name: &str) -> Result<()> {
        let number: Option<i64> = self
            .connection
            .query_row(
                "SELECT index_id FROM \"~indexes\" WHERE object_id = ?1 AND name = ?2",
                (object.id, name),
                |row| row.get(0),
            )
            .optional()?;
        let Some(number) = number else {
            let text = format!("Cannot drop the index '{}.{name}', because it does not exist.", object.name);
            return Err(SqlError::new(3701, 11, text));
        };
        let id = object.id;
        self.connection.execute_batch(&format!("DROP INDEX IF EXISTS i{id}_{number}"))?;
        for sql in [
            "DELETE FROM \"~indexes\" WHERE object_id = ?1 AND index_id = ?2",
            "DELETE FROM \"~index_columns\" WHERE object_id = ?1 AND index_id = ?2",
        ] {
            self.connection.execute(sql, (id, number))?;
        }
        self.connection.execute("DELETE FROM \"~objects\" WHERE parent_id = ?1 AND name = ?2", (id, name))?;
        if number == 1 {
            self.connection
                .execute("INSERT INTO \"~indexes\" VALUES (?1, 0, NULL, 0, 0, 0, 0, NULL)", [id])?;
        }
        Ok(())
    }

    fn grant(&mut self, verb: &str, object: &Name, user: &str) -> Result<()> {
        let object = self.binder().object(object)?;
        self.writing(&[], |engine| {
            let sql = if verb == "DENY" {
                "INSERT OR IGNORE INTO \"~denied\" VALUES (?1, ?2)"
            } else {
                "DELETE FROM \"~denied\" WHERE user = ?1 AND object_id = ?2"
            };
            engine.connection.execute(sql, (user, object.id))?;
            Ok(())
        })
    }
}

fn named(statement: &Statement) -> &'static str {
    match statement {
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::CreateSchema(_) => "CREATE SCHEMA",
        Statement::CreateDatabase(_) => "CREATE DATABASE",
        Statement::CreateView { .. } => "CREATE VIEW",
        Statement::Drop { .. } => "DROP",
        Statement::Grant { .. } => "GRANT",
        _ => "ALTER",
    }
}

fn taken(name: &str) -> SqlError {
    SqlError {
        state: 6,
        ..SqlError::new(2714, 16, format!("There is already an object named '{name}' in the database."))
    }
}
