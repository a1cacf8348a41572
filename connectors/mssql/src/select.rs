//! What is selected of a described table, and what its answers mean.

use arrow_schema::DataType;
use transload_core::batch::{BATCH_BYTES, BATCH_ROWS};
use transload_core::connector::{CursorSummary, ReadPlan};
use transload_core::schema::{ColumnSchema, CursorValue, Nanos};
use transload_core::{Error, Result};
use transload_sql::quote_bracketed;

use crate::catalog::Described;
use crate::channel::Answer;
use crate::filter::{comparable, condition};
use crate::rows::RowDecoder;
use crate::types::{ReadAs, Select, Wire};

/// A column as it is selected, without its name.
pub(crate) fn selected(name: &str, read: &ReadAs) -> String {
    match read.select {
        Select::Column => name.to_owned(),
        Select::Cast => format!("CAST({name} AS nvarchar(max))"),
        Select::ToText => format!("CAST({name}.ToString() AS nvarchar(4000))"),
        Select::WellKnownText => format!(
            "CASE WHEN {name}.STSrid = 4326 THEN {name}.AsTextZM() \
             ELSE N'SRID=' + CAST({name}.STSrid AS nvarchar(11)) + N';' + {name}.AsTextZM() END"
        ),
        Select::WellKnownBinary => format!("CAST({name}.STSrid AS binary(4)) + {name}.AsBinaryZM()"),
    }
}

impl Described {
    pub(crate) fn column(&self, name: &str) -> Result<(&ColumnSchema, &ReadAs)> {
        // The error names the nearest column.
        let column = self.table.column(name)?;
        let mut all = self.table.columns.iter().zip(&self.reads);
        all.find(|(known, _)| known.name == column.name).ok_or_else(|| Error::internal("a column vanished"))
    }

    pub(crate) fn columns(&self, names: &[String]) -> Result<Vec<(&ColumnSchema, &ReadAs)>> {
        if names.is_empty() {
            return Ok(self.table.columns.iter().zip(&self.reads).collect());
        }
        names.iter().map(|name| self.column(name)).collect()
    }

    /// `SELECT ...` for a plan, with further conditions.
    pub(crate) fn select_sql(&self, plan: &ReadPlan, conditions: Vec<String>) -> Result<String> {
        let mut list = Vec::new();
        for (column, read) in self.columns(&plan.columns)? {
            let name = quote_bracketed(&column.name)?;
            list.push(match read.select {
                Select::Column => name,
                _ => format!("{} AS {name}", selected(&name, read)),
            });
        }
        let filter = self.where_sql(plan, conditions)?;
        let limit = plan.limit.map(|limit| format!("TOP ({limit}) ")).unwrap_or_default();
        Ok(format!("SELECT {limit}{} FROM {}{filter}", list.join(", "), self.quoted))
    }

    /// ` WHERE ...` for the range of a plan and further conditions; empty if every row is wanted.
    pub(crate) fn where_sql(&self, plan: &ReadPlan, mut conditions: Vec<String>) -> Result<String> {
        if let Some(filter) = &plan.filter {
            let (column, read) = self.column(&filter.column)?;
            conditions.extend(condition(filter, column, read)?);
        }
        Ok(if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) })
    }

    /// What turns the answer to [`Self::select_sql`] into batches.
    pub(crate) fn decoder(&self, plan: &ReadPlan) -> Result<RowDecoder> {
        let wires: Vec<Wire> = self.columns(&plan.columns)?.into_iter().map(|(_, read)| read.wire).collect();
        let schema = self.table.arrow_schema_of(&plan.columns)?;
        let bytes = if plan.batch_bytes == 0 { BATCH_BYTES } else { plan.batch_bytes };
        Ok(RowDecoder::new(schema, &wires, self.replace, BATCH_ROWS, bytes))
    }

    /// What asks for lowest, highest and missing values of a cursor.
    pub(crate) fn summary_sql(&self, name: &str) -> Result<String> {
        let (column, read) = self.column(name)?;
        let value = comparable(column, read)?;
        // Counting reads the whole table, finding the ends of an index nothing.
        let nulls = match column.nullable {
            true => format!("COUNT_BIG(*) - COUNT_BIG({})", quote_bracketed(name)?),
            false => "CAST(0 AS bigint)".to_owned(),
        };
        Ok(format!("SELECT MIN({value}) AS low, MAX({value}) AS high, {nulls} AS nulls FROM {}", self.quoted))
    }

    /// The answer to [`Self::summary_sql`].
    pub(crate) fn summary(&self, name: &str, answers: &[Answer]) -> Result<CursorSummary> {
        let (column, _) = self.column(name)?;
        let row = answers.last().and_then(|answer| answer.rows.first());
        let Some([min, max, nulls]) = row.map(Vec::as_slice) else {
            return Err(Error::internal("an aggregate without a row"));
        };
        Ok(CursorSummary {
            min: cursor_value(column, min.as_deref())?,
            max: cursor_value(column, max.as_deref())?,
            nulls: nulls.as_deref().and_then(|nulls| nulls.parse().ok()).unwrap_or(0),
        })
    }
}

/// A value as an answer has it, and as batches hold it: to the microsecond.
pub(crate) fn cursor_value(column: &ColumnSchema, text: Option<&str>) -> Result<Option<CursorValue>> {
    let Some(text) = text else { return Ok(None) };
    if column.data_type == DataType::Utf8 {
        return text_of_hex(text).map(CursorValue::Text).map(Some);
    }
    // `2024-01-31 10:00:00.1234567 +01:00`
    let iso = text.replacen(' ', "T", 1).replace(' ', "");
    let to_micros = |nanos: Nanos| Nanos(nanos.0.div_euclid(1000) * 1000);
    Ok(Some(match CursorValue::parse(&iso, &column.data_type)? {
        CursorValue::DateTime(nanos) => CursorValue::DateTime(to_micros(nanos)),
        CursorValue::Timestamp(nanos) => CursorValue::Timestamp(to_micros(nanos)),
        other => other,
    }))
}

/// A text that came as its bytes: `0x616263`.
fn text_of_hex(text: &str) -> Result<String> {
    let bad = || Error::internal("a cursor's text did not come as bytes");
    let (pairs, []) = text.strip_prefix("0x").ok_or_else(bad)?.as_bytes().as_chunks::<2>() else {
        return Err(bad());
    };
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    String::from_utf8(bytes.ok_or_else(bad)?).map_err(|_| bad())
}
