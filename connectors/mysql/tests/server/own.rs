//! Servers of one test, for what the shared one cannot be asked, or that the test restarts and configures: started in a
//! temporary folder on a free port of 127.0.0.1, and ended with the test.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use transload_core::{Connection, Secret};
use transload_testkit::mariadb::Mariadb;
use transload_testkit::port::KeptPort;
use transload_testkit::wait::PATIENCE;

/// A running MariaDB with a user `etl`, who may do all.
pub(crate) struct Own {
    folder: TempDir,
    port: KeptPort,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Own {
    /// Starts a new server.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("transload-own").tempdir().unwrap();
        let data = format!("--datadir={}", folder.path().join("data").display());
        let temporary = tmpdir(folder.path());
        let made = Command::new("mariadb-install-db")
            .args([
                "--no-defaults",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
                &data,
                &temporary,
                &user(),
            ])
            .output()
            .expect("mariadb-install-db is installed by services/install.sh");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut own = Self { folder, port: KeptPort::any().unwrap(), arguments, child: None };
        own.launch();
        own.root()
            .run("CREATE USER etl@'%' IDENTIFIED BY 'secret'; GRANT ALL ON *.* TO etl@'%' WITH GRANT OPTION")
            .unwrap();
        own
    }

    fn root(&self) -> Mariadb {
        Mariadb::of(
            &Connection::new("root", "mysql").option("socket", self.socket()).option("username", "root"),
        )
    }

    fn socket(&self) -> String {
        self.folder.path().join("s.sock").display().to_string()
    }

    fn launch(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let child = Command::new(server())
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve", &user()])
            .args([format!("--datadir={}", path("data")), format!("--socket={}", self.socket())])
            .arg(tmpdir(self.folder.path()))
            .args([format!("--port={}", self.port.number()), "--innodb-buffer-pool-size=64M".to_owned()])
            .args([
                "--innodb-flush-log-at-trx-commit=2",
                "--innodb-doublewrite=0",
                "--performance-schema=off",
            ])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        // An answer is waited for, not an open port: the server listens on its port before it does on its socket, and on
        // both before it lets anybody in.
        let until = Instant::now() + PATIENCE;
        while let Err(refused) = self.root().run("DO 0") {
            let said = std::fs::read_to_string(path("log")).unwrap();
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "it ends with {ended:?}: {said}");
            assert!(Instant::now() < until, "it does not start: {refused:?}\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the server as if its machine had failed.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::new("own", "mysql")
            .option("host", "127.0.0.1")
            .option("port", self.port.number())
            .option("username", "etl")
            .password(Secret::new("secret"))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that starts removes temporary tables from its `tmpdir`, those of other servers too.
fn tmpdir(folder: &Path) -> String {
    let path = folder.join("tmp");
    std::fs::create_dir_all(&path).unwrap();
    format!("--tmpdir={}", path.display())
}

/// Debian puts it where only root looks.
fn server() -> &'static str {
    let usual = ["/usr/sbin/mariadbd", "/usr/libexec/mariadbd", "/usr/local/bin/mariadbd"];
    usual.into_iter().find(|path| Path::new(path).exists()).unwrap_or("mariadbd")
}

fn user() -> String {
    let name = Command::new("id").arg("-un").output().unwrap();
    format!("--user={}", String::from_utf8(name.stdout).unwrap().trim())
}
