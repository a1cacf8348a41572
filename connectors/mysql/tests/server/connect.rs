//! Ways to a server: addresses, TLS, compression, options, refusals.

use std::time::Duration;

use transload_core::connector::ReadPlan;
use transload_core::{Connection, ErrorKind, Registry, Secret, TestStatus};
use transload_mysql::Mysql;

use super::support::{connection, open, place, read_plan};

fn ca() -> String {
    std::env::var("TRANSLOAD_TEST_MARIADB_CA").expect("services/up.sh names the authority")
}

fn socket() -> String {
    std::env::var("TRANSLOAD_TEST_MARIADB_SOCKET").expect("services/up.sh names the socket")
}

async fn kind_of(connection: Connection) -> (ErrorKind, String) {
    let source = match open(&connection).await {
        Ok(source) => source,
        Err(error) => return (error.kind(), error.to_string()),
    };
    let error = source.check().await.unwrap_err();
    assert!(error.hint_text().is_some(), "{error}");
    (error.kind(), error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_encryption_are_told() {
    for (mode, tls) in [("disable", false), ("prefer", true), ("require", true)] {
        let info = open(&connection().option("tls", mode)).await.unwrap().check().await.unwrap();
        assert!(info.version.starts_with("MariaDB 1"), "{}", info.version);
        assert_eq!(info.tls, Some(tls), "{mode}");
    }
    for mode in ["verify-ca", "verify-full"] {
        for host in ["localhost", "127.0.0.1"] {
            let checked = connection().option("tls", mode).option("tls_ca", ca()).option("host", host);
            assert_eq!(open(&checked).await.unwrap().check().await.unwrap().tls, Some(true), "{mode} {host}");
        }
        // The system's authorities do not know ours.
        let (kind, text) = kind_of(connection().option("tls", mode)).await;
        assert_eq!(kind, ErrorKind::Tls, "{text}");
    }
}

fn openssl(folder: &std::path::Path, arguments: &str) {
    let done = std::process::Command::new("openssl")
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A server whose certificate names another host, and clients with certificates of their own.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout";
    openssl(folder.path(), &format!("req -x509 {key} ca.key -out ca.crt -days 2 -subj /CN=authority"));
    for name in ["elsewhere", "client"] {
        std::fs::write(path("v3.ext"), format!("basicConstraints=CA:FALSE\nsubjectAltName=DNS:{name}\n"))
            .unwrap();
        openssl(folder.path(), &format!("req -new {key} {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(
            folder.path(),
            &format!(
                "x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -in {name}.csr -extfile v3.ext -out {name}.crt"
            ),
        );
    }
    let files = [("ca", "ca.crt"), ("cert", "elsewhere.crt"), ("key", "elsewhere.key")];
    let arguments = files.map(|(option, file)| format!("--ssl-{option}={}", path(file)));
    let own = super::own::Own::start(&arguments.each_ref().map(String::as_str));
    let ours = own.connection().option("tls_ca", path("ca.crt"));
    let (kind, text) = kind_of(ours.clone().option("tls", "verify-full")).await;
    assert_eq!(kind, ErrorKind::Tls, "{text}");
    assert!(open(&ours.clone().option("tls", "verify-ca")).await.unwrap().check().await.is_ok());
    let admin = transload_testkit::mariadb::Mariadb::of(&own.connection());
    admin.run("CREATE USER x@'%' IDENTIFIED BY 'secret' REQUIRE SUBJECT '/CN=client'").unwrap();
    let named = ours.option("username", "x").option("tls", "verify-ca");
    assert_eq!(kind_of(named.clone()).await.0, ErrorKind::Auth);
    let certified =
        named.clone().option("tls_cert", path("client.crt")).option("tls_key", path("client.key"));
    assert!(open(&certified).await.unwrap().check().await.is_ok());
    assert_eq!(kind_of(named.option("tls_cert", path("client.crt"))).await.0, ErrorKind::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_sockets() {
    let local = connection().option("socket", socket()).option("tls", "require");
    let info = open(&local).await.unwrap().check().await.unwrap();
    assert_eq!(info.tls, Some(false), "a socket of this machine is not encrypted");
    let (kind, _) = kind_of(connection().option("socket", "/nonexistent/s.sock")).await;
    assert_eq!(kind, ErrorKind::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_changes_nothing() {
    let place = place();
    place.run("CREATE TABLE t (id INT PRIMARY KEY, t VARCHAR(200)); INSERT INTO t SELECT seq, REPEAT(MD5(seq), 5) FROM seq_1_to_50000");
    let expected = place.read("t").await.unwrap();
    for tls in ["disable", "require"] {
        let zipped = place.connection().option("compression", true).option("tls", tls);
        let session = open(&zipped).await.unwrap().begin(&place.table("t")).await.unwrap();
        assert_eq!(read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap(), expected);
        session.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_kinds_and_hints() {
    let wrong = connection().password(Secret::new("pa55-not-this"));
    let (kind, text) = kind_of(wrong.clone()).await;
    assert_eq!(kind, ErrorKind::Auth, "{text}");
    assert!(
        !text.contains("pa55-not-this") && !format!("{:?}", open(&wrong).await.unwrap()).contains("pa55")
    );
    assert_eq!(kind_of(connection().option("username", "nobody")).await.0, ErrorKind::Auth);
    assert_eq!(kind_of(connection().option("database", "no such")).await.0, ErrorKind::NotFound);
    assert_eq!(kind_of(connection().option("port", 1)).await.0, ErrorKind::Unreachable);
    assert_eq!(
        kind_of(connection().option("host", "no.such.host.invalid").option("connect_timeout", 60)).await.0,
        ErrorKind::Unreachable
    );
    let mut unknown = connection();
    unknown = unknown.option("variables", serde_json::json!({"no_such_variable": "1"}));
    assert_eq!(kind_of(unknown).await.0, ErrorKind::Config);
    let hostile = connection().option("variables", serde_json::json!({"x = 1; DROP": "1"}));
    assert_eq!(kind_of(hostile).await.0, ErrorKind::Config);
    let status =
        Registry::new().with(Mysql).test(&connection().option("port", 1), Duration::from_secs(5)).await;
    assert_eq!(status.status, TestStatus::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_server_is_no_hang() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    let silent = connection().option("port", port).option("connect_timeout", 1);
    assert_eq!(kind_of(silent).await.0, ErrorKind::Timeout);
    // A server of another kind: PostgreSQL waits for us, too, so one that speaks first stands in.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 smtp.example ESMTP\r\n").await;
        }
    });
    let other = connection().option("port", port).option("connect_timeout", 60);
    let (kind, text) = kind_of(other).await;
    assert!(matches!(kind, ErrorKind::Data | ErrorKind::Unreachable), "{kind:?} {text}");
}

/// A limit of the user's or the server's may not cut a table off, and a time zone may not move its instants.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_server_change_no_rows() {
    let own = super::own::Own::start(&["--default-time-zone=+05:30"]);
    let place = super::support::place_at(own.connection());
    place.run("CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP); INSERT INTO t SELECT seq, FROM_UNIXTIME(seq) FROM seq_1_to_500");
    place.run(
        "SET GLOBAL sql_select_limit = 7; SET GLOBAL sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'; \
         SET GLOBAL init_connect = 'SET NAMES latin1'; GRANT SELECT ON *.* TO plain@'%' IDENTIFIED BY 'secret'",
    );
    // Who may do all is spared `init_connect`.
    let plain = own.connection().option("username", "plain");
    let batch = super::support::read_by(&plain, &place.table("t")).await.unwrap();
    assert_eq!(batch.num_rows(), 500);
    let rows = transload_testkit::arrow::rows(&batch).unwrap();
    assert_eq!(rows[0][1], transload_testkit::Cell::Timestamp(1_000_000), "the server's own zone is +05:30");
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_set() {
    let place = place();
    place.run("CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t SELECT seq FROM seq_1_to_300");
    let slow = place
        .connection()
        .option("variables", serde_json::json!({"max_statement_time": "5", "sql_mode": "ANSI"}));
    place.run("CREATE VIEW v AS SELECT a.id, SLEEP(0.05) AS s FROM t AS a");
    let source = open(&slow).await.unwrap();
    let session = source.begin(&place.table("v")).await.unwrap();
    let error = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, false), "{error}");
    let limited = place.connection().option("statement_timeout", 5);
    let session = open(&limited).await.unwrap().begin(&place.table("v")).await.unwrap();
    let error = read_plan(session.as_ref(), &ReadPlan::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}
