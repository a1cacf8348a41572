//! The SQL Server Browser, which tells the ports of named instances (MS-SQLR).

use std::net::SocketAddr;

use tokio::net::{UdpSocket, lookup_host};
use transload_core::{Error, ErrorKind, Result};

use crate::error::socket_error;

const PORT: u16 = 1434;
const ASK_INSTANCE: u8 = 4;
const ANSWER: u8 = 5;

/// The TCP port of an instance.
pub(crate) async fn port_of(host: &str, instance: &str) -> Result<u16> {
    ask(host, PORT, instance).await.map_err(|error| {
        error
            .with("instance", instance)
            .hint("check `instance`, and that the SQL Server Browser runs, or give `port`")
    })
}

async fn ask(host: &str, port: u16, instance: &str) -> Result<u16> {
    let failed = |error| socket_error(&format!("{host}\\{instance}"), error);
    let found: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(failed)?.collect();
    let address = found.first().ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(address).await.map_err(failed)?;
    let question = [&[ASK_INSTANCE], instance.as_bytes(), &[0]].concat();
    socket.send(&question).await.map_err(failed)?;
    // Whoever waits has a limit of his own.
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).await.map_err(failed)?;
    parse(answer.get(..length).unwrap_or_default())
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("instance {instance} has no TCP port")))
}

/// `ServerName;A;InstanceName;B;IsClustered;No;Version;15.0;tcp;50321;;` behind three bytes.
fn parse(answer: &[u8]) -> Option<u16> {
    let [ANSWER, _, _, text @ ..] = answer else { return None };
    let text = String::from_utf8_lossy(text);
    let mut parts = text.split(';');
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        if name.eq_ignore_ascii_case("tcp") {
            return value.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_browser_is_asked_for_a_port() {
        let browser = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = browser.local_addr().unwrap().port();
        let answering = async {
            let mut question = [0; 100];
            let (length, from) = browser.recv_from(&mut question).await.unwrap();
            assert_eq!(&question[..length], b"\x04WARE\x00");
            let text =
                "ServerName;DB;InstanceName;WARE;IsClustered;No;Version;15.0.2000.5;tcp;50321;np;\\\\x;;";
            let length = u16::try_from(text.len()).unwrap().to_le_bytes();
            browser.send_to(&[&[5], length.as_slice(), text.as_bytes()].concat(), from).await.unwrap();
        };
        let (found, ()) = tokio::join!(ask("127.0.0.1", port, "WARE"), answering);
        assert_eq!(found.unwrap(), 50321);
    }

    #[test]
    fn answers_without_a_port_are_none() {
        assert_eq!(parse(b"\x05\x04\x00a;b;np;x;;"), None);
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"\x05\x04\x00tcp;no;;"), None);
    }
}
