//! Alerts over time, second by second: what fires, who is told, when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate_config::model::{Quiet, Severity};
use proptest::prelude::*;

use super::engine::Engine;
use super::find::{Findings, Found, Id};
use crate::moment::Moment;
use crate::tell::message::{LISTED, Message};
use crate::tell::outbox::{Outbox, Policy, Told};

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

/// One sink, told at once whatever it is to be told.
struct Stage {
    now: u64,
    /// By how much the time of day has been put forward, or back.
    put: i64,
    engine: Engine,
    outbox: Outbox,
    policy: Policy,
    quiet: Option<Quiet>,
    /// Whether messages arrive.
    works: bool,
    sent: Vec<(u64, Message)>,
    unsure: Vec<Id>,
    /// What does not arrive, though the rest does.
    refused: BTreeSet<Id>,
}

impl Stage {
    fn new(group_wait: u64, repeat: Option<u64>) -> Self {
        Self {
            now: 0,
            put: 0,
            engine: Engine::default(),
            outbox: Outbox::default(),
            policy: Policy {
                only: Vec::new(),
                least: Severity::Warning,
                quiet: false,
                resolved: true,
                group_wait: Duration::from_secs(group_wait),
                repeat: repeat.map(Duration::from_secs),
            },
            quiet: None,
            works: true,
            sent: Vec::new(),
            unsure: Vec::new(),
            refused: BTreeSet::new(),
        }
    }

    /// So many seconds in which this is wrong.
    fn run(&mut self, seconds: u64, wrong: &[Found]) {
        for _ in 0..seconds {
            let mut findings = Findings { found: wrong.to_vec(), ..Findings::default() };
            findings.unsure.extend(self.unsure.iter().cloned());
            let now = self.moment();
            self.engine.step(now, &findings, self.policy.group_wait);
            if let Some(quiet) = &self.quiet {
                self.policy.quiet = quiet.holds(time(now.at));
            }
            let firing = self.engine.firing();
            let ended = |id: &Id| self.engine.ended(id);
            if let Some(mut message) = self.outbox.next(now, &self.policy, &firing, &ended) {
                let sent = message.all().map(|(_, alert)| id(alert));
                let lost = sent.filter(|id| !self.works || self.refused.contains(id));
                let lost: BTreeSet<Id> = lost.collect();
                self.outbox.done(now, &lost);
                for list in [&mut message.firing, &mut message.resolved] {
                    list.retain(|alert| !lost.contains(&id(alert)));
                }
                if message.all().next().is_some() {
                    self.sent.push((self.now / SECOND, message));
                }
            }
            self.now += SECOND;
        }
    }

    fn moment(&self) -> Moment {
        Moment { at: self.now.checked_add_signed(self.put).unwrap(), ..moment(self.now) }
    }

    /// What was sent: when, and which subjects fire and are over.
    fn told(&mut self) -> Vec<(u64, Vec<String>, Vec<String>)> {
        let subjects = |alerts: &[super::AlertView]| {
            alerts.iter().map(|alert| alert.subject.clone()).collect::<Vec<_>>()
        };
        let sent = std::mem::take(&mut self.sent).into_iter();
        sent.map(|(at, sent)| (at, subjects(&sent.firing), subjects(&sent.resolved))).collect()
    }
}

fn id(alert: &super::AlertView) -> Id {
    Id::new(&alert.rule, alert.subject.as_str())
}

fn moment(millis: u64) -> Moment {
    Moment { at: millis, steady: i64::try_from(millis).unwrap() }
}

fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

fn wrong(subject: &str, severity: Severity, lasting: u64) -> Found {
    Found {
        id: Id::new("endpoint_down", subject),
        severity,
        summary: format!("{subject} is down"),
        lasting: Duration::from_secs(lasting),
    }
}

fn warn(subject: &str) -> Found {
    wrong(subject, Severity::Warning, 10)
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn what_passes_soon_is_nobodys_business() {
    let mut stage = Stage::new(5, None);
    stage.run(10, &[warn("a")]);
    stage.run(100, &[]);
    assert_eq!(stage.told(), []);
    assert!(stage.engine.pending().is_empty());
}

#[test]
fn what_changes_together_is_one_message_and_its_end_another() {
    let mut stage = Stage::new(5, None);
    stage.run(3, &[warn("a")]);
    stage.run(60, &[warn("a"), warn("b")]);
    // `a` fires at 10, `b` at 13; the first waits for five seconds.
    assert_eq!(stage.told(), [(15, words(&["a", "b"]), vec![])]);
    stage.run(60, &[]);
    // Gone at 63, over after five seconds' grace, told after five more.
    assert_eq!(stage.told(), [(73, vec![], words(&["a", "b"]))]);
    assert_eq!(stage.engine.recent()[0].ended_at, Some(63 * SECOND));
    assert_eq!(stage.engine.recent().len(), 2);
}

#[test]
fn what_comes_back_at_once_was_never_over() {
    let mut stage = Stage::new(10, None);
    stage.run(60, &[warn("a")]);
    assert_eq!(stage.told().len(), 1);
    for _ in 0..20 {
        stage.run(5, &[]);
        stage.run(5, &[warn("a")]);
    }
    assert_eq!(stage.told(), []);
    stage.run(60, &[]);
    assert_eq!(stage.told().len(), 1, "over once");
}

#[test]
fn what_goes_on_is_told_again_and_only_then() {
    let mut stage = Stage::new(0, Some(3_600));
    stage.run(3 * 3_600 + 100, &[warn("a")]);
    let times: Vec<u64> = stage.told().into_iter().map(|(at, ..)| at).collect();
    assert_eq!(times, [10, 3_610, 7_210, 10_810]);
    let mut never = Stage::new(0, None);
    never.run(100_000, &[warn("a")]);
    assert_eq!(never.told().len(), 1);
}

#[test]
fn what_gets_worse_is_told_again() {
    let mut stage = Stage::new(0, None);
    stage.run(100, &[warn("a")]);
    stage.run(100, &[wrong("a", Severity::Critical, 10)]);
    stage.run(100, &[warn("a")]);
    let times: Vec<u64> = stage.told().into_iter().map(|(at, ..)| at).collect();
    assert_eq!(times, [10, 100], "getting better is not");
}

#[test]
fn a_sink_hears_of_what_it_wants_alone() {
    let mut stage = Stage::new(0, None);
    stage.policy.least = Severity::Critical;
    stage.run(30, &[warn("a"), wrong("b", Severity::Critical, 0)]);
    assert_eq!(stage.told(), [(0, words(&["b"]), vec![])]);
    let mut stage = Stage::new(0, None);
    stage.policy.only = words(&["p99"]);
    stage.policy.resolved = false;
    let slow = Found { id: Id::new("p99", "c"), ..warn("c") };
    stage.run(30, &[warn("a"), slow]);
    stage.run(30, &[]);
    assert_eq!(stage.told(), [(10, words(&["c"]), vec![])], "and not of the end");
}

#[test]
fn at_night_only_what_is_critical_wakes_anybody() {
    let mut stage = Stage::new(0, None);
    stage.quiet = Some("22:00-07:00 Europe/Berlin".parse().unwrap());
    // 2026-03-28T21:30Z: half past ten at night, and the clocks go forward before the morning.
    stage.now = 1_774_733_400 * SECOND;
    let begin = stage.now / SECOND;
    stage.run(3_600, &[warn("a"), warn("b"), wrong("c", Severity::Critical, 0)]);
    stage.run(3_600, &[warn("a"), wrong("c", Severity::Critical, 0)]);
    // Until nine in the morning; `c` is over at night.
    stage.run(9 * 3_600, &[warn("a")]);
    let told = stage.told();
    assert_eq!(told[0], (begin, words(&["c"]), vec![]));
    assert_eq!(told[1], (begin + 7_200, vec![], words(&["c"])), "its end too: somebody is up");
    // Seven o'clock is five hours UTC, and not six; `b` is over, and nobody needs to know.
    assert_eq!(told[2], (1_774_760_400, words(&["a"]), vec![]));
    assert_eq!(told.len(), 3);
}

#[test]
fn what_was_given_up_is_told_anew_after_a_while() {
    let mut stage = Stage::new(0, None);
    stage.works = false;
    stage.run(100, &[warn("a")]);
    stage.works = true;
    stage.run(400, &[warn("a"), warn("b")]);
    assert_eq!(stage.told(), [(310, words(&["a", "b"]), vec![])]);
}

#[test]
fn a_repeat_that_was_given_up_is_told_anew_after_a_while() {
    let mut stage = Stage::new(0, Some(3_600));
    stage.run(100, &[warn("a")]);
    stage.works = false;
    stage.run(3_520, &[warn("a")]);
    stage.works = true;
    stage.run(400, &[warn("a")]);
    let times: Vec<u64> = stage.told().into_iter().map(|(at, ..)| at).collect();
    assert_eq!(times, [10, 3_910], "and not after an hour");
}

#[test]
fn what_has_become_worse_and_is_over_before_that_arrives_is_over() {
    let mut stage = Stage::new(0, None);
    stage.run(20, &[warn("a")]);
    stage.works = false;
    stage.run(20, &[wrong("a", Severity::Critical, 10)]);
    stage.works = true;
    stage.run(400, &[]);
    assert_eq!(stage.told(), [(10, words(&["a"]), vec![]), (320, vec![], words(&["a"]))]);
}

#[test]
fn one_that_is_refused_keeps_no_other_from_being_told() {
    let mut stage = Stage::new(0, None);
    stage.refused = BTreeSet::from([warn("a").id]);
    stage.run(20, &[warn("a"), warn("b")]);
    stage.run(20, &[warn("a"), warn("b"), warn("c")]);
    assert_eq!(stage.told(), [(10, words(&["b"]), vec![]), (30, words(&["c"]), vec![])]);
    stage.refused.clear();
    stage.run(300, &[warn("a"), warn("b"), warn("c")]);
    assert_eq!(stage.told(), [(310, words(&["a"]), vec![])]);
}

#[test]
fn nothing_is_told_twice_while_it_is_under_way() {
    let mut stage = Stage::new(0, None);
    stage.run(11, &[]);
    let findings = |found: &[Found]| Findings { found: found.to_vec(), ..Findings::default() };
    let both = [wrong("a", Severity::Warning, 0), wrong("b", Severity::Warning, 0)];
    let grace = Duration::ZERO;
    let never = |_: &Id| None;
    stage.engine.step(moment(0), &findings(&both[..1]), grace);
    let first = stage.outbox.next(moment(0), &stage.policy, &stage.engine.firing(), &never);
    assert_eq!(first.unwrap().firing.len(), 1);
    stage.engine.step(moment(1), &findings(&both), grace);
    assert!(stage.outbox.next(moment(1), &stage.policy, &stage.engine.firing(), &never).is_none());
    stage.outbox.done(moment(2), &BTreeSet::new());
    let second = stage.outbox.next(moment(2), &stage.policy, &stage.engine.firing(), &never);
    assert_eq!(second.unwrap().firing[0].subject, "b");
    // Over and back while its end is under way: told anew after that.
    stage.outbox.done(moment(3), &BTreeSet::new());
    stage.engine.step(moment(4), &findings(&[]), grace);
    let over = stage.outbox.next(moment(4), &stage.policy, &stage.engine.firing(), &never).unwrap();
    assert_eq!(over.resolved.len(), 2);
    stage.engine.step(moment(5), &findings(&both[..1]), grace);
    stage.outbox.done(moment(6), &BTreeSet::new());
    let anew = stage.outbox.next(moment(6), &stage.policy, &stage.engine.firing(), &never).unwrap();
    assert_eq!((anew.firing.len(), anew.resolved.len()), (1, 0));
}

#[test]
fn a_restart_repeats_nothing_and_forgets_nothing() {
    let mut stage = Stage::new(0, None);
    stage.run(60, &[warn("a"), warn("b")]);
    assert_eq!(stage.told().len(), 1);
    let told = serde_json::to_string(&stage.outbox.kept()).unwrap();
    let firing: Vec<_> = stage.engine.firing().into_values().collect();
    let mut after = Stage::new(0, None);
    after.now = stage.now + 30 * SECOND;
    after.engine.restore(firing, stage.engine.recent());
    let mut told: Vec<Told> = serde_json::from_str(&told).unwrap();
    told.iter_mut().for_each(|told| told.restored(moment(after.now)));
    after.outbox = Outbox::restored(told);
    // Nothing is known of either yet.
    after.unsure = vec![warn("a").id, warn("b").id];
    after.run(30, &[]);
    assert_eq!(after.told(), []);
    // `a` still is down, `b` is well.
    after.unsure.clear();
    after.run(30, &[warn("a")]);
    let begin = (stage.now + 60 * SECOND) / SECOND;
    assert_eq!(after.told(), [(begin, vec![], words(&["b"]))]);
    assert_eq!(after.engine.firing().values().next().unwrap().since, 0, "since when it was so");
}

#[test]
fn a_clock_that_is_put_back_or_forward_delays_and_hurries_nothing() {
    for put in [-5, 5] {
        let mut stage = Stage::new(5, Some(3_600));
        stage.now = 10 * HOUR;
        let begin = stage.now / SECOND;
        stage.run(5, &[warn("a")]);
        stage.put = put * HOUR as i64;
        stage.run(7_295, &[warn("a")]);
        // Fires after ten seconds, told after five more; then once an hour, and that it is over.
        let times: Vec<u64> = stage.told().into_iter().map(|(at, ..)| at - begin).collect();
        assert_eq!(times, [15, 3_620, 7_225], "{put}");
        let alert = stage.engine.firing().into_values().next().unwrap();
        let fired = (10 * HOUR + 10 * SECOND).checked_add_signed(stage.put);
        assert_eq!((alert.since, alert.fired_at), (10 * HOUR, fired), "as people's clocks tell");
        stage.run(3, &[]);
        stage.put = 0;
        stage.run(60, &[]);
        assert_eq!(stage.told(), [(begin + 7_310, vec![], words(&["a"]))], "{put}");
    }
}

#[test]
fn more_alerts_than_anybody_reads_are_bounded() {
    let mut stage = Stage::new(0, None);
    let many: Vec<Found> =
        (0..6_000).map(|n| wrong(&n.to_string(), Severity::Warning, 0)).collect();
    stage.run(1, &many);
    assert_eq!(stage.engine.firing().len(), super::engine::MOST_ALERTS);
    let message = &stage.sent[0].1;
    assert!(message.alerts(LISTED).as_array().unwrap().len() == 50);
    assert!(
        message.text(LISTED).len() < 8_000 && message.text(LISTED).ends_with("and more: 4950\n")
    );
    stage.run(1, &[]);
    stage.run(1, &[]);
    assert_eq!(stage.engine.recent().len(), 100);
}

proptest! {
    /// Whatever happens: who reads the messages knows at the end what fires, and no alert's begin
    /// is told twice without its end between.
    #[test]
    fn messages_tell_what_fires(
        steps in prop::collection::vec((0..8u8, 1..40u64, any::<bool>()), 1..60),
        wait in 0..15u64,
    ) {
        let mut stage = Stage::new(wait, None);
        for (which, seconds, works) in steps {
            let names = ["a", "b", "c"].iter().enumerate();
            let found: Vec<Found> = names
                .filter(|(bit, _)| which & (1 << bit) != 0)
                .map(|(_, name)| warn(name))
                .collect();
            stage.works = works;
            stage.run(seconds, &found);
        }
        stage.works = true;
        let last: Vec<Found> = vec![warn("a")];
        stage.run(HOUR / SECOND, &last);
        let mut known: BTreeMap<String, bool> = BTreeMap::new();
        for (_, firing, over) in stage.told() {
            for subject in over {
                prop_assert!(known.insert(subject, false).unwrap_or(false));
            }
            for subject in firing {
                prop_assert!(!known.insert(subject, true).unwrap_or(false));
            }
        }
        let told: Vec<&String> = known.iter().filter(|(_, fires)| **fires).map(|(k, _)| k).collect();
        prop_assert_eq!(told, [&"a".to_owned()]);
    }
}
