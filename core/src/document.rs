//! Reading JSON documents strictly: an unknown field is an error that names the nearest known one.
//!
//! One mechanism serves job documents, connection documents and every connector's typed options: the
//! JSON Schema that `schemars` derives from the Rust type is both the published reference and the list
//! of known fields.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The JSON Schema of `T`, with sub-schemas under `$defs`.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Schema {
    SchemaGenerator::new(SchemaSettings::draft2020_12()).into_root_schema_for::<T>()
}

/// Reads `value` as `T`; `what` names the document in errors ("job document").
///
/// Texts are accepted for integers and booleans, because options of a URL are always text.
///
/// # Errors
/// `config`: an unknown field (with the nearest known one), a missing field, a wrong type.
pub fn parse<T: DeserializeOwned + JsonSchema>(what: &str, mut value: Value) -> Result<T> {
    let schema = schema_of::<T>().to_value();
    check(what, &schema, &schema, &mut value, "")?;
    serde_json::from_value(value).map_err(|error| {
        Error::config(format!("{what}: {error}")).hint("see docs/reference for the fields and their types")
    })
}

/// Reads a JSON text as `T`; see [`parse`].
///
/// # Errors
/// `config`, also for text that is not JSON.
pub fn parse_str<T: DeserializeOwned + JsonSchema>(what: &str, text: &str) -> Result<T> {
    let value = serde_json::from_str(text).map_err(|error| {
        Error::config(format!("{what} is not valid JSON: {error}"))
            .hint("check the JSON at that line and column")
    })?;
    parse(what, value)
}

fn check(what: &str, root: &Value, schema: &Value, value: &mut Value, path: &str) -> Result<()> {
    let schema = resolve(root, schema);
    if let Some(variants) = variants(schema) {
        // An optional object, or an object in place of a word: check against the one variant that is an object.
        // True unions are left to serde.
        let mut objects = Vec::new();
        collect_objects(root, variants, &mut objects);
        if let [only] = objects.as_slice() {
            return check(what, root, only, value, path);
        }
        return Ok(());
    }
    match value {
        Value::Object(fields) => check_object(what, root, schema, fields, path),
        Value::Array(items) => match schema.get("items") {
            Some(item_schema) => items
                .iter_mut()
                .enumerate()
                .try_for_each(|(i, item)| check(what, root, item_schema, item, &format!("{path}[{i}]"))),
            None => Ok(()),
        },
        Value::String(text) => {
            if let Some(scalar) = coerce(schema, text) {
                *value = scalar;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn variants(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array)
}

fn collect_objects<'a>(root: &'a Value, of: &'a [Value], objects: &mut Vec<&'a Value>) {
    for schema in of.iter().map(|schema| resolve(root, schema)) {
        match variants(schema) {
            Some(inner) => collect_objects(root, inner, objects),
            None if schema.get("properties").is_some() => objects.push(schema),
            None => {}
        }
    }
}

fn check_object(
    what: &str,
    root: &Value,
    schema: &Value,
    fields: &mut Map<String, Value>,
    path: &str,
) -> Result<()> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let additional = schema.get("additionalProperties");
    for (name, value) in fields.iter_mut() {
        let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if let Some(property) = properties.and_then(|p| p.get(name)) {
            check(what, root, property, value, &at)?;
        } else if let Some(Value::Object(_)) = additional {
            check(what, root, additional.unwrap_or(&Value::Null), value, &at)?;
        } else if let Some(properties) = properties {
            return Err(unknown_field(what, &at, name, properties.keys().map(String::as_str)));
        }
    }
    Ok(())
}

/// The error for a name that is not in `known`: names the nearest one, else all of them.
pub fn unknown_field<'a>(
    what: &str,
    at: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Error {
    let error = Error::config(format!("{what}: unknown field `{at}`")).with("field", at);
    match nearest(name, known.clone()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("known fields: {}", known.collect::<Vec<_>>().join(", "))),
    }
}

/// The candidate most like `name`, if any is near enough to be a slip.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = name.to_lowercase();
    candidates
        .map(|candidate| (strsim::jaro_winkler(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| root.pointer(reference.trim_start_matches('#')))
        .unwrap_or(schema)
}

fn coerce(schema: &Value, text: &str) -> Option<Value> {
    let has = |name: &str| match schema.get("type") {
        Some(Value::String(t)) => t == name,
        Some(Value::Array(types)) => types.iter().any(|t| t == name),
        _ => false,
    };
    if has("string") {
        return None;
    }
    if has("integer") || has("number") {
        return text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<f64>().map(Value::from)).ok();
    }
    if has("boolean") {
        return text.parse::<bool>().map(Value::from).ok();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        port: Option<u16>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    struct Inner {
        strategy: String,
    }

    #[test]
    fn names_the_nearest_known_field() {
        let error =
            parse::<Outer>("job document", json!({"name": "a", "inner": {"stratgey": "x"}})).unwrap_err();
        assert_eq!(error.message(), "job document: unknown field `inner.stratgey`");
        assert_eq!(error.hint_text(), Some("did you mean `strategy`?"));
    }

    #[test]
    fn texts_become_numbers_where_the_type_says_so() {
        let outer: Outer = parse("connection", json!({"name": "12", "port": "5432"})).unwrap();
        assert_eq!((outer.name.as_str(), outer.port), ("12", Some(5432)));
        assert!(outer.inner.is_none());
        let inner: Outer = parse("connection", json!({"name": "n", "inner": {"strategy": "s"}})).unwrap();
        assert_eq!(inner.inner.unwrap().strategy, "s");
    }
}
