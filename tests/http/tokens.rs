//! Tokens: who may do what, how often, and from when on.

mod file;
mod taken_out;

use crate::support::{JSON, LINES, Response, Server, kvstore, until};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// A token as `kvstore token` draws it, and what the file has to say of it.
fn drawn(name: &str, arguments: &[&str]) -> (String, String) {
    let mut command = kvstore();
    command.args(["token", "--name", name]).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let token = String::from_utf8(output.stdout).unwrap();
    let table = String::from_utf8(output.stderr).unwrap();
    (token.trim_end().to_owned(), table)
}

/// A server whose file knows these tokens.
struct Guarded {
    server: Server,
    tokens: BTreeMap<&'static str, String>,
    folder: tempfile::TempDir,
}

impl Guarded {
    /// With a token of each kind.
    fn start(more: &[&str]) -> Self {
        let kinds: [(&str, &[&str]); 4] = [
            ("read", &["--access", "read"]),
            ("write", &["--access", "write"]),
            ("admin", &["--access", "admin"]),
            ("confined", &["--access", "write", "--prefix", "t1/"]),
        ];
        Self::start_with(&kinds, more)
    }

    fn start_with(kinds: &[(&'static str, &[&str])], more: &[&str]) -> Self {
        let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = folder.path().join("tokens.toml");
        let mut tokens = BTreeMap::new();
        let mut text = String::new();
        for (name, arguments) in kinds {
            let (token, table) = drawn(name, arguments);
            tokens.insert(*name, token);
            text += &table;
        }
        fs::write(&file, text).unwrap();
        let arguments = [&["--auth-file", file.to_str().unwrap()], more].concat();
        Self {
            server: Server::start_with(&arguments),
            tokens,
            folder,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    /// What the header says for one of the tokens, for a stranger's, or for none.
    fn authorization(&self, who: &str) -> Option<String> {
        match who {
            "none" => None,
            "unknown" => Some("Bearer kv_unknown".into()),
            name => Some(format!("Bearer {}", self.tokens[name])),
        }
    }

    fn send(&self, who: &str, (method, path): (&str, &str), body: &str) -> Response {
        let authorization = self.authorization(who);
        let mut headers = Vec::new();
        if let Some(authorization) = &authorization {
            headers.push(("Authorization", authorization.as_str()));
        }
        match (method, path) {
            ("POST", "/set") if body.contains('\n') => headers.push(LINES),
            ("POST", _) => headers.push(JSON),
            _ => {}
        }
        self.server.send(method, path, &headers, body.as_bytes())
    }

    fn get(&self, who: &str, path: &str) -> Response {
        self.send(who, ("GET", path), "")
    }

    /// A metric with its labels. The metrics take no token.
    fn metric(&self, series: &str) -> f64 {
        let response = self.server.get("/metrics");
        let mut lines = response.text().lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.expect("the metric is there").parse().unwrap()
    }

    fn denied(&self, reason: &str) -> f64 {
        self.metric(&format!(
            "kvstore_http_requests_denied_total{{reason=\"{reason}\"}}"
        ))
    }
}

#[test]
fn each_route_takes_the_access_that_it_needs() {
    const WHO: [&str; 6] = ["none", "unknown", "read", "write", "admin", "confined"];
    let guarded = Guarded::start(&[]);
    for reason in ["unauthenticated", "forbidden", "rate"] {
        assert_eq!(guarded.denied(reason), 0.0, "{reason}");
    }
    let set = r#"{"key":"k","value":1}"#;
    let ttl = r#"{"ttl_ms":1000}"#;
    let reads = [401, 401, 200, 200, 200, 403];
    let writes = [401, 401, 403, 200, 200, 403];
    let finds_nothing = [401, 401, 403, 404, 404, 403];
    let open = [200; 6];
    let rows: [(&str, &str, &str, [u16; 6]); 27] = [
        ("POST", "/set", set, writes),
        ("PUT", "/set/k", "1", writes),
        ("POST", "/set", "{\"key\":\"k\",\"value\":1}\n", writes),
        ("GET", "/get/k", "", reads),
        ("HEAD", "/get/k", "", reads),
        ("POST", "/expire/none", ttl, finds_nothing),
        ("DELETE", "/delete/none", "", finds_nothing),
        ("DELETE", "/delete?prefix=none", "", writes),
        ("GET", "/search?prefix=", "", reads),
        ("HEAD", "/search?prefix=", "", reads),
        ("GET", "/search", "", reads),
        ("GET", "/metrics", "", open),
        ("GET", "/livez", "", open),
        ("GET", "/readyz", "", open),
        ("GET", "/healthz", "", open),
        ("GET", "/openapi.json", "", open),
        ("GET", "/docs", "", open),
        // It says what a token allows, and so that one is not known.
        ("GET", "/", "", [200, 401, 200, 200, 200, 200]),
        ("GET", "/nowhere", "", [401, 401, 404, 404, 404, 404]),
        ("POST", "/search", set, [401, 401, 405, 405, 405, 403]),
        // No route takes these, whoever asks; strangers are not told that, but of what is open to them.
        ("PATCH", "/get/k", "", [401, 401, 405, 405, 405, 403]),
        ("PATCH", "/set/k", "", [401, 401, 403, 405, 405, 403]),
        ("OPTIONS", "/search", "", [401, 401, 405, 405, 405, 403]),
        ("POST", "/nowhere", set, [401, 401, 404, 404, 404, 404]),
        ("OPTIONS", "*", "", [401, 401, 404, 404, 404, 404]),
        ("PATCH", "/livez", "", [405; 6]),
        ("PATCH", "/docs", "", [405; 6]),
    ];
    // Whoever may, so that there is something to read.
    assert_eq!(guarded.send("admin", ("PUT", "/set/k"), "1").status, 200);
    let mut expected = BTreeMap::from([(401, 0.0), (403, 0.0)]);
    for (method, path, body, statuses) in rows {
        for (who, status) in WHO.into_iter().zip(statuses) {
            let response = guarded.send(who, (method, path), body);
            assert_eq!(response.status, status, "{who}: {method} {path}");
            *expected.entry(status).or_default() += 1.0;
            if method == "HEAD" {
                continue;
            }
            match status {
                401 => response.assert_problem(401, "unauthorized", &["token"]),
                403 => response.assert_problem(403, "forbidden", &["the token"]),
                _ => continue,
            };
            let challenge = response.header("www-authenticate");
            let says_again = challenge.is_some_and(|says| says.contains("invalid_token"));
            assert_eq!(challenge.is_some(), status == 401);
            assert_eq!(says_again, who == "unknown" && status == 401);
        }
    }
    assert_eq!(guarded.denied("unauthenticated"), expected[&401]);
    assert_eq!(guarded.denied("forbidden"), expected[&403]);
    let counted = "kvstore_http_requests_total{endpoint=\"/get\",method=\"GET\",status=\"401\"}";
    assert_eq!(guarded.metric(counted), 2.0);
}

#[test]
fn the_root_says_what_a_token_allows_to_whoever_has_it() {
    let guarded = Guarded::start(&[]);
    for (who, allowed) in [
        ("none", json!(null)),
        (
            "read",
            json!({"name": "read", "access": "read", "prefixes": []}),
        ),
        (
            "admin",
            json!({"name": "admin", "access": "admin", "prefixes": []}),
        ),
        (
            "confined",
            json!({"name": "confined", "access": "write", "prefixes": ["t1/"]}),
        ),
    ] {
        let response = guarded.get(who, "/");
        assert_eq!(response.json()["token"], allowed, "{who}");
        assert_eq!(response.header("vary"), Some("accept, authorization"));
    }
    // A proxy's own, for example.
    let other = [("Authorization", "Basic cHJveHk6c2VjcmV0")];
    assert_eq!(
        guarded.server.get_with("/", &other).json()["token"],
        json!(null)
    );
    let server = Server::in_memory(&[]);
    assert!(server.get("/").json().get("token").is_none());
}

#[test]
fn a_token_comes_in_one_header_of_its_scheme() {
    let guarded = Guarded::start(&[]);
    let token = &guarded.tokens["read"];
    let ask = |headers: &[&str]| {
        let headers: Vec<_> = headers.iter().map(|it| ("Authorization", *it)).collect();
        guarded.server.get_with("/get/none", &headers).status
    };
    let right = format!("Bearer {token}");
    assert_eq!(ask(&[&right]), 404);
    assert_eq!(ask(&[&format!("bearer  {token} ")]), 404);
    for wrong in [
        format!("Basic {token}"),
        format!("Bearer{token}"),
        format!("Bearer {token}x"),
        format!("Bearer {}", token.to_uppercase()),
        token.clone(),
        "Bearer".into(),
        "Bearer ".into(),
    ] {
        assert_eq!(ask(&[&wrong]), 401);
    }
    assert_eq!(ask(&[&right, &right]), 401);
}

#[test]
fn a_confined_token_reaches_its_own_keys_only() {
    let guarded = Guarded::start(&[]);
    let status = |method: &str, path: &str, body: &str| {
        guarded.send("confined", (method, path), body).status
    };
    assert_eq!(guarded.send("admin", ("PUT", "/set/t2/a"), "1").status, 200);
    assert_eq!(status("PUT", "/set/t1/a", "1"), 200);
    let (inside, outside) = (
        format!("/search?prefix=t1/{}", "x".repeat(2000)),
        format!("/search?prefix=t2/{}", "x".repeat(2000)),
    );
    for (path, expected) in [
        ("/get/t1/a", 200),
        ("/get/t1%2Fa", 200),
        ("/get/t1/none", 404),
        ("/get/t1/%FF", 400),
        ("/get/t1", 403),
        ("/get/T1/a", 403),
        ("/get/t2/a", 403),
        ("/get/t1%252Fa", 403),
        ("/get", 405),
        ("/search?prefix=t1/", 200),
        ("/search?prefix=t1%2Fa&suffix=a&limit=1", 200),
        (inside.as_str(), 200),
        (outside.as_str(), 403),
        ("/search?prefix=t1/&prefix=t1/", 400),
        ("/search?prefix=t1/&prefix=t2/", 403),
        ("/search?prefix=t1/&pre%66ix=t2/", 403),
        ("/search?prefix=t1/&prefix=%FF", 400),
        ("/search?prefix=t1", 403),
        ("/search?prefix=", 403),
        ("/search?suffix=a", 403),
        ("/search?suffix=t1/", 403),
        ("/search", 403),
        ("/search?after=t1/", 403),
    ] {
        assert_eq!(status("GET", path, ""), expected, "{path}");
    }
    for (keys, expected) in [
        (r#"["t1/a"]"#, 200),
        (r#"["t1/a","t1/none"]"#, 200),
        (r#"["t1/a","t2/a"]"#, 403),
        (r#"["t1"]"#, 403),
    ] {
        let body = format!(r#"{{"keys":{keys}}}"#);
        assert_eq!(status("POST", "/get", &body), expected, "{keys}");
    }
    for (query, expected) in [("prefix=t2/", 403), ("suffix=a", 403), ("prefix=", 403)] {
        let path = format!("/watch?{query}");
        assert_eq!(status("GET", &path, ""), expected, "{path}");
    }
    let found = guarded.get("confined", "/search?prefix=t1/");
    assert_eq!((found.keys(), found.total()), (vec!["t1/a".into()], 1));
    for (query, expected) in [
        ("prefix=t1/&dry_run=true", 200),
        ("prefix=t2/&dry_run=true", 403),
        ("prefix=&dry_run=true", 403),
        ("suffix=a", 403),
    ] {
        let path = format!("/delete?{query}");
        assert_eq!(status("DELETE", &path, ""), expected, "{path}");
    }
    let path = outside.replace("/search", "/delete");
    assert_eq!(status("DELETE", &path, ""), 403);
    assert_eq!(status("DELETE", "/delete/t2/a", ""), 403);
    assert_eq!(status("POST", "/expire/t2/a", r#"{"ttl_ms":1}"#), 403);
    assert_eq!(status("POST", "/set", r#"{"key":"t1/b","value":1}"#), 200);
    assert_eq!(status("POST", "/set", r#"{"key":"t2/b","value":1}"#), 403);
    let says = guarded.get("confined", "/search");
    says.assert_problem(403, "forbidden", &["\"t1/\"", "give a parameter prefix"]);
    assert_eq!(
        guarded.get("admin", "/search?prefix=").keys(),
        ["t1/a", "t1/b", "t2/a"]
    );
}

#[test]
fn a_bulk_line_beyond_the_token_ends_the_body_as_a_bad_one_does() {
    let guarded = Guarded::start(&[]);
    let line = |key: &str| format!("{{\"key\":\"{key}\",\"value\":1}}\n");
    let lines: String = ["t1/a", "t1/b", "t2/c", "t1/d"].map(line).concat();
    let refused = guarded.send("confined", ("POST", "/set"), &lines);
    let problem = refused.assert_problem(403, "forbidden", &["begin with \"t1/\""]);
    assert_eq!(
        (&problem["line"], &problem["created"], &problem["updated"]),
        (&3.into(), &2.into(), &0.into())
    );
    assert_eq!(
        guarded.get("read", "/search?prefix=").keys(),
        ["t1/a", "t1/b"]
    );
    assert_eq!(guarded.denied("forbidden"), 1.0);
}

#[test]
fn the_body_of_a_denied_request_is_not_waited_for() {
    let guarded = Guarded::start(&[]);
    let mut connection = guarded.server.connect();
    connection.raw("PUT /set/k HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n");
    let response = connection.response("PUT");
    response.assert_problem(401, "unauthorized", &["Authorization: Bearer"]);
}

#[test]
fn metrics_take_a_token_of_all_keys_where_that_is_set() {
    let guarded = Guarded::start(&["--auth-metrics", "true"]);
    for (who, status) in [
        ("none", 401),
        ("unknown", 401),
        ("confined", 403),
        ("read", 200),
        ("admin", 200),
    ] {
        assert_eq!(guarded.get(who, "/metrics").status, status, "{who}");
    }
}

#[test]
fn over_its_rate_a_token_waits() {
    let limited: &[&str] = &["--access", "read", "--requests-per-second", "1"];
    let guarded = Guarded::start_with(&[("slow", limited), ("fast", &["--access", "read"])], &[]);
    let refused = until("the token is used too often", || {
        let response = guarded.get("slow", "/get/none");
        (response.status != 404).then_some(response)
    });
    refused.assert_problem(
        429,
        "rate_limited",
        &["requests_per_second", "nothing was done"],
    );
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(guarded.get("fast", "/get/none").status, 404);
    assert!(guarded.denied("rate") >= 1.0);
    until("the token may be used again", || {
        (guarded.get("slow", "/get/none").status == 404).then_some(())
    });
}
