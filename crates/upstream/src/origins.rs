//! Upstreams that no configuration names: made when a URL's origin is first asked for, kept while
//! it is asked for again. There are never more than a fixed number of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lockgate_config::model::{self, Breaker, Http2Use, TimeoutSet, UpstreamTls};
use lockgate_core::Time;
use lockgate_net::tls::ClientTls;
use tokio::time::Instant;

use crate::discover::Resolver;
use crate::task::Spawn;
use crate::upstream::Upstream;

/// Origins kept at once; one more takes the place of that which was asked for longest ago.
const MOST: usize = 256;
/// An origin that nobody has asked for is forgotten after this.
const IDLE: Duration = Duration::from_secs(600);
/// Requests in flight to one origin: one that hangs must not take all the room there is.
const IN_FLIGHT: usize = 512;

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether TLS is spoken.
    pub https: bool,
    /// Whether HTTP/2 is: over TLS as the other side chooses, in plain text without asking.
    pub http2: bool,
    /// `host:port`.
    pub endpoint: Box<str>,
    /// The authorities to trust instead of the system's, in PEM.
    pub ca: Option<Bytes>,
}

/// The upstreams of origins.
pub struct Origins {
    kept: Mutex<HashMap<Origin, Kept>>,
    spawn: Spawn,
    resolver: Resolver,
}

struct Kept {
    upstream: Arc<Upstream>,
    used: Instant,
}

impl Origins {
    /// None yet. `spawn` must not put work on a worker.
    pub fn new(spawn: Spawn, resolver: Resolver) -> Self {
        Self { kept: Mutex::default(), spawn, resolver }
    }

    /// The upstream of an origin. Its name may not have been resolved yet.
    pub fn get(&self, origin: Origin) -> Arc<Upstream> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let used = Instant::now();
        if let Some(known) = kept.get_mut(&origin) {
            known.used = used;
            return Arc::clone(&known.upstream);
        }
        if kept.len() >= MOST {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used).map(|(o, _)| o.clone());
            if let Some(old) = oldest.and_then(|oldest| kept.remove(&oldest)) {
                old.upstream.retire(None);
            }
        }
        let upstream = self.make(&origin);
        kept.insert(origin, Kept { upstream: Arc::clone(&upstream), used });
        upstream
    }

    /// To be called now and then: forgets what has not been asked for.
    pub fn sweep(&self) {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| {
            let stays = now.saturating_duration_since(kept.used) < IDLE;
            if !stays {
                kept.upstream.retire(None);
            }
            stays
        });
    }

    fn make(&self, origin: &Origin) -> Arc<Upstream> {
        let mut settings = settings();
        settings.endpoints.insert(origin.endpoint.to_string(), model::Endpoint::default());
        settings.tls = origin.https.then(UpstreamTls::default);
        settings.http2 = if origin.http2 { Http2Use::On } else { Http2Use::Off };
        let tls = settings.tls.as_ref().map(|tls| {
            let loaded = match &origin.ca {
                Some(ca) => ClientTls::trusting(ca, origin.http2),
                None => ClientTls::load(tls, origin.http2),
            };
            loaded.map(Arc::new).map_err(|error| error.to_string())
        });
        let upstream =
            Arc::new(Upstream::with_tls(&name(origin), &settings, tls, None, &self.spawn));
        upstream.begin(None, &self.resolver);
        upstream
    }
}

/// Nobody says how such an upstream is to be treated: no probes, and as long for a head as the
/// request itself may take.
fn settings() -> model::Upstream {
    model::Upstream {
        health: None,
        outlier: None,
        breaker: Some(Breaker::default()),
        timeout: TimeoutSet { headers: Time(Duration::ZERO), ..TimeoutSet::default() },
        pool: model::Pool { max_requests: IN_FLIGHT, max_pending: 0, ..model::Pool::default() },
        ..model::Upstream::default()
    }
}

/// A name that no configured upstream has, and no origin with other authorities.
fn name(origin: &Origin) -> String {
    let scheme = match (origin.https, origin.http2) {
        (true, false) => "https",
        (false, false) => "http",
        (true, true) => "h2 https",
        (false, true) => "h2 http",
    };
    let trust = origin.ca.as_ref().map(|ca| format!(" {:.8}", blake3::hash(ca).to_hex()));
    format!("outbound {scheme}://{}{}", origin.endpoint, trust.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(port: u32) -> Origin {
        let endpoint = format!("127.0.0.1:{port}").into();
        Origin { https: false, http2: false, endpoint, ca: None }
    }

    fn origins() -> Origins {
        Origins::new(Spawn::on(tokio::runtime::Handle::current()), Resolver::system())
    }

    fn kept(origins: &Origins) -> usize {
        origins.kept.lock().unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_is_one_upstream_until_nobody_asks() {
        let origins = origins();
        let first = origins.get(origin(1));
        for _ in 0..3 {
            tokio::time::advance(IDLE / 2).await;
            origins.sweep();
            assert!(Arc::ptr_eq(&first, &origins.get(origin(1))));
        }
        let endpoint = first.set().endpoints()[0].clone();
        assert!(!endpoint.gone());
        tokio::time::advance(IDLE).await;
        origins.sweep();
        assert_eq!(kept(&origins), 0);
        assert!(endpoint.gone(), "its connections are to be closed");
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_asked_for_longest_ago_makes_room() {
        let origins = origins();
        let all: Vec<_> = (1..=MOST as u32).map(|port| origins.get(origin(port))).collect();
        tokio::time::advance(Duration::from_secs(1)).await;
        for port in 2..=MOST as u32 {
            origins.get(origin(port));
        }
        origins.get(origin(60_000));
        assert_eq!(kept(&origins), MOST);
        assert!(all[0].set().endpoints()[0].gone());
        assert!(!Arc::ptr_eq(&all[0], &origins.get(origin(1))));
        assert!(Arc::ptr_eq(&all[5], &origins.get(origin(6))));
    }

    #[tokio::test]
    async fn other_authorities_are_another_upstream() {
        let origins = origins();
        let with = |ca: Option<&'static [u8]>| Origin {
            https: true,
            http2: false,
            endpoint: "127.0.0.1:1".into(),
            ca: ca.map(Bytes::from_static),
        };
        let names: std::collections::HashSet<_> = [None, Some(&b"a"[..]), Some(&b"b"[..])]
            .map(|ca| origins.get(with(ca)).name().clone())
            .into();
        assert_eq!(names.len(), 3);
    }
}
