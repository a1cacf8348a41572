//! TLS: whose handshake travels inside prelogin packets (TDS 7.x), or that comes before anything else (TDS 8).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::packet::{FIRST_SIZE, HEADER, Kind};

/// The application protocol that TDS 8 names in its handshake.
const ALPN: &[u8] = b"tds/8.0";

/// The server's certificate, and the authority that signed it.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The authority's certificate as PEM: what a client is given to trust.
    pub(crate) authority: String,
    within: Arc<ServerConfig>,
    strict: Arc<ServerConfig>,
}

impl Certificates {
    /// New ones, for these host names and addresses.
    pub(crate) fn make(hosts: &[String]) -> io::Result<Self> {
        let failed = |error: rcgen::Error| io::Error::other(format!("cannot make certificates: {error}"));
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "TDS test authority");
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(failed)?).map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = CertificateParams::new(hosts.to_vec())
            .and_then(|params| params.signed_by(&key, &authority))
            .map_err(failed)?;
        let config = |versions: &[_]| {
            let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(versions)
                .and_then(|builder| {
                    builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key)
                })
                .map_err(io::Error::other)
        };
        // TLS 1.3 sends tickets after its handshake, when packets are no longer wrapped: TDS 7 has TLS 1.2 at most.
        let within = config(&[&TLS12])?;
        let mut strict = config(&[&TLS12, &TLS13])?;
        strict.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { authority: authority.pem(), within: Arc::new(within), strict: Arc::new(strict) })
    }

    /// The handshake of TDS 7.x, in prelogin packets.
    pub(crate) async fn within(&self, stream: TcpStream) -> io::Result<TlsStream<Wrapped>> {
        let mut tls = TlsAcceptor::from(self.within.clone()).accept(Wrapped::new(stream)).await?;
        tokio::io::AsyncWriteExt::flush(&mut tls).await?;
        tls.get_mut().0.wraps = false;
        Ok(tls)
    }

    /// The handshake of TDS 8, before everything else.
    pub(crate) async fn strict(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let tls = TlsAcceptor::from(self.strict.clone()).accept(stream).await?;
        if tls.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(io::Error::other("the client did not name tds/8.0 in its handshake"));
        }
        Ok(tls)
    }
}

/// A connection that wraps what it carries in prelogin packets while the handshake lasts.
#[derive(Debug)]
pub(crate) struct Wrapped {
    stream: TcpStream,
    wraps: bool,
    /// What came of the header of the packet being read.
    header: Vec<u8>,
    /// Bytes left of the packet being read.
    left: usize,
    /// Written and not wrapped yet.
    out: Vec<u8>,
    /// Wrapped and not sent yet.
    packets: Vec<u8>,
}

impl Wrapped {
    fn new(stream: TcpStream) -> Self {
        Self { stream, wraps: true, header: Vec::new(), left: 0, out: Vec::new(), packets: Vec::new() }
    }

    /// The connection without TLS, when that covers the login alone.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.packets.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.packets))?;
            self.packets.drain(..sent);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads headers until a packet has bytes, or the connection ends.
    fn poll_header(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.left == 0 {
            let mut room = [0; HEADER];
            let mut buffer = ReadBuf::new(&mut room[self.header.len()..]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.header.extend_from_slice(buffer.filled());
            if let Ok([kind, _, high, low, ..]) = <[u8; HEADER]>::try_from(self.header.as_slice()) {
                if kind != Kind::Prelogin as u8 {
                    return Poll::Ready(Err(super::bytes::malformed(
                        "a handshake outside of prelogin packets",
                    )));
                }
                self.left = usize::from(u16::from_be_bytes([high, low])).saturating_sub(HEADER);
                self.header.clear();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wrapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.wraps {
            return Pin::new(&mut self.stream).poll_read(cx, to);
        }
        ready!(self.poll_header(cx))?;
        let mut room = vec![0; self.left.min(to.remaining())];
        let mut buffer = ReadBuf::new(&mut room);
        if self.left > 0 {
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        }
        self.left -= buffer.filled().len();
        to.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wrapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.wraps {
            self.out.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let out = std::mem::take(&mut self.out);
        let room = FIRST_SIZE - HEADER;
        for (at, body) in out.chunks(room).enumerate() {
            let last = u8::from((at + 1) * room >= out.len());
            let length = u16::try_from(body.len() + HEADER).unwrap_or(u16::MAX).to_be_bytes();
            self.packets.extend([Kind::Prelogin as u8, last, length[0], length[1], 0, 0, 0, 0]);
            self.packets.extend_from_slice(body);
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
