//! Routes of one key, and of many that are named.

use super::operation::{Answer, Content, Example, Group, Header, Operation, Parameter, Place};
use super::problems::{BODY, CHANGE, CONDITION, GROWTH, JSON, STORE, UNHEEDED};
use super::shared::{CACHE_CONTROL, ETAG, IF_MATCH, IF_NONE_MATCH, NO_STORE, NOSNIFF, SET};
use crate::http::problem::Code;

pub(in crate::http) static GET: Operation = Operation {
    id: "getValue",
    group: Group::Values,
    summary: "The value of a key, byte for byte as it was stored, under its content type",
    description: "What is not JSON comes with `Content-Security-Policy: sandbox` too.",
    parameters: &[
        IF_MATCH,
        Parameter {
            text: "Where the value has one of these tags the answer is 304, without it.",
            ..IF_NONE_MATCH
        },
    ],
    bodies: &[],
    answers: &[
        Answer {
            status: 200,
            text: "The value.",
            headers: &[
                ETAG,
                CACHE_CONTROL,
                NOSNIFF,
                Header {
                    name: "X-Expires-At",
                    text: "When the value ends, where it does.",
                    example: "2030-01-31T12:00:00.000Z",
                },
                Header {
                    name: "Content-Security-Policy",
                    text: "A browser runs nothing of it, where it is not JSON.",
                    example: "sandbox",
                },
            ],
            contents: &[
                Content {
                    media_type: "application/json",
                    schema: "Raw",
                    examples: &[("json", Example::Json(r#"{"n": 1}"#))],
                },
                Content {
                    media_type: "*/*",
                    schema: "Raw",
                    examples: &[("text", Example::Text("any bytes"))],
                },
            ],
        },
        Answer {
            status: 304,
            text: "The client has the value: its tag is one that `If-None-Match` names.",
            headers: &[ETAG, CACHE_CONTROL],
            contents: &[],
        },
    ],
    problems: &[&[Code::KeyNotFound], CONDITION, STORE],
};

pub(in crate::http) static GET_MANY: Operation = Operation {
    id: "getValues",
    group: Group::Values,
    summary: "The values of many keys, in the order in which they are asked for",
    description: "It changes nothing: it is a `POST` since the keys may be long and many.",
    parameters: &[],
    bodies: &[Content {
        media_type: "application/json",
        schema: "KeysRequest",
        examples: &[("keys", Example::Json(r#"{"keys": ["xyz-1", "abc-3"]}"#))],
    }],
    answers: &[Answer {
        status: 200,
        text: "An entry for each key, as an array, or a line each where the client prefers these.",
        headers: &[NO_STORE],
        contents: &[
            Content {
                media_type: "application/json",
                schema: "AnsweredList",
                examples: &[(
                    "entries",
                    Example::Json(
                        r#"[{"key":"xyz-1","content_type":"text/plain","base64":"aGk=","etag":"\"72c8a23a54d21afb\""},{"key":"abc-3","missing":true}]"#,
                    ),
                )],
            },
            Content {
                media_type: "application/x-ndjson",
                schema: "Answered",
                examples: &[(
                    "line",
                    Example::Json(r#"{"key":"abc-2","value":2,"etag":"\"72c8a23a54d21afa\""}"#),
                )],
            },
        ],
    }],
    problems: &[BODY, JSON, UNHEEDED, STORE],
};

pub(in crate::http) static SET_ONE_OR_MANY: Operation = Operation {
    id: "setValues",
    group: Group::Values,
    summary: "Sets a key to a JSON value, or a key for each line of a body",
    description: "As `application/json` it is one key, whose value's text is kept verbatim. As \
                  `application/x-ndjson` it is a key a line, of any total size; what stands before a bad line stays, and \
                  conditions stand in the lines.",
    parameters: &[IF_MATCH, IF_NONE_MATCH],
    bodies: &[
        Content {
            media_type: "application/json",
            schema: "SetRequest",
            examples: &[
                (
                    "value",
                    Example::Json(r#"{"key": "abc-1", "value": {"n": 1}}"#),
                ),
                (
                    "ending",
                    Example::Json(r#"{"key": "abc-1", "value": 1, "ttl_ms": 60000}"#),
                ),
            ],
        },
        Content {
            media_type: "application/x-ndjson",
            schema: "SetLine",
            examples: &[
                ("json", Example::Json(r#"{"key": "abc-2", "value": 2}"#)),
                (
                    "bytes",
                    Example::Json(
                        r#"{"key": "xyz-1", "content_type": "text/plain", "base64": "aGk="}"#,
                    ),
                ),
            ],
        },
    ],
    answers: &[Answer {
        status: 200,
        text: "All is set; of a bulk body, all lines but those whose condition did not hold.",
        headers: &[Header {
            text: "The change that made the value, of one key.",
            ..ETAG
        }],
        contents: &[Content {
            media_type: "application/json",
            schema: "SetAnswer",
            examples: &[
                ("one", Example::Json(r#"{"key":"abc-1","created":true}"#)),
                ("many", Example::Json(r#"{"created":2,"updated":0}"#)),
                (
                    "unmet",
                    Example::Json(r#"{"created":0,"updated":1,"unmet":1,"unmet_lines":[2]}"#),
                ),
            ],
        }],
    }],
    problems: &[
        &[Code::ValueTooLarge, Code::LineTooLarge, Code::InvalidLine],
        BODY,
        JSON,
        UNHEEDED,
        CONDITION,
        STORE,
        CHANGE,
        GROWTH,
    ],
};

pub(in crate::http) static PUT: Operation = Operation {
    id: "putValue",
    group: Group::Values,
    summary: "Sets a key to the body, of any content type",
    description: "Without a `Content-Type` it is `application/octet-stream`. A set without a time to live takes an \
                  earlier one away.",
    parameters: &[
        Parameter {
            name: "ttl_ms",
            place: Place::Query,
            text: "For how long the value is there, in milliseconds.",
            schema: "TtlMs",
            example: "60000",
        },
        Parameter {
            name: "expires_at",
            place: Place::Query,
            text: "When the value ends, instead.",
            schema: "ExpiresAt",
            example: r#""2030-01-31T12:00:00.000Z""#,
        },
        IF_MATCH,
        IF_NONE_MATCH,
    ],
    bodies: &[
        // What generated clients send, many of which know no type of all types.
        Content {
            media_type: "application/octet-stream",
            schema: "Bytes",
            examples: &[("bytes", Example::Text("any bytes"))],
        },
        Content {
            media_type: "*/*",
            schema: "Raw",
            examples: &[("text", Example::Text("any bytes"))],
        },
    ],
    answers: &[SET],
    problems: &[
        &[
            Code::InvalidDeadline,
            Code::InvalidContentType,
            Code::ValueTooLarge,
        ],
        BODY,
        UNHEEDED,
        CONDITION,
        STORE,
        CHANGE,
        GROWTH,
    ],
};

pub(in crate::http) static DELETE: Operation = Operation {
    id: "deleteValue",
    group: Group::Values,
    summary: "Removes a key",
    description: "",
    parameters: &[IF_MATCH, IF_NONE_MATCH],
    bodies: &[],
    answers: &[Answer {
        status: 204,
        text: "The key names nothing now.",
        headers: &[],
        contents: &[],
    }],
    problems: &[&[Code::KeyNotFound], UNHEEDED, CONDITION, STORE, CHANGE],
};

pub(in crate::http) static EXPIRE: Operation = Operation {
    id: "expireValue",
    group: Group::Values,
    summary: "Changes when a value ends, not the value nor its ETag",
    description: "From its end on it is not there.",
    parameters: &[IF_MATCH, IF_NONE_MATCH],
    bodies: &[Content {
        media_type: "application/json",
        schema: "ExpireRequest",
        examples: &[
            ("after", Example::Json(r#"{"ttl_ms": 60000}"#)),
            (
                "at",
                Example::Json(r#"{"expires_at": "2030-01-31T12:00:00.000Z"}"#),
            ),
            ("never", Example::Json(r#"{"expires_at": null}"#)),
        ],
    }],
    answers: &[Answer {
        status: 200,
        text: "The value ends then.",
        headers: &[ETAG],
        contents: &[Content {
            media_type: "application/json",
            schema: "ExpireResponse",
            examples: &[(
                "at",
                Example::Json(r#"{"key":"abc-1","expires_at":"2030-01-31T12:00:00.000Z"}"#),
            )],
        }],
    }],
    problems: &[
        &[Code::KeyNotFound],
        BODY,
        JSON,
        UNHEEDED,
        CONDITION,
        STORE,
        CHANGE,
        GROWTH,
    ],
};
