//! The server's side: one connection, one request at a time, what comes early kept for later.
//!
//! A request that cannot be framed beyond doubt is refused, and its connection closed. The future
//! that serves a request is boxed, so that a waiting connection holds no memory for one, and so
//! that all requests of a worker use the same hot block.

mod answer;
mod link;
mod upload;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use lockgate_config::model::Http;
use lockgate_core::{
    Body, Connection, Fault, Incoming, Kind, Outcome, Reason, Reply, Serve, reasons,
};
use tokio::io::{AsyncRead, AsyncWrite};

use self::answer::{Asked, answer, switch};
use self::link::{Arrival, Link, Watch, close};
use self::upload::Reading;
use super::head::{Framing, RequestHead};
use crate::Ticket;
use crate::rewind::Rewind;

/// Why an answer was broken off, when the client is there but does not read.
pub static CLIENT_TOO_SLOW: Reason = Reason {
    code: "client_too_slow",
    kind: Kind::ClientClosed,
    help: "The client took its answer more slowly than `http.write_timeout` and \
           `http.min_rate` allow.",
};

/// Serves a client's connection to its end. `read_ahead` is what the listener has already read.
///
/// A client that ends its side after a whole HTTP/1.1 request is taken to have gone away: the
/// future that serves the request is dropped.
pub async fn serve<IO, S>(
    io: IO,
    read_ahead: Bytes,
    connection: Rc<Connection>,
    limits: Rc<Http>,
    serve: S,
    ticket: Ticket,
) where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Serve,
{
    let most = limits.max_requests_per_connection;
    let link = Rc::new(RefCell::new(Link::new(io, &read_ahead, limits)));
    drop(read_ahead);
    let server = Server { link, connection, serve, ticket };
    let mut served = 0;
    loop {
        let link = &server.link;
        let arrival =
            poll_fn(|cx| link.borrow_mut().poll_head(cx, server.ticket.is_closing())).await;
        let head = match arrival {
            Arrival::Request(head) => head,
            Arrival::Wrong(wrong) => return server.refuse(wrong.by_client()).await,
            Arrival::Late => return server.refuse(late()).await,
            Arrival::Over => return close(link, false).await,
        };
        served += 1;
        let last = most > 0 && served >= most;
        match server.request(head, last).await {
            Next::Request => {}
            Next::Close { linger } => return close(&server.link, linger).await,
            Next::Drop => return,
        }
    }
}

fn late() -> Fault {
    Fault::client(&reasons::REQUEST_TIMEOUT).detail("the head came too slowly")
}

/// What the connection does next.
enum Next {
    Request,
    Close { linger: bool },
    Drop,
}

struct Server<IO, S> {
    link: Rc<RefCell<Link<IO>>>,
    connection: Rc<Connection>,
    serve: S,
    ticket: Ticket,
}

impl<IO, S> Server<IO, S>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
    S: Serve,
{
    /// Serves one request.
    async fn request(&self, head: Box<RequestHead>, last: bool) -> Next {
        let RequestHead { parts, framing, keep_alive, upgrade, expect } = *head;
        let old = parts.version == Version::HTTP_10;
        let is_head = parts.method == Method::HEAD;
        let body = self.body(framing, expect);
        let incoming =
            Incoming { head: parts, body, connection: Rc::clone(&self.connection), upgrade };
        let Some(reply) = self.reply(incoming, old).await else { return Next::Drop };
        if reply.response.status().is_informational() {
            return self.tunnel(reply, upgrade).await;
        }
        let keep_alive = keep_alive && !last && !self.ticket.is_draining();
        self.finish(reply, Asked { head: is_head, old, keep_alive }).await
    }

    /// The body of the request whose head has just been read.
    fn body(&self, framing: Framing, expect: bool) -> Body {
        let mut link = self.link.borrow_mut();
        let Link { upload, input, limits, .. } = &mut *link;
        upload.begin(framing, expect, limits);
        if framing == Framing::None {
            return Body::Empty;
        }
        if let Some(whole) = upload.at_once(input) {
            return Body::Full(whole);
        }
        drop(link);
        Body::stream(Reading::new(&self.link))
    }

    /// Waits for the reply; `None` when the client goes away first.
    async fn reply(&self, incoming: Incoming, old: bool) -> Option<Reply> {
        let mut future: Pin<Box<_>> = Box::pin(self.serve.serve(incoming));
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(reply) = future.as_mut().poll(cx) {
                    return Poll::Ready(Some(reply));
                }
                match self.link.borrow_mut().poll_watch(cx, old) {
                    Watch::Quiet => return Poll::Pending,
                    Watch::Again => {}
                    Watch::Gone => return Poll::Ready(None),
                }
            }
        })
        .await
    }

    /// Writes the reply, and sees to what is left of the request.
    async fn finish(&self, reply: Reply, asked: Asked) -> Next {
        let answered = answer(&self.link, reply.response, asked).await;
        if let Some(finish) = reply.finish {
            finish.finish(answered.outcome);
        }
        if answered.outcome.broken.is_some() {
            // Without a polite end: what was broken off must not look complete.
            return Next::Drop;
        }
        let (done, empty) = {
            let mut link = self.link.borrow_mut();
            // Here begins the wait for the next request.
            link.since = answered.outcome.ended;
            (link.upload.is_done(), link.input.is_empty())
        };
        if !answered.keep_alive {
            return Next::Close { linger: !done || !empty };
        }
        if done || poll_fn(|cx| self.link.borrow_mut().poll_rest(cx)).await {
            return Next::Request;
        }
        Next::Close { linger: true }
    }

    /// Switches protocols, if that was asked for and there is something to switch to.
    async fn tunnel(&self, reply: Reply, upgrade: bool) -> Next {
        let Reply { response, finish, tunnel } = reply;
        let (head, _) = response.into_parts();
        let fits = upgrade && head.status == StatusCode::SWITCHING_PROTOCOLS;
        let Some(tunnel) = tunnel.filter(|_| fits) else {
            let wrong = Fault::gateway(&reasons::INTERNAL)
                .detail("an interim status was given as the final one");
            self.refuse(wrong).await;
            return Next::Drop;
        };
        let mut outcome = Outcome { broken: Some(&reasons::CLIENT_CLOSED), ..Outcome::default() };
        if switch(&self.link, &head).await.is_ok() {
            let (io, ahead) = {
                let mut link = self.link.borrow_mut();
                (link.io.take(), link.input.take_copy(usize::MAX))
            };
            if let Some(io) = io {
                outcome = tunnel(Box::new(Rewind::new(ahead, io))).await;
            }
        }
        if let Some(finish) = finish {
            finish.finish(outcome);
        }
        Next::Drop
    }

    /// Refuses what could not be read, and closes.
    async fn refuse(&self, fault: Fault) {
        let reply = self.serve.refuse(fault, &self.connection);
        let asked = Asked { head: false, old: false, keep_alive: false };
        if let Next::Close { .. } = self.finish(reply, asked).await {
            close(&self.link, true).await;
        }
    }
}
