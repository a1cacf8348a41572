//! When to look at a socket.

use std::io;
use std::time::Duration;

/// A reader that gets less than this at once is faster than the server.
const SMALL: usize = 64 * 1024;

/// Bytes after which it is worth to wait for larger pieces; small results are read without delay.
const WARM: usize = 1024 * 1024;

/// How long to let bytes come together.
const PAUSE: Duration = Duration::from_millis(1);

/// When a reader looks at its socket.
///
/// Servers send 8 or 16 KiB at once. Whoever waits for the next piece is woken for each of them, which costs more than
/// reading and decoding it. So when the server is the slower one, the socket is taken from the runtime's poller and
/// looked at once a millisecond, until it has nothing for that long.
#[derive(Debug, Default)]
pub struct Pace {
    /// Whether to pause before the next look.
    pause: bool,
    total: usize,
}

impl Pace {
    /// Takes note of what was read from a socket that the poller watches. Whether to take it from the poller.
    #[must_use]
    pub fn has_read(&mut self, bytes: usize) -> bool {
        self.total = self.total.saturating_add(bytes);
        self.total > WARM && bytes < SMALL
    }

    /// The socket was taken from the poller.
    pub fn begin(&mut self) {
        self.pause = true;
    }

    /// Looks at a non-blocking socket that no poller knows. `None` if nothing came for the length of a pause: then it
    /// belongs to the poller again. 0 is the end of the stream.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn look(&mut self, socket: &mut impl io::Read, into: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let paused = std::mem::take(&mut self.pause);
            if paused {
                tokio::time::sleep(PAUSE).await;
            }
            match socket.read(into) {
                Ok(read) => {
                    self.pause = read < SMALL;
                    return Ok(Some(read));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && paused => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.pause = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
