//! The dashboard under `/admin/status`: pages that are made here, whole, and work without
//! JavaScript; a small script fetches them anew when the gateway says that time has passed.

mod alerts;
mod cache;
mod certificates;
mod chart;
mod config;
mod errors;
mod explain;
mod html;
mod limits;
mod live;
mod overview;
mod problems;
mod route;
mod routes;
mod upstreams;
mod uptime;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;
use std::time::SystemTime;

use crate::services::views;
use crate::{Handles, session};
pub(crate) use html::Html;
use html::{clock, seconds};
pub(crate) use live::events;

/// Nothing from elsewhere, nothing inline, and inside of no other page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                      img-src 'self' data:; connect-src 'self'; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/live.js");

/// What the navigation leads to.
const PAGES: [(&str, &str); 11] = [
    ("/admin/status", "Overview"),
    ("/admin/status/errors", "Errors"),
    ("/admin/status/routes", "Routes"),
    ("/admin/status/upstreams", "Upstreams"),
    ("/admin/status/uptime", "Uptime"),
    ("/admin/status/alerts", "Alerts"),
    ("/admin/status/limits", "Limits"),
    ("/admin/status/cache", "Cache"),
    ("/admin/status/explain", "Explain"),
    ("/admin/status/config", "Config"),
    ("/admin/status/certificates", "Certs"),
];

pub(crate) fn pages() -> Router<Arc<Handles>> {
    Router::new()
        .route("/admin/status", get(overview::page))
        .route("/admin/status/errors", get(errors::page))
        .route("/admin/status/routes", get(routes::page))
        .route("/admin/status/route", get(route::page))
        .route("/admin/status/upstreams", get(upstreams::page).post(upstreams::order))
        .route("/admin/status/upstreams/confirm", get(upstreams::confirm))
        .route("/admin/status/upstreams/probe", post(upstreams::probe))
        .route("/admin/status/uptime", get(uptime::page))
        .route("/admin/status/alerts", get(alerts::page))
        .route("/admin/status/limits", get(limits::page))
        .route("/admin/status/cache", get(cache::page).post(cache::purge))
        .route("/admin/status/explain", get(explain::page))
        .route("/admin/status/config", get(config::page))
        .route("/admin/status/config/diff", get(config::difference))
        .route("/admin/status/config/version", get(config::version))
        .route("/admin/status/config/back", get(config::ask_back).post(config::back))
        .route("/admin/status/config/files", get(config::ask_files).post(config::back))
        .route("/admin/status/reload", post(config::reload))
        .route("/admin/status/certificates", get(certificates::page))
        .route("/admin/status/style.css", get(style))
        .route("/admin/status/live.js", get(script))
}

async fn style() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")],
        STYLE,
    )
}

async fn script() -> impl IntoResponse {
    let kind = "text/javascript; charset=utf-8";
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], SCRIPT)
}

/// A page with its navigation. `here` is its own path, `live` whether it changes by itself.
fn page(handles: &Handles, here: &str, title: &str, live: bool, content: Html) -> Response {
    let mut html = Html::new();
    let problems = problems::found(handles, &views(handles)).len();
    let told = match problems {
        0 => title.to_owned(),
        some => format!("({some}) {title}"),
    };
    begin(&mut html, &told, live);
    html.raw("<a class=skip href=#main>To the content</a><header id=top>");
    html.raw("<span class=brand>Lockgate</span>");
    match problems {
        0 => html.raw("<a class=\"chip good\" href=/admin/status>all is well</a>"),
        some => html
            .raw("<a class=\"chip bad\" href=/admin/status>")
            .text(&format!("{some} to look at"))
            .raw("</a>"),
    };
    html.raw("<nav aria-label=Pages>");
    for (path, name) in PAGES {
        let current = if path == here { " aria-current=page" } else { "" };
        html.raw(&format!("<a href={path}{current}>{name}</a>"));
    }
    html.raw("</nav><div class=state>");
    if live {
        let now = clock(seconds(SystemTime::now()));
        html.raw(&format!("<small>as of <time>{now}</time> UTC</small>"));
        html.raw("<button id=pause class=plain type=button data-own hidden>Pause</button>");
        html.raw("<b id=contact class=bad role=status data-own></b>");
    }
    if session::is_logged_in() {
        html.raw("<form method=post action=/admin/logout>");
        html.raw("<button class=plain>Log out</button></form>");
    }
    html.raw("</div></header><main id=main tabindex=-1><h1>").text(title).raw("</h1>");
    html.raw(&content.into_string()).raw("</main></body></html>\n");
    respond(html)
}

/// A page without navigation.
pub(crate) fn bare(title: &str, content: Html) -> Response {
    let mut html = Html::new();
    begin(&mut html, title, false);
    html.raw("<main id=main>").raw(&content.into_string()).raw("</main></body></html>\n");
    respond(html)
}

fn begin(html: &mut Html, title: &str, live: bool) {
    html.raw("<!doctype html><html lang=en><head><meta charset=utf-8><title>");
    html.text(title).raw(" · Lockgate</title>");
    html.raw("<meta name=viewport content=\"width=device-width, initial-scale=1\">");
    html.raw("<meta name=color-scheme content=\"light dark\">");
    html.raw("<link rel=icon href=\"data:,\"><link rel=stylesheet href=/admin/status/style.css>");
    if live {
        html.raw("<noscript><meta http-equiv=refresh content=5></noscript>");
        html.raw("<script src=/admin/status/live.js defer></script>");
    }
    html.raw("</head><body>");
}

fn respond(html: Html) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    let mut response = html.into_string().into_response();
    for (name, value) in headers {
        let (name, value): (HeaderName, _) = (name, HeaderValue::from_static(value));
        response.headers_mut().insert(name, value);
    }
    response
}
