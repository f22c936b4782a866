//! `kvstore token`: draws a token, and prints it once and what the file of tokens has to say of it.

use super::{Access, PER_SECOND_MAX, PREFIXES_MAX, fault_of_name, fault_of_prefix};
use crate::digest::sha256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use std::io::{self, Write};
use toml::Value;

/// What a token begins with, so that one that went astray is known for what it is.
const BEGINNING: &str = "kv_";

/// How much of a token is drawn, in bytes: nobody finds one by trying.
const DRAWN_BYTES: usize = 32;

/// Which token to make.
#[derive(Args, Debug)]
pub struct TokenArguments {
    /// What it is called in the file: 1 to 64 letters, digits, . _ or -
    #[arg(long, value_parser = parse_name)]
    name: String,
    /// What it allows; each includes those before it
    #[arg(long, value_enum)]
    access: Access,
    /// What keys begin with that it is for, which may be given several times; without it, all keys
    #[arg(long = "prefix", value_name = "PREFIX", value_parser = parse_prefix)]
    prefixes: Vec<String>,
    /// How often it may be used in a second; without it, as often as one likes
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=i64::from(PER_SECOND_MAX)))]
    requests_per_second: Option<u32>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file of tokens takes no token of so many prefixes.
    #[error("a token may have 100 prefixes, and {0} are given: give fewer, or draw several tokens")]
    Prefixes(usize),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// It cannot be printed.
    #[error("the token cannot be printed: {0}; make another one")]
    Output(#[from] io::Error),
}

/// Draws a token, and writes it to standard output and its table to standard error.
///
/// # Errors
/// Where its table would not be taken, or it cannot be drawn or written.
pub fn draw(arguments: &TokenArguments) -> Result<(), TokenError> {
    if arguments.prefixes.len() > PREFIXES_MAX {
        return Err(TokenError::Prefixes(arguments.prefixes.len()));
    }
    let mut drawn = [0; DRAWN_BYTES];
    getrandom::fill(&mut drawn)?;
    let token = format!("{BEGINNING}{}", URL_SAFE_NO_PAD.encode(drawn));
    let mut output = io::stdout().lock();
    writeln!(output, "{token}")?;
    output.flush()?;
    let mut error = io::stderr().lock();
    error.write_all(table(arguments, &token).as_bytes())?;
    Ok(())
}

/// What the file of tokens has to say of a token.
fn table(arguments: &TokenArguments, token: &str) -> String {
    let hash = sha256(token.as_bytes());
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = |text: &str| Value::String(text.to_owned());
    let mut members = vec![
        ("name", text(&arguments.name)),
        ("sha256", text(&digits)),
        ("access", text(arguments.access.label())),
    ];
    if !arguments.prefixes.is_empty() {
        let prefixes = arguments.prefixes.iter().map(|prefix| text(prefix));
        members.push(("prefixes", Value::Array(prefixes.collect())));
    }
    if let Some(rate) = arguments.requests_per_second {
        members.push(("requests_per_second", Value::Integer(rate.into())));
    }
    let lines = members
        .iter()
        .map(|(name, value)| format!("{name} = {value}\n"));
    format!("[[token]]\n{}", lines.collect::<String>())
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    fault_of_name(text).map_or_else(|| Ok(text.to_owned()), Err)
}

fn parse_prefix(text: &str) -> Result<String, &'static str> {
    fault_of_prefix(text).map_or_else(|| Ok(text.to_owned()), Err)
}
