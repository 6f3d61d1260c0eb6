//! What a store's threads share: its servers, and how they are asked.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::figures::{Calls, StoreFigures};
use super::find::find;
use super::key::{key, slot};
use super::link::{Asked, Dialer, Fail, Lane, Node, said};
use super::map::Map;
use super::script::{Arg, Script, Use};
use super::settings::{Address, Servers, Settings};

static BEAT: Script = Script::new(Use::Link, include_str!("beat.lua"));
static LEAVE: Script = Script::new(Use::Link, include_str!("leave.lua"));

/// How long a gateway counts as alive after its last word.
const ALIVE: Duration = Duration::from_secs(10);
/// How long the control runtime waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How long the process's end waits for the store.
const GOOD_BYE: Duration = Duration::from_millis(200);

/// Servers that one call is sent to at most.
const MOST_TURNS: usize = 8;
/// Between two attempts on a slot that is being moved.
const MOMENT: Duration = Duration::from_millis(2);
/// Servers outside of the map that are remembered.
const MOST_NEWCOMERS: usize = 64;

/// What came of a look for the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    /// Nobody knew.
    Nothing,
    /// They are those that were known.
    Same,
    /// They are others now.
    Others,
}

pub(super) struct Inner {
    pub(super) name: Arc<str>,
    pub(super) prefix: String,
    pub(super) timeout: Option<Duration>,
    pub(super) gateway: Arc<str>,
    pub(super) dialer: Dialer,
    pub(super) servers: Servers,
    calls: Arc<Calls>,
    map: ArcSwap<Map>,
    /// Servers that have been named by others, and are not in the map yet.
    newcomers: Mutex<Vec<Arc<Node>>>,
    live: AtomicU32,
    /// Wakes the keeper: a server is not well.
    pub(super) wrong: Notify,
    /// Wakes whoever looks for the servers: they may be others now.
    pub(super) stale: Notify,
    /// Whether the servers have been looked for.
    sought: watch::Sender<bool>,
    /// Told when the map has changed.
    other: watch::Sender<()>,
}

impl Inner {
    pub(super) fn new(name: &str, settings: &Settings, gateway: Arc<str>) -> Self {
        let calls = Arc::new(Calls::default());
        let (map, is_known) = match &settings.servers {
            Servers::One(address) => (Map::one(Arc::new(Node::new(address.clone()))), true),
            Servers::Cluster(_) | Servers::Sentinel { .. } => (Map::default(), false),
        };
        Self {
            name: name.into(),
            prefix: settings.prefix.clone(),
            timeout: settings.timeout,
            gateway,
            dialer: Dialer::new(settings, Arc::clone(&calls)),
            calls,
            servers: settings.servers.clone(),
            map: ArcSwap::from_pointee(map),
            newcomers: Mutex::default(),
            live: AtomicU32::new(1),
            wrong: Notify::new(),
            stale: Notify::new(),
            sought: watch::Sender::new(is_known),
            other: watch::Sender::new(()),
        }
    }

    /// The store's servers that are asked.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        let mut nodes = self.map.load().nodes().to_vec();
        nodes.extend(self.newcomers.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        nodes
    }

    /// Whether anybody is asked.
    pub(super) fn lets(&self, lane: Lane) -> bool {
        let map = self.map.load();
        map.nodes().iter().any(|node| node.lets(lane))
            || (map.nodes().is_empty() && !*self.sought.borrow())
    }

    /// A server that is asked.
    pub(super) fn any(&self) -> Option<Arc<Node>> {
        self.map.load().node(None).filter(|node| node.lets(Lane::Small)).cloned()
    }

    /// Waits until a server is no longer one of the store's.
    pub(super) async fn without(&self, node: &Arc<Node>) {
        let mut other = self.other.subscribe();
        while self.has(node) {
            if other.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether a server is still one of the store's.
    pub(super) fn has(&self, node: &Arc<Node>) -> bool {
        self.nodes().iter().any(|other| Arc::ptr_eq(node, other))
    }

    /// Runs a script; by its hash, and as a whole when the server does not know that.
    pub(super) async fn run(
        &self,
        script: &'static Script,
        keys: &[Vec<u8>],
        args: &[Arg<'_>],
        until: Instant,
    ) -> Result<Value, Fail> {
        debug_assert!(
            !matches!(self.servers, Servers::Cluster(_))
                || keys
                    .windows(2)
                    .all(|pair| matches!(pair, [one, other] if slot(one) == slot(other))),
            "the keys of a script are in several slots"
        );
        let begun = Instant::now();
        let mut command = call("EVALSHA", script.hash(), keys, args);
        let slot = keys.first().map(|key| slot(key));
        let mut result = self.ask(script.of(), &command, slot, until).await;
        if let Err(Fail::Said(error)) = &result
            && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        {
            command = call("EVAL", script.text(), keys, args);
            result = self.ask(script.of(), &command, slot, until).await;
        }
        self.calls.note(script.of(), &result, begun.elapsed());
        result
    }

    /// Sends a message to a channel.
    pub(super) async fn publish(
        &self,
        channel: &str,
        message: &[u8],
        until: Instant,
    ) -> Result<(), Fail> {
        let begun = Instant::now();
        let mut command = redis::cmd("PUBLISH");
        command.arg(self.channel(channel)).arg(message);
        let result = self.ask(Use::Link, &command, None, until).await;
        self.calls.note(Use::Link, &result, begun.elapsed());
        result.map(drop)
    }

    /// A channel's name in Redis.
    pub(super) fn channel(&self, channel: &str) -> String {
        format!("{}:channel:{channel}", self.prefix)
    }

    /// Asks the server that has a slot, and follows it to where the slot has gone. Nothing is sent
    /// twice but what was certainly not done.
    async fn ask(
        &self,
        of: Use,
        command: &Cmd,
        slot: Option<u16>,
        until: Instant,
    ) -> Result<Value, Fail> {
        let lane = Lane::of(of);
        let mut asked = Asked::new(of, command);
        let mut next = None;
        for _ in 0..=MOST_TURNS {
            let node = match next.take() {
                Some(node) => node,
                None => self.serving(slot, until).await?,
            };
            if !node.lets(lane) {
                return Err(Fail::Away(node.why(lane)));
            }
            let error = match node.ask(&self.dialer, &asked, until).await {
                Err(Fail::Said(error)) => error,
                Err(Fail::Timeout) => {
                    self.trip(&node, lane, "does not answer in time".into());
                    return Err(Fail::Timeout);
                }
                Err(Fail::Away(why)) => {
                    self.trip(&node, lane, why.clone());
                    return Err(Fail::Away(why));
                }
                other => return other,
            };
            asked.moving = None;
            match (error.code(), error.redirect_node()) {
                (Some("MOVED" | "ASK"), _) if !matches!(self.servers, Servers::Cluster(_)) => {
                    let why = "is one server of a Cluster: say `redis_cluster` in place of a URL";
                    return Err(Fail::Away(why.into()));
                }
                (Some("MOVED"), Some((at, slot))) => next = self.moved(slot, at, &node.address),
                (Some("ASK"), Some((at, _))) => {
                    let mut both = redis::pipe();
                    both.cmd("ASKING").ignore().add_command(command.clone());
                    asked.moving = Some(both);
                    next = self.known(at, &node.address);
                }
                (Some("TRYAGAIN"), _) => self.rest(until).await?,
                (Some("READONLY" | "MASTERDOWN"), _) => self.changed(&node, &error, until).await?,
                _ => return Err(self.said(&node, error)),
            }
        }
        Err(Fail::Away("sends from one server to another".into()))
    }

    /// The server that has a slot, as soon as the servers have been looked for.
    async fn serving(&self, slot: Option<u16>, until: Instant) -> Result<Arc<Node>, Fail> {
        if let Some(node) = self.map.load().node(slot) {
            return Ok(Arc::clone(node));
        }
        if !*self.sought.borrow() {
            let mut sought = self.sought.subscribe();
            if timeout_at(until, sought.wait_for(|sought| *sought)).await.is_err() {
                // Nobody else waits for that.
                self.sought.send_replace(true);
                return Err(Fail::Away("has not been found in time".into()));
            }
        }
        self.stale.notify_one();
        let map = self.map.load();
        map.node(slot).map(Arc::clone).ok_or_else(|| Fail::Away("has no server for that".into()))
    }

    /// Takes on that a slot is another server's.
    fn moved(&self, slot: u16, at: &str, asked: &Address) -> Option<Arc<Node>> {
        let at = address(at, asked)?;
        let says_so = |map: &Map| map.node(Some(slot)).is_some_and(|node| node.address == at);
        if !says_so(&self.map.load()) {
            self.map.rcu(|map| {
                if says_so(map) { Arc::clone(map) } else { Arc::new(map.with(slot, &at)) }
            });
            self.stale.notify_one();
        }
        self.map.load().node(Some(slot)).cloned()
    }

    /// The server at an address that another server has named.
    fn known(&self, at: &str, asked: &Address) -> Option<Arc<Node>> {
        let at = address(at, asked)?;
        let known = self.map.load().at(&at);
        Some(known.unwrap_or_else(|| self.met(at)))
    }

    /// A server that gets its first slot. It is kept, or each call would connect anew.
    fn met(&self, at: Address) -> Arc<Node> {
        let mut newcomers = self.newcomers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = newcomers.iter().find(|node| node.address == at) {
            return Arc::clone(node);
        }
        if newcomers.len() >= MOST_NEWCOMERS {
            newcomers.remove(0);
        }
        let node = Arc::new(Node::new(at));
        newcomers.push(Arc::clone(&node));
        node
    }

    /// Waits a moment for a slot that is being moved.
    async fn rest(&self, until: Instant) -> Result<(), Fail> {
        let moment = Instant::now() + MOMENT;
        if moment >= until {
            return Err(Fail::Away("is moving the slot".into()));
        }
        sleep_until(moment).await;
        Ok(())
    }

    /// A server does not serve what it served. Waits until another does, as long as there is time.
    async fn changed(
        &self,
        node: &Arc<Node>,
        error: &RedisError,
        until: Instant,
    ) -> Result<(), Fail> {
        let why = format!("at {} does not serve now: {}", node.address, said(error));
        if matches!(self.servers, Servers::One(_)) {
            return Err(Fail::Away(why.into()));
        }
        self.stale.notify_one();
        match timeout_at(until, self.without(node)).await {
            Ok(()) => Ok(()),
            Err(_) => {
                // Nobody else waits for that.
                self.trip(node, Lane::Small, why.clone().into());
                Err(Fail::Away(why.into()))
            }
        }
    }

    /// An error that a server answered. Some say that it does nothing for us at all.
    fn said(&self, node: &Node, error: RedisError) -> Fail {
        let server = &node.address;
        let why = match error.code() {
            Some("NOAUTH") => format!("at {server} refuses the user or the password"),
            Some("LOADING") => format!("at {server} is still reading its data"),
            Some("CLUSTERDOWN") if error.detail().is_some_and(|what| what.contains("slot not")) => {
                // It serves the others.
                self.stale.notify_one();
                return Fail::Away("has no server for that".into());
            }
            Some("CLUSTERDOWN") => format!("at {server} has lost sight of the Cluster"),
            _ => return Fail::Said(error),
        };
        self.trip(node, Lane::Small, why.clone().into());
        Fail::Away(why.into())
    }

    /// Looks for the servers once more.
    pub(super) async fn seek(&self) -> Sought {
        let known = self.map.load_full();
        let sought = match find(&self.servers, &self.dialer, &known).await {
            None => Sought::Nothing,
            Some(found) if found.is_same(&known) => Sought::Same,
            Some(found) => {
                self.map.store(Arc::new(found));
                self.newcomers.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.other.send_replace(());
                Sought::Others
            }
        };
        self.sought.send_replace(true);
        sought
    }

    fn trip(&self, node: &Node, lane: Lane, why: Cow<'static, str>) {
        if node.trip(lane, why) {
            self.wrong.notify_one();
            self.stale.notify_one();
        }
    }

    /// How many gateways are alive, as far as is known.
    pub(super) fn live(&self) -> u32 {
        self.live.load(Relaxed).max(1)
    }

    /// Says that this gateway is alive, and learns how many are.
    pub(super) async fn beat(&self) {
        let keys = [self.gateways()];
        let alive = i64::try_from(ALIVE.as_millis()).unwrap_or(i64::MAX);
        let args = [Arg::from(&*self.gateway), Arg::Int(alive)];
        if let Ok(Value::Int(live)) = self.run(&BEAT, &keys, &args, Instant::now() + PATIENCE).await
        {
            self.live.store(u32::try_from(live).unwrap_or(1), Relaxed);
        }
    }

    /// Takes this gateway's word back.
    pub(super) async fn leave(&self) {
        let (keys, args) = ([self.gateways()], [Arg::from(&*self.gateway)]);
        let _ = timeout(GOOD_BYE, self.run(&LEAVE, &keys, &args, Instant::now() + GOOD_BYE)).await;
    }

    fn gateways(&self) -> Vec<u8> {
        key(&self.prefix, "live", b"gateways", b"")
    }

    pub(super) fn dropped(&self) {
        self.calls.dropped();
    }

    pub(super) fn figures(&self) -> StoreFigures {
        let mut figures = self.calls.figures();
        let nodes = self.nodes();
        figures.servers = nodes.len() as u64;
        let open = |lane| nodes.iter().filter(|node| !node.lets(lane)).count() as u64;
        figures.breakers_open = open(Lane::Small);
        figures.open_for_blobs = open(Lane::Large).saturating_sub(figures.breakers_open);
        figures.live = self.live().into();
        figures
    }
}

/// `HOST:PORT`, as a server names another; without the host it is the same.
fn address(text: &str, asked: &Address) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { &asked.host } else { host };
    Some(Address::new(host, port.parse().ok()?))
}

fn call(how: &str, script: &str, keys: &[Vec<u8>], args: &[Arg<'_>]) -> Cmd {
    let mut command = redis::cmd(how);
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(key.as_slice());
    }
    for arg in args {
        command.arg(arg);
    }
    command
}
