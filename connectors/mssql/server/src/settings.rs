//! How a server behaves.

use std::time::Duration;

/// What a server demands of its connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encryption {
    /// It has no TLS.
    NotSupported,
    /// It leaves it to the client: TLS for the login alone, or for everything.
    #[default]
    Off,
    /// Everything is encrypted.
    Required,
    /// TLS comes first (TDS 8); a client that begins with a prelogin is refused.
    Strict,
}

/// Which product a server says that it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flavour {
    /// SQL Server 2022, Developer Edition (engine edition 3).
    #[default]
    SqlServer,
    /// Azure SQL Database (engine edition 5).
    AzureSql,
    /// A dedicated pool of Azure Synapse (engine edition 6): no snapshot isolation, and none of the types that it does
    /// not have.
    Synapse,
}

/// An error that answers logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginError {
    /// Its number, such as 40613.
    pub number: u32,
    /// Its class; 14 for refused logins, 17 and more for a lack of resources.
    pub class: u8,
    /// How many logins are answered so; later ones go well.
    pub times: u32,
}

/// How a server behaves. [`Settings::default`] is one that answers everybody who knows a password.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// TLS; [`Encryption::Off`] by default.
    pub encryption: Encryption,
    /// The product; [`Flavour::SqlServer`] by default.
    pub flavour: Flavour,
    /// Names and addresses of the certificate; `localhost` and `127.0.0.1` by default.
    pub hosts: Vec<String>,
    /// The password of `sa`, who may do everything, and of `etl`, who may only read.
    pub password: String,
    /// The access token that stands for `etl`; none is taken by default.
    pub token: Option<String>,
    /// The largest packet that a login may ask for, in bytes; 32,767 by default.
    pub packet_size: u16,
    /// Where logins are sent on to, as the gateways of Azure do it.
    pub route: Option<(String, u16)>,
    /// An error that answers the first logins.
    pub login_error: Option<LoginError>,
    /// Names of instances that the browser service tells the port of; without any, it does not run.
    pub instances: Vec<String>,
    /// How long the server waits before it answers a login.
    pub login_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            encryption: Encryption::default(),
            flavour: Flavour::default(),
            hosts: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            password: "Secret1!".to_owned(),
            token: None,
            packet_size: 32_767,
            route: None,
            login_error: None,
            instances: Vec::new(),
            login_delay: Duration::ZERO,
        }
    }
}
