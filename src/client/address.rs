//! The address of a server as it is given with `--url`, and what is wrong with it.
//!
//! An address is shown without its credentials, always.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use std::fmt;
use ureq::http::Uri;

/// The routes of a server, which an address must not end with.
const ROUTES: [&str; 8] = [
    "get", "set", "delete", "search", "metrics", "livez", "readyz", "healthz",
];

/// Those of them that a key follows.
const KEYED: [&str; 3] = ["get", "set", "delete"];

/// Why an address is none.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is empty, as a variable is that was set to another which there is not.
    #[error(
        "KVSTORE_URL (or --url) is empty: give a server's address such as http://127.0.0.1:8000, which is taken where \
         neither is set"
    )]
    Empty,
    /// It has another form.
    #[error("{0} is not a server's address: give one such as http://127.0.0.1:8000")]
    Form(String),
    /// It has a query or a fragment.
    #[error("{given} has a {part}, which a server's address has not: give {right}")]
    Extra {
        /// What was given.
        given: String,
        /// What is too much.
        part: &'static str,
        /// What is right.
        right: String,
    },
    /// It names a route of the server.
    #[error(
        "{given} is a route of the server, not its address: give {right}, the path is added to it"
    )]
    Route {
        /// What was given.
        given: String,
        /// What is right.
        right: String,
    },
}

/// Where a server is: below a path, maybe.
#[derive(Clone, Debug)]
pub struct Address {
    is_https: bool,
    host: String,
    port: Option<u16>,
    /// Without a slash at its end.
    path: String,
    authorization: Option<String>,
}

impl Address {
    /// Parses what was given. The path is taken as it is, never normalised.
    ///
    /// # Errors
    /// Where it is no address of a server.
    pub fn parse(given: &str) -> Result<Self, AddressError> {
        if given.trim().is_empty() {
            return Err(AddressError::Empty);
        }
        let shown = without_credentials(given);
        // `Uri` drops a fragment without a word.
        let end = shown.find(['?', '#']).unwrap_or(shown.len());
        if end < shown.len() {
            let part = match shown.as_bytes()[end] {
                b'?' => "query",
                _ => "fragment",
            };
            let right = of_route(&shown[..end]).unwrap_or_else(|| shown[..end].to_owned());
            return Err(AddressError::Extra {
                given: shown,
                part,
                right,
            });
        }
        let form = || AddressError::Form(shown.clone());
        let uri: Uri = given.parse().map_err(|_| form())?;
        let is_https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(form()),
        };
        let authority = uri.authority().ok_or_else(form)?;
        // A port that is none is not seen by `Uri`.
        let after_host = authority.as_str().rsplit('@').next().unwrap_or_default();
        let port = after_host.get(authority.host().len()..).unwrap_or_default();
        let is_port = port.is_empty() || port == ":" || authority.port_u16().is_some();
        if authority.host().is_empty() || !is_port {
            return Err(form());
        }
        if let Some(right) = of_route(&shown) {
            return Err(AddressError::Route {
                given: shown,
                right,
            });
        }
        let credentials = authority
            .as_str()
            .rsplit_once('@')
            .map(|(before, _)| before);
        Ok(Self {
            is_https,
            host: authority.host().to_owned(),
            port: authority.port_u16(),
            path: uri.path().trim_end_matches('/').to_owned(),
            authorization: credentials.map(basic),
        })
    }

    /// Whether it is spoken to over TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The `Authorization` that its credentials make.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }
}

/// The address, without credentials and without a slash at its end.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(formatter, "{scheme}://{}", self.host)?;
        if let Some(port) = self.port {
            write!(formatter, ":{port}")?;
        }
        formatter.write_str(&self.path)
    }
}

/// A URL as it may be shown. What stands before the last `@` of its authority is left out.
pub fn without_credentials(url: &str) -> String {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| begin + at);
    // A password with a raw slash or so in it ends the authority early: then what is after it may
    // be a part of the password.
    let hidden = url[begin..end]
        .rfind('@')
        .or_else(|| url[begin..].rfind('@'));
    match hidden {
        Some(at) => format!("{}{}", &url[..begin], &url[begin + at + 1..]),
        None => url.to_owned(),
    }
}

/// The address of the server whose route this is.
fn of_route(shown: &str) -> Option<String> {
    let begin = shown.find("://")? + 3;
    let path = begin + shown[begin..].find('/')?;
    let segments: Vec<&str> = shown[path..].trim_end_matches('/').split('/').collect();
    let route = match segments.as_slice() {
        [.., last] if ROUTES.contains(last) => segments.len() - 1,
        [.., route, _] if KEYED.contains(route) => segments.len() - 2,
        _ => return None,
    };
    Some(format!("{}{}", &shown[..path], segments[..route].join("/")))
}

/// `user:password`, percent-encoded, as basic authentication has it.
fn basic(credentials: &str) -> String {
    let decode = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let pair = [decode(user), decode(password)].join(&b':');
    format!("Basic {}", STANDARD.encode(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_the_host_is_a_part_of_the_address() {
        for (given, shown) in [
            ("http://h", "http://h"),
            ("http://h:8000/", "http://h:8000"),
            ("https://u:p@h/kv/", "https://h/kv"),
            ("http://[::1]:8000/a/b", "http://[::1]:8000/a/b"),
            ("http://h/settings", "http://h/settings"),
        ] {
            assert_eq!(Address::parse(given).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_route_is_refused_with_the_address_to_give() {
        for (given, right) in [
            ("http://h/set", "give http://h,"),
            ("http://h/kv/search/", "give http://h/kv,"),
            ("http://u:secret@h:1/get/some", "give http://h:1,"),
            ("http://h/?a=1", "give http://h/"),
            ("http://u:secret@h/search?prefix=", "give http://h"),
            ("http://h#x", "a fragment"),
            ("ftp://u:secret@h", "127.0.0.1:8000"),
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://u:sec/ret@h", "give one such as"),
            ("http://u:secret@h h", "give one such as"),
            ("", "is empty: give a server's address"),
            (" ", "is empty: give a server's address"),
        ] {
            let error = Address::parse(given).unwrap_err().to_string();
            assert!(error.contains(right), "{error}");
            assert!(!error.contains("sec") && !error.contains("ret"), "{error}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_sent_as_basic_authentication() {
        let address = Address::parse("http://Aladdin:open%20sesame@h").unwrap();
        let expected = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(address.authorization(), Some(expected));
    }
}
