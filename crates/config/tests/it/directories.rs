//! A directory as a configuration, and copies of what stands somewhere else.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lockgate_config::{Begin, Given, load, load_with, parts, shown_again};

use crate::fake::{ALL, directory};

fn patterns(path: &Path) -> Vec<String> {
    let loaded = load(path, ALL).unwrap_or_else(|report| panic!("{report}"));
    loaded.document.routes.keys().map(|pattern| pattern.to_string()).collect()
}

#[test]
fn the_files_of_a_directory_are_merged_in_order() {
    let path = directory(
        "conf.d",
        &[
            ("20-b.yml", "routes:\n  /b: { to: users }\n"),
            ("10-a.yaml", "routes:\n  /a: { to: users }\n"),
            ("30-c.toml", "[routes.\"/c\"]\nto = \"users\"\n"),
            ("40-d.json", r#"{ "upstreams": { "users": { "endpoints": "u:1" } } }"#),
            (".hidden.yaml", "broken: ["),
            ("notes.txt", "broken: ["),
            ("10-a.yaml~", "broken: ["),
            ("files/deep.yaml", "broken: ["),
        ],
    );
    assert_eq!(patterns(&path), ["/a", "/b", "/c"]);
    let loaded = load(&path, ALL).unwrap();
    assert_eq!(loaded.document.base, path);
    for name in ["", "10-a.yaml", "20-b.yml", "30-c.toml", "40-d.json"] {
        let file = if name.is_empty() { path.clone() } else { path.join(name) };
        assert!(loaded.files.contains(&file), "{file:?} in {:?}", loaded.files);
    }
    let place = loaded.source.locate(&["routes", "/b", "to"]).unwrap();
    assert_eq!(place.to_string(), format!("{}:2:13", path.join("20-b.yml").display()));
    std::fs::write(path.join("20-b.yml"), "workers: 1").unwrap();
    let again = shown_again(&loaded.source, ALL).unwrap();
    assert_eq!(again.routes, loaded.document.routes);
}

#[test]
fn what_stands_in_two_files_of_a_directory_is_an_error_that_names_both() {
    let path = directory(
        "twice",
        &[
            ("a.yaml", "workers: 2\nroutes:\n  /x: { to: http://a:1 }\n"),
            ("b.yaml", "routes:\n  /y: { to: http://b:1 }\n"),
            ("c.yaml", "workers: 3\nroutes:\n  /x: { to: http://c:1 }\n"),
        ],
    );
    let report = load(&path, ALL).unwrap_err();
    let told: Vec<_> = report
        .problems
        .iter()
        .map(|p| (p.file.rsplit('/').next().unwrap(), p.line, p.message.as_str()))
        .collect();
    assert_eq!(
        told,
        [("c.yaml", 1, "`workers` stands in two files"), ("c.yaml", 3, "`/x` stands in two files")]
    );
    assert!(report.problems[1].help.as_ref().unwrap().contains("a.yaml:3:3"), "{report}");
}

#[test]
fn a_directory_with_nothing_in_it_is_no_configuration() {
    let path = directory("nothing", &[("notes.txt", "")]);
    let report = load(&path, ALL).unwrap_err();
    assert!(report.is_unreadable());
    assert!(report.to_string().contains("there is no"), "{report}");
}

#[test]
fn files_without_a_section_are_no_configuration_together() {
    for text in ["", " \n", "# todo\n", "{}", "---\n", "# todo\n{}\n"] {
        let path = directory("blank", &[("main.yaml", text), ("more.toml", "# none yet\n")]);
        let report = load(&path, ALL).unwrap_err();
        assert!(report.to_string().contains("no section"), "{text:?}: {report}");
        // What is written there next is noticed.
        assert!(report.files().contains(&path.join("main.yaml")), "{:?}", report.files());
        let files = [PathBuf::from("main.yaml")];
        let begin = Begin::Copies { root: &path, files: &files, name: "etcd://h:1/lockgate/" };
        let report =
            load_with(begin, Given::Nothing, None, ALL, &mut |_, _| Vec::new()).unwrap_err();
        assert_eq!(&*report.problems[0].file, "etcd://h:1/lockgate/", "{report}");
    }
    let path = directory(
        "half-blank",
        &[("main.yaml", "# todo\n"), ("more.yaml", "routes:\n  /a: { to: http://a:1 }\n")],
    );
    assert_eq!(patterns(&path), ["/a"]);
    let path = directory("broken-too", &[("a.yaml", "{}"), ("b.yaml", "routes: [")]);
    let report = load(&path, ALL).unwrap_err();
    assert!(!report.to_string().contains("no section"), "{report}");
}

#[test]
fn of_a_mounted_configmap_one_state_is_read_whole() {
    let path = directory(
        "mounted",
        &[
            ("..old/a.yaml", "routes:\n  /a: { to: http://a:1 }\n"),
            ("..old/b.yaml", "routes:\n  /b: { to: http://b:1 }\n"),
            ("..new/a.yaml", "routes:\n  /a2: { to: http://a:1 }\n"),
            ("..new/c.yaml", "routes:\n  /c: { to: http://c:1 }\n"),
        ],
    );
    symlink("..old", path.join("..data")).unwrap();
    for name in ["a.yaml", "b.yaml"] {
        symlink(Path::new("..data").join(name), path.join(name)).unwrap();
    }
    assert_eq!(patterns(&path), ["/a", "/b"]);
    // The swap itself: the names follow only later, and do not matter.
    symlink("..new", path.join("..data_tmp")).unwrap();
    std::fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    assert_eq!(patterns(&path), ["/a2", "/c"]);
    assert_eq!(parts(&path).unwrap(), [path.join("a.yaml"), path.join("c.yaml")]);
    let loaded = load(&path, ALL).unwrap();
    let watched = [path.clone(), path.join("..data")];
    assert!(watched.iter().all(|file| loaded.files.contains(file)), "{:?}", loaded.files);
    let place = loaded.source.locate(&["routes", "/c", "to"]).unwrap();
    assert_eq!(&*place.file, path.join("c.yaml").to_str().unwrap());
}

#[test]
fn copies_are_called_by_the_names_of_what_they_are_copies_of() {
    let root = directory(
        "copies",
        &[
            ("routes/a", "routes:\n  /a: { to: users }\n  /b: { tu: users }\n"),
            ("upstreams.toml", "[upstreams.users]\nendpoints = \"u:1\"\n"),
        ],
    );
    let files = [PathBuf::from("routes/a"), PathBuf::from("upstreams.toml")];
    let begin = Begin::Copies { root: &root, files: &files, name: "etcd://h:1/lockgate/" };
    let report = load_with(begin, Given::Nothing, None, ALL, &mut |_, _| Vec::new()).unwrap_err();
    assert_eq!(&*report.problems[0].file, "etcd://h:1/lockgate/routes/a");
    assert_eq!(report.problems[0].line, 3);
    std::fs::write(root.join("routes/a"), "routes:\n  /a: { to: users }\n").unwrap();
    let loaded = load_with(begin, Given::Nothing, None, ALL, &mut |_, _| Vec::new()).unwrap();
    assert_eq!(loaded.document.base, root);
    let place = loaded.source.locate(&["routes", "/a", "to"]).unwrap();
    assert_eq!(place.to_string(), "etcd://h:1/lockgate/routes/a:2:13");
}

#[test]
fn thousands_of_files_are_joined_in_no_time() {
    let root = directory("thousands", &[]);
    let mut files = Vec::new();
    for n in 0..5_000 {
        let name = PathBuf::from(format!("route-{n}"));
        let text = format!("routes:\n  /r/{n}: {{ to: http://a:1 }}\n");
        std::fs::write(root.join(&name), text).unwrap();
        files.push(name);
    }
    let begin = Begin::Copies { root: &root, files: &files, name: "x:" };
    let loaded = load_with(begin, Given::Nothing, None, ALL, &mut |_, _| Vec::new()).unwrap();
    assert_eq!(loaded.document.routes.len(), 5_000);
}

#[test]
fn where_the_routes_stand_is_told_and_that_none_are_meant() {
    let route = "routes:\n  /a: { to: http://a:1 }\n";
    let path = directory("stand", &[("a.yaml", "routes: {}\n"), ("b.yaml", route)]);
    let stand = |path: &Path| {
        let loaded = load(path, ALL).unwrap_or_else(|report| panic!("{report}"));
        let files = loaded.source.routes_stand_in();
        files.map(|files| files.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(stand(&path), Some(vec![path.join("b.yaml").display().to_string()]));
    std::fs::remove_file(path.join("b.yaml")).unwrap();
    assert_eq!(stand(&path), Some(vec![]), "it is said that there are none");
    for text in ["workers: 1\n", "workers: 1\nroutes:\n"] {
        std::fs::write(path.join("a.yaml"), text).unwrap();
        assert_eq!(stand(&path), None, "{text:?}");
    }
    std::fs::write(path.join("a.yaml"), "workers: 1\n").unwrap();
    let mut changes = lockgate_config::Changes::default();
    let to = serde_json::json!({ "to": "http://a:1" });
    changes.set("routes", "/c", Some(to)).unwrap();
    let text = changes.write();
    let given = Given::Changes { name: "changes.yaml", text: &text, of: None };
    let loaded = load_with(&path, given, None, ALL, &mut |_, _| Vec::new()).unwrap();
    assert_eq!(loaded.document.routes.len(), 1);
    assert_eq!(loaded.source.routes_stand_in(), None, "changes are not the files");
}
