//! `lockgate top` at a real terminal: what stands there, what keys do to the gateway, and that the
//! terminal is as it was afterwards.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};

use lockgate_testkit::{Dir, Echo, Gateway, Load, request, until};

use crate::support::{BINARY, cli_on, launch, pool, start};

const SIZE: (u16, u16) = (24, 80);

/// A shell at a terminal of its own, with `lockgate top` in it.
struct Terminal {
    child: Child,
    keys: Option<std::process::ChildStdin>,
    out: Dir,
}

impl Terminal {
    /// Runs a line in the gateway's directory; `script` makes the terminal.
    fn run(gateway: &Gateway, line: &str) -> Self {
        let out = Dir::new();
        let line = format!("stty rows {} cols {}; {line}", SIZE.0, SIZE.1);
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &line, "/dev/null"])
            .env("LOCKGATE", BINARY)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .current_dir(gateway.dir().path())
            .stdin(Stdio::piped())
            .stdout(File::create(out.path().join("out")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("`script`, which every Linux has");
        let keys = child.stdin.take();
        Self { child, keys, out }
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.out.path().join("out")).unwrap_or_default()
    }

    /// What stands on the screen.
    fn screen(&self) -> String {
        let mut parser = vt100::Parser::new(SIZE.0, SIZE.1, 0);
        parser.process(&self.bytes());
        parser.screen().contents()
    }

    async fn shows(&self, text: &str) {
        let mut last = String::new();
        let shown = async || {
            last = self.screen();
            last.contains(text)
        };
        until(&format!("{text} on the screen"), shown).await;
    }

    fn press(&mut self, keys: &str) {
        let pipe = self.keys.as_mut().unwrap();
        pipe.write_all(keys.as_bytes()).unwrap();
        pipe.flush().unwrap();
    }

    /// Waits for the end, and gives the exit code.
    async fn ended(&mut self) -> i32 {
        let mut code = None;
        until("the end", async || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        })
        .await;
        code.and_then(|code| code.code()).unwrap_or(-1)
    }

    /// Asserts that the terminal is as it was: echo and lines, no second screen, a cursor.
    fn is_given_back(&self) {
        let text = String::from_utf8_lossy(&self.bytes()).into_owned();
        let (_, after) = text.rsplit_once("\u{1b}[?1049l").expect("the first screen is back");
        assert!(text.contains("\u{1b}[?25h"), "the cursor is shown");
        let modes: Vec<&str> = after.split_whitespace().collect();
        for mode in ["icanon", "echo", "isig", "opost"] {
            assert!(modes.contains(&mode), "{mode}: {after}");
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what stands there\n{}---", self.screen());
        }
        // Without a writer there is no terminal for what runs in it.
        self.keys = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const TOP: &str = "$LOCKGATE top; echo ended with $?; stty -a";

#[tokio::test]
async fn it_shows_a_gateway_under_load_and_drains_an_endpoint() {
    let (a, b) = (Echo::start("a").await, Echo::start("b").await);
    let gateway = start(&pool(&[a.address(), b.address()], "")).await;
    let load = Load::start(gateway.web(), 2, &request("GET", "/x", &[], ""));
    let mut terminal = Terminal::run(&gateway, TOP);
    terminal.shows("All is well.").await;
    for text in ["/*", "pool", "2 up", &a.address().to_string(), &gateway.at("ADMIN").to_string()] {
        terminal.shows(text).await;
    }
    let screen = terminal.screen();
    let line = screen.lines().find(|line| line.starts_with("/*")).unwrap();
    let rate = line.split_whitespace().nth(1).unwrap();
    assert!(rate != "0.00" && rate.starts_with(|digit: char| digit.is_ascii_digit()), "{line}");

    let first = a.address().to_string().min(b.address().to_string());
    terminal.press("\tjj");
    terminal.press("d");
    terminal.shows(&format!("Drain {first}, in every upstream")).await;
    terminal.press("n");
    terminal.press("d");
    terminal.shows("Drain").await;
    let state = async || {
        let told = gateway.admin("GET", "/admin/upstreams", "").await.json();
        told["upstreams"][0]["usable"].as_u64()
    };
    assert_eq!(state().await, Some(2), "nothing is drained without a yes");
    terminal.press("y");
    until("the endpoint to be drained", async || state().await == Some(1)).await;
    terminal.shows("drained").await;
    terminal.shows("1 of 2 up").await;
    terminal.press("cy");
    until("it to be back", async || state().await == Some(2)).await;

    terminal.press("/nothing-like-this\r");
    terminal.shows("filter: nothing-like-this").await;
    assert!(!terminal.screen().contains("2 up"), "{}", terminal.screen());
    terminal.press("q");
    assert_eq!(terminal.ended().await, 0);
    assert!(String::from_utf8_lossy(&terminal.bytes()).contains("ended with 0"));
    terminal.is_given_back();
    load.stop().await.flawless(10);
}

#[tokio::test]
async fn a_gateway_that_goes_and_comes_back_is_told_of() {
    let echo = Echo::start("a").await;
    let mut gateway = start(&pool(&[echo.address()], "")).await;
    let mut terminal = Terminal::run(&gateway, TOP);
    terminal.shows("All is well.").await;
    gateway.kill();
    terminal.shows("No new figures: no gateway answers").await;
    gateway.restart().await;
    terminal.shows("All is well.").await;
    terminal.press("\u{3}");
    assert_eq!(terminal.ended().await, 0);
    terminal.is_given_back();
}

#[tokio::test]
async fn a_signal_gives_the_terminal_back() {
    let echo = Echo::start("a").await;
    let gateway = start(&pool(&[echo.address()], "")).await;
    let line = "sh -c 'echo $$ > pid; exec $LOCKGATE top'; echo ended with $?; stty -a";
    let mut terminal = Terminal::run(&gateway, line);
    terminal.shows("All is well.").await;
    let pid = gateway.dir().read("pid");
    let kill = format!("kill -TERM {}", pid.trim());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    terminal.ended().await;
    assert!(String::from_utf8_lossy(&terminal.bytes()).contains("ended with 143"));
    terminal.is_given_back();
}

#[tokio::test]
async fn no_colour_is_used_where_none_is_wanted() {
    let echo = Echo::start("a").await;
    let gateway = start(&pool(&[echo.address()], "")).await;
    for (set, coloured) in [("NO_COLOR=1", false), ("NO_COLOR=", true)] {
        let mut terminal = Terminal::run(&gateway, &format!("{set} $LOCKGATE top"));
        terminal.shows("All is well.").await;
        terminal.press("q");
        terminal.ended().await;
        let text = String::from_utf8_lossy(&terminal.bytes()).into_owned();
        // Of 256, in the foreground.
        assert_eq!(text.contains("\u{1b}[38;5;"), coloured, "{set}: {text:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_watched_is_an_error_in_words() {
    // Not at a terminal.
    let ran = cli_on("routes:\n  /*: { to: { respond: {} } }\n", &["top"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("`lockgate status --json`"), "{ran:?}");

    let mut gateway = launch().start("routes:\n  /*: { to: { respond: {} } }\n").await;
    gateway.kill();
    let mut terminal = Terminal::run(&gateway, TOP);
    terminal.ended().await;
    let text = String::from_utf8_lossy(&terminal.bytes()).into_owned();
    assert!(text.contains("no gateway answers on") && text.contains("ended with 1"), "{text}");
    assert!(!text.contains("\u{1b}[?1049h"), "the terminal was not taken: {text}");

    let config = "telemetry: { metrics: off }\nroutes:\n  /*: { to: { respond: {} } }\n";
    let gateway = start(config).await;
    let mut terminal = Terminal::run(&gateway, TOP);
    terminal.ended().await;
    let text = String::from_utf8_lossy(&terminal.bytes()).into_owned();
    assert!(text.contains("metrics are off"), "{text}");
}
