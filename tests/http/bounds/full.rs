//! A store whose memory is full: what does not fit is refused, the rest goes on, and what is deleted is room. Where an engine
//! has the values, it says itself when it is full (tests/engine).

use crate::support::{LINES, Server, until};
use serde_json::json;

#[test]
fn a_full_store_gets_507_while_reads_and_deletes_go_on() {
    let server = Server::in_memory(&["--store-bytes-max", "4000000"]);
    let value = vec![b'v'; 10_000];
    let mut stored = 0;
    let full = loop {
        let response = server.put(&format!("/set/{stored}"), &[], &value);
        if response.status != 200 {
            break response;
        }
        stored += 1;
        assert!(stored < 1000, "the store is full at some point");
    };
    full.assert_problem(507, "store_full", &["4000000", "store_bytes_max", "delete"]);
    assert!(stored > 100);
    let line = |key: &str, length: usize| {
        json!({"key": key, "value": "v".repeat(length)}).to_string() + "\n"
    };
    let lines = line("0", 5) + &line("big", 500_000) + &line("after", 5);
    let bulk = server.send("POST", "/set", &[LINES], lines.as_bytes());
    let problem = bulk.assert_problem(507, "store_full", &["store_bytes_max"]);
    assert_eq!(
        (&problem["line"], &problem["updated"]),
        (&2.into(), &1.into())
    );
    assert_eq!(server.get("/get/1").body, value);
    // What does not grow the store fits all the same.
    assert_eq!(server.put("/set/1", &[], &value).status, 200);
    assert_eq!(server.put("/set/1", &[], b"small").status, 200);
    assert_eq!(server.get("/search?prefix=&limit=5").keys().len(), 5);
    for number in 1..stored {
        assert_eq!(server.delete(&format!("/delete/{number}")).status, 204);
    }
    assert_eq!(server.put("/set/again", &[], &value).status, 200);
}

#[test]
fn a_body_that_the_store_stops_tells_the_truth_on_any_number_of_shards() {
    let line = |number: usize, length: usize| {
        json!({"key": number.to_string(), "value": "v".repeat(length)}).to_string() + "\n"
    };
    for shards in ["1", "4"] {
        let server = Server::in_memory(&["--store-bytes-max", "8000000", "--shards", shards]);
        let old: String = (0..300).map(|number| line(number, 10)).collect();
        assert_eq!(server.bulk(&old).status, 200);
        // Keys that there are and new ones in turn, the values of which do not all fit.
        let number_of = |line: usize| {
            if line.is_multiple_of(3) {
                line / 3
            } else {
                1000 + line
            }
        };
        let lines: Vec<String> = (0..800).map(|at| line(number_of(at), 20_000)).collect();
        let refused = server.bulk(&lines.concat());
        let says = [
            "all lines before this one are applied",
            "some after it may be",
            "from this line on",
        ];
        let problem = refused.assert_problem(507, "store_full", &says);
        let number = |name: &str| problem[name].as_u64().unwrap() as usize;
        let failed = number("line") - 1;
        let is_applied = |at: &usize| {
            let read = server.get(&format!("/get/{}", number_of(*at)));
            read.body.len() == 20_002
        };
        let applied: Vec<usize> = (0..lines.len()).filter(is_applied).collect();
        assert!(applied.len() > 100 && applied.len() < lines.len());
        assert!(
            applied.iter().take(failed).copied().eq(0..failed),
            "{shards}: {failed}"
        );
        assert!(!applied.contains(&failed));
        if shards == "1" {
            assert_eq!(applied.len(), failed);
        }
        let updated = applied.iter().filter(|at| at.is_multiple_of(3)).count();
        let counts = (number("created"), number("updated"));
        assert_eq!(counts, (applied.len() - updated, updated));
        let total = server.get("/search?prefix=&limit=1").total();
        assert_eq!(total, 300 + number("created"));
        // From that line on it goes on, once there is room.
        for at in 1..80 {
            let deleted = server.delete(&format!("/delete/{}", number_of(at)));
            assert_eq!(deleted.status, 204);
        }
        let rest: String = (failed..lines.len())
            .map(|at| line(number_of(at), 10))
            .collect();
        assert_eq!(server.bulk(&rest).status, 200);
        for at in [0, failed.saturating_sub(1), failed, lines.len() - 1] {
            let length = server.get(&format!("/get/{}", number_of(at))).body.len();
            assert_eq!(length, if at < failed { 20_002 } else { 12 });
        }
    }
}

#[test]
fn what_was_deleted_from_a_full_store_is_free_for_values_of_another_size() {
    const BYTES_MAX: usize = 20_000_000;
    let bytes_max = BYTES_MAX.to_string();
    let server = Server::in_memory(&["--store-bytes-max", &bytes_max, "--shards", "2"]);
    let lines = |name: &str, numbers: std::ops::Range<usize>, body_bytes: usize| -> String {
        let value = "v".repeat(body_bytes);
        let line = |number| {
            let key = format!("{name}{number}");
            json!({"key": key, "value": value}).to_string() + "\n"
        };
        numbers.map(line).collect()
    };
    let mut stored = 0;
    loop {
        let response = server.bulk(&lines("old", stored..stored + 2000, 150));
        stored += 2000;
        if response.status != 200 {
            response.assert_problem(507, "store_full", &["store_bytes_max"]);
            break;
        }
        assert!(stored < 1_000_000, "the store is full at some point");
    }
    // Nine of ten, so that no larger piece of memory falls empty.
    for last in 1..10 {
        let deleted = server.delete(&format!("/delete?prefix=old&suffix={last}"));
        assert_eq!(deleted.status, 200, "{}", deleted.text());
    }
    // At once, and without a try that is refused.
    let single = server.put("/set/single", &[], &[b'v'; 300]);
    assert_eq!(single.status, 200, "{}", single.text());
    until("memory comes back", || {
        let bytes = metric(&server, "kvstore_store_bytes");
        (bytes < BYTES_MAX / 3).then_some(())
    });
    let count = BYTES_MAX / 2 / (320 + 60);
    let response = server.bulk(&lines("new", 0..count, 320));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json()["created"], count);
    for number in (0..stored).step_by(10).take(100) {
        let value = server.get(&format!("/get/old{number}"));
        assert_eq!(value.body.len(), 152);
    }
}

/// A number of `/metrics`.
fn metric(server: &Server, name: &str) -> usize {
    let metrics = server.get("/metrics");
    let line = metrics.text().lines().find_map(|line| {
        let number = line.strip_prefix(name)?.strip_prefix(' ')?;
        number.parse().ok()
    });
    line.expect("the metric is there")
}
