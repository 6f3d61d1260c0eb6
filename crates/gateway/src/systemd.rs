//! What systemd is told (`sd_notify(3)`): that the gateway is ready, that it ends, and, where the
//! unit has a watchdog, that its control runtime still turns. Without systemd it is nothing.

use std::path::PathBuf;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The service manager, if there is one.
#[derive(Default)]
pub(crate) struct Systemd {
    watchdog: Option<Interval>,
}

impl Systemd {
    /// Tells that the gateway serves, and that this is its process: it may have taken the place of
    /// the one that the unit began with.
    pub(crate) fn ready() -> Self {
        tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
        let watchdog = sd_notify::watchdog_enabled().map(|within| {
            // Twice as often as is asked for.
            let mut interval = interval((within / 2).max(Duration::from_millis(10)));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        Self { watchdog }
    }

    /// Tells that another process speaks for the unit from now on, before this one can end.
    pub(crate) fn hand_over(&mut self, pid: u32) {
        tell(&[NotifyState::MainPid(pid)]);
        self.watchdog = None;
    }

    /// Tells that the gateway ends.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Feeds the watchdog when that is due. Never ends without one.
    pub(crate) async fn tick(&mut self) {
        match &mut self.watchdog {
            Some(watchdog) => {
                watchdog.tick().await;
                tell(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }
}

/// The first of the directories that it has made for the unit (`StateDirectory=`).
pub(crate) fn state_directory() -> Option<PathBuf> {
    let all = std::env::var_os("STATE_DIRECTORY")?;
    std::env::split_paths(&all).find(|path| path.is_absolute())
}

fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}
