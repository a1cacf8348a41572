//! `caching_sha2_password` and `sha256_password`, which MariaDB does not have: a server of our own asks for the password in these ways, then
//! logs in to MariaDB by itself and passes everything on. It proves what is sent, as the manual of MySQL describes it and
//! OpenSSL decrypts it; not that a MySQL server takes it.

use std::process::{Command, Stdio};
use std::sync::Arc;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use transload_core::{Connection, ErrorKind, Secret};

use super::support::{connection, open};

const NONCE: &[u8; 20] = b"abcdefgh0123456789AB";
const SSL: u32 = 1 << 11;

/// How the stand-in asks.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// It knows the hash already.
    Fast,
    /// It wants the password itself.
    Full,
    /// The older plugin, after another one was proposed.
    Sha256,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn packet(stream: &mut dyn Stream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let mut payload = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16];
    stream.read_exact(&mut payload).await?;
    Ok((head[3], payload))
}

async fn send(stream: &mut dyn Stream, number: u8, payload: &[u8]) -> std::io::Result<()> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_le_bytes()[..3].to_vec();
    bytes.push(number);
    bytes.extend_from_slice(payload);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

fn greeting(plugin: &str, tls: bool) -> Vec<u8> {
    let capabilities: u32 = if tls { 0x81bf_ffdf } else { 0x81bf_f7df };
    let capabilities = capabilities.to_le_bytes();
    let mut bytes = b"\x0a8.0.36\0\x07\0\0\0".to_vec();
    bytes.extend(&NONCE[..8]);
    bytes.extend([0, capabilities[0], capabilities[1], 45, 2, 0, capabilities[2], capabilities[3], 21]);
    bytes.extend([0; 10]);
    bytes.extend(&NONCE[8..]);
    bytes.push(0);
    bytes.extend(plugin.as_bytes());
    bytes.push(0);
    bytes
}

/// Capabilities, and the proof of the password, of a client's login.
fn login_of(payload: &[u8]) -> (u32, Vec<u8>) {
    let capabilities = u32::from_le_bytes(payload[..4].try_into().unwrap());
    let user_end = 32 + payload[32..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let length = usize::from(payload[user_end]);
    (capabilities, payload[user_end + 1..user_end + 1 + length].to_vec())
}

fn scrambled(password: &str) -> Vec<u8> {
    let sha = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
    let first = sha(password.as_bytes());
    let second = sha(&[sha(&first), NONCE.to_vec()].concat());
    first.iter().zip(second).map(|(a, b)| a ^ b).collect()
}

struct StandIn {
    folder: TempDir,
    way: Way,
    tls: Option<TlsAcceptor>,
    password: String,
}

impl StandIn {
    fn openssl(&self, arguments: &str, input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
        child.wait_with_output().unwrap().stdout
    }

    fn new(way: Way, tls: bool, password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut this = Self { folder, way, tls: None, password: password.to_owned() };
        this.openssl("genrsa -out rsa.key 2048", b"");
        this.openssl("rsa -in rsa.key -pubout -out rsa.pub", b"");
        if tls {
            this.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout tls.key -out tls.crt", b"");
            let file = |name: &str| std::fs::read(this.folder.path().join(name)).unwrap();
            let certificate = CertificateDer::from_pem_slice(&file("tls.crt")).unwrap();
            let key = PrivateKeyDer::from_pem_slice(&file("tls.key")).unwrap();
            let config = rustls::ServerConfig::builder_with_provider(Arc::new(
                rustls::crypto::ring::default_provider(),
            ))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
            this.tls = Some(TlsAcceptor::from(Arc::new(config)));
        }
        this
    }

    fn key_path(&self) -> String {
        self.folder.path().join("rsa.pub").display().to_string()
    }

    /// What OpenSSL makes of the encrypted password.
    fn decrypted(&self, sealed: &[u8]) -> String {
        let opened = self.openssl("pkeyutl -decrypt -inkey rsa.key -pkeyopt rsa_padding_mode:oaep", sealed);
        let plain: Vec<u8> = opened.iter().zip(NONCE.iter().cycle()).map(|(a, b)| a ^ b).collect();
        String::from_utf8_lossy(plain.strip_suffix(&[0]).unwrap_or_default()).into_owned()
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) -> std::io::Result<()> {
        let plugin = if self.way == Way::Sha256 { "mysql_native_password" } else { "caching_sha2_password" };
        send(&mut stream, 0, &greeting(plugin, self.tls.is_some())).await?;
        let (mut number, mut first) = packet(&mut stream).await?;
        let mut stream: Box<dyn Stream> = Box::new(stream);
        let encrypted = u32::from_le_bytes(first[..4].try_into().unwrap()) & SSL != 0;
        if encrypted {
            stream = Box::new(self.tls.clone().unwrap().accept(stream).await?);
            (number, first) = packet(&mut stream).await?;
        }
        let (capabilities, proof) = login_of(&first);
        let good = match self.way {
            Way::Fast => {
                let good = proof == scrambled(&self.password);
                send(&mut stream, number + 1, if good { &[1, 3] } else { &[0xff, 0x15, 4] }).await?;
                good
            }
            Way::Full => {
                send(&mut stream, number + 1, &[1, 4]).await?;
                number += 1;
                self.in_full(&mut *stream, &mut number, encrypted, 2).await?
            }
            Way::Sha256 => {
                let switch = [b"\xfesha256_password\0", NONCE.as_slice(), &[0]].concat();
                send(&mut stream, number + 1, &switch).await?;
                number += 1;
                self.in_full(&mut *stream, &mut number, encrypted, 1).await?
            }
        };
        number += if self.way == Way::Fast { 2 } else { 1 };
        if !good {
            let refusal = b"\xff\x15\x04#28000Access denied";
            return send(&mut stream, number, refusal).await;
        }
        let mut server = self.server(capabilities & !SSL).await?;
        send(&mut stream, number, &[0, 0, 0, 2, 0, 0, 0]).await?;
        copy_bidirectional(&mut stream, &mut server).await.map(|_| ())
    }

    /// The password itself: as it is over TLS, else under the RSA key, which the client may ask for.
    async fn in_full(
        &self,
        stream: &mut dyn Stream,
        number: &mut u8,
        encrypted: bool,
        asks: u8,
    ) -> std::io::Result<bool> {
        let (mut at, mut answer) = packet(stream).await?;
        if !encrypted && answer == [asks] {
            let pem = std::fs::read(self.key_path())?;
            send(stream, at + 1, &[&[1], pem.as_slice()].concat()).await?;
            (at, answer) = packet(stream).await?;
        }
        *number = at;
        let password = match encrypted {
            true => String::from_utf8_lossy(answer.strip_suffix(&[0]).unwrap_or_default()).into_owned(),
            false => {
                assert!(
                    !String::from_utf8_lossy(&answer).contains(&self.password),
                    "the password went out in clear"
                );
                self.decrypted(&answer)
            }
        };
        Ok(password == self.password)
    }

    /// A connection to MariaDB, logged in by the oldest way, with what the client and we agreed on.
    async fn server(&self, capabilities: u32) -> std::io::Result<TcpStream> {
        let document = connection().to_json();
        let port = u16::try_from(document["port"].as_u64().unwrap()).unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
        let (_, greeting) = packet(&mut server).await?;
        let version_end = 1 + greeting[1..].iter().position(|byte| *byte == 0).unwrap() + 1;
        let (first, rest) =
            (&greeting[version_end + 4..version_end + 12], &greeting[version_end + 31..version_end + 43]);
        let sha = |bytes: &[u8]| digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec();
        let secret = connection().inline_secret().unwrap().expose().to_owned();
        let one = sha(secret.as_bytes());
        let two = sha(&[first, rest, &sha(&one)].concat());
        let proof: Vec<u8> = one.iter().zip(two).map(|(a, b)| a ^ b).collect();
        let connect_with_db = 8_u32;
        let mut login = (capabilities & !connect_with_db & !(1 << 20)).to_le_bytes().to_vec();
        login.extend(1_u32.rotate_left(30).to_le_bytes());
        login.push(45);
        login.extend([0; 23]);
        login.extend(document["username"].as_str().unwrap().as_bytes());
        login.extend([0, 20]);
        login.extend(proof);
        login.extend(b"mysql_native_password\0");
        send(&mut server, 1, &login).await?;
        let (_, answer) = packet(&mut server).await?;
        assert_eq!(answer[0], 0, "{}", String::from_utf8_lossy(&answer));
        Ok(server)
    }
}

/// A stand-in that listens, and the connection to it.
async fn stand_in(way: Way, tls: bool, password: &str) -> (Arc<StandIn>, Connection) {
    let stand_in = Arc::new(StandIn::new(way, tls, password));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = Arc::clone(&stand_in);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = Arc::clone(&serving);
            tokio::spawn(async move {
                let _ = serving.serve(stream).await;
            });
        }
    });
    let connection = Connection::new("eight", "mysql")
        .option("host", "localhost")
        .option("port", port)
        .option("username", "etl")
        .password(Secret::new(password));
    (stand_in, connection)
}

async fn outcome(connection: &Connection) -> Result<String, ErrorKind> {
    let info = open(connection).await.unwrap().check().await;
    info.map(|info| info.version).map_err(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_short_way() {
    for (tls, mode) in [(true, "require"), (true, "disable"), (false, "prefer")] {
        let (_kept, right) = stand_in(Way::Fast, tls, "secret größe").await;
        let right = right.option("tls", mode);
        assert_eq!(outcome(&right).await.unwrap(), "MySQL 8.0.36");
        assert_eq!(outcome(&right.password(Secret::new("wrong"))).await, Err(ErrorKind::Auth));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_itself_goes_over_tls_or_under_the_servers_key() {
    for way in [Way::Full, Way::Sha256] {
        let (kept, right) = stand_in(way, true, "secret größe").await;
        let encrypted = right.clone().option("tls", "require");
        assert_eq!(outcome(&encrypted).await.unwrap(), "MySQL 8.0.36");
        assert_eq!(outcome(&encrypted.password(Secret::new("wrong"))).await, Err(ErrorKind::Auth));
        let plain = right.option("tls", "disable");
        // Nobody who stands between gets the password by asking for it.
        assert_eq!(outcome(&plain).await, Err(ErrorKind::Auth));
        for known in [
            plain.clone().option("get_server_key", true),
            plain.clone().option("server_key", kept.key_path()),
        ] {
            assert_eq!(outcome(&known).await.unwrap(), "MySQL 8.0.36");
            assert_eq!(outcome(&known.password(Secret::new("wrong"))).await, Err(ErrorKind::Auth));
        }
    }
}
