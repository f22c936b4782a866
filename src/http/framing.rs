//! What must be known of a connection's bytes before the framework parses them.
//!
//! Three things that the framework's parser does with a request cannot be undone by a handler: it
//! cuts a target off at a raw `#`, so that `/delete/a#b` would delete `a`; it takes `Upgrade` for the
//! end of the framing, though nothing here is upgraded to; and it parses all requests that came
//! at once, so that the answers to all of them pile up. So the bytes are followed here on their way
//! to it, request by request: a raw `#` is noted, offers to upgrade are made illegible in place, as
//! RFC 9110, 7.8 lets a server ignore them, and the caller is told where a request ends.
//!
//! The parser still decides what is a request. Where it and this file should ever disagree, what it
//! refuses is refused.

use memchr::{memchr, memchr2};
use std::collections::VecDeque;

/// The longest name of a header that matters here: `transfer-encoding`.
const NAME_BYTES_MAX: usize = 17;

/// Follows the requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    state: State,
    /// Heads that came whole.
    heads: u64,
    /// Which requests, counted from 0 on, have a raw `#` in their target.
    fragments: VecDeque<u64>,
    /// What the head so far says of its body.
    body: BodyLength,
}

/// Where in a request the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before a request line, where empty lines are skipped.
    #[default]
    Start,
    RequestLine,
    /// At the start of a line of the head.
    Line,
    /// In a name, of which so much was seen.
    Name {
        name: [u8; NAME_BYTES_MAX],
        len: usize,
    },
    Value(Header),
    /// In a line that does not matter.
    Skip,
    Body(u64),
    /// In the line before a chunk; whether its digits have ended.
    ChunkSize {
        size: u64,
        is_read: bool,
    },
    Chunk(u64),
    /// In the line end after a chunk.
    ChunkEnd,
    /// At the start of a line after the last chunk. Only a carriage return and a line feed end one here, and the
    /// body: a line feed alone is part of a line to the parser.
    Trailer,
    TrailerLine,
    /// After the carriage return of such a line, or of the one that ends the body.
    TrailerEnd,
    BodyEnd,
    /// What follows is not understood, and the parser will refuse it.
    Opaque,
}

/// A header that matters, and how far its value came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    /// Whether a token may begin.
    Connection {
        at_token: bool,
    },
    Upgrade,
    ContentLength(Option<u64>),
    TransferEncoding,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BodyLength {
    #[default]
    None,
    Bytes(u64),
    Chunked,
}

impl Framing {
    /// Follows bytes up to the end of the `heads_max`th head or of what there is, and returns how
    /// many that were. Offers to upgrade are overwritten.
    pub(super) fn follow(&mut self, bytes: &mut [u8], heads_max: u64) -> usize {
        let last = self.heads + heads_max;
        let mut at = 0;
        while at < bytes.len() {
            if self.heads >= last && matches!(self.state, State::Start) {
                break;
            }
            at += self.step(&mut bytes[at..]);
        }
        at
    }

    /// Whether a body has begun and not ended.
    pub(super) fn is_in_body(&self) -> bool {
        matches!(
            self.state,
            State::Body(_)
                | State::ChunkSize { .. }
                | State::Chunk(_)
                | State::ChunkEnd
                | State::Trailer
                | State::TrailerLine
                | State::TrailerEnd
                | State::BodyEnd
        )
    }

    /// How many heads came whole.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the target of this request, the next one to be asked about, held a raw `#`.
    pub(super) fn had_fragment(&mut self, request: u64) -> bool {
        self.fragments.pop_front_if(|first| *first <= request) == Some(request)
    }

    /// Goes over one byte or more, and returns how many.
    fn step(&mut self, bytes: &mut [u8]) -> usize {
        let first = bytes[0];
        let rest = bytes.len();
        match self.state {
            State::Start if matches!(first, b'\r' | b'\n') => 1,
            State::Start => {
                self.state = State::RequestLine;
                0
            }
            State::RequestLine => match memchr2(b'\n', b'#', bytes) {
                Some(at) if bytes[at] == b'\n' => {
                    self.state = State::Line;
                    at + 1
                }
                Some(at) => {
                    if self.fragments.back() != Some(&self.heads) {
                        self.fragments.push_back(self.heads);
                    }
                    at + 1
                }
                None => rest,
            },
            State::Line => self.line(first),
            State::Name { name, len } => self.name(first, name, len),
            State::Value(header) => self.value(header, &mut bytes[0]),
            State::Skip => self.skip(bytes, State::Line),
            State::Body(left) => {
                let taken = left.min(rest as u64);
                self.state = match left - taken {
                    0 => State::Start,
                    left => State::Body(left),
                };
                taken as usize
            }
            State::ChunkSize { size, is_read } => self.chunk_size(first, size, is_read),
            State::Chunk(left) => {
                let taken = left.min(rest as u64);
                self.state = match left - taken {
                    0 => State::ChunkEnd,
                    left => State::Chunk(left),
                };
                taken as usize
            }
            State::ChunkEnd => self.skip(bytes, CHUNK),
            State::Trailer => {
                self.state = match first {
                    b'\r' => State::BodyEnd,
                    _ => State::TrailerLine,
                };
                1
            }
            State::TrailerLine => match memchr(b'\r', bytes) {
                Some(at) => {
                    self.state = State::TrailerEnd;
                    at + 1
                }
                None => rest,
            },
            State::TrailerEnd => self.line_feed(first, State::Trailer),
            State::BodyEnd => self.line_feed(first, State::Start),
            State::Opaque => rest,
        }
    }

    fn skip(&mut self, bytes: &[u8], next: State) -> usize {
        match memchr(b'\n', bytes) {
            Some(at) => {
                self.state = next;
                at + 1
            }
            None => bytes.len(),
        }
    }

    /// Goes over what must be a line feed.
    fn line_feed(&mut self, byte: u8, next: State) -> usize {
        self.state = match byte {
            b'\n' => next,
            _ => State::Opaque,
        };
        1
    }

    fn line(&mut self, first: u8) -> usize {
        match first.to_ascii_lowercase() {
            b'\r' => 1,
            b'\n' => {
                self.heads += 1;
                self.state = match std::mem::take(&mut self.body) {
                    BodyLength::None | BodyLength::Bytes(0) => State::Start,
                    BodyLength::Bytes(bytes) => State::Body(bytes),
                    BodyLength::Chunked => CHUNK,
                };
                1
            }
            b'c' | b't' | b'u' => {
                self.state = State::Name {
                    name: [0; NAME_BYTES_MAX],
                    len: 0,
                };
                0
            }
            _ => {
                self.state = State::Skip;
                0
            }
        }
    }

    fn name(&mut self, byte: u8, mut name: [u8; NAME_BYTES_MAX], len: usize) -> usize {
        if byte == b':' {
            self.state = match &name[..len] {
                b"connection" => State::Value(Header::Connection { at_token: true }),
                b"upgrade" => State::Value(Header::Upgrade),
                b"content-length" => State::Value(Header::ContentLength(None)),
                b"transfer-encoding" => State::Value(Header::TransferEncoding),
                _ => State::Skip,
            };
            return 1;
        }
        if len == NAME_BYTES_MAX || byte == b'\n' {
            self.state = State::Skip;
            return 0;
        }
        name[len] = byte.to_ascii_lowercase();
        self.state = State::Name { name, len: len + 1 };
        1
    }

    fn value(&mut self, header: Header, byte: &mut u8) -> usize {
        let next = match (header, *byte) {
            (Header::ContentLength(length), b'\n') => {
                if let (Some(length), BodyLength::None) = (length, self.body) {
                    self.body = BodyLength::Bytes(length);
                }
                State::Line
            }
            (_, b'\n') => State::Line,
            (Header::Connection { .. }, b',' | b' ' | b'\t') => {
                State::Value(Header::Connection { at_token: true })
            }
            (Header::Connection { at_token }, _) => {
                if at_token && byte.eq_ignore_ascii_case(&b'u') {
                    *byte = b'x';
                }
                State::Value(Header::Connection { at_token: false })
            }
            (_, b' ' | b'\t' | b'\r') => State::Value(header),
            (Header::Upgrade, _) => {
                *byte = b'x';
                State::Skip
            }
            (Header::ContentLength(length), b'0'..=b'9') => {
                let digit = u64::from(*byte - b'0');
                let longer = length.unwrap_or(0).checked_mul(10);
                match longer.and_then(|length| length.checked_add(digit)) {
                    Some(length) => State::Value(Header::ContentLength(Some(length))),
                    None => State::Opaque,
                }
            }
            (Header::ContentLength(_), _) => State::Opaque,
            (Header::TransferEncoding, first) => {
                if first.eq_ignore_ascii_case(&b'c') {
                    self.body = BodyLength::Chunked;
                }
                State::Skip
            }
        };
        self.state = next;
        1
    }

    fn chunk_size(&mut self, byte: u8, size: u64, is_read: bool) -> usize {
        self.state = match (byte, char::from(byte).to_digit(16)) {
            (b'\n', _) if size == 0 => State::Trailer,
            (b'\n', _) => State::Chunk(size),
            (_, Some(digit)) if !is_read => {
                let longer = size.checked_mul(16);
                match longer.and_then(|size| size.checked_add(u64::from(digit))) {
                    Some(size) => State::ChunkSize { size, is_read },
                    None => State::Opaque,
                }
            }
            _ => State::ChunkSize {
                size,
                is_read: true,
            },
        };
        1
    }
}

const CHUNK: State = State::ChunkSize {
    size: 0,
    is_read: false,
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A request, and whether its target has a raw `#`.
    fn request() -> impl Strategy<Value = (Vec<u8>, bool)> {
        let target = prop_oneof![
            Just(("/get/a", false)),
            Just(("/get/a#b", true)),
            Just(("/search?prefix=#&x=#", true)),
        ];
        let headers = prop::sample::subsequence(
            vec![
                "Referer: http://x/#y\r\n",
                "Connection: Upgrade, HTTP2-Settings\r\n",
                "upgrade: websocket\r\n",
                "Content-Type: text/plain\r\n",
                "User-Agent: u\r\n",
                "C: #\n",
            ],
            0..6,
        );
        let body = prop_oneof![
            Just(String::from("\r\n")),
            Just(String::from("Content-Length: 0\r\n\r\n")),
            "[ -~\r\n]{1,40}"
                .prop_map(|text| format!("content-length:  {}\r\n\r\n{text}", text.len())),
            (
                prop::collection::vec("[ -~\r\n]{1,20}", 0..4),
                prop::sample::select(vec!["", "X: #\r\n", "\n\r\n", "X\n\nGET /#\r\nY: z\r\n"])
            )
                .prop_map(|(chunks, trailers)| {
                    let chunks = chunks
                        .iter()
                        .map(|text| format!("{:x};a=b\r\n{text}\r\n", text.len()));
                    format!(
                        "Transfer-Encoding: chunked\r\n\r\n{}0\r\n{trailers}\r\n",
                        chunks.collect::<String>()
                    )
                }),
        ];
        (target, headers, body).prop_map(|((target, has_fragment), headers, body)| {
            let text = format!("PUT {target} HTTP/1.1\r\n{}{body}", headers.concat());
            (text.into_bytes(), has_fragment)
        })
    }

    proptest! {
        #[test]
        fn requests_are_followed_however_they_are_cut(
            requests in prop::collection::vec(request(), 1..8),
            cuts in prop::collection::vec(1usize..60, 1..40),
            heads_max in 1u64..4,
        ) {
            let mut stream: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let mut framing = Framing::default();
            let (mut at, mut cut) = (0, 0);
            while at < stream.len() {
                let end = (at + cuts[cut % cuts.len()]).min(stream.len());
                let heads = framing.heads();
                let followed = framing.follow(&mut stream[at..end], heads_max);
                prop_assert!(followed > 0);
                prop_assert!(framing.heads() - heads <= heads_max);
                at += followed;
                cut += 1;
            }
            prop_assert_eq!(framing.heads(), requests.len() as u64);
            for (number, (_, has_fragment)) in requests.iter().enumerate() {
                prop_assert_eq!(framing.had_fragment(number as u64), *has_fragment);
            }
            let text = String::from_utf8_lossy(&stream).to_lowercase();
            prop_assert!(!text.contains("upgrade, http2"));
            prop_assert!(!text.contains("upgrade: websocket"));
        }

        #[test]
        fn no_bytes_make_it_panic_or_stand_still(mut bytes: Vec<u8>) {
            let mut framing = Framing::default();
            prop_assert_eq!(framing.follow(&mut bytes, u64::MAX / 2), bytes.len());
        }
    }
}
