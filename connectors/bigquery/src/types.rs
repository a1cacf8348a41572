//! BigQuery's table schemas to and from [`TargetTable`]. Pure.

use google_cloud_bigquery_v2::model::{Table, TableFieldSchema, TableSchema};
use serde_json::Value;
use transload_core::Result;
use transload_core::schema::{BigQueryType, Mode, RecordField, TargetColumn, TargetRef, TargetTable};

use crate::jobs::from_json;
use crate::{convert, sql, table};

/// A column that transload has no type for: whatever BigQuery adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignColumn {
    pub(crate) name: String,
    pub(crate) data_type: String,
}

/// The columns of a table, and those that transload has no type for.
pub(crate) fn target_table(target: &TargetRef, found: &Table) -> (TargetTable, Vec<ForeignColumn>) {
    let fields = found.schema.as_ref().map(|schema| schema.fields.as_slice()).unwrap_or_default();
    let mut columns = Vec::with_capacity(fields.len());
    let mut foreign = Vec::new();
    for field in fields {
        match data_type(field) {
            Some(data_type) => columns.push(TargetColumn {
                name: field.name.clone(),
                data_type,
                mode: mode(&field.mode),
                description: field.description.clone(),
            }),
            None => {
                foreign.push(ForeignColumn { name: field.name.clone(), data_type: field.r#type.clone() });
            }
        }
    }
    let description = found.description.clone().filter(|text| !text.is_empty());
    let layout = table::layout(found);
    (TargetTable { target: target.clone(), columns, description, layout }, foreign)
}

pub(crate) fn mode(text: &str) -> Mode {
    match text {
        "REQUIRED" => Mode::Required,
        "REPEATED" => Mode::Repeated,
        // BigQuery leaves the default out.
        _ => Mode::Nullable,
    }
}

/// The type of a column as BigQuery's DDL spells it, with what Arrow has no place for: lengths, and types that
/// transload does not know.
pub(crate) fn type_text(field: &TableFieldSchema) -> String {
    let named = |name: &str| name.parse().map_or(name.to_owned(), |known: BigQueryType| known.to_string());
    let element = match field.r#type.as_str() {
        "RECORD" | "STRUCT" => {
            let inner: Vec<String> =
                field.fields.iter().map(|inner| format!("{} {}", inner.name, type_text(inner))).collect();
            format!("STRUCT<{}>", inner.join(", "))
        }
        "RANGE" => {
            let element = field.range_element_type.as_ref().map_or("", |element| element.r#type.as_str());
            format!("RANGE<{element}>")
        }
        name @ ("STRING" | "BYTES") if field.max_length > 0 => format!("{name}({})", field.max_length),
        name => data_type(field).map_or_else(|| named(name), |known| known.to_string()),
    };
    if field.mode == "REPEATED" { format!("ARRAY<{element}>") } else { element }
}

/// The type of a column, that of the elements where it repeats; `None` for types that transload does not know.
pub(crate) fn data_type(field: &TableFieldSchema) -> Option<BigQueryType> {
    let parameters = || {
        let precision = u8::try_from(field.precision).ok().filter(|precision| *precision > 0)?;
        Some((precision, u8::try_from(field.scale).unwrap_or(0)))
    };
    match field.r#type.as_str() {
        "NUMERIC" | "DECIMAL" => Some(BigQueryType::Numeric(parameters())),
        "BIGNUMERIC" | "BIGDECIMAL" => Some(BigQueryType::BigNumeric(parameters())),
        "RECORD" | "STRUCT" => {
            let fields = field.fields.iter().map(|inner| {
                let (data_type, mode) = (data_type(inner)?, mode(&inner.mode));
                Some(RecordField { name: inner.name.clone(), data_type, mode })
            });
            fields.collect::<Option<Vec<_>>>().map(BigQueryType::Record)
        }
        "RANGE" => format!("RANGE<{}>", field.range_element_type.as_ref()?.r#type).parse().ok(),
        // Arrow has no twelve digits of a second.
        "TIMESTAMP" if field.timestamp_precision.is_some_and(|digits| digits > 6) => None,
        other => other.parse().ok(),
    }
}

/// The body of a request that creates `target`.
pub(crate) fn table_body(target: &TargetTable) -> Result<Table> {
    let fields: Vec<Value> = target.columns.iter().map(TargetColumn::to_bigquery_json).collect();
    let mut table = Table::new().set_schema(schema(fields)?);
    if let Some(description) = &target.description {
        table = table.set_description(description);
    }
    Ok(table)
}

/// One column as BigQuery's model.
pub(crate) fn field(column: &TargetColumn) -> Result<TableFieldSchema> {
    from_json(column.to_bigquery_json())
}

/// The columns of a staging table for `columns`: neutral names, every one NULLABLE unless it repeats.
/// What must not be NULL is checked when the rows enter the target.
pub(crate) fn staging_columns(columns: &[TargetColumn], ordered: bool) -> Vec<TargetColumn> {
    let staged = |(index, column): (usize, &TargetColumn)| TargetColumn {
        name: sql::stage_name(index),
        data_type: convert::stage_type(&column.data_type),
        mode: if column.mode == Mode::Repeated { Mode::Repeated } else { Mode::Nullable },
        description: None,
    };
    let mut staging: Vec<TargetColumn> = columns.iter().enumerate().map(staged).collect();
    if ordered {
        staging.push(TargetColumn {
            name: sql::ORDER_COLUMN.to_owned(),
            data_type: BigQueryType::Int64,
            mode: Mode::Nullable,
            description: None,
        });
    }
    staging
}

fn schema(fields: Vec<Value>) -> Result<TableSchema> {
    from_json(serde_json::json!({ "fields": fields }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(fields: Value) -> (TargetTable, Vec<ForeignColumn>) {
        let table: Table = from_json(json!({"schema": {"fields": fields}})).unwrap();
        target_table(&TargetRef::new("d", "t"), &table)
    }

    #[test]
    fn canonical_names_come_back() {
        let (table, foreign) = read(json!([
            {"name": "a", "type": "INTEGER", "mode": "REQUIRED"},
            {"name": "b", "type": "FLOAT"},
            {"name": "c", "type": "BOOLEAN", "mode": "NULLABLE", "description": "flag"},
            {"name": "d", "type": "NUMERIC", "precision": "10", "scale": "2"},
            {"name": "e", "type": "NUMERIC", "precision": "10"},
            {"name": "f", "type": "BIGNUMERIC"},
            {"name": "g", "type": "STRING", "mode": "REPEATED"},
            {"name": "h", "type": "RECORD", "fields": [{"name": "x", "type": "INTEGER", "mode": "REPEATED"}]},
            {"name": "i", "type": "INTERVAL"},
            {"name": "j", "type": "RANGE", "rangeElementType": {"type": "DATE"}},
            {"name": "k", "type": "TIMESTAMP", "timestampPrecision": "12"},
            {"name": "l", "type": "TOKENLIST"},
        ]));
        let texts: Vec<String> =
            table.columns.iter().map(|c| format!("{} {} {}", c.name, c.data_type, c.mode.as_str())).collect();
        assert_eq!(
            texts,
            [
                "a INT64 REQUIRED",
                "b FLOAT64 NULLABLE",
                "c BOOL NULLABLE",
                "d NUMERIC(10,2) NULLABLE",
                "e NUMERIC(10) NULLABLE",
                "f BIGNUMERIC NULLABLE",
                "g STRING REPEATED",
                "h RECORD<x INT64 REPEATED> NULLABLE",
                "i INTERVAL NULLABLE",
                "j RANGE<DATE> NULLABLE",
            ]
        );
        assert_eq!(table.columns[2].description.as_deref(), Some("flag"));
        let foreign: Vec<&str> = foreign.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(foreign, ["k", "l"]);
    }

    #[test]
    fn what_is_created_is_what_is_read() {
        let columns: Vec<TargetColumn> = [
            "INT64",
            "NUMERIC(10,2)",
            "NUMERIC(5)",
            "BIGNUMERIC(60,30)",
            "JSON",
            "TIME",
            "INTERVAL",
            "RANGE<DATETIME>",
        ]
        .iter()
        .enumerate()
        .map(|(i, text)| TargetColumn {
            name: format!("x{i}"),
            data_type: text.parse().unwrap(),
            mode: if i == 0 { Mode::Required } else { Mode::Nullable },
            description: (i == 1).then(|| "price".to_owned()),
        })
        .collect();
        let wanted = TargetTable {
            description: Some("orders".into()),
            ..TargetTable::new(TargetRef::new("d", "t"), columns)
        };
        let body = table_body(&wanted).unwrap();
        assert_eq!(target_table(&wanted.target, &body), (wanted, vec![]));
    }

    #[test]
    fn staging_is_nullable_and_textual() {
        let columns = [
            TargetColumn {
                name: "we ird".into(),
                data_type: BigQueryType::Json,
                mode: Mode::Required,
                description: None,
            },
            TargetColumn {
                name: "l".into(),
                data_type: BigQueryType::Int64,
                mode: Mode::Repeated,
                description: None,
            },
        ];
        let staging = staging_columns(&columns, true);
        let texts: Vec<String> =
            staging.iter().map(|c| format!("{} {} {}", c.name, c.data_type, c.mode.as_str())).collect();
        assert_eq!(texts, ["c0 STRING NULLABLE", "c1 INT64 REPEATED", "written INT64 NULLABLE"]);
    }
}
