//! What is drawn of two looks, and what keys do.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::screen::{Item, Mode, Pane};
use super::*;

/// A gateway that has answered so many requests to `/users/{id}`, a tenth of them with 503.
fn scrape(requests: u32, at: Instant) -> Scrape {
    let (good, bad) = (requests - requests / 10, requests / 10);
    let text = format!(
        "lockgate_requests_total{{route=\"/users/{{id}}\",status=\"200\"}} {good}\n\
         lockgate_requests_total{{route=\"/users/{{id}}\",status=\"503\"}} {bad}\n\
         lockgate_requests_total{{route=\"GET /idle\",status=\"200\"}} 7\n\
         lockgate_requests_total{{route=\"/busy\",status=\"200\"}} {}\n\
         lockgate_request_seconds_bucket{{route=\"/users/{{id}}\",le=\"0.002\"}} {good}\n\
         lockgate_request_seconds_bucket{{route=\"/users/{{id}}\",le=\"2\"}} {requests}\n\
         lockgate_request_seconds_bucket{{route=\"/users/{{id}}\",le=\"+Inf\"}} {requests}\n\
         lockgate_faults_total{{route=\"/users/{{id}}\",reason=\"no_healthy_endpoint\"}} {bad}\n\
         lockgate_sent_bytes_total{{route=\"/users/{{id}}\"}} {}\n\
         lockgate_upstream_requests_total{{upstream=\"users\"}} {requests}\n\
         lockgate_upstream_retries_total{{upstream=\"users\"}} {bad}\n\
         lockgate_cache_requests_total{{route=\"/x\",result=\"hit\"}} {requests}\n\
         lockgate_config_last_reload_successful 1\n\
         lockgate_config_generation 3\n\
         process_cpu_seconds_total {}\n\
         lockgate_build_info{{version=\"9.9.9\"}} 1\n",
        requests * 4,
        requests * 1_000,
        f64::from(requests) / 1_000.0,
    );
    Scrape::read(&text, at)
}

fn upstreams() -> Value {
    json!([
        { "name": "users", "breaker": { "phase": "closed", "opened": 0 }, "endpoints": [
            { "name": "10.0.0.2:80", "reason": "probe: \u{1b}[2J refused", "override": "none",
              "inFlight": 0, "latencyMs": null },
            { "name": "10.0.0.1:80", "reason": null, "override": "none", "inFlight": 4,
              "latencyMs": 1.25 },
        ] },
        { "name": "dead", "breaker": { "phase": "open", "opened": 1 }, "endpoints": [
            { "name": "10.0.0.3:80", "reason": "drained", "override": "drain", "inFlight": 1,
              "latencyMs": 3.0 },
        ] },
    ])
}

fn look(requests: u32, at: Instant) -> Look {
    let upstreams = Group::read(upstreams().as_array().unwrap());
    Look { scrape: scrape(requests, at), upstreams, draining: false }
}

/// After two looks, two seconds and a thousand requests apart.
fn watched() -> Screen {
    let began = Instant::now();
    let (before, now) = (look(1_000, began), look(2_000, began + Duration::from_secs(2)));
    let mut screen = Screen::new("127.0.0.1:9901".to_owned());
    screen.show(Figures::between(&before, &now));
    screen
}

fn drawn(screen: &mut Screen, width: u16, height: u16, colours: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::screen(frame, screen, Palette { colours })).unwrap();
    terminal.backend().buffer().clone()
}

fn lines(screen: &mut Screen, width: u16, height: u16) -> Vec<String> {
    let buffer = drawn(screen, width, height, true);
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(line).collect()
}

fn press(screen: &mut Screen, keys: &str) -> Option<Wish> {
    let mut wish = None;
    for letter in keys.chars() {
        let code = match letter {
            '\t' => KeyCode::Tab,
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            'v' => KeyCode::Down,
            '^' => KeyCode::Up,
            letter => KeyCode::Char(letter),
        };
        wish = screen.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
    wish
}

/// The words of the line that has this one.
fn words(lines: &[String], word: &str) -> Vec<String> {
    let line = lines.iter().find(|line| line.contains(word));
    let line = line.unwrap_or_else(|| panic!("no line has {word}: {lines:#?}"));
    line.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn eighty_columns_show_what_matters() {
    let lines = lines(&mut watched(), 80, 24);
    assert!(lines[0].contains("127.0.0.1:9901") && lines[0].contains("version 9.9.9"), "{lines:?}");
    // A thousand, and four thousand of the other route, in two seconds.
    assert!(
        lines[1].contains("requests 2.5k/s") && lines[1].contains("errors 2.00 %"),
        "{lines:?}"
    );
    assert!(lines[3].contains("cores 0.50") && lines[3].contains("cache hits 100 %"), "{lines:?}");
    assert!(lines[4].contains("To look at: dead: no endpoint; dead: breaker open"), "{lines:?}");
    let route = words(&lines, "/users/{id}");
    assert_eq!(
        route,
        ["/users/{id}", "500", "10.0", "%", "1.11", "ms", "1.80", "s", "500.0", "kB"]
    );
    // The busiest first.
    let place = |word: &str| lines.iter().position(|line| line.contains(word)).unwrap();
    assert!(place("/busy") < place("/users/{id}") && place("/users/{id}") < place("GET /idle"));
    assert_eq!(words(&lines, "dead  ")[..3], ["dead", "breaker", "open"]);
    let up = words(&lines, "10.0.0.1:80");
    assert_eq!(up, ["10.0.0.1:80", "up", "4", "1.25", "ms"]);
    assert!(words(&lines, "10.0.0.3:80").contains(&"drained".to_owned()));
    // What an upstream's error says moves no cursor.
    assert!(words(&lines, "10.0.0.2:80").contains(&"?[2J".to_owned()), "{lines:#?}");
    assert!(lines[23].contains("q quit"), "{lines:?}");
}

#[tokio::test]
async fn wide_terminals_show_more() {
    let lines = lines(&mut watched(), 120, 30);
    assert!(words(&lines, "/users/{id}").contains(&"no_healthy_endpoint".to_owned()));
    assert_eq!(words(&lines, "users  ").last().unwrap(), "4");
    assert!(lines.iter().any(|line| line.contains("RETRIED")), "{lines:#?}");
}

#[tokio::test]
async fn any_size_can_be_drawn() {
    let mut screen = watched();
    press(&mut screen, "\tvvv");
    for mode in ["", "?", "\u{1b}d", "n/", "abc"] {
        press(&mut screen, mode);
        for width in [1, 59, 60, 80, 103, 104, 140] {
            for height in [1, 13, 14, 15, 24, 40] {
                drawn(&mut screen, width, height, true);
            }
        }
    }
    assert!(lines(&mut screen, 40, 10).concat().contains("too small: 60 by 14"));
}

#[tokio::test]
async fn without_colours_there_are_none() {
    let mut screen = watched();
    let buffer = drawn(&mut screen, 120, 30, false);
    let plain = |colour: Color| colour == Color::Reset;
    assert!(buffer.content().iter().all(|cell| plain(cell.fg) && plain(cell.bg)));
    let buffer = drawn(&mut screen, 120, 30, true);
    assert!(buffer.content().iter().any(|cell| cell.fg == Color::Red));
}

#[tokio::test]
async fn tables_are_sorted_turned_and_filtered() {
    let mut screen = watched();
    let names = |screen: &Screen| {
        screen.route_rows().iter().map(|row| row.name.clone()).collect::<Vec<_>>()
    };
    press(&mut screen, "s");
    assert_eq!(names(&screen)[0], "/users/{id}", "by errors");
    press(&mut screen, "sss");
    assert_eq!(names(&screen), ["/busy", "/users/{id}", "GET /idle"], "by name");
    press(&mut screen, "r");
    assert_eq!(names(&screen), ["GET /idle", "/users/{id}", "/busy"]);
    press(&mut screen, "/USER");
    assert_eq!(names(&screen), ["/users/{id}"]);
    assert_eq!(screen.upstream_rows().len(), 1);
    // A `q` is a letter in here.
    assert_eq!(press(&mut screen, "q"), None);
    assert!(names(&screen).is_empty());
    press(&mut screen, "\u{1b}");
    assert_eq!((names(&screen).len(), &screen.mode), (3, &Mode::Look));
    // An endpoint's name finds its upstream.
    press(&mut screen, "/0.3:\n");
    assert_eq!(screen.upstream_rows()[0].group.name, "dead");
    assert!(lines(&mut screen, 80, 24)[23].contains("filter: 0.3:"));
}

#[tokio::test]
async fn an_order_is_given_when_it_has_been_confirmed() {
    let mut screen = watched();
    assert_eq!(press(&mut screen, "d"), None);
    assert!(screen.told.as_ref().is_some_and(|told| told.bad), "nothing is chosen");
    press(&mut screen, "\tsssvvvd");
    assert_eq!(screen.upstreams.chosen, Some(Item::Upstream("users".to_owned())));
    let shown = lines(&mut screen, 80, 24).join("\n");
    assert!(shown.contains("Drain all 2 endpoints of users."), "{shown}");
    assert_eq!(press(&mut screen, "n"), None);
    assert_eq!(screen.mode, Mode::Look);
    press(&mut screen, "vd");
    assert!(lines(&mut screen, 80, 24).join("\n").contains("Drain 10.0.0.1:80, in every"));
    let order = Order { service: "10.0.0.1:80".to_owned(), word: "drain", endpoints: None };
    assert_eq!(press(&mut screen, "y"), Some(Wish::Give(order.clone())));
    press(&mut screen, "v");
    let shown = lines(&mut screen, 80, 24);
    assert!(shown[23].contains("10.0.0.2:80: probe: ?[2J refused"), "{shown:?}");
    press(&mut screen, "^");
    assert_eq!(press(&mut screen, "cy"), Some(Wish::Give(Order { word: "clear", ..order })));
    // What the filter hides is no longer chosen.
    press(&mut screen, "/dead\nd");
    assert_eq!(screen.mode, Mode::Look);
}

#[tokio::test]
async fn a_chosen_line_is_followed_when_others_pass_it() {
    let mut screen = watched();
    press(&mut screen, "vv");
    assert_eq!(screen.routes.chosen, Some(Item::Route("/users/{id}".to_owned())));
    press(&mut screen, "r");
    let buffer = drawn(&mut screen, 80, 24, true);
    let reversed = |y: u16| buffer[(20, y)].modifier.contains(ratatui::style::Modifier::REVERSED);
    let rows = screen.items(Pane::Routes);
    let at = rows.iter().position(|item| Some(item) == screen.routes.chosen.as_ref()).unwrap();
    let first = u16::try_from(at).unwrap() + 6;
    assert!(reversed(first), "{rows:?}");
    assert_eq!((6..9).filter(|y| reversed(*y)).count(), 1);
}

#[tokio::test]
async fn what_is_paused_stays_as_it_is() {
    let mut screen = watched();
    press(&mut screen, "p");
    let began = Instant::now();
    let later = began + Duration::from_secs(1);
    screen.show(Figures::between(&look(0, began), &look(10, later)));
    let shown = lines(&mut screen, 80, 24);
    assert!(shown[0].contains("PAUSED") && shown[1].contains("2.5k/s"), "{shown:?}");
    press(&mut screen, "p");
    screen.show(Figures::between(&look(0, began), &look(10, later)));
    assert!(lines(&mut screen, 80, 24)[1].contains("requests 50/s"));
}

#[tokio::test]
async fn keys_end_it() {
    let mut screen = watched();
    assert_eq!(press(&mut screen, "q"), Some(Wish::Quit));
    press(&mut screen, "/x");
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.press(key), Some(Wish::Quit));
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let began = Instant::now();
    let (before, mut now) = (look(0, began), look(10, began + Duration::from_secs(1)));
    now.draining = true;
    now.scrape.whole.taken = false;
    now.scrape.whole.panics = 2.0;
    now.upstreams.clear();
    let figures = Figures::between(&before, &now);
    let wanted = ["this gateway drains", "the last configuration was refused", "2 bugs met"];
    assert_eq!(figures.problems, wanted);
    let mut screen = Screen::new(String::new());
    screen.lost = Some("no gateway answers".to_owned());
    assert!(lines(&mut screen, 80, 24)[4].contains("No new figures: no gateway answers"));
}
