//! Clients that are slow, broken or both: what others notice of them, and what they leave behind.
//!
//! Honest clients ask without a pause, 32 at once, and how long all but one in a hundred of their requests take is measured
//! before and while there are others: 1,000 of these in the long form, of nine kinds, each of which begins anew as soon as
//! it is cut. They share the processors with clients and server, which the short form, on a machine that does other things,
//! is not held to.

use crate::load::{Client, Kind, Load, answer, connect, fill, on_a_thread};
use crate::server::{Server, until};
use crate::wire::exchange;
use crate::{is_long, raise_descriptors, say};
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::sleep;

const MIB: u64 = 1024 * 1024;

/// Clients that do as they should.
const HONEST: usize = 32;

/// A value that takes long to read.
const LARGE_BYTES: usize = 900_000;

/// Between two bytes of those that send slowly.
const TICK: Duration = Duration::from_millis(100);

/// How long an answer is not read.
const UNREAD: Duration = Duration::from_secs(5);

/// Requests of those that ask for many at once.
const PIPELINED: usize = 300;

/// What may be left: changes for those who watch, 16 MiB, memory that threads have at hand, and pages that are not empty;
/// and what a scrape holds itself.
const KEPT_BYTES: u64 = 48 * MIB;
const SCRAPE_BYTES: f64 = 128.0 * 1024.0;

/// So that those who are cut are cut often.
const SETTINGS: [(&str, &str); 5] = [
    ("head_timeout_ms", "2000"),
    ("keep_alive_ms", "2000"),
    ("body_timeout_ms", "2000"),
    ("write_timeout_ms", "2000"),
    ("buffers_bytes_max", "67108864"),
];

struct Form {
    clients: usize,
    window: Duration,
    times: f64,
}

fn form() -> Form {
    match is_long() {
        true => Form {
            clients: 1_000,
            window: Duration::from_secs(20),
            times: 2.0,
        },
        false => Form {
            clients: 200,
            window: Duration::from_secs(3),
            times: 10.0,
        },
    }
}

/// What a client does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Sends its head a byte at a time.
    Head,
    /// Sends its body so.
    Body,
    /// Asks for much and reads nothing.
    Unread,
    /// Ends its side, after a request or within one.
    HalfClosed,
    /// Resets its connection, within a request or an answer.
    Reset,
    /// Sends what is no request.
    Garbage,
    /// Sends hundreds of requests at once.
    Pipelined,
    /// Watches, and leaves.
    Watch,
    /// Lists all keys with their values, and leaves within the answer.
    Search,
}

impl Manner {
    const ALL: [Self; 9] = [
        Self::Head,
        Self::Body,
        Self::Unread,
        Self::HalfClosed,
        Self::Reset,
        Self::Garbage,
        Self::Pipelined,
        Self::Watch,
        Self::Search,
    ];

    /// How long it waits before it begins anew: what costs the server more comes less often, since this is
    /// about manners and not about rates.
    fn pause(self) -> Duration {
        let ms = match self {
            Self::Head | Self::Body | Self::Unread => 100,
            Self::HalfClosed | Self::Reset | Self::Garbage => 500,
            Self::Watch | Self::Search => 2_000,
            Self::Pipelined => 5_000,
        };
        Duration::from_millis(ms)
    }

    /// Does it once. Where the server ends the connection, as it may, that is an error.
    async fn misbehave(self, address: SocketAddr, turn: usize) -> io::Result<()> {
        let mut stream = connect(address).await?;
        match self {
            Self::Head => {
                let head = "GET /get/k1 HTTP/1.1\r\nHost: t\r\nX-Slow: ";
                trickle(&mut stream, head.as_bytes()).await
            }
            Self::Body => {
                let head = put_head(LARGE_BYTES);
                stream.write_all(&head).await?;
                trickle(&mut stream, b"").await
            }
            Self::Unread => {
                let asked = ["/get/large", "/search?prefix=data/&values=true"][turn % 2];
                stream.write_all(get(asked).repeat(20).as_bytes()).await?;
                // It is cut before, of which it sees nothing.
                sleep(UNREAD).await;
                Ok(())
            }
            Self::HalfClosed => {
                let half = put_head(100);
                let whole = get("/get/k1").into_bytes();
                stream.write_all([&half, &whole][turn % 2]).await?;
                stream.shutdown().await?;
                read_to_end(&mut stream).await
            }
            Self::Reset => {
                let half = put_head(100);
                let whole = get("/get/large").into_bytes();
                stream.write_all([&half, &whole][turn % 2]).await?;
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))
            }
            Self::Garbage => {
                stream.write_all(&garbage(turn)).await?;
                read_to_end(&mut stream).await
            }
            Self::Pipelined => {
                let requests = get("/get/k1").repeat(PIPELINED);
                stream.write_all(requests.as_bytes()).await?;
                let mut came = Vec::new();
                for _ in 0..PIPELINED {
                    answer(&mut stream, &mut came).await?;
                }
                Ok(())
            }
            Self::Watch => {
                let from = ["", "&from=start"][turn % 2];
                let request = get(&format!("/watch?prefix=data/1&values=true{from}"));
                leave_within(stream, &request).await
            }
            Self::Search => leave_within(stream, &get("/search?prefix=data/&values=true")).await,
        }
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n")
}

fn put_head(bytes: usize) -> Vec<u8> {
    let head = format!("PUT /set/slow HTTP/1.1\r\nHost: t\r\nContent-Length: {bytes}\r\n\r\n");
    head.into_bytes()
}

/// Bytes of all kinds, the same for the same turn (xorshift: Marsaglia, 2003).
fn garbage(turn: usize) -> Vec<u8> {
    let mut state = turn as u64 | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..1024).map(byte).collect()
}

/// Sends bytes one by one, and goes on so until the server ends it.
async fn trickle(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut bytes = bytes.iter();
    loop {
        let byte = bytes.next().unwrap_or(&b'a');
        stream.write_all(&[*byte]).await?;
        sleep(TICK).await;
    }
}

async fn read_to_end(stream: &mut TcpStream) -> io::Result<()> {
    let mut came = [0; 4096];
    while stream.read(&mut came).await? > 0 {}
    Ok(())
}

/// Reads something of an answer, and goes.
async fn leave_within(mut stream: TcpStream, request: &str) -> io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    match stream.read(&mut [0; 1000]).await? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Clients that do all this until they are told to stop, and how often each kind has.
struct Abuse {
    done: Arc<[AtomicU64; Manner::ALL.len()]>,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Abuse {
    fn start(address: SocketAddr, clients: usize) -> Self {
        let done: Arc<[AtomicU64; Manner::ALL.len()]> = Arc::default();
        let (stop, stopped) = oneshot::channel();
        let counts = done.clone();
        let thread = on_a_thread(stopped, move |tasks| {
            for client in 0..clients {
                let counts = counts.clone();
                let kind = client % Manner::ALL.len();
                tasks.spawn(async move {
                    let manner = Manner::ALL[kind];
                    // Not all at the same moment.
                    sleep(manner.pause().mul_f64(client as f64 / clients as f64)).await;
                    for turn in client.. {
                        counts[kind].fetch_add(1, Ordering::Relaxed);
                        // Being cut off is what it is after.
                        let _ = manner.misbehave(address, turn).await;
                        sleep(manner.pause()).await;
                    }
                });
            }
        });
        Self { done, stop, thread }
    }

    /// Ends all of them, and gives how often they did what they do, by kind.
    fn stop(self) -> Vec<(Manner, u64)> {
        drop(self.stop);
        self.thread.join().unwrap();
        let done = self.done.iter().map(|count| count.load(Ordering::Relaxed));
        Manner::ALL.into_iter().zip(done).collect()
    }
}

/// The clients that do as they should.
fn honest() -> Vec<Client> {
    let client = |number| Client {
        kind: Kind::Simple { ahead: 1 },
        number,
    };
    (0..HONEST).map(client).collect()
}

/// How long all but one in a hundred honest requests take, over some time.
fn honest_p99(server: &Server, window: Duration) -> Duration {
    let load = Load::start(server.address(), honest());
    load.goodput(window);
    let seen = load.stop();
    seen.assert_right();
    assert_eq!(seen.refused(), 0, "none of them is refused");
    seen.p99()
}

/// What clients hold of the server.
struct Held {
    descriptors: usize,
    resident: u64,
}

/// Waits until the server holds nothing of clients any more. Scrapes are requests on connections too.
fn until_idle(server: &Server) -> Held {
    until("nothing is under way", || {
        let is_idle = server.metric("kvstore_http_connections") <= 1.0
            && server.metric("kvstore_http_requests_in_flight") <= 1.0
            && server.metric("kvstore_messages_in_flight") == 0.0
            && server.metric("kvstore_watchers") == 0.0
            && server.metric("kvstore_buffers_bytes") <= SCRAPE_BYTES;
        is_idle.then_some(())
    });
    Held {
        descriptors: server.descriptors(),
        resident: server.resident_bytes(),
    }
}

#[test]
fn slow_and_broken_clients_cost_others_little_and_leave_nothing() {
    raise_descriptors();
    let form = form();
    let server = Server::start(&SETTINGS);
    fill(&server);
    let mut large =
        format!("PUT /set/large HTTP/1.1\r\nHost: t\r\nContent-Length: {LARGE_BYTES}\r\n\r\n");
    large += &"v".repeat(LARGE_BYTES);
    assert_eq!(
        exchange(server.address(), large.as_bytes()).unwrap().status,
        200
    );
    let alone = honest_p99(&server, form.window);
    let before = until_idle(&server);

    let abuse = Abuse::start(server.address(), form.clients);
    until("they are there", || {
        let connections = server.metric("kvstore_http_connections") as usize;
        (connections > form.clients / 5).then_some(())
    });
    let beside = honest_p99(&server, form.window);
    let done = abuse.stop();
    let ended = Instant::now();
    let after = until("descriptors and memory are as before", || {
        let held = until_idle(&server);
        let is_back =
            held.descriptors <= before.descriptors && held.resident <= before.resident + KEPT_BYTES;
        is_back.then_some(held)
    });
    let took = ended.elapsed();

    let total: u64 = done.iter().map(|(_, count)| count).sum();
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    let figure = format!(
        "{ratio:.2} times as long, {beside:.2?} and {alone:.2?} without {} clients that did {total} wrongs",
        form.clients
    );
    say(
        "p99 beside slow and broken clients",
        &figure,
        &form.times.to_string(),
    );
    let [now, then] = [&after, &before].map(|held| held.resident / MIB);
    let figure = format!(
        "{} descriptors and {now} MiB after {took:.1?}, {} and {then} MiB before",
        after.descriptors, before.descriptors
    );
    say(
        "left by slow and broken clients",
        &figure,
        "no descriptor, 48 MiB",
    );
    assert!(done.iter().all(|(_, count)| *count > 0), "{done:?}");
    assert!(ratio <= form.times, "{beside:?} and {alone:?}");
    assert!(!server.log().contains("defect"), "{}", server.log());
    assert!(server.stop().success());
}
