//! The pages under `docs/types` say what the type tables say.
//!
//! After a change: `TRANSLOAD_WRITE_REFERENCE=1 cargo test -p transload-core --test type_pages`.
#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use transload_core::schema::{Lossless, TypeRow, WARNING_CODES, type_rows, type_systems};

/// How people call a system.
fn label(system: &str) -> &str {
    match system {
        "postgresql" => "PostgreSQL",
        "mysql" => "MySQL",
        "mariadb" => "MariaDB",
        "sqlserver" => "SQL Server",
        "azure_synapse" => "Azure Synapse",
        "oracle" => "Oracle",
        "snowflake" => "Snowflake",
        "redshift" => "Amazon Redshift",
        "db2" => "Db2",
        "teradata" => "Teradata",
        "netezza" => "Netezza",
        "bigquery" => "BigQuery",
        "sqlite" => "SQLite",
        "mongodb" => "MongoDB",
        "firestore" => "Firestore",
        "dynamodb" => "DynamoDB",
        "cassandra" => "Cassandra",
        "redis" => "Redis",
        "csv_text" => "CSV and other text",
        "json_ndjson" => "JSON",
        "parquet" => "Parquet",
        "avro" => "Avro",
        "orc" => "ORC",
        "excel" => "Excel",
        "arrow" => "Arrow",
        other => other,
    }
}

fn lossless(lossless: Lossless) -> &'static str {
    match lossless {
        Lossless::Yes => "yes",
        Lossless::Conditional => "conditional",
        Lossless::No => "no",
    }
}

/// A cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('*', "\\*").replace('_', "\\_")
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

fn rows_of(system: &str) -> Vec<&'static TypeRow> {
    type_rows().filter(|row| row.system == system).collect()
}

fn page(system: &str) -> String {
    let mut page = format!("# {} types\n\n", label(system));
    page.push_str(
        "Generated from `core/data/type_mapping.csv` by `core/tests/type_pages.rs`. How to read it: \
         [README](README.md). `SchemaMapper::for_type` answers from these rows.\n\n\
         | Source type | Condition | Arrow | BigQuery | Lossless | Confidence | Warnings | Ranges and edge cases |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for row in rows_of(system) {
        let condition = match row.is_advice() {
            true => format!("advice: {}", row.condition),
            false => row.condition.clone(),
        };
        let codes: Vec<&str> = row.warnings.iter().map(|warning| warning.code.as_str()).collect();
        let cells = [
            code(&row.source_type),
            cell(&condition),
            code(&row.arrow_type),
            code(&row.bigquery_type),
            lossless(row.lossless).to_owned(),
            row.confidence.as_str().to_owned(),
            cell(&codes.join(" ")),
            cell(&row.notes),
        ];
        writeln!(page, "| {} |", cells.join(" | ")).expect("a text takes text");
    }
    page
}

fn index() -> String {
    let mut page = String::from(
        "# What every source type becomes at BigQuery\n\n\
         Generated; see `core/tests/type_pages.rs`. Within one type the first row whose condition holds wins.\n\n\
         - **Condition.** Comparisons of digits (`s<=9 and p-s<=29`) are computed. `always`, `default` and \
         conditions that speak of values hold until a value says otherwise: every value is checked while it \
         is loaded, and what does not fit follows the job's reject policy. Conditions marked *advice* need a \
         profile of the values, the catalog or a person to say so; such a row is offered as an alternative \
         and never chosen by itself. A type that has only advice is proposed as STRING at low confidence.\n\
         - **Lossless.** `yes`: every value survives. `conditional`: those that pass the check survive, the \
         others are rejected, never changed. `no`: something is dropped by design, which the warning names.\n\
         - **Warnings.** Stable codes, explained on [one page](warnings.md).\n\
         - Where a connector exists, its own type table decides; see its README.\n\n\
         | System | Rows | Lossless | Conditional | Not lossless | Advice |\n|---|---|---|---|---|---|\n",
    );
    for system in type_systems() {
        let rows = rows_of(system);
        let count = |wanted| rows.iter().filter(|row| row.lossless == wanted).count();
        let advice = rows.iter().filter(|row| row.is_advice()).count();
        let (yes, conditional, no) =
            (count(Lossless::Yes), count(Lossless::Conditional), count(Lossless::No));
        let name = label(system);
        writeln!(
            page,
            "| [{name}]({system}.md) | {} | {yes} | {conditional} | {no} | {advice} |",
            rows.len()
        )
        .expect("a text takes text");
    }
    page
}

fn warnings() -> String {
    let mut page = String::from(
        "# Warning codes of mappings\n\nGenerated; see `core/tests/type_pages.rs`. Codes are never renamed. A \
         mapping may say it more exactly than this list.\n\n| Code | Meaning |\n|---|---|\n",
    );
    for (code, text) in WARNING_CODES {
        writeln!(page, "| `{code}` | {} |", cell(text)).expect("a text takes text");
    }
    page
}

#[test]
fn committed_pages_are_current() {
    let mut pages =
        BTreeMap::from([("README.md".to_owned(), index()), ("warnings.md".to_owned(), warnings())]);
    pages.extend(type_systems().into_iter().map(|system| (format!("{system}.md"), page(system))));
    assert_eq!(pages.len(), 27);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/types");
    let write = std::env::var_os("TRANSLOAD_WRITE_REFERENCE").is_some();
    if write {
        std::fs::create_dir_all(&folder).expect("the folder can be made");
    }
    for (name, text) in &pages {
        let path = folder.join(name);
        if write {
            std::fs::write(&path, text).expect("the page can be written");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == *text,
            "docs/types/{name} is not current: see the top of core/tests/type_pages.rs"
        );
    }
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(pages.contains_key(&name), "docs/types/{name} belongs to no system");
    }
}
