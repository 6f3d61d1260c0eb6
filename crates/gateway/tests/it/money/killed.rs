//! A gateway that is killed in the middle of a movement, step by step: its service works on, its
//! lease lives on for a while, and its client asks another gateway.

use lockgate_testkit::until;

use super::bank::{Bank, Kind, name};
use super::client::{End, Movement};
use super::read;

fn debit(key: &str) -> Movement {
    Movement { key: key.to_owned(), account: name(0), change: -100 }
}

/// Kills the first gateway while its service is between reading and writing.
async fn killed(kind: Kind) -> Bank {
    // Shorter than what is left of a lease at any time: two thirds of its life.
    let mut bank = Bank::with_delay(kind, "300ms").await;
    bank.open_accounts(1, 200).await;
    let gateway = bank.addresses()[0];
    let first = tokio::spawn(async move { debit("first").attempt(gateway).await });
    until("the service to have read", async || bank.under_way().await == 1).await;
    bank.gateways[0].kill();
    assert!(first.await.unwrap().is_none(), "its client hears nothing");
    bank
}

#[tokio::test]
async fn the_next_one_waits_for_the_lease_of_the_dead() {
    let bank = killed(Kind::Racy).await;
    let others = bank.addresses().split_off(1);
    let (next, _) = debit("next").ask(0, false, &others).await;
    assert_eq!(next, End::Accepted(0), "it has read what the first one wrote");
    // Nobody knows of the first one but the service, which cannot be asked.
    let (first, _) = debit("first").ask(0, false, &others).await;
    assert_eq!(first, End::Unknown);
    let findings = read(&bank.ledger()).findings(&[]);
    assert!(findings.stale.is_empty() && findings.unequal.is_empty(), "{findings:?}");
    assert!(findings.twice.is_empty(), "{findings:?}");
}

#[tokio::test]
async fn a_service_that_knows_keys_tells_how_it_ended() {
    let bank = killed(Kind::Fenced).await;
    let others = bank.addresses().split_off(1);
    let (first, tries) = debit("first").ask(0, false, &others).await;
    assert_eq!(first, End::Accepted(100), "{tries:?}");
    let (next, _) = debit("next").ask(0, false, &others).await;
    assert_eq!(next, End::Accepted(0));
    let findings = read(&bank.ledger()).findings(&[]);
    assert!(findings.stale.is_empty() && findings.unequal.is_empty(), "{findings:?}");
    assert!(findings.twice.is_empty(), "{findings:?}");
}
