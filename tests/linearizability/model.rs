//! One key by the contract: what is asked of it, what may be answered, and what it names then.
//!
//! A value is known by its body, which no two writes share, and by its entity tag once an answer showed it.

use std::collections::HashMap;
use std::fmt::{Display, Formatter};

/// The body of a write, which no other has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Body(pub u64);

/// The entity tag of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u64);

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Get,
    Set(Body, Condition),
    Delete(Condition),
}

/// What must hold for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// The key names nothing (`If-None-Match: *`).
    Absent,
    /// It names the value of this tag (`If-Match`), which an answer has shown with its body.
    Is(Tag),
}

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The value.
    Value(Body, Tag),
    /// The key names nothing.
    Missing,
    /// It names the value of this tag now, and named nothing before.
    Created(Tag),
    /// It names the value of this tag now, and named another before.
    Updated(Tag),
    /// It names nothing now, and named a value before.
    Deleted,
    /// The condition does not hold, of the value of this tag or of none.
    Unmet(Option<Tag>),
    /// Nothing was done.
    Refused,
}

/// A request and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked.
    pub client: usize,
    /// For what.
    pub asked: Asked,
    /// What was answered. Nothing where no answer came, or one that says that nobody knows: then it may have
    /// been done at any time since, or never.
    pub answer: Option<Answer>,
    /// When it was asked. No two of these moments are one.
    pub called: u64,
    /// When it was answered; later than all else where it was not.
    pub returned: u64,
}

/// Which value has which tag, as all answers together have it.
#[derive(Debug, Default)]
pub struct Tags {
    of: HashMap<Body, Tag>,
    owners: HashMap<Tag, Body>,
}

/// What a key names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    present: Option<Body>,
    /// Whose tags they must be that only refusals have shown.
    named: Vec<(Body, Tag)>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Found,
    Missing,
    Created,
    Updated,
    Deleted,
    Unmet,
}

impl Condition {
    /// Whether it holds of a key that names the value of this tag, or none.
    pub fn holds(self, present: Option<Tag>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => present.is_none(),
            Self::Is(tag) => present == Some(tag),
        }
    }
}

impl Asked {
    /// What must hold for it to be done.
    pub fn condition(self) -> Condition {
        match self {
            Self::Get => Condition::Always,
            Self::Set(_, condition) | Self::Delete(condition) => condition,
        }
    }
}

impl Operation {
    /// A request that has no answer.
    pub fn new(client: usize, asked: Asked, called: u64) -> Self {
        Self {
            client,
            asked,
            answer: None,
            called,
            returned: u64::MAX,
        }
    }

    /// The same with its answer.
    pub fn answered(self, answer: Answer, returned: u64) -> Self {
        Self {
            answer: Some(answer),
            returned,
            ..self
        }
    }

    /// The value that it set or read, with the tag that the answer gave it.
    pub fn shows(&self) -> Option<(Body, Tag)> {
        match (self.answer?, self.asked) {
            (Answer::Value(body, tag), _)
            | (Answer::Created(tag) | Answer::Updated(tag), Asked::Set(body, _)) => {
                Some((body, tag))
            }
            (Answer::Created(_) | Answer::Updated(_), Asked::Get | Asked::Delete(_))
            | (Answer::Missing | Answer::Deleted | Answer::Unmet(_) | Answer::Refused, _) => None,
        }
    }
}

impl Display for Operation {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let Self {
            client,
            asked,
            answer,
            called,
            returned,
        } = self;
        write!(formatter, "client {client}, {called} to ")?;
        match answer {
            Some(answer) => write!(formatter, "{returned}: {asked:?}, {answer:?}"),
            None => write!(formatter, "the end: {asked:?}, not answered"),
        }
    }
}

impl Tags {
    /// What all answers together say; nothing where one value has two tags, or two values have one.
    pub fn of(operations: &[Operation]) -> Option<Self> {
        let mut tags = Self::default();
        for (body, tag) in operations.iter().filter_map(Operation::shows) {
            let known = *tags.of.entry(body).or_insert(tag);
            let owner = *tags.owners.entry(tag).or_insert(body);
            if (known, owner) != (tag, body) {
                return None;
            }
        }
        Some(tags)
    }
}

impl State {
    /// What the key names after an operation, if that can be done here with the answer that it got. One
    /// without an answer is done only where it changes something: else it may as well not be done.
    pub fn after(&self, operation: &Operation, tags: &Tags) -> Option<Self> {
        let (outcome, present) = self.outcome(operation.asked, tags);
        let mut after = Self {
            present,
            named: self.named.clone(),
        };
        let fits = match operation.answer {
            None => outcome.is_change(),
            Some(Answer::Value(body, _)) => outcome == Outcome::Found && present == Some(body),
            Some(Answer::Missing) => outcome == Outcome::Missing,
            Some(Answer::Created(_)) => outcome == Outcome::Created,
            Some(Answer::Updated(_)) => outcome == Outcome::Updated,
            Some(Answer::Deleted) => outcome == Outcome::Deleted,
            Some(Answer::Unmet(shown)) => outcome == Outcome::Unmet && after.shows(shown, tags),
            Some(Answer::Refused) => return Some(self.clone()),
        };
        fits.then_some(after)
    }

    /// What becomes of a request, and what the key names then.
    fn outcome(&self, asked: Asked, tags: &Tags) -> (Outcome, Option<Body>) {
        if !self.meets(asked.condition(), tags) {
            return (Outcome::Unmet, self.present);
        }
        match (asked, self.present) {
            (Asked::Get, Some(_)) => (Outcome::Found, self.present),
            (Asked::Get | Asked::Delete(_), None) => (Outcome::Missing, None),
            (Asked::Set(body, _), None) => (Outcome::Created, Some(body)),
            (Asked::Set(body, _), Some(_)) => (Outcome::Updated, Some(body)),
            (Asked::Delete(_), Some(_)) => (Outcome::Deleted, None),
        }
    }

    /// Whether a condition holds. A value whose tag is not known is none that a condition can be about.
    fn meets(&self, condition: Condition, tags: &Tags) -> bool {
        match condition {
            Condition::Always => true,
            Condition::Absent => self.present.is_none(),
            Condition::Is(tag) => {
                let present = self.present.and_then(|body| self.tag(body, tags));
                present == Some(tag)
            }
        }
    }

    /// Whether a refusal may show this tag, or none, of what the key names. If nobody saw whose tag it is,
    /// that is known from here on.
    fn shows(&mut self, shown: Option<Tag>, tags: &Tags) -> bool {
        let (Some(body), Some(tag)) = (self.present, shown) else {
            return self.present.is_none() && shown.is_none();
        };
        if let Some(known) = self.tag(body, tags) {
            return known == tag;
        }
        let is_named = self.named.iter().any(|(_, named)| *named == tag);
        let is_free = !is_named && !tags.owners.contains_key(&tag);
        if is_free {
            self.named.push((body, tag));
        }
        is_free
    }

    fn tag(&self, body: Body, tags: &Tags) -> Option<Tag> {
        let mut named = self.named.iter();
        let named = named.find(|(named, _)| *named == body);
        let named = named.map(|(_, tag)| *tag);
        named.or_else(|| tags.of.get(&body).copied())
    }
}

impl Outcome {
    fn is_change(self) -> bool {
        match self {
            Self::Created | Self::Updated | Self::Deleted => true,
            Self::Found | Self::Missing | Self::Unmet => false,
        }
    }
}
