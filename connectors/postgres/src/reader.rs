//! Reading from a connection in large pieces.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use transload_sql::wire::Pace;

use crate::tap::{Link, Quiet, Taken};

/// Reads from a connection that was taken from the driver.
pub(crate) struct Reader {
    taken: Taken,
    /// The socket while no poller knows it. Then `taken` is empty.
    quiet: Option<Quiet>,
    pace: Pace,
}

impl Reader {
    pub(crate) fn new(taken: Taken) -> Self {
        Self { taken, quiet: None, pace: Pace::default() }
    }

    pub(crate) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let link = self.taken.link()?;
        link.write_all(message).await?;
        link.flush().await
    }

    /// Reads some bytes. None at all is an error: nobody expects the end here.
    pub(crate) async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut looked = None;
        if let Some(socket) = &mut self.quiet {
            looked = self.pace.look(socket, into).await?;
            if looked.is_none() {
                self.waken()?;
            }
        }
        let read = match looked {
            Some(read) => read,
            None => {
                let read = self.taken.link()?.read(into).await?;
                if self.pace.has_read(read) {
                    self.quieten()?;
                }
                read
            }
        };
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
    }

    fn quieten(&mut self) -> io::Result<()> {
        if let Some(socket) = self.taken.take_plain() {
            self.quiet = Some(socket.into_quiet()?);
            self.pace.begin();
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
