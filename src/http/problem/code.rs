//! The one table of what can be wrong: code, status, title.

use crate::store::EngineError;
use actix_web::http::StatusCode;

/// What is wrong, as a program tells it. The names are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Code {
    InvalidEncoding,
    InvalidHost,
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
    pub(in crate::http) fn name(self) -> &'static str {
        self.row().0
    }

    pub(in crate::http) fn status(self) -> u16 {
        self.row().1.as_u16()
    }

    pub(in crate::http) fn title(self) -> &'static str {
        self.row().2
    }

    /// The one table: code, status, title.
    pub(super) fn row(self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::InvalidEncoding => ("invalid_encoding", S::BAD_REQUEST, "Invalid encoding"),
            Self::InvalidHost => ("invalid_host", S::BAD_REQUEST, "Invalid host"),
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

    pub(super) fn of_engine(error: EngineError) -> Self {
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
