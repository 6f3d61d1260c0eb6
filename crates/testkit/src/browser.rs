//! A Chromium without a window, driven as a person would: over the protocol of its driver (W3C
//! WebDriver), with Chromium's own protocol for what that cannot say. It is fresh for each test,
//! asks nobody but who it is sent to, and is gone when dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::{Dir, Wire, request, until};

/// By this name the protocol knows an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How many steps a walk by keys may take.
const STEPS: usize = 200;

/// A browser with one page.
pub struct Browser {
    driver: Child,
    at: SocketAddr,
    session: String,
    /// Chromium's own process.
    process: Option<u64>,
    _profile: Dir,
}

/// What a page has fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub url: String,
    /// Over the wire, with its head.
    pub bytes: u64,
}

impl Browser {
    /// Opens one.
    ///
    /// # Panics
    /// When it cannot be opened; with the package's name when it is not there.
    pub async fn open() -> Self {
        let profile = Dir::new();
        let out = std::fs::File::create(profile.path().join("driver")).unwrap();
        let driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("chromedriver: {error}; Debian's package `chromium-driver` brings it")
            });
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let session = String::new();
        let mut browser = Self { driver, at, session, process: None, _profile: profile };
        until("the browser's driver", async || {
            let said = browser._profile.read("driver");
            let port = said.rsplit("on port ").next().and_then(|rest| rest.split('.').next());
            let port = port.and_then(|port| port.parse().ok());
            browser.at.set_port(port.unwrap_or_default());
            port.is_some()
        })
        .await;
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            folder.as_str(),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": flags },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let made = browser.order("POST", "/session", &wanted).await.unwrap_or_else(|why| {
            panic!("no browser: {why}; Debian's package `chromium` brings it")
        });
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        browser.process = made["capabilities"]["goog:processID"].as_u64();
        browser
    }

    async fn order(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let mut wire = Wire::connect(self.at).await;
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let headers = [("Host", "127.0.0.1"), ("Content-Type", "application/json")];
        let answer = wire.ask(request(method, path, &headers, &body)).await.json();
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].clone()),
        }
    }

    async fn tell(&self, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        let told = self.order("POST", &path, &body).await;
        told.unwrap_or_else(|why| panic!("{path} {body}: {why}"))
    }

    /// Goes to a page, and waits until it is loaded.
    pub async fn go(&self, url: &str) {
        self.tell("/url", json!({ "url": url })).await;
    }

    /// Runs a function's body in the page: what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.tell("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Says something in Chromium's own protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.tell("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    /// Waits for an element, and clicks it as a mouse would.
    pub async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.tell(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Waits for a field, and types into it. `\n` is the Enter key.
    pub async fn enter(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        let text = text.replace('\n', "\u{e007}");
        self.tell(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    async fn element(&self, css: &str) -> String {
        let path = format!("/session/{}/element", self.session);
        let wanted = json!({ "using": "css selector", "value": css });
        let mut found = None;
        until(css, async || {
            let element = self.order("POST", &path, &wanted).await.ok();
            found = element.and_then(|one| one[ELEMENT].as_str().map(str::to_owned));
            found.is_some()
        })
        .await;
        found.unwrap_or_default()
    }

    /// Presses keys one after the other; special ones are those of the protocol.
    pub async fn press(&self, keys: &str) {
        let key = |key: char| {
            let key = key.to_string();
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        };
        let all: Vec<Value> = keys.chars().flat_map(key).collect();
        self.tell("/actions", json!({ "actions": [{ "type": "key", "id": "k", "actions": all }] }))
            .await;
    }

    /// Goes from one thing to the next by the Tab key until the focus is on what fits, and presses
    /// Enter.
    ///
    /// # Panics
    /// When the focus does not come by, or is where it cannot be seen.
    pub async fn tab_to(&self, css: &str) {
        let look = format!(
            "const at = document.activeElement, box = at.getBoundingClientRect(); \
             return [at.matches({}), at === document.body || (box.width > 0 && \
             (getComputedStyle(at).outlineStyle !== 'none' || at.matches('main')))]",
            json!(css)
        );
        let mut all = Vec::new();
        for _ in 0..STEPS {
            self.press("\u{e004}").await;
            let seen = self.run(&look).await;
            let name = self.run("return document.activeElement.outerHTML.slice(0, 120)").await;
            assert_eq!(seen[1], true, "the focus cannot be seen on {name}");
            if seen[0] == true {
                return self.press("\u{e007}").await;
            }
            all.push(name.to_string());
        }
        panic!("the Tab key does not come by {css}, but by {all:#?}");
    }

    /// The text of all that fits, as it can be read.
    pub async fn text(&self, css: &str) -> String {
        let script = format!(
            "return [...document.querySelectorAll({})].map((one) => one.innerText).join('\\n')",
            json!(css)
        );
        self.run(&script).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the text of what fits says something.
    pub async fn reads(&self, css: &str, text: &str) {
        let mut seen = String::new();
        let mut tries = 0;
        until(&format!("`{text}` in {css}"), async || {
            seen = self.text(css).await;
            tries += 1;
            if tries == 500 {
                eprintln!("{css} says: {seen}");
            }
            seen.contains(text)
        })
        .await;
    }

    /// Shows pages in this size, and in dark colours or not.
    pub async fn looks(&self, width: u32, height: u32, dark: bool) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// Keeps a picture of what is shown.
    pub async fn picture(&self, file: &Path) {
        let shot = self.devtools("Page.captureScreenshot", json!({ "format": "png" })).await;
        let png = STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(file.parent().expect("a folder")).unwrap();
        std::fs::write(file, png).unwrap();
    }

    /// What the page's console has complained of since it was last asked.
    pub async fn complaints(&self) -> Vec<String> {
        let all = self.tell("/se/log", json!({ "type": "browser" })).await;
        let all = all.as_array().cloned().unwrap_or_default();
        all.iter().map(ToString::to_string).collect()
    }

    /// What has been fetched, since it was last asked, from the network.
    pub async fn fetched(&self) -> Vec<Fetched> {
        let all = self.tell("/se/log", json!({ "type": "performance" })).await;
        let mut fetched: Vec<(String, Fetched)> = Vec::new();
        for entry in all.as_array().expect("a log") {
            let text = entry["message"].as_str().unwrap_or_default();
            let event: Value = serde_json::from_str(text).unwrap_or_default();
            let (event, id) = (&event["message"], &event["message"]["params"]["requestId"]);
            let params = &event["params"];
            match event["method"].as_str() {
                Some("Network.requestWillBeSent") => {
                    let url = params["request"]["url"].as_str().unwrap_or_default().to_owned();
                    // A new tab is a page of the browser's own.
                    if !url.starts_with("data:") && !url.starts_with("chrome:") {
                        fetched.push((id.to_string(), Fetched { url, bytes: 0 }));
                    }
                }
                Some("Network.loadingFinished") => {
                    let bytes = params["encodedDataLength"].as_f64().unwrap_or_default() as u64;
                    let id = id.to_string();
                    let of = fetched.iter_mut().rev().find(|(other, _)| *other == id);
                    of.into_iter().for_each(|(_, one)| one.bytes = bytes);
                }
                _ => {}
            }
        }
        fetched.into_iter().map(|(_, one)| one).collect()
    }

    /// Whether scripts may run.
    pub async fn scripts(&self, on: bool) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !on })).await;
    }

    /// Asks the driver to end the session, which ends Chromium and its helpers.
    fn end(&self) -> std::io::Result<()> {
        let patience = Duration::from_secs(5);
        let mut stream = TcpStream::connect_timeout(&self.at, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let path = format!("/session/{}", self.session);
        let headers = [("Host", "127.0.0.1"), ("Connection", "close")];
        stream.write_all(request("DELETE", &path, &headers, "").as_bytes())?;
        stream.read(&mut [0; 256]).map(|_| ())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let ended = !self.session.is_empty() && self.end().is_ok();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        if let Some(process) = self.process.filter(|_| !ended) {
            let kill = format!("kill -KILL {process}");
            let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        }
    }
}
