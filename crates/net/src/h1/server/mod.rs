//! The server's side: one connection, one request at a time.

use std::rc::Rc;

use bytes::Bytes;
use lockgate_config::model::Http;
use lockgate_core::{Connection, Serve};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Ticket;

/// Serves a client's connection to its end. `read_ahead` is what the listener has already read.
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
    let _ = (io, read_ahead, connection, limits, serve, ticket);
}
