//! The media type that a client gave a value.

use bytes::Bytes;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// The longest content type that is accepted, in bytes.
const BYTES_MAX: usize = 255;

/// How many content types are shared between the values that have them.
const INTERNED_MAX: usize = 250;

/// What a text on the heap takes besides itself, in bytes.
const OWN_BYTES: usize = 16;

/// A syntactically valid media type, with its parameters as the client wrote them.
#[derive(Clone, Debug)]
pub struct ContentType(Text);

#[derive(Clone, Debug)]
enum Text {
    /// Static, or shared by all values that have it.
    Shared(Bytes),
    /// Of one value.
    Own(Arc<str>),
}

/// Why a text is not a content type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentTypeError {
    /// The text has too many bytes.
    #[error("the content type has {0} bytes, over the limit of {BYTES_MAX}; use a shorter one")]
    TooLong(usize),
    /// The text is not `type/subtype` with parameters.
    #[error(
        "the content type is not of the form type/subtype; name=value; \
         send one such as application/json or text/plain; charset=utf-8"
    )]
    Malformed,
}

impl ContentType {
    /// `application/json`.
    pub const JSON: Self = Self(Text::Shared(Bytes::from_static(b"application/json")));
    /// `application/octet-stream`: what a body is where nobody says.
    pub const OCTET_STREAM: Self = Self(Text::Shared(Bytes::from_static(
        b"application/octet-stream",
    )));

    /// The text, as the client wrote it.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Shared(bytes) => {
                std::str::from_utf8(bytes).expect("a content type is ASCII by construction")
            }
            Text::Own(text) => text,
        }
    }

    /// The text as bytes, shared where it is by values.
    pub fn to_bytes(&self) -> Bytes {
        match &self.0 {
            Text::Shared(bytes) => bytes.clone(),
            Text::Own(text) => Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    /// What the text takes where the value that has it is the only one, in bytes.
    pub fn own_bytes(&self) -> usize {
        match &self.0 {
            Text::Shared(_) => 0,
            Text::Own(text) => text.len() + OWN_BYTES,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Shared(bytes) => bytes,
            Text::Own(text) => text.as_bytes(),
        }
    }

    /// The type without its parameters.
    pub fn essence(&self) -> &str {
        self.as_str().split(';').next().unwrap_or_default().trim()
    }

    /// Whether this is JSON: `application/json` or `…+json`, whatever the parameters.
    pub fn is_json(&self) -> bool {
        // Most values are, to the letter.
        if self.as_bytes() == b"application/json" {
            return true;
        }
        let essence = self.essence();
        essence.eq_ignore_ascii_case("application/json")
            || essence
                .len()
                .checked_sub("+json".len())
                .and_then(|at| essence.get(at..))
                .is_some_and(|end| end.eq_ignore_ascii_case("+json"))
    }
}

impl PartialEq for ContentType {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ContentType {}

impl Hash for ContentType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

/// Content types in use, of which 250 are shared by all values that have them; a value with any other
/// keeps its own copy. One that no value has any more makes way for another.
#[derive(Debug, Default)]
pub struct ContentTypes {
    interned: Mutex<HashSet<Bytes>>,
}

impl ContentTypes {
    /// Takes a text as a content type.
    ///
    /// # Errors
    /// Where the text is longer than 255 bytes or not a media type by RFC 9110, section 8.3.1.
    pub fn parse(&self, text: &str) -> Result<ContentType, ContentTypeError> {
        if text.as_bytes() == ContentType::JSON.as_bytes() {
            return Ok(ContentType::JSON);
        }
        if text.as_bytes() == ContentType::OCTET_STREAM.as_bytes() {
            return Ok(ContentType::OCTET_STREAM);
        }
        if text.len() > BYTES_MAX {
            return Err(ContentTypeError::TooLong(text.len()));
        }
        if !is_media_type(text) {
            return Err(ContentTypeError::Malformed);
        }
        let mut interned = self.interned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = interned.get(text.as_bytes()) {
            return Ok(ContentType(Text::Shared(shared.clone())));
        }
        if interned.len() == INTERNED_MAX {
            // Nobody takes one up meanwhile: that needs the lock.
            interned.retain(|shared| !shared.is_unique());
        }
        if interned.len() == INTERNED_MAX {
            return Ok(ContentType(Text::Own(text.into())));
        }
        let shared = Bytes::copy_from_slice(text.as_bytes());
        interned.insert(shared.clone());
        Ok(ContentType(Text::Shared(shared)))
    }
}

/// `type "/" subtype *( OWS ";" OWS [ name "=" value ] )`, a value being a token or quoted.
fn is_media_type(text: &str) -> bool {
    let Some((kind, rest)) = text.split_once('/') else {
        return false;
    };
    let end = rest.find(|c: char| !is_token_char(c)).unwrap_or(rest.len());
    let (subtype, mut parameters) = rest.split_at(end);
    if !is_token(kind) || !is_token(subtype) {
        return false;
    }
    loop {
        parameters = parameters.trim_start_matches([' ', '\t']);
        if parameters.is_empty() {
            return true;
        }
        let Some(after) = parameters.strip_prefix(';') else {
            return false;
        };
        let after = after.trim_start_matches([' ', '\t']);
        if after.is_empty() || after.starts_with(';') {
            parameters = after;
            continue;
        }
        let Some((name, value)) = after.split_once('=') else {
            return false;
        };
        let length = match value.strip_prefix('"') {
            Some(quoted) => quoted_length(quoted).map(|length| length + 1),
            None => Some(
                value
                    .find(|c: char| !is_token_char(c))
                    .unwrap_or(value.len()),
            )
            .filter(|length| *length > 0),
        };
        let Some(length) = length.filter(|_| is_token(name)) else {
            return false;
        };
        parameters = &value[length..];
    }
}

/// How many bytes a quoted string takes, its closing quote included, after the opening one.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            b'\t' | b' '..=b'~' => {}
            _ => return None,
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_token_char)
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_parse_and_others_do_not() {
        let types = ContentTypes::default();
        for text in [
            "text/plain",
            "application/vnd.api+json",
            "text/plain; charset=utf-8",
            "text/plain;charset=\"a\\\"b; c\" ; x=y",
            "multipart/form-data; boundary=----x;",
        ] {
            assert_eq!(types.parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "text",
            "/",
            "a/",
            "/b",
            "a b/c",
            "a/b c",
            "a/b;x",
            "a/b;=y",
            "a/b;x=",
            "a/é",
            "a/b;x=\"y",
            "a/b\r\nx: y",
        ] {
            assert_eq!(
                types.parse(text),
                Err(ContentTypeError::Malformed),
                "{text}"
            );
        }
        let long = format!("a/{}", "b".repeat(254));
        assert_eq!(types.parse(&long), Err(ContentTypeError::TooLong(256)));
    }

    #[test]
    fn json_is_told_by_its_essence() {
        let types = ContentTypes::default();
        for (text, is_json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/html", false),
            ("application/jsonx", false),
        ] {
            assert_eq!(types.parse(text).unwrap().is_json(), is_json, "{text}");
        }
    }

    #[test]
    fn past_the_bound_types_are_kept_but_not_interned() {
        let types = ContentTypes::default();
        let kept: Vec<ContentType> = (0..INTERNED_MAX + 50)
            .map(|number| types.parse(&format!("x/{number}")).unwrap())
            .collect();
        for (number, content_type) in kept.iter().enumerate() {
            assert_eq!(content_type.as_str(), format!("x/{number}"));
            assert_eq!(content_type.own_bytes() > 0, number >= INTERNED_MAX);
            assert_eq!(*content_type, types.parse(content_type.as_str()).unwrap());
        }
        assert_eq!(types.interned.lock().unwrap().len(), INTERNED_MAX);
        // Every value has one.
        assert_eq!(size_of::<ContentType>(), size_of::<Bytes>());
    }

    #[test]
    fn types_that_no_value_has_make_way_for_others() {
        let types = ContentTypes::default();
        let is_shared = |text: &str| {
            let [one, other] = [types.parse(text).unwrap(), types.parse(text).unwrap()];
            one.as_bytes().as_ptr() == other.as_bytes().as_ptr()
        };
        let kept: Vec<ContentType> = (0..INTERNED_MAX)
            .map(|number| types.parse(&format!("x/{number}")).unwrap())
            .collect();
        assert!(!is_shared("x/new"));
        drop(kept);
        for number in 0..2 * INTERNED_MAX {
            assert!(is_shared(&format!("y/{number}")), "number {number}");
        }
        assert!(types.interned.lock().unwrap().len() <= INTERNED_MAX);
    }
}
