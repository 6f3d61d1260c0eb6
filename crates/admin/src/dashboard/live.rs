//! `GET /admin/events`: server-sent events, one `tick` every two seconds with the figures of the
//! moment. A client that reads too slowly misses some.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::Handles;

const EVERY: Duration = Duration::from_secs(2);

pub(super) async fn events(State(handles): State<Arc<Handles>>) -> Response {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::new(Ticks { handles, tick })).into_response()
}

struct Ticks {
    handles: Arc<Handles>,
    tick: Interval,
}

impl http_body::Body for Ticks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::ready!(self.tick.poll_tick(cx));
        let (last, totals) = (self.handles.history.last(), self.handles.shared.metrics.snapshot());
        let told = json!({
            "requests": totals.requests, "requestsPerSecond": last.requests,
            "errorsPerSecond": last.errors, "p50": last.p50_ms, "p99": last.p99_ms,
            "inFlight": totals.in_flight, "connections": totals.connections,
            "generation": self.handles.shared.snapshot().generation,
        });
        let event = format!("event: tick\ndata: {told}\n\n");
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
