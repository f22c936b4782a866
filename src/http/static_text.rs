//! Texts that are the same for everybody for as long as a version is: the description of the interface, the page that
//! shows it, and the console. They are sent encoded to those who take that, and not at all to those who have them.

use super::entity_tags::EntityTags;
use super::get::{NO_CACHE, NOSNIFF};
use crate::digest::sha256;
use actix_web::http::header::{
    AcceptEncoding, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, Encoding, Header,
    HeaderName, HeaderValue, IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");

/// What such a text depends on, where it depends on nothing else.
pub(super) const VARY_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");

/// A text in all its forms. To make them takes some milliseconds.
#[derive(Debug)]
pub(super) struct StaticText {
    media_type: &'static str,
    plain: Bytes,
    gzip: Bytes,
    /// Of its entity tag, what stands between the quotes.
    opaque: String,
    tag: HeaderValue,
}

impl StaticText {
    /// Prepares a text to be sent.
    pub(super) fn new(media_type: &'static str, plain: Bytes) -> Self {
        let hash = sha256(&plain);
        let opaque: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        // Weak, since it is the same however the text is encoded.
        let tag = HeaderValue::from_str(&format!("W/\"{opaque}\""));
        Self {
            media_type,
            gzip: gzip(&plain),
            plain,
            opaque,
            tag: tag.expect("hexadecimal digits in quotes are a header value"),
        }
    }

    /// The text, or that the client has it. `vary` says by which headers it is another one, or encoded otherwise.
    pub(super) fn answer(&self, request: &HttpRequest, vary: HeaderValue) -> HttpResponse {
        let known = EntityTags::of(request.headers(), &IF_NONE_MATCH);
        // What is no list names no tag that the client knows.
        let is_known =
            matches!(known, Ok(Some(known)) if known.match_weakly(self.opaque.as_bytes()));
        let mut response = match is_known {
            true => HttpResponse::NotModified(),
            false => HttpResponse::Ok(),
        };
        response
            .insert_header((CACHE_CONTROL, NO_CACHE))
            .insert_header((ETAG, self.tag.clone()))
            .insert_header((VARY, vary))
            .insert_header((REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
            .insert_header((X_CONTENT_TYPE_OPTIONS, NOSNIFF));
        if is_known {
            return response.finish();
        }
        response.insert_header((CONTENT_TYPE, HeaderValue::from_static(self.media_type)));
        if takes_gzip(request) {
            response.insert_header((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
            return response.body(self.gzip.clone());
        }
        response.body(self.plain.clone())
    }

    /// How many bytes it has as it travels.
    #[cfg(test)]
    pub(super) fn gzip_bytes(&self) -> usize {
        self.gzip.len()
    }
}

/// Just this text within a page, as the page's `Content-Security-Policy` names it.
pub(super) fn policy_source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(sha256(text.as_bytes())))
}

/// Whether a client takes gzip, and does not like it less than what is not encoded.
fn takes_gzip(request: &HttpRequest) -> bool {
    let ours = [Encoding::gzip(), Encoding::identity()];
    let accepted = AcceptEncoding::parse(request);
    accepted.is_ok_and(|accepted| accepted.negotiate(ours.iter()) == Some(Encoding::gzip()))
}

fn gzip(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(text);
    written.expect("a vector takes all that is written to it");
    let whole = encoder.finish();
    whole
        .expect("a vector takes all that is written to it")
        .into()
}
