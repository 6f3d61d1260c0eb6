//! How long a lookup takes.
fn main() {}
