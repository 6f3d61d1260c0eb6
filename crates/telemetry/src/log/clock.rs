//! Times as RFC 3339 in UTC with milliseconds. The calendar is worked out once a second at most.

use std::time::{SystemTime, UNIX_EPOCH};

/// Writes times, remembering the second it last wrote.
pub(super) struct Clock {
    second: u64,
    /// `2026-11-20T19:40:28`.
    text: [u8; 19],
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00" }
    }

    /// Appends `2026-11-20T19:40:28.123Z`.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let millis = self.turn(time);
        out.extend_from_slice(&self.text);
        push_millis(out, millis);
        out.push(b'Z');
    }

    /// Appends `19:40:28.123`.
    pub(super) fn push_time_of_day(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let millis = self.turn(time);
        out.extend_from_slice(self.text.get(11..).unwrap_or_default());
        push_millis(out, millis);
    }

    /// Moves to the time's second and returns its milliseconds. Before 1970 counts as 1970.
    fn turn(&mut self, time: SystemTime) -> u32 {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            self.text = calendar(self.second);
        }
        since.subsec_millis()
    }
}

/// A time as `2026-11-20T19:40:28.123Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let mut out = Vec::with_capacity(24);
    Clock::new().push(&mut out, time);
    String::from_utf8(out).unwrap_or_default()
}

fn push_millis(out: &mut Vec<u8>, millis: u32) {
    let digit = |n: u32| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis)]);
}

/// The Gregorian date and the time of a second since 1970, up to the year 9999.
fn calendar(second: u64) -> [u8; 19] {
    const LAST: u64 = 253_402_300_799;
    let second = second.min(LAST);
    let (mut days, of_day) = (second / 86_400, second % 86_400);
    let mut year = 1970;
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let february = if days_of_year(year) == 366 { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let mut text = *b"0000-00-00T00:00:00";
    let numbers = [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, days + 1),
        (11, of_day / 3_600),
        (14, of_day / 60 % 60),
        (17, of_day % 60),
    ];
    for (place, number) in numbers {
        if let Some([tens, ones]) = text.get_mut(place..place + 2) {
            *tens = b'0' + (number / 10) as u8;
            *ones = b'0' + (number % 10) as u8;
        }
    }
    text
}

fn days_of_year(year: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if leap { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn written(seconds: u64, millis: u64) -> String {
        let mut out = Vec::new();
        let time = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis);
        Clock::new().push(&mut out, time);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_moments_are_written_right() {
        assert_eq!(written(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(written(951_782_399, 9), "2000-02-28T23:59:59.009Z");
        assert_eq!(written(951_868_799, 90), "2000-02-29T23:59:59.090Z");
        assert_eq!(written(1_709_251_199, 999), "2024-02-29T23:59:59.999Z");
        assert_eq!(written(1_709_251_200, 0), "2024-03-01T00:00:00.000Z");
        assert_eq!(written(4_107_542_399, 0), "2100-02-28T23:59:59.000Z");
        assert_eq!(written(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
        assert_eq!(written(u64::MAX >> 2, 0), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn a_clock_that_goes_back_is_followed() {
        let mut clock = Clock::new();
        let mut out = Vec::new();
        clock.push(&mut out, UNIX_EPOCH + Duration::from_secs(100));
        out.clear();
        clock.push(&mut out, UNIX_EPOCH + Duration::from_secs(40));
        assert_eq!(out, b"1970-01-01T00:00:40.000Z");
    }
}
