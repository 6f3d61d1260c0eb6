//! Where state is kept: the stores that a configuration names, behind the traits of `core`. This
//! version keeps it in memory alone; what it holds is gone when the process ends.

mod blobs;
mod board;
mod clock;
mod count;
mod index;
mod memory;
mod table;
mod view;

pub use blobs::MemoryBlobs;
pub use board::Refused;
pub use memory::{Bounds, Memory};
pub use view::{Figures, Listed};
