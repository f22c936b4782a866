//! What is wrong with a TOML text and where, without what stands there: that may be a password or the hash of a
//! token, wherever the mistake is.

/// A mistake in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misread {
    /// From 1 on.
    pub(crate) line: usize,
    /// From 1 on.
    pub(crate) column: usize,
    /// What is wrong. Names of settings are in it, and nothing else of the text.
    pub(crate) what: String,
}

impl Misread {
    /// What the parser says of the text.
    pub(crate) fn of(text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what: without_values(error.message()),
        }
    }
}

/// A message without what it quotes of the file; names of settings stay.
fn without_values(message: &str) -> String {
    let is_name = |text: &str| {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        text.len() <= 40 && text.chars().all(is_plain)
    };
    let first = message.lines().next().unwrap_or_default();
    if let Some(start) = first.find('"') {
        // A string in it may hold quotes: all from the first one on goes, but what is expected.
        let expected = first.rfind(", expected ").filter(|at| *at > start);
        let expected = expected.map_or("", |at| &first[at..]);
        return format!("{}…{expected}", &first[..start]);
    }
    let mut parts = first.split('`');
    let mut shown = String::from(parts.next().unwrap_or_default());
    while let (Some(quoted), rest) = (parts.next(), parts.next()) {
        shown += if is_name(quoted) { quoted } else { "…" };
        shown += rest.unwrap_or_default();
    }
    shown
}
