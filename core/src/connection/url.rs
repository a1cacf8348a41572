//! Connection URLs.

use std::borrow::Cow;

use url::Url;

use super::Connection;
use crate::error::{Error, Result};
use crate::secret::Secret;

pub(super) fn parse(text: &str) -> Result<Connection> {
    let (scheme, rest) = text
        .split_once(':')
        .filter(|(scheme, _)| {
            !scheme.is_empty()
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '_'))
        })
        .ok_or_else(|| {
            Error::config("the connection URL has no type before a `:`")
                .hint("write for example postgresql://user@host:5432/database or sqlite:path/to/file.db")
        })?;
    let authority = rest.strip_prefix("//").filter(|rest| !rest.starts_with('/'));
    let mut connection = Connection::new(scheme, scheme);
    match authority {
        None => {
            let rest = rest.strip_prefix("//").unwrap_or(rest);
            let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
            if !path.is_empty() {
                connection = connection.option("path", decode(path)?);
            }
            add_query(connection, query)
        }
        Some(authority) => {
            let (user, hosts, tail) = around_hosts(authority);
            // The standard knows one host; the first one stands for all while the rest is parsed.
            let single = match hosts.split_once(',') {
                Some((first, _)) => Cow::Owned(format!("{scheme}://{user}{first}{tail}")),
                None => Cow::Borrowed(text),
            };
            let url = standard(&single)?;
            if hosts.contains(',') {
                connection = add_hosts(connection, hosts)?;
            } else {
                if let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
                    connection = connection.option("host", bare(host)?);
                }
                if let Some(port) = url.port() {
                    connection = connection.option("port", port);
                }
            }
            if !url.username().is_empty() {
                connection = connection.option("username", decode(url.username())?);
            }
            let database = url.path().trim_start_matches('/');
            if !database.is_empty() {
                connection = connection.option("database", decode(database)?);
            }
            if let Some(password) = url.password() {
                connection = connection.password(Secret::new(decode(password)?));
            }
            add_query(connection, url.query().unwrap_or_default())
        }
    }
}

fn standard(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| {
        // The error of the parser holds no part of the text.
        Error::config(format!("the connection URL cannot be parsed: {error}"))
            .hint("percent-encode special characters in user and password, for example @ as %40")
    })
}

/// The host, or several with commas between them, and what stands before and after.
fn around_hosts(authority: &str) -> (&str, &str, &str) {
    let (front, tail) = authority.split_at(authority.find(['/', '?', '#']).unwrap_or(authority.len()));
    let (user, hosts) = front.split_at(front.rfind('@').map_or(0, |at| at + 1));
    (user, hosts, tail)
}

/// Several hosts become one text, as do their ports if any is given.
fn add_hosts(connection: Connection, list: &str) -> Result<Connection> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for host in list.split(',') {
        // Each is parsed by the same rules as a single one.
        let url = standard(&format!("many://{host}"))?;
        hosts.push(bare(url.host_str().unwrap_or_default())?);
        ports.push(url.port().map(|port| port.to_string()).unwrap_or_default());
    }
    let connection = connection.option("host", hosts.join(","));
    match ports.iter().all(String::is_empty) {
        true => Ok(connection),
        false => Ok(connection.option("port", ports.join(","))),
    }
}

fn bare(host: &str) -> Result<String> {
    decode(host.trim_matches(['[', ']']))
}

fn add_query(mut connection: Connection, query: &str) -> Result<Connection> {
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        connection = match key.as_ref() {
            "password" => connection.password(Secret::new(value)),
            "credentials" => connection.credentials(value.parse()?),
            "name" => connection.named(value),
            _ if connection.options.contains_key(key.as_ref()) => {
                return Err(Error::config(format!("the connection URL gives `{key}` twice"))
                    .hint("keep one of the two"));
            }
            _ => connection.option(key.into_owned(), value.into_owned()),
        };
    }
    Ok(connection)
}

fn decode(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit =
            |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(high * 16 + low),
            _ => return Err(bad_encoding()),
        }
    }
    String::from_utf8(bytes).map_err(|_| bad_encoding())
}

fn bad_encoding() -> Error {
    Error::config("the connection URL has a broken percent-encoding").hint("write a literal % as %25")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn servers_and_files() {
        let server = parse("postgresql://u%40x:p%25w@db:5433/my%20shop?tls=require&name=Shop").unwrap();
        assert_eq!(
            server.to_json(),
            json!({"name": "Shop", "type": "postgresql", "host": "db", "port": 5433, "username": "u@x",
                   "database": "my shop", "tls": "require"})
        );
        assert_eq!(server.inline_secret().unwrap().expose(), "p%w");
        for (text, path) in [
            ("sqlite:///tmp/a.db", "/tmp/a.db"),
            ("sqlite:rel/a%23.db", "rel/a#.db"),
            ("files:/data?format=csv", "/data"),
        ] {
            assert_eq!(parse(text).unwrap().option_text("path"), Some(path), "{text}");
        }
        assert_eq!(parse("memory:").unwrap().option_text("path"), None);
    }

    #[test]
    fn several_hosts() {
        for (text, host, port) in [
            ("postgresql://u:p%2C@h1:1,h2:2/db?tls=require", "h1,h2", json!("1,2")),
            ("postgresql://h1,h2@h1,h2/db", "h1,h2", json!(null)),
            ("postgresql://u@[::1]:1,h2,%2Frun%2Fpg/db", "::1,h2,/run/pg", json!("1,,")),
            ("postgresql://u@%2Frun%2Fpg/db", "/run/pg", json!(null)),
            ("postgresql://u:,@[::1]:7/db,x", "::1", json!(7)),
        ] {
            let connection = parse(text).unwrap();
            assert_eq!(
                (connection.option_text("host"), &connection.to_json()["port"]),
                (Some(host), &port),
                "{text}"
            );
            assert!(connection.option_text("database").unwrap().starts_with("db"), "{text}");
        }
        for text in ["postgresql://u:hunter2@h1:1,h2:x/db", "postgresql://u:hunter2@h1:x,h2:1/db"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("port") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn errors_do_not_repeat_the_url() {
        for text in ["hunter2", "postgresql://u:hunter2@host:port/x", "postgresql://u:hunter2%zz@h/"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
