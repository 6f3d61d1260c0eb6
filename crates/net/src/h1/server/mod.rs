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
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use lockgate_config::model::Http;
use lockgate_core::{
    Body, Connection, Fault, Finish, Incoming, Kind, Outcome, Reason, Reply, Serve, reasons,
};
use tokio::io::{AsyncRead, AsyncWrite};

use self::answer::{Answered, Answering, Asked, switch};
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
    let link = &server.link;
    let mut served = 0;
    loop {
        let arrival =
            poll_fn(|cx| link.borrow_mut().poll_head(cx, server.ticket.is_closing())).await;
        // Filled in place: it is large to be handed about.
        let (mut reply, mut asked) = (None, Asked::REFUSED);
        match arrival {
            Arrival::Request(head) => {
                served += 1;
                let upgrade = head.upgrade;
                let mut future;
                (future, asked) = server.ask(head);
                let old = asked.old;
                poll_fn(|cx| server.poll_reply(future.as_mut(), old, &mut reply, cx)).await;
                drop(future);
                asked.keep_alive &= most == 0 || served < most;
                asked.keep_alive &= !server.ticket.is_draining();
                let switches = |reply: &mut Reply| reply.response.status().is_informational();
                if let Some(switch) = reply.take_if(switches) {
                    asked = Asked::REFUSED;
                    reply = Box::pin(server.tunnel(switch, upgrade)).await;
                }
            }
            Arrival::Wrong(wrong) => reply = Some(server.refusal(wrong.by_client())),
            Arrival::Late => reply = Some(server.refusal(late())),
            Arrival::Over => return close(link, false).await,
        }
        // The client is gone, or has its tunnel.
        let Some(reply) = &mut reply else { return };
        let answered = {
            let mut answering = Answering::begin(link, &mut reply.response, &reply.lines, asked);
            let broken = poll_fn(|cx| answering.poll(link, cx)).await;
            answering.ended(link, broken)
        };
        match server.after(reply.finish.take(), &answered, asked) {
            Next::Request => {}
            Next::Rest if poll_fn(|cx| link.borrow_mut().poll_rest(cx)).await => {}
            Next::Rest => return close(link, true).await,
            Next::Close { linger } => return close(link, linger).await,
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
    /// Reads away what is left of the request's body.
    Rest,
    Close {
        linger: bool,
    },
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
    /// Begins to serve a request: the future that does, and what its answer must know.
    fn ask(&self, head: Box<RequestHead>) -> (Pin<Box<impl Future<Output = Reply>>>, Asked) {
        let RequestHead { parts, framing, keep_alive, upgrade, expect } = *head;
        let old = parts.version == Version::HTTP_10;
        let asked = Asked { head: parts.method == Method::HEAD, old, keep_alive, refused: false };
        let body = self.body(framing, expect);
        let connection = Rc::clone(&self.connection);
        let incoming = Incoming { head: parts, body, connection, upgrade };
        (Box::pin(self.serve.serve(incoming)), asked)
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

    /// Waits for the reply; there is none when the client goes away first.
    fn poll_reply(
        &self,
        mut future: Pin<&mut impl Future<Output = Reply>>,
        old: bool,
        reply: &mut Option<Reply>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            if let Poll::Ready(ready) = future.as_mut().poll(cx) {
                *reply = Some(ready);
                return Poll::Ready(());
            }
            match self.link.borrow_mut().poll_watch(cx, old) {
                Watch::Quiet => return Poll::Pending,
                Watch::Again => {}
                Watch::Gone => return Poll::Ready(()),
            }
        }
    }

    /// Hands on how an answer went, and decides what comes after it.
    fn after(&self, finish: Option<Box<dyn Finish>>, answered: &Answered, asked: Asked) -> Next {
        if let Some(finish) = finish {
            finish.finish(answered.outcome);
        }
        if answered.outcome.broken.is_some() {
            // Without a polite end: what was broken off must not look complete.
            return Next::Drop;
        }
        let mut link = self.link.borrow_mut();
        // Here begins the wait for the next request.
        link.since = answered.outcome.ended;
        let (done, empty) = (link.upload.is_done(), link.input.is_empty());
        match (answered.keep_alive, done) {
            (false, _) => Next::Close { linger: asked.refused || !done || !empty },
            (true, true) => Next::Request,
            (true, false) => Next::Rest,
        }
    }

    /// Switches protocols, if that was asked for and there is something to switch to: else there
    /// is a refusal to be answered.
    async fn tunnel(&self, reply: Reply, upgrade: bool) -> Option<Reply> {
        let Reply { response, lines, finish, tunnel } = reply;
        let (head, _) = response.into_parts();
        let fits = upgrade && head.status == StatusCode::SWITCHING_PROTOCOLS;
        let Some(tunnel) = tunnel.filter(|_| fits) else {
            let wrong = Fault::gateway(&reasons::INTERNAL)
                .detail("an interim status was given as the final one");
            return Some(self.refusal(wrong));
        };
        let mut outcome = Outcome { broken: Some(&reasons::CLIENT_CLOSED), ..Outcome::default() };
        if switch(&self.link, &head, &lines).await.is_ok() {
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
        None
    }

    /// Refuses what could not be read; goes with [`Asked::REFUSED`], so that the connection closes.
    fn refusal(&self, fault: Fault) -> Reply {
        self.serve.refuse(fault, &self.connection)
    }
}
