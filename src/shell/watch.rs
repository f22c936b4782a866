//! `kvstore watch`: writes changes as they happen, and goes on by itself where the link or the server was away.
//!
//! It goes on behind the last event that has an id, so that none is left out; one may come twice. Bookmarks are for
//! that only and are not written. While present keys are still coming there is nothing to go on behind: what was
//! deleted since would be missed, and the watch fails. It ends as well once nobody reads what it writes, as behind
//! `| head -1`, though nothing happens that it could write.

use super::answer::success;
use super::filter::FilterArguments;
use super::item;
use super::terminal::{self, Kind, Terminal, plain};
use super::{LINES, ShellError};
use crate::client::notice::say;
use crate::client::retry::{is_passing, passes, pause};
use crate::client::{Client, ServerArguments, escaped};
use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::process;
use std::thread::{self, sleep};
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;

/// How long the server may be silent. It says something every ten seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to watch, and where.
#[derive(Args, Debug)]
pub struct WatchArguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// Give the values with the keys
    #[arg(long)]
    values: bool,
    /// Give all present keys first, then an event ready
    #[arg(long)]
    from_start: bool,
    /// Print JSON also on a terminal
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// Writes events until nobody reads them any more.
pub fn watch(arguments: &WatchArguments) -> Result<(), ShellError> {
    let client = Client::new(&arguments.server, 1, PATIENCE)?;
    let mut path = format!("/watch?{}", arguments.filter.given_or_all());
    if arguments.values {
        path += "&values=true";
    }
    let mut seen = Seen {
        last: None,
        has_all_present: !arguments.from_start,
    };
    let first = match arguments.from_start {
        true => format!("{path}&from=start"),
        false => path.clone(),
    };
    end_without_reader();
    let terminal = Terminal::of_output().filter(|_| !arguments.json);
    let mut output = BufWriter::new(io::stdout().lock());
    let begun = client.get(&first).header("Accept", LINES).call();
    let mut response = success(&client, begun)?;
    loop {
        let lost = follow(&mut response, &mut seen, terminal, &mut output)?;
        let Some(last) = &seen.last else {
            return Err(match lost {
                Some(error) => client.lost(error.into()).into(),
                None => ShellError::CutOff,
            });
        };
        say("kvstore: the watch broke off; trying to go on behind its last event");
        let next = format!("{path}&after={}", escaped(last));
        response = come_back(&client, &next)?;
        say("kvstore: the watch goes on");
    }
}

/// Ends the process once nobody reads its output any more. Without this it would end only when it writes the next event.
fn end_without_reader() {
    let waiting = thread::Builder::new().name("output".into()).spawn(|| {
        let output = io::stdout();
        // What is wrong with it is told whatever is asked for.
        let mut outputs = [PollFd::new(&output, PollFlags::empty())];
        loop {
            match poll(&mut outputs, None) {
                Ok(_) => process::exit(0),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    });
    // Where the system has no thread for that, it ends at the next event.
    drop(waiting);
}

/// Writes what comes of an answer until it ends, and returns what it broke off by, if it did.
fn follow(
    response: &mut Response<Body>,
    seen: &mut Seen,
    terminal: Option<Terminal>,
    output: &mut impl Write,
) -> Result<Option<io::Error>, ShellError> {
    let mut body = BufReader::new(response.body_mut().as_reader());
    let mut line = Vec::new();
    loop {
        if body.buffer().is_empty() {
            output.flush().map_err(ShellError::Output)?;
        }
        line.clear();
        match body.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => {}
            // What came of a line that is not whole comes again.
            Ok(_) => return Ok(None),
            Err(error) => return Ok(Some(error)),
        }
        match seen.take(&line) {
            Some(Line::Event) => {
                let shown = terminal.and_then(|terminal| shown(&line, terminal));
                let shown =
                    shown.map_or_else(|| terminal::json(&line), |row| row.into_bytes().into());
                output.write_all(&shown).map_err(ShellError::Output)?;
            }
            Some(Line::Bookmark) => {}
            Some(Line::Gone) => return Err(ShellError::Behind),
            None => return Err(ShellError::Form("a line of changes")),
        }
    }
}

/// An event for people: what happened, to which key, and the value where it came.
fn shown(line: &[u8], terminal: Terminal) -> Option<String> {
    let Happened { event, data } = serde_json::from_slice(line).ok()?;
    let event = plain(&event);
    let Some(row) = item::row(data.get().as_bytes()) else {
        return Some(terminal.painted(Kind::Aside, &event) + "\n");
    };
    let kind = match event.as_ref() {
        "delete" | "expire" => Kind::Gone,
        _ => Kind::Group,
    };
    let begin = terminal.painted(kind, &format!("{event:<6}"));
    Some(format!("{begin}  {}", terminal.narrower(8).table(&[row])))
}

/// Asks until the server is back.
fn come_back(client: &Client, path: &str) -> Result<Response<Body>, ShellError> {
    let mut attempt = 1;
    loop {
        sleep(pause(attempt));
        attempt += 1;
        match client.get(path).header("Accept", LINES).call() {
            Err(error) if passes(&error) => {}
            Ok(response) if is_passing(response.status().as_u16()) => {}
            answer => return success(client, answer),
        }
    }
}

/// What a watch has seen.
struct Seen {
    /// The id to go on behind.
    last: Option<String>,
    /// Whether all present keys came, where they were asked for.
    has_all_present: bool,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// An event to show.
    Event,
    /// A place to go on from.
    Bookmark,
    /// The server has given the watch up.
    Gone,
}

#[derive(Deserialize)]
struct Event {
    event: String,
    id: Option<String>,
}

#[derive(Deserialize)]
struct Happened<'a> {
    event: String,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Seen {
    /// Takes a line in; `None` where it is none.
    fn take(&mut self, line: &[u8]) -> Option<Line> {
        let Event { event, id } = serde_json::from_slice(line).ok()?;
        if event == "ready" {
            self.has_all_present = true;
        }
        if self.has_all_present && id.is_some() {
            self.last = id;
        }
        Some(match event.as_str() {
            "bookmark" => Line::Bookmark,
            "gone" => Line::Gone,
            _ => Line::Event,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_goes_on_behind_what_has_an_id_once_all_present_keys_came() {
        let mut seen = Seen {
            last: None,
            has_all_present: false,
        };
        for (line, is, last) in [
            (
                r#"{"event":"set","data":{"key":"a"}}"#,
                Some(Line::Event),
                None,
            ),
            (
                r#"{"event":"set","id":"1","data":{"key":"a"}}"#,
                Some(Line::Event),
                None,
            ),
            (
                r#"{"event":"ready","id":"2","data":{}}"#,
                Some(Line::Event),
                Some("2"),
            ),
            (
                r#"{"event":"bookmark","id":"3","data":{}}"#,
                Some(Line::Bookmark),
                Some("3"),
            ),
            (r#"{"event":"gone","data":{}}"#, Some(Line::Gone), Some("3")),
            ("<html>", None, Some("3")),
        ] {
            assert_eq!(seen.take(line.as_bytes()), is, "{line}");
            assert_eq!(seen.last.as_deref(), last, "{line}");
        }
    }
}
