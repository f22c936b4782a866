//! A gateway before a server that does with each request what a test says.

use crate::support::Connection;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// What to do with a request.
pub enum Reply {
    /// Ask the server for this target.
    Pass(String),
    /// Answer so, in full.
    Say(String),
    /// End the connection without an answer.
    Close,
    /// Never answer.
    Hold,
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
        let content_type = asked.header("content-type").map(str::to_owned);
        let answer = match reply(asked) {
            Reply::Pass(target) => {
                let content_type = content_type.as_deref().map(|value| ("Content-Type", value));
                let headers: Vec<_> = content_type.into_iter().collect();
                let mut connection = Connection::to(server);
                let response = connection.request(method, &target, &headers, &body);
                let mut head = format!("HTTP/1.1 {} Said\r\n", response.status);
                for (name, value) in &response.headers {
                    if !["content-length", "transfer-encoding", "connection"]
                        .contains(&name.as_str())
                    {
                        head += &format!("{name}: {value}\r\n");
                    }
                }
                head += &format!("Content-Length: {}\r\n\r\n", response.body.len());
                [head.into_bytes(), response.body].concat()
            }
            Reply::Say(answer) => answer.into_bytes(),
            Reply::Close => return Ok(()),
            Reply::Hold => loop {
                std::thread::park();
            },
        };
        stream.get_mut().write_all(&answer)?;
        stream.get_mut().flush()?;
    }
}
