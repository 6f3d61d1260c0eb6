//! Real Redis servers, started by the test from the installed `redis-server` on free ports, and
//! ended with it.

mod reply;
mod server;

pub use reply::{Reply, ask};
pub use server::RedisServer;
