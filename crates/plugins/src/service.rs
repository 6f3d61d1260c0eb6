//! A service that the gateway itself asks, as settings name it: a URL, or an upstream and a path.
//! Refuses URLs that bear a password, and TLS settings where there is no TLS.

use std::net::IpAddr;
use std::path::Path;

use http::Uri;
use lockgate_core::{Build, ConfigError, Destination};

/// Where a service is asked.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) to: Destination,
    /// Absolute, or a path when it goes to an upstream.
    pub(crate) uri: Uri,
}

impl Service {
    /// A URL, with the file of the authorities to trust in place of the system's.
    ///
    /// # Errors
    /// What is wrong, placed at `url` or `ca`. The words never repeat the URL: it may bear a key.
    pub(crate) fn at_url(
        url: &str,
        ca: Option<&str>,
        build: &Build<'_>,
    ) -> Result<Self, ConfigError> {
        let wrong = |why: &str| ConfigError::new(why).at("url");
        let uri: Uri = url.parse().map_err(|_| wrong("this is no URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("a URL here begins with `http://` or `https://`"));
        }
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if authority.is_empty() || authority.contains('@') {
            return Err(wrong("a URL here has a host, and no user and no password"));
        }
        if url.contains('#') {
            return Err(wrong("a URL here has no fragment"));
        }
        let ca = match ca {
            None => None,
            Some(_) if uri.scheme_str() == Some("http") => {
                let message = "authorities are of TLS, and this `url` is not https";
                return Err(ConfigError::new(message).at("ca"));
            }
            Some(path) => {
                let pem = build.provide.read(Path::new(path));
                let pem = pem.map_err(|why| ConfigError::new(why).at("ca"))?;
                if !pem.windows(27).any(|words| words == b"-----BEGIN CERTIFICATE-----") {
                    let message = format!("there is no PEM block `CERTIFICATE` in `{path}`");
                    return Err(ConfigError::new(message).at("ca"));
                }
                Some(pem)
            }
        };
        Ok(Self { to: Destination::Url { ca }, uri })
    }

    /// An upstream and a path.
    ///
    /// # Errors
    /// What is wrong, placed at `upstream` or `path`.
    pub(crate) fn at_upstream(
        name: &str,
        path: &str,
        build: &Build<'_>,
    ) -> Result<Self, ConfigError> {
        if !build.provide.has_upstream(name) {
            return Err(ConfigError::new(format!("there is no upstream `{name}`")).at("upstream"));
        }
        let uri: Option<Uri> = path.parse().ok().filter(|_| path.starts_with('/'));
        let wrong = || ConfigError::new("a path begins with `/` and has no spaces").at("path");
        let uri = uri.ok_or_else(wrong)?;
        Ok(Self { to: Destination::Upstream(name.to_owned()), uri })
    }

    /// Whether what is sent can be read on the way: no TLS, and to another machine.
    pub(crate) fn is_exposed(&self) -> bool {
        let host = self.uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = bare.parse().map_or_else(
            |_| bare.eq_ignore_ascii_case("localhost"),
            |address: IpAddr| address.is_loopback(),
        );
        self.uri.scheme_str() == Some("http") && !loopback
    }

    /// For `describe()`: the host and no more, as a path or query may bear a key.
    pub(crate) fn name(&self) -> String {
        match &self.to {
            Destination::Upstream(name) => name.clone(),
            Destination::Url { .. } | Destination::Http2 { .. } => {
                let scheme = self.uri.scheme_str().unwrap_or_default();
                let authority = self.uri.authority().map(|authority| authority.as_str());
                format!("{scheme}://{}", authority.unwrap_or_default())
            }
        }
    }
}
