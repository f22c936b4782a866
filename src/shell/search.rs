//! `kvstore search`: lists keys as they come, however many there are.

use super::answer::{copy, success};
use super::filter::FilterArguments;
use super::item;
use super::terminal::{self, Kind, Terminal};
use super::{LINES, PATIENCE, ShellError};
use crate::client::{Client, ServerArguments, escaped};
use clap::Args;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use ureq::Body;
use ureq::http::Response;

/// Bytes that are read or written at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// The longest line that has a key: six bytes for each of the longest as JSON, and what is around them.
const LINE_BYTES_MAX: u64 = 6 * 10 * 1024 + 64;

/// How many lines have their columns below each other.
const TABLE_ROWS: usize = 256;

/// What to look for, how to show it, and where it is.
#[derive(Args, Debug)]
pub struct SearchArguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// List so many at most
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,
    /// Begin behind this key
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// Print how many keys match, and none of them
    #[arg(long, conflicts_with_all = ["limit", "after", "values", "groups"])]
    count: bool,
    /// Give the values too: for programs a JSON object a line, with entity tags
    #[arg(long)]
    values: bool,
    /// Give one level of keys, and for those with this text further on how many begin alike; for programs as JSON
    #[arg(long, value_name = "DELIMITER")]
    groups: Option<String>,
    /// Print JSON also on a terminal: each key, in which one with a line break is a line, and the total as an object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

impl SearchArguments {
    /// What is asked for.
    fn path(&self) -> String {
        let mut path = format!("/search?{}", self.filter.given_or_all());
        if self.count {
            return path + "&limit=1";
        }
        if let Some(limit) = self.limit {
            path += &format!("&limit={limit}");
        }
        if let Some(after) = &self.after {
            path += &format!("&after={}", escaped(after));
        }
        if self.values {
            path += "&values=true";
        }
        if let Some(delimiter) = &self.groups {
            path += &format!("&delimiter={}", escaped(delimiter));
        }
        path
    }

    /// Whether the server's lines are shown as they are.
    fn is_verbatim(&self) -> bool {
        self.json || self.values || self.groups.is_some()
    }
}

/// Writes what is found.
pub fn search(arguments: &SearchArguments) -> Result<(), ShellError> {
    let client = Client::new(&arguments.server, 1, PATIENCE)?;
    let request = client.get(&arguments.path()).header("Accept", LINES);
    let mut response = success(&client, request.call())?;
    let total = response.headers().get("x-total-count");
    let total = total.and_then(|total| total.to_str().ok()?.parse::<u64>().ok());
    let mut output = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
    let terminal = Terminal::of_output().filter(|_| !arguments.json);
    if arguments.count {
        let total = total.ok_or(ShellError::Form("an answer with the total of keys"))?;
        match arguments.json {
            true => writeln!(output, "{{\"total\":{total}}}").map_err(ShellError::Output)?,
            false => writeln!(output, "{total}").map_err(ShellError::Output)?,
        }
    } else if let Some(terminal) = terminal {
        write_table(&client, &mut response, terminal, &mut output)?;
        output.flush().map_err(ShellError::Output)?;
        if let Some(total) = total.filter(|_| io::stderr().is_terminal()) {
            let said = terminal.painted(Kind::Aside, &format!("{total} keys match"));
            eprintln!("{said}");
        }
    } else if arguments.is_verbatim() && !are_lines(&response) {
        return Err(ShellError::Form("a list of keys"));
    } else if arguments.is_verbatim() && io::stdout().is_terminal() {
        write_json(&client, &mut response, &mut output)?;
    } else if arguments.is_verbatim() {
        copy(&client, &mut response, &mut output)?;
    } else {
        write_keys(&client, &mut response, &mut output)?;
    }
    output.flush().map_err(ShellError::Output)
}

/// Whether an answer is the lines that were asked for: another server may send anything with a 200.
fn are_lines(response: &Response<Body>) -> bool {
    let kind = response.headers().get("content-type");
    kind.is_some_and(|kind| kind.as_bytes().starts_with(LINES.as_bytes()))
}

/// Writes lines of JSON to a terminal.
fn write_json(
    client: &Client,
    response: &mut Response<Body>,
    output: &mut impl Write,
) -> Result<(), ShellError> {
    let body = response.body_mut().as_reader();
    let mut body = BufReader::with_capacity(BUFFER_BYTES, body);
    let mut line = Vec::new();
    loop {
        line.clear();
        match body.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(client.lost(error.into()).into()),
        }
        let json = terminal::json(&line);
        output.write_all(&json).map_err(ShellError::Output)?;
    }
}

/// Writes what is found for people.
fn write_table(
    client: &Client,
    response: &mut Response<Body>,
    terminal: Terminal,
    output: &mut impl Write,
) -> Result<(), ShellError> {
    let body = response.body_mut().as_reader();
    let mut body = BufReader::with_capacity(BUFFER_BYTES, body);
    let (mut line, mut rows) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        let read = body.read_until(b'\n', &mut line);
        let is_end = read.map_err(|error| client.lost(error.into()))? == 0;
        if is_end || rows.len() == TABLE_ROWS {
            let table = terminal.table(&rows);
            output
                .write_all(table.as_bytes())
                .map_err(ShellError::Output)?;
            rows.clear();
        }
        if is_end {
            return Ok(());
        }
        let whole = line.strip_suffix(b"\n");
        let row = whole.and_then(item::row);
        rows.push(row.ok_or(ShellError::Form("a list of keys"))?);
    }
}

/// Writes each key as it is, a line each.
fn write_keys(
    client: &Client,
    response: &mut Response<Body>,
    output: &mut impl Write,
) -> Result<(), ShellError> {
    let body = response.body_mut().as_reader();
    let mut body = BufReader::with_capacity(BUFFER_BYTES, body);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = Read::by_ref(&mut body).take(LINE_BYTES_MAX);
        match bounded.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(client.lost(error.into()).into()),
        }
        let mut key = key(&line).ok_or(ShellError::Form("a list of keys"))?;
        key.push('\n');
        output
            .write_all(key.as_bytes())
            .map_err(ShellError::Output)?;
    }
}

/// The key of a whole line.
fn key(line: &[u8]) -> Option<String> {
    serde_json::from_slice(line.strip_suffix(b"\n")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_from_a_whole_line_only() {
        assert_eq!(key(b"\"a\\n\\u00e9\"\n").as_deref(), Some("a\né"));
        for line in [&b"\"a\""[..], b"\"a\n", b"{\"key\":\"a\"}\n", b"\n", b""] {
            assert_eq!(key(line), None, "{line:?}");
        }
    }
}
