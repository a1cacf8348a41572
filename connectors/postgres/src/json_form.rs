//! How values inside arrays and composites are written as JSON at the server, so that nothing is lost.
//!
//! Booleans, integers of up to 32 bits and floats are JSON's own; dates and timestamps are ISO 8601; a row
//! type is an object. Every other value is the string that the server prints: a JSON number would not hold it
//! (`bigint`, `numeric`), would depend on a setting (`money`), or the server's own conversion drops a part
//! (PostGIS shapes lose digits, JSON's null and SQL's NULL become one).

use transload_core::Result;
use transload_sql::quote_identifier;

use crate::types::{CatalogType, Home, Kind};

/// Row types inside row types; what lies deeper is text.
const DEEPEST: usize = 15;

/// How one value is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum JsonForm {
    /// As `to_json` writes it.
    Plain,
    /// Its text as a string.
    Text,
    /// The text of its amount, without the signs of a locale.
    Money,
    /// An object of these fields.
    Object(Vec<(String, JsonForm)>),
    /// An array of any dimensions.
    Array(Box<JsonForm>),
}

impl JsonForm {
    pub(crate) fn of(catalog: &CatalogType) -> Self {
        Self::at_depth(catalog, 0)
    }

    fn at_depth(catalog: &CatalogType, depth: usize) -> Self {
        match &catalog.kind {
            _ if depth > DEEPEST => Self::Text,
            Kind::Array(element) => Self::Array(Box::new(Self::at_depth(element, depth))),
            Kind::Composite(fields) => {
                let form = |(name, field): &(String, _)| (name.clone(), Self::at_depth(field, depth + 1));
                Self::Object(fields.iter().map(form).collect())
            }
            Kind::Base => Self::of_base(catalog),
            Kind::Enum | Kind::Range | Kind::Multirange => Self::Text,
        }
    }

    fn of_base(catalog: &CatalogType) -> Self {
        match (&catalog.home, catalog.name.as_str()) {
            (
                Home::BuiltIn,
                "bool" | "int2" | "int4" | "float4" | "float8" | "text" | "varchar" | "bpchar" | "name"
                | "date" | "timestamp" | "timestamptz",
            ) => Self::Plain,
            (Home::BuiltIn, "money") => Self::Money,
            // Its own conversion: values are strings or null.
            (Home::Extension { name, .. }, "hstore") if name == "hstore" => Self::Plain,
            _ => Self::Text,
        }
    }

    /// Whether `to_json` alone writes a value in this form.
    fn is_plain(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Text | Self::Money => false,
            Self::Object(fields) => fields.iter().all(|(_, form)| form.is_plain()),
            Self::Array(element) => element.is_plain(),
        }
    }

    /// The JSON text of a value, for its SQL.
    pub(crate) fn sql(&self, value: &str) -> Result<String> {
        Ok(format!("pg_catalog.to_json({})::pg_catalog.text", self.convertible(value)?))
    }

    /// What `to_json` has to be given.
    fn convertible(&self, value: &str) -> Result<String> {
        Ok(match self {
            form if form.is_plain() => value.to_owned(),
            Self::Plain => value.to_owned(),
            Self::Text => format!("({value})::pg_catalog.text"),
            Self::Money => format!("({value})::pg_catalog.numeric::pg_catalog.text"),
            Self::Object(fields) => {
                let mut list = Vec::with_capacity(fields.len());
                for (name, form) in fields {
                    let name = quote_identifier(name)?;
                    list.push(format!("{} AS {name}", form.convertible(&format!("({value}).{name}"))?));
                }
                // `IS NULL` would take a row of NULLs for NULL.
                format!(
                    "CASE WHEN {value} IS DISTINCT FROM NULL THEN (SELECT pg_catalog.to_json(r.*) FROM (SELECT {}) AS r) END",
                    list.join(", ")
                )
            }
            Self::Array(element) => match element.as_ref() {
                Self::Money => format!("({value})::pg_catalog.numeric[]::pg_catalog.text[]"),
                // Element by element, where the elements stand in one row; deeper ones are text.
                object @ Self::Object(_) => format!(
                    "CASE WHEN {value} IS NULL THEN NULL \
                     WHEN pg_catalog.array_ndims({value}) > 1 THEN pg_catalog.to_json(({value})::pg_catalog.text[]) \
                     ELSE (SELECT coalesce(pg_catalog.json_agg({}), '[]') FROM (SELECT pg_catalog.unnest({value}) AS x) AS s) END",
                    object.convertible("x")?
                ),
                _ => format!("({value})::pg_catalog.text[]"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(name: &str) -> CatalogType {
        CatalogType::built_in(name, -1)
    }

    #[test]
    fn plain_values_need_nothing() {
        let array = |element: CatalogType| CatalogType { kind: Kind::Array(Box::new(element)), ..base("_") };
        let sql = |catalog: &CatalogType| JsonForm::of(catalog).sql("v").unwrap();
        assert_eq!(sql(&array(base("int4"))), "pg_catalog.to_json(v)::pg_catalog.text");
        assert_eq!(sql(&array(base("int8"))), "pg_catalog.to_json((v)::pg_catalog.text[])::pg_catalog.text");
        let pair = CatalogType {
            kind: Kind::Composite(vec![("a".into(), base("int4")), ("b\"".into(), base("numeric"))]),
            ..base("pair")
        };
        assert_eq!(
            sql(&pair),
            "pg_catalog.to_json(CASE WHEN v IS DISTINCT FROM NULL THEN (SELECT pg_catalog.to_json(r.*) FROM \
             (SELECT (v).\"a\" AS \"a\", ((v).\"b\"\"\")::pg_catalog.text AS \"b\"\"\") AS r) END)::pg_catalog.text"
        );
        let mut deep = base("int4");
        for _ in 0..20 {
            deep = CatalogType { kind: Kind::Composite(vec![("f".into(), deep)]), ..base("c") };
        }
        assert!(sql(&deep).contains("pg_catalog.text AS \"f\""));
    }
}
