//! A badge: a small SVG with a service's name, how it is, and its availability over 30 days.

use lockgate_core::{ServiceStatus, Standing};

use super::page::{escape, percent};

/// About the width of a sign, in tenths of a pixel, in the badge's face and size.
const SIGN: usize = 68;

/// The whole image.
pub(super) fn render(one: &ServiceStatus) -> String {
    let word = one.standing.map_or("unknown", Standing::word);
    let colour = match one.standing {
        Some(Standing::Up) => "#2da44e",
        Some(Standing::Degraded) => "#9a6700",
        Some(Standing::Down) => "#cf222e",
        Some(Standing::Out) | None => "#6e7781",
    };
    let [_, _, month, _] = one.availability;
    let said = match month {
        Some(share) => format!("{word} {}", percent(share)),
        None => word.to_owned(),
    };
    let width = |text: &str| text.chars().count() * SIGN / 10 + 12;
    let (left, right) = (width(&one.name), width(&said));
    let (whole, half, rest) = (left + right, left / 2, left + right / 2);
    let name = escape(&one.name);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole}\" height=\"20\" role=\"img\" \
         aria-label=\"{name}: {said}\"><title>{name}: {said}</title>\
         <rect width=\"{left}\" height=\"20\" fill=\"#424a53\"/>\
         <rect x=\"{left}\" width=\"{right}\" height=\"20\" fill=\"{colour}\"/>\
         <g fill=\"#fff\" text-anchor=\"middle\" font-family=\"Verdana,DejaVu Sans,sans-serif\" \
         font-size=\"11\"><text x=\"{half}\" y=\"14\">{name}</text>\
         <text x=\"{rest}\" y=\"14\">{said}</text></g></svg>\n"
    )
}
