//! What requests are made of.

use super::model::Lasts;

/// What keys end with, behind what makes them one connection's own.
pub const KEYS: [&str; 16] = [
    "a",
    "b",
    "c",
    "a/b",
    "a/c/d",
    "ä",
    "字/x",
    " ",
    "+",
    "%41",
    "\0",
    "\u{10ffff}",
    "..",
    "a/../b",
    "?x=1&y#",
    "\"q\\",
];

/// What filters add to that prefix, and what they end with.
pub const PREFIXES: [&str; 6] = ["", "a", "a/", "字", "%", "none"];
pub const SUFFIXES: [&str; 5] = ["", "", "b", "x", "\0"];

/// When a value ends, as a parameter and as a member; `None` where it must be refused.
pub const LIFETIMES: [(&str, &str, Option<Lasts>); 14] = [
    ("ttl_ms", "86400000", Some(Lasts::Long)),
    ("ttl_ms", "315619200000", Some(Lasts::Long)),
    ("ttl_ms", "1", Some(Lasts::Past)),
    ("expires_at", "9999-12-31T23:59:59.999Z", Some(Lasts::Long)),
    ("expires_at", "1969-07-20T20:17:40Z", Some(Lasts::Past)),
    ("ttl_ms", "0", None),
    ("ttl_ms", "-1", None),
    ("ttl_ms", "315619200001", None),
    ("ttl_ms", "99999999999999999999999", None),
    ("ttl_ms", "1e3", None),
    ("ttl_ms", "", None),
    ("expires_at", "2030-02-30T00:00:00Z", None),
    ("expires_at", "10000-01-01T00:00:00Z", None),
    ("expires_at", "2030-01-31T12:00:00+01:00", None),
];

/// Content types of values.
pub const TYPES: [&str; 5] = [
    "application/json",
    "text/plain",
    "text/plain; charset=utf-8",
    "application/x-www-form-urlencoded",
    "a/b;c=\"d\"",
];
pub const BAD_TYPES: [&str; 4] = ["nonsense", "text/", "a/b; c", ""];

/// Values of JSON, which are stored as they stand.
pub const VALUES: [&str; 12] = [
    "1",
    "null",
    "\"\"",
    "-0",
    "1.0E+2",
    "123456789012345678901234567890",
    "{\"a\":1,\"a\":[true,{}]}",
    "\"\\u0000\\ud83d\\ude00\"",
    "\"字\"",
    "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
    "{\"key\":\"x\",\"value\":2}",
    "\"GET / HTTP/1.1\\r\\n\\r\\n\"",
];

/// Those that may be refused, for the depth, a number that no float holds, and half of a character.
pub const ODD_VALUES: [&str; 3] = ["DEEP", "1e999", "\"\\ud800\""];

pub const BAD_VALUES: [&str; 7] = ["01", "NaN", "'a'", "[1,]", "\"\\x\"", "{\"a\"}", ""];

/// What is no line of a bulk body.
pub const BAD_LINES: [&str; 8] = [
    "{",
    "[]",
    "nonsense",
    "{\"key\":\"\",\"value\":1}",
    "{\"key\":\"x\"}",
    "{\"key\":\"x\",\"value\":1,\"etag\":\"x\"}",
    "{\"key\":\"x\",\"content_type\":\"text/plain\",\"base64\":\"a\"}",
    "LONG",
];

/// Methods on paths that do not take them, and paths that are none.
pub const JUNK: [(&str, &str); 12] = [
    ("PATCH", "/set/k"),
    ("OPTIONS", "/"),
    ("TRACE", "/get/k"),
    ("POST", "/set/k"),
    ("PUT", "/get/k"),
    ("DELETE", "/get/k"),
    ("GET", "/set"),
    ("get", "/get/k"),
    ("AN-ODD.METHOD", "/livez"),
    ("GET", "/nowhere"),
    ("GET", "//get/k"),
    ("HEAD", "/%67et/k"),
];
