//! What tiberius has no words for: attentions, the sizes of packets, TDS 8. The bytes here are written by hand, after
//! [MS-TDS].

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use transload_tds_server::{Encryption, Server, Settings};

use super::support::{runs, start};

const DONE_ATTENTION: [u8; 13] = [0xFD, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, kind: u8, body: &[u8]) {
    let length = u16::try_from(body.len() + 8).unwrap().to_be_bytes();
    let mut packet = vec![kind, 1, length[0], length[1], 0, 0, 1, 0];
    packet.extend_from_slice(body);
    stream.write_all(&packet).await.unwrap();
    stream.flush().await.unwrap();
}

/// One message: its bytes, and the sizes of its packets.
async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> (Vec<u8>, Vec<usize>) {
    let (mut body, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await.unwrap();
        let size = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let begin = body.len();
        body.resize(begin + size - 8, 0);
        stream.read_exact(&mut body[begin..]).await.unwrap();
        sizes.push(size);
        if header[1] & 1 != 0 {
            return (body, sizes);
        }
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn prelogin() -> Vec<u8> {
    // VERSION and ENCRYPTION (not supported), which stand behind 11 bytes of places.
    [&[0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF][..], &[0; 6], &[2]].concat()
}

fn login(version: u32, packet_size: u32) -> Vec<u8> {
    let mut fixed = vec![0; 94];
    let mut texts = Vec::new();
    fixed[4..8].copy_from_slice(&version.to_le_bytes());
    fixed[8..12].copy_from_slice(&packet_size.to_le_bytes());
    let password: Vec<u8> = utf16("Secret1!").iter().map(|byte| byte.rotate_left(4) ^ 0xA5).collect();
    for (at, value) in [(40, utf16("sa")), (44, password), (68, utf16("shop"))] {
        let place = u16::try_from(94 + texts.len()).unwrap().to_le_bytes();
        fixed[at..at + 2].copy_from_slice(&place);
        fixed[at + 2..at + 4].copy_from_slice(&u16::try_from(value.len() / 2).unwrap().to_le_bytes());
        texts.extend(value);
    }
    let mut body = [fixed, texts].concat();
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    body[..4].copy_from_slice(&length);
    body
}

async fn batch<S: AsyncWrite + Unpin>(stream: &mut S, sql: &str) {
    // ALL_HEADERS with the transaction's descriptor, 0 for none.
    let mut body = vec![22, 0, 0, 0, 18, 0, 0, 0, 2, 0];
    body.extend([0; 8]);
    body.extend(1_u32.to_le_bytes());
    body.extend(utf16(sql));
    send(stream, 1, &body).await;
}

/// Logs in; the answer to it.
async fn open<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, version: u32, packet_size: u32) -> Vec<u8> {
    send(stream, 18, &prelogin()).await;
    receive(stream).await;
    send(stream, 16, &login(version, packet_size)).await;
    receive(stream).await.0
}

async fn connected(server: &Server, packet_size: u32) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let answer = open(&mut stream, 0x7400_0004, packet_size).await;
    assert!(answer.windows(5).any(|bytes| bytes == [1, 0x74, 0, 0, 4]), "the login was refused: {answer:?}");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attention_ends_an_answer_and_is_acknowledged_behind_it() {
    let server = start().await;
    let mut stream = connected(&server, 4096).await;
    for sql in ["WAITFOR DELAY '00:01:00'", "EXEC tds_test 'mixed 100000000'"] {
        batch(&mut stream, sql).await;
        runs(&server, sql).await;
        if sql.starts_with("EXEC") {
            // In the middle of its rows.
            assert!(stream.peek(&mut [0]).await.unwrap() > 0);
        }
        let begin = Instant::now();
        send(&mut stream, 6, &[]).await;
        let (ended, _) = receive(&mut stream).await;
        assert_eq!(ended[ended.len() - 13..][..3], [0xFD, 2, 0], "{sql}");
        assert_eq!(receive(&mut stream).await.0, DONE_ATTENTION, "{sql}");
        assert!(begin.elapsed() < Duration::from_secs(20), "{sql}: {:?}", begin.elapsed());
    }
    // The session goes on; an attention when nothing runs is acknowledged as well.
    send(&mut stream, 6, &[]).await;
    assert_eq!(receive(&mut stream).await.0, DONE_ATTENTION);
    batch(&mut stream, "SELECT 1").await;
    assert_eq!(receive(&mut stream).await.0[0], 0x81);
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_have_the_size_that_was_agreed_on() {
    let server = start().await;
    for (asked, agreed) in [(512, 512), (0, 4096), (8000, 8000), (60_000, 32_767), (1, 512)] {
        let mut stream = connected(&server, asked).await;
        batch(&mut stream, "EXEC tds_test 'lineitem 2000'").await;
        let (_, sizes) = receive(&mut stream).await;
        let full = &sizes[..sizes.len() - 1];
        assert!(full.iter().all(|&size| size == agreed), "{asked}: {full:?}");
    }
    assert_eq!(server.logins()[3].packet_size, 32_767);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_tds_8_begins_with_tls_and_names_it() {
    let mut settings = Settings::default();
    settings.encryption = Encryption::Strict;
    let server = Server::start(settings).await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.ca_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let nameless = TcpStream::connect(server.address()).await.unwrap();
    let mut nameless =
        TlsConnector::from(Arc::new(config.clone())).connect(name.clone(), nameless).await.unwrap();
    assert!(nameless.read_u8().await.is_err(), "a client that names no protocol is served");
    config.alpn_protocols = vec![b"tds/8.0".to_vec()];
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let answer = open(&mut stream, 0x0800_0000, 4096).await;
    assert!(answer.windows(5).any(|bytes| bytes == [1, 8, 0, 0, 0]), "{answer:?}");
    batch(&mut stream, "SELECT 1").await;
    assert_eq!(receive(&mut stream).await.0[0], 0x81);
    assert_eq!(server.logins()[0].encryption, "strict");
    // A client of TDS 7 is not served.
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    send(&mut stream, 18, &prelogin()).await;
    receive(&mut stream).await;
    assert!(stream.read_u8().await.is_err());
}
