//! What the keys of one connection name, by what was accepted of it; and what a request is to do with them.

use std::collections::BTreeMap;

/// The keys, in order.
#[derive(Default)]
pub struct Model {
    pub keys: BTreeMap<String, Present>,
}

/// What a key names.
#[derive(Clone, Debug)]
pub struct Present {
    pub value: Kept,
    /// Where it is known.
    pub etag: Option<String>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub content_type: String,
    pub body: Vec<u8>,
    /// Whether it ends some time, long after the test.
    pub ends: bool,
}

/// When a value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    Endless,
    /// Long after the test.
    Long,
    /// At once, or within a few milliseconds.
    Past,
}

/// What a request is to do, if it is taken.
#[derive(Clone, Debug)]
pub enum Intent {
    /// Nothing that is looked at.
    Nothing,
    Read(String),
    ReadMany(Vec<String>),
    /// Count what matches.
    Count(Filter),
    Set(String, Kept, Lasts),
    Delete(String),
    Expire(String, Lasts),
    Lines(Vec<Line>),
    /// Remove what matches.
    Erase(Filter),
    /// Count what that would remove.
    Try(Filter),
    /// A stream without an end.
    Watch,
}

#[derive(Clone, Debug)]
pub struct Filter {
    pub prefix: String,
    pub suffix: String,
}

/// A line of a bulk body.
#[derive(Clone, Debug)]
pub enum Line {
    Empty,
    Bad,
    Set(String, Kept, Condition),
}

/// The condition of such a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Always,
    Absent,
    Present,
    Never,
}

/// What lines come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub created: u64,
    pub updated: u64,
    pub unmet: u64,
}

impl Intent {
    /// The keys that it names for a change.
    pub fn changes(&self, model: &Model) -> Vec<String> {
        match self {
            Self::Nothing | Self::Read(_) | Self::ReadMany(_) => Vec::new(),
            Self::Count(_) | Self::Try(_) | Self::Watch => Vec::new(),
            Self::Set(key, ..) | Self::Delete(key) | Self::Expire(key, _) => vec![key.clone()],
            Self::Lines(lines) => {
                let keys = lines.iter().filter_map(|line| match line {
                    Line::Set(key, ..) => Some(key.clone()),
                    Line::Empty | Line::Bad => None,
                });
                keys.collect()
            }
            Self::Erase(filter) => model.matching(filter),
        }
    }

    /// What it may have made of a key that named `before`, if it is not known whether it was done.
    pub fn may_give(&self, key: &str, before: Option<&Kept>) -> Vec<Option<Kept>> {
        let mut outcomes = vec![before.cloned()];
        match self {
            Self::Nothing | Self::Read(_) | Self::ReadMany(_) => {}
            Self::Count(_) | Self::Try(_) | Self::Watch => {}
            Self::Set(_, kept, lasts) => outcomes.push(match lasts {
                Lasts::Endless | Lasts::Long => Some(kept.clone()),
                Lasts::Past => None,
            }),
            Self::Delete(_) | Self::Erase(_) => outcomes.push(None),
            Self::Expire(_, lasts) => outcomes.push(match (lasts, before) {
                (Lasts::Past, _) | (_, None) => None,
                (Lasts::Endless | Lasts::Long, Some(kept)) => Some(Kept {
                    ends: *lasts == Lasts::Long,
                    ..kept.clone()
                }),
            }),
            Self::Lines(lines) => outcomes.extend(lines.iter().filter_map(|line| match line {
                Line::Set(of, kept, _) if of == key => Some(Some(kept.clone())),
                Line::Set(..) | Line::Empty | Line::Bad => None,
            })),
        }
        outcomes
    }
}

impl Model {
    pub fn matching(&self, filter: &Filter) -> Vec<String> {
        let matches =
            |key: &&String| key.starts_with(&filter.prefix) && key.ends_with(&filter.suffix);
        self.keys.keys().filter(matches).cloned().collect()
    }

    /// Applies lines in their order.
    pub fn apply(&mut self, lines: &[Line]) -> Counts {
        let mut counts = Counts::default();
        for line in lines {
            let Line::Set(key, kept, condition) = line else {
                continue;
            };
            let is_there = self.keys.contains_key(key);
            let holds = match condition {
                Condition::Always => true,
                Condition::Absent => !is_there,
                Condition::Present => is_there,
                Condition::Never => false,
            };
            let count = match (holds, is_there) {
                (false, _) => &mut counts.unmet,
                (true, true) => &mut counts.updated,
                (true, false) => &mut counts.created,
            };
            *count += 1;
            if holds {
                let present = Present {
                    value: kept.clone(),
                    etag: None,
                };
                self.keys.insert(key.clone(), present);
            }
        }
        counts
    }
}
