//! The corpus. A row a line: the bytes, and the statuses of all answers.
//!
//! `<set>` stands for the request line and the `Host` of a `PUT`, `<hidden>` for the hidden request, `<length>` and
//! `<hex>` for its length, `<longer>` for that with an empty last chunk before it. Numbers in comments are sections of
//! RFC 9112.

/// Bytes, or a part of them, and what answers them.
pub(super) type Kinds = &'static [(&'static str, &'static [u16])];

pub(super) const REFUSED: &[u16] = &[400];
const DONE: &[u16] = &[200];
const TWO: &[u16] = &[200, 200];

/// Lines that say, or do not quite say, that the body is in chunks, and what answers them where an empty chunk and the
/// hidden request follow. With a `Content-Length` besides, each is refused that has to do with chunks.
#[rustfmt::skip]
pub(super) const CODINGS: Kinds = &[
    ("Transfer-Encoding: xchunked", REFUSED),
    ("Transfer-Encoding: chunked, identity", REFUSED),
    ("Transfer-Encoding: identity, chunked", REFUSED),
    ("Transfer-Encoding: identity", REFUSED),
    ("Transfer-Encoding: gzip, chunked", REFUSED),
    ("Transfer-Encoding: chunked, chunked", REFUSED),
    ("Transfer-Encoding: chunked,", REFUSED),
    ("Transfer-Encoding: , chunked", REFUSED),
    ("Transfer-Encoding: chunked;q=1", REFUSED),
    ("Transfer-Encoding: \"chunked\"", REFUSED),
    ("Transfer-Encoding: cow", REFUSED),
    ("Transfer-Encoding: \u{b}chunked", REFUSED),
    ("Transfer-Encoding: chunked\0", REFUSED),
    ("Transfer-Encoding : chunked", REFUSED),
    (" Transfer-Encoding: chunked", REFUSED),
    ("Transfer-Encoding:\r\n chunked", REFUSED),
    ("X: y\rTransfer-Encoding: chunked", REFUSED),
    ("transfer-encoding\0: chunked", REFUSED),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", REFUSED),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", REFUSED),
    ("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", REFUSED),
    // The names of codings are in any case (7), white space is around a value (5), and a line may end with a line
    // feed alone (2.2): the body is in chunks, is empty, and a second request follows.
    ("Transfer-Encoding: CHUNKED", TWO),
    ("Transfer-Encoding:\tchunked", TWO),
    ("X: y\nTransfer-Encoding: chunked", TWO),
];

/// What follows the first request's `Content-Length:`, where the hidden one is its body.
#[rustfmt::skip]
pub(super) const LENGTHS: Kinds = &[
    (" +<length>", REFUSED),
    (" -1", REFUSED),
    (" <length>,<length>", REFUSED),
    (" <length>, <length>", REFUSED),
    (" 0x<hex>", REFUSED),
    (" <length> a", REFUSED),
    ("", REFUSED),
    (" 1e2", REFUSED),
    (" 99999999999999999999", REFUSED),
    (" 18446744073709551616", REFUSED),
    (" <length>\0", REFUSED),
    ("\r\n <length>", REFUSED),
    (" 0\r\nContent-Length: <length>", REFUSED),
    (" <length>\r\nContent-Length: 0", REFUSED),
    (" <length>\r\nContent-Length: <length>", REFUSED),
    (" <length> ", DONE),
    (" 0<length>", DONE),
    // It is the length, so that a second request follows.
    (" 0", TWO),
];

/// Lines of a head before a `Content-Length` that has the hidden request in the body.
#[rustfmt::skip]
pub(super) const LINES: Kinds = &[
    ("X: a\r\n b", REFUSED),
    ("X: a\rb", REFUSED),
    ("X: a\0b", REFUSED),
    ("X\0: a", REFUSED),
    ("X: a\u{7f}b", REFUSED),
    ("X:\u{b}\u{c}Transfer-Encoding: chunked", REFUSED),
    ("Nonsense", REFUSED),
    (": x", REFUSED),
    ("é: x", REFUSED),
    (" X: y", REFUSED),
    ("Host: u", REFUSED),
    ("Expect: 200-ok", &[417]),
    ("Expect: 100-continue, x", &[417]),
    ("Expect: 100-continue", DONE),
    ("Expect: 100-Continue\r\nExpect: 100-continue", DONE),
    ("Connection: Content-Length", DONE),
    ("Transfer_Encoding: chunked", DONE),
    ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", DONE),
    ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13", DONE),
];

/// Request lines with all there is of a head before the `Content-Length` that has the hidden request in the body.
#[rustfmt::skip]
pub(super) const HEADS: Kinds = &[
    ("PUT /set/k HTTP/1.1\r\n", REFUSED),
    ("PUT /set/k HTTP/1.1\r\n Host: t\r\n", REFUSED),
    ("PUT /set/k HTTP/1.2\r\nHost: t\r\n", REFUSED),
    ("PUT /set/k HTTP/2.0\r\nHost: t\r\n", REFUSED),
    ("PUT /set/k HTTP/11.1\r\nHost: t\r\n", REFUSED),
    ("PUT /set/k http/1.1\r\nHost: t\r\n", REFUSED),
    ("PUT\t/set/k\tHTTP/1.1\r\nHost: t\r\n", REFUSED),
    ("PUT  /set/k  HTTP/1.1\r\nHost: t\r\n", REFUSED),
    ("PUT /set/k k HTTP/1.1\r\nHost: t\r\n", REFUSED),
    ("PUT /set/k HTTP/1.1 \r\nHost: t\r\n", REFUSED),
    (" PUT /set/k HTTP/1.1\r\nHost: t\r\n", REFUSED),
    ("PUT\0 /set/k HTTP/1.1\r\nHost: t\r\n", REFUSED),
    ("PUT /set/k# HTTP/1.1\r\nHost: t\r\n", REFUSED),
    ("put /set/k HTTP/1.1\r\nHost: t\r\n", &[405]),
    ("GET /livez HTTP/1.1\r\nHost: t\r\n", REFUSED),
    ("DELETE /delete/none HTTP/1.1\r\nHost: t\r\n", REFUSED),
    ("CONNECT t:80 HTTP/1.1\r\nHost: t\r\n", &[404]),
    ("PUT t:80 HTTP/1.1\r\nHost: t\r\n", &[404]),
    ("OPTIONS * HTTP/1.1\r\nHost: t\r\n", &[404]),
    ("PUT * HTTP/1.1\r\nHost: t\r\n", &[404]),
    ("PUT http://other/set/k HTTP/1.1\r\nHost: t\r\n", DONE),
    ("PUT https://u:p@other:1/set/k HTTP/1.1\r\nHost: t\r\n", DONE),
    ("PUT /set/k HTTP/1.1\r\nHost: t u\r\n", REFUSED),
    ("PUT /set/k HTTP/1.1\r\nHost: t/set/k\r\n", REFUSED),
    ("PUT /set/k HTTP/1.1\r\nHost: u@t\r\n", REFUSED),
    ("PUT /set/k HTTP/1.1\r\nHost: t:80:80\r\n", REFUSED),
    ("PUT http://t/set/k HTTP/1.1\r\nHost: t u\r\n", REFUSED),
    ("PUT /set/k HTTP/1.0\r\nHost: t u\r\n", REFUSED),
    ("PUT /set/k HTTP/1.1\r\nHost: [::1]:8000\r\n", DONE),
    ("PUT /set/k HTTP/1.1\r\nHost:\r\n", DONE),
    ("\r\n\r\nPUT /set/k HTTP/1.1\r\nHost: t\r\n", DONE),
    ("PUT /set/k HTTP/1.1\nHost: t\n", DONE),
];

/// What is in the body of a request in chunks.
#[rustfmt::skip]
pub(super) const CHUNKS: Kinds = &[
    ("<hex>;a\n<hidden>\r\n0\r\n\r\n", REFUSED),
    ("2;\nxx\r\n<hex>\r\n<hidden>\r\n0\r\n\r\n", REFUSED),
    ("<hex>;a\rb\r\n<hidden>\r\n0\r\n\r\n", REFUSED),
    ("<hex>\n<hidden>\r\n0\r\n\r\n", REFUSED),
    ("0x<hex>\r\n<hidden>\r\n0\r\n\r\n", REFUSED),
    ("+<hex>\r\n<hidden>\r\n0\r\n\r\n", REFUSED),
    ("-1\r\n<hidden>\r\n0\r\n\r\n", REFUSED),
    ("1_0\r\n<hidden>\r\n0\r\n\r\n", REFUSED),
    (" <hex>\r\n<hidden>\r\n0\r\n\r\n", REFUSED),
    ("\r\n<hidden>", REFUSED),
    ("10000000000000001\r\nx\r\n0\r\n\r\n<hidden>", REFUSED),
    // It breaks off, where all bits count.
    ("100000001\r\nx\r\n0\r\n\r\n<hidden>", REFUSED),
    ("2\r\nxxyy\r\n0\r\n\r\n<hidden>", REFUSED),
    ("2\r\nxx0\r\n\r\n<hidden>", REFUSED),
    ("2\r\nxx\n0\r\n\r\n<hidden>", REFUSED),
    ("0\n\n<hidden>", REFUSED),
    ("<hex>;a=b\r\n<hidden>\r\n0;x\r\n\r\n", DONE),
    ("<hex> \r\n<hidden>\r\n0\r\n\r\n", DONE),
    ("000000000000000000<hex>\r\n<hidden>\r\n0\r\n\r\n", DONE),
    // The lines of the hidden request are trailers.
    ("0\r\n<hidden>", DONE),
    ("0\r\nX: y\n\n<hidden>", DONE),
    ("0\r\n\n<hidden>", DONE),
    // Trailers mean nothing, whatever they say, and a second request follows.
    ("2\r\nxx\r\n0\r\nContent-Length: <length>\r\n\r\n<hidden>", TWO),
    ("2\r\nxx\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n<hidden>", TWO),
];

/// What fits no list.
#[rustfmt::skip]
pub(super) const OTHERS: Kinds = &[
    // The end of the head is a line feed; then a carriage return too many.
    ("<set>Content-Length: <length>\r\n\n<hidden>", DONE),
    ("<set>Content-Length: <length>\r\r\n<hidden>", REFUSED),
    ("<set>Content-Length : <length>\r\n\r\n<hidden>", REFUSED),
    ("<set> Content-Length: <length>\r\n\r\n<hidden>", REFUSED),
    ("<set>Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n<hex>\r\n<hidden>\r\n0\r\n\r\n", REFUSED),
    ("<set>Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n<hex>\r\n<hidden>\r\n0\r\n\r\n", DONE),
    // No such header: the body is empty, and the chunk is no request.
    ("<set>Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n<hidden>", &[200, 400]),
    ("GET /livez HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n<hex>\r\n<hidden>\r\n0\r\n\r\n", REFUSED),
    ("GET /livez\r\n<hidden>", REFUSED),
    ("GET /livez\n\n<hidden>", REFUSED),
    ("GET /livez HTTP/0.9\r\nHost: t\r\n\r\n<hidden>", REFUSED),
    ("PUT /set/k HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n<hidden>", REFUSED),
    ("PUT /set/k HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: <longer>\r\n\r\n0\r\n\r\n<hidden>", REFUSED),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n<hidden>", REFUSED),
    (
        "GET /livez HTTP/1.1\r\nHost: t\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n<hidden>",
        &[200, 400],
    ),
    // A tunnel that was asked for is none, and nothing in it is a request.
    ("CONNECT t:80 HTTP/1.1\r\nHost: t\r\n\r\n<hidden>", &[404]),
    // Without a length there is no body (6.3), so that a second request follows.
    ("PUT /set/k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n<hidden>", TWO),
    ("POST /set HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\r\n<hidden>", &[400, 200]),
];
