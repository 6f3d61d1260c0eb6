//! What is read against the configuration in force is what is read for the first time: the same
//! document, the same warnings and errors, in the same places; and what is the same is kept.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockgate_config::model::{Document, PolicyEntry};
use lockgate_config::{Begin, Changes, Content, Given, InForce, Loaded, Report, load_with};
use proptest::prelude::*;
use serde_json::json;

use crate::fake::{ALL, directory};

fn load(path: &Path, changes: &Changes, before: Option<&InForce>) -> Result<Loaded, Report> {
    // The text alone tells whoever reads for the first time all there is to know.
    let (text, of) = (changes.write(), before.map(|_| changes));
    let given = match changes.is_empty() {
        true => Given::Nothing,
        false => Given::Changes { name: "changes.yaml", text: &text, of },
    };
    load_with(path, given, before, ALL, &mut |_, _| Vec::new())
}

fn no_changes() -> Changes {
    Changes::default()
}

/// The configuration of a directory's `main.yaml`, put in force.
fn in_force(path: &Path, before: Option<&InForce>) -> InForce {
    let loaded = load(&path.join("main.yaml"), &no_changes(), before);
    loaded.unwrap_or_else(|report| panic!("{report}")).into()
}

/// The patterns whose routes are the same objects.
fn kept<'a>(before: &InForce, after: &'a InForce) -> Vec<&'a str> {
    let routes = after.document.routes.iter();
    let same = routes.filter(|(pattern, set)| {
        before.document.routes.get(pattern).is_some_and(|known| Arc::ptr_eq(known, set))
    });
    same.map(|(pattern, _)| &**pattern).collect()
}

const REST: &str = "upstreams: { one: { endpoints: [\"127.0.0.1:1\"] } }\n\
                    identity: { staff: { jwt: { file: key } } }\n";

/// Writes a configuration with these routes, and puts it in force.
fn next(path: &Path, rest: &str, routes: &str, before: &InForce) -> InForce {
    std::fs::write(path.join("main.yaml"), format!("{rest}routes:\n{routes}")).unwrap();
    in_force(path, Some(before))
}

fn first(name: &str, routes: &str) -> (PathBuf, InForce) {
    let text = format!("{REST}routes:\n{routes}");
    let path = directory(name, &[("main.yaml", &text), ("key", "k"), ("schema", "s")]);
    let first = in_force(&path, None);
    (path, first)
}

#[test]
fn only_the_routes_that_say_something_else_are_new() {
    let routes = "  /a: { to: one, strict: { word: off } }\n  /b: { to: one }\n  /c: { to: one }\n";
    let (path, first) = first("same-routes", routes);
    // Another place, another layout, another order.
    let moved = "# A note.\n  /c: { to: one }\n  /new: { to: one }\n  /a:\n    to: one\n    \
                 strict:\n      word: off\n  /b: { to: one, timeout: 1s }\n";
    let second = next(&path, REST, moved, &first);
    assert_eq!(kept(&first, &second), ["/c", "/a"]);
    assert_eq!(second.source.locate(&["routes", "/a", "to"]).unwrap().line, 8);
    assert_eq!(second.document.routes["/a"].routes[0].policies[0].config["word"], "off");
    // A word that is quoted is another word.
    let quoted = "  /a: { to: one, strict: { word: \"off\" } }\n  /c: { to: \"one\" }\n";
    let third = next(&path, REST, quoted, &second);
    assert!(kept(&second, &third).is_empty());
}

#[test]
fn in_other_surroundings_nothing_is_the_same() {
    let (path, first) = first("same-rest", "  /a: { to: one }\n");
    let other = REST.replace("127.0.0.1:1", "127.0.0.1:2");
    let second = next(&path, &other, "  /a: { to: one }\n", &first);
    assert!(kept(&first, &second).is_empty());
    let third = next(
        &path,
        &format!("{other}defaults: {{ cors: {{}} }}\n"),
        "  /a: { to: one }\n",
        &second,
    );
    assert!(kept(&second, &third).is_empty());
    assert_eq!(third.document.routes["/a"].routes[0].policies.len(), 1);
    let fourth = next(&path, &other, "  /a: { to: one }\n", &third);
    assert!(kept(&third, &fourth).is_empty());
    assert!(fourth.document.routes["/a"].routes[0].policies.is_empty());
    // The key of an identity has changed, and every route may use it.
    std::fs::write(path.join("key"), "k2").unwrap();
    let fifth = in_force(&path, Some(&fourth));
    assert!(kept(&fourth, &fifth).is_empty());
    assert_eq!(kept(&fifth, &in_force(&path, Some(&fifth))), ["/a"]);
}

#[test]
fn what_a_route_is_not_made_of_changes_beside_it() {
    let routes = "  /a: { to: one }\n  /b: { to: one, reads: { file: schema } }\n";
    let (path, first) = first("same-apart", routes);
    let mut before = first;
    for apart in [
        "telemetry: { access_log: off }\n",
        "listeners: { web: \"127.0.0.1:8081\" }\n",
        "listeners: { web: \"127.0.0.1:8081\" }\nadmin: off\nworkers: 2\nreplicas: 2\n",
        "http: { idle_timeout: 3s }\ntrusted_proxies: [10.0.0.0/8]\nalerts: { repeat_after: 1h }\n",
        "",
    ] {
        let after = next(&path, &format!("{apart}{REST}"), routes, &before);
        assert_eq!(kept(&before, &after), ["/a"], "{apart}");
        before = after;
    }
    for made_of in [
        "consumers: { c: {} }\n",
        "plans: { gold: {} }\n",
        "plans: { gold: {} }\nconsumers: { c: { plan: gold } }\n",
        "stores: { shared: memory }\n",
        "stores: { shared: \"redis://h:1\" }\n",
        "defaults: { timeout: 3s }\n",
        "defaults: { strict: { limit: 3 } }\n",
        "",
    ] {
        let after = next(&path, &format!("{made_of}{REST}"), routes, &before);
        assert!(kept(&before, &after).is_empty(), "{made_of}");
        before = after;
    }
    let after = next(&path, &REST.replace("staff", "guests"), routes, &before);
    assert!(kept(&before, &after).is_empty());
}

#[test]
fn a_route_that_goes_to_a_changed_upstream_is_new() {
    let upstreams = |one: &str, two: &str| {
        format!(
            "upstreams:\n  one: {{ endpoints: [\"127.0.0.1:1\"]{one} }}\n  \
             two: {{ endpoints: [\"127.0.0.1:2\"]{two} }}\n"
        )
    };
    let routes = "  /a: { to: one }\n  /b/{id}: { to: two }\n  \
                  /c/{id}: { to: { one: 1, two: 1 } }\n  \
                  /d: { to: { respond: {} } }\n  /e: { to: \"http://two:1\" }\n";
    let (path, first) = first("same-upstream", "  /a: { to: one }\n");
    let first = next(&path, &upstreams("", ""), routes, &first);
    let second = next(&path, &upstreams("", ", timeout: { connect: 1s }"), routes, &first);
    assert_eq!(kept(&first, &second), ["/a", "/d", "/e"]);
    let by_capture = ", balance: { maglev: \"path:id\" }";
    let third = next(&path, &upstreams("", by_capture), routes, &second);
    assert_eq!(kept(&second, &third), ["/a", "/d", "/e"]);
    // What is wrong with a route by its upstream alone is found all the same.
    let text = format!("{}routes:\n{routes}", upstreams(by_capture, by_capture));
    std::fs::write(path.join("main.yaml"), text).unwrap();
    let report = load(&path.join("main.yaml"), &no_changes(), Some(&third)).unwrap_err();
    assert!(report.to_string().contains("which this pattern has not"), "{report}");
    // An upstream more, or another name for one.
    let fourth = next(
        &path,
        &(upstreams("", by_capture) + "  three: { endpoints: [\"h:1\"] }\n"),
        routes,
        &third,
    );
    assert!(kept(&third, &fourth).is_empty());
}

#[test]
fn the_same_in_another_directory_is_the_same_but_for_what_is_read() {
    let text = "upstreams: { one: { endpoints: [\"127.0.0.1:1\"], tls: { ca: ca.pem } } }\n\
                routes:\n  /a: { to: one }\n  /b: { to: one, reads: { file: schema } }\n  \
                /c: { to: one, tags: [\"${file:word}\"] }\n";
    let copy = |name: &str, word: &str| {
        let files = [("a.yaml", text), ("schema", "s"), ("word", word), ("ca.pem", "")];
        directory(&format!("same-copy-{name}"), &files)
    };
    let load = |root: &Path, before: Option<&InForce>| {
        let files = [PathBuf::from("a.yaml")];
        let begin = Begin::Copies { root, files: &files, name: "etcd://h/k/" };
        let loaded = load_with(begin, Given::Nothing, before, ALL, &mut |_, _| Vec::new());
        loaded.unwrap_or_else(|report| panic!("{report}"))
    };
    let (one, two, three) = (copy("1", "x"), copy("2", "x"), copy("3", "y"));
    let first: InForce = load(&one, None).into();
    let second = load(&two, Some(&first));
    assert_eq!(second.document, load(&two, None).document);
    assert_eq!(second.files, load(&two, None).files);
    let ca = |document: &Document| document.upstreams["one"].tls.clone().unwrap().ca.unwrap();
    assert_eq!(ca(&second.document), two.join("ca.pem"));
    let second: InForce = second.into();
    assert_eq!(kept(&first, &second), ["/a", "/c"]);
    let third: InForce = load(&three, Some(&second)).into();
    assert_eq!(kept(&second, &third), ["/a"]);
}

#[test]
fn what_a_route_reads_is_read_again() {
    let routes = "  /a: { to: one, reads: { file: schema } }\n  /b: { to: one }\n  \
                  /c: { to: one, tags: [\"${file:word}\"] }\n";
    let path = directory("same-files", &[("word", "one"), ("key", "k"), ("schema", "s")]);
    std::fs::write(path.join("main.yaml"), format!("{REST}routes:\n{routes}")).unwrap();
    let first = in_force(&path, None);
    let second = in_force(&path, Some(&first));
    assert_eq!(kept(&first, &second), ["/b", "/c"]);
    std::fs::write(path.join("word"), "two").unwrap();
    let third = in_force(&path, Some(&second));
    assert_eq!(kept(&second, &third), ["/b"]);
    assert_eq!(*third.document.routes["/c"].routes[0].tags, ["two"]);
    std::fs::write(path.join("schema"), "bad").unwrap();
    let report = load(&path.join("main.yaml"), &no_changes(), Some(&third)).unwrap_err();
    assert!(report.to_string().contains("it says bad"), "{report}");
}

#[test]
fn an_upstream_that_another_route_makes_may_go_with_it() {
    let both = "  /a: { to: \"http://h:1\" }\n  /b: { to: one, keeps: \"http://h:1\" }\n";
    let (path, first) = first("same-url", both);
    let text = format!("{REST}routes:\n  /b: {{ to: one, keeps: \"http://h:1\" }}\n");
    std::fs::write(path.join("main.yaml"), text).unwrap();
    let report = load(&path.join("main.yaml"), &no_changes(), Some(&first)).unwrap_err();
    assert!(report.to_string().contains("there is no upstream http://h:1"), "{report}");
}

#[test]
fn what_every_route_inherits_stays_one() {
    let rest = format!("{REST}defaults: {{ strict: {{ limit: 3 }} }}\n");
    let (path, first) = first("same-inherited", "");
    let first = next(&path, &rest, "  /a: { to: one }\n  /b: { to: one }\n", &first);
    let policy = |pattern: &str| &first.document.routes[pattern].routes[0].policies[0];
    assert!(Arc::ptr_eq(policy("/a"), policy("/b")));
}

/// Patterns of routes, which do not clash.
const PATTERNS: [&str; 7] =
    ["/a", "GET /b/{id}", "/c/*", "example.com/d", "/e", "POST /f", "/g/{x}/y"];

/// What may stand under a pattern. The last ones are wrong, each in its own way.
const ROUTES: [&str; 23] = [
    "{ to: one }",
    "{ to: two, timeout: 3s }",
    "{ to: { one: 3, two: 1 } }",
    "{ to: \"http://127.0.0.1:9/x\" }",
    "{ to: { \"https://h.example\": 1, one: 2 } }",
    "{ to: one, strict: { word: off, limit: 2 } }",
    "{ to: one, strict: { word: \"${ip}\" }, cors: { max_age: 10m } }",
    "{ to: one, strict: [{ limit: 1 }, { limit: 2 }] }",
    "{ to: two, keeps: memory }",
    "{ to: two, keeps: shared }",
    "{ to: one, keeps: \"http://127.0.0.1:9\" }",
    "{ to: one, reads: { file: schema } }",
    "{ to: one, tags: [\"${file:word}\", x] }",
    "[{ when: { header: { a: b } }, to: one }, { to: two, keeps: memory }]",
    "{ to: { respond: { body: hi } }, retry: 1 }",
    "{ to: one, cors: off, retry: { attempts: 1 } }",
    "{ to: one, auth: staff }",
    "{ to: nowhere }",
    "{ tu: one }",
    "{ to: one, strict: { limit: 11 } }",
    "[{ to: one }, { to: two }]",
    "{ to: one, unheard: 1 }",
    "{ to: \"${file:missing}\" }",
];

const DEFAULTS: [&str; 6] = [
    "",
    "defaults: { cors: { max_age: 1h } }\n",
    "defaults: { strict: { word: off } }\n",
    "defaults: { retry: 2, timeout: 9s, keeps: memory }\n",
    "defaults: { reads: { file: schema } }\n",
    "defaults: { cors: { max_age: \"${file:word}\" } }\n",
];

const UPSTREAMS: [&str; 4] = [
    "upstreams: { one: { endpoints: [\"127.0.0.1:1\"] }, two: { endpoints: [\"127.0.0.1:2\"] } }\n",
    "upstreams: { one: { endpoints: [\"127.0.0.1:1\"] } }\n",
    "upstreams: { one: { endpoints: [\"127.0.0.1:3\"] }, two: { endpoints: [\"h:2\"] } }\n",
    "upstreams: { two: { endpoints: [\"127.0.0.1:2\"], balance: { maglev: \"path:id\" } }, \
     one: { endpoints: [\"h:1\"] } }\n",
];

const OTHERS: [&str; 7] = [
    "",
    "replicas: 3\nstores: { shared: \"redis://h:1\" }\n",
    "stores: { shared: \"redis://h:1\" }\nidentity: { staff: { jwt: { file: key } } }\n",
    "stores: { shared: \"redis://h:2\" }\nidentity: { staff: { jwt: {} } }\n",
    "stores: { shared: memory }\nconsumers: { c: { api_keys: [plain], plan: gold } }\n",
    "telemetry: { access_log: off }\nreplicas: 2\n",
    "http: { idle_timeout: 3s }\nlisteners: { web: { address: \"127.0.0.1:8081\", to: one } }\n",
];

/// A configuration: which of everything.
#[derive(Debug, Clone, Default)]
struct State {
    notes: usize,
    defaults: usize,
    upstreams: usize,
    others: usize,
    /// Pattern, route, and whether it stands in the file that is included.
    routes: Vec<(usize, usize, bool)>,
    /// What lies over them.
    changes: Vec<(usize, Option<usize>)>,
    word: usize,
    schema: usize,
    key: usize,
    /// How many more routes there are, before those in the main file and behind them.
    more: (usize, usize),
}

impl State {
    /// Does one thing to it.
    fn edit(&mut self, (what, one, other): (usize, usize, usize)) {
        let pattern = one % PATTERNS.len();
        // Mostly what is right.
        let route = if other % 5 == 0 { other % ROUTES.len() } else { other % 17 };
        match what {
            0..=4 => {
                self.routes.retain(|route| route.0 != pattern);
                let at = if what % 2 == 0 { self.routes.len() } else { 0 };
                self.routes.insert(at, (pattern, route, one % 3 == 0));
            }
            5 => self.routes.retain(|route| route.0 != pattern),
            6 | 7 => {
                self.changes.retain(|change| change.0 != pattern);
                self.changes.push((pattern, (one % 4 != 0).then_some(route)));
            }
            8 => self.changes.clear(),
            9 => self.notes = one % 4,
            10 => self.defaults = one % DEFAULTS.len(),
            11 => self.upstreams = one % UPSTREAMS.len(),
            12 => self.others = one % OTHERS.len(),
            13 => self.word = one % 3,
            14 => self.schema = one % 3,
            15 => self.more = ([0, 64, 70, 130][one % 4], [0, 3, 64, 150][other % 4]),
            _ => self.key = one % 2,
        }
    }

    /// Puts it on the disk. Returns the changes over it.
    fn write(&self, path: &Path) -> Changes {
        let mut main = "# A note.\n".repeat(self.notes) + "include: more.yaml\n";
        main += DEFAULTS[self.defaults];
        main += UPSTREAMS[self.upstreams];
        main += OTHERS[self.others];
        let mut more = String::new();
        for (text, is_more) in [(&mut main, false), (&mut more, true)] {
            let mut head = "routes:\n";
            let (before, behind) = if is_more { (0, 0) } else { self.more };
            for n in 0..before {
                let _ = writeln!(text, "{head}  /before/{n}: {{ to: one, timeout: {}s }}", n + 1);
                head = "";
            }
            for (pattern, route, _) in self.routes.iter().filter(|route| route.2 == is_more) {
                let _ = writeln!(text, "{head}  {}: {}", PATTERNS[*pattern], ROUTES[*route]);
                head = "";
            }
            for n in 0..behind {
                let _ = writeln!(text, "{head}  /behind/{n}: {{ to: one, tags: [\"{n}\"] }}");
                head = "";
            }
        }
        let write = |name: &str, text: &str| std::fs::write(path.join(name), text).unwrap();
        write("main.yaml", &main);
        write("more.yaml", &more);
        write("word", ["one", "1h", "two"][self.word]);
        write("schema", ["s", "t", "bad"][self.schema]);
        write("key", ["k", "l"][self.key]);
        let mut changes = Changes::default();
        for (pattern, route) in &self.changes {
            let to = route.map(|route| {
                lockgate_config::read_value(ROUTES[route]).unwrap_or_else(|why| json!(why))
            });
            changes.set("routes", PATTERNS[*pattern], to).unwrap();
        }
        changes
    }
}

/// Where everything of some routes stands.
fn places(loaded: &Loaded) -> Vec<String> {
    let mut all = Vec::new();
    for pattern in loaded.document.routes.keys() {
        for key in ["to", "strict", "tags", "0"] {
            all.push(format!("{:?}", loaded.source.locate(&["routes", pattern, key])));
        }
        all.push(format!("{:?}", loaded.source.locate(&["routes", pattern])));
        all.push(format!("{:?}", loaded.source.in_files(&["routes", pattern])));
    }
    all
}

/// What a route inherits, as it is in memory.
fn inherits<'a>(config: &'a InForce, pattern: &str, name: &str) -> &'a Arc<PolicyEntry> {
    let mut policies = config.document.routes[pattern].routes[0].policies.iter();
    policies.find(|policy| *policy.name == *name).unwrap()
}

#[test]
fn what_routes_inherit_stays_one_over_many_changes() {
    let rest = format!("{REST}defaults: {{ strict: {{ word: off }} }}\n");
    let routes = |a: u32, b: u32| {
        format!(
            "  /a: {{ to: one, timeout: {a}s }}\n  /b: {{ to: one, timeout: {b}s }}\n  \
             /c: {{ to: one }}\n"
        )
    };
    let (path, first) = first("same-inherited-again", "  /c: { to: one }\n");
    let second = next(&path, &rest, &routes(1, 1), &first);
    let third = next(&path, &rest, &routes(2, 1), &second);
    let fourth = next(&path, &rest, &routes(2, 2), &third);
    assert_eq!(kept(&third, &fourth), ["/a", "/c"]);
    for pattern in ["/a", "/b"] {
        let one = inherits(&fourth, pattern, "strict");
        assert!(Arc::ptr_eq(one, inherits(&second, "/c", "strict")), "{pattern}");
    }
    let other = format!("{REST}defaults: {{ strict: {{ word: \"on\" }} }}\n");
    let fifth = next(&path, &other, &routes(2, 2), &fourth);
    assert_eq!(inherits(&fifth, "/a", "strict").config["word"], "on");
}

#[test]
fn an_identity_of_a_file_that_changed_after_its_check_is_not_kept() {
    let (path, mut first) = first("same-changed-file", "  /a: { to: one }\n");
    let file = path.join("key");
    first.asked.built_with(&[(file.clone(), Content::of(b"k"))]);
    let second = next(&path, REST, "  /a: { to: one }\n", &first);
    assert_eq!(kept(&first, &second), ["/a"]);
    // It said something else for a moment, when it was read to be built with.
    first.asked.built_with(&[(file, Content::of(b"other"))]);
    let second = next(&path, REST, "  /a: { to: one }\n", &first);
    assert!(kept(&first, &second).is_empty());
}

#[test]
fn files_of_a_directory_are_taken_over_whichever_of_them_changes() {
    let path = directory("same-directory", &[("key", "k")]);
    let text = |file: &str, word: &str| {
        let head = if file == "a" { REST } else { "" };
        format!(
            "{head}routes:\n  /{file}/1: {{ to: one, tags: [{word}, \"q\\n{word}\", 'it''s'] }}\n  \
             /{file}/2:\n    to: {{ respond: {{ body: \"{word}\" }} }}\n    timeout: 3s\n"
        )
    };
    let mut before: Option<InForce> = None;
    for (file, word) in [
        ("a", "first"),
        ("b", "first"),
        ("c", "f\u{fc}rst"),
        ("b", "second"),
        ("a", "zw\u{f6}lf"),
        ("c", "second"),
        ("b", "fir\u{df}t"),
        ("a", "third"),
        ("b", ""),
        ("c", "third"),
        ("b", "third"),
    ] {
        let name = path.join(format!("{file}.yaml"));
        match word {
            "" => std::fs::remove_file(name).unwrap(),
            word => std::fs::write(name, text(file, word)).unwrap(),
        }
        let whole = load(&path, &no_changes(), None).unwrap();
        let part = load(&path, &no_changes(), before.as_ref()).unwrap();
        assert_eq!(part.document, whole.document, "{file} {word}");
        assert_eq!(places(&part), places(&whole), "{file} {word}");
        let (part, whole) = (InForce::from(part), InForce::from(whole));
        assert_eq!(part.source.files_text(), whole.source.files_text());
        if let Some(before) = &before {
            let new = part.document.routes.len() - kept(before, &part).len();
            assert!(new <= 2, "{file} {word}: {new}");
        }
        let again = load(&path, &no_changes(), Some(&part)).unwrap();
        assert_eq!(kept(&part, &again.into()).len(), whole.document.routes.len());
        before = Some(part);
    }
}

#[test]
fn words_of_one_file_are_not_kept_in_another() {
    let path = directory("same-words", &[("key", "k"), ("rest.yaml", REST)]);
    let text = |file: &str, word: &str| {
        format!("routes:\n  /{file}: {{ to: one, tags: [x], timeout: 1s }} # {word}\n")
    };
    std::fs::write(path.join("a.yaml"), text("a", "old")).unwrap();
    std::fs::write(path.join("b.yaml"), text("b", "old")).unwrap();
    let first: InForce = load(&path, &no_changes(), None).unwrap().into();
    // The other one is copied, without the first, in which the same words stand in the same places.
    std::fs::write(path.join("a.yaml"), "# Nothing more.\n").unwrap();
    let part = load(&path, &no_changes(), Some(&first)).unwrap();
    let whole = load(&path, &no_changes(), None).unwrap();
    assert_eq!(part.source.files_text(), whole.source.files_text());
    assert_eq!(places(&part), places(&whole));
    assert_eq!(part.document, whole.document);
}

#[test]
fn what_is_the_same_in_a_row_is_one_object() {
    let mut routes = String::new();
    for n in 0..300 {
        let _ = writeln!(routes, "  /n/{n}: {{ to: one }}");
    }
    let path = directory(
        "same-pieces",
        &[("main.yaml", &format!("{REST}routes:\n{routes}")), ("key", "k")],
    );
    let main = path.join("main.yaml");
    let mut changes = Changes::default();
    let mut before: InForce = load(&main, &no_changes(), None).unwrap().into();
    // The first two add a piece's last routes, the others change one in the middle.
    for (round, pattern) in ["/last", "/n/70", "/n/71", "/n/70", "/last"].iter().enumerate() {
        let to = json!({ "to": "one", "tags": [round.to_string()] });
        changes.set("routes", pattern, Some(to)).unwrap();
        let after: InForce = load(&main, &changes, Some(&before)).unwrap().into();
        let new = after.document.routes.pieces_beside(Some(&before.document.routes)).count();
        let may = if round == 0 { 1..=1 } else { 1..=2 };
        assert!(may.contains(&new), "round {round}: {new} pieces are new");
        assert_eq!(
            kept(&before, &after).len(),
            301 - usize::from(round > 0 || *pattern == "/last")
        );
        before = after;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 48, ..ProptestConfig::default()
    })]

    #[test]
    fn what_was_before_makes_no_difference(
        edits in prop::collection::vec((0..17_usize, 0..60_usize, 0..60_usize), 1..24),
    ) {
        let path = directory(&format!("same-random-{:?}", std::thread::current().id()), &[]);
        let main = path.join("main.yaml");
        let mut state = State::default();
        let mut before: Option<InForce> = None;
        for edit in edits {
            state.edit(edit);
            let changes = state.write(&path);
            let whole = load(&main, &changes, None);
            match (load(&main, &changes, before.as_ref()), whole) {
                (Ok(part), Ok(whole)) => {
                    prop_assert_eq!(&part.document, &whole.document);
                    let patterns = |one: &Loaded| -> Vec<_> {
                        one.document.routes.keys().cloned().collect()
                    };
                    prop_assert_eq!(patterns(&part), patterns(&whole));
                    let upstreams = |one: &Loaded| -> Vec<_> {
                        one.document.upstreams.keys().cloned().collect()
                    };
                    prop_assert_eq!(upstreams(&part), upstreams(&whole));
                    prop_assert_eq!(&part.warnings, &whole.warnings);
                    prop_assert_eq!(&part.files, &whole.files);
                    prop_assert_eq!(places(&part), places(&whole));
                    prop_assert_eq!(part.source.laid(), whole.source.laid());
                    let (part, whole) = (InForce::from(part), InForce::from(whole));
                    prop_assert_eq!(&part.asked, &whole.asked);
                    prop_assert_eq!(part.source.files_text(), whole.source.files_text());
                    before = Some(part);
                }
                (Err(part), Err(whole)) => prop_assert_eq!(part, whole),
                (part, whole) => prop_assert!(
                    false, "{:?} and {:?} of {:?}", part.err(), whole.err(), &state
                ),
            }
        }
    }
}
