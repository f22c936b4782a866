//! The content types that records name by a number, for as long as one does. A value that ends has another
//! number than one that lasts: so a record tells its form by no bit more.

use crate::model::ContentType;
use std::collections::HashMap;

/// How many content types records can name. Numbers from here on are kept free, for records with
/// something more in them.
const TYPES_MAX: usize = 250;

/// Content types by number.
#[derive(Debug, Default)]
pub(super) struct Types {
    entries: Vec<Entry>,
    /// Numbers that no record names.
    free: Vec<u8>,
    lasting: HashMap<ContentType, u8>,
    ending: HashMap<ContentType, u8>,
    /// The number that was held last: mostly it is held again.
    last: u8,
}

/// Whether a value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Lasting,
    Ending,
}

/// What a number stands for.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) content_type: ContentType,
    pub(super) span: Span,
    /// How many records name it.
    records: usize,
}

impl Types {
    /// What a number stands for that a record names.
    pub(super) fn get(&self, number: u8) -> &Entry {
        &self.entries[usize::from(number)]
    }

    /// The number by which one more record names a content type; `None` where all are taken by
    /// others.
    pub(super) fn hold(&mut self, content_type: &ContentType, span: Span) -> Option<u8> {
        if let Some(last) = self.entries.get_mut(usize::from(self.last))
            && last.records > 0
            && last.span == span
            && last.content_type == *content_type
        {
            last.records += 1;
            return Some(self.last);
        }
        if let Some(number) = self.numbers(span).get(content_type).copied() {
            self.entries[usize::from(number)].records += 1;
            self.last = number;
            return Some(number);
        }
        let entry = Entry {
            content_type: content_type.clone(),
            span,
            records: 1,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.entries[usize::from(number)] = entry;
                number
            }
            None if self.entries.len() == TYPES_MAX => return None,
            None => {
                let number = u8::try_from(self.entries.len()).ok()?;
                self.entries.push(entry);
                number
            }
        };
        self.numbers(span).insert(content_type.clone(), number);
        Some(number)
    }

    /// What follows when a record no longer names a number.
    pub(super) fn release(&mut self, number: u8) {
        let entry = &mut self.entries[usize::from(number)];
        entry.records -= 1;
        if entry.records == 0 {
            // A static text in its place: this one's may be the last.
            let content_type = std::mem::replace(&mut entry.content_type, ContentType::JSON);
            let span = entry.span;
            self.numbers(span).remove(&content_type);
            self.free.push(number);
        }
    }

    /// The numbers of the content types of values that end, or of those that do not.
    fn numbers(&mut self, span: Span) -> &mut HashMap<ContentType, u8> {
        match span {
            Span::Lasting => &mut self.lasting,
            Span::Ending => &mut self.ending,
        }
    }
}
