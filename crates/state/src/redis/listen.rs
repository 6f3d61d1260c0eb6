//! Messages between gateways, over Redis' channels: one connection on the control runtime, for all
//! the channels that are listened to. Redis keeps no message for who is not there; so whoever
//! listens is told whenever it may have missed some.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{MultiplexedConnection, SendError};
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{sleep, timeout};

use super::inner::{Inner, PATIENCE};

/// Messages that a listener may be behind by.
const BEHIND: usize = 1024;
/// How often the connection is tried.
const TRIED: Duration = Duration::from_secs(1);
/// The pause before connecting again, on average.
const PAUSE: Duration = Duration::from_millis(100);

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(Bytes),
    /// Some may have been missed: the connection was cut, or is back, or has just been made.
    Gap,
}

/// The channels of a store that are listened to.
pub(super) struct Ears {
    shared: Arc<Shared>,
    control: Handle,
    there: watch::Receiver<()>,
}

struct Shared {
    inner: Arc<Inner>,
    /// Channels by their names in Redis.
    channels: Mutex<BTreeMap<String, broadcast::Sender<Heard>>>,
    /// There is a channel more.
    more: Notify,
}

impl Ears {
    pub(super) fn new(inner: Arc<Inner>, control: Handle, there: watch::Receiver<()>) -> Self {
        let (channels, more) = Default::default();
        Self { shared: Arc::new(Shared { inner, channels, more }), control, there }
    }

    pub(super) fn listen(&self, channel: &str) -> broadcast::Receiver<Heard> {
        let name = self.shared.inner.channel(channel);
        let mut channels = self.shared.lock();
        if let Some(known) = channels.get(&name) {
            return known.subscribe();
        }
        let sender = broadcast::Sender::new(BEHIND);
        let receiver = sender.subscribe();
        let first = channels.is_empty();
        channels.insert(name, sender);
        drop(channels);
        if first {
            let (shared, mut gone) = (Arc::clone(&self.shared), self.there.clone());
            self.control.spawn(async move {
                tokio::select! {
                    () = hear(&shared) => {}
                    _ = gone.changed() => {}
                }
            });
        } else {
            self.shared.more.notify_one();
        }
        receiver
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, broadcast::Sender<Heard>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those without a listener are no longer told, but stay subscribed.
    fn say(&self, channel: &[u8], heard: Heard) {
        let name = std::str::from_utf8(channel).unwrap_or_default();
        if let Some(sender) = self.lock().get(name) {
            let _ = sender.send(heard);
        }
    }

    fn gap(&self) {
        for sender in self.lock().values() {
            let _ = sender.send(Heard::Gap);
        }
    }
}

/// Connects again and again.
async fn hear(shared: &Shared) {
    loop {
        connected(shared).await;
        shared.gap();
        sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
    }
}

/// One connection, until it is cut.
async fn connected(shared: &Shared) {
    let Some(node) = shared.inner.any() else { return };
    let (sender, pushes) = channel::<PushInfo>(BEHIND);
    let lost = Arc::new(AtomicBool::new(false));
    let loses = Arc::clone(&lost);
    let config = AsyncConnectionConfig::new().set_push_sender(move |push| {
        sender.try_send(push).map_err(|_| {
            loses.store(true, Relaxed);
            SendError
        })
    });
    let dialer = shared.inner.dialer.for_messages();
    let Ok((connection, driver)) = dialer.open(&node.address, config).await else { return };
    tokio::select! {
        () = driver => {}
        () = shared.inner.without(&node) => {}
        () = subscribed(shared, connection, pushes, &lost) => {}
    }
}

/// Hands messages on for as long as the connection answers, and none is lost for want of room.
async fn subscribed(
    shared: &Shared,
    mut connection: MultiplexedConnection,
    mut pushes: Receiver<PushInfo>,
    lost: &AtomicBool,
) {
    let mut subscribed: Vec<String> = Vec::new();
    while !lost.load(Relaxed) {
        let names: Vec<String> = shared.lock().keys().cloned().collect();
        for name in names.into_iter().filter(|name| !subscribed.contains(name)).collect::<Vec<_>>()
        {
            let asked = timeout(PATIENCE, connection.subscribe(&name)).await;
            if !matches!(asked, Ok(Ok(()))) {
                return;
            }
            shared.say(name.as_bytes(), Heard::Gap);
            subscribed.push(name);
        }
        let mut tried = std::pin::pin!(sleep(TRIED));
        while !lost.load(Relaxed) {
            tokio::select! {
                push = pushes.recv() => match push.map(message) {
                    Some(Some((channel, message))) => {
                        shared.say(&channel, Heard::Message(message));
                    }
                    Some(None) => {}
                    None => return,
                },
                () = shared.more.notified() => break,
                () = &mut tried => {
                    let ping = redis::cmd("PING");
                    let answer = timeout(PATIENCE, connection.send_packed_command(&ping)).await;
                    if !matches!(answer, Ok(Ok(_))) {
                        return;
                    }
                    break;
                }
            }
        }
    }
}

/// A message's channel and text.
fn message(push: PushInfo) -> Option<(Vec<u8>, Bytes)> {
    if push.kind != PushKind::Message {
        return None;
    }
    match <[Value; 2]>::try_from(push.data) {
        Ok([Value::BulkString(channel), Value::BulkString(text)]) => Some((channel, text.into())),
        _ => None,
    }
}
