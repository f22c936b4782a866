//! Many who watch, and those who hardly read: what they take is bounded and given back, and nobody else feels them.
//!
//! `KVSTORE_TEST_WATCHERS` says how many come and go (`make watchers`: 10,000).

use super::client::{State, Watch, equals_the_store, in_memory};
use crate::support::{DEADLINE, JSON, Server, until};
use rustix::process::{Resource, getrlimit};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// What one takes who has a piece to read, with the buffers of its connection. Debug builds take a little more.
const WATCHER: usize = 200 * 1024;

/// A client that has asked to watch, for which the system holds little of what it does not read.
fn ask(server: &Server, query: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!("GET /watch?{query} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn gauge(server: &Server, name: &str) -> usize {
    let metrics = server.get("/metrics");
    let line = metrics.text().lines().find_map(|line| {
        let value = line.strip_prefix(name)?;
        value.strip_prefix(' ')?.parse().ok()
    });
    line.unwrap_or_else(|| panic!("there is {name}"))
}

#[test]
fn those_who_read_nothing_or_a_byte_at_a_time_take_little_and_hurt_nobody() {
    const EVENTS: usize = 1500;
    const IDLE: usize = 20;
    const TRICKLING: usize = 4;
    let server = in_memory(&["--changes-bytes-max", "4194304", "--shards", "1"]);
    let mut writer = server.connect();
    let padding = "x".repeat(10_000);
    let mut set = |number: usize| {
        let key = number % 50;
        let body = format!("{{\"key\":\"k{key}\",\"value\":\"{number} {padding}\"}}");
        let set = writer.request("POST", "/set", &[JSON], body.as_bytes());
        assert_eq!(set.status, 200, "{}", set.text());
    };
    (0..50).for_each(&mut set);
    let mut fast = Watch::open(&server, "prefix=");
    assert_eq!(fast.next().unwrap().name, "bookmark");
    let before = server.resident_bytes();
    let watch = |_| ask(&server, "prefix=&values=true");
    let idle: Vec<TcpStream> = (0..IDLE).map(watch).collect();
    let mut trickling: Vec<TcpStream> = (0..TRICKLING).map(watch).collect();
    until("all watch", || {
        (gauge(&server, "kvstore_watchers") == 1 + IDLE + TRICKLING).then_some(())
    });
    for number in 50..50 + EVENTS {
        set(number);
        assert_eq!(fast.next_change().data["key"], format!("k{}", number % 50));
        for stream in &mut trickling {
            stream.read_exact(&mut [0]).unwrap();
        }
    }
    // What is kept, and what each may have in hand: not what they have not read, 15 MB each.
    let grown = server.resident_bytes().saturating_sub(before);
    let most = 4 * MIB + (IDLE + TRICKLING) * WATCHER + 24 * MIB;
    assert!(grown < most, "{grown} of {most}");
    assert!(gauge(&server, "kvstore_changes_bytes") <= 4 * MIB + 64 * 1024);
    drop((idle, trickling));
    until("what they held is given back", || {
        set(0);
        fast.next_change();
        let is_over = gauge(&server, "kvstore_watchers") == 1
            && gauge(&server, "kvstore_buffers_bytes") <= 128 * 1024;
        is_over.then_some(())
    });
}

#[test]
fn one_that_has_left_is_found_out_before_anything_is_to_be_told() {
    let server = in_memory(&["--watchers-max", "2"]);
    let mut stays = Watch::open(&server, "prefix=");
    assert_eq!(stays.next().unwrap().name, "bookmark");
    let mut leaves = Watch::open(&server, "prefix=a");
    // All that came was read: what the server sees is an end, and no reset.
    assert_eq!(leaves.next().unwrap().name, "bookmark");
    drop(leaves);
    until("its place is free", || {
        (gauge(&server, "kvstore_watchers") == 1).then_some(())
    });
    // One that has only ended its side is told what happens.
    let mut half = Watch::open(&server, "prefix=b");
    half.end_sending();
    for _ in 0..3 {
        assert_eq!(half.next().unwrap().name, "bookmark");
    }
    server.fill(["b1"]);
    assert_eq!(half.next_change().data["key"], "b1");
    // Told as seldom as those who stay are, it would have had its third when these had their third too.
    let mut heard = 0;
    let mut next = stays.next().unwrap();
    while next.name == "bookmark" {
        heard += 1;
        next = stays.next().unwrap();
    }
    assert_eq!(next.name, "set");
    assert!(heard < 2, "{heard}");
}

#[test]
fn what_is_kept_for_those_who_watch_leaves_room_in_a_small_store() {
    let server = in_memory(&["--store-bytes-max", "8000000", "--shards", "1"]);
    let _watch = Watch::open(&server, "prefix=nobody");
    let value = vec![b'x'; 100_000];
    // Twelve megabytes of changes, and of values one at a time.
    for _ in 0..120 {
        assert_eq!(server.put("/set/k", &[], &value).status, 200);
    }
    let changes = gauge(&server, "kvstore_changes_bytes");
    assert!((3_000_000..=4_000_000).contains(&changes), "{changes}");
    assert!(gauge(&server, "kvstore_store_bytes") <= 8_000_000);
}

/// How many come and go.
fn watchers() -> usize {
    let given = std::env::var("KVSTORE_TEST_WATCHERS");
    given.map_or(500, |text| text.parse().unwrap())
}

/// How many are there at once: the server has as many descriptors as we have.
fn at_once(watchers: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = usize::try_from(limit / 4).unwrap_or(usize::MAX);
    (watchers / 5).clamp(1, most)
}

/// Some who come, take what there is for some of them, and leave in one way or another.
fn crowd(server: &Server, numbers: std::ops::Range<usize>, at_once: usize) {
    let mut there = VecDeque::new();
    for number in numbers {
        let query = match number % 5 {
            0 => "prefix=".to_owned(),
            1 => "prefix=k&values=true".into(),
            2 => "suffix=1&from=start".into(),
            3 => "prefix=&values=true&from=start".into(),
            _ => format!("prefix=nobody{number}"),
        };
        let mut stream = ask(server, &query);
        match number % 3 {
            // It leaves before it has heard anything.
            0 => drop(stream),
            1 => {
                let mut status = [0; 15];
                stream.read_exact(&mut status).unwrap();
                assert_eq!(&status, b"HTTP/1.1 200 OK");
                there.push_back(stream);
            }
            _ => {
                // Its end is a reset, whatever it has not read.
                SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
                there.push_back(stream);
            }
        }
        if there.len() > at_once {
            there.pop_front();
        }
    }
}

#[test]
fn after_many_have_watched_and_left_nothing_is_held_for_them() {
    let watchers = watchers();
    let at_once = at_once(watchers);
    let server = in_memory(&["--changes-bytes-max", "1048576", "--shards", "2"]);
    server.fill((0..2000).map(|number| format!("k{number}")));
    let mut steady = Watch::open(&server, "suffix=1&from=start");
    let mut folded = State::new();
    while !steady.fold(&mut folded) {}
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let server = &server;
        let is_over = &is_over;
        let (steady, folded) = (&mut steady, &mut folded);
        scope.spawn(move || {
            let mut connection = server.connect();
            for number in 0_usize.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let key = format!("k{}", number % 2000);
                let body = number.to_string();
                let path = format!("/set/{key}");
                let set = connection.request("PUT", &path, &[JSON], body.as_bytes());
                assert_eq!(set.status, 200);
                // One that reads is told as if it were alone.
                while key.ends_with('1') && folded[&key].0 != set.etag() {
                    steady.fold(folded);
                }
            }
        });
        let is_gone = |server: &Server| {
            until("they are gone", || {
                let is_gone = gauge(server, "kvstore_watchers") == 1
                    && gauge(server, "kvstore_http_connections") <= 4;
                is_gone.then_some(())
            });
        };
        // What the first take stays with the allocator.
        let first = watchers / 3;
        crowd(server, 0..first, at_once);
        is_gone(server);
        let before = server.resident_bytes();
        crowd(server, first..watchers, at_once);
        is_gone(server);
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < 24 * MIB, "{grown} bytes after {watchers}");
        assert!(gauge(server, "kvstore_buffers_bytes") <= 512 * 1024);
        is_over.store(true, Ordering::Relaxed);
    });
    equals_the_store(&server, "suffix=1", &mut steady, &mut folded);
}
