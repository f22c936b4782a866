//! A gateway before a server that does with each request what a test says.

use crate::support::{Connection, Response};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// What to do with a request.
pub enum Reply {
    /// Ask the server for this target.
    Pass(String),
    /// Ask the server, and pass on the beginning of its answer.
    Part(Part),
    /// Answer so, in full.
    Say(String),
    /// End the connection without an answer.
    Close,
    /// Never answer.
    Hold,
}

/// The beginning of an answer.
pub struct Part {
    pub target: String,
    /// How much of the body is passed on. A shorter one is whole.
    pub bytes: usize,
    pub framing: Framing,
    /// What happens then, where there was more.
    pub then: Then,
}

/// What tells where a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Chunks,
    /// The end of its connection.
    Connection,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The connection ends.
    End,
    /// Nothing more comes.
    Hold,
    /// It is said that this was all.
    Finish,
}

/// What a client asked.
pub struct Asked {
    pub target: String,
    pub headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let header = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }
}

/// A gateway that runs until the tests end.
pub struct Gateway {
    pub address: SocketAddr,
}

impl Gateway {
    pub fn start(
        server: SocketAddr,
        reply: impl Fn(Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with(server, reply, Ok)
    }

    /// One that speaks over what `wrap` makes of a connection.
    pub fn with<S: Read + Write>(
        server: SocketAddr,
        reply: impl Fn(Asked) -> Reply + Send + Sync + 'static,
        wrap: impl Fn(TcpStream) -> std::io::Result<S> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (reply, wrap) = (Arc::new(reply), Arc::new(wrap));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (reply, wrap) = (reply.clone(), wrap.clone());
                std::thread::spawn(move || {
                    stream.set_nodelay(true).unwrap();
                    if let Ok(stream) = wrap(stream) {
                        let _ = serve(stream, server, &*reply);
                    }
                });
            }
        });
        Self { address }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(
    stream: impl Read + Write,
    server: SocketAddr,
    reply: &dyn Fn(Asked) -> Reply,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let line = |stream: &mut BufReader<_>| {
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .map(|_| line.trim_end().to_owned())
    };
    loop {
        let request = line(&mut stream)?;
        let mut parts = request.split(' ');
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
            return Ok(());
        };
        let mut headers = Vec::new();
        loop {
            let header = line(&mut stream)?;
            let Some((name, value)) = header.split_once(": ") else {
                break;
            };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let asked = Asked {
            target: target.to_owned(),
            headers,
        };
        let length = asked.header("content-length").unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body)?;
        let passed = ["content-type", "accept"];
        let passed = passed.map(|name| (name, asked.header(name).map(str::to_owned)));
        let ask = |target: &str| {
            let headers = passed.iter();
            let headers = headers.filter_map(|(name, value)| Some((*name, value.as_deref()?)));
            let headers: Vec<_> = headers.collect();
            Connection::to(server).request(method, target, &headers, &body)
        };
        let answer = match reply(asked) {
            Reply::Pass(target) => {
                let response = ask(&target);
                let length = format!("Content-Length: {}", response.body.len());
                [head(&response, &length), response.body].concat()
            }
            Reply::Part(part) => {
                let response = ask(&part.target);
                stream.get_mut().write_all(&beginning(&response, &part))?;
                stream.get_mut().flush()?;
                let is_whole = response.body.len() <= part.bytes;
                match (part.framing, part.then) {
                    (Framing::Chunks, Then::Finish) => continue,
                    (Framing::Chunks, _) if is_whole => continue,
                    (_, Then::Hold) if !is_whole => hold(),
                    _ => return Ok(()),
                }
            }
            Reply::Say(answer) => answer.into_bytes(),
            Reply::Close => return Ok(()),
            Reply::Hold => hold(),
        };
        stream.get_mut().write_all(&answer)?;
        stream.get_mut().flush()?;
    }
}

fn hold() -> ! {
    loop {
        std::thread::park();
    }
}

/// The head of an answer whose body is framed in another way than the server did.
fn head(response: &Response, framing: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Said\r\n", response.status);
    for (name, value) in &response.headers {
        if !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head += &format!("{framing}\r\n\r\n");
    head.into_bytes()
}

fn beginning(response: &Response, part: &Part) -> Vec<u8> {
    let body = &response.body[..part.bytes.min(response.body.len())];
    let is_whole = body.len() == response.body.len();
    match part.framing {
        Framing::Connection => [head(response, "Connection: close"), body.to_vec()].concat(),
        Framing::Chunks => {
            let mut answer = head(response, "Transfer-Encoding: chunked");
            if !body.is_empty() {
                let chunk = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat();
                answer.extend(chunk);
            }
            if is_whole || part.then == Then::Finish {
                answer.extend(b"0\r\n\r\n");
            }
            answer
        }
    }
}
