//! What all commands do with an answer: see whether it is a success, and read it.

use super::ShellError;
use crate::client::{Client, Problem, problem};
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};
use ureq::Body;
use ureq::http::Response;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// The answer, where there is one and it is a success.
///
/// # Errors
/// Where it is not.
pub fn success(
    client: &Client,
    answer: Result<Response<Body>, ureq::Error>,
) -> Result<Response<Body>, ShellError> {
    let mut response = answer.map_err(|error| client.lost(error))?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let Problem { code, detail, .. } = problem(&mut response);
    Err(match (status, code.as_str()) {
        (404, "key_not_found") => ShellError::Absent,
        (412, _) => ShellError::Unmet(detail),
        _ => ShellError::Refused { status, detail },
    })
}

/// Writes a body as it comes, and returns its last byte.
///
/// # Errors
/// Where it breaks off, or cannot be written.
pub fn copy(
    client: &Client,
    response: &mut Response<Body>,
    output: &mut impl Write,
) -> Result<Option<u8>, ShellError> {
    let mut body = response.body_mut().as_reader();
    let mut bytes = vec![0; READ_BYTES];
    let mut last = None;
    loop {
        match body.read(&mut bytes) {
            Ok(0) => return Ok(last),
            Ok(some) => {
                let came = &bytes[..some];
                output.write_all(came).map_err(ShellError::Output)?;
                last = came.last().copied();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(client.lost(error.into()).into()),
        }
    }
}

/// Reads a short body.
///
/// # Errors
/// Where it breaks off.
pub fn text(client: &Client, response: &mut Response<Body>) -> Result<String, ShellError> {
    let text = response.body_mut().read_to_string();
    Ok(text.map_err(|error| client.lost(error))?)
}

/// What a text says, which is to be `expected`.
///
/// # Errors
/// Where it is something else.
pub fn parsed<T: DeserializeOwned>(text: &str, expected: &'static str) -> Result<T, ShellError> {
    serde_json::from_str(text).map_err(|_| ShellError::Form(expected))
}

/// Reads a short body, which is to be `expected`.
///
/// # Errors
/// Where it breaks off, or is something else.
pub fn read<T: DeserializeOwned>(
    client: &Client,
    response: &mut Response<Body>,
    expected: &'static str,
) -> Result<T, ShellError> {
    parsed(&text(client, response)?, expected)
}
