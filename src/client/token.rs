//! The token that a server is asked with. It comes from a file or the environment and never from the command line, which
//! other users of the machine see; it is never shown.

use super::ClientError;
use crate::config::token::token_of_environment;
use std::fs;
use std::path::Path;

/// The header `Authorization` of the token in the first line of a file, else of that in the environment, if there is one.
///
/// # Errors
/// Where the file cannot be read or has none, or what there is cannot stand in a header.
pub(super) fn authorization(file: Option<&Path>) -> Result<Option<String>, ClientError> {
    let (token, from) = match file {
        Some(path) => {
            let unusable = |why: String| ClientError::TokenFile(path.into(), why);
            let text = fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
            let token = text.lines().next().unwrap_or_default().trim().to_owned();
            if token.is_empty() {
                return Err(unusable("its first line is empty".into()));
            }
            (token, path.display().to_string())
        }
        None => match token_of_environment() {
            Some(token) => (token, "KVSTORE_TOKEN".into()),
            None => return Ok(None),
        },
    };
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ClientError::TokenForm(from));
    }
    Ok(Some(format!("Bearer {token}")))
}
