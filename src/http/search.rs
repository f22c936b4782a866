//! `GET /search`: keys by prefix, by suffix and by both, in byte order.

use super::buffers::{Charge, Purpose};
use super::get::NO_CACHE;
use super::listing::{Format, Listing};
use super::problem::{Code, Problem};
use super::{Limits, State, parameters};
use crate::model::{Filter, KeyList, Query};
use crate::store::{Pages, Searched, StoreError};
use actix_web::body::BodyStream;
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, LINK, VARY};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::stream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// How many keys are fetched at a time.
const FETCHED_KEYS: usize = 1024;

const X_TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// The longest link, in bytes: proxies keep 4 KiB for all headers of an answer, others among them.
const LINK_BYTES_MAX: usize = 3500;

/// Keys up to this length are named whole in a link.
const SHORT_KEY_BYTES: usize = 256;

/// All but what a query may hold as it is (RFC 3986, 3.4), and some less: no comma and semicolon, at which
/// simple readers of `Link` cut.
const RESERVED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

pub(super) async fn handle(
    request: &HttpRequest,
    state: &Data<State>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::parse(request, &state.limits)?;
    let format = Format::of(request);
    if !asked.after.is_empty() && asked.prefix.is_none() && asked.suffix.is_none() {
        let detail = "after goes on with a search, and there is none: give a prefix or a suffix, empty \
                      (prefix=) for all keys";
        return Err(Problem::new(Code::MissingFilter, detail));
    }
    if !asked.can_match(&state.limits) {
        let mut response = begin(format, 0);
        return Ok(response.body(Listing::whole(
            format,
            KeyList::default(),
            Charge::default(),
        )));
    }
    let fetched = |keys: usize| {
        let key_bytes_max = state.limits.key_bytes_max;
        state
            .store
            .page_bytes_max(keys.min(FETCHED_KEYS), key_bytes_max)
    };
    let first = fetched(
        asked
            .limit
            .map_or(FETCHED_KEYS, |limit| limit.saturating_add(1)),
    );
    let mut charge = state.buffers.take(Purpose::Other, first).await?;
    let Searched { total, mut pages } = state.store.search(asked.query()).await?;
    let mut response = begin(format, total);
    let Some(limit) = asked.limit else {
        let keys = pages.next(FETCHED_KEYS).await?;
        charge.shrink_to(keys.memory_bytes() + pages.memory_bytes());
        if pages.is_done() {
            return Ok(response.body(Listing::whole(format, keys, charge)));
        }
        if request.method() == Method::HEAD {
            let nothing = stream::empty::<Result<Bytes, StoreError>>();
            return Ok(response.body(BodyStream::new(nothing)));
        }
        let streamed = Streamed {
            pages,
            listing: Some(Listing::begun(format, keys)),
            state: state.clone(),
            fetched: fetched(FETCHED_KEYS),
            charge,
        };
        return Ok(response.body(streamed.into_body()));
    };
    // One key more than is shown tells whether there are more.
    let wanted = limit.saturating_add(1);
    let mut keys = pages.next(FETCHED_KEYS.min(wanted)).await?;
    while keys.len() < wanted && !pages.is_done() {
        let some = FETCHED_KEYS.min(wanted - keys.len());
        let bytes = keys.memory_bytes() + pages.memory_bytes() + fetched(some);
        state
            .buffers
            .grow(&mut charge, Purpose::Other, bytes)
            .await?;
        let more = pages.next(some).await?;
        if more.is_empty() {
            break;
        }
        keys.append(&more);
    }
    drop(pages);
    charge.shrink_to(keys.memory_bytes());
    if keys.len() > limit {
        if let Some(link) = asked.next_page(limit, &keys) {
            response.insert_header((LINK, link));
        }
        keys.truncate(limit);
    }
    Ok(response.body(Listing::whole(format, keys, charge)))
}

fn begin(format: Format, total: usize) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .content_type(format.content_type())
        .insert_header((CACHE_CONTROL, NO_CACHE))
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
            limit: self.limit.map(|limit| limit.saturating_add(1)),
        }
    }

    /// The link to the page after the first `limit` of `keys`, of which there is one more. Relative, so
    /// that it leads on below any prefix that a proxy takes off. `None` where it would be longer than
    /// proxies take.
    fn next_page(&self, limit: usize, keys: &KeyList) -> Option<String> {
        let mut link = String::from("<?");
        for (name, value) in [("prefix", &self.prefix), ("suffix", &self.suffix)] {
            if let Some(value) = value {
                link += &format!("{name}={}&", utf8_percent_encode(value, &RESERVED));
            }
        }
        let key = |at: usize| text(keys.get(at).unwrap_or_default());
        let after = between(key(limit - 1), key(limit));
        let after = utf8_percent_encode(after, &RESERVED);
        link += &format!("limit={limit}&after={after}>; rel=\"next\"");
        (link.len() <= LINK_BYTES_MAX).then_some(link)
    }
}

/// Where to go on between a key and the next one: after the key, or where that is long, after the
/// beginning of the next one, if that tells them apart.
fn between<'a>(key: &'a str, next: &'a str) -> &'a str {
    if key.len() < SHORT_KEY_BYTES {
        return key;
    }
    let shared = key
        .bytes()
        .zip(next.bytes())
        .take_while(|(left, right)| left == right);
    let end = next.ceil_char_boundary(shared.count() + 1);
    if end < next.len() && end < key.len() {
        &next[..end]
    } else {
        key
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

/// An answer that is sent as it is found.
struct Streamed {
    pages: Pages,
    /// The keys that are being sent; `None` once all are, or the search failed.
    listing: Option<Listing>,
    state: Data<State>,
    /// What the next keys may take, in bytes.
    fetched: usize,
    charge: Charge,
}

impl Streamed {
    /// A body that, where the search fails half-way, breaks off without its end, so that a client
    /// cannot take it for whole.
    fn into_body(self) -> BodyStream<impl stream::Stream<Item = Result<Bytes, Broken>>> {
        BodyStream::new(stream::unfold(self, move |mut streamed| async move {
            let piece = streamed.next_piece().await.transpose()?;
            if let Err(Broken(why)) = &piece {
                log::warn!("a search ended before its last key: {why}");
                streamed.state.store.search_aborted();
                streamed.listing = None;
            }
            Some((piece, streamed))
        }))
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let Some(listing) = &mut self.listing else {
                return Ok(None);
            };
            if let Some(piece) = listing.next_piece() {
                return Ok(Some(piece));
            }
            if self.pages.is_done() {
                let end = listing.end();
                self.listing = None;
                return Ok(Some(end).filter(|end| !end.is_empty()));
            }
            let buffers = &self.state.buffers;
            let bytes = self.pages.memory_bytes() + self.fetched;
            let grown = buffers.grow(&mut self.charge, Purpose::Other, bytes);
            grown
                .await
                .map_err(|problem| Broken(problem.detail().into()))?;
            let keys = self.pages.next(FETCHED_KEYS).await;
            let keys = keys.map_err(|error| Broken(error.to_string()))?;
            self.charge
                .shrink_to(keys.memory_bytes() + self.pages.memory_bytes());
            listing.go_on(keys);
        }
    }
}

/// Why a streamed answer broke off.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).expect("keys are text by construction")
}
