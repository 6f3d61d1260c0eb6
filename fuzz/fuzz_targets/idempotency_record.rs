//! What is kept of an answer under an idempotency key, as a store may give it back: whatever reads
//! as a record is written as one that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lockgate_plugins::fuzz::idempotency_record(bytes));
