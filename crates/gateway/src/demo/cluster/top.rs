//! What stands above the gateways: a Lockgate, nginx or HAProxy, each with the example's file.

use anyhow::Context;

use super::{Cluster, DEFAULT_PORT_BASE};
use crate::demo::processes::{Processes, installed};

pub(super) const LOCKGATE: &str = include_str!("../../../../../examples/cluster/top.yaml");
pub(super) const NGINX: &str = include_str!("../../../../../examples/cluster/nginx.conf");
pub(super) const HAPROXY: &str = include_str!("../../../../../examples/cluster/haproxy.cfg");

/// How many gateways the examples name.
const WRITTEN: u16 = 3;
/// What the process is called.
const NAME: &str = "top";

/// Which balancer stands above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Top {
    Lockgate,
    Nginx,
    Haproxy,
}

impl Top {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lockgate => "Lockgate",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
        }
    }

    /// Its example, and the file that it is run from.
    fn file(self) -> (&'static str, &'static str) {
        match self {
            Self::Lockgate => (LOCKGATE, "top.yaml"),
            Self::Nginx => (NGINX, "nginx.conf"),
            Self::Haproxy => (HAPROXY, "haproxy.cfg"),
        }
    }

    /// A gateway as the example writes it, and what stands between two.
    fn item(self, number: u16) -> (String, &'static str) {
        let address = format!("127.0.0.1:{}", DEFAULT_PORT_BASE + number);
        match self {
            Self::Lockgate => (format!("\"{address}\""), ", "),
            Self::Nginx => (format!("server {address} max_fails=2 fail_timeout=2s;"), "\n        "),
            Self::Haproxy => (format!("server gateway-{number} {address}"), "\n    "),
        }
    }

    fn items(self, count: u16) -> String {
        let all: Vec<String> = (1..=count).map(|number| self.item(number).0).collect();
        all.join(self.item(1).1)
    }

    /// The example, with this many gateways.
    fn text(self, cluster: Cluster, count: u16) -> String {
        let text = self.file().0.replace(&self.items(WRITTEN), &self.items(count));
        cluster.with_ports(&text)
    }

    /// The commands by which it is told of one more gateway than it has.
    pub(super) fn add(self, cluster: Cluster, count: u16, processes: &Processes) -> String {
        let ((last, between), (next, _)) = (self.item(count), self.item(count + 1));
        let (last, next) = (cluster.with_ports(&last), cluster.with_ports(&next));
        let between = between.replace('\n', "\\n");
        let file = processes.folder().join(self.file().1);
        let edit = format!("sed -i 's|{last}|&{between}{next}|' {}", file.display());
        let own = processes.list().find(|(name, _)| *name == NAME);
        let id = own.map(|(_, id)| id).unwrap_or_default();
        match self {
            // It sees the change by itself.
            Self::Lockgate => edit,
            Self::Nginx => format!("{edit} && kill -HUP {id}"),
            Self::Haproxy => format!("{edit} && kill -USR2 {id}"),
        }
    }
}

/// Starts it above this many gateways.
pub(super) async fn start(
    cluster: Cluster,
    count: u16,
    processes: &mut Processes,
) -> anyhow::Result<()> {
    let (_, name) = cluster.top.file();
    let file = processes.write(name, &cluster.top.text(cluster, count))?.display().to_string();
    let folder = processes.folder().display().to_string();
    let port = cluster.port_base;
    match cluster.top {
        Top::Lockgate => processes.start_own(NAME, port, &["run", "-c", &file], &[]).await,
        Top::Nginx => {
            let program = found("nginx")?;
            processes.start(NAME, port, &[&program, "-p", &folder, "-c", &file], &[]).await
        }
        Top::Haproxy => {
            let program = found("haproxy")?;
            processes.start(NAME, port, &[&program, "-W", "-db", "-f", &file], &[]).await
        }
    }
}

fn found(program: &str) -> anyhow::Result<String> {
    let file = installed(program).with_context(|| {
        format!("{program} is not installed: install it, or take --top lockgate")
    })?;
    Ok(file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_example_can_have_any_number_of_gateways() {
        for top in [Top::Lockgate, Top::Nginx, Top::Haproxy] {
            let cluster = Cluster { gateways: 3, top, port_base: DEFAULT_PORT_BASE };
            assert_eq!(top.text(cluster, WRITTEN), top.file().0);
            let five = top.text(cluster, 5);
            assert_eq!(five.matches("127.0.0.1:808").count(), 6, "{five}");
            assert!(five.contains("127.0.0.1:8085") && !five.contains("127.0.0.1:8086"), "{five}");
            let one = top.text(cluster, 1);
            assert_eq!(one.matches("127.0.0.1:808").count(), 2, "{one}");
        }
    }
}
