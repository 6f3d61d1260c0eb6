//! Stores, against real servers that the tests start themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod blobs;
mod conform;
mod counters;
mod garbage;
mod grounds;
mod leases;
mod link;
mod records;
mod servers;
mod shared_blobs;
