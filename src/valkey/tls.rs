//! What we show to an engine that asks who we are.

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::sync::Arc;

/// A client's certificate and its key, which fit together.
#[derive(Clone)]
pub struct ClientCertificate {
    certificates: Vec<u8>,
    key: Vec<u8>,
}

impl ClientCertificate {
    /// Takes the text of a certificate, or a chain of them from ours on, and of its key, both in PEM.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(certificates: Vec<u8>, key: Vec<u8>) -> Result<Self, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificates).collect();
        let chain = chain.map_err(|error| format!("the certificate is not PEM: {error}"))?;
        if chain.is_empty() {
            return Err("the file of the certificate holds none (PEM)".into());
        }
        let parsed = PrivateKeyDer::from_pem_slice(&key);
        let parsed = parsed.map_err(|error| format!("the key is not PEM: {error}"))?;
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                let builder = builder.with_root_certificates(RootCertStore::empty());
                builder.with_client_auth_cert(chain, parsed)
            })
            .map_err(|error| format!("the certificate and the key do not fit: {error}"))?;
        Ok(Self { certificates, key })
    }

    /// As the engine's client takes it. Whom we trust stays as it is.
    pub(super) fn for_client(&self) -> TlsCertificates {
        TlsCertificates {
            client_tls: Some(ClientTlsConfig {
                client_cert: self.certificates.clone(),
                client_key: self.key.clone(),
            }),
            root_cert: None,
        }
    }
}

/// Without the key.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientCertificate")
    }
}
