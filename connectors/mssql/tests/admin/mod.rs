//! Another client, which makes the tables of the tests and says what is in them, and the server that is used: the one
//! that `TRANSLOAD_SQLSERVER_URL` names, or else the test server of this repository.

use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt as _};
use transload_core::{Connection, Secret};
use transload_tds_server::{Server, Settings};

/// What names a real server, whose user may do everything in a database that may be written to. It must take logins
/// without encryption, since this client speaks no TLS.
pub(crate) const URL: &str = "TRANSLOAD_SQLSERVER_URL";

/// The server that tests use.
pub(crate) struct Used {
    pub(crate) connection: Connection,
    /// `None` if it is a real one.
    pub(crate) own: Option<Server>,
}

/// The server that the environment names, or one of our own.
pub(crate) async fn used() -> Used {
    match std::env::var(URL) {
        Ok(url) => Used { connection: Connection::from_url(&url).unwrap(), own: None },
        Err(_) => own(Settings::default()).await,
    }
}

/// A server of our own.
pub(crate) async fn own(settings: Settings) -> Used {
    let server = Server::start(settings).await.unwrap();
    let url = format!("sqlserver://sa@{}/shop?encrypt=disable", server.address());
    let connection = Connection::from_url(&url).unwrap().password(Secret::new(server.password().to_owned()));
    Used { connection, own: Some(server) }
}

/// Runs statements as another client.
#[derive(Clone)]
pub(crate) struct Admin(Config);

impl Admin {
    pub(crate) fn of(connection: &Connection) -> Self {
        let document = connection.to_json();
        let text = |name: &str| document[name].as_str().map(str::to_owned);
        let mut config = Config::new();
        config.host(text("host").unwrap_or_else(|| "localhost".into()));
        config.port(document["port"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or(1433));
        if let Some(database) = text("database") {
            config.database(database);
        }
        let password =
            connection.inline_secret().map(|secret| secret.expose().to_owned()).unwrap_or_default();
        config.authentication(AuthMethod::sql_server(
            text("username").unwrap_or_else(|| "sa".into()),
            password,
        ));
        config.encryption(EncryptionLevel::NotSupported);
        // The suite has a limit of its own, and this server is an unoptimised one on a busy machine.
        config.handshake_timeout(None);
        config.command_timeout(None);
        Self(config)
    }

    pub(crate) async fn client(&self) -> Client<Compat<TcpStream>> {
        let stream = TcpStream::connect(self.0.get_addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client::connect(self.0.clone(), stream.compat_write()).await.unwrap()
    }

    /// Runs a batch, and gives the rows of its results as texts.
    pub(crate) async fn run(&self, sql: &str) -> Result<Vec<Vec<String>>, tiberius::error::Error> {
        let mut client = self.client().await;
        let results = client.simple_query(sql).await?.into_results().await?;
        let rows = results.into_iter().flatten().map(|row| row.into_iter().map(text_of).collect());
        Ok(rows.collect())
    }
}

fn text_of(data: ColumnData<'static>) -> String {
    let text = match data {
        ColumnData::U8(value) => value.map(|value| value.to_string()),
        ColumnData::I16(value) => value.map(|value| value.to_string()),
        ColumnData::I32(value) => value.map(|value| value.to_string()),
        ColumnData::I64(value) => value.map(|value| value.to_string()),
        ColumnData::F32(value) => value.map(|value| value.to_string()),
        ColumnData::F64(value) => value.map(|value| value.to_string()),
        ColumnData::Bit(value) => value.map(|value| u8::from(value).to_string()),
        ColumnData::String(value) => value.map(|value| value.into_owned()),
        ColumnData::Numeric(value) => value.map(|value| value.to_string()),
        ColumnData::Guid(value) => value.map(|value| value.to_string()),
        ColumnData::Binary(value) => {
            value.map(|value| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
        other => Some(format!("{other:?}")),
    };
    text.unwrap_or_else(|| "NULL".to_owned())
}
