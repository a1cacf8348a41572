//! Ports of 127.0.0.1 that belong to a test.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port that the system gives nobody else while this lives. Nobody listens there but a server that is told to, which
/// may come and go; until it comes, and after it went, connections are refused.
///
/// On Linux, where a socket that is bound but does not listen stands in nobody's way who asks for its port by number
/// and, as every server does, with `SO_REUSEADDR`.
#[derive(Debug)]
pub struct KeptPort {
    _socket: TcpSocket,
    port: u16,
}

impl KeptPort {
    /// A free port.
    ///
    /// # Errors
    /// Those of the system, which may have none left.
    pub fn any() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let port = socket.local_addr()?.port();
        Ok(Self { _socket: socket, port })
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn a_server_may_come_and_go() {
        let port = KeptPort::any().unwrap();
        let place = (Ipv4Addr::LOCALHOST, port.number());
        for _ in 0..3 {
            assert_eq!(TcpStream::connect(place).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            let server = TcpListener::bind(place).await.unwrap();
            let (client, _) = (TcpStream::connect(place).await.unwrap(), server.accept().await.unwrap());
            drop((server, client));
        }
    }
}
