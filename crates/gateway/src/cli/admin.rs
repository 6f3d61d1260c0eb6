//! Questions and orders to a running gateway, over its admin listener.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::output;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MOST: usize = 16 << 20;

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

    /// The same with something to say, and with a body that an unhealthy gateway has for an answer
    /// too.
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
        let asking = self.exchange(method, path, body.into());
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        let (status, body) = answer.context("the gateway does not answer")??;
        let value: Value = serde_json::from_slice(&body).with_context(|| {
            format!("the answer to {path} is not JSON: does a Lockgate listen?")
        })?;
        match value.get("detail").and_then(Value::as_str) {
            Some(detail) if !status.is_success() => bail!("the gateway refuses: {detail}"),
            _ => Ok(value),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let stream = TcpStream::connect(self.address).await.with_context(|| {
            format!("no gateway answers on {}: is it running with this file?", self.address)
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body))?;
        let talking = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            #[expect(clippy::disallowed_methods, reason = "it is limited")]
            let body = Limited::new(answer.into_body(), MOST).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("reading the answer: {error}"))?;
            anyhow::Ok((status, body.to_bytes()))
        };
        tokio::pin!(connection);
        tokio::pin!(talking);
        tokio::select! {
            biased;
            answer = &mut talking => answer,
            ended = &mut connection => match ended {
                // What has been answered is still to be read.
                Ok(()) => talking.await,
                Err(error) => Err(error).context("talking to the gateway"),
            }
        }
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
