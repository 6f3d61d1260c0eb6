//! Both sides together over real sockets: bytes in, bytes out, nothing lost, nothing kept.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use lockgate_core::Incoming;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

use super::{App, connection, failed, limits, rest, until};
use crate::Drain;
use crate::h1::{ClientConnection, ClientLimits, Reuse, serve};

/// Idle connections to one upstream.
struct Shelf(RefCell<Vec<ClientConnection>>);

impl Reuse for Shelf {
    fn put_back(&self, connection: ClientConnection) {
        self.0.borrow_mut().push(connection);
    }
}

/// A proxy to `upstream`, as small as it gets; returns a connection to it.
async fn proxy(upstream: std::net::SocketAddr) -> (TcpStream, App) {
    let shelf = Rc::new(Shelf(RefCell::default()));
    let app = App::new(move |incoming: Incoming| {
        let shelf = Rc::clone(&shelf);
        async move {
            let idle = shelf.0.borrow_mut().pop();
            let connection = match idle {
                Some(connection) => connection,
                None => ClientConnection::new(TcpStream::connect(upstream).await.unwrap()),
            };
            let limits = ClientLimits::default();
            match connection.send(&incoming.head, incoming.body, limits, shelf).await {
                Ok(answer) => (*answer.response).into(),
                Err((fault, _)) => failed(&fault),
            }
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (io, _) = listener.accept().await.unwrap();
    let served = app.clone();
    spawn_local(async move {
        let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await;
        let ticket = Drain::default().register(&waker);
        serve(io, Bytes::new(), connection(), Rc::new(limits()), served, ticket).await;
    });
    (client, app)
}

async fn listener() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Bytes that tell when one is missing.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

#[tokio::test]
async fn large_bodies_pass_both_ways_on_one_connection() {
    LocalSet::new()
        .run_until(async {
            let (listener, address) = listener().await;
            // The upstream is this same engine, echoing streams.
            spawn_local(async move {
                let (io, _) = listener.accept().await.unwrap();
                let echo =
                    App::new(async |incoming: Incoming| http::Response::new(incoming.body).into());
                let waker = std::task::Waker::noop().clone();
                let ticket = Drain::default().register(&waker);
                serve(io, Bytes::new(), connection(), Rc::new(limits()), echo, ticket).await;
            });
            let (client, app) = proxy(address).await;
            let (mut read, mut write) = client.into_split();
            for (round, size) in [1, 100, 5_000, 40_000, 100_000, 3_000_000].into_iter().enumerate()
            {
                let sent = pattern(size);
                let copy = sent.clone();
                let writer = spawn_local(async move {
                    let head =
                        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
                    write.write_all(head.as_bytes()).await.unwrap();
                    write.write_all(&copy).await.unwrap();
                    write
                });
                let head = until(&mut read, "\r\n\r\n").await;
                assert!(head.contains(&format!("content-length: {size}\r\n")), "{head}");
                let mut got = vec![0; size];
                read.read_exact(&mut got).await.unwrap();
                assert!(got == sent, "round {round}");
                write = writer.await.unwrap();
            }
            // And chunked.
            let writer = spawn_local(async move {
                write
                    .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await
                    .unwrap();
                for _ in 0..50 {
                    write.write_all(b"2710\r\n").await.unwrap();
                    write.write_all(&pattern(10_000)).await.unwrap();
                    write.write_all(b"\r\n").await.unwrap();
                }
                write.write_all(b"0\r\n\r\n").await.unwrap();
                write
            });
            until(&mut read, "chunked\r\n\r\n").await;
            let mut got = Vec::new();
            loop {
                let size = until(&mut read, "\r\n").await;
                let size = usize::from_str_radix(size.trim(), 16).unwrap();
                let mut chunk = vec![0; size + 2];
                read.read_exact(&mut chunk).await.unwrap();
                if size == 0 {
                    break;
                }
                got.extend_from_slice(&chunk[..size]);
            }
            assert!(got == pattern(10_000).repeat(50));
            drop(writer.await);
            let outcomes = app.seen().outcomes.borrow();
            assert_eq!(outcomes.len(), 7);
            assert!(outcomes.iter().all(|o| o.broken.is_none() && o.sent == o.received));
        })
        .await;
}

#[tokio::test]
async fn a_client_that_uploads_without_reading_still_gets_the_refusal() {
    LocalSet::new()
        .run_until(async {
            let (listener, address) = listener().await;
            // Refuses at once and closes, with the upload unread: a reset is on its way.
            spawn_local(async move {
                let (mut io, _) = listener.accept().await.unwrap();
                until(&mut io, "\r\n\r\n").await;
                let refusal =
                    b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!";
                io.write_all(refusal).await.unwrap();
            });
            let (mut client, _) = proxy(address).await;
            client
                .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n")
                .await
                .unwrap();
            let mut sent = 0;
            let piece = vec![0; 16_384];
            while sent < 4_000_000 {
                match client.write(&piece).await {
                    Ok(size) => sent += size,
                    Err(_) => break,
                }
            }
            let answer = rest(&mut client).await;
            assert!(answer.starts_with("HTTP/1.1 413 ") && answer.ends_with("no!"), "{answer}");
        })
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_upstreams_connection() {
    LocalSet::new()
        .run_until(async {
            let (listener, address) = listener().await;
            let (mut client, app) = proxy(address).await;
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let (mut upstream, _) = listener.accept().await.unwrap();
            until(&mut upstream, "\r\n\r\n").await;
            drop(client);
            assert_eq!(upstream.read(&mut [0; 8]).await.unwrap(), 0);
            assert_eq!(app.seen().dropped.get(), 1);
        })
        .await;
}

#[tokio::test]
async fn an_upstream_that_dies_inside_its_body_is_not_covered_up() {
    LocalSet::new()
        .run_until(async {
            let (listener, address) = listener().await;
            let (mut client, app) = proxy(address).await;
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let (mut upstream, _) = listener.accept().await.unwrap();
            until(&mut upstream, "\r\n\r\n").await;
            upstream
                .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                .await
                .unwrap();
            until(&mut client, "3\r\nabc\r\n").await;
            socket2::SockRef::from(&upstream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(upstream);
            assert_eq!(rest(&mut client).await, "", "no last chunk");
            let broken = app.seen().outcomes.borrow()[0].broken.unwrap();
            assert_eq!(broken.code, "upstream_broke_off");
        })
        .await;
}

/// Counts the reads and writes that moved bytes, and those that were tried in vain.
struct Counted<IO> {
    io: IO,
    reads: Rc<Cell<usize>>,
    writes: Rc<Cell<usize>>,
}

impl<IO: AsyncRead + Unpin> AsyncRead for Counted<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.reads.set(self.reads.get() + usize::from(read.is_ready()));
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Counted<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.set(self.writes.get() + 1);
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writes.set(self.writes.get() + 1);
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_request_costs_one_read_and_one_write_on_each_side() {
    LocalSet::new()
        .run_until(async {
            let (listener, address) = listener().await;
            let up = TcpStream::connect(address).await.unwrap();
            let (mut upstream, _) = listener.accept().await.unwrap();
            let mut client = TcpStream::connect(address).await.unwrap();
            let (down, _) = listener.accept().await.unwrap();
            let (reads, writes) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
            let up = Counted { io: up, reads: Rc::clone(&reads), writes: Rc::clone(&writes) };
            let down = Counted { io: down, reads: Rc::clone(&reads), writes: Rc::clone(&writes) };
            let first = ClientConnection::new(Box::new(up) as Box<dyn lockgate_core::Duplex>);
            let shelf = Rc::new(Shelf(RefCell::new(vec![first])));
            let app = App::new(move |incoming: Incoming| {
                let shelf = Rc::clone(&shelf);
                async move {
                    let connection = shelf.0.borrow_mut().pop().unwrap();
                    let limits = ClientLimits::default();
                    let sent = connection.send(&incoming.head, incoming.body, limits, shelf).await;
                    (*sent.map_err(|(fault, _)| fault).unwrap().response).into()
                }
            });
            spawn_local(async move {
                let waker = std::task::Waker::noop().clone();
                let ticket = Drain::default().register(&waker);
                serve(down, Bytes::new(), connection(), Rc::new(limits()), app, ticket).await;
            });
            let large = "x".repeat(1000);
            let post = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{large}");
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{large}");
            for round in 1..=10 {
                client.write_all(post.as_bytes()).await.unwrap();
                until(&mut upstream, "\r\n\r\n").await;
                let mut sent = vec![0; 1000];
                upstream.read_exact(&mut sent).await.unwrap();
                upstream.write_all(answer.as_bytes()).await.unwrap();
                let mut got = vec![0; 1000];
                until(&mut client, "\r\n\r\n").await;
                client.read_exact(&mut got).await.unwrap();
                assert_eq!((reads.get(), writes.get()), (2 * round, 2 * round));
            }
        })
        .await;
}
