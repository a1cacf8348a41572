//! A database that stands in for Redshift: a real PostgreSQL with the views of Redshift's catalog
//! (`redshift_catalog.sql` says what that proves).

use std::sync::OnceLock;

use tokio_postgres::NoTls;
use transload_core::Connection;

const DATABASE: &str = "transload_redshift";

/// The address of the database at the server of another address, once it is there.
pub(crate) fn url(base: &str) -> String {
    static MADE: OnceLock<()> = OnceLock::new();
    let (server, _) = base.rsplit_once('/').expect("the address names a database");
    let stand_in = format!("{server}/{DATABASE}");
    MADE.get_or_init(|| {
        let (base, stand_in) = (base.to_owned(), stand_in.clone());
        // Callers may be inside a runtime of their own.
        let making = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(make(&base, &stand_in));
        });
        making.join().expect("the database that stands in for Redshift can be made");
    });
    stand_in
}

/// A connection to it, as to Redshift.
pub(crate) fn connection(base: &str) -> Connection {
    let url = url(base);
    let (_, rest) = url.split_once("://").expect("an address");
    Connection::from_url(&format!("redshift://{rest}")).unwrap()
}

/// Several processes may do so at once.
async fn make(base: &str, stand_in: &str) {
    let (client, connection) = tokio_postgres::connect(base, NoTls).await.expect("the test server answers");
    tokio::spawn(connection);
    client.batch_execute("SELECT pg_advisory_lock(7355608)").await.unwrap();
    let catalog = include_str!("redshift_catalog.sql");
    let known = "SELECT COALESCE(shobj_description(oid, 'pg_database') = md5($2), false) FROM pg_database WHERE datname = $1";
    let known = client.query_opt(known, &[&DATABASE, &catalog]).await.unwrap();
    match known.map(|row| row.get(0)) {
        // Making views again would wait for the tests of other processes that read them, which may wait for this one.
        Some(true) => return,
        Some(false) => {}
        None => client.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await.unwrap(),
    }
    let (views, connection) = tokio_postgres::connect(stand_in, NoTls).await.unwrap();
    tokio::spawn(connection);
    views.batch_execute(catalog).await.unwrap();
    let sum: String = client.query_one("SELECT md5($1)", &[&catalog]).await.unwrap().get(0);
    client.batch_execute(&format!("COMMENT ON DATABASE {DATABASE} IS '{sum}'")).await.unwrap();
}
