//! BigQuery's SQL for tables and columns.

use super::advice::{Granularity, LayoutAdvice};
use super::bigquery::{BigQueryType, Mode, RecordField};
use super::target::{TargetColumn, TargetRef, TargetTable};

/// `CREATE TABLE IF NOT EXISTS`, laid out as advised where advice is given.
pub(super) fn create_table(table: &TargetTable, advice: Option<&LayoutAdvice>) -> String {
    let columns: Vec<String> =
        table.columns.iter().map(|column| format!("  {}", definition(column))).collect();
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {} (\n{}\n)", path(&table.target), columns.join(",\n"));
    let advised = advice.and_then(|advice| advice.partitioning.as_ref());
    if let Some(partitioning) = advised.map(|advised| &advised.partitioning)
        && let Some(column) = table.column(&partitioning.column)
    {
        sql.push_str(&format!("\nPARTITION BY {}", partition(column, partitioning.granularity)));
    }
    let clustering = advice.map(|advice| advice.clustering.as_slice()).unwrap_or_default();
    if !clustering.is_empty() {
        let names: Vec<String> = clustering.iter().map(|advised| name(&advised.column)).collect();
        sql.push_str(&format!("\nCLUSTER BY {}", names.join(", ")));
    }
    if let Some(description) = &table.description {
        sql.push_str(&format!("\nOPTIONS (description={})", text(description)));
    }
    sql.push(';');
    sql
}

fn partition(column: &TargetColumn, granularity: Granularity) -> String {
    let own = name(&column.name);
    match (&column.data_type, granularity) {
        (BigQueryType::Date, Granularity::Day) => own,
        (other, granularity) => format!("{}_TRUNC({own}, {granularity})", other.name()),
    }
}

/// A column as `CREATE TABLE` and `ADD COLUMN` take it.
pub(super) fn definition(column: &TargetColumn) -> String {
    let required = if column.mode == Mode::Required { " NOT NULL" } else { "" };
    let options = match &column.description {
        Some(description) => format!(" OPTIONS (description={})", text(description)),
        None => String::new(),
    };
    format!("{} {}{required}{options}", name(&column.name), column_type(&column.data_type, column.mode))
}

/// A type with its mode: arrays and the fields of records are written out.
pub(super) fn column_type(data_type: &BigQueryType, mode: Mode) -> String {
    let own = match data_type {
        BigQueryType::Record(fields) => {
            let field = |field: &RecordField| {
                let required = if field.mode == Mode::Required { " NOT NULL" } else { "" };
                format!("{} {}{required}", name(&field.name), column_type(&field.data_type, field.mode))
            };
            format!("STRUCT<{}>", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    };
    if mode == Mode::Repeated { format!("ARRAY<{own}>") } else { own }
}

/// Dataset and table.
pub(super) fn path(target: &TargetRef) -> String {
    format!("{}.{}", name(&target.dataset), name(&target.table))
}

/// A quoted name.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", escape(name))
}

/// A quoted text.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", escape(text))
}

/// Quoted names and texts share one set of escapes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '\'' | '`' | '"' => escaped.extend(['\\', character]),
            // Line ends would end a text; the others could be changed on their way.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            other => escaped.push(other),
        }
    }
    escaped
}
