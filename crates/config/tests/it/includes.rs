//! `include`: several files as one, each key once.

use lockgate_config::{load, shown_again};

use crate::fake::{ALL, directory};

#[test]
fn files_and_globs_are_merged_and_watched() {
    let path = directory(
        "merged",
        &[
            ("main.yaml", "include: [parts/*.yaml, more.toml]\nworkers: 2\n"),
            ("parts/b.yaml", "routes:\n  /b: { to: http://b:1 }\n"),
            ("parts/a.yaml", "routes:\n  /a: { to: users }\ninclude: ../deep.yaml\n"),
            ("parts/.hidden.yaml", "broken: ["),
            ("deep.yaml", "upstreams: { users: { endpoints: u:1, tls: { ca: ca.pem } } }\n"),
            ("ca.pem", "not read here"),
            ("more.toml", "[routes.\"/c\"]\nto = \"users\"\n"),
        ],
    );
    let loaded = load(&path.join("main.yaml"), ALL).unwrap_or_else(|report| panic!("{report}"));
    let patterns: Vec<&str> = loaded.document.routes.keys().map(|pattern| &**pattern).collect();
    assert_eq!(patterns, ["/a", "/b", "/c"]);
    let place = loaded.source.locate(&["routes", "/c", "to"]).unwrap();
    assert!(place.file.ends_with("more.toml") && place.line == 2, "{place}");
    // What becomes of the files does not matter to what was read of them.
    let before = load(&path.join("main.yaml"), ALL).unwrap();
    std::fs::write(path.join("parts/a0.yaml"), "workers: 3").unwrap();
    std::fs::write(path.join("more.toml"), "").unwrap();
    let again = shown_again(&before.source, ALL).unwrap();
    assert_eq!(again.routes, loaded.document.routes);
    let files: Vec<_> = loaded
        .files
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    for name in ["main.yaml", "a.yaml", "b.yaml", "deep.yaml", "more.toml", "ca.pem", "parts"] {
        assert!(files.iter().any(|file| file == name), "{name} in {files:?}");
    }
}

#[test]
fn a_key_in_two_files_is_an_error_that_names_both() {
    let path = directory(
        "collision",
        &[
            ("main.yaml", "include: other.yaml\nworkers: 2\nroutes: { /a: { to: http://a:1 } }\n"),
            ("other.yaml", "workers: 3\nroutes:\n  /a: { to: http://b:1 }\n"),
        ],
    );
    let report = load(&path.join("main.yaml"), ALL).unwrap_err();
    assert!(!report.is_unreadable());
    let told: Vec<_> = report
        .problems
        .iter()
        .map(|p| (p.line, p.column, p.message.as_str(), p.help.clone().unwrap_or_default()))
        .collect();
    assert_eq!((told[0].0, told[0].1, told[0].2), (1, 1, "`workers` stands in two files"));
    assert!(told[0].3.ends_with("main.yaml:2:1"), "{told:?}");
    assert_eq!((told[1].0, told[1].1, told[1].2), (3, 3, "`/a` stands in two files"));
    assert!(told[1].3.ends_with("main.yaml:3:11"), "{told:?}");
    assert!(report.problems[0].file.ends_with("other.yaml"));
}

#[test]
fn circles_and_missing_files_are_errors_at_the_include() {
    let path = directory(
        "circle",
        &[("main.yaml", "include:\n  - main.yaml\n  - nowhere.yaml\nroutes: {}\n")],
    );
    let report = load(&path.join("main.yaml"), ALL).unwrap_err();
    let told: Vec<_> = report.problems.iter().map(|p| (p.line, p.column)).collect();
    assert_eq!(told, [(2, 5), (3, 5)]);
    assert!(report.problems[0].message.ends_with("is included already"));
    assert!(report.problems[1].message.starts_with("cannot include"));
}

#[test]
fn a_file_that_cannot_be_read_is_told_apart() {
    let report = load(std::path::Path::new("tests/data/none.yaml"), ALL).unwrap_err();
    assert!(report.is_unreadable());
    assert!(report.render(false).starts_with("error: cannot read `tests/data/none.yaml`: "));
    let path = directory("binary", &[("main.yaml", "x")]);
    std::fs::write(path.join("main.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    assert!(load(&path.join("main.yaml"), ALL).unwrap_err().is_unreadable());
}
