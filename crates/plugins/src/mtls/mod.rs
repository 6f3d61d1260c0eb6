//! `mtls`: the client's certificate as an identity. The listener has verified it against its
//! `client_ca`; here it is only read whom it names.

use std::sync::Arc;

use http::HeaderValue;
use lockgate_core::{
    AlternativeName, Build, Challenge, ClientCertificate, ConfigError, Consumer, Consumers,
    Exchange, Fault, Identity, IdentityPlugin, Kind, Proof, Reason, Rejection, Step, decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Takes the client's certificate for who it is.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Which part of the certificate names the consumer. A certificate that has several of it
    /// names nobody, but for `san`.
    name: Part,
    /// With `name: spiffe`: the trust domain that the id must be of, such as `prod.example`.
    trust_domain: Option<String>,
}

/// A part of a certificate.
#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Part {
    /// The common name of the subject.
    #[default]
    CommonName,
    /// The whole subject (RFC 4514).
    Subject,
    /// The first DNS name, URI or e-mail address among the alternative names. Where an authority
    /// signs what clients ask for, prefer `dns`, `email` or `uri`: of another kind, or further on,
    /// the same text may be another's.
    San,
    /// The DNS name among the alternative names.
    Dns,
    /// The e-mail address among the alternative names.
    Email,
    /// The URI among the alternative names.
    Uri,
    /// The SPIFFE id: the URI, which begins with `spiffe://`.
    Spiffe,
    /// SHA-256 of the certificate, in hex.
    Fingerprint,
}

static NO_NAME: Reason = Reason {
    code: "certificate_unnamed",
    kind: Kind::Forbidden,
    help: "The client's certificate has no such part as the identity's `name` asks for, has more \
           than one, or is of another trust domain.",
};

/// The entry in the list of plugins.
pub(crate) struct Mtls;

impl IdentityPlugin for Mtls {
    fn name(&self) -> &'static str {
        "mtls"
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&NO_NAME];
        REASONS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(
        &self,
        config: &Value,
        build: &mut Build<'_>,
    ) -> Result<Arc<dyn Identity>, ConfigError> {
        let config: Config = decode(config)?;
        if config.trust_domain.is_some() && config.name != Part::Spiffe {
            let message = "only a SPIFFE id has a trust domain: say `name: spiffe`";
            return Err(ConfigError::new(message).at("trust_domain"));
        }
        let prefix = config.trust_domain.map(|domain| format!("spiffe://{domain}/"));
        Ok(Arc::new(Certificate {
            identity: (*build.name).into(),
            part: config.name,
            prefix,
            consumers: Arc::clone(build.provide.consumers()),
        }))
    }
}

struct Certificate {
    identity: Arc<str>,
    part: Part,
    prefix: Option<String>,
    consumers: Arc<Consumers>,
}

impl Certificate {
    /// Whom a certificate names.
    fn name<'c>(&self, shown: &'c ClientCertificate) -> Option<&'c str> {
        match self.part {
            Part::CommonName => shown.common_name.as_deref(),
            Part::Subject => Some(&*shown.subject),
            Part::San => shown.names.first().map(AlternativeName::text),
            Part::Dns => only(shown, dns),
            Part::Email => only(shown, email),
            Part::Uri => only(shown, uri),
            Part::Spiffe => only(shown, uri).filter(|id| {
                is_spiffe_id(id) && self.prefix.as_ref().is_none_or(|prefix| id.starts_with(prefix))
            }),
            Part::Fingerprint => Some(&*shown.fingerprint),
        }
        .filter(|name| !name.is_empty())
    }

    fn consumer(&self, shown: &ClientCertificate) -> Option<Consumer> {
        let mut claims = Map::new();
        claims.insert("subject".to_owned(), (*shown.subject).into());
        claims.insert("issuer".to_owned(), (*shown.issuer).into());
        claims.insert("serial".to_owned(), (*shown.serial).into());
        claims.insert("fingerprint".to_owned(), (*shown.fingerprint).into());
        claims.insert("names".to_owned(), shown.names.iter().map(AlternativeName::text).collect());
        for (claim, kind) in [("dns", dns as Kinds), ("emails", email), ("uris", uri)] {
            let names: Vec<&str> = shown.names.iter().filter_map(kind).collect();
            if !names.is_empty() {
                claims.insert(claim.to_owned(), names.into());
            }
        }
        let mut consumer = Consumer {
            name: self.name(shown)?.into(),
            identity: Arc::clone(&self.identity),
            issuer: match self.part {
                // What says itself whose it is goes on as the same when an authority is followed
                // by the next.
                Part::Spiffe | Part::Fingerprint => Arc::default(),
                _ => (*shown.issuer).into(),
            },
            claims,
            ..Consumer::default()
        };
        self.consumers.complete(&mut consumer);
        Some(consumer)
    }
}

/// The alternative names of one kind.
type Kinds = fn(&AlternativeName) -> Option<&str>;

fn dns(name: &AlternativeName) -> Option<&str> {
    if let AlternativeName::Dns(name) = name { Some(name) } else { None }
}

fn email(name: &AlternativeName) -> Option<&str> {
    if let AlternativeName::Email(name) = name { Some(name) } else { None }
}

fn uri(name: &AlternativeName) -> Option<&str> {
    if let AlternativeName::Uri(name) = name { Some(name) } else { None }
}

/// The alternative name of this kind, if there is one and no other.
fn only(shown: &ClientCertificate, kind: Kinds) -> Option<&str> {
    let mut all = shown.names.iter().filter_map(kind);
    match (all.next(), all.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// Longest SPIFFE id.
const MAX_ID: usize = 2048;

/// Whether a URI is the id of a workload (SPIFFE-ID §2.1, §2.2, §2.4): a trust domain, and a path
/// in which no part is empty or leads upwards.
fn is_spiffe_id(uri: &str) -> bool {
    let parts = uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/'));
    let Some((domain, path)) = parts.filter(|_| uri.len() <= MAX_ID) else { return false };
    let in_domain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    let in_path = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    !domain.is_empty()
        && domain.bytes().all(in_domain)
        && path.split('/').all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(in_path))
}

impl Identity for Certificate {
    fn identify<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Proof, Fault>> {
        let tls = exchange.connection.tls.as_ref();
        let Some(shown) = tls.and_then(|tls| tls.client.as_ref()) else {
            return Step::Now(Ok(Proof::Absent));
        };
        Step::Now(Ok(match self.consumer(shown) {
            Some(consumer) => Proof::Consumer(Arc::new(consumer)),
            None => Proof::Invalid(Rejection {
                reason: &NO_NAME,
                detail: format!("the certificate is of `{}`", shown.subject).into(),
            }),
        }))
    }

    fn waits(&self) -> bool {
        false
    }

    /// No scheme of HTTP asks for a certificate.
    fn challenge(&self, _: Challenge<'_>) -> Option<HeaderValue> {
        None
    }

    fn describe(&self) -> String {
        let part = match self.part {
            Part::CommonName => "common name",
            Part::Subject => "subject",
            Part::San => "alternative name",
            Part::Dns => "DNS name",
            Part::Email => "e-mail address",
            Part::Uri => "URI",
            Part::Spiffe => "SPIFFE id",
            Part::Fingerprint => "fingerprint",
        };
        match &self.prefix {
            Some(prefix) => format!("the {part} of the client's certificate, below {prefix}"),
            None => format!("the {part} of the client's certificate"),
        }
    }
}
