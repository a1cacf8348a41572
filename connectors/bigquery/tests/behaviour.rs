//! The behaviour suite on the BigQuery emulator. Tables are read back with queries over its REST interface.

mod common;

use std::process::ExitCode;

use arrow_schema::{DataType, TimeUnit};
use async_trait::async_trait;
use common::{PROJECT, URL, answer, base};
use serde_json::{Value, json};
use transload_bigquery::BigQuery;
use transload_core::schema::{BigQueryType, CursorValue, Mode, Nanos, TableRef, TargetTable};
use transload_testkit::{
    Cell, DestinationFacts, DestinationFixture, Done, Failure, Float, Kind, Row, SourceFacts, SourceFixture,
    Subject, TestTable, need_env, run, table::all_target_types,
};

struct Emulator;

/// All rows of a query; `None` if its table does not exist.
async fn query(sql: &str) -> Done<Option<Vec<Value>>> {
    let client = reqwest::Client::new();
    let body = json!({"query": sql, "useLegacySql": false, "timeoutMs": 100_000, "formatOptions": {"useInt64Timestamp": true}});
    let url = format!("{}/queries", base()?);
    let (status, mut page) = answer(client.post(&url).json(&body)).await?;
    if status == 404 {
        return Ok(None);
    }
    let mut rows = Vec::new();
    loop {
        if page["jobComplete"] != json!(true) {
            return Err(Failure::new(format!("{sql:.300}: {page}")));
        }
        rows.extend(page["rows"].as_array().cloned().unwrap_or_default());
        let Some(token) = page["pageToken"].as_str().filter(|token| !token.is_empty()) else { break };
        let text = |field: &str| page["jobReference"][field].as_str().unwrap_or_default().to_owned();
        let next = client.get(format!("{}/queries/{}", base()?, text("jobId"))).query(&[
            ("pageToken", token),
            ("location", &text("location")),
            ("formatOptions.useInt64Timestamp", "true"),
        ]);
        page = answer(next).await?.1;
    }
    Ok(Some(rows))
}

fn cell(value: &Value, data_type: &BigQueryType, mode: Mode) -> Done<Cell> {
    if mode == Mode::Repeated {
        let items = value.as_array().cloned().unwrap_or_default();
        return Ok(Cell::List(
            items.iter().map(|i| cell(&i["v"], data_type, Mode::Nullable)).collect::<Done<_>>()?,
        ));
    }
    if value.is_null() {
        return Ok(Cell::Null);
    }
    if let BigQueryType::Record(fields) = data_type {
        let inner = |(i, field): (usize, &transload_core::schema::RecordField)| {
            Ok((field.name.clone(), cell(&value["f"][i]["v"], &field.data_type, field.mode)?))
        };
        return Ok(Cell::Record(fields.iter().enumerate().map(inner).collect::<Done<_>>()?));
    }
    let text = value.as_str().ok_or_else(|| Failure::new(format!("{value} is no text")))?;
    let micros = |nanos: Nanos| i64::try_from(nanos.0 / 1000);
    Ok(match data_type {
        BigQueryType::Int64 => Cell::Int(text.parse()?),
        BigQueryType::Float64 => Cell::Float(Float(text.parse()?)),
        BigQueryType::Numeric(_) | BigQueryType::BigNumeric(_) => Cell::Decimal(text.to_owned()),
        BigQueryType::Bool => Cell::Bool(text.parse()?),
        BigQueryType::Bytes => Cell::Bytes(from_base64(text)?),
        BigQueryType::Timestamp => Cell::Timestamp(text.parse()?),
        BigQueryType::Date => match CursorValue::parse(text, &DataType::Date32)? {
            CursorValue::Date(days) => Cell::Date(days),
            other => return Err(Failure::new(format!("{other} is no date"))),
        },
        BigQueryType::DateTime => {
            match CursorValue::parse(text, &DataType::Timestamp(TimeUnit::Microsecond, None))? {
                CursorValue::DateTime(nanos) => Cell::DateTime(micros(nanos)?),
                other => return Err(Failure::new(format!("{other} is no date and time"))),
            }
        }
        BigQueryType::Time => {
            let at = format!("1970-01-01T{text}");
            match CursorValue::parse(&at, &DataType::Timestamp(TimeUnit::Microsecond, None))? {
                CursorValue::DateTime(nanos) => Cell::Time(micros(nanos)?),
                other => return Err(Failure::new(format!("{other} is no time"))),
            }
        }
        _ => Cell::text(text),
    })
}

fn from_base64(text: &str) -> Done<Vec<u8>> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let digit = digits.iter().position(|digit| *digit == byte);
        let digit = digit.ok_or_else(|| Failure::new(format!("{text:.50} is not base64")))?;
        bits = (bits << 6 | u32::try_from(digit)?) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff)?);
        }
    }
    Ok(bytes)
}

#[async_trait]
impl DestinationFixture for Emulator {
    fn facts(&self) -> DestinationFacts {
        let mut types = all_target_types();
        // The emulator reads decimals of more than 38 digits in Parquet as doubles.
        types.retain(|data_type| {
            common::is_google() || *data_type != BigQueryType::BigNumeric(Some((50, 20)))
        });
        DestinationFacts { types }
    }

    /// The emulator keeps BIGNUMERIC as a decimal with 20 digits before the point and 18 after it.
    fn accepts(&self, data_type: &BigQueryType, value: &Cell) -> bool {
        match (data_type, value) {
            (BigQueryType::BigNumeric(_), Cell::Decimal(text)) if !common::is_google() => {
                let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
                whole.trim_start_matches('-').len() <= 20 && fraction.len() <= 18
            }
            _ => true,
        }
    }

    async fn read(&self, table: &TargetTable) -> Done<Option<Vec<Row>>> {
        let columns: Vec<_> = table.columns.iter().map(|column| format!("`{}`", column.name)).collect();
        let target = &table.target;
        let sql = format!("SELECT {} FROM `{}`.`{}`", columns.join(", "), target.dataset, target.table);
        let Some(rows) = query(&sql).await? else { return Ok(None) };
        let read = |row: &Value| -> Done<Row> {
            let columns = table.columns.iter().enumerate();
            columns.map(|(i, column)| cell(&row["f"][i]["v"], &column.data_type, column.mode)).collect()
        };
        rows.iter().map(read).collect::<Done<_>>().map(Some)
    }

    async fn drop_dataset(&self, dataset: &str) -> Done {
        let url = format!("{}/datasets/{dataset}?deleteContents=true", base()?);
        let (status, body) = answer(reqwest::Client::new().delete(url)).await?;
        if status < 300 || status == 404 { Ok(()) } else { Err(Failure::new(format!("{status}: {body}"))) }
    }
}

/// Dataset of the tables that the suite reads.
const DATASET: &str = "transload_suite_source";

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

fn text(value: &str) -> String {
    let mut quoted = String::from("'");
    for c in value.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// A value as the emulator's SQL reads it.
fn literal(kind: Kind, cell: &Cell) -> String {
    let plain = cell.to_plain().unwrap_or_default();
    match (kind, cell) {
        (_, Cell::Null) => "NULL".to_owned(),
        (Kind::Bool | Kind::Int, _) => plain,
        (Kind::Float, _) => format!("CAST({} AS FLOAT64)", text(&plain)),
        (Kind::Decimal, _) => format!("NUMERIC {}", text(&plain)),
        (Kind::Bytes, _) => format!("FROM_HEX({})", text(&plain[2..])),
        (Kind::Date, _) => format!("DATE {}", text(&plain)),
        (Kind::DateTime, _) => format!("DATETIME {}", text(&plain)),
        (Kind::Timestamp, _) => format!("TIMESTAMP {}", text(&plain)),
        (Kind::Time, _) => format!("TIME {}", text(&plain)),
        (Kind::Json, _) => format!("PARSE_JSON({}, wide_number_mode=>'exact')", text(&plain)),
        _ => text(&plain),
    }
}

/// Loads rows of plain types from lines of JSON: many of them as SQL take the emulator minutes.
async fn load(table: &str, rows: &TestTable) -> Done {
    let mut lines = String::new();
    for row in &rows.rows {
        let fields = rows.columns.iter().zip(row).filter_map(|(column, cell)| {
            let value = match cell {
                Cell::Int(value) => json!(value),
                other => json!(other.to_plain()?),
            };
            Some((column.name.clone(), value))
        });
        lines.push_str(&Value::Object(fields.collect()).to_string());
        lines.push('\n');
    }
    if lines.is_empty() {
        return Ok(());
    }
    let project = need_env(PROJECT)?;
    let job = json!({"configuration": {"load": {
        "destinationTable": {"projectId": project, "datasetId": DATASET, "tableId": table},
        "sourceFormat": "NEWLINE_DELIMITED_JSON", "createDisposition": "CREATE_NEVER",
    }}});
    let body = format!(
        "--x\r\nContent-Type: application/json\r\n\r\n{job}\r\n--x\r\n\
         Content-Type: application/octet-stream\r\n\r\n{lines}\r\n--x--\r\n"
    );
    let url = format!("{}/upload/bigquery/v2/projects/{project}/jobs?uploadType=multipart", need_env(URL)?);
    let client = reqwest::Client::new();
    let upload = client.post(url).header("Content-Type", "multipart/related; boundary=x").body(body);
    let (status, mut job) = answer(upload).await?;
    while status < 300 && job["status"]["state"] != json!("DONE") {
        let text = |field: &str| job["jobReference"][field].as_str().unwrap_or_default().to_owned();
        let ask = client.get(format!("{}/jobs/{}", base()?, text("jobId")));
        job = answer(ask.query(&[("location", text("location"))])).await?.1;
    }
    if status < 300 && job["status"]["errorResult"].is_null() {
        return Ok(());
    }
    Err(Failure::new(format!("{status}: {job}")))
}

#[async_trait]
impl SourceFixture for Emulator {
    fn facts(&self) -> SourceFacts {
        let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Uuid).collect();
        SourceFacts { kinds, primary_keys: true, not_null: true, ..SourceFacts::default() }
    }

    /// The rules of BigQuery's names.
    fn accepts_name(&self, name: &str) -> bool {
        name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' '))
    }

    async fn create(&self, table: &TestTable) -> Done<TableRef> {
        let dataset = json!({"datasetReference": {"datasetId": DATASET}});
        let (status, body) =
            answer(reqwest::Client::new().post(format!("{}/datasets", base()?)).json(&dataset)).await?;
        if !(status < 300 || status == 409) {
            return Err(Failure::new(format!("{status}: {body}")));
        }
        let mut parts: Vec<String> = Vec::new();
        for column in &table.columns {
            let declared = match column.kind {
                Kind::Bool => "BOOL",
                Kind::Int => "INT64",
                Kind::Float => "FLOAT64",
                Kind::Decimal => "NUMERIC(18,4)",
                Kind::Text => "STRING",
                Kind::Bytes => "BYTES",
                Kind::Date => "DATE",
                Kind::DateTime => "DATETIME",
                Kind::Timestamp => "TIMESTAMP",
                Kind::Time => "TIME",
                Kind::Json => "JSON",
                other => return Err(Failure::new(format!("BigQuery has no type for {other:?}"))),
            };
            let null = if column.nullable { "" } else { " NOT NULL" };
            parts.push(format!("{} {declared}{null}", quoted(&column.name)));
        }
        if !table.key.is_empty() {
            let key: Vec<_> = table.key.iter().map(|name| quoted(name)).collect();
            parts.push(format!("PRIMARY KEY ({}) NOT ENFORCED", key.join(", ")));
        }
        let made = TableRef::new(DATASET, &table.name);
        let create = format!("CREATE TABLE {DATASET}.{} ({})", quoted(&table.name), parts.join(", "));
        query(&create).await?.ok_or_else(|| Failure::new("the dataset is gone"))?;
        self.insert(&made, table).await?;
        Ok(made)
    }

    async fn insert(&self, table: &TableRef, rows: &TestTable) -> Done {
        let columns: Vec<_> = rows.columns.iter().map(|column| quoted(&column.name)).collect();
        let plain = rows.columns.iter().all(|column| matches!(column.kind, Kind::Int | Kind::Text));
        // The emulator takes an object of very many members for a map.
        if plain && rows.columns.len() <= 100 {
            return load(&table.name, rows).await;
        }
        for rows_of in rows.rows.chunks(100) {
            let values = rows_of.iter().map(|row| {
                let cells = row.iter().zip(&rows.columns).map(|(cell, column)| literal(column.kind, cell));
                format!("({})", cells.collect::<Vec<_>>().join(", "))
            });
            let sql = format!(
                "INSERT INTO {DATASET}.{} ({}) VALUES {}",
                quoted(&table.name),
                columns.join(", "),
                values.collect::<Vec<_>>().join(", ")
            );
            query(&sql).await?.ok_or_else(|| Failure::new(format!("{table} is gone")))?;
        }
        Ok(())
    }

    async fn drop_table(&self, table: &TableRef) -> Done {
        let url = format!("{}/datasets/{DATASET}/tables/{}", base()?, table.name);
        let (status, body) = answer(reqwest::Client::new().delete(url)).await?;
        if status < 300 || status == 404 { Ok(()) } else { Err(Failure::new(format!("{status}: {body}"))) }
    }
}

fn main() -> ExitCode {
    // The HTTP client of the fixtures needs it, too.
    transload_google::install_crypto_provider();
    let connection = || common::connection("bigquery");
    run(&[Subject::new("bigquery", BigQuery, connection).source(Emulator).destination(Emulator)])
}
