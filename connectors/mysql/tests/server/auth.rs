//! Ways to log in, at a real MariaDB; `sha2_proxy` has those of MySQL.

use transload_core::{Connection, ErrorKind, Secret};
use transload_testkit::mariadb::Mariadb;

use super::support::{connection, open};

/// A user of one test, dropped with it.
struct User {
    name: String,
    admin: Mariadb,
}

impl User {
    fn new(name: &str, identified: &str) -> Self {
        let name = format!("{name}_{:x}", rand::random::<u32>());
        let admin = Mariadb::of(&connection());
        admin.run(&format!("CREATE USER {name}@'%' {identified}")).unwrap();
        Self { name, admin }
    }

    fn connection(&self, password: &str) -> Connection {
        let mine = connection().option("username", self.name.as_str());
        let mut document = mine.to_json();
        document.as_object_mut().unwrap().remove("database");
        Connection::from_json(document).unwrap().password(Secret::new(password))
    }

    async fn check(&self, password: &str) -> Result<(), ErrorKind> {
        let outcome = open(&self.connection(password)).await.unwrap().check().await;
        outcome.map(|_| ()).map_err(|error| error.kind())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = self.admin.run(&format!("DROP USER {}@'%'", self.name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn native_passwords() {
    for password in ["secret", "größe 日本", "", "x\\'\"; --"] {
        let hex: String = password.bytes().map(|byte| format!("{byte:02X}")).collect();
        let admin = Mariadb::of(&connection());
        let hash = admin.cell(&format!("SELECT PASSWORD(X'{hex}')")).unwrap();
        let user = User::new("native", &format!("IDENTIFIED VIA mysql_native_password USING '{hash}'"));
        assert_eq!(user.check(password).await, Ok(()), "{password}");
        assert_eq!(user.check("another").await, Err(ErrorKind::Auth));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ed25519_passwords() {
    for password in ["secret", "größe 日本", "a", &"long".repeat(50)] {
        let user = User::new("ed", &format!("IDENTIFIED VIA ed25519 USING PASSWORD('{password}')"));
        assert_eq!(user.check(password).await, Ok(()), "{password}");
        assert_eq!(user.check("another").await, Err(ErrorKind::Auth));
        assert_eq!(user.check("").await, Err(ErrorKind::Auth));
    }
}

/// A login draws a nonce, and some nonces are special: one of 256 ends with a zero, one of 256 begins with one.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_nonces() {
    let ways = [
        User::new("ed", "IDENTIFIED VIA ed25519 USING PASSWORD('secret')"),
        User::new("native", "IDENTIFIED VIA mysql_native_password USING PASSWORD('secret')"),
    ];
    for user in &ways {
        let source = open(&user.connection("secret")).await.unwrap();
        for number in 0..1_000 {
            source.check().await.unwrap_or_else(|error| panic!("{}, login {number}: {error}", user.name));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ways_of_one_user() {
    let user = User::new(
        "both",
        "IDENTIFIED VIA ed25519 USING PASSWORD('new') OR mysql_native_password USING PASSWORD('old')",
    );
    assert_eq!(user.check("new").await, Ok(()));
    assert_eq!(user.check("old").await, Ok(()));
    assert_eq!(user.check("other").await, Err(ErrorKind::Auth));
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_may_not_log_in() {
    let locked = User::new("locked", "IDENTIFIED BY 'secret' ACCOUNT LOCK");
    assert_eq!(locked.check("secret").await, Err(ErrorKind::Auth));
    let encrypted = User::new("tls", "IDENTIFIED BY 'secret' REQUIRE SSL");
    assert_eq!(encrypted.check("secret").await, Ok(()));
    let plain = encrypted.connection("secret").option("tls", "disable");
    let error = open(&plain).await.unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth, "{error}");
    let few = User::new("few", "IDENTIFIED BY 'secret' WITH MAX_USER_CONNECTIONS 1");
    let source = open(&few.connection("secret")).await.unwrap();
    let admin = Mariadb::of(&connection());
    admin
        .run(&format!(
            "CREATE DATABASE {0}; CREATE TABLE {0}.t (id INT); GRANT SELECT ON {0}.* TO {0}@'%'",
            few.name
        ))
        .unwrap();
    let held = source.begin(&transload_core::schema::TableRef::new(&few.name, "t")).await;
    let error = source.check().await.map(|_| ()).unwrap_err();
    // Its session would keep the table.
    assert!(held.map(drop).is_ok());
    admin.run(&format!("DROP DATABASE {}", few.name)).unwrap();
    assert_eq!(
        (error.kind(), error.is_retryable(), error.is_overload()),
        (ErrorKind::RateLimited, true, true),
        "{error}"
    );
}
