//! Several servers over one engine.

use crate::redis::Redis;
use crate::{metric, server};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn a_search_sees_what_any_server_acknowledged_before_it() {
    let redis = Redis::start(&[]);
    let servers = [server(&redis.url(), &[]), server(&redis.url(), &[])];
    // Writers say how far they are; a search that begins after that must see as much.
    let written: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (writer, written) in written.iter().enumerate() {
            let mut connection = servers[writer % 2].connect();
            let done = &done;
            scope.spawn(move || {
                let mut number = 0;
                while !done.load(Ordering::Relaxed) {
                    let path = format!("/set/{writer}-{number:06}");
                    assert_eq!(connection.request("PUT", &path, &[], b"1").status, 200);
                    number += 1;
                    written.store(number, Ordering::SeqCst);
                }
            });
        }
        let searchers: Vec<_> = (0..2)
            .map(|searcher| {
                let mut connection = servers[1 - searcher].connect();
                let written = &written;
                scope.spawn(move || {
                    for turn in 0..500 {
                        let writer = turn % 4;
                        let before = written[writer].load(Ordering::SeqCst);
                        let path = format!("/search?prefix={writer}-&limit=1");
                        let found = connection.request("GET", &path, &[], b"");
                        assert!(found.total() >= before, "{} < {before}", found.total());
                    }
                })
            })
            .collect();
        let ended = searchers.into_iter().map(|searcher| searcher.join());
        let failed = ended.filter(Result::is_err).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(
            failed, 0,
            "every search saw what was acknowledged before it"
        );
    });
    // Writers alone are no reason to read anything again.
    for server in &servers {
        assert_eq!(metric(server, "kvstore_engine_reloads_total"), 0.0);
        assert_eq!(metric(server, "kvstore_engine_repairs_total"), 0.0);
    }
    let all = servers[0].get("/search?prefix=").keys();
    assert_eq!(servers[1].get("/search?prefix=").keys(), all);
    let counts = written.iter().map(|count| count.load(Ordering::SeqCst));
    assert_eq!(all.len(), counts.sum::<usize>());
}

#[test]
fn revisions_and_deletes_are_shared() {
    let redis = Redis::start(&[]);
    let [one, other] = [server(&redis.url(), &[]), server(&redis.url(), &[])];
    let set = one.put(
        "/set/k",
        &[("Content-Type", "text/x-mine; a=b")],
        b"\0\xff body",
    );
    let read = other.get("/get/k");
    assert_eq!(read.etag(), set.etag());
    assert_eq!(read.header("content-type"), Some("text/x-mine; a=b"));
    assert_eq!(read.body, b"\0\xff body");
    assert_eq!(other.delete("/delete/k").status, 204);
    assert_eq!(one.get("/get/k").status, 404);
    assert_eq!(one.get("/search?prefix=").keys(), [""; 0]);
    assert_ne!(one.put("/set/k", &[], b"").etag(), set.etag());
    assert_eq!(metric(&other, "kvstore_keys"), 1.0);
}
