//! A client's connection as the framework sees it.
//!
//! The framework reads ahead as much as there is, parses all requests that came at once, and knows a
//! piece of an answer as written once it is copied. Here, between it and the socket, is the one
//! place where it shows how many bytes came and left. So this is where reading is held up while
//! there is no room for more, where a client that takes no bytes is noticed, and where a connection
//! is cut, without a second descriptor for its socket.

use super::buffers::Buffers;
use super::connection::{Connection, ConnectionLimits};
use crate::metrics::Metrics;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much the system keeps of an answer beside what is on its way, in bytes: with more, a client
/// that reads slowly but steadily would seem not to read for minutes.
const UNSENT_BYTES: u32 = 128 * 1024;

/// A connection and what is known of it.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    connection: Rc<Connection>,
    /// What was read and is held back, since requests before it are not answered yet.
    held: Vec<u8>,
}

impl Stream {
    /// Takes a new connection in, on its worker's thread.
    pub fn new(
        socket: TcpStream,
        limits: &ConnectionLimits,
        buffers: &Buffers,
        metrics: &Metrics,
    ) -> Self {
        let options = SockRef::from(&socket);
        // The timeout ends what a cut connection still had to send, and clients that vanish without
        // a word. Later than our own limit, so that it is we who cut and count.
        let set = options
            .set_tcp_nodelay(true)
            .and_then(|()| options.set_tcp_user_timeout(Some(limits.write * 2)))
            .and_then(|()| options.set_tcp_notsent_lowat(UNSENT_BYTES));
        if let Err(error) = set {
            log::debug!("a connection has not all of its options: {error}");
        }
        Self {
            socket,
            connection: Connection::begin(limits, buffers.clone(), metrics),
            held: Vec::new(),
        }
    }

    /// What is known of the connection.
    pub(super) fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    fn cut() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut")
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let connection = &*this.connection;
        connection.waits(context);
        if connection.is_cut() {
            return Poll::Ready(Err(Self::cut()));
        }
        let Some(heads_max) = connection.may_read() else {
            return Poll::Pending;
        };
        let before = buffer.filled().len();
        if this.held.is_empty() {
            ready!(Pin::new(&mut this.socket).poll_read(context, buffer))?;
            if buffer.filled().len() == before && buffer.remaining() > 0 {
                connection.client_left();
            }
        } else {
            let some = this.held.len().min(buffer.remaining());
            buffer.put_slice(&this.held[..some]);
            this.held.drain(..some);
            if this.held.is_empty() {
                this.held = Vec::new();
            }
        }
        let came = &mut buffer.filled_mut()[before..];
        let followed = connection.framing.borrow_mut().follow(came, heads_max);
        connection.read(followed);
        if followed < came.len() {
            this.held.splice(..0, came[followed..].iter().copied());
            buffer.set_filled(before + followed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.connection.is_cut() {
            return Poll::Ready(Err(Self::cut()));
        }
        let written = Pin::new(&mut this.socket).poll_write(context, bytes);
        match written {
            Poll::Ready(_) => this.connection.wrote(),
            Poll::Pending => {
                this.connection.waits(context);
                this.connection.is_not_read();
            }
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.connection.flushed();
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
