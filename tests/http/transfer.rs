//! `kvstore import` and `kvstore export` over links, servers and files that are not as they should be.

mod archives;
mod columns;
mod csv;
mod exporting;
mod importing;
mod resuming;
mod waiting;

use crate::gateway::{Gateway, Reply};
use crate::support::{Server, kvstore, until};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

/// An empty folder, unlike any other test's.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("transfer-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    path
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn export(url: &str, file: &Path) -> (Option<i32>, String) {
    run(kvstore().args(["export", "--url", url]).arg(file))
}

fn import(url: &str, file: &Path) -> (Option<i32>, String) {
    run(kvstore().args(["import", "--url", url]).arg(file))
}

/// What a child takes, in bytes; nothing once it has ended.
fn resident_bytes(child: &Child) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

/// The code of a child that a signal was sent to, and what it said.
fn stopped(mut child: Child, signal: Signal) -> (Option<i32>, String) {
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = until("the command ends", || child.try_wait().unwrap());
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    (status.code(), said)
}

#[test]
fn a_server_below_a_path_is_reached_and_credentials_are_sent_but_not_shown() {
    let server = Server::start();
    let gateway = Gateway::start(server.address(), |asked| {
        let is_known = asked.header("authorization") == Some("Basic dTpzZWNyZXQ=");
        match asked.target.strip_prefix("/kv") {
            Some(target) if is_known => Reply::Pass(target.to_owned()),
            _ => Reply::Say("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".into()),
        }
    });
    let file = folder("path").join("file");
    fs::write(&file, "{\"key\":\"k\",\"value\":1}\n").unwrap();
    let url = format!("http://u:secret@{}/kv/", gateway.address);
    let (code, said) = import(&url, &file);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = export(&url, &file);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "{\"key\":\"k\",\"value\":1}\n"
    );
    for (url, says) in [
        (format!("{url}set"), "/kv"),
        (format!("{url}search"), "/kv"),
        (format!("{url}get/x"), "/kv"),
        (format!("{url}?a=secret"), "query"),
        (format!("{url}#secret"), "fragment"),
        ("http://u:secret@127.0.0.1:1".into(), "does not answer"),
        ("http://u:secret@h:x".into(), "127.0.0.1:8000"),
    ] {
        for (code, said) in [import(&url, &file), export(&url, &file)] {
            let ends_with = if says == "does not answer" { 74 } else { 2 };
            assert_eq!(code, Some(ends_with), "{said}");
            let shown = said.split("a=secret").next().unwrap();
            assert!(said.contains(says) && !shown.contains("u:"), "{said}");
        }
    }
}

#[test]
fn proxies_are_not_for_this_machine_and_are_named_elsewhere() {
    let server = Server::start();
    server.fill(["k"]);
    for variable in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"] {
        let with = |url: &str| {
            let mut command = kvstore();
            let proxy = "http://u:secret@127.0.0.1:1";
            run(command.env(variable, proxy).args(["export", "--url", url]))
        };
        let (code, said) = with(&server.url());
        assert_eq!(code, Some(0), "{said}");
        let scheme = if variable == "HTTPS_PROXY" {
            "https"
        } else {
            "http"
        };
        let (code, said) = with(&format!("{scheme}://kv.example"));
        assert_eq!(code, Some(74), "{said}");
        assert!(
            said.contains("proxy http://127.0.0.1:1")
                && said.contains(variable)
                && !said.contains("secret"),
            "{said}"
        );
    }
}

#[test]
fn https_is_spoken_with_the_certificates_that_are_given() {
    let folder = folder("tls");
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(&folder);
        let output = command.output().expect("openssl is installed (make tools)");
        assert!(output.status.success(), "{arguments}");
    };
    fs::write(
        folder.join("names"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
    )
    .unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca");
    openssl("req -newkey rsa:2048 -nodes -keyout s.key -out s.csr -subj /CN=localhost");
    openssl("x509 -req -in s.csr -CA ca.crt -CAkey ca.key -out s.crt -days 2 -extfile names");
    openssl("rsa -in s.key -outform DER -traditional -out s.key.der");
    openssl("x509 -in s.crt -outform DER -out s.der");
    let chain = vec![fs::read(folder.join("s.der")).unwrap().into()];
    let key =
        rustls::pki_types::PrivatePkcs1KeyDer::from(fs::read(folder.join("s.key.der")).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    let config = Arc::new(config);
    let server = Server::start();
    let gateway = Gateway::with(
        server.address(),
        |asked| Reply::Pass(asked.target),
        move |stream| {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            Ok(rustls::StreamOwned::new(session, stream))
        },
    );
    let file = folder.join("file");
    fs::write(&file, "{\"key\":\"k\",\"value\":1}\n").unwrap();
    let url = format!("https://localhost:{}", gateway.address.port());
    let ca = folder.join("ca.crt");
    let (code, said) = run(kvstore()
        .args(["import", "--url", &url, "--ca-file"])
        .arg(&ca)
        .arg(&file));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(kvstore()
        .env("SSL_CERT_FILE", &ca)
        .args(["export", "--url", &url]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("{\"key\":\"k\",\"value\":1}"), "{said}");
    let (code, said) = export(&url, &file);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("--ca-file"), "{said}");
    let (code, said) = export(&format!("https://{}", server.address()), &file);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("http://"), "{said}");
}
