//! Logging in: what both sides can, TLS, user and database.

use std::io;

use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use transload_core::{Error, ErrorKind, Result, Secret};

use crate::channel::Channel;
use crate::config::{ApplicationIntent, Encrypt, Login as Way, MssqlConfig};
use crate::error::tls_error;
use crate::protocol::{Change, Parser, Token, broken, cut, kind, put_utf16};

/// TDS 7.4, since SQL Server 2012.
const TDS_7_4: u32 = 0x7400_0004;
const TDS_8_0: u32 = 0x0800_0000;

/// What a side says about encryption.
mod encryption {
    pub(super) const OFF: u8 = 0;
    pub(super) const ON: u8 = 1;
    pub(super) const NOT_SUPPORTED: u8 = 2;
    pub(super) const REQUIRED: u8 = 3;
}

/// Options of the first message.
mod option {
    pub(super) const VERSION: u8 = 0;
    pub(super) const ENCRYPTION: u8 = 1;
    pub(super) const INSTANCE: u8 = 2;
    pub(super) const THREAD: u8 = 3;
    pub(super) const MARS: u8 = 4;
    pub(super) const FED_AUTH: u8 = 6;
    pub(super) const END: u8 = 0xff;
}

/// Extensions of the login.
mod feature {
    pub(super) const FED_AUTH: u8 = 2;
    pub(super) const UTF8: u8 = 10;
    pub(super) const END: u8 = 0xff;
}

/// Most bytes of an encrypted packet: TLS records hold 16 KiB.
const MOST_ENCRYPTED: u16 = 16_383;

/// What logging in needs.
pub(crate) struct Login<'a> {
    pub(crate) options: &'a MssqlConfig,
    pub(crate) secret: Option<&'a Secret>,
    pub(crate) tls: &'a TlsConnector,
    /// The host that is logged in to, which may be another one than the options say.
    pub(crate) host: &'a str,
    /// How errors call the server.
    pub(crate) address: &'a str,
}

/// How a login ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    In,
    /// Another host and port are to be logged in to.
    Elsewhere(String, u16),
}

impl Login<'_> {
    /// Goes from the first message to the server's yes or no.
    pub(crate) async fn run(&self, channel: &mut Channel) -> Result<Outcome> {
        let encrypt = self.options.encrypt;
        if encrypt == Encrypt::Strict {
            let encrypted = channel.link().encrypt_first(self.tls, self.name()?).await;
            encrypted.map_err(|error| tls_error(self.address, error))?;
        }
        channel.send(kind::PRELOGIN, &self.prelogin()).await?;
        let answer = Prelogin::parse(&channel.message().await?)?;
        let whole = match encrypt {
            Encrypt::Strict => true,
            _ => self.negotiate(answer.encryption, channel).await?,
        };
        let message = self.message(answer.fed_auth, channel.is_tls());
        channel.send(kind::LOGIN, &message).await?;
        if !whole {
            channel.link().decrypt();
        }
        self.finish(channel).await
    }

    fn name(&self) -> Result<ServerName<'static>> {
        let name = self.options.tls_host.as_deref().unwrap_or(self.host);
        ServerName::try_from(name.to_owned()).map_err(|error| {
            Error::new(ErrorKind::Tls, format!("`{name}` is no name that TLS can check"))
                .source_error(error)
                .hint("check `host`, or give `tls_host`")
        })
    }

    /// Encrypts if both want it. Gives whether everything is to be encrypted.
    async fn negotiate(&self, theirs: u8, channel: &mut Channel) -> Result<bool> {
        let whole = match (self.options.encrypt, theirs) {
            (Encrypt::Disable, encryption::NOT_SUPPORTED | encryption::OFF)
            | (Encrypt::Login, encryption::NOT_SUPPORTED) => return Ok(true),
            (Encrypt::Login, encryption::OFF) => false,
            (Encrypt::Login | Encrypt::Require, encryption::ON | encryption::REQUIRED) => true,
            (Encrypt::Disable, _) => {
                return Err(Error::new(ErrorKind::Tls, "the server takes encrypted connections only")
                    .hint("set `encrypt` to `require`"));
            }
            _ => {
                return Err(Error::new(ErrorKind::Tls, "the server does not encrypt")
                    .hint("set it up there, or set `encrypt` to `login` or `disable`"));
            }
        };
        let encrypted = channel.link().encrypt(self.tls, self.name()?).await;
        encrypted.map_err(|error| {
            // A server that only speaks TDS 8 ends the connection here.
            let ended = error.kind() == io::ErrorKind::UnexpectedEof;
            let error = tls_error(self.address, error);
            if ended { error.hint("does the server want `encrypt` to be `strict`?") } else { error }
        })?;
        Ok(whole)
    }

    fn prelogin(&self) -> Vec<u8> {
        let encrypt = match self.options.encrypt {
            // Under TDS 8 it is encrypted already.
            Encrypt::Disable | Encrypt::Strict => encryption::NOT_SUPPORTED,
            Encrypt::Login => encryption::OFF,
            Encrypt::Require => encryption::ON,
        };
        let mut instance = self.options.instance.clone().unwrap_or_default().into_bytes();
        instance.push(0);
        let mut options = vec![
            (option::VERSION, vec![0, 1, 0, 0, 0, 0]),
            (option::ENCRYPTION, vec![encrypt]),
            (option::INSTANCE, instance),
            (option::THREAD, vec![0; 4]),
            (option::MARS, vec![0]),
        ];
        if self.options.login == Way::AccessToken {
            options.push((option::FED_AUTH, vec![1]));
        }
        let mut at = u16::try_from(options.len() * 5 + 1).unwrap_or(u16::MAX);
        let (mut head, mut body) = (Vec::new(), Vec::new());
        for (name, value) in options {
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            head.push(name);
            head.extend(at.to_be_bytes());
            head.extend(length.to_be_bytes());
            body.extend(value);
            at = at.saturating_add(length);
        }
        head.push(option::END);
        [head, body].concat()
    }

    /// The login itself: a table of where each text stands, the texts, the extensions.
    fn message(&self, echo_fed_auth: bool, encrypted: bool) -> Vec<u8> {
        let options = self.options;
        let token = options.login == Way::AccessToken;
        let secret = self.secret.map(Secret::expose).unwrap_or_default();
        let texts = Texts {
            user: if token { "" } else { &options.username },
            password: if token { "" } else { secret },
            server: self.host,
            database: options.database.as_deref().unwrap_or_default(),
        };
        let mut features = vec![feature::UTF8, 0, 0, 0, 0];
        if token {
            features.push(feature::FED_AUTH);
            features.extend(fed_auth(secret, echo_fed_auth));
        }
        features.push(feature::END);
        let packet_size =
            if encrypted { options.packet_size.min(MOST_ENCRYPTED) } else { options.packet_size };
        let version = if options.encrypt == Encrypt::Strict { TDS_8_0 } else { TDS_7_4 };
        // Begin in the database or not at all; ODBC's defaults, as ANSI wants them; texts of a read-only application.
        let intent = match options.application_intent {
            ApplicationIntent::ReadWrite => 0,
            ApplicationIntent::ReadOnly => 0x20,
        };
        let mut head = Vec::new();
        head.extend(version.to_le_bytes());
        head.extend(u32::from(packet_size).to_le_bytes());
        head.extend([1, 0, 0, 0]); // version of the program
        head.extend(std::process::id().to_le_bytes());
        head.extend([0; 4]); // connection
        head.extend([0xe0, 0x03, intent, 0x18]);
        head.extend([0; 8]); // time zone and language, which no server looks at
        texts.join(&head, &features)
    }

    /// The server's answers, until it says yes or no.
    async fn finish(&self, channel: &mut Channel) -> Result<Outcome> {
        let mut route = None;
        let mut logged_in = false;
        for token in channel.tokens().await? {
            match token {
                Token::LoggedIn => logged_in = true,
                Token::Change(Change::Route(host, port)) => route = Some((host, port)),
                _ => {}
            }
        }
        match route {
            Some((host, port)) => Ok(Outcome::Elsewhere(host, port)),
            None if logged_in => Ok(Outcome::In),
            None => Err(broken("neither yes nor no to a login")),
        }
    }
}

/// A token as the extension holds it: options, the token, no nonce.
fn fed_auth(token: &str, echo: bool) -> Vec<u8> {
    const SECURITY_TOKEN: u8 = 1;
    let mut text = Vec::new();
    put_utf16(&mut text, token);
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let mut data = length(text.len() + 5).to_vec();
    data.push(SECURITY_TOKEN << 1 | u8::from(echo));
    data.extend(length(text.len()));
    data.extend(text);
    data
}

/// The texts of a login.
struct Texts<'a> {
    user: &'a str,
    password: &'a str,
    server: &'a str,
    database: &'a str,
}

impl Texts<'_> {
    /// The message: `head` behind its own length, the table, the texts, the features.
    fn join(&self, head: &[u8], features: &[u8]) -> Vec<u8> {
        const TABLE: usize = 58;
        let utf16 = |text: &str| {
            let mut bytes = Vec::new();
            put_utf16(&mut bytes, text);
            bytes
        };
        let mut password = utf16(self.password);
        for byte in &mut password {
            *byte = byte.rotate_left(4) ^ 0xa5;
        }
        let program = utf16("transload");
        let fields = [
            utf16(&whoami()),
            utf16(self.user),
            password,
            program.clone(),
            utf16(self.server),
            vec![0; 4], // where the features stand
            program,
            Vec::new(), // language
            utf16(self.database),
        ];
        let begin = 4 + head.len() + TABLE;
        let (mut table, mut data) = (Vec::new(), Vec::new());
        let place = |data: &Vec<u8>| u16::try_from(begin + data.len()).unwrap_or(u16::MAX).to_le_bytes();
        let mut features_at = 0;
        for (index, field) in fields.iter().enumerate() {
            let is_features = index == 5;
            if is_features {
                features_at = data.len();
            }
            // Characters, but of the features bytes.
            let length = if is_features { field.len() } else { field.len() / 2 };
            table.extend(place(&data));
            table.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
            data.extend_from_slice(field);
        }
        table.extend([0; 6]); // the machine's number
        for _ in 0..3 {
            table.extend(place(&data)); // no SSPI, no file, no new password
            table.extend([0; 2]);
        }
        table.extend([0; 4]);
        let features_begin = u32::try_from(begin + data.len()).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(to) = data.get_mut(features_at..features_at + 4) {
            to.copy_from_slice(&features_begin);
        }
        let length = u32::try_from(begin + data.len() + features.len()).unwrap_or(u32::MAX);
        [length.to_le_bytes().as_slice(), head, &table, &data, features].concat()
    }
}

/// The name of this machine, as the server lists it; only for people.
fn whoami() -> String {
    let name = std::env::var("HOSTNAME").unwrap_or_default();
    name.chars().take(60).collect()
}

/// The server's first answer.
struct Prelogin {
    encryption: u8,
    fed_auth: bool,
}

impl Prelogin {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut found = Self { encryption: encryption::NOT_SUPPORTED, fed_auth: false };
        let mut parser = Parser(bytes);
        loop {
            let name = parser.u8().ok_or_else(cut)?;
            if name == option::END {
                return Ok(found);
            }
            let [a, b, c, d] = parser.fixed().ok_or_else(cut)?;
            let (at, length) =
                (usize::from(u16::from_be_bytes([a, b])), usize::from(u16::from_be_bytes([c, d])));
            let value = bytes.get(at..at + length).ok_or_else(cut)?;
            match (name, value.first()) {
                (option::ENCRYPTION, Some(value)) => found.encryption = *value,
                (option::FED_AUTH, Some(value)) => found.fed_auth = *value != 0,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::from_utf16;

    #[test]
    fn a_login_says_where_its_texts_stand() {
        let texts = Texts { user: "etl", password: "p\u{e4}ss", server: "db", database: "shop" };
        let bytes = texts.join(&[7; 32], &[feature::UTF8, 0, 0, 0, 0, feature::END]);
        assert_eq!(u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize, bytes.len());
        let field = |index: usize| {
            let entry = &bytes[36 + index * 4..][..4];
            let at = usize::from(u16::from_le_bytes([entry[0], entry[1]]));
            let length = usize::from(u16::from_le_bytes([entry[2], entry[3]]));
            (at, length)
        };
        let text = |index| {
            let (at, length) = field(index);
            from_utf16(&bytes[at..at + length * 2])
        };
        assert_eq!((text(1), text(4), text(8)), ("etl".into(), "db".into(), "shop".into()));
        let (at, length) = field(2);
        let clear: Vec<u8> =
            bytes[at..at + length * 2].iter().map(|byte| (byte ^ 0xa5).rotate_left(4)).collect();
        assert_eq!(from_utf16(&clear), "p\u{e4}ss");
        let (at, length) = field(5);
        let features = u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
        assert_eq!((length, &bytes[features..]), (4, &[feature::UTF8, 0, 0, 0, 0, feature::END][..]));
        assert!(!bytes.windows(4).any(|window| window == b"p\0\xe4\0"), "the password is not in clear");
    }

    #[test]
    fn answers_are_read_and_cuts_are_found() {
        let mut bytes = vec![option::VERSION, 0, 11, 0, 6, option::ENCRYPTION, 0, 17, 0, 1, option::END];
        bytes.extend([16, 0, 0, 0, 0, 0, encryption::REQUIRED]);
        assert_eq!(Prelogin::parse(&bytes).unwrap().encryption, encryption::REQUIRED);
        for cut in 0..bytes.len() {
            assert!(Prelogin::parse(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn tokens_are_counted_in_bytes() {
        let data = fed_auth("ab", true);
        assert_eq!(data, [9, 0, 0, 0, 3, 4, 0, 0, 0, b'a', 0, b'b', 0]);
    }
}
