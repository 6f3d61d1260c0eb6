//! One question to the authorization server (RFC 7662 §2.1), and what can be made of its answer.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use lockgate_core::{Build, Call, ConfigError, Outbound};
use serde_json::{Map, Value};

use super::settings::{ClientAuth, Config};
use super::vouched::{Naming, Vouched};
use crate::service::Service;

/// Most bytes of an answer.
const MAX_BODY: usize = 256 * 1024;

/// Where and how the server is asked.
pub(super) struct Ask {
    service: Service,
    outbound: Arc<dyn Outbound>,
    authorization: Option<HeaderValue>,
    /// What follows the token in the body.
    credentials: String,
    timeout: Duration,
    keep: Duration,
    keep_refused: Duration,
    naming: Naming,
}

impl Ask {
    pub(super) fn new(config: &Config, build: &Build<'_>) -> Result<Self, ConfigError> {
        let service = Service::at_url(&config.url, config.ca.as_deref(), build)?;
        if service.is_exposed() && !config.allow_http {
            let message = "tokens would be sent in plain text to another machine: use https, or \
                           say `allow_http: true`";
            return Err(ConfigError::new(message).at("url"));
        }
        for (key, text) in
            [("client_id", &config.client_id), ("client_secret", &config.client_secret)]
        {
            if text.is_empty() {
                return Err(ConfigError::new("this is empty").at(key));
            }
        }
        if !(16..=10_000_000).contains(&config.max_entries) {
            let message = "between 16 and 10000000 answers can be kept";
            return Err(ConfigError::new(message).at("max_entries"));
        }
        if config.timeout.0.is_zero() {
            return Err(ConfigError::new("without time nothing is answered").at("timeout"));
        }
        let (id, secret) = (encoded(&config.client_id), encoded(&config.client_secret));
        let (authorization, credentials) = match config.auth {
            ClientAuth::Post => (None, format!("&client_id={id}&client_secret={secret}")),
            ClientAuth::Basic => {
                let text = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
                let value = HeaderValue::try_from(text);
                let mut value =
                    value.map_err(|_| ConfigError::new("this is too long").at("client_secret"))?;
                value.set_sensitive(true);
                (Some(value), String::new())
            }
        };
        Ok(Self {
            service,
            outbound: build.provide.outbound(),
            authorization,
            credentials,
            timeout: config.timeout.0,
            keep: config.cache.0,
            keep_refused: config.cache_refused.0.min(config.cache.0),
            naming: Naming::new(config, build),
        })
    }

    pub(super) fn keep_refused(&self) -> Duration {
        self.keep_refused
    }

    /// Asks about a token. `Err`: why it cannot be told whose it is; bears nothing of the token.
    pub(super) async fn send(&self, token: &str) -> Result<Vouched, String> {
        let body =
            format!("token={}&token_type_hint=access_token{}", encoded(token), self.credentials);
        let mut request = Request::post(self.service.uri.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Bytes::from(body)).map_err(|error| error.to_string())?;
        let to = self.service.to.clone();
        let call = Call { request, to, timeout: self.timeout, max_body: MAX_BODY };
        let answer = self.outbound.send(call).await.map_err(|fault| fault.to_string())?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let status = answer.status().as_u16();
                return Err(format!("the server refuses the gateway's own credentials ({status})"));
            }
            status => return Err(format!("the server answered {}", status.as_u16())),
        }
        let claims: Map<String, Value> = serde_json::from_slice(answer.body())
            .map_err(|_| "the server's answer is no JSON object".to_owned())?;
        self.naming.read(claims, self.keep)
    }

    pub(super) fn describe(&self) -> String {
        let name = self.service.name();
        format!("a token that {name} vouches for, believed for {}", lockgate_core::Time(self.keep))
    }
}

/// As in a form (RFC 6749, appendix B).
fn encoded(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn what_a_form_could_misread_is_encoded() {
        assert_eq!(encoded("a&token=b+c d%é~"), "a%26token%3Db%2Bc%20d%25%C3%A9~");
    }
}
