//! Metrics: exact, and from closed sets.

use crate::engine;
use crate::support::{JSON, Server, until};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// Every sample by its name and labels. Panics on a line that is not of the text format.
fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let response = server.get("/metrics");
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let mut samples = BTreeMap::new();
    for line in response
        .text()
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("kvstore_"), "{name}");
        assert!(
            samples
                .insert(series.to_owned(), value.parse().unwrap())
                .is_none(),
            "{series} twice"
        );
    }
    samples
}

/// A scrape that shows so many keys: the next one, but for an engine elsewhere, of which it may be
/// behind for as long as the index waits for the engine.
fn scrape_of(server: &Server, keys: f64) -> BTreeMap<String, f64> {
    let samples = until("the keys are counted", || {
        let samples = scrape(server);
        (samples["kvstore_keys"] == keys || engine::is_memory()).then_some(samples)
    });
    assert_eq!(samples["kvstore_keys"], keys);
    samples
}

fn requests(samples: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let total = "kvstore_http_requests_total";
    let counters = samples
        .iter()
        .filter_map(|(series, value)| Some((series.strip_prefix(total)?.to_owned(), *value)));
    counters.collect()
}

#[test]
fn every_request_is_counted_exactly() {
    let server = Server::start_with(&["--value-bytes-max", "10"]);
    let mut expected = BTreeMap::new();
    let mut connection = server.connect();
    let mut send = |times: usize,
                    method: &str,
                    path: &str,
                    headers: &[(&str, &str)],
                    body: &str,
                    endpoint: &str,
                    status: u16| {
        for _ in 0..times {
            let response = connection.request(method, path, headers, body.as_bytes());
            assert_eq!(response.status, status, "{method} {path}");
            if response.header("connection") == Some("close") {
                connection = server.connect();
            }
        }
        let labels = format!("{{endpoint=\"{endpoint}\",method=\"{method}\",status=\"{status}\"}}");
        *expected.entry(labels).or_insert(0.0) += times as f64;
    };
    send(
        3,
        "POST",
        "/set",
        &[JSON],
        r#"{"key":"k","value":1}"#,
        "/set",
        200,
    );
    send(2, "PUT", "/set/a/b", &[], "x", "/set", 200);
    send(5, "GET", "/get/k", &[], "", "/get", 200);
    send(1, "HEAD", "/get/k", &[], "", "/get", 200);
    send(
        4,
        "GET",
        "/get/k",
        &[("If-None-Match", "*")],
        "",
        "/get",
        304,
    );
    send(2, "GET", "/get/%FF", &[], "", "/get", 400);
    send(6, "GET", "/get/none", &[], "", "/get", 404);
    send(2, "POST", "/get/k", &[], "", "/get", 405);
    let keys = r#"{"keys":["k","none"]}"#;
    send(3, "POST", "/get", &[JSON], keys, "/get", 200);
    send(1, "POST", "/get", &[JSON], "{}", "/get", 422);
    send(1, "GET", "/get", &[], "", "/get", 405);
    send(1, "PUT", "/set/k", &[], "12345678901", "/set", 413);
    send(2, "POST", "/set", &[], "{}", "/set", 415);
    send(3, "POST", "/set", &[JSON], "{}", "/set", 422);
    send(1, "DELETE", "/delete/k", &[], "", "/delete", 204);
    send(2, "DELETE", "/delete?prefix=none", &[], "", "/delete", 200);
    send(2, "GET", "/search?prefix=", &[], "", "/search", 200);
    send(1, "GET", "/livez", &[], "", "/livez", 200);
    send(1, "GET", "/readyz", &[], "", "/readyz", 200);
    send(1, "GET", "/healthz", &[], "", "/healthz", 200);
    send(7, "GET", "/nowhere", &[], "", "unmatched", 404);
    drop(connection);
    let samples = scrape(&server);
    assert_eq!(requests(&samples), expected);
    for (labels, times) in &expected {
        let count = format!("kvstore_http_requests_duration_seconds_count{labels}");
        assert_eq!(samples[&count], *times);
    }
    let buckets: Vec<&str> = samples
        .keys()
        .filter_map(|series| {
            let labels = series.strip_prefix("kvstore_http_requests_duration_seconds_bucket")?;
            labels
                .contains("\"/livez\"")
                .then(|| labels.rsplit('"').nth(1).unwrap())
        })
        .collect();
    let mut sorted = buckets.clone();
    sorted.sort_by(|a, b| {
        a.parse::<f64>()
            .unwrap_or(f64::MAX)
            .total_cmp(&b.parse::<f64>().unwrap_or(f64::MAX))
    });
    assert_eq!(
        sorted,
        [
            "0.00005", "0.0001", "0.00025", "0.0005", "0.001", "0.01", "0.05", "0.25", "1", "+Inf"
        ]
    );
    // The scrape before is counted by now.
    let again = requests(&scrape(&server));
    assert_eq!(
        again["{endpoint=\"/metrics\",method=\"GET\",status=\"200\"}"],
        1.0
    );
    scrape_of(&server, 1.0);
}

#[test]
fn the_number_of_keys_is_exact_at_every_scrape() {
    let server = Server::start();
    for keys in [1, 10, 5000] {
        server.fill((0..keys).map(|number| number.to_string()));
        scrape_of(&server, f64::from(keys));
    }
    for number in 0..100 {
        server.delete(&format!("/delete/{number}"));
    }
    let samples = scrape_of(&server, 4900.0);
    let starting_so = samples
        .keys()
        .filter(|series| series.starts_with("kvstore_keys"));
    assert_eq!(starting_so.count(), 1);
    assert_eq!(samples["kvstore_http_requests_in_flight"], 1.0);
}

#[test]
fn a_hostile_client_adds_no_series() {
    let server = Server::start();
    server.get("/nowhere");
    server.get("/get/k");
    server.get("/metrics");
    let before: Vec<String> = scrape(&server).into_keys().collect();
    let mut connection = server.connect();
    for number in 0..1000u32 {
        let path = match number % 4 {
            0 => format!("/x{number}"),
            1 => format!("/get/{number}"),
            2 => format!("/{number}/get/metrics"),
            _ => format!("/get{number}?a={number}"),
        };
        let method = match number % 7 {
            0..4 => "GET".to_owned(),
            4 if number % 4 != 1 => "POST".to_owned(),
            5 => "TRACE".to_owned(),
            _ => format!("M{number}"),
        };
        let status = connection.request(&method, &path, &[], b"").status;
        assert!(matches!(status, 404 | 405), "{method} {path}: {status}");
    }
    let samples = scrape(&server);
    assert!(samples.keys().eq(&before));
    let refused = |reason: &str| {
        samples[&format!("kvstore_http_requests_refused_total{{reason=\"{reason}\"}}")]
    };
    assert!(refused("method") > 0.0 && refused("path") > 0.0);
}

#[test]
fn all_that_the_route_table_answers_stays_under_the_bound_on_series() {
    let server = Server::start_with(&["--value-bytes-max", "10"]);
    let others = scrape(&server).len();
    assert!(others <= 190, "{others}");
    let send = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        server.send(method, path, headers, body.as_bytes());
    };
    for method in ["GET", "HEAD"] {
        for path in [
            "/get/none",
            "/get/%",
            "/get/k",
            "/search?prefix=",
            "/search?limit=x",
        ] {
            send(method, path, &[], "");
            send(method, path, &[("If-None-Match", "*")], "");
        }
        send(method, &format!("/get/{}", "x".repeat(2000)), &[], "");
    }
    for (headers, body) in [
        (&[JSON][..], r#"{"key":"k","value":1}"#),
        (&[JSON][..], "{}"),
        (&[JSON][..], "{"),
        (&[JSON][..], r#"{"key":"k","value":12345678901}"#),
        (&[][..], "{}"),
    ] {
        send("POST", "/set", headers, body);
    }
    for (headers, body) in [
        (&[JSON][..], r#"{"keys":["k"]}"#),
        (&[JSON][..], "{}"),
        (&[JSON][..], "{"),
        (&[][..], "{}"),
    ] {
        send("POST", "/get", headers, body);
    }
    let long = format!("{{\"keys\":[\"{}\"]}}", "x".repeat(2000));
    send("POST", "/get", &[JSON], &long);
    for path in [
        "/set/k",
        "/set/%",
        "/delete/k",
        "/delete/k",
        "/delete/%",
        "/metrics",
        "/livez",
        "/readyz",
        "/healthz",
        "/nowhere",
    ] {
        for method in ["PUT", "DELETE", "GET"] {
            send(method, path, &[], "");
        }
    }
    let series = scrape(&server).len();
    assert!(series < 800, "{series}");
}

/// The names in `docs/operations.md`, of the engine's metrics or of all others.
/// Where a metric is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Always,
    Engine,
    Data,
}

impl Kind {
    fn of(name: &str) -> Self {
        if name.starts_with("kvstore_engine_") {
            Self::Engine
        } else if name.starts_with("kvstore_data_") {
            Self::Data
        } else {
            Self::Always
        }
    }
}

/// The metrics in the reference of one kind.
fn documented(kind: Kind) -> BTreeSet<String> {
    let text = include_str!("../../docs/operations.md");
    let (_, table) = text.split_once("## Metrics").unwrap();
    let cells = table.lines().filter_map(|line| line.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names
        .map(|name| name.split('{').next().unwrap().to_owned())
        .filter(|name| Kind::of(name) == kind)
        .collect()
}

#[test]
fn the_reference_names_every_metric_and_no_other() {
    let server = Server::start();
    server.get("/get/k");
    let response = server.get("/metrics");
    let types = response
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let exposed: BTreeSet<String> = types
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    let mut expected = documented(Kind::Always);
    if !crate::engine::is_memory() {
        expected.extend(documented(Kind::Engine));
    }
    if crate::engine::is_kept() {
        expected.extend(documented(Kind::Data));
    }
    // The scrape before was the first to be counted.
    assert_eq!(exposed, expected);
}

#[test]
fn readiness_and_the_start_are_metrics() {
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut server = Server::start();
    let samples = scrape(&server);
    assert_eq!(samples["kvstore_ready"], 1.0);
    assert!(samples["kvstore_start_time_seconds"] >= before.as_secs_f64());
    let mut kept = server.connect();
    assert_eq!(kept.request("GET", "/readyz", &[], b"").status, 200);
    server.signal(Signal::TERM);
    until("the server is unready", || {
        (scrape(&server)["kvstore_ready"] == 0.0).then_some(())
    });
    assert_eq!(server.get("/readyz").status, 503);
    server.signal(Signal::TERM);
    server.wait();
}

#[test]
fn every_metric_has_a_panel() {
    let dashboard = include_str!("../../k8s/components/monitoring/dashboard.json");
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let has_panel = |name: &String| {
        dashboard.match_indices(name.as_str()).any(|(at, _)| {
            let rest = &dashboard[at + name.len()..];
            rest.starts_with("_bucket") || !is_of_name(rest.as_bytes()[0])
        })
    };
    let kinds = [Kind::Always, Kind::Engine, Kind::Data];
    let mut missing: BTreeSet<String> = kinds.into_iter().flat_map(documented).collect();
    missing.retain(|name| !has_panel(name));
    assert!(
        missing.is_empty(),
        "add to scripts/dashboard/panels.py, and `make dashboard`: {missing:?}"
    );
}
