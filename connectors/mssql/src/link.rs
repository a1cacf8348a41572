//! The byte stream of a connection: a socket, encrypted or not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use transload_sql::wire::Pace;

use crate::protocol::{HEADER, kind, packet, packets};

enum Stream {
    Tcp(TcpStream),
    /// TLS whose handshake is wrapped in packets.
    Tls(Box<TlsStream<Wrapped>>),
    /// TLS from the first byte.
    Strict(Box<TlsStream<TcpStream>>),
    /// A socket that no poller knows; see [`Pace`].
    Quiet(std::net::TcpStream),
    /// Between two of the others, and for good if going from one to the other failed.
    Lost,
}

/// See the module.
pub(crate) struct Link {
    stream: Stream,
    pace: Pace,
}

impl Link {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        Self { stream: Stream::Tcp(stream), pace: Pace::default() }
    }

    /// Encrypts what follows; the handshake goes in packets, as TDS 7 wants it.
    pub(crate) async fn encrypt(&mut self, tls: &TlsConnector, name: ServerName<'static>) -> io::Result<()> {
        let mut encrypted = tls.connect(name, Wrapped::new(self.take_tcp()?)).await?;
        encrypted.get_mut().0.end_handshake();
        self.stream = Stream::Tls(Box::new(encrypted));
        Ok(())
    }

    /// Encrypts what follows, with nothing ahead.
    pub(crate) async fn encrypt_first(
        &mut self,
        tls: &TlsConnector,
        name: ServerName<'static>,
    ) -> io::Result<()> {
        let stream = self.take_tcp()?;
        self.stream = Stream::Strict(Box::new(tls.connect(name, stream).await?));
        Ok(())
    }

    /// What follows is in clear again: only the login was to be hidden.
    pub(crate) fn decrypt(&mut self) {
        self.stream = match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::Tls(stream) => Stream::Tcp(stream.into_inner().0.stream),
            other => other,
        };
    }

    fn take_tcp(&mut self) -> io::Result<TcpStream> {
        match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::Tcp(stream) => Ok(stream),
            _ => Err(lost()),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_) | Stream::Strict(_))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waken()?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Stream::Strict(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Stream::Quiet(_) | Stream::Lost => Err(lost()),
        }
    }

    /// Reads some bytes. None at all is an error: nobody expects the end here.
    pub(crate) async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut looked = None;
        if let Stream::Quiet(socket) = &mut self.stream {
            looked = self.pace.look(socket, into).await?;
            if looked.is_none() {
                self.waken()?;
            }
        }
        let read = match looked {
            Some(read) => read,
            None => {
                let read = match &mut self.stream {
                    Stream::Tcp(stream) => stream.read(into).await?,
                    Stream::Tls(stream) => stream.read(into).await?,
                    Stream::Strict(stream) => stream.read(into).await?,
                    Stream::Quiet(_) | Stream::Lost => return Err(lost()),
                };
                if self.pace.has_read(read) {
                    self.quieten()?;
                }
                read
            }
        };
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    }

    fn quieten(&mut self) -> io::Result<()> {
        self.stream = match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::Tcp(stream) => {
                self.pace.begin();
                Stream::Quiet(stream.into_std()?)
            }
            // The others hold too little of what comes in a millisecond.
            other => other,
        };
        Ok(())
    }

    fn waken(&mut self) -> io::Result<()> {
        self.stream = match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::Quiet(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            other => other,
        };
        Ok(())
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection was closed")
}

/// A socket over which a TLS handshake goes in packets, and what follows as it is.
struct Wrapped {
    stream: TcpStream,
    wrapping: bool,
    /// What is to be sent: records of the handshake, and then the packet that holds them.
    records: Vec<u8>,
    outgoing: Vec<u8>,
    header: Vec<u8>,
    /// Bytes left of the packet being read.
    left: usize,
}

/// Bytes of a packet of the handshake: what every server takes before a size is agreed on.
const HANDSHAKE_PACKET: usize = 4096;

impl Wrapped {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            wrapping: true,
            records: Vec::new(),
            outgoing: Vec::new(),
            header: Vec::new(),
            left: 0,
        }
    }

    /// The handshake is over.
    fn end_handshake(&mut self) {
        self.wrapping = false;
    }

    /// Sends what was put into packets.
    fn send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() && !self.records.is_empty() {
            self.outgoing = packets(kind::PRELOGIN, &self.records, HANDSHAKE_PACKET);
            self.records.clear();
        }
        while !self.outgoing.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.outgoing))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads the header of the next packet.
    fn next_packet(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.left == 0 {
            let mut room = [0; HEADER];
            let missing = HEADER.saturating_sub(self.header.len());
            let mut buffer = ReadBuf::new(room.get_mut(..missing).unwrap_or_default());
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.header.extend_from_slice(buffer.filled());
            if let Some(header) = self.header.first_chunk() {
                let Some((length, _)) = packet(*header) else {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "no packet")));
                };
                self.left = length - HEADER;
                self.header.clear();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wrapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.wrapping {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        // What was written and not flushed is what the other side waits for.
        ready!(self.send(context))?;
        ready!(self.next_packet(context))?;
        let most = self.left.min(into.remaining());
        let mut limited = into.take(most);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut limited))?;
        let read = limited.filled().len();
        // `limited` wrote into the same memory: its bytes are initialised.
        let filled = limited.filled().to_vec();
        into.put_slice(&filled);
        self.left -= read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.wrapping {
            return Pin::new(&mut self.stream).poll_write(context, bytes);
        }
        self.records.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
