//! The types that a table's columns reach: through domains, arrays and row types.

use std::collections::HashMap;

use transload_core::{Error, Result};

use crate::connect::{optional, text};
use crate::types::{CatalogType, Home, Kind};

type Row = tokio_postgres::SimpleQueryRow;

/// Arrays of domains over arrays of row types ... end somewhere.
const DEEPEST: usize = 64;

/// One statement: every type that the columns of a table reach. `table` is the text of a `regclass`, as a
/// literal.
///
/// `LIMIT 1` makes the planner look types up one by one: it takes the recursion for huge, and would read all
/// types there are, two for each table of the database.
///
/// A true array type is the one that its element type names; `int2vector` and `oidvector` only look like it.
pub(crate) fn types_sql(table: &str) -> String {
    format!(
        "WITH RECURSIVE reached(oid) AS (
            SELECT atttypid FROM pg_attribute WHERE attrelid = to_regclass({table}) AND attnum > 0 AND NOT attisdropped
            UNION SELECT next.oid FROM reached
               CROSS JOIN LATERAL (SELECT * FROM pg_type WHERE oid = reached.oid LIMIT 1) AS t
               CROSS JOIN LATERAL (
                  SELECT t.typbasetype WHERE t.typtype = 'd'
                  UNION ALL SELECT e.oid FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid
                  UNION ALL SELECT f.atttypid FROM pg_attribute f
                     WHERE t.typtype = 'c' AND f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped) AS next(oid))
         SELECT t.* FROM reached CROSS JOIN LATERAL (
            SELECT t.oid, t.typname AS name, t.typtype AS sort, n.nspname AS schema, t.typbasetype AS base,
               t.typtypmod AS base_modifier,
               (SELECT e.oid FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid) AS element,
               (SELECT x.extname FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid
                  WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e'
                     AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass LIMIT 1) AS extension,
               CASE WHEN t.typtype = 'c' THEN (
                  SELECT pg_catalog.json_agg(pg_catalog.json_build_array(f.attname, f.atttypid::pg_catalog.text, f.atttypmod) ORDER BY f.attnum)
                  FROM pg_attribute f WHERE f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped) END AS fields
            FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = reached.oid LIMIT 1) AS t"
    )
}

/// The answers of [`types_sql`], by the number of the type.
pub(crate) struct Types(HashMap<String, Found>);

struct Found {
    name: String,
    home: Home,
    link: Link,
}

/// What a type is made of, by number.
enum Link {
    /// Type and modifier.
    Domain(String, i32),
    Array(String),
    /// Name, type and modifier of each field.
    Composite(Vec<(String, String, i32)>),
    Alone(Kind),
}

impl Types {
    pub(crate) fn read(rows: &[Row]) -> Result<Self> {
        let found = rows.iter().map(|row| Ok((text(row, "oid")?.to_owned(), found(row)?)));
        found.collect::<Result<_>>().map(Self)
    }

    /// A type with its modifier, domains resolved, and whether it is a domain.
    pub(crate) fn resolve(&self, oid: &str, modifier: i32) -> Result<(CatalogType, bool)> {
        let domain = self.0.get(oid).is_some_and(|found| matches!(found.link, Link::Domain(..)));
        Ok((self.resolve_at(oid, modifier, 0)?, domain))
    }

    fn resolve_at(&self, oid: &str, modifier: i32, depth: usize) -> Result<CatalogType> {
        let found =
            self.0.get(oid).ok_or_else(|| Error::internal(format!("the catalog misses type {oid}")))?;
        let inner = |oid: &str, modifier: i32| self.resolve_at(oid, modifier, depth + 1);
        let kind = match &found.link {
            _ if depth > DEEPEST => Kind::Base,
            // The modifier belongs to the domain that declares it, not to the column.
            Link::Domain(base, modifier) => return inner(base, *modifier),
            Link::Array(element) => Kind::Array(Box::new(inner(element, modifier)?)),
            Link::Composite(fields) => {
                let field = |(name, oid, modifier): &(String, String, i32)| {
                    Ok((name.clone(), inner(oid, *modifier)?))
                };
                Kind::Composite(fields.iter().map(field).collect::<Result<_>>()?)
            }
            Link::Alone(kind) => kind.clone(),
        };
        Ok(CatalogType { name: found.name.clone(), home: found.home.clone(), kind, modifier })
    }
}

fn found(row: &Row) -> Result<Found> {
    let schema = text(row, "schema")?;
    let home = match (optional(row, "extension")?, schema) {
        (Some(extension), schema) => {
            Home::Extension { name: extension.to_owned(), schema: schema.to_owned() }
        }
        (None, "pg_catalog") => Home::BuiltIn,
        (None, _) => Home::User,
    };
    let link =
        match (optional(row, "element")?, text(row, "sort")?) {
            (Some(element), _) => Link::Array(element.to_owned()),
            (None, "d") => {
                Link::Domain(text(row, "base")?.to_owned(), text(row, "base_modifier")?.parse().unwrap_or(-1))
            }
            (None, "c") => {
                // A row type without fields has no list of them.
                let fields = serde_json::from_str(optional(row, "fields")?.unwrap_or("[]"));
                Link::Composite(fields.map_err(|error| {
                    Error::internal("the fields of a type are no list").source_error(error)
                })?)
            }
            (None, "e") => Link::Alone(Kind::Enum),
            (None, "r") => Link::Alone(Kind::Range),
            (None, "m") => Link::Alone(Kind::Multirange),
            (None, _) => Link::Alone(Kind::Base),
        };
    Ok(Found { name: text(row, "name")?.to_owned(), home, link })
}
