//! What is known of each connection, and when it is cut.
//!
//! The framework times only the head of a connection's first request. A second head that stays
//! half sent, a client that does not read, or one that says nothing at all would hold a connection
//! for ever. So every worker keeps its connections' sockets and looks them over from time to time.

use crate::metrics::Metrics;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use prometheus::IntGauge;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};
use std::time::Duration;

/// How long a connection may do nothing.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Without a request: the keep-alive time and the time for a head.
    pub idle: Duration,
    /// With an answer that the client does not read.
    pub write: Duration,
}

impl ConnectionLimits {
    /// How long it is between two looks at the connections.
    fn period(&self) -> Duration {
        let period = self.idle.min(self.write) / 4;
        period.clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The client's: to send a request.
    Request,
    /// Ours.
    Answer,
    /// The client's: to read what we wrote.
    Read,
}

/// One connection of this worker.
#[derive(Debug)]
pub(super) struct Connection {
    socket: std::net::TcpStream,
    turn: Cell<Turn>,
    /// The look at which the turn was passed. Counting looks costs a request nothing; reading the
    /// clock would.
    since: Cell<u64>,
    open: IntGauge,
}

/// The connections of this worker.
#[derive(Debug)]
pub struct Connections;

thread_local! {
    /// How often this worker's connections were looked over.
    static LOOKS: Cell<u64> = const { Cell::new(0) };
    static CONNECTIONS: RefCell<Vec<Weak<Connection>>> = const { RefCell::new(Vec::new()) };
}

/// Takes a new connection in: for the server's `on_connect`, on the worker's thread.
pub fn on_connect(
    connection: &dyn Any,
    extensions: &mut Extensions,
    limits: &ConnectionLimits,
    metrics: &Metrics,
) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else {
        return;
    };
    // Ends what a cut connection still had to send, and clients that vanish without a word. Later
    // than our own limit, so that it is we who cut and count.
    let option = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(limits.write * 2));
    if let Err(error) = option {
        log::debug!("TCP_USER_TIMEOUT is not set: {error}");
    }
    let socket = match stream.as_fd().try_clone_to_owned() {
        Ok(socket) => socket.into(),
        Err(error) => {
            log::warn!("a connection goes unwatched: {error}");
            return;
        }
    };
    let open = metrics.connections();
    open.inc();
    let connection = Rc::new(Connection {
        socket,
        turn: Cell::new(Turn::Request),
        since: Cell::new(LOOKS.get()),
        open,
    });
    CONNECTIONS.with_borrow_mut(|all| all.push(Rc::downgrade(&connection)));
    extensions.insert(connection);
}

impl Connections {
    /// Looks over this worker's connections for ever, several times in the shorter of the limits.
    pub async fn watch(limits: ConnectionLimits, metrics: Metrics) {
        let period = limits.period();
        loop {
            tokio::time::sleep(period).await;
            LOOKS.set(LOOKS.get() + 1);
            CONNECTIONS.with_borrow_mut(|all| {
                all.retain(|connection| match connection.upgrade() {
                    Some(connection) => {
                        connection.check(&limits, &metrics);
                        true
                    }
                    None => false,
                });
            });
        }
    }
}

impl Connection {
    /// A request's head came.
    pub(super) fn request_began(&self) {
        self.pass(Turn::Answer);
    }

    /// A part of the answer was handed over to be sent.
    pub(super) fn wrote(&self) {
        self.pass(Turn::Read);
    }

    /// The client took what was written, and the rest of the answer is not there yet.
    pub(super) fn waits(&self) {
        self.pass(Turn::Answer);
    }

    /// The answer was handed over whole.
    pub(super) fn request_ended(&self) {
        self.pass(Turn::Request);
    }

    fn pass(&self, turn: Turn) {
        self.turn.set(turn);
        self.since.set(LOOKS.get());
    }

    fn check(&self, limits: &ConnectionLimits, metrics: &Metrics) {
        let (limit, reason) = match self.turn.get() {
            Turn::Request => (limits.idle, "idle"),
            Turn::Read => (limits.write, "stalled"),
            Turn::Answer => return,
        };
        let looks = limit.div_duration_f64(limits.period()).ceil() as u64;
        if LOOKS.get() - self.since.get() > looks {
            log::debug!("a connection is cut: {reason}");
            metrics.connection_cut(reason);
            // It may be gone already.
            let _ = self.socket.shutdown(Shutdown::Both);
            // Once is enough; the worker drops the connection as soon as it sees the end.
            self.turn.set(Turn::Answer);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.dec();
    }
}
