//! How much in which part of the calendar (`5000/day`), and when its day begins (`+02:00`).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use lockgate_core::CalendarUnit;
use serde::de::{self, Deserialize, Deserializer};

/// So many in a day or a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(super) count: u64,
    pub(super) unit: CalendarUnit,
}

impl FromStr for Allowance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a quota such as 5000/day or 100000/month");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let unit = match unit.trim() {
            "day" => CalendarUnit::Day,
            "month" => CalendarUnit::Month,
            _ => return Err(wrong()),
        };
        match count.trim().parse() {
            Ok(count) if count > 0 => Ok(Self { count, unit }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Allowance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            CalendarUnit::Day => "day",
            CalendarUnit::Month => "month",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl<'de> Deserialize<'de> for Allowance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'_, str> = Deserialize::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Allowance {
    fn schema_name() -> Cow<'static, str> {
        "Allowance".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]+/(day|month)$" })
    }
}

/// Seconds by which a clock is ahead of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Offset(pub(super) i32);

impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if matches!(text, "UTC" | "Z") {
            return Ok(Self(0));
        }
        let read = || {
            let (sign, time) = match text.split_at_checked(1)? {
                ("+", time) => (1, time),
                ("-", time) => (-1, time),
                _ => return None,
            };
            let (hours, minutes) = time.split_once(':')?;
            let two = |text: &str, most: i32| {
                let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
                text.parse::<i32>().ok().filter(|number| digits && *number <= most)
            };
            Some(Self(sign * (two(hours, 14)? * 3_600 + two(minutes, 59)? * 60)))
        };
        read().ok_or_else(|| {
            format!("`{text}` is not an offset such as +02:00; names of places are not known here")
        })
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'_, str> = Deserialize::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Offset {
    fn schema_name() -> Cow<'static, str> {
        "Offset".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let pattern = "^(UTC|Z|[+-][0-9]{2}:[0-9]{2})$";
        schemars::json_schema!({ "type": "string", "pattern": pattern })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_and_offsets_are_read_strictly() {
        for text in ["5000/day", "1/month"] {
            assert_eq!(text.parse::<Allowance>().unwrap().to_string(), text);
        }
        for text in ["", "5", "0/day", "-1/day", "5/hour", "5/2day", "x/month"] {
            assert!(text.parse::<Allowance>().is_err(), "{text}");
        }
        for (text, seconds) in
            [("UTC", 0), ("+02:00", 7_200), ("-05:30", -19_800), ("+14:00", 50_400)]
        {
            assert_eq!(text.parse(), Ok(Offset(seconds)));
        }
        for text in ["", "+2:00", "02:00", "+15:00", "+02:60", "Europe/Berlin", "+0x:00", "é"] {
            assert!(text.parse::<Offset>().is_err(), "{text}");
        }
    }
}
