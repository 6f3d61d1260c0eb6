//! Where the gateway keeps what it needs when it starts again: as told, as systemd says, or where
//! the user's programs keep such things.

use std::env;
use std::path::{Path, PathBuf};

use crate::systemd;

/// The directory, whether it is there or not.
///
/// # Errors
/// When nothing names one.
pub(super) fn of(told: Option<&Path>) -> Result<PathBuf, String> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let user = variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join("lockgate"));
    told.map(Path::to_owned).or_else(systemd::state_directory).or(user).ok_or_else(|| {
        "there is no directory for its last good copy: name one by `--state-dir`".to_owned()
    })
}
