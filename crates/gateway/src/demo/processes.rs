//! The demo's child processes: started with their output in files, waited for until they listen,
//! and ended with the demo however it ends. On Linux the kernel sees to that even when the demo is
//! killed: each child asks for it before it becomes its program.

use std::fs::{DirBuilder, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Longest wait for a process to listen, and for all of them to end when they are asked to.
const START_TIME: Duration = Duration::from_secs(20);
const END_TIME: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(10);
/// How many lines of a failed process's output are shown.
const SHOWN_LINES: usize = 12;

/// A folder of the demo's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn make(name: &str) -> anyhow::Result<Self> {
        let name = format!("lockgate-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("{}, a folder for the demo", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Process {
    name: String,
    child: Child,
}

/// The processes of one demo, in the order in which they were started.
pub(super) struct Processes {
    running: Vec<Process>,
    program: PathBuf,
    // After the processes, so that it goes once they have.
    folder: Folder,
}

impl Processes {
    /// None yet, with a folder for their files.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(super) fn new(demo: &str) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program's own file")?;
        Ok(Self { running: Vec::new(), program, folder: Folder::make(demo)? })
    }

    /// The folder that they run in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Writes a file into it.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.0.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Starts this program once more, with these arguments.
    pub(super) async fn start_own(
        &mut self,
        name: &str,
        port: u16,
        arguments: &[&str],
        env: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let program = self.program.display().to_string();
        self.start(name, port, &[&[program.as_str()], arguments].concat(), env).await
    }

    /// Starts a program and waits until something listens on its port.
    ///
    /// # Errors
    /// When the port is taken, or the program cannot be started, or ends, or takes too long; with
    /// the last lines of what it said.
    pub(super) async fn start(
        &mut self,
        name: &str,
        port: u16,
        words: &[&str],
        env: &[(&str, String)],
    ) -> anyhow::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpStream::connect(address).await.is_ok() {
            bail!(
                "port {port}, for {name}, is taken; end what holds it \
                 (`ss -ltnp 'sport = :{port}'` shows it), or choose others with --port-base"
            );
        }
        let log = File::create(self.log(name)).context("a file for a process's output")?;
        let mut command = Command::new(&self.program);
        command.args(["demo", "child", "--parent", &std::process::id().to_string(), "--"]);
        command.args(words).current_dir(&self.folder.0).stdin(Stdio::null());
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone()?).stderr(log);
        // Ctrl-C is for the demo, which ends them in their order.
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        self.running.push(Process { name: name.to_owned(), child });
        self.listens(name, address).await
    }

    async fn listens(&mut self, name: &str, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIME;
        while TcpStream::connect(address).await.is_err() {
            if let Some(ended) = self.ended() {
                bail!("{ended} ended instead of serving:\n{}", self.last_lines(&ended));
            }
            if Instant::now() > deadline {
                bail!("{name} does not listen on {address}:\n{}", self.last_lines(name));
            }
            sleep(STEP).await;
        }
        Ok(())
    }

    /// The name of one that has ended by itself; each is told of once.
    pub(super) fn ended(&mut self) -> Option<String> {
        let over = |process: &mut Process| !matches!(process.child.try_wait(), Ok(None));
        let place = self.running.iter_mut().position(over)?;
        Some(self.running.remove(place).name)
    }

    /// Each one's name and process id.
    pub(super) fn list(&self) -> impl Iterator<Item = (&str, u32)> {
        self.running.iter().map(|process| (process.name.as_str(), process.child.id()))
    }

    /// Asks all to end, those first that were started last, and kills what has not within a time.
    /// How many had to be killed.
    pub(super) async fn end(&mut self) -> usize {
        for process in self.running.iter().rev() {
            signal(&process.child, Signal::TERM);
        }
        let deadline = Instant::now() + END_TIME;
        while Instant::now() < deadline && !self.running.is_empty() {
            self.running.retain_mut(|process| matches!(process.child.try_wait(), Ok(None)));
            sleep(STEP).await;
        }
        let killed = self.running.len();
        self.kill();
        killed
    }

    fn kill(&mut self) {
        for mut process in self.running.drain(..) {
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.0.join(format!("{name}.log"))
    }

    fn last_lines(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.log(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // It has not been waited for, so the id is still its own.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// Becomes another program that ends with its parent, whose id is told lest it has gone already.
///
/// # Errors
/// When the program cannot be run, or the parent is no more.
pub(crate) fn become_child(parent: u32, words: &[String]) -> anyhow::Result<ExitCode> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    if std::os::unix::process::parent_id() != parent {
        bail!("the demo that this was started for has gone");
    }
    let (program, arguments) = words.split_first().context("no program to run")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| program.clone())
}

/// A port that is free now. Nothing keeps it so; who is slow or unlucky gets an error that says it.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("finding a free port")?;
    Ok(socket.local_addr()?.port())
}

/// Where a program is, if it is installed.
pub(super) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let usual = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut folders = std::env::split_paths(&path).chain(usual);
    folders.find_map(|folder| Some(folder.join(program)).filter(|file| file.is_file()))
}
