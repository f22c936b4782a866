//! Certificates: of an authority, of a server that is this machine, and of a client.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority and what it has signed, as files that go with it.
pub struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    /// Signs a certificate for a server of this name, and one for a client.
    pub fn new(name: &str) -> Self {
        let authority = Self {
            folder: tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        };
        let names = format!("subjectAltName={name}");
        std::fs::write(authority.path("names"), names).unwrap();
        authority.openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority-of-the-engine",
        );
        for who in ["server", "client"] {
            authority.openssl(&format!(
                "req -newkey rsa:2048 -nodes -keyout {who}.key -out {who}.csr -subj /CN={who}"
            ));
            authority.openssl(&format!(
                "x509 -req -in {who}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {who}.crt \
                 -days 2 -extfile names"
            ));
        }
        authority
    }

    /// Where a file is: `ca.crt`, `server.key` and so on.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// What an engine is told, so that it takes TLS only, and of those clients alone that show a
    /// certificate, if so.
    pub fn engine_arguments(&self, port: u16, asks: bool) -> Vec<String> {
        let (port, asks) = (port.to_string(), if asks { "yes" } else { "no" });
        let words = [
            ("--tls-port", port.as_str()),
            ("--tls-auth-clients", asks),
            ("--tls-cert-file", &self.text("server.crt")),
            ("--tls-key-file", &self.text("server.key")),
            ("--tls-ca-cert-file", &self.text("ca.crt")),
        ];
        let words = words.iter().flat_map(|(name, value)| [*name, *value]);
        words.map(String::from).collect()
    }

    fn openssl(&self, arguments: &str) {
        let mut command = Command::new("openssl");
        let folder: &Path = self.folder.path();
        command
            .current_dir(folder)
            .args(arguments.split_whitespace());
        let output = command.output().expect("openssl is installed (make tools)");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}
