//! Ways to log in: certificates, SCRAM bound to TLS, password files, sockets; and what keeps a connection alive.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use transload_core::schema::TableRef;
use transload_core::{Connection, Error, ErrorKind, Result, Secret};

use crate::own::{Ground, Server};
use crate::support::{connection, in_schema, open};

const HBA: &str = "local all all trust
hostssl all alice 127.0.0.1/32 cert
hostssl all clear 127.0.0.1/32 password
hostssl all all 127.0.0.1/32 scram-sha-256";

/// A server that speaks TLS and knows certificates.
async fn server(ground: &Ground) -> Server {
    server_with(ground, "localhost.crt").await
}

async fn server_with(ground: &Ground, certificate: &str) -> Server {
    ground.certificates(&["alice", "bob"]);
    let file = |name: &str| ground.path(name).display().to_string();
    let settings = format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'",
        file(certificate),
        file("localhost.key"),
        file("ca.crt")
    );
    let server = Server::start_on(ground, &settings, HBA).await;
    let roles = "CREATE ROLE alice LOGIN; CREATE ROLE clear LOGIN PASSWORD 'hunter2'; CREATE ROLE scram LOGIN PASSWORD 'hunter2'";
    server.admin().await.batch_execute(roles).await.unwrap();
    server
}

fn to(server: &Server, user: &str, tls: &str) -> Connection {
    server.connection().option("username", user).option("tls", tls)
}

async fn check(connection: Connection) -> Result<Option<bool>> {
    let outcome = open(&connection).await?.check().await.map(|info| info.tls);
    if let Err(error) = &outcome {
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    outcome
}

async fn refused(connection: Connection) -> Error {
    check(connection).await.expect_err("the login must be refused")
}

#[tokio::test]
async fn a_certificate_instead_of_a_password() {
    let ground = Ground::new();
    let server = server(&ground).await;
    let with = |who: &str| {
        let file = |kind: &str| ground.path(&format!("{who}.{kind}")).display().to_string();
        let alice = to(&server, "alice", "require").option("host", "localhost");
        alice.option("tls_cert", file("crt")).option("tls_key", file("key"))
    };
    assert_eq!(check(with("alice")).await.unwrap(), Some(true));
    let ca = ground.path("ca.crt").display().to_string();
    assert_eq!(
        check(with("alice").option("tls", "verify-ca").option("tls_ca", ca)).await.unwrap(),
        Some(true)
    );
    // Somebody else's certificate, and none.
    for connection in [with("bob"), to(&server, "alice", "require")] {
        let error = refused(connection).await;
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Auth, false), "{error}");
    }
    let key = ground.path("bob.key").display().to_string();
    for wrong in [with("alice").option("tls_key", key), with("alice").option("tls_key", "/no/such.key")] {
        assert_eq!(refused(wrong).await.kind(), ErrorKind::Config);
    }
    let half = to(&server, "alice", "require").option("tls_cert", "a.crt");
    assert!(refused(half).await.to_string().contains("tls_key"));
}

#[tokio::test]
async fn a_login_is_bound_to_its_channel() {
    let ground = Ground::new();
    let server = server(&ground).await;
    let password = Secret::new("hunter2");
    let login = |user: &str, binding: &str| {
        to(&server, user, "require").option("channel_binding", binding).password(password.clone())
    };
    for binding in ["disable", "prefer", "require"] {
        assert_eq!(check(login("scram", binding)).await.unwrap(), Some(true), "{binding}");
    }
    // A server that asks for the password itself cannot be bound.
    assert_eq!(check(login("clear", "prefer")).await.unwrap(), Some(true));
    let error = refused(login("clear", "require")).await;
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    assert!(error.to_string().contains("channel binding"), "{error}");
    // Somebody in between with a certificate of his own passes the login on. The server notices, if it is bound.
    let between = man_in_the_middle(&ground, server.port).await;
    let login = |binding: &str| login("scram", binding).option("port", between);
    assert_eq!(check(login("disable")).await.unwrap(), Some(true));
    for binding in ["prefer", "require"] {
        let error = refused(login(binding)).await;
        assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
        assert!(error.to_string().contains("channel binding"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_of_version_1_encrypts() {
    let ground = Ground::new();
    let server = server_with(&ground, "localhost.v1.crt").await;
    let login = |tls: &str| {
        to(&server, "scram", tls).option("channel_binding", "require").password(Secret::new("hunter2"))
    };
    for tls in ["prefer", "require"] {
        assert_eq!(check(login(tls)).await.unwrap(), Some(true), "{tls}");
    }
    // It names no host and vouches for nothing.
    let ca = ground.path("ca.crt").display().to_string();
    assert_eq!(refused(login("verify-ca").option("tls_ca", ca)).await.kind(), ErrorKind::Tls);
}

/// Ends the TLS of a client and begins a new one with the server.
async fn man_in_the_middle(ground: &Ground, server: u16) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pem = |name: &str| std::fs::read(ground.path(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem("ca.crt")).unwrap()).unwrap();
    let towards_client = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&pem("elsewhere.crt")).unwrap()],
            PrivateKeyDer::from_pem_slice(&pem("elsewhere.key")).unwrap(),
        )
        .unwrap();
    let towards_server = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (acceptor, connector) =
        (TlsAcceptor::from(Arc::new(towards_client)), TlsConnector::from(Arc::new(towards_server)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (acceptor, connector) = (acceptor.clone(), connector.clone());
            tokio::spawn(async move {
                let (mut request, mut answer) = ([0; 8], [0; 1]);
                client.read_exact(&mut request).await.unwrap();
                let mut upstream = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                upstream.write_all(&request).await.unwrap();
                upstream.read_exact(&mut answer).await.unwrap();
                client.write_all(&answer).await.unwrap();
                let mut client = acceptor.accept(client).await.unwrap();
                let name = ServerName::try_from("localhost").unwrap();
                let mut upstream = connector.connect(name, upstream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
            });
        }
    });
    port
}

fn secret_file(path: &Path, text: &str) -> String {
    let mut options = std::fs::OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_password_from_a_file() {
    let ground = Ground::new();
    let server = server(&ground).await;
    let port = server.port;
    let with = |name: &str, text: &str| {
        let path = secret_file(&ground.path(name), text);
        to(&server, "scram", "require").option("passfile", path)
    };
    let right = format!("127.0.0.1:{port}:postgres:scram:hunter2\n");
    assert_eq!(check(with("right", &right)).await.unwrap(), Some(true));
    // Credentials that are given come first.
    let both = with("right", &right).password(Secret::new("wrong"));
    assert_eq!(refused(both).await.kind(), ErrorKind::Auth);
    for (name, text) in [("wrong", "*:*:*:*:hunter3"), ("other", "127.0.0.1:*:*:clear:hunter2")] {
        let error = refused(with(name, text)).await;
        assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
        assert!(error.hint_text().is_some(), "{error}");
    }
    let missing = refused(to(&server, "scram", "require").option("passfile", "/no/such/file")).await;
    assert_eq!(missing.kind(), ErrorKind::Config, "{missing}");
    // Each host has a password of its own.
    let shared = connection().to_json();
    let password = connection().inline_secret().unwrap().expose().to_owned();
    let text = format!("127.0.0.1:{}:*:postgres:{password}\n{right}", shared["port"]);
    let many = with("many", &text).option("username", "postgres").option("host", "127.0.0.1,127.0.0.1");
    assert_eq!(check(many.option("port", format!("1,{}", shared["port"]))).await.unwrap(), Some(true));
}

#[tokio::test]
async fn a_real_unix_socket() {
    let ground = Ground::new();
    let mut server = server(&ground).await;
    let folder = ground.folder.path().to_str().unwrap();
    // The way over TCP would want a password; TLS has no meaning here.
    for tls in ["disable", "prefer", "verify-full"] {
        assert_eq!(check(to(&server, "scram", tls).option("host", folder)).await.unwrap(), Some(false));
    }
    let encoded = folder.replace('/', "%2F");
    let url = format!("postgresql://scram@{encoded}:{}/postgres", server.port);
    assert_eq!(check(Connection::from_url(&url).unwrap()).await.unwrap(), Some(false));
    // A socket among other hosts.
    let mixed = format!("127.0.0.1,{folder}");
    let mixed =
        to(&server, "scram", "require").option("host", mixed).option("port", format!("1,{}", server.port));
    assert_eq!(check(mixed).await.unwrap(), Some(false));
    server.stop("immediate").await;
    assert_eq!(
        refused(to(&server, "scram", "prefer").option("host", folder)).await.kind(),
        ErrorKind::Unreachable
    );
}

/// The kernel's timer of the open connection between these ports: what it is and its seconds. Linux only.
fn timer(local: u16, server: u16) -> Option<(u32, u64)> {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let (local, server) = (format!(":{local:04X}"), format!(":{server:04X}"));
    // Another connection of this machine may have the same port at its end.
    let line = table.lines().find(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, here, there, state, ..] => {
            here.ends_with(&local) && there.ends_with(&server) && state == ESTABLISHED
        }
        _ => false,
    })?;
    let (kind, when) = line.split_whitespace().nth(5)?.split_once(':')?;
    Some((kind.parse().ok()?, u64::from_str_radix(when, 16).ok()? / 100))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_system_keeps_connections_alive() {
    const KEEPALIVE: u32 = 2;
    in_schema(|place| async move {
        place.run("CREATE TABLE t (id int)").await;
        for (keepalives, expected) in [(true, Some(KEEPALIVE)), (false, None)] {
            let name = format!("alive {}", rand::random::<u64>());
            let kept = connection()
                .option("application_name", name.as_str())
                .option("keepalives", keepalives)
                .option("keepalives_idle", 3000)
                .option("keepalives_interval", 5)
                .option("keepalives_count", 3);
            let _session =
                open(&kept).await.unwrap().begin(&TableRef::new(&place.schema, "t")).await.unwrap();
            let sql =
                format!("SELECT client_port::bigint FROM pg_stat_activity WHERE application_name = '{name}'");
            let port = u16::try_from(place.number(&sql).await).unwrap();
            let server = connection().to_json()["port"].as_u64().unwrap();
            let (kind, seconds) =
                timer(port, u16::try_from(server).unwrap()).expect("the connection is in the table");
            match expected {
                Some(expected) => {
                    assert_eq!(kind, expected);
                    assert!((2900..=3000).contains(&seconds), "{seconds}");
                }
                None => assert_ne!(kind, KEEPALIVE),
            }
        }
    })
    .await;
}
