//! TLS with clients: the certificate that is shown to them, its key, and who vouches for theirs.
//!
//! Each new connection is taken in by what is in force at that moment, so that other files come into force without a
//! restart and no connection ends for it. HTTP/1.1 only: the framework's HTTP/2 has no drain.

use crate::reload::{Fingerprint, Source};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// The one protocol that is agreed on, where a client asks which.
const PROTOCOL: &[u8] = b"http/1.1";

/// The files, all in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, and after it those that vouch for it.
    pub certificate: PathBuf,
    /// The key of the first of these.
    pub key: PathBuf,
    /// Whose certificates clients must show, if they must.
    pub client_ca: Option<PathBuf>,
}

/// Why files cannot be used. Nothing of a key is shown.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One cannot be read.
    #[error("{setting} = {path}: the file cannot be read: {source}")]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One holds no certificate.
    #[error(
        "{setting} = {path}: there is no certificate in it, or one that is not whole; give it as PEM"
    )]
    NoCertificate {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// One holds no key.
    #[error(
        "tls_key = {0}: there is no key in it that can be read; give it as PEM (PKCS #8, PKCS #1 or SEC 1), and \
         without a passphrase"
    )]
    NoKey(PathBuf),
    /// The key is another certificate's.
    #[error(
        "tls_key = {key}: it is not the key of the certificate in {certificate} (setting tls_certificate)"
    )]
    OtherKey {
        /// The file of the key.
        key: PathBuf,
        /// That of the certificate.
        certificate: PathBuf,
    },
    /// The certificate has ended.
    #[error("tls_certificate = {path}: the certificate ended at {ended}; give one that is valid")]
    Expired {
        /// The file.
        path: PathBuf,
        /// When.
        ended: String,
    },
    /// It cannot be used for another reason.
    #[error("{setting} = {path}: it cannot be used: {why}")]
    Unusable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// TLS by some files, and what is in force of them.
pub struct Tls {
    files: TlsFiles,
    loaded: Fingerprint,
    current: RwLock<Current>,
    is_valid: AtomicBool,
}

#[derive(Clone)]
struct Current {
    config: Arc<ServerConfig>,
    /// When the certificate ends, in seconds since 1970.
    ends_s: u64,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// Where they cannot be used.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let loaded = Fingerprint::of(&paths(&files));
        let current = read(&files)?;
        Ok(Self {
            files,
            loaded,
            current: RwLock::new(current),
            is_valid: AtomicBool::new(true),
        })
    }

    /// What a new connection is taken in by.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current().config
    }

    /// When the certificate that is in force ends, in seconds since 1970.
    pub fn ends_s(&self) -> u64 {
        self.current().ends_s
    }

    /// Whether what is in force is what the files said when they were last read.
    pub fn is_valid(&self) -> bool {
        self.is_valid.load(Ordering::Relaxed)
    }

    /// What is in force, in words.
    pub fn says(&self) -> String {
        let clients = match self.files.client_ca {
            None => "clients need none",
            Some(_) => "clients must show one too",
        };
        format!(
            "the certificate of {} is shown until {}; {clients}",
            self.files.certificate.display(),
            moment(self.ends_s())
        )
    }

    fn current(&self) -> Current {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Without what is in the files.
impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Source for Tls {
    fn paths(&self) -> Vec<&Path> {
        paths(&self.files)
    }

    fn loaded(&self) -> &Fingerprint {
        &self.loaded
    }

    fn reload(&self) -> Result<String, String> {
        let current = read(&self.files);
        self.is_valid.store(current.is_ok(), Ordering::Relaxed);
        let current = current.map_err(|error| error.to_string())?;
        let mut inner = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *inner = current;
        drop(inner);
        Ok(self.says())
    }
}

fn paths(files: &TlsFiles) -> Vec<&Path> {
    let certain = [files.certificate.as_path(), files.key.as_path()];
    certain
        .into_iter()
        .chain(files.client_ca.as_deref())
        .collect()
}

fn read(files: &TlsFiles) -> Result<Current, TlsError> {
    let chain = certificates("tls_certificate", &files.certificate)?;
    let ends_s = end_of(&chain[0], &files.certificate)?;
    let text = contents("tls_key", &files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text);
    let key = key.map_err(|_| TlsError::NoKey(files.key.clone()))?;
    let provider = Arc::new(ring::default_provider());
    let unusable = |setting, path: &Path, why: String| TlsError::Unusable {
        setting,
        path: path.into(),
        why,
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("tls_certificate", &files.certificate, error.to_string()))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            let verifier =
                verifier.map_err(|error| unusable("tls_client_ca", path, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::OtherKey {
            key: files.key.clone(),
            certificate: files.certificate.clone(),
        },
        // So it says that it knows no key of that kind.
        rustls::Error::General(_) => TlsError::NoKey(files.key.clone()),
        other => unusable("tls_certificate", &files.certificate, other.to_string()),
    })?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(Current {
        config: Arc::new(config),
        ends_s,
    })
}

fn contents(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable {
        setting,
        path: path.into(),
        source,
    })
}

/// The certificates of a file, of which there is one at least.
fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = contents(setting, path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.ok().filter(|found| !found.is_empty());
    certificates.ok_or_else(|| TlsError::NoCertificate {
        setting,
        path: path.into(),
    })
}

/// Those who vouch for the certificates of clients.
fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls_client_ca", path)? {
        roots.add(certificate).map_err(|error| TlsError::Unusable {
            setting: "tls_client_ca",
            path: path.into(),
            why: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// When a certificate ends, in seconds since 1970.
fn end_of(certificate: &CertificateDer<'_>, path: &Path) -> Result<u64, TlsError> {
    let parsed = Certificate::from_der(certificate.as_ref());
    let parsed = parsed.map_err(|error| TlsError::Unusable {
        setting: "tls_certificate",
        path: path.into(),
        why: error.to_string(),
    })?;
    let validity = parsed.tbs_certificate.validity;
    let ends_s = validity.not_after.to_unix_duration().as_secs();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    if ends_s <= now.unwrap_or_default().as_secs() {
        return Err(TlsError::Expired {
            path: path.into(),
            ended: moment(ends_s),
        });
    }
    Ok(ends_s)
}

/// A moment as people write it, where it is not too far off for that.
fn moment(since_1970_s: u64) -> String {
    let seconds = i64::try_from(since_1970_s).unwrap_or(i64::MAX);
    let moment = jiff::Timestamp::from_second(seconds);
    moment.map_or_else(
        |_| format!("{seconds} s after 1970"),
        |moment| moment.to_string(),
    )
}
