//! The conditions of changes (RFC 9110, 13.1): in the headers of a request, and in a line of a bulk body.

use super::State;
use super::entity_tags::{EntityTag, EntityTags, Malformed};
use super::get::entity_tag;
use super::problem::{Code, Problem};
use crate::model::{Condition, Preconditions, Revision, Revisions};
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

/// How a comparison takes tags that are weak (RFC 9110, 8.8.3.2). Ours are strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// The condition in a request's headers, if it has some for that.
///
/// # Errors
/// Where a header is no list of entity tags, nor `*`.
pub(super) fn of(request: &HttpRequest, has_conditions: bool) -> Result<Condition, Problem> {
    if !has_conditions {
        return Ok(Condition::Always);
    }
    let list = |name: &HeaderName| {
        EntityTags::of(request.headers(), name).map_err(|Malformed| {
            let detail =
                format!("{name} takes entity tags, such as \"a\", W/\"b\" or *; nothing was done");
            Problem::new(Code::InvalidCondition, detail)
        })
    };
    Ok(condition(
        list(&IF_MATCH)?.as_ref(),
        list(&IF_NONE_MATCH)?.as_ref(),
    ))
}

/// The condition that the members of a line make.
///
/// # Errors
/// What is wrong with one of them.
pub(super) fn of_line(
    if_match: Option<&str>,
    if_none_match: Option<&str>,
) -> Result<Condition, String> {
    let list = |name: &str, text: Option<&str>| {
        let tags = text
            .map(|text| EntityTags::parse(text.as_bytes()))
            .transpose();
        tags.map_err(|Malformed| {
            format!(
                "{name} takes an entity tag with its quotes, such as \"\\\"00c4f0e2d1b3a596\\\"\", or \"*\""
            )
        })
    };
    let if_match = list("if_match", if_match)?;
    let if_none_match = list("if_none_match", if_none_match)?;
    if if_none_match
        .as_ref()
        .is_some_and(|tags| *tags != EntityTags::Any)
    {
        return Err("if_none_match takes \"*\"".into());
    }
    Ok(condition(if_match.as_ref(), if_none_match.as_ref()))
}

fn condition(if_match: Option<&EntityTags>, if_none_match: Option<&EntityTags>) -> Condition {
    if (if_match, if_none_match) == (None, None) {
        return Condition::Always;
    }
    Condition::If(Box::new(Preconditions {
        if_match: if_match.map(|tags| revisions(tags, Comparison::Strong)),
        if_none_match: if_none_match.map(|tags| revisions(tags, Comparison::Weak)),
    }))
}

/// The revisions that tags stand for. A tag that is none of ours stands for none.
fn revisions(tags: &EntityTags, comparison: Comparison) -> Revisions {
    let tags = match tags {
        EntityTags::Any => return Revisions::Any,
        EntityTags::List(tags) => tags.iter(),
    };
    let counts = |tag: &&EntityTag| !tag.is_weak || comparison == Comparison::Weak;
    Revisions::Of(tags.filter(counts).filter_map(revision).collect())
}

/// The revision whose entity tag this is.
fn revision(tag: &EntityTag) -> Option<Revision> {
    let text = std::str::from_utf8(&tag.opaque).ok()?;
    let revision = Revision(u64::from_str_radix(text, 16).ok()?);
    // Digits may be written in more ways than one; a tag may not.
    let own = entity_tag(revision);
    (own.as_bytes()
        .trim_ascii()
        .strip_prefix(b"\"")?
        .strip_suffix(b"\"")?
        == tag.opaque)
        .then_some(revision)
}

/// The problem that a condition did not hold.
pub(super) fn unmet(state: &State, present: Option<Revision>) -> Problem {
    state.metrics.unmet(1);
    let detail = match present {
        Some(_) => {
            "the key names a value for which the condition does not hold; nothing was changed: the \
             header ETag is that value's, GET it and decide anew"
        }
        None => "the key names no value, and the condition asks for one; nothing was changed",
    };
    let problem = Problem::new(Code::PreconditionFailed, detail);
    match present {
        Some(revision) => problem.with_etag(entity_tag(revision)),
        None => problem,
    }
}
