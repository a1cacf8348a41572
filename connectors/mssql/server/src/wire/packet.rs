//! Messages, and the packets that they travel in [2.2.3.1].

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of a packet's header.
pub(crate) const HEADER: usize = 8;

/// The size of packets until a login agrees on another.
pub(crate) const FIRST_SIZE: usize = 4096;

/// The longest request that is read: SQL Server takes 65,536 packets.
const LONGEST: usize = 256 << 20;

/// What a message is; the first byte of its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Batch = 1,
    Rpc = 3,
    Answer = 4,
    Attention = 6,
    TransactionManager = 14,
    Login = 16,
    Prelogin = 18,
}

/// A request, put together from its packets.
#[derive(Debug)]
pub(crate) struct Message {
    /// The number of a [`Kind`], or one that the server does not know.
    pub(crate) kind: u8,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind == kind as u8
    }
}

/// The next message; `None` if the client closed the connection before one began.
pub(crate) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Message>> {
    let mut body = Vec::new();
    loop {
        let mut header = [0; HEADER];
        if let Err(error) = stream.read_exact(&mut header).await {
            let closed = error.kind() == io::ErrorKind::UnexpectedEof && body.is_empty();
            return if closed { Ok(None) } else { Err(error) };
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let begin = body.len();
        let end =
            begin + length.checked_sub(HEADER).ok_or_else(|| super::bytes::malformed("packet length"))?;
        if end > LONGEST {
            return Err(super::bytes::malformed("it is longer than a request may be"));
        }
        body.resize(end, 0);
        stream.read_exact(&mut body[begin..]).await?;
        if header[1] & 1 != 0 {
            // The client takes back what it sent before: "ignore this event".
            if header[1] & 2 != 0 {
                body.clear();
                continue;
            }
            return Ok(Some(Message { kind: header[0], body }));
        }
    }
}

/// Cuts one answer into packets of the agreed size.
#[derive(Debug)]
pub(crate) struct Answer {
    size: usize,
    session: u16,
    number: u8,
    waiting: Vec<u8>,
}

impl Answer {
    /// `size` is that of whole packets, with headers; `session` the number of the server's session.
    pub(crate) fn new(size: usize, session: u16) -> Self {
        Self { size, session, number: 0, waiting: Vec::new() }
    }

    /// Takes a part of the answer, and gives the packets that are full.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.waiting.extend_from_slice(bytes);
        let room = self.size - HEADER;
        let full = self.waiting.len().saturating_sub(1) / room * room;
        let mut packets = Vec::with_capacity(full + full / room * HEADER);
        let waiting = std::mem::take(&mut self.waiting);
        for body in waiting[..full].chunks(room) {
            self.packet(body, false, &mut packets);
        }
        self.waiting.extend_from_slice(&waiting[full..]);
        packets
    }

    /// What waits, as a packet though it is not full: for rows that come slowly.
    pub(crate) fn flush(&mut self) -> Vec<u8> {
        let mut packets = Vec::new();
        let body = std::mem::take(&mut self.waiting);
        if !body.is_empty() {
            self.packet(&body, false, &mut packets);
        }
        packets
    }

    /// The last packet.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        let mut packets = Vec::new();
        let body = std::mem::take(&mut self.waiting);
        self.packet(&body, true, &mut packets);
        packets
    }

    fn packet(&mut self, body: &[u8], last: bool, packets: &mut Vec<u8>) {
        self.number = self.number.wrapping_add(1);
        // No packet is longer than the size, which a login keeps below 32,768.
        let length = u16::try_from(body.len() + HEADER).unwrap_or(u16::MAX).to_be_bytes();
        let session = self.session.to_be_bytes();
        packets.extend_from_slice(&[Kind::Answer as u8, u8::from(last), length[0], length[1]]);
        packets.extend_from_slice(&[session[0], session[1], self.number, 0]);
        packets.extend_from_slice(body);
    }
}

/// Writes a whole answer.
pub(crate) async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    mut answer: Answer,
    body: &[u8],
) -> io::Result<()> {
    let mut packets = answer.add(body);
    packets.extend(answer.end());
    stream.write_all(&packets).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_of_every_length_come_out_as_they_went_in() {
        for length in [0, 1, 503, 504, 505, 1007, 1008, 1009, 5000] {
            let body: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let mut answer = Answer::new(512, 51);
            let mut packets = Vec::new();
            for piece in body.chunks(100) {
                packets.extend(answer.add(piece));
            }
            packets.extend(answer.end());
            let mut sizes = Vec::new();
            let mut at = 0;
            while at < packets.len() {
                let size = usize::from(u16::from_be_bytes([packets[at + 2], packets[at + 3]]));
                sizes.push(size);
                at += size;
            }
            assert!(sizes.iter().rev().skip(1).all(|&size| size == 512), "{length}: {sizes:?}");
            let message = read(&mut packets.as_slice()).await.unwrap().unwrap();
            assert!(message.is(Kind::Answer));
            assert_eq!(message.body, body);
        }
    }
}
