//! The proxies that are measured, and the configuration that makes them do the same work.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::load::Load;
use super::{measure, need};

/// A running proxy.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    process: Option<Child>,
    plain: u16,
    tls: u16,
}

impl Drop for Rival {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        for pid in measure::children(process.id()) {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
        let _ = process.kill();
        let _ = process.wait();
    }
}

impl Rival {
    /// Starts them all, each on the first core with one worker. `direct` is no proxy at all: the
    /// backend itself, for the latency that a proxy adds.
    pub(crate) fn start_all(
        makes: &[(&'static str, Make)],
        lockgate: &Path,
        dir: &Path,
        backend: u16,
    ) -> Result<Vec<Self>> {
        let mut rivals = vec![Self { name: "direct", process: None, plain: backend, tls: 0 }];
        for &(name, make) in makes {
            let [plain, tls, admin] = free_ports()?;
            let ports = Ports { plain, tls, admin, backend };
            let mut command = make(lockgate, dir, &ports)?;
            let log = fs::File::create(dir.join(format!("{name}.log")))?;
            command.stdout(log.try_clone()?).stderr(log).stdin(Stdio::null());
            let process = command.spawn().with_context(|| format!("starting {name}"))?;
            let rival = Self { name, process: Some(process), plain, tls };
            rival.wait()?;
            rivals.push(rival);
        }
        Ok(rivals)
    }

    fn wait(&self) -> Result<()> {
        for _ in 0..250 {
            if TcpStream::connect(("127.0.0.1", self.plain)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} does not listen: see target/bench/{}.log", self.name, self.name)
    }

    /// The port for a kind of load; `None` where it does not serve that.
    pub(crate) fn port_for(&self, load: &Load) -> Option<u16> {
        match (load.tls(), self.process.is_some()) {
            (false, true) => Some(self.plain),
            (true, true) => Some(self.tls),
            // The backend alone is the measure of latency only.
            (false, false) => matches!(load, Load::Rate { .. }).then_some(self.plain),
            (true, false) => None,
        }
    }

    /// Whether it is one of the proxies, and not the backend alone.
    pub(crate) fn is_proxy(&self) -> bool {
        self.process.is_some()
    }

    /// Ends it as an operator does, so that it has time for its last words.
    pub(crate) fn end(mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        Command::new("kill").args(["-TERM", &process.id().to_string()]).status()?;
        for _ in 0..500 {
            if process.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        process.kill()?;
        bail!("{} did not end when it was asked to", self.name)
    }

    /// Its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let Some(process) = &self.process else { return Vec::new() };
        let mut pids = vec![process.id()];
        pids.extend(measure::children(process.id()));
        pids
    }
}

/// Where a proxy listens, and where its backend is.
pub(crate) struct Ports {
    plain: u16,
    tls: u16,
    admin: u16,
    backend: u16,
}

/// Writes a proxy's configuration, and gives the command that runs it. The first path is
/// Lockgate's binary, the second the folder for files.
pub(crate) type Make = fn(&Path, &Path, &Ports) -> Result<Command>;

/// What everything is compared to.
pub(crate) const NGINX: (&str, Make) = ("nginx", nginx);

/// The proxies of the comparison.
pub(crate) const ALL: &[(&str, Make)] = &[
    NGINX,
    ("haproxy", haproxy),
    ("lockgate-bare", lockgate_bare),
    ("lockgate-full", lockgate_full),
];

fn free_ports() -> Result<[u16; 3]> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let (a, b, c) = (bind()?, bind()?, bind()?);
    Ok([a.local_addr()?.port(), b.local_addr()?.port(), c.local_addr()?.port()])
}

fn on_first_core(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

/// A certificate for 127.0.0.1, made anew for each run: ECDSA, as most are now.
pub(crate) fn certificate(dir: &Path) -> Result<()> {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(dir)
        .output()?;
    if !output.status.success() {
        bail!("openssl made no certificate: {}", String::from_utf8_lossy(&output.stderr));
    }
    let both = [fs::read(dir.join("cert.pem"))?, fs::read(dir.join("key.pem"))?].concat();
    fs::write(dir.join("both.pem"), both)?;
    Ok(())
}

fn nginx(_: &Path, dir: &Path, ports: &Ports) -> Result<Command> {
    let text = format!(
        "worker_processes 1; daemon off; master_process on;
pid {dir}/nginx.pid; error_log {dir}/nginx-error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {dir}/nginx-body;
  proxy_temp_path {dir}/nginx-proxy; fastcgi_temp_path {dir}/nginx-f;
  uwsgi_temp_path {dir}/nginx-u; scgi_temp_path {dir}/nginx-s;
  upstream backend {{
    server 127.0.0.1:{backend}; keepalive 1024; keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{tls} ssl http2 backlog=4096;
    ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_buffering on; proxy_request_buffering off;
    }}
  }}
}}
",
        dir = dir.display(),
        plain = ports.plain,
        tls = ports.tls,
        backend = ports.backend,
    );
    let file = dir.join("nginx.conf");
    fs::write(&file, text)?;
    let mut command = on_first_core(need("nginx")?);
    command.arg("-c").arg(file);
    Ok(command)
}

fn haproxy(_: &Path, dir: &Path, ports: &Ports) -> Result<Command> {
    let text = format!(
        "global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend web
  bind 127.0.0.1:{plain} backlog 4096
  bind 127.0.0.1:{tls} ssl crt {dir}/both.pem alpn h2,http/1.1 backlog 4096
  option forwardfor
  default_backend b
backend b
  server s 127.0.0.1:{backend} pool-max-conn 2048
",
        dir = dir.display(),
        plain = ports.plain,
        tls = ports.tls,
        backend = ports.backend,
    );
    let file = dir.join("haproxy.cfg");
    fs::write(&file, text)?;
    let mut command = on_first_core(need("haproxy")?);
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn lockgate_bare(lockgate: &Path, dir: &Path, ports: &Ports) -> Result<Command> {
    Setup { name: "bare", ..Setup::BARE }.command(lockgate, dir, ports)
}

fn lockgate_full(lockgate: &Path, dir: &Path, ports: &Ports) -> Result<Command> {
    Setup { name: "full", log: true, upstream: RESILIENT, ..Setup::BARE }
        .command(lockgate, dir, ports)
}

/// An upstream with health checks, retries, breaker and outlier detection.
pub(crate) const RESILIENT: &str = "retry: { attempts: 2, on: [connect, 502, 503], budget: 20% }
    health: { path: /1k, interval: 5s }
    breaker: { failures: 50%, of_last: 20, open_for: 10s }
    outlier: { consecutive: 5, eject_for: 30s }";

/// What one Lockgate of a bench has on.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    /// A word for its files.
    pub(crate) name: &'static str,
    /// Access log and metrics.
    pub(crate) log: bool,
    /// More settings of the upstream.
    pub(crate) upstream: &'static str,
    /// Sections of its own.
    pub(crate) sections: &'static str,
    /// The route's policies.
    pub(crate) policies: &'static str,
}

impl Setup {
    /// A proxy and nothing else.
    pub(crate) const BARE: Self = Self {
        name: "bare",
        log: false,
        upstream: "retry: { attempts: 0 }\n    health: off",
        sections: "",
        policies: "",
    };

    /// Writes the configuration, and gives the command that runs it.
    pub(crate) fn command(&self, binary: &Path, dir: &Path, ports: &Ports) -> Result<Command> {
        let log = dir.join(format!("lockgate-{}-access.log", self.name));
        let _ = fs::remove_file(&log);
        let telemetry = match self.log {
            true => format!("access_log: {{ to: {}, format: json }}", log.display()),
            false => "access_log: off, metrics: off".to_owned(),
        };
        lockgate(binary, dir, ports, self, &telemetry)
    }
}

fn lockgate(
    binary: &Path,
    dir: &Path,
    ports: &Ports,
    setup: &Setup,
    telemetry: &str,
) -> Result<Command> {
    let text = format!(
        "workers: 1
listeners:
  web: \"127.0.0.1:{plain}\"
  tls:
    address: \"127.0.0.1:{tls}\"
    tls: {{ certificates: [{{ cert: {dir}/cert.pem, key: {dir}/key.pem }}] }}
admin: {{ address: \"127.0.0.1:{admin}\" }}
telemetry: {{ {telemetry} }}
upstreams:
  backend:
    endpoints: [\"127.0.0.1:{backend}\"]
    pool: {{ max_idle: 1024 }}
    {upstream}
{sections}routes:
  /*:
{policies}    to: backend
",
        dir = dir.display(),
        plain = ports.plain,
        tls = ports.tls,
        admin = ports.admin,
        backend = ports.backend,
        upstream = setup.upstream,
        sections = setup.sections,
        policies = setup.policies,
    );
    let file = dir.join(format!("lockgate-{}.yaml", setup.name));
    fs::write(&file, text)?;
    let mut command = on_first_core(binary);
    command.args(["run", "-c"]).arg(file).env("LOCKGATE_LOG", "warn");
    Ok(command)
}
