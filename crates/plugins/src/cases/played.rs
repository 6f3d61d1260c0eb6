//! The surroundings that a case plays: its consumers, plans, files, and answers to the gateway's
//! own requests. Counters are the real ones; there is a store `shared` too, a Redis that never answers. Background work runs on the case's own runtime, shared state lives as long as the
//! case.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::Response;
use lockgate_core::{
    AskedBlobs, Blobs, Blocking, Board, Call, Clock, Consumer, ConsumerEntry, Consumers, Counters,
    Destination, Fault, Figure, Kept, Leases, Metric, Nowhere, Outbound, Provide, Records,
    SendFuture, ServiceStatus, Standing, Status, Task, reasons,
};
use lockgate_state::{
    Bounds, LeaseBounds, Memory, MemoryBlobs, MemoryLeases, MemoryRecords, RecordBounds,
};
use serde_json::Value;

use super::case;
use super::{reply, run};

/// When every case begins: 2026-11-29 00:00 UTC, a Sunday and the last but one of its month.
const START: Duration = Duration::from_secs(1_795_910_400);
/// Room for a few records, so that a case can fill it.
const RECORDS: RecordBounds = RecordBounds { entries: 8, bytes: 16 << 10 };
const BOUNDS: Bounds = Bounds { keys: 1_000, bytes: 1 << 20 };

/// What one case provides.
pub(super) struct Played {
    consumers: Arc<Consumers>,
    plans: BTreeMap<String, Value>,
    files: BTreeMap<String, String>,
    outside: Arc<Outside>,
    kept: RefCell<HashMap<String, Kept>>,
    memory: Arc<Memory>,
    /// What every case begins at: the first second of 2026.
    clock: Clock,
    blobs: Arc<dyn Blobs>,
    leases: Arc<dyn Leases>,
    records: Arc<MemoryRecords>,
}

impl Played {
    pub(super) fn new(case: &mut case::Case) -> Self {
        let words = |words: &[String]| words.iter().map(|word| word.as_str().into()).collect();
        let entries = case.consumers.iter().map(|(name, consumer)| ConsumerEntry {
            name: name.as_str().into(),
            api_keys: words(&consumer.api_keys),
            roles: words(&consumer.roles),
            plan: consumer.plan.as_deref().map(Into::into),
            tags: words(&consumer.tags),
        });
        let outside = std::mem::take(&mut case.outside);
        let outside = outside.into_iter().map(|(line, all)| (line, all.0)).collect();
        Self {
            consumers: Arc::new(entries.collect()),
            plans: case.plans.clone(),
            files: case.files.clone(),
            outside: Arc::new(Outside { answers: Mutex::new(outside), asked: Mutex::default() }),
            kept: RefCell::default(),
            memory: Arc::new(Memory::in_time(BOUNDS, START)),
            clock: Clock::set_to(UNIX_EPOCH + Duration::from_secs(1_767_225_600)),
            blobs: Arc::new(MemoryBlobs::new(64 << 20)),
            leases: Arc::new(MemoryLeases::new(LeaseBounds::default())),
            records: Arc::new(MemoryRecords::new(RECORDS)),
        }
    }
}

impl Played {
    /// A consumer of this name, as an identity would make it.
    pub(super) fn consumer(&self, name: &str) -> Consumer {
        let (name, identity) = (name.into(), "played".into());
        let mut consumer = Consumer { name, identity, ..Consumer::default() };
        self.consumers.complete(&mut consumer);
        consumer
    }

    /// What was asked outside since this was asked for.
    pub(super) fn asked(&self) -> Vec<run::Asked> {
        std::mem::take(&mut *self.outside.asked.lock().expect("no test panics with it"))
    }
}

/// Three services as every case sees them; the last has no name of its own.
struct Seen;

impl Board for Seen {
    fn status(&self) -> Arc<Status> {
        let one = |name: &str, standing, since, share: [Option<f64>; 4], days: &[Option<f64>]| {
            let (name, standing, since) = (name.into(), Some(standing), Some(since));
            ServiceStatus { name, standing, since, availability: share, days: days.to_vec() }
        };
        let (most, half) = (Some(0.999), Some(0.5));
        let services = vec![
            one("ledger", Standing::Down, 1_000, [half, None, None, None], &[None, half]),
            one("orders", Standing::Up, 0, [Some(1.0), most, most, most], &[most, Some(1.0)]),
            one("http://10.0.0.1:80", Standing::Down, 0, [None; 4], &[]),
        ];
        Arc::new(Status { at: UNIX_EPOCH + START, services })
    }
}

impl Provide for Played {
    fn consumers(&self) -> &Arc<Consumers> {
        &self.consumers
    }

    fn plan(&self, name: &str) -> Option<&Value> {
        self.plans.get(name)
    }

    fn plans(&self) -> Vec<&str> {
        self.plans.keys().map(String::as_str).collect()
    }

    fn has_upstream(&self, name: &str) -> bool {
        !name.contains("unknown")
    }

    fn stores(&self) -> Vec<&str> {
        vec!["shared"]
    }

    fn counters(&self, store: &str) -> Option<Arc<dyn Counters>> {
        match store {
            "memory" => Some(self.memory.clone() as Arc<dyn Counters>),
            "shared" => Some(Arc::new(Nowhere)),
            _ => None,
        }
    }

    fn blobs(&self, store: &str) -> Option<Arc<dyn Blobs>> {
        ["memory", "shared"].contains(&store).then(|| Arc::clone(&self.blobs))
    }

    /// Those of `shared` never answer.
    fn leases(&self, store: &str) -> Option<Arc<dyn Leases>> {
        match store {
            "memory" => Some(Arc::clone(&self.leases)),
            "shared" => Some(Arc::new(Nowhere)),
            _ => None,
        }
    }

    fn records(&self, store: &str) -> Option<Arc<dyn Records>> {
        ["memory", "shared"].contains(&store).then(|| Arc::clone(&self.records) as Arc<dyn Records>)
    }

    fn asked_blobs(&self) -> AskedBlobs {
        let asked = AskedBlobs::default();
        asked.add(&self.blobs);
        asked
    }

    fn clock(&self) -> Clock {
        self.clock
    }

    fn board(&self) -> Arc<dyn Board> {
        Arc::new(Seen)
    }

    fn outbound(&self) -> Arc<dyn Outbound> {
        self.outside.clone()
    }

    fn spawn(&self, work: SendFuture<()>) -> Task {
        let (held, mut loose) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            tokio::select! {
                _ = &mut loose => {}
                () = work => {}
            }
        });
        Task::held_by(held)
    }

    fn blocking(&self) -> Arc<dyn Blocking> {
        Arc::new(AtOnce)
    }

    fn read(&self, path: &Path) -> Result<Bytes, String> {
        let text = self.files.get(path.to_str().unwrap_or_default());
        let text = text.ok_or_else(|| format!("cannot read `{}`: not there", path.display()))?;
        Ok(text.clone().into())
    }

    fn shared(&self, key: &str, make: &mut dyn FnMut() -> Kept) -> Kept {
        if let Some(there) = self.kept.borrow().get(key) {
            return Arc::clone(there);
        }
        // Making it may ask for something else that is shared.
        let new = make();
        self.kept.borrow_mut().entry(key.to_owned()).or_insert(new).clone()
    }

    fn expose(&self, metric: &'static Metric, labels: &[&str], _: Weak<dyn Figure>) {
        assert_eq!(metric.labels.len(), labels.len(), "{}: labels", metric.name);
    }
}

/// Does it where it is asked for.
struct AtOnce;

impl Blocking for AtOnce {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

struct Outside {
    /// Answers by request line, those that are left.
    answers: Mutex<BTreeMap<String, Vec<case::Upstream>>>,
    /// What was asked since it was looked at.
    asked: Mutex<Vec<run::Asked>>,
}

impl Outbound for Outside {
    fn send(&self, call: Call) -> SendFuture<Result<Response<Bytes>, Fault>> {
        let uri = call.request.uri();
        let line = match &call.to {
            Destination::Url { .. } | Destination::Http2 { .. } => {
                format!("{} {uri}", call.request.method())
            }
            Destination::Upstream(name) => format!("{} {name}:{uri}", call.request.method()),
        };
        let asked = run::Asked {
            line: line.clone(),
            headers: call.request.headers().clone(),
            body: String::from_utf8_lossy(call.request.body()).into_owned(),
        };
        self.asked.lock().expect("no test panics while it holds this").push(asked);
        let mut all = self.answers.lock().expect("no test panics while it holds this");
        let answer = match all.get_mut(&line) {
            Some(list) if list.len() > 1 => reply::whole(&list.remove(0)),
            Some(list) => list.first().map_or_else(|| nothing(&line), reply::whole),
            None => nothing(&line),
        };
        Box::pin(std::future::ready(answer))
    }
}

fn nothing(line: &str) -> Result<Response<Bytes>, Fault> {
    Err(Fault::upstream(&reasons::UPSTREAM_REFUSED).detail(format!("nothing plays `{line}`")))
}
