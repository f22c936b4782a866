//! A client's connection as the framework sees it.
//!
//! The framework reads ahead as much as there is, parses all requests that came at once, and knows a
//! piece of an answer as written once it is copied. Here, between it and the socket, is the one
//! place where it shows how many bytes came and left. So this is where reading is held up while
//! there is no room for more, and where a connection is cut, without a second descriptor for its socket. Where its client
//! takes no bytes is noticed below, in `wire`.

use super::buffers::{Buffers, PIECE_BYTES};
use super::connection::{Connection, ConnectionLimits};
use super::wire::{Transport, Wire, cut};
use crate::metrics::{Cut, Metrics};
use crate::tls::Tls;
use actix_server::GracefulShutdownSignal;
use actix_web::rt::net::TcpStream;
use socket2::SockRef;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How much the system keeps of an answer beside what is on its way, in bytes: with more, a client
/// that reads slowly but steadily would seem not to read for minutes.
const UNSENT_BYTES: u32 = 128 * 1024;

/// For how long a client is read that was denied TLS.
const DENIED_TIME: Duration = Duration::from_secs(1);

/// What a worker takes its connections in with.
#[derive(Clone, Debug)]
pub struct Reception {
    /// How long they may do nothing, and how many there may be.
    pub limits: ConnectionLimits,
    /// What their long heads take of the budget.
    pub buffers: Buffers,
    /// What is measured.
    pub metrics: Metrics,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<Tls>>,
    /// Tells that the server stops.
    pub stopping: GracefulShutdownSignal,
}

impl Reception {
    /// Takes a new connection in, on its worker's thread.
    ///
    /// # Errors
    /// Where TLS is spoken, and no handshake comes about in time.
    pub async fn receive(&self, socket: TcpStream) -> io::Result<Stream> {
        let options = SockRef::from(&socket);
        // The timeout ends what a cut connection still had to send, and clients that vanish without
        // a word. Later than our own limit, so that it is we who cut and count.
        let set = options
            .set_tcp_nodelay(true)
            .and_then(|()| options.set_tcp_user_timeout(Some(self.limits.write * 2)))
            .and_then(|()| options.set_tcp_notsent_lowat(UNSENT_BYTES));
        if let Err(error) = set {
            log::debug!("a connection has not all of its options: {error}");
        }
        let connection = Connection::begin(&self.limits, self.buffers.clone(), &self.metrics);
        let wire = Wire::new(socket, connection.clone());
        let transport = match &self.tls {
            None => Transport::Plain(wire),
            // Boxed, since connections without TLS would be as large.
            Some(tls) => match Box::pin(self.encrypt(wire, &connection, tls)).await {
                Ok(encrypted) => Transport::Encrypted(Box::new(encrypted)),
                Err(Denied { error, wire }) => {
                    log::debug!("a TLS handshake came to nothing: {error}");
                    self.metrics.connection_cut(Cut::Handshake);
                    if let Some(wire) = wire {
                        Box::pin(self.see_off(wire, &connection)).await;
                    }
                    return Err(error);
                }
            },
        };
        Ok(Stream {
            transport,
            connection,
            held: Vec::new(),
        })
    }

    /// Waits for the handshake: for as long as it may take, until the connection is cut, or until the server stops.
    async fn encrypt(
        &self,
        wire: Wire,
        connection: &Connection,
        tls: &Tls,
    ) -> Result<TlsStream<Wire>, Denied> {
        let gone = |error: io::Error| Denied { error, wire: None };
        let acceptor = TlsAcceptor::from(tls.config());
        // TLS keeps a copy of what it is given to write; by default twice as much.
        let accepting = acceptor.accept_with(wire, |session| {
            session.set_buffer_limit(Some(PIECE_BYTES));
        });
        let mut accepting = accepting.into_fallible();
        let handshake = poll_fn(|context| {
            connection.waits(context);
            if connection.is_cut() {
                return Poll::Ready(Err(gone(cut())));
            }
            let denied = |(error, wire)| Denied {
                error,
                wire: Some(wire),
            };
            Pin::new(&mut accepting).poll(context).map_err(denied)
        });
        tokio::select! {
            done = timeout(self.limits.handshake, handshake) => {
                done.unwrap_or_else(|_| Err(gone(io::ErrorKind::TimedOut.into())))
            }
            () = self.stopping.notified() => Err(gone(io::ErrorKind::ConnectionAborted.into())),
        }
    }

    /// Reads what a client sends that was told why it is denied. In TLS 1.3 one without a certificate begins its request
    /// before it hears of that: on a connection that is closed already it would meet a broken pipe, and never the reason.
    /// One over the bound gives way as any that says nothing: else those who are denied would keep health from others.
    async fn see_off(&self, mut wire: Wire, connection: &Connection) {
        let reading = poll_fn(|context| -> Poll<io::Result<()>> {
            connection.waits(context);
            if connection.is_cut() {
                return Poll::Ready(Err(cut()));
            }
            ready!(Pin::new(&mut wire).poll_shutdown(context))?;
            loop {
                let mut bytes = [0; 1024];
                let mut buffer = ReadBuf::new(&mut bytes);
                ready!(Pin::new(&mut wire).poll_read(context, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        });
        tokio::select! {
            _ = timeout(DENIED_TIME, reading) => {}
            () = self.stopping.notified() => {}
        }
    }
}

/// Why TLS was not agreed on, and the socket where that was said on it.
struct Denied {
    error: io::Error,
    wire: Option<Wire>,
}

/// A connection and what is known of it.
#[derive(Debug)]
pub struct Stream {
    transport: Transport,
    connection: Rc<Connection>,
    /// What was read and is held back, since requests before it are not answered yet.
    held: Vec<u8>,
}

impl Stream {
    /// What is known of the connection.
    pub(super) fn connection(&self) -> &Rc<Connection> {
        &self.connection
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
            return Poll::Ready(Err(cut()));
        }
        let Some(heads_max) = connection.may_read() else {
            return Poll::Pending;
        };
        let before = buffer.filled().len();
        if this.held.is_empty() {
            ready!(Pin::new(&mut this.transport).poll_read(context, buffer))?;
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
        Pin::new(&mut self.get_mut().transport).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.transport).poll_flush(context))?;
        this.connection.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(context)
    }
}
