//! What a server is asked, and until when: its entries from some key on, and whether there are more.

use super::Cause;
use crate::client::retry::{is_passing, passes, pause, retry_after};
use crate::client::{Client, ClientError, Problem, escaped, problem};
use std::io::Read;
use std::thread::sleep;
use ureq::Body;
use ureq::http::Response;

/// How often a request is sent before the export is given up. That makes 7 s, if the server does not ask
/// for more.
pub const ATTEMPTS: u32 = 8;

/// The form that entries are asked for in.
const LINES: &str = "application/x-ndjson";

/// A list of entries, a line each, which has begun.
pub struct Answer {
    response: Response<Body>,
    /// How many keys there were when it began, where that is said.
    pub total: Option<u64>,
}

/// Whether to wait for a server that takes no connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    Fails,
    MayReturn,
}

/// What was answered.
enum Asked<T> {
    Whole(T),
    Refused(u16, Problem),
}

impl Answer {
    /// Asks for all entries whose keys are above one; for all where there is none.
    ///
    /// # Errors
    /// Where the server does not answer or refuses.
    pub fn begin(client: &Client, after: Option<&str>, absent: Absent) -> Result<Self, Cause> {
        let path = path("values=true", after);
        match ask(client, &path, absent, Ok)? {
            Asked::Whole(response) => {
                let total = response.headers().get("x-total-count");
                let total = total.and_then(|total| total.to_str().ok()?.parse().ok());
                Ok(Self { response, total })
            }
            Asked::Refused(400, problem) if problem.code == "unknown_parameter" => {
                Err(Cause::Older)
            }
            Asked::Refused(status, problem) => Err(refused(status, problem).into()),
        }
    }

    /// Its body. What breaks off ends with an error, if the answer tells where it ends.
    pub fn body(&mut self) -> impl Read {
        self.response.body_mut().as_reader()
    }

    /// Whether the answer tells where it ends. Else its end is that of the connection, whatever ended it.
    pub fn tells_its_end(&self) -> bool {
        let has = |name| self.response.headers().contains_key(name);
        has("transfer-encoding") || has("content-length")
    }
}

/// Whether there are keys above one, or any where there is none.
///
/// # Errors
/// As of [`Answer::begin`].
pub fn are_more(client: &Client, after: Option<&str>) -> Result<bool, ClientError> {
    let path = path("limit=1", after);
    let asked = ask(client, &path, Absent::MayReturn, |mut response| {
        response.body_mut().read_to_vec()
    });
    match asked? {
        Asked::Whole(keys) => Ok(!keys.trim_ascii().is_empty()),
        Asked::Refused(status, problem) => Err(refused(status, problem)),
    }
}

fn path(how: &str, after: Option<&str>) -> String {
    let mut path = format!("/search?prefix=&{how}");
    if let Some(after) = after {
        path += &format!("&after={}", escaped(after));
    }
    path
}

/// Asks until there is an answer or a refusal that lasts, within [`ATTEMPTS`].
fn ask<T>(
    client: &Client,
    path: &str,
    absent: Absent,
    read: impl Fn(Response<Body>) -> Result<T, ureq::Error>,
) -> Result<Asked<T>, ClientError> {
    let mut attempt = 1;
    loop {
        let is_last = attempt == ATTEMPTS;
        let asked = client.get(path).header("Accept", LINES).call();
        let answer = asked.and_then(|mut response| match response.status().as_u16() {
            200 => read(response).map(|whole| (Asked::Whole(whole), None)),
            status => {
                let pause = retry_after(&response);
                let refused = Asked::Refused(status, problem(&mut response));
                Ok((refused, pause))
            }
        });
        let asked_for = match answer {
            Ok((Asked::Refused(status, _), pause)) if !is_last && is_passing(status) => pause,
            Ok((answer, _)) => return Ok(answer),
            Err(error) => {
                let fails = !passes(&error);
                let error = client.lost(error);
                if is_last || fails || (absent == Absent::Fails && error.never_connected()) {
                    return Err(error);
                }
                None
            }
        };
        sleep(asked_for.unwrap_or_else(|| pause(attempt)));
        attempt += 1;
    }
}

fn refused(status: u16, problem: Problem) -> ClientError {
    ClientError::Refused {
        status,
        detail: problem.detail,
    }
}
