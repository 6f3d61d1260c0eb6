//! One round of asking an issuer for its keys: discovery (OpenID Connect Discovery §4), the key
//! document, and for how long it may be believed. Refuses a discovery document of another issuer,
//! and keys in plain text for an issuer with TLS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AGE, CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use lockgate_core::{Call, Destination, Outbound};
use serde::Deserialize;
use tokio::time::Instant;

use super::algorithm::Allowed;
use super::key::Key;
use super::keys;

/// Until the last byte of one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer.
const MAX_BODY: usize = 1 << 20;
/// How long keys are believed without being asked for again: at least, at most, and when the
/// issuer does not say.
const FRESH: [Duration; 3] =
    [Duration::from_secs(30), Duration::from_secs(3600), Duration::from_secs(300)];
/// How long a discovery document is.
const DISCOVERED: Duration = Duration::from_secs(3600);

/// Where keys are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The key document itself.
    Keys(String),
    /// An issuer, whose discovery document names it.
    Issuer(String),
}

/// What asks, and what it remembers of the last answer.
pub(super) struct Fetch {
    pub(super) outbound: Arc<dyn Outbound>,
    pub(super) origin: Origin,
    pub(super) allowed: Allowed,
    /// Where the key document was found to be, and when.
    pub(super) found: Option<(String, Instant)>,
    /// The last document and its tag.
    pub(super) last: Option<(Option<HeaderValue>, Bytes)>,
}

/// What a round brought.
pub(super) struct Fetched {
    /// `None`: the keys are the same as before.
    pub(super) keys: Option<(Vec<Key>, Vec<String>)>,
    pub(super) fresh: Duration,
}

/// What is read of a discovery document.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Fetch {
    /// Asks once.
    ///
    /// # Errors
    /// Why no keys came, for the operator.
    pub(super) async fn round(&mut self) -> Result<Fetched, String> {
        let place = self.place().await?;
        let fetched = self.keys(&place).await;
        if fetched.is_err() {
            // The document may have moved.
            self.found = None;
        }
        fetched.map_err(|why| format!("{place}: {why}"))
    }

    /// The address of the key document.
    async fn place(&mut self) -> Result<String, String> {
        let issuer = match &self.origin {
            Origin::Keys(place) => return Ok(place.clone()),
            Origin::Issuer(issuer) => issuer.clone(),
        };
        if let Some((place, when)) = &self.found
            && when.elapsed() < DISCOVERED
        {
            return Ok(place.clone());
        }
        let document = discovery_place(&issuer);
        let found = self.discover(&issuer, &document).await;
        let found = found.map_err(|why| format!("{document}: {why}"))?;
        if self.found.as_ref().is_some_and(|(before, _)| *before != found) {
            self.last = None;
        }
        self.found = Some((found.clone(), Instant::now()));
        Ok(found)
    }

    async fn discover(&self, issuer: &str, document: &str) -> Result<String, String> {
        let answer = self.get(document, None).await?;
        if answer.status() != StatusCode::OK {
            return Err(unexpected(answer.status()));
        }
        let Discovery { issuer: named, jwks_uri } = serde_json::from_slice(answer.body())
            .map_err(|_| "it is no discovery document with `issuer` and `jwks_uri`".to_owned())?;
        if named != issuer {
            // Else whoever can change one document speaks for another issuer (RFC 8414 §3.3).
            return Err("its `issuer` is not the configured one, to the letter".to_owned());
        }
        check_url(&jwks_uri).map_err(|why| format!("its `jwks_uri` {why}"))?;
        if issuer.starts_with("https:") && !jwks_uri.starts_with("https:") {
            return Err("its `jwks_uri` is not https, and the issuer is".to_owned());
        }
        Ok(jwks_uri)
    }

    async fn keys(&mut self, place: &str) -> Result<Fetched, String> {
        let tag = self.last.as_ref().and_then(|(tag, _)| tag.clone());
        let asked_with_tag = tag.is_some();
        let answer = self.get(place, tag).await?;
        let fresh = freshness(answer.headers());
        match answer.status() {
            StatusCode::NOT_MODIFIED if asked_with_tag => Ok(Fetched { keys: None, fresh }),
            StatusCode::OK => {
                let (head, body) = answer.into_parts();
                let same = self.last.as_ref().is_some_and(|(_, last)| *last == body);
                let keys = keys::read(&body, &self.allowed, false)?;
                self.last = Some((head.headers.get(ETAG).cloned(), body));
                Ok(Fetched { keys: (!same).then_some(keys), fresh })
            }
            status => Err(unexpected(status)),
        }
    }

    async fn get(&self, url: &str, tag: Option<HeaderValue>) -> Result<Response<Bytes>, String> {
        let mut request = Request::get(url).header(ACCEPT, "application/json");
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
        let call = Call {
            request,
            to: Destination::Url { ca: None },
            timeout: TIMEOUT,
            max_body: MAX_BODY,
        };
        // The limits are the caller's, whatever the other side holds to.
        let answer = tokio::time::timeout(TIMEOUT, self.outbound.send(call)).await;
        let answer = answer.map_err(|_| "no answer in time".to_owned())?;
        let answer = answer.map_err(|fault| fault.to_string())?;
        if answer.body().len() > MAX_BODY {
            return Err("the answer has more than 1MiB".to_owned());
        }
        Ok(answer)
    }
}

/// An address that may be asked.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_url(url: &str) -> Result<(), &'static str> {
    let uri: Uri = url.parse().map_err(|_| "is no URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("is no http or https URL");
    }
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
        return Err("must have a host, and no user name");
    }
    if url.contains('#') {
        return Err("must have no fragment");
    }
    Ok(())
}

fn discovery_place(issuer: &str) -> String {
    let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{issuer}/.well-known/openid-configuration")
}

fn unexpected(status: StatusCode) -> String {
    let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
    format!("answered {}{hint}", status.as_u16())
}

/// How long an answer is fresh (RFC 9111 §4.2), within the bounds.
fn freshness(headers: &HeaderMap) -> Duration {
    let [least, most, usual] = FRESH;
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let mut words = lines.flat_map(|line| line.split(',')).map(|word| word.trim().to_lowercase());
    let said = words.find_map(|word| {
        let seconds = word.strip_prefix("max-age=")?.trim_matches('"').parse().ok()?;
        Some(Duration::from_secs(seconds))
    });
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    let said =
        said.map_or(usual, |said| said.saturating_sub(Duration::from_secs(age.unwrap_or(0))));
    said.clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_what_the_issuer_says_within_bounds() {
        let fresh = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for &(name, value) in lines {
                headers.append(name, HeaderValue::from_static(value));
            }
            freshness(&headers).as_secs()
        };
        assert_eq!(fresh(&[]), 300);
        assert_eq!(fresh(&[("cache-control", "public, Max-Age=600, must-revalidate")]), 600);
        assert_eq!(fresh(&[("cache-control", "max-age=600"), ("age", "550")]), 50);
        assert_eq!(fresh(&[("cache-control", "max-age=0")]), 30);
        assert_eq!(fresh(&[("cache-control", "max-age=99999999")]), 3600);
        assert_eq!(fresh(&[("cache-control", "no-store")]), 300);
        assert_eq!(fresh(&[("cache-control", "max-age=x")]), 300);
    }

    #[test]
    fn discovery_stands_below_the_issuer() {
        for issuer in ["https://id.example", "https://id.example/"] {
            let expected = "https://id.example/.well-known/openid-configuration";
            assert_eq!(discovery_place(issuer), expected);
        }
        let realm = discovery_place("https://id.example/realms/shop");
        assert_eq!(realm, "https://id.example/realms/shop/.well-known/openid-configuration");
    }

    #[test]
    fn addresses_are_plain_urls() {
        assert_eq!(check_url("https://id.example/keys?v=1"), Ok(()));
        for url in ["", "id.example", "file:///etc/passwd", "https://a:b@h/", "https://h/#x", "/a"]
        {
            assert!(check_url(url).is_err(), "{url}");
        }
    }
}
