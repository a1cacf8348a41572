//! Logins [2.2.6.4]: by password or by an access token.

use std::io;

use super::bytes::{Bytes, malformed, utf16};

/// Numbers of feature extensions [2.2.6.4].
const FEDERATED: u8 = 0x02;
const UTF8: u8 = 0x0A;

/// Where the fields begin whose places the fixed part tells.
const USER: usize = 40;
const PASSWORD: usize = 44;
const APPLICATION: usize = 48;
const EXTENSION: usize = 56;
const DATABASE: usize = 68;

/// What a client says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) version: u32,
    pub(crate) packet_size: u32,
    pub(crate) user: String,
    pub(crate) credentials: Credentials,
    pub(crate) application: String,
    /// Empty if the client leaves it to the server.
    pub(crate) database: String,
    /// `ApplicationIntent=ReadOnly`
    pub(crate) read_only: bool,
    pub(crate) features: Vec<u8>,
}

/// How a client proves who it is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    Password(String),
    /// An access token, with the nonce that the client wants signed, if it sent one.
    Token(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password",
            Self::Token(_) => "Token",
        })
    }
}

impl Login {
    pub(crate) fn parse(body: &[u8]) -> io::Result<Self> {
        let mut fixed = Bytes::new(body);
        let _length = fixed.u32()?;
        let (version, packet_size) = (fixed.u32()?, fixed.u32()?);
        let type_flags = byte(body, 26)?;
        let has_extension = byte(body, 27)? & 0x10 != 0;
        let password: Vec<u8> =
            field(body, PASSWORD, 2)?.iter().map(|byte| (byte ^ 0xA5).rotate_left(4)).collect();
        let mut login = Self {
            version,
            packet_size,
            user: utf16(field(body, USER, 2)?),
            credentials: Credentials::Password(utf16(&password)),
            application: utf16(field(body, APPLICATION, 2)?),
            database: utf16(field(body, DATABASE, 2)?),
            read_only: type_flags & 0x20 != 0,
            features: Vec::new(),
        };
        if has_extension {
            let place = Bytes::new(field(body, EXTENSION, 1)?).u32()?;
            let place = usize::try_from(place).map_err(|_| malformed("feature extensions"))?;
            login.extensions(body.get(place..).ok_or_else(|| malformed("feature extensions"))?)?;
        }
        Ok(login)
    }

    fn extensions(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut bytes = Bytes::new(bytes);
        loop {
            let feature = bytes.u8()?;
            if feature == 0xFF {
                return Ok(());
            }
            let length = usize::try_from(bytes.u32()?).map_err(|_| malformed("feature extension"))?;
            let mut data = Bytes::new(bytes.take(length)?);
            self.features.push(feature);
            if feature == FEDERATED {
                let library = data.u8()? >> 1;
                // 1 is the security token: the client brings it along. Others would ask for a message of their own.
                if library != 1 {
                    return Err(malformed("a library of federated logins that is not the security token"));
                }
                let length = usize::try_from(data.u32()?).map_err(|_| malformed("token"))?;
                self.credentials = Credentials::Token(utf16(data.take(length)?));
            }
        }
    }

    /// What the server has to say to the features that were asked for; `None` if there is none that it knows.
    pub(crate) fn acknowledged(&self) -> Option<Vec<u8>> {
        let mut token = Vec::new();
        for feature in &self.features {
            match *feature {
                FEDERATED => token.extend([FEDERATED, 0, 0, 0, 0]),
                UTF8 => token.extend([UTF8, 1, 0, 0, 0, 1]),
                _ => {}
            }
        }
        (!token.is_empty()).then_some(token)
    }
}

fn byte(body: &[u8], at: usize) -> io::Result<u8> {
    body.get(at).copied().ok_or_else(|| malformed("a login that is too short"))
}

/// A field of variable length: its place and its length (in units of `unit` bytes) stand at `at`.
fn field(body: &[u8], at: usize, unit: usize) -> io::Result<&[u8]> {
    let mut place = Bytes::new(body.get(at..).ok_or_else(|| malformed("a login that is too short"))?);
    let (begin, length) = (usize::from(place.u16()?), usize::from(place.u16()?) * unit);
    body.get(begin..begin + length).ok_or_else(|| malformed("a field of the login"))
}
