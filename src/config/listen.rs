//! Where to listen, what is spoken there, and who may do what.

use super::error::{ConfigError, out_of_range};
use super::settings::Filled;
use crate::tls::{Tls, TlsFiles};
use crate::tokens::{Auth, AuthFile};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

/// Where to listen.
pub(super) fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    const FORM: &str = "give HOST:PORT, such as 127.0.0.1:8000, or port 0 for a free one";
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port {
        return Err(out_of_range("listen", text, FORM));
    }
    let unresolved = |why: String| {
        let remedy = format!("the host is not found ({why}); {FORM}");
        out_of_range("listen", text, &remedy)
    };
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|error| unresolved(error.to_string()))?;
    addresses
        .next()
        .ok_or_else(|| unresolved("it has no address".into()))
}

/// Who may do what, where not everybody may do everything.
pub(super) fn auth(settings: &Filled) -> Result<Option<Auth>, ConfigError> {
    match &settings.auth_file {
        Some(path) => Ok(Some(Auth {
            file: Arc::new(AuthFile::load(path.clone())?),
            metrics: settings.auth_metrics,
        })),
        None if settings.auth_metrics => {
            let remedy = "there are no tokens to ask for; set auth_file too";
            Err(out_of_range("auth_metrics", "true", remedy))
        }
        None => Ok(None),
    }
}

/// TLS, where it is spoken.
pub(super) fn tls(settings: &Filled) -> Result<Option<Arc<Tls>>, ConfigError> {
    let lacks =
        |setting, file: &Path, remedy| Err(out_of_range(setting, &file.to_string_lossy(), remedy));
    match (
        &settings.tls_certificate,
        &settings.tls_key,
        &settings.tls_client_ca,
    ) {
        (Some(certificate), Some(key), client_ca) => Ok(Some(Arc::new(Tls::load(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: client_ca.clone(),
        })?))),
        (Some(file), None, _) => {
            let remedy = "the key of this certificate is missing (setting tls_key)";
            lacks("tls_certificate", file, remedy)
        }
        (None, Some(file), _) => {
            let remedy = "the certificate of this key is missing (setting tls_certificate)";
            lacks("tls_key", file, remedy)
        }
        (None, None, Some(file)) => {
            let remedy =
                "clients show certificates by TLS only; set tls_certificate and tls_key too";
            lacks("tls_client_ca", file, remedy)
        }
        (None, None, None) => Ok(None),
    }
}
