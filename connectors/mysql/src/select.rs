//! What is selected of a described table, and what its answers mean.

use arrow_schema::DataType;
use transload_core::batch::{BATCH_BYTES, BATCH_ROWS};
use transload_core::connector::{CursorSummary, ReadPlan};
use transload_core::schema::{ColumnSchema, CursorValue};
use transload_core::{Error, Result};
use transload_sql::quote_backquoted;

use crate::catalog::Described;
use crate::channel::Answer;
use crate::filter::{comparable, condition};
use crate::rows::RowDecoder;
use crate::types::{ReadAs, Wire};

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
        for (column, _) in self.columns(&plan.columns)? {
            list.push(quote_backquoted(&column.name)?);
        }
        let filter = self.where_sql(plan, conditions)?;
        let limit = plan.limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        Ok(format!("SELECT {} FROM {}{filter}{limit}", list.join(", "), self.quoted))
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
    pub(crate) fn decoder(&self, plan: &ReadPlan, lenient: bool) -> Result<RowDecoder> {
        let wires: Vec<Wire> = self.columns(&plan.columns)?.into_iter().map(|(_, read)| read.wire).collect();
        let schema = self.table.arrow_schema_of(&plan.columns)?;
        let bytes = if plan.batch_bytes == 0 { BATCH_BYTES } else { plan.batch_bytes };
        Ok(RowDecoder::new(schema, &wires, lenient, BATCH_ROWS, bytes))
    }

    /// What asks for lowest, highest and missing values of a cursor.
    pub(crate) fn summary_sql(&self, name: &str) -> Result<String> {
        let (column, read) = self.column(name)?;
        let value = comparable(column, read)?;
        // Counting reads the whole table, finding the ends of an index nothing.
        let nulls = match column.nullable {
            true => format!("COUNT(*) - COUNT({})", quote_backquoted(name)?),
            false => "0".to_owned(),
        };
        Ok(format!("SELECT MIN({value}), MAX({value}), {nulls} FROM {}", self.quoted))
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

/// A value as the server prints it.
fn cursor_value(column: &ColumnSchema, text: Option<&str>) -> Result<Option<CursorValue>> {
    let Some(text) = text else { return Ok(None) };
    if column.data_type == DataType::Utf8 {
        return Ok(Some(CursorValue::Text(text.to_owned())));
    }
    let (iso, zoned) = (text.replace(' ', "T"), matches!(column.data_type, DataType::Timestamp(_, Some(_))));
    let value = CursorValue::parse(&if zoned { format!("{iso}Z") } else { iso }, &column.data_type);
    value.map(Some).map_err(|error| {
        let text = format!("cursor column `{}` holds {text}, which no calendar has", column.name);
        Error::data(text)
            .with("column", &column.name)
            .source_error(error)
            .hint("correct such rows, or choose another cursor")
    })
}
