//! What a store's threads share: its servers, and how they are asked.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::figures::{Calls, StoreFigures};
use super::key::{key, slot};
use super::link::{Dialer, Fail, Node};
use super::script::{Arg, Script, Use};
use super::settings::{Servers, Settings};

static BEAT: Script = Script::new(Use::Link, include_str!("beat.lua"));
static LEAVE: Script = Script::new(Use::Link, include_str!("leave.lua"));

/// How long a gateway counts as alive after its last word.
const ALIVE: Duration = Duration::from_secs(10);
/// How long the control runtime waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// How long the process's end waits for the store.
const GOOD_BYE: Duration = Duration::from_millis(200);

pub(super) struct Inner {
    pub(super) name: Arc<str>,
    pub(super) prefix: String,
    pub(super) timeout: Option<Duration>,
    pub(super) gateway: Arc<str>,
    pub(super) dialer: Dialer,
    calls: Arc<Calls>,
    nodes: Vec<Arc<Node>>,
    live: AtomicU32,
    /// Wakes the keeper: a server is not well.
    pub(super) wrong: Notify,
}

impl Inner {
    pub(super) fn new(name: &str, settings: &Settings, gateway: Arc<str>) -> Self {
        let calls = Arc::new(Calls::default());
        let Servers::One(address) = &settings.servers;
        Self {
            name: name.into(),
            prefix: settings.prefix.clone(),
            timeout: settings.timeout,
            gateway,
            dialer: Dialer::new(settings, Arc::clone(&calls)),
            calls,
            nodes: vec![Arc::new(Node::new(address.clone()))],
            live: AtomicU32::new(1),
            wrong: Notify::new(),
        }
    }

    /// The store's servers that are asked.
    pub(super) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
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
            keys.windows(2).all(|pair| matches!(pair, [one, other] if slot(one) == slot(other))),
            "the keys of a script are in several slots"
        );
        let begun = Instant::now();
        let mut command = call("EVALSHA", script.hash(), keys, args);
        let mut result = self.ask(script.of(), &command, until).await;
        if let Err(Fail::Said(error)) = &result
            && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        {
            command = call("EVAL", script.text(), keys, args);
            result = self.ask(script.of(), &command, until).await;
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
        let result = self.ask(Use::Link, &command, until).await;
        self.calls.note(Use::Link, &result, begun.elapsed());
        result.map(drop)
    }

    /// A channel's name in Redis.
    pub(super) fn channel(&self, channel: &str) -> String {
        format!("{}:channel:{channel}", self.prefix)
    }

    async fn ask(&self, of: Use, command: &Cmd, until: Instant) -> Result<Value, Fail> {
        let Some(node) = self.nodes.first() else {
            return Err(Fail::Away("has no server".into()));
        };
        if !node.lets() {
            return Err(Fail::Away(node.why()));
        }
        let result = node.ask(&self.dialer, of, command, until).await;
        match result {
            Err(Fail::Timeout) => {
                self.trip(node, "does not answer in time".into());
                Err(Fail::Timeout)
            }
            Err(Fail::Away(why)) => {
                self.trip(node, why.clone());
                Err(Fail::Away(why))
            }
            Err(Fail::Said(error)) => Err(self.said(node, error)),
            other => other,
        }
    }

    /// An error that a server answered. Some say that it does nothing for us at all.
    fn said(&self, node: &Node, error: RedisError) -> Fail {
        let server = &node.address;
        let why = match error.code() {
            Some("NOAUTH") => format!("at {server} refuses the user or the password"),
            Some("LOADING") => format!("at {server} is still reading its data"),
            // It answers, and will do so to a probe.
            Some("READONLY" | "MASTERDOWN") => {
                return Fail::Away(
                    format!("at {server} is a replica, which takes no writes").into(),
                );
            }
            _ => return Fail::Said(error),
        };
        self.trip(node, why.clone().into());
        Fail::Away(why.into())
    }

    fn trip(&self, node: &Node, why: Cow<'static, str>) {
        if node.trip(why) {
            self.wrong.notify_one();
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
        figures.servers = self.nodes.len() as u64;
        figures.breakers_open = self.nodes.iter().filter(|node| !node.lets()).count() as u64;
        figures.live = self.live().into();
        figures
    }
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
