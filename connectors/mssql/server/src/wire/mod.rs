//! The protocol: packets, TLS inside of them, logins, requests and answers. Sections in brackets are those of [MS-TDS].

pub(crate) mod bytes;
pub(crate) mod login;
pub(crate) mod packet;
pub(crate) mod prelogin;
pub(crate) mod request;
pub(crate) mod tls;
pub(crate) mod token;
