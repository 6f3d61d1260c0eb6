//! Where state is kept: the stores that a configuration names, behind the traits of `core`. In
//! memory, where it is gone when the process ends, or on a Redis, which several gateways share.

mod blobs;
mod board;
mod clock;
mod count;
mod depot;
mod index;
mod leases;
mod memory;
mod records;
pub mod redis;
mod table;
mod tag;
mod view;

pub use blobs::MemoryBlobs;
pub use board::Refused;
pub use depot::{Depot, StoreSettings, Stores};
pub use leases::{LeaseBounds, MemoryLeases};
pub use memory::{Bounds, Memory};
pub use records::{MemoryRecords, RecordBounds};
pub use view::{Figures, Listed};
