//! Panics inside the key map, at each step of each kind of message in turn: the client is told, no key is lost, what
//! is counted is right, and the place among the messages in flight is given back.
//!
//! Here and not over the network, since nothing in a server that is released panics on purpose.

use super::*;
use crate::config::{Config, Settings};
use crate::keymap::fault;
use crate::lifecycle::Stage;
use crate::model::{Filter, Query};
use crate::server;
use actix_http::Request;
use actix_web::body::to_bytes;
use actix_web::dev::Service;
use actix_web::http::Method;
use actix_web::rt::System;
use actix_web::test::{TestRequest, call_service, init_service};
use bytes::Bytes;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// More steps than anything takes that is asked here.
const STEPS_MAX: usize = 500;

const PATIENCE: Duration = Duration::from_secs(30);

/// A request, and the status that it has where nothing panics.
struct Asked {
    method: &'static str,
    path: &'static str,
    body: &'static str,
    status: u16,
    does: Does,
}

/// What may have been done where something panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Nothing.
    One,
    /// A part of the lines.
    Lines,
    /// A part of the removals, which the answer counts.
    Erase,
    /// Nothing, and the answer is of another status.
    Scrape,
}

// A row a line.
#[rustfmt::skip]
const ASKED: [Asked; 20] = [
    asked("GET", "/get/k1", "", 200, Does::One),
    asked("HEAD", "/get/k1", "", 200, Does::One),
    asked("GET", "/get/none", "", 404, Does::One),
    asked("POST", "/get", r#"{"keys":["k1","none","k2"]}"#, 200, Does::One),
    asked("GET", "/search?prefix=k", "", 200, Does::One),
    asked("GET", "/search?prefix=k&suffix=1&limit=2", "", 200, Does::One),
    asked("GET", "/search?prefix=k&values=true", "", 200, Does::One),
    asked("GET", "/search?prefix=&delimiter=/", "", 200, Does::One),
    asked("DELETE", "/delete?prefix=k&dry_run=true", "", 200, Does::One),
    asked("GET", "/metrics", "", 200, Does::Scrape),
    asked("PUT", "/set/k1", "changed", 200, Does::One),
    asked("PUT", "/set/new", "made", 200, Does::One),
    asked("PUT", "/set/k2?ttl_ms=86400000", "ends", 200, Does::One),
    asked("POST", "/set", r#"{"key":"k3","value":"changed"}"#, 200, Does::One),
    asked("POST", "/expire/k4", r#"{"ttl_ms":86400000}"#, 200, Does::One),
    asked("POST", "/expire/none", r#"{"ttl_ms":86400000}"#, 404, Does::One),
    asked("POST", "/set", LINES, 200, Does::Lines),
    asked("DELETE", "/delete/k5", "", 204, Does::One),
    asked("DELETE", "/delete/none", "", 404, Does::One),
    asked("DELETE", "/delete?prefix=k", "", 200, Does::Erase),
];

const LINES: &str = "{\"key\":\"k1\",\"value\":1}\n{\"key\":\"line\",\"value\":2}\n\
                     {\"key\":\"k2\",\"value\":3,\"if_none_match\":\"*\"}\n";

const fn asked(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    status: u16,
    does: Does,
) -> Asked {
    Asked {
        method,
        path,
        body,
        status,
        does,
    }
}

/// What became of a request.
struct Answer {
    status: u16,
    /// `None` where it broke off.
    body: Option<Bytes>,
}

impl Answer {
    fn json(&self) -> Json {
        let body = self.body.as_deref().unwrap_or_default();
        serde_json::from_slice(body).unwrap_or_default()
    }
}

/// Runs a test of a server without a network, all of which is on this thread.
fn with_server(test: impl AsyncFnOnce(Arc<State>, PrometheusMetrics)) {
    let settings = Settings {
        workers: Some(1),
        ..Settings::default()
    };
    let config = Config::resolve(settings).unwrap();
    let lifecycle = Arc::new(Lifecycle::default());
    let state = Arc::new(server::state(&config, lifecycle.clone()).unwrap());
    let metrics = state.metrics.middleware().unwrap();
    let system = System::new();
    // It goes before the store does, whose end while serving would end the process, also where the test fails.
    let _stopping = Stopping(lifecycle);
    system.block_on(async {
        state.store.host(1);
        test(state, metrics).await;
    });
}

/// Has a store that is lost count as one that was told to stop.
struct Stopping(Arc<Lifecycle>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.advance(Stage::Stopping);
    }
}

async fn ask<S, B>(service: &S, asked: &Asked) -> Answer
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let method = Method::from_bytes(asked.method.as_bytes()).unwrap();
    let mut request = TestRequest::with_uri(asked.path).method(method);
    if !asked.body.is_empty() {
        let content_type = match asked.does {
            Does::Lines => "application/x-ndjson",
            Does::One | Does::Erase | Does::Scrape => "application/json",
        };
        request = request.insert_header(("Content-Type", content_type));
        request = request.set_payload(asked.body);
    }
    let response = call_service(service, request.to_request()).await;
    Answer {
        status: response.status().as_u16(),
        body: to_bytes(response.into_body()).await.ok(),
    }
}

/// All keys and what they name.
async fn contents(state: &State) -> BTreeMap<String, Bytes> {
    let query = Query {
        filter: Filter::default(),
        after: Vec::new(),
        limit: None,
    };
    let mut searched = state.store.search(query).await.unwrap();
    let mut keys = Vec::new();
    while !searched.pages.is_done() {
        let page = searched.pages.next(100).await.unwrap();
        keys.extend(
            page.iter()
                .map(|key| String::from_utf8(key.to_vec()).unwrap()),
        );
    }
    let mut contents = BTreeMap::new();
    for text in keys {
        let key = Key::parse(text.as_str().into(), usize::MAX).unwrap();
        if let Some(value) = state.store.get(key).await.unwrap() {
            contents.insert(text, value.body);
        }
    }
    contents
}

#[test]
fn a_panic_at_any_step_of_any_message_is_told_and_loses_no_key() {
    with_server(async |state, metrics| {
        let service = init_service(app(state.clone(), metrics)).await;
        for number in 0..20 {
            let path: &'static str = format!("/set/k{number}").leak();
            let set = asked("PUT", path, "value", 200, Does::One);
            assert_eq!(ask(&service, &set).await.status, 200);
        }
        for asked in &ASKED {
            let mut steps = 0;
            loop {
                let before = contents(&state).await;
                fault::arm(steps);
                let answer = ask(&service, asked).await;
                if !fault::disarm() {
                    assert_eq!(
                        answer.status, asked.status,
                        "{} {}",
                        asked.method, asked.path
                    );
                    break;
                }
                check(&state, asked, &answer, &before).await;
                steps += 1;
                assert!(steps < STEPS_MAX, "{} {} ends", asked.method, asked.path);
            }
            assert!(steps > 0, "{} {} takes a step", asked.method, asked.path);
        }
        let left = contents(&state).await;
        assert_eq!(left.keys().collect::<Vec<_>>(), ["line", "new"]);
    });
}

/// Checks what there is after a panic.
async fn check(state: &State, asked: &Asked, answer: &Answer, before: &BTreeMap<String, Bytes>) {
    let about = format!("{} {}", asked.method, asked.path);
    let (status, code) = match asked.does {
        Does::Scrape => (503, "unscraped"),
        Does::One | Does::Lines | Does::Erase => (500, "internal"),
    };
    // What had begun breaks off.
    if answer.body.is_some() {
        assert_eq!(answer.status, status, "{about}");
        assert!(
            asked.method == "HEAD" || answer.json()["code"] == code,
            "{about}"
        );
    }
    let after = contents(state).await;
    match asked.does {
        Does::One | Does::Scrape => assert_eq!(after, *before, "{about}"),
        Does::Lines => assert!(before.keys().all(|key| after.contains_key(key)), "{about}"),
        Does::Erase => {
            assert!(after.keys().all(|key| before.contains_key(key)), "{about}");
            let deleted = (before.len() - after.len()) as u64;
            assert_eq!(answer.json()["deleted"], deleted, "{about}");
        }
    }
    let stats = state.store.stats(PATIENCE).await.unwrap();
    assert_eq!(stats.counted.keys, after.len(), "{about}");
    assert_eq!(stats.messages_in_flight, 0, "{about}");
    assert_eq!(state.lifecycle.in_flight(), 0, "{about}");
}

#[test]
fn a_panic_while_values_end_loses_no_other_key() {
    with_server(async |state, metrics| {
        let service = init_service(app(state.clone(), metrics)).await;
        let kept = asked("PUT", "/set/kept", "value", 200, Does::One);
        assert_eq!(ask(&service, &kept).await.status, 200);
        let before = contents(&state).await;
        let path = "/set/ended?expires_at=1969-07-20T20:17:40Z";
        let set = asked("PUT", path, "value", 200, Does::One);
        let get = asked("GET", "/get/ended", "", 404, Does::One);
        let scrape = asked("GET", "/metrics", "", 200, Does::Scrape);
        for steps in 0..STEPS_MAX {
            fault::arm(steps);
            // It takes out what has ended, if nothing did before.
            for asked in [&set, &scrape] {
                let status = ask(&service, asked).await.status;
                assert!(status == asked.status || matches!(status, 500 | 503));
            }
            let has_panicked = fault::disarm();
            assert_eq!(ask(&service, &get).await.status, 404);
            assert_eq!(contents(&state).await, before);
            let stats = state.store.stats(PATIENCE).await.unwrap();
            assert_eq!(stats.messages_in_flight, 0);
            if !has_panicked {
                // One that it broke off at stays and is counted, though no read has it and no delete finds it.
                let delete = asked("DELETE", "/delete/ended", "", 404, Does::One);
                assert_eq!(ask(&service, &delete).await.status, 404);
                assert!(stats.counted.keys <= before.len() + 1);
                return;
            }
        }
        panic!("it takes fewer steps");
    });
}
