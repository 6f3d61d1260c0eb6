//! Real Redis servers, started by the test from the installed `redis-server` on free ports, and
//! ended with it.

mod cluster;
mod reply;
mod sentinel;
mod server;
mod strait;

pub use cluster::{Cluster, Moving};
pub use reply::{Reply, ask};
pub use sentinel::{MASTER, Sentinels};
pub use server::{RedisServer, RedisTls};
pub use strait::Strait;
