//! Passwords from a file in the format of libpq.
//!
//! Source: PostgreSQL manual, "The Password File".

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use tokio_postgres::config::Host;
use transload_core::{Error, Result};

use crate::hosts::Address;

/// The password of the first line that fits.
pub(crate) fn password(path: &Path, server: &Address, database: &str, user: &str) -> Result<Option<String>> {
    let unusable = |why: &str| Error::config(format!("`passfile`: {} {why}", path.display()));
    let mut file = File::open(path).map_err(|error| unusable("cannot be read").source_error(error))?;
    let about = file.metadata().map_err(|error| unusable("cannot be read").source_error(error))?;
    if !about.is_file() {
        return Err(unusable("is not a file"));
    }
    if open_to_others(&about) {
        return Err(unusable("may be read by others").hint("chmod 600 it"));
    }
    let mut lines = String::new();
    file.read_to_string(&mut lines).map_err(|error| unusable("is not a text").source_error(error))?;
    let (port, hosts) = (server.port.to_string(), names(&server.host));
    let fits = |line: &&str| {
        let fields = fields(line);
        let [host, of_port, of_database, of_user, _] = fields.as_slice() else { return false };
        let is = |field: &Field, value: &str| field.any || field.text == value;
        hosts.iter().any(|name| is(host, name))
            && is(of_port, &port)
            && is(of_database, database)
            && is(of_user, user)
    };
    let found = lines.lines().filter(|line| !line.starts_with('#')).find(fits);
    Ok(found.and_then(|line| fields(line).pop()).map(|field| field.text))
}

/// libpq ignores such a file; a password that silently is not there would be harder to understand.
#[cfg(unix)]
fn open_to_others(about: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    about.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn open_to_others(_: &fs::Metadata) -> bool {
    false
}

/// What a file may call a host. Sockets at the usual places are `localhost`.
fn names(host: &Host) -> Vec<String> {
    match host {
        Host::Tcp(name) => vec![name.clone()],
        #[cfg(unix)]
        Host::Unix(folder) => {
            let mut names = vec![folder.display().to_string()];
            if ["/tmp", "/run/postgresql", "/var/run/postgresql"]
                .iter()
                .any(|usual| folder == Path::new(usual))
            {
                names.push("localhost".to_owned());
            }
            names
        }
    }
}

struct Field {
    text: String,
    /// A bare `*`. An escaped one is a star.
    any: bool,
}

/// The five fields of a line. A backslash takes the next character as it is; the password, which is last, may
/// hold colons.
fn fields(line: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    let (mut text, mut any) = (String::new(), line.starts_with("*:"));
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        match character {
            ':' if fields.len() < 4 => {
                fields.push(Field { text: std::mem::take(&mut text), any });
                any = rest.as_str().starts_with("*:");
            }
            '\\' => text.extend(rest.next()),
            _ => text.push(character),
        }
    }
    fields.push(Field { text, any: false });
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment:5432:db:me:no\n\
        too:few:fields\n\
        a:5432:db:me:first\n\
        a:*:*:me:s\\:e\\\\c:ret \n\
        ::1:1:db:me:broken\n\
        \\:\\:1:1:db:me:six\n\
        \\*:5432:db:me:star\n\
        /run/x:7:db:me:socket\n\
        localhost:5432:db:me:local\n\
        *:*:*:other:any\n";

    fn look_up(path: &Path, host: Host, port: u16, user: &str) -> Result<Option<String>> {
        password(path, &Address { host, ip: None, port }, "db", user)
    }

    #[test]
    fn the_first_line_that_fits() {
        let path = std::env::temp_dir().join(format!("transload-passfile-{}", std::process::id()));
        fs::write(&path, FILE).unwrap();
        restrict(&path, 0o600);
        let tcp = |name: &str| Host::Tcp(name.to_owned());
        for (host, port, user, expected) in [
            (tcp("a"), 5432, "me", Some("first")),
            (tcp("a"), 1, "me", Some("s:e\\c:ret ")),
            (tcp("a"), 1, "other", Some("any")),
            (tcp("::1"), 1, "me", Some("six")),
            (tcp("*"), 5432, "me", Some("star")),
            (tcp("b"), 5432, "me", None),
            #[cfg(unix)]
            (Host::Unix("/run/x".into()), 7, "me", Some("socket")),
            #[cfg(unix)]
            (Host::Unix("/tmp".into()), 5432, "me", Some("local")),
        ] {
            let found = look_up(&path, host.clone(), port, user).unwrap();
            assert_eq!(found.as_deref(), expected, "{host:?} {port} {user}");
        }
        #[cfg(unix)]
        {
            restrict(&path, 0o640);
            let error = look_up(&path, tcp("a"), 1, "me").unwrap_err();
            assert!(error.to_string().contains("others") && !error.to_string().contains("first"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(look_up(&path, tcp("a"), 1, "me").is_err());
        assert!(look_up(&std::env::temp_dir(), tcp("a"), 1, "me").is_err());
    }

    fn restrict(path: &Path, mode: u32) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        #[cfg(not(unix))]
        let _ = (path, mode);
    }
}
