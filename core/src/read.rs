//! Reading a whole table as one stream, for those who want rows and no load.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::stream::{self, Stream, StreamExt as _};

use crate::batch::BatchStream;
use crate::connection::Connection;
use crate::connector::{ReadPlan, ReadSession, Registry, Source, Split};
use crate::error::{Error, Result};
use crate::schema::{TableRef, TableSchema};

/// A table being read: its description and its rows.
pub struct TableStream {
    table: TableSchema,
    schema: SchemaRef,
    batches: BatchStream,
}

impl TableStream {
    /// The table as the read session sees it.
    #[must_use]
    pub fn table(&self) -> &TableSchema {
        &self.table
    }

    /// Arrow schema of every batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batches. The order of rows is not defined when the plan asked for parallelism.
    #[must_use]
    pub fn into_batches(self) -> BatchStream {
        self.batches
    }

    /// The next batch, or `None` at the end.
    ///
    /// # Errors
    /// Those of the source.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.batches.next().await.transpose()
    }
}

impl std::fmt::Debug for TableStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableStream").field("table", &self.table.table).finish_non_exhaustive()
    }
}

impl Registry {
    /// Reads a table of a connection: opens it, begins a session, and streams all splits of the plan, as
    /// many at once as the plan's parallelism says.
    ///
    /// # Errors
    /// Those of opening and describing; errors while reading come as an item of the stream.
    pub async fn read(
        &self,
        connection: &Connection,
        table: &TableRef,
        plan: &ReadPlan,
    ) -> Result<TableStream> {
        let source = self.source(connection).await?;
        let read = read_table(source.as_ref(), table, plan).await;
        read.map_err(|error| error.operation("read").with("connection", connection.name()))
    }
}

/// See [`Registry::read`]; for an opened source.
///
/// # Errors
/// Those of describing; errors while reading come as an item of the stream.
pub async fn read_table(source: &dyn Source, table: &TableRef, plan: &ReadPlan) -> Result<TableStream> {
    let session: Arc<dyn ReadSession> = Arc::from(source.begin(table).await?);
    let table = session.table().project(&plan.columns)?;
    let schema = table.arrow_schema();
    let splits = session.splits(plan).await?;
    let batches: BatchStream = if splits.len() > 1 && plan.parallelism > 1 {
        parallel(session, splits, plan.parallelism)
    } else {
        Box::pin(stream::iter(splits).then(move |split| read_split(Arc::clone(&session), split)).flat_map(
            |opened| match opened {
                Ok(batches) => batches,
                Err(error) => Box::pin(stream::iter([Err(error)])),
            },
        ))
    };
    Ok(TableStream { table, schema, batches })
}

/// The batches hold the session, so that its snapshot lives as long as they do.
async fn read_split(session: Arc<dyn ReadSession>, split: Split) -> Result<BatchStream> {
    let batches = session.read(&split).await?;
    Ok(Box::pin(batches.map(move |batch| {
        let _keep = &session;
        batch
    })))
}

/// One task a split, a bounded channel between them and the reader; dropping the stream ends the tasks.
fn parallel(session: Arc<dyn ReadSession>, splits: Vec<Split>, parallelism: usize) -> BatchStream {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<RecordBatch>>(parallelism);
    let reading = tokio::spawn(async move {
        stream::iter(splits)
            .for_each_concurrent(parallelism, |split| {
                let (session, sender) = (Arc::clone(&session), sender.clone());
                async move {
                    // A closed channel means that the reader has gone; the task then ends by itself.
                    let task = tokio::spawn(forward(session, split, sender.clone()));
                    if let Err(error) = task.await {
                        let died = Error::internal("the task that reads a split died").source_error(error);
                        let _ = sender.send(Err(died)).await;
                    }
                }
            })
            .await;
    });
    drop(reading);
    Box::pin(receiver_stream(receiver))
}

async fn forward(
    session: Arc<dyn ReadSession>,
    split: Split,
    sender: tokio::sync::mpsc::Sender<Result<RecordBatch>>,
) {
    match session.read(&split).await {
        Ok(mut batches) => {
            while let Some(batch) = batches.next().await {
                let failed = batch.is_err();
                if sender.send(batch).await.is_err() || failed {
                    return;
                }
            }
        }
        Err(error) => {
            let _ = sender.send(Err(error)).await;
        }
    }
}

fn receiver_stream(
    receiver: tokio::sync::mpsc::Receiver<Result<RecordBatch>>,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}
