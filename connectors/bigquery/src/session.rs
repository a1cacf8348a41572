//! A session: one table at one point in time.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, SchemaRef};
use async_trait::async_trait;
use futures::future::try_join_all;
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use transload_core::batch::{SAMPLE_BYTES, batch_bytes};
use transload_core::connector::{CursorFilter, CursorSummary, ReadPlan, ReadSession, Split};
use transload_core::proof::{ProofLevel, TableFigures};
use transload_core::schema::{Mode, TableRef, TableSchema};
use transload_core::{BatchStream, Error, Result, ResultExt as _};
use transload_sql::figures::Measured;

use crate::catalog::{Described, Place};
use crate::connect::Client;
use crate::jobs::failure;
use crate::storage::{Storage, Wanted, decode};
use crate::{figures, filter};

/// Streams that a sample is taken from.
const SAMPLED: usize = 8;

/// What a split keeps: the stream to read, none in a table without rows. The server keeps it for six hours.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    stream: Option<String>,
}

/// A session over one table.
#[derive(Debug)]
pub(crate) struct BigQuerySession {
    client: Client,
    storage: Storage,
    place: Place,
    described: Described,
    /// Microseconds since 1970.
    snapshot: i64,
    /// Where the rows of a view are once a query has put them there.
    result: OnceCell<Place>,
}

impl BigQuerySession {
    /// Takes the snapshot and describes the table.
    pub(crate) async fn begin(client: Client, storage: Storage, table: &TableRef) -> Result<Self> {
        let place = Place::new(&client, table)?;
        let (snapshot, described) = futures::try_join!(now(&client), client.describe(table, &place))?;
        Ok(Self { client, storage, place, described, snapshot, result: OnceCell::new() })
    }

    fn snapshot(&self) -> Option<i64> {
        (self.described.is_stored() && self.described.travels).then_some(self.snapshot)
    }

    /// The snapshot behind the name of a table in a query.
    fn as_of(&self) -> String {
        self.snapshot()
            .map_or_else(String::new, |micros| format!(" FOR SYSTEM_TIME AS OF TIMESTAMP_MICROS({micros})"))
    }

    /// Where the rows are: in the table, or in the result of a query where the Storage API cannot read it. That
    /// query runs once, when rows are asked for the first time.
    async fn rows_at(&self) -> Result<&Place> {
        if self.described.is_stored() {
            return Ok(&self.place);
        }
        self.result.get_or_try_init(|| self.materialise(None)).await
    }

    /// Runs a query over a view. BigQuery keeps the result for a day, in a place that only this user sees.
    async fn materialise(&self, limit: Option<usize>) -> Result<Place> {
        let what = "cannot read the view";
        let limit = limit.map(|rows| format!(" LIMIT {rows}")).unwrap_or_default();
        let query = format!("SELECT * FROM {}{limit}", self.place.path());
        let id = format!("tl_view_{:032x}", rand::random::<u128>());
        let location = &self.described.location;
        let table = &self.described.schema.table;
        self.client.submit_query(&id, location, &query).await.map_err(|error| error.with("table", table))?;
        let done = self.client.wait(&id, location).await?;
        if let Some(error) = failure(&done, what, &id) {
            return Err(error.with("table", table));
        }
        let query = done.configuration.and_then(|configuration| configuration.query);
        let result = query.and_then(|query| query.destination_table).ok_or_else(|| {
            Error::internal("a query's job does not say where its result is")
                .with("job_id", &id)
                .hint("report this")
        })?;
        Ok(Place { project: result.project_id, dataset: result.dataset_id, table: result.table_id })
    }

    fn restriction(&self, filter: Option<&CursorFilter>) -> Result<Option<String>> {
        let Some(filter) = filter else { return Ok(None) };
        filter::condition(filter, false, self.described.schema.column(&filter.column)?)
    }

    /// The columns to ask for, by name.
    fn names(&self, columns: &[String]) -> Vec<String> {
        if columns.is_empty() {
            self.described.schema.columns.iter().map(|column| column.name.clone()).collect()
        } else {
            columns.to_vec()
        }
    }

    /// A sample alone: of a view, only its rows are kept.
    pub(crate) async fn preview(&self, rows: usize) -> Result<RecordBatch> {
        let place = if self.described.is_stored() {
            self.place.clone()
        } else {
            self.materialise(Some(rows)).await?
        };
        self.sample_of(&place, rows).await
    }

    async fn sample_of(&self, place: &Place, rows: usize) -> Result<RecordBatch> {
        let schema = self.described.schema.arrow_schema();
        let wanted = Wanted {
            table: place.resource(),
            columns: self.names(&[]),
            restriction: None,
            snapshot: self.snapshot(),
            streams: SAMPLED,
        };
        let streams = if rows == 0 { Vec::new() } else { self.storage.open(&wanted).await? };
        let shares = streams.len().max(1);
        let share =
            |stream: String| sample_stream(&self.storage, stream, &schema, rows.div_ceil(shares), shares);
        let parts = try_join_all(streams.into_iter().map(share)).await?;
        let all = arrow_select::concat::concat_batches(&schema, &parts)?;
        Ok(all.slice(0, all.num_rows().min(rows)))
    }
}

/// The server's clock. Rows committed up to this moment are in the snapshot.
async fn now(client: &Client) -> Result<i64> {
    let location = client.config.location.as_deref().unwrap_or_default();
    let rows = client.select(location, "SELECT UNIX_MICROS(CURRENT_TIMESTAMP())").await?;
    let text = rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::internal("BigQuery does not say what time it is")
            .hint("check `endpoint`: it may not be the BigQuery API")
    })
}

/// Rows from the beginning of a stream, evenly spread over what arrived.
async fn sample_stream(
    storage: &Storage,
    stream: String,
    schema: &SchemaRef,
    rows: usize,
    shares: usize,
) -> Result<RecordBatch> {
    let (mut messages, mut decoder) = (storage.stream(&stream), None);
    let (mut parts, mut have) = (Vec::new(), 0);
    while have < rows
        && let Some(message) = messages.next().await?
    {
        let batch = decode(&mut decoder, &message, schema)?;
        let fits = SAMPLE_BYTES / shares / (batch_bytes(&batch) / batch.num_rows().max(1)).max(1);
        let wanted = (rows - have).min(fits.max(1)).min(batch.num_rows());
        let step = u64::try_from(batch.num_rows() / wanted.max(1)).unwrap_or(1);
        let indices = arrow_array::UInt64Array::from_iter_values(
            (0..).step_by(usize::try_from(step.max(1)).unwrap_or(1)).take(wanted),
        );
        parts.push(arrow_select::take::take_record_batch(&batch, &indices)?);
        have += wanted;
        if fits <= wanted {
            break;
        }
    }
    Ok(arrow_select::concat::concat_batches(schema, &parts)?)
}

#[async_trait]
impl ReadSession for BigQuerySession {
    fn table(&self) -> &TableSchema {
        &self.described.schema
    }

    async fn cursor_summary(&self, column: &str) -> Result<CursorSummary> {
        let column = self.described.schema.column(column)?;
        let (lowest, highest) = filter::bounds(column)?;
        let place = self.rows_at().await?;
        let as_of = self.as_of();
        let query = format!(
            "SELECT {lowest}, {highest}, COUNTIF({} IS NULL) FROM {}{as_of}",
            crate::sql::quote(&column.name),
            place.path()
        );
        let rows = self.client.select(&self.described.location, &query).await;
        let rows = rows
            .operation("cursor summary")
            .map_err(|error| error.with("table", &self.described.schema.table))?;
        let Some([min, max, Some(nulls)]) = rows.first().map(Vec::as_slice) else {
            return Err(Error::internal("BigQuery gave no summary of a cursor").hint("report this"));
        };
        let read =
            |text: &Option<String>| text.as_deref().map(|text| filter::value(text, column)).transpose();
        let nulls = nulls.parse().map_err(|_| Error::internal("BigQuery counted no NULLs"))?;
        Ok(CursorSummary { min: read(min)?, max: read(max)?, nulls })
    }

    async fn sample(&self, rows: usize) -> Result<RecordBatch> {
        self.sample_of(self.rows_at().await?, rows).await
    }

    async fn splits(&self, plan: &ReadPlan) -> Result<Vec<Split>> {
        self.described.schema.project(&plan.columns)?;
        let restriction = self.restriction(plan.filter.as_ref())?;
        let streams = if plan.limit == Some(0) {
            Vec::new()
        } else {
            let wanted = Wanted {
                table: self.rows_at().await?.resource(),
                columns: self.names(&plan.columns),
                restriction,
                snapshot: self.snapshot(),
                // A limit counts over all splits, so there is only one.
                streams: if plan.limit.is_some() { 1 } else { plan.parallelism },
            };
            self.storage.open(&wanted).await.operation("plan splits")?
        };
        let parts: Vec<Part> = match streams.is_empty() {
            true => vec![Part { stream: None }],
            false => streams.into_iter().map(|stream| Part { stream: Some(stream) }).collect(),
        };
        let split = |(index, part)| {
            let part = serde_json::to_value(part)
                .map_err(|error| Error::internal("a split could not be encoded").source_error(error))?;
            Ok(Split { index, plan: plan.clone(), part })
        };
        parts.into_iter().enumerate().map(split).collect()
    }

    async fn read(&self, split: &Split) -> Result<BatchStream> {
        let part: Part = serde_json::from_value(split.part.clone()).map_err(|error| {
            Error::config("the split was not made by the bigquery connector")
                .source_error(error)
                .hint("read it with a session on the connection that planned it")
        })?;
        let schema = self.described.schema.arrow_schema_of(&split.plan.columns)?;
        Ok(match part.stream {
            Some(stream) => {
                self.storage.batches(&stream, Arc::clone(&schema), split.plan.batch_bytes, split.plan.limit)
            }
            None => Box::pin(stream::empty()),
        })
    }

    async fn figures(&self, plan: &ReadPlan, level: ProofLevel) -> Result<TableFigures> {
        let schema = self.described.schema.project(&plan.columns)?;
        let columns: Vec<_> = schema
            .columns
            .iter()
            .map(|column| {
                let repeated = matches!(column.data_type, DataType::List(_));
                let mode = if repeated { Mode::Repeated } else { Mode::Nullable };
                match &column.bigquery_type {
                    Some(known) => figures::measured(&column.name, known, mode, &column.data_type, level),
                    None => Measured::default(),
                }
            })
            .collect();
        let mut from = format!("{}{}", self.rows_at().await?.path(), self.as_of());
        if let Some(condition) = self.restriction(plan.filter.as_ref())? {
            from = format!("{from} WHERE {condition}");
        }
        let figures = figures::figures(&self.client, &self.described.location, &from, &columns).await;
        figures
            .operation("compute figures")
            .map_err(|error| error.with("table", &self.described.schema.table))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        // Sessions at the server end by themselves.
        Ok(())
    }
}
