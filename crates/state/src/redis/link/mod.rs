//! Connections: every thread keeps its own to every server, opened when first asked for and driven
//! by a task of the thread's runtime. Calls are pipelined on them. Nobody waits for a connection
//! longer than for an answer.

mod breaker;
mod lane;
mod node;
mod open;

pub(crate) use lane::Lane;
pub(crate) use node::{Asked, Fail, Node};
pub(crate) use open::{Dialer, said};
