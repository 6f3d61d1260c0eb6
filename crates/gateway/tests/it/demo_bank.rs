//! `lockgate demo bank`: the race, as a reader runs it, and what is left of it afterwards.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use lockgate_testkit::{Dir, Ran, until};

use crate::support::BINARY;

/// A demo of several processes, and where it writes.
pub(crate) struct Running {
    name: &'static str,
    child: Child,
    dir: Dir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Starts `lockgate demo NAME` with these arguments.
    pub(crate) fn start(name: &'static str, arguments: &[&str]) -> Self {
        let dir = Dir::new();
        let open = |file| std::fs::File::create(dir.path().join(file)).unwrap();
        let mut command = Command::new(BINARY);
        command.args(["demo", name]).args(arguments).current_dir(dir.path());
        command.stdin(Stdio::null()).stdout(open("stdout")).stderr(open("stderr"));
        Self { name, child: command.spawn().unwrap(), dir }
    }

    pub(crate) fn stdout(&self) -> String {
        self.dir.read("stdout")
    }

    /// All that it has printed.
    pub(crate) fn said(&self) -> String {
        self.stdout() + &self.dir.read("stderr")
    }

    pub(crate) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> Ran {
        let mut code = None;
        until("the demo to end", async || {
            code = self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1));
            code.is_some()
        })
        .await;
        let (stdout, stderr) = (self.stdout(), self.dir.read("stderr"));
        Ran { code: code.unwrap_or(-1), stdout, stderr }
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> PathBuf {
        std::env::temp_dir().join(format!("lockgate-{}-{}", self.name, self.child.id()))
    }

    /// How many processes run in its folder.
    pub(crate) fn processes(&self) -> usize {
        let folder = self.folder().display().to_string();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let places = all.filter_map(|entry| std::fs::read_link(entry.path().join("cwd")).ok());
        // Of a folder that is gone, the kernel says so after its name.
        places.filter(|place| place.display().to_string().starts_with(&folder)).count()
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.processes(), 0);
        assert!(!self.folder().exists(), "{}", self.folder().display());
    }
}

#[tokio::test]
async fn both_outcomes_are_as_promised_over_redis() {
    let mut demo = Running::start("bank", &["--json"]);
    let ran = demo.ended().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let shown = ran.json();
    assert_eq!(shown["store"], "redis");
    let with = &shown["with"];
    assert_eq!((with["accepted"].as_i64(), with["refused"].as_i64()), (Some(1), Some(2)));
    assert_eq!((with["balance"].as_i64(), with["should_be"].as_i64()), (Some(30), Some(30)));
    assert_eq!(with["gateways"], 3, "each debit goes through another gateway: {shown}");
    let without = &shown["without"];
    assert!(without["accepted"].as_i64() > Some(1), "{shown}");
    assert_ne!(without["balance"], without["should_be"], "{shown}");
    demo.assert_nothing_is_left();
}

#[tokio::test]
async fn one_gateway_keeps_the_promise_in_memory_and_says_so() {
    let mut demo = Running::start("bank", &["--memory"]);
    let ran = demo.ended().await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("One gateway, its leases in memory"), "{ran:?}");
    let row = ran.stdout.lines().find(|line| line.starts_with("with serialize")).unwrap();
    let numbers: Vec<&str> = row.split_whitespace().skip(2).collect();
    assert_eq!(numbers, ["1", "2", "30", "30"]);
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{ran:?}");
    demo.assert_nothing_is_left();
}

#[tokio::test]
async fn an_interrupted_race_leaves_nothing() {
    let mut demo = Running::start("bank", &[]);
    until("some processes", async || demo.processes() > 2).await;
    demo.signal("INT");
    let ran = demo.ended().await;
    assert_eq!(ran.code, 130, "{ran:?}");
    demo.assert_nothing_is_left();
}
