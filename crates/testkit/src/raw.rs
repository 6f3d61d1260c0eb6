//! A scripted upstream: it does exactly what its script says, byte by byte, and keeps every byte
//! that it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use crate::wait::until;

/// One thing that a scripted connection does. A script that is over drains and then closes.
#[derive(Debug, Clone)]
pub enum Step {
    /// Reads until this text has come (after what earlier steps have used).
    Until(&'static str),
    /// Reads one request: its head, and a body with a `Content-Length`.
    Request,
    /// Reads this many bytes.
    Bytes(usize),
    /// Sends this.
    Send(Vec<u8>),
    /// Sends this, a byte every so often.
    Dribble(Vec<u8>, Duration),
    /// Waits so long.
    Pause(Duration),
    /// Waits until the test lets it go on.
    Gate,
    /// Ends the sending side.
    HalfClose,
    /// Resets the connection.
    Reset,
    /// Closes the connection.
    Close,
    /// Reads, and throws nothing away, until the other side ends.
    Drain,
    /// Goes through these again and again until the other side ends.
    Repeat(Vec<Step>),
}

impl Step {
    /// Sends this text.
    pub fn send(text: &str) -> Self {
        Self::Send(text.as_bytes().to_vec())
    }

    /// Sends a 200 with this body and a length.
    pub fn ok(body: &str) -> Self {
        Self::send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// Sends 32 KiB that are no HTTP.
    pub fn garbage() -> Self {
        Self::Send(
            (0..32 * 1024_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect(),
        )
    }
}

/// How the other side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It sent an end.
    End,
    /// It reset the connection.
    Reset,
    /// The script ended it first.
    Ours,
}

#[derive(Debug, Default)]
struct Record {
    bytes: Vec<u8>,
    ended: Option<Ended>,
}

type Records = Arc<Mutex<Vec<Record>>>;

/// A scripted upstream; dropping it ends it with all its connections.
pub struct Raw {
    address: SocketAddr,
    records: Records,
    gate: Arc<Semaphore>,
    task: AbortHandle,
}

impl Raw {
    /// Starts one whose connections all follow this script.
    pub async fn start(script: Vec<Step>) -> Self {
        Self::each(vec![script]).await
    }

    /// Starts one whose n-th connection follows the n-th script, and all later ones the last.
    pub async fn each(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().unwrap();
        let records = Records::default();
        let gate = Arc::new(Semaphore::new(0));
        let serve = serve(listener, scripts, records.clone(), gate.clone());
        let task = tokio::spawn(serve).abort_handle();
        Self { address, records, gate, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    /// All that came on one connection, so far.
    pub fn received(&self, connection: usize) -> String {
        let records = self.records.lock().unwrap();
        let bytes = records.get(connection).map(|record| record.bytes.clone());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }

    /// All that came on all connections, so far.
    pub fn all(&self) -> String {
        (0..self.connections()).map(|connection| self.received(connection)).collect()
    }

    /// How many requests have come, told by their heads.
    pub fn requests(&self) -> usize {
        self.all().matches(" HTTP/1.1\r\n").count()
    }

    /// Lets this many waiting (or coming) gates go on.
    pub fn open(&self, gates: usize) {
        self.gate.add_permits(gates);
    }

    /// Waits until text has come on any connection.
    pub async fn seen(&self, text: &str) {
        until("an upstream to be sent something", async || self.all().contains(text)).await;
    }

    /// Waits until the other side has ended this connection, and says how.
    pub async fn ended(&self, connection: usize) -> Ended {
        let look = || self.records.lock().unwrap().get(connection).and_then(|r| r.ended);
        until("an upstream's connection to end", async || look().is_some()).await;
        look().unwrap()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    scripts: Vec<Vec<Step>>,
    records: Records,
    gate: Arc<Semaphore>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let mut all = records.lock().unwrap();
        let place = all.len();
        all.push(Record::default());
        drop(all);
        let script = scripts[place.min(scripts.len() - 1)].clone();
        let actor = Actor { stream, place, used: 0, records: records.clone(), gate: gate.clone() };
        connections.spawn(actor.play(script));
        while connections.try_join_next().is_some() {}
    }
}

struct Actor {
    stream: TcpStream,
    place: usize,
    /// How many of the received bytes earlier steps have used.
    used: usize,
    records: Records,
    gate: Arc<Semaphore>,
}

impl Actor {
    async fn play(mut self, mut script: Vec<Step>) {
        let _ = self.stream.set_nodelay(true);
        script.push(Step::Drain);
        let ended = self.steps(&script).await.err().unwrap_or(Ended::Ours);
        let mut records = self.records.lock().unwrap();
        records[self.place].ended.get_or_insert(ended);
    }

    async fn steps(&mut self, script: &[Step]) -> Result<(), Ended> {
        for step in script {
            if let Step::Repeat(steps) = step {
                loop {
                    Box::pin(self.steps(steps)).await?;
                }
            }
            self.step(step).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), Ended> {
        match step {
            Step::Until(text) => self.until(text).await.map(drop),
            Step::Request => self.request().await,
            Step::Bytes(count) => self.bytes(*count).await,
            Step::Send(bytes) => self.stream.write_all(bytes).await.map_err(|_| Ended::Reset),
            Step::Dribble(bytes, pause) => {
                for byte in bytes {
                    self.stream.write_all(&[*byte]).await.map_err(|_| Ended::Reset)?;
                    sleep(*pause).await;
                }
                Ok(())
            }
            Step::Pause(time) => {
                sleep(*time).await;
                Ok(())
            }
            Step::Gate => {
                if let Ok(permit) = self.gate.acquire().await {
                    permit.forget();
                }
                Ok(())
            }
            Step::HalfClose => {
                let _ = self.stream.shutdown().await;
                Ok(())
            }
            Step::Reset => {
                let _ = self.stream.set_zero_linger();
                Err(Ended::Ours)
            }
            Step::Close => Err(Ended::Ours),
            Step::Drain | Step::Repeat(_) => loop {
                self.read().await?;
            },
        }
    }

    async fn request(&mut self) -> Result<(), Ended> {
        let head = self.until("\r\n\r\n").await?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let fits = name.eq_ignore_ascii_case("content-length");
            fits.then(|| value.trim().parse().ok())?
        });
        self.bytes(length.unwrap_or(0)).await
    }

    async fn until(&mut self, text: &str) -> Result<String, Ended> {
        loop {
            let fresh = self.fresh();
            if let Some(at) = fresh.find(text) {
                let end = at + text.len();
                self.used += end;
                return Ok(fresh[..end].to_owned());
            }
            self.read().await?;
        }
    }

    async fn bytes(&mut self, count: usize) -> Result<(), Ended> {
        while self.records.lock().unwrap()[self.place].bytes.len() < self.used + count {
            self.read().await?;
        }
        self.used += count;
        Ok(())
    }

    /// What came and is not used yet, a character for each byte, so that offsets are the same.
    fn fresh(&self) -> String {
        let records = self.records.lock().unwrap();
        let bytes = &records[self.place].bytes[self.used..];
        bytes.iter().map(|byte| if byte.is_ascii() { *byte as char } else { '?' }).collect()
    }

    async fn read(&mut self) -> Result<(), Ended> {
        let mut piece = vec![0; 16 * 1024];
        match self.stream.read(&mut piece).await {
            Ok(0) => Err(Ended::End),
            Err(_) => Err(Ended::Reset),
            Ok(count) => {
                let mut records = self.records.lock().unwrap();
                records[self.place].bytes.extend_from_slice(&piece[..count]);
                Ok(())
            }
        }
    }
}
