//! A bare handler that answers constants, with the server's settings: the limit that the service is
//! measured against. Takes the address to listen on, the number of workers, and `metrics` to have
//! actix-web-prom count and time each request.

use actix_web::middleware::Condition;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};
use actix_web_prom::PrometheusMetricsBuilder;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// As long as the values that are read.
const VALUE: &str = r#""0123456789012345678901234567890123456789""#;

/// As long as the answer to a set.
const SET: &str = r#"{"key":"user:00000000:name","created":false}"#;

async fn get() -> HttpResponse {
    answer(VALUE)
}

async fn set(body: Bytes) -> HttpResponse {
    assert!(!body.is_empty());
    answer(SET)
}

fn answer(body: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(body)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8001".into());
    let workers = arguments.next().and_then(|workers| workers.parse().ok());
    let has_metrics = arguments.next().is_some_and(|word| word == "metrics");
    let metrics = PrometheusMetricsBuilder::new("bare").build();
    let metrics = metrics.expect("the name is one, and no other has it");
    HttpServer::new(move || {
        App::new()
            .wrap(Condition::new(has_metrics, metrics.clone()))
            .route("/get/{key}", web::get().to(get))
            .route("/set/{key}", web::put().to(set))
    })
    .workers(workers.unwrap_or(2))
    .keep_alive(Duration::from_secs(75))
    .tcp_nodelay(true)
    .bind(address)?
    .run()
    .await
}
