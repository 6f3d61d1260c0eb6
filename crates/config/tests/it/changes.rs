//! Changes that lie over the files.

use std::fs;
use std::path::{Path, PathBuf};

use lockgate_config::{
    Changes, Given, HIDDEN, Loaded, Outcome, Report, Severity, between, differing, effective,
    load_str_with, load_with, long, shown, shown_again,
};
use serde_json::json;

use crate::fake::{ALL, directory};

const FILE: &str = "\
defaults: { timeout: 3s }
upstreams: { users: { endpoints: [\"127.0.0.1:1\"] } }
routes:
  /a: { to: users }
  /b: { to: users }   # the second
";

fn file(name: &str, text: &str) -> PathBuf {
    directory(&format!("changes-{name}"), &[("lockgate.yaml", text)]).join("lockgate.yaml")
}

fn load(path: &Path, changes: &Changes) -> Result<Loaded, Report> {
    let text = changes.write();
    let given = Given::Changes { name: "changes.yaml", text: &text, of: None };
    load_with(path, given, None, &[], &mut |_, _| Vec::new())
}

fn patterns(loaded: &Loaded) -> Vec<&str> {
    loaded.document.routes.keys().map(|pattern| &**pattern).collect()
}

fn outcomes(loaded: &Loaded) -> Vec<Outcome> {
    loaded.source.laid().iter().map(|one| one.outcome).collect()
}

#[test]
fn what_differs_is_told_thing_by_thing_without_secrets() {
    let more = "consumers: { alice: { api_keys: [key-one-plain] }, bob: { roles: [x] } }\n\
                workers: 2\n";
    let before = load(&file("told-1", &format!("{FILE}{more}")), &Changes::default()).unwrap();
    let after = FILE.replace("  /b: { to: users }   # the second", "  /c: { to: users }")
        + &more.replace("key-one", "key-two").replace("roles: [x]", "roles: [y]").replace('2', "3");
    let after = load(&file("told-2", &after), &Changes::default()).unwrap();
    let told = differing(&before.source, &after.source);
    let of = |thing: &str| told.iter().find(|one| one.thing == thing).unwrap();
    let things: Vec<&str> = told.iter().map(|one| one.thing.as_str()).collect();
    assert_eq!(
        things,
        ["routes./c", "routes./b", "consumers.alice", "consumers.bob", "workers"],
        "what is only laid out otherwise does not differ"
    );
    let route = json!({ "to": "users" });
    assert_eq!((&of("routes./c").before, &of("routes./c").after), (&json!(null), &route));
    assert_eq!((&of("routes./b").before, &of("routes./b").after), (&route, &json!(null)));
    assert_eq!(of("consumers.bob").after, json!({ "roles": ["y"] }));
    assert_eq!((&of("workers").before, &of("workers").after), (&json!(2), &json!(3)));
    assert!(of("consumers.alice").is_secret && !of("consumers.bob").is_secret);
    assert!(!format!("{told:?}").contains("plain"), "{told:?}");
}

#[test]
fn what_a_route_states_as_a_secret_is_never_told() {
    let route = |secret: &str| {
        json!({
            "to": "users",
            "headers": [
                { "request": {
                    "set": { "Authorization": format!("Bearer sk-{secret}"), "X-Team": "blue" },
                    "add": { "X-Api-Key": "sk-live", "X-Token": "${env:PATH}", "Cookie": "a=sk-live" },
                } },
                { "response": { "set": { "Set-Cookie": "a=sk-live" }, "add": { "Vary": "a" } } },
            ],
        })
    };
    let bare = json!({
        "to": "users",
        "headers": [
            { "request": {
                "set": { "Authorization": HIDDEN, "X-Team": "blue" },
                "add": { "X-Api-Key": HIDDEN, "X-Token": "${env:PATH}", "Cookie": HIDDEN },
            } },
            { "response": { "set": { "Set-Cookie": HIDDEN }, "add": { "Vary": "a" } } },
        ],
    });
    assert_eq!(shown(&["routes", "/a"], Some(&route("one"))), bare);
    let read = |name: &str, secret: &str| {
        let mut changes = Changes::default();
        changes.set("routes", "/b", Some(route(secret))).unwrap();
        let text = changes.write();
        let given = Given::Changes { name: "changes.yaml", text: &text, of: None };
        load_with(&file(name, FILE), given, None, ALL, &mut |_, _| Vec::new()).unwrap()
    };
    let (before, after) = (read("stated-1", "one"), read("stated-2", "two"));
    let long = lockgate_config::long_value(&after.document).to_string();
    let (before, after) = (before.source, after.source);
    let told = differing(&before, &after);
    let [one] = told.as_slice() else { panic!("{told:?}") };
    assert!(one.is_secret && one.before == bare && one.after == bare, "{one:?}");
    for text in [effective(&after), long] {
        assert!(!text.contains("sk-") && text.contains("blue"), "{text}");
    }
    // By itself a consumer's key is as secret as in the whole.
    let consumer = json!({ "api_keys": ["key-plain", "${env:KEY}"] });
    let told = shown(&["consumers", "alice"], Some(&consumer));
    assert_eq!(told, json!({ "api_keys": [HIDDEN, "${env:KEY}"] }));
}

#[test]
fn things_are_added_replaced_and_removed() {
    let path = file("0", FILE);
    let mut changes = Changes::default();
    changes.set("routes", "/c", Some(json!({ "to": "more" }))).unwrap();
    changes.set("routes", "/a", Some(json!({ "to": "users", "tags": ["x"] }))).unwrap();
    changes.set("routes", "/b", None).unwrap();
    changes.set("upstreams", "more", Some(json!({ "endpoints": ["127.0.0.1:2"] }))).unwrap();
    let loaded = load(&path, &changes).unwrap();
    assert_eq!(patterns(&loaded), ["/a", "/c"]);
    assert_eq!(*loaded.document.routes["/a"].routes[0].tags, ["x"]);
    assert_eq!(outcomes(&loaded), [Outcome::InForce; 4]);
    // Each thing says where it stands.
    let of = |pattern| loaded.source.locate(&["routes", pattern]).unwrap().file;
    assert_eq!(&*of("/c"), "changes.yaml");
    assert_eq!(loaded.source.locate(&["upstreams", "users"]).unwrap().line, 2);
    // And once more from memory.
    std::fs::remove_file(&path).unwrap();
    let again = shown_again(&loaded.source, &[]).unwrap();
    assert_eq!(again.routes, loaded.document.routes);
    let text = effective(&loaded.source);
    assert!(text.contains("/c:") && !text.contains("/b:"), "{text}");
}

#[test]
fn what_is_wrong_in_a_change_is_said_with_its_place() {
    let path = file("1", FILE);
    let mut changes = Changes::default();
    changes.set("routes", "/c", Some(json!({ "to": "nobody" }))).unwrap();
    let report = load(&path, &changes).unwrap_err().render(false);
    assert!(report.contains("changes.yaml:") && report.contains("nobody"), "{report}");
}

#[test]
fn a_file_that_says_something_new_has_the_last_word() {
    let path = file("2", FILE);
    let mut changes = Changes::default();
    changes.set("routes", "/a", Some(json!({ "to": "users", "tags": ["mine"] }))).unwrap();
    changes.set("routes", "/b", None).unwrap();
    let loaded = load(&path, &changes).unwrap();
    changes.settle(loaded.source.laid());
    assert_eq!(Changes::read(&changes.write()).unwrap(), changes);
    // Another layout and other things are no conflict.
    fs::write(&path, FILE.replace("{ to: users }   # the second", "{ \"to\": users }")).unwrap();
    assert_eq!(outcomes(&load(&path, &changes).unwrap()), [Outcome::InForce; 2]);
    // The file's own change of the same thing is.
    fs::write(&path, FILE.replace("/a: { to: users }", "/a: { to: users, tags: [git] }")).unwrap();
    let loaded = load(&path, &changes).unwrap();
    assert_eq!(outcomes(&loaded), [Outcome::Overruled, Outcome::InForce]);
    assert_eq!(*loaded.document.routes["/a"].routes[0].tags, ["git"]);
    // And a file that has taken a change over settles it.
    fs::write(&path, FILE.replace("  /b: { to: users }   # the second\n", "")).unwrap();
    let loaded = load(&path, &changes).unwrap();
    assert_eq!(outcomes(&loaded), [Outcome::InForce, Outcome::Settled]);
    changes.settle(loaded.source.laid());
    assert_eq!(changes.entries().len(), 1);
}

#[test]
fn a_whole_configuration_becomes_what_differs() {
    let path = file("3", FILE);
    let sent = FILE.replace("  /b: { to: users }   # the second\n", "  /d: { to: users }\n");
    let changes = between(&path, "sent", &sent, &[]).unwrap();
    let what: Vec<_> =
        changes.entries().iter().map(|one| (one.name.as_str(), one.to.is_some())).collect();
    assert_eq!(what, [("/b", false), ("/d", true)]);
}

#[test]
fn the_long_form_sent_back_changes_nothing_but_what_was_changed() {
    let path = file("4", FILE);
    let long = long(&path, &[]).unwrap();
    assert_eq!(between(&path, "sent", &long, &[]).unwrap(), Changes::default());
    let sent = long.replace("127.0.0.1:1", "127.0.0.1:9");
    let changes = between(&path, "sent", &sent, &[]).unwrap();
    assert_eq!(changes.entries().len(), 1);
    assert_eq!(changes.entries()[0].section, "upstreams");
}

#[test]
fn defaults_that_mean_something_else_are_noticed() {
    let path = file("5", FILE);
    // Without the defaults, an upstream that looks the same has another timeout.
    let sent = FILE.replace("defaults: { timeout: 3s }\n", "");
    let changes = between(&path, "sent", &sent, &[]).unwrap();
    let loaded = load(&path, &changes).unwrap();
    let alone = lockgate_config::load(&file("alone", &sent), &[]).unwrap().document;
    assert_eq!(loaded.document.upstreams, alone.upstreams);
    assert_eq!(loaded.document.routes, alone.routes);
}

#[test]
fn the_process_own_settings_and_includes_are_refused() {
    let path = file("6", FILE);
    let refused = |text: &str| between(&path, "sent", text, &[]).unwrap_err().render(false);
    let text = refused(&format!("{FILE}admin: off\n"));
    assert!(text.contains("`admin` is changed in the files alone"), "{text}");
    let text = refused(&format!("{FILE}include: other.yaml\n"));
    assert!(text.contains("includes no files"), "{text}");
    // As they are, they may stand there.
    between(&path, "sent", &format!("{FILE}admin: {{ address: \"127.0.0.1:9901\" }}\n"), &[])
        .unwrap();
}

#[test]
fn a_damaged_file_of_changes_is_an_error() {
    let path = file("damaged", FILE);
    for text in ["changes: [{ section: routes, base: now, to: 1 }]", "changes: [{}]", "a: 1", "["] {
        assert!(Changes::read(text).is_err(), "{text}");
        let given = Given::Changes { name: "changes.yaml", text, of: None };
        load_with(&path, given, None, &[], &mut |_, _| Vec::new()).unwrap_err();
    }
}

#[test]
fn plain_secrets_are_not_exported() {
    let text = "stores: { a: \"redis://u:hunter22@h:1\", b: \"redis://u:${env:P}@h:1\" }\n\
                consumers: { alice: { api_keys: [plainplain, \"${env:K}\"] } }\nroutes: {}\n";
    let env = |name: &str| Some(format!("{name}-value-of-it"));
    let loaded = load_str_with("x.yaml", text, &[], &env).unwrap();
    let text = effective(&loaded.source);
    assert!(text.starts_with("# 2 secrets that stand in plain text are not shown"), "{text}");
    assert!(text.contains("redis://u:${hidden}@h:1"), "{text}");
    assert!(!text.contains("hunter22") && !text.contains("plainplain"), "{text}");
    assert!(text.contains("${env:P}") && text.contains("${env:K}"), "{text}");
    // It is no configuration before something stands there again.
    let report = load_str_with("x.yaml", &text, &[], &env).unwrap_err().render(false);
    assert_eq!(report.matches("`${hidden}` is shown in place of a secret").count(), 2, "{report}");
}

/// Secrets in plain text wherever one may stand that changes can reach.
const SECRETS: &str = "\
stores: { a: \"redis://u:s3cr3t-1@h:1\", b: { url: \"redis://h:1\", password: s3cr3t-2 } }
identity: { own: { jwt: { secret: s3cr3t-3-s3cr3t-3-s3cr3t-3-s3cr3t-3 } } }
consumers: { alice: { api_keys: [s3cr3t-4, s3cr3t-5] }, bob: { api_keys: s3cr3t-6 } }
telemetry: { traces: { to: \"http://c:1\", headers: { x: s3cr3t-7 } } }
alerts: { ops: \"https://u:s3cr3t-8@h/x\", pd: { kind: pagerduty, key: s3cr3t-9 } }
defaults: { headers: { request: { set: { Authorization: s3cr3t-10 } } } }
upstreams: { u: { endpoints: [\"127.0.0.1:1\"], sticky: { cookie: { secret: s3cr3t-11 } } } }
routes:
  /a: { to: u, tags: [x] }
  /b:
    headers: { response: { remove: [Server] } }
    to: { respond: { body: hello, headers: { Set-Cookie: s3cr3t-12 } } }
  /c: { to: u, when: { header: { X-Api-Key: s3cr3t-13 } } }
";

#[test]
fn what_is_shown_can_be_sent_back_with_another_thing_changed() {
    let path = file("hidden-1", SECRETS);
    let loaded = lockgate_config::load(&path, ALL).unwrap();
    let long = long(&path, ALL).unwrap();
    let export = effective(&loaded.source);
    for shown in [&long, &export] {
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(shown.matches(HIDDEN).count() >= 13, "{shown}");
        assert_eq!(between(&path, "sent", shown, ALL).unwrap(), Changes::default(), "{shown}");
        let sent = shown
            .replace("hello", "good day")
            .replace("Set-Cookie: ${hidden}", "Vary: a")
            .replace("Set-Cookie: \"${hidden}\"", "Vary: a");
        let changes = between(&path, "sent", &sent, ALL).unwrap();
        let [one] = changes.entries() else { panic!("{:?}", changes.entries()) };
        assert_eq!(one.name, "/b");
        assert!(!changes.write().contains("s3cr3t"), "{}", changes.write());
    }
}

/// Or a secret could be found out letter by letter.
#[test]
fn a_part_of_a_secret_that_fits_is_refused_like_one_that_does_not() {
    let path = file("hidden-4", SECRETS);
    for shown in
        [long(&path, ALL).unwrap(), effective(&lockgate_config::load(&path, ALL).unwrap().source)]
    {
        // Its own words about the mark apart.
        let lines = shown.lines().filter(|line| !line.starts_with('#'));
        let shown: String = lines.map(|line| format!("{line}\n")).collect();
        for guess in ["s${hidden}", "${hidden}3", "s3cr3t-4${hidden}", "x${hidden}"] {
            let sent = shown.replacen("${hidden}", guess, 1);
            let all = [sent, shown.replace("\"${hidden}\"", &format!("\"{guess}\""))];
            for sent in all.iter().filter(|sent| **sent != shown) {
                let report = between(&path, "sent", sent, ALL).unwrap_err().render(false);
                assert!(report.contains("is shown in place of a secret"), "{guess}: {report}");
            }
        }
    }
}

#[test]
fn what_is_hidden_is_neither_lost_nor_taken_for_the_secret() {
    let path = file("hidden-2", SECRETS);
    let shown = long(&path, ALL).unwrap();
    let refused = |sent: &str, places: &[&str]| {
        let report = between(&path, "sent", sent, ALL).unwrap_err();
        let text = report.render(false);
        assert!(!text.contains("s3cr3t"), "{text}");
        let errors = report.problems.iter().filter(|one| one.severity == Severity::Error);
        assert_eq!(errors.clone().count(), places.len(), "{text}");
        for (problem, place) in errors.zip(places) {
            assert!(problem.message.contains(HIDDEN), "{text}");
            assert!(problem.message.contains(place) && problem.line > 1, "{text}");
            let help = problem.help.as_deref().unwrap();
            assert!(help.contains("reference") || help.contains("${env:NAME}"), "{text}");
        }
    };
    // Changed beside it, by another value at another place, or sent elsewhere with it.
    refused(&shown.replace("tags: [x]", "tags: [y]"), &["`routes./a` is not"]);
    refused(&shown.replace("@h:1", "@evil:1"), &["in place of a secret"]);
    // Said once more it is changed, and kept as it is said.
    let sent = SECRETS.replace("s3cr3t-6", "s3cr3t-new");
    let changes = between(&path, "sent", &sent, ALL).unwrap();
    assert_eq!(changes.entries().len(), 1);
    assert_eq!(changes.entries()[0].to, Some(json!({ "api_keys": "s3cr3t-new" })));
    // And taken out it is gone: that it was there could be seen.
    let sent = SECRETS.replace(", s3cr3t-5", "");
    let changes = between(&path, "sent", &sent, ALL).unwrap();
    assert_eq!(changes.entries()[0].to, Some(json!({ "api_keys": ["s3cr3t-4"] })));
    // A single thing that is set is read with the files, and refused by that.
    let mut changes = Changes::default();
    let route =
        json!({ "to": "u", "headers": { "request": { "set": { "Authorization": HIDDEN } } } });
    changes.set("routes", "/a", Some(route)).unwrap();
    let text = changes.write();
    let given = Given::Changes { name: "changes.yaml", text: &text, of: None };
    let report = load_with(&path, given, None, ALL, &mut |_, _| Vec::new()).unwrap_err();
    let text = report.render(false);
    assert!(text.contains("is shown in place of a secret, and is none"), "{text}");
}

#[test]
fn a_secret_that_is_sent_is_compared_with_the_one_in_the_files() {
    let path = file("hidden-3", SECRETS);
    let shown = long(&path, ALL).unwrap();
    let at = shown.find("bob:").unwrap();
    let (before, after) = shown.split_at(at);
    for (key, changed) in [("s3cr3t-6", 0), ("s3cr3t-other", 1)] {
        let sent = format!("{before}{}", after.replacen("\"${hidden}\"", key, 1));
        let changes = between(&path, "sent", &sent, ALL).unwrap();
        assert_eq!(changes.entries().len(), changed, "{sent}");
    }
}
