//! Questions and orders to a running gateway, over its admin listener.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::Value;
use tokio::net::TcpStream;

use super::output;
use crate::asking::{self, Bounds};

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(30), most: 16 << 20 };

/// Entries that are asked for at once, and the most that a list is asked for.
const PAGE: usize = 1000;
const MOST: usize = 100_000;

/// Where the gateway of a configuration can be asked.
pub(super) struct Admin {
    address: SocketAddr,
    token: Option<String>,
}

impl Admin {
    /// Of the gateway that runs with this file. What is wrong with the file has been printed when
    /// this gives an exit code instead.
    ///
    /// # Errors
    /// When the configuration has the admin listener off.
    pub(super) fn of(config: &Path) -> anyhow::Result<Result<Self, ExitCode>> {
        let document = match output::load(config) {
            Ok(checked) => checked.loaded.document,
            Err(code) => return Ok(Err(code)),
        };
        let Some(address) = document.admin.address else {
            bail!("`{}` says `admin: off`: a running gateway cannot be asked", config.display());
        };
        Ok(Ok(Self { address, token: document.admin.token }))
    }

    /// Asks, and gives back what was answered.
    ///
    /// # Errors
    /// When nobody answers, or the answer is a refusal: with its reason.
    pub(super) async fn ask(&self, method: Method, path: &str) -> anyhow::Result<Value> {
        self.order(method, path, None).await
    }

    /// Asks for a list until its last page has come: its entries, and what else the last one said.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub(super) async fn list(&self, path: &str, name: &str) -> anyhow::Result<(Vec<Value>, Value)> {
        let mut all = Vec::new();
        loop {
            let page = format!("{path}?limit={PAGE}&offset={}", all.len());
            let mut told = self.ask(Method::GET, &page).await?;
            let Some(Value::Array(entries)) = told.get_mut(name).map(Value::take) else {
                bail!("the answer to {path} has no `{name}`: does a Lockgate listen?");
            };
            let is_last = entries.len() < PAGE || all.len() >= MOST;
            all.extend(entries);
            if is_last {
                return Ok((all, told));
            }
        }
    }

    /// One question or order with something to say, and with a body that an unhealthy gateway has
    /// for an answer too.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub(super) async fn order(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<Value> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let body = self.send(method, path, body.into()).await?;
        serde_json::from_slice(&body)
            .with_context(|| format!("the answer to {path} is not JSON: does a Lockgate listen?"))
    }

    /// The same with whatever bodies there and back.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Bytes> {
        let stream = TcpStream::connect(self.address).await.with_context(|| {
            format!("no gateway answers on {}: is it running with this file?", self.address)
        })?;
        let answer = asking::ask(stream, self.request(method, path, body)?, BOUNDS).await;
        let (head, body) = answer.context("talking to the gateway")?.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let value: Option<Value> = serde_json::from_slice(&body).ok();
        match value.as_ref().and_then(|value| value.get("detail")).and_then(Value::as_str) {
            Some(detail) => bail!("the gateway refuses: {detail}"),
            // An unhealthy one tells all the same.
            None => Ok(body),
        }
    }

    /// Asks for what is no JSON, such as the metrics.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    #[cfg(feature = "top")]
    pub(super) async fn text(&self, path: &str) -> anyhow::Result<String> {
        let body = self.send(Method::GET, path, Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Where the gateway listens.
    #[cfg(feature = "top")]
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        Ok(request.body(Full::new(body))?)
    }
}

/// Runs a command against the gateway of a configuration, and gives the exit code.
///
/// # Errors
/// What it fails with, or the system when it gives no runtime.
pub(super) fn with<W: AsyncFnOnce(Admin) -> anyhow::Result<ExitCode>>(
    config: &Path,
    work: W,
) -> anyhow::Result<ExitCode> {
    let admin = match Admin::of(config)? {
        Ok(admin) => admin,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work(admin))
}
