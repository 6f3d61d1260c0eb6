//! What a process does before it takes another one's place: it learns what that one knows, waits
//! until it is ready, and learns the last of it. It refuses to take over unready: the other serves
//! on, and says why.

use std::time::Duration;

use anyhow::{Context, bail};
use lockgate_admin::{unprobed, why_not_ready};
use lockgate_upstream::Upstreams;
use tokio::time::{Instant, sleep};

use super::Inherited;
use super::known::Told;
use crate::gateway::Gateway;
use crate::kept::Overrides;

/// How often it is looked whether this process is ready.
const LOOK: Duration = Duration::from_millis(20);
/// How long first probes are waited for at most, where the other process tells nothing.
const FIRST_PROBES: Duration = Duration::from_secs(3);
/// How often the other process is told why not.
const TELL: Duration = Duration::from_secs(1);

/// Puts overrides in force and, where this process takes another one's place, waits until it is
/// ready. That one waits too, and ends this process when it has waited long enough.
///
/// # Errors
/// When the other process has gone, or this one will never be ready.
pub(crate) async fn come_up(
    inherited: &Inherited,
    gateway: &Gateway,
    overrides: &Overrides,
) -> anyhow::Result<()> {
    let upstreams = &gateway.snapshot().upstreams;
    if !inherited.is_successor() {
        overrides.put_in_force(upstreams, None);
        return Ok(());
    }
    let told = learn(inherited, upstreams, false)?;
    if told.is_none() {
        let begun = Instant::now();
        while begun.elapsed() < FIRST_PROBES && !unprobed(&gateway.snapshot()).is_empty() {
            sleep(LOOK).await;
        }
    }
    be_ready(inherited, gateway, told.as_ref()).await?;
    let last = learn(inherited, upstreams, true)?;
    overrides.put_in_force(upstreams, last.map(|told| told.overrides));
    Ok(())
}

/// Takes in what the other process knows, if it can be asked.
fn learn(inherited: &Inherited, upstreams: &Upstreams, last: bool) -> anyhow::Result<Option<Told>> {
    let Some(text) = inherited.ask_known(last)? else { return Ok(None) };
    let told = Told::read(&text).context("what the other gateway knows cannot be read")?;
    let mut endpoints = 0;
    for known in &told.upstreams {
        if let Some(upstream) = upstreams.get(&known.upstream) {
            upstream.recall(known);
            endpoints += known.len();
        }
    }
    if last {
        let overrides = told.overrides.len();
        tracing::info!(endpoints, overrides, "what the process before knows is taken over");
    }
    Ok(Some(told))
}

/// An upstream that has no endpoints here, and had some there: its names are not resolved yet.
fn unresolved(upstreams: &Upstreams, known: Option<&Told>) -> Option<String> {
    let mut had = known?.upstreams.iter().filter(|known| !known.is_empty());
    let is_lost = |name: &str| {
        upstreams.get(name).is_some_and(|upstream| upstream.set().endpoints().is_empty())
    };
    let lost = had.find(|known| is_lost(&known.upstream))?;
    Some(format!("no address of the upstream `{}` is known yet", lost.upstream))
}

/// Waits until it is ready, and has addresses for what the other process had some for. `known`:
/// what that one has told; one without routes is no loss.
async fn be_ready(
    inherited: &Inherited,
    gateway: &Gateway,
    known: Option<&Told>,
) -> anyhow::Result<()> {
    let snapshot = gateway.snapshot();
    let has_routes = known.is_none_or(|known| known.routes);
    let mut told: Option<(String, Instant)> = None;
    while let Some(why) =
        why_not_ready(&snapshot).or_else(|| unresolved(&snapshot.upstreams, known))
    {
        if snapshot.is_empty() && !has_routes {
            return Ok(());
        }
        let is_news = told.as_ref().is_none_or(|(last, at)| *last != why || at.elapsed() >= TELL);
        if is_news {
            inherited.say_waiting(&why)?;
            told = Some((why.clone(), Instant::now()));
        }
        if snapshot.is_empty() {
            // No time will mend it.
            bail!("not ready to take over: {why}");
        }
        sleep(LOOK).await;
    }
    Ok(())
}
