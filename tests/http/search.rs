//! Searches: both ends, order, totals, pages and streams.

use crate::support::{Connection, Server};
use std::sync::{Arc, Mutex, Weak};

/// A store, and all its keys.
type Filled = (Server, Vec<String>);

/// A large store for tests that only read: the same for all that run at the time, since an engine takes seconds to fill.
fn large() -> Arc<Filled> {
    static SHARED: Mutex<Weak<Filled>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let own = Arc::new(own_large());
        *shared = Arc::downgrade(&own);
        own
    })
}

/// A store of 30,000 keys, which is past the fresh part of the key map.
fn own_large() -> Filled {
    let server = Server::start();
    let name = |number: u32| {
        format!(
            "user:{:05}:{}",
            number / 3,
            ["id", "mail", "name"][number as usize % 3]
        )
    };
    let keys: Vec<String> = (0..30_000).map(name).collect();
    server.fill(&keys);
    (server, keys)
}

fn filtered<'a>(keys: &'a [String], prefix: &str, suffix: &str) -> Vec<&'a String> {
    let matches = |key: &&String| key.starts_with(prefix) && key.ends_with(suffix);
    keys.iter().filter(matches).collect()
}

#[test]
fn both_filters_mean_both() {
    let server = Server::start();
    server.fill(["ab", "aba", "a", "b", "ba", "abab", "é", "aé"]);
    let search = |query: &str| server.get(&format!("/search?{query}")).keys();
    assert_eq!(search("prefix=a&suffix=a"), ["a", "aba"]);
    assert_eq!(search("prefix=ab&suffix=ba"), ["aba"]);
    assert_eq!(search("prefix=ab&suffix=ab"), ["ab", "abab"]);
    assert_eq!(search("prefix=a&suffix="), ["a", "ab", "aba", "abab", "aé"]);
    assert_eq!(search("suffix=%C3%A9"), ["aé", "é"]);
    assert_eq!(search("prefix=none&suffix=a"), [""; 0]);
}

#[test]
fn no_filter_is_no_key_and_an_empty_one_every_key() {
    let server = Server::start();
    server.fill(["b", "a", "ab", "\u{0}", "Z"]);
    let nothing = server.get("/search");
    assert_eq!((nothing.text(), nothing.total()), ("[]", 0));
    for query in ["limit=5", "limit=1&after="] {
        assert_eq!(server.get(&format!("/search?{query}")).total(), 0);
    }
    let all = ["\u{0}", "Z", "a", "ab", "b"];
    assert_eq!(server.get("/search?prefix=").keys(), all);
    assert_eq!(server.get("/search?suffix=").keys(), all);
    assert_eq!(server.get("/search?prefix").keys(), all);
    assert_eq!(server.get("/search?prefix=&suffix=").total(), 5);
}

#[test]
fn a_limit_out_of_range_is_a_400_that_names_the_range() {
    let server = Server::start_with(&["--page-keys-max", "50"]);
    server.fill((0..60).map(|number| number.to_string()));
    for limit in [
        "0",
        "51",
        "-1",
        "+5",
        "1e1",
        "",
        "abc",
        "99999999999999999999999",
    ] {
        for filter in ["", "&prefix="] {
            let response = server.get(&format!("/search?limit={limit}{filter}"));
            response.assert_problem(400, "invalid_limit", &["1 to 50", "page_keys_max"]);
        }
    }
    assert_eq!(server.get("/search?prefix=&limit=50").keys().len(), 50);
    assert_eq!(server.get("/search?prefix=&limit=0050").keys().len(), 50);
}

#[test]
fn filters_decode_as_keys_do_but_a_plus_is_a_space() {
    let server = Server::start();
    server.fill(["a b", "a+b", "a%b", "a&b=c"]);
    let search = |query: &str| server.get(&format!("/search?{query}"));
    assert_eq!(search("prefix=a+").keys(), ["a b"]);
    assert_eq!(search("prefix=a%2B").keys(), ["a+b"]);
    assert_eq!(search("prefix=a%20").keys(), ["a b"]);
    assert_eq!(search("suffix=%26b=c").keys(), ["a&b=c"]);
    for bad in ["prefix=%", "suffix=%4", "after=%zz", "%=a"] {
        search(bad).assert_problem(400, "invalid_encoding", &["%25"]);
    }
    search("prefix=%FF").assert_problem(400, "invalid_encoding", &["UTF-8"]);
}

#[test]
fn a_filter_that_no_key_can_match_is_an_empty_answer() {
    let server = Server::start();
    server.fill(["x"]);
    let long = "x".repeat(5000);
    for query in [format!("prefix={long}"), format!("prefix=x&suffix={long}")] {
        let response = server.get(&format!("/search?{query}"));
        assert_eq!((response.text(), response.total()), ("[]", 0));
    }
}

#[test]
fn totals_are_exact_whatever_the_page() {
    let (server, keys) = &*large();
    for (prefix, suffix) in [
        ("", ""),
        ("user:", ""),
        ("", ":mail"),
        ("user:01", ":id"),
        ("user:0123", "e"),
        ("user:012", "nowhere"),
        ("", "5:name"),
    ] {
        let expected = filtered(keys, prefix, suffix);
        for page in [
            "",
            "&limit=1",
            "&limit=100&after=user:01234:mail",
            "&after=zzz",
        ] {
            let path = format!("/search?prefix={prefix}&suffix={suffix}{page}");
            assert_eq!(server.get(&path).total(), expected.len(), "{path}");
        }
        let first: Vec<_> = expected.iter().take(100).collect();
        let page = server.get(&format!(
            "/search?prefix={prefix}&suffix={suffix}&limit=100"
        ));
        assert_eq!(
            page.keys().iter().collect::<Vec<_>>(),
            first.into_iter().copied().collect::<Vec<_>>()
        );
    }
}

#[test]
fn links_lead_through_all_pages() {
    let server = Server::start();
    let mut keys: Vec<String> = (0..250)
        .map(|n| format!("é&+ %\u{0}/{n:03}\"\\="))
        .collect();
    keys.push("other".into());
    server.fill(&keys);
    let mut path = String::from("/search?prefix=%C3%A9&suffix=%3D&limit=60");
    let mut found = Vec::new();
    for page in 0.. {
        let response = server.get(&path);
        assert_eq!(response.total(), 250);
        found.extend(response.keys());
        let Some(link) = response.header("link") else {
            assert_eq!(page, 4);
            break;
        };
        let target = link
            .strip_prefix('<')
            .unwrap()
            .strip_suffix(">; rel=\"next\"")
            .unwrap();
        assert!(
            target.starts_with("?prefix=%C3%A9&suffix=%3D&limit=60&after="),
            "{target}"
        );
        path = format!("/search{target}");
    }
    assert_eq!(found, keys[..250]);
    // A page that ends with the last match has no link, and neither has one past it.
    assert_eq!(server.get("/search?prefix=o&limit=1").header("link"), None);
    assert_eq!(
        server.get("/search?prefix=o&limit=1&after=other").text(),
        "[]"
    );
}

#[test]
fn without_a_limit_all_keys_are_streamed_in_order() {
    let (server, keys) = &*large();
    let response = server.get("/search?prefix=");
    assert_eq!(response.header("transfer-encoding"), Some("chunked"));
    assert_eq!(response.total(), 30_000);
    assert_eq!(response.keys(), *keys);
    let mail = server.get("/search?suffix=:mail").keys();
    assert_eq!(mail.iter().collect::<Vec<_>>(), filtered(keys, "", ":mail"));
    let after = server.get("/search?prefix=&after=user:09999:id").keys();
    assert_eq!(after, ["user:09999:mail", "user:09999:name"]);
}

#[test]
fn lines_are_sent_where_the_client_prefers_them() {
    let (server, keys) = &*large();
    let search = |query: &str, accept: &str| {
        server.get_with(&format!("/search?{query}"), &[("Accept", accept)])
    };
    for query in ["prefix=user:00000", "prefix=user:00000&limit=3", "prefix="] {
        let response = search(query, "application/x-ndjson");
        assert_eq!(
            response.header("content-type"),
            Some("application/x-ndjson")
        );
        let lines: Vec<String> = response
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(response.text().ends_with("\"\n"));
        assert_eq!(lines, server.get(&format!("/search?{query}")).keys());
    }
    assert_eq!(search("prefix=none", "application/x-ndjson").text(), "");
    for (accept, content_type) in [
        ("*/*", "application/json"),
        ("application/x-ndjson;q=0", "application/json"),
        (
            "application/x-ndjson;q=0.5, application/json",
            "application/json",
        ),
        (
            "application/json;q=0.5, application/x-ndjson",
            "application/x-ndjson",
        ),
        ("text/html", "application/json"),
        (";;", "application/json"),
    ] {
        let response = search("prefix=user:00001", accept);
        assert_eq!(
            response.header("content-type"),
            Some(content_type),
            "{accept}"
        );
    }
    assert_eq!(keys.len(), 30_000);
}

#[test]
fn head_has_the_headers_of_get() {
    let (server, _) = &*large();
    let mut connection: Connection = server.connect();
    for query in ["prefix=user:0001&limit=7", "prefix=none", "prefix=", ""] {
        let path = format!("/search?{query}");
        let head = connection.request("HEAD", &path, &[], b"");
        let get = connection.request("GET", &path, &[], b"");
        for name in [
            "content-length",
            "transfer-encoding",
            "content-type",
            "x-total-count",
            "link",
        ] {
            assert_eq!(head.header(name), get.header(name), "{name} of {path}");
        }
    }
}

#[test]
fn a_search_under_writes_gives_what_stays_once_and_in_order() {
    let (server, keys) = own_large();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Keys that come and go, between and among those that stay.
            let mut round = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                round += 1;
                server.fill((0..2000).map(|number| format!("user:{number:05}:extra{round}")));
                for number in 0..50 {
                    server.delete(&format!("/delete/user:{number:05}:extra{round}"));
                }
            }
        });
        for _ in 0..5 {
            let found = server.get("/search?prefix=").keys();
            assert!(
                found.is_sorted_by(|left, right| left < right),
                "in order and once"
            );
            let stayed: Vec<&String> = found.iter().filter(|key| !key.contains("extra")).collect();
            assert!(stayed.into_iter().eq(&keys), "all that stayed");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_search_that_fails_half_way_is_not_taken_for_whole_and_is_counted() {
    let server = Server::in_memory(&["--request-timeout-ms", "1", "--shards", "8"]);
    let keys: Vec<String> = (0..20_000).map(|number| format!("{number:06}")).collect();
    // Under this timeout some of the lines may have to be sent again.
    crate::support::until("the keys are set", || {
        for chunk in keys.chunks(500) {
            let line = |key: &String| format!("{{\"key\":\"{key}\",\"value\":1}}\n");
            server.bulk(&chunk.iter().map(line).collect::<String>());
        }
        let total = server.get("/search?prefix=&limit=1");
        (total.status == 200 && total.total() == keys.len()).then_some(())
    });
    let done = std::sync::atomic::AtomicBool::new(false);
    let broken = std::thread::scope(|scope| {
        for _ in 0..4 {
            // Load that makes the store late.
            scope.spawn(|| {
                let mut connection = server.connect();
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    connection.request("GET", "/search?suffix=7&limit=10000", &[], b"");
                }
            });
        }
        let broken = crate::support::until("a search breaks off", || {
            let mut connection = server.connect();
            connection.send("GET", "/search?prefix=", &[], b"");
            let head = connection.head();
            if head.status != 200 {
                // Before the status line a failure is a status.
                assert_eq!(head.status, 504);
                return None;
            }
            let mut body = Vec::new();
            loop {
                match connection.chunk() {
                    Ok(Some(chunk)) => body.extend(chunk),
                    Ok(None) => {
                        let found: Vec<String> = serde_json::from_slice(&body).unwrap();
                        assert!(found == keys, "what ends well is whole");
                        return None;
                    }
                    Err(_) => return Some(body),
                }
            }
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        broken
    });
    assert_ne!(broken.last(), Some(&b']'));
    let metrics = crate::support::until("the server answers a scrape", || {
        let metrics = server.get("/metrics");
        (metrics.status == 200).then(|| metrics.text().to_owned())
    });
    let line = metrics
        .lines()
        .find(|line| line.starts_with("kvstore_searches_aborted_total "));
    assert_ne!(line, Some("kvstore_searches_aborted_total 0"));
}
