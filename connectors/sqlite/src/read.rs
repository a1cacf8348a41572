//! Running the statements: batches, samples and cursor summaries.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, params_from_iter};
use transload_core::batch::{BATCH_BYTES, BATCH_ROWS, SAMPLE_BYTES, batch_bytes};
use transload_core::connector::{CursorSummary, ReadPlan};
use transload_core::schema::{ColumnSchema, CursorValue};
use transload_core::{Error, Result};

use crate::catalog::Table;
use crate::connect::Database;
use crate::decode::{Column, misfit};
use crate::query::{self, Query};
use crate::types::Reading;

/// What a reader does with a batch; `false` ends the read.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(RecordBatch) -> bool;

/// One table of one database.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) database: Database,
    pub(crate) table: Table,
}

impl Reader {
    pub(crate) fn wrong(&self, error: rusqlite::Error) -> Error {
        self.database.error("read the table", error).with("table", &self.table.schema.table)
    }

    pub(crate) fn fields(&self, names: &[String]) -> Result<(Vec<usize>, SchemaRef)> {
        let schema = self.table.schema.arrow_schema_of(names)?;
        let all = &self.table.schema.columns;
        let fields = if names.is_empty() {
            (0..all.len()).collect()
        } else {
            names.iter().filter_map(|name| all.iter().position(|column| &column.name == name)).collect()
        };
        Ok((fields, schema))
    }

    /// Runs a read plan.
    pub(crate) fn read(&self, connection: &Connection, plan: &ReadPlan, sink: Sink<'_>) -> Result<()> {
        let (fields, schema) = self.fields(&plan.columns)?;
        let query = query::read(&self.table, &fields, plan.filter.as_ref(), plan.limit)?;
        let bytes = if plan.batch_bytes == 0 { BATCH_BYTES } else { plan.batch_bytes };
        self.run(connection, &query, &fields, &schema, bytes, sink)
    }

    fn run(
        &self,
        connection: &Connection,
        query: &Query,
        fields: &[usize],
        schema: &SchemaRef,
        batch_bytes: usize,
        sink: Sink<'_>,
    ) -> Result<()> {
        let wrong = |error| self.wrong(error);
        let readings = fields.iter().filter_map(|field| self.table.readings.get(*field));
        let mut columns = readings.map(|reading| Column::new(*reading)).collect::<Result<Vec<_>>>()?;
        let mut statement = connection.prepare(&query.sql).map_err(wrong)?;
        let mut rows = statement.query(params_from_iter(&query.values)).map_err(wrong)?;
        let (mut count, mut bytes, mut before) = (0, 0, 0_u64);
        while let Some(row) = rows.next().map_err(wrong)? {
            for (at, column) in columns.iter_mut().enumerate() {
                let value = row.get_ref(at).map_err(wrong)?;
                match column.append(value) {
                    Ok(length) => bytes += length,
                    Err(why) => {
                        let own = fields.get(at).and_then(|field| self.table.schema.columns.get(*field));
                        let key = row.get_ref(fields.len()).ok();
                        return Err(self.misfit(own, why, value, key, before + count as u64 + 1));
                    }
                }
            }
            count += 1;
            if count >= BATCH_ROWS || bytes >= batch_bytes {
                if !sink(self.batch(&mut columns, schema)?) {
                    return Ok(());
                }
                before += count as u64;
                (count, bytes) = (0, 0);
            }
        }
        if count > 0 {
            sink(self.batch(&mut columns, schema)?);
        }
        Ok(())
    }

    fn batch(&self, columns: &mut [Column], schema: &SchemaRef) -> Result<RecordBatch> {
        let arrays: Vec<_> = columns.iter_mut().map(Column::finish).collect();
        // NOT NULL can be circumvented (`writable_schema`, a changed declaration): then rows are wrong, not we.
        let broken = schema
            .fields()
            .iter()
            .zip(&arrays)
            .find(|(field, array)| !field.is_nullable() && arrow_array::Array::null_count(array) > 0);
        if let Some((field, _)) = broken {
            return Err(Error::data(format!("the column `{}` is NOT NULL but holds NULL", field.name()))
                .with("table", &self.table.schema.table)
                .with("column", field.name())
                .hint("run PRAGMA integrity_check and correct the rows"));
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?)
    }

    fn misfit(
        &self,
        own: Option<&ColumnSchema>,
        why: &'static str,
        value: ValueRef<'_>,
        key: Option<ValueRef<'_>>,
        number: u64,
    ) -> Error {
        let (name, source_type) = own.map_or(("", ""), |own| (&own.name, &own.source_type));
        let error = misfit(why, name, source_type, value).with("table", &self.table.schema.table);
        match (self.table.rowid, key) {
            (Some(_), Some(ValueRef::Integer(rowid))) => error.with("rowid", rowid),
            _ => error.with("row", number),
        }
    }

    /// Up to `rows` rows: from equal parts of the row numbers, so that they are spread over the table; the first
    /// rows where these parts hold too few, and where there are no row numbers.
    pub(crate) fn sample(&self, connection: &Connection, rows: usize) -> Result<RecordBatch> {
        let (fields, schema) = self.fields(&[])?;
        let collect = |queries: &[Query]| -> Result<(Vec<RecordBatch>, bool)> {
            let (mut batches, mut enough) = (Vec::new(), false);
            for query in queries {
                let share = SAMPLE_BYTES / queries.len().max(1);
                let mut bytes = 0;
                let mut sink = |batch: RecordBatch| {
                    bytes += batch_bytes(&batch);
                    batches.push(batch);
                    bytes < share
                };
                self.run(connection, query, &fields, &schema, share / 2, &mut sink)?;
                enough |= bytes >= share;
            }
            // A thousand from everywhere tell more than ten thousand from the start.
            enough |= batches.iter().map(RecordBatch::num_rows).sum::<usize>() >= rows.min(1000);
            Ok((batches, enough))
        };
        let (mut batches, enough) = collect(&self.sample_queries(connection, &fields, rows)?)?;
        if !enough {
            // Gaps in the row numbers: the first rows are the better sample.
            batches = collect(&[query::read(&self.table, &fields, None, Some(wide(rows)))?])?.0;
        }
        let empty = RecordBatch::new_empty(Arc::clone(&schema));
        Ok(batches.into_iter().try_fold(empty, |all, next| concat(&all, &next))?)
    }

    fn sample_queries(&self, connection: &Connection, fields: &[usize], rows: usize) -> Result<Vec<Query>> {
        let Some(rowid) = self.table.rowid.filter(|_| rows >= 3) else { return Ok(Vec::new()) };
        let sql = query::rowid_range(&self.table, rowid)?;
        let range: (Option<i64>, Option<i64>) = connection
            .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(|e| self.wrong(e))?;
        let (Some(lo), Some(hi)) = range else { return Ok(Vec::new()) };
        let (lo, span) = (i128::from(lo), i128::from(hi) - i128::from(lo));
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        if span < i128::from(rows) {
            return Ok(Vec::new());
        }
        let parts = rows.min(SAMPLE_PARTS);
        let edge = |part: i64| {
            let past = lo + span * i128::from(part) / i128::from(parts) + i128::from(part == parts);
            i64::try_from(past).unwrap_or(i64::MAX)
        };
        let part = |part: i64| {
            let share = rows / parts + i64::from(part < rows % parts);
            let tail = format!(" WHERE t.{rowid} >= ?1 AND t.{rowid} < ?2 LIMIT ?3");
            let values = [edge(part), edge(part + 1), share].map(Value::Integer).to_vec();
            Ok(Query { sql: query::select(&self.table, fields, &tail)?, values })
        };
        (0..parts).map(part).collect()
    }

    /// Lowest and highest value of a cursor column.
    pub(crate) fn summary(&self, connection: &Connection, name: &str) -> Result<CursorSummary> {
        let (own, reading) = query::cursor(&self.table, name)?;
        let (least, greatest) = query::extremes(&self.table, name)?;
        let extreme = |sql: &str| -> Result<Option<CursorValue>> {
            let value: Value = connection.query_row(sql, [], |row| row.get(0)).map_err(|e| self.wrong(e))?;
            self.cursor_value(own, reading, &value)
        };
        let (min, max) = (extreme(&least)?, extreme(&greatest)?);
        let nulls = if own.nullable {
            let sql = query::count_nulls(&self.table, name)?;
            let count: i64 = connection.query_row(&sql, [], |row| row.get(0)).map_err(|e| self.wrong(e))?;
            u64::try_from(count).unwrap_or(0)
        } else {
            0
        };
        Ok(CursorSummary { min, max, nulls })
    }

    /// SQLite orders numbers before texts before blobs, so a value of a wrong class anywhere in the column
    /// shows as its minimum or maximum, and no range silently leaves it out.
    fn cursor_value(
        &self,
        own: &ColumnSchema,
        reading: Reading,
        value: &Value,
    ) -> Result<Option<CursorValue>> {
        if let (Reading::Text, Value::Integer(_) | Value::Real(_)) = (reading, value) {
            return Err(Error::unsupported(format!(
                "the column `{}` ({}) holds numbers, whose order is not that of their texts",
                own.name,
                if own.source_type.is_empty() { "no type" } else { &own.source_type }
            ))
            .with("table", &self.table.schema.table)
            .with("column", &own.name)
            .hint("use an INTEGER column as cursor, or a view with CAST(column AS INTEGER)"));
        }
        let mut column = Column::new(reading)?;
        column
            .append(ValueRef::from(value))
            .map_err(|why| self.misfit(Some(own), why, ValueRef::from(value), None, 0))?;
        CursorValue::from_array(&column.finish(), 0)
    }
}

/// Places of a table that a sample comes from; each costs a step down the tree.
const SAMPLE_PARTS: i64 = 32;

fn wide(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

fn concat(a: &RecordBatch, b: &RecordBatch) -> Result<RecordBatch, arrow_schema::ArrowError> {
    arrow_select::concat::concat_batches(&a.schema(), [a, b])
}
