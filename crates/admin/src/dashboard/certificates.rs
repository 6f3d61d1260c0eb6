//! Certificates that listeners serve, the next to expire first.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::Response;

use super::html::Html;
use crate::Handles;

const HERE: &str = "/admin/status/certificates";

pub(super) async fn page(State(handles): State<Arc<Handles>>) -> Response {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut all = (handles.certificates)();
    all.sort_by_key(|one| one.not_after);
    let mut html = Html::new();
    html.head("Certificates", &["Names", "Listener", "File", "#Expires"]);
    for one in &all {
        let days = (one.not_after - now).div_euclid(86_400);
        let (class, text) = match days {
            ..0 => ("bad", format!("{} days ago", -days)),
            0..14 => ("warn", format!("in {days} days")),
            _ => ("good", format!("in {days} days")),
        };
        html.raw("<tr>").cell(&one.names.join(", ")).cell(&one.listener);
        html.cell(&one.file.display().to_string());
        html.raw(&format!("<td class=\"num {class}\">")).text(&text).raw("</td></tr>");
    }
    html.tail(all.len(), "No listener speaks TLS.");
    super::page(&handles, HERE, "Certificates", true, html)
}
