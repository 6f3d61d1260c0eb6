//! How messages go out, request by request, to a receiver that answers as it is told to. Time is
//! paused: what takes an hour takes none.

use std::collections::VecDeque;
use std::sync::Mutex;

use http::Response;
use lockgate_config::model::Severity;
use lockgate_core::{Fault, SendFuture};
use tokio::time::Instant;

use super::*;
use crate::alerts::AlertView;

const START: u64 = 1_700_000_000_000;

/// A receiver: what it answers next, and what it has got.
#[derive(Default)]
struct Sink {
    answers: Mutex<VecDeque<u16>>,
    seen: Mutex<Vec<Value>>,
}

impl Outbound for Sink {
    fn send(&self, call: Call) -> SendFuture<Result<Response<Bytes>, Fault>> {
        self.seen.lock().unwrap().push(serde_json::from_slice(call.request.body()).unwrap());
        let status = self.answers.lock().unwrap().pop_front().unwrap_or(202);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(Response::builder().status(status).body(Bytes::new()).unwrap())
        })
    }
}

fn alerts(firing: usize, resolved: usize, summary: &str) -> Message {
    let one = |n: usize, ended_at| AlertView {
        rule: "endpoint_down".into(),
        subject: format!("orders/{n}"),
        severity: Severity::Critical,
        summary: format!("{n} {summary}"),
        since: START - 60_000,
        fired_at: Some(START),
        ended_at,
    };
    Message {
        at: START,
        firing: (0..firing).map(|n| one(n, None)).collect(),
        resolved: (firing..firing + resolved).map(|n| one(n, Some(START))).collect(),
    }
}

/// What the sink has got, the subjects of what is lost, and how often a try failed.
async fn deliver(
    kind: SinkKind,
    answers: &[u16],
    message: &Message,
) -> (Vec<Value>, Vec<String>, usize) {
    let sink = AlertSink {
        url: Some("http://sink.test/".into()),
        key: (kind == SinkKind::Pagerduty).then(|| "k".into()),
        kind,
        ..AlertSink::default()
    };
    let receiver = Receiver::new("sink", &sink, Path::new(".")).unwrap();
    let sink = Arc::new(Sink::default());
    sink.answers.lock().unwrap().extend(answers);
    let outbound: Arc<dyn Outbound> = Arc::clone(&sink) as _;
    let begin = Instant::now();
    let failures = Mutex::new(0);
    let spawn: Spawn = Arc::new(|mut command| command.spawn());
    let post = Post {
        outbound: &outbound,
        spawn: &spawn,
        instance: "gw",
        now: &|| START + begin.elapsed().as_millis() as u64,
        failed: &|_| *failures.lock().unwrap() += 1,
    };
    let lost = receiver.deliver(&post, message).await;
    let seen = std::mem::take(&mut *sink.seen.lock().unwrap());
    let failures = *failures.lock().unwrap();
    (seen, lost.into_iter().map(|id| id.subject).collect(), failures)
}

fn subjects(seen: &[Value]) -> BTreeSet<&str> {
    seen.iter().map(|event| event["payload"]["component"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pager_hears_of_every_alert_and_of_every_end_however_long_it_takes() {
    let (seen, lost, failures) = deliver(SinkKind::Pagerduty, &[], &alerts(120, 70, "")).await;
    let count = |action| seen.iter().filter(|event| event["event_action"] == action).count();
    assert_eq!((count("trigger"), count("resolve")), (120, 70));
    assert_eq!((subjects(&seen).len(), lost.len(), failures), (190, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_try_goes_on_after_what_was_taken() {
    let answers = [202, 202, 202, 503, 503, 202, 429];
    let (seen, lost, failures) = deliver(SinkKind::Pagerduty, &answers, &alerts(8, 0, "")).await;
    assert_eq!((seen.len(), subjects(&seen).len(), lost.len(), failures), (11, 8, 0, 3));
    assert_eq!(seen[3], seen[5]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_does_not_give_up_the_others() {
    let message = alerts(60, 0, "");
    let (seen, lost, _) = deliver(SinkKind::Pagerduty, &[202, 400], &message).await;
    assert_eq!((seen.len(), lost.as_slice()), (60, ["orders/1".to_owned()].as_slice()));
    // A wrong key is refused too: nobody sends it sixty times.
    let (seen, lost, _) = deliver(SinkKind::Pagerduty, &[400; 60], &message).await;
    assert_eq!((seen.len(), lost.len()), (REFUSED, 60));
    let (seen, lost, _) = deliver(SinkKind::Pagerduty, &[202, 404], &message).await;
    assert_eq!((seen.len(), lost.len()), (2, 59));
}

#[tokio::test(start_paused = true)]
async fn an_alertmanager_hears_of_every_alert_and_for_five_minutes_from_each_try() {
    let message = alerts(180, 70, "");
    let (seen, lost, _) = deliver(SinkKind::Alertmanager, &[503; 12], &message).await;
    assert!(lost.is_empty());
    let taken = seen.get(12..).unwrap();
    let sizes: Vec<usize> = taken.iter().map(|part| part.as_array().unwrap().len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    let all = taken.iter().flat_map(|part| part.as_array().unwrap());
    let names: BTreeSet<&str> = all.map(|one| one["labels"]["subject"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 250);
    let ends = |n: usize| seen[n][0]["endsAt"].as_str().unwrap().parse::<jiff::Timestamp>();
    let later = ends(12).unwrap().duration_since(ends(0).unwrap());
    assert!(later.as_secs() > 300, "{later:?}: or it is told that what fires is over");
    assert_eq!(taken[2][49]["endsAt"], message::moment(START));
}

#[tokio::test(start_paused = true)]
async fn others_hear_of_all_at_once() {
    let (seen, lost, _) = deliver(SinkKind::Json, &[], &alerts(80, 0, "")).await;
    assert_eq!((seen.len(), lost.len()), (1, 0));
    assert_eq!((&seen[0]["count"], &seen[0]["leftOut"]), (&80.into(), &30.into()));
    let (seen, lost, _) = deliver(SinkKind::Slack, &[404], &alerts(80, 0, "")).await;
    assert_eq!((seen.len(), lost.len()), (1, 80));
    assert!(seen[0].to_string().contains("and more: 30"));
}

#[test]
fn a_program_gets_what_fits_and_how_many_are_left_out() {
    let names = Names { instance: "gw", sink: "sink" };
    for (firing, resolved) in [(120, 0), (40, 90), (1, 0)] {
        for length in [10, 700, 5_000, 80_000] {
            let message = alerts(firing, resolved, &"\"\n".repeat(length / 2));
            let text = fitting(&message, &names, command::MOST);
            assert!(text.len() <= command::MOST, "{}", text.len());
            let body: Value = serde_json::from_str(&text).unwrap();
            let (listed, left_out) = (body["alerts"].as_array().unwrap().len(), &body["leftOut"]);
            assert_eq!(listed as u64 + left_out.as_u64().unwrap(), (firing + resolved) as u64);
            assert!(listed > 0 || length == 80_000, "{length}");
            let more = format!("and more: {left_out}\n");
            assert_eq!(body["text"].as_str().unwrap().ends_with(&more), *left_out != 0);
        }
    }
}
