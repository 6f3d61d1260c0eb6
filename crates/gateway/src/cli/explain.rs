//! `lockgate explain`: where a request would go, and why.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use http::header::{AUTHORIZATION, HOST};
use http::{Request, StatusCode};
use http_body_util::Full;
use lockgate_proxy::{Asked, Explanation};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ConfigFile, output, say};
use crate::asking::{self, Bounds};
use crate::gateway::{Checked, Gateway};
use crate::priority::Starter;

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(3), most: 4 << 20 };

/// Explain where a request goes: the route, its policies, its upstream
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate explain GET http://localhost:8080/users/1
  lockgate explain POST /orders -H 'Content-Type: application/json'
  lockgate explain GET http://api.example.com/v1/x -c other.yaml --json
  lockgate explain GET /users --admin 127.0.0.1:9901

A gateway that runs at the configuration's admin address is asked, as it knows
its endpoints' state; else the answer comes from the file alone.
Exit codes: 0 a route takes it, 1 none does, 2 the file cannot be read.")]
pub(crate) struct Explain {
    /// The method
    method: String,
    /// The URL, or just its path
    url: String,
    /// A request header, 'Name: value'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    #[command(flatten)]
    config: ConfigFile,
    /// Ask the gateway whose admin listener this is, and read no file
    #[arg(long, value_name = "ADDRESS", conflicts_with = "offline")]
    admin: Option<SocketAddr>,
    /// The admin token, where one is needed
    #[arg(long, value_name = "TOKEN", env = "LOCKGATE_ADMIN_TOKEN", hide_env_values = true)]
    #[arg(requires = "admin")]
    token: Option<String>,
    /// Do not ask a running gateway
    #[arg(long)]
    offline: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        let asked = Asked::new(&self.method, &self.url, &self.headers)
            .map_err(|error| anyhow::anyhow!(error))?;
        let told = match self.admin {
            Some(address) => ask(address, self.token.as_deref(), &asked)?
                .with_context(|| format!("nothing listens at {address}"))?,
            None => match output::load(&self.config.config) {
                Ok(checked) => self.by_config(checked, &asked)?,
                Err(code) => return Ok(code),
            },
        };
        if self.json {
            say(&serde_json::to_string_pretty(&told)?);
        } else {
            say(told.text().trim_end());
        }
        Ok(ExitCode::from(u8::from(told.target.is_none())))
    }
}

impl Explain {
    /// Asks the gateway that runs with this configuration, or else the configuration.
    fn by_config(&self, checked: Checked, asked: &Asked) -> anyhow::Result<Explanation> {
        let admin = &checked.loaded.document.admin;
        let live = match admin.address.filter(|_| !self.offline) {
            Some(address) => ask(address, admin.token.as_deref(), asked)?,
            None => None,
        };
        live.map_or_else(|| from_file(checked, asked), Ok)
    }
}

fn from_file(checked: Checked, asked: &Asked) -> anyhow::Result<Explanation> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let mut checked = checked;
    // Explaining must not touch the log file of a gateway that may be running.
    checked.loaded.document.telemetry.access_log = None;
    let gateway = Gateway::start(checked, 1, Starter::new()?)?;
    Ok(crate::explain::explain(&gateway.snapshot(), &gateway.read().source, asked, false))
}

/// Asks a running gateway; `None` when none listens there.
fn ask(
    address: SocketAddr,
    token: Option<&str>,
    asked: &Asked,
) -> anyhow::Result<Option<Explanation>> {
    let mut request = Request::builder()
        .uri(format!("/admin/explain?{}", asked.to_query()))
        .header(HOST, address.to_string());
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let connecting = timeout(BOUNDS.time, TcpStream::connect(address)).await;
        let Ok(Ok(stream)) = connecting else { return Ok(None) };
        asking::ask(stream, request, BOUNDS).await.map(Some)
    });
    let Some(answer) = answer.context("reading the gateway's answer")? else { return Ok(None) };
    if answer.status() != StatusCode::OK {
        bail!(
            "what listens at {address} does not explain (status {}); \
             --offline asks the file alone",
            answer.status().as_u16()
        );
    }
    serde_json::from_slice(answer.body())
        .map(Some)
        .context("the gateway's answer is not understood")
}
