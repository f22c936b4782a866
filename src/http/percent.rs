//! Percent-decoding, strict and once: no two byte strings name the same key.

use memchr::{memchr, memchr2};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// What a plus sign stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plus {
    /// Itself, as in a path.
    Literal,
    /// A space, as in a query.
    Space,
}

/// Why a text is not percent-encoded UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecodeError {
    /// A percent sign without two hexadecimal digits.
    #[error(
        "a % is not followed by two hexadecimal digits at byte {0}; \
         write a literal percent sign as %25"
    )]
    BadEscape(usize),
    /// The decoded bytes are not text.
    #[error("the decoded bytes are not UTF-8; percent-encode the UTF-8 bytes of the text")]
    NotUtf8,
}

/// Decodes a text.
pub(super) fn decode(text: &str, plus: Plus) -> Result<Cow<'_, str>, DecodeError> {
    let bytes = text.as_bytes();
    // Most texts stand for themselves.
    let is_plain = match plus {
        Plus::Literal => memchr(b'%', bytes).is_none(),
        Plus::Space => memchr2(b'%', b'+', bytes).is_none(),
    };
    if is_plain {
        return Ok(Cow::Borrowed(text));
    }
    for (at, _) in text.match_indices('%') {
        let digits = bytes.get(at + 1..at + 3);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(DecodeError::BadEscape(at));
        }
    }
    if plus == Plus::Space && text.contains('+') {
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8();
        return decoded
            .map(|decoded| Cow::Owned(decoded.into_owned()))
            .map_err(|_| DecodeError::NotUtf8);
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| DecodeError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_is_strict_and_happens_once() {
        let path = |text| decode(text, Plus::Literal);
        assert_eq!(path("a%2Fb/c").unwrap(), "a/b/c");
        assert_eq!(path("%2541+%C3%A9").unwrap(), "%41+é");
        assert_eq!(decode("a+%2B", Plus::Space).unwrap(), "a +");
        assert_eq!(path("100%"), Err(DecodeError::BadEscape(3)));
        assert_eq!(path("%4"), Err(DecodeError::BadEscape(0)));
        assert_eq!(path("%%341"), Err(DecodeError::BadEscape(0)));
        assert_eq!(path("%+1"), Err(DecodeError::BadEscape(0)));
        assert_eq!(path("%FF"), Err(DecodeError::NotUtf8));
    }
}
