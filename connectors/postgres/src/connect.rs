//! Opening connections: address, credentials, TLS and the settings that every session has.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncReadExt as _;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::net::{TcpStream, lookup_host};
use tokio_postgres::config::{self, Host, SslMode};
use tokio_postgres::{CancelToken, Client, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;
use transload_core::{Error, ErrorKind, Result, Secret};
use transload_sql::quote_literal;
use transload_sql::tls::client_config;

use crate::config::{ChannelBinding, PostgresConfig, TargetSessionAttrs, TlsMode};
use crate::dialect::Dialect;
use crate::error::{connect_error, connect_timeout, error, io_error, silence, socket_error};
use crate::hosts::{Address, Role, addresses};
use crate::passfile;
use crate::tap::{Socket, Taken, Tap, TapTls};

/// Opens connections with the same options.
#[derive(Clone)]
pub(crate) struct Connect {
    targets: Vec<Arc<Target>>,
    wanted: TargetSessionAttrs,
    tls: MakeRustlsConnect,
    timeout: Duration,
    read_timeout: Option<Duration>,
    keepalive: Option<TcpKeepalive>,
    settings: Arc<str>,
    dialect: Dialect,
}

/// One server, and how to log in there.
struct Target {
    server: Address,
    login: tokio_postgres::Config,
}

/// An open connection: what asks the driver, and the stream under it.
pub(crate) struct Opened {
    client: Client,
    tap: Tap,
    /// Questions whose answers nobody has seen: given up, or too late.
    owed: AtomicUsize,
    /// How long the server may be silent when something is awaited.
    pub(crate) read_timeout: Option<Duration>,
    peer: Peer,
}

/// The other end of a connection. A name may stand for several servers, and what belongs to a connection (its
/// snapshot, the query to cancel) is known to one of them only.
#[derive(Clone)]
pub(crate) struct Peer {
    target: Arc<Target>,
    end: End,
}

#[derive(Clone)]
enum End {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(PathBuf),
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let servers: Vec<_> = self.targets.iter().map(|target| target.server.to_string()).collect();
        f.debug_struct("Connect").field("servers", &servers).finish_non_exhaustive()
    }
}

impl Connect {
    pub(crate) fn new(options: &PostgresConfig, secret: Option<&Secret>, dialect: Dialect) -> Result<Self> {
        options.check()?;
        let target = |server| Ok(Arc::new(Target { login: login(options, secret, &server)?, server }));
        Ok(Self {
            targets: addresses(options)?.into_iter().map(target).collect::<Result<_>>()?,
            wanted: options.target_session_attrs,
            tls: MakeRustlsConnect::new(client_config(options.tls_options())?),
            timeout: Duration::from_secs(options.connect_timeout),
            read_timeout: options.read_timeout.map(Duration::from_secs),
            keepalive: options.keepalives.then(|| keepalive(options)),
            settings: settings(options, dialect).into(),
            dialect,
        })
    }

    /// Opens a connection to the first host that takes it and will do. As with libpq, a host that refuses the
    /// login ends the search.
    pub(crate) async fn open(&self) -> Result<Opened> {
        let mut failed = Vec::new();
        for role in self.wanted.roles() {
            for target in &self.targets {
                let peers = self.peers(target).await.unwrap_or_else(|error| {
                    failed.push(error);
                    Vec::new()
                });
                for peer in peers {
                    match self.open_as(&peer, *role).await {
                        Ok(opened) => return Ok(opened),
                        Err(error) if matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout) => {
                            failed.push(error);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Err(no_host(failed))
    }

    /// All servers that a name stands for.
    async fn peers(&self, target: &Arc<Target>) -> Result<Vec<Peer>> {
        let Address { host, ip, port } = &target.server;
        let peer = |end| Peer { target: Arc::clone(target), end };
        let name = match (host, ip) {
            #[cfg(unix)]
            (Host::Unix(folder), _) => {
                return Ok(vec![peer(End::Unix(folder.join(format!(".s.PGSQL.{port}"))))]);
            }
            (_, Some(ip)) => return Ok(vec![peer(End::Tcp((*ip, *port).into()))]),
            (Host::Tcp(name), None) => name,
        };
        let found = tokio::time::timeout(self.timeout, lookup_host((name.as_str(), *port))).await;
        let found = found.map_err(|_| connect_timeout(&target.server.to_string(), self.timeout))?;
        let found = found.map_err(|error| socket_error(&target.server.to_string(), error))?;
        Ok(found.map(|address| peer(End::Tcp(address))).collect())
    }

    /// Opens a further connection to the same server.
    pub(crate) async fn open_beside(&self, peer: &Peer) -> Result<Opened> {
        self.open_as(peer, Role::Any).await
    }

    async fn open_as(&self, peer: &Peer, role: Role) -> Result<Opened> {
        let opening = tokio::time::timeout(self.timeout, self.open_at(peer, role));
        opening.await.unwrap_or_else(|_| Err(connect_timeout(&peer.name(), self.timeout)))
    }

    /// The driver's half of a connection runs as a task of its own until the client is dropped.
    async fn open_at(&self, peer: &Peer, role: Role) -> Result<Opened> {
        let tap = self.socket(peer).await.map_err(|error| socket_error(&peer.name(), error))?;
        let opened = peer.target.login.connect_raw(tap.clone(), self.tls_to(peer)).await;
        let (client, connection) = opened.map_err(|error| connect_error(&peer.name(), error))?;
        if self.dialect == Dialect::Postgres {
            refuse_redshift(connection.parameter("server_version"), peer)?;
        }
        tokio::spawn(async move {
            // The client's calls report the same error; this is only for the log.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a PostgreSQL connection ended");
            }
        });
        if role != Role::Any {
            check_role(&client, peer, role).await?;
        }
        Ok(Opened {
            client,
            tap,
            owed: AtomicUsize::new(0),
            read_timeout: self.read_timeout,
            peer: peer.clone(),
        })
    }

    fn tls_to(&self, peer: &Peer) -> TapTls {
        let name = match &peer.target.server.host {
            Host::Tcp(name) => name,
            #[cfg(unix)]
            Host::Unix(_) => "",
        };
        TapTls::new(self.tls.clone(), name)
    }

    async fn socket(&self, peer: &Peer) -> io::Result<Tap> {
        let address = match &peer.end {
            End::Tcp(address) => address,
            #[cfg(unix)]
            End::Unix(path) => {
                return UnixStream::connect(path).await.map(|stream| Tap::new(Socket::Unix(stream)));
            }
        };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        if let Some(keepalive) = &self.keepalive {
            SockRef::from(&stream).set_tcp_keepalive(keepalive)?;
        }
        Ok(Tap::new(Socket::Tcp(stream)))
    }

    /// Asks the server to stop what a connection is doing, and waits until it has heard. Best effort.
    pub(crate) async fn cancel(&self, token: CancelToken, peer: &Peer) {
        let asking = async {
            let mut tap = self.socket(peer).await?;
            tap.stay_open();
            token.cancel_query_raw(tap.clone(), self.tls_to(peer)).await.map_err(io::Error::other)?;
            // The server closes when the signal is sent. Only then it cannot hit a later statement.
            tap.read(&mut [0]).await
        };
        match tokio::time::timeout(self.timeout, asking).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a query could not be cancelled"),
            Err(_) => tracing::debug!("a query could not be cancelled in time"),
        }
    }

    /// How a transaction begins: it reads one snapshot, a further connection's if there is one to join, and
    /// writes nothing. The settings hold inside it and not from start-up on, which poolers refuse or forget.
    pub(crate) fn begin(&self, snapshot: Option<&str>) -> Result<String> {
        let join = match snapshot {
            Some(snapshot) => format!("; SET TRANSACTION SNAPSHOT {}", quote_literal(snapshot)?),
            None => String::new(),
        };
        Ok(format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY{join}{}", self.settings))
    }

    /// Opens a connection and asks it, inside a transaction. The last results are those of `sql`.
    pub(crate) async fn ask(&self, sql: &str) -> Result<(Opened, Vec<Vec<SimpleQueryRow>>)> {
        let opened = self.open().await?;
        let results = opened.batch(&format!("{}; {sql}", self.begin(None)?)).await?;
        Ok((opened, results))
    }
}

impl Opened {
    /// How to reach what this connection is doing; see [`Connect::cancel`].
    pub(crate) fn cancelling(&self) -> (CancelToken, Peer) {
        (self.client.cancel_token(), self.peer.clone())
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tap.is_tls()
    }

    /// The stream itself. A connection that still owes an answer has none to give: it would be taken for the next one's.
    pub(crate) fn take(&self) -> Result<Taken> {
        if self.owed.load(Ordering::Acquire) > 0 {
            return Err(Error::new(
                ErrorKind::Unreachable,
                "the connection still owes an answer that was given up",
            )
            .hint("run again"));
        }
        Tap::take(&self.tap).map_err(io_error)
    }

    /// Runs statements in one round trip and gives the rows of each.
    pub(crate) async fn batch(&self, sql: &str) -> Result<Vec<Vec<SimpleQueryRow>>> {
        self.owed.fetch_add(1, Ordering::AcqRel);
        let answer = batch(&self.client, sql);
        let answer = match self.read_timeout {
            None => answer.await,
            Some(most) => tokio::time::timeout(most, answer).await.map_err(|_| silence(most))?,
        };
        self.owed.fetch_sub(1, Ordering::AcqRel);
        answer
    }

    /// The other end.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Peer {
    fn name(&self) -> String {
        self.target.server.to_string()
    }
}

fn login(
    options: &PostgresConfig,
    secret: Option<&Secret>,
    server: &Address,
) -> Result<tokio_postgres::Config> {
    let database = options.database.as_deref().unwrap_or(&options.username);
    let mut login = tokio_postgres::Config::new();
    login
        .user(&options.username)
        .dbname(database)
        .application_name(&options.application_name)
        .channel_binding(match options.channel_binding {
            ChannelBinding::Disable => config::ChannelBinding::Disable,
            ChannelBinding::Prefer => config::ChannelBinding::Prefer,
            ChannelBinding::Require => config::ChannelBinding::Require,
        })
        .ssl_mode(match (&server.host, options.tls) {
            // As libpq does: a socket of this machine is not encrypted, whatever is asked for.
            #[cfg(unix)]
            (Host::Unix(_), _) => SslMode::Disable,
            (_, TlsMode::Disable) => SslMode::Disable,
            (_, TlsMode::Prefer) => SslMode::Prefer,
            _ => SslMode::Require,
        });
    match (secret, &options.passfile) {
        (Some(secret), _) => {
            login.password(secret.expose());
        }
        (None, Some(path)) => {
            if let Some(found) = passfile::password(path, server, database, &options.username)? {
                login.password(found);
            }
        }
        (None, None) => {}
    }
    Ok(login)
}

fn keepalive(options: &PostgresConfig) -> TcpKeepalive {
    let mut keepalive = TcpKeepalive::new().with_time(Duration::from_secs(options.keepalives_idle));
    if let Some(seconds) = options.keepalives_interval {
        keepalive = keepalive.with_interval(Duration::from_secs(seconds));
    }
    match options.keepalives_count {
        Some(count) => keepalive.with_retries(count),
        None => keepalive,
    }
}

/// What every transaction sets.
fn settings(options: &PostgresConfig, dialect: Dialect) -> String {
    let mut settings = String::new();
    for setting in dialect.settings() {
        settings.push_str("; SET LOCAL ");
        settings.push_str(setting);
    }
    if let Some(seconds) = options.statement_timeout {
        settings.push_str(&format!("; SET LOCAL statement_timeout = {}", seconds.saturating_mul(1000)));
    }
    settings
}

/// Redshift calls itself version 8.0.2 of PostgreSQL.
fn refuse_redshift(version: Option<&str>, peer: &Peer) -> Result<()> {
    if version.is_none_or(|version| !version.starts_with("8.0.")) {
        return Ok(());
    }
    Err(Error::unsupported(format!("the server at {} is Amazon Redshift, not PostgreSQL", peer.name()))
        .operation("connect")
        .with("server", peer.name())
        .hint("set the connection's type to `redshift`"))
}

async fn check_role(client: &Client, peer: &Peer, role: Role) -> Result<()> {
    let sql = "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS read_only";
    let results = batch(client, sql).await?;
    let row = results.iter().flatten().next();
    let row = row.ok_or_else(|| Error::internal("the server did not tell whether it is a standby"))?;
    if role.fits(text(row, "standby")? == "t", text(row, "read_only")? == "on") {
        return Ok(());
    }
    let what = format!("PostgreSQL at {} is not what `target_session_attrs` asks for", peer.name());
    Err(Error::new(ErrorKind::Unreachable, what)
        .operation("connect")
        .with("server", peer.name())
        .hint("check `host` and `target_session_attrs`"))
}

/// What is told when no host is left to try.
fn no_host(mut failed: Vec<Error>) -> Error {
    // The addresses of one name fail with one text.
    failed.dedup_by(|one, other| one.message() == other.message());
    let Some(last) = failed.pop() else { return Error::config("a PostgreSQL host without an address") };
    if failed.is_empty() {
        return last;
    }
    let all: Vec<_> = failed.iter().chain([&last]).map(Error::message).collect();
    Error::new(last.kind(), format!("no host takes the connection: {}", all.join("; ")))
        .operation("connect")
        .hint(last.hint_text().unwrap_or("check `host` and `port`").to_owned())
        .source_error(last)
}

/// See [`Opened::batch`].
async fn batch(client: &Client, sql: &str) -> Result<Vec<Vec<SimpleQueryRow>>> {
    let messages = client.simple_query(sql).await.map_err(error)?;
    let mut results = vec![Vec::new()];
    for message in messages {
        match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                if let Some(rows) = results.last_mut() {
                    rows.push(row);
                }
            }
            tokio_postgres::SimpleQueryMessage::CommandComplete(_) => results.push(Vec::new()),
            _ => {}
        }
    }
    // The last one is of no statement.
    results.pop();
    Ok(results)
}

/// A column of a text row that may not be NULL.
pub(crate) fn text<'a>(row: &'a SimpleQueryRow, column: &str) -> Result<&'a str> {
    optional(row, column)?.ok_or_else(|| Error::internal(format!("the catalog gave NULL for {column}")))
}

/// A column of a text row.
pub(crate) fn optional<'a>(row: &'a SimpleQueryRow, column: &str) -> Result<Option<&'a str>> {
    row.try_get(column).map_err(error)
}
