//! Far more than the server can do: what it does then is no less, it says so to whom it refuses, and health is answered.
//!
//! Clients and server share the machine's processors, and large requests are as much of the work as they are at the peak:
//! so the peak is that of the same mix of clients, at the number of them at which most simple requests are done. Ten times as
//! many, who have eight requests under way each, offer more than can be done however fast that is. On a machine that does
//! other things meanwhile both are measured badly, so the short form is held to half.

use crate::load::{Client, Kind, Load, Prober, fill, mix};
use crate::server::{Server, until};
use crate::wire::{Connection, Response, exchange};
use crate::{is_long, load, raise_descriptors, say};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

const MIB: u64 = 1024 * 1024;

/// The bounds that the server is given.
const STORE_BYTES: u64 = 256 * MIB;
const BUFFERS_BYTES: u64 = 64 * MIB;

/// What a connection takes with a request on its way, and what the allocator may keep, as docs/operations.md has it.
const CONNECTION_BYTES: u64 = 34 * 1024;
const KEPT_BYTES: u64 = 60 * MIB;

/// Units of clients, and requests that each simple one has under way, among which the peak is looked for.
const SIZES: [(usize, usize); 5] = [(1, 1), (4, 1), (8, 1), (4, 8), (8, 8)];

/// How much more than at the peak there is.
const TIMES: usize = 10;
const AHEAD: usize = 8;

/// How long after an overload all must be as before.
const RECOVERY: Duration = Duration::from_secs(2);

/// How long health may take.
const HEALTH: Duration = Duration::from_secs(1);

/// Connections that may be open where there are more, and those that there are.
const OPEN_MAX: usize = 64;
const CROWD: usize = 9 * OPEN_MAX;

/// For how long at the most: the system has only so many ports for those who come.
const CROWDED: Duration = Duration::from_secs(10);

/// How long a client of the crowd waits, whatever it is told.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// Sizes, and what is held to them.
struct Form {
    window: Duration,
    overload: Duration,
    goodput: f64,
    recovered: f64,
}

fn form() -> Form {
    match is_long() {
        true => Form {
            window: Duration::from_secs(4),
            overload: Duration::from_secs(30),
            goodput: 0.8,
            recovered: 0.9,
        },
        false => Form {
            window: Duration::from_secs(1),
            overload: Duration::from_secs(4),
            goodput: 0.5,
            recovered: 0.5,
        },
    }
}

/// The most simple requests that are done in a second, and with which clients.
fn peak(address: SocketAddr, window: Duration) -> (f64, (usize, usize)) {
    let rates = SIZES.map(|(units, ahead)| {
        let load = Load::start(address, mix(units, ahead));
        load.goodput(window / 4);
        let rate = load.goodput(window);
        load.stop().assert_right();
        (rate, (units, ahead))
    });
    let peak = rates
        .into_iter()
        .max_by(|one, other| one.0.total_cmp(&other.0));
    peak.expect("there are sizes")
}

/// Asks for health on a connection that is kept.
fn on_one_connection(address: SocketAddr) -> impl FnMut() -> io::Result<Response> + Send + 'static {
    let mut connection = Connection::connect_within(address, HEALTH).unwrap();
    move || {
        connection.send(LIVEZ)?;
        connection.read_response()
    }
}

const LIVEZ: &[u8] = b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n";

/// Stops asking, and asserts that each answer was what it should be, and in time.
fn was_well(name: &str, prober: Prober) {
    let probed = prober.stop();
    let figure = format!("{:?} at the most of {}", probed.slowest, probed.asked);
    say(name, &figure, &format!("{HEALTH:?}"));
    assert_eq!(probed.wrong, [""; 0]);
    assert!(probed.slowest <= HEALTH && probed.asked > 0, "{figure}");
}

#[test]
fn an_overload_costs_nobody_what_the_server_can_do() {
    raise_descriptors();
    let form = form();
    let [store, buffers] = [STORE_BYTES, BUFFERS_BYTES].map(|bytes| bytes.to_string());
    let server = Server::start(&[
        ("store_bytes_max", store.as_str()),
        ("buffers_bytes_max", buffers.as_str()),
    ]);
    fill(&server);
    let (peak, (units, ahead)) = peak(server.address(), form.window);
    let figure = format!("{peak:.0} a second by {units} units, {ahead} ahead");
    say("goodput at the peak", &figure, "no bound");

    let resident = server.resident_bytes();
    let stored = server.metric("kvstore_store_bytes") as u64;
    let clients = mix(TIMES * units, AHEAD);
    let connections = clients.len() as u64;
    let kept = Prober::start(on_one_connection(server.address()));
    let address = server.address();
    let fresh = Prober::start(move || exchange(address, LIVEZ));
    let load = Load::start(server.address(), clients);
    load.goodput(form.window / 4);
    let (mut rates, mut most) = (Vec::new(), 0);
    let begun = Instant::now();
    while begun.elapsed() < form.overload {
        rates.push(load.goodput(Duration::from_millis(250)));
        most = most.max(server.resident_bytes());
    }
    let seen = load.stop();
    let ended = Instant::now();

    // At once: the clients of the peak come as the others go.
    let after = Load::start(server.address(), mix(units, ahead));
    let recovered = loop {
        let rate = after.goodput(Duration::from_millis(250));
        if rate >= form.recovered * peak || ended.elapsed() > RECOVERY {
            break rate / peak;
        }
    };
    let took = ended.elapsed();
    after.stop().assert_right();

    let figure = format!("{recovered:.2} of the peak after {took:.1?}");
    let bound = format!("{} after {RECOVERY:?}", form.recovered);
    say("speed after an overload", &figure, &bound);
    let ratio = rates.iter().sum::<f64>() / rates.len() as f64 / peak;
    let (heavy, refused) = (seen.heavy(), seen.refused());
    let figure = format!(
        "{ratio:.2} of the peak with {connections} clients, {heavy} large requests done, {refused} refused"
    );
    say("goodput under overload", &figure, &form.goodput.to_string());
    let budget = STORE_BYTES.saturating_sub(stored)
        + BUFFERS_BYTES
        + connections * CONNECTION_BYTES
        + KEPT_BYTES;
    let figure = format!(
        "{} MiB over {}",
        most.saturating_sub(resident) / MIB,
        resident / MIB
    );
    say(
        "memory under overload",
        &figure,
        &format!("{} MiB over it", budget / MIB),
    );
    was_well("/livez under overload, on one connection", kept);
    was_well("/livez under overload, on new ones", fresh);
    seen.assert_right();
    assert!(heavy > 0, "large requests are among them");
    assert!(ratio >= form.goodput, "{ratio} of {peak}");
    assert!(most <= resident + budget, "{most}");
    assert!(recovered >= form.recovered, "{recovered} after {took:?}");
}

/// What came of those over the bound on connections.
#[derive(Debug, Default)]
struct Crowd {
    /// Done, since there was a place.
    done: AtomicU64,
    /// Refused with 503 and when to come again.
    refused: AtomicU64,
    /// Ended without an answer: one that took longer than it may to say something.
    ended: AtomicU64,
    other: AtomicU64,
}

impl Crowd {
    /// One that connects, asks, and does not wait as long as it is told.
    async fn press(&self, address: SocketAddr) {
        loop {
            let came = self.ask(address).await;
            let counted = match came {
                Ok((200, _)) => &self.done,
                Ok((503, true)) => &self.refused,
                Ok(_) => &self.other,
                Err(error) => match error.kind() {
                    ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionReset
                    | ErrorKind::BrokenPipe => &self.ended,
                    _ => &self.other,
                },
            };
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(IMPATIENCE).await;
        }
    }

    async fn ask(&self, address: SocketAddr) -> io::Result<(u16, bool)> {
        let mut stream = load::connect(address).await?;
        stream
            .write_all(b"GET /get/k1 HTTP/1.1\r\nHost: t\r\n\r\n")
            .await?;
        let frame = load::answer(&mut stream, &mut Vec::new()).await?;
        Ok((frame.status, frame.has_retry_after))
    }
}

/// Past the bound on connections the server takes some more on each worker, for health. Whoever asks for something else
/// there gets 503 with `Retry-After`, and the connection ends; whoever says nothing is ended by those who come later. Others
/// wait until there is a place to be refused in. Those within the bound notice nothing.
#[test]
fn past_the_bound_on_connections_all_are_told_to_come_again() {
    raise_descriptors();
    let open_max = OPEN_MAX.to_string();
    let server = Server::start(&[("connections_max", open_max.as_str())]);
    fill(&server);
    let get: &[u8] = b"GET /get/k1 HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut within: Vec<Connection> = until("as many are open as may be", || {
        let connect = |_| Connection::connect(server.address());
        let mut opened: Vec<Connection> =
            (0..OPEN_MAX).map(connect).collect::<Result<_, _>>().ok()?;
        // One of those before may not have ended yet, and then one of these is over the bound.
        let is_within = |one: &mut Connection| {
            one.send(get).ok()?;
            one.read_response()
                .ok()
                .filter(|answer| answer.status == 200)
        };
        let all = opened.iter_mut().all(|one| is_within(one).is_some());
        all.then_some(opened)
    });
    let crowd = Arc::new(Crowd::default());
    let (stop, stopped) = oneshot::channel();
    let (pressing, address) = (crowd.clone(), server.address());
    let thread = load::on_a_thread(stopped, move |tasks| {
        for _ in 0..CROWD {
            let crowd = pressing.clone();
            tasks.spawn(async move { crowd.press(address).await });
        }
    });
    let prober = Prober::start(move || exchange(address, LIVEZ));
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < form().overload.min(CROWDED) {
        for one in &mut within {
            one.send(get).unwrap();
            assert_eq!(one.read_response().unwrap().status, 200);
            asked += 1;
        }
        sleep(IMPATIENCE);
    }
    drop(stop);
    thread.join().unwrap();
    was_well("/livez past connections_max, on new connections", prober);
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let [done, refused, ended, other] =
        [&crowd.done, &crowd.refused, &crowd.ended, &crowd.other].map(count);
    let share = ended as f64 / (refused + ended).max(1) as f64;
    let figure = format!(
        "{refused} refused, {:.1} % ended without an answer; {asked} within it answered",
        share * 100.0
    );
    say(
        "requests past connections_max",
        &figure,
        "10 % ended, all within it answered",
    );
    assert_eq!((done, other), (0, 0), "{crowd:?}");
    assert!(refused > CROWD as u64 && share <= 0.1, "{crowd:?}");

    drop(within);
    let left = Instant::now();
    until("there is room again", || {
        let answer = exchange(address, get).ok()?;
        (answer.status == 200).then_some(())
    });
    let took = left.elapsed();
    say(
        "a place after connections have ended",
        &format!("{took:.1?}"),
        &format!("{RECOVERY:?}"),
    );
    assert!(took <= RECOVERY);
    let simple = vec![Client {
        kind: Kind::Simple { ahead: 1 },
        number: 0,
    }];
    let load = Load::start(address, simple);
    assert!(load.goodput(IMPATIENCE) > 0.0);
    load.stop().assert_right();
}
