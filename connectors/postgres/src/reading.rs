//! The connections of a session, and the reads that go over them.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use futures::stream;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use transload_core::batch::BatchStream;
use transload_core::{Error, Result};
use transload_sql::wire::Ending;

use crate::connect::{Connect, Opened, text};
use crate::copy::CopyDecoder;
use crate::copy_stream::CopyStream;

/// How long a cancelled query may take to end.
const CANCELLING: Duration = Duration::from_secs(10);

/// The connection that began the session. One read at a time goes over it; others open their own.
pub(crate) struct Own {
    connect: Connect,
    connection: Arc<Mutex<OwnConnection>>,
    ending: Ending,
}

pub(crate) struct OwnConnection {
    opened: Opened,
    /// Whether the savepoint is set that reads go back to; of Redshift, whether a cursor is open.
    saved: bool,
    /// The exported snapshot, once there is one.
    snapshot: Option<String>,
}

impl Own {
    pub(crate) fn new(connect: Connect, opened: Opened) -> Self {
        let connection = OwnConnection { opened, saved: false, snapshot: None };
        Self { connect, connection: Arc::new(Mutex::new(connection)), ending: Ending::default() }
    }

    /// The connection, once it is free.
    pub(crate) async fn lock(&self) -> OwnedMutexGuard<OwnConnection> {
        Arc::clone(&self.connection).lock_owned().await
    }

    /// The connection, if it is free or will be soon.
    pub(crate) async fn free(&self) -> Option<OwnedMutexGuard<OwnConnection>> {
        // Before the look at the connection: if it becomes free meanwhile it is waited for as well.
        let ending = self.ending.any();
        match Arc::clone(&self.connection).try_lock_owned() {
            Ok(own) => Some(own),
            Err(_) if ending => Some(self.lock().await),
            Err(_) => None,
        }
    }

    /// Ends the transaction. A read that somebody still holds keeps the connection until it is dropped.
    pub(crate) async fn close(&self) -> Result<()> {
        // A read-only transaction has nothing to commit; ending it tells whether the connection still lives.
        match self.connection.try_lock() {
            Ok(own) => own.opened.batch("ROLLBACK").await.map(|_| ()),
            Err(_) => Ok(()),
        }
    }

    /// The batches of what runs. An error of the statement itself is told here and not with the first batch.
    pub(crate) async fn stream(&self, copy: CopyStream, lease: Lease) -> Result<BatchStream> {
        let mut reading = Reading {
            running: Some((copy, lease)),
            connect: self.connect.clone(),
            ending: self.ending.clone(),
            runtime: Handle::current(),
        };
        let first = reading.next().await?;
        Ok(Box::pin(stream::try_unfold((first, reading), |(ahead, mut reading)| async move {
            let batch = match ahead {
                Some(batch) => Some(batch),
                None => reading.next().await?,
            };
            Ok(batch.map(|batch| (batch, (None, reading))))
        })))
    }
}

impl OwnConnection {
    /// Begins a COPY. A read that failed or was cancelled aborts its transaction, and the snapshot would be
    /// lost with it; a savepoint ahead of each read keeps both.
    pub(crate) async fn copy(&mut self, sql: &str, decoder: CopyDecoder) -> Result<CopyStream> {
        let ahead = match std::mem::replace(&mut self.saved, true) {
            false => "SAVEPOINT reading",
            true => "ROLLBACK TO SAVEPOINT reading",
        };
        CopyStream::begin(&self.opened, &format!("{ahead}; {sql}"), decoder).await
    }

    /// Begins to read a query by a cursor, `rows` at once; by its answer if that is 0. Redshift has no savepoints, so
    /// what fails or is cancelled ends the transaction, and it opens one cursor at a time.
    pub(crate) async fn query(&mut self, sql: &str, rows: u64, decoder: CopyDecoder) -> Result<CopyStream> {
        let close = if std::mem::take(&mut self.saved) { "CLOSE reading; " } else { "" };
        if rows == 0 {
            return CopyStream::begin(&self.opened, &format!("{close}{sql}"), decoder).await;
        }
        self.saved = true;
        let declare = format!("{close}DECLARE reading CURSOR FOR {sql}");
        let fetch = format!("FETCH FORWARD {rows} FROM reading");
        CopyStream::fetch(&self.opened, &declare, fetch, decoder).await
    }

    /// The id under which other connections find the snapshot. It cannot be exported from within a
    /// savepoint.
    pub(crate) async fn exported_snapshot(&mut self) -> Result<String> {
        if let Some(snapshot) = &self.snapshot {
            return Ok(snapshot.clone());
        }
        let leave = match std::mem::take(&mut self.saved) {
            true => "ROLLBACK TO SAVEPOINT reading; RELEASE SAVEPOINT reading; ",
            false => "",
        };
        let results = self.opened.batch(&format!("{leave}SELECT pg_export_snapshot() AS id")).await?;
        let row = results.last().and_then(|rows| rows.first());
        let row = row.ok_or_else(|| Error::internal("no snapshot was exported"))?;
        Ok(self.snapshot.insert(text(row, "id")?.to_owned()).clone())
    }
}

/// The connection that a split is read over.
pub(crate) enum Lease {
    /// The session's own, locked for this read.
    Own(OwnedMutexGuard<OwnConnection>),
    /// A further one, with what joins it to the snapshot.
    Other { opened: Box<Opened>, join: String },
}

impl Lease {
    /// Begins a COPY of a session.
    pub(crate) async fn copy(&mut self, sql: &str, decoder: CopyDecoder) -> Result<CopyStream> {
        match self {
            Self::Own(own) => own.copy(sql, decoder).await,
            Self::Other { opened, join } => {
                CopyStream::begin(opened, &format!("{join}; {sql}"), decoder).await
            }
        }
    }

    fn opened(&self) -> &Opened {
        match self {
            Self::Own(own) => &own.opened,
            Self::Other { opened, .. } => opened,
        }
    }
}

/// A query that runs at the server. Dropping it midway cancels the query there (a FETCH is read to its end instead), and frees the connection only
/// when server and connection are done with it, so that the cancel cannot hit what is asked next.
struct Reading {
    running: Option<(CopyStream, Lease)>,
    connect: Connect,
    ending: Ending,
    /// The stream may be dropped by a thread that knows no runtime.
    runtime: Handle,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let Some((copy, _)) = &mut self.running else { return Ok(None) };
        let outcome = copy.next().await;
        if copy.is_over()
            && !matches!(outcome, Ok(Some(_)))
            && let Some((copy, _lease)) = self.running.take()
        {
            copy.end().await?;
        }
        outcome
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let Some((copy, lease)) = self.running.take() else { return };
        let connect = self.connect.clone();
        let freeing = matches!(lease, Lease::Own(_)).then(|| self.ending.begin());
        self.runtime.spawn(async move {
            if !copy.ends_soon() {
                let (token, peer) = lease.opened().cancelling();
                connect.cancel(token, &peer).await;
            }
            // If the server does not end the query, the connection is closed with `copy`.
            if let Ok(Err(error)) = tokio::time::timeout(CANCELLING, copy.end()).await {
                tracing::debug!(%error, "a cancelled query ended its connection");
            }
            drop(lease);
            drop(freeing);
        });
    }
}
