//! The backend of a bench: as little work as an HTTP server can do, on a thread of its own.

use std::net::TcpListener as StdListener;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A running backend. It ends with the process.
pub(crate) struct Backend {
    pub(crate) port: u16,
}

/// Starts it on a free port of the loopback.
pub(crate) fn start() -> Result<Backend> {
    let listener = StdListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    std::thread::Builder::new().name("backend".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            runtime.block_on(accept(listener));
        }
    })?;
    Ok(Backend { port })
}

async fn accept(listener: StdListener) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let answers = std::sync::Arc::new([answer(1024), answer(100 * 1024)]);
    while let Ok((stream, _)) = listener.accept().await {
        let answers = std::sync::Arc::clone(&answers);
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let _ = serve(stream, &answers).await;
        });
    }
}

/// What a cache may keep, although every request of the tax bench bears credentials.
fn answer(length: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
         Cache-Control: public, max-age=60\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer
}

/// Proxies send one request at a time and wait for its answer, so nothing is read ahead.
async fn serve(mut stream: TcpStream, answers: &[Vec<u8>; 2]) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(16 * 1024);
    loop {
        let head = loop {
            if let Some(end) = find(&buffer, b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let (text, _) = buffer.split_at(head);
        let length = content_length(text);
        let large = text.starts_with(b"GET /100k");
        while buffer.len() < head + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..head + length);
        let [small_answer, large_answer] = answers;
        stream.write_all(if large { large_answer } else { small_answer }).await?;
    }
}

fn content_length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
