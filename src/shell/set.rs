//! `kvstore set`: sets a key to a value, which is an argument, a file or standard input.

use super::answer::{parsed, success, text};
use super::terminal::{self, Terminal};
use super::{PATIENCE, ShellError, parse};
use crate::client::{Client, ServerArguments, escaped};
use clap::Args;
use serde::Deserialize;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What to set, to what, and where.
#[derive(Args, Debug)]
pub struct SetArguments {
    /// The key; after -- where it begins with a hyphen
    key: String,
    /// The value; @FILE for what a file holds, - for standard input. Other users of the machine see a command line
    #[arg(allow_negative_numbers = true)]
    value: OsString,
    /// What the value is; without it application/json where it is JSON, else text/plain where it is UTF-8, else
    /// application/octet-stream
    #[arg(long, value_name = "TYPE", value_parser = parse::content_type)]
    content_type: Option<String>,
    /// When the value ends, from now on: milliseconds, or a number with a unit such as 60s; without it, never
    #[arg(long, value_name = "TIME", value_parser = parse::ttl_ms, allow_hyphen_values = true)]
    ttl: Option<u64>,
    /// Set it only if the value that there is has this entity tag, which get --etag prints; * for any
    #[arg(long, value_name = "TAG", value_parser = parse::entity_tag, conflicts_with = "create")]
    if_match: Option<String>,
    /// Set it only if there is no value yet
    #[arg(long)]
    create: bool,
    /// Print the key and whether it was created as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Deserialize)]
struct SetAnswer {
    created: bool,
}

/// Sets the key, and says on a terminal whether it was there.
pub fn set(arguments: &SetArguments) -> Result<(), ShellError> {
    let client = Client::new(&arguments.server, 1, PATIENCE)?;
    let value = value(&arguments.value)?;
    let content_type = match arguments.content_type.as_deref() {
        Some(content_type) => content_type,
        None => parse::content_type_of(&value),
    };
    let mut path = format!("/set/{}", escaped(&arguments.key));
    if let Some(ttl_ms) = arguments.ttl {
        path += &format!("?ttl_ms={ttl_ms}");
    }
    let mut request = client.put(&path).header("Content-Type", content_type);
    if let Some(tag) = arguments.if_match.as_deref() {
        request = request.header("If-Match", tag);
    }
    if arguments.create {
        request = request.header("If-None-Match", "*");
    }
    let mut response = success(&client, request.send(&value))?;
    let text = text(&client, &mut response)?;
    let shown = terminal::json(text.trim_end().as_bytes());
    let shown = String::from_utf8_lossy(&shown);
    let answer: SetAnswer = parsed(&text, "an answer to a set")?;
    let said = match (arguments.json, answer.created) {
        (true, _) => &*shown,
        (false, _) if Terminal::of_output().is_none() => return Ok(()),
        (false, true) => "created",
        (false, false) => "updated",
    };
    writeln!(io::stdout(), "{said}").map_err(ShellError::Output)
}

/// The value that an argument stands for.
fn value(given: &OsStr) -> Result<Vec<u8>, ShellError> {
    let bytes = given.as_bytes();
    if bytes == b"-" {
        let mut value = Vec::new();
        let unreadable = |error| ShellError::Input("standard input".into(), error);
        io::stdin()
            .lock()
            .read_to_end(&mut value)
            .map_err(unreadable)?;
        return Ok(value);
    }
    let Some(file) = bytes.strip_prefix(b"@") else {
        return Ok(bytes.to_vec());
    };
    let file = Path::new(OsStr::from_bytes(file));
    fs::read(file).map_err(|error| ShellError::Input(file.display().to_string(), error))
}
