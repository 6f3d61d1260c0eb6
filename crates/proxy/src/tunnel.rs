//! After a protocol switch: bytes both ways between the client and the upstream, until both sides
//! have ended or nothing has moved for the idle time.

use std::time::Duration;

use lockgate_core::Tunnel;
use lockgate_upstream::Upgraded;

/// A tunnel to an upstream's connection. The endpoint counts the request as in flight until the
/// tunnel ends.
pub(crate) fn between(far: Upgraded, idle: Duration) -> Tunnel {
    Box::new(move |near| {
        Box::pin(async move {
            let Upgraded { io, hold } = far;
            let outcome = lockgate_net::copy_both(near, io, idle).await;
            drop(hold);
            outcome
        })
    })
}
