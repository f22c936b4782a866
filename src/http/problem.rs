//! Errors as clients see them: RFC 9457 problem details, from one table, which is in `code`.

mod code;

pub(super) use code::Code;

use super::percent::DecodeError;
use crate::model::{ContentTypeError, DeadlineError, KeyError};
use crate::store::StoreError;
use actix_web::HttpResponse;
use actix_web::http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, ETAG, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use serde::Serialize;
use std::time::Duration;

/// How long a client is told to wait before it tries again, in seconds.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// What caches are told of an answer that is of this moment only.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

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
#[derive(Clone, Debug, Default, Serialize)]
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
    /// The first of these, from 1 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unmet_lines: Option<Vec<u64>>,
}

#[derive(Serialize)]
struct ProblemResponse<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(flatten)]
    progress: Option<&'a Progress>,
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

    /// The header `Host` names no host.
    pub(super) fn invalid_host() -> Self {
        let detail = "the header Host names no host; nothing was done, give one such as example.org, \
                      127.0.0.1:8000 or [::1]:8000";
        Self::new(Code::InvalidHost, detail)
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
            progress: more.and_then(|more| more.progress.as_ref()),
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
