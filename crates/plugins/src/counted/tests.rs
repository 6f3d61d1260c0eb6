//! What cases cannot say: a store that does not answer.

use std::sync::Arc;

use http::{Request, Response};
use lockgate_core::{
    Body, Connection, Counters, Exchange, Fault, Figure, Grant, Kind, Nowhere, Policy, Step, Take,
    Verdict, reasons,
};

use super::*;

fn exchange() -> Exchange {
    let (head, ()) = Request::get("/").body(()).unwrap().into_parts();
    let (peer, local) = (([192, 0, 2, 1], 40_000).into(), ([127, 0, 0, 1], 80).into());
    Exchange::begun(head, std::rc::Rc::new(Connection::plain(peer, local)))
}

/// A limit of two whose store is out of reach.
fn group(on_store_error: OnStoreError) -> Group {
    let limit = lockgate_core::Limit {
        algorithm: lockgate_core::Algorithm::SlidingWindow,
        count: 2,
        window: std::time::Duration::from_secs(60),
        burst: 2,
    };
    let rule = Rule {
        name: "l".into(),
        policy: "rate_limit",
        place: "routes./.rate_limit\0".into(),
        by: By::ip(),
        bounds: vec![Bound::new(limit, "2/min".to_owned(), 1, None).unwrap()],
        standard: Some(0),
        plans: Default::default(),
        cost: 1,
        answers: None,
        dry_run: false,
        precision: None,
        headers: true,
        form: Form::Rate,
        only_served: false,
        yields: false,
        refusals: Default::default(),
    };
    let memory = lockgate_state::Memory::new(lockgate_state::Bounds { keys: 100, bytes: 1 << 16 });
    Group {
        reason: &reasons::STORE_UNAVAILABLE,
        counters: Arc::new(Nowhere),
        local: Arc::new(memory),
        store: "away".into(),
        on_store_error,
        store_errors: Default::default(),
        rules: vec![rule],
    }
}

fn ask(group: &Group) -> Result<(), Fault> {
    let mut exchange = exchange();
    let verdict = now(group.request(&mut exchange));
    let passed = verdict.map(|verdict| assert!(matches!(verdict, Verdict::Pass)));
    now(group.response(&mut exchange, &mut Response::new(Body::Empty))).unwrap();
    passed
}

fn now<T>(step: Step<'_, T>) -> T {
    match step {
        Step::Now(result) => result,
        Step::Later(_) => panic!("it waits"),
    }
}

#[test]
fn a_store_that_does_not_answer_is_done_without_or_not() {
    let local = group(OnStoreError::Local);
    assert!(ask(&local).is_ok() && ask(&local).is_ok());
    assert!(ask(&local).is_err(), "the gateway counts for itself");
    assert_eq!(local.store_errors.value(), 3);
    let allow = group(OnStoreError::Allow);
    assert!((0..5).all(|_| ask(&allow).is_ok()));
    let fault = ask(&group(OnStoreError::Deny)).unwrap_err();
    assert_eq!((fault.reason().code, fault.kind()), ("store_unavailable", Kind::Unavailable));
}

/// A store of four gateways that does not answer.
struct Four;

impl Counters for Four {
    fn take_now(
        &self,
        takes: &[Take<'_>],
        grants: &mut [Grant],
        naming: &lockgate_core::Naming<'_>,
    ) -> Option<Result<bool, lockgate_core::StoreError>> {
        Nowhere.take_now(takes, grants, naming)
    }

    fn take<'a>(
        &'a self,
        takes: &'a [Take<'a>],
        grants: &'a mut [Grant],
        naming: &'a lockgate_core::Naming<'a>,
    ) -> lockgate_core::LocalFuture<'a, Result<bool, lockgate_core::StoreError>> {
        Nowhere.take(takes, grants, naming)
    }

    fn give_back(&self, _: &Take<'_>, _: &Grant) {}

    fn gateways(&self) -> u32 {
        4
    }
}

#[test]
fn a_gateway_counts_its_share_and_one_at_least() {
    let mut local = group(OnStoreError::Local);
    local.counters = Arc::new(Four);
    for (count, share) in [(40, 10), (43, 10), (2, 1)] {
        local.rules[0].bounds[0].limit.count = count;
        local.rules[0].place = format!("routes./{count}.rate_limit\0").into();
        assert_eq!((0..50).filter(|_| ask(&local).is_ok()).count(), share, "of {count}");
    }
}

#[test]
fn what_is_above_twenty_in_a_second_is_leased() {
    let limit = |text: &str, precision| {
        let rate: lockgate_core::Rate = text.parse().unwrap();
        let algorithm = Algorithm::SlidingWindow;
        leased(&Limit { algorithm, count: rate.count, window: rate.window, burst: 1 }, precision)
    };
    assert!(!limit("20/s", None) && limit("21/s", None) && limit("3/100ms", None));
    assert!(!limit("1200/min", None) && limit("1201/min", None));
    assert!(limit("1/h", Some(Precision::Leased)) && !limit("99/s", Some(Precision::Exact)));
}
