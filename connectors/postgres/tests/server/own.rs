//! Servers of one test, for what the shared one cannot be asked, or that the test breaks, restarts and configures:
//! started in a temporary folder on a port of their own as an unprivileged user, and ended with the test.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use transload_core::Connection;
use transload_testkit::port::KeptPort;
use transload_testkit::wait::{PATIENCE, eventually};

/// No server outlives this many seconds, even if the test is killed.
const LIFETIME: &str = "1200";

/// A folder that the servers of a test may use, and the user they run as. It is removed after the last of them.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) folder: Arc<TempDir>,
    /// Servers refuse to run as root.
    user: Option<(u32, u32)>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("transload-own").tempdir().unwrap();
        let root = folder.path().metadata().unwrap().uid() == 0;
        let ground = Self { folder: Arc::new(folder), user: root.then(unprivileged) };
        ground.hand_over(ground.folder.path());
        ground
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets the servers own a file, which nobody else may read.
    fn hand_over(&self, path: &Path) {
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        if let Some((user, group)) = self.user {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        self.hand_over(&path);
        path
    }

    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    pub(crate) fn run(&self, program: &Path, arguments: &[&str]) {
        let log = std::fs::File::create(self.path("command.log")).unwrap();
        let mut command = self.command(program);
        command.args(arguments).stdout(log.try_clone().unwrap()).stderr(log);
        let status = command.status().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let said = std::fs::read_to_string(self.path("command.log")).unwrap();
        assert!(status.success(), "{} {arguments:?}: {said}", program.display());
    }

    /// An authority, a server's certificate and clients' certificates, each as NAME.crt and NAME.key.
    pub(crate) fn certificates(&self, clients: &[&str]) {
        let authority = ["ca.key", "ca.crt"];
        self.write("v3.ext", "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n");
        self.openssl(&format!("req -x509 {KEY} ca.key -out ca.crt -days 2 -subj /CN=authority"));
        for name in ["localhost", "elsewhere"].iter().chain(clients) {
            self.openssl(&format!("req -new {KEY} {name}.key -out {name}.csr -subj /CN={name}"));
            let signing =
                format!("x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -in {name}.csr");
            self.openssl(&format!("{signing} -extfile v3.ext -out {name}.crt"));
            // As the manual of PostgreSQL makes them.
            self.openssl(&format!("{signing} -out {name}.v1.crt"));
            self.hand_over(&self.path(&format!("{name}.key")));
        }
        authority.iter().for_each(|name| self.hand_over(&self.path(name)));
    }

    fn openssl(&self, arguments: &str) {
        self.run(Path::new("openssl"), &arguments.split(' ').collect::<Vec<_>>());
    }
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout";

/// The user `postgres`, which its package makes.
fn unprivileged() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user postgres");
    let fields: Vec<_> = line.split(':').collect();
    (fields[2].parse().unwrap(), fields[3].parse().unwrap())
}

/// The folder of the newest PostgreSQL that is installed.
fn bin() -> PathBuf {
    if let Some(folder) = std::env::var_os("TRANSLOAD_POSTGRES_BIN") {
        return folder.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter(|path| path.join("bin/initdb").exists());
    let newest =
        newest.max_by_key(version).expect("PostgreSQL is installed, or TRANSLOAD_POSTGRES_BIN is set");
    newest.join("bin")
}

/// A running PostgreSQL. Its sockets are in the ground's folder.
pub(crate) struct Server {
    ground: Ground,
    /// The folder of its data, in the ground.
    data: &'static str,
    pub(crate) port: u16,
    _kept: KeptPort,
    process: Option<Child>,
}

impl Server {
    /// A new server on a ground of its own, with these lines in its configuration. It trusts everybody.
    pub(crate) async fn start(settings: &str) -> Self {
        Self::start_on(&Ground::new(), settings, "").await
    }

    /// The same on a ground. It trusts everybody, unless `hba` says otherwise.
    pub(crate) async fn start_on(ground: &Ground, settings: &str, hba: &str) -> Self {
        let (ground, settings, hba) = (ground.clone(), settings.to_owned(), hba.to_owned());
        blocking(move || {
            let server = Self::on(ground, "data");
            let make = ["-U", "postgres", "-A", "trust", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"];
            server.ground.run(&bin().join("initdb"), &[make.as_slice(), &[&server.folder()]].concat());
            if !hba.is_empty() {
                server.ground.write("data/pg_hba.conf", &hba);
            }
            server.configure(
                "fsync = off\nfull_page_writes = off\nlisten_addresses = '127.0.0.1'\ntimezone = 'UTC'",
            );
            let sockets = server.ground.folder.path().display();
            server.configure(&format!("unix_socket_directories = '{sockets}'\n{settings}"));
            server.run()
        })
        .await
    }

    fn on(ground: Ground, data: &'static str) -> Self {
        let kept = KeptPort::any().unwrap();
        Self { ground, data, port: kept.number(), _kept: kept, process: None }
    }

    /// A standby that streams from this server.
    pub(crate) async fn standby(&self, settings: &str) -> Self {
        let (ground, from, settings) = (self.ground.clone(), self.port.to_string(), settings.to_owned());
        blocking(move || {
            let server = Self::on(ground, "standby");
            let copy =
                ["-h", "127.0.0.1", "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "-N", "-p", &from];
            let folder = server.folder();
            server.ground.run(&bin().join("pg_basebackup"), &[copy.as_slice(), &["-D", &folder]].concat());
            server.configure(&settings);
            server.run()
        })
        .await
    }

    fn folder(&self) -> String {
        self.ground.path(self.data).display().to_string()
    }

    /// Adds lines to the configuration; they count from the next start on.
    pub(crate) fn configure(&self, settings: &str) {
        let file = format!("{}/postgresql.auto.conf", self.data);
        let text = std::fs::read_to_string(self.ground.path(&file)).unwrap();
        self.ground.write(&file, &format!("{text}\n{settings}\n"));
    }

    /// Starts the server and waits until it takes connections.
    fn run(mut self) -> Self {
        let path = self.ground.path(&format!("{}.log", self.data));
        let log = std::fs::File::create(&path).unwrap();
        let mut command = self.ground.command(Path::new("timeout"));
        command.args(["--signal=INT", LIFETIME]).arg(bin().join("postgres"));
        command.args(["-D", &self.folder(), "-p", &self.port.to_string()]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let process = self.process.insert(command.spawn().expect("the server is started with timeout(1)"));
        let until = Instant::now() + PATIENCE;
        loop {
            // Over its socket, which nobody else has.
            let mut ready = Command::new(bin().join("pg_isready"));
            ready.arg("-q").arg("-h").arg(self.ground.folder.path()).args(["-p", &self.port.to_string()]);
            if ready.status().unwrap().success() {
                return self;
            }
            let said = || std::fs::read_to_string(&path).unwrap_or_default();
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "the server ends with {ended:?}: {}", said());
            assert!(Instant::now() < until, "the server does not start: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server: `fast` ends sessions in order, `immediate` is a crash.
    pub(crate) async fn stop(&mut self, mode: &str) {
        let (ground, folder, mode) = (self.ground.clone(), self.folder(), mode.to_owned());
        let mut process = self.process.take().expect("a server that runs");
        blocking(move || {
            ground.run(&bin().join("pg_ctl"), &["stop", "-w", "-t", "60", "-m", &mode, "-D", &folder]);
            process.wait().unwrap();
        })
        .await;
    }

    /// Starts it again.
    pub(crate) async fn start_again(self) -> Self {
        blocking(move || self.run()).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn connection(&self) -> Connection {
        let url = format!("postgresql://postgres@127.0.0.1:{}/postgres?tls=disable", self.port);
        Connection::from_url(&url).unwrap().named("shop")
    }

    /// A superuser's client that is not transload's.
    pub(crate) async fn admin(&self) -> Client {
        let way = format!("host={} port={} user=postgres", self.ground.folder.path().display(), self.port);
        let (client, connection) = tokio_postgres::connect(&way, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let mut stop = self.ground.command(&bin().join("pg_ctl"));
        stop.args(["stop", "-w", "-t", "30", "-m", "immediate", "-D", &self.folder()]);
        if !stop.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|stop| stop.success()) {
            let _ = process.kill();
        }
        let _ = process.wait();
    }
}

/// Lets proxies and clients of the same runtime go on meanwhile.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the server's programs work")
}

/// A program that is ended with the test.
pub(crate) struct Running {
    pub(crate) process: Child,
    pub(crate) _port: KeptPort,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until something listens there.
pub(crate) async fn listening(port: u16) {
    eventually("something listens", || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
}
