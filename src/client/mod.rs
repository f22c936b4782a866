//! How the commands that are clients reach a server: its address, TLS, proxies, when to ask again, and how
//! they tell people of it, also when they are interrupted.

mod address;
pub mod notice;
mod proxy;
pub mod retry;
pub mod signals;
mod tls;
mod token;

pub use address::{Address, AddressError};

use crate::config::proxies::Proxies;
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use proxy::Route;
use serde::Deserialize;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tls::TlsArguments;
use ureq::http::Response;
use ureq::typestate::{WithBody, WithoutBody};
use ureq::{Agent, Body, RequestBuilder};

/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Which server to speak to.
#[derive(Args, Debug)]
pub struct ServerArguments {
    /// The server, with the path that a proxy has it below, if any
    #[arg(
        long,
        env = "KVSTORE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8000"
    )]
    url: String,
    #[command(flatten)]
    tls: TlsArguments,
    /// A file whose first line is the token to be known by; KVSTORE_TOKEN is the token itself
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Why a server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The environment names a proxy that is none.
    #[error("{0} does not name a proxy: set it to one such as http://proxy:3128, or unset it")]
    Proxy(&'static str),
    /// The certificates to trust cannot be had.
    #[error("cannot read certificates from {0}: {1}")]
    Certificates(PathBuf, String),
    /// The key of the certificate to show cannot be had.
    #[error("cannot read a key from {0}: {1}")]
    Key(PathBuf, String),
    /// It is another certificate's.
    #[error(
        "the key in {key} (--tls-key) is not that of the certificate in {certificate} (--tls-certificate): give both of \
         one pair"
    )]
    OtherKey {
        /// The file of the key.
        key: PathBuf,
        /// That of the certificate.
        certificate: PathBuf,
    },
    /// The token cannot be had.
    #[error("cannot read a token from {0}: {1}")]
    TokenFile(PathBuf, String),
    /// It is none.
    #[error("what {0} holds is no token: that has letters, digits and signs only, without spaces")]
    TokenForm(String),
    /// There are a token and a password, and both are sent in the same header.
    #[error(
        "the URL has a user, and there is a token: both go into the header Authorization, leave one out"
    )]
    TwoCredentials,
    /// There is no answer, or only a part of one.
    #[error("the server at {url} does not answer{through}: {error}{hint}")]
    Transport {
        /// Its address, without credentials.
        url: String,
        /// The proxy that it is asked through, if any.
        through: String,
        /// Why.
        error: Box<ureq::Error>,
        /// What may help.
        hint: &'static str,
    },
    /// It refused.
    #[error("the server refused with {status}: {detail}{}", remedy(.status))]
    Refused {
        /// Its status.
        status: u16,
        /// What it said.
        detail: String,
    },
}

/// Whose fault it is that a command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server understood, and the answer is no.
    Refusal,
    /// The command was used wrongly.
    Usage,
    /// The server, the input or the output is not to be had.
    Io,
}

impl ClientError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Address(_) | Self::Proxy(_) | Self::TokenForm(_) | Self::TwoCredentials => {
                Fault::Usage
            }
            Self::Certificates(..)
            | Self::Key(..)
            | Self::OtherKey { .. }
            | Self::TokenFile(..)
            | Self::Transport { .. } => Fault::Io,
            // One that did what was asked, and says so in words that are none of a kvstore's.
            Self::Refused { status, .. } if (200..300).contains(status) => Fault::Io,
            Self::Refused { .. } => Fault::Refusal,
        }
    }

    /// Whether the request surely did not reach the server.
    pub fn never_connected(&self) -> bool {
        match self {
            Self::Address(_)
            | Self::Proxy(_)
            | Self::Certificates(..)
            | Self::Key(..)
            | Self::OtherKey { .. }
            | Self::TokenFile(..)
            | Self::TokenForm(_)
            | Self::TwoCredentials => true,
            Self::Refused { .. } => false,
            Self::Transport { error, .. } => match &**error {
                ureq::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
                ureq::Error::ConnectionFailed
                | ureq::Error::HostNotFound
                | ureq::Error::ConnectProxyFailed(_)
                | ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => true,
                _ => false,
            },
        }
    }
}

/// What may help where a server asks who we are, besides what it says.
fn remedy(status: &u16) -> &'static str {
    match status {
        401 => "; give a token by --token-file or KVSTORE_TOKEN",
        403 => "; an import takes a token with the access write, an export one for all keys",
        _ => "",
    }
}

/// What a server says of a failure.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// What is wrong, as a program tells it.
    pub code: String,
    /// What is wrong and what to do.
    pub detail: String,
    /// The line of a bulk body that failed; 0 where it is not of a line.
    pub line: u64,
    /// Keys that a bulk body made.
    pub created: u64,
    /// Keys that it changed.
    pub updated: u64,
    /// Lines whose condition did not hold.
    pub unmet: u64,
    /// The first of them, counted from the body's first on.
    pub unmet_lines: Vec<u64>,
}

/// A server to speak to.
pub struct Client {
    address: Address,
    agent: Agent,
    authorization: Option<String>,
    through: String,
}

impl Client {
    /// Prepares to speak to a server over at most `connections`, none of which may be silent for
    /// longer than `patience`.
    ///
    /// # Errors
    /// Where the address, the proxy, the certificates or the token are wrong.
    pub fn new(
        arguments: &ServerArguments,
        connections: usize,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        let address = Address::parse(&arguments.url)?;
        let token = token::authorization(arguments.token_file.as_deref())?;
        let authorization = match (token, address.authorization()) {
            (Some(_), Some(_)) => return Err(ClientError::TwoCredentials),
            (Some(token), None) => Some(token),
            (None, credentials) => credentials.map(String::from),
        };
        let route = proxy::choose(&address, &Proxies::of_environment());
        let route = route.map_err(ClientError::Proxy)?;
        let through = route.as_ref().map_or_else(String::new, |route| {
            format!(
                " through the proxy {}; to ask it itself add {} to no_proxy",
                route.shown,
                address.host().trim_matches(['[', ']'])
            )
        });
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirected POST would become a GET, and an address should be right.
            .max_redirects(0)
            .proxy(route.map(|Route { proxy, .. }| proxy))
            .timeout_connect(Some(CONNECT_PATIENCE))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(patience))
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections);
        if address.is_https() {
            config = config.tls_config(tls::config(&arguments.tls)?);
        }
        Ok(Self {
            address,
            agent: config.build().into(),
            authorization,
            through,
        })
    }

    /// Begins a GET of a path and query, which begin with a slash.
    pub fn get(&self, path: &str) -> RequestBuilder<WithoutBody> {
        self.known(self.agent.get(self.at(path)))
    }

    /// Begins a DELETE of a path and query, which begin with a slash.
    pub fn delete(&self, path: &str) -> RequestBuilder<WithoutBody> {
        self.known(self.agent.delete(self.at(path)))
    }

    /// Begins a POST to a path, which begins with a slash.
    pub fn post(&self, path: &str) -> RequestBuilder<WithBody> {
        self.known(self.agent.post(self.at(path)))
    }

    /// Begins a PUT to a path and query, which begin with a slash.
    pub fn put(&self, path: &str) -> RequestBuilder<WithBody> {
        self.known(self.agent.put(self.at(path)))
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// A request by which the server knows who asks.
    fn known<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match self.authorization.as_deref() {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    /// The error that there was no whole answer.
    pub fn lost(&self, error: ureq::Error) -> ClientError {
        let said = error.to_string();
        // A server that speaks TLS answers by an alert, which is no answer in HTTP.
        let is_alert = !self.address.is_https() && said.contains("invalid HTTP version");
        let hint = match is_alert {
            true => "; maybe it speaks https only: try https://",
            false => tls::remedy(&said).unwrap_or_default(),
        };
        ClientError::Transport {
            url: self.address.to_string(),
            through: self.through.clone(),
            error: Box::new(error),
            hint,
        }
    }
}

/// A text as it stands in a path or a query: all is escaped but letters and digits. So a key is one segment of a path
/// whatever it holds, and `..` is not taken for the folder above.
pub fn escaped(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

/// What an answer that is no success says.
pub fn problem(response: &mut Response<Body>) -> Problem {
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let mut problem: Problem = serde_json::from_str(&text).unwrap_or_default();
    if problem.detail.is_empty() {
        let location = response.headers().get("location");
        problem.detail = match location.and_then(|location| location.to_str().ok()) {
            Some(location) if response.status().is_redirection() => format!(
                "it says to go to {}; give the address that is right with --url",
                address::without_credentials(location)
            ),
            _ => "without saying why; is it a kvstore?".into(),
        };
    }
    problem
}
