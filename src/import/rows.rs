//! The records of a CSV as lines.

use super::columns::{ColumnArguments, Columns};
use super::diagnosis::Diagnosis;
use super::lines::Next;
use crate::csv::{self, Fault, Place, Record, Records};
use std::io::{self, BufRead};

/// The records of an input, and what their columns are.
pub struct Rows {
    records: Records<Box<dyn BufRead>>,
    columns: Columns,
    record: Record,
    /// The number of the record that was read last, from 1 on; the header is none.
    number: u64,
    /// The line of the last fault.
    faulty: u64,
    /// The lines on which the last records begin.
    begin: Vec<u64>,
}

/// What came of a header.
pub enum Begun {
    Rows(Box<Rows>),
    /// It is none, in this line.
    Bad(u64, Diagnosis),
}

impl Rows {
    /// Reads the header.
    ///
    /// # Errors
    /// As reading has them.
    pub fn begin(
        input: Box<dyn BufRead>,
        bytes_max: usize,
        arguments: &ColumnArguments,
    ) -> io::Result<Begun> {
        let mut records = Records::new(input, bytes_max);
        let mut record = Record::default();
        let bad = |fault: Fault| Begun::Bad(fault.place.line, Diagnosis::of_record(fault));
        match records.next(&mut record)? {
            csv::Next::Record => {}
            csv::Next::Bad(fault) => return Ok(bad(fault)),
            csv::Next::End => {
                return Ok(bad(Fault {
                    place: Place { line: 1, column: 1 },
                    found: "the end of the input".into(),
                    expected: "a header with the names of the columns is expected".into(),
                }));
            }
        }
        Ok(match Columns::of(&record, arguments) {
            Err(fault) => bad(fault),
            Ok(columns) => Begun::Rows(Box::new(Self {
                records,
                columns,
                record,
                number: 0,
                faulty: 0,
                begin: Vec::new(),
            })),
        })
    }

    /// The number of the record that was read last, from 1 on.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where the last fault was.
    pub fn fault_place(&self) -> String {
        place(self.faulty, self.number)
    }

    /// Where a record is that was read since [`forget`](Self::forget).
    pub fn place(&self, number: u64) -> String {
        let back = usize::try_from(self.number.saturating_sub(number)).unwrap_or(usize::MAX);
        let at = self.begin.len().checked_sub(back.saturating_add(1));
        match at.and_then(|at| self.begin.get(at)) {
            Some(line) => place(*line, number),
            None => format!("record {number}"),
        }
    }

    /// Nobody asks any more where the records are that were read until now.
    pub fn forget(&mut self) {
        self.begin.clear();
    }

    /// Passes over so many records; [`Next::End`] where there are fewer.
    ///
    /// # Errors
    /// As reading has them.
    pub fn skip(&mut self, records: u64) -> io::Result<Next> {
        for _ in 0..records {
            match self.read()? {
                Next::Line => self.forget(),
                other => return Ok(other),
            }
        }
        Ok(Next::Line)
    }

    /// Adds the line that the next record makes, with its line feed; nothing where there is none.
    ///
    /// # Errors
    /// As reading has them.
    pub fn next(&mut self, body: &mut Vec<u8>) -> io::Result<Next> {
        match self.read()? {
            Next::Line => {}
            other => return Ok(other),
        }
        let begin = body.len();
        Ok(match self.columns.write(&self.record, body) {
            Ok(()) => Next::Line,
            Err(fault) => {
                body.truncate(begin);
                self.bad(fault)
            }
        })
    }

    fn read(&mut self) -> io::Result<Next> {
        Ok(match self.records.next(&mut self.record)? {
            csv::Next::Record => {
                self.number += 1;
                self.begin.push(self.record.place(0).line);
                Next::Line
            }
            csv::Next::End => Next::End,
            csv::Next::Bad(fault) => {
                self.number += 1;
                self.begin.push(fault.place.line);
                self.bad(fault)
            }
        })
    }

    fn bad(&mut self, fault: Fault) -> Next {
        self.faulty = fault.place.line;
        Next::Bad(Diagnosis::of_record(fault))
    }
}

fn place(line: u64, number: u64) -> String {
    format!("line {line} (record {number})")
}
