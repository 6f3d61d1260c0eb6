//! Dictionaries of a client's signature fields: whatever is read can be written, and reads back as
//! itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_plugins::fuzz::structured::{Member, dictionary, inner_list};

fuzz_target!(|text: &str| {
    let Ok(members) = dictionary(text) else { return };
    for (_, member) in members {
        let Member::Inner(items, parameters) = &member else { continue };
        let mut out = "k=".to_owned();
        inner_list(&mut out, items, parameters);
        let again = dictionary(&out).map(|mut again| again.remove(0).1);
        assert_eq!(again, Ok(member));
    }
});
