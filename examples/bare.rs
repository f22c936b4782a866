//! A bare handler that answers a constant, with the server's settings: the limit that the service
//! is measured against. Takes the address to listen on and the number of workers.

use actix_web::{App, HttpResponse, HttpServer, web};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8001".into());
    let workers = arguments.next().and_then(|workers| workers.parse().ok());
    let answer = || async {
        HttpResponse::Ok()
            .content_type("application/json")
            .body("12345678901234567890123456789012")
    };
    HttpServer::new(move || App::new().route("/get/{key}", web::get().to(answer)))
        .workers(workers.unwrap_or(2))
        .keep_alive(Duration::from_secs(75))
        .tcp_nodelay(true)
        .bind(address)?
        .run()
        .await
}
