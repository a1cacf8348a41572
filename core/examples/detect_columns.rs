//! Detects the types of text columns: reads `[{"name": "day", "values": ["2024-01-25", null]}]` from standard
//! input and writes, for each column, what would be applied, the best candidate and its score.

use std::error::Error;
use std::io::{Read as _, Write as _};

use serde_json::{Value, json};
use transload_core::schema::{ColumnSchema, SchemaMapper, TableRef, TableSchema, detect};

fn main() -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let columns: Vec<Value> = serde_json::from_str(&text)?;
    let answers = columns.iter().map(answer).collect::<Result<Vec<_>, _>>()?;
    writeln!(std::io::stdout(), "{}", Value::from(answers))?;
    Ok(())
}

/// The answers of the mapper, which applies, and of the detection behind it.
fn answer(column: &Value) -> Result<Value, Box<dyn Error>> {
    let name = column["name"].as_str().unwrap_or("value");
    let values: Vec<Option<&str>> =
        column["values"].as_array().into_iter().flatten().map(Value::as_str).collect();
    let detection = detect(name, values.iter().copied());
    let best = detection.candidates.first();
    let described = TableSchema::new(
        TableRef::unqualified("columns"),
        vec![ColumnSchema::new(name, "text", arrow_schema::DataType::Utf8)],
    );
    let array = arrow_array::StringArray::from(values);
    let batch =
        arrow_array::RecordBatch::try_new(described.arrow_schema(), vec![std::sync::Arc::new(array)])?;
    let mapping = SchemaMapper::default().map(&described, Some(&batch))?;
    let applied = &mapping.columns[0];
    Ok(json!({
        "applied": applied.bigquery_type,
        "best": best.map_or("STRING".to_owned(), |best| best.bigquery_type.to_string()),
        "score": best.map_or(0.0, |best| best.score),
        "reason": applied.reason,
    }))
}
