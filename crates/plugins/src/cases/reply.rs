//! What a played upstream answers, or how it fails.

use bytes::Bytes;
use http::Response;
use lockgate_core::{Body, Fault, reasons};

use super::case;
use super::run::{fill, text};

/// What the played upstream answers, or how it fails.
pub(super) fn upstream(
    reply: Option<&case::Upstream>,
) -> Result<Result<Response<Body>, Fault>, String> {
    let Some(reply) = reply else { return Ok(Ok(Response::new(Body::Empty))) };
    if reply.refuses {
        let refused = Fault::upstream(&reasons::UPSTREAM_REFUSED);
        return Ok(Err(refused.resend(lockgate_core::Resend::Safe)));
    }
    if reply.fails {
        return Ok(Err(Fault::upstream(&reasons::UPSTREAM_REFUSED)));
    }
    let body = if reply.breaks_off {
        Body::stream(BreaksOff(Some(reply.body.clone().into())))
    } else {
        Body::from(reply.body.clone())
    };
    head(reply).map(|head| Ok(head.map(|()| body)))
}

fn head(reply: &case::Upstream) -> Result<Response<()>, String> {
    let mut response = Response::new(());
    *response.status_mut() = reply.status.unwrap_or(200).try_into().map_err(text)?;
    fill(response.headers_mut(), &reply.headers)?;
    Ok(response)
}

/// An answer to a request of the gateway's own.
pub(super) fn whole(reply: &case::Upstream) -> Result<Response<Bytes>, Fault> {
    if reply.fails || reply.breaks_off {
        return Err(Fault::upstream(&reasons::UPSTREAM_REFUSED));
    }
    let head = head(reply).map_err(|why| Fault::gateway(&reasons::INTERNAL).detail(why))?;
    Ok(head.map(|()| reply.body.clone().into()))
}

/// A body that ends too early.
struct BreaksOff(Option<Bytes>);

impl http_body::Body for BreaksOff {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Fault>>> {
        let frame = match self.0.take() {
            Some(data) => Ok(http_body::Frame::data(data)),
            None => Err(Fault::upstream(&reasons::UPSTREAM_BROKE_OFF)),
        };
        std::task::Poll::Ready(Some(frame))
    }
}
