//! A line over the last hour, as SVG. Its numbers stand beside it as text, so that it is no loss
//! where it cannot be seen.

use super::html::Html;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 90.0;
/// Samples of an hour; a shorter time is drawn at the right.
const SLOTS: usize = 720;

/// Draws values, the newest last.
pub(super) fn line(html: &mut Html, title: &str, unit: &str, class: &str, values: &[f64]) {
    let most = values.iter().copied().fold(0.0, f64::max);
    let now = values.last().copied().unwrap_or_default();
    html.raw("<figure class=chart><figcaption><b>").text(title).raw("</b> <span>");
    html.text(&format!("{} {unit}", short(now))).raw("</span> <small>");
    html.text(&format!("most {} {unit}", short(most))).raw("</small></figcaption>");
    html.raw(&format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=none role=img aria-label=\""
    ));
    html.text(&format!("{title}: now {} {unit}, most {} {unit}", short(now), short(most)));
    html.raw("\">");
    let first = SLOTS.saturating_sub(values.len());
    let x = |place: usize| (first + place) as f64 * WIDTH / (SLOTS - 1) as f64;
    let y = |value: f64| {
        let part = if most > 0.0 { value / most } else { 0.0 };
        HEIGHT - 2.0 - part * (HEIGHT - 6.0)
    };
    if !values.is_empty() {
        let points: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(place, value)| format!("{:.1},{:.1}", x(place), y(*value)))
            .collect();
        let points = points.join(" ");
        html.raw(&format!(
            "<polygon class=\"{class} area\" points=\"{:.1},{HEIGHT} {points} {WIDTH},{HEIGHT}\"/>\
             <polyline class={class} points=\"{points}\"/>",
            x(0)
        ));
    }
    html.raw("</svg></figure>");
}

fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.1}"),
        0.0 => "0".to_owned(),
        v => format!("{v:.2}"),
    }
}
