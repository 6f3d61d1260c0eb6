//! The admin pages as a handler on a worker: a request goes to the control runtime, its answer
//! comes back piece by piece, and ends there when nobody reads it any more.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Frame;
use http_body_util::BodyExt;
use lockgate_admin::Pages;
use lockgate_core::{Body, Exchange, Fault, Handler, Step, reasons};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Pieces of an answer that wait for their reader.
const PIECES: usize = 4;

/// Where the admin pages are found, once the process has them.
pub(crate) type Found = Arc<OnceLock<Pages>>;

/// See the module.
pub(crate) struct Mounted {
    pub(crate) pages: Found,
    pub(crate) runtime: Handle,
    /// One for each request that is under way, over all workers.
    pub(crate) places: Arc<Semaphore>,
}

/// Most requests at once: the control runtime has more to do than to answer them.
pub(crate) const MOST: usize = 64;

/// What may be sent: a whole configuration by whoever may, else what an order needs.
fn most_body(exchange: &Exchange) -> usize {
    let is_config = exchange.head.uri.path() == "/admin/config";
    match &exchange.consumer {
        Some(_) if is_config && exchange.head.method == Method::PUT => Pages::MOST_CONFIG,
        Some(_) => Pages::MOST_BODY,
        None => 0,
    }
}

/// An answer's head, and where its body comes from.
type Answer = (http::response::Parts, mpsc::Receiver<Bytes>);

impl Handler for Mounted {
    fn handle<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Response<Body>, Fault>> {
        Step::Later(Box::pin(async move {
            let Some(pages) = self.pages.get().cloned() else {
                return Err(Fault::gateway(&reasons::INTERNAL).detail("no admin pages yet"));
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                let detail = "too many requests for the admin pages at once";
                return Err(Fault::gateway(&reasons::OVERLOADED).detail(detail));
            };
            let most = most_body(exchange);
            let body = std::mem::take(&mut exchange.body).collect(most).await?;
            let request = request(exchange, body);
            let who = exchange.consumer.as_ref().map(|consumer| consumer.name.to_string());
            let from = exchange.client_ip;
            let (send, answer) = oneshot::channel();
            self.runtime.spawn(async move {
                let answer = pages.ask(request, who, from).await;
                pass_on(answer, send).await;
                drop(place);
            });
            let (head, pieces) = answer.await.map_err(|_| {
                Fault::gateway(&reasons::INTERNAL).detail("the admin pages have not answered")
            })?;
            Ok(Response::from_parts(head, Body::stream(Pieces(pieces))))
        }))
    }

    fn describe(&self) -> String {
        "the admin pages".to_owned()
    }
}

/// The request as the admin pages take it. Its `Host` is the one that was asked for, whatever the
/// protocol calls it.
fn request(exchange: &Exchange, body: Bytes) -> Request<Bytes> {
    let mut request = Request::new(body);
    *request.method_mut() = exchange.head.method.clone();
    *request.uri_mut() = exchange.head.uri.clone();
    *request.headers_mut() = exchange.head.headers.clone();
    if !request.headers().contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(&exchange.host)
    {
        request.headers_mut().insert(header::HOST, host);
    }
    let scheme = HeaderValue::from_static(if exchange.secure { "https" } else { "http" });
    request.headers_mut().insert("x-forwarded-proto", scheme);
    request
}

/// Hands an answer over, until it ends or whoever reads it is gone.
async fn pass_on(
    answer: Response<impl http_body::Body<Data = Bytes>>,
    to: oneshot::Sender<Answer>,
) {
    let (head, body) = answer.into_parts();
    let (send, pieces) = mpsc::channel(PIECES);
    if to.send((head, pieces)).is_err() {
        return;
    }
    let mut body = std::pin::pin!(body);
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = send.closed() => return,
        };
        let Some(Ok(frame)) = frame else { return };
        if let Ok(data) = frame.into_data()
            && send.send(data).await.is_err()
        {
            return;
        }
    }
}

/// An answer's body, as its pieces arrive.
struct Pieces(mpsc::Receiver<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}
