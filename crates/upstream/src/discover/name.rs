//! An endpoint as the configuration names it: `host:port`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Where to find an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Literal(SocketAddr),
    /// A name for DNS, and the port.
    Name(Arc<str>, u16),
}

/// A configured endpoint's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// As configured: `host:port`.
    pub(crate) name: Arc<str>,
    /// Without port and brackets.
    pub(crate) host: Arc<str>,
    pub(crate) place: Place,
}

impl Host {
    /// Takes `host:port` apart. Without a port it is the scheme's.
    pub(crate) fn parse(name: &str, tls: bool) -> Result<Self, String> {
        let wrong = || format!("`{name}` is not an endpoint such as 10.0.0.1:8080 or orders:8080");
        let usual = if tls { 443 } else { 80 };
        let whole = |address: IpAddr| (address.to_string(), usual, Some(address));
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let (host, port, address) = if let Ok(address) = bare.unwrap_or(name).parse() {
            whole(address)
        } else {
            let (host, port) = match name.rsplit_once(':') {
                Some((host, port)) => (host, port.parse::<u16>().map_err(|_| wrong())?),
                None => (name, usual),
            };
            let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let address = bare.unwrap_or(host).parse().ok();
            (bare.unwrap_or(host).to_owned(), port, address)
        };
        let fits = |host: &str| {
            let mark = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            !host.is_empty() && host.len() <= 253 && host.bytes().all(mark)
        };
        let place = match address {
            Some(address) => Place::Literal(SocketAddr::new(address, port)),
            None if fits(&host) => Place::Name(host.to_ascii_lowercase().into(), port),
            None => return Err(wrong()),
        };
        if port == 0 {
            return Err(wrong());
        }
        // The root's dot matters to DNS alone: no certificate bears it.
        let host = host.strip_suffix('.').unwrap_or(&host);
        Ok(Self { name: name.into(), host: host.into(), place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Host::parse(name, false).unwrap().place
    }

    #[test]
    fn addresses_and_names_are_told_apart() {
        assert_eq!(place("10.0.0.1:8080"), Place::Literal("10.0.0.1:8080".parse().unwrap()));
        assert_eq!(place("[::1]:8080"), Place::Literal("[::1]:8080".parse().unwrap()));
        assert_eq!(place("::1"), Place::Literal("[::1]:80".parse().unwrap()));
        assert_eq!(place("[::1]"), Place::Literal("[::1]:80".parse().unwrap()));
        assert_eq!(place("Orders.internal:81"), Place::Name("orders.internal".into(), 81));
        assert_eq!(Host::parse("orders", true).unwrap().place, Place::Name("orders".into(), 443));
        assert_eq!(&*Host::parse("[::1]:80", false).unwrap().host, "::1");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for name in ["", ":80", "a b:80", "a:port", "a:70000", "a:0", "http://a:80", "ü:80"] {
            assert!(Host::parse(name, false).is_err(), "{name}");
        }
        assert!(Host::parse(&format!("{}:80", "a".repeat(254)), false).is_err());
    }
}
