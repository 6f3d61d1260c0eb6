//! The bank under test, as processes: four accounts services over one ledger, three gateways, and
//! the Redis that these share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lockgate_testkit::redis::{MASTER, RedisServer, Sentinels};
use lockgate_testkit::{Dir, Gateway, Wire, request, until};

use tokio::time::sleep;

use crate::support::{BINARY, launch};

pub(super) const GATEWAYS: usize = 3;
const SERVICES: usize = 4;
/// How long a lease lives without its gateway.
pub(super) const TTL: Duration = Duration::from_millis(600);
/// How long a Redis without replicas is away.
const AWAY: Duration = Duration::from_millis(300);
/// The metric that counts leases which were lost while a request was under way.
const LOST: &str = "lockgate_serialize_lost_total";

/// Which services, behind which routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// They heed tokens and keys.
    Fenced,
    /// They read and write, and know nothing.
    Racy,
    /// The same, and nobody takes turns.
    Unserialized,
}

/// One process of the accounts service.
pub(super) struct Service {
    child: Child,
    address: SocketAddr,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    async fn start(dir: &Dir, number: usize, fenced: bool, delay: &str) -> Self {
        let said = format!("service-{number}");
        let parent = std::process::id().to_string();
        let mut command = Command::new(BINARY);
        command.args(["demo", "child", "--parent", &parent, "--", BINARY, "demo", "accounts"]);
        command.args(["--file", "bank.db", "--port", "0", "--delay", delay]);
        if fenced {
            command.arg("--fenced");
        }
        let out = std::fs::File::create(dir.path().join(&said)).unwrap();
        command.current_dir(dir.path()).stdin(Stdio::null());
        let child = command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        let mut service = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        until("the accounts service to listen", async || {
            let text = dir.read(&said);
            let ended = !matches!(service.child.try_wait(), Ok(None));
            assert!(!ended, "the accounts service ended: {text}");
            let Some((_, address)) = text.trim_end().split_once("listens on ") else {
                return false;
            };
            service.address = address.parse().unwrap();
            Wire::try_connect(service.address).await.is_ok()
        })
        .await;
        service
    }
}

/// What the gateways share.
enum Shared {
    /// One that writes down everything before it answers.
    One(Box<RedisServer>),
    /// A master whose replicas have everything a little later.
    Watched(Box<Sentinels>),
}

impl Shared {
    /// As a configuration names it.
    fn store(&self) -> String {
        match self {
            Self::One(redis) => redis.url(),
            Self::Watched(sentinels) => {
                let all: Vec<String> =
                    sentinels.sentinels().iter().map(|one| format!("\"{one}\"")).collect();
                let all = all.join(", ");
                format!("{{ redis_sentinel: {{ master: {MASTER}, sentinels: [{all}] }} }}")
            }
        }
    }
}

/// The running bank.
pub(super) struct Bank {
    dir: Dir,
    services: Vec<Service>,
    pub(super) gateways: Vec<Gateway>,
    shared: Shared,
    /// Leases lost by gateways that have been killed since.
    lost_before: u64,
}

impl Bank {
    /// Starts everything.
    pub(super) async fn start(kind: Kind) -> Self {
        Self::with_delay(kind, "5ms").await
    }

    /// The same, with services that take this long between reading and writing.
    pub(super) async fn with_delay(kind: Kind, delay: &str) -> Self {
        let written = ["--appendonly", "yes", "--appendfsync", "always"];
        let redis = RedisServer::start_with(&written).await;
        Self::over(Shared::One(Box::new(redis)), kind, delay).await
    }

    /// The same over a master with replicas, which sentinels watch.
    pub(super) async fn watched(kind: Kind) -> Self {
        let sentinels = Sentinels::start().await;
        Self::over(Shared::Watched(Box::new(sentinels)), kind, "5ms").await
    }

    async fn over(shared: Shared, kind: Kind, delay: &str) -> Self {
        let dir = Dir::new();
        let mut services = Vec::new();
        for number in 0..SERVICES {
            services.push(Service::start(&dir, number, kind == Kind::Fenced, delay).await);
        }
        let config = config(kind, &shared.store(), &services);
        let mut gateways = Vec::new();
        for _ in 0..GATEWAYS {
            gateways.push(launch().start(&config).await);
        }
        Self { dir, services, gateways, shared, lost_before: 0 }
    }

    /// Where the gateways listen.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.gateways.iter().map(Gateway::web).collect()
    }

    /// The ledger's file.
    pub(super) fn ledger(&self) -> PathBuf {
        self.dir.path().join("bank.db")
    }

    /// Opens the accounts, past the gateways.
    pub(super) async fn open_accounts(&self, count: usize, opening: i64) {
        for number in 0..count {
            let mut wire = Wire::connect(self.services[0].address).await;
            let body = format!("{{\"balance\":{opening}}}");
            let path = format!("/accounts/{}", name(number));
            let answer = wire.ask(request("PUT", &path, &[], &body)).await;
            assert_eq!(answer.status, 201, "{answer:?}");
        }
    }

    /// How many movements the services have read and not yet written.
    pub(super) async fn under_way(&self) -> u64 {
        let mut sum = 0;
        for service in &self.services {
            let mut wire = Wire::connect(service.address).await;
            let answer = wire.ask(request("GET", "/health", &[], "")).await;
            sum += answer.json()["under_way"].as_u64().unwrap();
        }
        sum
    }

    /// Kills a gateway and starts it again. What it had counted is kept.
    pub(super) async fn restart(&mut self, number: usize) {
        self.lost_before += lost_by(&self.gateways[number]).await;
        self.gateways[number].restart().await;
    }

    /// Takes Redis away for a while; where there are replicas, one of them takes over.
    pub(super) async fn strike_redis(&mut self) {
        match &mut self.shared {
            Shared::One(redis) => {
                redis.kill();
                sleep(AWAY).await;
                redis.restart().await;
            }
            Shared::Watched(sentinels) => {
                let master = sentinels.settled().await;
                sentinels.fail_over().await;
                sentinels.rejoin(master).await;
            }
        }
    }

    /// How many leases the gateways say that they have lost.
    pub(super) async fn lost_leases(&self) -> u64 {
        let mut lost = self.lost_before;
        for gateway in &self.gateways {
            lost += lost_by(gateway).await;
        }
        lost
    }
}

async fn lost_by(gateway: &Gateway) -> u64 {
    gateway.metrics().await.sum(LOST, &[]) as u64
}

/// An account's name.
pub(super) fn name(number: usize) -> String {
    format!("account-{number}")
}

fn config(kind: Kind, store: &str, services: &[Service]) -> String {
    let addresses: Vec<String> =
        services.iter().map(|service| format!("\"{}\"", service.address)).collect();
    let addresses = addresses.join(", ");
    // A service that knows keys may be asked again; one that does not must not be.
    let unsure = match kind {
        Kind::Fenced => "on_unknown: retry, on_server_error: retry",
        Kind::Racy | Kind::Unserialized => "upstream_retries: false",
    };
    let serialize = match kind {
        Kind::Unserialized => String::new(),
        Kind::Fenced | Kind::Racy => {
            let ttl = TTL.as_millis();
            format!("serialize: {{ by: \"path:id\", wait: 2s, ttl: {ttl}ms, store: shared }}")
        }
    };
    format!(
        "telemetry: {{ access_log: off }}
stores: {{ shared: {store} }}
upstreams:
  accounts: {{ endpoints: [{addresses}], health: off, outlier: off }}
routes:
  GET /accounts/{{id}}: {{ to: accounts }}
  POST /accounts/{{id}}/{{kind}}:
    idempotency:
      {{ key: \"header:Idempotency-Key\", keep: 1h, lost_after: 3s, {unsure}, store: shared }}
    {serialize}
    to: accounts
"
    )
}
