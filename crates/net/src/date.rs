//! The `Date` of answers, written once a second by each worker.

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

/// Shows the current date to `see`.
pub(crate) fn with<R>(see: impl FnOnce(&HeaderValue) -> R) -> R {
    thread_local! {
        static LAST: RefCell<(u64, HeaderValue)> =
            const { RefCell::new((u64::MAX, HeaderValue::from_static(""))) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now {
            let written = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
            if let Ok(value) = HeaderValue::try_from(written) {
                (*second, *text) = (now, value);
            }
        }
        see(text)
    })
}
