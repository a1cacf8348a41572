//! Servers of one test, for what the shared one cannot be asked: started in a temporary folder on a free port of
//! 127.0.0.1 as an unprivileged user, and ended with the test.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use transload_core::Connection;

/// A folder that the servers of a test may use, and the user they run as.
pub(crate) struct Ground {
    pub(crate) folder: TempDir,
    /// Servers refuse to run as root.
    user: Option<(u32, u32)>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("transload-own").tempdir().unwrap();
        let root = folder.path().metadata().unwrap().uid() == 0;
        let ground = Self { folder, user: root.then(unprivileged) };
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

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A running PostgreSQL. Its sockets are in the ground's folder.
pub(crate) struct Server<'a> {
    ground: &'a Ground,
    data: PathBuf,
    pub(crate) port: u16,
}

impl<'a> Server<'a> {
    /// A new server that trusts everybody, unless `hba` says otherwise.
    pub(crate) fn start(ground: &'a Ground, settings: &str, hba: &str) -> Self {
        let data = ground.path("data");
        ground.run(
            &bin().join("initdb"),
            &["-D", data.to_str().unwrap(), "-U", "postgres", "-A", "trust", "--no-sync"],
        );
        if !hba.is_empty() {
            ground.write("data/pg_hba.conf", hba);
        }
        ground.write(
            "data/postgresql.auto.conf",
            &format!(
                "fsync = off\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\n{settings}\n",
                ground.folder.path().display()
            ),
        );
        Self::run(ground, data)
    }

    /// A standby that follows this server.
    pub(crate) fn standby(&self) -> Self {
        let data = self.ground.path("standby");
        let port = self.port.to_string();
        let to = ["-h", "127.0.0.1", "-U", "postgres", "-p", &port, "-D", data.to_str().unwrap()];
        self.ground.run(
            &bin().join("pg_basebackup"),
            &[to.as_slice(), &["-R", "-X", "stream", "-c", "fast", "-N"]].concat(),
        );
        Self::run(self.ground, data)
    }

    fn run(ground: &'a Ground, data: PathBuf) -> Self {
        let server = Self { ground, data, port: free_port() };
        let log = format!("{}.log", server.data.display());
        let port = format!("-p {}", server.port);
        server.control(&["start", "-w", "-t", "60", "-o", &port, "-l", &log]);
        server
    }

    fn control(&self, arguments: &[&str]) {
        self.ground.run(&bin().join("pg_ctl"), &[&["-D", self.data.to_str().unwrap()], arguments].concat());
    }

    pub(crate) fn stop(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::from_url(&format!("postgresql://postgres@127.0.0.1:{}/postgres?tls=disable", self.port))
            .unwrap()
    }

    /// A superuser's client that is not transload's.
    pub(crate) async fn admin(&self) -> Client {
        let way = format!("host={} port={} user=postgres", self.ground.folder.path().display(), self.port);
        let (client, connection) = tokio_postgres::connect(&way, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // A test that stopped it already is no reason to panic in a drop.
        let stop = ["-D", self.data.to_str().unwrap(), "stop", "-m", "immediate"];
        let mut command = self.ground.command(&bin().join("pg_ctl"));
        let _ = command.args(stop).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A program that is ended with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something listens there.
pub(crate) async fn listening(port: u16) {
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing listens on port {port}");
}
