//! `kvstore export`: writes all keys of a running server as the lines that `kvstore import` reads.
//!
//! Keys come from one streamed search, values by a few requests at a time. A key that is deleted
//! meanwhile is left out; one that is set meanwhile may have either value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use indicatif::ProgressBar;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Uri;

/// Keys whose values are fetched before any is written, and by how many threads.
const KEYS: usize = 1024;
const THREADS: usize = 8;

/// How long the server may take for a value.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to export, and where to.
#[derive(Args, Debug)]
pub struct ExportArguments {
    /// The file to write; - for standard output
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: Uri,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output cannot be written.
    #[error("cannot write {0}: {1}")]
    Output(PathBuf, io::Error),
    /// The address is none.
    #[error("{0} is not a server's address: give one such as http://127.0.0.1:8000")]
    Url(Uri),
    /// The server does not answer.
    #[error("the server at {0} does not answer: {1}; what was written is not all")]
    Transport(Uri, Box<ureq::Error>),
    /// The list of keys ended early.
    #[error("the keys of {0} ended early: {1}; what was written is not all")]
    Keys(Uri, io::Error),
    /// The server refused.
    #[error("the server refused with {status}: {detail}; what was written is not all")]
    Refused {
        /// Its status.
        status: u16,
        /// What it said.
        detail: String,
    },
}

/// A line whose value is JSON as it stands.
#[derive(Serialize)]
struct JsonLine<'a> {
    key: &'a str,
    value: &'a RawValue,
}

/// A line whose value is anything.
#[derive(Serialize)]
struct BodyLine<'a> {
    key: &'a str,
    content_type: &'a str,
    base64: String,
}

/// Exports all keys and says on standard error how far it is.
///
/// # Errors
/// Where the output cannot be written, or the server does not answer or refuses.
pub fn export(arguments: &ExportArguments) -> Result<(), ExportError> {
    Export::new(arguments)?.run()
}

struct Export<'a> {
    arguments: &'a ExportArguments,
    agent: Agent,
    /// The server's address, without a slash at its end.
    base: String,
}

impl<'a> Export<'a> {
    fn new(arguments: &'a ExportArguments) -> Result<Self, ExportError> {
        let url = &arguments.url;
        let (Some("http"), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(ExportError::Url(url.clone()));
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .max_idle_connections_per_host(THREADS)
            .build();
        Ok(Self {
            arguments,
            agent: config.into(),
            base: format!("http://{authority}{}", url.path().trim_end_matches('/')),
        })
    }

    fn run(&self) -> Result<(), ExportError> {
        let path = &self.arguments.file;
        let unwritable = |error| ExportError::Output(path.clone(), error);
        let mut output: Box<dyn Write> = match path.as_os_str() == "-" {
            true => Box::new(BufWriter::new(io::stdout().lock())),
            false => Box::new(BufWriter::new(File::create(path).map_err(unwritable)?)),
        };
        let request = self.agent.get(format!("{}/search?prefix=", self.base));
        let request = request.header("Accept", "application/x-ndjson");
        let mut response = request.call().map_err(|error| self.lost(error))?;
        if response.status() != 200 {
            return Err(refused(&mut response));
        }
        let total = response.headers().get("x-total-count");
        let total = total.and_then(|total| total.to_str().ok()?.parse().ok());
        let progress = total.map_or_else(ProgressBar::no_length, ProgressBar::new);
        let broken = |error| ExportError::Keys(self.arguments.url.clone(), error);
        let mut lines = BufReader::new(response.body_mut().as_reader()).lines();
        let mut written = 0;
        loop {
            let mut keys = Vec::with_capacity(KEYS);
            for line in lines.by_ref().take(KEYS) {
                let line = line.map_err(broken)?;
                let key: String =
                    serde_json::from_str(&line).map_err(|error| broken(error.into()))?;
                keys.push(key);
            }
            if keys.is_empty() {
                break;
            }
            for line in self.fetch(&keys)?.into_iter().flatten() {
                output.write_all(&line).map_err(unwritable)?;
                written += 1;
            }
            progress.inc(keys.len() as u64);
        }
        output.flush().map_err(unwritable)?;
        progress.finish();
        eprintln!("{written} keys exported");
        Ok(())
    }

    /// The lines of some keys, in their order; `None` for one that is gone.
    fn fetch(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, ExportError> {
        let share = keys.len().div_ceil(THREADS);
        std::thread::scope(|scope| {
            let threads: Vec<_> = keys
                .chunks(share)
                .map(|keys| {
                    let lines = move || keys.iter().map(|key| self.line(key)).collect();
                    scope.spawn(lines)
                })
                .collect();
            let mut all = Vec::with_capacity(keys.len());
            for thread in threads {
                let lines: Result<Vec<_>, ExportError> =
                    thread.join().expect("fetching a value does not panic");
                all.extend(lines?);
            }
            Ok(all)
        })
    }

    fn line(&self, key: &str) -> Result<Option<Vec<u8>>, ExportError> {
        // A dot is encoded too, so that nobody takes `..` for a way up.
        let path = utf8_percent_encode(key, NON_ALPHANUMERIC);
        let request = self.agent.get(format!("{}/get/{path}", self.base));
        let mut response = request.call().map_err(|error| self.lost(error))?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            _ => return Err(refused(&mut response)),
        }
        let content_type = response.headers().get("content-type").cloned();
        let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
        let body = response
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_to_vec();
        let body = body.map_err(|error| self.lost(error))?;
        let mut line = line(key, content_type.unwrap_or_default(), &body);
        line.push(b'\n');
        Ok(Some(line))
    }

    fn lost(&self, error: ureq::Error) -> ExportError {
        ExportError::Transport(self.arguments.url.clone(), Box::new(error))
    }
}

/// A value as a line: its JSON as it stands where import would store just these bytes.
fn line(key: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let is_one_line = !body.contains(&b'\n') && !body.contains(&b'\r');
    let json = (content_type == "application/json" && is_one_line)
        .then(|| serde_json::from_slice::<&RawValue>(body).ok())
        .flatten()
        .filter(|json| json.get().len() == body.len());
    let line = match json {
        Some(value) => serde_json::to_vec(&JsonLine { key, value }),
        None => serde_json::to_vec(&BodyLine {
            key,
            content_type,
            base64: STANDARD.encode(body),
        }),
    };
    line.expect("strings and JSON are JSON")
}

fn refused(response: &mut ureq::http::Response<ureq::Body>) -> ExportError {
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    ExportError::Refused {
        status: response.status().as_u16(),
        detail: problem["detail"]
            .as_str()
            .unwrap_or("without saying why")
            .into(),
    }
}
