//! When a request is worth sending again, and after how long.

use std::io;
use std::time::Duration;

/// How long to wait before the second attempt; the double before the third, and so on.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

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
