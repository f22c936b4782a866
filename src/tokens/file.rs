//! The file of tokens: read at the start, and again when it changes.

use super::{
    Access, PER_SECOND_MAX, PREFIXES_MAX, Rate, Token, Tokens, fault_of_name, fault_of_prefix,
};
use crate::digest::Sha256;
use crate::misread::Misread;
use crate::reload::{Fingerprint, Source};
use serde::Deserialize;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::{fs, io};

/// The most tokens of a file: each request compares its own with all of them. [`AuthFileError::Number`] says it too.
const TOKENS_MAX: usize = 1000;

/// Why a file of tokens cannot be used. Nothing of what stands in it is shown.
#[derive(Debug, thiserror::Error)]
pub enum AuthFileError {
    /// It cannot be read.
    #[error("auth_file = {path}: the file cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not TOML, or of another form.
    #[error(
        "auth_file = {path}: it is not understood, in line {line}, column {column}: {what}; a token is a table \
         [[token]] as `kvstore token` prints it"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, from 1 on.
        line: usize,
        /// Where in the line, from 1 on.
        column: usize,
        /// What is wrong.
        what: String,
    },
    /// There is no token in it, or there are too many.
    #[error(
        "auth_file = {path}: there are {tokens} tokens in it, and there may be 1 to 1000; `kvstore token` \
         makes one, and without the setting everybody may do everything"
    )]
    Number {
        /// The file.
        path: PathBuf,
        /// How many.
        tokens: usize,
    },
    /// A token is not right.
    #[error("auth_file = {path}: the token number {number} in it is not right: {what}")]
    Token {
        /// The file.
        path: PathBuf,
        /// Which, from 1 on.
        number: usize,
        /// What is wrong and what it must be.
        what: &'static str,
    },
}

/// A file of tokens, and what is in force of it.
#[derive(Debug)]
pub struct AuthFile {
    path: PathBuf,
    loaded: Fingerprint,
    tokens: RwLock<Arc<Tokens>>,
    is_valid: AtomicBool,
}

impl AuthFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be used.
    pub fn load(path: PathBuf) -> Result<Self, AuthFileError> {
        let loaded = Fingerprint::of(&[path.as_path()]);
        let tokens = read(&path, &Tokens::default())?;
        Ok(Self {
            path,
            loaded,
            tokens: RwLock::new(Arc::new(tokens)),
            is_valid: AtomicBool::new(true),
        })
    }

    /// The tokens that are in force.
    pub fn tokens(&self) -> Arc<Tokens> {
        let tokens = self.tokens.read();
        tokens.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether these are what the file said when it was last read.
    pub fn is_valid(&self) -> bool {
        self.is_valid.load(Ordering::Relaxed)
    }
}

impl Source for AuthFile {
    fn paths(&self) -> Vec<&Path> {
        vec![self.path.as_path()]
    }

    fn loaded(&self) -> &Fingerprint {
        &self.loaded
    }

    fn reload(&self) -> Result<String, String> {
        let tokens = read(&self.path, &self.tokens());
        self.is_valid.store(tokens.is_ok(), Ordering::Relaxed);
        let tokens = tokens.map_err(|error| error.to_string())?;
        let says = format!("{} tokens of {}", tokens.count(), self.path.display());
        let mut inner = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        *inner = Arc::new(tokens);
        Ok(says)
    }
}

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

/// A token as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    access: Access,
    prefixes: Option<Vec<String>>,
    requests_per_second: Option<u32>,
}

/// The tokens of a file. One that was there `before` goes on being counted where its rate is the same.
fn read(path: &Path, before: &Tokens) -> Result<Tokens, AuthFileError> {
    let text = fs::read_to_string(path).map_err(|source| AuthFileError::Unreadable {
        path: path.into(),
        source,
    })?;
    let file: File = toml::from_str(&text).map_err(|error| {
        let Misread { line, column, what } = Misread::of(&text, &error);
        AuthFileError::Malformed {
            path: path.into(),
            line,
            column,
            what,
        }
    })?;
    if !(1..=TOKENS_MAX).contains(&file.token.len()) {
        return Err(AuthFileError::Number {
            path: path.into(),
            tokens: file.token.len(),
        });
    }
    let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
    let mut tokens = Vec::with_capacity(file.token.len());
    for (index, entry) in file.token.into_iter().enumerate() {
        let wrong = |what| AuthFileError::Token {
            path: path.into(),
            number: index + 1,
            what,
        };
        let token = token(entry, before).map_err(wrong)?;
        if !names.insert(token.name.clone()) {
            return Err(wrong("another one before it has its name; give it its own"));
        }
        if !hashes.insert(token.hash) {
            let what = "another one before it has its sha256, and only one of the two could count";
            return Err(wrong(what));
        }
        tokens.push(Arc::new(token));
    }
    Ok(Tokens(tokens))
}

/// A token, checked.
fn token(entry: Entry, before: &Tokens) -> Result<Token, &'static str> {
    if let Some(fault) = fault_of_name(&entry.name) {
        return Err(fault);
    }
    let hash = hash(&entry.sha256).ok_or(
        "its sha256 must be 64 hexadecimal digits, the SHA-256 of the token and not the token itself",
    )?;
    let prefixes = match entry.prefixes {
        None => Vec::new(),
        Some(prefixes) if !(1..=PREFIXES_MAX).contains(&prefixes.len()) => {
            return Err("its prefixes must be 1 to 100; leave them out for all keys");
        }
        Some(prefixes) => prefixes,
    };
    if let Some(fault) = prefixes.iter().find_map(|prefix| fault_of_prefix(prefix)) {
        return Err(fault);
    }
    let per_second = entry.requests_per_second;
    if per_second.is_some_and(|rate| !(1..=PER_SECOND_MAX).contains(&rate)) {
        return Err("its requests_per_second must be 1 to 1000000; leave it out for any number");
    }
    let known = before.0.iter().find(|known| known.hash == hash);
    let counted = known.and_then(|known| known.rate.clone());
    let rate = per_second.map(|per_second| {
        let same = counted.filter(|rate| rate.per_second() == per_second);
        same.unwrap_or_else(|| Arc::new(Rate::new(per_second)))
    });
    Ok(Token {
        name: entry.name,
        hash,
        access: entry.access,
        prefixes,
        rate,
    })
}

/// The bytes of 64 hexadecimal digits.
fn hash(digits: &str) -> Option<Sha256> {
    let mut hash = Sha256::default();
    if digits.len() != 2 * hash.len() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::sha256;

    /// The digits of what is to be no secret that is shown.
    fn digits(token: &str) -> String {
        let bytes = sha256(token.as_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn table(name: &str, token: &str, more: &str) -> String {
        let digits = digits(token);
        format!("[[token]]\nname = \"{name}\"\nsha256 = \"{digits}\"\n{more}\n")
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    fn load(text: &str) -> Result<Tokens, String> {
        read(file(text).path(), &Tokens::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_found_by_itself_and_by_nothing_else() {
        let confined = "access = \"write\"\nprefixes = [\"t1/\", \"t2/\"]";
        let tokens = table("a", "kv_a", "access = \"read\"") + &table("b", "kv_b", confined);
        let tokens = load(&tokens).unwrap();
        let (a, b) = (tokens.find(b"kv_a").unwrap(), tokens.find(b"kv_b").unwrap());
        assert_eq!((a.name(), a.access()), ("a", Access::Read));
        assert_eq!((b.name(), b.access()), ("b", Access::Write));
        assert!(a.covers("") && a.covers("t1/"));
        assert!(b.covers("t1/") && b.covers("t2/x"));
        assert!(!b.covers("") && !b.covers("t1") && !b.covers("t3/"));
        for other in [&b"kv_c"[..], b"", digits("kv_a").as_bytes()] {
            assert!(tokens.find(other).is_none());
        }
        assert!(!format!("{tokens:?}").contains(&digits("kv_a")[..8]));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place_and_not_shown() {
        let right = table("a", "kv_a", "access = \"read\"");
        let secret = digits("kv_b");
        let with = |more: &str| right.clone() + &table("b", "kv_b", more);
        for (text, says) in [
            (String::new(), "there are 0 tokens"),
            (right.clone() + &right, "token number 2"),
            (
                right.clone() + &right.replace("\"a\"", "\"b\""),
                "its sha256, and only one",
            ),
            (with(""), "missing field access"),
            (with("access = \"reed\""), "in line"),
            (
                with("access = \"read\"\nprefix = []"),
                "unknown field prefix",
            ),
            (with("access = \"read\"\nprefixes = []"), "1 to 100"),
            (
                with("access = \"read\"\nprefixes = [\"\"]"),
                "an empty prefix",
            ),
            (
                with("access = \"read\"\nrequests_per_second = 0"),
                "1 to 1000000",
            ),
            (
                with("access = \"read\"").replace(&secret, &secret[1..]),
                "64 hexadecimal digits",
            ),
            (
                with("access = \"read\"").replace("\"b\"", "\"b c\""),
                "1 to 64 letters",
            ),
            (
                with("access = \"read\"").replace(&format!("\"{secret}\""), &secret),
                "in line 7",
            ),
        ] {
            let error = load(&text).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains(&secret[1..9]), "{error}");
        }
    }

    #[test]
    fn a_broken_file_leaves_the_old_tokens_in_force_and_counted() {
        let limited = table("a", "kv_a", "access = \"read\"\nrequests_per_second = 1");
        let file = file(&limited);
        let auth = AuthFile::load(file.path().into()).unwrap();
        let find = |token: &[u8]| auth.tokens().find(token);
        assert_eq!(find(b"kv_a").unwrap().take(), Ok(()));
        fs::write(file.path(), "[[token").unwrap();
        assert!(auth.reload().unwrap_err().contains("in line 1"));
        assert!(!auth.is_valid() && find(b"kv_a").is_some());
        let both = limited + &table("b", "kv_b", "access = \"admin\"");
        fs::write(file.path(), both).unwrap();
        assert!(auth.reload().unwrap().starts_with("2 tokens"));
        assert!(auth.is_valid() && find(b"kv_b").is_some());
        assert!(find(b"kv_a").unwrap().take().is_err(), "it was used before");
    }
}
