//! Counts the instructions that a request takes through the whole stack of handlers, metrics, actor
//! and key map, without the network. Counts repeat where times do not, so that small changes show.
//!
//! `make bench-instructions` prints them. Needs valgrind, whose callgrind counts what happens inside
//! of one function here, on the thread that serves.

use actix_web::body::to_bytes;
use actix_web::http::Method;
use actix_web::rt::{System, SystemRunner};
use actix_web::test::{TestRequest, call_service, init_service};
use bytes::Bytes;
use kvstore::config::{Config, Settings};
use kvstore::http;
use kvstore::lifecycle::{Lifecycle, Stage};
use kvstore::model::{ContentType, Key, Mutation};
use kvstore::server;
use kvstore::store::Store;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Keys in the store.
const KEYS: usize = 20_000;

/// Requests of a run: fewer than keys, so that each finds one.
const REQUESTS: usize = 4_000;

const VALUE: &str = r#""0123456789012345678901234567890123456789""#;

/// What is asked: its name, method, and path with `{}` for a key. `/livez` shows what all requests
/// cost before the store is asked.
const LOADS: [(&str, Method, &str); 6] = [
    ("livez", Method::GET, "/livez"),
    ("get", Method::GET, "/get/{}"),
    ("miss", Method::GET, "/get/absent:{}"),
    ("set", Method::PUT, "/set/{}"),
    ("new", Method::PUT, "/set/new:{}"),
    ("search", Method::GET, "/search?limit=10&prefix={}"),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [word, load, requests] if word == "serve" => {
            serve(load, requests.parse().expect("the parent counts"));
        }
        // `cargo bench` says so; as a test it is only seen to work.
        _ if arguments.iter().any(|word| word == "--bench") => {
            println!("| load | instructions a request |\n|---|--:|");
            for (load, ..) in LOADS {
                println!("| {load} | {} |", count(load, REQUESTS));
            }
        }
        _ => {
            // In a process each, as they are counted: a thread hosts the shards of one store.
            for (load, ..) in LOADS {
                let program = std::env::current_exe().expect("this program has a file");
                let run = Command::new(program).args(["serve", load, "10"]).status();
                assert!(run.is_ok_and(|status| status.success()), "{load} works");
            }
        }
    }
}

/// The instructions that each of so many requests takes.
fn count(load: &str, requests: usize) -> u64 {
    let program = std::env::current_exe().expect("this program has a file");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*measured*")
        .arg(program)
        .args(["serve", load, &requests.to_string()])
        .output()
        .expect("valgrind is installed (apt-get install valgrind)");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, collected) = collected.expect("callgrind says what it collected");
    let collected: u64 = collected.trim().parse().expect("it is a number");
    collected / requests as u64
}

/// Serves so many requests of a load, and checks the answers.
fn serve(load: &str, requests: usize) {
    let load = LOADS.iter().find(|(name, ..)| *name == load);
    let (name, method, path) = load.expect("the parent knows the loads");
    let settings = Settings {
        workers: Some(1),
        ..Settings::default()
    };
    let config = Config::resolve(settings).expect("the defaults are valid");
    let lifecycle = Arc::new(Lifecycle::default());
    let state = server::state(&config, lifecycle.clone());
    let state = Arc::new(state.expect("the system gives threads"));
    let metrics = state.metrics.middleware();
    let metrics = metrics.expect("the names are valid");
    let system = System::new();
    let app = system.block_on(async {
        state.store.host(1);
        fill(&state.store).await;
        init_service(http::app(state, metrics)).await
    });
    let status = if *name == "miss" { 404 } else { 200 };
    measured(&system, async {
        for number in 0..requests {
            let path = path.replace("{}", &text(number));
            let mut request = TestRequest::with_uri(&path).method(method.clone());
            if method == Method::PUT {
                request = request.set_payload(VALUE);
            }
            let response = call_service(&app, request.to_request()).await;
            assert_eq!(response.status(), status);
            let body = to_bytes(response.into_body()).await;
            assert!(body.is_ok_and(|body| !body.is_empty()));
        }
    });
    lifecycle.advance(Stage::Stopping);
}

/// What callgrind counts, on this thread.
#[inline(never)]
fn measured(system: &SystemRunner, requests: impl Future<Output = ()>) {
    system.block_on(requests);
}

async fn fill(store: &Store) {
    let mut batch = store.batch();
    for number in 0..KEYS {
        let key = Key::parse(text(number).into(), 1024).expect("the key is short");
        let set = Mutation::set(key, ContentType::JSON, Bytes::from_static(VALUE.as_bytes()));
        batch.push(number as u64, set);
        if batch.is_full(usize::MAX) || number == KEYS - 1 {
            assert_eq!(batch.make().await.failure, None);
        }
    }
    // Merges would be counted along.
    loop {
        let stats = store.stats(Duration::from_secs(60)).await;
        let index = stats.expect("the shard answers").counted.index;
        if index.merges_running == 0 {
            return;
        }
        actix_web::rt::time::sleep(Duration::from_millis(1)).await;
    }
}

fn text(number: usize) -> String {
    format!("user:{number:08}:name")
}
