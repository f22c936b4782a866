//! What a description of a route is made of. Examples and names stand here as text, since they are made into JSON once.

use crate::http::problem::Code;

/// What a route does, for whoever has not seen it.
#[derive(Debug)]
pub(in crate::http) struct Operation {
    /// What programs that are made from the description call it.
    pub(super) id: &'static str,
    pub(super) group: Group,
    /// In a line, without a full stop.
    pub(in crate::http) summary: &'static str,
    pub(super) description: &'static str,
    /// Those in the query and in headers: the key in a path shows there.
    pub(super) parameters: &'static [Parameter],
    /// The forms that the body may have.
    pub(super) bodies: &'static [Content],
    pub(super) answers: &'static [Answer],
    /// What may go wrong, besides what may with every request of its kind.
    pub(super) problems: &'static [&'static [Code]],
}

/// What operations are listed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Values,
    Searches,
    Changes,
    Health,
    Interface,
}

impl Group {
    /// In the order in which they are shown.
    pub(super) const ALL: [Self; 5] = [
        Self::Values,
        Self::Searches,
        Self::Changes,
        Self::Health,
        Self::Interface,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Values => "Values",
            Self::Searches => "Searches",
            Self::Changes => "Changes",
            Self::Health => "Health",
            Self::Interface => "Interface",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Values => "One key, or many that are named.",
            Self::Searches => "All keys that match a prefix and a suffix.",
            Self::Changes => "What becomes of keys, as it happens.",
            Self::Health => "For those who watch over the process.",
            Self::Interface => "What there is to ask for.",
        }
    }
}

/// A parameter of a request.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) text: &'static str,
    /// The name of a schema.
    pub(super) schema: &'static str,
    /// As JSON.
    pub(super) example: &'static str,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Query,
    Header,
}

/// A body of a type.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) media_type: &'static str,
    /// The name of a schema: of the whole, or where it is lines, of one of them.
    pub(super) schema: &'static str,
    /// By name.
    pub(super) examples: &'static [(&'static str, Example)],
}

/// A body, or a line.
#[derive(Clone, Copy, Debug)]
pub(super) enum Example {
    /// A JSON text.
    Json(&'static str),
    /// What it is, as it stands.
    Text(&'static str),
}

/// An answer of a request that nothing was wrong with.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) text: &'static str,
    pub(super) headers: &'static [Header],
    /// The forms that its body may have; none where it has no body.
    pub(super) contents: &'static [Content],
}

/// A header of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) example: &'static str,
}
