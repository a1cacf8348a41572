//! Reading from a connection in large pieces.

use std::io::{self, Read as _};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::tap::{Link, Quiet, Taken};

/// A reader that gets less than this at once is faster than the server.
const SMALL: usize = 64 * 1024;

/// Bytes after which it is worth to wait for larger pieces; small results are read without delay.
const WARM: usize = 1024 * 1024;

/// How long to let bytes come together.
const PAUSE: Duration = Duration::from_millis(1);

/// Reads from a connection that was taken from the driver.
///
/// A server sends 8 KiB at once. Whoever waits for the next piece is woken for each of them, which costs more
/// than reading and decoding it. So when the server is the slower one, the socket is taken from the runtime's
/// poller and looked at once a millisecond, until it has nothing for that long.
pub(crate) struct Reader {
    taken: Taken,
    /// The socket while no poller knows it. Then `taken` is empty.
    quiet: Option<Quiet>,
    /// Whether to pause before the next look.
    pause: bool,
    total: usize,
}

impl Reader {
    pub(crate) fn new(taken: Taken) -> Self {
        Self { taken, quiet: None, pause: false, total: 0 }
    }

    pub(crate) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let link = self.taken.link()?;
        link.write_all(message).await?;
        link.flush().await
    }

    /// Reads some bytes. None at all is an error: nobody expects the end here.
    pub(crate) async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = match self.read_quietly(into).await? {
            Some(read) => read,
            None => {
                let read = self.taken.link()?.read(into).await?;
                self.total += read;
                if self.total > WARM && read < SMALL {
                    self.quieten()?;
                }
                read
            }
        };
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    }

    /// `None` if the socket is with the poller, be it that nothing came for the length of a pause.
    async fn read_quietly(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        while let Some(socket) = &mut self.quiet {
            let paused = std::mem::take(&mut self.pause);
            if paused {
                tokio::time::sleep(PAUSE).await;
            }
            match socket.read(into) {
                Ok(read) => {
                    self.pause = read < SMALL;
                    return Ok(Some(read));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && paused => self.waken()?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.pause = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn quieten(&mut self) -> io::Result<()> {
        if let Some(socket) = self.taken.take_plain() {
            self.quiet = Some(socket.into_quiet()?);
            self.pause = true;
        }
        Ok(())
    }

    fn waken(&mut self) -> io::Result<()> {
        if let Some(socket) = self.quiet.take() {
            self.taken.put(Link::Plain(socket.into_socket()?));
        }
        Ok(())
    }

    /// Lets the driver go on.
    pub(crate) fn give_back(mut self) -> io::Result<()> {
        self.waken()?;
        self.taken.give_back();
        Ok(())
    }
}
