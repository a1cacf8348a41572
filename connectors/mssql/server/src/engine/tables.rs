//! Tables as CREATE TABLE makes them: columns, keys, indexes.

use super::Engine;
use super::bind::{Object, same, schema_and_name};
use super::catalog::user_type_id;
use crate::error::{Result, SqlError};
use crate::settings::Flavour;
use crate::sql::ast::{ColumnDefinition, Key, TableDefinition};
use crate::types::collation::Collation;
use crate::types::{Kind, SqlType};

impl Engine {
    pub(super) fn create_table(&mut self, table: &TableDefinition) -> Result<()> {
        let id = self.add_object(&table.name, "U", 0, None)?;
        let (schema, name) = schema_and_name(&table.name);
        let object = Object {
            id,
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind: "U".to_owned(),
            definition: None,
        };
        let in_key = |column: &ColumnDefinition| {
            let primary = table.keys.iter().filter(|key| key.primary);
            column.primary || primary.flat_map(|key| &key.columns).any(|(name, _)| same(name, &column.name))
        };
        let mut kept = Vec::new();
        let mut width = 7;
        for (column, number) in table.columns.iter().zip(1..) {
            let Some(ty) = column_type(column)? else { continue };
            self.check_flavour(&ty)?;
            let required = in_key(column);
            self.add_column(&object, number, column, &ty, required)?;
            width += estimated_bytes(&ty);
            let collation = format!(" COLLATE {}", ty.collation.sqlite_name());
            let collation = if ty.kind.is_text() { collation } else { String::new() };
            let not_null = if is_required(column, &ty, required) { " NOT NULL" } else { "" };
            kept.push(format!("c{number}{collation}{not_null}"));
        }
        if kept.is_empty() {
            return Err(SqlError::syntax(")"));
        }
        self.connection.execute_batch(&format!("CREATE TABLE t{id} ({})", kept.join(", ")))?;
        self.connection.execute(
            "UPDATE \"~objects\" SET row_width = ?1, temporal = ?2 WHERE object_id = ?3",
            (width, if table.versioned { 2 } else { 0 }, id),
        )?;
        self.add_computed(&object, &table.columns)?;
        self.connection.execute("INSERT INTO \"~indexes\" VALUES (?1, 0, NULL, 0, 0, 0, 0, NULL)", [id])?;
        for column in table.columns.iter().filter(|column| column.primary || column.unique) {
            let columns = vec![(column.name.clone(), false)];
            self.create_key(&object, &unnamed(column.primary, columns))?;
        }
        for key in &table.keys {
            self.create_key(&object, key)?;
        }
        Ok(())
    }

    /// Synapse does not have all types.
    fn check_flavour(&self, ty: &SqlType) -> Result<()> {
        let missing = ty.kind.is_udt()
            || matches!(
                ty.kind,
                Kind::Text | Kind::NText | Kind::Image | Kind::Variant | Kind::Xml | Kind::RowVersion
            );
        if missing && self.shared.settings.flavour == Flavour::Synapse {
            let text = format!("Parse error: the type '{}' is not supported.", ty.kind.name());
            return Err(SqlError::new(104_220, 16, text));
        }
        Ok(())
    }

    pub(super) fn add_column(
        &mut self,
        object: &Object,
        number: i64,
        column: &ColumnDefinition,
        ty: &SqlType,
        required: bool,
    ) -> Result<()> {
        let name = column.ty.as_ref().map_or("", |ty| ty.name.as_str());
        let (system, user) = user_type_id(name, ty.kind);
        let collation = (ty.kind.is_text() && ty.kind != Kind::Xml).then(|| ty.collation.name());
        let mut default_id = 0;
        if let Some((_, text)) = &column.default {
            let constraint = vec![
                object.schema.clone(),
                format!("DF__{}__{}__{:08X}", object.name, column.name, object.id),
            ];
            default_id = self.add_object(&constraint, "D", object.id, Some(&format!("({text})")))?;
        }
        self.connection.execute(
            "INSERT INTO \"~columns\" (object_id, column_id, name, code, system_type_id, user_type_id, max_length, \
             precision, scale, collation_name, nullable, identity_seed, identity_step, default_id, default_text, sparse, \
             column_set, hidden, period) VALUES \
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
            rusqlite::params![
                object.id,
                number,
                column.name,
                ty.code(),
                system,
                user,
                ty.catalog_length(),
                ty.catalog_precision(),
                ty.catalog_scale(),
                collation,
                !is_required(column, ty, required),
                column.identity.map(|identity| identity.0),
                column.identity.map(|identity| identity.1),
                default_id,
                column.default.as_ref().map(|(_, text)| text),
                column.sparse,
                column.column_set,
                column.hidden,
                column.period,
            ],
        )?;
        if let Some((seed, step)) = column.identity {
            self.database.set_identity(object.id, seed - step, step);
        }
        Ok(())
    }

    /// Computed columns, whose types come of their expressions.
    pub(super) fn add_computed(&mut self, object: &Object, columns: &[ColumnDefinition]) -> Result<()> {
        for (column, number) in columns.iter().zip(1..) {
            let Some((value, text)) = &column.computed else { continue };
            let bound = {
                let mut binder = self.binder();
                binder.registered(object, &object.name, "t")?;
                binder.expression(value)?
            };
            let ty = bound.ty;
            let (system, user) = user_type_id("", ty.kind);
            let collation = ty.kind.is_text().then(|| ty.collation.name());
            self.connection.execute(
                "INSERT INTO \"~columns\" (object_id, column_id, name, code, system_type_id, user_type_id, max_length, \
                 precision, scale, collation_name, nullable, computed, persisted) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                rusqlite::params![
                    object.id,
                    number,
                    column.name,
                    ty.code(),
                    system,
                    user,
                    ty.catalog_length(),
                    ty.catalog_precision(),
                    ty.catalog_scale(),
                    collation,
                    bound.nullable && column.nullable != Some(false),
                    format!("({text})"),
                    column.persisted,
                ],
            )?;
        }
        Ok(())
    }

    /// An index, with the constraint that it may belong to.
    pub(super) fn create_key(&mut self, object: &Object, key: &Key) -> Result<()> {
        let clustered_exists: bool = self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM \"~indexes\" WHERE object_id = ?1 AND index_id = 1)",
            [object.id],
            |row| row.get(0),
        )?;
        let clustered = key.clustered.unwrap_or(key.primary && !clustered_exists);
        let number: i64 = if clustered {
            self.connection
                .execute("DELETE FROM \"~indexes\" WHERE object_id = ?1 AND index_id = 0", [object.id])?;
            1
        } else {
            self.connection.query_row(
                "SELECT max(1, max(index_id)) + 1 FROM \"~indexes\" WHERE object_id = ?1",
                [object.id],
                |row| row.get(0),
            )?
        };
        let constraint = key.primary || key.unique && key.name.is_none();
        let prefix = if key.primary { "PK" } else { "UQ" };
        let name = key
            .name
            .clone()
            .unwrap_or_else(|| format!("{prefix}__{}__{:08X}{number}", object.name, object.id));
        if constraint {
            self.add_object(&vec![object.schema.clone(), name.clone()], prefix, object.id, None)?;
        }
        self.connection.execute(
            "INSERT INTO \"~indexes\" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            rusqlite::params![
                object.id,
                number,
                name,
                if clustered { 1 } else { 2 },
                key.unique || key.primary,
                key.primary,
                constraint && !key.primary,
                key.filter,
            ],
        )?;
        self.add_key_columns(object, key, number)
    }

    /// The columns of an index, and the index in SQLite.
    fn add_key_columns(&mut self, object: &Object, key: &Key, number: i64) -> Result<()> {
        let columns = self.binder().columns_of(object.id)?;
        let mut parts = Vec::new();
        let listed = key.columns.iter().map(|(name, descending)| (name, *descending, false));
        let included = key.included.iter().map(|name| (name, false, true));
        for ((name, descending, included), position) in listed.chain(included).zip(1_i64..) {
            let column = columns.iter().find(|column| same(&column.name, name)).ok_or_else(|| {
                let text = format!("Column name '{name}' does not exist in the target table or view.");
                SqlError::new(1911, 16, text)
            })?;
            self.connection.execute(
                "INSERT INTO \"~index_columns\" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                rusqlite::params![
                    object.id,
                    number,
                    position,
                    column.id,
                    if included { 0 } else { position },
                    descending,
                    included
                ],
            )?;
            if !included && column.computed.is_none() {
                parts.push(format!("c{}{}", column.id, if descending { " DESC" } else { "" }));
            }
        }
        // Filtered ones do not hold for all rows: they are in the catalog alone.
        if !parts.is_empty() && key.filter.is_none() && object.kind == "U" {
            let unique = if key.unique || key.primary { "UNIQUE " } else { "" };
            let (id, parts) = (object.id, parts.join(", "));
            self.connection
                .execute_batch(&format!("CREATE {unique}INDEX i{id}_{number} ON t{id} ({parts})"))?;
        }
        Ok(())
    }
}

fn unnamed(primary: bool, columns: Vec<(String, bool)>) -> Key {
    Key { name: None, primary, unique: true, clustered: None, columns, included: Vec::new(), filter: None }
}

/// The type of a column that is kept; `None` for computed ones.
pub(super) fn column_type(column: &ColumnDefinition) -> Result<Option<SqlType>> {
    let Some(name) = &column.ty else { return Ok(None) };
    let collation = match &column.collation {
        Some(name) => Collation::parse(name)
            .ok_or_else(|| SqlError::new(448, 16, format!("Invalid collation '{name}'.")))?,
        None => Collation::default(),
    };
    Ok(Some(name.ty.collated(collation)))
}

fn is_required(column: &ColumnDefinition, ty: &SqlType, required: bool) -> bool {
    let by_itself = column.identity.is_some() || ty.kind == Kind::RowVersion || column.period != 0;
    required || column.nullable == Some(false) || column.nullable.is_none() && by_itself
}

/// What a value takes on a page, for the sizes that the catalog tells.
fn estimated_bytes(ty: &SqlType) -> i64 {
    match ty.catalog_length() {
        -1 => 64,
        length if ty.kind.is_text() || ty.kind.is_binary() => length / 2 + 2,
        length => length,
    }
}
