//! `limits`: how large a route's requests may be. What the head tells is refused at once; a body
//! whose length nobody told is counted while it passes, and never held.

use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::{
    Body, BodyUse, Build, ConfigError, Exchange, Fault, Policy, PolicyPlugin, Size, Stage, Step,
    Verdict, decode, reasons,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

/// How large requests may be.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Bytes of the body (413, `too_large`).
    body: Option<Size>,
    /// Number of header lines (431, `headers_too_large`).
    headers: Option<usize>,
    /// Bytes of all header lines, four more than name and value for each (431).
    header_size: Option<Size>,
    /// Bytes of path and query (414, `uri_too_long`).
    uri: Option<Size>,
}

/// The entry in the list of plugins.
pub(crate) struct Limits;

impl PolicyPlugin for Limits {
    fn name(&self) -> &'static str {
        "limits"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Guard
    }

    fn body(&self) -> BodyUse {
        BodyUse::Stream
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, _: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let config: Config = decode(config)?;
        let Config { body, headers, header_size, uri } = &config;
        if body.is_none() && headers.is_none() && header_size.is_none() && uri.is_none() {
            let message = "it limits nothing: say `body`, `headers`, `header_size` or `uri`";
            return Err(ConfigError::new(message));
        }
        if uri.is_some_and(|Size(most)| most == 0) {
            return Err(ConfigError::new("every request has a path of one byte").at("uri"));
        }
        Ok(Box::new(Most(config)))
    }
}

struct Most(Config);

impl Most {
    fn check(&self, exchange: &mut Exchange) -> Result<(), Fault> {
        let target = exchange.head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if let Some(Size(most)) = self.0.uri
            && target as u64 > most
        {
            let fault = Fault::client(&reasons::URI_TOO_LONG);
            return Err(fault.detail(format!("{target} bytes of at most {most}")));
        }
        self.check_headers(exchange)?;
        let Some(Size(most)) = self.0.body else { return Ok(()) };
        let told = exchange.head.headers.get(CONTENT_LENGTH);
        let told = told.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        match exchange.body.len().or(told) {
            Some(length) if length > most => Err(too_large(most)),
            Some(_) => Ok(()),
            None => {
                let inner = std::mem::take(&mut exchange.body);
                exchange.body = Body::stream(Counted { inner, most, passed: 0 });
                Ok(())
            }
        }
    }

    fn check_headers(&self, exchange: &Exchange) -> Result<(), Fault> {
        let headers = &exchange.head.headers;
        let refuse = |detail: String| Fault::client(&reasons::HEADERS_TOO_LARGE).detail(detail);
        let lines = headers.len();
        if let Some(most) = self.0.headers
            && lines > most
        {
            return Err(refuse(format!("{lines} lines of at most {most}")));
        }
        if let Some(Size(most)) = self.0.header_size {
            let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                name.as_str().len() + value.len() + 4
            };
            let size: usize = headers.iter().map(line).sum();
            if size as u64 > most {
                return Err(refuse(format!("{size} bytes of at most {most}")));
            }
        }
        Ok(())
    }
}

fn too_large(most: u64) -> Fault {
    Fault::client(&reasons::TOO_LARGE).detail(format!("the body has more than {most} bytes"))
}

/// A body that breaks off with a fault when more passes than may.
struct Counted {
    inner: Body,
    most: u64,
    passed: u64,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.passed += data.len() as u64;
            if self.passed > self.most {
                self.inner = Body::Empty;
                return Poll::Ready(Some(Err(too_large(self.most))));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Policy for Most {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        Step::Now(self.check(exchange).map(|()| Verdict::Pass))
    }

    fn describe(&self) -> String {
        let mut text = String::from("at most");
        let mut say = |word: &str, most: Option<String>| {
            if let Some(most) = most {
                let comma = if text.len() > 7 { "," } else { "" };
                // Writing to memory cannot fail.
                let _ = write!(text, "{comma} {word} {most}");
            }
        };
        say("body", self.0.body.map(|size| size.to_string()));
        say("headers", self.0.headers.map(|count| count.to_string()));
        say("header_size", self.0.header_size.map(|size| size.to_string()));
        say("uri", self.0.uri.map(|size| size.to_string()));
        text
    }
}
