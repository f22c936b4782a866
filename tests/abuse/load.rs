//! Many clients at once, on one thread of this process: what they ask over and over, and what came of it.

use crate::server::Server;
use crate::wire::{Frame, Response, exchange};
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Keys that simple requests are about, and those that a search lists, which is as many as one may list.
pub const KEYS: usize = 10_000;

/// A value: what most clients of a key-value store have.
const VALUE_BYTES: usize = 100;

/// Lines of a bulk body.
const LINES: usize = 500;

/// Simple clients in a unit of the mix. Beside them it has one of each other kind.
const SIMPLE_IN_UNIT: usize = 12;

/// How often health is asked for.
const PROBE: Duration = Duration::from_millis(100);

/// What a client has room for at first, in bytes: what is read at once grows with it.
const CAME_BYTES: usize = 4096;

/// So much of what was wrong is remembered.
const WRONGS: usize = 10;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reads single keys, and sets every fourth: so many requests at a time, before it reads the answers.
    Simple { ahead: usize },
    /// Lists as many keys as it may, with their values.
    Search,
    /// Sets many keys at once.
    Bulk,
    /// Removes by a filter what a bulk client has set.
    Erase,
    /// Watches the keys of a bulk client.
    Watch,
}

/// A client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub kind: Kind,
    /// Whose keys it is about.
    pub number: usize,
}

/// Clients of all kinds: so many units of one mix, so that there is as much of each kind whatever the size.
pub fn mix(units: usize, ahead: usize) -> Vec<Client> {
    let simple = [Kind::Simple { ahead }; SIMPLE_IN_UNIT];
    let others = [Kind::Search, Kind::Bulk, Kind::Erase, Kind::Watch];
    let kinds = simple.iter().chain(&others);
    let unit = |number| {
        kinds.clone().map(move |kind| Client {
            kind: *kind,
            number,
        })
    };
    (0..units).flat_map(unit).collect()
}

/// Sets the keys that clients ask for.
pub fn fill(server: &Server) {
    for prefix in ["k", "data/"] {
        let lines: Vec<u8> = (0..KEYS).flat_map(|number| line(prefix, number)).collect();
        let answer = exchange(server.address(), &bulk(&lines)).unwrap();
        assert_eq!(answer.status, 200);
    }
}

fn line(prefix: &str, number: usize) -> Vec<u8> {
    let value = "v".repeat(VALUE_BYTES);
    format!("{{\"key\":\"{prefix}{number}\",\"value\":\"{value}\"}}\n").into_bytes()
}

fn bulk(lines: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /set HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        lines.len()
    );
    [head.as_bytes(), lines].concat()
}

/// What came of requests.
#[derive(Debug, Default)]
pub struct Seen {
    /// Simple requests that were done.
    simple: AtomicU64,
    /// Others that were.
    heavy: AtomicU64,
    /// Those that were refused for the moment, with how long to wait.
    refused: AtomicU64,
    /// What should not have come.
    wrong: Mutex<Vec<String>>,
    /// How long simple requests took that were done.
    latencies: Mutex<Vec<Duration>>,
}

impl Seen {
    fn note(&self, kind: Kind, frame: Frame, took: Duration) {
        match (frame.status, kind) {
            (200..=299, Kind::Simple { .. }) => {
                self.simple.fetch_add(1, Ordering::Relaxed);
                self.latencies.lock().unwrap().push(took);
            }
            (200..=299, Kind::Search | Kind::Bulk | Kind::Erase | Kind::Watch) => {
                self.heavy.fetch_add(1, Ordering::Relaxed);
            }
            (429 | 503, _) if frame.has_retry_after => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            (status, kind) => self.fail(format!("{kind:?} got {status}")),
        }
    }

    fn fail(&self, what: String) {
        let mut wrong = self.wrong.lock().unwrap();
        if wrong.len() < WRONGS {
            wrong.push(what);
        }
    }

    pub fn simple(&self) -> u64 {
        self.simple.load(Ordering::Relaxed)
    }

    pub fn heavy(&self) -> u64 {
        self.heavy.load(Ordering::Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Asserts that all was done or refused as it should be.
    pub fn assert_right(&self) {
        assert_eq!(*self.wrong.lock().unwrap(), [""; 0]);
    }

    /// How long all but one in a hundred took at the most.
    pub fn p99(&self) -> Duration {
        let mut latencies = self.latencies.lock().unwrap();
        assert!(latencies.len() >= 100, "there are enough to tell");
        let index = latencies.len() * 99 / 100;
        *latencies.select_nth_unstable(index).1
    }
}

/// Clients that ask until they are told to stop.
pub struct Load {
    seen: Arc<Seen>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Load {
    pub fn start(address: SocketAddr, clients: Vec<Client>) -> Self {
        let seen = Arc::new(Seen::default());
        let (stop, stopped) = oneshot::channel();
        let shared = seen.clone();
        let thread = on_a_thread(stopped, move |tasks| {
            for client in clients {
                tasks.spawn(run(address, client, shared.clone()));
            }
        });
        Self { seen, stop, thread }
    }

    /// How many simple requests are done in a second, over some time.
    pub fn goodput(&self, over: Duration) -> f64 {
        let (begun, before) = (Instant::now(), self.seen.simple());
        sleep(over);
        (self.seen.simple() - before) as f64 / begun.elapsed().as_secs_f64()
    }

    /// Ends all connections, whatever is under way.
    pub fn stop(self) -> Arc<Seen> {
        drop(self.stop);
        self.thread.join().unwrap();
        self.seen
    }
}

/// Runs tasks on a thread of their own until the sender is gone; what they hold goes with them.
pub fn on_a_thread(
    stopped: oneshot::Receiver<()>,
    begin: impl FnOnce(&mut JoinSet<()>) + Send + 'static,
) -> JoinHandle<()> {
    spawn(move || {
        let mut builder = runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            begin(&mut tasks);
            // It ends by an error, since nothing is ever sent.
            let _ = stopped.await;
            tasks.shutdown().await;
        });
    })
}

async fn run(address: SocketAddr, client: Client, seen: Arc<Seen>) {
    loop {
        let ended = match client.kind {
            Kind::Simple { ahead } => ask_simply(address, client, ahead, &seen).await,
            Kind::Search | Kind::Bulk | Kind::Erase => ask(address, client, &seen).await,
            Kind::Watch => watch(address, client, &seen).await,
        };
        if let Err(error) = ended {
            seen.fail(format!("{:?} was left: {error}", client.kind));
            tokio::time::sleep(PROBE).await;
        }
    }
}

pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads the next answer and takes it from what came.
pub async fn answer(stream: &mut TcpStream, came: &mut Vec<u8>) -> io::Result<Frame> {
    loop {
        if let Some(frame) = Frame::of(came, false)? {
            came.drain(..frame.end);
            return Ok(frame);
        }
        if stream.read_buf(came).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn ask_simply(
    address: SocketAddr,
    client: Client,
    ahead: usize,
    seen: &Seen,
) -> io::Result<()> {
    let mut stream = connect(address).await?;
    let (mut requests, mut came) = (Vec::new(), Vec::with_capacity(CAME_BYTES));
    let value = "v".repeat(VALUE_BYTES);
    let mut turn = client.number * 7919;
    loop {
        requests.clear();
        for _ in 0..ahead {
            turn += 1;
            let key = turn * 6421 % KEYS;
            match turn % 4 {
                0 => write!(
                    requests,
                    "PUT /set/k{key} HTTP/1.1\r\nHost: t\r\nContent-Length: {VALUE_BYTES}\r\n\r\n{value}"
                )?,
                _ => write!(requests, "GET /get/k{key} HTTP/1.1\r\nHost: t\r\n\r\n")?,
            }
        }
        let begun = Instant::now();
        stream.write_all(&requests).await?;
        for _ in 0..ahead {
            let frame = answer(&mut stream, &mut came).await?;
            seen.note(client.kind, frame, begun.elapsed());
        }
    }
}

/// Asks for something large, and waits for all of the answer.
async fn ask(address: SocketAddr, client: Client, seen: &Seen) -> io::Result<()> {
    let mut stream = connect(address).await?;
    let mut came = Vec::with_capacity(CAME_BYTES);
    let request = large(client);
    loop {
        let begun = Instant::now();
        stream.write_all(&request).await?;
        let frame = answer(&mut stream, &mut came).await?;
        seen.note(client.kind, frame, begun.elapsed());
    }
}

fn large(client: Client) -> Vec<u8> {
    let number = client.number;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n").into_bytes();
    match client.kind {
        Kind::Simple { .. } => get("/get/k1"),
        Kind::Search => get(&format!("/search?prefix=data/&limit={KEYS}&values=true")),
        Kind::Bulk => {
            let prefix = format!("bulk/{number}/");
            let lines = (0..LINES).flat_map(|number| line(&prefix, number));
            bulk(&lines.collect::<Vec<u8>>())
        }
        Kind::Erase => {
            format!("DELETE /delete?prefix=bulk/{number}/ HTTP/1.1\r\nHost: t\r\n\r\n").into_bytes()
        }
        Kind::Watch => get(&format!("/watch?prefix=bulk/{number}/")),
    }
}

/// Watches for as long as it may. One that falls behind what is kept is told so, and begins anew.
async fn watch(address: SocketAddr, client: Client, seen: &Seen) -> io::Result<()> {
    let mut stream = connect(address).await?;
    let begun = Instant::now();
    stream.write_all(&large(client)).await?;
    let mut came = Vec::with_capacity(CAME_BYTES);
    let frame = loop {
        if let Some(frame) = Frame::of_head(&came)? {
            break frame;
        }
        if stream.read_buf(&mut came).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    };
    seen.note(client.kind, frame, begun.elapsed());
    while frame.status == 200 && stream.read_buf(&mut came).await? > 0 {
        came.clear();
    }
    Ok(())
}

/// Somebody who asks for health every 100 ms, as an orchestrator does, and expects an answer within a second.
pub struct Prober {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Probed>,
}

/// What health was like.
#[derive(Debug, Default)]
pub struct Probed {
    pub asked: usize,
    pub slowest: Duration,
    /// Whatever was no 200.
    pub wrong: Vec<String>,
}

impl Prober {
    /// Asks by `ask`: on a connection that is kept, or on a new one each time.
    pub fn start(mut ask: impl FnMut() -> io::Result<Response> + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = is_over.clone();
        let thread = spawn(move || {
            let mut probed = Probed::default();
            while !ends.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let asked = ask();
                let took = begun.elapsed();
                probed.asked += 1;
                probed.slowest = probed.slowest.max(took);
                match asked {
                    Ok(answer) if answer.status == 200 => {}
                    Ok(answer) => probed.wrong.push(answer.status.to_string()),
                    Err(error) => probed.wrong.push(error.to_string()),
                }
                sleep(PROBE.saturating_sub(took));
            }
            probed
        });
        Self { is_over, thread }
    }

    pub fn stop(self) -> Probed {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
