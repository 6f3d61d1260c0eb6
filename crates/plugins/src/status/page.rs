//! The page: whole, without a script, and with a style of its own that its policy names by hash.

use std::fmt::Write as _;
use std::time::SystemTime;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_core::{ServiceStatus, Standing, WINDOWS};

const STYLE: &str = "\
:root{color-scheme:light dark;--up:#2da44e;--degraded:#d4a72c;--down:#cf222e;--none:#8c959f55}\
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:0}\
.all{padding:.6rem 1rem;border-radius:.4rem;color:#fff;background:var(--none)}\
.all.up{background:var(--up)}.all.degraded{background:#9a6700}.all.down{background:var(--down)}\
section{margin:1.5rem 0}.head{display:flex;justify-content:space-between}\
svg{width:100%;height:2rem;display:block;margin:.3rem 0}\
.u{fill:var(--up)}.d{fill:var(--degraded)}.x{fill:var(--down)}.n{fill:var(--none)}\
dl{display:flex;gap:1.5rem;margin:0;font-size:.9rem;flex-wrap:wrap}dt,dd{display:inline;margin:0}\
footer{font-size:.85rem;opacity:.7}";

/// How the page's policy names its style.
pub(super) fn style_hash() -> String {
    let hash = digest::digest(&digest::SHA256, STYLE.as_bytes());
    format!("sha256-{}", STANDARD.encode(hash))
}

/// The worst of what is shown. What an operator has taken out does not count.
pub(super) fn overall(services: &[&ServiceStatus]) -> &'static str {
    let standings = services.iter().filter_map(|one| one.standing);
    let worst = standings.filter(|standing| *standing != Standing::Out).max();
    worst.map_or("unknown", Standing::word)
}

/// The whole page.
pub(super) fn render(title: &str, services: &[&ServiceStatus], at: SystemTime) -> String {
    let title = escape(title);
    let overall = overall(services);
    let sentence = match overall {
        "up" => "All services are up.",
        "degraded" => "Some services are degraded.",
        "down" => "Some services are down.",
        _ => "Nothing is known yet.",
    };
    let mut page = format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>\
         <meta name=viewport content=\"width=device-width\"><meta http-equiv=refresh content=60>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>\
         <p class=\"all {overall}\" role=status>{sentence}</p>"
    );
    services.iter().for_each(|one| service(&mut page, one));
    let at = httpdate::fmt_http_date(at);
    // Writing to a String cannot fail.
    let _ = write!(page, "<footer><p>As of {at}. The days are those of UTC.</p></footer>");
    page.push_str("</body></html>\n");
    page
}

fn service(page: &mut String, one: &ServiceStatus) {
    let word = one.standing.map_or("unknown", Standing::word);
    let name = escape(&one.name);
    let _ = write!(page, "<section><div class=head><h2>{name}</h2><span>{word}</span></div>");
    bars(page, &one.days);
    page.push_str("<dl>");
    for ((window, _), share) in WINDOWS.iter().zip(one.availability) {
        let share = share.map_or_else(|| "–".to_owned(), percent);
        let _ = write!(page, "<div><dt>{window}</dt> <dd>{share}</dd></div>");
    }
    page.push_str("</dl></section>");
}

/// A bar for each day, the last one being today.
fn bars(page: &mut String, days: &[Option<f64>]) {
    let label = format!("availability of the last {} days", days.len());
    let _ = write!(
        page,
        "<svg viewBox=\"0 0 {} 20\" preserveAspectRatio=none role=img aria-label=\"{label}\">",
        days.len().max(1) * 4
    );
    for (at, share) in days.iter().enumerate() {
        let class = match share {
            None => "n",
            Some(share) if *share >= 0.9995 => "u",
            Some(share) if *share >= 0.95 => "d",
            Some(_) => "x",
        };
        let told = share.map_or_else(|| "no data".to_owned(), percent);
        let (x, back) = (at * 4, days.len() - 1 - at);
        let _ = write!(
            page,
            "<rect class={class} x={x} width=3 height=20><title>{back} days ago: {told}</title>\
             </rect>"
        );
    }
    page.push_str("</svg>");
}

/// To a thousandth of a percent, never rounded up to 100%.
pub(super) fn percent(share: f64) -> String {
    let share = (share * 1e5).floor() / 1e3;
    format!("{share}%")
}

/// Text for HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_never_rounded_away() {
        assert_eq!(percent(1.0), "100%");
        assert_eq!(percent(0.999_999), "99.999%");
        assert_eq!(percent(0.5), "50%");
        assert_eq!(percent(0.0), "0%");
    }

    #[test]
    fn names_cannot_become_markup() {
        let one = ServiceStatus {
            name: "<script>alert('x')</script>".into(),
            standing: Some(Standing::Down),
            since: None,
            availability: [None; 4],
            days: vec![None, Some(0.2)],
        };
        let page = render("\"<b>\"", &[&one], SystemTime::UNIX_EPOCH);
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("Some services are down."), "{page}");
    }
}
