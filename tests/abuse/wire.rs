//! HTTP/1.1 as bytes: a client that sends exactly what it is given, and takes answers apart by itself, since
//! clients of a library send nothing that is wrong.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// How long a connection, and each read and write, may take where nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How much is read at a time, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Without what framed it.
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Where an answer ends that bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub status: u16,
    /// Whether it says when to try again.
    pub has_retry_after: bool,
    /// Whether its body is in chunks.
    is_chunked: bool,
    /// Where its body begins.
    head: usize,
    /// Where it ends.
    pub end: usize,
}

impl Frame {
    /// The frame of the answer that `bytes` begin with; `None` while it is not whole. `has_ended`: nothing comes
    /// after them.
    ///
    /// # Errors
    /// Where this is no answer, or it broke off.
    pub fn of(bytes: &[u8], has_ended: bool) -> io::Result<Option<Self>> {
        let broken_off = |found: Option<Self>| match found {
            None if has_ended => Err(ErrorKind::UnexpectedEof.into()),
            found => Ok(found),
        };
        let Some(mut frame) = Self::of_head(bytes)? else {
            return broken_off(None);
        };
        if frame.status < 200 || matches!(frame.status, 204 | 304) {
            return Ok(Some(frame));
        }
        let (length, is_chunked) = framing(&bytes[..frame.head])?;
        frame.is_chunked = is_chunked;
        let end = match length {
            _ if is_chunked => chunks_end(bytes, frame.head)?,
            Some(length) => Some(frame.head + length),
            // Its connection's end is its own.
            None => has_ended.then_some(bytes.len()),
        };
        let whole = end.filter(|end| *end <= bytes.len());
        broken_off(whole.map(|end| Self { end, ..frame }))
    }

    /// The frame of an answer without its body: of a stream, which has no end.
    ///
    /// # Errors
    /// Where this is no answer.
    pub fn of_head(bytes: &[u8]) -> io::Result<Option<Self>> {
        if !bytes.starts_with(&b"HTTP/1."[..bytes.len().min(7)]) {
            return Err(malformed("this is no answer"));
        }
        let Some(head) = find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
            return Ok(None);
        };
        let status = bytes.get(9..12).and_then(|status| text(status).ok());
        let status = status.and_then(|status| status.parse().ok());
        let has_retry_after =
            lines(&bytes[..head]).any(|line| value(line, "retry-after").is_some());
        Ok(Some(Self {
            status: status.ok_or_else(|| malformed("its status is none"))?,
            has_retry_after,
            is_chunked: false,
            head,
            end: head,
        }))
    }

    /// The answer itself.
    fn response(&self, bytes: &[u8]) -> io::Result<Response> {
        let mut headers = Vec::new();
        for line in lines(&bytes[..self.head]).skip(1) {
            let (name, value) = text(line)?
                .split_once(':')
                .ok_or_else(|| malformed("a header has no colon"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let framed = &bytes[self.head..self.end];
        Ok(Response {
            status: self.status,
            headers,
            body: match self.is_chunked {
                true => without_chunks(framed)?,
                false => framed.to_vec(),
            },
        })
    }
}

/// The length that a head gives, and whether the body is in chunks.
fn framing(head: &[u8]) -> io::Result<(Option<usize>, bool)> {
    let (mut length, mut is_chunked) = (None, false);
    for line in lines(head) {
        if let Some(given) = value(line, "content-length") {
            let given = text(given)?.trim().parse();
            length = Some(given.map_err(|_| malformed("its length is none"))?);
        }
        is_chunked |= value(line, "transfer-encoding").is_some();
    }
    Ok((length, is_chunked))
}

/// Where chunks end that begin somewhere; `None` where the last is not there.
fn chunks_end(bytes: &[u8], begin: usize) -> io::Result<Option<usize>> {
    let mut at = begin;
    while let Some((_, next, is_last)) = chunk(bytes, at)? {
        if is_last {
            return Ok(Some(next));
        }
        at = next;
    }
    Ok(None)
}

/// The chunk that begins somewhere: its content, where the next begins, and whether it is the last; `None` where it
/// is not whole.
fn chunk(bytes: &[u8], at: usize) -> io::Result<Option<(std::ops::Range<usize>, usize, bool)>> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(line) = find(&rest[..rest.len().min(32)], b"\r\n") else {
        return match rest.len() {
            0..32 => Ok(None),
            _ => Err(malformed("a chunk has no length")),
        };
    };
    let bad = |_| malformed("the length of a chunk is none");
    let length = usize::from_str_radix(text(&rest[..line])?, 16).map_err(bad)?;
    let content = at + line + 2..at + line + 2 + length;
    let next = content.end + 2;
    if next > bytes.len() {
        return Ok(None);
    }
    if &bytes[content.end..next] != b"\r\n" {
        return Err(malformed("a chunk does not end with its length"));
    }
    Ok(Some((content, next, length == 0)))
}

fn without_chunks(framed: &[u8]) -> io::Result<Vec<u8>> {
    let (mut body, mut at) = (Vec::new(), 0);
    while let Some((content, next, _)) = chunk(framed, at)? {
        body.extend_from_slice(&framed[content]);
        at = next;
    }
    Ok(body)
}

/// The lines of a head that are not empty.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = head.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty())
}

/// What a line says, if it is this header.
fn value<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (known, rest) = line.split_at_checked(name.len())?;
    let is_it = known.eq_ignore_ascii_case(name.as_bytes());
    rest.strip_prefix(b":").filter(|_| is_it)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

fn text(bytes: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| malformed("what should be text is not"))
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

/// A connection that is waited for.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What came and was not taken yet.
    came: Vec<u8>,
    has_ended: bool,
}

impl Connection {
    /// Connects, and has [`PATIENCE`].
    ///
    /// # Errors
    /// Where nobody takes the connection.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::connect_within(address, PATIENCE)
    }

    /// Connects; it, each read and each write may take so long.
    ///
    /// # Errors
    /// Where nobody takes the connection.
    pub fn connect_within(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self {
            stream,
            came: Vec::new(),
            has_ended: false,
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Where the other side does not take them.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next answer that is not an interim one, with its body.
    ///
    /// # Errors
    /// Where none comes in time, it breaks off, or it is none.
    pub fn read_response(&mut self) -> io::Result<Response> {
        self.read(Frame::of)
    }

    /// The head of the next answer. Of the body, nothing is taken: `HEAD` has none, and a stream no end.
    ///
    /// # Errors
    /// As of [`read_response`](Self::read_response).
    pub fn read_head(&mut self) -> io::Result<Response> {
        self.read(|bytes, has_ended| match Frame::of_head(bytes)? {
            None if has_ended => Err(ErrorKind::UnexpectedEof.into()),
            frame => Ok(frame),
        })
    }

    fn read(
        &mut self,
        frame: impl Fn(&[u8], bool) -> io::Result<Option<Frame>>,
    ) -> io::Result<Response> {
        loop {
            match frame(&self.came, self.has_ended)? {
                Some(frame) => {
                    let response = frame.response(&self.came)?;
                    self.came.drain(..frame.end);
                    if frame.status >= 200 {
                        return Ok(response);
                    }
                }
                None => self.fill()?,
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let before = self.came.len();
        self.came.resize(before + READ_BYTES, 0);
        let read = self.stream.read(&mut self.came[before..]);
        self.came
            .truncate(before + read.as_ref().copied().unwrap_or(0));
        self.has_ended = read? == 0;
        Ok(())
    }

    /// All that comes until the other side ends the connection, be it by a reset.
    ///
    /// # Errors
    /// Where it does not end in time.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        while !self.has_ended {
            match self.fill() {
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.has_ended = true,
                filled => filled?,
            }
        }
        Ok(std::mem::take(&mut self.came))
    }

    /// Ends this side, which may read on.
    ///
    /// # Errors
    /// Where the connection has ended.
    pub fn end_sending(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

/// Sends a request on a connection of its own, and reads the answer. An answer that comes before all of the request
/// was taken is one as well.
///
/// # Errors
/// Where there is no answer.
pub fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<Response> {
    let mut connection = Connection::connect(address)?;
    let sent = connection.send(request);
    let answer = match request.starts_with(b"HEAD ") {
        true => connection.read_head(),
        false => connection.read_response(),
    };
    match (answer, sent) {
        (Err(_), Err(error)) => Err(error),
        (answer, _) => answer,
    }
}
