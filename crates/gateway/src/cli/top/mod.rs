//! `lockgate top`: a running gateway at a terminal, live.

mod draw;
mod figures;
mod scrape;
mod screen;
mod terminal;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use http::Method;
use lockgate_proxy::percent_encoded;
use ratatui::crossterm::event::{Event, KeyEventKind};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::ConfigFile;
use super::admin::{self, Admin};
use draw::Palette;
use figures::{Figures, Group, Look, clean};
use scrape::Scrape;
use screen::{Order, Screen, Wish};
use terminal::Taken;

/// How long an answer may take before the screen says that there is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watch the running gateway at the terminal
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate top -c lockgate.yaml
  lockgate top --every 5

Keys: Tab changes the table, arrows choose a line, s sorts, r reverses, / filters,
d drains the chosen endpoint or upstream and c takes that back (both ask first),
p pauses, ? helps, q quits. Without colours where NO_COLOR is set.

For a script there is `lockgate status --json`.")]
pub(crate) struct Top {
    #[command(flatten)]
    config: ConfigFile,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=60))]
    every: u16,
}

impl Top {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            bail!("`lockgate top` needs a terminal; for a script, take `lockgate status --json`");
        }
        let every = Duration::from_secs(self.every.into());
        admin::with(&self.config.config, async |admin| Box::pin(watch(&admin, every)).await)
    }
}

/// Ends when somebody says so.
async fn watch(admin: &Admin, every: Duration) -> anyhow::Result<ExitCode> {
    // Before the terminal is taken, so that an error is seen.
    let mut last = look(admin).await?;
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let palette = Palette { colours };
    let mut screen = Screen::new(admin.address().to_string());
    let mut signals = Signals::new()?;
    let (sender, mut looks) = channel(1);
    let looking = keep_looking(admin, every, sender);
    tokio::pin!(looking);
    let mut taken = Taken::take().context("taking the terminal")?;
    let mut events = terminal::events()?;
    loop {
        taken.terminal().draw(|frame| draw::screen(frame, &mut screen, palette))?;
        let wish = tokio::select! {
            () = &mut looking => return Ok(ExitCode::SUCCESS),
            code = signals.next() => return Ok(ExitCode::from(code)),
            event = events.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => screen.press(key),
                Some(_) => None,
                // The terminal is gone.
                None => Some(Wish::Quit),
            },
            Some(found) = looks.recv() => {
                match found {
                    Ok(now) => {
                        screen.lost = None;
                        screen.show(Figures::between(&last, &now));
                        last = now;
                    }
                    Err(error) => screen.lost = Some(clean(&format!("{error:#}"))),
                }
                None
            }
        };
        match wish {
            Some(Wish::Quit) => return Ok(ExitCode::SUCCESS),
            Some(Wish::Give(order)) => give(admin, &order, &mut screen).await,
            None => {}
        }
    }
}

/// Looks again and again, until nobody takes what is found.
async fn keep_looking(admin: &Admin, every: Duration, found: Sender<anyhow::Result<Look>>) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once, and the gateway has just been looked at.
    tick.tick().await;
    loop {
        tick.tick().await;
        if found.send(look(admin).await).await.is_err() {
            return;
        }
    }
}

async fn look(admin: &Admin) -> anyhow::Result<Look> {
    let asked = async {
        tokio::try_join!(
            admin.text("/metrics"),
            admin.list("/admin/upstreams", "upstreams"),
            admin.ask(Method::GET, "/admin/health"),
        )
    };
    let Ok(answered) = timeout(PATIENCE, asked).await else {
        bail!("no answer within {} s", PATIENCE.as_secs());
    };
    let (metrics, (upstreams, _), health) = answered?;
    Ok(Look {
        scrape: Scrape::read(&metrics, Instant::now()),
        upstreams: Group::read(&upstreams),
        draining: health.get("draining") == Some(&Value::Bool(true)),
    })
}

async fn give(admin: &Admin, order: &Order, screen: &mut Screen) {
    let Order { service, word, .. } = order;
    let path = format!("/admin/health/{}", percent_encoded(service, b""));
    let body = Some(json!({ "override": word }));
    let (text, bad) = match timeout(PATIENCE, admin.order(Method::PUT, &path, body)).await {
        Ok(Ok(answer)) => {
            let count = answer.get("changed").and_then(Value::as_u64).unwrap_or_default();
            (format!("{service}: {word}, {count} of its name"), false)
        }
        Ok(Err(error)) => (format!("{error:#}"), true),
        Err(_) => (format!("no answer within {} s", PATIENCE.as_secs()), true),
    };
    screen.tell(clean(&text), bad);
}

/// The signals that end it, so that the terminal is given back first.
struct Signals([(Signal, u8); 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let ends = |kind: SignalKind| {
            let number = u8::try_from(kind.as_raw_value()).unwrap_or_default();
            Ok::<_, std::io::Error>((signal(kind)?, 128 + number))
        };
        Ok(Self([
            ends(SignalKind::terminate())?,
            ends(SignalKind::hangup())?,
            ends(SignalKind::interrupt())?,
        ]))
    }

    /// The exit code for the next.
    async fn next(&mut self) -> u8 {
        let [(term, a), (hangup, b), (interrupt, c)] = &mut self.0;
        tokio::select! {
            _ = term.recv() => *a,
            _ = hangup.recv() => *b,
            _ = interrupt.recv() => *c,
        }
    }
}
