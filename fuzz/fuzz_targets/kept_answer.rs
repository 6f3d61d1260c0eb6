//! Answers as they come back from a store that others write to. No panic, nothing that cannot be
//! written again, and no memory beyond what there are bytes for.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lockgate_plugins::fuzz::kept_answer(data));
