//! The proxies that the environment names, for the commands that are clients.

use std::env;

/// A proxy and the variable that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The variable.
    pub variable: &'static str,
    /// What it says, which may hold a password.
    pub value: String,
}

/// What the environment says of proxies.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// For `http://`.
    pub http: Option<Named>,
    /// For `https://`.
    pub https: Option<Named>,
    /// Hosts that are asked themselves, separated by commas.
    pub bypassed: String,
}

impl Proxies {
    /// Reads `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, each in small letters or
    /// else in capitals.
    pub fn of_environment() -> Self {
        let all = || named(&["all_proxy", "ALL_PROXY"]);
        Self {
            http: named(&["http_proxy", "HTTP_PROXY"]).or_else(all),
            https: named(&["https_proxy", "HTTPS_PROXY"]).or_else(all),
            bypassed: named(&["no_proxy", "NO_PROXY"])
                .map(|named| named.value)
                .unwrap_or_default(),
        }
    }
}

/// The first of the variables that is not empty.
fn named(variables: &[&'static str]) -> Option<Named> {
    variables.iter().find_map(|&variable| {
        let value = env::var(variable).ok()?.trim().to_owned();
        (!value.is_empty()).then_some(Named { variable, value })
    })
}
