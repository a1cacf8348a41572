//! The JSON Schemas under `docs/reference` are those of the Rust types.
//!
//! After a change: `TRANSLOAD_WRITE_REFERENCE=1 cargo test --all-features --test reference`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use transload::job::JobDocument;
use transload::runner::{BatchReportDocument, RunReportDocument};
use transload::{ConnectionLimits, Registry, default_registry, document};

/// File name and content of every reference file.
fn reference(registry: &Registry) -> BTreeMap<String, Value> {
    let mut files = BTreeMap::new();
    let mut job = document::schema_of::<JobDocument>().to_value();
    job["title"] = "transload job".into();
    files.insert("job.schema.json".to_owned(), job);
    let mut report = document::schema_of_output::<RunReportDocument>().to_value();
    report["title"] = "transload run report".into();
    files.insert("report.schema.json".to_owned(), report);
    let mut batch = document::schema_of_output::<BatchReportDocument>().to_value();
    batch["title"] = "transload report of many jobs".into();
    files.insert("batch_report.schema.json".to_owned(), batch);
    for descriptor in registry.descriptors() {
        files.insert(format!("connection-{}.schema.json", descriptor.kind), connection_schema(&descriptor));
        if descriptor.job_options.get("properties").is_some() {
            let mut options = descriptor.job_options.clone();
            options["title"] = format!("transload destination.options: {}", descriptor.label).into();
            files.insert(format!("job-options-{}.schema.json", descriptor.kind), options);
        }
    }
    files
}

/// The options of a connector with the fields that every connection has.
fn connection_schema(descriptor: &transload::connector::Descriptor) -> Value {
    let mut schema = descriptor.options.clone();
    schema["title"] = format!("transload connection: {}", descriptor.label).into();
    schema["type"] = "object".into();
    schema["additionalProperties"] = false.into();
    let common = json!({
        "name": {"type": "string", "description": "The name that jobs refer to."},
        "type": {"enum": std::iter::once(&descriptor.kind).chain(descriptor.aliases).collect::<Vec<_>>()},
        "credentials": {"type": "string", "description": "Where the secret is kept: `env:NAME`, `file:PATH`, or the scheme of a store that the embedder registered."},
        "password": {"type": "string", "description": "The secret itself; moved into memory at once and never printed. Prefer `credentials`."},
    });
    let mut properties = common.as_object().cloned().unwrap_or_default();
    let mut limits = document::schema_of::<ConnectionLimits>().to_value();
    if let Some(limits) = limits.as_object_mut() {
        limits.retain(|key, _| !key.starts_with('$') && key != "title");
    }
    properties.insert("limits".to_owned(), limits);
    if !descriptor.takes_secret {
        properties.remove("credentials");
        properties.remove("password");
    }
    properties.extend(schema["properties"].as_object().cloned().unwrap_or_default());
    schema["properties"] = Value::Object(properties);
    let mut required = schema["required"].as_array().cloned().unwrap_or_default();
    required.insert(0, "type".into());
    schema["required"] = required.into();
    schema
}

#[test]
fn committed_schemas_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let write = std::env::var_os("TRANSLOAD_WRITE_REFERENCE").is_some();
    for (name, schema) in reference(&default_registry()) {
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        let path = folder.join(&name);
        if write {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, text).unwrap();
            continue;
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, text, "{name} is not current: see the top of tests/reference.rs");
    }
}
