//! Reads lines in bounded memory, and finds what is no file of lines by how it begins.

use super::diagnosis::{self, Diagnosis};
use crate::entry::BYTE_ORDER_MARK;
use memchr::memchr;
use std::io::{self, BufRead};

/// Bytes of a line's beginning that are enough to tell what is no line.
const BEGINNING_BYTES: usize = 256;

/// What came next.
pub enum Next {
    /// A line, which may be blank.
    Line,
    /// Nothing.
    End,
    /// What is surely no line.
    Bad(Diagnosis),
    /// A line over the bound.
    TooLong,
}

/// The lines of an input.
pub struct Lines<R> {
    input: R,
    bytes_max: usize,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads lines of at most so many bytes.
    pub fn new(input: R, bytes_max: usize) -> Self {
        Self {
            input,
            bytes_max,
            number: 0,
        }
    }

    /// The number of the line that was read last, from 1 on.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Passes over so many lines, without a look at them; [`Next::End`] where there are fewer.
    ///
    /// # Errors
    /// As reading has them.
    pub fn skip(&mut self, lines: u64) -> io::Result<Next> {
        let last = self.number.saturating_add(lines);
        let mut is_within = false;
        while is_within || self.number < last {
            let read = match self.input.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if read.is_empty() {
                // The last line need not end.
                return Ok(match self.number == last {
                    true => Next::Line,
                    false => Next::End,
                });
            }
            if !is_within {
                self.number += 1;
            }
            let end = memchr(b'\n', read);
            is_within = end.is_none();
            let taken = end.map_or(read.len(), |at| at + 1);
            self.input.consume(taken);
        }
        Ok(Next::Line)
    }

    /// Adds the next line, with its line feed, to `body`; nothing where there is none.
    ///
    /// # Errors
    /// As reading has them. What was read of the line is dropped.
    pub fn next(&mut self, body: &mut Vec<u8>) -> io::Result<Next> {
        let begin = body.len();
        let next = self.add(body, begin);
        if !matches!(next, Ok(Next::Line)) {
            body.truncate(begin);
        }
        next
    }

    fn add(&mut self, body: &mut Vec<u8>, begin: usize) -> io::Result<Next> {
        let mut is_checked = false;
        loop {
            let read = match self.input.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if body.len() == begin && !read.is_empty() {
                self.number += 1;
            }
            let end = memchr(b'\n', read).map(|at| at + 1);
            let taken = end.unwrap_or(read.len());
            body.extend_from_slice(&read[..taken]);
            self.input.consume(taken);
            let is_whole = end.is_some() || taken == 0;
            if body.len() == begin {
                return Ok(Next::End);
            }
            if !is_checked && (is_whole || body.len() - begin >= BEGINNING_BYTES) {
                is_checked = true;
                if self.number == 1 && body[begin..].starts_with(BYTE_ORDER_MARK) {
                    body.drain(begin..begin + BYTE_ORDER_MARK.len());
                }
                if let Some(diagnosis) = diagnosis::of_beginning(&body[begin..], self.number) {
                    return Ok(Next::Bad(diagnosis));
                }
            }
            if body.len() - begin > self.bytes_max.saturating_add(usize::from(end.is_some())) {
                return Ok(Next::TooLong);
            }
            if is_whole {
                return Ok(Next::Line);
            }
        }
    }
}
