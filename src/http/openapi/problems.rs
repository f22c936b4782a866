//! Every problem with what it says, in the order of the one table of codes, and which of them go together.

use crate::http::problem::Code::{self, *};

/// What each code's problem says, as an example: the whole interface has no other codes.
// A row a line.
#[rustfmt::skip]
const EXAMPLES: [(Code, &str); EngineData as usize + 1] = [
    (InvalidEncoding, "the decoded bytes are not UTF-8; percent-encode the UTF-8 bytes of the text"),
    (InvalidHost, "the header Host names no host; nothing was done, give one such as example.org, 127.0.0.1:8000 or [::1]:8000"),
    (InvalidKey, "the key is empty; give one of 1 to 1024 bytes"),
    (InvalidJson, "not JSON: EOF while parsing a list at line 1 column 2"),
    (InvalidContentType, "the content type has 300 bytes, over the limit of 255; use a shorter one"),
    (InvalidLimit, "limit must be a number from 1 to 10000 (setting page_keys_max); leave it out for all keys"),
    (InvalidDeadline, "ttl_ms and expires_at both say when the value ends; give one of them"),
    (InvalidParameter, "values must be true, for entries, or false; leave it out for keys"),
    (InvalidEventId, "after is \"abc\", which is no id; give the id of an event as it came"),
    (UnknownParameter, "there is no parameter \"prfix\"; this path takes prefix, suffix, limit, after, values, delimiter"),
    (RepeatedParameter, "the parameter prefix is given twice; give it once"),
    (MissingFilter, "values are those of the keys that a search finds, and there is none: give a prefix or a suffix, empty (prefix=) for all keys"),
    (RequestAbandoned, "the client ended its side of the connection before all keys were deleted; keep it open until the answer is there"),
    (InvalidCondition, "if-match takes entity tags, such as \"a\", W/\"b\" or *; nothing was done"),
    (UnsupportedCondition, "values have entity tags and no dates, and there is the header if-unmodified-since; nothing was done, use If-Match or If-None-Match"),
    (UnsupportedHeader, "the header x-http-method-override is not heeded; send the method itself"),
    (UnsupportedEncoding, "the body is encoded (Content-Encoding), and values are stored as they come; send it plain"),
    (UnexpectedBody, "this request takes no body; send the parameters in the URL, or use POST /set"),
    (PreconditionFailed, "the key names a value for which the condition does not hold; nothing was changed: the header ETag is that value's, GET it and decide anew"),
    (ExpectationFailed, "the header Expect asks for something else than 100-continue; leave it out"),
    (Unauthorized, "this takes a token: send it in one header, Authorization: Bearer TOKEN; whoever runs this server makes one by `kvstore token`"),
    (Forbidden, "the token is for keys that begin with \"ci/\", and this key is beyond them; nothing was done"),
    (RateLimited, "the token is used more often than it may be in a second (requests_per_second); nothing was done, try again after a pause"),
    (KeyNotFound, "the key names no value; set it with PUT /set/{key} or POST /set"),
    (PathNotFound, "there is no path /gets; the paths are GET, HEAD /get/{key}; POST /set; …"),
    (ChangesGone, "what was changed after this event is not kept any more, may have been lost by the engine, or is another store's; begin anew with from=start and without an id (settings changes_bytes_max, data_dir and engine_watch_entries say how much is kept)"),
    (MethodNotAllowed, "the path does not take this method; it takes GET, HEAD"),
    (BodyTimeout, "the body did not come within 30000 ms (setting body_timeout_ms); send it faster"),
    (BodyIncomplete, "the body broke off (a request ended before its body did); send it whole"),
    (KeyTooLarge, "the key is over the limit of 1024 bytes (setting key_bytes_max); use a shorter one"),
    (ValueTooLarge, "the value is over the limit of 1048576 bytes (setting value_bytes_max); send a smaller one"),
    (BodyTooLarge, "the body is over the limit of 2097152 bytes (setting body_bytes_max); send a smaller one"),
    (LineTooLarge, "the line is over the limit of 2097152 bytes (setting line_bytes_max); send large values with PUT /set/{key}, which takes up to 1048576 (setting value_bytes_max)"),
    (UnsupportedMediaType, "the body must be JSON: add the header Content-Type: application/json (curl: -H 'Content-Type: application/json')"),
    (InvalidBody, "there is no member \"ttl\"; the body must be of the form {\"key\": \"…\", \"value\": …}"),
    (InvalidLine, "there is no member \"ttl\"; the line must be of the form {\"key\": \"…\", \"value\": …}"),
    (Internal, "the request met a defect of the server; the log has its place"),
    (WatchUnsupported, "the log of the engine has no updates in this namespace, so that it cannot be watched; have one server set engine_watch = true, or search from time to time instead"),
    (Overloaded, "too many requests wait for a shard of the store (setting messages_in_flight_max); nothing was done, try again after a pause"),
    (Starting, "the store is starting; send requests elsewhere for a moment"),
    (Stopping, "the server is draining before it stops; send requests elsewhere"),
    (NotAlive, "an actor of the store gives no sign of life; restart the process"),
    (Unscraped, "the metrics could not be taken: the store did not answer in time"),
    (Timeout, "the store did not answer within 5000 ms (setting request_timeout_ms; bulk bodies wait for merges, two minutes at the most); whether a change was made is unknown: read the key, or repeat the request if repeating it does no harm"),
    (StoreFull, "the store is full at 1073741824 bytes (setting store_bytes_max); delete keys or raise the setting"),
    (DiskFull, "the disk of the server's data (setting data_dir) has no room for the change; nothing was done: delete keys, or make room on the disk, and try again"),
    (DiskFailed, "the disk of the server's data (setting data_dir) has failed, and the server restarts; whether a change was made is unknown: read the key, or repeat the request if repeating it does no harm"),
    (EngineUnavailable, "the engine at redis://valkey:6379/0 does not answer; send requests elsewhere"),
    (EngineUnreplicated, "the change was made, and fewer replicas than engine_wait_replicas confirmed it in time"),
    (EngineReadOnly, "the engine takes no writes; nothing was done, try again after a pause"),
    (EngineFull, "the engine is full (its maxmemory); nothing was done: delete keys or raise its bound"),
    (EngineDenied, "the engine does not let this server in, or denies it a command; the log says which"),
    (EngineData, "the engine at redis://valkey:6379/0 holds data of another layout (settings engine and namespace)"),
];

// Each stands where its code says, so that none is there twice.
const _: () = {
    let mut at = 0;
    while at < EXAMPLES.len() {
        assert!(EXAMPLES[at].0 as usize == at);
        at += 1;
    }
};

/// All codes, each with what a problem of it says.
pub(super) fn examples() -> impl Iterator<Item = (Code, &'static str)> {
    EXAMPLES.into_iter()
}

/// Of every request.
pub(super) const ALWAYS: &[Code] = &[
    InvalidEncoding,
    InvalidHost,
    UnknownParameter,
    Overloaded,
    Internal,
];

/// Of those that need a token, where there is an `auth_file`.
pub(super) const TOKEN: &[Code] = &[Unauthorized, Forbidden, RateLimited];

/// Of those that say what a token allows.
pub(super) const SHOWN: &[Code] = &[Unauthorized, RateLimited];

/// Of those with a key in their path.
pub(super) const KEYED: &[Code] = &[InvalidKey, KeyTooLarge];

/// Of those with parameters in the query.
pub(super) const QUERY: &[Code] = &[RepeatedParameter];

/// Of those without a body.
pub(super) const BODILESS: &[Code] = &[UnexpectedBody, ExpectationFailed];

/// Of those with a body.
pub(super) const BODY: &[Code] = &[BodyTimeout, BodyIncomplete];

/// Of those whose body is JSON.
pub(super) const JSON: &[Code] = &[
    InvalidJson,
    InvalidBody,
    InvalidKey,
    KeyTooLarge,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidContentType,
];

/// Of what would not be heeded.
pub(super) const UNHEEDED: &[Code] = &[
    UnsupportedCondition,
    UnsupportedHeader,
    UnsupportedEncoding,
    ExpectationFailed,
];

/// Of changes with a condition.
pub(super) const CONDITION: &[Code] = &[InvalidCondition, PreconditionFailed];

/// Of whatever asks the store.
pub(super) const STORE: &[Code] = &[
    Starting,
    Stopping,
    Timeout,
    DiskFailed,
    EngineUnavailable,
    EngineDenied,
    EngineData,
];

/// Of whatever changes it.
pub(super) const CHANGE: &[Code] = &[DiskFull, EngineUnreplicated, EngineReadOnly];

/// Of whatever adds to it.
pub(super) const GROWTH: &[Code] = &[StoreFull, EngineFull];
