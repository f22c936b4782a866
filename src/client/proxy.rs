//! Which proxy of the environment a server is asked through, if any.

use super::address::{Address, without_credentials};
use crate::config::proxies::{Named, Proxies};
use std::net::IpAddr;
use ureq::Proxy;

/// A proxy and how it is shown.
#[derive(Clone, Debug)]
pub struct Route {
    /// The proxy.
    pub proxy: Proxy,
    /// Its address without credentials, and the variable that names it.
    pub shown: String,
}

/// The proxy to the address: none for this machine, nor for hosts that are excepted.
///
/// # Errors
/// The variable whose value is not a proxy.
pub fn choose(address: &Address, proxies: &Proxies) -> Result<Option<Route>, &'static str> {
    let named = match address.is_https() {
        true => &proxies.https,
        false => &proxies.http,
    };
    let host = address.host().trim_matches(['[', ']']);
    let Some(Named { variable, value }) = named else {
        return Ok(None);
    };
    if is_this_machine(host) || is_bypassed(host, &proxies.bypassed) {
        return Ok(None);
    }
    let proxy = Proxy::new(value).map_err(|_| *variable)?;
    let shown = format!("{} (of {variable})", without_credentials(value));
    Ok(Some(Route { proxy, shown }))
}

fn is_this_machine(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let is_name = name == "localhost" || name.ends_with(".localhost");
    is_name || ip(host).is_some_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

/// Whether a list such as `.example.com,10.0.0.0/8,host:8000` has the host in it.
fn is_bypassed(host: &str, list: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    list.split([',', ' '])
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let entry = entry.to_ascii_lowercase();
            if entry == "*" {
                return true;
            }
            if let Some((network, bits)) = entry.split_once('/') {
                return is_within(host, network, bits);
            }
            if let (Some(host), Some(entry)) = (ip(host), ip(entry.trim_matches(['[', ']']))) {
                return host == entry;
            }
            let entry = match entry.rsplit_once(':') {
                Some((entry, port)) if port.parse::<u16>().is_ok() => entry,
                _ => &entry,
            };
            let domain = entry.trim_start_matches('*').trim_matches(['.', '[', ']']);
            let before = name.strip_suffix(domain);
            !domain.is_empty() && before.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

fn is_within(host: &str, network: &str, bits: &str) -> bool {
    let (Some(host), Some(network), Ok(bits)) = (ip(host), ip(network), bits.parse::<u32>()) else {
        return false;
    };
    let (host, network, width) = match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) => (
            u128::from(host.to_bits()),
            u128::from(network.to_bits()),
            32_u32,
        ),
        (IpAddr::V6(host), IpAddr::V6(network)) => (host.to_bits(), network.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let Some(rest) = width.checked_sub(bits) else {
        return false;
    };
    host.checked_shr(rest) == network.checked_shr(rest)
}

fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str, bypassed: &str) -> Option<String> {
        let named = |variable, value: &str| {
            Some(Named {
                variable,
                value: value.into(),
            })
        };
        let proxies = Proxies {
            http: named("http_proxy", "http://user:secret@proxy:3128"),
            https: named("HTTPS_PROXY", "proxy:3129"),
            bypassed: bypassed.into(),
        };
        let address = Address::parse(url).unwrap();
        choose(&address, &proxies).unwrap().map(|route| route.shown)
    }

    #[test]
    fn a_proxy_is_of_the_scheme_and_shown_without_its_password() {
        let http = shown("http://kv.example", "");
        assert_eq!(http.as_deref(), Some("http://proxy:3128 (of http_proxy)"));
        let https = shown("https://kv.example", "");
        assert_eq!(https.as_deref(), Some("proxy:3129 (of HTTPS_PROXY)"));
    }

    #[test]
    fn this_machine_is_asked_itself() {
        for host in [
            "127.0.0.1",
            "127.8.9.1:80",
            "[::1]:80",
            "LOCALHOST",
            "a.localhost",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(shown(&format!("http://{host}"), ""), None, "{host}");
        }
    }

    #[test]
    fn hosts_are_excepted_by_name_domain_address_and_network() {
        for (host, list, is_bypassed) in [
            ("kv.example", "*", true),
            ("kv.example", "other, kv.example", true),
            ("kv.example", ".example", true),
            ("kv.example", "*.example", true),
            ("kv.example", "example:80", true),
            ("kv.example", "v.example", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("[fd00::1]", "fd00::/8", true),
            ("[fd00::1]", "::/0", true),
            ("10.1.2.3", "::/0", false),
            ("10.1.2.3", "10.0.0.0/33", false),
            ("kv.example", "", false),
        ] {
            let is_direct = shown(&format!("http://{host}"), list).is_none();
            assert_eq!(is_direct, is_bypassed, "{host} {list}");
        }
    }
}
