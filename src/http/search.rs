//! `GET /search`: keys by prefix, by suffix and by both, in byte order.

use super::problem::{Code, Problem};
use super::{Limits, State, parameters};
use crate::model::{Filter, KeyList, Query};
use crate::store::{Pages, Searched, StoreError};
use actix_web::body::BodyStream;
use actix_web::http::Method;
use actix_web::http::header::{Accept, Header, HeaderName, HeaderValue, LINK, VARY};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// How many keys a streamed answer sends at a time.
const STREAM_KEYS: usize = 1024;

const X_TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// All but the unreserved characters of RFC 3986.
const RESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub(super) async fn handle(request: &HttpRequest, state: &State) -> Result<HttpResponse, Problem> {
    let asked = Asked::parse(request, &state.limits)?;
    let format = Format::of(request);
    if !asked.can_match(&state.limits) {
        let mut response = begin(format, 0);
        return Ok(response.body(format.whole(&KeyList::default())));
    }
    let Searched { total, mut pages } = state.store.search(asked.query()).await?;
    let mut response = begin(format, total);
    let Some(limit) = asked.limit else {
        let keys = pages.next(STREAM_KEYS).await?;
        if pages.is_done() {
            return Ok(response.body(format.whole(&keys)));
        }
        if request.method() == Method::HEAD {
            let nothing = stream::empty::<Result<Bytes, StoreError>>();
            return Ok(response.body(BodyStream::new(nothing)));
        }
        let streamed = Streamed {
            pages,
            format,
            next: Next::First(keys),
        };
        return Ok(response.body(streamed.into_body(state)));
    };
    // One key more than is shown tells whether there are more.
    let mut keys = pages.next(limit + 1).await?;
    if keys.len() > limit {
        keys.truncate(limit);
        response.insert_header((LINK, asked.next_page(limit, &keys)));
    }
    Ok(response.body(format.whole(&keys)))
}

fn begin(format: Format, total: usize) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type(format.content_type())
        .insert_header((VARY, HeaderValue::from_static("accept")))
        .insert_header((X_TOTAL_COUNT, total));
    response
}

/// The parameters of a search.
struct Asked {
    prefix: Option<String>,
    suffix: Option<String>,
    after: String,
    limit: Option<usize>,
}

impl Asked {
    fn parse(request: &HttpRequest, limits: &Limits) -> Result<Self, Problem> {
        let known = ["prefix", "suffix", "limit", "after"];
        let [prefix, suffix, limit, after] = parameters::parse(request, known)?;
        let limit = limit.map(|text| parse_limit(&text, limits.page_keys_max));
        Ok(Self {
            prefix,
            suffix,
            after: after.unwrap_or_default(),
            limit: limit.transpose()?,
        })
    }

    /// Whether any key could match: there is a filter, and none is longer than a key.
    fn can_match(&self, limits: &Limits) -> bool {
        let filters = [&self.prefix, &self.suffix];
        filters.iter().any(|filter| filter.is_some())
            && filters.iter().all(|filter| {
                filter
                    .as_ref()
                    .is_none_or(|text| text.len() <= limits.key_bytes_max)
            })
    }

    fn query(&self) -> Query {
        let bytes = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
        Query {
            filter: Filter {
                prefix: bytes(&self.prefix),
                suffix: bytes(&self.suffix),
            },
            after: self.after.clone().into_bytes(),
            limit: self.limit.map(|limit| limit + 1),
        }
    }

    /// The link to the page after one that ends with the last of `keys`.
    fn next_page(&self, limit: usize, keys: &KeyList) -> String {
        let mut link = String::from("</search?");
        for (name, value) in [("prefix", &self.prefix), ("suffix", &self.suffix)] {
            if let Some(value) = value {
                link += &format!("{name}={}&", utf8_percent_encode(value, &RESERVED));
            }
        }
        let after = text(keys.last().unwrap_or_default());
        let after = utf8_percent_encode(after, &RESERVED);
        link + &format!("limit={limit}&after={after}>; rel=\"next\"")
    }
}

fn parse_limit(text: &str, page_keys_max: usize) -> Result<usize, Problem> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text
        .parse()
        .ok()
        .filter(|limit| is_plain && (1..=page_keys_max).contains(limit));
    limit.ok_or_else(|| {
        let detail = format!(
            "limit must be a number from 1 to {page_keys_max} (setting page_keys_max); \
             leave it out for all keys"
        );
        Problem::new(Code::InvalidLimit, detail)
    })
}

/// How keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// One array.
    Json,
    /// A string a line.
    Lines,
}

impl Format {
    /// Lines where the client prefers them to an array.
    fn of(request: &HttpRequest) -> Self {
        let Ok(Accept(accepted)) = Accept::parse(request) else {
            return Self::Json;
        };
        let quality = |name: &str| {
            let items = accepted
                .iter()
                .filter(|item| item.item.essence_str() == name);
            items.map(|item| item.quality).max()
        };
        match (quality("application/x-ndjson"), quality("application/json")) {
            (Some(lines), json) if lines > actix_web::http::header::Quality::ZERO => {
                if json.is_some_and(|json| json > lines) {
                    Self::Json
                } else {
                    Self::Lines
                }
            }
            _ => Self::Json,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
        }
    }

    fn whole(self, keys: &KeyList) -> Vec<u8> {
        let mut body = Vec::new();
        self.open(&mut body);
        self.write(keys, Position::First, &mut body);
        self.close(&mut body);
        body
    }

    fn open(self, body: &mut Vec<u8>) {
        if self == Self::Json {
            body.push(b'[');
        }
    }

    fn close(self, body: &mut Vec<u8>) {
        if self == Self::Json {
            body.push(b']');
        }
    }

    fn write(self, keys: &KeyList, position: Position, body: &mut Vec<u8>) {
        for (index, key) in keys.iter().enumerate() {
            if self == Self::Json && (index > 0 || position == Position::Later) {
                body.push(b',');
            }
            serde_json::to_writer(&mut *body, text(key)).expect("text is JSON");
            if self == Self::Lines {
                body.push(b'\n');
            }
        }
    }
}

/// Whether keys are the first of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    First,
    Later,
}

/// An answer that is sent as it is found.
struct Streamed {
    pages: Pages,
    format: Format,
    next: Next,
}

enum Next {
    First(KeyList),
    Later,
    Nothing,
}

impl Streamed {
    /// A body that, where the search fails half-way, breaks off without its end, so that a client
    /// cannot take it for whole.
    fn into_body(
        self,
        state: &State,
    ) -> BodyStream<impl stream::Stream<Item = Result<Bytes, StoreError>> + use<>> {
        let store = state.store.clone();
        BodyStream::new(stream::unfold(self, move |mut streamed| {
            let store = store.clone();
            async move {
                let chunk = streamed.next_chunk().await.transpose()?;
                if let Err(error) = &chunk {
                    log::warn!("a search ended before its last key: {error}");
                    store.search_aborted();
                    streamed.next = Next::Nothing;
                }
                Some((chunk, streamed))
            }
        }))
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut chunk = Vec::new();
        match std::mem::replace(&mut self.next, Next::Later) {
            Next::First(keys) => {
                self.format.open(&mut chunk);
                self.format.write(&keys, Position::First, &mut chunk);
            }
            Next::Later => {
                let keys = self.pages.next(STREAM_KEYS).await?;
                self.format.write(&keys, Position::Later, &mut chunk);
            }
            Next::Nothing => return Ok(None),
        }
        if self.pages.is_done() {
            self.format.close(&mut chunk);
            self.next = Next::Nothing;
        }
        Ok(Some(chunk.into()))
    }
}

fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).expect("keys are text by construction")
}
