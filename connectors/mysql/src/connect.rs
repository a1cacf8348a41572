//! Opening connections: address, credentials, TLS and the settings that every session has.

use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use transload_core::{Error, Result, Secret};
use transload_sql::hex_literal;
use transload_sql::tls::client_config;

use crate::channel::{Answer, Channel, gone};
use crate::config::MysqlConfig;
use crate::error::{connect_error, connect_timeout, socket_error};
use crate::link::Link;
use crate::login::Login;
use crate::protocol::Flavour;

/// Opens connections with the same options.
#[derive(Clone)]
pub(crate) struct Connect {
    options: Arc<MysqlConfig>,
    secret: Option<Secret>,
    tls: TlsConnector,
}

/// An open connection.
pub(crate) struct Opened {
    pub(crate) channel: Channel,
    pub(crate) flavour: Flavour,
    pub(crate) version: String,
    /// The server's number of the connection.
    pub(crate) thread: u32,
}

impl transload_sql::wire::Connection for Opened {
    fn is_lost(&self) -> bool {
        self.channel.is_lost()
    }

    fn gone() -> Error {
        gone()
    }
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect").field("server", &self.address()).finish_non_exhaustive()
    }
}

impl Connect {
    pub(crate) fn new(options: &MysqlConfig, secret: Option<&Secret>) -> Result<Self> {
        options.check()?;
        let tls = TlsConnector::from(Arc::new(client_config(options.tls_options())?));
        Ok(Self { options: Arc::new(options.clone()), secret: secret.cloned(), tls })
    }

    pub(crate) fn options(&self) -> &MysqlConfig {
        &self.options
    }

    fn address(&self) -> String {
        match &self.options.socket {
            Some(path) => path.display().to_string(),
            None => format!("{}:{}", self.options.host, self.options.port),
        }
    }

    /// Opens a connection and logs in.
    pub(crate) async fn open(&self) -> Result<Opened> {
        let (address, timeout) = (self.address(), Duration::from_secs(self.options.connect_timeout));
        let opening = tokio::time::timeout(timeout, Box::pin(self.open_at(&address)));
        let opened = opening.await.unwrap_or_else(|_| Err(connect_timeout(&address, timeout)));
        opened.map_err(|error| connect_error(&address, error))
    }

    async fn open_at(&self, address: &str) -> Result<Opened> {
        let link = self.link().await.map_err(|error| socket_error(address, error))?;
        let mut channel = Channel::new(link, self.options.read_timeout.map(Duration::from_secs));
        let login = Login { options: &self.options, secret: self.secret.as_ref(), tls: &self.tls, address };
        let greeting = login.run(&mut channel).await?;
        let (flavour, thread) = (greeting.flavour, greeting.thread);
        Ok(Opened { channel, flavour, version: greeting.version, thread })
    }

    async fn link(&self) -> std::io::Result<Link> {
        #[cfg(unix)]
        if let Some(path) = &self.options.socket {
            return UnixStream::connect(path).await.map(Link::unix);
        }
        let stream = TcpStream::connect((self.options.host.as_str(), self.options.port)).await?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(self.options.keepalives_idle));
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Link::tcp(stream))
    }

    /// What every session sets, so that values and rows do not depend on how the server or the user is set up.
    pub(crate) fn settings(&self, flavour: Flavour) -> String {
        let mut settings = vec![
            "sql_mode = ''".to_owned(),
            "time_zone = '+00:00'".to_owned(),
            // A user's own limit would cut tables off without a word.
            "sql_select_limit = 18446744073709551615".to_owned(),
            "max_join_size = 18446744073709551615".to_owned(),
            format!("net_write_timeout = {}", self.options.net_write_timeout),
            // The connection that holds a snapshot is idle while others read.
            "wait_timeout = 86400".to_owned(),
        ];
        let limit = self.options.statement_timeout;
        match flavour {
            Flavour::Mariadb => {
                settings.extend(
                    ["idle_transaction_timeout = 0", "idle_readonly_transaction_timeout = 0"]
                        .map(str::to_owned),
                );
                settings.extend(limit.map(|seconds| format!("max_statement_time = {seconds}")));
            }
            Flavour::Mysql => {
                settings.extend(
                    limit.map(|seconds| format!("max_execution_time = {}", seconds.saturating_mul(1000))),
                );
            }
        }
        for (name, value) in &self.options.variables {
            let number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let value = if number { value.clone() } else { text_literal(value) };
            settings.push(format!("{name} = {value}"));
        }
        format!(
            "SET NAMES utf8mb4; SET SESSION {}; SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            settings.join(", SESSION ")
        )
    }

    /// Opens a connection with its settings, and asks it. The last answers are those of `sql`.
    pub(crate) async fn ask(&self, sql: &str) -> Result<(Opened, Vec<Answer>)> {
        let mut opened = self.open().await?;
        let answers = opened.channel.query(&format!("{}; {sql}", self.settings(opened.flavour))).await?;
        Ok((opened, answers))
    }

    /// Asks the server to stop what a connection is doing. Best effort.
    pub(crate) async fn cancel(&self, thread: u32) {
        let asking = async {
            let mut opened = self.open().await?;
            opened.channel.query(&format!("KILL QUERY {thread}")).await?;
            opened.channel.quit().await;
            Ok::<_, Error>(())
        };
        if let Err(error) = asking.await {
            tracing::debug!(%error, "a query could not be cancelled");
        }
    }
}

/// A text as a literal that no setting and no escape can change.
pub(crate) fn text_literal(text: &str) -> String {
    format!("_utf8mb4 {}", hex_literal(text.as_bytes()))
}

impl Answer {
    /// The cells of one row by their column.
    pub(crate) fn cell<'a>(&self, row: &'a [Option<String>], column: &str) -> Result<Option<&'a str>> {
        let at = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column));
        let cell = at.and_then(|at| row.get(at));
        cell.map(Option::as_deref).ok_or_else(|| Error::internal(format!("the catalog gave no {column}")))
    }

    /// A cell that may not be NULL.
    pub(crate) fn text<'a>(&self, row: &'a [Option<String>], column: &str) -> Result<&'a str> {
        let cell = self.cell(row, column)?;
        cell.ok_or_else(|| Error::internal(format!("the catalog gave NULL for {column}")))
    }

    /// A cell as a number, if it is one.
    pub(crate) fn number<T: std::str::FromStr>(
        &self,
        row: &[Option<String>],
        column: &str,
    ) -> Result<Option<T>> {
        Ok(self.cell(row, column)?.and_then(|text| text.parse().ok()))
    }
}
