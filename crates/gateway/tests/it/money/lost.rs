//! The one way in which a turn can be taken twice, step by step: a gateway stands still for longer
//! than its lease lives, while its service works on. It is counted; a racy service loses money by
//! it, and one that heeds the token does not.

use std::net::SocketAddr;

use lockgate_testkit::{Answer, until};
use tokio::task::JoinHandle;

use super::bank::{Bank, Kind, name};
use super::client::{End, Movement};
use super::read;

fn debit(key: &str) -> Movement {
    Movement { key: key.to_owned(), account: name(0), change: -100 }
}

fn send(movement: Movement, gateway: SocketAddr) -> JoinHandle<Option<Answer>> {
    tokio::spawn(async move { movement.attempt(gateway).await })
}

/// Lets the first gateway stand still in the middle of a debit, until the second has had its turn;
/// what the first one's client is told at last.
async fn overtaken(bank: &Bank) -> Answer {
    bank.open_accounts(1, 200).await;
    let gateways = bank.addresses();
    let late = send(debit("late"), gateways[0]);
    until("the service to have read", async || bank.under_way().await == 1).await;
    bank.gateways[0].signal("STOP");
    let next = send(debit("next"), gateways[1]).await.unwrap().expect("an answer");
    bank.gateways[0].signal("CONT");
    assert_eq!(next.status, 201, "{next:?}");
    let told = late.await.unwrap().expect("an answer");
    assert_eq!(bank.lost_leases().await, 1);
    told
}

#[tokio::test]
async fn a_racy_service_loses_what_a_lost_lease_lets_in_and_it_is_counted() {
    let bank = Bank::with_delay(Kind::Racy, "1500ms").await;
    let told = overtaken(&bank).await;
    assert_eq!((told.status, told.reason()), (503, Some("lease_lost")), "{told:?}");
    // Nobody may run it again: it did happen.
    let again = debit("late").ask(0, false, &bank.addresses()).await.0;
    assert_eq!(again, End::Unknown);
    until("the late one to be written", async || bank.under_way().await == 0).await;
    let findings = read(&bank.ledger()).findings(&[]);
    assert_eq!(findings.stale.len(), 1, "{findings:?}");
    assert_eq!(findings.unequal.len(), 1, "{findings:?}");
}

#[tokio::test]
async fn a_service_that_heeds_the_token_loses_nothing() {
    let bank = Bank::with_delay(Kind::Fenced, "1500ms").await;
    let told = overtaken(&bank).await;
    assert_eq!((told.status, told.reason()), (503, Some("lease_lost")), "{told:?}");
    until("the late one to be refused", async || bank.under_way().await == 0).await;
    // It did not happen, and so it is done now.
    let again = debit("late").ask(0, false, &bank.addresses()).await.0;
    assert_eq!(again, End::Accepted(0));
    let findings = read(&bank.ledger()).findings(&[]);
    assert!(findings.stale.is_empty() && findings.unequal.is_empty(), "{findings:?}");
}
