//! A program that is told: started without a shell and without this process's environment, given
//! the message on its standard input, and killed when it takes too long.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Fail;

/// A pipe takes this much without a reader; a message has no more.
pub(crate) const MOST: usize = 60 << 10;
/// How often a program is looked after.
const LOOK: Duration = Duration::from_millis(20);

/// Starts a program, by whatever thread it shall take its priority from.
pub type Spawn = Arc<dyn Fn(Command) -> io::Result<Child> + Send + Sync>;

/// Runs it to its end. Blocks: for a thread beside the runtime.
pub(crate) fn run(
    command: &[String],
    spawn: &Spawn,
    directory: &Path,
    message: &str,
    timeout: Duration,
) -> Result<(), Fail> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Fail::never("there is no program".to_owned()));
    };
    if message.len() > MOST {
        return Err(Fail::never(format!("the message has more than {MOST} bytes")));
    }
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        // Its secrets are not the program's.
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = spawn(command)
        .map_err(|error| Fail::later(format!("`{program}` cannot be started: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing may still do its work.
        let _ = stdin.write_all(message.as_bytes());
    }
    wait(&mut child, timeout)
}

#[expect(clippy::disallowed_methods, reason = "a thread beside the runtime has its own time")]
fn wait(child: &mut Child, timeout: Duration) -> Result<(), Fail> {
    let deadline = Instant::now() + timeout;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(Fail::later(format!("it ended with {status}"))),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Fail::later(format!("it did not end within {timeout:?}: killed")));
            }
            Err(error) => return Err(Fail::later(format!("it cannot be waited for: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Spawn {
        Arc::new(|mut command| command.spawn())
    }

    fn sh(script: &str, timeout: u64) -> Result<(), Fail> {
        let command = ["sh", "-c", script].map(str::to_owned);
        run(&command, &here(), Path::new("/"), "{\"a\":1}", Duration::from_millis(timeout))
    }

    #[test]
    fn a_program_gets_the_message_and_nothing_else() {
        assert!(sh("test \"$(cat)\" = '{\"a\":1}'", 5_000).is_ok());
        assert!(sh("test -z \"$CARGO_MANIFEST_DIR\" && test -n \"$PATH\"", 5_000).is_ok());
        let ended = sh("exit 3", 5_000).unwrap_err();
        assert!(ended.why.contains("exit status: 3"), "{}", ended.why);
        let nowhere = ["/nowhere".to_owned()];
        let none = run(&nowhere, &here(), Path::new("/"), "", Duration::from_secs(1));
        assert!(none.unwrap_err().why.contains("cannot be started"));
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let late = sh("sleep 60", 100).unwrap_err();
        assert!(late.why.contains("killed"), "{}", late.why);
    }
}
