//! Anything as a token: nothing panics, and nothing is believed that was not signed as it stands.

use proptest::prelude::*;

use super::super::token::Token;
use super::{claims, judge, own, signed};
use crate::cases::runtime;

proptest! {
    #[test]
    fn no_text_is_believed(text in "[ -~]{0,200}") {
        let runtime = runtime();
        let _inside = runtime.enter();
        prop_assert!(judge(&*own(), &text).is_err());
    }

    #[test]
    fn no_shape_of_a_token_is_believed(
        header in "[A-Za-z0-9_-]{0,60}",
        claims in "[A-Za-z0-9_-]{0,60}",
        signature in "[A-Za-z0-9_=-]{0,60}",
    ) {
        let token = format!("{header}.{claims}.{signature}");
        prop_assert!(Token::read(&token, 8192).is_err(), "{token}");
    }

    /// A good signature opens the way to whatever stands before it.
    #[test]
    fn any_signed_parts_are_read_without_panic(header in ".{0,80}", claims in ".{0,80}") {
        let runtime = runtime();
        let _inside = runtime.enter();
        prop_assert!(judge(&*own(), &signed(&header, &claims)).is_err());
    }

    #[test]
    fn a_token_with_one_letter_changed_is_not_believed(at in 0..10_000_usize, to in "[!-~]") {
        let runtime = runtime();
        let _inside = runtime.enter();
        let token = signed(r#"{"alg":"HS256","typ":"JWT"}"#, &claims());
        let at = at % token.len();
        let other = format!("{}{to}{}", &token[..at], &token[at + 1..]);
        let own = own();
        prop_assert!(judge(&*own, &token).is_ok());
        prop_assert_eq!(judge(&*own, &other).is_ok(), other == token);
    }

    #[test]
    fn keys_of_any_bytes_are_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let allowed = super::super::algorithm::Allowed::default();
        let _ = super::super::keys::read(&text, &allowed, true);
        let _ = super::super::key::Key::pem(&text, &allowed);
    }
}
