//! `GET /docs`: the description of the interface for readers. One page that is our own: it asks for `openapi.json`
//! beside it and shows that, and neither loads nor runs anything else.

use super::get::{NO_CACHE, NOSNIFF};
use super::parameters;
use super::problem::Problem;
use crate::digest::sha256;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::sync::LazyLock;

const PAGE: &str = include_str!("docs/page.html");
const STYLE: &str = include_str!("docs/page.css");
const SCRIPT: &str = include_str!("docs/page.js");

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");

/// The page with its style and script in it.
static WHOLE: LazyLock<Bytes> = LazyLock::new(|| {
    let page = PAGE.replace("{style}", STYLE);
    page.replace("{script}", SCRIPT).into()
});

/// What a browser may do for it: nothing but to ask this server, and what the page itself has.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        source(SCRIPT),
        source(STYLE)
    );
    HeaderValue::from_str(&policy).expect("a policy is a header value")
});

pub(super) fn handle(request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CACHE_CONTROL, NO_CACHE))
        .insert_header((CONTENT_SECURITY_POLICY, HeaderValue::clone(&POLICY)))
        .insert_header((REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
        .insert_header((X_CONTENT_TYPE_OPTIONS, NOSNIFF))
        .body(Bytes::clone(&WHOLE)))
}

/// Just this text, as a policy names it.
fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(sha256(text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_of_what_is_in_the_page() {
        let page = std::str::from_utf8(&WHOLE).unwrap();
        assert!(page.contains(&format!("<style>{STYLE}</style>")));
        assert!(page.contains(&format!("<script>{SCRIPT}</script>")));
        // An end within would end it there.
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
        assert!(POLICY.to_str().unwrap().contains(&source(SCRIPT)));
    }
}
