//! The admin pages as a handler on a worker: a request goes to the control runtime, its answer
//! comes back piece by piece, and ends there when nobody reads it any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Frame;
use http_body_util::BodyExt;
use lockgate_admin::Pages;
use lockgate_core::network;
use lockgate_core::{Body, Exchange, Fault, Handler, Step, reasons};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// Pieces of an answer that wait for their reader.
const PIECES: usize = 4;

/// Where the admin pages are found, once the process has them.
pub(crate) type Found = Arc<OnceLock<Pages>>;

/// See the module.
pub(crate) struct Mounted {
    pub(crate) pages: Found,
    pub(crate) runtime: Handle,
    pub(crate) under_way: Arc<UnderWay>,
}

/// Most requests at once of those who are known, and as many of all others: the control runtime
/// has more to do than to answer them, and nobody unknown may take a place from an operator.
const MOST: usize = 64;
/// Most of them for one unknown client, so that it does not take them from a load balancer.
const MOST_OF_ONE: usize = 8;

/// The requests that are under way, over all workers.
#[derive(Default)]
pub(crate) struct UnderWay(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    known: usize,
    /// Of those who are not, by their networks: never more entries than requests.
    others: HashMap<u128, usize>,
}

/// One request's place among them.
struct Place {
    under_way: Arc<UnderWay>,
    /// Where it comes from, unless whoever asks is known.
    from: Option<u128>,
}

impl UnderWay {
    fn enter(self: &Arc<Self>, from: Option<u128>) -> Option<Place> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match from {
            None if counted.known >= MOST => return None,
            None => counted.known += 1,
            Some(_) if counted.others.values().sum::<usize>() >= MOST => return None,
            Some(from) => {
                let own = counted.others.entry(from).or_default();
                if *own >= MOST_OF_ONE {
                    return None;
                }
                *own += 1;
            }
        }
        Some(Place { under_way: Arc::clone(self), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counted = self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(from) = self.from else {
            counted.known -= 1;
            return;
        };
        if let Some(own) = counted.others.get_mut(&from) {
            *own -= 1;
            if *own == 0 {
                counted.others.remove(&from);
            }
        }
    }
}

/// What is sent: a whole configuration by whoever may, else what an order needs. Of others nothing
/// is read, nor waited for.
async fn body(exchange: &mut Exchange) -> Result<Bytes, Fault> {
    let body = std::mem::take(&mut exchange.body);
    let is_config = exchange.head.uri.path() == "/admin/config";
    match &exchange.consumer {
        Some(_) if is_config && exchange.head.method == Method::PUT => {
            body.collect(Pages::MOST_CONFIG).await
        }
        Some(_) => body.collect(Pages::MOST_BODY).await,
        None if matches!(body, Body::Empty) => Ok(Bytes::new()),
        None => Err(Fault::client(&reasons::TOO_LARGE).detail("this page is asked without a body")),
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
            let body = body(exchange).await?;
            let request = request(exchange, body);
            let who = exchange.consumer.as_ref().map(|consumer| consumer.name.to_string());
            let from = exchange.client_ip;
            // Not before its body is there: who is slow to send one takes nobody's place.
            let network = who.is_none().then(|| network(from));
            let Some(place) = self.under_way.enter(network) else {
                let detail = "too many requests for the admin pages at once";
                return Err(Fault::gateway(&reasons::OVERLOADED).detail(detail));
            };
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
