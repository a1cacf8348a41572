//! From an iterator that blocks to a stream that does not.

use futures::stream;
use tokio::sync::mpsc;
use transload_core::{BatchStream, Error, Result};

use arrow_array::RecordBatch;

/// Batches that may wait between the reading thread and the consumer.
const WAITING: usize = 2;

/// Runs blocking work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(thread_died(error)),
    }
}

/// Runs an iterator on a thread of its own. Dropping the stream ends the thread at its next batch.
pub(crate) fn batches<I>(open: impl FnOnce() -> Result<I> + Send + 'static) -> BatchStream
where
    I: Iterator<Item = Result<RecordBatch>>,
{
    let (sender, receiver) = mpsc::channel(WAITING);
    let thread = tokio::task::spawn_blocking(move || {
        let items = match open() {
            Ok(items) => items,
            Err(error) => {
                let _ = sender.blocking_send(Err(error));
                return;
            }
        };
        for item in items {
            let failed = item.is_err();
            // Nobody listens any more: stop reading.
            if sender.blocking_send(item).is_err() || failed {
                return;
            }
        }
    });
    Box::pin(stream::unfold((receiver, Some(thread)), |(mut receiver, thread)| async move {
        match receiver.recv().await {
            Some(item) => Some((item, (receiver, thread))),
            // A thread that died closes the channel too: that must not look like the end of the data.
            None => match thread?.await {
                Ok(()) => None,
                Err(error) => Some((Err(thread_died(error)), (receiver, None))),
            },
        }
    }))
}

fn thread_died(error: tokio::task::JoinError) -> Error {
    Error::internal("the thread that reads a file died").source_error(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::RecordBatchOptions;
    use arrow_schema::Schema;
    use futures::StreamExt as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn batch() -> RecordBatch {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap()
    }

    #[tokio::test]
    async fn a_thread_that_panics_is_an_error_and_no_early_end() {
        let mut stream = batches(|| {
            Ok((0..5).map(|i| {
                assert!(i < 3, "on purpose");
                Ok(batch())
            }))
        });
        let mut good = 0;
        let error = loop {
            match stream.next().await.expect("an error before the end") {
                Ok(_) => good += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((good, error.kind()), (3, transload_core::ErrorKind::Internal));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn dropping_the_stream_stops_the_reader() {
        static READ: AtomicUsize = AtomicUsize::new(0);
        let mut stream = batches(|| {
            Ok(std::iter::repeat_with(|| {
                READ.fetch_add(1, Ordering::SeqCst);
                Ok(batch())
            }))
        });
        stream.next().await.unwrap().unwrap();
        drop(stream);
        // The iterator is endless: the runtime could not shut down if the thread went on.
        let mut last = usize::MAX;
        while last != READ.load(Ordering::SeqCst) {
            last = READ.load(Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(last <= WAITING + 3);
    }
}
