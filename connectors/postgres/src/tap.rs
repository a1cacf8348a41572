//! The byte stream of a connection, which the driver shares with the reader of COPY data.
//!
//! The driver handles start-up, authentication and small queries. COPY data it would pass on row by row
//! through a channel, which costs more than decoding the rows. So a read takes the stream away from the idle
//! driver, talks to the server by itself, and gives the stream back (`docs/rfcs/0004-reading-copy.md`).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

/// An opened socket.
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A socket that no poller knows.
pub(crate) enum Quiet {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    pub(crate) fn into_quiet(self) -> io::Result<Quiet> {
        Ok(match self {
            Self::Tcp(stream) => Quiet::Tcp(stream.into_std()?),
            #[cfg(unix)]
            Self::Unix(stream) => Quiet::Unix(stream.into_std()?),
        })
    }
}

impl Quiet {
    pub(crate) fn into_socket(self) -> io::Result<Socket> {
        Ok(match self {
            Self::Tcp(stream) => Socket::Tcp(TcpStream::from_std(stream)?),
            #[cfg(unix)]
            Self::Unix(stream) => Socket::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl io::Read for Quiet {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            #[cfg(unix)]
            Self::Unix(stream) => stream.read(into),
        }
    }
}

type Handshake = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type Encrypted = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// A socket, encrypted or not.
pub(crate) enum Link {
    Plain(Socket),
    Tls(Box<Encrypted>),
}

/// Forwards reading and writing to whichever stream an enum holds.
macro_rules! forward {
    ($name:ty, $this:ident => $($variant:pat => $inner:ident),+) => {
        impl AsyncRead for $name {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant => Pin::new($inner).poll_read(cx, buf)),+ }
            }
        }
        impl AsyncWrite for $name {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                match self.get_mut() { $($variant => Pin::new($inner).poll_write(cx, buf)),+ }
            }
            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant => Pin::new($inner).poll_flush(cx)),+ }
            }
            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() { $($variant => Pin::new($inner).poll_shutdown(cx)),+ }
            }
        }
    };
}

#[cfg(unix)]
forward!(Socket, self => Self::Tcp(stream) => stream, Self::Unix(stream) => stream);
#[cfg(not(unix))]
forward!(Socket, self => Self::Tcp(stream) => stream);
forward!(Link, self => Self::Plain(stream) => stream, Self::Tls(stream) => stream);

/// What the driver holds in place of the stream. While the stream is away, the driver waits.
#[derive(Clone)]
pub(crate) struct Tap(Arc<Mutex<State>>);

struct State {
    place: Place,
    /// The driver's task, if it asked while the stream was away.
    waiting: Vec<Waker>,
    /// The driver's end of the conversation is not the end of the stream.
    open: bool,
}

enum Place {
    Here(Link),
    Away,
    /// It was away and did not come back.
    Lost,
}

/// The stream while it is away from the driver. Dropping it closes the connection.
pub(crate) struct Taken {
    tap: Tap,
    link: Option<Link>,
}

impl Tap {
    pub(crate) fn new(socket: Socket) -> Self {
        Self(Arc::new(Mutex::new(State {
            place: Place::Here(Link::Plain(socket)),
            waiting: Vec::new(),
            open: false,
        })))
    }

    /// Lets only dropping close the stream, not the driver: pgbouncer 1.18 dies of a client that asks to cancel and
    /// closes before it has an answer.
    pub(crate) fn stay_open(&self) {
        self.state().open = true;
    }

    /// Whether the stream is here and encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.state().place, Place::Here(Link::Tls(_)))
    }

    /// Takes the stream. The driver must be idle: no answer may be under way.
    pub(crate) fn take(&self) -> io::Result<Taken> {
        let mut state = self.state();
        match std::mem::replace(&mut state.place, Place::Away) {
            Place::Here(link) => Ok(Taken { tap: self.clone(), link: Some(link) }),
            place => {
                state.place = place;
                Err(lost())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, place: Place) {
        let mut state = self.state();
        state.place = place;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        then: impl FnOnce(Pin<&mut Link>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut state = self.state();
        match &mut state.place {
            Place::Here(link) => then(Pin::new(link), cx),
            Place::Lost => Poll::Ready(Err(lost())),
            Place::Away => {
                if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    state.waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection was closed")
}

impl Taken {
    /// The stream itself.
    pub(crate) fn link(&mut self) -> io::Result<&mut Link> {
        self.link.as_mut().ok_or_else(lost)
    }

    /// The socket, if it is not encrypted, to be [`put`](Self::put) back.
    pub(crate) fn take_plain(&mut self) -> Option<Socket> {
        match self.link.take() {
            Some(Link::Plain(socket)) => Some(socket),
            other => {
                self.link = other;
                None
            }
        }
    }

    pub(crate) fn put(&mut self, link: Link) {
        self.link = Some(link);
    }

    /// Lets the driver go on.
    pub(crate) fn give_back(mut self) {
        if let Some(link) = self.link.take() {
            self.tap.put(Place::Here(link));
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let away = matches!(self.tap.state().place, Place::Away);
        if away {
            self.tap.put(Place::Lost);
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |link, cx| link.poll_read(cx, buf))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(cx, |link, cx| link.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(cx, |link, cx| link.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let open = self.state().open;
        self.poll(cx, |link, cx| if open { link.poll_flush(cx) } else { link.poll_shutdown(cx) })
    }
}

impl TlsStream for Tap {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.state().place {
            Place::Here(Link::Tls(stream)) => stream.channel_binding(),
            _ => ChannelBinding::none(),
        }
    }
}

/// Encrypts the stream inside a tap, so that what is taken from the tap is above the encryption.
pub(crate) struct TapTls(Handshake);

impl TapTls {
    /// For a server of this name.
    pub(crate) fn new(mut tls: MakeRustlsConnect, host: &str) -> Self {
        let Ok(handshake) = MakeTlsConnect::<Socket>::make_tls_connect(&mut tls, host);
        Self(handshake)
    }
}

impl TlsConnect<Tap> for TapTls {
    type Stream = Tap;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Tap>>;

    fn connect(self, tap: Tap) -> Self::Future {
        Box::pin(async move {
            let mut taken = tap.take()?;
            let Some(Link::Plain(socket)) = taken.link.take() else { return Err(lost()) };
            let encrypted = self.0.connect(socket).await?;
            taken.put(Link::Tls(Box::new(encrypted)));
            taken.give_back();
            Ok(tap)
        })
    }
}
