//! The terminal as the screen takes it, and as it gives it back: by every way that the program can
//! end but a SIGKILL.

use std::io;
use std::thread;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc::{Receiver, channel};

/// Keys that wait to be heeded.
const QUEUE: usize = 64;

/// A terminal that is given back when this is dropped, or when the program panics.
pub(super) struct Taken(DefaultTerminal);

impl Taken {
    /// Takes the terminal: a screen of its own, each key as it is pressed, and a hook that gives
    /// it all back before a panic is told.
    ///
    /// # Errors
    /// When the terminal does not let itself be taken.
    pub(super) fn take() -> io::Result<Self> {
        Ok(Self(ratatui::try_init()?))
    }

    /// The terminal to draw on.
    pub(super) fn terminal(&mut self) -> &mut DefaultTerminal {
        &mut self.0
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to be given back.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// What happens at the terminal: keys, and changes of its size. Ends when there is no more input.
///
/// # Errors
/// When the system gives no thread for it.
pub(super) fn events() -> io::Result<Receiver<Event>> {
    let (sender, events) = channel(QUEUE);
    // A read cannot be called off: the thread ends with the process.
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(events)
}
