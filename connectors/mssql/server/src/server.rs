//! The server: it listens, and knows its sessions.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::connection::connect;
use crate::engine::locks::Locks;
use crate::engine::storage::Databases;
use crate::engine::{Engine, Faults};
use crate::error::{Result, SqlError};
use crate::settings::{Flavour, Settings};
use crate::signals::Signals;
use crate::wire::tls::Certificates;

/// A running server. Dropping it closes it and all of its connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    browser: Option<SocketAddr>,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a server says that it is.
#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) version: String,
    pub(crate) number: [u8; 4],
    pub(crate) edition: &'static str,
    pub(crate) banner: String,
}

/// A session, as others see it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) login: String,
    pub(crate) application: String,
    pub(crate) signals: Arc<Signals>,
    /// Told when the session is killed, so that an idle one ends too.
    pub(crate) killed: Arc<Notify>,
}

/// What connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) certificates: Certificates,
    pub(crate) databases: Databases,
    pub(crate) locks: Locks,
    pub(crate) faults: Faults,
    /// Logins that are still to be answered with an error.
    pub(crate) login_errors: AtomicU32,
    sessions: Mutex<BTreeMap<u16, Known>>,
    descriptors: AtomicU64,
    log: Mutex<Vec<String>>,
    logins: Mutex<Vec<LoginRecord>>,
    product: Product,
}

/// What a client said when it logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginRecord {
    /// The user, or empty for a token.
    pub user: String,
    /// The database that it asked for; empty if it left that to the server.
    pub database: String,
    /// The program's name.
    pub application: String,
    /// `ApplicationIntent=ReadOnly`
    pub read_only: bool,
    /// How much of the connection TLS covers: `nothing`, `login`, `everything` or `strict`.
    pub encryption: &'static str,
    /// The size of packets that was agreed on, in bytes.
    pub packet_size: usize,
}

impl Server {
    /// Starts a server on a free port of 127.0.0.1, with the databases `master`, `shop` (which allows snapshots) and
    /// `plain` (which does not).
    ///
    /// # Errors
    /// No port, no temporary folder, or host names that no certificate can have.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::new(settings)?);
        let mut tasks = Vec::new();
        let mut browser = None;
        if !shared.settings.instances.is_empty() {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            browser = Some(socket.local_addr()?);
            let instances = shared.settings.instances.clone();
            tasks.push(tokio::spawn(browse(socket, instances, address.port())));
        }
        let accepting = shared.clone();
        tasks.push(tokio::spawn(async move {
            // Connections end with the task that they belong to.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = accepting.clone();
                connections.spawn(async move {
                    // A client that goes away, or talks nonsense, ends its own connection only.
                    let _ended = connect(stream, shared).await;
                });
                while connections.try_join_next().is_some() {}
            }
        }));
        Ok(Self { address, browser, shared, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its browser service listens (UDP), if it has instances. The real one has port 1434.
    #[must_use]
    pub fn browser(&self) -> Option<SocketAddr> {
        self.browser
    }

    /// The password of `sa` and `etl`.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.shared.settings.password
    }

    /// The certificate of the authority that signed the server's, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.shared.certificates.authority
    }

    /// Runs T-SQL as `sa` in the database `shop`; batches are divided by lines that hold `GO` alone.
    ///
    /// # Errors
    /// The first error of a statement, with its number.
    pub async fn run(&self, script: &str) -> io::Result<()> {
        let missing = || io::Error::other("the database shop was dropped");
        let database = self.shared.databases.find("shop").ok_or_else(missing)?;
        let known = Known {
            login: "sa".to_owned(),
            application: "script".to_owned(),
            signals: Arc::default(),
            killed: Arc::default(),
        };
        let number = self.shared.enter(known)?;
        let (shared, script) = (self.shared.clone(), script.to_owned());
        let ran =
            tokio::task::spawn_blocking(move || Engine::script(shared, number, database, &script)).await;
        self.shared.leave(number);
        ran?.map_err(|error| io::Error::other(format!("error {}: {}", error.number, error.text)))
    }

    /// Numbers of the sessions that are open.
    #[must_use]
    pub fn sessions(&self) -> Vec<u16> {
        self.shared.sessions().keys().copied().collect()
    }

    /// Ends a session, as KILL does it.
    ///
    /// # Errors
    /// There is no such session.
    pub fn kill(&self, session: u16) -> io::Result<()> {
        self.shared.kill(session).map_err(|error| io::Error::other(error.text))
    }

    /// The batches that came in so far, as clients sent them.
    #[must_use]
    pub fn batches(&self) -> Vec<String> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The logins that came in so far, refused ones among them.
    #[must_use]
    pub fn logins(&self) -> Vec<LoginRecord> {
        self.shared.logins.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.sessions().values().for_each(|known| known.signals.kill());
    }
}

/// Batches that are remembered; older ones are forgotten.
const REMEMBERED: usize = 10_000;

impl Shared {
    fn new(settings: Settings) -> io::Result<Self> {
        let failed = |error: SqlError| io::Error::other(error.text);
        let snapshots = settings.flavour != Flavour::Synapse;
        let times = settings.login_error.as_ref().map_or(0, |error| error.times);
        Ok(Self {
            certificates: Certificates::make(&settings.hosts)?,
            databases: Databases::make(snapshots).map_err(failed)?,
            locks: Locks::default(),
            faults: Faults::default(),
            login_errors: AtomicU32::new(times),
            sessions: Mutex::default(),
            descriptors: AtomicU64::new(0x1_0000_0001),
            log: Mutex::default(),
            logins: Mutex::default(),
            product: product(settings.flavour),
            settings,
        })
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<u16, Known>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a new session; the first 50 are the system's.
    pub(crate) fn enter(&self, known: Known) -> io::Result<u16> {
        let mut sessions = self.sessions();
        let free = (51..u16::MAX).find(|number| !sessions.contains_key(number));
        let number = free.ok_or_else(|| io::Error::other("too many sessions"))?;
        sessions.insert(number, known);
        Ok(number)
    }

    pub(crate) fn leave(&self, session: u16) {
        self.sessions().remove(&session);
    }

    pub(crate) fn kill(&self, session: u16) -> Result<()> {
        let sessions = self.sessions();
        let known = sessions.get(&session).ok_or_else(|| {
            SqlError::new(6106, 16, format!("Process ID {session} is not an active process ID."))
        })?;
        known.signals.kill();
        known.killed.notify_one();
        Ok(())
    }

    pub(crate) fn session_list(&self) -> Vec<(u16, String, String)> {
        let sessions = self.sessions();
        let list =
            sessions.iter().map(|(number, known)| (*number, known.login.clone(), known.application.clone()));
        list.collect()
    }

    pub(crate) fn next_descriptor(&self) -> u64 {
        self.descriptors.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn product(&self) -> &Product {
        &self.product
    }

    pub(crate) fn log(&self, batch: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= REMEMBERED {
            log.drain(..REMEMBERED / 2);
        }
        log.push(batch.to_owned());
    }

    pub(crate) fn log_login(&self, login: LoginRecord) {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner).push(login);
    }
}

fn product(flavour: Flavour) -> Product {
    let (name, version, number, edition) = match flavour {
        Flavour::SqlServer => {
            ("Microsoft SQL Server 2022 (RTM)", "16.0.1000.6", [16, 0, 3, 232], "Developer Edition (64-bit)")
        }
        Flavour::AzureSql => ("Microsoft SQL Azure (RTM)", "12.0.2000.8", [12, 0, 7, 208], "SQL Azure"),
        Flavour::Synapse => {
            ("Microsoft Azure SQL Data Warehouse", "10.0.17554.0", [10, 0, 0x44, 0x92], "SQL Azure")
        }
    };
    let banner = format!("{name} - {version} (X64), the TDS test server of transload over SQLite");
    Product { version: version.to_owned(), number, edition, banner }
}

/// Answers the browser's requests [MC-SQLR]: 4 and the name of an instance.
async fn browse(socket: UdpSocket, instances: Vec<String>, port: u16) {
    let mut request = [0; 1024];
    while let Ok((length, from)) = socket.recv_from(&mut request).await {
        let Some((&4, name)) = request[..length].split_first() else { continue };
        let name = String::from_utf8_lossy(name);
        let name = name.trim_end_matches('\0');
        if !instances.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            // A real browser keeps silent when it does not know the instance.
            continue;
        }
        let text =
            format!("ServerName;TDSTEST;InstanceName;{name};IsClustered;No;Version;16.0.1000.6;tcp;{port};;");
        let mut answer = vec![5];
        answer.extend(u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
        answer.extend(text.bytes());
        let _gone = socket.send_to(&answer, from).await;
    }
}
