//! Engines as they are met: with users who may do little, commands that are off, TLS in all its ways, and
//! other things at their address.

use crate::authority::Authority;
use crate::redis::{Cluster, Redis, free_port};
use crate::server;
use crate::start::{refused, refused_with};
use crate::support::{Server, kvstore, until};
use std::io::{Read, Write};
use std::net::TcpListener;

/// The line of docs/operations.md that makes a user, as arguments of a server.
fn documented() -> Vec<&'static str> {
    let page = include_str!("../../docs/operations.md");
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER "));
    let words = line.expect("the page makes a user").split(' ');
    words
        .map(|word| if word == ">PASSWORD" { ">geheim" } else { word })
        .collect()
}

/// An engine with a user whose permissions are as documented but for some.
fn with_user_lacking(lacking: &[&str]) -> Redis {
    let mut words = vec!["--user"];
    let allowed = |word: &&str| !lacking.contains(&word.trim_start_matches('+'));
    words.extend(documented().into_iter().filter(allowed));
    Redis::start(&words)
}

fn user_url(redis: &Redis) -> String {
    redis.url().replace("//", "//kvstore:geheim@")
}

#[test]
fn the_documented_permissions_do_and_each_that_lacks_is_named() {
    let whole = with_user_lacking(&[]);
    let on_whole = server(&user_url(&whole), &["--engine-scrub-interval-ms", "10"]);
    on_whole.fill(["a", "b"]);
    assert_eq!(on_whole.delete("/delete/a").status, 204);
    assert_eq!(on_whole.get("/search?prefix=").keys(), ["b"]);
    assert_eq!(
        on_whole.get("/readyz").json()["warnings"],
        serde_json::Value::Null
    );
    assert_eq!(
        whole.run(&["keys", "*try*"]).trim(),
        "",
        "what was tried leaves nothing"
    );
    for lacking in [
        "hget", "hkeys", "hlen", "hscan", "xrange", "type", "eval", "evalsha", "get",
    ] {
        let redis = with_user_lacking(&[lacking]);
        let said = refused(&["--engine", &user_url(&redis)]);
        let command = format!("the command {}", lacking.to_uppercase());
        assert!(said.contains(&command), "{lacking}: {said}");
    }
    for lacking in [
        "hset",
        "hdel",
        "hexists",
        "set",
        "xadd",
        "time",
        "del",
        "xrevrange",
    ] {
        let redis = with_user_lacking(&[lacking]);
        let reading = server(&user_url(&redis), &[]);
        assert_eq!(reading.get("/search?prefix=").total(), 0);
        assert_eq!(reading.get("/get/a").status, 404);
        let ready = reading.get("/readyz");
        let command = format!("the command {}", lacking.to_uppercase());
        assert!(
            ready.text().contains(&command),
            "{lacking}: {}",
            ready.text()
        );
        assert!(
            reading.log().contains(&command),
            "{lacking}: {}",
            reading.log()
        );
    }
    let reading = with_user_lacking(&["hset", "xadd"]);
    let on_reading = server(&user_url(&reading), &[]);
    let refused_set = on_reading.put("/set/a", &[], b"1");
    refused_set.assert_problem(503, "engine_denied", &["permission", "nothing was done"]);
    // Without these nothing is missed.
    let optional = with_user_lacking(&["info", "getbit", "ping", "cluster", "select", "wait"]);
    let on_optional = server(&user_url(&optional), &[]);
    on_optional.fill(["a"]);
    assert_eq!(on_optional.get("/search?prefix=").keys(), ["a"]);
}

#[test]
fn commands_that_are_off_are_named_or_done_without() {
    for (command, name) in [("EVAL", "EVAL"), ("EVALSHA", "EVALSHA"), ("HSCAN", "HSCAN")] {
        let redis = Redis::start(&["--rename-command", command, ""]);
        let said = refused(&["--engine", &redis.url()]);
        assert!(
            said.contains(&format!("lacks the command {name}")),
            "{said}"
        );
    }
    let redis = Redis::start(&[
        "--rename-command",
        "INFO",
        "",
        "--rename-command",
        "CONFIG",
        "",
    ]);
    let on_it = server(&redis.url(), &[]);
    let names: Vec<String> = (0..5_000).map(|number| format!("{number:05}")).collect();
    on_it.fill(&names);
    assert_eq!(on_it.get("/search?prefix=").keys(), names);
}

/// Keys of one bucket, which is then too large to be read at once where it can be read in steps.
#[test]
fn a_large_bucket_is_read_without_info_as_well() {
    let redis = Redis::start(&["--rename-command", "INFO", ""]);
    let of_bucket = |key: &String| {
        let place = kvstore::valkey::Place::of(key.as_bytes());
        place.partition == 3 && place.bucket == 5
    };
    let names = (0..).map(|number| format!("{number}")).filter(of_bucket);
    let mut names: Vec<String> = names.take(4_200).collect();
    names.sort();
    server(&redis.url(), &[]).fill(&names);
    let second = server(&redis.url(), &[]);
    assert_eq!(second.get("/search?prefix=").keys(), names);
}

#[test]
fn what_stands_in_the_way_of_tls_is_said_by_its_name() {
    let authority = Authority::new("DNS:localhost,IP:127.0.0.1");
    let stranger = Authority::new("DNS:elsewhere.example");
    let start = |authority: &Authority, asks: bool| {
        let mut words = authority.engine_arguments(free_port(), asks);
        words.extend(["--port".into(), "0".into()]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Redis::start(&words)
    };
    let (open, asking) = (start(&authority, false), start(&authority, true));
    let other_name = start(&stranger, false);
    let url = |redis: &Redis| format!("rediss://localhost:{}", redis.tls_port().unwrap());
    let trusts = |authority: &Authority| vec![("SSL_CERT_FILE", authority.text("ca.crt"))];
    let says = |url: &str, trusted: &[(&str, String)], more: &[&str], part: &str| {
        let said = refused_with(trusted, &[&["--engine", url], more].concat());
        assert!(said.contains(part), "{url}: {said}");
    };
    says(&url(&open), &trusts(&stranger), &[], "is not trusted");
    says(&url(&other_name), &trusts(&stranger), &[], "another name");
    says(
        &url(&asking),
        &trusts(&authority),
        &[],
        "client certificate",
    );
    let plain = Redis::start(&[]);
    let plain_url = format!("rediss://localhost:{}", plain.port());
    says(&plain_url, &trusts(&authority), &[], "not TLS");
    // A certificate that is not the key's, or without one, or without TLS.
    let (certificate, key) = (authority.text("client.crt"), authority.text("client.key"));
    let (flag, key_flag) = ("--engine-tls-cert-file", "--engine-tls-key-file");
    says(
        &url(&asking),
        &[],
        &[flag, &certificate],
        "key of this certificate is missing",
    );
    let wrong = stranger.text("client.key");
    says(
        &url(&asking),
        &[],
        &[flag, &certificate, key_flag, &wrong],
        "do not fit",
    );
    says(
        &plain.url(),
        &[],
        &[flag, &certificate, key_flag, &key],
        "not asked by TLS",
    );
    let untrusted = stranger.text("client.crt");
    let more = [flag, &untrusted, key_flag, &wrong];
    says(
        &url(&asking),
        &trusts(&authority),
        &more,
        "client certificate",
    );
    // And with what it asks for it is used.
    let mut command = kvstore();
    command.envs(trusts(&authority));
    command.args(["--listen", "127.0.0.1:0", "--engine", &url(&asking)]);
    command.args([flag, &certificate, key_flag, &key]);
    let mutual = Server::spawn(&mut command);
    until("both certificates are trusted", || {
        (mutual.get("/readyz").status == 200).then_some(())
    });
    assert_eq!(mutual.put("/set/a", &[], b"1").status, 200);
    assert_eq!(mutual.get("/search?prefix=").keys(), ["a"]);
}

#[test]
fn something_else_at_the_address_is_said_to_be_that() {
    let redis = Redis::start(&["--databases", "4"]);
    let said = refused(&["--engine", &format!("{}/7", redis.url())]);
    assert!(said.contains("no database of the number"), "{said}");
    let cluster_url = redis.url().replace("redis:", "redis+cluster:");
    let said = refused(&["--engine", &cluster_url]);
    assert!(said.contains("is no cluster"), "{said}");
    let said = refused(&["--engine", &format!("redis://{}", speaks_http())]);
    assert!(said.contains("no Valkey or Redis"), "{said}");
    let cluster = Cluster::start();
    let said = refused(&["--engine", &cluster.nodes[0].url()]);
    assert!(said.contains("a node of a cluster"), "{said}");
}

/// Something that answers whatever it is asked, in the words of another protocol.
fn speaks_http() -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    });
    address
}

#[test]
fn a_cause_that_may_pass_is_said_while_it_is_waited_for() {
    let free = format!("redis://127.0.0.1:{}", free_port());
    for (url, says) in [
        (free.as_str(), "cannot be reached"),
        (
            "redis://no-such-host.invalid:6379",
            "name of the engine's host",
        ),
        (
            "redis+cluster://no-such-host.invalid:6379",
            "name of the engine's host",
        ),
    ] {
        let waiting = Server::launch(&["--engine", url]);
        until("the cause is in the log", || {
            waiting.log().contains(says).then_some(())
        });
        let unready = waiting.get("/readyz");
        unready.assert_problem(503, "starting", &[says]);
        // Searches do not wait for what is not there.
        let mut connection = waiting.connect();
        let refused = connection.request("GET", "/search?prefix=", &[], b"");
        refused.assert_problem(503, "engine_unavailable", &[says]);
        assert_eq!(
            waiting.log().matches("fails:").count(),
            1,
            "{}",
            waiting.log()
        );
    }
}

#[test]
fn a_value_that_the_engine_refuses_is_refused_in_words_and_harms_nobody() {
    let limits = [
        "--value-bytes-max",
        "4000000",
        "--body-bytes-max",
        "8000000",
        "--line-bytes-max",
        "8000000",
    ];
    let large = vec![b'v'; 1_500_000];
    let line =
        |key: &str, value: &str| serde_json::json!({"key": key, "value": value}).to_string() + "\n";
    // With its quotes as long as the other.
    let text = "v".repeat(1_499_998);
    let body = line("first", "1") + &line("large", &text) + &line("last", "1");
    // By a user who may ask how much it takes, and by one who may not.
    for may_ask in [true, false] {
        let user = documented().join(" ");
        let user = match may_ask {
            true => user,
            false => user.replace(" +getbit", ""),
        };
        let mut words = vec!["--proto-max-bulk-len", "1mb", "--user"];
        words.extend(user.split(' '));
        let redis = Redis::start(&words);
        let on_it = server(&user_url(&redis), &limits);
        let mut others = on_it.connect();
        for number in 0..10 {
            let refused = on_it.put("/set/large", &[], &large);
            if may_ask {
                let says = ["proto-max-bulk-len", "nothing was done"];
                refused.assert_problem(413, "value_too_large", &says);
            }
            assert!(matches!(refused.status, 413 | 504), "{}", refused.text());
            let other = others.request("PUT", &format!("/set/{number}"), &[], b"1");
            assert_eq!(other.status, 200, "{}", other.text());
        }
        let bulk = on_it.bulk(&body);
        assert!(matches!(bulk.status, 413 | 504), "{}", bulk.text());
        assert_eq!(bulk.json()["line"], 2);
        assert!(!may_ask || bulk.status == 413, "{}", bulk.text());
        assert_eq!(on_it.get("/get/large").status, 404);
        assert_eq!(on_it.get("/get/first").status, 200);
        // What is longer than a mebibyte and allowed is stored, with its head to the byte.
        let exactly = 1_500_000 + 10;
        redis.run(&["config", "set", "proto-max-bulk-len", &exactly.to_string()]);
        let stored = on_it.put("/set/large", &[], &large);
        assert_eq!(stored.status, 200, "{}", stored.text());
        assert_eq!(on_it.get("/get/large").body.len(), large.len());
        let longer = [&large[..], b"v"].concat();
        let refused = on_it.put("/set/large", &[], &longer);
        assert!(matches!(refused.status, 413 | 504), "{}", refused.text());
        assert!(!may_ask || refused.status == 413, "{}", refused.text());
        assert_eq!(on_it.bulk(&body).status, 200);
    }
    let said = refused(&["--engine", "redis://h", "--value-bytes-max", "536870912"]);
    assert!(said.contains("value_bytes_max"), "{said}");
}
