//! The token that the environment names, for the commands that are clients.

/// What `KVSTORE_TOKEN` says, if it says something.
pub fn token_of_environment() -> Option<String> {
    // What is not UTF-8 is no token, and is to be said to be none rather than left out.
    let token = std::env::var_os("KVSTORE_TOKEN")?;
    let token = token.to_string_lossy().trim().to_owned();
    (!token.is_empty()).then_some(token)
}
