//! The way up: the answer is kept whole before the client has any of it, so that whoever has an
//! answer can have it again.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::{Body, End, Exchange, Fault, Origin};

use super::Once;
use super::record::{Answer, Kept};
use super::run::Run;
use super::settings::OnServerError;

impl Once {
    pub(super) async fn keep(
        &self,
        exchange: &mut Exchange,
        response: &mut Response<Body>,
        run: Run,
    ) -> Result<(), Fault> {
        // A fault beside an answer of the upstream's own is only a mark on it.
        if exchange.fault.is_some() && exchange.origin == Origin::Gateway {
            let end = if run.once.is_reached() { End::Unknown } else { End::Forgotten };
            run.ends(end).await;
            return Ok(());
        }
        let status = response.status();
        if status.is_server_error()
            && exchange.origin == Origin::Upstream
            && self.on_server_error == OnServerError::Retry
        {
            run.ends(End::Forgotten).await;
            return Ok(());
        }
        if !self.is_for_keeping(response) {
            run.ends(self.done(&Kept::Status(status))).await;
            exchange.note(|| "idempotency: the answer is not kept".to_owned());
            return Ok(());
        }
        let read = read(std::mem::take(response.body_mut()), self.max_answer).await;
        // Without a word the run says that nobody knows.
        let read = read?;
        if !matches!(read.rest, Body::Empty) {
            run.ends(self.done(&Kept::Status(status))).await;
            exchange.note(|| "idempotency: the answer is too large to be kept".to_owned());
        } else {
            let (data, trailers) = (read.data.clone(), read.trailers.clone());
            let whole = Answer::new(status, response.headers(), data, trailers);
            let (whole, less) = (Kept::Whole(Box::new(whole)), Kept::Status(status));
            run.ends_with(self.done(&whole), self.done(&less)).await;
        }
        *response.body_mut() = read.into();
        Ok(())
    }

    fn done(&self, kept: &Kept) -> End {
        End::Done { record: kept.encode(), keep: self.keep }
    }

    /// Whether an answer has an end that is worth waiting for.
    fn is_for_keeping(&self, response: &Response<Body>) -> bool {
        let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let events = b"text/event-stream";
        let is_events = kind
            .and_then(|kind| kind.get(..events.len()))
            .is_some_and(|kind| kind.eq_ignore_ascii_case(events));
        let length = response.body().len();
        let is_large = length.is_some_and(|length| length > self.max_answer as u64);
        !is_events && !is_large && response.status() != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// A body that has been read, as far as it was not too large.
#[derive(Default)]
struct Read {
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// What has not been read.
    rest: Body,
}

/// Reads a body, until it is larger than that.
async fn read(mut body: Body, most: usize) -> Result<Read, Fault> {
    if let Body::Full(data) = body {
        return Ok(Read { data, ..Read::default() });
    }
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    let mut trailers = None;
    while let Some(frame) = body.frame().await.transpose()? {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => {
                trailers = other.into_trailers().ok();
                continue;
            }
        };
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
        if first.len().max(all.len()) > most {
            let data = if all.is_empty() { first } else { all.into() };
            return Ok(Read { data, trailers, rest: body });
        }
    }
    let data = if all.is_empty() { first } else { all.into() };
    Ok(Read { data, trailers, rest: Body::Empty })
}

impl From<Read> for Body {
    fn from(read: Read) -> Self {
        match read {
            Read { data, trailers: None, rest: Self::Empty } => data.into(),
            read => Self::stream(read),
        }
    }
}

/// A body that was kept.
pub(super) fn given(data: Bytes, trailers: Option<HeaderMap>) -> Body {
    Read { data, trailers, rest: Body::Empty }.into()
}

/// What has been read, and then the rest.
impl HttpBody for Read {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if !self.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.data)))));
        }
        match Pin::new(&mut self.rest).poll_frame(cx) {
            Poll::Ready(None) => {
                Poll::Ready(self.trailers.take().map(|all| Ok(Frame::trailers(all))))
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.rest.size_hint();
        let ahead = self.data.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead);
        }
        hint.set_lower(hint.lower() + ahead);
        hint
    }
}
