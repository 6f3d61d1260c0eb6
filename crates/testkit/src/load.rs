//! A steady load of GET requests over kept-alive connections, each answer counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use tokio::task::JoinSet;

use crate::{Fail, Wire};

/// What a load has met.
#[derive(Debug, Default)]
pub struct Tally {
    /// Status → how many answers had it.
    pub statuses: BTreeMap<u16, usize>,
    /// Requests that got no answer, or half of one; the first hundred, in words.
    pub errors: Vec<String>,
    /// The first answers that were not a 200, in words.
    pub odd: Vec<String>,
}

impl Tally {
    /// How many answers there were.
    pub fn answers(&self) -> usize {
        self.statuses.values().sum()
    }

    /// Asserts that there were answers, and that all were 200.
    pub fn flawless(&self, at_least: usize) {
        assert!(self.errors.is_empty(), "{self:?}");
        assert_eq!(self.statuses.keys().copied().collect::<Vec<_>>(), [200], "{self:?}");
        assert!(self.answers() >= at_least, "too little load: {self:?}");
    }
}

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    tasks: JoinSet<Tally>,
}

impl Load {
    /// Starts this many connections, each sending this request again and again. An answer with
    /// `Connection: close` is followed by a new connection, as any client would.
    pub fn start(address: SocketAddr, connections: usize, request: &str) -> Self {
        Self::begin(address, connections, request, false)
    }

    /// The same; a request that finds its kept connection closed without a word is sent again on
    /// a new one, as clients do with what is safe to repeat (RFC 9112 §9.3.1).
    pub fn asking_again(address: SocketAddr, connections: usize, request: &str) -> Self {
        Self::begin(address, connections, request, true)
    }

    fn begin(address: SocketAddr, connections: usize, request: &str, again: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (stop, answered) = (stop.clone(), answered.clone());
            tasks.spawn(connection(address, request.to_owned(), again, stop, answered));
        }
        Self { stop, answered, tasks }
    }

    /// How many answers have come so far.
    pub fn answered(&self) -> usize {
        self.answered.load(SeqCst)
    }

    /// Waits for this many more answers.
    pub async fn more(&self, answers: usize) {
        let goal = self.answered() + answers;
        crate::until("the load to go on", async || self.answered() >= goal).await;
    }

    /// Ends it, each connection after the answer that it waits for.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, SeqCst);
        let mut all = Tally::default();
        while let Some(one) = self.tasks.join_next().await {
            let one = one.expect("a load's connection");
            for (status, count) in one.statuses {
                *all.statuses.entry(status).or_default() += count;
            }
            all.errors.extend(one.errors);
            all.odd.extend(one.odd);
        }
        all.errors.truncate(100);
        all.odd.truncate(10);
        all
    }
}

async fn connection(
    address: SocketAddr,
    request: String,
    again: bool,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
) -> Tally {
    let mut tally = Tally::default();
    let mut open: Option<Wire> = None;
    while !stop.load(SeqCst) && tally.errors.len() < 100 {
        let kept = open.take();
        let is_kept = kept.is_some();
        let mut wire = match kept {
            Some(wire) => wire,
            None => match Wire::try_connect(address).await {
                Ok(wire) => wire,
                Err(error) => {
                    tally.errors.push(format!("connect: {error}"));
                    continue;
                }
            },
        };
        wire.send(&request).await;
        match wire.answer_to("GET").await {
            Ok(answer) => {
                *tally.statuses.entry(answer.status).or_default() += 1;
                answered.fetch_add(1, SeqCst);
                if answer.status != 200 && tally.odd.len() < 10 {
                    tally.odd.push(format!("{} {}", answer.status, answer.text()));
                }
                if !answer.all("connection").any(|value| value.eq_ignore_ascii_case("close")) {
                    open = Some(wire);
                }
            }
            Err(Fail::Closed) if again && is_kept => {}
            Err(fail @ (Fail::Closed | Fail::Broken | Fail::Late | Fail::Odd(_))) => {
                tally.errors.push(fail.to_string());
            }
        }
    }
    tally
}
