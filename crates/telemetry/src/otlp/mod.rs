//! OTLP, the protocol of OpenTelemetry's collectors: its messages are written by hand, field by
//! field, as they are few; whoever is sent them decodes them by the official definitions.

pub(crate) mod proto;
mod send;

use http::Uri;
use lockgate_config::model::{Collector, OtlpProtocol};

pub(crate) use send::{Counts, Sender};

use proto::{bytes, message, text};

/// The name and version of what makes the figures, as an `InstrumentationScope`.
pub(crate) fn push_scope(out: &mut Vec<u8>) {
    text(out, 1, "lockgate");
    text(out, 2, env!("CARGO_PKG_VERSION"));
}

/// A `Resource`: its attributes.
pub(crate) fn resource(attributes: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in attributes {
        attribute(&mut out, 1, key, value);
    }
    attribute(&mut out, 1, "telemetry.sdk.name", "lockgate");
    attribute(&mut out, 1, "telemetry.sdk.language", "rust");
    attribute(&mut out, 1, "service.version", env!("CARGO_PKG_VERSION"));
    out
}

/// An export request of either signal: one resource, one scope, and in it what is told.
pub(crate) fn request(resource: &[u8], told: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(resource.len() + told.len() + 64);
    message(&mut out, 1, |out| {
        bytes(out, 1, resource);
        message(out, 2, |out| {
            message(out, 1, push_scope);
            out.extend_from_slice(told);
        });
    });
    out
}

/// A `KeyValue` whose value is text.
pub(crate) fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    message(out, field, |out| {
        text(out, 1, key);
        message(out, 2, |out| text(out, 1, value));
    });
}

/// A `KeyValue` whose value is a whole number.
pub(crate) fn number(out: &mut Vec<u8>, field: u32, key: &str, value: u64) {
    message(out, field, |out| {
        text(out, 1, key);
        message(out, 2, |out| proto::uint(out, 3, value));
    });
}

/// How a collector is named in the gateway's own log: without what may be a secret.
fn shown(url: &Uri, protocol: OtlpProtocol) -> String {
    let (scheme, authority) = (url.scheme_str().unwrap_or_default(), url.authority());
    let word = match protocol {
        OtlpProtocol::Grpc => "gRPC",
        OtlpProtocol::Http => "HTTP",
    };
    format!("{scheme}://{} by {word}", authority.map_or("", |authority| authority.as_str()))
}

/// How a collector is named in the gateway's own log.
pub(crate) fn name(collector: &Collector) -> String {
    shown(&collector.url, collector.protocol)
}
