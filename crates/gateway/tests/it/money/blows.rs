//! What is broken while clients ask.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::time::sleep;

use super::bank::{Bank, TTL};
use super::plan::{Blow, Kind};
use super::story;

/// Strikes each blow once so many rounds are done.
pub(super) async fn strike(blows: &[Blow], bank: &mut Bank, done: &AtomicUsize) {
    for blow in blows {
        // The rounds have a limit of their own, and so has this.
        while done.load(SeqCst) < blow.after {
            sleep(Duration::from_millis(5)).await;
        }
        match blow.kind {
            Kind::Kill => {
                story::blow(&format!("gateway {} is killed", blow.gateway));
                bank.restart(blow.gateway).await;
            }
            Kind::Pause => {
                story::blow(&format!("gateway {} stands still", blow.gateway));
                bank.gateways[blow.gateway].signal("STOP");
                sleep(2 * TTL).await;
                bank.gateways[blow.gateway].signal("CONT");
            }
            Kind::Redis => {
                story::blow("Redis goes away");
                bank.strike_redis().await;
                story::blow("Redis is back");
            }
        }
    }
}
