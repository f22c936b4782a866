//! `GET /docs`: the description of the interface for readers. One page that is our own: it asks for `openapi.json`
//! beside it and shows that, and neither loads nor runs anything else.

use super::parameters;
use super::problem::Problem;
use super::static_text::{StaticText, VARY_ENCODING, policy_source};
use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use std::sync::LazyLock;

const PAGE: &str = include_str!("docs/page.html");
const STYLE: &str = include_str!("docs/page.css");
const SCRIPT: &str = include_str!("docs/page.js");

/// The page as it is sent.
static WHOLE: LazyLock<StaticText> =
    LazyLock::new(|| StaticText::new("text/html; charset=utf-8", whole().into()));

/// What a browser may do for it: nothing but to ask this server, and what the page itself has.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        policy_source(SCRIPT),
        policy_source(STYLE)
    );
    HeaderValue::from_str(&policy).expect("a policy is a header value")
});

pub(super) fn handle(request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    let mut response = WHOLE.answer(request, VARY_ENCODING);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::clone(&POLICY));
    Ok(response)
}

/// The page with its style and script in it.
fn whole() -> String {
    let page = PAGE.replace("{style}", STYLE);
    page.replace("{script}", SCRIPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_of_what_is_in_the_page() {
        let page = whole();
        assert!(page.contains(&format!("<style>{STYLE}</style>")));
        assert!(page.contains(&format!("<script>{SCRIPT}</script>")));
        // An end within would end it there.
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
        assert!(POLICY.to_str().unwrap().contains(&policy_source(SCRIPT)));
    }
}
