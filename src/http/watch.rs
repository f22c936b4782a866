//! `GET /watch`: the changes of all keys that match, as they happen, for as long as the client is there.
//!
//! ```text
//! from=start:  present keys ─→ what was changed meanwhile ─→ ready ─→ live
//! after=id:   (the engine's log ─→) what was changed since ─────────→ live
//! else:                                                               live
//! ```
//!
//! A watcher that is live is told by its thread's [`Hub`], which looks at each change once for all of them. One that
//! is behind, as all are at first, reads the changes itself, from a place of its own: so one that reads slowly holds
//! up nobody, and takes no more memory than another. Where what comes next is not kept any more it is cut off.
//!
//! # Layout
//! - `watchers`: how many there are; `watcher`: one of them, as the body of its answer; `watcher::unread`: changes whose
//!   values are elsewhere
//! - `present`: the keys that there are
//! - `hub`: who tells those that are live; `prefixes`: how it finds those that a change is for
//! - `events`: what they are told, as text

mod events;
mod hub;
mod prefixes;
mod present;
mod watcher;
mod watchers;

pub(super) use hub::Hub;
pub use watchers::Watchers;

use super::buffers::{Purpose, SENDING_BYTES};
use super::problem::{Code, NO_STORE, Problem};
use super::{State, parameters};
use crate::lifecycle::Stage;
use crate::model::Filter;
use crate::store::{FollowError, Followed, PAST_CHANGES_MAX, Place, StoreError};
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, VARY};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use events::{Contents, Form, Wire};
use present::Present;
use std::rc::Rc;
use std::sync::Arc;
use watcher::{Begin, READ_VALUES, Watcher};

/// By which a client says after which event it goes on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Tells proxies that hold answers back, as nginx does, to pass this one on as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What a change that is read from an engine's log takes besides its key, about, in bytes.
const PAST_CHANGE_BYTES: usize = 256;

/// How much of an id that is none is shown, in characters.
const SHOWN_CHARS: usize = 80;

pub(super) async fn handle(
    request: &HttpRequest,
    state: &Data<State>,
) -> Result<HttpResponse, Problem> {
    let Asked {
        filter,
        contents,
        from,
    } = Asked::parse(request)?;
    if state.lifecycle.stage() != Stage::Running {
        return Err(StoreError::Stopping.into());
    }
    let watching = state.watchers.begin()?;
    let Followed { past, following } = follow(from, state).await?;
    let past = match past {
        None => None,
        Some(past) => {
            let bytes = past_bytes(contents, state);
            Some((past, state.buffers.take(Purpose::Large, bytes).await?))
        }
    };
    let present = match from {
        From::Now | From::After(_) => None,
        // After that: what is changed from here on is told of later, and what was before is found.
        From::Start => Some(Box::new(Present::begin(&filter, state).await?)),
    };
    let form = Form {
        wire: Wire::of(request),
        contents,
    };
    let begin = Begin {
        filter: Arc::new(filter),
        form,
        following,
        present,
        past,
        watching,
    };
    let mut response = HttpResponse::Ok();
    response
        .content_type(form.wire.content_type())
        .insert_header((CACHE_CONTROL, NO_STORE))
        .insert_header((VARY, HeaderValue::from_static("accept")))
        .insert_header((X_ACCEL_BUFFERING, HeaderValue::from_static("no")))
        // It ends with the answer: what follows a stream without an end is another connection.
        .force_close();
    Ok(response.body(Watcher::new(begin, request, state).into_body()))
}

/// What it takes to go through what was changed before, with what is read of it at a time and is being sent.
fn past_bytes(contents: Contents, state: &State) -> usize {
    let values = match contents {
        Contents::Entries => state.store.short_bytes_max(READ_VALUES),
        Contents::Tags => 0,
    };
    PAST_CHANGES_MAX * (state.limits.key_bytes_max + PAST_CHANGE_BYTES) + values + SENDING_BYTES
}

async fn follow(from: From, state: &State) -> Result<Followed, Problem> {
    let followed = match from {
        From::Now | From::Start => state.store.follow().await.map(|following| Followed {
            past: None,
            following,
        }),
        From::After(place) => state.store.follow_after(place).await,
    };
    followed.map_err(|error| match error {
        FollowError::Off => {
            let detail = "the log of the engine has no updates in this namespace, so that it cannot be watched; \
                          have one server set engine_watch = true, or search from time to time instead";
            Problem::new(Code::WatchUnsupported, detail)
        }
        FollowError::Starting => StoreError::Starting.into(),
        FollowError::Gone => {
            let detail = "what was changed after this event is not kept any more, may have been lost by the \
                          engine, or is another store's; begin anew with from=start and without an id (settings \
                          changes_bytes_max, data_dir and engine_watch_entries say how much is kept)";
            Problem::new(Code::ChangesGone, detail)
        }
    })
}

/// The thread's hub.
fn hub_of(request: &HttpRequest) -> Rc<Hub> {
    let hub = request.app_data::<Rc<Hub>>();
    hub.expect("the app is built with its hub").clone()
}

/// The parameters of a watch.
struct Asked {
    filter: Filter,
    contents: Contents,
    from: From,
}

/// Where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// With what is changed from now on.
    Now,
    /// With all keys that there are.
    Start,
    /// Behind an event.
    After(Place),
}

impl Asked {
    fn parse(request: &HttpRequest) -> Result<Self, Problem> {
        let known = ["prefix", "suffix", "values", "from", "after"];
        let [prefix, suffix, values, from, after] = parameters::parse(request, known)?;
        let contents = match values.as_deref() {
            None | Some("false") => Contents::Tags,
            Some("true") => Contents::Entries,
            Some(_) => {
                let detail = "values takes true, which gives the values with the keys, or false";
                return Err(Problem::new(Code::InvalidParameter, detail));
            }
        };
        let from = parse_from(request, from.as_deref(), after.as_deref())?;
        if prefix.is_none() && suffix.is_none() {
            let detail = "this watches all keys that match, and there is no filter: give a prefix or a suffix, \
                          empty (prefix=) for all keys";
            return Err(Problem::new(Code::MissingFilter, detail));
        }
        let bytes = |text: Option<String>| text.unwrap_or_default().into_bytes();
        Ok(Self {
            filter: Filter {
                prefix: bytes(prefix),
                suffix: bytes(suffix),
            },
            contents,
            from,
        })
    }
}

/// Where a watch begins: by the header where there is one, since a client that comes back by itself sends it with
/// the address that it had at first.
fn parse_from(
    request: &HttpRequest,
    from: Option<&str>,
    after: Option<&str>,
) -> Result<From, Problem> {
    let after = after.map(|id| place("after", id)).transpose()?;
    let mut headers = request.headers().get_all(LAST_EVENT_ID);
    let last = match (headers.next(), headers.next()) {
        (None, _) => None,
        (Some(id), None) => Some(place(
            "Last-Event-ID",
            &String::from_utf8_lossy(id.as_bytes()),
        )?),
        (Some(_), Some(_)) => {
            let detail = "there are two Last-Event-ID headers; send the one that came last";
            return Err(Problem::new(Code::InvalidEventId, detail));
        }
    };
    match (from, last, after) {
        (None, None, None) => Ok(From::Now),
        (None | Some("start"), Some(place), _) | (None, None, Some(place)) => {
            Ok(From::After(place))
        }
        (Some("start"), None, None) => Ok(From::Start),
        (Some("start"), None, Some(_)) => {
            let detail = "from=start begins anew, and after goes on: give one of them";
            Err(Problem::new(Code::InvalidParameter, detail))
        }
        (Some(_), _, _) => {
            let detail = "from takes start, which gives all present keys first; leave it out for what is \
                          changed from now on";
            Err(Problem::new(Code::InvalidParameter, detail))
        }
    }
}

fn place(name: &str, id: &str) -> Result<Place, Problem> {
    id.parse::<Place>().map_err(|error| {
        let shown: String = id.chars().take(SHOWN_CHARS).collect();
        let detail = format!("{name} is {shown:?}, which is no id: {error}");
        Problem::new(Code::InvalidEventId, detail)
    })
}
