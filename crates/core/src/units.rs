//! The values that a configuration file writes with a unit: `250ms`, `64KB`, `100/min`, `20%`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A length of time: `250ms`, `5s`, `2m`, `24h`, `7d`; zero is `0s`. At most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub Duration);

/// A number of bytes: `512B`, `64KB` (thousands), `1MiB` (1024s).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(pub u64);

/// So many in a window: `100/min`, `10/s`, `20/2s`, `5000/day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many; at least one.
    pub count: u64,
    /// In how long; more than zero.
    pub window: Duration,
}

/// A share from `0%` to `100%`, kept as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Percent(pub f64);

const TEN_YEARS: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Longest unit first, so that writing finds the shortest form.
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration such as 250ms, 5s, 2m, 24h or 7d");
        let (number, unit) = split_number(text);
        let unit = if unit == "min" { "m" } else { unit };
        let (_, millis) = TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let time = number.checked_mul(*millis).map(Duration::from_millis);
        time.filter(|time| *time <= TEN_YEARS)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is longer than ten years"))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return f.write_str("0s");
        }
        let fits = TIMES.iter().find(|(_, unit)| millis % unit == 0);
        let (name, unit) = fits.unwrap_or(&("ms", 1));
        write!(f, "{}{name}", millis / unit)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size such as 512B, 64KB or 1MiB");
        let (number, unit) = split_number(text);
        let unit = unit.trim_start();
        let found = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let (_, bytes) = found.ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(*bytes).map(Self).ok_or_else(|| format!("`{text}` is too large"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = SIZES.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (name, unit) = fits.unwrap_or(&("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate such as 100/min, 10/s, 20/2s or 5000/day");
        let (count, window) = text.split_once('/').ok_or_else(wrong)?;
        let count: u64 = count.trim().parse().map_err(|_| wrong())?;
        let window = match window.trim() {
            "s" | "sec" => "1s",
            "m" | "min" => "1m",
            "h" | "hour" => "1h",
            "d" | "day" => "1d",
            other => other,
        };
        let Time(window) = window.parse().map_err(|_| wrong())?;
        if count == 0 || window.is_zero() {
            return Err(format!("`{text}`: a rate lets at least one pass, in more than no time"));
        }
        Ok(Self { count, window })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window = Time(self.window).to_string();
        let window = match window.as_str() {
            "1s" => "s",
            "1m" => "min",
            "1h" => "h",
            "1d" => "day",
            other => other,
        };
        write!(f, "{}/{window}", self.count)
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
        number
            .filter(|n| (0.0..=100.0).contains(n))
            .map(|n| Self(n / 100.0))
            .ok_or_else(|| format!("`{text}` is not a percentage from 0% to 100%"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded to a thousandth, so that 0.07 prints as 7% and not as 7.000000000000001%.
        write!(f, "{}%", (self.0 * 100_000.0).round() / 1_000.0)
    }
}

macro_rules! text_form {
    ($name:ident, $example:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;
                impl Visitor<'_> for TextVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($example)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(TextVisitor)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string", "description": $example, "pattern": $pattern,
                })
            }
        }
    };
}

text_form!(Time, "a duration such as 250ms, 5s, 2m or 24h", "^[0-9]+(ms|s|m|min|h|d)$");
text_form!(Size, "a size such as 512B, 64KB or 1MiB", "^[0-9]+ ?([KMG]i?)?[Bb]$");
text_form!(Rate, "a rate such as 100/min, 10/s or 20/2s", "^[0-9]+/[0-9a-z]+$");
text_form!(Percent, "a percentage such as 20%", "^[0-9.]+ ?%$");

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_and_writes<T: FromStr<Err = String> + fmt::Display>(text: &str) -> String {
        text.parse::<T>().map_or_else(|error| error, |value| value.to_string())
    }

    #[test]
    fn each_unit_is_written_as_it_was_read() {
        for text in ["250ms", "5s", "2m", "23h", "7d", "0s", "1500ms"] {
            assert_eq!(reads_and_writes::<Time>(text), text);
        }
        for text in ["512B", "64KB", "1MiB", "3GiB", "0B"] {
            assert_eq!(reads_and_writes::<Size>(text), text);
        }
        for text in ["100/min", "10/s", "20/2s", "5000/day", "7/h"] {
            assert_eq!(reads_and_writes::<Rate>(text), text);
        }
        for text in ["20%", "0%", "100%", "7%", "0.5%"] {
            assert_eq!(reads_and_writes::<Percent>(text), text);
        }
    }

    #[test]
    fn what_is_not_a_unit_is_said_to_be_none() {
        for text in ["", "5", "s", "-1s", "5 s", "1.5s", "99999999999999999999s", "9999999d"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
        for text in ["", "KB", "-1KB", "99999999999GiB", "1TB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in ["", "100", "/min", "0/s", "5/0s", "5/fortnight", "-5/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["", "20", "101%", "-1%", "NaN%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
