//! Routes of all keys that match: to find, to delete and to watch them.

use super::operation::{Answer, Content, Example, Group, Header, Operation, Parameter, Place};
use super::problems::{CHANGE, STORE, UNHEEDED};
use super::shared::{CACHE_CONTROL, NO_STORE, PREFIX, SUFFIX, VARY};
use crate::http::problem::Code;

const VALUES: Parameter = Parameter {
    name: "values",
    place: Place::Query,
    text: "Whether keys come with their values.",
    schema: "Flag",
    example: "true",
};

pub(in crate::http) static SEARCH: Operation = Operation {
    id: "search",
    group: Group::Searches,
    summary: "Keys that match a prefix and a suffix, in byte order",
    description: "Without a filter it finds nothing; an empty one matches every key. Without `limit` all matches are \
                  streamed.",
    parameters: &[
        PREFIX,
        SUFFIX,
        Parameter {
            name: "limit",
            place: Place::Query,
            text: "How many at most.",
            schema: "Limit",
            example: "100",
        },
        Parameter {
            name: "after",
            place: Place::Query,
            text: "The last of the page before: what comes is above it.",
            schema: "Text",
            example: r#""abc-1""#,
        },
        VALUES,
        Parameter {
            name: "delimiter",
            place: Place::Query,
            text: "One level only: keys with this text behind the prefix are counted as groups.",
            schema: "Delimiter",
            example: r#""/""#,
        },
    ],
    bodies: &[],
    answers: &[Answer {
        status: 200,
        text: "What matches, as an array, or a line each where the client prefers these.",
        headers: &[
            CACHE_CONTROL,
            VARY,
            Header {
                name: "X-Total-Count",
                text: "How many keys match, whatever `limit` and `after` say.",
                example: "4",
            },
            Header {
                name: "Link",
                text: "The next page, where there is one: relative to this.",
                example: "<?prefix=&limit=2&after=abc-2>; rel=\"next\"",
            },
        ],
        contents: &[
            Content {
                media_type: "application/json",
                schema: "FoundList",
                examples: &[
                    ("keys", Example::Json(r#"["abc-1","abc-2"]"#)),
                    (
                        "entries",
                        Example::Json(
                            r#"[{"key":"abc-1","value":{"n": 1},"etag":"\"72c8a23a54d21af8\""}]"#,
                        ),
                    ),
                    (
                        "groups",
                        Example::Json(r#"["abc-1",{"group":"notes/","keys":1}]"#),
                    ),
                ],
            },
            Content {
                media_type: "application/x-ndjson",
                schema: "Found",
                examples: &[("line", Example::Json(r#""abc-1""#))],
            },
        ],
    }],
    problems: &[
        &[
            Code::InvalidLimit,
            Code::InvalidParameter,
            Code::MissingFilter,
        ],
        STORE,
    ],
};

pub(in crate::http) static ERASE: Operation = Operation {
    id: "deleteMatching",
    group: Group::Searches,
    summary: "Removes all keys that match a prefix and a suffix",
    description: "One of them must be given; an empty one matches every key. It takes as long as there is to delete, \
                  and stops where its client leaves.",
    parameters: &[
        PREFIX,
        SUFFIX,
        Parameter {
            name: "dry_run",
            place: Place::Query,
            text: "Whether keys are counted, and none is deleted.",
            schema: "Flag",
            example: "true",
        },
    ],
    bodies: &[],
    answers: &[Answer {
        status: 200,
        text: "How many were deleted, or would be.",
        headers: &[],
        contents: &[Content {
            media_type: "application/json",
            schema: "EraseResponse",
            examples: &[
                ("deleted", Example::Json(r#"{"deleted":1}"#)),
                ("matched", Example::Json(r#"{"matched":1}"#)),
            ],
        }],
    }],
    problems: &[
        &[
            Code::InvalidParameter,
            Code::MissingFilter,
            Code::RequestAbandoned,
        ],
        UNHEEDED,
        STORE,
        CHANGE,
    ],
};

pub(in crate::http) static WATCH: Operation = Operation {
    id: "watch",
    group: Group::Changes,
    summary: "The changes of all keys that match, as they happen",
    description: "One of the filters must be given; an empty one matches every key. Changes of one key come in their \
                  order and none is left out. The answer ends where the client leaves, is too slow, or the server stops.",
    parameters: &[
        PREFIX,
        SUFFIX,
        VALUES,
        Parameter {
            name: "from",
            place: Place::Query,
            text: "Gives all present keys first.",
            schema: "Start",
            example: r#""start""#,
        },
        Parameter {
            name: "after",
            place: Place::Query,
            text: "The last event that the client had: what comes happened after it.",
            schema: "EventId",
            example: r#""0c1f3a5b7d9e2468-0-1a2b""#,
        },
        Parameter {
            name: "Last-Event-ID",
            place: Place::Header,
            text: "The same, as browsers send it when they come back.",
            schema: "EventId",
            example: r#""0c1f3a5b7d9e2468-0-1a2b""#,
        },
    ],
    bodies: &[],
    answers: &[Answer {
        status: 200,
        text: "Events, without an end.",
        headers: &[
            NO_STORE,
            VARY,
            Header {
                name: "X-Accel-Buffering",
                text: "Proxies pass it on as it comes.",
                example: "no",
            },
        ],
        contents: &[
            Content {
                media_type: "text/event-stream",
                schema: "EventStream",
                examples: &[(
                    "set",
                    Example::Text(
                        "event: set\nid: 0c1f3a5b7d9e2468-0-1a2b\ndata: {\"key\":\"abc-1\",\"etag\":\"\\\"72c8a23a54d21af8\\\"\"}\n\n",
                    ),
                )],
            },
            Content {
                media_type: "application/x-ndjson",
                schema: "Event",
                examples: &[
                    (
                        "set",
                        Example::Json(
                            r#"{"event":"set","id":"0c1f3a5b7d9e2468-0-1a2b","data":{"key":"abc-1","etag":"\"72c8a23a54d21af8\""}}"#,
                        ),
                    ),
                    (
                        "delete",
                        Example::Json(
                            r#"{"event":"delete","id":"0c1f3a5b7d9e2468-0-1a2c","data":{"key":"abc-1"}}"#,
                        ),
                    ),
                ],
            },
        ],
    }],
    problems: &[
        &[
            Code::InvalidParameter,
            Code::InvalidEventId,
            Code::MissingFilter,
            Code::ChangesGone,
            Code::WatchUnsupported,
        ],
        STORE,
    ],
};
