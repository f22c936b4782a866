//! What several operations have: parameters, headers and forms of bodies.

use super::operation::{Answer, Content, Example, Header, Parameter, Place};

pub(super) const PREFIX: Parameter = Parameter {
    name: "prefix",
    place: Place::Query,
    text: "What the keys begin with.",
    schema: "Text",
    example: r#""abc""#,
};

pub(super) const SUFFIX: Parameter = Parameter {
    name: "suffix",
    place: Place::Query,
    text: "What the keys end with.",
    schema: "Text",
    example: r#""-1""#,
};

pub(super) const IF_MATCH: Parameter = Parameter {
    name: "If-Match",
    place: Place::Header,
    text: "Only where the value has one of these tags, or with `*` where there is one. Else 412.",
    schema: "EntityTags",
    example: r#""\"72c8a23a54d21af8\"""#,
};

pub(super) const IF_NONE_MATCH: Parameter = Parameter {
    name: "If-None-Match",
    place: Place::Header,
    text: "Only where the value has none of these tags, or with `*` where there is none. Else 412.",
    schema: "EntityTags",
    example: r#""*""#,
};

/// Of every request.
pub(super) const REQUEST_ID: Parameter = Parameter {
    name: "X-Request-Id",
    place: Place::Header,
    text: "By what the request is to be known in the server's log; its answer says it again.",
    schema: "RequestId",
    example: r#""4f1c3a9e0b7d5826""#,
};

/// Of every answer whose request came with one, and of every problem.
pub(super) const SAID_REQUEST_ID: Header = Header {
    name: "X-Request-Id",
    text: "By what the request is known in the server's log: what it came with, else what it was given.",
    example: "4f1c3a9e0b7d5826",
};

pub(super) const ETAG: Header = Header {
    name: "ETag",
    text: "The change that made the value.",
    example: "\"72c8a23a54d21af8\"",
};

pub(super) const CACHE_CONTROL: Header = Header {
    name: "Cache-Control",
    text: "Whether caches may keep the answer.",
    example: "no-cache",
};

pub(super) const NO_STORE: Header = Header {
    name: "Cache-Control",
    text: "Caches keep nothing of it.",
    example: "no-store",
};

pub(super) const NOSNIFF: Header = Header {
    name: "X-Content-Type-Options",
    text: "It is of no other type than it says.",
    example: "nosniff",
};

pub(super) const VARY: Header = Header {
    name: "Vary",
    text: "It would be another with another `Accept`.",
    example: "accept",
};

/// What a set is answered with.
pub(super) const SET: Answer = Answer {
    status: 200,
    text: "The value is set.",
    headers: &[ETAG],
    contents: &[Content {
        media_type: "application/json",
        schema: "SetResponse",
        examples: &[(
            "created",
            Example::Json(r#"{"key":"abc-1","created":true}"#),
        )],
    }],
};
