//! Quiet hours: `22:00-07:00 Europe/Berlin`. They begin and end by the wall clock of their zone,
//! summer time and all; the zones are a part of the program.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::{Offset, TimeZone};
use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// Hours of each day.
#[derive(Debug, Clone, PartialEq)]
pub struct Quiet {
    from: Time,
    to: Time,
    zone: TimeZone,
    written: String,
}

const EXPECTED: &str =
    "hours such as `22:00-07:00 Europe/Berlin` or `22:00-07:00 +02:00` (UTC unless said)";

impl Quiet {
    /// Whether this moment is in them: the first minute is, the last named is not.
    pub fn holds(&self, now: SystemTime) -> bool {
        let Ok(now) = Timestamp::try_from(now) else { return false };
        let clock = now.to_zoned_datetime(self.zone.clone()).time();
        match self.from <= self.to {
            true => self.from <= clock && clock < self.to,
            // Over midnight.
            false => self.from <= clock || clock < self.to,
        }
    }
}

impl FromStr for Quiet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` are not {EXPECTED}");
        let (hours, zone) = text.trim().split_once(' ').unwrap_or((text.trim(), "UTC"));
        let (from, to) = hours.split_once('-').ok_or_else(wrong)?;
        let (from, to) = (clock(from).ok_or_else(wrong)?, clock(to).ok_or_else(wrong)?);
        if from == to {
            return Err(format!("`{text}`: hours that end when they begin are none"));
        }
        let zone = zone.trim();
        let known = offset(zone).map(TimeZone::fixed).or_else(|| TimeZone::get(zone).ok());
        let known = known.ok_or_else(|| {
            format!("there is no time zone `{zone}`: name one such as Europe/Berlin, or +02:00")
        })?;
        Ok(Self { from, to, zone: known, written: text.trim().to_owned() })
    }
}

/// `07:30`.
fn clock(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    if !two(hour) || !two(minute) {
        return None;
    }
    let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
    // The end of the day is the begin of the next.
    if (hour, minute) == (24, 0) {
        return Some(Time::midnight());
    }
    Time::new(hour, minute, 0, 0).ok()
}

/// `+02:00`, `-05:30`, `UTC`, `Z`.
fn offset(text: &str) -> Option<Offset> {
    if matches!(text, "UTC" | "Z") {
        return Some(Offset::UTC);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "00"));
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let fits = (0..=14).contains(&hours) && (0..60).contains(&minutes);
    fits.then(|| Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok())?
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl<'de> Deserialize<'de> for Quiet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct QuietVisitor;
        impl Visitor<'_> for QuietVisitor {
            type Value = Quiet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quiet, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(QuietVisitor)
    }
}

impl Serialize for Quiet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Quiet {
    fn schema_name() -> Cow<'static, str> {
        "Quiet".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": EXPECTED })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        text.parse::<Timestamp>().unwrap().try_into().unwrap()
    }

    #[test]
    fn hours_follow_the_wall_clock_through_summer_time() {
        let berlin: Quiet = "22:00-07:00 Europe/Berlin".parse().unwrap();
        for (moment, quiet) in [
            // Winter: an hour before UTC.
            ("2026-01-10T20:59:59Z", false),
            ("2026-01-10T21:00:00Z", true),
            ("2026-01-11T05:59:59Z", true),
            ("2026-01-11T06:00:00Z", false),
            // Summer: two.
            ("2026-07-10T19:59:59Z", false),
            ("2026-07-10T20:00:00Z", true),
            ("2026-07-11T05:00:00Z", false),
            // The night in which the clocks go forward ends an hour earlier...
            ("2026-03-28T21:00:00Z", true),
            ("2026-03-29T04:59:59Z", true),
            ("2026-03-29T05:00:00Z", false),
            // ... and the one in which they go back, an hour later.
            ("2026-10-24T20:00:00Z", true),
            ("2026-10-25T05:59:59Z", true),
            ("2026-10-25T06:00:00Z", false),
        ] {
            assert_eq!(berlin.holds(at(moment)), quiet, "{moment}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_is_quiet_twice_and_one_that_is_left_out_is_short() {
        let back: Quiet = "02:00-03:00 Europe/Berlin".parse().unwrap();
        for (moment, quiet) in [
            ("2026-10-25T00:30:00Z", true),
            ("2026-10-25T01:30:00Z", true),
            ("2026-10-25T02:00:00Z", false),
            ("2026-03-29T00:59:59Z", false),
            ("2026-03-29T01:00:00Z", false),
        ] {
            assert_eq!(back.holds(at(moment)), quiet, "{moment}");
        }
    }

    #[test]
    fn offsets_and_utc_need_no_zone() {
        for (text, moment, quiet) in [
            ("12:00-13:00", "2026-05-01T12:30:00Z", true),
            ("12:00-13:00 UTC", "2026-05-01T13:00:00Z", false),
            ("12:00-13:00 +02:00", "2026-05-01T10:30:00Z", true),
            ("12:00-13:00 -05:30", "2026-05-01T17:30:00Z", true),
            ("00:00-24:00", "2026-05-01T17:30:00Z", true),
        ] {
            match text.parse::<Quiet>() {
                Ok(hours) => assert_eq!(hours.holds(at(moment)), quiet, "{text}"),
                Err(why) => assert!(why.contains("are none"), "{text}: {why}"),
            }
        }
    }

    #[test]
    fn what_are_no_hours_is_said() {
        for text in ["", "22-07", "22:00", "25:00-07:00", "22:00-07:60", "22:00-22:00", "2:00-3:00"]
        {
            assert!(text.parse::<Quiet>().is_err(), "{text}");
        }
        let why = "22:00-07:00 Europe/Berln".parse::<Quiet>().unwrap_err();
        assert!(why.contains("no time zone `Europe/Berln`"), "{why}");
    }
}
