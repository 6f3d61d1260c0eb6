//! The configuration in force, and an order to read it again.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};

use super::html::Html;
use super::routes::pretty;
use crate::config::read_config;
use crate::{Handles, Order};

const HERE: &str = "/admin/status/config";

pub(super) async fn page(State(handles): State<Arc<Handles>>) -> Response {
    let mut html = Html::new();
    let generation = handles.shared.snapshot().generation;
    html.raw("<p>").text(&format!("Generation {generation}, with every default written out. "));
    html.raw("Secrets are shown as the references that the file has for them, or not at all.</p>");
    html.raw("<form class=row method=post action=/admin/status/reload>");
    html.raw("<button>Read the files again</button></form>");
    match read_config(&handles).await {
        Ok(config) => html.raw("<pre>").text(&pretty(&config)).raw("</pre>"),
        Err(why) => html.raw("<p class=bad>").text(&why).raw("</p>"),
    };
    super::page(&handles, HERE, "Config", false, html)
}

pub(super) async fn reload(State(handles): State<Arc<Handles>>) -> Response {
    match (handles.order)(Order::Reload).await {
        Ok(_) => Redirect::to(HERE).into_response(),
        Err(refused) => {
            let mut html = Html::new();
            html.raw("<p class=bad role=alert>The files are refused; what was in force stays.</p>");
            html.raw("<pre>").text(&refused.detail).raw("</pre>");
            super::page(&handles, HERE, "Refused", false, html)
        }
    }
}
