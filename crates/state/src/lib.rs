//! Where state is kept: the stores behind the traits of `core`. Nothing here knows a request.

mod blobs;

pub use blobs::MemoryBlobs;
