//! pgbouncer in front of the server, in transaction mode: a connection to the server belongs to a client for the
//! time of a transaction only.

use std::path::Path;
use std::process::Stdio;

use futures::TryStreamExt as _;
use tokio_postgres::NoTls;
use transload_core::connector::{ReadPlan, ReadSession};
use transload_core::schema::TableRef;
use transload_core::{Connection, ErrorKind, Secret};
use transload_testkit::port::KeptPort;

use crate::own::{Ground, Running, Server, listening};
use crate::support::{open, read_plan};

/// A pooler with what a new one is set to, but for these settings.
async fn pooler(ground: &Ground, server: &Server, settings: &str) -> (Running, Connection) {
    let kept = KeptPort::any().unwrap();
    let port = kept.number();
    let users = ground.write("users.txt", "\"postgres\" \"hunter2\"\n\"odd\" \"hunter2\"\n");
    let settings = format!(
        "[databases]\npostgres = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {}\n{settings}\n",
        server.port,
        users.display()
    );
    let settings = ground.write("pgbouncer.ini", &settings);
    let log = std::fs::File::create(ground.path("pgbouncer.log")).unwrap();
    let mut command = ground.command(Path::new("pgbouncer"));
    // Debian has it where only root looks.
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    let child = command.arg(settings).stdout(Stdio::null()).stderr(log).spawn();
    let child = child.expect("pgbouncer is installed: run connectors/testkit/services/install.sh");
    let running = Running { process: child, _port: kept };
    listening(port).await;
    (running, server.connection().option("port", port).password(Secret::new("hunter2")))
}

const TRANSACTIONS: &str = "pool_mode = transaction\ndefault_pool_size = 4";

/// A server with something to read, and a role whose settings change how values are printed.
async fn server(ground: &Ground) -> Server {
    // The first rows are the same ones each time.
    let server = Server::start_on(ground, "synchronize_seqscans = off", "").await;
    let tables =
        "CREATE TABLE t AS SELECT g AS id, g * '1.5 hours'::interval AS i, now() AS at, repeat('x', 200) AS s
           FROM generate_series(1, 100000) g;
         ANALYZE t; CREATE ROLE odd LOGIN; GRANT SELECT ON t TO odd;
         ALTER ROLE odd SET intervalstyle = 'sql_standard'; ALTER ROLE odd SET timezone = 'Asia/Tokyo'";
    server.admin().await.batch_execute(tables).await.unwrap();
    server
}

async fn begin(connection: &Connection) -> Box<dyn ReadSession> {
    open(connection).await.unwrap().begin(&TableRef::new("public", "t")).await.unwrap()
}

#[tokio::test]
async fn transaction_mode_loses_nothing_of_a_read() {
    let ground = Ground::new();
    let server = server(&ground).await;
    let (_pooler, pooled) = pooler(&ground, &server, TRANSACTIONS).await;
    let pooled = pooled.option("username", "odd");
    let source = open(&pooled).await.unwrap();
    assert!(source.check().await.unwrap().version.starts_with("PostgreSQL 1"));
    assert_eq!(source.tables(Some("public")).await.unwrap().len(), 1);

    // More sessions than there are connections to the server, one after the other; the same rows as without pooler.
    let plan = ReadPlan { limit: Some(50), ..ReadPlan::default() };
    let expected = read_plan(begin(&server.connection()).await.as_ref(), &plan).await.unwrap();
    for _ in 0..10 {
        let session = begin(&pooled).await;
        assert_eq!(read_plan(session.as_ref(), &plan).await.unwrap(), expected);
        assert_eq!(session.cursor_summary("id").await.unwrap().nulls, 0);
        session.close().await.unwrap();
    }

    // Several connections share a snapshot: each is one transaction.
    let session = begin(&pooled).await;
    server.admin().await.batch_execute("INSERT INTO t SELECT * FROM t").await.unwrap();
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

    // A dropped read is cancelled through the pooler, and the session goes on.
    drop(session.read(&session.splits(&ReadPlan::default()).await.unwrap()[0]).await.unwrap());
    assert_eq!(read_plan(session.as_ref(), &plan).await.unwrap(), expected);
    drop(session);

    // What comes after on the same connections to the server finds nothing changed and nothing left.
    let way =
        format!("host=127.0.0.1 port={} user=odd password=hunter2 dbname=postgres", pooled.to_json()["port"]);
    for _ in 0..8 {
        let (client, connection) = tokio_postgres::connect(&way, NoTls).await.unwrap();
        tokio::spawn(connection);
        let sql = "SELECT current_setting('intervalstyle'), current_setting('transaction_read_only'),
             (SELECT count(*)::text FROM pg_prepared_statements)";
        let messages = client.simple_query(sql).await.unwrap();
        let row = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let found: Vec<_> = (0..3).map(|index| row.unwrap().get(index).unwrap()).collect();
        assert_eq!(found, ["sql_standard", "off", "0"]);
    }
}

#[tokio::test]
async fn a_pool_that_is_too_small_is_an_error_and_not_a_wait() {
    let ground = Ground::new();
    let server = server(&ground).await;
    let settings = "pool_mode = transaction\ndefault_pool_size = 1\nquery_wait_timeout = 5";
    let (_pooler, pooled) = pooler(&ground, &server, settings).await;
    let session = begin(&pooled).await;
    let splits = session.splits(&ReadPlan { parallelism: 2, ..ReadPlan::default() }).await.unwrap();
    let outcome = futures::future::try_join_all(splits.iter().map(|split| session.read(split))).await;
    let Err(error) = outcome else { panic!("one connection cannot read both") };
    assert!(error.to_string().contains("query_wait_timeout"), "{error}");
    assert!(error.is_retryable() && error.hint_text().is_some(), "{error}");
}

#[tokio::test]
async fn what_a_pooler_cannot_do_is_refused() {
    let ground = Ground::new();
    let server = server(&ground).await;
    let (statements, pooled) = pooler(&ground, &server, "pool_mode = statement").await;
    let error = open(&pooled).await.unwrap().check().await.unwrap_err();
    assert!(error.to_string().contains("statement pooling"), "{error}");
    drop(statements);

    let (_pooler, pooled) = pooler(&ground, &server, TRANSACTIONS).await;
    // It passes the login on and could not do so if it were bound to the channel.
    let bound = pooled.clone().option("tls", "prefer").option("channel_binding", "require");
    let error = open(&bound).await.unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    let error = open(&pooled.password(Secret::new("hunter3"))).await.unwrap().check().await.unwrap_err();
    // All its errors have one code, which does not tell a wrong password from a lost server; the text does.
    assert_eq!((error.kind(), error.context_value("sqlstate")), (ErrorKind::Unreachable, Some("08P01")));
    assert!(
        error.message().contains("authentication failed") && !error.to_string().contains("hunter3"),
        "{error}"
    );
}
