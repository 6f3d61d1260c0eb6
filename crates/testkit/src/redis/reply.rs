//! A small client for looking into a Redis: one command, one connection.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::wait::within;

/// What Redis answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A status, such as `OK`.
    Status(String),
    /// An error, with its code.
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    List(Vec<Reply>),
}

impl Reply {
    /// As text, whatever it is; empty for nothing.
    pub fn text(&self) -> String {
        match self {
            Self::Status(text) | Self::Error(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Nil => String::new(),
            Self::List(items) => items.iter().map(Self::text).collect::<Vec<_>>().join("\n"),
        }
    }

    /// As a number.
    ///
    /// # Panics
    /// When it is none.
    pub fn int(&self) -> i64 {
        self.text().parse().unwrap_or_else(|_| panic!("not a number: {self:?}"))
    }

    /// The parts of a list.
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }
}

/// Sends one command on a connection of its own, after those that log in.
///
/// # Panics
/// When there is no answer in time.
pub async fn ask(address: SocketAddr, login: &[&str], words: &[&str]) -> Reply {
    let asked = try_ask(address, login, words);
    let answer = within(&format!("Redis at {address} to answer {words:?}"), asked).await;
    answer.unwrap_or_else(|error| panic!("Redis at {address}, {words:?}: {error}"))
}

/// The same, where it may not be there.
pub(super) async fn try_ask(
    address: SocketAddr,
    login: &[&str],
    words: &[&str],
) -> std::io::Result<Reply> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    if !login.is_empty() {
        let mut auth = vec!["AUTH"];
        auth.extend_from_slice(login);
        stream.write_all(&command(&auth)).await?;
        read(&mut stream).await?;
    }
    stream.write_all(&command(words)).await?;
    read(&mut stream).await
}

fn command(words: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    text.into_bytes()
}

async fn read(stream: &mut BufReader<TcpStream>) -> std::io::Result<Reply> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let wrong = || std::io::Error::other(format!("not a reply: {line:?}"));
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or_else(wrong)?;
    let number = || rest.parse::<i64>().map_err(|_| wrong());
    Ok(match kind {
        "+" => Reply::Status(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Int(number()?),
        "$" => match usize::try_from(number()?) {
            Err(_) => Reply::Nil,
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                stream.read_exact(&mut bytes).await?;
                bytes.truncate(length);
                Reply::Bulk(bytes)
            }
        },
        "*" => {
            let mut items = Vec::new();
            for _ in 0..number()? {
                items.push(Box::pin(read(stream)).await?);
            }
            Reply::List(items)
        }
        _ => return Err(wrong()),
    })
}
