//! `GET /search`: keys by prefix, by suffix and by both, in byte order, with their values where these are
//! asked for.

mod asked;

use super::State;
use super::buffers::{Charge, Purpose};
use super::door::Caller;
use super::entries::Entries;
use super::format::Format;
use super::get::NO_CACHE;
use super::items::{FETCHED_ITEMS, Found, Item, Items, Source};
use super::listing::Listing;
use super::problem::Problem;
use super::streamed::{self, Pieces};
use crate::model::{Delimiter, KeyList};
use crate::store::{GroupPages, Pages, Searched};
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, LINK, VARY};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use asked::{Asked, Values};
use bytes::Bytes;

const X_TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

pub(super) async fn handle(
    request: &HttpRequest,
    state: &Data<State>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::parse(request, &state.limits)?;
    let format = Format::of(request);
    if !asked.can_match(&state.limits) {
        let nothing = Listing::whole(format, KeyList::default(), Charge::default());
        return Ok(begin(format, 0).body(nothing));
    }
    let begun = Begun {
        asked: &asked,
        request,
        format,
        state,
    };
    match Delimiter::new(asked.delimiter.as_deref().unwrap_or_default().as_bytes()) {
        None => {
            let charge = begun.charge::<Pages>().await?;
            let Searched { total, pages } = state.store.search(asked.query()).await?;
            begun.go_on(total, pages, charge).await
        }
        Some(delimiter) => {
            let charge = begun.charge::<GroupPages>().await?;
            let grouped = state.store.groups(asked.query(), delimiter).await?;
            begun.go_on(grouped.total, grouped.pages, charge).await
        }
    }
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

/// What is known of a search before it finds anything.
#[derive(Clone, Copy)]
struct Begun<'a> {
    asked: &'a Asked,
    request: &'a HttpRequest,
    format: Format,
    state: &'a Data<State>,
}

impl Begun<'_> {
    /// Takes from the budget what the first items may take.
    async fn charge<S: Source>(self) -> Result<Charge, Problem> {
        let first = S::bytes_max(self.state, self.asked.wanted().unwrap_or(FETCHED_ITEMS));
        self.state.buffers.take(Purpose::Other, first).await
    }

    /// Answers with what is found.
    async fn go_on<S: Source>(
        self,
        total: usize,
        source: S,
        charge: Charge,
    ) -> Result<HttpResponse, Problem> {
        let response = begin(self.format, total);
        let search = Search {
            begun: self,
            source,
            charge,
        };
        search.answer(response).await
    }
}

/// A search that has begun to find.
struct Search<'a, S> {
    begun: Begun<'a>,
    source: S,
    charge: Charge,
}

impl<S: Source> Search<'_, S> {
    async fn answer(mut self, mut response: HttpResponseBuilder) -> Result<HttpResponse, Problem> {
        let Some(limit) = self.begun.asked.limit else {
            let items = self.source.more(FETCHED_ITEMS).await?;
            return self.send(items, response).await;
        };
        let mut items = self.page(limit.saturating_add(1)).await?;
        let text = |at| items.item(at).map_or("", Item::text);
        if items.count() > limit
            && let Some(link) = self
                .begun
                .asked
                .next_page(limit, text(limit - 1), text(limit))
        {
            response.insert_header((LINK, link));
        }
        items.cut(limit);
        self.send(items, response).await
    }

    /// The first items, so many if there are.
    async fn page(&mut self, wanted: usize) -> Result<S::Items, Problem> {
        let mut items = self.source.more(FETCHED_ITEMS.min(wanted)).await?;
        while items.count() < wanted && !self.source.is_over() {
            let some = FETCHED_ITEMS.min(wanted - items.count());
            let bytes = items.bytes() + self.source.bytes() + S::bytes_max(self.begun.state, some);
            let buffers = &self.begun.state.buffers;
            buffers
                .grow(&mut self.charge, Purpose::Other, bytes)
                .await?;
            let more = self.source.more(some).await?;
            if more.count() == 0 {
                break;
            }
            items.join(more);
        }
        Ok(items)
    }

    /// Sends what was found, and what comes after it where there is more.
    async fn send(
        self,
        items: S::Items,
        mut response: HttpResponseBuilder,
    ) -> Result<HttpResponse, Problem> {
        let Self {
            begun,
            source,
            mut charge,
        } = self;
        let Begun {
            asked,
            request,
            format,
            state,
        } = begun;
        let source = (!source.is_over()).then_some(source);
        charge.shrink_to(items.bytes() + source.as_ref().map_or(0, |source| source.bytes()));
        if asked.values == Values::Wanted {
            let found = Found {
                items,
                source,
                charge,
            };
            let entries = Entries::new(found, format, state);
            return entries.into_response(response, request).await;
        }
        let Some(source) = source else {
            return Ok(response.body(Listing::whole(format, items, charge)));
        };
        if request.method() == Method::HEAD {
            return Ok(response.body(streamed::nothing()));
        }
        let names = Names {
            listing: Listing::begun(format, items),
            source,
            state: state.clone(),
            charge,
        };
        let caller = Caller::of(request);
        Ok(response.body(streamed::body(Bytes::new(), names, caller, state.clone())))
    }
}

/// Names on their way to a client, as they are found.
struct Names<S: Source> {
    /// Those that are being sent.
    listing: Listing<S::Items>,
    source: S,
    state: Data<State>,
    charge: Charge,
}

impl<S: Source> Pieces for Names<S> {
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            if let Some(piece) = self.listing.next_piece() {
                return Ok(Some(piece));
            }
            if self.source.is_over() {
                return Ok(self.listing.end());
            }
            let bytes = self.source.bytes() + S::bytes_max(&self.state, FETCHED_ITEMS);
            let buffers = &self.state.buffers;
            buffers
                .grow(&mut self.charge, Purpose::Other, bytes)
                .await?;
            let items = self.source.more(FETCHED_ITEMS).await?;
            self.charge.shrink_to(items.bytes() + self.source.bytes());
            self.listing.go_on(items);
        }
    }
}
