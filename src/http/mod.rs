//! HTTP: what of a request becomes a message to the store, and what of its answer a response.
//!
//! A handler parses its request whole, asks [`Store`], and builds the response; it knows no engine
//! and no actor.
//!
//! # Layout
//! - `routes`: the one table of paths and methods, and the way from a request to its handler
//! - `get`, `get_many`, `set`, `bulk`, `delete`, `erase`, `expire`, `search`, `watch`, `metrics`, `health`, `openapi`, `docs`,
//!   `console`, `index`: a file for each route
//! - `parameters`, `percent`, `body`: what a request is made of
//! - `listing`, `entries`: answers that list `items`, by their names or with values; `format`: how they are
//!   put together; `streamed`: how they are sent as they are found
//! - `static_text`: answers that are the same for everybody
//! - `entity_tags`: of which conditions are made; `unsupported`: what is refused rather than ignored
//! - `problem`: the errors, in one table
//! - `gate`: what happens around every request; `host`: whether it names a host; `request_id`: by what it is known; `slow`:
//!   which of them the log has; `door`: who asks, and whether they may
//! - `buffers`: what bodies and answers in flight may take
//! - `stream`: a connection as the framework sees it; `wire`: its bytes below that, encrypted or not; `connection`: what is known of it, and when it
//!   is cut; `framing`: where its requests begin and end
//! - `panics`: what clients see of them, in tests

mod body;
mod buffers;
mod bulk;
mod conditions;
mod connection;
mod console;
mod delete;
mod docs;
mod door;
mod entity_tags;
mod entries;
mod erase;
mod expire;
mod format;
mod framing;
mod gate;
mod get;
mod get_many;
mod health;
mod host;
mod index;
mod items;
mod listing;
mod metrics;
mod openapi;
#[cfg(test)]
mod panics;
mod parameters;
mod percent;
mod problem;
mod request_id;
mod routes;
mod search;
mod set;
mod slow;
mod static_text;
mod stream;
mod streamed;
mod unsupported;
mod watch;
mod wire;

pub use buffers::Buffers;
pub use connection::{ConnectionLimits, Connections, SPARE_CONNECTIONS};
pub use stream::{Reception, Stream};
pub use watch::Watchers;

use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::model::{ContentTypes, Key};
use crate::store::Store;
use crate::tls::Tls;
use crate::tokens::Auth;
use actix_web::body::MessageBody;
use actix_web::dev::{Extensions, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::web::{Data, to};
use actix_web::{App, Error, HttpRequest};
use actix_web_prom::PrometheusMetrics;
use gate::gate;
use problem::Problem;
use std::sync::Arc;
use std::time::Duration;
use watch::Hub;

/// What handlers work with, shared by all workers.
#[derive(Debug)]
pub struct State {
    /// The store.
    pub store: Store,
    /// The bounds on requests.
    pub limits: Limits,
    /// Who may do what, where not everybody may do everything.
    pub auth: Option<Auth>,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<Tls>>,
    /// What bodies and answers in flight may take.
    pub buffers: Buffers,
    /// The content types that values share.
    pub content_types: ContentTypes,
    /// What is measured.
    pub metrics: Metrics,
    /// Who watches changes.
    pub watchers: Watchers,
    /// Whether the process is stopping.
    pub lifecycle: Arc<Lifecycle>,
    /// Whether to log every request.
    pub access_log: bool,
    /// From how many milliseconds on a request is slow, where slow ones are logged.
    pub slow_ms: Option<u64>,
}

/// The bounds on requests; each is the setting of its name.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest key, in bytes.
    pub key_bytes_max: usize,
    /// The longest value, in bytes.
    pub value_bytes_max: usize,
    /// The longest JSON body, in bytes.
    pub body_bytes_max: usize,
    /// The longest line of a bulk body, in bytes.
    pub line_bytes_max: usize,
    /// What bodies and answers in flight may take together, in bytes.
    pub buffers_bytes_max: usize,
    /// The largest page of a search, and the most keys that are asked for at once.
    pub page_keys_max: usize,
    /// How long a body may take, and how long a bulk body may pause.
    pub body_timeout: Duration,
}

/// The app of one worker: all routes, and what happens around every request.
pub fn app(
    state: Arc<State>,
    metrics: PrometheusMetrics,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let gate_state = state.clone();
    App::new()
        .app_data(Hub::new(state.clone()))
        .app_data(Data::from(state))
        .configure(routes::register)
        .default_service(to(routes::unmatched))
        .wrap(metrics)
        .wrap_fn(move |request, service| gate(&gate_state, request, service))
}

/// Makes what is known of a connection known to its requests: for the framework's `on_connect`.
pub fn on_connect(stream: &Stream, extensions: &mut Extensions) {
    extensions.insert(stream.connection().clone());
}

/// The key that the path names after `prefix`, decoded strictly and once. The framework's own
/// path is no use here: it is decoded lossily, which would make two keys one.
fn path_key(request: &HttpRequest, prefix: &str, limits: &Limits) -> Result<Key, Problem> {
    let encoded = request.uri().path().strip_prefix(prefix);
    let encoded = encoded.ok_or_else(|| routes::no_such_path(request.uri().path()))?;
    let text = percent::decode(encoded, percent::Plus::Literal)?;
    Ok(Key::parse(text, limits.key_bytes_max)?)
}
