//! A TCP proxy in front of a real server that cuts, resets or stalls connections where a script says.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Break {
    /// It is closed in both directions, as a process that ends does it.
    Close,
    /// It is reset.
    Reset,
    /// It stays open and nothing comes any more, until the proxy is dropped or [`Proxy::pass`] is called.
    Stall,
}

/// Looks at what a server sends on one connection, piece by piece: after how many bytes of this piece the
/// connection breaks, and how. `None` lets the piece pass.
pub type Watch = Box<dyn FnMut(&[u8]) -> Option<(usize, Break)> + Send>;

type MakeWatch = Arc<dyn Fn() -> Watch + Send + Sync>;

/// Breaks a connection after this many bytes from the server.
#[must_use]
pub fn after_bytes(bytes: usize, how: Break) -> Watch {
    let mut left = bytes;
    Box::new(move |piece| match left.checked_sub(piece.len()) {
        Some(rest) if rest > 0 => {
            left = rest;
            None
        }
        _ => Some((std::mem::take(&mut left), how)),
    })
}

/// The proxy. Dropping it closes every connection through it.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    server: SocketAddr,
    make: Mutex<Option<MakeWatch>>,
    broken: AtomicU64,
    /// Counts calls of [`Proxy::pass`]: stalled connections end when it moves.
    passed: watch::Sender<u64>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.passed.send_modify(|passed| *passed += 1);
    }
}

impl Proxy {
    /// Listens on a free port and leads to `server`. Everything passes until [`Self::script`] is called.
    ///
    /// # Errors
    /// Those of listening.
    pub async fn new(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            make: Mutex::new(None),
            broken: AtomicU64::new(0),
            passed: watch::Sender::new(0),
        });
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(lead(client, Arc::clone(&shared)));
                }
            }
        });
        Ok(Self { address, shared, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Watches connections that are opened from now on; each gets a watch of its own.
    pub fn script(&self, make: impl Fn() -> Watch + Send + Sync + 'static) {
        *self.shared.make.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(make));
    }

    /// Lets everything pass again that is opened from now on, and closes what stalls.
    pub fn pass(&self) {
        *self.shared.make.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.passed.send_modify(|passed| *passed += 1);
    }

    /// How many connections were broken.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.shared.broken.load(Ordering::Acquire)
    }
}

/// One connection, to its end.
async fn lead(client: TcpStream, shared: Arc<Shared>) {
    let mut passed = shared.passed.subscribe();
    passed.mark_unchanged();
    let make = shared.make.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Ok(server) = TcpStream::connect(shared.server).await else { return };
    let mut watch = make.map(|make| make());
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = async {
        let mut piece = vec![0; 64 * 1024];
        loop {
            let read = from_server.read(&mut piece).await.ok().filter(|read| *read > 0)?;
            let bytes = piece.get(..read).unwrap_or_default();
            let broken = watch.as_mut().and_then(|watch| watch(bytes));
            let let_through = broken.map_or(read, |(after, _)| after.min(read));
            to_client.write_all(bytes.get(..let_through).unwrap_or_default()).await.ok()?;
            if let Some((_, how)) = broken {
                return Some(how);
            }
        }
    };
    let how = tokio::select! {
        how = back => how,
        _ = tokio::io::copy(&mut from_client, &mut to_server) => None,
    };
    let Some(how) = how else { return };
    shared.broken.fetch_add(1, Ordering::AcqRel);
    match how {
        Break::Close => {}
        Break::Reset => {
            if let Ok(client) = from_client.reunite(to_client) {
                // Closing with a linger of zero sends a reset.
                let _ = client.set_zero_linger();
            }
        }
        Break::Stall => {
            // An hour is for ever for a test, and yet an end.
            let _ = tokio::time::timeout(Duration::from_secs(3600), passed.changed()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends 1000 bytes to everybody, and a proxy before it.
    async fn proxy() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(&[7; 1000]).await.unwrap();
            }
        });
        Proxy::new(address).await.unwrap()
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap()
    }

    async fn read(proxy: &Proxy) -> (usize, io::Result<usize>) {
        let (mut stream, mut bytes) = (connect(proxy).await, Vec::new());
        let outcome = tokio::time::timeout(crate::wait::PATIENCE, stream.read_to_end(&mut bytes)).await;
        (bytes.len(), outcome.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())))
    }

    #[tokio::test]
    async fn breaks_where_it_should() {
        let proxy = proxy().await;
        assert_eq!(read(&proxy).await.0, 1000);
        proxy.script(|| after_bytes(10, Break::Close));
        assert_eq!(read(&proxy).await.1.unwrap(), 10);
        proxy.script(|| after_bytes(1000, Break::Close));
        assert_eq!(read(&proxy).await.1.unwrap(), 1000);
        proxy.script(|| after_bytes(10, Break::Stall));
        let (mut stalled, mut bytes) = (connect(&proxy).await, Vec::new());
        crate::wait::eventually("it stalls", || async { proxy.broken() == 3 }).await;
        let reading = tokio::time::timeout(Duration::from_millis(500), stalled.read_to_end(&mut bytes));
        assert!(reading.await.is_err(), "nothing ends");
        assert_eq!(bytes.len(), 10);
        proxy.script(|| after_bytes(10, Break::Reset));
        assert_eq!(read(&proxy).await.1.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(proxy.broken(), 4);
        proxy.pass();
        assert_eq!(read(&proxy).await.1.unwrap(), 1000);
    }
}
