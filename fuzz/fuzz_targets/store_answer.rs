//! What a Redis says that others write to, as messages and as the answers of scripts: limits,
//! leases, records, purges, kept answers, and who has which slot. No panic, and no number beyond
//! what is meant.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lockgate_state::redis::fuzz(bytes));
