//! `lockgate run`: the gateway itself.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::{ConfigFile, output};
use crate::control::Start;
use crate::kept::Kept;
use crate::source::Source;
use crate::upgrade::Inherited;

/// Run the gateway
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate run -c lockgate.yaml
  lockgate run -c /etc/lockgate/conf.d           all .yaml, .yml, .json, .toml
  lockgate run -c 'etcd://10.0.0.5:2379,10.0.0.6:2379/lockgate/'
  lockgate run -c 'rediss://gate:${env:REDIS_PASSWORD}@cache:6379/lockgate'

The source is watched: a change that checks out is live at once, one that does
not is refused and the old configuration stays. SIGHUP reloads and reopens
log files; SIGTERM and SIGINT drain, a second one ends at once; SIGUSR2 hands
over to the program as it is installed now (`lockgate upgrade`).
Its own log goes to stderr; LOCKGATE_LOG sets the level (info).")]
pub(crate) struct Run {
    #[command(flatten)]
    config: ConfigFile,
    /// Where the last good copy of a configuration from a URL or a directory is kept; without it
    /// $STATE_DIRECTORY, $XDG_STATE_HOME/lockgate or ~/.local/state/lockgate
    #[arg(long, value_name = "DIR", env = "LOCKGATE_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

impl Run {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        lockgate_telemetry::init_tracing().context("setting up the log")?;
        let state = self.state_dir;
        let mut source = match Source::open(self.config.config, state.as_deref()) {
            Ok(source) => source,
            Err(report) => return Ok(output::refuse(&report)),
        };
        let mut inherited = Inherited::take()?;
        let kept = Kept::open(source.begin(), state, inherited.lock())?;
        let is_successor = inherited.is_successor();
        let checked = match beside(|| source.start(kept.given(), is_successor))? {
            Ok(checked) => checked,
            Err(report) => return Ok(output::refuse(&report)),
        };
        output::warn(&checked.loaded);
        crate::control::run(Start { checked, kept, inherited, source: Some(source), demo: None })
    }
}

/// As much as a process's first thread usually has.
const STACK: usize = 8 << 20;

/// Does work on a thread that ends with it. The allocator keeps free pieces for each thread for as
/// long as there is one, and nothing after the start needs as many as reading a configuration does.
fn beside<T: Send>(work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new().name("reader".to_owned()).stack_size(STACK);
        let reader = reader.spawn_scoped(scope, work).context("starting a thread to read")?;
        reader.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}
