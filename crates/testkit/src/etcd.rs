//! One etcd as a process, and what a test does to its keys, by the JSON that it speaks.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::wait::until;
use crate::{Authority, Dir, Port, Wire, request};

/// A running etcd of a test's own, whose data outlives a restart; dropping it kills it.
pub struct Etcd {
    port: Port,
    peers: Port,
    dir: Dir,
    words: Vec<String>,
    child: Option<Child>,
    token: Option<String>,
}

impl Etcd {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// When there is no `etcd`, or it does not start.
    pub async fn start() -> Self {
        let mut etcd = Self::prepared();
        etcd.restart().await;
        etcd
    }

    /// Starts one that speaks TLS beside, on another port and with this authority's certificate.
    /// Whoever speaks TLS must show one of the same authority's.
    ///
    /// # Panics
    /// When there is no `etcd`, or it does not start.
    pub async fn start_with_tls(authority: &Authority) -> (Self, Port) {
        let mut etcd = Self::prepared();
        let secure = Port::reserve();
        // What speaks JSON asks the server itself, with the server's certificate.
        let leaf = authority.peer(&["127.0.0.1"]);
        let path = |name: &str| etcd.dir.path().join(name).display().to_string();
        etcd.dir.write("ca.pem", &authority.pem);
        etcd.dir.write("cert.pem", &leaf.cert);
        etcd.dir.write("key.pem", &leaf.key);
        let words = [
            format!("--cert-file={}", path("cert.pem")),
            format!("--key-file={}", path("key.pem")),
            format!("--trusted-ca-file={}", path("ca.pem")),
            "--client-cert-auth".to_owned(),
        ];
        etcd.words.extend(words);
        let urls = format!("http://{},https://{}", etcd.address(), secure.address());
        etcd.words.push(format!("--listen-client-urls={urls}"));
        etcd.restart().await;
        (etcd, secure)
    }

    fn prepared() -> Self {
        let (port, peers, dir) = (Port::reserve(), Port::reserve(), Dir::new());
        Self { port, peers, dir, words: Vec::new(), child: None, token: None }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Starts it again on the same port, if it does not run, and waits until it answers.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.launch();
        until("etcd to answer", async || {
            let ended = self.child.as_mut().map(Child::try_wait);
            let said = || self.dir.read("log");
            assert!(matches!(ended, Some(Ok(None))), "etcd ended: {}", said());
            let Ok(mut wire) = Wire::try_connect(self.address()).await else { return false };
            wire.send(request("GET", "/health", &[], "")).await;
            wire.answer_to("GET").await.is_ok_and(|answer| answer.text().contains("\"true\""))
        })
        .await;
    }

    fn launch(&mut self) {
        if self.child.is_some() {
            return;
        }
        let open = || {
            let log = self.dir.path().join("log");
            std::fs::File::options().create(true).append(true).open(log).unwrap()
        };
        let (own, peers) = (self.address(), self.peers.address());
        let mut command = Command::new("etcd");
        command.args(["--name", "test", "--data-dir", "data"]);
        command.args(["--heartbeat-interval", "20", "--election-timeout", "200"]);
        command.arg(format!("--advertise-client-urls=http://{own}"));
        if self.words.is_empty() {
            command.arg(format!("--listen-client-urls=http://{own}"));
        }
        command.arg(format!("--listen-peer-urls=http://{peers}"));
        command.arg(format!("--initial-advertise-peer-urls=http://{peers}"));
        command.arg(format!("--initial-cluster=test=http://{peers}"));
        let child = command
            .args(&self.words)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap_or_else(|error| panic!("etcd: {error}; `cargo xtask test` installs it"));
        self.child = Some(child);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Lets it hang: its sockets stay open, and nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        if let Some(child) = &self.child {
            let kill = format!("kill -{name} {}", child.id());
            let status = Command::new("sh").args(["-c", &kill]).status();
            assert!(status.is_ok_and(|status| status.success()), "{kill}");
        }
    }

    /// Puts keys, all of them at one revision, which is given back.
    ///
    /// # Panics
    /// When it does not take them.
    pub async fn put(&self, pairs: &[(&str, &str)]) -> u64 {
        let put = pairs.iter().map(
            |(key, value)| json!({ "requestPut": { "key": coded(key), "value": coded(value) } }),
        );
        let answer = self.ask("/v3/kv/txn", &json!({ "success": put.collect::<Vec<_>>() })).await;
        revision(&answer)
    }

    /// Deletes all keys that begin so; the revision after it.
    ///
    /// # Panics
    /// When it does not.
    pub async fn delete(&self, prefix: &str) -> u64 {
        let range = json!({ "key": coded(prefix), "range_end": coded(&format!("{prefix}\u{7f}")) });
        revision(&self.ask("/v3/kv/deleterange", &range).await)
    }

    /// Forgets what was before a revision.
    ///
    /// # Panics
    /// When it does not.
    pub async fn compact(&self, revision: u64) {
        let compact = json!({ "revision": revision.to_string(), "physical": true });
        self.ask("/v3/kv/compaction", &compact).await;
    }

    /// Demands a password from now on: of `root`, who may do all, and of this user, who may only
    /// read what begins so.
    ///
    /// # Panics
    /// When it does not.
    pub async fn demand(&mut self, user: &str, password: &str, prefix: &str) {
        let root = json!({ "name": "root", "password": "root's own" });
        self.ask("/v3/auth/user/add", &root).await;
        self.ask("/v3/auth/role/add", &json!({ "name": "root" })).await;
        self.ask("/v3/auth/user/grant", &json!({ "user": "root", "role": "root" })).await;
        let reads = json!({ "name": user, "perm": {
            "permType": "READ", "key": coded(prefix), "range_end": coded(&end(prefix)),
        } });
        self.ask("/v3/auth/role/add", &json!({ "name": user })).await;
        self.ask("/v3/auth/role/grant", &reads).await;
        self.ask("/v3/auth/user/add", &json!({ "name": user, "password": password })).await;
        self.ask("/v3/auth/user/grant", &json!({ "user": user, "role": user })).await;
        self.ask("/v3/auth/enable", &json!({})).await;
        let token = self.ask("/v3/auth/authenticate", &root).await;
        self.token = token["token"].as_str().map(str::to_owned);
    }

    async fn ask(&self, path: &str, question: &Value) -> Value {
        let mut wire = Wire::connect(self.address()).await;
        let token = self.token.as_deref().map(|token| ("Authorization", token));
        let headers: Vec<_> = token.into_iter().collect();
        let answer = wire.ask(request("POST", path, &headers, &question.to_string())).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }
}

fn coded(text: &str) -> String {
    STANDARD.encode(text)
}

/// The first key after all that begin so.
fn end(prefix: &str) -> String {
    let (before, last) = prefix.split_at(prefix.len() - 1);
    let next = last.bytes().next().map(|byte| char::from(byte + 1)).unwrap_or_default();
    format!("{before}{next}")
}

fn revision(answer: &Value) -> u64 {
    let revision = answer["header"]["revision"].as_str().and_then(|number| number.parse().ok());
    revision.unwrap_or_else(|| panic!("no revision in {answer}"))
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}
