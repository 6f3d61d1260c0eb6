//! What another gateway had, and this one takes over once that one has ended: the directory of
//! what is kept, with all that has been changed there meanwhile.

use crate::change::Cause;
use crate::running::Running;
use crate::source::Source;

impl Running {
    /// Asks for the right to keep changes, where it is not had. What another gateway has changed
    /// until now is then in force here too.
    pub(crate) async fn take_over(&mut self, source: &mut Option<Source>) {
        // A successor that is starting shall have it.
        if self.successor.is_some() || !self.kept.take_over() {
            return;
        }
        tracing::info!("changes through the admin interface are kept by this gateway now");
        self.kept.overrides.take_over(&self.gateway.snapshot().upstreams);
        let read = self.gateway.read();
        if self.kept.text() != read.source.changes().map_or("", |(_, text)| text) {
            let _ = self.reload(source).await;
        } else {
            let generation = self.gateway.snapshot().generation;
            self.remember(generation, Cause { via: "start", who: "" }, Vec::new());
        }
    }
}
