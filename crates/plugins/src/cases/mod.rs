//! Runs the cases in every plugin's folder: a route as a user writes it, a request, the upstream's
//! reply, and what must come of it. No sockets: request hooks run down in the order of the stages,
//! then the target answers, then response hooks run up. What a case may say stands in `case.rs`;
//! a key that it does not know is a failure, so that no expectation is silently skipped.

mod alone;
mod case;
mod identify;
mod pattern;
mod played;
mod readme;
mod reply;
mod run;
pub(crate) mod token;
mod yaml;

pub(crate) use alone::{policy, request_to};
pub(crate) use run::{identity, request};

use std::fs;
use std::path::{Path, PathBuf};

use tokio::task::LocalSet;

use crate::ALL;

/// Time stands still but where a case lets it pass.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// The folder that holds the plugins' folders.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn every_case_of_every_plugin_holds() {
    let runtime = runtime();
    let mut failures = Vec::new();
    let mut count = 0;
    for plugin in ALL {
        let folder = folder().join(plugin.name()).join("cases");
        let files = files(&folder);
        assert!(!files.is_empty(), "{} has no cases in {}", plugin.name(), folder.display());
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let documents = yaml::read(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            for document in documents {
                count += 1;
                let case = run::case(&document);
                if let Err(problem) = LocalSet::new().block_on(&runtime, case) {
                    let name = document["case"].as_str().unwrap_or("a case without a name");
                    failures.push(format!("{}: {name}\n    {problem}", file.display()));
                }
            }
        }
    }
    assert!(count > 0);
    assert!(failures.is_empty(), "{} of {count} cases:\n{}", failures.len(), failures.join("\n"));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    files
}

#[test]
fn every_folder_is_in_the_list_and_every_name_is_a_folder() {
    let mut listed: Vec<&str> = ALL.iter().map(lockgate_core::Plugin::name).collect();
    listed.sort_unstable();
    let mut folders: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("README.md").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    folders.sort_unstable();
    assert_eq!(listed, folders);
}

#[test]
fn reasons_are_told_apart() {
    let mut codes: Vec<&str> = lockgate_core::reasons::ALL.iter().map(|r| r.code).collect();
    codes.extend(ALL.iter().flat_map(|plugin| plugin.reasons()).map(|reason| reason.code));
    let all = codes.len();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), all, "two plugins share a reason code");
}

/// A harness that lets anything pass would make every case worthless.
#[test]
fn a_wrong_expectation_fails() {
    let runtime = runtime();
    let good = "route: { to: { respond: { body: hi } } }\nrequest: GET /\n";
    for (wrong, says) in [
        ("answer: { status: 201 }", "status"),
        ("answer: { body: ho }", "body"),
        ("answer: { headers: { content-type: text/html } }", "content-type"),
        ("answer: { headers: { content-type: null } }", "content-type"),
        ("answer: { reason: forbidden }", "reason"),
        ("upstream_sees: {}\nanswer: {}", "upstream"),
        ("answers: { status: 200 }", "answers"),
        ("load_error: { says: x }", "load"),
        ("", "answer"),
    ] {
        let document = yaml::read(&format!("case: x\n{good}{wrong}\n")).unwrap().remove(0);
        let problem = runtime.block_on(run::case(&document)).expect_err(wrong);
        assert!(problem.contains(says), "{wrong}: {problem}");
    }
    let shown = "request: { line: GET /, certificate: { subject: CN=a } }";
    let good = format!("identity: {{ m: {{ mtls: {{}} }} }}\nidentify: m\n{shown}\n");
    for (wrong, says) in [
        ("finds: { absent: true }", "finds"),
        ("finds: { rejected: certificate_unnamed }", "finds"),
        ("finds: { fails: internal }", "finds"),
        ("finds: { consumer: { name: b } }", "consumer"),
        ("finds: { consumer: { name: a, known: true } }", "known"),
        ("finds: { consumer: { name: a, roles: [x] } }", "roles"),
        ("finds: { consumer: { name: a, plan: gold } }", "plan"),
        ("finds: { consumer: { name: a, claims: { subject: CN=b } } }", "claim"),
        ("finds: { consumer: { name: a }, challenge: Bearer }", "challenge"),
        ("finds: { consumer: { name: a } }\nupstream_sees: { line: GET /x }", "GET /"),
        ("finds: { consumer: { name: a } }\nanswer: { status: 200 }", "answer"),
        ("", "finds"),
    ] {
        let document = yaml::read(&format!("case: x\n{good}{wrong}\n")).unwrap().remove(0);
        let problem = runtime.block_on(run::case(&document)).expect_err(wrong);
        assert!(problem.contains(says), "{wrong}: {problem}");
    }
}
