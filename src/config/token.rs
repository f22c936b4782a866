//! The token that the environment names, for the commands that are clients.

/// What `KVSTORE_TOKEN` says, if it says something.
pub fn token_of_environment() -> Option<String> {
    let token = std::env::var("KVSTORE_TOKEN").ok()?.trim().to_owned();
    (!token.is_empty()).then_some(token)
}
