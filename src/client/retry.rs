//! When a request is worth sending again, and after how long.

use std::io;
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;

/// How long to wait before the second attempt; the double before the third, and so on.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// How long to wait after an attempt of a number, from 1 on.
pub fn pause(attempt: u32) -> Duration {
    let double = 2_u32.saturating_pow(attempt.saturating_sub(1));
    PAUSE.saturating_mul(double).min(PAUSE_MAX)
}

/// Whether an error may not come again.
pub fn passes(error: &ureq::Error) -> bool {
    match error {
        // A certificate that is not trusted comes as this one.
        ureq::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
        ureq::Error::Protocol(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_) => true,
        _ => false,
    }
}

/// Whether a server that refuses with this status may not do so again.
pub fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 502..=504)
}

/// How long a server asks to wait, where it does, in whole seconds.
pub fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let header = response.headers().get("retry-after")?;
    let seconds = header.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
