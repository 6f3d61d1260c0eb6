//! HTML as text, with everything that is not markup escaped.

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
        self.raw("<div class=wide><table><caption class=unseen>").text(caption).raw("</caption>");
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
        0.0 => "–".to_owned(),
        ..10.0 => format!("{value:.2} ms"),
        ..1000.0 => format!("{value:.0} ms"),
        _ => format!("{:.1} s", value / 1e3),
    }
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
    }
}
