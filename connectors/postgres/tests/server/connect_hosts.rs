//! Several hosts: a primary, its standby, and servers that are not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt as _;
use transload_core::connector::ReadPlan;
use transload_core::schema::TableRef;
use transload_core::{Connection, ErrorKind, Result};
use transload_testkit::wait::eventually;

use crate::own::Server;
use crate::support::{connection, open};

/// A connection to servers on these ports of 127.0.0.1.
fn to(ports: &[u16], attrs: &str) -> Connection {
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    let hosts = vec!["127.0.0.1"; ports.len()].join(",");
    let url = format!("postgresql://postgres@{hosts}/postgres?tls=disable&target_session_attrs={attrs}");
    Connection::from_url(&url).unwrap().option("port", ports.join(","))
}

/// The port of the server where a session began, as the servers see it.
async fn reached(connection: Connection, servers: &[&Server]) -> Result<u16> {
    let name = format!("reaching {}", rand::random::<u64>());
    let source = open(&connection.option("application_name", name.as_str())).await?;
    let _session = source.begin(&TableRef::new("public", "t")).await?;
    let mut found = Vec::new();
    for server in servers {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        let count: i64 = server.admin().await.query_one(sql, &[&name]).await.unwrap().get(0);
        if count > 0 {
            found.push(server.port);
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    Ok(found[0])
}

/// A port at which nobody listens, and the socket that keeps others from it.
fn deaf() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[tokio::test]
async fn roles_of_servers() {
    let primary = Server::start("").await;
    let admin = primary.admin().await;
    admin
        .batch_execute(
            "CREATE TABLE t AS SELECT g AS id, repeat('x', 200) AS s FROM generate_series(1, 100000) g; ANALYZE t",
        )
        .await
        .unwrap();
    let standby = primary.standby("").await;
    let servers = [&primary, &standby];
    let (_nobody, nobody) = deaf();
    let (p, s) = (primary.port, standby.port);
    for (ports, attrs, expected) in [
        (vec![p, s], "any", p),
        (vec![s, p], "any", s),
        (vec![nobody, s, p], "any", s),
        (vec![s, p], "primary", p),
        (vec![s, p], "read-write", p),
        (vec![p, s], "standby", s),
        (vec![p, s], "read-only", s),
        (vec![p, nobody, s], "prefer-standby", s),
        (vec![nobody, p], "prefer-standby", p),
    ] {
        let found = reached(to(&ports, attrs), &servers).await;
        assert_eq!(found.unwrap(), expected, "{ports:?} {attrs}");
    }
    for (ports, attrs) in [(vec![p], "standby"), (vec![p, nobody], "read-only"), (vec![s, nobody], "primary")]
    {
        let error = reached(to(&ports, attrs), &servers).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true), "{error}");
        let all = ports.iter().all(|port| error.to_string().contains(&format!("127.0.0.1:{port}")));
        assert!(all && error.to_string().contains("target_session_attrs"), "{error}");
    }

    // A standby can be read in parallel.
    let session =
        open(&to(&[s], "standby")).await.unwrap().begin(&TableRef::new("public", "t")).await.unwrap();
    let splits = session.splits(&ReadPlan { parallelism: 2, ..ReadPlan::default() }).await.unwrap();
    assert_eq!(splits.len(), 2);
    let readings =
        futures::future::try_join_all(splits.iter().map(|split| session.read(split))).await.unwrap();
    let mut rows = 0;
    for reading in readings {
        rows += reading
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
            .iter()
            .map(|batch| batch.num_rows())
            .sum::<usize>();
    }
    assert_eq!(rows, 100_000);

    // Not what a server is but what its sessions may do: the default of the database, not what transload sets.
    admin.batch_execute("ALTER DATABASE postgres SET default_transaction_read_only = on").await.unwrap();
    assert_eq!(reached(to(&[p], "read-only"), &servers).await.unwrap(), p);
    assert_eq!(reached(to(&[p], "primary"), &servers).await.unwrap(), p);
    let error = reached(to(&[p], "read-write"), &servers).await.unwrap_err();
    assert!(error.to_string().contains("target_session_attrs"), "{error}");

    // A server that refuses the login ends the search, as with libpq: the next one trusts everybody.
    let shared = connection().to_json()["port"].as_u64().unwrap();
    let error = reached(to(&[u16::try_from(shared).unwrap(), p], "any"), &servers).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
}

#[tokio::test]
async fn a_session_stays_with_its_server() {
    let server = Server::start("").await;
    let sql = "CREATE TABLE t AS SELECT g AS id, repeat('x', 200) AS s FROM generate_series(1, 100000) g; ANALYZE t";
    server.admin().await.batch_execute(sql).await.unwrap();
    let (socket, first) = deaf();
    let session =
        open(&to(&[first, server.port], "any")).await.unwrap().begin(&TableRef::new("public", "t")).await;
    let session = session.unwrap();
    // The first host is back, but does not know the snapshot.
    let listener = socket.listen(16).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counting.fetch_add(1, Ordering::SeqCst);
        }
    });
    let splits = session.splits(&ReadPlan { parallelism: 2, ..ReadPlan::default() }).await.unwrap();
    let readings =
        futures::future::try_join_all(splits.iter().map(|split| session.read(split))).await.unwrap();
    assert_eq!(readings.len(), 2);
    // Dropping them cancels the queries, where they run.
    drop(readings);
    let active =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'transload' AND state = 'active'";
    let admin = server.admin().await;
    eventually("the queries end", || async {
        admin.query_one(active, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn every_host_that_failed_is_named() {
    let (_sockets, ports): (Vec<_>, Vec<_>) = [deaf(), deaf()].into_iter().unzip();
    let error = open(&to(&ports, "any")).await.unwrap().check().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unreachable, true));
    for port in ports {
        assert!(error.message().contains(&format!("127.0.0.1:{port}")), "{error}");
    }
    assert!(error.hint_text().is_some());
}

#[tokio::test]
async fn a_silent_host_does_not_hold_up_the_next_one() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = format!("{},{}", silent.local_addr().unwrap().port(), connection().to_json()["port"]);
    let both =
        connection().option("host", "127.0.0.1,127.0.0.1").option("port", ports).option("connect_timeout", 5);
    let began = std::time::Instant::now();
    open(&both).await.unwrap().check().await.unwrap();
    assert!(began.elapsed() >= std::time::Duration::from_secs(5));
}
