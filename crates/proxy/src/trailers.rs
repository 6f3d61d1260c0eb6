//! A request's body whose trailers do not say what the gateway alone may state: a service that
//! takes them for headers would believe them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use lockgate_core::{Body, BoxBody, Fault};

use crate::reserved::Reserved;

/// The body without them. Where the configuration states nothing, and where none can come, it is as
/// it was.
pub(crate) fn without(body: Body, version: Version, reserved: &Arc<Reserved>) -> Body {
    match body {
        Body::Stream(inner) if !reserved.is_empty() && may_come(&inner, version) => {
            Body::stream(Without { inner, reserved: Arc::clone(reserved) })
        }
        other => other,
    }
}

/// In HTTP/1.1 they follow chunks alone (RFC 9112 §7.1.2).
fn may_come(body: &BoxBody, version: Version) -> bool {
    version >= Version::HTTP_2 || body.size_hint().exact().is_none()
}

struct Without {
    inner: BoxBody,
    reserved: Arc<Reserved>,
}

impl HttpBody for Without {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let mut next = self.inner.as_mut().poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut next
            && let Some(trailers) = frame.trailers_mut()
        {
            strip(trailers, &self.reserved);
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn strip(trailers: &mut HeaderMap, reserved: &Reserved) {
    let forged = trailers.keys().filter(|name| reserved.has(name.as_str()));
    let forged: Vec<HeaderName> = forged.cloned().collect();
    forged.into_iter().for_each(|name| drop(trailers.remove(name)));
}
