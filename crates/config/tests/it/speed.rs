//! How long five thousand routes take. Run with `--release -- --ignored --nocapture`.

use std::fmt::Write;
use std::time::Duration;

use crate::fake::read;

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
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let clock = stopwatch();
        let loaded = read(&text).unwrap_or_else(|report| panic!("{report}"));
        best = best.min(clock());
        assert_eq!(loaded.document.routes.len(), 5_000);
    }
    println!("{} bytes, 5,000 routes: {best:?}", text.len());
}

/// A stopwatch.
fn stopwatch() -> impl Fn() -> Duration {
    let start = std::time::SystemTime::now();
    move || start.elapsed().unwrap_or_default()
}
