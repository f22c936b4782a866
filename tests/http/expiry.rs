//! Values that end: by `ttl_ms` or `expires_at`, and by `POST /expire/{key}`.

use crate::engine::is_memory;
use crate::support::{JSON, Response, Server, until};
use rustix::process::Signal;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// A moment that no test lives to see, as it comes back.
const FAR: &str = "2999-12-31T23:59:59.999Z";

/// A time to live that is over before a test has looked twice.
const SOON: u64 = 150;

fn post(server: &Server, path: &str, body: &str) -> Response {
    server.send("POST", path, &[JSON], body.as_bytes())
}

fn expire(server: &Server, key: &str, body: &str) -> Response {
    post(server, &format!("/expire/{key}"), body)
}

/// Waits until a key names nothing.
fn ends(server: &Server, key: &str) {
    until(&format!("{key} ends"), || {
        (server.get(&format!("/get/{key}")).status == 404).then_some(())
    });
}

/// Waits until no search finds a key that begins so.
fn is_found_no_more(server: &Server, prefix: &str) {
    let search = format!("/search?prefix={prefix}");
    until(&format!("{prefix} is in no total"), || {
        (server.get(&search).total() == 0).then_some(())
    });
    assert_eq!(server.get(&search).text(), "[]");
}

/// The moment in so many milliseconds, as a client writes it.
fn moment(ahead_ms: u64) -> (u64, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let millis = now.as_millis() as u64 + ahead_ms;
    let timestamp = jiff::Timestamp::from_millisecond(millis as i64).unwrap();
    (millis, format!("{timestamp:.3}"))
}

#[test]
fn every_way_to_set_a_value_may_say_when_it_ends() {
    let server = Server::start();
    let far = [
        post(
            &server,
            "/set",
            &format!(r#"{{"key":"far/1","value":1,"expires_at":"{FAR}"}}"#),
        ),
        server.put(&format!("/set/far/2?expires_at={FAR}"), &[], b"1"),
        server.bulk(&format!(
            "{{\"key\":\"far/3\",\"value\":1,\"expires_at\":\"{FAR}\"}}\n"
        )),
    ];
    let soon = [
        post(&server, "/set", &format!(r#"{{"key":"soon/1","value":1,"ttl_ms":{SOON}}}"#)),
        server.put(&format!("/set/soon/2?ttl_ms={SOON}"), &[], b"1"),
        server.bulk(&format!(
            "{{\"key\":\"soon/3\",\"content_type\":\"a/b\",\"base64\":\"aGk=\",\"ttl_ms\":{SOON}}}\n"
        )),
        server.put(&format!("/set/soon/large?ttl_ms={SOON}"), &[], &[b'x'; 5000]),
    ];
    for response in far.iter().chain(&soon) {
        assert_eq!(response.status, 200, "{}", response.text());
    }
    for key in ["far/1", "far/2", "far/3"] {
        for method in ["GET", "HEAD"] {
            let found = server.send(method, &format!("/get/{key}"), &[], b"");
            assert_eq!(
                (found.status, found.header("x-expires-at")),
                (200, Some(FAR))
            );
        }
    }
    for key in ["soon/1", "soon/2", "soon/3", "soon/large"] {
        ends(&server, key);
        server
            .get(&format!("/get/{key}"))
            .assert_problem(404, "key_not_found", &[]);
        assert_eq!(server.delete(&format!("/delete/{key}")).status, 404);
        let kept = expire(&server, key, r#"{"ttl_ms":100000}"#);
        kept.assert_problem(404, "key_not_found", &[]);
    }
    is_found_no_more(&server, "soon/");
    assert_eq!(server.get("/search?prefix=").total(), 3);
    until("the metrics say so", || {
        let metrics = server.get("/metrics");
        let is_told = |line: &str| metrics.text().lines().any(|found| found == line);
        (is_told("kvstore_keys 3") && is_told("kvstore_expired_keys_total 4")).then_some(())
    });
    // What lasts does not say when it ends.
    server.put("/set/lasting", &[], b"1");
    assert_eq!(server.get("/get/lasting").header("x-expires-at"), None);
}

#[test]
fn a_time_to_live_is_counted_from_the_set_on() {
    let server = Server::start();
    let (before, _) = moment(0);
    server.put("/set/a?ttl_ms=3600000", &[], b"1");
    let (after, _) = moment(0);
    let found = server.get("/get/a");
    let ends: jiff::Timestamp = found.header("x-expires-at").unwrap().parse().unwrap();
    let set = ends.as_millisecond() as u64 - 3_600_000;
    // Wall clocks are set now and then, and engines have their own.
    assert!(
        set + 5000 >= before && set <= after + 5000,
        "{before} {set} {after}"
    );
}

#[test]
fn a_set_takes_an_earlier_deadline_away_and_gives_a_new_one() {
    let server = Server::start();
    server.put(&format!("/set/a?ttl_ms={SOON}"), &[], b"1");
    server.put(&format!("/set/b?ttl_ms={SOON}"), &[], b"1");
    server.put(&format!("/set/c?expires_at={FAR}"), &[], b"1");
    server.put("/set/a", &[], b"2");
    server.put(&format!("/set/b?expires_at={FAR}"), &[], b"2");
    server.put(&format!("/set/c?ttl_ms={SOON}"), &[], b"2");
    ends(&server, "c");
    is_found_no_more(&server, "c");
    assert_eq!(server.get("/get/a").header("x-expires-at"), None);
    assert_eq!(server.get("/get/b").header("x-expires-at"), Some(FAR));
    assert_eq!(server.get("/search?prefix=").keys(), ["a", "b"]);
}

#[test]
fn what_has_ended_is_as_what_never_was() {
    let server = Server::start();
    let first = server
        .put(&format!("/set/a?ttl_ms={SOON}"), &[], b"1")
        .etag();
    ends(&server, "a");
    let unmet = server.put("/set/a", &[("If-Match", &first)], b"2");
    unmet.assert_problem(412, "precondition_failed", &["names no value"]);
    assert_eq!(unmet.header("etag"), None);
    assert_eq!(server.put("/set/a", &[("If-Match", "*")], b"2").status, 412);
    let created = server.put("/set/a", &[("If-None-Match", "*")], b"2");
    assert_eq!(created.json()["created"], true, "{}", created.text());
    assert_ne!(created.etag(), first);
    server.put(&format!("/set/b?ttl_ms={SOON}"), &[], b"1");
    ends(&server, "b");
    let created = server.put("/set/b", &[], b"2");
    assert_eq!(created.json()["created"], true, "{}", created.text());
    // It stays, though the deadline of the value before comes to be looked at.
    is_found_no_more(&server, "nothing");
    assert_eq!(server.get("/search?prefix=").keys(), ["a", "b"]);
    // A fraction may have any number of digits.
    let finely = FAR.replace("999Z", "999999999999Z");
    let fine = server.put(&format!("/set/b?expires_at={finely}"), &[], b"2");
    assert_eq!(fine.status, 200, "{}", fine.text());
    assert_eq!(server.get("/get/b").header("x-expires-at"), Some(FAR));
    // A zone that is not known is one of UTC.
    let unknown = FAR.replace('Z', "-00:00");
    let unknown = server.put(&format!("/set/b?expires_at={unknown}"), &[], b"2");
    assert_eq!(unknown.status, 200, "{}", unknown.text());
    assert_eq!(server.get("/get/b").header("x-expires-at"), Some(FAR));
    // What ends in the past has ended.
    let past = server.put("/set/c?expires_at=2001-01-01T00:00:00Z", &[], b"1");
    assert_eq!(past.status, 200, "{}", past.text());
    assert_eq!(server.get("/get/c").status, 404);
    is_found_no_more(&server, "c");
}

#[test]
fn expire_changes_the_deadline_and_nothing_else() {
    let server = Server::start();
    let types = [("Content-Type", "text/plain")];
    for (key, body) in [("a", vec![b'x'; 10]), ("a/large", vec![b'y'; 20_000])] {
        let etag = server.put(&format!("/set/{key}"), &types, &body).etag();
        let check = |expires_at: Option<&str>| {
            let found = server.get(&format!("/get/{key}"));
            assert_eq!((found.status, found.etag()), (200, etag.clone()));
            assert_eq!(found.header("content-type"), Some("text/plain"));
            assert_eq!(found.header("x-expires-at"), expires_at);
            assert_eq!(found.body, body);
        };
        let far = expire(&server, key, &format!(r#"{{"expires_at":"{FAR}"}}"#));
        assert_eq!(far.status, 200, "{}", far.text());
        assert_eq!(
            far.json(),
            serde_json::json!({"key": key, "expires_at": FAR})
        );
        assert_eq!(far.etag(), etag);
        check(Some(FAR));
        let never = expire(&server, key, r#"{"expires_at": null}"#);
        assert_eq!(
            never.json(),
            serde_json::json!({"key": key, "expires_at": null})
        );
        check(None);
        let sooner = expire(&server, key, r#"{"ttl_ms":3600000}"#);
        assert_eq!(sooner.status, 200);
        let moment = sooner.json()["expires_at"].as_str().unwrap().to_string();
        check(Some(&moment));
        let unmet = server.send(
            "POST",
            &format!("/expire/{key}"),
            &[JSON, ("If-Match", "\"0000000000000000\"")],
            br#"{"ttl_ms":1}"#,
        );
        unmet.assert_problem(412, "precondition_failed", &[]);
        assert_eq!(unmet.etag(), etag);
        check(Some(&moment));
        let met = server.send(
            "POST",
            &format!("/expire/{key}"),
            &[JSON, ("If-Match", &etag)],
            format!(r#"{{"ttl_ms":{SOON}}}"#).as_bytes(),
        );
        assert_eq!(met.status, 200, "{}", met.text());
        ends(&server, key);
        is_found_no_more(&server, key);
    }
    expire(&server, "none", r#"{"ttl_ms":1}"#).assert_problem(404, "key_not_found", &[]);
}

#[test]
fn what_is_no_deadline_is_refused_and_changes_nothing() {
    let server = Server::start();
    let etag = server.put("/set/a", &[], b"1").etag();
    for text in [
        "",
        "0",
        "-1",
        "1.5",
        "1e3",
        "315619200001",
        "99999999999999999999",
        "x",
    ] {
        let refused = server.put(&format!("/set/a?ttl_ms={text}"), &[], b"2");
        refused.assert_problem(400, "invalid_deadline", &["ttl_ms"]);
    }
    for text in [
        "",
        "0",
        "tomorrow",
        "2030-01-01",
        "2030-01-01T00:00:00",
        "2030-13-01T00:00:00Z",
        "2030-01-01T00:00:60Z",
    ] {
        let refused = server.put(&format!("/set/a?expires_at={text}"), &[], b"2");
        refused.assert_problem(400, "invalid_deadline", &["expires_at"]);
    }
    let both = server.put(&format!("/set/a?expires_at={FAR}&ttl_ms=1"), &[], b"2");
    both.assert_problem(400, "invalid_deadline", &["ttl_ms", "expires_at"]);
    for members in [
        r#""ttl_ms":0"#,
        r#""ttl_ms":"1""#,
        r#""ttl_ms":null"#,
        r#""ttl_ms":1.0"#,
        r#""ttl_ms":-5"#,
        r#""ttl_ms":[1]"#,
        r#""ttl_ms":1,"ttl_ms":2"#,
        r#""expires_at":1893456000000"#,
        r#""expires_at":"soon""#,
        r#""expires_at":"2030-01-01T00:00:00+02:00""#,
        r#""expires_at":"2999-12-31T23:59:59.999Z","ttl_ms":5"#,
        r#""expires_at":null,"ttl_ms":5"#,
    ] {
        let set = format!(r#"{{"key":"a","value":2,{members}}}"#);
        post(&server, "/set", &set).assert_problem(422, "invalid_body", &[]);
        let line = server.bulk(&format!("{set}\n"));
        let problem = line.assert_problem(422, "invalid_line", &[]);
        assert_eq!(problem["line"], 1);
        expire(&server, "a", &format!("{{{members}}}")).assert_problem(422, "invalid_body", &[]);
    }
    for body in ["{}", "[]", "[1]", "null", "5", r#"{"ttl_ms":1,"more":2}"#] {
        expire(&server, "a", body).assert_problem(422, "invalid_body", &["ttl_ms"]);
    }
    expire(&server, "a", "{").assert_problem(400, "invalid_json", &[]);
    expire(&server, "", r#"{"ttl_ms":1}"#).assert_problem(400, "invalid_key", &[]);
    post(&server, "/expire/a?ttl_ms=1", "{}").assert_problem(400, "unknown_parameter", &[]);
    server
        .send("POST", "/expire/a", &[], br#"{"ttl_ms":1}"#)
        .assert_problem(415, "unsupported_media_type", &["Content-Type"]);
    server
        .send(
            "POST",
            "/expire/a",
            &[("Content-Type", "application/x-ndjson")],
            b"{\"ttl_ms\":1}\n",
        )
        .assert_problem(415, "unsupported_media_type", &["application/json"]);
    let found = server.get("/get/a");
    assert_eq!((found.text(), found.etag()), ("1", etag));
    assert_eq!(found.header("x-expires-at"), None);
    assert_eq!(server.get("/search?prefix=").total(), 1);
}

#[test]
fn many_values_that_end_together_all_go() {
    let server = Server::start();
    let (_, at) = moment(400);
    // Of each ten thousand, a thousand last and end with a 1.
    let count = if is_memory() { 20_000 } else { 10_000 };
    let lines: String = (0..count)
        .map(|number| match number % 2 {
            0 => format!("{{\"key\":\"end/{number}\",\"value\":1,\"expires_at\":\"{at}\"}}\n"),
            _ => format!("{{\"key\":\"stay/{number}\",\"value\":1}}\n"),
        })
        .collect();
    assert_eq!(server.bulk(&lines).status, 200);
    is_found_no_more(&server, "end/");
    assert_eq!(server.get("/search?prefix=&limit=1").total(), count / 2);
    assert_eq!(server.get("/search?suffix=1&limit=1").total(), count / 10);
    assert_eq!(server.get("/get/end/0").status, 404);
    assert_eq!(server.get("/get/stay/1").text(), "1");
}

#[test]
fn values_that_end_in_the_past_are_no_lag() {
    let server = Server::start();
    let lines: String = (0..20)
        .map(|number| {
            format!(
                "{{\"key\":\"{number}\",\"value\":1,\"expires_at\":\"2001-01-01T00:00:00Z\"}}\n"
            )
        })
        .collect();
    assert_eq!(server.bulk(&lines).status, 200);
    until("all are taken out", || {
        let metrics = server.get("/metrics");
        let value = |name: &str| {
            let mut lines = metrics.text().lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.unwrap().parse::<f64>().unwrap()
        };
        // They were there for moments, and not since 2001.
        let lag = value("kvstore_expiry_lag_seconds");
        assert!(lag < 3600.0, "{lag}");
        (value("kvstore_expired_keys_total") == 20.0).then_some(())
    });
}

#[test]
fn deadlines_outlive_the_process() {
    let directory = TempDir::new().unwrap();
    let arguments = [
        "--data-dir",
        directory.path().to_str().unwrap(),
        "--drain-ms",
        "1",
    ];
    let mut server = Server::start_as(&arguments);
    let (_, soon) = moment(2500);
    for (key, expires_at) in [
        ("far", FAR),
        ("soon", &soon),
        ("past", "2001-01-01T00:00:00Z"),
    ] {
        let set = server.put(&format!("/set/{key}?expires_at={expires_at}"), &[], b"1");
        assert_eq!(set.status, 200);
    }
    server.put("/set/moved?ttl_ms=1000", &[], b"1");
    expire(&server, "moved", &format!(r#"{{"expires_at":"{FAR}"}}"#));
    server.put(&format!("/set/freed?expires_at={soon}"), &[], b"1");
    expire(&server, "freed", r#"{"expires_at":null}"#);
    for signal in [Signal::KILL, Signal::TERM, Signal::KILL] {
        server.signal(signal);
        server.wait();
        server = Server::start_as(&arguments);
        for key in ["far", "moved"] {
            let found = server.get(&format!("/get/{key}"));
            assert_eq!(
                (found.status, found.header("x-expires-at")),
                (200, Some(FAR))
            );
        }
        assert_eq!(server.get("/get/freed").header("x-expires-at"), None);
        assert_eq!(server.get("/get/past").status, 404);
    }
    ends(&server, "soon");
    until("what has ended is in no total", || {
        (server.get("/search?prefix=").keys() == ["far", "freed", "moved"]).then_some(())
    });
}
