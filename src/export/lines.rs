//! The lines of an answer on their way to the output: those that import takes, without entity tags, or records of a CSV.

use super::output::Output;
use super::progress::Progress;
use super::{Cause, rows};
use crate::entry::around_etag;
use memchr::memchr;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 64 * 1024;

/// What every line begins with.
const BEGINNING: &[u8] = b"{\"key\":\"";

/// The beginning of a line that surely has its key, as JSON: six bytes for each of the longest.
const KEY_BYTES: usize = BEGINNING.len() + 6 * 10 * 1024 + 1;

/// What a line becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line of JSON.
    Line,
    /// A record of a CSV, below a header.
    Record,
}

/// Lines on their way to the output.
pub struct Lines<'a> {
    output: &'a mut Output,
    progress: &'a Progress,
    form: Form,
    /// Lines to be written, and how many.
    buffer: Vec<u8>,
    count: u64,
    /// What came of a line that is not whole yet.
    partial: Vec<u8>,
    /// The beginning of the last line.
    last: Vec<u8>,
    /// The key that the next line must come after, where an answer has just begun.
    above: Option<String>,
    taken: u64,
}

impl<'a> Lines<'a> {
    /// None yet.
    pub fn new(output: &'a mut Output, progress: &'a Progress, form: Form) -> Self {
        let mut buffer = Vec::with_capacity(2 * WRITE_BYTES);
        match form {
            Form::Line => {}
            Form::Record => rows::write_header(&mut buffer),
        }
        Self {
            output,
            progress,
            form,
            buffer,
            count: 0,
            partial: Vec::new(),
            last: Vec::new(),
            above: None,
            taken: 0,
        }
    }

    /// How many were taken in.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The key of the last line; `None` before the first.
    pub fn last_key(&self) -> Option<String> {
        key(&self.last)
    }

    /// Takes in what came next of an answer.
    ///
    /// # Errors
    /// Where it is no list of entries, or the output cannot be written.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), Cause> {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.partial.is_empty() {
                self.take_line(line)?;
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.take_line(&whole)?;
                whole.clear();
                self.partial = whole;
            }
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        // What is no entry need not have an end.
        let some = self.partial.len().min(BEGINNING.len());
        match self.partial[..some] == BEGINNING[..some] {
            true => Ok(()),
            false => Err(Cause::Form(self.taken)),
        }
    }

    /// Drops what came of a line that did not come whole, and says whether there was any.
    pub fn drop_partial(&mut self) -> bool {
        let was_there = !self.partial.is_empty();
        self.partial.clear();
        was_there
    }

    /// Goes on with another answer, whose keys come after the last.
    pub fn go_on(&mut self) {
        self.above = self.last_key();
    }

    /// Writes what there is.
    ///
    /// # Errors
    /// Where the output cannot be written.
    pub fn write(&mut self) -> Result<(), Cause> {
        let count = std::mem::take(&mut self.count);
        let all = self.progress.write(self.output, &self.buffer, count);
        self.buffer.clear();
        all.map_err(|error| Cause::Output(self.progress.path(), error))
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), Cause> {
        let entry = around_etag(line).filter(|_| line.starts_with(BEGINNING));
        let (before, after) = entry.ok_or(Cause::Form(self.taken))?;
        if let Some(above) = self.above.take()
            && key(line).is_none_or(|key| key <= above)
        {
            return Err(Cause::Order(self.taken));
        }
        match self.form {
            Form::Line => {
                self.buffer.extend_from_slice(before);
                self.buffer.extend_from_slice(after);
                self.buffer.push(b'\n');
            }
            Form::Record => {
                rows::write(line, &mut self.buffer).ok_or(Cause::Form(self.taken))?;
            }
        }
        self.last.clear();
        self.last
            .extend_from_slice(&line[..line.len().min(KEY_BYTES)]);
        self.count += 1;
        self.taken += 1;
        match self.buffer.len() >= WRITE_BYTES {
            true => self.write(),
            false => Ok(()),
        }
    }
}

/// The key of a line, of which there need not be more.
fn key(line: &[u8]) -> Option<String> {
    let text = line.get(BEGINNING.len() - 1..)?;
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<String>();
    values.next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_line_is_read_from_its_beginning() {
        for (line, expected) in [
            (r#"{"key":"a","value":1}"#, Some("a")),
            (r#"{"key":"a\"\\\u00e9","va"#, Some("a\"\\é")),
            (r#"{"key":"","value":1}"#, Some("")),
            (r#"{"key":"a"#, None),
            ("", None),
        ] {
            assert_eq!(key(line.as_bytes()).as_deref(), expected, "{line}");
        }
    }
}
