//! Servers that a test may break, restart and configure: of its own, in a temporary folder, on a free port.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rand::Rng as _;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};
use transload_core::{Connection, Secret};

/// No server outlives this, even if the test is killed.
const LIFETIME: &str = "600";

/// A running server. Dropping it stops it and removes its data.
pub(crate) struct Server {
    folder: TempDir,
    bin: PathBuf,
    pub(crate) port: u16,
    password: String,
    process: Option<Child>,
}

impl Server {
    /// A new server with these lines in its configuration.
    pub(crate) async fn start(settings: &str) -> Self {
        let settings = settings.to_owned();
        blocking(move || Self::initialise(&settings)).await
    }

    /// A standby that streams from this server.
    pub(crate) async fn standby(&self, settings: &str) -> Self {
        let (settings, bin) = (settings.to_owned(), self.bin.clone());
        let (port, password) = (self.port, self.password.clone());
        blocking(move || {
            let folder = folder();
            let mut server = Self { folder, bin, port: free_port(), password, process: None };
            let from = format!("host=127.0.0.1 port={port} user=postgres password={}", server.password);
            let mut copy = server.as_postgres("pg_basebackup");
            copy.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
            finish(copy.arg("--dbname").arg(from).arg("--pgdata").arg(server.data()));
            server.configure(&settings);
            server.run();
            server
        })
        .await
    }

    fn initialise(settings: &str) -> Self {
        let password = format!("{:032x}", rand::rng().random::<u128>());
        let mut server = Self { folder: folder(), bin: bin(), port: free_port(), password, process: None };
        let file = server.folder.path().join("password");
        std::fs::write(&file, &server.password).unwrap();
        let mut make = server.as_postgres("initdb");
        make.args([
            "--auth=scram-sha-256",
            "--username=postgres",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]);
        finish(make.arg(format!("--pwfile={}", file.display())).arg("--pgdata").arg(server.data()));
        server.configure("fsync = off\nfull_page_writes = off");
        server.configure(settings);
        // pg_basebackup comes over an address of this machine.
        server.append("pg_hba.conf", "host replication all 127.0.0.1/32 scram-sha-256");
        server.run();
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn append(&self, file: &str, lines: &str) {
        let path = self.data().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, format!("{text}\n{lines}\n")).unwrap();
    }

    /// Adds lines to the configuration; they count from the next start on.
    pub(crate) fn configure(&self, settings: &str) {
        let own = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\ntimezone = 'UTC'";
        self.append("postgresql.conf", &format!("{own}\nport = {}\n{settings}", self.port));
    }

    /// A program of the server's; PostgreSQL refuses to run as root.
    fn as_postgres(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Starts the server and waits until it takes connections.
    fn run(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let postgres = self.as_postgres("postgres");
        let mut command = Command::new("timeout");
        command.args(["--signal=INT", LIFETIME]).arg(postgres.get_program()).args(postgres.get_args());
        command.arg("-D").arg(self.data()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().expect("the server is started with timeout(1)"));
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut ready = Command::new(self.bin.join("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p"]).arg(self.port.to_string());
            if ready.status().unwrap().success() {
                return;
            }
            assert!(Instant::now() < until, "the server does not start: {}", self.read_log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server: `fast` ends sessions in order, `immediate` is a crash.
    pub(crate) async fn stop(&mut self, mode: &str) {
        let mut stop = self.as_postgres("pg_ctl");
        stop.args(["stop", "--wait", "--timeout=60", "--mode", mode, "--pgdata"]).arg(self.data());
        let mut process = self.process.take().expect("a server that runs");
        blocking(move || {
            finish(&mut stop);
            process.wait().unwrap();
        })
        .await;
    }

    /// Starts it again.
    pub(crate) async fn start_again(mut self) -> Self {
        blocking(move || {
            self.run();
            self
        })
        .await
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn read_log(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::new("shop", "postgresql")
            .option("host", "127.0.0.1")
            .option("port", self.port)
            .option("database", "postgres")
            .option("username", "postgres")
            .password(Secret::new(self.password.as_str()))
    }

    /// A client that is not transload's.
    pub(crate) async fn client(&self) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user("postgres").dbname("postgres").password(&self.password);
        let (client, connection) = config.connect(NoTls).await.expect("the server answers");
        tokio::spawn(connection);
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let stop = self
            .as_postgres("pg_ctl")
            .args(["stop", "--wait", "--timeout=30", "--mode=immediate", "--pgdata"])
            .arg(self.data())
            .output();
        if !stop.is_ok_and(|stop| stop.status.success()) {
            // timeout(1) hands the signal on.
            let _ = process.kill();
        }
        let _ = process.wait();
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the server's programs work")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id(1) is there");
    id.stdout.trim_ascii() == b"0"
}

/// A folder that the user of the server owns.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("transload-server.").tempdir().unwrap();
    if is_root() {
        finish(Command::new("chown").arg("postgres").arg(folder.path()));
    }
    folder
}

/// Where the programs of the newest server are that is installed, or those that `TRANSLOAD_POSTGRES_BIN` names.
fn bin() -> PathBuf {
    if let Ok(bin) = std::env::var("TRANSLOAD_POSTGRES_BIN") {
        return bin.into();
    }
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.map(|entry| entry.path()).max_by_key(|path| version(path));
    if let Some(newest) = newest.filter(|path| path.join("bin/initdb").is_file()) {
        return newest.join("bin");
    }
    let bin = Command::new("pg_config").arg("--bindir").output();
    let bin =
        bin.expect("no PostgreSQL server is installed: set TRANSLOAD_POSTGRES_BIN to its folder of programs");
    String::from_utf8(bin.stdout).unwrap().trim().into()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn finish(command: &mut Command) {
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(status.success(), "{command:?}: {}{}", text(&stdout), text(&stderr));
}
