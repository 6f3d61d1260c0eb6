//! An endpoint as a process of its own, so that it can be killed as processes are: the test
//! binary runs itself once more, asked to serve instead of to test.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Port;
use crate::wait::until;

const ASKED: &str = "LOCKGATE_TEST_ENDPOINT";

/// An endpoint process; dropping it kills it.
pub struct Endpoint {
    child: Child,
    port: Port,
}

impl Endpoint {
    /// Starts one. `test` is the full name of the test that calls [`serve_if_asked`] alone.
    pub async fn start(test: &str) -> Self {
        let port = Port::reserve();
        let child = spawn(test, port.address());
        let endpoint = Self { child, port };
        endpoint.ready().await;
        endpoint
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Kills it with SIGKILL and buries it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it once more at the same address.
    pub async fn restart(&mut self, test: &str) {
        self.kill();
        self.child = spawn(test, self.port.address());
        self.ready().await;
    }

    async fn ready(&self) {
        let address = self.port.address();
        until("an endpoint process to listen", async || TcpStream::connect(address).await.is_ok())
            .await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(test: &str, address: SocketAddr) -> Child {
    Command::new(std::env::current_exe().expect("the test binary"))
        .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ASKED, address.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the test binary starts once more")
}

/// Serves until it is killed, if this process was started as an [`Endpoint`]; else does nothing.
/// It answers every request with 200 and its own address.
pub async fn serve_if_asked() {
    let Ok(address) = std::env::var(ASKED) else { return };
    let address: SocketAddr = address.parse().expect("an address");
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).expect("the endpoint's address");
    let listener: TcpListener = socket.listen(1024).unwrap();
    let body = address.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(requests(stream, answer.clone()));
    }
}

/// Answers requests without bodies, one for each empty line.
async fn requests(mut stream: TcpStream, answer: String) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    let mut piece = vec![0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        buffer.extend_from_slice(&piece[..count]);
        while let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            buffer.drain(..end + 4);
            // Long enough that a kill finds requests in flight.
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
