//! Any bytes as a bearer's token: nothing panics, and none is believed. The second half of the
//! inputs has a good signature, so that it gets past it: only claims that hold are believed then.
#![no_main]

use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, Weak};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use libfuzzer_sys::fuzz_target;
use lockgate_core::{
    Blobs, Blocking, Build, Connection, Consumers, Counters, Exchange, Figure, Identities,
    Identity, Kept, Leases, Metric, Nowhere, Outbound, Plugin, Priority, Proof, Provide, Records,
    SendFuture, Step, Task,
};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Surroundings with nothing in them.
struct Empty(Arc<Consumers>);

impl Provide for Empty {
    fn consumers(&self) -> &Arc<Consumers> {
        &self.0
    }

    fn plan(&self, _: &str) -> Option<&Value> {
        None
    }

    fn plans(&self) -> Vec<&str> {
        Vec::new()
    }

    fn has_upstream(&self, _: &str) -> bool {
        false
    }

    fn stores(&self) -> Vec<&str> {
        Vec::new()
    }

    fn blocking(&self) -> Arc<dyn Blocking> {
        Arc::new(Nowhere)
    }

    fn counters(&self, _: &str) -> Option<Arc<dyn Counters>> {
        None
    }

    fn blobs(&self, _: &str) -> Option<Arc<dyn Blobs>> {
        None
    }

    fn leases(&self, _: &str) -> Option<Arc<dyn Leases>> {
        None
    }

    fn records(&self, _: &str) -> Option<Arc<dyn Records>> {
        None
    }

    fn outbound(&self) -> Arc<dyn Outbound> {
        Arc::new(Nowhere)
    }

    fn spawn(&self, _: SendFuture<()>) -> Task {
        Task::none()
    }

    fn read(&self, _: &Path) -> Result<bytes::Bytes, String> {
        Err("nothing is there".to_owned())
    }

    fn shared(&self, _: &str, make: &mut dyn FnMut() -> Kept) -> Kept {
        make()
    }

    fn expose(&self, _: &'static Metric, _: &[&str], _: Weak<dyn Figure>) {}
}

fn identity() -> &'static Arc<dyn Identity> {
    static IDENTITY: OnceLock<Arc<dyn Identity>> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let plugin = lockgate_plugins::ALL.iter().find_map(|plugin| match plugin {
            Plugin::Identity(plugin) if plugin.name() == "jwt" => Some(plugin),
            _ => None,
        });
        let (provide, identities) = (Empty(Arc::default()), Identities::new());
        let mut build = Build {
            route: "".into(),
            when: "".into(),
            target: "".into(),
            place: "identity.own.jwt".into(),
            name: "own".into(),
            priority: Priority::Normal,
            identities: &identities,
            provide: &provide,
        };
        let config = json!({ "secret": SECRET, "cache": 64 });
        plugin.expect("it is listed").build(&config, &mut build).expect("it builds")
    })
}

fn exchange(token: &[u8]) -> Option<Exchange> {
    let line = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    let head = http::Request::get("/").header("authorization", line).body(()).ok()?.into_parts().0;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    Some(Exchange::begun(head, Rc::new(Connection::plain(address, address))))
}

/// Whether the token is believed.
fn believed(token: &[u8]) -> bool {
    let Some(mut exchange) = exchange(token) else { return false };
    match identity().identify(&mut exchange) {
        Step::Now(Ok(proof)) => matches!(proof, Proof::Consumer(_)),
        Step::Now(Err(fault)) => panic!("{fault}"),
        Step::Later(_) => panic!("there is nothing to wait for"),
    }
}

fuzz_target!(|input: (bool, &[u8], &[u8])| {
    let (signed, first, second) = input;
    if !signed {
        assert!(!believed(first));
        return;
    }
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(first), URL_SAFE_NO_PAD.encode(second));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    if believed(format!("{message}.{signature}").as_bytes()) {
        let header: Value = serde_json::from_slice(first).expect("a header is JSON");
        let claims: Value = serde_json::from_slice(second).expect("claims are JSON");
        assert_eq!(header["alg"], "HS256");
        assert!(claims["exp"].is_number() && header.get("crit").is_none());
    }
});
