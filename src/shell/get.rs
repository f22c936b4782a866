//! `kvstore get`: writes a value as it is.

use super::answer::{copy, success};
use super::{PATIENCE, ShellError};
use crate::client::{Client, ServerArguments, escaped};
use clap::Args;
use std::io::{self, IsTerminal, Write};

/// What to read, and where.
#[derive(Args, Debug)]
pub struct GetArguments {
    /// The key; after -- where it begins with a hyphen
    key: String,
    /// Print the value's entity tag in its place, for set --if-match
    #[arg(long)]
    etag: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// Writes the value, on a terminal with the line ended behind it.
pub fn get(arguments: &GetArguments) -> Result<(), ShellError> {
    let client = Client::new(&arguments.server, 1, PATIENCE)?;
    let path = format!("/get/{}", escaped(&arguments.key));
    let mut response = success(&client, client.get(&path).call())?;
    let mut output = io::stdout().lock();
    if arguments.etag {
        let tag = response.headers().get("etag");
        let tag = tag.and_then(|tag| tag.to_str().ok());
        let tag = tag.ok_or(ShellError::Form("a value with an entity tag"))?;
        return writeln!(output, "{}", tag.trim_matches('"')).map_err(ShellError::Output);
    }
    let last = copy(&client, &mut response, &mut output)?;
    if output.is_terminal() && last.is_some_and(|byte| byte != b'\n') {
        output.write_all(b"\n").map_err(ShellError::Output)?;
    }
    output.flush().map_err(ShellError::Output)
}
