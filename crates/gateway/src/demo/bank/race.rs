//! One race: three debits of 45 at once on a balance of 75, and what became of the account.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use http::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::demo::asking::{Answered, ask};

/// What the account has at first, and what each debit takes.
pub(super) const OPENING: i64 = 75;
pub(super) const AMOUNT: i64 = 45;

/// Where to race.
pub(super) struct Race {
    /// The port of one service, asked about the account past all gateways.
    pub(super) service: u16,
    /// The port of the gateway above the others.
    pub(super) top: u16,
}

/// What became of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Raced {
    /// Debits that the service accepted.
    pub(super) accepted: usize,
    /// Debits that it refused for want of money.
    pub(super) refused: usize,
    /// The balance after them.
    pub(super) balance: i64,
    /// What the balance should be, by the account's history.
    pub(super) should_be: i64,
    /// How many gateways the debits went through.
    pub(super) gateways: usize,
}

/// Both races.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) without: Raced,
    pub(super) with: Raced,
}

impl Outcome {
    /// Without `serialize` the account loses count; with it one debit fits, and two are refused.
    pub(super) fn is_as_promised(&self) -> bool {
        let left = OPENING - AMOUNT;
        let with = &self.with;
        self.without.accepted > 1
            && self.without.balance != self.without.should_be
            && (with.accepted, with.refused) == (1, 2)
            && (with.balance, with.should_be) == (left, left)
    }
}

impl Race {
    /// Races for a new account of this name, by the routes below `prefix`.
    pub(super) async fn run(&mut self, account: &str, prefix: &str) -> anyhow::Result<Raced> {
        let path = format!("/accounts/{account}");
        let opening = Some(json!({ "balance": OPENING }));
        let opened = ask(self.service, Method::PUT, &path, &[], opening).await?;
        expect(&opened, StatusCode::CREATED)?;
        let debit = async |number: u32| {
            let key = [("idempotency-key", format!("{account}-{number}"))];
            let path = format!("{prefix}{path}/debits");
            ask(self.top, Method::POST, &path, &key, Some(json!({ "amount": AMOUNT }))).await
        };
        let (first, second, third) = tokio::join!(debit(1), debit(2), debit(3));
        let (mut accepted, mut refused, mut gateways) = (0, 0, BTreeSet::new());
        for answer in [first?, second?, third?] {
            gateways.insert(answer.header("x-gateway").to_owned());
            match answer.status {
                StatusCode::CREATED => accepted += 1,
                StatusCode::UNPROCESSABLE_ENTITY if is_short(&answer) => refused += 1,
                _ => bail!("a debit was answered by {}: {}", answer.status, answer.body),
            }
        }
        let after = ask(self.service, Method::GET, &path, &[], None).await?;
        expect(&after, StatusCode::OK)?;
        let number = |name: &str| after.body.get(name).and_then(Value::as_i64);
        let balance = number("balance").context("the account's balance")?;
        let should_be = number("by_history").context("the account's history")?;
        Ok(Raced { accepted, refused, balance, should_be, gateways: gateways.len() })
    }
}

fn is_short(answer: &Answered) -> bool {
    answer.body.get("reason").is_some_and(|reason| reason == "insufficient_funds")
}

fn expect(answer: &Answered, status: StatusCode) -> anyhow::Result<()> {
    if answer.status != status {
        bail!("the accounts service answered {}: {}", answer.status, answer.body);
    }
    Ok(())
}
