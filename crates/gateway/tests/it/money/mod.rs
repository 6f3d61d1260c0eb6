//! Money: random transfers, debits and credits, with retries and doubled keys, through three
//! gateways over one Redis, while gateways are killed and stand still and Redis goes away. What the
//! ledger says at the end is held against its history and against what the clients were told.
//!
//! `LOCKGATE_MONEY_SEED` replays a seed, `LOCKGATE_MONEY_ROUNDS` sets how many movements there are
//! (`cargo xtask test --money` sets both). A seed fixes what is asked and what is broken when; how
//! that interleaves is the machine's doing, so a seed that failed may have to be run a few times.

mod bank;
mod blows;
mod client;
mod killed;
mod ledger;
mod lost;
mod plan;
mod story;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use bank::{Bank, Kind};
use client::Told;
use ledger::{Findings, Ledger};
use plan::Plan;

/// How many movements, unless told.
const ROUNDS: usize = 250;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: a number was expected")))
}

/// A plan, and a line that says how to replay it.
fn plan(test: &str, blows: &[plan::Kind]) -> Plan {
    let seed = setting("LOCKGATE_MONEY_SEED").unwrap_or_else(|| fastrand::u64(..));
    let rounds = setting("LOCKGATE_MONEY_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    eprintln!("{test}: replay with LOCKGATE_MONEY_SEED={seed} LOCKGATE_MONEY_ROUNDS={rounds}");
    Plan::from_seed(seed, rounds, blows)
}

/// Plays a plan to its end: what the clients were told, and what the ledger says.
async fn play(plan: Plan, bank: &mut Bank) -> (Vec<Told>, Findings) {
    bank.open_accounts(plan::ACCOUNTS, plan::OPENING).await;
    let done = Arc::new(AtomicUsize::new(0));
    let clients = client::all(plan.seed, plan.rounds, bank.addresses(), Arc::clone(&done));
    let (told, ()) = tokio::join!(clients, blows::strike(&plan.blows, bank, &done));
    let findings = read(&bank.ledger()).findings(&told);
    (told, findings)
}

fn read(path: &Path) -> Ledger {
    Ledger::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn counts(test: &str, told: &[Told], lost: u64, findings: &Findings) {
    let of = |end: fn(&Told) -> bool| told.iter().filter(|one| end(one)).count();
    eprintln!(
        "{test}: {} keys, {} accepted, {} refused, {} unknown; {} tries; {lost} leases lost; {} \
         writes over a stale balance",
        told.len(),
        of(Told::is_accepted),
        of(Told::is_refused),
        of(Told::is_unknown),
        told.iter().map(|one| one.tries.len()).sum::<usize>(),
        findings.stale.len(),
    );
}

#[tokio::test]
async fn a_fenced_ledger_equals_its_history_whatever_dies() {
    let test = "fenced";
    let plan = plan(test, &plan::ALL);
    let mut bank = Bank::start(Kind::Fenced).await;
    let (told, findings) = play(plan, &mut bank).await;
    counts(test, &told, bank.lost_leases().await, &findings);
    findings.assert_none();
    assert!(told.iter().all(|one| !one.is_unknown()), "a backend that knows keys is asked again");
}

/// Replicas have everything a little later, so a failover may forget leases and keys: what holds
/// then is what the service checks.
#[tokio::test]
async fn a_fenced_ledger_equals_its_history_over_failovers() {
    let test = "failovers";
    let plan = plan(test, &plan::ALL);
    let mut bank = Bank::watched(Kind::Fenced).await;
    let (told, findings) = play(plan, &mut bank).await;
    counts(test, &told, bank.lost_leases().await, &findings);
    findings.assert_none();
}

#[tokio::test]
async fn a_racy_ledger_loses_nothing_unless_a_lease_is_lost() {
    let test = "racy";
    let plan = plan(test, &plan::ALL);
    let mut bank = Bank::start(Kind::Racy).await;
    let (told, findings) = play(plan, &mut bank).await;
    let lost = bank.lost_leases().await;
    counts(test, &told, lost, &findings);
    story::told_apart(test, &told, &bank);
    findings.assert_kept();
    if lost == 0 {
        findings.assert_none();
    }
}

/// The checker can fail: nothing dies, but nobody takes turns.
#[tokio::test]
async fn without_serialize_money_is_lost_and_found_missing() {
    let test = "unserialized";
    let plan = plan(test, &[]);
    let mut bank = Bank::start(Kind::Unserialized).await;
    let (told, findings) = play(plan, &mut bank).await;
    counts(test, &told, 0, &findings);
    findings.assert_kept();
    assert!(!findings.unequal.is_empty() && !findings.stale.is_empty(), "{findings:?}");
}
