//! `kvstore expire`: changes when a value ends.

use super::answer::{parsed, success, text};
use super::terminal::{self, Terminal, plain};
use super::{PATIENCE, ShellError, parse};
use crate::client::{Client, ServerArguments, escaped};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::io::{self, Write};

/// Which value is to end, when, and where it is.
#[derive(Args, Debug)]
pub struct ExpireArguments {
    /// The key; after -- where it begins with a hyphen
    key: String,
    #[command(flatten)]
    end: EndArguments,
    /// Print the key and when its value ends as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// When a value ends.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct EndArguments {
    /// From now on: milliseconds, or a number with a unit such as 60s
    #[arg(long, value_name = "TIME", value_parser = parse::ttl_ms, allow_hyphen_values = true)]
    ttl: Option<u64>,
    /// At a time in UTC such as 2030-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Never
    #[arg(long)]
    never: bool,
}

#[derive(Deserialize)]
struct ExpireAnswer {
    expires_at: Option<String>,
}

/// Changes when the value ends, and says on a terminal when that is.
pub fn expire(arguments: &ExpireArguments) -> Result<(), ShellError> {
    let client = Client::new(&arguments.server, 1, PATIENCE)?;
    let path = format!("/expire/{}", escaped(&arguments.key));
    let body = arguments.end.body().to_string();
    let request = client
        .post(&path)
        .header("Content-Type", "application/json");
    let mut response = success(&client, request.send(&body))?;
    let text = text(&client, &mut response)?;
    let shown = terminal::json(text.trim_end().as_bytes());
    let shown = String::from_utf8_lossy(&shown);
    let answer: ExpireAnswer = parsed(&text, "an answer to an expire")?;
    let said: Cow<'_, str> = match arguments.json {
        true => shown,
        false if Terminal::of_output().is_none() => return Ok(()),
        false => plain(answer.expires_at.as_deref().unwrap_or("never")),
    };
    writeln!(io::stdout(), "{said}").map_err(ShellError::Output)
}

impl EndArguments {
    /// What the server is told; one of them is given.
    fn body(&self) -> Value {
        if self.never {
            return json!({ "expires_at": null });
        }
        match self.ttl {
            Some(ttl_ms) => json!({ "ttl_ms": ttl_ms }),
            None => json!({ "expires_at": self.at }),
        }
    }
}
