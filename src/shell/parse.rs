//! What words of the command line stand for.

use serde::de::IgnoredAny;
use ureq::http::HeaderValue;

/// Reads a time such as `60s`; in milliseconds.
pub fn ttl_ms(text: &str) -> Result<u64, &'static str> {
    const FORM: &str = "give milliseconds, or a number with a unit ms, s, m, h or d, such as 60s";
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit_ms: u64 = match unit {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(FORM),
    };
    let number: u64 = number.parse().map_err(|_| FORM)?;
    number.checked_mul(unit_ms).ok_or("that is too long")
}

/// Reads an entity tag, with its quotes or without, or `*`; as it stands in a header.
pub fn entity_tag(text: &str) -> Result<String, &'static str> {
    if text == "*" {
        return Ok(text.into());
    }
    let unquoted = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let opaque = unquoted.unwrap_or(text);
    let is_letter = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    if opaque.is_empty() || !opaque.bytes().all(is_letter) {
        return Err("give one entity tag, as get --etag prints it, or *");
    }
    Ok(format!("\"{opaque}\""))
}

/// Reads a content type, which the server looks at more closely.
pub fn content_type(text: &str) -> Result<String, &'static str> {
    match HeaderValue::from_str(text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.into()),
        Ok(_) | Err(_) => Err("give a content type such as text/plain"),
    }
}

/// What a value is where nobody says it.
pub fn content_type_of(value: &[u8]) -> &'static str {
    match std::str::from_utf8(value) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => "application/json",
        Ok(_) => "text/plain; charset=utf-8",
        Err(_) => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_a_number_with_or_without_a_unit() {
        for (text, expected) in [
            ("1500", Some(1_500)),
            ("1500ms", Some(1_500)),
            ("60s", Some(60_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("3d", Some(259_200_000)),
            ("", None),
            ("s", None),
            ("-1", None),
            ("1.5s", None),
            ("1w", None),
            ("1 s", None),
            ("18446744073709551615d", None),
            ("18446744073709551616", None),
        ] {
            assert_eq!(ttl_ms(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn an_entity_tag_has_quotes_or_gets_them() {
        for (text, expected) in [
            ("72c8a23a54d21af8", Some("\"72c8a23a54d21af8\"")),
            ("\"72c8a23a54d21af8\"", Some("\"72c8a23a54d21af8\"")),
            ("*", Some("*")),
            ("", None),
            ("\"\"", None),
            ("W/\"a\"", None),
            ("\"a\", \"b\"", None),
            ("a\r\nb", None),
        ] {
            assert_eq!(entity_tag(text).ok().as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_value_is_json_or_text_or_bytes() {
        let text = "text/plain; charset=utf-8";
        let values: [(&[u8], &str); 6] = [
            (b"{\"a\": [1, null]}\n", "application/json"),
            (b"-5", "application/json"),
            (b"hello", text),
            (b"{\"a\": 1} 2", text),
            (b"", text),
            (b"\"\xff\"", "application/octet-stream"),
        ];
        for (value, expected) in values {
            assert_eq!(content_type_of(value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_content_type_is_a_header() {
        assert!(content_type("text/plain; charset=utf-8").is_ok());
        assert!(content_type(" ").is_err());
        assert!(content_type("text/plain\r\nX: y").is_err());
    }
}
