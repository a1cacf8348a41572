//! The way to the server: credentials, privileges, addresses, TLS.

use transload_core::{Connection, ErrorKind, Secret};

use crate::support::{connection, in_schema, need_env, open, read_plan};

async fn refused(connection: Connection) -> transload_core::Error {
    let error = open(&connection).await.unwrap().check().await.expect_err("the server must refuse");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert!(error.hint_text().is_some(), "{error}");
    error
}

#[tokio::test]
async fn the_server_names_itself() {
    let info = open(&connection()).await.unwrap().check().await.unwrap();
    assert!(info.version.starts_with("PostgreSQL 1"), "{info:?}");
    let plain = open(&connection().option("tls", "disable")).await.unwrap().check().await.unwrap();
    assert_eq!(plain.tls, Some(false));
}

#[tokio::test]
async fn refusals_have_kinds() {
    let wrong = |error: &transload_core::Error| (error.kind(), error.is_retryable());
    let error = refused(connection().password(Secret::new("hunter2"))).await;
    assert_eq!(wrong(&error), (ErrorKind::Auth, false), "{error}");
    assert_eq!(error.context_value("sqlstate"), Some("28P01"));
    let error = refused(connection().option("username", "nobody at all")).await;
    assert_eq!(wrong(&error), (ErrorKind::Auth, false), "{error}");
    let mut document = connection().to_json();
    document["name"] = "without a password".into();
    let error = refused(Connection::from_json(document).unwrap()).await;
    assert_eq!(wrong(&error), (ErrorKind::Auth, false), "{error}");
    let error = refused(connection().option("database", "no such database")).await;
    assert_eq!(wrong(&error), (ErrorKind::NotFound, false), "{error}");
    assert!(error.message().contains("no such database"), "{error}");
    let error = refused(connection().option("port", 1)).await;
    assert_eq!(wrong(&error), (ErrorKind::Unreachable, true), "{error}");
    assert!(error.context().any(|(_, value)| value.contains(":1")), "{error}");
    let error =
        refused(connection().option("host", "no-such-host.invalid").option("connect_timeout", 60)).await;
    assert_eq!(wrong(&error), (ErrorKind::Unreachable, true), "{error}");
    let error = refused(connection().option("host", "/no/such/folder")).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let target = connection().option("host", "127.0.0.1").option("port", port).option("connect_timeout", 1);
    let (error, _held) = tokio::join!(refused(target), silent.accept());
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[tokio::test]
async fn statements_have_a_deadline() {
    in_schema(|place| async move {
        place.run("CREATE VIEW slow AS SELECT 1 AS id, pg_sleep(30)::text AS s").await;
        let source = open(&connection().option("statement_timeout", 5)).await.unwrap();
        let session = source.begin(&place.table("slow")).await.unwrap();
        let error = read_plan(session.as_ref(), &Default::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    })
    .await;
}

#[tokio::test]
async fn privileges() {
    in_schema(|place| async move {
        let role = place.schema.clone();
        place
            .run(&format!(
                "CREATE TABLE open (id int, secret text); CREATE TABLE closed (id int); CREATE TABLE half (id int, secret text);
                 CREATE SCHEMA {role}_x; CREATE TABLE {role}_x.hidden (id int);
                 CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON {role}_x.hidden TO {role}; GRANT USAGE ON SCHEMA {role} TO {role};
                 GRANT SELECT ON open TO {role}; GRANT SELECT (id) ON half TO {role}"
            ))
            .await;
        let limited = connection().option("username", role.as_str()).password(Secret::new("x"));
        let source = open(&limited).await.unwrap();
        let hidden = transload_core::schema::TableRef::new(format!("{role}_x"), "hidden");
        let outcomes = (
            source.describe(&place.table("open")).await,
            source.describe(&place.table("closed")).await,
            source.describe(&hidden).await,
            source.tables(Some(&role)).await,
            source.begin(&place.table("half")).await,
        );
        let beside = source.tables(Some(&format!("{role}_x"))).await;
        let half = outcomes.4.unwrap();
        let id = transload_core::connector::ReadPlan { columns: vec!["id".into()], ..Default::default() };
        let (some, all) = (read_plan(half.as_ref(), &id).await, read_plan(half.as_ref(), &Default::default()).await);
        drop(half);
        place.run(&format!("DROP SCHEMA {role}_x CASCADE; DROP OWNED BY {role}; DROP ROLE {role}")).await;
        outcomes.0.unwrap();
        assert_eq!(outcomes.1.unwrap_err().kind(), ErrorKind::Permission);
        assert_eq!(outcomes.2.unwrap_err().kind(), ErrorKind::Permission);
        let listed = outcomes.3.unwrap();
        let listed: Vec<_> = listed.iter().map(|info| (info.table.name.as_str(), info.readable)).collect();
        assert_eq!(listed, [("closed", false), ("half", true), ("open", true)]);
        // To read a table takes the right to use its schema too.
        assert!(!beside.unwrap()[0].readable);
        some.unwrap();
        assert_eq!(all.unwrap_err().kind(), ErrorKind::Permission);
    })
    .await;
}

/// Leads what comes in to the test server.
async fn forward(mut incoming: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let address = connection().to_json();
    let address = (
        address["host"].as_str().unwrap().to_owned(),
        u16::try_from(address["port"].as_u64().unwrap()).unwrap(),
    );
    let mut server = tokio::net::TcpStream::connect(address).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut incoming, &mut server).await;
}

/// The test server under an address that its certificate does not name.
async fn elsewhere() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((incoming, _)) = listener.accept().await {
            tokio::spawn(forward(incoming));
        }
    });
    port
}

#[tokio::test]
async fn a_unix_socket() {
    let folder = std::env::temp_dir().join(format!("transload-{:016x}", rand::random::<u64>()));
    std::fs::create_dir(&folder).unwrap();
    let listener = tokio::net::UnixListener::bind(folder.join(".s.PGSQL.7777")).unwrap();
    tokio::spawn(async move {
        while let Ok((incoming, _)) = listener.accept().await {
            tokio::spawn(forward(incoming));
        }
    });
    let there = connection().option("host", folder.to_str().unwrap()).option("port", 7777);
    let info = open(&there).await.unwrap().check().await;
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(info.unwrap().tls, Some(false));
}

#[tokio::test]
async fn certificates_are_checked() {
    let ca = need_env("TRANSLOAD_TEST_POSTGRES_CA");
    let other = elsewhere().await;
    let with = |mode: &str, ca: Option<&str>, host: &str| {
        let connection = connection().option("tls", mode).option("host", host);
        let connection = if host == "127.0.0.2" { connection.option("port", other) } else { connection };
        match ca {
            Some(ca) => connection.option("tls_ca", ca),
            None => connection,
        }
    };
    let verified = open(&with("verify-full", Some(&ca), "localhost")).await.unwrap();
    assert_eq!(verified.check().await.unwrap().tls, Some(true));
    assert_eq!(
        open(&with("require", None, "localhost")).await.unwrap().check().await.unwrap().tls,
        Some(true)
    );
    // An authority that the server's certificate does not come from.
    for mode in ["verify-full", "verify-ca"] {
        let error = refused(with(mode, None, "localhost")).await;
        assert_eq!(error.kind(), ErrorKind::Tls, "{mode}: {error}");
    }
    // The right authority, and a name that is not in the certificate.
    let error = refused(with("verify-full", Some(&ca), "127.0.0.2")).await;
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    let by_authority = open(&with("verify-ca", Some(&ca), "127.0.0.2")).await.unwrap();
    assert_eq!(by_authority.check().await.unwrap().tls, Some(true));
    // Unless the address is only the way to the name.
    let through = with("verify-full", Some(&ca), "127.0.0.2")
        .option("host", "localhost")
        .option("hostaddr", "127.0.0.2");
    assert_eq!(open(&through).await.unwrap().check().await.unwrap().tls, Some(true));
    let missing = open(&with("verify-full", Some("/no/such/file.pem"), "localhost")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn options_are_checked_without_a_server() {
    let registry = transload_core::Registry::new().with(transload_postgres::Postgres);
    let error = registry.validate(&Connection::new("c", "postgres").option("hots", "x")).unwrap_err();
    assert!(error.to_string().contains("host"), "{error}");
    let error = registry.destination(&Connection::new("c", "postgresql")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
