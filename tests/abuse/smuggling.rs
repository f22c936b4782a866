//! Bytes of which two parsers may think differently where a request ends. Each carries a second request that sets a
//! key of its own, in what is a body, or no request at all by RFC 9112: a server that takes it for one could be made
//! to do, behind a proxy, what the proxy never let through.
//!
//! Once as they are, where each is answered as the corpus says or the connection ends; once through HAProxy, where
//! nothing may be done that HAProxy did not take for a request, and no other client is given the answer.

mod corpus;

use crate::server::{Server, until};
use crate::wire::{Connection, Frame, exchange};
use corpus::{CHUNKS, CODINGS, HEADS, Kinds, LENGTHS, LINES, OTHERS, REFUSED};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use tempfile::NamedTempFile;

/// What `<set>` stands for.
const SET: &str = "PUT /set/k HTTP/1.1\r\nHost: t\r\n";

/// Bytes, and what becomes of them.
struct Entry {
    name: String,
    form: String,
    /// The statuses of all answers.
    answers: &'static [u16],
}

impl Entry {
    /// Whether the hidden request is one after all.
    fn has_second(&self) -> bool {
        self.answers.len() == 2 && self.answers[1] == 200
    }

    /// The bytes, with a hidden request that sets the key of this number.
    fn bytes(&self, number: usize) -> Vec<u8> {
        let hidden = format!(
            "PUT /set/hidden-{number} HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nhidden"
        );
        let length = hidden.len();
        // What ends a body without content comes to 5 bytes.
        let text = self.form.replace("<set>", SET);
        let text = text.replace("<length>", &length.to_string());
        let text = text.replace("<longer>", &(length + 5).to_string());
        let text = text.replace("<hex>", &format!("{length:x}"));
        text.replace("<hidden>", &hidden).into_bytes()
    }
}

fn entries() -> Vec<Entry> {
    let of = |kinds: Kinds, form: &str| -> Vec<Entry> {
        let entries = kinds.iter().map(|&(text, answers)| Entry {
            name: form.replace("<text>", text).escape_debug().to_string(),
            form: form.replace("<text>", text),
            answers,
        });
        entries.collect()
    };
    // With a length besides, whatever has to do with chunks is refused.
    let with_length = of(
        CODINGS,
        "<set>Content-Length: <longer>\r\n<text>\r\n\r\n0\r\n\r\n<hidden>",
    );
    let with_length = with_length.into_iter().map(|entry| Entry {
        answers: REFUSED,
        ..entry
    });
    let lists = [
        of(CODINGS, "<set><text>\r\n\r\n0\r\n\r\n<hidden>"),
        with_length.collect(),
        of(LENGTHS, "<set>Content-Length:<text>\r\n\r\n<hidden>"),
        of(
            LINES,
            "<set><text>\r\nContent-Length: <length>\r\n\r\n<hidden>",
        ),
        of(HEADS, "<text>Content-Length: <length>\r\n\r\n<hidden>"),
        of(CHUNKS, "<set>Transfer-Encoding: chunked\r\n\r\n<text>"),
        of(OTHERS, "<text>"),
    ];
    lists.into_iter().flatten().collect()
}

#[test]
fn a_request_within_another_is_not_run() {
    let server = Server::start(&[]);
    let entries = entries();
    for (number, entry) in entries.iter().enumerate() {
        let came = send_all(server.address(), &entry.bytes(number));
        let answers = statuses(&came);
        let shown = String::from_utf8_lossy(&came);
        let name = &entry.name;
        assert!(
            answers.is_empty() || answers == entry.answers,
            "{name}: {answers:?}: {shown}"
        );
        let is_due = entry.has_second() && !answers.is_empty();
        assert_eq!(is_set(server.address(), number), is_due, "{name}: {shown}");
    }
    let log = server.log();
    assert!(!log.contains("ERROR"), "{log}");
    assert!(server.stop().success());
    let hidden = entries.iter().filter(|entry| !entry.has_second()).count();
    crate::say(
        "smuggling",
        &format!("0 of {hidden} hidden requests run"),
        "0",
    );
}

#[test]
fn nothing_is_smuggled_past_a_balancer() {
    let server = Server::start(&[]);
    let balancer = Balancer::before(server.address());
    let marker = b"PUT /set/marker HTTP/1.1\r\nHost: t\r\nContent-Length: 6\r\n\r\nmarker";
    assert_eq!(exchange(server.address(), marker).unwrap().status, 200);
    let entries = entries();
    for (number, entry) in entries.iter().enumerate() {
        let came = send_all(balancer.address, &entry.bytes(number));
        // It speaks HTTP/2 with whoever begins with that.
        let answers = match came.starts_with(b"HTTP/") {
            true => statuses(&came),
            false => Vec::new(),
        };
        let shown = String::from_utf8_lossy(&came);
        let name = &entry.name;
        // HAProxy takes more for a request than we do, and answers it then.
        let is_answered = answers.len() == 2 && answers[1] == 200;
        let is_run = is_set(server.address(), number);
        assert!(!is_run || is_answered, "{name}: {answers:?}: {shown}");
        // By a connection to the server that the bytes before may have gone through.
        let others = exchange(
            balancer.address,
            b"GET /get/marker HTTP/1.1\r\nHost: t\r\n\r\n",
        );
        let others = others.unwrap();
        assert_eq!(
            (others.status, &others.body[..]),
            (200, &b"marker"[..]),
            "{name}"
        );
    }
    let figure = format!(
        "0 of {} kinds of bytes did what it let not through",
        entries.len()
    );
    crate::say("smuggling through HAProxy", &figure, "0");
}

/// Sends bytes, ends this side, and returns all that comes until the other side ends too.
fn send_all(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut connection = Connection::connect(address).unwrap();
    // Who refuses the beginning may have ended the connection already.
    let _ = connection
        .send(bytes)
        .and_then(|()| connection.end_sending());
    connection.read_to_end().unwrap()
}

/// The statuses of all answers but interim ones.
fn statuses(mut bytes: &[u8]) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !bytes.is_empty() {
        let frame = Frame::of(bytes, true).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(bytes));
        });
        let frame = frame.expect("a frame that has ended is whole");
        statuses.extend((frame.status >= 200).then_some(frame.status));
        bytes = &bytes[frame.end..];
    }
    statuses
}

/// Whether the hidden request of this number was run.
fn is_set(address: SocketAddr, number: usize) -> bool {
    let get = format!("GET /get/hidden-{number} HTTP/1.1\r\nHost: t\r\n\r\n");
    let read = exchange(address, get.as_bytes()).unwrap();
    assert!(matches!(read.status, 200 | 404), "{}", read.status);
    read.status == 200
}

/// HAProxy before a server, whose connections it uses for any client. Killed when dropped.
struct Balancer {
    child: Child,
    address: SocketAddr,
    _config: NamedTempFile,
}

impl Balancer {
    fn before(server: SocketAddr) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = NamedTempFile::new().unwrap();
        let text = format!(
            "defaults\n\
             \x20 mode http\n\
             \x20 timeout connect 5s\n\
             \x20 timeout client 20s\n\
             \x20 timeout server 20s\n\
             \x20 retries 0\n\
             \x20 http-reuse always\n\
             listen front\n\
             \x20 bind {address}\n\
             \x20 server s {server}\n"
        );
        std::fs::write(config.path(), text).unwrap();
        let mut command = Command::new("haproxy");
        command
            .args(["-db", "-q", "-f"])
            .arg(config.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("haproxy is installed (make tools)");
        let balancer = Self {
            child,
            address,
            _config: config,
        };
        until("HAProxy listens", || TcpStream::connect(address).ok());
        balancer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
