//! A way to a Redis that is narrow: short answers pass at once, long ones take their time.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// How much passes at once.
const PIECE: usize = 16 << 10;

/// Passes connections on to a server, whose answers it delays by what they are long: by 20 ms for
/// every 16 KiB. Gone when dropped.
pub struct Strait {
    address: SocketAddr,
    task: AbortHandle,
}

impl Strait {
    /// Opens one.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let accept = async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(server).await {
                        pass(near, far).await;
                    }
                });
            }
        };
        Self { address, task: tokio::spawn(accept).abort_handle() }
    }

    /// Where it is entered.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Strait {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(near: TcpStream, far: TcpStream) {
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((mut asked, mut told), (mut answered, mut sent)) = (near.into_split(), far.into_split());
    let there = async { tokio::io::copy(&mut asked, &mut sent).await.is_ok() };
    let back = async {
        let mut piece = vec![0; PIECE];
        while let Ok(length) = answered.read(&mut piece).await {
            if length == 0 || told.write_all(&piece[..length]).await.is_err() {
                return;
            }
            if length == PIECE {
                sleep(Duration::from_millis(20)).await;
            }
        }
    };
    tokio::select! {
        _ = there => {}
        () = back => {}
    }
}
