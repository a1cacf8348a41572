//! The connections of a session, one read at a time over each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::select_all;
use tokio::sync::{Mutex, OwnedMutexGuard};
use transload_core::{Error, Result};

/// A connection that is locked for one read.
pub type Lease<C> = OwnedMutexGuard<C>;

/// What a [`Pool`] is of.
pub trait Connection {
    /// Whether it broke, or was left in the middle of an answer: nothing can be asked over it any more.
    fn is_lost(&self) -> bool;

    /// What whoever finds only lost ones is told.
    fn gone() -> Error;
}

/// Connections with one snapshot. Clones share them.
#[derive(Debug)]
pub struct Pool<C> {
    connections: Arc<[Arc<Mutex<C>>]>,
    ending: Ending,
}

impl<C> Clone for Pool<C> {
    fn clone(&self) -> Self {
        Self { connections: Arc::clone(&self.connections), ending: self.ending.clone() }
    }
}

impl<C: Connection> Pool<C> {
    /// Of these, the first of which is asked what is no read.
    #[must_use]
    pub fn new(connections: Vec<C>) -> Self {
        let connections = connections.into_iter().map(|connection| Arc::new(Mutex::new(connection)));
        Self { connections: connections.collect(), ending: Ending::default() }
    }

    /// How many there are, lost ones too.
    #[must_use]
    pub fn size(&self) -> usize {
        self.connections.len()
    }

    /// What counts those of its connections that are being freed.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// The first connection, once it is free.
    ///
    /// # Errors
    /// [`Connection::gone`] of an empty pool.
    pub async fn first(&self) -> Result<Lease<C>> {
        let first = self.connections.first().ok_or_else(C::gone)?;
        Ok(Arc::clone(first).lock_owned().await)
    }

    /// A connection that is free, or will be soon.
    ///
    /// # Errors
    /// [`Connection::gone`], and `config` where all are read over: waiting would be for ever if the caller polls the
    /// first read only after this one.
    pub async fn lease(&self) -> Result<Lease<C>> {
        // Before the look at the connections: one that becomes free meanwhile is waited for as well.
        let ending = self.ending.any();
        let mut broken = false;
        for lease in self.free() {
            if !lease.is_lost() {
                return Ok(lease);
            }
            broken = true;
        }
        if ending {
            return self.any().await;
        }
        if broken {
            return Err(C::gone());
        }
        Err(Error::config("more reads of a session at once than it was planned for")
            .hint("read no more splits at once than were planned, or raise `session_connections`"))
    }

    /// The first that becomes free and is not lost.
    async fn any(&self) -> Result<Lease<C>> {
        let waiting = self.connections.iter().map(|connection| Box::pin(Arc::clone(connection).lock_owned()));
        let mut waiting: Vec<_> = waiting.collect();
        while !waiting.is_empty() {
            let (lease, _, rest) = select_all(waiting).await;
            if !lease.is_lost() {
                return Ok(lease);
            }
            waiting = rest;
        }
        Err(C::gone())
    }

    /// Those that nobody reads over now, lost ones too.
    pub fn free(&self) -> impl Iterator<Item = Lease<C>> {
        self.connections.iter().filter_map(|connection| Arc::clone(connection).try_lock_owned().ok())
    }
}

/// Connections that are being freed, since nobody waits for what was asked over them: whoever needs one waits for them.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<AtomicUsize>);

impl Ending {
    /// Begins to free one. It is to be dropped after the connection is free.
    #[must_use]
    pub fn begin(&self) -> Freeing {
        self.0.fetch_add(1, Ordering::AcqRel);
        Freeing(self.clone())
    }

    /// Whether there are any.
    #[must_use]
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

/// See [`Ending::begin`].
#[derive(Debug)]
pub struct Freeing(Ending);

impl Drop for Freeing {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transload_core::ErrorKind;

    #[derive(Debug)]
    struct One {
        number: u8,
        lost: bool,
    }

    impl Connection for One {
        fn is_lost(&self) -> bool {
            self.lost
        }

        fn gone() -> Error {
            Error::new(ErrorKind::Unreachable, "gone")
        }
    }

    fn pool(count: u8) -> Pool<One> {
        Pool::new((0..count).map(|number| One { number, lost: false }).collect())
    }

    #[tokio::test]
    async fn each_is_leased_once() {
        let pool = pool(2);
        let (one, other) = (pool.lease().await.unwrap(), pool.lease().await.unwrap());
        assert_eq!((one.number, other.number), (0, 1));
        assert_eq!(pool.lease().await.unwrap_err().kind(), ErrorKind::Config);
        drop(other);
        assert_eq!(pool.lease().await.unwrap().number, 1);
        assert_eq!(pool.free().map(|lease| lease.number).collect::<Vec<_>>(), [1]);
    }

    #[tokio::test]
    async fn lost_ones_are_passed_over() {
        let pool = pool(2);
        pool.first().await.unwrap().lost = true;
        assert_eq!(pool.lease().await.unwrap().number, 1);
        pool.lease().await.unwrap().lost = true;
        assert_eq!(pool.lease().await.unwrap_err().kind(), ErrorKind::Unreachable);
        assert_eq!(Pool::<One>::new(Vec::new()).first().await.unwrap_err().kind(), ErrorKind::Unreachable);
    }

    #[tokio::test]
    async fn those_that_are_being_freed_are_waited_for() {
        let pool = pool(2);
        let (mut first, second) = (pool.lease().await.unwrap(), pool.lease().await.unwrap());
        let freeing = (pool.ending().begin(), pool.ending().begin());
        let waiting = pool.clone();
        let waiting = tokio::spawn(async move { waiting.lease().await.map(|lease| lease.number) });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        // The first that becomes free is lost.
        first.lost = true;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        assert_eq!(waiting.await.unwrap().unwrap(), 1);
        drop(freeing);
        assert!(!pool.ending().any());
    }
}
