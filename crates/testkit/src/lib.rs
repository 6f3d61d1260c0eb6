//! What end-to-end tests stand on: the real binary as a process, upstreams that can break in
//! every way, and clients that send exactly what they are told and read strictly.
//!
//! For tests alone, so what cannot go on panics with a sentence that says what was expected.
//! Nothing here waits without a bound, and nothing listens beyond 127.0.0.1.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test kit fails loudly"
)]

mod answer;
mod body;
mod browser;
mod dir;
mod echo;
mod echo_paths;
mod endpoint;
mod etcd;
mod frames;
mod gateway;
mod h2;
mod load;
mod metrics;
mod needed;
mod port;
mod program;
mod raw;
pub mod redis;
mod smtp;
mod socket;
mod tls;
mod wait;
mod wire;

pub use answer::Answer;
pub use body::{Pieces, Sender};
pub use browser::{Browser, Fetched};
pub use dir::Dir;
pub use echo::{Echo, Seen};
pub use endpoint::{Endpoint, serve_if_asked};
pub use etcd::Etcd;
pub use frames::{Frames, Verdict, block, frame};
pub use gateway::{Gateway, Launch, cli, request};
pub use h2::H2;
pub use load::{Load, Tally};
pub use metrics::Metrics;
pub use needed::{may_be_skipped, needs};
pub use port::{Full, Port};
pub use program::{Ran, run};
pub use raw::{Ended, Raw, Step};
pub use smtp::{Letter, Secured, Smtp};
pub use socket::Socket;
pub use tls::{Authority, Leaf, client_config, server_config};
pub use wait::{LIMIT, until, until_is, within};
pub use wire::{Fail, Head, Wire};
