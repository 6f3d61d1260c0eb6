//! Days and months, as windows that begin and end when the calendar says so (proleptic Gregorian,
//! without leap seconds, as Unix counts).

use std::time::Duration;

/// A window of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Calendar {
    /// Which.
    pub unit: CalendarUnit,
    /// Seconds by which local time is ahead of UTC; within a day.
    pub offset_seconds: i32,
}

/// A unit of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CalendarUnit {
    /// From midnight to midnight.
    Day,
    /// From the first day's midnight to the next month's.
    Month,
}

const DAY: i64 = 86_400;

impl Calendar {
    /// The begin and the end of the window around a time; all since 1970 in UTC.
    pub fn around(&self, unix: Duration) -> (Duration, Duration) {
        let offset = i64::from(self.offset_seconds);
        let seconds = i64::try_from(unix.as_secs()).unwrap_or(i64::MAX / 2);
        let day = (seconds + offset).div_euclid(DAY);
        let (first, next) = match self.unit {
            CalendarUnit::Day => (day, day + 1),
            CalendarUnit::Month => {
                let (year, month) = month_of(day);
                let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                (first_day(year, month), first_day(next.0, next.1))
            }
        };
        let utc =
            |day: i64| Duration::from_secs(u64::try_from(day * DAY - offset).unwrap_or_default());
        (utc(first), utc(next))
    }
}

/// Days since 1970 of a month's first day. Years are taken to begin in March, so that the leap day
/// is a year's last.
fn first_day(year: i64, month: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_of_years =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 153 days in five months from March on; 719,468 days from March of the year 0 to 1970.
    days_of_years + (153 * month + 2) / 5 - 719_468
}

/// The year and month (1 to 12) in which a day since 1970 lies.
fn month_of(day: i64) -> (i64, i64) {
    // A year has at most 366 days, so the guess is never too late.
    let mut year = 1970 + day.div_euclid(366);
    while first_day(year + 1, 1) <= day {
        year += 1;
    }
    // Nor is this one, and at most one month early.
    let mut month = 1 + (day - first_day(year, 1)) / 31;
    if month < 12 && first_day(year, month + 1) <= day {
        month += 1;
    }
    (year, month)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the calendar day by day, which is slow and plainly right.
    fn walk(mut check: impl FnMut(i64, i64, i64, i64)) {
        let (mut year, mut month, mut first, mut day) = (1970, 1, 0, 0);
        while year < 2420 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            for _ in 0..length {
                check(day, first, first + length, year);
                day += 1;
            }
            first += length;
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        }
    }

    #[test]
    fn months_begin_and_end_with_the_calendar() {
        let month = Calendar { unit: CalendarUnit::Month, offset_seconds: 0 };
        walk(|day, first, next, year| {
            let noon = Duration::from_secs((day * DAY + DAY / 2) as u64);
            let (begin, end) = month.around(noon);
            assert_eq!(begin.as_secs() as i64, first * DAY, "day {day} of {year}");
            assert_eq!(end.as_secs() as i64, next * DAY, "day {day} of {year}");
        });
    }

    #[test]
    fn a_window_holds_its_begin_and_not_its_end() {
        for unit in [CalendarUnit::Day, CalendarUnit::Month] {
            let calendar = Calendar { unit, offset_seconds: 0 };
            let (begin, end) = calendar.around(Duration::from_secs(1_795_000_000));
            assert_eq!(calendar.around(begin), (begin, end));
            assert_eq!(calendar.around(end - Duration::from_nanos(1)), (begin, end));
            assert_eq!(calendar.around(end).0, end);
        }
    }

    #[test]
    fn an_offset_moves_the_midnight() {
        // 2026-11-30 23:30 UTC is December in Berlin's winter, and November in New York.
        let late = Duration::from_secs(1_796_081_400);
        let month =
            |hours: i32| Calendar { unit: CalendarUnit::Month, offset_seconds: hours * 3_600 };
        let december = 1_796_083_200;
        assert_eq!(month(0).around(late).1.as_secs(), december);
        assert_eq!(month(1).around(late).0.as_secs(), december - 3_600);
        assert_eq!(month(-5).around(late).1.as_secs(), december + 5 * 3_600);
    }
}
