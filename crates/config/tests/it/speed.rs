//! How long five thousand routes take. Run with `--release -- --ignored --nocapture`.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use lockgate_config::{Changes, Given, InForce, Loaded, load_with};
use serde_json::json;

use crate::fake::{ALL, directory};

const ROUNDS: u32 = 20;

#[test]
#[ignore = "a measure, not a test: it says something in a release build alone"]
fn five_thousand_routes() {
    let mut text =
        String::from("upstreams: { users: { endpoints: [\"127.0.0.1:3001\"] } }\nroutes:\n");
    for n in 0..2_500 {
        let _ = writeln!(text, "  /svc-{n}/*: {{ to: http://127.0.0.1:3001 }}");
        let _ =
            writeln!(text, "  GET /named-{n}/{{id}}:\n    cors: {{ max_age: 10m }}\n    to: users");
    }
    let path = directory("speed", &[("lockgate.yaml", &text)]).join("lockgate.yaml");
    let mut before = None;
    let first = best(|_| before = Some(read(&path, 0, None).into()));
    let before = before.unwrap();
    let same = best(|_| drop(read(&path, 0, Some(&before))));
    let changed = best(|round| drop(read(&path, round, Some(&before))));
    let edited = best(|round| {
        let text = format!("{text}  /edited-{round}: {{ to: users }}\n");
        std::fs::write(&path, text).unwrap();
        drop(read(&path, 0, Some(&before)));
    });
    println!(
        "{} bytes, 5,000 routes: {first:?} for the first time, {same:?} when nothing has changed, \
         {changed:?} with {} changes over them, {edited:?} when the file has been edited",
        text.len(),
        CHANGES,
    );
}

const CHANGES: u32 = 100;

/// Reads a file, with changes over it unless the round is 0.
fn read(path: &Path, round: u32, before: Option<&InForce>) -> Loaded {
    let mut changes = Changes::default();
    for n in 0..CHANGES {
        let to = json!({ "to": "users", "tags": [if n == 0 { round } else { n }.to_string()] });
        changes.set("routes", &format!("/version/{n}"), Some(to)).unwrap();
    }
    let text = changes.write();
    let given = match round {
        0 => Given::Nothing,
        _ => Given::Changes { name: "changes.yaml", text: &text, of: None },
    };
    let loaded = load_with(path, given, before, ALL, &mut |_, _| Vec::new());
    loaded.unwrap_or_else(|report| panic!("{report}"))
}

/// The shortest of some rounds.
fn best(mut run: impl FnMut(u32)) -> Duration {
    let mut best = Duration::MAX;
    for round in 1..=ROUNDS {
        let start = std::time::SystemTime::now();
        run(round);
        best = best.min(start.elapsed().unwrap_or_default());
    }
    best
}
