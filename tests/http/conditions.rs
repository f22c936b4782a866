//! Conditions of changes (RFC 9110, 13.1), in headers and in the lines of a bulk body.

use crate::support::{Connection, JSON, Server, until};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

const OTHER: &str = "\"0123456789abcdef\"";

#[test]
fn a_change_is_made_only_if_its_condition_holds() {
    let server = Server::start();
    let put = |headers: &[(&str, &str)], body: &str| server.put("/set/a", headers, body.as_bytes());
    let none = put(&[("If-Match", "*")], "0");
    none.assert_problem(412, "precondition_failed", &["names no value"]);
    assert_eq!(none.header("etag"), None);
    assert_eq!(server.get("/get/a").status, 404);
    let created = put(&[("If-None-Match", "*")], "1");
    assert_eq!(created.status, 200, "{}", created.text());
    let etag = created.etag();
    for headers in [
        [("If-None-Match", "*")],
        [("If-Match", OTHER)],
        [("If-None-Match", etag.as_str())],
        [("If-Match", "\"something-else\", W/\"and-more\"")],
    ] {
        let unmet = put(&headers, "2");
        unmet.assert_problem(412, "precondition_failed", &["nothing was changed"]);
        assert_eq!(unmet.etag(), etag, "the one that there is");
    }
    // Strong comparison for the one, weak for the other.
    let weak = format!("W/{etag}");
    assert_eq!(put(&[("If-Match", &weak)], "2").status, 412);
    assert_eq!(put(&[("If-None-Match", &weak)], "2").status, 412);
    assert_eq!(server.get("/get/a").text(), "1");
    let list = format!("\"x\", {OTHER} ,{etag}");
    let updated = put(&[("If-Match", &list), ("If-None-Match", OTHER)], "2");
    assert_eq!(updated.status, 200, "{}", updated.text());
    assert_eq!(
        put(&[("If-Match", &etag)], "3").status,
        412,
        "it has another by now"
    );
    // Of the same header in two lines each counts.
    let two = put(&[("If-Match", "\"x\""), ("If-Match", &updated.etag())], "3");
    assert_eq!(two.status, 200, "{}", two.text());
}

#[test]
fn every_single_change_takes_conditions() {
    let server = Server::start();
    let post = |headers: &[(&str, &str)], body: &str| {
        server.send(
            "POST",
            "/set",
            &[&[JSON], headers].concat(),
            body.as_bytes(),
        )
    };
    let etag = post(&[("If-None-Match", "*")], r#"{"key":"a","value":1}"#).etag();
    let unmet = post(&[("If-None-Match", "*")], r#"{"key":"a","value":2}"#);
    unmet.assert_problem(412, "precondition_failed", &[]);
    let delete = |headers: &[(&str, &str)]| server.send("DELETE", "/delete/a", headers, b"");
    assert_eq!(delete(&[("If-Match", OTHER)]).status, 412);
    assert_eq!(delete(&[("If-None-Match", "*")]).status, 412);
    assert_eq!(server.get("/get/a").text(), "1");
    assert_eq!(delete(&[("If-Match", &etag)]).status, 204);
    assert_eq!(delete(&[("If-Match", &etag)]).status, 412);
    assert_eq!(delete(&[("If-None-Match", "*")]).status, 404);
    assert_eq!(server.get("/search?prefix=").total(), 0);
    let unmet = server.get("/metrics");
    assert!(
        unmet.text().contains("kvstore_conditions_unmet_total 4"),
        "{}",
        unmet.text()
    );
}

#[test]
fn what_is_no_condition_is_refused_and_changes_nothing() {
    let server = Server::start();
    for (name, value) in [
        ("If-Match", ""),
        ("If-Match", "abc"),
        ("If-Match", "\"a"),
        ("If-None-Match", "*, \"a\""),
        ("If-None-Match", "w/\"a\""),
    ] {
        let refused = server.put("/set/a", &[(name, value)], b"1");
        refused.assert_problem(400, "invalid_condition", &[&name.to_lowercase()]);
        let refused = server.send("DELETE", "/delete/a", &[(name, value)], b"");
        refused.assert_problem(400, "invalid_condition", &[&name.to_lowercase()]);
    }
    for name in ["If-Modified-Since", "If-Unmodified-Since"] {
        let date = "Sat, 28 Nov 2026 12:00:00 GMT";
        let refused = server.put("/set/a", &[(name, date)], b"1");
        refused.assert_problem(400, "unsupported_condition", &[&name.to_lowercase()]);
    }
    let lines = [crate::support::LINES, ("If-Match", "*")];
    let refused = server.send("POST", "/set", &lines, b"{\"key\":\"a\",\"value\":1}\n");
    refused.assert_problem(400, "unsupported_condition", &["if_match"]);
    let body = r#"{"key":"a","value":1,"if_none_match":"*"}"#;
    server
        .post(body)
        .assert_problem(422, "invalid_body", &["If-None-Match"]);
    assert_eq!(server.get("/search?prefix=").total(), 0);
}

#[test]
fn lines_have_conditions_of_their_own() {
    let server = Server::start();
    let etag = server.put("/set/there", &[], b"0").etag();
    let line = |key: &str, more: &[(&str, &str)]| {
        let mut line = serde_json::json!({"key": key, "value": 1});
        for (name, value) in more {
            line[*name] = (*value).into();
        }
        line.to_string() + "\n"
    };
    let body = [
        line("new", &[("if_none_match", "*")]),
        line("new", &[("if_none_match", "*")]),
        line("there", &[("if_match", OTHER)]),
        line("there", &[("if_match", &etag)]),
        line("there", &[("if_match", &etag)]),
        line("plain", &[]),
        line("absent", &[("if_match", "*")]),
    ];
    let answer = server.bulk(&body.concat());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected = serde_json::json!({
        "created": 2, "updated": 1, "unmet": 4, "unmet_lines": [2, 3, 5, 7],
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(
        server.get("/search?prefix=").keys(),
        ["new", "plain", "there"]
    );
    // Where no line has one, the answer is as it was.
    let plain = server.bulk(&line("plain", &[]));
    assert_eq!(
        plain.json(),
        serde_json::json!({"created": 0, "updated": 1})
    );
    let met = server.bulk(&line("other", &[("if_none_match", "*")]));
    let expected = serde_json::json!({"created": 1, "updated": 0, "unmet": 0, "unmet_lines": []});
    assert_eq!(met.json(), expected);
    // All are counted, the first hundred are named.
    let many: String = (0..250)
        .map(|_| line("new", &[("if_none_match", "*")]))
        .collect();
    let answer = server.bulk(&many).json();
    assert_eq!(answer["unmet"], 250);
    assert_eq!(answer["unmet_lines"].as_array().unwrap().len(), 100);
    for (name, value) in [
        ("if_match", serde_json::json!("x")),
        ("if_match", "".into()),
        ("if_match", 1.into()),
        ("if_match", true.into()),
        ("if_match", serde_json::json!(null)),
        ("if_match", serde_json::json!([OTHER])),
        ("if_none_match", OTHER.into()),
        ("if_none_match", serde_json::json!({"tag": "*"})),
    ] {
        let mut last = serde_json::json!({"key": "bad", "value": 1});
        last[name] = value;
        let unmet = line("there", &[("if_none_match", "*")]);
        let bad = server.bulk(&(line("bad", &[]) + &unmet + &last.to_string()));
        let problem = bad.assert_problem(422, "invalid_line", &[name]);
        assert_eq!(
            (&problem["line"], &problem["created"]),
            (&3.into(), &1.into())
        );
        // The lines before it are told of as if it had not been there.
        assert_eq!(problem["unmet"], 1);
        assert_eq!(problem["unmet_lines"], serde_json::json!([2]));
        assert_eq!(server.delete("/delete/bad").status, 204);
    }
}

/// A counter that many change at once, each from the value that it read.
#[test]
fn compare_and_set_loses_no_update() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 25;
    let server = Server::start();
    assert_eq!(server.put("/set/counter", &[], b"0").status, 200);
    let count = || -> Vec<usize> {
        let mut connection = server.connect();
        let rounds = 0..ROUNDS;
        rounds.map(|_| increment(&mut connection)).collect()
    };
    let mut counted: Vec<usize> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(count)).collect();
        let counted = writers.into_iter().map(|writer| writer.join().unwrap());
        counted.flatten().collect()
    });
    counted.sort_unstable();
    let each: Vec<usize> = (1..=WRITERS * ROUNDS).collect();
    assert_eq!(counted, each, "no number is acknowledged twice");
    assert_eq!(server.get("/get/counter").text(), each.len().to_string());
}

/// Adds one to the counter, however often another was faster, and returns what was set.
fn increment(connection: &mut Connection) -> usize {
    until("the counter is as it was read", || {
        let read = connection.request("GET", "/get/counter", &[], b"");
        let next = read.text().parse::<usize>().unwrap() + 1;
        let (etag, body) = (read.etag(), next.to_string());
        let headers = [("If-Match", etag.as_str())];
        let set = connection.request("PUT", "/set/counter", &headers, body.as_bytes());
        match set.status {
            200 => Some(next),
            412 => None,
            _ => panic!("{}", set.text()),
        }
    })
}

/// A lock that is a key: who creates it holds it, and lets it go by its tag.
#[test]
fn a_key_that_is_only_created_is_a_lock() {
    const CLIENTS: usize = 6;
    const ROUNDS: usize = 10;
    let server = Server::start();
    assert_eq!(server.put("/set/counter", &[], b"0").status, 200);
    let holders = AtomicUsize::new(0);
    let hold = || {
        let mut connection = server.connect();
        for _ in 0..ROUNDS {
            let etag = lock(&mut connection);
            let others = holders.fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "nobody else holds it");
            // Without a condition: the lock keeps others away.
            let read = connection.request("GET", "/get/counter", &[], b"");
            let next = (read.text().parse::<usize>().unwrap() + 1).to_string();
            let set = connection.request("PUT", "/set/counter", &[], next.as_bytes());
            assert_eq!(set.status, 200, "{}", set.text());
            let holding = holders.fetch_sub(1, Ordering::SeqCst);
            assert_eq!(holding, 1, "nobody else holds it");
            let headers = [("If-Match", etag.as_str())];
            let let_go = connection.request("DELETE", "/delete/lock", &headers, b"");
            assert_eq!(let_go.status, 204, "{}", let_go.text());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(hold);
        }
    });
    assert_eq!(server.get("/get/lock").status, 404);
    let counted = server.get("/get/counter");
    assert_eq!(counted.text(), (CLIENTS * ROUNDS).to_string());
}

/// Creates the lock once it is free, and returns its tag.
fn lock(connection: &mut Connection) -> String {
    until("the lock is free", || {
        let headers = [("If-None-Match", "*")];
        let set = connection.request("PUT", "/set/lock", &headers, b"held");
        match set.status {
            200 => Some(set.etag()),
            412 => None,
            _ => panic!("{}", set.text()),
        }
    })
}

/// A change with a condition by number: of the tags that the key has had.
#[derive(Clone, Debug)]
enum Step {
    Set {
        key: usize,
        if_match: Option<Tag>,
        if_none_match: Option<Tag>,
    },
    Delete {
        key: usize,
        if_match: Option<Tag>,
        if_none_match: Option<Tag>,
    },
}

#[derive(Clone, Copy, Debug)]
enum Tag {
    Any,
    Current,
    Former,
    Unknown,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tag = || {
        let tags = [Tag::Any, Tag::Current, Tag::Former, Tag::Unknown];
        prop::option::of(prop::sample::select(tags.to_vec()))
    };
    let step = (any::<bool>(), 0_usize..3, tag(), tag());
    let step = step.prop_map(|(is_set, key, if_match, if_none_match)| match is_set {
        true => Step::Set {
            key,
            if_match,
            if_none_match,
        },
        false => Step::Delete {
            key,
            if_match,
            if_none_match,
        },
    });
    prop::collection::vec(step, 1..40)
}

/// Any changes with any conditions, against a map that is looked at before each.
#[test]
fn conditions_are_as_a_model_has_them() {
    let server = Server::start();
    let round = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(24), |(steps in steps())| {
        round.set(round.get() + 1);
        let mut connection = server.connect();
        let mut model: BTreeMap<String, String> = BTreeMap::new();
        let mut former = OTHER.to_owned();
        for step in steps {
            let (is_set, key, if_match, if_none_match) = match step {
                Step::Set { key, if_match, if_none_match } => (true, key, if_match, if_none_match),
                Step::Delete { key, if_match, if_none_match } => (false, key, if_match, if_none_match),
            };
            let key = format!("{}-{key}", round.get());
            let present = model.get(&key).cloned();
            let text = |tag: Tag| match tag {
                Tag::Any => "*".to_owned(),
                Tag::Current => present.clone().unwrap_or_else(|| OTHER.into()),
                Tag::Former => former.clone(),
                Tag::Unknown => "\"unknown\"".into(),
            };
            let has = |tag: Tag| match (&present, tag) {
                (None, _) => false,
                (Some(_), Tag::Any) => true,
                (Some(present), tag) => *present == text(tag),
            };
            let holds = if_match.is_none_or(has) && !if_none_match.is_some_and(has);
            let texts = [if_match.map(text), if_none_match.map(text)];
            let headers: Vec<(&str, &str)> = ["If-Match", "If-None-Match"]
                .into_iter()
                .zip(&texts)
                .filter_map(|(name, text)| Some((name, text.as_deref()?)))
                .collect();
            let answer = match is_set {
                true => connection.request("PUT", &format!("/set/{key}"), &headers, b"1"),
                false => connection.request("DELETE", &format!("/delete/{key}"), &headers, b""),
            };
            let expected = match (holds, is_set, &present) {
                (false, ..) => 412,
                (true, true, _) => 200,
                (true, false, Some(_)) => 204,
                (true, false, None) => 404,
            };
            prop_assert_eq!(answer.status, expected, "{}", answer.text());
            if answer.status == 412 {
                prop_assert_eq!(answer.header("etag"), present.as_deref());
            }
            if let (200 | 204, Some(present)) = (answer.status, &present) {
                former.clone_from(present);
            }
            match answer.status {
                200 => drop(model.insert(key, answer.etag())),
                204 => drop(model.remove(&key)),
                _ => {}
            }
        }
    });
}
