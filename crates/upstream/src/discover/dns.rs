//! Names by DNS, with the TTL kept: asked again in the background when it runs out, so that no
//! request waits for a name. The last good answer stays while new ones fail. `/etc/hosts` and
//! `localhost` are honoured; AAAA answers are left out on a host without an IPv6 route to them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Weak;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::time::{Instant, sleep};

use crate::upstream::Upstream;

/// However short a TTL is, and however long: asked no more often, and no less.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);
/// A name that does not exist is asked for again after this long at most.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(10);
/// Between failures: doubled from `SHORTEST` up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// One name has no more addresses than this; more are left out, in order.
const MOST_ADDRESSES: usize = 256;

/// Asks DNS. One for the whole process; what was answered is remembered for its TTL.
#[derive(Clone)]
pub struct Resolver(Result<TokioResolver, String>);

/// Addresses, and how long they may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) fresh_for: Duration,
}

impl Resolver {
    /// The system's name servers and search domains. When they cannot be read, every question
    /// fails with the reason, and literal addresses still work.
    pub fn system() -> Self {
        let builder = TokioResolver::builder_tokio().and_then(|mut builder| {
            tune(builder.options_mut());
            builder.build()
        });
        Self(builder.map_err(|error| format!("the system's DNS settings cannot be used: {error}")))
    }

    /// One name server alone, over UDP, and no hosts file.
    pub fn server(address: SocketAddr) -> Self {
        let mut connection = ConnectionConfig::udp();
        connection.port = address.port();
        let server = NameServerConfig::new(address.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        tune(builder.options_mut());
        builder.options_mut().use_hosts_file = hickory_resolver::config::ResolveHosts::Never;
        Self(builder.build().map_err(|error| error.to_string()))
    }

    /// Asks for the addresses of a name.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Answer, String> {
        let resolver = self.0.as_ref().map_err(Clone::clone)?;
        let found = resolver.lookup_ip(name).await.map_err(|error| error.to_string())?;
        let now = Instant::now().into_std();
        let fresh_for = found.valid_until().saturating_duration_since(now);
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        drop_unreachable(name, &mut addresses);
        // In one order, whatever order the server rotates them into.
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.len() > MOST_ADDRESSES {
            tracing::warn!(name, addresses = addresses.len(), "more addresses than are used");
            addresses.truncate(MOST_ADDRESSES);
        }
        match addresses.is_empty() {
            true => Err("the name has no addresses".to_owned()),
            false => Ok(Answer { addresses, fresh_for: fresh_for.clamp(SHORTEST, LONGEST) }),
        }
    }
}

fn tune(options: &mut ResolverOpts) {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = Duration::from_secs(2);
    options.positive_min_ttl = Some(SHORTEST);
    options.positive_max_ttl = Some(LONGEST);
    options.negative_max_ttl = Some(LONGEST_NEGATIVE);
    options.try_tcp_on_error = true;
}

/// Leaves out IPv6 addresses that this host has no route to, and those of `localhost` beside an
/// IPv4 one: most services listen on one of the two, and nearly always on that.
fn drop_unreachable(name: &str, addresses: &mut Vec<IpAddr>) {
    if !addresses.iter().any(IpAddr::is_ipv4) {
        return;
    }
    let local = name == "localhost" || name.ends_with(".localhost");
    addresses.retain(|address| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !local && has_route(*address),
    });
}

/// Asks the kernel; connecting a UDP socket sends nothing.
fn has_route(address: Ipv6Addr) -> bool {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok_and(|s| s.connect((address, 53)).is_ok())
}

/// Keeps one configured endpoint's addresses up to date until its upstream is gone.
pub(crate) async fn watch(upstream: Weak<Upstream>, at: usize, name: Box<str>, resolver: Resolver) {
    let mut pause = SHORTEST;
    loop {
        let answer = resolver.resolve(&name).await;
        let Some(upstream) = upstream.upgrade() else { return };
        let wait = match &answer {
            Ok(answer) => {
                pause = SHORTEST;
                answer.fresh_for
            }
            Err(error) => {
                if upstream.knows(at) {
                    tracing::warn!(upstream = %upstream.name(), %name, error, "name not resolved: its last answer stays");
                } else {
                    tracing::warn!(upstream = %upstream.name(), %name, error, "name not resolved: no address is known");
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                pause / 2
            }
        };
        upstream.resolved(at, answer.ok());
        drop(upstream);
        // A little late, so that what is remembered has run out and is asked for anew.
        sleep(wait + Duration::from_millis(20)).await;
    }
}
