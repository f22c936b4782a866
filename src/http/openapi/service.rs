//! Routes that are not about keys: health, metrics, and what says what there is to ask for.

use super::operation::{Answer, Content, Example, Group, Header, Operation, Parameter, Place};
use super::shared::{CACHE_CONTROL, NO_STORE, NOSNIFF, VARY};
use crate::http::problem::Code;

pub(in crate::http) static METRICS: Operation = Operation {
    id: "metrics",
    group: Group::Health,
    summary: "What is measured, as Prometheus reads it",
    description: "With the setting `auth_metrics` it takes a token that is for all keys.",
    parameters: &[],
    bodies: &[],
    answers: &[Answer {
        status: 200,
        text: "All metrics.",
        headers: &[NO_STORE],
        contents: &[Content {
            media_type: "text/plain",
            schema: "Metrics",
            examples: &[(
                "keys",
                Example::Text("# TYPE kvstore_keys gauge\nkvstore_keys 2\n"),
            )],
        }],
    }],
    problems: &[&[Code::Unscraped]],
};

const ALIVE: Answer = Answer {
    status: 200,
    text: "It is alive.",
    headers: &[NO_STORE],
    contents: &[Content {
        media_type: "application/json",
        schema: "Alive",
        examples: &[("alive", Example::Json(r#"{"status":"alive"}"#))],
    }],
};

pub(in crate::http) static LIVEZ: Operation = Operation {
    id: "livez",
    group: Group::Health,
    summary: "Whether the process is alive; if not, only a restart helps",
    description: "",
    parameters: &[],
    bodies: &[],
    answers: &[ALIVE],
    problems: &[&[Code::NotAlive]],
};

pub(in crate::http) static HEALTHZ: Operation = Operation {
    id: "healthz",
    group: Group::Health,
    summary: "The same as /livez",
    description: "",
    parameters: &[],
    bodies: &[],
    answers: &[ALIVE],
    problems: &[&[Code::NotAlive]],
};

pub(in crate::http) static READYZ: Operation = Operation {
    id: "readyz",
    group: Group::Health,
    summary: "Whether requests should be sent here",
    description: "",
    parameters: &[],
    bodies: &[],
    answers: &[Answer {
        status: 200,
        text: "It is ready, though not all may be well.",
        headers: &[NO_STORE],
        contents: &[Content {
            media_type: "application/json",
            schema: "Ready",
            examples: &[
                ("ready", Example::Json(r#"{"status":"ready"}"#)),
                (
                    "warned",
                    Example::Json(
                        r#"{"status":"ready","warnings":["12 of 256 partitions are not read yet: searches wait, or are refused"]}"#,
                    ),
                ),
            ],
        }],
    }],
    problems: &[&[
        Code::Starting,
        Code::Stopping,
        Code::EngineUnavailable,
        Code::EngineData,
    ]],
};

pub(in crate::http) static OPENAPI: Operation = Operation {
    id: "describe",
    group: Group::Interface,
    summary: "This description, for programs: OpenAPI 3.1",
    description: "",
    parameters: &[KNOWN_TAG],
    bodies: &[],
    answers: &[
        Answer {
            status: 200,
            text: "The description.",
            headers: &[
                CACHE_CONTROL,
                ENCODING,
                FILE_TAG,
                NOSNIFF,
                REFERRER,
                VARY_ENCODING,
            ],
            contents: &[Content {
                media_type: "application/json",
                schema: "Description",
                examples: &[(
                    "beginning",
                    Example::Json(
                        r#"{"openapi": "3.1.0", "info": {"title": "kvstore", "version": "0.1.0"}, "paths": {}}"#,
                    ),
                )],
            }],
        },
        FILE_KNOWN,
    ],
    problems: &[],
};

pub(in crate::http) static DOCS: Operation = Operation {
    id: "read",
    group: Group::Interface,
    summary: "The same description, for readers",
    description: "One page, which asks nobody but this server.",
    parameters: &[KNOWN_TAG],
    bodies: &[],
    answers: &[
        Answer {
            status: 200,
            text: "The page.",
            headers: &[
                CACHE_CONTROL,
                ENCODING,
                FILE_TAG,
                NOSNIFF,
                POLICY,
                REFERRER,
                VARY_ENCODING,
            ],
            contents: &[Content {
                media_type: "text/html",
                schema: "Page",
                examples: &[("beginning", Example::Text("<!doctype html>"))],
            }],
        },
        FILE_KNOWN,
    ],
    problems: &[],
};

/// That nothing of others is loaded or run.
const POLICY: Header = Header {
    name: "Content-Security-Policy",
    text: "It loads and runs nothing of others.",
    example: "default-src 'none'; connect-src 'self'",
};

/// That nobody is told of the page.
const REFERRER: Header = Header {
    name: "Referrer-Policy",
    text: "No link tells where it was followed from.",
    example: "no-referrer",
};

/// That a file is compressed, for whoever takes that.
const ENCODING: Header = Header {
    name: "Content-Encoding",
    text: "How it is compressed, if it is.",
    example: "gzip",
};

/// That it is compressed for some.
const VARY_ENCODING: Header = Header {
    name: "Vary",
    text: "It would be compressed otherwise with another `Accept-Encoding`.",
    example: "accept-encoding",
};

/// What a text is that is the same for everybody.
const FILE_TAG: Header = Header {
    name: "ETag",
    text: "What it is, however it is encoded.",
    example: "W/\"9f86d081884c7d65\"",
};

/// Which of them the client has.
const KNOWN_TAG: Parameter = Parameter {
    name: "If-None-Match",
    place: Place::Header,
    text: "Only if it is none of these that the client has. Else 304.",
    schema: "EntityTags",
    example: r#""W/\"9f86d081884c7d65\"""#,
};

/// That it is known already.
const FILE_KNOWN: Answer = Answer {
    status: 304,
    text: "It is the one that `If-None-Match` names.",
    headers: &[CACHE_CONTROL, FILE_TAG, NOSNIFF, POLICY, REFERRER, VARY],
    contents: &[],
};

pub(in crate::http) static INDEX: Operation = Operation {
    id: "index",
    group: Group::Interface,
    summary: "The paths that there are, or for a browser the console",
    description: "Where tokens are needed, it says what the one allows that is shown, if one is.",
    parameters: &[KNOWN_TAG],
    bodies: &[],
    answers: &[
        Answer {
            status: 200,
            text: "The paths, or for a client that prefers HTML the console.",
            headers: &[
                CACHE_CONTROL,
                ENCODING,
                FILE_TAG,
                NOSNIFF,
                POLICY,
                REFERRER,
                VARY,
            ],
            contents: &[
                Content {
                    media_type: "application/json",
                    schema: "Paths",
                    examples: &[
                        (
                            "paths",
                            Example::Json(
                                r#"{"name": "kvstore", "version": "0.1.0", "docs": "/docs", "openapi": "/openapi.json", "paths": {"/delete/{key}": "DELETE: Removes a key"}}"#,
                            ),
                        ),
                        (
                            "token",
                            Example::Json(
                                r#"{"name": "kvstore", "version": "0.1.0", "docs": "/docs", "openapi": "/openapi.json", "paths": {}, "token": {"name": "ci", "access": "write", "prefixes": ["ci/"]}}"#,
                            ),
                        ),
                    ],
                },
                Content {
                    media_type: "text/html",
                    schema: "Page",
                    examples: &[("beginning", Example::Text("<!doctype html>"))],
                },
            ],
        },
        FILE_KNOWN,
    ],
    problems: &[],
};
