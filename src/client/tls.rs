//! TLS with a server: whom a client trusts, and what it shows to one that asks who it is.
//!
//! The files are read once, before anything is asked, so that what is wrong with them is said in words. Their variables are
//! not those of the server's own settings: on its machine, or in its container, a command would show the server's
//! certificate by them.

use super::ClientError;
use clap::Args;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

/// What a server says of a certificate that it does not take.
const REFUSALS: [&str; 8] = [
    "AccessDenied",
    "BadCertificate",
    "CertificateExpired",
    "CertificateRevoked",
    "CertificateUnknown",
    // So it does where the authority has the name of one that it trusts, and another key.
    "DecryptError",
    "UnknownCA",
    "UnsupportedCertificate",
];

/// The files, where the URL is https.
#[derive(Args, Debug)]
pub(super) struct TlsArguments {
    /// A PEM file of the certificates to trust, instead of the system's, where the URL is https
    #[arg(
        long,
        visible_alias = "tls-ca",
        env = "KVSTORE_CLIENT_TLS_CA",
        value_name = "FILE"
    )]
    ca_file: Option<PathBuf>,
    /// A PEM file with the certificate to show where the server asks for one, and those that vouch for it
    #[arg(
        long,
        requires = "tls_key",
        env = "KVSTORE_CLIENT_TLS_CERTIFICATE",
        value_name = "FILE"
    )]
    tls_certificate: Option<PathBuf>,
    /// A PEM file with the key of that certificate
    #[arg(
        long,
        requires = "tls_certificate",
        env = "KVSTORE_CLIENT_TLS_KEY",
        value_name = "FILE"
    )]
    tls_key: Option<PathBuf>,
}

/// How TLS is spoken by these files.
///
/// Without one of certificates those are trusted that the system trusts, as for an engine: a company's own authority is
/// among them, where a list that is built in has it not.
///
/// # Errors
/// Where a file cannot be read or used.
pub(super) fn config(arguments: &TlsArguments) -> Result<TlsConfig, ClientError> {
    let roots = match &arguments.ca_file {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let shown = match (&arguments.tls_certificate, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Some(client_certificate(certificate, key)?),
        // Each requires the other.
        (Some(_), None) | (None, Some(_)) | (None, None) => None,
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&as_taken(&roots)))
        .client_cert(shown)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .build())
}

/// What may help where TLS was not agreed on, by the words of the error.
pub(super) fn remedy(error: &str) -> Option<&'static str> {
    let alert = error.split_once("received fatal alert: ");
    let alert = alert.map(|(_, alert)| alert);
    // The second where who signed it has the name of somebody whom we trust, and another key.
    if ["UnknownIssuer", "peer certificate: BadSignature"]
        .iter()
        .any(|known| error.contains(known))
    {
        Some("; give the certificates to trust with --ca-file")
    } else if error.contains("corrupt message") {
        Some("; maybe it does not speak https: try http://")
    } else if alert.is_some_and(|alert| alert.starts_with("CertificateRequired")) {
        Some(
            "; it takes clients with a certificate only: give one with --tls-certificate and --tls-key",
        )
    } else if alert.is_some_and(|alert| REFUSALS.iter().any(|known| alert.starts_with(known))) {
        Some(
            "; it does not take the certificate of --tls-certificate: give one that it trusts and that has not ended",
        )
    } else {
        None
    }
}

/// The certificates of a file, of which there is one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let unusable = |why: String| ClientError::Certificates(path.into(), why);
    let text = fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| unusable(error.to_string()))?;
    match found.is_empty() {
        true => Err(unusable("there is no certificate in it".into())),
        false => Ok(found),
    }
}

/// A certificate and its key. That they fit is seen here, since what speaks TLS would panic over a pair that does not.
fn client_certificate(certificate: &Path, key: &Path) -> Result<ClientCert, ClientError> {
    let chain = certificates(certificate)?;
    let unusable = || {
        let why = "there is no key in it that can be read; give it as PEM (PKCS #8, PKCS #1 or SEC 1), and without a \
                   passphrase";
        ClientError::Key(key.into(), why.into())
    };
    let text = fs::read(key).map_err(|error| ClientError::Key(key.into(), error.to_string()))?;
    let parsed = PrivateKeyDer::from_pem_slice(&text).map_err(|_| unusable())?;
    let fits = CertifiedKey::from_der(chain.clone(), parsed, &ring::default_provider());
    fits.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => ClientError::OtherKey {
            key: key.into(),
            certificate: certificate.into(),
        },
        // So it says that it knows no key of that kind.
        rustls::Error::General(_) => unusable(),
        other => ClientError::Certificates(certificate.into(), other.to_string()),
    })?;
    let parsed = PrivateKey::from_pem(&text).map_err(|_| unusable())?;
    Ok(ClientCert::new_with_certs(&as_taken(&chain), parsed))
}

/// As what asks takes them.
fn as_taken(certificates: &[CertificateDer<'static>]) -> Vec<Certificate<'static>> {
    let certificates = certificates.iter();
    certificates
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_a_handshake_is_said_with_what_may_help() {
        for (error, says) in [
            ("io: invalid peer certificate: UnknownIssuer", "--ca-file"),
            ("io: invalid peer certificate: BadSignature", "--ca-file"),
            ("io: received corrupt message of type X", "http://"),
            (
                "io: received fatal alert: CertificateRequired",
                "with a certificate only",
            ),
            (
                "io: received fatal alert: UnknownCA",
                "does not take the certificate",
            ),
            (
                "io: received fatal alert: DecryptError",
                "does not take the certificate",
            ),
            (
                "io: received fatal alert: CertificateExpired",
                "does not take the certificate",
            ),
        ] {
            let remedy = remedy(error);
            assert!(
                remedy.is_some_and(|remedy| remedy.contains(says)),
                "{error}"
            );
        }
        for error in [
            "io: received fatal alert: HandshakeFailure",
            "io: Connection reset by peer",
        ] {
            assert_eq!(remedy(error), None, "{error}");
        }
    }
}
