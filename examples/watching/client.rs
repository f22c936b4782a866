//! A server to measure, and connections to it whose answers are read as fast as they come.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

pub type Failure = Box<dyn Error + Send + Sync>;

/// A running server, killed when dropped.
pub struct Server {
    child: Child,
    address: String,
}

/// A connection that asks one thing after the other.
pub struct Connection(BufReader<TcpStream>);

/// The body of an answer in chunks, without their frames.
pub struct Chunks {
    from: BufReader<TcpStream>,
    /// How much of the chunk is left, in bytes.
    left: usize,
    is_first: bool,
}

impl Server {
    /// Starts a server on a free port, and waits until it has its keys.
    pub fn start(binary: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let mut command = Command::new(binary);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("a server has an error output")?;
        let mut lines = BufReader::new(stderr).lines();
        let mut server = Self {
            child,
            address: String::new(),
        };
        for line in lines.by_ref() {
            if let Some((_, address)) = line?.split_once(" listens on ") {
                server.address = address.to_owned();
                break;
            }
        }
        if server.address.is_empty() {
            return Err("the server does not start".into());
        }
        // It must not wait for a reader of its log.
        thread::spawn(move || lines.for_each(drop));
        while server.connect()?.request("GET", "/readyz", b"")? != 200 {
            thread::yield_now();
        }
        Ok(server)
    }

    pub fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        Ok(Connection(BufReader::with_capacity(256 * 1024, stream)))
    }

    /// Asks for lines, and returns what comes of the answer.
    pub fn lines(&self, path: &str) -> Result<Chunks, Failure> {
        let mut connection = self.connect()?;
        connection.send("GET", path, "Accept: application/x-ndjson\r\n", b"")?;
        let (status, _) = connection.head()?;
        if status != 200 {
            return Err(format!("{path}: {status}").into());
        }
        Ok(Chunks {
            from: connection.0,
            left: 0,
            is_first: true,
        })
    }

    /// Sets `count` keys by one bulk body.
    pub fn import(&self, count: usize) -> Result<(), Failure> {
        let mut body = Vec::with_capacity(count * 64);
        for number in 0..count {
            writeln!(
                body,
                "{{\"key\":\"user:{number:010}:name\",\"value\":\"{number:030}\"}}"
            )?;
        }
        let mut connection = self.connect()?;
        let head = "Content-Type: application/x-ndjson\r\n";
        connection.send("POST", "/set", head, &body)?;
        match connection.answer()? {
            200 => Ok(()),
            status => Err(format!("the import: {status}").into()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Connection {
    /// Sends a request, and returns the status of its answer, which is read whole.
    pub fn request(&mut self, method: &str, path: &str, body: &[u8]) -> Result<u16, Failure> {
        let headers = match method {
            "GET" => "",
            _ => "Content-Type: application/json\r\n",
        };
        self.send(method, path, headers, body)?;
        self.answer()
    }

    fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<()> {
        let len = match method {
            "GET" => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: kvstore\r\n{headers}{len}\r\n");
        self.0
            .get_mut()
            .write_all(&[head.as_bytes(), body].concat())
    }

    fn answer(&mut self) -> Result<u16, Failure> {
        let (status, len) = self.head()?;
        io::copy(&mut self.0.by_ref().take(len), &mut io::sink())?;
        Ok(status)
    }

    /// The status of an answer, and how long its body is, where that is said.
    fn head(&mut self) -> Result<(u16, u64), Failure> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let status = line.split(' ').nth(1).ok_or("there is no status line")?;
        let (status, mut len) = (status.parse()?, 0);
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                return Ok((status, len));
            };
            if name.eq_ignore_ascii_case("content-length") {
                len = value.parse()?;
            }
        }
    }
}

impl Chunks {
    /// The rest of the chunk that is being read and has come; empty at the end.
    pub fn fill(&mut self) -> Result<&[u8], Failure> {
        if self.left == 0 {
            let mut line = String::new();
            if !std::mem::take(&mut self.is_first) {
                self.from.read_line(&mut line)?;
                line.clear();
            }
            self.from.read_line(&mut line)?;
            self.left = usize::from_str_radix(line.trim_end(), 16)?;
            if self.left == 0 {
                return Ok(&[]);
            }
        }
        let left = self.left;
        let came = self.from.fill_buf()?;
        if came.is_empty() {
            return Err("the answer broke off".into());
        }
        Ok(&came[..came.len().min(left)])
    }

    /// Goes past bytes that [`Self::fill`] returned.
    pub fn consume(&mut self, bytes: usize) {
        self.from.consume(bytes);
        self.left -= bytes;
    }

    /// Counts lines until there were so many, or the end.
    pub fn count(&mut self, most: usize) -> Result<usize, Failure> {
        let mut lines = 0;
        while lines < most {
            let came = self.fill()?;
            if came.is_empty() {
                break;
            }
            let bytes = came.len();
            lines += memchr::memchr_iter(b'\n', came).count();
            self.consume(bytes);
        }
        Ok(lines)
    }

    /// The next line, whichever chunks it is in; `None` at the end.
    pub fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        loop {
            let came = self.fill()?;
            if came.is_empty() {
                return Ok(None);
            }
            let end = memchr::memchr(b'\n', came);
            let bytes = end.map_or(came.len(), |end| end + 1);
            line.extend_from_slice(&came[..bytes]);
            self.consume(bytes);
            if end.is_some() {
                return Ok(Some(String::from_utf8(line)?));
            }
        }
    }
}
