//! When a value ends.

use jiff::SignedDuration;
use jiff::civil::DateTime;
use std::fmt;
use std::time::Duration;

/// How a deadline is written, as an example for error messages.
const EXAMPLE: &str = "2030-01-31T12:00:00.000Z";

/// The milliseconds of ten years, leap days included: the longest time to live.
const TTL_MS_MAX: u64 = 3653 * 24 * 60 * 60 * 1000;

/// A date and a time to the nanosecond, without a zone.
const FINEST_BYTES: usize = "2030-01-31T12:00:00.000000000".len();

/// The last deadline that there is: the end of the year 9999, after which RFC 3339 has no times.
const LAST_MS: u64 = 253_402_300_799_999;

/// The Unix epoch. A date and a time without a zone, since all are of UTC, and reach to the end of 9999.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// The moment from which on a value is not there: milliseconds since the Unix epoch, by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deadline(u64);

/// How long a value is to live, as a client says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is changed or deleted.
    #[default]
    Endless,
    /// Until a moment.
    Until(Deadline),
    /// For so many milliseconds.
    Millis(u64),
}

impl Lifetime {
    /// What the texts of `ttl_ms` and of `expires_at` say, those that there are.
    ///
    /// # Errors
    /// Where one is none, or both are there.
    pub fn parse(ttl_ms: Option<&str>, expires_at: Option<&str>) -> Result<Self, DeadlineError> {
        match (ttl_ms, expires_at) {
            (None, None) => Ok(Self::Endless),
            (Some(_), Some(_)) => Err(DeadlineError::Both),
            (None, Some(text)) => Deadline::parse(text).map(Self::Until),
            (Some(text), None) => {
                let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let millis = text.parse().ok().filter(|_| is_plain);
                let in_bounds = millis.filter(|millis| (1..=TTL_MS_MAX).contains(millis));
                in_bounds.map(Self::Millis).ok_or(DeadlineError::Ttl)
            }
        }
    }

    /// When a value ends that is set at a moment, if ever.
    pub fn ends(self, now: Deadline) -> Option<Deadline> {
        match self {
            Self::Endless => None,
            Self::Until(deadline) => Some(deadline),
            Self::Millis(millis) => Some(Deadline::from_millis(now.0.saturating_add(millis))),
        }
    }
}

/// Why something is no deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeadlineError {
    /// A time to live that is none.
    #[error("ttl_ms takes a number of milliseconds, from 1 to {TTL_MS_MAX} (ten years)")]
    Ttl,
    /// A text that is no moment.
    #[error("expires_at takes a moment of UTC by RFC 3339, such as {EXAMPLE}")]
    Moment,
    /// Two that may contradict each other.
    #[error("ttl_ms and expires_at both say when the value ends; give one of them")]
    Both,
}

impl Deadline {
    /// So many milliseconds after the Unix epoch; the last moment where they are more than there are.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(LAST_MS))
    }

    /// Milliseconds since the Unix epoch. Less than 2^48.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// Reads a moment of UTC as RFC 3339 writes it. What is finer than a millisecond is cut off; what is
    /// before the epoch is long past, as the epoch is.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: &str) -> Result<Self, DeadlineError> {
        // A parser that takes more forms than RFC 3339 has is held to the one that is told of.
        let is_plain = |text: &str| {
            let digits = |range: std::ops::Range<usize>| {
                let part = text.as_bytes().get(range);
                part.is_some_and(|part| part.iter().all(u8::is_ascii_digit))
            };
            let mark = |at: usize, marks: &[u8]| {
                let byte = text.as_bytes().get(at);
                byte.is_some_and(|byte| marks.contains(byte))
            };
            // What a civil time of that parser may end with besides is heeded by nobody.
            let fraction = text.as_bytes().get(19..).unwrap_or_default();
            let is_fraction = match fraction.split_first() {
                None => true,
                Some((mark, rest)) => {
                    *mark == b'.' && !rest.is_empty() && rest.iter().all(u8::is_ascii_digit)
                }
            };
            let is_date = digits(0..4) && mark(4, b"-") && digits(5..7) && mark(7, b"-");
            let is_hour = digits(8..10) && mark(10, b"Tt ") && digits(11..13) && mark(13, b":");
            is_date && is_hour && digits(14..16) && mark(16, b":") && digits(17..19) && is_fraction
        };
        // The last one says that the time is of UTC and the zone of whoever wrote it is not known.
        let mut zones = ["Z", "z", "+00:00", "-00:00"].iter();
        let text = zones.find_map(|zone| text.strip_suffix(zone));
        let text = text.filter(|text| is_plain(text));
        let text = text.ok_or(DeadlineError::Moment)?;
        // The parser takes nine digits of a fraction, which may have more, and any second 60 for a 59. There is
        // one at the end of a day only, and by clocks without it that is the next day's first.
        let text = text.get(..FINEST_BYTES).unwrap_or(text);
        let is_leap = text.get(17..19) == Some("60");
        if is_leap && text.get(11..16) != Some("23:59") {
            return Err(DeadlineError::Moment);
        }
        let moment: DateTime = text.parse().map_err(|_| DeadlineError::Moment)?;
        let millis = moment.duration_since(EPOCH).as_millis() + 1000 * i128::from(is_leap);
        Ok(Self::from_millis(u64::try_from(millis).unwrap_or(0)))
    }

    /// For how long it was past at a moment, if it was.
    pub fn past_at(self, now: Self) -> Option<Duration> {
        let past = now.0.checked_sub(self.0)?;
        Some(Duration::from_millis(past))
    }

    /// Whether a value that ends then is not there at a moment any more.
    pub fn is_past(self, now: Self) -> bool {
        self <= now
    }
}

/// RFC 3339, UTC, milliseconds.
impl fmt::Display for Deadline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).expect("it is less than 2^48");
        let moment = EPOCH.saturating_add(SignedDuration::from_millis(millis));
        write!(formatter, "{moment:.3}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_written() {
        for (text, written) in [
            ("2030-01-31T12:00:00.000Z", "2030-01-31T12:00:00.000Z"),
            ("2030-01-31T12:00:00Z", "2030-01-31T12:00:00.000Z"),
            ("2030-01-31t12:00:00.5z", "2030-01-31T12:00:00.500Z"),
            (
                "2030-01-31T12:00:00.123999+00:00",
                "2030-01-31T12:00:00.123Z",
            ),
            ("2030-01-31T12:00:00-00:00", "2030-01-31T12:00:00.000Z"),
            (
                "2030-01-31T12:00:00.12345678901234567890Z",
                "2030-01-31T12:00:00.123Z",
            ),
            ("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.250Z"),
            ("9999-12-31T23:59:60Z", "9999-12-31T23:59:59.999Z"),
            ("1969-07-20T20:17:40Z", "1970-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ] {
            let parsed = Deadline::parse(text).map(|deadline| deadline.to_string());
            assert_eq!(parsed.as_deref(), Ok(written));
        }
    }

    #[test]
    fn what_is_no_moment_of_utc_is_refused() {
        for text in [
            "",
            "Z",
            "tomorrow",
            "1893456000000",
            "2030-01-31",
            "2030-01-31T12:00Z",
            "2030-01-31T12:00:00",
            "2030-01-31T12:00:00+02:00",
            "2030-02-30T12:00:00Z",
            "2030-01-31T25:00:00Z",
            "2030-01-31T12:00:60Z",
            "2030-01-31T23:59:61Z",
            "20300131T120000Z",
            "+002030-01-31T12:00:00Z",
            "2030-01-31T12:00:00Z[UTC]",
            "2030-01-31T12:00:00Zz",
            "2030-01-31T12:00:00.Z",
            "2030-01-31T12:00:00+02:00Z",
            "2030-01-31T12:00:00-08+00:00",
            "2030-01-31T12:00:00-01:00",
            "2030-01-31T12:00:00-00:00Z",
            "2030-01-31T12:00:00Z-00:00",
            "-00:00",
            "2030-01-31T12:00:00[Europe/Berlin]Z",
            "2030-01-31T12:00:00,5Z",
        ] {
            assert_eq!(Deadline::parse(text), Err(DeadlineError::Moment), "{text}");
        }
    }

    #[test]
    fn times_to_live_have_bounds() {
        let now = Deadline::from_millis(1000);
        for millis in [1, 250, TTL_MS_MAX] {
            let lifetime = Lifetime::parse(Some(&millis.to_string()), None).unwrap();
            assert_eq!(lifetime.ends(now), Some(Deadline(1000 + millis)));
        }
        let over = (TTL_MS_MAX + 1).to_string();
        for none in [
            "",
            "0",
            "-1",
            "+1",
            "1.0",
            "1e3",
            " 1",
            "99999999999999999999",
            &over,
        ] {
            assert_eq!(
                Lifetime::parse(Some(none), None),
                Err(DeadlineError::Ttl),
                "{none}"
            );
        }
        let both = Lifetime::parse(Some("1"), Some(EXAMPLE));
        assert_eq!(both, Err(DeadlineError::Both));
        assert_eq!(
            Lifetime::parse(None, None).map(|endless| endless.ends(now)),
            Ok(None)
        );
    }
}
