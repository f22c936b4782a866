//! Where the engine is: one node, nodes behind Sentinels, or a cluster.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use std::fmt;

/// The ports that are meant where none is given.
const NODE_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;

/// What an engine's address may look like.
const FORMS: &str = "give memory, redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/MASTER \
                     or redis+cluster://HOST:PORT,HOST:PORT; rediss for TLS, valkey works as redis \
                     does; user:password@ goes before the hosts, %-encoded";

/// Where the engine is, and who we are to it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// One, or several to ask for the others.
    hosts: Vec<(String, u16)>,
    topology: Topology,
    tls: bool,
    credentials: Credentials,
    /// Who we are to the Sentinels, which are no nodes and have a password of their own.
    sentinel_credentials: Credentials,
    database: i64,
}

/// Who we are, and how that is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user; the default one where there is none.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
}

/// How the engine's nodes are arranged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    /// One node.
    Node,
    /// A master that Sentinels name, by this name.
    Sentinel(String),
    /// Masters that share the slots.
    Cluster,
}

/// A text that is not an engine's address. It never holds the password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {FORMS}")]
pub struct AddressError {
    what: String,
}

impl Address {
    /// Takes a URL as an address.
    ///
    /// # Errors
    /// Where it is not of a form that we know.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| wrong("this is neither memory nor a URL"))?;
        let (tls, topology) = scheme_of(scheme)?;
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let credentials = match user {
            Some(user) => credentials(user)?,
            None => Credentials::default(),
        };
        let is_sentinel = topology == SchemeTopology::Sentinel;
        let port = if is_sentinel {
            SENTINEL_PORT
        } else {
            NODE_PORT
        };
        let mut all = Vec::new();
        for text in hosts.split(',') {
            all.push(host(text, port)?);
        }
        let mut master = fragment.to_owned();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("node", text)) => all.push(host(text, port)?),
                Some(("master", name)) if is_sentinel => name.clone_into(&mut master),
                _ => return Err(wrong("the URL has a parameter that is not known")),
            }
        }
        let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
        if is_sentinel && master.is_empty() {
            master = parts.next().unwrap_or_default().to_owned();
        }
        let database = match parts.next() {
            Some(text) => text
                .parse()
                .map_err(|_| wrong("the database is not a number"))?,
            None => 0,
        };
        if parts.next().is_some() {
            return Err(wrong("the path has too many parts"));
        }
        let topology = match topology {
            SchemeTopology::Node if all.len() > 1 => {
                return Err(wrong("one node has one address"));
            }
            SchemeTopology::Node => Topology::Node,
            SchemeTopology::Sentinel if master.is_empty() => {
                return Err(wrong("the name of the Sentinels' master is missing"));
            }
            SchemeTopology::Sentinel => Topology::Sentinel(master),
            SchemeTopology::Cluster if database != 0 => {
                return Err(wrong("a cluster has no databases but 0"));
            }
            SchemeTopology::Cluster => Topology::Cluster,
        };
        Ok(Self {
            hosts: all,
            topology,
            tls,
            credentials,
            sentinel_credentials: Credentials::default(),
            database,
        })
    }

    /// The same address with these credentials, where the URL has none.
    pub fn or_credentials(mut self, others: Credentials) -> Self {
        let Credentials { username, password } = self.credentials;
        self.credentials = Credentials {
            username: username.or(others.username),
            password: password.or(others.password),
        };
        self
    }

    /// The same address with credentials for its Sentinels.
    pub fn with_sentinel_credentials(mut self, credentials: Credentials) -> Self {
        self.sentinel_credentials = credentials;
        self
    }

    /// How the nodes are arranged.
    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// One node of this cluster, as a node by itself.
    pub(super) fn of_node(&self, host: &str, port: u16) -> Self {
        Self {
            hosts: vec![(host.to_owned(), port)],
            topology: Topology::Node,
            ..self.clone()
        }
    }

    /// The hosts and ports of the nodes or Sentinels.
    pub(super) fn hosts(&self) -> &[(String, u16)] {
        &self.hosts
    }

    /// The addresses of the nodes or Sentinels.
    pub(super) fn endpoints(&self) -> Vec<ConnectionAddr> {
        let endpoint = |(host, port): &(String, u16)| match self.tls {
            false => ConnectionAddr::Tcp(host.clone(), *port),
            true => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
        };
        self.hosts.iter().map(endpoint).collect()
    }

    /// How to connect to each of the nodes.
    ///
    /// # Errors
    /// Where the client takes an address for none.
    pub(super) fn connections(&self) -> Result<Vec<ConnectionInfo>, redis::RedisError> {
        let endpoints = self.endpoints().into_iter();
        endpoints
            .map(|endpoint| {
                let connection = endpoint.into_connection_info()?;
                Ok(connection.set_redis_settings(self.settings()))
            })
            .collect()
    }

    fn settings(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_db(self.database);
        if let Some(username) = &self.credentials.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.credentials.password {
            settings = settings.set_password(password);
        }
        settings
    }

    /// Whether it is asked by TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Who we are to the nodes.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Who we are to the Sentinels.
    pub(super) fn sentinel_credentials(&self) -> &Credentials {
        &self.sentinel_credentials
    }

    pub(super) fn database(&self) -> i64 {
        self.database
    }
}

/// Without credentials.
impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self
            .hosts
            .iter()
            .map(|(host, port)| format!("{host}:{port}"));
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let tls = if self.tls { "s" } else { "" };
        match &self.topology {
            Topology::Node => write!(formatter, "redis{tls}://{hosts}"),
            Topology::Sentinel(master) => {
                write!(formatter, "redis{tls}+sentinel://{hosts}/{master}")
            }
            Topology::Cluster => write!(formatter, "redis{tls}+cluster://{hosts}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({self})")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SchemeTopology {
    Node,
    Sentinel,
    Cluster,
}

fn scheme_of(scheme: &str) -> Result<(bool, SchemeTopology), AddressError> {
    let (base, kind) = match scheme.split_once(['+', '-']) {
        Some((base, kind)) => (base, kind),
        None => (scheme, ""),
    };
    let tls = match base {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(wrong("the URL's scheme is not known")),
    };
    match kind {
        "" => Ok((tls, SchemeTopology::Node)),
        "sentinel" => Ok((tls, SchemeTopology::Sentinel)),
        "cluster" => Ok((tls, SchemeTopology::Cluster)),
        _ => Err(wrong("the URL's scheme is not known")),
    }
}

fn credentials(user: &str) -> Result<Credentials, AddressError> {
    let decoded = |text: &str| {
        let text = percent_encoding::percent_decode_str(text).decode_utf8();
        let text = text.map_err(|_| wrong("the credentials are not UTF-8"))?;
        Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
    };
    let (username, password) = user.split_once(':').unwrap_or((user, ""));
    Ok(Credentials {
        username: decoded(username)?,
        password: decoded(password)?,
    })
}

fn host(text: &str, default_port: u16) -> Result<(String, u16), AddressError> {
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address without a port ends with its bracket.
        Some((host, port)) if !text.ends_with(']') => (host, port.parse().ok()),
        _ => (text, Some(default_port)),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match port {
        Some(port) if !host.is_empty() => Ok((host.into(), port)),
        _ => Err(wrong("a host of the URL is not HOST:PORT")),
    }
}

fn wrong(what: &str) -> AddressError {
    AddressError { what: what.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_taken_and_shown_without_its_password() {
        for (url, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            (
                "valkey://:s%40cret@10.0.0.1:7000/3",
                "redis://10.0.0.1:7000",
            ),
            ("rediss://user:secret@h:1", "rediss://h:1"),
            ("redis://[::1]:6380", "redis://::1:6380"),
            (
                "redis+sentinel://:secret@a,b:5/main",
                "redis+sentinel://a:26379,b:5/main",
            ),
            (
                "redis-sentinel://a?node=b&master=m",
                "redis+sentinel://a:26379,b:26379/m",
            ),
            ("valkey+sentinel://a/2#m", "redis+sentinel://a:26379/m"),
            ("redis+cluster://a:1,b:2", "redis+cluster://a:1,b:2"),
            ("rediss-cluster://a:1?node=b:2", "rediss+cluster://a:1,b:2"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.to_string(), shown, "{url}");
            assert!(!format!("{address:?}").contains("secret"));
        }
        let address = Address::parse("valkey://:s%40cret@10.0.0.1:7000/3").unwrap();
        assert_eq!(address.credentials().password.as_deref(), Some("s@cret"));
        assert_eq!(address.database(), 3);
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_a_password() {
        for (url, says) in [
            ("etcd", "neither memory nor a URL"),
            ("http://h", "scheme"),
            ("redis://h:port", "HOST:PORT"),
            ("redis://", "HOST:PORT"),
            ("redis://secret@a,b", "one address"),
            ("redis+sentinel://:secret@a", "master is missing"),
            ("redis+cluster://a/1", "no databases"),
            ("redis://h/x", "not a number"),
            ("redis://h/1/2", "too many"),
            ("redis://h?protocol=9", "parameter"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
