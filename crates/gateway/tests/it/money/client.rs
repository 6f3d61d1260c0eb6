//! The clients: each asks one gateway after the other, under one key, until it is told how the
//! movement ended.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use lockgate_testkit::{Answer, Wire, request};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::bank::name;
use super::plan::{Round, What};
use super::story::Try;

/// How many rounds are under way at once.
const CLIENTS: usize = 12;
/// Longest wait for one answer, and for a movement's end.
const PATIENCE: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(90);
/// When a hasty client goes away.
const HASTE: Duration = Duration::from_millis(8);

/// How a movement ended, as the client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The balance after it.
    Accepted(i64),
    Refused,
    /// It may have happened, and the gateway will not try again.
    Unknown,
}

/// What one key's clients were told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) key: String,
    pub(super) account: String,
    pub(super) change: i64,
    pub(super) end: End,
    /// What each of them was told.
    pub(super) ends: Vec<End>,
    pub(super) tries: Vec<Try>,
}

impl Told {
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self.end, End::Accepted(_))
    }

    pub(super) fn is_refused(&self) -> bool {
        self.end == End::Refused
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.end.is_unknown()
    }
}

/// Plays all rounds, and counts those that are done.
pub(super) async fn all(
    seed: u64,
    rounds: Vec<Round>,
    gateways: Vec<SocketAddr>,
    done: Arc<AtomicUsize>,
) -> Vec<Told> {
    let count = rounds.len();
    let queue = Arc::new(Mutex::new(VecDeque::from(rounds)));
    let gateways: Arc<[SocketAddr]> = gateways.into();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (queue, gateways, done) = (queue.clone(), gateways.clone(), done.clone());
        clients.spawn(async move {
            let mut told = Vec::new();
            loop {
                let next = queue.lock().unwrap().pop_front();
                let Some(round) = next else { return told };
                told.extend(play(seed, round, &gateways).await);
                done.fetch_add(1, SeqCst);
            }
        });
    }
    let mut told = Vec::new();
    while let Some(one) = clients.join_next().await {
        told.extend(one.expect("a client"));
    }
    assert_eq!(done.load(SeqCst), count);
    told
}

async fn play(seed: u64, round: Round, gateways: &Arc<[SocketAddr]>) -> Vec<Told> {
    let movement = |part: &str, account: usize, change: i64| Movement {
        key: format!("{seed:x}-{}-{part}", round.number),
        account: name(account),
        change,
    };
    match round.what {
        What::Debit { from, amount } => {
            vec![movement("d", from, -amount).settle(round, gateways).await]
        }
        What::Credit { to, amount } => {
            vec![movement("c", to, amount).settle(round, gateways).await]
        }
        What::Transfer { from, to, amount } => {
            let debit = movement("d", from, -amount).settle(round, gateways).await;
            // Where nobody knows whether the money has left, an operator has to look.
            if !debit.is_accepted() {
                return vec![debit];
            }
            vec![debit, movement("c", to, amount).settle(round, gateways).await]
        }
    }
}

/// One movement of one account, under its key.
#[derive(Debug, Clone)]
pub(super) struct Movement {
    pub(super) key: String,
    pub(super) account: String,
    pub(super) change: i64,
}

impl Movement {
    /// Asks, by several clients at once if the round says so, who must be told the same.
    async fn settle(self, round: Round, gateways: &Arc<[SocketAddr]>) -> Told {
        let mut twins = JoinSet::new();
        for twin in 0..round.twins {
            let (movement, gateways) = (self.clone(), gateways.clone());
            let first = round.first + twin;
            twins.spawn(async move { movement.ask(first, round.hasty, &gateways).await });
        }
        let (mut ends, mut tries) = (Vec::new(), Vec::new());
        while let Some(ended) = twins.join_next().await {
            let (end, tried) = ended.expect("a twin");
            ends.push(end);
            tries.extend(tried);
        }
        // Where the store was away when the first ended, and its gateway died or could not reach the
        // store before others judged it lost, who asks again is told that nobody knows; never
        // something else.
        let known = ends.iter().find(|end| !end.is_unknown());
        let end = known.copied().unwrap_or(End::Unknown);
        let fits = |other: &End| *other == end || other.is_unknown();
        assert!(ends.iter().all(fits), "{self:?}: told {ends:?}");
        let Self { key, account, change } = self;
        Told { key, account, change, end, ends, tries }
    }

    /// Asks until there is an end; how it ended, and by which tries.
    pub(super) async fn ask(
        &self,
        first: usize,
        hasty: bool,
        gateways: &[SocketAddr],
    ) -> (End, Vec<Try>) {
        let deadline = Instant::now() + LIMIT;
        let mut tries = Vec::new();
        loop {
            assert!(Instant::now() < deadline, "{self:?} came to no end: {tries:?}");
            let gateway = (first + tries.len()) % gateways.len();
            let patience = if hasty && tries.is_empty() { HASTE } else { PATIENCE };
            let answer = timeout(patience, self.attempt(gateways[gateway])).await;
            let said = match &answer {
                Ok(Some(answer)) => format!("{} {}", answer.status, answer.reason().unwrap_or("")),
                Ok(None) => "broke off".to_owned(),
                Err(_) => format!("was given up after {patience:?}"),
            };
            tries.push(Try { at: SystemTime::now(), gateway, said });
            if let Ok(Some(answer)) = answer
                && let Some(end) = self.end(&answer)
            {
                return (end, tries);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks one gateway once.
    pub(super) async fn attempt(&self, gateway: SocketAddr) -> Option<Answer> {
        let kind = if self.change < 0 { "debits" } else { "credits" };
        let path = format!("/accounts/{}/{kind}", self.account);
        let headers = [("Idempotency-Key", self.key.as_str()), ("Connection", "close")];
        let body = format!("{{\"amount\":{}}}", self.change.abs());
        let mut wire = Wire::try_connect(gateway).await.ok()?;
        wire.send(request("POST", &path, &headers, &body)).await;
        wire.answer_to("POST").await.ok()
    }

    /// What an answer says of the end; `None`: try again.
    fn end(&self, answer: &Answer) -> Option<End> {
        let text = answer.text();
        match (answer.status, answer.reason()) {
            (201, None) => Some(End::Accepted(answer.json()["balance"].as_i64().unwrap())),
            (422, None) if text.contains("insufficient_funds") => Some(End::Refused),
            (409, Some("unknown_outcome")) => Some(End::Unknown),
            (409, Some("idempotency_running" | "serialize_busy" | "serialize_queue_full")) => None,
            (500.., _) => None,
            _ => panic!("{self:?}: {answer:?}"),
        }
    }
}
