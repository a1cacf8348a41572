//! Opening connections: address, credentials, TLS, redirects and the settings that every session has.

use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use transload_core::{Error, ErrorKind, Result, Secret};
use transload_sql::tls::{Versions, client_config_of};

use crate::browser::port_of;
use crate::channel::{Answer, Channel};
use crate::config::{Encrypt, Isolation, MssqlConfig};
use crate::error::{connect_error, connect_timeout, gone, socket_error};
use crate::link::Link;
use crate::login::{Login, Outcome};

/// How often a server may send elsewhere: a gateway of Azure does so once.
const MOST_REDIRECTS: usize = 4;

/// Opens connections with the same options.
#[derive(Clone)]
pub(crate) struct Connect {
    options: Arc<MssqlConfig>,
    secret: Option<Secret>,
    tls: TlsConnector,
}

/// An open connection.
pub(crate) struct Opened {
    pub(crate) channel: Channel,
}

impl transload_sql::wire::Connection for Opened {
    fn is_lost(&self) -> bool {
        self.channel.is_lost()
    }

    fn gone() -> Error {
        gone()
    }
}

/// What a server says of itself and of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// `SERVERPROPERTY('EngineEdition')`
    pub(crate) engine: u32,
    /// `15.0.2000.5`
    pub(crate) version: String,
    pub(crate) edition: String,
    pub(crate) database: String,
    /// Whether the database allows SNAPSHOT.
    pub(crate) snapshot: bool,
    /// Whether READ COMMITTED reads row versions, so that each statement sees one moment.
    pub(crate) versioned: bool,
}

impl Server {
    pub(crate) fn is_synapse(&self) -> bool {
        matches!(self.engine, 6 | 11)
    }

    /// Azure's services are always of the newest version, whatever number they give.
    fn is_azure(&self) -> bool {
        matches!(self.engine, 5 | 6 | 8 | 11 | 12)
    }

    fn major(&self) -> u32 {
        self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }

    /// 2016: temporal tables and hidden columns.
    pub(crate) fn has_periods(&self) -> bool {
        !self.is_synapse() && (self.is_azure() || self.major() >= 13)
    }

    /// 2019: collations of UTF-8.
    pub(crate) fn has_utf8(&self) -> bool {
        self.is_azure() || self.major() >= 15
    }

    pub(crate) fn product(&self) -> &'static str {
        match self.engine {
            5 => "Azure SQL Database",
            6 => "Azure Synapse dedicated SQL pool",
            8 => "Azure SQL Managed Instance",
            9 => "Azure SQL Edge",
            11 => "Azure Synapse serverless SQL pool",
            12 => "SQL database in Microsoft Fabric",
            _ => "SQL Server",
        }
    }
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect").field("server", &self.address()).finish_non_exhaustive()
    }
}

/// What says who a server is.
const HELLO: &str = "SELECT CAST(SERVERPROPERTY(N'EngineEdition') AS int) AS engine, \
    CAST(SERVERPROPERTY(N'ProductVersion') AS nvarchar(128)) AS version, \
    CAST(SERVERPROPERTY(N'Edition') AS nvarchar(128)) AS edition, DB_NAME() AS db;\n\
    SELECT CAST(d.snapshot_isolation_state AS int) AS snapshot, \
    CAST(d.is_read_committed_snapshot_on AS int) AS versioned FROM sys.databases AS d WHERE d.name = DB_NAME()";

impl Connect {
    pub(crate) fn new(options: &MssqlConfig, secret: Option<&Secret>) -> Result<Self> {
        options.check()?;
        let versions = match options.encrypt {
            Encrypt::Strict => Versions::All,
            // Under TDS 7 the server speaks 1.2, and its tickets of 1.3 would come between handshake and login.
            _ => Versions::OnlyTls12,
        };
        let mut tls = client_config_of(options.tls_options(), versions)?;
        if options.encrypt == Encrypt::Strict {
            tls.alpn_protocols = vec![b"tds/8.0".to_vec()];
        }
        Ok(Self {
            options: Arc::new(options.clone()),
            secret: secret.cloned(),
            tls: TlsConnector::from(Arc::new(tls)),
        })
    }

    pub(crate) fn options(&self) -> &MssqlConfig {
        &self.options
    }

    fn address(&self) -> String {
        let host = &self.options.host;
        match (&self.options.instance, self.options.port) {
            (Some(instance), None) => format!("{host}\\{instance}"),
            (_, port) => format!("{host}:{}", port.unwrap_or(DEFAULT_PORT)),
        }
    }

    /// Opens a connection and logs in.
    pub(crate) async fn open(&self) -> Result<Opened> {
        let (address, timeout) = (self.address(), Duration::from_secs(self.options.connect_timeout));
        let opening = tokio::time::timeout(timeout, Box::pin(self.open_somewhere(&address)));
        let opened = opening.await.unwrap_or_else(|_| Err(connect_timeout(&address, timeout)));
        opened.map_err(|error| connect_error(&address, error))
    }

    async fn open_somewhere(&self, address: &str) -> Result<Opened> {
        let mut host = self.options.host.clone();
        let mut port = match (&self.options.instance, self.options.port) {
            (_, Some(port)) => port,
            (Some(instance), None) => port_of(&host, instance).await?,
            (None, None) => DEFAULT_PORT,
        };
        for _ in 0..MOST_REDIRECTS {
            let link = self.link(&host, port).await.map_err(|error| socket_error(address, error))?;
            let mut channel = Channel::new(link, self.options.read_timeout.map(Duration::from_secs));
            let (options, secret, tls) = (&*self.options, self.secret.as_ref(), &self.tls);
            let login = Login { options, secret, tls, host: &host, address };
            match login.run(&mut channel).await? {
                Outcome::In => return Ok(Opened { channel }),
                Outcome::Elsewhere(next, next_port) => {
                    // The port is said; the name of an instance is for people.
                    host = next.split('\\').next().unwrap_or_default().to_owned();
                    port = next_port;
                }
            }
        }
        Err(Error::new(ErrorKind::Unreachable, "the server sends from one address to the next")
            .hint("try later"))
    }

    async fn link(&self, host: &str, port: u16) -> std::io::Result<Link> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(self.options.keepalives_idle));
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Link::tcp(stream))
    }

    /// Opens a connection and asks who the server is.
    pub(crate) async fn meet(&self) -> Result<(Opened, Server)> {
        let mut opened = self.open().await?;
        let answers = opened.channel.query(HELLO).await?;
        let [who, database] = answers.as_slice() else {
            return Err(Error::internal("the server does not say who it is"));
        };
        let row = who.rows.first().ok_or_else(|| Error::internal("the server does not say who it is"))?;
        let of_database = |column| match database.rows.first() {
            Some(row) => database.is(row, column),
            None => Ok(false),
        };
        let server = Server {
            engine: who.number(row, "engine")?.unwrap_or(0),
            version: who.cell(row, "version")?.unwrap_or_default().to_owned(),
            edition: who.cell(row, "edition")?.unwrap_or_default().to_owned(),
            database: who.cell(row, "db")?.unwrap_or_default().to_owned(),
            snapshot: of_database("snapshot")?,
            versioned: of_database("versioned")?,
        };
        Ok((opened, server))
    }

    /// Which isolation a session has.
    pub(crate) fn isolation(&self, server: &Server) -> Result<Isolation> {
        match self.options.isolation {
            Isolation::ReadCommitted => Ok(Isolation::ReadCommitted),
            _ if server.snapshot && !server.is_synapse() => Ok(Isolation::Snapshot),
            Isolation::Auto => Ok(Isolation::ReadCommitted),
            Isolation::Snapshot => {
                let text = format!("database {} does not allow SNAPSHOT isolation", server.database);
                Err(Error::unsupported(text).with("option", "isolation").hint(
                    "ALTER DATABASE ... SET ALLOW_SNAPSHOT_ISOLATION ON, or set `isolation` to `read_committed`",
                ))
            }
        }
    }

    /// What every session sets, so that values and rows do not depend on how the server or the user is set up.
    pub(crate) fn settings(&self, server: &Server, isolation: Isolation) -> String {
        let wait = u64::from(self.options.lock_timeout).saturating_mul(1000);
        if server.is_synapse() {
            // It has no more of them, and one isolation.
            return "SET ROWCOUNT 0".to_owned();
        }
        let isolation = match isolation {
            Isolation::Snapshot => "SNAPSHOT",
            _ => "READ COMMITTED",
        };
        // With XACT_ABORT, whatever is cancelled would end the transaction and its snapshot.
        format!(
            "SET NOCOUNT ON; SET TEXTSIZE 2147483647; SET ROWCOUNT 0; SET XACT_ABORT OFF; SET LOCK_TIMEOUT {wait}; \
             SET DEADLOCK_PRIORITY LOW; SET ANSI_WARNINGS ON; SET ANSI_PADDING ON; SET ANSI_NULLS ON; SET ARITHABORT ON; \
             SET CONCAT_NULL_YIELDS_NULL ON; SET QUOTED_IDENTIFIER ON; SET TRANSACTION ISOLATION LEVEL {isolation}"
        )
    }

    /// Opens a connection and asks it.
    pub(crate) async fn ask(&self, sql: &str) -> Result<Vec<Answer>> {
        let mut opened = self.open().await?;
        opened.channel.query(sql).await
    }
}

const DEFAULT_PORT: u16 = 1433;
