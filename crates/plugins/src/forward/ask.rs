//! One question to the auth service: what it is sent of a request, and what its status means.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use lockgate_core::span::TRACEPARENT;
use lockgate_core::{Build, Call, ConfigError, Exchange, Outbound};

use super::Found;
use super::settings::{By, Config, Method as Way, Refused};
use super::vouched::Reading;
use crate::answers::Question;
use crate::fields;
use crate::service::Service;

/// Most bytes of an answer's body.
const MAX_BODY: usize = 64 * 1024;
/// What a client may be passed of a refusal leaves these out: they are of another connection.
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    CONTENT_LENGTH,
    PROXY_AUTHENTICATE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A refusal that clients get as it is.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Where and how the service is asked.
pub(super) struct Ask {
    service: Service,
    outbound: Arc<dyn Outbound>,
    method: Method,
    send: Box<[HeaderName]>,
    timeout: Duration,
    keep: Duration,
    by: By,
    passes: bool,
}

impl Ask {
    pub(super) fn new(config: &Config, build: &Build<'_>) -> Result<Self, ConfigError> {
        let service = match (&config.url, &config.upstream) {
            (Some(url), None) => {
                if config.path.is_some() {
                    let message = "the path is a part of `url`";
                    return Err(ConfigError::new(message).at("path"));
                }
                Service::at_url(url, config.ca.as_deref(), build)?
            }
            (None, Some(upstream)) => {
                if config.ca.is_some() {
                    let message = "an upstream has its own `tls: { ca }`";
                    return Err(ConfigError::new(message).at("ca"));
                }
                Service::at_upstream(upstream, config.path.as_deref().unwrap_or("/"), build)?
            }
            _ => return Err(ConfigError::new("say either `url` or `upstream`")),
        };
        let names = |name: &String| fields::name(name).map_err(|error| error.at("send"));
        let send: Box<[HeaderName]> = config.send.0.iter().map(names).collect::<Result<_, _>>()?;
        if send.iter().any(is_ours) {
            let message = "the service gets Host and X-Forwarded headers of the gateway's own";
            return Err(ConfigError::new(message).at("send"));
        }
        if send.is_empty() && !config.ask_anyway {
            let message = "without headers to send nobody has credentials: say `ask_anyway: true`";
            return Err(ConfigError::new(message).at("send"));
        }
        if config.timeout.0.is_zero() {
            return Err(ConfigError::new("without time nothing is answered").at("timeout"));
        }
        if !(16..=10_000_000).contains(&config.max_entries) {
            let message = "between 16 and 10000000 answers can be kept";
            return Err(ConfigError::new(message).at("max_entries"));
        }
        Ok(Self {
            service,
            outbound: build.provide.outbound(),
            method: match config.method {
                Way::Get => Method::GET,
                Way::Head => Method::HEAD,
                Way::Post => Method::POST,
            },
            send,
            timeout: config.timeout.0,
            keep: config.cache.0.ttl.0,
            by: config.cache.0.by,
            passes: config.answer == Refused::Pass,
        })
    }

    pub(super) fn has_credentials(&self, exchange: &Exchange) -> bool {
        self.send.iter().any(|name| exchange.head.headers.contains_key(name))
    }

    /// What tells this request from others, if answers are kept: a hash of all that the service
    /// sees of it, or of the headers alone.
    pub(super) fn question(&self, exchange: &Exchange) -> Option<Question> {
        if self.keep.is_zero() {
            return None;
        }
        let head = &exchange.head;
        let mut hash = blake3::Hasher::new();
        // Each part after its length, so that no two requests read as one.
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for name in &self.send {
            let lines = head.headers.get_all(name);
            part(&lines.iter().count().to_le_bytes());
            lines.iter().for_each(|line| part(line.as_bytes()));
        }
        if self.by == By::Request {
            part(head.method.as_str().as_bytes());
            part(&[u8::from(exchange.secure)]);
            part(head.headers.get(HOST).map_or(b"", HeaderValue::as_bytes));
            part(target(exchange).as_bytes());
            // What the service is told of the client's address may decide, too.
            part(exchange.client_ip.to_string().as_bytes());
        }
        Some(*hash.finalize().as_bytes())
    }

    /// A hash of the headers that bear a caller's credentials.
    pub(super) fn credentials(&self, exchange: &Exchange) -> [u8; 32] {
        let mut hash = blake3::Hasher::new();
        for name in &self.send {
            let lines = exchange.head.headers.get_all(name);
            hash.update(&(lines.iter().count() as u64).to_le_bytes());
            for line in lines {
                hash.update(&(line.len() as u64).to_le_bytes());
                hash.update(line.as_bytes());
            }
        }
        *hash.finalize().as_bytes()
    }

    /// What the service is sent of a request.
    pub(super) fn request(&self, exchange: &Exchange) -> Result<Request<Bytes>, String> {
        let from = &exchange.head.headers;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.service.uri.clone();
        let headers = request.headers_mut();
        for name in &self.send {
            for line in from.get_all(name) {
                headers.append(name, line.clone());
            }
        }
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| "the request's head is no text".to_owned())
        };
        headers.insert(FORWARDED_METHOD, value(exchange.head.method.as_str())?);
        let scheme = if exchange.secure { "https" } else { "http" };
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
        if let Some(host) = from.get(HOST) {
            headers.insert(FORWARDED_HOST, host.clone());
        }
        headers.insert(FORWARDED_URI, value(&target(exchange))?);
        headers.insert(FORWARDED_FOR, value(&exchange.client_ip.to_string())?);
        headers.insert(REQUEST_ID, exchange.id.header());
        if let Some(parent) = exchange.spans.stated() {
            headers.insert(TRACEPARENT, parent);
        }
        Ok(request)
    }

    /// Asks, and says for how long the answer may be kept.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        reading: &Reading,
    ) -> (Found, Duration) {
        let to = self.service.to.clone();
        let call = Call { request, to, timeout: self.timeout, max_body: MAX_BODY };
        match self.outbound.send(call).await {
            Err(fault) => (Found::Unknown(fault.to_string().into()), Duration::ZERO),
            Ok(answer) => self.read(answer, reading),
        }
    }

    fn read(&self, answer: Response<Bytes>, reading: &Reading) -> (Found, Duration) {
        let status = answer.status();
        let refuses = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if status.is_success() {
            let found = reading.read(answer.headers()).map_or(Found::Unnamed, Found::Consumer);
            return (found, self.keep);
        }
        if self.passes && (refuses || status.is_redirection()) {
            let (mut head, body) = answer.into_parts();
            for name in &HOP_BY_HOP {
                head.headers.remove(name);
            }
            let refusal = Refusal { status, headers: head.headers, body };
            // It may set a cookie or a state that is this client's alone.
            return (Found::Refused(Some(Arc::new(refusal))), Duration::ZERO);
        }
        if refuses {
            return (Found::Refused(None), self.keep);
        }
        let why = format!("the auth service answered {}", status.as_u16());
        (Found::Unknown(why.into()), Duration::ZERO)
    }

    pub(super) fn describe(&self) -> String {
        let mut text = format!("whom {} vouches for", self.service.name());
        if !self.keep.is_zero() {
            text.push_str(&format!(", believed for {}", lockgate_core::Time(self.keep)));
        }
        text
    }
}

fn target(exchange: &Exchange) -> Cow<'_, str> {
    exchange.head.uri.path_and_query().map_or("/", |target| target.as_str()).into()
}

fn is_ours(name: &HeaderName) -> bool {
    *name == HOST || name.as_str().replace('_', "-").starts_with("x-forwarded-")
}
