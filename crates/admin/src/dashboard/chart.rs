//! Lines over the last hour, or as much of it as there is, as SVG. Their numbers stand beside them
//! as text, so that it is no loss where they cannot be seen.

use super::html::{Html, ms, per_second};

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 90.0;
/// Points of a line at most: more would only be bytes.
const POINTS: usize = 240;
/// What a chart can reach back: the shortest that shows everything.
const SPANS: [usize; 3] = [5 * 60, 15 * 60, 60 * 60];

/// What a chart's numbers are.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Unit {
    PerSecond,
    Milliseconds,
    Count,
}

/// One line.
pub(super) struct Line<'a> {
    /// Empty when it is the only one.
    pub(super) name: &'a str,
    /// Its look.
    pub(super) class: &'a str,
    /// The newest last.
    pub(super) values: Vec<f64>,
}

/// Draws lines over the same time, of values so many seconds apart.
pub(super) fn draw(html: &mut Html, title: &str, unit: Unit, every: usize, lines: &[Line<'_>]) {
    let most = lines.iter().flat_map(|line| &line.values).copied().fold(0.0, f64::max);
    let longest = lines.iter().map(|line| line.values.len()).max().unwrap_or_default();
    let span = SPANS.into_iter().find(|span| longest * every <= *span).unwrap_or(3600);
    let mut label = format!("{title} over {} minutes:", span / 60);
    html.raw("<figure class=chart><figcaption><b>").text(title).raw("</b>");
    for line in lines {
        let now = unit.told(line.values.last().copied().unwrap_or_default());
        html.raw(&format!(" <span class=\"key {}\">", line.class)).text(line.name).raw(" ");
        html.text(&now).raw("</span>");
        label.push_str(&format!(" {} now {now},", line.name));
    }
    let most_told = unit.told(most);
    html.raw(" <small>most ").text(&most_told).raw("</small></figcaption>");
    label.push_str(&format!(" most {most_told}"));
    html.raw(&format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=none role=img"));
    html.raw(" aria-label=\"").text(&label).raw("\"><path class=grid d=\"");
    html.raw("M0 4H600M0 46H600M150 0V90M300 0V90M450 0V90\"/>");
    for line in lines {
        let points = points(&line.values, span / every, most);
        if let (Some(first), Some((last, _))) = (points.first(), points.last()) {
            let text: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let (class, text) = (line.class, text.join(" "));
            if lines.len() == 1 {
                let (first, bottom) = (first.0, HEIGHT);
                html.raw(&format!(
                    "<polygon class=\"{class}\" points=\"{first:.1},{bottom} {text} \
                     {last:.1},{bottom}\"/>"
                ));
            }
            html.raw(&format!("<polyline class=\"{class}\" points=\"{text}\"/>"));
        }
    }
    html.raw("</svg><div class=axis aria-hidden=true>");
    html.raw(&format!("<span>{} min ago</span><span>now</span></div></figure>", span / 60));
}

/// Where a line's points are: the newest at the right, of several that fall together the largest.
fn points(values: &[f64], slots: usize, most: f64) -> Vec<(f64, f64)> {
    let together = slots.div_ceil(POINTS).max(1);
    let slots = (slots / together).max(2);
    let y = |value: f64| {
        let part = if most > 0.0 { value / most } else { 0.0 };
        HEIGHT - 2.0 - part * (HEIGHT - 6.0)
    };
    let mut points: Vec<(f64, f64)> = values
        .rchunks(together)
        .take(slots)
        .enumerate()
        .map(|(place, chunk)| {
            let x = (slots - 1 - place) as f64 * WIDTH / (slots - 1) as f64;
            (x, y(chunk.iter().copied().fold(0.0, f64::max)))
        })
        .collect();
    points.reverse();
    // One alone would not be seen.
    if let [(x, y)] = *points {
        points.insert(0, (x - 3.0, y));
    }
    points
}

impl Unit {
    fn told(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{} /s", per_second(value)),
            Self::Milliseconds => ms(value),
            Self::Count => format!("{value:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_at_the_right_and_the_largest_at_the_top() {
        let drawn = points(&[1.0, 4.0, 2.0], 60, 4.0);
        assert_eq!(drawn.len(), 3);
        assert_eq!(drawn[2], (WIDTH, 46.0));
        assert_eq!(drawn[1].1, 4.0);
        assert!(drawn.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn an_hour_is_few_points_and_loses_no_peak() {
        let mut values = vec![1.0; 720];
        values[400] = 9.0;
        let drawn = points(&values, 720, 9.0);
        assert_eq!(drawn.len(), POINTS);
        assert_eq!(drawn[0].0, 0.0);
        assert_eq!(drawn.iter().filter(|(_, y)| *y == 4.0).count(), 1);
        let mut html = Html::new();
        let line = |name| Line { name, class: "x", values: values.clone() };
        draw(&mut html, "Latency", Unit::Milliseconds, 5, &[line("p50"), line("p99")]);
        let html = html.into_string();
        assert!(html.contains("60 min ago") && html.len() < 8 << 10, "{} bytes", html.len());
    }
}
