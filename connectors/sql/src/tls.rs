//! TLS by rustls for servers that upgrade a plain connection: the ways to check a certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use schemars::JsonSchema;
use serde::Deserialize;
use transload_core::{Error, ErrorKind, Result};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::{Certificate, Version};

/// Whether and how the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Never.
    Disable,
    /// If the server offers it; the certificate is not checked.
    #[default]
    Prefer,
    /// Always; the certificate is not checked.
    Require,
    /// Always; the certificate must come from a trusted authority.
    VerifyCa,
    /// Always; the certificate must come from a trusted authority and name the host.
    VerifyFull,
}

/// What a connection says about TLS: the options `tls`, `tls_ca`, `tls_cert` and `tls_key`.
#[derive(Debug, Clone, Copy)]
pub struct TlsOptions<'a> {
    /// Whether, and what is checked.
    pub tls: TlsMode,
    /// PEM file of the trusted authority; the system's where there is none.
    pub tls_ca: &'a Option<PathBuf>,
    /// PEM file of a client certificate.
    pub tls_cert: &'a Option<PathBuf>,
    /// PEM file of its key.
    pub tls_key: &'a Option<PathBuf>,
}

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// 1.2 and 1.3.
    All,
    /// 1.2, where the protocol around knows no later one.
    OnlyTls12,
}

/// The client configuration of a connection. Files are read here, once.
///
/// # Errors
/// `config` for files that cannot be read or hold no PEM, `tls` where no authority is known.
pub fn client_config(config: TlsOptions<'_>) -> Result<ClientConfig> {
    client_config_of(config, Versions::All)
}

/// As [`client_config`], for some versions of TLS.
///
/// # Errors
/// As there.
pub fn client_config_of(config: TlsOptions<'_>, versions: Versions) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let versions = match versions {
        Versions::All => rustls::DEFAULT_VERSIONS,
        Versions::OnlyTls12 => &[&rustls::version::TLS12],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| Error::internal("rustls has no usable protocol version").source_error(error))?;
    let verifier: Arc<dyn ServerCertVerifier> = match config.tls {
        TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => Arc::new(Unchecked(provider)),
        TlsMode::VerifyCa => Arc::new(AuthorityOnly(verifier(config.tls_ca, provider)?)),
        TlsMode::VerifyFull => verifier(config.tls_ca, provider)?,
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match (config.tls_cert, config.tls_key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let key_der = PrivateKeyDer::from_pem_slice(&read("tls_key", key)?)
                .map_err(|error| bad_pem("tls_key", key).source_error(error))?;
            builder
                .with_client_auth_cert(certificates("tls_cert", certificate)?, key_der)
                .map_err(|error| bad_pem("tls_cert", certificate).source_error(error))
        }
        _ => Err(Error::config("`tls_cert` and `tls_key` belong together").hint("give both or none")),
    }
}

fn verifier(ca: &Option<PathBuf>, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            for certificate in certificates("tls_ca", path)? {
                roots.add(certificate).map_err(|error| bad_pem("tls_ca", path).source_error(error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|error| {
        Error::new(ErrorKind::Tls, "there is no trusted authority to check the server's certificate with")
            .source_error(error)
            .hint("give `tls_ca`")
    })
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        Error::config(format!("`{option}`: {} cannot be read", path.display())).source_error(error)
    })
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(option, path)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<std::result::Result<Vec<_>, _>>();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(bad_pem(option, path)),
        Err(error) => Err(bad_pem(option, path).source_error(error)),
    }
}

fn bad_pem(option: &str, path: &Path) -> Error {
    Error::config(format!("`{option}`: {} holds no usable PEM", path.display()))
}

/// The key of a certificate of version 1. The PostgreSQL manual's own example makes such ones, and rustls does not
/// read them.
fn old_key(certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let certificate = Certificate::from_der(certificate).ok()?.tbs_certificate;
    let key = (certificate.version == Version::V1).then_some(certificate.subject_public_key_info)?;
    key.to_der().ok().map(Into::into)
}

/// Encrypts without checking whose certificate it is, as libpq does for `prefer` and `require`. That the server
/// holds the certificate's key is checked: what binds a login to its channel relies on it.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        match old_key(certificate) {
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, signed, algorithms),
            None => verify_tls13_signature(message, certificate, signed, algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Checks the authority but not the name.
#[derive(Debug)]
struct AuthorityOnly(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AuthorityOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
