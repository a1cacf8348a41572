//! The byte stream of a connection: a socket, encrypted or not, and compressed or not.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use transload_sql::wire::{Pace, Window};

enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A socket that no poller knows; see [`Pace`].
    Quiet(std::net::TcpStream),
    /// Between two of the others, and for good if going from one to the other failed.
    Lost,
}

/// See the module.
pub(crate) struct Link {
    bytes: Bytes,
    zip: Option<Zip>,
}

/// What goes over the wire, compressed or not.
struct Bytes {
    stream: Stream,
    pace: Pace,
}

impl Link {
    pub(crate) fn tcp(stream: TcpStream) -> Self {
        Self::new(Stream::Tcp(stream))
    }

    #[cfg(unix)]
    pub(crate) fn unix(stream: UnixStream) -> Self {
        Self::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> Self {
        Self { bytes: Bytes { stream, pace: Pace::default() }, zip: None }
    }

    /// Encrypts what follows.
    pub(crate) async fn encrypt(&mut self, tls: &TlsConnector, name: ServerName<'static>) -> io::Result<()> {
        let Stream::Tcp(stream) = std::mem::replace(&mut self.bytes.stream, Stream::Lost) else {
            return Err(lost());
        };
        self.bytes.stream = Stream::Tls(Box::new(tls.connect(name, stream).await?));
        Ok(())
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.bytes.stream, Stream::Tls(_))
    }

    /// Whether nobody between can read it: encrypted, or a socket of this machine.
    pub(crate) fn is_private(&self) -> bool {
        #[cfg(unix)]
        if matches!(self.bytes.stream, Stream::Unix(_)) {
            return true;
        }
        self.is_tls()
    }

    /// From here on both sides speak the compressed protocol.
    pub(crate) fn compress(&mut self) {
        self.zip = Some(Zip::default());
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.zip.is_some()
    }

    /// Sends bytes; `first` says that they begin a conversation.
    pub(crate) async fn send(&mut self, bytes: &[u8], first: bool) -> io::Result<()> {
        let framed = self.zip.as_mut().map(|zip| zip.frame(bytes, first));
        self.bytes.send(framed.as_deref().unwrap_or(bytes)).await
    }

    /// Reads some bytes. None at all is an error: nobody expects the end here. It may be dropped midway.
    pub(crate) async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(zip) = &mut self.zip else { return self.bytes.read(into).await };
        loop {
            let read = zip.take(into)?;
            if read > 0 {
                return Ok(read);
            }
            let more = self.bytes.read(zip.input.room(0)).await?;
            zip.input.filled(more);
        }
    }
}

impl Bytes {
    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waken()?;
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            #[cfg(unix)]
            Stream::Unix(stream) => stream.write_all(bytes).await,
            Stream::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Stream::Quiet(_) | Stream::Lost => Err(lost()),
        }
    }

    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
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
                    #[cfg(unix)]
                    Stream::Unix(stream) => stream.read(into).await?,
                    Stream::Tls(stream) => stream.read(into).await?,
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

/// The compressed protocol: frames of a header (3 bytes of length, a number, 3 bytes of length before compression,
/// 0 for "as it is") and a zlib stream of their own.
#[derive(Default)]
struct Zip {
    number: u8,
    /// Compressed bytes.
    input: Window,
    /// What is left of the frame being read.
    plain: usize,
    zipped: Option<(Decompress, usize)>,
}

const HEADER: usize = 7;

impl Zip {
    /// Commands are short: they go as they are.
    fn frame(&mut self, bytes: &[u8], first: bool) -> Vec<u8> {
        if first {
            self.number = 0;
        }
        let mut framed = Vec::new();
        for piece in bytes.chunks(super::protocol::MOST) {
            let length = u32::try_from(piece.len()).unwrap_or(u32::MAX).to_le_bytes();
            framed.extend(length.iter().take(3));
            framed.extend([self.number, 0, 0, 0]);
            framed.extend_from_slice(piece);
            self.number = self.number.wrapping_add(1);
        }
        framed
    }

    /// Unpacks into a buffer; 0 if more must be read first.
    fn take(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let unread = self.input.unread();
            if self.plain > 0 {
                let count = self.plain.min(unread.len()).min(into.len());
                if let (Some(to), Some(from)) = (into.get_mut(..count), unread.get(..count)) {
                    to.copy_from_slice(from);
                }
                self.plain -= count;
                self.input.advance(count);
                return Ok(count);
            }
            let Some((inflate, left)) = &mut self.zipped else {
                if !self.header()? {
                    return Ok(0);
                }
                continue;
            };
            let given = unread.get(..unread.len().min(*left)).unwrap_or_default();
            let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(given, into, FlushDecompress::None).map_err(io::Error::other)?;
            let used = usize::try_from(inflate.total_in() - before_in).unwrap_or(usize::MAX);
            let made = usize::try_from(inflate.total_out() - before_out).unwrap_or(usize::MAX);
            self.input.advance(used);
            *left -= used;
            if status == Status::StreamEnd || (*left == 0 && made == 0) {
                if *left > 0 || status != Status::StreamEnd {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a compressed frame is broken"));
                }
                self.zipped = None;
            }
            if made > 0 {
                return Ok(made);
            }
            if self.zipped.is_some() && used == 0 {
                return Ok(0);
            }
        }
    }

    /// Begins the next frame if its header is there.
    fn header(&mut self) -> io::Result<bool> {
        let unread = self.input.unread();
        let Some([a, b, c, number, x, y, z]) = unread.first_chunk::<HEADER>() else { return Ok(false) };
        let size = |bytes| usize::try_from(u32::from_le_bytes(bytes)).map_err(io::Error::other);
        let (length, plain) = (size([*a, *b, *c, 0])?, size([*x, *y, *z, 0])?);
        if *number != self.number {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "compressed frames are out of order"));
        }
        self.number = number.wrapping_add(1);
        self.input.advance(HEADER);
        if plain == 0 {
            self.plain = length;
        } else {
            self.zipped = Some((Decompress::new(true), length));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// A frame as a server makes it.
    fn frame(number: usize, bytes: &[u8], zipped: bool) -> Vec<u8> {
        let mut body = bytes.to_vec();
        if zipped {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            body = encoder.finish().unwrap();
        }
        let size = |length: usize| u32::try_from(length).unwrap().to_le_bytes()[..3].to_vec();
        let plain = if zipped { bytes.len() } else { 0 };
        [size(body.len()), vec![u8::try_from(number % 256).unwrap()], size(plain), body].concat()
    }

    #[test]
    fn frames_may_arrive_in_any_pieces() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        let mut wire = Vec::new();
        for (i, piece) in text.chunks(30_000).enumerate() {
            wire.extend(frame(i, piece, i % 3 != 0));
        }
        for (arrive, want) in [(1, 7), (1000, 100_000), (100_000, 13), (usize::MAX, usize::MAX)] {
            let (mut zip, mut found) = (Zip::default(), Vec::new());
            let mut into = vec![0; want.min(1 << 20)];
            for piece in wire.chunks(arrive.min(wire.len())) {
                let mut piece = piece;
                while !piece.is_empty() {
                    let room = zip.input.room(0);
                    let count = room.len().min(piece.len());
                    room[..count].copy_from_slice(&piece[..count]);
                    zip.input.filled(count);
                    piece = &piece[count..];
                }
                loop {
                    let read = zip.take(&mut into).unwrap();
                    if read == 0 {
                        break;
                    }
                    found.extend_from_slice(&into[..read]);
                }
            }
            assert!(found == text, "pieces of {arrive} into {want}");
        }
    }

    #[test]
    fn broken_frames_are_errors() {
        let mut bad = frame(0, b"some text some text", true);
        let last = bad.len() - 1;
        bad[last] ^= 1;
        let mut zip = Zip::default();
        zip.input.room(0)[..bad.len()].copy_from_slice(&bad);
        zip.input.filled(bad.len());
        let mut into = [0; 100];
        let outcome = (0..3).try_for_each(|_| zip.take(&mut into).map(|_| ()));
        assert!(outcome.is_err());
    }
}
