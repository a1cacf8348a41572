//! The contract as an OpenAPI document, made from the types that go over the wire.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::contract::{JobsAnswer, ProgressAnswer, ProgressDocument, RunEndDocument};

/// The REST contract that a control plane implements, as OpenAPI 3.1. It stands in
/// `docs/reference/control-plane.openapi.json`, beside the schemas of jobs and reports that it refers to.
#[must_use]
pub fn openapi() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "transload control plane",
            "version": "1",
            "description": "What a control plane answers so that transload fetches its jobs and reports to it. Paths are below an address that the control plane chooses. Unknown fields of answers are ignored. Errors may have a body `{\"error\": {\"message\": \"...\"}}`.",
        },
        "security": [{"bearer": []}],
        "paths": {
            "/v1/jobs": {"get": get_jobs()},
            "/v1/jobs/{job_id}": {"get": get_job()},
            "/v1/runs/{run_id}/progress": {"put": put_progress()},
            "/v1/runs/{run_id}/report": {"put": put_report()},
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas(),
        },
    })
}

fn get_jobs() -> Value {
    let query = |name: &str, schema: Value, description: &str| json!({"name": name, "in": "query", "required": false, "schema": schema, "description": description});
    json!({
        "operationId": "getJobs",
        "summary": "Several jobs, or all that are enabled",
        "parameters": [
            query("id", json!({"type": "array", "items": {"type": "string"}}), "Only these jobs; given once for each. Ids that are not known are left out of the answer."),
            query("enabled", json!({"type": "string", "enum": ["true"]}), "All jobs that are enabled."),
            query("page", json!({"type": "string"}), "`next_page` of the answer before."),
        ],
        "responses": responses("200", "The jobs and the connections that they name", Some("JobsAnswer"), &["401", "403"]),
    })
}

fn get_job() -> Value {
    json!({
        "operationId": "getJob",
        "summary": "One job, enabled or not",
        "parameters": [path("job_id", json!({"type": "string"}))],
        "responses": responses("200", "This job alone and the connections that it names", Some("JobsAnswer"), &["401", "403", "404"]),
    })
}

fn put_progress() -> Value {
    let mut responses =
        responses("200", "Taken; the body may be left out", Some("ProgressAnswer"), &["401", "403"]);
    responses["204"] = json!({"description": "Taken"});
    json!({
        "operationId": "putProgress",
        "summary": "How far a run is; replaces what was said before",
        "description": "The first request about a run tells the control plane that it began. Not every run sends one, and one may be lost: nothing depends on them. What comes after the report is to be ignored.",
        "parameters": [path("run_id", json!({"type": "string", "format": "uuid"}))],
        "requestBody": body("ProgressDocument"),
        "responses": responses,
    })
}

fn put_report() -> Value {
    let mut responses =
        responses("200", "Taken, now or before; the body may be left out", None, &["401", "403"]);
    responses["201"] = json!({"description": "Taken"});
    responses["204"] = json!({"description": "Taken, now or before"});
    responses["409"] = json!({"description": "There is another report under this id. transload puts its own aside and sends it no more."});
    json!({
        "operationId": "putReport",
        "summary": "How a run ended",
        "description": "Idempotent: transload makes the id of a run once, before its first request, and sends the same report under the same id until it is taken, perhaps hours later by another process. A control plane that has a report under the id already answers 200 or 204 and does nothing. `Idempotency-Key` repeats the id.",
        "parameters": [
            path("run_id", json!({"type": "string", "format": "uuid"})),
            {"name": "Idempotency-Key", "in": "header", "required": true, "schema": {"type": "string", "format": "uuid"}},
        ],
        "requestBody": body("RunEndDocument"),
        "responses": responses,
    })
}

fn path(name: &str, schema: Value) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn body(schema: &str) -> Value {
    json!({"required": true, "content": {"application/json": {"schema": reference(schema)}}})
}

fn responses(status: &str, description: &str, schema: Option<&str>, refusals: &[&str]) -> Value {
    let mut all = Map::new();
    let mut answer = json!({"description": description});
    if let Some(schema) = schema {
        answer["content"] = json!({"application/json": {"schema": reference(schema)}});
    }
    all.insert(status.to_owned(), answer);
    for refusal in refusals {
        let description = match *refusal {
            "401" => "The token is missing or wrong. transload reads it again where it is kept, once.",
            "403" => "The token may not do this.",
            _ => "There is no such job.",
        };
        all.insert((*refusal).to_owned(), json!({"description": description}));
    }
    let passing = "408, 425, 429 (with `Retry-After` in seconds), 500, 502, 503 and 504 are tried again for a while; other statuses are not.";
    all.insert("default".to_owned(), json!({"description": passing}));
    Value::Object(all)
}

/// The schemas of the types, with those of jobs and reports where they are anything in Rust.
fn schemas() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    generator.subschema_for::<JobsAnswer>();
    generator.subschema_for::<ProgressDocument>();
    generator.subschema_for::<ProgressAnswer>();
    generator.subschema_for::<RunEndDocument>();
    let mut schemas = Value::Object(generator.take_definitions(true));
    let refine = |schemas: &mut Value, at: &str, to: Value| {
        if let (Some(field), Some(to)) =
            (schemas.pointer_mut(at).and_then(Value::as_object_mut), to.as_object())
        {
            field.extend(to.clone());
        }
    };
    refine(&mut schemas, "/JobEntry/properties/document", json!({"$ref": "job.schema.json"}));
    let connection = json!({
        "items": {
            "type": "object",
            "required": ["name", "type"],
            "description": "A connection document: see connection-*.schema.json beside this file.",
        },
    });
    refine(&mut schemas, "/JobsAnswer/properties/connections", connection);
    let report = json!({"anyOf": [{"$ref": "report.schema.json"}, {"type": "null"}]});
    refine(&mut schemas, "/RunEndDocument/properties/report", report);
    let error = json!({"anyOf": [{"$ref": "report.schema.json#/$defs/ErrorDocument"}, {"type": "null"}]});
    refine(&mut schemas, "/RunEndDocument/properties/error", error);
    let progress = json!({"type": "object", "required": ["job", "phase"]});
    refine(&mut schemas, "/ProgressDocument/properties/progress", progress);
    schemas
}
