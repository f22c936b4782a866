//! The parameters of a search, and the link to its next page.

use crate::http::problem::{Code, Problem};
use crate::http::{Limits, parameters};
use crate::model::{Filter, Query};
use actix_web::HttpRequest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

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

/// The parameters of a search.
pub(super) struct Asked {
    prefix: Option<String>,
    suffix: Option<String>,
    after: String,
    pub(super) limit: Option<usize>,
    pub(super) values: Values,
    /// At which keys are grouped. Not empty.
    pub(super) delimiter: Option<String>,
}

/// Whether keys come with their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Wanted,
    LeftOut,
}

impl Asked {
    /// Reads the parameters.
    ///
    /// # Errors
    /// Where one is none, or they do not go together.
    pub(super) fn parse(request: &HttpRequest, limits: &Limits) -> Result<Self, Problem> {
        let known = ["prefix", "suffix", "limit", "after", "values", "delimiter"];
        let [prefix, suffix, limit, after, values, delimiter] = parameters::parse(request, known)?;
        let limit = limit.map(|text| parse_limit(&text, limits.page_keys_max));
        let values = values.map(|text| parse_values(&text));
        if delimiter.as_ref().is_some_and(String::is_empty) {
            let detail = "delimiter is empty; give the text that groups end with, such as /";
            return Err(Problem::new(Code::InvalidParameter, detail));
        }
        let asked = Self {
            prefix,
            suffix,
            after: after.unwrap_or_default(),
            limit: limit.transpose()?,
            values: values.transpose()?.unwrap_or(Values::LeftOut),
            delimiter,
        };
        match asked.unfiltered() {
            Some(detail) => Err(Problem::new(Code::MissingFilter, detail)),
            None => Ok(asked),
        }
    }

    /// What is asked for that takes a filter, where there is none.
    fn unfiltered(&self) -> Option<String> {
        if self.prefix.is_some() || self.suffix.is_some() {
            return None;
        }
        let asked = if !self.after.is_empty() {
            "after goes on with a search"
        } else if self.values == Values::Wanted {
            "values are those of the keys that a search finds"
        } else if self.delimiter.is_some() {
            "delimiter groups the keys that a search finds"
        } else {
            return None;
        };
        Some(format!(
            "{asked}, and there is none: give a prefix or a suffix, empty (prefix=) for all keys"
        ))
    }

    /// Whether any key could match: there is a filter, and none is longer than a key.
    pub(super) fn can_match(&self, limits: &Limits) -> bool {
        let filters = [&self.prefix, &self.suffix];
        filters.iter().any(|filter| filter.is_some())
            && filters.iter().all(|filter| {
                filter
                    .as_ref()
                    .is_none_or(|text| text.len() <= limits.key_bytes_max)
            })
    }

    /// How many are fetched to show so many: one more tells whether there are more.
    pub(super) fn wanted(&self) -> Option<usize> {
        self.limit.map(|limit| limit.saturating_add(1))
    }

    pub(super) fn query(&self) -> Query {
        let bytes = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
        Query {
            filter: Filter {
                prefix: bytes(&self.prefix),
                suffix: bytes(&self.suffix),
            },
            after: self.after.clone().into_bytes(),
            limit: self.wanted(),
        }
    }

    /// The link to the page after a last item, of `limit`, before the next one. Relative, so that it leads
    /// on below any prefix that a proxy takes off. `None` where it would be longer than proxies take.
    pub(super) fn next_page(&self, limit: usize, last: &str, next: &str) -> Option<String> {
        let mut link = String::from("<?");
        for (name, value) in [
            ("prefix", &self.prefix),
            ("suffix", &self.suffix),
            ("delimiter", &self.delimiter),
        ] {
            if let Some(value) = value {
                link += &format!("{name}={}&", utf8_percent_encode(value, &RESERVED));
            }
        }
        link += match self.values {
            Values::Wanted => "values=true&",
            Values::LeftOut => "",
        };
        let after = utf8_percent_encode(between(last, next), &RESERVED);
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

fn parse_values(text: &str) -> Result<Values, Problem> {
    match text {
        "true" => Ok(Values::Wanted),
        "false" => Ok(Values::LeftOut),
        _ => {
            let detail = "values must be true, for entries, or false; leave it out for keys";
            Err(Problem::new(Code::InvalidParameter, detail))
        }
    }
}
