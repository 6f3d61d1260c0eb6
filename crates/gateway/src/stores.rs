//! The stores of a configuration, as `state` takes them: `state` knows nothing of configurations
//! and TLS, so both are put together here.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use lockgate_config::model::{Document, Reached, RedisUrl, Store, UpstreamTls};
use lockgate_core::SendFuture;
use lockgate_net::tls::{ClientTls, TlsError};
use lockgate_state::redis::{
    Address, BUCKETS, Login, Secure, Servers, Settings, StoreFigures, Stream, Tls,
};
use lockgate_state::{StoreSettings, Stores};
use lockgate_telemetry::{Encoder, names};
use tokio::net::TcpStream;

/// What every key begins with, unless said.
const PREFIX: &str = "lockgate";

/// The settings of every store by name. What cannot be used has been refused by now.
pub(crate) fn settings(document: &Document) -> Vec<(String, StoreSettings)> {
    let stores = document.stores.iter().filter_map(|(name, store)| {
        let settings = match store.checked(name).ok()? {
            Reached::Memory => StoreSettings::Memory,
            reached => StoreSettings::Redis(Box::new(redis(store, reached)?)),
        };
        Some((name.clone(), settings))
    });
    stores.collect()
}

fn redis(store: &Store, reached: Reached<'_>) -> Option<Settings> {
    let own = Login { username: store.username.clone(), password: store.password.clone() };
    let of = |url: &RedisUrl| Login {
        username: url.username.clone().or_else(|| own.username.clone()),
        password: url.password.clone().or_else(|| own.password.clone()),
    };
    let at = |url: &RedisUrl| Address::new(&url.host, url.port);
    let (servers, login, database) = match reached {
        Reached::Memory => return None,
        Reached::One(url) => (Servers::One(at(&url)), of(&url), url.database),
        Reached::Cluster(urls) => {
            let login = urls.first().map(of).unwrap_or_default();
            (Servers::Cluster(urls.iter().map(at).collect()), login, None)
        }
        Reached::Sentinel(sentinel, all) => {
            let sentinels = all.iter().map(|(host, port)| Address::new(host, *port)).collect();
            let login =
                Login { username: sentinel.username.clone(), password: sentinel.password.clone() };
            let master = sentinel.master.clone();
            (Servers::Sentinel { master, sentinels, login }, own.clone(), None)
        }
    };
    let tls = if store.speaks_tls() { Some(secured(store).ok()?) } else { None };
    Some(Settings {
        servers,
        login,
        tls,
        database: store.database.or(database).unwrap_or_default(),
        prefix: store.prefix.clone().unwrap_or_else(|| PREFIX.to_owned()),
        timeout: store.timeout.map(|timeout| timeout.0),
    })
}

/// The TLS of a store that speaks it.
///
/// # Errors
/// What is wrong with its files.
pub(crate) fn secured(store: &Store) -> Result<Tls, TlsError> {
    let Store { ca, sni, cert, key, .. } = store.clone();
    secured_by(&UpstreamTls { ca, sni, cert, key })
}

/// TLS as a store has it.
///
/// # Errors
/// What is wrong with its files.
pub(crate) fn secured_by(settings: &UpstreamTls) -> Result<Tls, TlsError> {
    let mut mark = DefaultHasher::new();
    settings.sni.hash(&mut mark);
    let tls = ClientTls::load(settings, false)?;
    tls.mark().hash(&mut mark);
    Ok(Tls { mark: mark.finish(), secure: Arc::new(Verified(Arc::new(tls))) })
}

/// TLS as upstreams have it: never without looking at the certificate.
struct Verified(Arc<ClientTls>);

impl Secure for Verified {
    fn secure(&self, stream: TcpStream, host: &str) -> SendFuture<io::Result<Box<dyn Stream>>> {
        let (tls, host) = (Arc::clone(&self.0), host.to_owned());
        Box::pin(async move {
            let stream = tls.connect_http1(stream, &host).await;
            let stream = stream.map_err(|fault| io::Error::other(fault.to_string()))?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// Writes the figures of every Redis.
pub(crate) fn collect(stores: &Stores, out: &mut Encoder) {
    for store in stores.each_redis() {
        let StoreFigures {
            calls,
            buckets,
            took,
            connections,
            dropped,
            servers,
            breakers_open,
            open_for_blobs,
            live,
        } = store.figures();
        let name = store.name();
        for (of, outcome, count) in calls {
            out.count(&names::STORE_CALLS, &[name, of, outcome], count);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        out.buckets(&names::STORE_SECONDS, &[name], &BUCKETS, &buckets, nanos);
        out.count(&names::STORE_SERVERS, &[name], servers);
        out.count(&names::STORE_BREAKERS_OPEN, &[name, "all"], breakers_open);
        out.count(&names::STORE_BREAKERS_OPEN, &[name, "blobs"], open_for_blobs);
        out.count(&names::STORE_CONNECTIONS, &[name], connections);
        out.count(&names::STORE_DROPPED, &[name], dropped);
        out.count(&names::STORE_LIVE, &[name], live);
    }
}
