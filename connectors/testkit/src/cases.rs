//! Language-neutral cases: files, connections and job documents with what must come of them. The format is
//! in `cases/README.md`, so that Python and Node can run the same files.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use transload_core::connector::ReadPlan;
use transload_core::schema::TableRef;
use transload_core::{Connection, Error, EtlJob, Registry, Runner};

use crate::cell::{Cell, Float, Row};
use crate::check::{ensure, equal};
use crate::fixture::{Done, Failure};
use crate::suite::Case;
use crate::table::same_rows;

/// The cases of every `*.json` file in a folder, by file name.
///
/// # Errors
/// A folder or file that cannot be read, or is not JSON.
pub fn cases_in(folder: &Path, registry: &Registry) -> Done<Vec<Case>> {
    let mut files = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Done<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let document: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        let registry = registry.clone();
        cases.push(Case::new(format!("case::{name}"), async move { run(&document, registry).await }));
    }
    ensure(!cases.is_empty(), || format!("{} holds no cases", folder.display()))?;
    Ok(cases)
}

async fn run(document: &Value, registry: Registry) -> Done {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    known(document, &["about", "files", "connections", "steps"])?;
    write(at, &document["files"], false)?;
    let mut runner = Runner::new(registry);
    for connection in list(&document["connections"]) {
        runner = runner.connection(Connection::from_json(placed(connection, at))?);
    }
    let steps = list(&document["steps"]);
    ensure(!steps.is_empty(), || "the case has no steps".to_owned())?;
    for (number, one) in (1..).zip(steps) {
        step(&runner, one, at).await.map_err(|failure| failure.during(&format!("step {number}")))?;
    }
    Ok(())
}

async fn step(runner: &Runner, step: &Value, at: &Path) -> Done {
    known(step, &["write", "append", "run", "validate", "test", "read", "expect"])?;
    let expect = &step["expect"];
    write(at, &step["write"], false)?;
    write(at, &step["append"], true)?;
    if let Some(job) = step.get("run") {
        return run_job(runner, placed(job, at), expect).await;
    }
    if let Some(connection) = step.get("validate") {
        let checked = Connection::from_json(placed(connection, at));
        let checked = checked.and_then(|connection| runner.registry().validate(&connection));
        return match (checked, expect.get("error")) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(error)) => Err(Failure::new(format!("valid, expected {error}"))),
            (Err(error), wanted) => error_is(Some(&error), wanted.unwrap_or(&Value::Null)),
        };
    }
    if let Some(name) = step.get("test").and_then(Value::as_str) {
        let connection = runner.connection_named(name)?;
        let status = runner.registry().test(connection, Duration::from_secs(20)).await;
        equal("status", &status.status.as_str(), &expect["status"].as_str().unwrap_or_default())?;
        return error_is(status.error.as_ref(), &expect["error"]);
    }
    if let Some(read) = step.get("read") {
        return read_table(runner, read, expect).await;
    }
    Ok(())
}

async fn run_job(runner: &Runner, document: Value, expect: &Value) -> Done {
    known(expect, &["status", "committed", "rows", "lossless", "ledger", "warnings", "error"])?;
    let wanted = expect["status"].as_str().unwrap_or("succeeded");
    let job = match EtlJob::from_json(document) {
        Ok(job) => job,
        Err(error) => {
            equal("status", &"refused", &wanted)?;
            return error_is(Some(&error), &expect["error"]);
        }
    };
    let report = runner.run(&job).await;
    let json = report.to_json();
    equal("status", &report.status.as_str(), &wanted)
        .map_err(|failure| failure.during(&json["error"].to_string()))?;
    error_is(report.error.as_ref(), &expect["error"])?;
    if let Some(committed) = expect.get("committed") {
        equal("committed", &json["committed"], committed)?;
    }
    for (count, value) in expect["rows"].as_object().into_iter().flatten() {
        equal(&format!("rows.{count}"), &json["rows"][count], value)?;
    }
    if let Some(lossless) = expect.get("lossless") {
        equal("lossless", &json["lossless"], lossless)?;
    }
    for (column, counts) in expect["ledger"].as_object().into_iter().flatten() {
        let found = list(&json["ledger"]).iter().find(|one| one["column"] == column.as_str());
        let found =
            found.ok_or_else(|| Failure::new(format!("no ledger of {column}: {}", json["ledger"])))?;
        for (count, value) in counts.as_object().into_iter().flatten() {
            equal(&format!("ledger.{column}.{count}"), &found[count], value)?;
        }
    }
    let codes: Vec<&Value> = list(&json["warnings"]).iter().map(|warning| &warning["code"]).collect();
    for code in list(&expect["warnings"]) {
        ensure(codes.contains(&code), || format!("no warning {code} among {codes:?}"))?;
    }
    Ok(())
}

async fn read_table(runner: &Runner, read: &Value, expect: &Value) -> Done {
    known(read, &["connection", "schema", "table", "columns"])?;
    known(expect, &["rows", "count", "error"])?;
    let text = |key: &str| read[key].as_str().map(str::to_owned);
    let connection = runner.connection_named(&text("connection").unwrap_or_default())?;
    let table = TableRef { schema: text("schema"), name: text("table").unwrap_or_default() };
    let columns = list(&read["columns"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let plan = ReadPlan { columns, ..ReadPlan::default() };
    let rows = async {
        let mut stream = runner.registry().read(connection, &table, &plan).await?;
        let mut batches = Vec::new();
        while let Some(batch) = stream.next().await? {
            batches.push(batch);
        }
        Ok::<_, Error>(batches)
    };
    let batches = match rows.await {
        Ok(batches) => batches,
        Err(error) => return error_is(Some(&error), &expect["error"]),
    };
    error_is(None, &expect["error"])?;
    let mut rows: Vec<Row> = Vec::new();
    for batch in &batches {
        rows.extend(crate::arrow::rows(batch)?);
    }
    if let Some(count) = expect.get("count").and_then(Value::as_u64) {
        equal("rows", &u64::try_from(rows.len())?, &count)?;
    }
    match expect.get("rows") {
        Some(expected) => {
            let expected = list(expected).iter().map(|row| list(row).iter().map(cell).collect());
            same_rows(&rows, &expected.collect::<Done<Vec<Row>>>()?, &[])
        }
        None => Ok(()),
    }
}

fn cell(value: &Value) -> Done<Cell> {
    Ok(match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::Bool(*value),
        Value::String(text) => Cell::text(text),
        Value::Number(number) => match number.as_i64() {
            Some(int) => Cell::Int(int),
            None => Cell::Float(Float(number.as_f64().unwrap_or(f64::NAN))),
        },
        other => return Err(Failure::new(format!("cases do not compare values such as {other}"))),
    })
}

/// Compares an error with `{"kind", "says", "context"}`; `null` means none.
fn error_is(error: Option<&Error>, wanted: &Value) -> Done {
    let (error, wanted) = match (error, wanted) {
        (None, Value::Null) => return Ok(()),
        (None, wanted) => return Err(Failure::new(format!("no error, expected {wanted}"))),
        (Some(error), Value::Null) => return Err(Failure::new(format!("an error: {error}"))),
        (Some(error), wanted) => (error, wanted),
    };
    known(wanted, &["kind", "says", "context"])?;
    equal("kind", &error.kind().as_str(), &wanted["kind"].as_str().unwrap_or_default())
        .map_err(|failure| failure.during(&error.to_string()))?;
    ensure(error.hint_text().is_some(), || format!("no hint: {error}"))?;
    let text = error.to_string();
    for says in list(&wanted["says"]).iter().filter_map(Value::as_str) {
        ensure(text.contains(says), || format!("the error does not say {says:?}: {text}"))?;
    }
    for (key, value) in wanted["context"].as_object().into_iter().flatten() {
        equal(&format!("context `{key}`"), &error.context_value(key), &value.as_str())?;
    }
    Ok(())
}

/// `${dir}` in any text becomes the case's folder.
fn placed(value: &Value, at: &Path) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${dir}", &at.to_string_lossy())),
        Value::Array(items) => items.iter().map(|item| placed(item, at)).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), placed(value, at))).collect())
        }
        other => other.clone(),
    }
}

fn write(at: &Path, files: &Value, append: bool) -> Done {
    use std::io::Write as _;
    for (name, text) in files.as_object().into_iter().flatten() {
        let path = at.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(append).write(true).truncate(!append);
        options.open(path)?.write_all(text.as_str().unwrap_or_default().as_bytes())?;
    }
    Ok(())
}

/// A slip in a case must not be a check that never runs.
fn known(value: &Value, fields: &[&str]) -> Done {
    for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
        ensure(fields.contains(&name.as_str()), || format!("the case has an unknown field `{name}`"))?;
    }
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
