//! Errors as clients see them: RFC 9457 problem details, from one table.

use super::percent::DecodeError;
use crate::model::{ContentTypeError, DeadlineError, KeyError};
use crate::store::{EngineError, StoreError};
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, ETAG, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use serde::Serialize;
use std::time::Duration;

/// How long a client is told to wait before it tries again, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// What caches are told of an answer that is of this moment only.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What is wrong, as a program tells it. The names are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidEncoding,
    InvalidKey,
    InvalidJson,
    InvalidContentType,
    InvalidLimit,
    InvalidDeadline,
    InvalidParameter,
    InvalidEventId,
    UnknownParameter,
    RepeatedParameter,
    MissingFilter,
    RequestAbandoned,
    InvalidCondition,
    UnsupportedCondition,
    UnsupportedHeader,
    UnsupportedEncoding,
    UnexpectedBody,
    PreconditionFailed,
    ExpectationFailed,
    Unauthorized,
    Forbidden,
    RateLimited,
    KeyNotFound,
    PathNotFound,
    ChangesGone,
    MethodNotAllowed,
    BodyTimeout,
    BodyIncomplete,
    KeyTooLarge,
    ValueTooLarge,
    BodyTooLarge,
    LineTooLarge,
    UnsupportedMediaType,
    InvalidBody,
    InvalidLine,
    Internal,
    WatchUnsupported,
    Overloaded,
    Starting,
    Stopping,
    NotAlive,
    Unscraped,
    Timeout,
    StoreFull,
    DiskFull,
    DiskFailed,
    EngineUnavailable,
    EngineUnreplicated,
    EngineReadOnly,
    EngineFull,
    EngineDenied,
    // The last: the examples in `openapi` are counted up to it.
    EngineData,
}

impl Code {
    /// What programs know it by.
    pub(super) fn name(self) -> &'static str {
        self.row().0
    }

    pub(super) fn status(self) -> u16 {
        self.row().1.as_u16()
    }

    pub(super) fn title(self) -> &'static str {
        self.row().2
    }

    /// The one table: code, status, title.
    fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidEncoding => ("invalid_encoding", S::BAD_REQUEST, "Invalid encoding"),
            Self::InvalidKey => ("invalid_key", S::BAD_REQUEST, "Invalid key"),
            Self::InvalidJson => ("invalid_json", S::BAD_REQUEST, "Not JSON"),
            Self::InvalidContentType => (
                "invalid_content_type",
                S::BAD_REQUEST,
                "Invalid content type",
            ),
            Self::InvalidLimit => ("invalid_limit", S::BAD_REQUEST, "Invalid limit"),
            Self::InvalidDeadline => ("invalid_deadline", S::BAD_REQUEST, "Invalid deadline"),
            Self::InvalidParameter => ("invalid_parameter", S::BAD_REQUEST, "Invalid parameter"),
            Self::InvalidEventId => ("invalid_event_id", S::BAD_REQUEST, "Invalid event id"),
            Self::UnknownParameter => ("unknown_parameter", S::BAD_REQUEST, "Unknown parameter"),
            Self::RepeatedParameter => ("repeated_parameter", S::BAD_REQUEST, "Repeated parameter"),
            Self::MissingFilter => ("missing_filter", S::BAD_REQUEST, "Filter missing"),
            Self::RequestAbandoned => ("request_abandoned", S::BAD_REQUEST, "Request abandoned"),
            Self::InvalidCondition => ("invalid_condition", S::BAD_REQUEST, "Invalid condition"),
            Self::UnsupportedCondition => {
                let title = "Condition not supported";
                ("unsupported_condition", S::BAD_REQUEST, title)
            }
            Self::UnsupportedHeader => {
                ("unsupported_header", S::BAD_REQUEST, "Header not supported")
            }
            Self::UnsupportedEncoding => {
                let title = "Content coding not supported";
                ("unsupported_encoding", S::UNSUPPORTED_MEDIA_TYPE, title)
            }
            Self::UnexpectedBody => ("unexpected_body", S::BAD_REQUEST, "Unexpected body"),
            Self::PreconditionFailed => {
                let title = "Precondition failed";
                ("precondition_failed", S::PRECONDITION_FAILED, title)
            }
            Self::ExpectationFailed => {
                let title = "Expectation failed";
                ("expectation_failed", S::EXPECTATION_FAILED, title)
            }
            Self::BodyIncomplete => ("body_incomplete", S::BAD_REQUEST, "Incomplete body"),
            Self::Unauthorized => ("unauthorized", S::UNAUTHORIZED, "Token needed"),
            Self::Forbidden => ("forbidden", S::FORBIDDEN, "Not allowed"),
            Self::RateLimited => ("rate_limited", S::TOO_MANY_REQUESTS, "Too often"),
            Self::KeyNotFound => ("key_not_found", S::NOT_FOUND, "Key not found"),
            Self::PathNotFound => ("path_not_found", S::NOT_FOUND, "Path not found"),
            Self::ChangesGone => ("changes_gone", S::GONE, "Changes gone"),
            Self::MethodNotAllowed => (
                "method_not_allowed",
                S::METHOD_NOT_ALLOWED,
                "Method not allowed",
            ),
            Self::BodyTimeout => ("body_timeout", S::REQUEST_TIMEOUT, "Body too slow"),
            Self::KeyTooLarge => ("key_too_large", S::PAYLOAD_TOO_LARGE, "Key too large"),
            Self::ValueTooLarge => ("value_too_large", S::PAYLOAD_TOO_LARGE, "Value too large"),
            Self::BodyTooLarge => ("body_too_large", S::PAYLOAD_TOO_LARGE, "Body too large"),
            Self::LineTooLarge => ("line_too_large", S::PAYLOAD_TOO_LARGE, "Line too large"),
            Self::UnsupportedMediaType => {
                let title = "Unsupported media type";
                ("unsupported_media_type", S::UNSUPPORTED_MEDIA_TYPE, title)
            }
            Self::InvalidBody => (
                "invalid_body",
                S::UNPROCESSABLE_ENTITY,
                "Body of a wrong shape",
            ),
            Self::InvalidLine => (
                "invalid_line",
                S::UNPROCESSABLE_ENTITY,
                "Line of a wrong shape",
            ),
            Self::Internal => ("internal", S::INTERNAL_SERVER_ERROR, "Internal error"),
            Self::WatchUnsupported => {
                let title = "Watching not supported";
                ("watch_unsupported", S::NOT_IMPLEMENTED, title)
            }
            Self::Overloaded => ("overloaded", S::SERVICE_UNAVAILABLE, "Overloaded"),
            Self::Starting => ("starting", S::SERVICE_UNAVAILABLE, "Starting"),
            Self::Stopping => ("stopping", S::SERVICE_UNAVAILABLE, "Stopping"),
            Self::NotAlive => ("not_alive", S::SERVICE_UNAVAILABLE, "Not alive"),
            Self::Unscraped => ("unscraped", S::SERVICE_UNAVAILABLE, "Metrics not taken"),
            Self::Timeout => ("timeout", S::GATEWAY_TIMEOUT, "No answer in time"),
            Self::StoreFull => ("store_full", S::INSUFFICIENT_STORAGE, "Store full"),
            Self::DiskFull => ("disk_full", S::INSUFFICIENT_STORAGE, "Disk full"),
            Self::DiskFailed => ("disk_failed", S::GATEWAY_TIMEOUT, "Disk failed"),
            Self::EngineUnavailable => {
                let title = "Engine unavailable";
                ("engine_unavailable", S::SERVICE_UNAVAILABLE, title)
            }
            Self::EngineUnreplicated => (
                "engine_unreplicated",
                S::GATEWAY_TIMEOUT,
                "Too few replicas confirmed",
            ),
            Self::EngineReadOnly => {
                let title = "Engine takes no writes";
                ("engine_read_only", S::SERVICE_UNAVAILABLE, title)
            }
            Self::EngineFull => ("engine_full", S::INSUFFICIENT_STORAGE, "Engine full"),
            Self::EngineDenied => ("engine_denied", S::SERVICE_UNAVAILABLE, "Engine denied"),
            Self::EngineData => (
                "engine_data",
                S::SERVICE_UNAVAILABLE,
                "Engine holds other data",
            ),
        }
    }

    fn of_engine(error: EngineError) -> Self {
        match error {
            EngineError::Unreachable
            | EngineError::Unresolved
            | EngineError::Untrusted
            | EngineError::OtherName
            | EngineError::ClientCertificate
            | EngineError::NotTls
            | EngineError::HungUp
            | EngineError::NotAnEngine
            | EngineError::Crowded
            | EngineError::Database
            | EngineError::NoCluster
            | EngineError::IsCluster
            | EngineError::NoMaster
            | EngineError::Old
            | EngineError::Loading
            | EngineError::Moving
            | EngineError::Behind
            | EngineError::Queued
            | EngineError::Unscripted
            | EngineError::Other => Self::EngineUnavailable,
            EngineError::Unanswered => Self::Timeout,
            EngineError::Unreplicated => Self::EngineUnreplicated,
            EngineError::ReadOnly => Self::EngineReadOnly,
            EngineError::Full => Self::EngineFull,
            EngineError::Protected
            | EngineError::Denied
            | EngineError::Forbidden(_)
            | EngineError::Lacking(_) => Self::EngineDenied,
            EngineError::TooLarge => Self::ValueTooLarge,
            EngineError::Foreign | EngineError::Newer | EngineError::Layout => Self::EngineData,
        }
    }
}

/// What went wrong with a request, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    /// What few problems have. Boxed, since every result of a handler is as large as a problem.
    more: Option<Box<More>>,
}

/// What an answer says besides what is wrong.
#[derive(Clone, Debug, Default)]
struct More {
    allow: Option<String>,
    etag: Option<HeaderValue>,
    /// How to be known.
    challenge: Option<HeaderValue>,
    /// How long to wait, where it is not what others are told.
    retry_after_s: Option<u64>,
    progress: Option<Progress>,
    /// How many keys a removal by filter had removed.
    deleted: Option<u64>,
}

/// How far a bulk body came before it failed. The counts are of all that is applied, after the line
/// too.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Progress {
    /// The line that failed, from 1 on.
    pub(super) line: u64,
    /// Changes that made a key.
    pub(super) created: u64,
    /// Changes of a key that there was.
    pub(super) updated: u64,
    /// Lines whose condition did not hold, where one had a condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unmet: Option<u64>,
}

#[derive(Serialize)]
struct ProblemResponse<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(flatten)]
    progress: Option<Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<u64>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            more: None,
        }
    }

    /// No route takes the path; `known` lists those there are, with their methods.
    pub(super) fn no_such_path(path: &str, known: &str) -> Self {
        let path: String = path.chars().take(100).collect();
        Self::new(
            Code::PathNotFound,
            format!("there is no path {path}; the paths are {known}"),
        )
    }

    /// More connections are open than may be.
    pub(super) fn too_many_connections() -> Self {
        let detail = "as many connections are open as may be (setting connections_max); nothing was \
                      done, try again after a pause, and keep fewer open";
        Self::new(Code::Overloaded, detail)
    }

    /// The target holds a raw `#`. What stands behind one is no part of a target (RFC 9112, 3.2), and
    /// what stands before it may be another key.
    pub(super) fn fragment() -> Self {
        let detail =
            "the request's target holds a # as it is; a # of a key or filter is written %23";
        Self::new(Code::InvalidEncoding, detail)
    }

    /// The method is not one of the path's; `allow` lists these.
    /// `others` lists the paths that take the method.
    pub(super) fn method_not_allowed(allow: String, method: &str, others: &str) -> Self {
        let mut detail = format!("the path does not take this method; it takes {allow}");
        if !others.is_empty() {
            detail += &format!(", and {method} is taken by {others}");
        }
        let mut problem = Self::new(Code::MethodNotAllowed, detail);
        problem.more().allow = Some(allow);
        problem
    }

    /// The actors did not answer a scrape.
    pub(super) fn unscraped(error: &StoreError) -> Self {
        let detail = format!("the metrics could not be taken: {error}");
        Self::new(Code::Unscraped, detail)
    }

    /// What is wrong and what to do about it.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Says which value there is.
    pub(super) fn with_etag(mut self, etag: HeaderValue) -> Self {
        self.more().etag = Some(etag);
        self
    }

    /// Says how to be known.
    pub(super) fn with_challenge(mut self, challenge: HeaderValue) -> Self {
        self.more().challenge = Some(challenge);
        self
    }

    /// Says after how long to try again.
    pub(super) fn with_retry_after(mut self, wait: Duration) -> Self {
        // Whole seconds, and none too few.
        let is_part = wait.subsec_nanos() > 0;
        self.more().retry_after_s = Some(wait.as_secs() + u64::from(is_part));
        self
    }

    /// Says of a bulk body how far it came.
    pub(super) fn with_progress(mut self, progress: Progress) -> Self {
        self.more().progress = Some(progress);
        self
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// What ended a bulk body early. Its lines go to several shards at once, of which each goes on until
    /// a line of its own fails.
    pub(super) fn in_bulk(error: StoreError) -> Self {
        let mut problem = Self::from(error);
        problem.detail += "; all lines before this one are applied, and some after it may be: send the body \
                           again from this line on";
        problem
    }

    /// The same problem, which ended a removal by filter early.
    pub(super) fn in_erasing(mut self, deleted: u64) -> Self {
        self.detail += "; what this request had deleted stays deleted (the member deleted counts \
                        it): send it again for the rest";
        self.more().deleted = Some(deleted);
        self
    }

    /// The same problem, found in a line of a bulk body.
    pub(super) fn in_line(self) -> Self {
        let code = match self.code {
            Code::KeyTooLarge | Code::ValueTooLarge | Code::LineTooLarge | Code::Forbidden => {
                self.code
            }
            _ => Code::InvalidLine,
        };
        Self { code, ..self }
    }

    /// The body of its response.
    pub(super) fn body(&self) -> Vec<u8> {
        let (code, status, title) = self.code.row();
        let more = self.more.as_deref();
        let body = ProblemResponse {
            r#type: format!("urn:kvstore:problem:{code}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            code,
            progress: more.and_then(|more| more.progress),
            deleted: more.and_then(|more| more.deleted),
        };
        serde_json::to_vec(&body).expect("strings and numbers are JSON")
    }

    pub(super) fn into_response(self) -> HttpResponse {
        let (name, status, _) = self.code.row();
        if self.code == Code::Internal {
            // What an actor met has been logged on its thread, which knows no request.
            log::error!(code = name; "a request met a defect of the server");
        } else if status.is_server_error() {
            log::debug!(code = name; "a request was answered with an error of the server");
        }
        let body = self.body();
        let More {
            allow,
            etag,
            challenge,
            retry_after_s,
            progress: _,
            deleted: _,
        } = self.more.map(|more| *more).unwrap_or_default();
        let mut response = HttpResponse::build(status);
        response
            .content_type("application/problem+json")
            .insert_header((CACHE_CONTROL, NO_STORE));
        if self.code == Code::UnsupportedEncoding {
            response.insert_header((ACCEPT_ENCODING, HeaderValue::from_static("identity")));
        }
        if let Some(etag) = etag {
            response.insert_header((ETAG, etag));
        }
        if let Some(allow) = allow {
            response.insert_header((ALLOW, allow));
        }
        if let Some(challenge) = challenge {
            response.insert_header((WWW_AUTHENTICATE, challenge));
        }
        if let Some(seconds) = retry_after_s {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if matches!(
            self.code,
            Code::Overloaded
                | Code::Starting
                | Code::Stopping
                | Code::EngineUnavailable
                | Code::EngineReadOnly
        ) {
            response.insert_header((RETRY_AFTER, RETRY_AFTER_S));
        }
        response.body(body)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Overloaded => Code::Overloaded,
            StoreError::Starting => Code::Starting,
            StoreError::Stopping => Code::Stopping,
            StoreError::Timeout(_) => Code::Timeout,
            StoreError::Full { .. } => Code::StoreFull,
            StoreError::DiskFull => Code::DiskFull,
            StoreError::DiskFailed => Code::DiskFailed,
            StoreError::Engine(error) => Code::of_engine(error),
            StoreError::Panicked => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<DeadlineError> for Problem {
    fn from(error: DeadlineError) -> Self {
        Self::new(Code::InvalidDeadline, error.to_string())
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let code = match error {
            KeyError::Empty { .. } => Code::InvalidKey,
            KeyError::TooLong { .. } => Code::KeyTooLarge,
        };
        Self::new(code, error.to_string())
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        Self::new(Code::InvalidEncoding, error.to_string())
    }
}

impl From<ContentTypeError> for Problem {
    fn from(error: ContentTypeError) -> Self {
        Self::new(Code::InvalidContentType, error.to_string())
    }
}
