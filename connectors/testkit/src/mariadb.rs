//! MariaDB's own command-line client, as the other way to the server that tests read from.

use std::io::Write as _;
use std::process::{Command, Stdio};

use transload_core::Connection;

use crate::fixture::{Done, Failure};

/// How the client reaches a server. It is run once for each call, which takes some milliseconds.
#[derive(Debug, Clone)]
pub struct Mariadb {
    options: Vec<String>,
    password: String,
}

impl Mariadb {
    /// The server and user of a connection: its options `host`, `port`, `socket`, `username` and `database`.
    #[must_use]
    pub fn of(connection: &Connection) -> Self {
        let mut options = Vec::new();
        let document = connection.to_json();
        let named = [("host", "host"), ("port", "port"), ("socket", "socket"), ("username", "user")];
        for (option, name) in named {
            match document.get(option) {
                Some(serde_json::Value::String(text)) => options.push(format!("--{name}={text}")),
                Some(serde_json::Value::Number(number)) => options.push(format!("--{name}={number}")),
                _ => {}
            }
        }
        options.extend(connection.option_text("database").map(|name| format!("--database={name}")));
        let password = connection.inline_secret().map(|secret| secret.expose().to_owned());
        Self { options, password: password.unwrap_or_default() }
    }

    /// Runs statements in one session, whose time zone is UTC. The rows of all of them: cells are as the server prints
    /// them, and NULL is `NULL`.
    ///
    /// # Errors
    /// The client's words.
    pub fn run(&self, sql: &str) -> Done<Vec<Vec<String>>> {
        let mut client = Command::new("mariadb")
            .args(["--no-defaults", "--batch", "--skip-column-names", "--binary-mode"])
            .args(["--default-character-set=utf8mb4", "--max-allowed-packet=1G"])
            .args(&self.options)
            .env("MYSQL_PWD", &self.password)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::new(format!("cannot run `mariadb` (services/install.sh): {error}")))?;
        let Some(mut input) = client.stdin.take() else { return Err(Failure::new("no way to the client")) };
        let text = format!("SET time_zone = '+00:00';\n{sql};\n");
        let writing = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let output = client.wait_with_output()?;
        let written = writing.join();
        if !output.status.success() {
            return Err(Failure::new(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        if !matches!(written, Ok(Ok(()))) {
            return Err(Failure::new("the client did not read all statements"));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.split_terminator('\n').map(|line| line.split('\t').map(unescaped).collect()).collect())
    }

    /// The only cell of the only row.
    ///
    /// # Errors
    /// As [`Self::run`], and for an answer of another form.
    pub fn cell(&self, sql: &str) -> Done<String> {
        match self.run(sql)?.as_slice() {
            [row] if row.len() == 1 => Ok(row.concat()),
            rows => Err(Failure::new(format!("one cell was expected, not {rows:?}"))),
        }
    }
}

/// What the client writes in batch mode: `\t`, `\n`, `\0` and `\\` for these characters.
fn unescaped(cell: &str) -> String {
    let mut text = String::new();
    let mut characters = cell.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => text.extend(characters.next().map(|escaped| match escaped {
                't' => '\t',
                'n' => '\n',
                '0' => '\0',
                other => other,
            })),
            (other, false) => text.push(other),
        }
    }
    text
}
