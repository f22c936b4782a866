//! A request as its parts, what is changed of them, and the bytes that are sent.

use super::model::{Intent, Lasts};
use super::random::Random;

/// How a request must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With its status.
    Taken,
    /// With its status, or refused.
    Open,
    /// With a status from 400 on, and below 500.
    Refused,
}

/// A request that is to be sent.
pub struct Asked {
    pub bytes: Vec<u8>,
    pub intent: Intent,
    /// The status of its answer where it is taken.
    pub status: u16,
    pub verdict: Verdict,
    /// Whether its answer has no body.
    pub is_head: bool,
    /// Whether nothing more can be asked on its connection.
    pub is_last: bool,
}

/// A request that is being made.
pub struct Draft {
    method: &'static str,
    path: String,
    pub parameters: Vec<String>,
    headers: Vec<Vec<u8>>,
    pub body: Option<Vec<u8>>,
    version: &'static str,
    pub intent: Intent,
    pub status: u16,
    verdict: Verdict,
    is_last: bool,
}

/// Headers that change nothing.
const NEUTRAL: [&[u8]; 13] = [
    b"X-Odd: \x80\xff\t!",
    b"X-Empty:",
    b"x-many: 1\r\nx-many: 2",
    b"Accept-Encoding: gzip, br;q=0",
    b"Cookie: a=b; c=\"d\"",
    b"TE: trailers",
    b"Range: bytes=0-0",
    b"User-Agent:",
    b"Forwarded: for=\"[::1]\"",
    b"Via: 1.1 x, 1.0 y",
    b"Connection: keep-alive, upgrade\r\nUpgrade: websocket, h2c",
    b"Expect: 100-continue",
    b"Authorization: Bearer x",
];

/// Headers that no route takes.
const UNSUPPORTED: [&[u8]; 2] = [b"Expect: 200-ok", b"Expect: 100-continue, x"];

/// Headers that no change takes.
const UNSUPPORTED_IN_CHANGES: [&[u8]; 4] = [
    b"Content-Encoding: gzip",
    b"If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT",
    b"X-HTTP-Method-Override: GET",
    b"Content-Range: bytes 0-1/2",
];

/// Lines with which a head is none.
const MALFORMED: [&[u8]; 8] = [
    b"Host: other",
    b"X: a\r\n b",
    b"X : y",
    b"X: a\0b",
    b"X: a\rb",
    b"X",
    b": x",
    b"Content-Length: 1\r\nTransfer-Encoding: chunked",
];

/// What cannot stand where a chunk begins.
const BROKEN: [&str; 6] = [
    "zz\r\n",
    "-1\r\n",
    "1\r\nab\r\n",
    "\r\n",
    "1;\x01\r\n",
    "10000000000000001\r\n",
];

impl Draft {
    pub fn new(method: &'static str, path: String) -> Self {
        Self {
            method,
            path,
            parameters: Vec::new(),
            headers: Vec::new(),
            body: None,
            version: "HTTP/1.1",
            intent: Intent::Nothing,
            status: 200,
            verdict: Verdict::Taken,
            is_last: false,
        }
    }

    pub fn header(&mut self, name: &str, value: &str) {
        self.headers.push(format!("{name}: {value}").into_bytes());
    }

    /// It must not be taken.
    pub fn refuse(&mut self) {
        self.verdict = Verdict::Refused;
    }

    /// It need not be taken.
    pub fn leave_open(&mut self) {
        if self.verdict == Verdict::Taken {
            self.verdict = Verdict::Open;
        }
    }

    /// What is given; where there is nothing, it must not be taken.
    pub fn unless_refused(&mut self, given: Option<Lasts>, otherwise: Lasts) -> Lasts {
        given.unwrap_or_else(|| {
            self.refuse();
            otherwise
        })
    }

    pub fn check_key(&mut self, key: &str) {
        if key.len() > super::KEY_BYTES_MAX {
            self.refuse();
        }
    }

    /// Whether it takes headers for what they say of a change.
    fn heeds_changes(&self) -> bool {
        match self.intent {
            Intent::Set(..) | Intent::Delete(_) | Intent::Expire(..) | Intent::Lines(_) => true,
            Intent::Erase(_) | Intent::Try(_) | Intent::ReadMany(_) => true,
            Intent::Nothing | Intent::Read(_) | Intent::Count(_) | Intent::Watch => false,
        }
    }

    /// Changes a part of the head.
    pub fn change_head(&mut self, random: &mut Random) {
        match random.below(13) {
            0..4 => self.headers.push(random.pick(&NEUTRAL).to_vec()),
            4 => self
                .headers
                .push(format!("X-Long: {}", "x".repeat(3_000)).into_bytes()),
            5 => {
                self.refuse();
                self.headers.push(random.pick(&UNSUPPORTED).to_vec());
            }
            6 if self.heeds_changes() => {
                self.refuse();
                let header = random.pick(&UNSUPPORTED_IN_CHANGES);
                self.headers.push(header.to_vec());
            }
            7 => self.parameters.push(String::new()),
            8 => {
                self.refuse();
                let others = ["x=1", "PREFIX=a", "ttl_ms%00=1", "%zz=1", "a=%C3", "="];
                let twice = self.parameters.iter().find(|given| given.contains('='));
                let another = random.pick(&others).to_owned();
                let one = twice.cloned().filter(|_| random.one_in(2));
                self.parameters.push(one.unwrap_or(another));
            }
            9 => {
                self.refuse();
                self.path +=
                    random.pick(&["%", "%4", "%zz", "%FF", "%ED%A0%80", "%C0%AF", "#", "#a"]);
            }
            10 => {
                self.refuse();
                self.is_last = true;
                self.headers.push(random.pick(&MALFORMED).to_vec());
            }
            11 if !self.path.starts_with("http") => self.path.insert_str(0, "http://other:1"),
            // A removal by a filter ends where its client leaves, which the end of this side says.
            12 if !matches!(self.intent, Intent::Erase(_)) => {
                self.version = "HTTP/1.0";
                self.is_last = true;
            }
            _ => {}
        }
    }

    /// Its bytes, with a body that is framed in some way.
    pub fn into_asked(mut self, random: &mut Random) -> Asked {
        let is_read = matches!(self.method, "GET" | "HEAD" | "DELETE");
        if self.body.is_none()
            && is_read
            && !matches!(self.intent, Intent::Watch)
            && random.one_in(30)
        {
            self.refuse();
            self.body = Some(b"a body".to_vec());
        }
        let body = match self.body.take() {
            None => b"\r\n".to_vec(),
            Some(body) => self.frame(&body, random),
        };
        let query = match self.parameters.is_empty() {
            true => String::new(),
            false => format!("?{}", self.parameters.join("&")),
        };
        let (method, path, version) = (self.method, &self.path, self.version);
        let mut bytes = format!("{method} {path}{query} {version}\r\nHost: t\r\n").into_bytes();
        for header in &self.headers {
            bytes.extend(header);
            bytes.extend(b"\r\n");
        }
        bytes.extend(body);
        Asked {
            bytes,
            is_head: self.method == "HEAD",
            intent: self.intent,
            status: self.status,
            verdict: self.verdict,
            is_last: self.is_last,
        }
    }

    /// The lines that say how long a body is, the empty line, and the body.
    fn frame(&mut self, body: &[u8], random: &mut Random) -> Vec<u8> {
        let length = body.len();
        let with = |lines: String, body: &[u8]| {
            let mut framed = format!("{lines}\r\n\r\n").into_bytes();
            framed.extend(body);
            framed
        };
        let kind = random.below(60);
        if kind >= 25 || (kind >= 8 && self.version == "HTTP/1.0") {
            return with(format!("Content-Length: {length}"), body);
        }
        if kind >= 8 {
            return with("Transfer-Encoding: chunked".into(), &chunked(body, random));
        }
        // A length that is too short makes another value of it, and the rest no request.
        if let (Intent::Set(_, kept, _), 0, "PUT") = (&mut self.intent, kind, self.method)
            && (1..=super::VALUE_BYTES_MAX).contains(&length)
        {
            self.is_last = true;
            kept.body.truncate(random.below(length));
            let shorter = kept.body.len();
            return with(format!("Content-Length: {shorter}"), body);
        }
        self.refuse();
        self.is_last = true;
        match kind {
            0 | 1 => {
                let longer = length + 1 + random.below(9);
                with(format!("Content-Length: {longer}"), body)
            }
            2 => {
                let mut cut = chunked(body, random);
                cut.truncate(random.below(cut.len()));
                with("Transfer-Encoding: chunked".into(), &cut)
            }
            3 => {
                let mut broken = chunks(body, random);
                broken.extend(random.pick(&BROKEN).as_bytes());
                with("Transfer-Encoding: chunked".into(), &broken)
            }
            4 => with(
                format!("Content-Length: {length}\r\nContent-Length: {length}"),
                body,
            ),
            5 => with(
                format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
                body,
            ),
            6 => with(format!("Content-Length: +{length}"), body),
            _ => with(
                "Transfer-Encoding: chunked, chunked".into(),
                &chunked(body, random),
            ),
        }
    }
}

/// A body in chunks, and perhaps trailers, which mean nothing.
fn chunked(body: &[u8], random: &mut Random) -> Vec<u8> {
    let mut chunked = chunks(body, random);
    let ends = [
        "0\r\n\r\n",
        "000;a=b\r\n\r\n",
        "0 \r\n\n\r\n\r\n",
        "0\r\nX: y\r\nContent-Length: 5\r\n\r\n",
    ];
    chunked.extend(random.pick(&ends).as_bytes());
    chunked
}

/// A body in chunks without the last, empty one.
fn chunks(mut body: &[u8], random: &mut Random) -> Vec<u8> {
    let mut chunks = Vec::new();
    while !body.is_empty() {
        let bytes = match random.one_in(3) {
            true => body.len(),
            false => 1 + random.below(body.len()),
        };
        let (chunk, rest) = body.split_at(bytes);
        let line = match random.below(5) {
            0 => format!("{bytes:X}\r\n"),
            1 => format!("000{bytes:x}\r\n"),
            2 => format!("{bytes:x} ;a=\"b\"; c\r\n"),
            _ => format!("{bytes:x}\r\n"),
        };
        chunks.extend(line.as_bytes());
        chunks.extend(chunk);
        chunks.extend(b"\r\n");
        body = rest;
    }
    chunks
}
