//! What a limit tells requests apart by. A request that lacks a part of it, such as a consumer, is
//! counted by its address instead: leaving something out must not be a way around.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use lockgate_core::{Exchange, Key, KeyPart, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A key. An expression would be a second form of it, and stand in this file alone.
#[derive(Deserialize, Serialize, JsonSchema, Debug, Clone)]
#[serde(transparent)]
pub(crate) struct By(Key);

impl By {
    pub(crate) fn ip() -> Self {
        Self(KeyPart::Ip.into())
    }

    pub(crate) fn consumer() -> Self {
        Self(KeyPart::Consumer.into())
    }

    /// Before the identity is known, unless it is what counts.
    pub(crate) fn stage(&self) -> Stage {
        let of_identity = |part: &KeyPart| matches!(part, KeyPart::Consumer | KeyPart::Claim(_));
        match self.0.parts().iter().any(of_identity) {
            true => Stage::LimitConsumer,
            false => Stage::LimitIp,
        }
    }

    /// Writes a request's key.
    pub(crate) fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        if !self.0.write(exchange, out) {
            out.push(1);
            KeyPart::Ip.write(exchange, out);
        }
    }

    /// A request's key as operators may see it: what may be a credential is hashed, with a key
    /// that each process draws anew.
    pub(crate) fn shown(&self, exchange: &Exchange) -> String {
        let mut text = String::new();
        let mut whole = true;
        for part in self.0.parts() {
            let mut value = Vec::new();
            whole &= part.write(exchange, &mut value);
            if !text.is_empty() {
                text.push_str(" + ");
            }
            match part {
                KeyPart::Ip => text.push_str(&address(exchange)),
                KeyPart::Consumer => {
                    let name = exchange.consumer.as_ref().map(|consumer| &*consumer.name);
                    text.push_str(name.unwrap_or("nobody"));
                }
                KeyPart::Route | KeyPart::Host | KeyPart::Path(_) => {
                    text.push_str(&String::from_utf8_lossy(&value));
                }
                _ => text.push_str(&format!("#{:016x}", SHOWN.hash_one(&value))),
            }
        }
        if !whole {
            text.push_str(&format!(" from {}", address(exchange)));
        }
        text
    }
}

static SHOWN: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn address(exchange: &Exchange) -> String {
    match exchange.client_ip.to_canonical() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
