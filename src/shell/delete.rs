//! `kvstore delete`: removes a key, or all that match once somebody has said yes to how many that is.

use super::answer::{read, success};
use super::filter::FilterArguments;
use super::terminal::Terminal;
use super::{PATIENCE, ShellError};
use crate::client::{Client, ServerArguments, escaped};
use clap::Args;
use serde::Deserialize;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;
use ureq::http::StatusCode;

/// How long the server may take to delete all that match, of which it says nothing meanwhile.
const ERASE_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// What to delete, and where.
#[derive(Args, Debug)]
pub struct DeleteArguments {
    /// The key; after -- where it begins with a hyphen
    #[arg(
        required_unless_present_any = ["prefix", "suffix"],
        conflicts_with_all = ["prefix", "suffix", "dry_run", "yes"]
    )]
    key: Option<String>,
    #[command(flatten)]
    filter: FilterArguments,
    /// Print how many keys match, and delete none
    #[arg(long)]
    dry_run: bool,
    /// Delete all keys that match without asking back, and print how many these were
    #[arg(long)]
    yes: bool,
    /// Print how many keys were deleted, or match, as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Deserialize)]
struct Matched {
    matched: u64,
}

#[derive(Deserialize)]
struct Deleted {
    deleted: u64,
}

/// Deletes what is asked for.
pub fn delete(arguments: &DeleteArguments) -> Result<(), ShellError> {
    match &arguments.key {
        Some(key) => {
            let client = Client::new(&arguments.server, 1, PATIENCE)?;
            let path = format!("/delete/{}", escaped(key));
            let response = success(&client, client.delete(&path).call())?;
            if response.status() != StatusCode::NO_CONTENT {
                return Err(ShellError::Form("an answer to a delete"));
            }
            arguments.say_of_key()
        }
        None => erase(arguments),
    }
}

/// Deletes all keys that match, or counts them.
fn erase(arguments: &DeleteArguments) -> Result<(), ShellError> {
    let must_ask = !arguments.dry_run && !arguments.yes;
    if must_ask && !io::stdin().is_terminal() {
        return Err(ShellError::Unasked);
    }
    let client = Client::new(&arguments.server, 1, ERASE_PATIENCE)?;
    let path = format!("/delete?{}", arguments.filter.given());
    if arguments.dry_run {
        return arguments.say("matched", count(&client, &path)?);
    }
    if must_ask && !confirm(count(&client, &path)?)? {
        return Err(ShellError::Declined);
    }
    let mut response = success(&client, client.delete(&path).call())?;
    let Deleted { deleted } = read(&client, &mut response, "an answer to a delete by filter")?;
    arguments.say("deleted", deleted)
}

fn count(client: &Client, path: &str) -> Result<u64, ShellError> {
    let dry = client.delete(&format!("{path}&dry_run=true")).call();
    let mut response = success(client, dry)?;
    let Matched { matched } = read(client, &mut response, "a count of what would be deleted")?;
    Ok(matched)
}

/// Whether whoever is at the terminal says yes.
fn confirm(keys: u64) -> Result<bool, ShellError> {
    eprint!("delete {keys} keys? [y/N] ");
    let mut answer = String::new();
    let unreadable = |error| ShellError::Input("standard input".into(), error);
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(unreadable)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

impl DeleteArguments {
    /// Writes what was done to one key, to whom that is not said by the exit code.
    fn say_of_key(&self) -> Result<(), ShellError> {
        let said = match self.json {
            true => "{\"deleted\":1}",
            false if Terminal::of_output().is_none() => return Ok(()),
            false => "deleted",
        };
        writeln!(io::stdout(), "{said}").map_err(ShellError::Output)
    }

    /// Writes how many keys were deleted, or would be.
    fn say(&self, what: &str, keys: u64) -> Result<(), ShellError> {
        let said = match self.json {
            true => format!("{{\"{what}\":{keys}}}"),
            false if Terminal::of_output().is_none() => keys.to_string(),
            false => format!("{keys} keys {what}"),
        };
        writeln!(io::stdout(), "{said}").map_err(ShellError::Output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("y\n") && is_yes("Yes\r\n") && is_yes(" Y "));
        assert!(!is_yes("") && !is_yes("\n") && !is_yes("n\n") && !is_yes("yep\n"));
    }
}
