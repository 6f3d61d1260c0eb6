//! How a report looks.

use lockgate_config::{Report, Severity};

use crate::fake::read;

#[test]
fn a_report_reads_like_a_compilers() {
    let report =
        read("listeners: { web: \":80\" }\nroutes:\n  /x: { too: http://a:1 }\n").unwrap_err();
    let expected = "\
error: this route has no `to`
 --> tests/data/lockgate.yaml:3:3
  |
3 |   /x: { too: http://a:1 }
  |   ^^
  = help: an upstream's name, a URL, weights, or a handler

1 error
";
    assert_eq!(report.render(false), expected);
    let coloured = report.render(true);
    assert!(coloured.contains("\u{1b}[1;31merror\u{1b}[0m"));
    let plain: String = coloured
        .split('\u{1b}')
        .map(|part| {
            part.split_once('m')
                .map_or(part, |(code, rest)| if code.starts_with('[') { rest } else { part })
        })
        .collect();
    assert_eq!(plain, expected);
}

#[test]
fn json_has_every_part() {
    let report = read("http: { max_headrs: 1 }\nadmin: { auth: keys }\n").unwrap_err();
    let json = report.to_json();
    assert_eq!((json["errors"].as_u64(), json["warnings"].as_u64()), (Some(1), Some(2)));
    let problem = &json["problems"][0];
    assert_eq!(problem["severity"], "warning");
    let problem = &json["problems"][1];
    assert_eq!(problem["severity"], "error");
    assert_eq!((problem["line"].as_u64(), problem["column"].as_u64()), (Some(1), Some(9)));
    assert_eq!(problem["help"], "did you mean `max_headers`?");
    assert_eq!(problem["excerpt"], "http: { max_headrs: 1 }");
    assert_eq!(report.summary(), "1 error, 2 warnings");
}

#[test]
fn long_lines_are_cut_around_the_place_and_no_line_is_too_wide() {
    let text = format!(
        "http: {{ {}max_headrs: 5 }}\nroutes: {{}}\n",
        "max_uri: 1KiB, ".to_owned() + &" ".repeat(300)
    );
    let report = read(&text).unwrap_err();
    let shown = report.render(false);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    let (excerpt, carets) = (lines[3], lines[4]);
    let caret = carets.chars().position(|c| c == '^').unwrap();
    let under: String = excerpt.chars().skip(caret).take(10).collect();
    assert_eq!(under, "max_headrs");
}

#[test]
fn columns_count_characters() {
    let report = read("http: { \"häufig ☃\": 1, max_headers: x }\n").unwrap_err();
    let places: Vec<_> = report
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| problem.column)
        .collect();
    assert_eq!(places, [9, 37]);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let report = read("http: { \"\\e[31m\": 1 }\nroutes: {}\n").unwrap_err();
    assert!(!report.render(false).contains('\u{1b}'));
    let report = read("listeners: {  \u{7}: 1 }\n");
    assert!(report.is_err_and(|report: Report| !report.render(false).contains('\u{7}')));
}
