//! `GET /admin/events`: server-sent events, one `tick` every two seconds with the newest figures of
//! the history, which cost nothing more to tell. A client that reads too slowly misses some; more
//! than [`MOST`] at once are refused.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Frame;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::Handles;
use crate::guard::refuse;

const EVERY: Duration = Duration::from_secs(2);
/// Most who listen at once: each makes a page be drawn with every tick.
const MOST: usize = 16;

pub(crate) async fn events(State(handles): State<Arc<Handles>>) -> Response {
    let Some(place) = Place::take(&handles) else {
        let detail = format!("{MOST} listen already: close a dashboard, or read /admin/metrics");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners", &detail);
    };
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::new(Ticks { place, tick })).into_response()
}

/// One who listens, until dropped.
struct Place(Arc<Handles>);

impl Place {
    fn take(handles: &Arc<Handles>) -> Option<Self> {
        let place = Self(Arc::clone(handles));
        // Counted first: dropped, it is counted out again.
        (handles.listening.fetch_add(1, Relaxed) < MOST).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.listening.fetch_sub(1, Relaxed);
    }
}

struct Ticks {
    place: Place,
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
        let handles = &self.place.0;
        // The process waits for its connections to end.
        if (handles.draining)() {
            return Poll::Ready(None);
        }
        let last = handles.history.last();
        let told = json!({
            "requests": last.total, "requestsPerSecond": last.requests,
            "errorsPerSecond": last.errors, "p50": last.p50_ms, "p99": last.p99_ms,
            "inFlight": last.in_flight, "connections": last.connections,
            "generation": handles.shared.snapshot().generation,
        });
        let event = format!("event: tick\ndata: {told}\n\n");
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
