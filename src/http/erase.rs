//! `DELETE /delete`: removes all keys that match, some at a time, for as long as its client is there.
//!
//! What was removed stays removed where it ends early, and the answer says how much that is: sent again, the
//! request goes on with the rest.

use super::buffers::Purpose;
use super::connection::Connection;
use super::door::Caller;
use super::problem::{Code, Problem};
use super::{Limits, State, parameters, unsupported};
use crate::model::{Filter, Query};
use crate::store::Erasing;
use crate::trace;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use std::rc::Rc;

/// What is done with the keys that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// They are removed.
    Real,
    /// They are counted.
    Dry,
}

pub(super) async fn handle(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let Asked { filter, run } = Asked::parse(request)?;
    refuse_conditions(request)?;
    unsupported::in_change(request)?;
    if !can_match(&filter, &state.limits) {
        return Ok(answer(run, 0));
    }
    let keys = match run {
        Run::Real => erase(filter, request, state).await?,
        Run::Dry => count(filter, state).await?,
    };
    Ok(answer(run, keys))
}

fn answer(run: Run, keys: u64) -> HttpResponse {
    HttpResponse::Ok().json(match run {
        Run::Real => json!({"deleted": keys}),
        Run::Dry => json!({"matched": keys}),
    })
}

/// The parameters of a removal.
struct Asked {
    filter: Filter,
    run: Run,
}

impl Asked {
    fn parse(request: &HttpRequest) -> Result<Self, Problem> {
        let known = ["prefix", "suffix", "dry_run"];
        let [prefix, suffix, dry_run] = parameters::parse(request, known)?;
        let run = match dry_run.as_deref() {
            None | Some("false") => Run::Real,
            Some("true") => Run::Dry,
            Some(_) => {
                let detail = "dry_run takes true, which counts the keys that match and deletes \
                              none, or false; nothing was done";
                return Err(Problem::new(Code::InvalidParameter, detail));
            }
        };
        if prefix.is_none() && suffix.is_none() {
            let detail = "this deletes all keys that match, and there is no filter: give a prefix \
                          or a suffix, empty (prefix=) for all keys, or delete one key by DELETE \
                          /delete/{key}; nothing was done";
            return Err(Problem::new(Code::MissingFilter, detail));
        }
        let bytes = |text: Option<String>| text.unwrap_or_default().into_bytes();
        let filter = Filter {
            prefix: bytes(prefix),
            suffix: bytes(suffix),
        };
        Ok(Self { filter, run })
    }
}

/// Refuses conditions, also those by dates, for which a single removal is told of tags.
fn refuse_conditions(request: &HttpRequest) -> Result<(), Problem> {
    let mut names = request.headers().keys();
    let Some(name) = names.find(|name| name.as_str().starts_with("if-")) else {
        return Ok(());
    };
    let detail = format!(
        "a condition is of one value, and this deletes all keys that match: leave the header \
         {name} out, or delete single keys by DELETE /delete/{{key}}; nothing was done"
    );
    Err(Problem::new(Code::UnsupportedCondition, detail))
}

/// Whether any key could match: no filter is longer than a key.
fn can_match(filter: &Filter, limits: &Limits) -> bool {
    let Filter { prefix, suffix } = filter;
    prefix.len().max(suffix.len()) <= limits.key_bytes_max
}

/// How many keys match.
async fn count(filter: Filter, state: &State) -> Result<u64, Problem> {
    let query = Query {
        filter,
        after: Vec::new(),
        limit: Some(0),
    };
    Ok(state.store.search(query).await?.total as u64)
}

/// Removes the keys that match, and returns how many these were.
async fn erase(filter: Filter, request: &HttpRequest, state: &State) -> Result<u64, Problem> {
    trace::is_lasting();
    let bytes = state.store.erasing_bytes_max(state.limits.key_bytes_max);
    let _charge = state.buffers.take(Purpose::Bulk, bytes).await?;
    let mut erasing = state.store.erase(filter);
    let ended = go_through(&mut erasing, request, state).await;
    // The count in either answer is of removals that were waited for once, here.
    let settled = state.store.settled().await.map_err(Problem::from);
    let deleted = erasing.deleted();
    match ended.and(settled) {
        Ok(()) => Ok(deleted),
        Err(problem) => Err(problem.in_erasing(deleted)),
    }
}

/// Goes on to the end, or until the client has left or may not delete any more.
async fn go_through(
    erasing: &mut Erasing,
    request: &HttpRequest,
    state: &State,
) -> Result<(), Problem> {
    let connection = request.conn_data::<Rc<Connection>>();
    let caller = Caller::of(request);
    while !erasing.is_done() {
        if connection.is_some_and(|connection| connection.has_client_left()) {
            let detail = "the client ended its side of the connection before all keys were deleted; \
                          keep it open until the answer is there";
            return Err(Problem::new(Code::RequestAbandoned, detail));
        }
        if !caller.may_go_on(state) {
            let detail =
                "the token was taken out of auth_file or changed before all keys were deleted";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        erasing.go_on().await?;
    }
    Ok(())
}
