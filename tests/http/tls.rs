//! TLS with clients: of both versions, on both sides, through other files and broken ones, within the bounds of any
//! connection.

mod commands;

use crate::authority::Authority;
use crate::support::{DEADLINE, Server, kvstore, until};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the certificates here are of.
const NAMES: &str = "DNS:localhost,IP:127.0.0.1";

/// What a server is told to show the certificate of an authority.
fn shows(authority: &Authority) -> Vec<String> {
    let certificate = authority.text("server.crt");
    let words = ["--tls-certificate", &certificate, "--tls-key"];
    let mut words: Vec<String> = words.map(String::from).into();
    words.push(authority.text("server.key"));
    words
}

fn start(words: &[String], more: &[&str]) -> Server {
    let words = words.iter().map(String::as_str);
    Server::start_with(&words.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// How a client speaks: whom it trusts, whose certificate it shows, and in which version.
struct Client<'a> {
    trusts: &'a Authority,
    shows: Option<&'a Authority>,
    version: &'static SupportedProtocolVersion,
}

impl<'a> Client<'a> {
    fn of(trusts: &'a Authority) -> Self {
        Self {
            trusts,
            shows: None,
            version: &TLS13,
        }
    }

    fn connect(&self, server: &Server) -> Encrypted {
        let pem = |authority: &Authority, name: &str| fs::read(authority.path(name)).unwrap();
        let certificates = |authority: &Authority, name: &str| {
            let text = pem(authority, name);
            let found = CertificateDer::pem_slice_iter(&text);
            found.map(Result::unwrap).collect::<Vec<_>>()
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(self.trusts, "ca.crt"));
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.shows {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let key = PrivateKeyDer::from_pem_slice(&pem(authority, "client.key")).unwrap();
                let chain = certificates(authority, "client.crt");
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(server.address()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Encrypted(BufReader::new(StreamOwned::new(session, socket)))
    }

    /// The answer to one request on a connection of its own.
    fn ask(&self, server: &Server, request: (&str, &str), body: &[u8]) -> io::Result<Answer> {
        self.connect(server).ask(request, body)
    }

    /// A metric with its labels.
    fn metric(&self, server: &Server, series: &str) -> f64 {
        let (_, body) = self.ask(server, ("GET", "/metrics"), b"").unwrap();
        let text = String::from_utf8(body).unwrap();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.expect("the metric is there").parse().unwrap()
    }
}

/// A status and a body.
type Answer = (u16, Vec<u8>);

/// A connection.
struct Encrypted(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Encrypted {
    fn send(&mut self, (method, path): (&str, &str), body: &[u8]) -> io::Result<()> {
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
        let stream = self.0.get_mut();
        stream.write_all(&[head.as_bytes(), body].concat())?;
        stream.flush()
    }

    fn ask(&mut self, request: (&str, &str), body: &[u8]) -> io::Result<Answer> {
        self.send(request, body)?;
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = 0;
        loop {
            let line = self.line()?.to_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status, body))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

#[test]
fn values_travel_by_both_versions_and_http_1_1() {
    let authority = Authority::new(NAMES);
    let server = start(&shows(&authority), &[]);
    let value: Vec<u8> = (0..1_000_000u32).map(|number| number as u8).collect();
    for version in [&TLS12, &TLS13] {
        let client = Client {
            version,
            ..Client::of(&authority)
        };
        let mut connection = client.connect(&server);
        assert_eq!(connection.ask(("PUT", "/set/k"), &value).unwrap().0, 200);
        let session = &connection.0.get_ref().conn;
        assert_eq!(session.protocol_version(), Some(version.version));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert!(connection.ask(("GET", "/get/k"), b"").unwrap() == (200, value.clone()));
        assert_eq!(connection.ask(("GET", "/get/none"), b"").unwrap().0, 404);
    }
    let stranger = Authority::new(NAMES);
    let distrusting = Client::of(&stranger);
    assert!(distrusting.ask(&server, ("GET", "/livez"), b"").is_err());
    assert!(server.log().contains("TLS is spoken"), "{}", server.log());
}

#[test]
fn what_is_no_handshake_ends_the_connection_and_is_counted() {
    let authority = Authority::new(NAMES);
    let server = start(&shows(&authority), &["--head-timeout-ms", "1000"]);
    let mut plain = server.connect();
    plain.raw_unless_closed(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(plain.ends());
    // One that says nothing is not waited for.
    assert!(server.connect().ends());
    let cut = "kvstore_http_connections_cut_total{reason=\"handshake\"}";
    let client = Client::of(&authority);
    until("both are counted", || {
        (client.metric(&server, cut) >= 2.0).then_some(())
    });
}

#[test]
fn who_must_show_a_certificate_and_does_not_is_not_served() {
    let (authority, stranger) = (Authority::new(NAMES), Authority::new(NAMES));
    let mut words = shows(&authority);
    words.extend(["--tls-client-ca".into(), authority.text("ca.crt")]);
    let server = start(&words, &[]);
    for version in [&TLS12, &TLS13] {
        let ask = |shows| {
            let client = Client {
                shows,
                version,
                trusts: &authority,
            };
            client.ask(&server, ("GET", "/livez"), b"")
        };
        assert_eq!(ask(Some(&authority)).unwrap().0, 200);
        assert!(ask(None).is_err());
        assert!(ask(Some(&stranger)).is_err());
    }
}

#[test]
fn other_files_come_into_force_and_broken_ones_do_not() {
    let (first, second) = (Authority::new(NAMES), Authority::new(NAMES));
    let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| folder.path().join(name);
    let place = |authority: &Authority| {
        for name in ["server.crt", "server.key"] {
            fs::copy(authority.path(name), path(name)).unwrap();
        }
    };
    place(&first);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let words = [
        "--tls-certificate".into(),
        text("server.crt"),
        "--tls-key".into(),
        text("server.key"),
    ];
    let server = start(&words, &[]);
    let mut kept = Client::of(&first).connect(&server);
    assert_eq!(kept.ask(("GET", "/livez"), b"").unwrap().0, 200);
    place(&second);
    let client = Client::of(&second);
    until("the other certificate is shown", || {
        client.ask(&server, ("GET", "/livez"), b"").ok()
    });
    let answer = kept.ask(("GET", "/livez"), b"").unwrap();
    assert_eq!(answer.0, 200, "no connection ends for it");
    let ends = client.metric(&server, "kvstore_tls_certificate_expiry_timestamp_seconds");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let left = ends - now.as_secs_f64();
    assert!((86_400.0..3.0 * 86_400.0).contains(&left), "{left} s");
    let valid = "kvstore_tls_files_valid";
    fs::copy(first.path("server.key"), path("server.key")).unwrap();
    until("the broken pair is told of", || {
        (client.metric(&server, valid) == 0.0).then_some(())
    });
    assert_eq!(client.ask(&server, ("GET", "/livez"), b"").unwrap().0, 200);
    until("the log says why", || {
        let log = server.log();
        log.contains("not the key of the certificate").then_some(())
    });
    place(&second);
    until("the pair is whole again", || {
        (client.metric(&server, valid) == 1.0).then_some(())
    });
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let authority = Authority::new(NAMES);
    let server = start(&shows(&authority), &["--write-timeout-ms", "300"]);
    let client = Client::of(&authority);
    let value = vec![b'v'; 1_000_000];
    let put = client.ask(&server, ("PUT", "/set/k"), &value).unwrap();
    assert_eq!(put.0, 200);
    let mut stalled = client.connect(&server);
    for _ in 0..16 {
        stalled.send(("GET", "/get/k"), b"").unwrap();
    }
    let cut = "kvstore_http_connections_cut_total{reason=\"stalled\"}";
    until("it is cut", || {
        (client.metric(&server, cut) >= 1.0).then_some(())
    });
    assert_eq!(client.ask(&server, ("GET", "/livez"), b"").unwrap().0, 200);
}

#[test]
fn import_and_export_reach_it() {
    let authority = Authority::new(NAMES);
    let server = start(&shows(&authority), &[]);
    let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("lines");
    fs::write(&file, "{\"key\":\"k\",\"value\":1}\n").unwrap();
    let url = format!("https://localhost:{}", server.address().port());
    let ca = authority.text("ca.crt");
    for command in ["import", "export"] {
        let arguments = [command, "--url", &url, "--ca-file", &ca];
        let output = kvstore().args(arguments).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

#[test]
fn files_that_cannot_be_used_end_the_start_with_what_to_do() {
    let (authority, other) = (Authority::new(NAMES), Authority::new(NAMES));
    // Both end before they begin.
    let signs = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out old.crt \
                 -days -1 -extfile names";
    let mut openssl = Command::new("openssl");
    openssl.args(signs.split_whitespace());
    let folder = authority.path("ca.crt");
    openssl.current_dir(folder.parent().unwrap());
    assert!(openssl.output().unwrap().status.success());
    let (certificate, key) = (authority.text("server.crt"), authority.text("server.key"));
    let (other_key, old) = (other.text("server.key"), authority.text("old.crt"));
    let refused: [(&[&str], &str); 9] = [
        (&[&certificate], "the key of this certificate is missing"),
        (&["", &key], "the certificate of this key is missing"),
        (
            &["", "", &certificate],
            "set tls_certificate and tls_key too",
        ),
        (&["/nonexistent", &key], "cannot be read"),
        (
            &[&certificate, &other_key],
            "not the key of the certificate",
        ),
        (&[&key, &key], "there is no certificate in it"),
        (&[&certificate, &certificate], "there is no key in it"),
        (&[&old, &key], "the certificate ended at"),
        (&[&certificate, &key, &key], "there is no certificate in it"),
    ];
    for (files, says) in refused {
        let mut command = kvstore();
        command.args(["--listen", "127.0.0.1:0"]);
        let flags = ["--tls-certificate", "--tls-key", "--tls-client-ca"];
        for (flag, file) in flags.iter().zip(files).filter(|(_, file)| !file.is_empty()) {
            command.arg(flag).arg(Path::new(file));
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{files:?}: {said}");
        assert!(said.contains(says) && said.contains("tls_"), "{said}");
        assert!(!said.contains("PRIVATE"), "{said}");
    }
}
