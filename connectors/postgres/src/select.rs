//! What is selected of a described table, and what its answers mean.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use futures::TryStreamExt as _;
use transload_core::batch::{BATCH_BYTES, BatchStream, SAMPLE_BYTES, collect_upto};
use transload_core::connector::{CursorSummary, ReadPlan};
use transload_core::schema::{ColumnSchema, CursorValue};
use transload_core::{Error, Result};

use crate::catalog::Described;
use crate::dialect::Dialect;
use crate::filter::{comparable, condition, select};
use crate::types::{ReadAs, Wire};

impl Described {
    fn column(&self, name: &str) -> Result<(&ColumnSchema, &ReadAs)> {
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

    /// `SELECT ...` for a plan, with further conditions. `sampled` is a TABLESAMPLE clause.
    pub(crate) fn select_sql(
        &self,
        dialect: Dialect,
        plan: &ReadPlan,
        conditions: Vec<String>,
        sampled: &str,
    ) -> Result<String> {
        let mut list = Vec::new();
        for (column, read) in self.columns(&plan.columns)? {
            list.push(select(&column.name, &read.select)?);
        }
        let filter = self.where_sql(dialect, plan, conditions)?;
        let limit = plan.limit.map(|limit| format!(" LIMIT {limit}")).unwrap_or_default();
        Ok(format!("SELECT {} FROM {}{sampled}{filter}{limit}", list.join(", "), self.quoted))
    }

    /// ` WHERE ...` for the range of a plan and further conditions; empty if every row is wanted.
    pub(crate) fn where_sql(
        &self,
        dialect: Dialect,
        plan: &ReadPlan,
        mut conditions: Vec<String>,
    ) -> Result<String> {
        if let Some(filter) = &plan.filter {
            let (column, read) = self.column(&filter.column)?;
            conditions.extend(condition(dialect, filter, column, read)?);
        }
        Ok(if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) })
    }

    /// The batches of a plan, and how their columns are decoded.
    pub(crate) fn wires(&self, plan: &ReadPlan) -> Result<(SchemaRef, Vec<Wire>)> {
        let wires = self.columns(&plan.columns)?.into_iter().map(|(_, read)| read.wire).collect();
        Ok((self.table.arrow_schema_of(&plan.columns)?, wires))
    }

    /// What asks for lowest, highest and missing values of a cursor, and how the answer is decoded.
    pub(crate) fn summary_sql(&self, dialect: Dialect, name: &str) -> Result<(String, SchemaRef, [Wire; 3])> {
        let (column, read) = self.column(name)?;
        let value = comparable(dialect, column, read)?;
        let sql =
            format!("SELECT min({value}), max({value}), count(*) - count({value}) FROM {}", self.quoted);
        let wires = [read.wire, read.wire, Wire::Int8];
        let fields = ["min", "max", "nulls"].into_iter().zip(wires);
        let fields: Vec<_> = fields.map(|(name, wire)| Field::new(name, wire.arrow(), true)).collect();
        Ok((sql, Arc::new(Schema::new(fields)), wires))
    }
}

/// The answer to [`Described::summary_sql`].
pub(crate) async fn summary(mut reading: BatchStream) -> Result<CursorSummary> {
    let row = reading.try_next().await?.ok_or_else(|| Error::internal("an aggregate without a row"))?;
    while reading.try_next().await?.is_some() {}
    let nulls = match CursorValue::from_array(row.column(2), 0)? {
        Some(CursorValue::Int(nulls)) => u64::try_from(nulls).unwrap_or(0),
        _ => 0,
    };
    Ok(CursorSummary {
        min: CursorValue::from_array(row.column(0), 0)?,
        max: CursorValue::from_array(row.column(1), 0)?,
        nulls,
    })
}

pub(crate) fn batch_bytes_of(plan: &ReadPlan) -> usize {
    if plan.batch_bytes == 0 { BATCH_BYTES } else { plan.batch_bytes }
}

/// A sample as one batch, and whether it has as many rows or bytes as were wished.
pub(crate) async fn collect_sample(
    reading: BatchStream,
    described: &Described,
    rows: usize,
) -> Result<(RecordBatch, bool)> {
    let mut batches = Vec::new();
    let left = collect_upto(reading, &mut batches, SAMPLE_BYTES).await?;
    let sample = concat_batches(&described.table.arrow_schema(), &batches)?;
    let full = left == 0 || sample.num_rows() >= rows;
    Ok((sample, full))
}
