//! A real OpenID provider: its tokens open routes by discovery, through a change of its key and
//! while it is away; its opaque tokens by introspection, until they are revoked.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lockgate_testkit::{Answer, Echo, Gateway, Port, Wire, may_be_skipped, request, until};

use crate::support::start;

/// Where `cargo xtask test` has installed the provider; `None` where it need not be.
fn installed() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/oidc");
    let has_node = Command::new("node").arg("--version").output().is_ok();
    if has_node && home.join("node_modules/oidc-provider").is_dir() {
        return home.canonicalize().ok();
    }
    let missing = "the tests against a real OpenID provider need node and the package \
                   oidc-provider in target/oidc: `cargo xtask test` installs them";
    may_be_skipped("LOCKGATE_SKIP_OIDC", missing);
    None
}

/// The provider as a process, ended when dropped.
struct Provider {
    child: Child,
    port: Port,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.end();
    }
}

impl Provider {
    async fn start(home: &Path) -> Self {
        let port = Port::reserve();
        let child = Self::run(home, &port, "first");
        let provider = Self { child, port };
        provider.ready().await;
        provider
    }

    fn run(home: &Path, port: &Port, key: &str) -> Child {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc/provider.mjs");
        Command::new("node")
            .arg(script)
            .args([&port.address().port().to_string(), key])
            .env("OIDC_HOME", home)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    async fn ready(&self) {
        until("the provider listens", async || {
            Wire::try_connect(self.port.address()).await.is_ok()
        })
        .await;
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it, and starts it anew with another key.
    async fn restart(&mut self, home: &Path, key: &str) {
        self.end();
        self.child = Self::run(home, &self.port, key);
        self.ready().await;
    }

    async fn post(&self, path: &str, form: &str) -> Answer {
        let host = self.port.address().to_string();
        // shop:a-secret-of-the-test
        let headers = [
            ("Host", host.as_str()),
            ("Authorization", "Basic c2hvcDphLXNlY3JldC1vZi10aGUtdGVzdA=="),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let mut wire = Wire::connect(self.port.address()).await;
        wire.ask(request("POST", path, &headers, form)).await
    }

    async fn token(&self, more: &str) -> String {
        let answer = self.post("/token", &format!("grant_type=client_credentials{more}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }
}

const FOR_API: &str = "&resource=urn:api&scope=orders";

async fn ask(gateway: &Gateway, path: &str, token: &str) -> (u16, Option<String>) {
    let bearer = format!("Bearer {token}");
    let answer = gateway.ask("GET", path, &[("Authorization", &bearer)], "").await;
    (answer.status, answer.reason().map(str::to_owned))
}

const INVALID: &str = "credentials_invalid";

#[tokio::test]
async fn its_tokens_open_routes_by_discovery() {
    let Some(home) = installed() else { return };
    let mut provider = Provider::start(&home).await;
    let echo = Echo::start("a").await;
    let (issuer, to) = (provider.port.address(), echo.address());
    let gateway = start(&format!(
        "identity:\n  idp: {{ jwt: {{ issuer: \"http://{issuer}\", audience: \"urn:api\" }} }}\n  \
         web: {{ jwt: {{ issuer: \"http://{issuer}\", audience: \"urn:web\" }} }}\nroutes:\n  \
         /a: {{ auth: {{ any_of: idp, scopes: [orders] }}, to: \"http://{to}\" }}\n  \
         /money: {{ auth: {{ any_of: idp, scopes: [money] }}, to: \"http://{to}\" }}\n  \
         /web: {{ auth: web, to: \"http://{to}\" }}\n"
    ))
    .await;
    let answer = gateway.get("/a").await;
    assert_eq!((answer.status, answer.reason()), (401, Some("credentials_missing")));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"idp\""));

    let token = provider.token(FOR_API).await;
    assert_eq!(ask(&gateway, "/a", &token).await, (200, None));
    assert_eq!(echo.last().header("x-user-id"), Some("shop"));
    assert_eq!(ask(&gateway, "/money", &token).await, (403, Some("forbidden".into())));
    assert_eq!(
        ask(&gateway, "/web", &token).await,
        (403, Some(INVALID.into())),
        "not its audience"
    );

    // One letter of the claims is another.
    let place = token.find('.').unwrap() + 20;
    let other = if &token[place..=place] == "A" { "B" } else { "A" };
    let tampered = format!("{}{other}{}", &token[..place], &token[place + 1..]);
    assert_eq!(ask(&gateway, "/a", &tampered).await, (403, Some(INVALID.into())));

    // Its key changes: a token of the new one is believed once the keys have been fetched again.
    provider.restart(&home, "second").await;
    let next = provider.token(FOR_API).await;
    until("the new key is known", async || ask(&gateway, "/a", &next).await.0 == 200).await;

    // It is away: what is known of its keys is enough.
    let last = provider.token(FOR_API).await;
    provider.end();
    assert_eq!(ask(&gateway, "/a", &last).await, (200, None));
}

#[tokio::test]
async fn its_opaque_tokens_are_asked_about() {
    let Some(home) = installed() else { return };
    let provider = Provider::start(&home).await;
    let echo = Echo::start("a").await;
    let (issuer, to) = (provider.port.address(), echo.address());
    let gateway = start(&format!(
        "identity:\n  idp:\n    introspection:\n      url: \
         \"http://{issuer}/token/introspection\"\n      client_id: shop\n      client_secret: \
         a-secret-of-the-test\n      cache: 0s\n      name_claim: client_id\nroutes:\n  \
         /a: {{ auth: idp, to: \"http://{to}\" }}\n"
    ))
    .await;
    let token = provider.token("").await;
    assert!(!token.contains('.'), "it is opaque");
    assert_eq!(ask(&gateway, "/a", &token).await, (200, None));
    assert_eq!(echo.last().header("x-user-id"), Some("shop"));
    assert_eq!(ask(&gateway, "/a", "no-token-of-its").await, (403, Some(INVALID.into())));
    let revoked = provider.post("/token/revocation", &format!("token={token}")).await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(ask(&gateway, "/a", &token).await, (403, Some(INVALID.into())));
}
