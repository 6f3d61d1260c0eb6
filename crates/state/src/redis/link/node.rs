//! A server of a store, and each thread's connections to it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisError, Value};
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use super::lane::{Gates, Lane};
use super::open::Dialer;
use crate::redis::script::Use;
use crate::redis::settings::Address;

/// How long a connection that is no longer used waits for what it was asked.
const LINGER: Duration = Duration::from_secs(1);

/// Calls that may wait to be written.
const QUEUE: usize = 1024;

/// Why a call has no answer.
#[derive(Debug)]
pub(crate) enum Fail {
    /// None came in time.
    Timeout,
    /// The call was not sent.
    Away(Cow<'static, str>),
    /// The connection broke off after it was.
    Cut,
    /// The answer is an error.
    Said(RedisError),
}

/// A server.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: Address,
    id: u64,
    gates: Gates,
    /// Dropped with the node: connections to it end.
    gone: watch::Sender<()>,
}

/// A question to a server.
pub(crate) struct Asked<'a> {
    pub(crate) of: Use,
    pub(crate) command: &'a Cmd,
    /// The same after `ASKING`, for a server that is only about to get the slot.
    pub(crate) moving: Option<Pipeline>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(of: Use, command: &'a Cmd) -> Self {
        Self { of, command, moving: None }
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// This thread's connections, by server and lane.
    static LINKS: RefCell<HashMap<(u64, Lane), Link>> = RefCell::default();
}

/// A connection of one thread.
struct Link {
    /// Tells it from those before; never 0.
    serial: u64,
    state: watch::Receiver<State>,
    /// Dropped, the connection only answers what it has been asked.
    _in_use: oneshot::Sender<()>,
}

/// How far a connection is.
#[derive(Debug, Clone)]
enum State {
    Opening,
    Open(MultiplexedConnection),
    Failed(Cow<'static, str>),
    Over,
}

impl Node {
    pub(crate) fn new(address: Address) -> Self {
        let id = NEXT.fetch_add(1, Relaxed);
        let (gates, gone) = Default::default();
        Self { address, id, gates, gone }
    }

    /// Whether it is asked now.
    pub(crate) fn lets(&self, lane: Lane) -> bool {
        self.gates.lets(lane)
    }

    /// Asks it no more until it has been found well; `true` when it was asked until now.
    pub(crate) fn trip(&self, lane: Lane, what: impl Into<Cow<'static, str>>) -> bool {
        self.gates.trip(lane, what.into())
    }

    /// It has been found well.
    pub(crate) fn well(&self, lane: Lane) {
        self.gates.well(lane);
    }

    /// Why it is not asked.
    pub(crate) fn why(&self, lane: Lane) -> Cow<'static, str> {
        self.gates.why(lane)
    }

    /// How long to wait before it is looked at again.
    pub(crate) fn pause(&self, lane: Lane) -> Duration {
        self.gates.pause(lane)
    }

    /// Takes it on to look after it; `false` when somebody does already, or it is well.
    pub(crate) fn begin_probing(&self, lane: Lane) -> bool {
        self.gates.begin_probing(lane)
    }

    /// Nobody looks after it any more.
    pub(crate) fn end_probing(&self, lane: Lane) {
        self.gates.end_probing(lane);
    }

    /// Asks it on this thread's connection, whatever its breaker says.
    pub(crate) async fn ask(
        &self,
        dialer: &Dialer,
        asked: &Asked<'_>,
        until: Instant,
    ) -> Result<Value, Fail> {
        let lane = (self.id, Lane::of(asked.of));
        let used = AtomicU64::new(0);
        let mut asking = pin!(async {
            let (serial, mut connection) = self.connection(dialer, lane).await?;
            used.store(serial, Relaxed);
            let answer = match &asked.moving {
                None => connection.send_packed_command(asked.command).await,
                Some(both) => {
                    let answers = connection.send_packed_commands(both, 1, 1).await;
                    answers.map(|mut answers| answers.pop().unwrap_or_default())
                }
            };
            match answer {
                Ok(Value::ServerError(error)) => Err(Fail::Said(error.into())),
                Ok(value) => Ok(value),
                Err(error) if error.code().is_some() => Err(Fail::Said(error)),
                // Nothing tells whether it was sent.
                Err(_) => Err(Fail::Cut),
            }
        });
        let mut answer = None;
        tokio::select! {
            biased;
            done = &mut asking => answer = Some(done),
            () = sleep_until(until) => {
                // The answer may lie in the socket, when this thread had no time to look. By the
                // second turn whoever reads it has been there.
                for _ in 0..2 {
                    yield_now().await;
                }
                poll_fn(|cx| {
                    if let Poll::Ready(done) = asking.as_mut().poll(cx) {
                        answer = Some(done);
                    }
                    Poll::Ready(())
                })
                .await;
            }
        }
        answer.unwrap_or_else(|| match used.load(Relaxed) {
            // Nothing was sent.
            0 => Err(Fail::Away("does not let in in time".into())),
            serial => {
                doubt(lane, serial);
                Err(Fail::Timeout)
            }
        })
    }

    /// This thread's connection, as soon as it is open.
    async fn connection(
        &self,
        dialer: &Dialer,
        lane: (u64, Lane),
    ) -> Result<(u64, MultiplexedConnection), Fail> {
        let (serial, mut state) = LINKS.with_borrow_mut(|links| {
            if let Some(link) = links.get(&lane).filter(|link| link.is_usable()) {
                return (link.serial, link.state.clone());
            }
            links.retain(|_, link| link.is_usable());
            let link = self.open(dialer);
            let opening = (link.serial, link.state.clone());
            links.insert(lane, link);
            opening
        });
        // Open already, nearly always.
        loop {
            match &*state.borrow_and_update() {
                State::Opening => {}
                State::Open(connection) => return Ok((serial, connection.clone())),
                State::Failed(why) => return Err(Fail::Away(why.clone())),
                State::Over => return Err(Fail::Away("has just closed the connection".into())),
            }
            if state.changed().await.is_err() {
                return Err(Fail::Away("is no longer asked".into()));
            }
        }
    }

    /// Opens a connection, driven by this thread.
    fn open(&self, dialer: &Dialer) -> Link {
        let (dialer, address) = (dialer.clone(), self.address.clone());
        let (sender, state) = watch::channel(State::Opening);
        let (in_use, mut unused) = oneshot::channel();
        let mut gone = self.gone.subscribe();
        let config = AsyncConnectionConfig::new().set_pipeline_buffer_size(QUEUE);
        tokio::spawn(async move {
            let opened = tokio::select! {
                opened = dialer.open(&address, config) => opened,
                _ = gone.changed() => return,
            };
            let mut driver = match opened {
                Ok((connection, driver)) => {
                    dialer.figures.opened();
                    sender.send_replace(State::Open(connection));
                    driver
                }
                Err(why) => {
                    sender.send_replace(State::Failed(why));
                    return;
                }
            };
            let lingers = tokio::select! {
                () = &mut driver => false,
                _ = gone.changed() => false,
                _ = &mut unused => true,
            };
            sender.send_replace(State::Over);
            if lingers {
                let _ = timeout(LINGER, driver).await;
            }
        });
        let serial = NEXT.fetch_add(1, Relaxed);
        Link { serial, state, _in_use: in_use }
    }
}

impl Link {
    /// Whether it is open or will be, as far as is known.
    fn is_usable(&self) -> bool {
        let over = matches!(&*self.state.borrow(), State::Failed(_) | State::Over);
        !over && self.state.has_changed().is_ok()
    }
}

/// A connection that left a call without an answer is not used again: it may be dead without
/// anybody having been told. One that is still opening has its own time.
fn doubt(lane: (u64, Lane), serial: u64) {
    LINKS.with_borrow_mut(|links| {
        if links.get(&lane).is_some_and(|link| link.serial == serial) {
            links.remove(&lane);
        }
    });
}
