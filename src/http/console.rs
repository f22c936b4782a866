//! `GET /` for a browser: a page on which people search, look at and change what is stored. It is our own, in plain modules:
//! nothing is built for it, and it asks nobody but this server. It is sent as one text, with its style and its scripts in
//! it, so that it is seen as soon as that is here.

mod joined;

use super::static_text::{StaticText, policy_source};
use actix_web::http::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use joined::{Module, joined};
use std::sync::LazyLock;

const PAGE: &str = include_str!("console/page.html");
const STYLE: &str = include_str!("console/style.css");
const THEME: &str = include_str!("console/theme.js");

/// Where the page names what it is sent with.
const STYLE_LINK: &str = "<link rel=\"stylesheet\" href=\"style.css\">";
const THEME_LINK: &str = "<script src=\"theme.js\"></script>";
const MODULES_LINK: &str = "<script type=\"module\" src=\"app.js\"></script>";

/// Those that others take something from by its name stand before them, and what all wait for stands before all. A module a
/// line.
#[rustfmt::skip]
static MODULES: [Module; 20] = [
    Module { name: "seen.js", text: include_str!("console/seen.js") },
    Module { name: "json.js", text: include_str!("console/json.js") },
    Module { name: "api.js", text: include_str!("console/api.js") },
    Module { name: "dom.js", text: include_str!("console/dom.js") },
    Module { name: "text.js", text: include_str!("console/text.js") },
    Module { name: "state.js", text: include_str!("console/state.js") },
    Module { name: "rows.js", text: include_str!("console/rows.js") },
    Module { name: "search.js", text: include_str!("console/search.js") },
    Module { name: "token.js", text: include_str!("console/token.js") },
    Module { name: "show.js", text: include_str!("console/show.js") },
    Module { name: "curl.js", text: include_str!("console/curl.js") },
    Module { name: "deadline.js", text: include_str!("console/deadline.js") },
    Module { name: "change.js", text: include_str!("console/change.js") },
    Module { name: "edit.js", text: include_str!("console/edit.js") },
    Module { name: "value.js", text: include_str!("console/value.js") },
    Module { name: "live.js", text: include_str!("console/live.js") },
    Module { name: "metrics.js", text: include_str!("console/metrics.js") },
    Module { name: "server.js", text: include_str!("console/server.js") },
    Module { name: "help.js", text: include_str!("console/help.js") },
    Module { name: "app.js", text: include_str!("console/app.js") },
];

/// Made when a browser first asks: most servers are never asked.
static CONSOLE: LazyLock<Console> = LazyLock::new(Console::new);

#[derive(Debug)]
struct Console {
    page: StaticText,
    policy: HeaderValue,
}

impl Console {
    fn new() -> Self {
        let modules = joined(&MODULES);
        let policy = policy(&modules);
        Self {
            page: StaticText::new("text/html; charset=utf-8", whole(&modules).into()),
            policy: HeaderValue::from_str(&policy).expect("a policy is a header value"),
        }
    }
}

/// The page, to whoever prefers one to the list of paths.
pub(super) fn page(request: &HttpRequest) -> HttpResponse {
    let vary = HeaderValue::from_static("accept, accept-encoding, authorization");
    let mut response = CONSOLE.page.answer(request, vary);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, CONSOLE.policy.clone());
    response
}

/// The page with its style and scripts in it.
fn whole(modules: &str) -> String {
    let page = PAGE.replace(STYLE_LINK, &format!("<style>{STYLE}</style>"));
    let page = page.replace(THEME_LINK, &format!("<script>{THEME}</script>"));
    let modules = format!("<script type=\"module\">{modules}</script>");
    page.replace(MODULES_LINK, &modules)
}

/// What a browser may do for the page: run and show just what is in it, ask this server, and draw images that are stored
/// here, of which the page makes addresses itself. No text ever becomes markup or script: browsers that know trusted types
/// let the page itself not do that.
fn policy(modules: &str) -> String {
    format!(
        "default-src 'none'; script-src {} {}; style-src {}; connect-src 'self'; img-src blob: data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        policy_source(THEME),
        policy_source(modules),
        policy_source(STYLE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// As it travels. A page of a few hundred kB would be felt on a slow link.
    const GZIP_BYTES_MAX: usize = 150_000;

    #[test]
    fn the_page_is_small() {
        let bytes = CONSOLE.page.gzip_bytes();
        assert!(bytes <= GZIP_BYTES_MAX, "{bytes}");
    }

    #[test]
    fn all_that_is_in_the_folder_is_in_the_page() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/console");
        let entries = std::fs::read_dir(folder).unwrap();
        let there: BTreeSet<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".rs"))
            .collect();
        let others = ["page.html", "style.css", "theme.js"];
        let sent = MODULES.iter().map(|module| module.name).chain(others);
        assert_eq!(sent.map(String::from).collect::<BTreeSet<_>>(), there);
        let page = whole(&joined(&MODULES));
        for left in ["<link rel=\"stylesheet\"", " src=", "modulepreload"] {
            assert!(!page.contains(left), "{left}");
        }
        for text in MODULES
            .iter()
            .map(|module| module.text)
            .chain([STYLE, THEME])
        {
            let comment = text.lines().next().unwrap();
            assert_eq!(page.matches(comment).count(), 1, "{comment}");
        }
    }

    #[test]
    fn the_policy_is_of_what_is_in_the_page() {
        let modules = joined(&MODULES);
        let (page, policy) = (whole(&modules), CONSOLE.policy.to_str().unwrap());
        for (start, text, end) in [
            ("<script>", THEME, "</script>"),
            ("<script type=\"module\">", &modules, "</script>"),
            ("<style>", STYLE, "</style>"),
        ] {
            assert!(page.contains(&format!("{start}{text}{end}")), "{start}");
            assert!(policy.contains(&policy_source(text)), "{start}");
            // What ends it within, makes it another text or is read as another one.
            for forbidden in ["</", "<!--", "\r", "\0"] {
                assert!(!text.contains(forbidden), "{forbidden:?} in {start}");
            }
        }
        assert_eq!(policy.matches("'sha256-").count(), 3);
        assert_eq!(page.matches("<script").count(), 2);
    }

    /// What a line imports by name, or nothing of a module that it takes whole, and from which module.
    fn imported(line: &str) -> Option<(Vec<&str>, &str)> {
        let (names, module) = line.strip_prefix("import ")?.split_once(" from \"./")?;
        let names = names.strip_prefix("{ ").map_or(Vec::new(), |names| {
            let names = names.strip_suffix(" }").unwrap().split(", ");
            names.map(|name| name.split(' ').next().unwrap()).collect()
        });
        Some((names, module.strip_suffix("\";").unwrap()))
    }

    #[test]
    fn what_a_module_takes_by_name_is_given_by_one_before_it() {
        let mut given: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for Module { name, text } in &MODULES {
            for (names, from) in text.lines().filter_map(imported) {
                assert!(MODULES.iter().any(|module| module.name == from), "{from}");
                for taken in names {
                    let is_there = given.get(from).is_some_and(|given| given.contains(taken));
                    assert!(is_there, "{taken} of {from} in {name}");
                }
            }
            let exported = text.lines().filter_map(|line| line.strip_prefix("export "));
            let declared = exported.filter_map(|line| line.split(' ').nth(1));
            given.insert(name, declared.collect());
        }
    }

    #[test]
    fn no_import_or_export_is_left_and_no_name_is_the_one_between_modules() {
        let script = joined(&MODULES);
        for line in script.lines() {
            let line = line.trim_start();
            assert!(
                !line.starts_with("import") && !line.starts_with("export"),
                "{line}"
            );
        }
        for Module { name, text } in &MODULES {
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                assert!(
                    !line.contains("import(") && !line.contains("import."),
                    "{name}: {line}"
                );
                assert!(!line.contains("modules"), "{name}: {line}");
            }
        }
    }

    #[test]
    fn nothing_stands_in_the_page_that_its_policy_forbids() {
        for forbidden in ["<style", "style=", "onclick", "javascript:", "<script>"] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        let theme = ("theme.js", THEME);
        let modules = MODULES.iter().map(|module| (module.name, module.text));
        for (name, text) in modules.chain([theme]) {
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
