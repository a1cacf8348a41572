//! Answers to the ways in which servers ask for a password. Nothing here does I/O.

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use num_bigint::BigUint;
use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use transload_core::{Error, ErrorKind, Result};

use crate::protocol::broken;

pub(crate) const NATIVE: &str = "mysql_native_password";
pub(crate) const CACHING_SHA2: &str = "caching_sha2_password";
pub(crate) const SHA256_PASSWORD: &str = "sha256_password";
pub(crate) const ED25519: &str = "client_ed25519";
pub(crate) const CLEAR: &str = "mysql_clear_password";

/// Bytes of the nonce of [`ED25519`].
const ED25519_NONCE: usize = 32;

/// The nonce in a server's message. Those of MySQL's ways have a zero behind them and none within; MariaDB's
/// `client_ed25519` has neither, so that one of 256 ends with a zero that belongs to it.
pub(crate) fn nonce<'a>(plugin: &str, sent: &'a [u8]) -> Result<&'a [u8]> {
    match plugin {
        ED25519 if sent.len() == ED25519_NONCE => Ok(sent),
        ED25519 => Err(broken("a nonce of an odd length")),
        _ => Ok(sent.strip_suffix(&[0]).unwrap_or(sent)),
    }
}

fn hash(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    digest(algorithm, &parts.concat()).as_ref().to_vec()
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other.iter().cycle()).map(|(one, other)| one ^ other).collect()
}

/// `mysql_native_password`: SHA1(password) xor SHA1(nonce, SHA1(SHA1(password))).
pub(crate) fn native(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let sha1 = |parts: &[&[u8]]| hash(&SHA1_FOR_LEGACY_USE_ONLY, parts);
    let stage1 = sha1(&[password]);
    let stage2 = sha1(&[&stage1]);
    xor(&stage1, &sha1(&[nonce, &stage2]))
}

/// The short way of `caching_sha2_password`: SHA256(password) xor SHA256(SHA256(SHA256(password)), nonce).
pub(crate) fn caching_sha2(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let stage1 = hash(&SHA256, &[password]);
    let stage2 = hash(&SHA256, &[&hash(&SHA256, &[&stage1]), nonce]);
    xor(&stage1, &stage2)
}

/// MariaDB's `client_ed25519`: a signature of the nonce. The key is SHA512 of the password itself, not of a seed as
/// RFC 8032 has it.
pub(crate) fn ed25519(password: &[u8], nonce: &[u8]) -> Result<Vec<u8>> {
    let key = hash(&SHA512, &[password]);
    let Some((low, high)) = key.split_first_chunk::<32>() else {
        return Err(Error::internal("SHA-512 has an odd length"));
    };
    let wide = |parts: &[&[u8]]| {
        let bytes: [u8; 64] = hash(&SHA512, parts).try_into().unwrap_or([0; 64]);
        Scalar::from_bytes_mod_order_wide(&bytes)
    };
    let secret = Scalar::from_bytes_mod_order(clamp_integer(*low));
    let public = EdwardsPoint::mul_base(&secret).compress();
    let random = wide(&[high, nonce]);
    let commitment = EdwardsPoint::mul_base(&random).compress();
    let challenge = wide(&[commitment.as_bytes(), public.as_bytes(), nonce]);
    let response = challenge * secret + random;
    Ok([commitment.as_bytes().as_slice(), response.as_bytes()].concat())
}

/// The password for a server that wants it in full over a connection that is not encrypted: xor the nonce, under the
/// server's RSA key with OAEP (SHA-1), as both `caching_sha2_password` and `sha256_password` have it.
pub(crate) fn rsa(password: &[u8], nonce: &[u8], pem: &[u8]) -> Result<Vec<u8>> {
    let ended = [password, &[0]].concat();
    let (modulus, exponent) = public_key(pem).ok_or_else(|| {
        Error::new(ErrorKind::Auth, "the server's RSA key could not be read").hint("use TLS in its place")
    })?;
    let length = usize::try_from(modulus.bits().div_ceil(8)).unwrap_or(0);
    let mut seed = [0; 20];
    SystemRandom::new().fill(&mut seed).map_err(|_| Error::internal("the system has no random numbers"))?;
    let padded = oaep(&xor(&ended, nonce), &seed, length)
        .ok_or_else(|| Error::new(ErrorKind::Auth, "the password is too long for the server's RSA key"))?;
    let sealed = BigUint::from_bytes_be(&padded).modpow(&exponent, &modulus).to_bytes_be();
    Ok([vec![0; length.saturating_sub(sealed.len())], sealed].concat())
}

/// RFC 8017, 7.1.1, with an empty label.
fn oaep(message: &[u8], seed: &[u8; 20], length: usize) -> Option<Vec<u8>> {
    let room = length.checked_sub(2 * seed.len() + 2)?;
    let zeros = room.checked_sub(message.len())?;
    let label = hash(&SHA1_FOR_LEGACY_USE_ONLY, &[]);
    let block = [label.as_slice(), &vec![0; zeros], &[1], message].concat();
    let masked_block = xor(&block, &mask(seed, block.len()));
    let masked_seed = xor(seed, &mask(&masked_block, seed.len()));
    Some([&[0], masked_seed.as_slice(), masked_block.as_slice()].concat())
}

/// MGF1 of RFC 8017, B.2.1.
fn mask(seed: &[u8], length: usize) -> Vec<u8> {
    let mut mask = Vec::new();
    for counter in 0_u32.. {
        if mask.len() >= length {
            break;
        }
        mask.extend(hash(&SHA1_FOR_LEGACY_USE_ONLY, &[seed, &counter.to_be_bytes()]));
    }
    mask.truncate(length);
    mask
}

/// Modulus and exponent of a PEM public key.
fn public_key(pem: &[u8]) -> Option<(BigUint, BigUint)> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
    let (info, _) = element(0x30, &der)?;
    let (_algorithm, rest) = element(0x30, info)?;
    let (bits, _) = element(0x03, rest)?;
    let (key, _) = element(0x30, bits.strip_prefix(&[0])?)?;
    let (modulus, rest) = element(0x02, key)?;
    let (exponent, _) = element(0x02, rest)?;
    let (modulus, exponent) = (BigUint::from_bytes_be(modulus), BigUint::from_bytes_be(exponent));
    // A server chooses both; one that is too small would tell the password, one that is huge takes for ever.
    ((1024..=16_384).contains(&modulus.bits()) && (2..=64).contains(&exponent.bits()))
        .then_some((modulus, exponent))
}

/// The content of a DER element with this tag, and what follows it.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long & 0x7f)?;
            let number = bytes
                .iter()
                .try_fold(0_usize, |number, byte| number.checked_mul(256)?.checked_add(usize::from(*byte)))?;
            (number, rest)
        }
    };
    (*found == tag).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Figures of other implementations: of Python's `hashlib` for the two hashes.
    #[test]
    fn scrambles_are_as_others_compute_them() {
        let nonce = b"12345678abcdefghijkl";
        assert_eq!(hex(&native(b"secret", nonce)), NATIVE_SECRET);
        assert_eq!(hex(&caching_sha2(b"secret", nonce)), SHA2_SECRET);
        assert!(native(b"", nonce).is_empty() && caching_sha2(b"", nonce).is_empty());
    }
    const NATIVE_SECRET: &str = "4f1522d6eb54737eda413b3e219ca6caebe3df2c";
    const SHA2_SECRET: &str = "7f7e3878fe488ed45081455d0d6e89e26d4ef86ef6c6aeed02397b6fe8ad5422";

    #[test]
    fn zeros_at_the_end_of_a_nonce() {
        let mut random = [7; 32];
        random[31] = 0;
        assert_eq!(nonce(ED25519, &random).unwrap(), random);
        assert_eq!(nonce(NATIVE, b"12345678abcdefghijkl\0").unwrap(), b"12345678abcdefghijkl");
        assert_eq!(nonce(CACHING_SHA2, b"12345678abcdefghijkl\0").unwrap(), b"12345678abcdefghijkl");
        assert_eq!(nonce(ED25519, &random[..31]).unwrap_err().kind(), ErrorKind::Data);
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        for pem in [&b""[..], b"no pem", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert_eq!(rsa(b"secret", b"nonce", pem).unwrap_err().kind(), ErrorKind::Auth);
        }
        assert!(oaep(&[1; 87], &[0; 20], 128).is_none());
        assert_eq!(oaep(&[1; 86], &[0; 20], 128).unwrap().len(), 128);
    }
}
