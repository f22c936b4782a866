//! The header `Host`. This server answers by whatever name it is asked; but what is no name at all a proxy or a cache
//! before it may take for another one, so that it is refused (RFC 9112, 3.2). That a request has one, and not two, its
//! parser sees to.

use actix_web::http::header::{HOST, HeaderMap};
use std::net::Ipv6Addr;

/// Whether the host that a request names, if it does, is one in form: RFC 3986, 3.2.2, and a port.
pub(super) fn is_valid(headers: &HeaderMap) -> bool {
    headers
        .get(HOST)
        .is_none_or(|host| is_host(host.as_bytes()))
}

/// Whether it is a name, an address, or nothing at all, which is what a client says that knows no name.
fn is_host(text: &[u8]) -> bool {
    let (is_known, rest) = match text.strip_prefix(b"[") {
        Some(text) => {
            let end = text.iter().position(|byte| *byte == b']');
            let Some(end) = end else { return false };
            (is_literal(&text[..end]), &text[end + 1..])
        }
        None => {
            let end = text.iter().position(|byte| *byte == b':');
            let (name, rest) = text.split_at(end.unwrap_or(text.len()));
            (is_name(name), rest)
        }
    };
    is_known && is_port(rest)
}

/// An address of IPv6, with its zone where a client left that in (RFC 6874), or of a version yet to come.
fn is_literal(text: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = text {
        let dot = rest.iter().position(|byte| *byte == b'.');
        let Some(dot) = dot else { return false };
        let (version, address) = (&rest[..dot], &rest[dot + 1..]);
        let is_address = address.iter().all(|byte| is_plain(*byte) || *byte == b':');
        let is_version = version.iter().all(u8::is_ascii_hexdigit);
        return is_version && is_address && !version.is_empty() && !address.is_empty();
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let (address, zone) = text.split_once("%25").unwrap_or((text, "0"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && is_name(zone.as_bytes())
}

/// A name of a host, or an address of IPv4, which is one in form.
fn is_name(text: &[u8]) -> bool {
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = match (*first, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            (byte, after) if is_plain(byte) => after,
            _ => return false,
        };
    }
    true
}

/// Nothing, or a colon and digits, which may be none.
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// What stands for itself in a name.
fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

/// Of each byte: every request names a host.
static PLAIN: [bool; 256] = {
    let marks = b"-._~!$&'()*+,;=";
    let mut plain = [false; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut mark = 0;
    while mark < marks.len() {
        plain[marks[mark] as usize] = true;
        mark += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_are_what_the_grammar_takes() {
        for host in [
            "",
            "t",
            "T.example",
            "a_b.c~d",
            "kvstore.kvstore.svc:8000",
            "127.0.0.1:8000",
            "t:",
            ":80",
            "%C3%A4.example",
            "[::1]",
            "[2001:db8::1]:8000",
            "[::ffff:127.0.0.1]",
            "[fe80::1%25eth0]:80",
            "[v1.a:b]",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b",
            "a\tb",
            "a/b",
            "http://a",
            "a?b",
            "a#b",
            "u@a",
            "a\\b",
            "\"a\"",
            "<a>",
            "ä",
            "%4",
            "%zz",
            "::1",
            "a:b",
            "a:80:80",
            "a:80 ",
            "a:-1",
            "[::1",
            "::1]",
            "[]",
            "[a]",
            "[127.0.0.1]",
            "[::1]a",
            "[::1]:a",
            "[fe80::1%25]",
            "[fe80::1%eth0]",
            "[v.a]",
            "[v1.]",
            "[vx.a]",
            "[v1]",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
        assert!(!is_host(b"\xff") && !is_host(b"[\xff]"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_separates_is_in_none(text: Vec<u8>) {
            let separates = |byte: &u8| b" \t/?#@\\<>\"{}|^`".contains(byte) || !byte.is_ascii();
            prop_assert!(!is_host(&text) || !text.iter().any(separates));
        }
    }
}
