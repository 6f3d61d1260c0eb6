//! An absolute URL of the gateway's own requests, taken apart: where to connect, what to ask for.

use bytes::Bytes;
use http::{HeaderValue, Uri};
use lockgate_upstream::Origin;

/// A URL's parts.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) origin: Origin,
    /// The value of `Host`: without the scheme's own port (RFC 9110 §7.2).
    pub(super) host: HeaderValue,
    /// Path and query.
    pub(super) target: Uri,
}

/// Takes a URL apart. The words of an error never repeat it: it may bear secrets.
pub(super) fn read(uri: &Uri, ca: Option<Bytes>, http2: bool) -> Result<Address, &'static str> {
    let (https, usual) = match uri.scheme_str() {
        Some("http") => (false, 80),
        Some("https") => (true, 443),
        _ => return Err("a request's URL begins with `http://` or `https://`"),
    };
    let authority = uri.authority().ok_or("a request's URL has no host")?;
    if authority.as_str().contains('@') {
        return Err("a request's URL has a user or a password");
    }
    let name = authority.host().to_ascii_lowercase();
    let port = match authority.port() {
        Some(port) => port.as_str().parse().map_err(|_| "a request's URL has no valid port")?,
        None => usual,
    };
    let host = if port == usual { name.clone() } else { format!("{name}:{port}") };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(Address {
        origin: Origin { https, http2, endpoint: format!("{name}:{port}").into(), ca },
        host: HeaderValue::try_from(host).map_err(|_| "a request's URL has no valid host")?,
        target: Uri::try_from(target).map_err(|_| "a request's URL has no valid path")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Result<(bool, String, String, String), &'static str> {
        let address = read(&url.parse().unwrap(), None, false)?;
        let host = address.host.to_str().unwrap().to_owned();
        let origin = address.origin;
        Ok((origin.https, origin.endpoint.into(), host, address.target.to_string()))
    }

    #[test]
    fn a_url_is_taken_apart() {
        for (url, https, endpoint, host, target) in [
            ("http://A.example", false, "a.example:80", "a.example", "/"),
            ("https://a.example/x?y=1", true, "a.example:443", "a.example", "/x?y=1"),
            ("https://a.example:443/", true, "a.example:443", "a.example", "/"),
            ("http://a.example:443/", false, "a.example:443", "a.example:443", "/"),
            ("http://[::1]:81?y", false, "[::1]:81", "[::1]:81", "/?y"),
        ] {
            let expected = (https, endpoint.to_owned(), host.to_owned(), target.to_owned());
            assert_eq!(parts(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_without_repeating_it() {
        for url in ["/path", "ftp://a.example/", "http://hunter2:x@a.example/"] {
            let why = parts(url).unwrap_err();
            assert!(!why.contains("hunter2") && !why.contains("a.example"), "{why}");
        }
    }
}
