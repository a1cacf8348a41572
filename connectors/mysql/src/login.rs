//! Logging in: the greeting, TLS, the ways to prove a password.

use std::path::Path;

use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use transload_core::{Error, ErrorKind, Result, Secret};

use crate::auth::{self, CACHING_SHA2, CLEAR, ED25519, NATIVE, SHA256_PASSWORD};
use crate::channel::Channel;
use crate::config::{MysqlConfig, TlsMode};
use crate::error::{server_error, socket_error};
use crate::protocol::{Greeting, Parser, broken, capability as can, put_bytes};

/// utf8mb4_general_ci, which every version knows.
const CHARACTER_SET: u8 = 45;

/// Largest message that we take. The server's own limit, which is at most this, decides.
const MOST_PACKET: u32 = 1 << 30;

/// What logging in needs.
pub(crate) struct Login<'a> {
    pub(crate) options: &'a MysqlConfig,
    pub(crate) secret: Option<&'a Secret>,
    pub(crate) tls: &'a TlsConnector,
    /// How errors call the server.
    pub(crate) address: &'a str,
}

impl Login<'_> {
    /// Goes from the greeting to the server's OK.
    pub(crate) async fn run(&self, channel: &mut Channel) -> Result<Greeting> {
        let first = channel.message().await?;
        if first.first() == Some(&0xff) {
            return Err(server_error(&first));
        }
        let greeting = Greeting::parse(&first)?;
        let wanted = self.capabilities(&greeting, channel)?;
        if wanted & can::SSL != 0 {
            channel.send(&head(wanted)).await?;
            let name = ServerName::try_from(self.options.host.clone()).map_err(|error| {
                Error::new(ErrorKind::Tls, format!("`{}` is no name that TLS can check", self.options.host))
                    .source_error(error)
                    .hint("check `host`")
            })?;
            let encrypted = channel.link().encrypt(self.tls, name).await;
            encrypted.map_err(|error| {
                // Whatever broke here broke TLS: the server speaks, and the peer was reached.
                let text = socket_error(self.address, error);
                Error::new(ErrorKind::Tls, text.message().to_owned())
                    .source_error(text)
                    .hint("check `tls`, `tls_ca` and the name in the server's certificate")
            })?;
        }
        // Any other is answered with the oldest way; the server then says which one the user needs, with its nonce.
        let first = if greeting.plugin == CACHING_SHA2 { CACHING_SHA2 } else { NATIVE };
        let proof = self.proof(first, &greeting.nonce, channel)?;
        channel.send(&self.response(wanted, first, &proof)).await?;
        self.finish(channel, first.to_owned(), greeting.nonce.clone()).await?;
        channel.agree(wanted & can::DEPRECATE_EOF != 0, wanted & can::COMPRESS != 0);
        Ok(greeting)
    }

    fn capabilities(&self, greeting: &Greeting, channel: &mut Channel) -> Result<u32> {
        let needed = can::PROTOCOL_41 | can::SECURE_CONNECTION | can::PLUGIN_AUTH | can::TRANSACTIONS;
        if greeting.capabilities & needed != needed {
            return Err(Error::unsupported(format!("server version {} is too old", greeting.version))
                .hint("MySQL 5.6 or MariaDB 10 is needed"));
        }
        let mut wanted = needed
            | can::LONG_PASSWORD
            | can::LONG_FLAG
            | can::MULTI_STATEMENTS
            | can::MULTI_RESULTS
            | can::CONNECT_ATTRS
            | can::PLUGIN_AUTH_LENENC
            | can::DEPRECATE_EOF;
        if self.options.database.is_some() {
            wanted |= can::CONNECT_WITH_DB;
        }
        if self.options.compression {
            if greeting.capabilities & can::COMPRESS == 0 {
                return Err(
                    Error::unsupported("the server does not compress").hint("set `compression` to false")
                );
            }
            wanted |= can::COMPRESS;
        }
        // As with libmysql: a socket of this machine is not encrypted, whatever is asked for.
        if self.options.tls != TlsMode::Disable && !channel.link().is_private() {
            if greeting.capabilities & can::SSL != 0 {
                wanted |= can::SSL;
            } else if self.options.tls != TlsMode::Prefer {
                return Err(Error::new(ErrorKind::Tls, "the server does not speak TLS")
                    .hint("set it up there, or set `tls` to `prefer` or `disable`"));
            }
        }
        Ok(wanted & greeting.capabilities)
    }

    fn response(&self, wanted: u32, plugin: &str, proof: &[u8]) -> Vec<u8> {
        let mut message = head(wanted);
        let ended = |message: &mut Vec<u8>, text: &str| {
            message.extend_from_slice(text.as_bytes());
            message.push(0);
        };
        ended(&mut message, &self.options.username);
        put_bytes(&mut message, proof);
        if let Some(database) = &self.options.database {
            ended(&mut message, database);
        }
        ended(&mut message, plugin);
        if wanted & can::CONNECT_ATTRS != 0 {
            let mut attributes = Vec::new();
            for text in ["program_name", "transload", "_client_version", env!("CARGO_PKG_VERSION")] {
                put_bytes(&mut attributes, text.as_bytes());
            }
            put_bytes(&mut message, &attributes);
        }
        message
    }

    /// The server's answers, until it says yes or no.
    async fn finish(&self, channel: &mut Channel, mut plugin: String, mut nonce: Vec<u8>) -> Result<()> {
        // Each round is an answer of ours; no way to log in takes more than a few.
        for _ in 0..8 {
            let message = channel.message().await?;
            match message.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((0xff, _)) => return Err(server_error(&message)),
                Some((0xfe, rest)) => {
                    let mut parser = Parser(rest);
                    plugin = String::from_utf8_lossy(parser.text()).into_owned();
                    nonce = auth::nonce(&plugin, parser.0)?.to_vec();
                    let proof = self.proof(&plugin, &nonce, channel)?;
                    channel.send(&proof).await?;
                }
                Some((0x01, more)) => self.go_on(channel, &plugin, &nonce, more).await?,
                _ => return Err(broken("a message that does not belong to a login")),
            }
        }
        Err(broken("a login without an end"))
    }

    fn password(&self) -> &[u8] {
        self.secret.map(|secret| secret.expose().as_bytes()).unwrap_or_default()
    }

    /// The first answer to a way of logging in.
    fn proof(&self, plugin: &str, nonce: &[u8], channel: &mut Channel) -> Result<Vec<u8>> {
        let password = self.password();
        match plugin {
            NATIVE => Ok(auth::native(password, nonce)),
            CACHING_SHA2 => Ok(auth::caching_sha2(password, nonce)),
            ED25519 => auth::ed25519(password, nonce),
            CLEAR | SHA256_PASSWORD if channel.link().is_private() => Ok([password, &[0]].concat()),
            SHA256_PASSWORD if password.is_empty() => Ok(vec![0]),
            SHA256_PASSWORD => match self.server_key()? {
                Some(pem) => auth::rsa(password, nonce, &pem),
                None => Ok(vec![1]), // asks for the key
            },
            CLEAR => Err(Error::new(ErrorKind::Auth, "the server wants the password as it is, without TLS")
                .hint("set `tls` to `require` or more")),
            other => Err(Error::unsupported(format!("the server wants a login by `{other}`"))
                .hint("give the user one of mysql_native_password, caching_sha2_password, ed25519")),
        }
    }

    /// What follows a first answer.
    async fn go_on(&self, channel: &mut Channel, plugin: &str, nonce: &[u8], more: &[u8]) -> Result<()> {
        const FAST: &[u8] = &[3];
        const FULL: &[u8] = &[4];
        match (plugin, more) {
            (CACHING_SHA2, FAST) => Ok(()),
            (CACHING_SHA2, FULL) if channel.link().is_private() => {
                channel.send(&[self.password(), &[0]].concat()).await
            }
            (CACHING_SHA2, FULL) => match self.server_key()? {
                Some(pem) => channel.send(&auth::rsa(self.password(), nonce, &pem)?).await,
                None => channel.send(&[2]).await, // asks for the key
            },
            (CACHING_SHA2 | SHA256_PASSWORD, pem) if self.options.get_server_key => {
                channel.send(&auth::rsa(self.password(), nonce, pem)?).await
            }
            _ => Err(broken("a message that does not belong to a login")),
        }
    }

    /// The key that the options name. Without one, the server may only be asked if they say so.
    fn server_key(&self) -> Result<Option<Vec<u8>>> {
        match &self.options.server_key {
            Some(path) => read(path).map(Some),
            None if self.options.get_server_key => Ok(None),
            None => {
                Err(Error::new(ErrorKind::Auth, "the server wants the password over an encrypted connection")
                    .hint("set `tls` to `require` or more, or give `server_key`, or set `get_server_key`"))
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Error::config(format!("`server_key`: {} cannot be read", path.display())).source_error(error)
    })
}

/// What begins both our login and the wish for TLS.
fn head(capabilities: u32) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(capabilities.to_le_bytes());
    message.extend(MOST_PACKET.to_le_bytes());
    message.push(CHARACTER_SET);
    message.extend([0; 23]);
    message
}
