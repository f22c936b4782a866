//! HAProxy before the servers, once as an ingress that understands HTTP and keeps connections to
//! the servers, once as a Service that hands connections through. It checks no health and repeats
//! nothing: who gets requests is told from outside, as endpoints are.

use crate::redis::{free_port, new_folder, spawn_tied};
use crate::support::until;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// How many servers there may be at a time, those that end included.
const SLOTS: usize = 12;

/// The two ways in, each with the same servers.
const BACKENDS: [&str; 2] = ["ingress", "service"];

/// A running HAProxy, killed when dropped.
pub struct Balancer {
    child: Child,
    folder: PathBuf,
    ports: [u16; 2],
    taken: Vec<bool>,
}

impl Balancer {
    pub fn start() -> Self {
        let folder = new_folder();
        let ports = [free_port(), free_port()];
        let config = format!(
            "global\n\
             \x20 stats socket {socket} mode 600 level admin\n\
             defaults\n\
             \x20 timeout connect 2s\n\
             \x20 timeout client 60s\n\
             \x20 timeout server 60s\n\
             \x20 retries 0\n\
             listen ingress\n\
             \x20 mode http\n\
             \x20 bind 127.0.0.1:{}\n\
             \x20 balance roundrobin\n\
             \x20 server-template s 1-{SLOTS} 127.0.0.1:1 disabled\n\
             listen service\n\
             \x20 mode tcp\n\
             \x20 bind 127.0.0.1:{}\n\
             \x20 balance roundrobin\n\
             \x20 server-template s 1-{SLOTS} 127.0.0.1:1 disabled\n",
            ports[0],
            ports[1],
            socket = folder.join("admin").display(),
        );
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "haproxy", "-db", "-q", "-f"])
            .arg(&file)
            .stderr(Stdio::null());
        let child = spawn_tied(command);
        for port in ports {
            until("HAProxy listens", || {
                TcpStream::connect(("127.0.0.1", port)).ok()
            });
        }
        Self {
            child,
            folder,
            ports,
            taken: vec![false; SLOTS],
        }
    }

    /// Where clients go: through the ingress, through the Service.
    pub fn urls(&self) -> [String; 2] {
        self.ports.map(|port| format!("http://127.0.0.1:{port}"))
    }

    /// Has a server take requests. Returns its slot.
    pub fn add(&mut self, address: SocketAddr) -> usize {
        let slot = self.taken.iter().position(|taken| !taken);
        let slot = slot.expect("fewer servers end at a time than there are slots");
        self.taken[slot] = true;
        for backend in BACKENDS {
            let server = format!("{backend}/s{}", slot + 1);
            let (ip, port) = (address.ip(), address.port());
            self.tell(&format!("set server {server} addr {ip} port {port}"));
            self.tell(&format!("set server {server} state ready"));
        }
        slot
    }

    /// Has a server take no new requests.
    pub fn remove(&mut self, slot: usize) {
        for backend in BACKENDS {
            self.tell(&format!("set server {backend}/s{} state maint", slot + 1));
        }
    }

    /// Has a slot be used again, once its server has ended.
    pub fn free(&mut self, slot: usize) {
        self.taken[slot] = false;
    }

    fn tell(&self, command: &str) {
        let mut admin = UnixStream::connect(self.folder.join("admin")).unwrap();
        admin.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut said = String::new();
        admin.read_to_string(&mut said).unwrap();
        let is_done =
            said.trim().is_empty() || said.contains("changed") || said.contains("no need");
        assert!(is_done, "{command}: {said}");
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
