//! What the tests share.

use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, Row};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};
use transload_tds_server::{Server, Settings};
use transload_testkit::wait::eventually;

pub(crate) type Tiberius = Client<Compat<TcpStream>>;

pub(crate) async fn start() -> Server {
    Server::start(Settings::default()).await.unwrap()
}

pub(crate) async fn log_in(
    server: &Server,
    user: &str,
    password: &str,
    database: &str,
) -> tiberius::Result<Tiberius> {
    let mut config = Config::new();
    config.authentication(AuthMethod::sql_server(user, password));
    config.encryption(EncryptionLevel::NotSupported);
    config.trust_cert();
    config.database(database);
    config.application_name("tests");
    config.handshake_timeout(None);
    config.command_timeout(None);
    let stream = TcpStream::connect(server.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    Client::connect(config, stream.compat_write()).await
}

pub(crate) async fn connect(server: &Server) -> Tiberius {
    log_in(server, "sa", server.password(), "shop").await.unwrap()
}

/// Runs a batch whose results nobody looks at.
pub(crate) async fn run(client: &mut Tiberius, sql: &str) {
    let done = async { client.simple_query(sql).await?.into_results().await };
    done.await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

pub(crate) async fn rows(client: &mut Tiberius, sql: &str) -> Vec<Row> {
    let done = async { client.simple_query(sql).await?.into_first_result().await };
    done.await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// The number of the error that a batch ends with.
pub(crate) async fn error(client: &mut Tiberius, sql: &str) -> u32 {
    let done = async { client.simple_query(sql).await?.into_results().await };
    match done.await {
        Ok(results) => panic!("{sql}: {} results, no error", results.len()),
        Err(error) => error.code().unwrap_or_else(|| panic!("{sql}: {error}")),
    }
}

/// All cells as texts, in the words of Debug where a cell is no text; NULL is `-`.
pub(crate) async fn cells(client: &mut Tiberius, sql: &str) -> Vec<Vec<String>> {
    let rows = rows(client, sql).await;
    rows.into_iter().map(|row| row.cells().map(|(_, cell)| shown(cell)).collect()).collect()
}

/// One cell.
pub(crate) async fn cell(client: &mut Tiberius, sql: &str) -> String {
    cells(client, sql).await.concat().concat()
}

fn shown(cell: &ColumnData<'static>) -> String {
    fn of<T>(value: &Option<T>, show: impl Fn(&T) -> String) -> String {
        value.as_ref().map_or_else(|| "-".to_owned(), show)
    }
    match cell {
        ColumnData::U8(value) => of(value, u8::to_string),
        ColumnData::I16(value) => of(value, i16::to_string),
        ColumnData::I32(value) => of(value, i32::to_string),
        ColumnData::I64(value) => of(value, i64::to_string),
        ColumnData::F32(value) => of(value, f32::to_string),
        ColumnData::F64(value) => of(value, f64::to_string),
        ColumnData::Bit(value) => of(value, |bit| u8::from(*bit).to_string()),
        ColumnData::String(value) => of(value, |text| text.clone().into_owned()),
        ColumnData::Guid(value) => of(value, |guid| guid.to_string().to_uppercase()),
        ColumnData::Binary(value) => {
            of(value, |bytes| bytes.iter().map(|byte| format!("{byte:02X}")).collect())
        }
        ColumnData::Numeric(value) => of(value, ToString::to_string),
        ColumnData::Xml(value) => of(value, |xml| xml.to_string()),
        other => format!("{other:?}"),
    }
}

/// Waits until the server has begun to run a batch.
pub(crate) async fn runs(server: &Server, sql: &str) {
    let begun = || async { server.batches().iter().any(|batch| batch.contains(sql)) };
    eventually(&format!("the server runs {sql}"), begun).await;
}
