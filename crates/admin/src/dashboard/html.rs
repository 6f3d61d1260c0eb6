//! HTML as text, with everything that is not markup escaped.

use std::time::{SystemTime, UNIX_EPOCH};

use lockgate_proxy::percent_encoded;

/// A piece of a page.
#[derive(Default)]
pub(crate) struct Html(String);

impl Html {
    pub(crate) fn new() -> Self {
        Self(String::with_capacity(8 << 10))
    }

    /// Markup that is written in this program.
    pub(crate) fn raw(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text from anywhere, also inside of a quoted attribute.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        for one in text.chars() {
            match one {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        self
    }

    /// A table's head; a cell that begins with `#` is of numbers.
    pub(crate) fn head(&mut self, caption: &str, cells: &[&str]) -> &mut Self {
        self.wide(caption).raw("<table><caption class=unseen>").text(caption).raw("</caption>");
        self.raw("<thead><tr>");
        for cell in cells {
            match cell.strip_prefix('#') {
                Some(cell) => self.raw("<th scope=col class=num>").text(cell),
                None => self.raw("<th scope=col>").text(cell),
            };
            self.raw("</th>");
        }
        self.raw("</tr></thead><tbody>")
    }

    /// The begin of what scrolls by itself where it is too wide, by keys too.
    pub(crate) fn wide(&mut self, name: &str) -> &mut Self {
        self.raw("<div class=wide tabindex=0 role=region aria-label=\"").text(name).raw("\">")
    }

    /// A figure that can be read from afar.
    pub(crate) fn tile(&mut self, class: &str, value: &str, name: &str) -> &mut Self {
        self.raw("<div class=tile><b class=\"").raw(class).raw("\">").text(value);
        self.raw("</b><span>").text(name).raw("</span></div>")
    }

    /// A cell with a bar for a share of a whole, which stands there as a number too.
    pub(crate) fn bar(&mut self, class: &str, share: f64) -> &mut Self {
        let part = 100.0 * share.clamp(0.0, 1.0);
        self.raw(
            "<td class=bar><svg viewBox=\"0 0 100 8\" preserveAspectRatio=none aria-hidden=true>",
        );
        self.raw("<rect class=whole width=100 height=8 rx=3 />");
        self.raw(&format!("<rect class=\"{class}\" width={part:.1} height=8 rx=3 /></svg> "));
        self.text(&format!("{part:.0} %")).raw("</td>")
    }

    /// A link to another page of the dashboard.
    pub(crate) fn link(&mut self, to: &str, text: &str) -> &mut Self {
        self.raw("<a href=\"").text(to).raw("\">").text(text).raw("</a>")
    }

    /// A word on what came of a form.
    pub(crate) fn notice(&mut self, class: &str, text: &str) -> &mut Self {
        self.raw(&format!("<p class=\"notice {class}\" role=status>")).text(text).raw("</p>")
    }

    /// A cell of text.
    pub(crate) fn cell(&mut self, text: &str) -> &mut Self {
        self.raw("<td>").text(text).raw("</td>")
    }

    /// A cell of a number.
    pub(crate) fn number(&mut self, text: &str) -> &mut Self {
        self.raw("<td class=num>").text(text).raw("</td>")
    }

    /// The table's end, with what is said when it has no rows.
    pub(crate) fn tail(&mut self, rows: usize, none: &str) -> &mut Self {
        self.raw("</tbody></table></div>");
        if rows == 0 {
            self.raw("<p class=none>").text(none).raw("</p>");
        }
        self
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

/// Percent-encodes what stands in a query.
pub(crate) fn encoded(text: &str) -> String {
    percent_encoded(text, b"")
}

/// A count that a person can read: 1,234,567.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in the unit that fits.
pub(crate) fn bytes(number: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (number as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = units.get(unit).unwrap_or(&"B");
    if value >= 100.0 || *unit == "B" {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// Milliseconds with as many digits as mean something.
pub(crate) fn ms(value: f64) -> String {
    match value {
        ..0.005 => "–".to_owned(),
        ..10.0 => format!("{value:.2} ms"),
        ..1000.0 => format!("{value:.0} ms"),
        _ => format!("{:.1} s", value / 1e3),
    }
}

/// A rate.
pub(crate) fn per_second(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        ..0.1 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => count(value.round() as u64),
    }
}

/// A share, in percent.
pub(crate) fn percent(part: f64, whole: f64) -> String {
    match 100.0 * part / whole {
        share if whole <= 0.0 || share == 0.0 => "0 %".to_owned(),
        share if share < 10.0 => format!("{share:.2} %"),
        // Not all is never told as all.
        share if share > 99.0 => format!("{} %", (share * 10.0).floor() / 10.0),
        share => format!("{share:.0} %"),
    }
}

/// The seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// How long ago a moment was, in seconds.
pub(crate) fn since(time: SystemTime) -> u64 {
    SystemTime::now().duration_since(time).unwrap_or_default().as_secs()
}

/// The time of day (UTC) of seconds since 1970.
pub(crate) fn clock(seconds: u64) -> String {
    let of_day = seconds % 86_400;
    format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// The date and time (UTC) of seconds since 1970.
pub(crate) fn date(seconds: u64) -> String {
    // Days since 1 March of year 0, in years that end with February: a leap day then comes last.
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (era * 400 + year, month + 3),
        _ => (era * 400 + year + 1, month - 9),
    };
    format!("{year}-{month:02}-{day:02} {}", clock(seconds))
}

/// How long ago that was, or how long until then.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut html = Html::new();
        html.raw("<i title=\"").text("a\"b'<script>&").raw("\">");
        assert_eq!(html.into_string(), "<i title=\"a&quot;b&#39;&lt;script&gt;&amp;\">");
    }

    #[test]
    fn numbers_can_be_read() {
        assert_eq!(
            (count(0), count(999), count(1_234_567)),
            ("0".into(), "999".into(), "1,234,567".into())
        );
        assert_eq!(
            (bytes(12), bytes(1536), bytes(300 << 20)),
            ("12 B".into(), "1.5 KiB".into(), "300 MiB".into())
        );
        assert_eq!(
            (ms(0.123), ms(45.6), ms(2500.0)),
            ("0.12 ms".into(), "46 ms".into(), "2.5 s".into())
        );
        assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
        assert_eq!(
            (per_second(0.0), per_second(0.04), per_second(1234.4)),
            ("0".into(), "0.04".into(), "1,234".into())
        );
        assert_eq!(
            (percent(0.0, 0.0), percent(1.0, 300.0), percent(1.0, 2.0)),
            ("0 %".into(), "0.33 %".into(), "50 %".into())
        );
    }
    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, told) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_709_251_199, "2024-02-29 23:59:59"),
            (1_709_251_200, "2024-03-01 00:00:00"),
            (1_798_761_599, "2026-12-31 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(date(seconds), told);
        }
    }
}
