//! A server to test and a client that sends exactly what it is given.

use crate::described::assert_described;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub const JSON: (&str, &str) = ("Content-Type", "application/json");
pub const LINES: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// The binary under test.
pub fn kvstore() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvstore"));
    command.env_clear().stdin(Stdio::null());
    command.envs(crate::engine::variables());
    command
}

/// A running server, killed when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    /// Where its data is kept, which goes with it.
    data: Option<tempfile::TempDir>,
}

impl Server {
    /// Two workers on a free port, with the default settings.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server on the engine that is being tested.
    pub fn start_with(arguments: &[&str]) -> Self {
        let (engine, data) = crate::engine::arguments();
        let engine = engine.iter().map(String::as_str);
        let mut server =
            Self::start_as(&engine.chain(arguments.iter().copied()).collect::<Vec<_>>());
        server.data = data;
        server
    }

    /// A server whose own memory has the data, whatever is being tested.
    pub fn in_memory(arguments: &[&str]) -> Self {
        Self::launch(arguments)
    }

    /// A server with just these arguments, once it has all keys that there are.
    pub fn start_as(arguments: &[&str]) -> Self {
        let server = Self::launch(arguments);
        until("the server has its keys", || {
            let log = server.log();
            let is_ready = |argument, says| !arguments.contains(&argument) || log.contains(says);
            let is_ready =
                is_ready("--engine", "256 of 256") && is_ready("--data-dir", "were loaded");
            is_ready.then_some(())
        });
        server
    }

    /// A server that need not be ready.
    pub fn launch(arguments: &[&str]) -> Self {
        let mut command = kvstore();
        command.args(["--listen", "127.0.0.1:0"]);
        if !arguments.contains(&"--workers") {
            command.args(["--workers", "2"]);
        }
        Self::spawn(command.args(arguments))
    }

    /// Runs a command that serves and waits until its log names the port.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, receiver) = mpsc::channel();
        let collected = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, address)) = line.split_once(" listens on ") {
                    // What follows it in a line of JSON is a quote.
                    let address = address.split('"').next().unwrap();
                    let _ = sender.send(address.parse().unwrap());
                }
                *collected.lock().unwrap() += &(line + "\n");
            }
        });
        let address = receiver.recv_timeout(DEADLINE).expect("the server starts");
        Self {
            child,
            address,
            log,
            data: None,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn resident_bytes(&self) -> usize {
        let status = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        line.trim()
            .strip_suffix(" kB")
            .unwrap()
            .parse::<usize>()
            .unwrap()
            * 1024
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the process to end.
    pub fn wait(&mut self) -> ExitStatus {
        until("the server ends", || self.child.try_wait().unwrap())
    }

    pub fn connect(&self) -> Connection {
        Connection::to(self.address)
    }

    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", path, headers, b"")
    }

    pub fn delete(&self, path: &str) -> Response {
        self.send("DELETE", path, &[], b"")
    }

    pub fn put(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send("PUT", path, headers, body)
    }

    /// `POST /set` of a JSON body.
    pub fn post(&self, body: &str) -> Response {
        self.send("POST", "/set", &[JSON], body.as_bytes())
    }

    /// `POST /set` of bulk lines.
    pub fn bulk(&self, lines: &str) -> Response {
        self.send("POST", "/set", &[LINES], lines.as_bytes())
    }

    /// Sets keys to `1`.
    pub fn fill<K: AsRef<str>>(&self, keys: impl IntoIterator<Item = K>) {
        let line = |key: K| serde_json::json!({"key": key.as_ref(), "value": 1}).to_string() + "\n";
        let lines: String = keys.into_iter().map(line).collect();
        assert_eq!(self.bulk(&lines).status, 200);
    }

    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.connect().request(method, path, headers, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `probe` gives something, within the deadline.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} within {DEADLINE:?}");
        pause();
    }
}

/// Leaves the processor to what is waited for, which a loop without a pause would take a core from.
pub fn pause() {
    std::thread::sleep(Duration::from_millis(1));
}

/// A connection that sends bytes as they are.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub fn to(address: SocketAddr) -> Self {
        Self::try_to(address).unwrap()
    }

    /// As [`to`](Self::to); fails where nobody listens.
    pub fn try_to(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Ends this side, which may read on.
    pub fn end_sending(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// Sends bytes that the other side may refuse to take.
    pub fn raw_unless_closed(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        self.raw_unless_closed(&[head.as_bytes(), b"\r\n", body].concat());
    }

    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let answer = self.try_request(method, path, headers, body);
        answer.expect("the answer comes whole")
    }

    /// As [`request`](Self::request); fails where the connection ends before the answer is whole.
    pub fn try_request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        self.send(method, path, headers, body);
        let response = self.try_response(method)?;
        assert_described(method, path, &response);
        Ok(response)
    }

    /// Reads the answer to a request of this method.
    pub fn response(&mut self, method: &str) -> Response {
        let answer = self.try_response(method);
        answer.expect("the answer comes whole")
    }

    fn try_response(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.try_head()?;
        if method == "HEAD" || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk()? {
                response.body.extend(chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            response.body = vec![0; length.parse().unwrap()];
            self.stream.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> Response {
        self.try_head().expect("the head comes whole")
    }

    /// As [`head`](Self::head); fails where the connection ends before that.
    pub fn try_head(&mut self) -> io::Result<Response> {
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("a status line, not {status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap();
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        Ok(Response {
            status,
            headers,
            body: Vec::new(),
        })
    }

    /// The next chunk; `Ok(None)` for the final one, `Err` where the body broke off.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut size = String::new();
        self.stream.read_line(&mut size)?;
        let size =
            usize::from_str_radix(size.trim_end(), 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(size);
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// Whether nothing has come that was not read.
    pub fn is_silent(&self) -> bool {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        let is_empty = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        is_empty && self.stream.buffer().is_empty()
    }

    /// Whether the other side ends the connection, within the deadline and with nothing more sent
    /// but what it had sent before.
    pub fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// All that comes until the other side ends the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        rest
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.ends_with('\n') {
            true => Ok(line.trim_end().to_owned()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("JSON, not {:?}", self.text()))
    }

    /// The keys of a search's answer.
    pub fn keys(&self) -> Vec<String> {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn total(&self) -> usize {
        self.header("x-total-count").unwrap().parse().unwrap()
    }

    pub fn etag(&self) -> String {
        self.header("etag").unwrap().to_owned()
    }

    /// Asserts that this is a whole problem of the given status and code, whose detail says all of
    /// `says`.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str, says: &[&str]) -> Json {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["type"], format!("urn:kvstore:problem:{code}"));
        assert!(
            problem["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty())
        );
        let detail = problem["detail"].as_str().unwrap();
        for part in says {
            assert!(detail.contains(part), "{detail:?} says {part:?}");
        }
        problem
    }
}
