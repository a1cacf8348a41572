//! The first message of a connection [2.2.6.5], by which both sides agree on encryption.

use std::io;

use super::bytes::malformed;
use crate::settings::Encryption;

const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
const FEDERATED: u8 = 6;
const END: u8 = 0xFF;

const OFF: u8 = 0;
const ON: u8 = 1;
const NOT_SUPPORTED: u8 = 2;
const REQUIRED: u8 = 3;

/// How much of a connection TLS covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cover {
    Nothing,
    /// The login message alone.
    Login,
    Everything,
    /// The client does not take what the server demands; it is told so and hangs up.
    Refused,
}

/// What a client asked for.
#[derive(Debug)]
pub(crate) struct Prelogin {
    encryption: u8,
    federated: bool,
}

impl Prelogin {
    pub(crate) fn parse(body: &[u8]) -> io::Result<Self> {
        let mut asked = Self { encryption: NOT_SUPPORTED, federated: false };
        let mut options = body.chunks(5);
        loop {
            let option = options.next().ok_or_else(|| malformed("prelogin without an end"))?;
            let [kind, place @ ..] = option else { return Err(malformed("prelogin")) };
            if *kind == END {
                return Ok(asked);
            }
            let &[a, b, c, d] = place else { return Err(malformed("prelogin")) };
            let (begin, length) =
                (usize::from(u16::from_be_bytes([a, b])), usize::from(u16::from_be_bytes([c, d])));
            let value = body.get(begin..begin + length).ok_or_else(|| malformed("prelogin"))?;
            match (*kind, value) {
                (ENCRYPTION, [value, ..]) => asked.encryption = *value & 0x0F,
                (FEDERATED, [value, ..]) => asked.federated = *value != 0,
                _ => {}
            }
        }
    }

    /// What encryption comes of both sides' wishes, and the answer that says so. `secured` if TLS came first (TDS 8).
    pub(crate) fn answer(&self, encryption: Encryption, version: [u8; 4], secured: bool) -> (Cover, Vec<u8>) {
        let (cover, said) = match (encryption, self.encryption) {
            _ if secured => (Cover::Everything, NOT_SUPPORTED),
            (Encryption::NotSupported, _) | (Encryption::Off, NOT_SUPPORTED) => {
                (Cover::Nothing, NOT_SUPPORTED)
            }
            (Encryption::Off, OFF) => (Cover::Login, OFF),
            (Encryption::Off, _) | (Encryption::Required, ON | REQUIRED) => (Cover::Everything, ON),
            (Encryption::Required, OFF) => (Cover::Everything, REQUIRED),
            (Encryption::Required | Encryption::Strict, _) => (Cover::Refused, REQUIRED),
        };
        let mut values = vec![(VERSION, [&version[..], &[0, 0]].concat()), (ENCRYPTION, vec![said])];
        if self.federated {
            values.push((FEDERATED, vec![1]));
        }
        (cover, options(&values))
    }
}

/// Options as a message: where each value stands, then the values.
fn options(values: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut begin = values.len() * 5 + 1;
    let mut message = Vec::new();
    for (kind, value) in values {
        let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
        message.push(*kind);
        message.extend(short(begin));
        message.extend(short(value.len()));
        begin += value.len();
    }
    message.push(END);
    message.extend(values.iter().flat_map(|(_, value)| value));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption_is_agreed_on_as_the_protocol_says() {
        // [2.2.6.5]: the server's wish, the client's, what is encrypted, what the server answers.
        let agreed = [
            (Encryption::NotSupported, OFF, Cover::Nothing, NOT_SUPPORTED),
            (Encryption::NotSupported, ON, Cover::Nothing, NOT_SUPPORTED),
            (Encryption::Off, OFF, Cover::Login, OFF),
            (Encryption::Off, ON, Cover::Everything, ON),
            (Encryption::Off, REQUIRED, Cover::Everything, ON),
            (Encryption::Off, NOT_SUPPORTED, Cover::Nothing, NOT_SUPPORTED),
            (Encryption::Required, OFF, Cover::Everything, REQUIRED),
            (Encryption::Required, ON, Cover::Everything, ON),
            (Encryption::Required, NOT_SUPPORTED, Cover::Refused, REQUIRED),
            (Encryption::Strict, ON, Cover::Refused, REQUIRED),
        ];
        for (server, client, cover, said) in agreed {
            let asked =
                Prelogin::parse(&options(&[(VERSION, vec![0; 6]), (ENCRYPTION, vec![client])])).unwrap();
            let (found, answer) = asked.answer(server, [16, 0, 3, 232], false);
            assert_eq!(found, cover, "{server:?} {client}");
            assert_eq!(Prelogin::parse(&answer).unwrap().encryption, said, "{server:?} {client}");
        }
    }

    #[test]
    fn rubbish_is_an_error() {
        for body in [&[][..], &[1], &[1, 0, 200, 0, 1, END], &[1, 0, 6]] {
            assert!(Prelogin::parse(body).is_err(), "{body:?}");
        }
    }
}
