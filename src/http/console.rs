//! `GET /` for a browser and `GET /console/{file}`: a page on which people search, look at and change what is stored. It
//! is our own, in plain modules: nothing is built for it, and it asks nobody but this server.

use super::problem::Problem;
use super::static_text::{StaticText, VARY_ENCODING};
use super::{parameters, routes};
use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use std::sync::OnceLock;

/// What the files' paths begin with.
const BEGINNING: &str = "/console/";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// What a browser may do for the page: run and show its files, ask this server, and draw images that are stored here, of
/// which the page makes addresses itself. No text ever becomes markup or script: browsers that know trusted types let
/// the page itself not do that.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src blob: data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'",
);

/// The page itself, whose path is the root.
static PAGE: File = File::new("", HTML, include_str!("console/page.html"));

// A file a line.
#[rustfmt::skip]
static FILES: [File; 21] = [
    File::new("api.js", SCRIPT, include_str!("console/api.js")),
    File::new("app.js", SCRIPT, include_str!("console/app.js")),
    File::new("change.js", SCRIPT, include_str!("console/change.js")),
    File::new("curl.js", SCRIPT, include_str!("console/curl.js")),
    File::new("deadline.js", SCRIPT, include_str!("console/deadline.js")),
    File::new("dom.js", SCRIPT, include_str!("console/dom.js")),
    File::new("edit.js", SCRIPT, include_str!("console/edit.js")),
    File::new("help.js", SCRIPT, include_str!("console/help.js")),
    File::new("json.js", SCRIPT, include_str!("console/json.js")),
    File::new("live.js", SCRIPT, include_str!("console/live.js")),
    File::new("metrics.js", SCRIPT, include_str!("console/metrics.js")),
    File::new("rows.js", SCRIPT, include_str!("console/rows.js")),
    File::new("search.js", SCRIPT, include_str!("console/search.js")),
    File::new("server.js", SCRIPT, include_str!("console/server.js")),
    File::new("show.js", SCRIPT, include_str!("console/show.js")),
    File::new("state.js", SCRIPT, include_str!("console/state.js")),
    File::new("style.css", STYLE, include_str!("console/style.css")),
    File::new("text.js", SCRIPT, include_str!("console/text.js")),
    File::new("theme.js", SCRIPT, include_str!("console/theme.js")),
    File::new("token.js", SCRIPT, include_str!("console/token.js")),
    File::new("value.js", SCRIPT, include_str!("console/value.js")),
];

/// A file as it is in the binary.
#[derive(Debug)]
struct File {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
    /// Made when the file is first asked for: most servers are never asked.
    prepared: OnceLock<StaticText>,
}

impl File {
    const fn new(name: &'static str, media_type: &'static str, text: &'static str) -> Self {
        Self {
            name,
            media_type,
            text,
            prepared: OnceLock::new(),
        }
    }

    fn prepared(&self) -> &StaticText {
        self.prepared.get_or_init(|| {
            let text = Bytes::from_static(self.text.as_bytes());
            StaticText::new(self.media_type, text)
        })
    }
}

pub(super) fn handle(request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let [] = parameters::parse(request, [])?;
    let path = request.uri().path();
    let name = path.strip_prefix(BEGINNING);
    let file = name.and_then(|name| FILES.iter().find(|file| file.name == name));
    let file = file.ok_or_else(|| routes::no_such_path(path))?;
    Ok(file.prepared().answer(request, VARY_ENCODING))
}

/// The page, to whoever prefers one to the list of paths.
pub(super) fn page(request: &HttpRequest) -> HttpResponse {
    let vary = HeaderValue::from_static("accept, accept-encoding, authorization");
    let mut response = PAGE.prepared().answer(request, vary);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}

/// What the files are called.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|file| file.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// All of it together, as it travels. A page of a few hundred kB would be felt on a slow link.
    const GZIP_BYTES_MAX: usize = 150_000;

    #[test]
    fn all_files_together_are_small() {
        let files = FILES.iter().chain([&PAGE]);
        let bytes: usize = files.map(|file| file.prepared().gzip_bytes()).sum();
        assert!(bytes <= GZIP_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn the_files_are_those_of_the_folder_and_of_the_page() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/console");
        let entries = std::fs::read_dir(folder).unwrap();
        let there: BTreeSet<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "page.html")
            .collect();
        let served: BTreeSet<String> = names().map(String::from).collect();
        assert_eq!(served, there);
        for name in served {
            let address = format!("\"console/{name}\"");
            assert!(PAGE.text.contains(&address), "{name} is fetched late");
        }
    }

    #[test]
    fn nothing_stands_in_the_page_that_its_policy_forbids() {
        for forbidden in ["<style", "style=", "onclick", "javascript:", "<script>"] {
            assert!(!PAGE.text.contains(forbidden), "{forbidden}");
        }
        for File { name, text, .. } in &FILES {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                "document.write",
            ] {
                assert!(!text.contains(forbidden), "{forbidden} in {name}");
            }
        }
    }
}
