//! Records in memory: one first, nothing lost before its time, and no room beyond the bounds.

use lockgate_core::Fingerprint;
use proptest::prelude::*;

use super::*;

const KEEP: Duration = Duration::from_secs(60);
const SAME: Fingerprint = [1; 32];
const OTHER: Fingerprint = [2; 32];

fn begin<'a>(key: &'a [u8], owner: u128, fingerprint: &'a Fingerprint) -> Begin<'a> {
    let owner = Owner(owner);
    let lost_after = Duration::from_secs(10);
    Begin { key, owner, fingerprint, keep: KEEP, lost_after, again: false }
}

fn done(text: &'static str) -> End {
    End::Done { record: text.into(), keep: KEEP }
}

fn small(entries: u64, bytes: u64) -> MemoryRecords {
    MemoryRecords::new(RecordBounds { entries, bytes })
}

#[tokio::test(start_paused = true)]
async fn the_first_runs_and_repeats_hear_of_it() {
    let records = MemoryRecords::new(RecordBounds::default());
    assert_eq!(records.begin_now(&begin(b"k", 1, &SAME)), Begun::First);
    assert_eq!(records.begin_now(&begin(b"k", 1, &SAME)), Begun::First, "said again");
    tokio::time::advance(Duration::from_secs(3600)).await;
    let age = Duration::from_secs(3600);
    let running = Begun::Running { age, fingerprint: SAME };
    assert_eq!(records.begin_now(&begin(b"k", 2, &OTHER)), running, "however long it runs");
    assert_eq!(records.settle_now(b"k", Owner(2), &done("x")), Settled::Lost);
    assert_eq!(records.settle_now(b"k", Owner(1), &done("a")), Settled::Yes);
    assert_eq!(records.settle_now(b"k", Owner(1), &done("b")), Settled::Yes, "said again");
    assert_eq!(records.settle_now(b"k", Owner(1), &End::Unknown), Settled::Lost);
    let told = Begun::Done { record: "a".into(), fingerprint: SAME };
    assert_eq!(records.begin_now(&begin(b"k", 3, &SAME)), told);
    tokio::time::advance(KEEP - Duration::from_millis(1)).await;
    assert_eq!(records.begin_now(&begin(b"k", 3, &SAME)), told);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(records.begin_now(&begin(b"k", 3, &SAME)), Begun::First, "its time is over");
    assert_eq!(records.stats().entries, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_forgotten_runs_again_and_what_was_lost_does_not() {
    let records = MemoryRecords::new(RecordBounds::default());
    records.begin_now(&begin(b"k", 1, &SAME));
    assert_eq!(records.settle_now(b"k", Owner(1), &End::Forgotten), Settled::Yes);
    assert_eq!(records.stats(), RecordStats::default());
    assert_eq!(records.begin_now(&begin(b"k", 2, &SAME)), Begun::First);
    assert_eq!(records.settle_now(b"k", Owner(2), &End::Unknown), Settled::Yes);
    let unknown = Begun::Unknown { age: Duration::ZERO, fingerprint: SAME };
    assert_eq!(records.begin_now(&begin(b"k", 3, &SAME)), unknown);
    let again = |owner, fingerprint| Begin { again: true, ..begin(b"k", owner, fingerprint) };
    assert_eq!(records.begin_now(&again(4, &OTHER)), unknown, "it is another request");
    assert_eq!(records.begin_now(&again(5, &SAME)), Begun::First);
    let running = Begun::Running { age: Duration::ZERO, fingerprint: SAME };
    assert_eq!(records.begin_now(&again(6, &SAME)), running, "one alone takes it over");
    assert_eq!(records.settle_now(b"k", Owner(2), &done("late")), Settled::Lost);
    assert_eq!(records.settle_now(b"k", Owner(5), &done("b")), Settled::Yes);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_comes_late_still_counts() {
    let records = MemoryRecords::new(RecordBounds::default());
    records.begin_now(&begin(b"k", 1, &SAME));
    records.settle_now(b"k", Owner(1), &End::Unknown);
    assert_eq!(records.settle_now(b"k", Owner(1), &done("a")), Settled::Yes);
    let told = Begun::Done { record: "a".into(), fingerprint: SAME };
    assert_eq!(records.begin_now(&begin(b"k", 2, &SAME)), told);
}

#[tokio::test(start_paused = true)]
async fn a_full_one_refuses_and_forgets_nothing_before_its_time() {
    let records = small(2, 1 << 20);
    for (key, owner) in [(b"a", 1), (b"b", 2)] {
        records.begin_now(&begin(key, owner, &SAME));
    }
    assert_eq!(records.begin_now(&begin(b"c", 3, &SAME)), Begun::Full);
    records.settle_now(b"a", Owner(1), &done("a"));
    tokio::time::advance(KEEP / 2).await;
    assert_eq!(records.begin_now(&begin(b"c", 3, &SAME)), Begun::Full);
    tokio::time::advance(KEEP / 2).await;
    assert_eq!(records.begin_now(&begin(b"c", 3, &SAME)), Begun::First);
    let running = Begun::Running { age: KEEP, fingerprint: SAME };
    assert_eq!(records.begin_now(&begin(b"b", 9, &SAME)), running);

    let records = small(9, 1 + OVERHEAD + 1);
    records.begin_now(&begin(b"a", 1, &SAME));
    let end = |length: u64| End::Done { record: vec![b'x'; length as usize].into(), keep: KEEP };
    assert_eq!(records.settle_now(b"a", Owner(1), &end(SMALL + 2)), Settled::Full);
    assert_eq!(records.settle_now(b"a", Owner(1), &end(SMALL + 1)), Settled::Yes);
    assert_eq!(records.stats(), RecordStats { entries: 1, bytes: 1 + OVERHEAD + 1 });
    assert_eq!(records.begin_now(&begin(b"b", 2, &SAME)), Begun::Full);
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_by_the_end_or_by_time() {
    let records = MemoryRecords::new(RecordBounds::default());
    records.begin_now(&begin(b"k", 1, &SAME));
    let start = Instant::now();
    records.ended(b"k", Duration::from_secs(2)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    let ends = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        records.settle_now(b"k", Owner(1), &done("a"));
    };
    tokio::join!(records.ended(b"k", Duration::from_secs(60)), ends);
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    records.ended(b"k", Duration::from_secs(60)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(3), "it does not run");
}

/// What a record is, without bounds and shards.
#[derive(Debug, Clone, PartialEq)]
enum Model {
    Running(u128),
    Unknown(u128, Instant),
    Done(u128, Bytes, Instant),
}

use bytes::Bytes;

#[derive(Debug, Clone)]
enum Act {
    Begin { key: u8, again: bool },
    End { owner: u128, how: u8 },
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let begin = (0..6_u8, any::<bool>()).prop_map(|(key, again)| Act::Begin { key, again });
    let end = (0..40_u128, 0..3_u8).prop_map(|(owner, how)| Act::End { owner, how });
    let pass = (1..40_u64).prop_map(Act::Pass);
    proptest::collection::vec(prop_oneof![4 => begin, 4 => end, 1 => pass], 0..80)
}

proptest! {
    /// Whatever comes, the records say what a plain table would, or that they are full.
    #[test]
    fn it_does_what_a_plain_table_does(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let records = small(4, 4 * (OVERHEAD + 1) + 100);
            let mut model: HashMap<u8, Model> = HashMap::new();
            let (mut owners, mut next) = (HashMap::new(), 0_u128);
            for act in acts {
                let now = Instant::now();
                model.retain(|_, record| match record {
                    Model::Running(_) => true,
                    Model::Unknown(_, over) | Model::Done(_, _, over) => *over > now,
                });
                match act {
                    Act::Pass(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
                    Act::Begin { key, again } => {
                        let owner = next;
                        next += 1;
                        owners.insert(owner, key);
                        let named = [key];
                        let asked = Begin { again, ..begin(&named, owner, &SAME) };
                        let first = match (records.begin_now(&asked), model.get(&key)) {
                            (Begun::First, None) => true,
                            (Begun::First, Some(Model::Unknown(..))) => { assert!(again); true }
                            (Begun::Full, None) => { assert!(model.len() >= 4); false }
                            (Begun::Running { .. }, Some(Model::Running(_))) => false,
                            (Begun::Unknown { .. }, Some(Model::Unknown(..))) => { assert!(!again); false }
                            (Begun::Done { record, .. }, Some(Model::Done(_, kept, _))) => {
                                assert_eq!(record, kept);
                                false
                            }
                            (begun, record) => panic!("{begun:?} of {record:?}"),
                        };
                        if first {
                            model.insert(key, Model::Running(owner));
                        }
                    }
                    Act::End { owner, how } => {
                        let Some(&key) = owners.get(&owner) else { continue };
                        let kept = Bytes::from(vec![owner as u8; 60]);
                        let end = match how {
                            0 => End::Done { record: kept.clone(), keep: KEEP },
                            1 => End::Unknown,
                            _ => End::Forgotten,
                        };
                        let own = model.get(&key).filter(|record| match record {
                            Model::Running(of) | Model::Unknown(of, _) | Model::Done(of, _, _) => *of == owner,
                        });
                        let settled = records.settle_now(&[key], Owner(owner), &end);
                        match (own, settled, how) {
                            (None, Settled::Lost, _) => {}
                            (Some(Model::Done(..)), Settled::Yes, 0) => {}
                            (Some(Model::Done(..)), Settled::Lost, 1 | 2) => {}
                            (Some(_), Settled::Full, 0) => {
                                let done = |record: &&Model| matches!(record, Model::Done(..));
                                // Four of them leave room for one whole answer.
                                assert!(model.values().filter(done).count() >= 1);
                            }
                            (Some(_), Settled::Yes, 0) => {
                                model.insert(key, Model::Done(owner, kept, now + KEEP));
                            }
                            (Some(_), Settled::Yes, 1) => {
                                model.insert(key, Model::Unknown(owner, now + KEEP));
                            }
                            (Some(_), Settled::Yes, _) => { model.remove(&key); }
                            (own, settled, _) => panic!("{settled:?} of {own:?}"),
                        }
                    }
                }
            }
            // What is over goes, and nothing of it stays counted.
            tokio::time::advance(Duration::from_secs(3600)).await;
            records.sweep(Instant::now());
            let running = model.values().filter(|record| matches!(record, Model::Running(_))).count();
            assert_eq!(records.stats().entries, running as u64);
            assert_eq!(records.stats().bytes, running as u64 * (1 + OVERHEAD));
        });
    }
}

use std::collections::HashMap;
