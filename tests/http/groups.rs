//! Searches that are divided into groups by a delimiter.

use crate::support::{Response, Server};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn items(response: &Response) -> Vec<Json> {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json().as_array().unwrap().clone()
}

#[test]
fn keys_of_one_level_come_as_they_are_and_deeper_ones_as_groups_with_exact_counts() {
    let server = Server::start();
    server.fill([
        "a",
        "a/b",
        "a/b/c",
        "a/b/d.txt",
        "a/c",
        "a/d/",
        "a/d/e.txt",
        "a//f",
        "b/x.txt",
        "ab/y",
    ]);
    let group = |text: &str, keys: usize| json!({"group": text, "keys": keys});
    let top = server.get("/search?prefix=&delimiter=/");
    assert_eq!(
        items(&top),
        [json!("a"), group("a/", 7), group("ab/", 1), group("b/", 1)]
    );
    assert_eq!(top.total(), 10, "the total is of keys");
    let below = server.get("/search?prefix=a/&delimiter=/");
    assert_eq!(
        items(&below),
        [
            group("a//", 1),
            json!("a/b"),
            group("a/b/", 2),
            json!("a/c"),
            group("a/d/", 2)
        ]
    );
    assert_eq!(below.total(), 7);
    let texts = server.get("/search?prefix=a/&suffix=.txt&delimiter=/");
    assert_eq!(items(&texts), [group("a/b/", 1), group("a/d/", 1)]);
    assert_eq!(texts.total(), 2);
    // What begins within the prefix does not end a group.
    let within = server.get("/search?prefix=a/&delimiter=//");
    assert_eq!(items(&within).len(), 7);
    let lines = server.get_with(
        "/search?prefix=&delimiter=/&limit=2",
        &[("Accept", "application/x-ndjson")],
    );
    assert_eq!(lines.text(), "\"a\"\n{\"group\":\"a/\",\"keys\":7}\n");
    let link = lines.header("link").unwrap();
    assert!(
        link.contains("delimiter=/&") && link.contains("after=a/>"),
        "{link}"
    );
    // On from a group is behind all of its keys, on from one of its keys too.
    for after in ["a/", "a/b/c"] {
        let rest = server.get(&format!("/search?prefix=&delimiter=/&after={after}"));
        assert_eq!(items(&rest), [group("ab/", 1), group("b/", 1)], "{after}");
    }
    let with_values = server.get("/search?prefix=&delimiter=/&values=true&limit=2");
    let with_values = items(&with_values);
    assert_eq!(with_values[0]["key"], "a");
    assert!(with_values[0]["etag"].is_string());
    assert_eq!(with_values[1], group("a/", 7));
    assert_eq!(server.delete("/delete/a/b/c").status, 204);
    let fewer = server.get("/search?prefix=a/b&delimiter=/");
    assert_eq!(items(&fewer), [json!("a/b"), group("a/b/", 1)]);
    let head = server.send("HEAD", "/search?prefix=&delimiter=/", &[], b"");
    assert_eq!((head.status, head.total()), (200, 9));
}

#[test]
fn a_delimiter_that_is_none_is_refused() {
    let server = Server::start();
    let empty = server.get("/search?prefix=&delimiter=");
    empty.assert_problem(400, "invalid_parameter", &["delimiter"]);
    let unfiltered = server.get("/search?delimiter=/");
    unfiltered.assert_problem(400, "missing_filter", &["delimiter"]);
    let twice = server.get("/search?prefix=&delimiter=/&delimiter=/");
    twice.assert_problem(400, "repeated_parameter", &["delimiter"]);
    let nothing = server.get("/search?prefix=nothing&delimiter=/");
    assert_eq!((nothing.text(), nothing.total()), ("[]", 0));
}

/// What a search finds, by a walk over all keys.
fn naive(keys: &[String], prefix: &str, suffix: &str, delimiter: &str) -> Vec<Json> {
    let mut items: BTreeMap<String, usize> = BTreeMap::new();
    for key in keys {
        if !key.starts_with(prefix) || !key.ends_with(suffix) {
            continue;
        }
        match key[prefix.len()..].find(delimiter) {
            None => drop(items.insert(key.clone(), 0)),
            Some(at) => {
                let end = prefix.len() + at + delimiter.len();
                *items.entry(key[..end].to_string()).or_default() += 1;
            }
        }
    }
    let item = |(text, keys): (String, usize)| match keys {
        0 => json!(text),
        keys => json!({"group": text, "keys": keys}),
    };
    items.into_iter().map(item).collect()
}

fn text_of(item: &Json) -> String {
    let text = item.as_str().or_else(|| item["group"].as_str());
    text.unwrap().to_string()
}

#[test]
fn groups_are_those_of_a_walk_page_by_page() {
    let server = Server::start();
    let strategy = (
        prop::collection::btree_set("[a/:]{1,6}", 1..60),
        "[a/:]{0,2}",
        "[a/:]{0,2}",
        prop_oneof![Just("/"), Just("//"), Just("/a"), Just(":"), Just("a/a")],
        1_usize..5,
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(40)
    });
    let tested = runner.run(&strategy, |(keys, prefix, suffix, delimiter, limit)| {
        let all = server.send("DELETE", "/delete?prefix=", &[], b"");
        prop_assert_eq!(all.status, 200);
        server.fill(&keys);
        let keys: Vec<String> = keys.into_iter().collect();
        let expected = naive(&keys, &prefix, &suffix, delimiter);
        let search = format!(
            "/search?prefix={}&suffix={}&delimiter={}",
            encoded(&prefix),
            encoded(&suffix),
            encoded(delimiter)
        );
        prop_assert_eq!(&items(&server.get(&search)), &expected);
        let mut found: Vec<Json> = Vec::new();
        loop {
            let after = found.last().map(text_of).unwrap_or_default();
            let page = server.get(&format!("{search}&limit={limit}&after={}", encoded(&after)));
            let page = items(&page);
            prop_assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        prop_assert_eq!(&found, &expected);
        Ok(())
    });
    tested.unwrap();
}
