//! Who may do what: the tokens of `auth_file`.
//!
//! Nothing here knows HTTP: `http` asks with what a client presented, and says in its own words what is refused.
//!
//! # Layout
//! - `file`: the file that lists tokens by their hashes
//! - `rate`: how often one may be used
//! - `draw`: the command that makes one

mod draw;
mod file;
mod rate;

pub use draw::{TokenArguments, TokenError, draw};
pub use file::{AuthFile, AuthFileError};

use crate::digest::{Sha256, sha256};
use clap::ValueEnum;
use rate::Rate;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// The longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The most prefixes of a token, each of which a request may be held against. What is said where there are more says it
/// too.
const PREFIXES_MAX: usize = 100;

/// How often a token may be used in a second, at most.
const PER_SECOND_MAX: u32 = 1_000_000;

/// How requests are let in where not everybody may do everything.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The tokens.
    pub file: Arc<AuthFile>,
    /// Whether metrics take a token too.
    pub metrics: bool,
}

/// What a token allows. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// To read values and keys
    Read,
    /// To change them too
    Write,
    /// All there is
    Admin,
}

impl Access {
    /// What it is called.
    pub fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// What is known of a token.
pub struct Token {
    name: String,
    hash: Sha256,
    access: Access,
    /// What keys begin with that it is for; all keys where there are none.
    prefixes: Vec<String>,
    rate: Option<Arc<Rate>>,
}

impl Token {
    /// What it is called. For debugging, and never a label of a metric.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it allows.
    pub fn access(&self) -> Access {
        self.access
    }

    /// What keys begin with that it is for; empty where it is for all.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// Whether it is for some keys only.
    pub fn is_confined(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Whether it is for this key, or for all keys that begin so.
    pub fn covers(&self, beginning: &str) -> bool {
        let mut prefixes = self.prefixes.iter();
        !self.is_confined() || prefixes.any(|prefix| beginning.starts_with(prefix.as_str()))
    }

    /// Counts that it is used now.
    ///
    /// # Errors
    /// Where it was used too often: how long until it may be again. Then it is not counted.
    pub fn take(&self) -> Result<(), Duration> {
        self.rate.as_ref().map_or(Ok(()), |rate| rate.take())
    }
}

/// Without the hash.
impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Token")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All tokens that are known.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Arc<Token>>);

impl Tokens {
    /// What is known of the token that somebody presents.
    ///
    /// Its hash is compared with all there are, each whole: how long that takes says nothing of how near it came to
    /// one. To look it up by its hash would be quicker from some hundreds on, and show only how a hash begins, which
    /// nobody can work back from. But that takes an argument, and this takes some microseconds.
    pub fn find(&self, presented: &[u8]) -> Option<Arc<Token>> {
        let hash = sha256(presented);
        let mut found = None;
        for token in &self.0 {
            if bool::from(token.hash[..].ct_eq(&hash[..])) {
                found = Some(token);
            }
        }
        found.cloned()
    }

    /// Whether a token that was found before is still there, and allows what it did.
    pub fn still_has(&self, token: &Token) -> bool {
        self.0.iter().any(|other| {
            let is_same = other.hash == token.hash && other.access == token.access;
            is_same && other.prefixes == token.prefixes
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// What is wrong with a token's name, if anything.
fn fault_of_name(name: &str) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain);
    (!is_name).then_some("the name must be 1 to 64 letters, digits, . _ or -")
}

/// What is wrong with a prefix that a token is confined to, if anything.
fn fault_of_prefix(prefix: &str) -> Option<&'static str> {
    let says = "an empty prefix is what all keys begin with; leave it out for a token of all keys";
    prefix.is_empty().then_some(says)
}
