//! `kvstore get`: writes a value as it is, or the entry that has it.

use super::answer::{copy, success};
use super::terminal::{self, PlainText, Terminal};
use super::{LINES, PATIENCE, ShellError};
use crate::client::{Client, ServerArguments, escaped};
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use std::io::{self, Write};

/// What to read, and where.
#[derive(Args, Debug)]
pub struct GetArguments {
    /// The key; after -- where it begins with a hyphen
    key: String,
    /// Print the value's entity tag in its place, for set --if-match
    #[arg(long)]
    etag: bool,
    /// Print the key, its value, entity tag and end as a JSON object
    #[arg(long, conflicts_with = "etag")]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// An entry, of which is known whether it has a value.
#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    missing: bool,
}

/// Writes the value; on a terminal without what that would obey, and with the line ended behind it.
pub fn get(arguments: &GetArguments) -> Result<(), ShellError> {
    let client = Client::new(&arguments.server, 1, PATIENCE)?;
    if arguments.json {
        return write_entry(&client, &arguments.key);
    }
    let path = format!("/get/{}", escaped(&arguments.key));
    let mut response = success(&client, client.get(&path).call())?;
    let mut output = io::stdout().lock();
    if arguments.etag {
        let tag = response.headers().get("etag");
        let tag = tag.and_then(|tag| tag.to_str().ok());
        let tag = tag.ok_or(ShellError::Form("a value with an entity tag"))?;
        return writeln!(output, "{}", tag.trim_matches('"')).map_err(ShellError::Output);
    }
    if Terminal::of_output().is_none() {
        copy(&client, &mut response, &mut output)?;
        return output.flush().map_err(ShellError::Output);
    }
    let mut shown = PlainText::new(&mut output);
    let last = copy(&client, &mut response, &mut shown)?;
    shown.end().map_err(ShellError::Output)?;
    if last.is_some_and(|byte| byte != b'\n') {
        output.write_all(b"\n").map_err(ShellError::Output)?;
    }
    output.flush().map_err(ShellError::Output)
}

/// Writes the entry of a key, as the server gives it.
fn write_entry(client: &Client, key: &str) -> Result<(), ShellError> {
    let request = client
        .post("/get")
        .header("Content-Type", "application/json")
        .header("Accept", LINES);
    let body = json!({ "keys": [key] }).to_string();
    let mut response = success(client, request.send(&body))?;
    let mut entry = Vec::new();
    copy(client, &mut response, &mut entry)?;
    let known: Entry =
        serde_json::from_slice(&entry).map_err(|_| ShellError::Form("an entry of the key"))?;
    if known.missing {
        return Err(ShellError::Absent);
    }
    let mut output = io::stdout().lock();
    let entry = terminal::json(&entry);
    output.write_all(&entry).map_err(ShellError::Output)?;
    output.flush().map_err(ShellError::Output)
}
