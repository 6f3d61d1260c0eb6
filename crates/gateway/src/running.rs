//! A running gateway, on the control runtime: it reloads when told or when files change, hands over
//! to a successor, drains, ends.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use lockgate_admin::{Answer, Order};
use lockgate_net::listen::Gate;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, interval, timeout_at};

use crate::change::{self, Cause};
use crate::gateway::Gateway;
use crate::kept::Kept;
use crate::listeners::{Listeners, tell};
use crate::orders::{Asker, Given, Ordered};
use crate::rest::Rest;
use crate::signals::{Asked, Signals};
use crate::source::Source;
use crate::systemd::Systemd;
use crate::upgrade::{self, Handed, Program, State, Successor};
use crate::worker::{Command, WorkerThread};

/// How long idle connections are kept when the gateway stops: a request that is just under way to
/// it is then answered, with the word that the connection ends.
const STOPPING_GRACE: Duration = Duration::from_millis(500);
/// The same when a successor serves already and nobody waits for the end.
const UPGRADE_GRACE: Duration = Duration::from_secs(10);

/// Everything that runs.
pub(crate) struct Running {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) listeners: Listeners,
    pub(crate) workers: Vec<WorkerThread>,
    pub(crate) kept: Kept,
    pub(crate) gate: Arc<Gate>,
    pub(crate) admin: Option<lockgate_admin::Serving>,
    /// The admin listener's socket once more, to be handed to a successor.
    pub(crate) admin_again: Option<(SocketAddr, TcpListener)>,
    pub(crate) program: Program,
    pub(crate) ordered: Ordered,
    /// Orders that have been taken and are carried out one by one, before those that wait.
    pub(crate) apart: VecDeque<(Order, Asker)>,
    /// Whether a signal has asked for a reload, after the rest.
    pub(crate) is_due: bool,
    /// One that has been started and does not serve yet.
    pub(crate) successor: Option<Successor>,
    pub(crate) rest: Rest,
    pub(crate) state: State,
    pub(crate) systemd: Systemd,
}

impl Running {
    /// Runs it until its end. The exit code says how that went.
    pub(crate) async fn serve(
        &mut self,
        signals: &mut Signals,
        source: &mut Option<Source>,
        mut ends: Receiver<usize>,
    ) -> ExitCode {
        loop {
            let alone = self.successor.is_none();
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Reload => {
                        self.reopen_log();
                        self.is_due = true;
                    }
                    Asked::Upgrade => self.upgrade().await,
                    Asked::Stop => break,
                },
                () = self.rest.over(), if self.is_due => {
                    self.is_due = false;
                    let _ = self.reload(source).await;
                }
                () = self.rest.over(), if !self.apart.is_empty() => self.take_apart(source).await,
                Some(given) = self.ordered.asks.recv() => {
                    given.take().1.answer(Ok(self.state.shown()));
                }
                Some(given) = ordered(&mut self.ordered.work, &self.rest),
                    if self.apart.is_empty() => self.take_on(given, source).await,
                outcome = outcome(&mut self.successor) => {
                    if self.succeeded(outcome) {
                        return self.leave(signals, ends).await;
                    }
                    self.take_over(source).await;
                }
                () = self.systemd.tick() => {}
                () = self.kept.is_due(), if alone => self.take_over(source).await,
                // A successor reads the files itself; if it fails, they are read here after all.
                () = changed(source, &self.rest), if alone => {
                    let _ = self.reload(source).await;
                }
                worker = ends.recv() => {
                    tracing::error!(?worker, "a worker ended unasked: a bug. The gateway ends");
                    return ExitCode::FAILURE;
                }
            }
        }
        self.successor = None;
        // Who gives orders now is told that none are taken.
        drop(self.ordered.end());
        self.apart.clear();
        self.kept.right().let_go();
        self.prepare_to_drain(signals).await;
        self.drain(signals, ends, STOPPING_GRACE).await
    }

    /// Starts a successor, unless one is starting already.
    async fn upgrade(&mut self) {
        if let Some(successor) = &self.successor {
            return tracing::warn!(pid = successor.pid, "an upgrade is under way already");
        }
        let handed = self.handed().map_err(|error| error.to_string());
        let tell = self.told_to_successor();
        match handed.and_then(|handed| upgrade::start(&self.program, handed, tell)) {
            Ok(successor) => {
                // What is kept is the new process's to change.
                self.kept.right().lend();
                tracing::info!(pid = successor.pid, "upgrade: a new process starts");
                self.state = State::Begun { pid: successor.pid };
                self.successor = Some(successor);
            }
            Err(why) => self.upgrade_failed(why),
        }
    }

    /// Everything that is listened on, once more, and the right to what is kept.
    fn handed(&self) -> std::io::Result<Handed> {
        let mut sockets = self.listeners.sockets()?;
        if let Some((address, socket)) = &self.admin_again {
            sockets.push((*address, socket.try_clone()?));
        }
        Ok(Handed { sockets, lock: self.kept.right().again()? })
    }

    /// What a successor is told when it asks. After the last time it knows what was ordered, and
    /// this process takes no more orders.
    fn told_to_successor(&self) -> Box<upgrade::Tell> {
        let (gateway, overrides) = (Arc::clone(&self.gateway), Arc::clone(&self.kept.overrides));
        Box::new(move |last| {
            if last {
                overrides.end();
            }
            upgrade::tell(&gateway.snapshot())
        })
    }

    fn upgrade_failed(&mut self, why: String) {
        self.kept.overrides.begin(&self.gateway.snapshot().upstreams);
        tracing::error!("the upgrade failed, this process goes on: {why}");
        self.state = State::Failed { why };
    }

    /// Whether the successor serves. If not, everything stays as it was.
    fn succeeded(&mut self, outcome: Result<(), String>) -> bool {
        let Some(successor) = self.successor.take() else { return false };
        match outcome {
            Ok(()) => {
                tracing::info!(pid = successor.pid, "upgraded: the new process serves");
                self.kept.right().let_go();
                self.systemd.hand_over(successor.pid);
                self.state = State::Over { pid: successor.pid };
                true
            }
            Err(why) => {
                self.upgrade_failed(why);
                false
            }
        }
    }

    /// Leaves everything to a successor that serves.
    async fn leave(&mut self, signals: &mut Signals, ends: Receiver<usize>) -> ExitCode {
        self.admin_again = None;
        self.apart.clear();
        for given in self.ordered.end() {
            // Whatever else is ordered has not been done: letting go of it says so.
            if let (Order::Tell | Order::Upgrade, asker) = given.take() {
                asker.answer(Ok(self.state.shown()));
            }
        }
        if let Some(admin) = &self.admin {
            admin.stop_accepting();
        }
        let limit = self.gateway.snapshot().document.http.drain_timeout.0;
        self.drain(signals, ends, UPGRADE_GRACE.min(limit / 2)).await
    }

    /// Says that it is about to end and serves on for `http.drain_delay`, so that load balancers
    /// have noticed before connections end. A second order to stop ends the wait.
    async fn prepare_to_drain(&mut self, signals: &mut Signals) {
        self.gateway.draining.store(true, Relaxed);
        self.systemd.stopping();
        let delay = self.gateway.snapshot().document.http.drain_delay.0;
        if delay.is_zero() {
            return;
        }
        tracing::info!(delay_s = delay.as_secs_f64(), "not ready any more, and serving on");
        let stop = async {
            loop {
                tokio::select! {
                    () = self.systemd.tick() => {}
                    asked = signals.next() => {
                        if asked == Asked::Stop {
                            break;
                        }
                    }
                }
            }
        };
        let _ = tokio::time::timeout(delay, stop).await;
    }

    /// Carries an order out, and tells what came of it.
    pub(crate) async fn obey(&mut self, order: Order, source: &mut Option<Source>) -> Answer {
        match order {
            Order::Tell => {}
            Order::Upgrade => self.upgrade().await,
            Order::Reload => {
                self.reopen_log();
                return self.reload(source).await;
            }
            Order::Change(change) => return self.change(*change, source).await,
        }
        Ok(self.state.shown())
    }

    /// Reads the file again and puts it in force; what is wrong with it is logged, counted, and
    /// leaves everything as it was.
    pub(crate) async fn reload(&mut self, source: &mut Option<Source>) -> Answer {
        self.rest.work_begins();
        let done = self.try_reload(source).await;
        self.rest.work_ends();
        if let Err(refused) = &done {
            self.gateway.metrics.reload_refused();
            let why = &refused.detail;
            source.iter_mut().for_each(|source| source.refused(why));
            tracing::error!("the new configuration is refused, the old one stays:\n{why}");
        }
        done
    }

    async fn try_reload(&mut self, source: &mut Option<Source>) -> Answer {
        let begun = Instant::now();
        let Some(source) = source else {
            tracing::info!("nothing to reload: the configuration is built in");
            return Ok(self.answer(false, &[], Vec::new(), begun));
        };
        let checked = source.load(self.kept.given(), &self.gateway.before());
        let checked = checked.map_err(|report| change::refused(&report))?;
        self.rest.let_others().await;
        let changes = self.kept.changes().clone();
        let cause = Cause { via: "files", who: "" };
        Box::pin(self.put_in_force(checked, changes, cause, source, begun)).await
    }

    fn reopen_log(&self) {
        if let Some(log) = &self.gateway.snapshot().log {
            log.reopen();
        }
    }

    /// Lets what is under way end: until all workers have, the deadline, or a second order to
    /// stop. Connections that are idle after `grace` are closed.
    async fn drain(
        &mut self,
        signals: &mut Signals,
        mut ends: Receiver<usize>,
        grace: Duration,
    ) -> ExitCode {
        self.gateway.draining.store(true, Relaxed);
        self.listeners.forget();
        let limit = self.gateway.snapshot().document.http.drain_timeout.0;
        let deadline = Instant::now() + limit;
        tell(&self.workers, || Command::Drain(grace)).await;
        let mut left = self.workers.len();
        let mut systemd = std::mem::take(&mut self.systemd);
        let mut progress = interval(Duration::from_secs(1));
        let all = async {
            while left > 0 {
                tokio::select! {
                    _ = ends.recv() => left -= 1,
                    () = systemd.tick() => {}
                    _ = progress.tick() => self.report_drain(deadline),
                    asked = signals.next() => {
                        if asked != Asked::Stop {
                            self.reopen_log();
                            continue;
                        }
                        tracing::warn!("told a second time: ending at once");
                        return false;
                    }
                }
            }
            true
        };
        let whole = timeout_at(deadline, all).await.unwrap_or(false);
        let last = self.gateway.snapshot();
        if let Some(traces) = &last.traces {
            traces.flush(Duration::from_secs(2)).await;
        }
        if let Some(log) = &last.log {
            log.close(Duration::from_secs(2));
        }
        let open = self.gate.counters().open.load(Relaxed);
        if whole {
            for worker in self.workers.drain(..) {
                let _ = worker.thread.join();
            }
            tracing::info!("drained");
        } else {
            tracing::warn!(connections = open, "ended before all connections had");
        }
        self.gateway.services.leave().await;
        // What did not end in time is cut; the exit code says so.
        ExitCode::from(u8::from(!whole))
    }

    fn report_drain(&self, deadline: Instant) {
        let open = self.gate.counters().open.load(Relaxed);
        let seconds_left = deadline.saturating_duration_since(Instant::now()).as_secs();
        tracing::info!(connections = open, seconds_left, "draining");
    }
}

/// Waits for an order, and before it for the end of a rest.
async fn ordered(orders: &mut Receiver<Given>, rest: &Rest) -> Option<Given> {
    rest.over().await;
    orders.recv().await
}

/// Waits for a change of the configuration at its source, if it has one, and before it for the end
/// of a rest.
async fn changed(source: &mut Option<Source>, rest: &Rest) {
    match source {
        Some(source) => {
            rest.over().await;
            source.changed().await;
        }
        None => std::future::pending().await,
    }
}

/// Waits for what becomes of a successor, if there is one.
async fn outcome(successor: &mut Option<Successor>) -> Result<(), String> {
    match successor {
        Some(successor) => (&mut successor.outcome)
            .await
            .unwrap_or_else(|_| Err("whoever waited for it is gone: a bug".to_owned())),
        None => std::future::pending().await,
    }
}
