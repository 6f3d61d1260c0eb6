//! An HTTP/1.1 client that sends exactly the bytes it is given, and reads answers so strictly
//! that anything odd in one fails the test: bare line feeds, folded lines, doubled lengths,
//! lengths beside a transfer coding, lax chunks, or an end before the body is whole.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::Answer;
use crate::wait::LIMIT;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Why no answer could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fail {
    /// The connection ended before an answer's first byte.
    Closed,
    /// The connection ended within an answer.
    Broken,
    /// What came is not what a strict reader accepts.
    Odd(String),
    /// Nothing came in time.
    Late,
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// An answer's head, and how its body is framed.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Statuses of the 1xx heads that came before.
    pub before: Vec<u16>,
    framing: Framing,
    trailers: Vec<(String, String)>,
}

impl Head {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Framing {
    Left(u64),
    Chunked,
    ToEnd,
    Done,
}

/// A connection.
pub struct Wire {
    stream: Box<dyn Stream>,
    /// What was read and not yet used.
    pub buffer: Vec<u8>,
    /// The ALPN protocol that was agreed, if any.
    pub alpn: Option<Vec<u8>>,
    /// The server's certificate chain, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// The TLS version, as rustls names it.
    pub version: Option<String>,
    /// Whether the TLS session was resumed.
    pub resumed: bool,
}

impl Wire {
    /// Connects in plain text.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    /// Connects in plain text, if somebody listens.
    pub async fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Connects in plain text from another address of the loopback, such as `127.0.0.7`.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn connect_from(own: &str, address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        let own = own.parse().expect("an address");
        socket.bind(SocketAddr::new(own, 0)).expect("its address");
        let stream = socket.connect(address).await;
        let stream = stream.unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).expect("its option");
        Self::over(stream)
    }

    /// Connects with TLS, asking for this name.
    ///
    /// # Errors
    /// That of the connection or of the handshake.
    pub async fn tls(
        address: SocketAddr,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        let handshake = TlsConnector::from(config).connect(name, stream);
        let stream = timeout(LIMIT, handshake).await.map_err(|_| {
            std::io::Error::new(std::io::ErrorKind::TimedOut, "no handshake in time")
        })??;
        let session = stream.get_ref().1;
        let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
        let chain = session.peer_certificates().unwrap_or_default();
        let certificates = chain.iter().map(|der| der.to_vec()).collect();
        let version = session.protocol_version().map(|version| format!("{version:?}"));
        let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let plain = Self::over(stream);
        Ok(Self { alpn, certificates, version, resumed, ..plain })
    }

    fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self {
            stream: Box::new(stream),
            buffer: Vec::new(),
            alpn: None,
            certificates: Vec::new(),
            version: None,
            resumed: false,
        }
    }

    /// Sends these bytes. A peer that has gone is no error here: reading will tell.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Sends these bytes, if the peer takes them within the time; false when it does not.
    pub async fn try_send(&mut self, bytes: &[u8], limit: std::time::Duration) -> bool {
        matches!(timeout(limit, self.stream.write_all(bytes)).await, Ok(Ok(())))
    }

    /// Ends the sending side.
    pub async fn half_close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Reads a whole answer to a request that was not HEAD.
    ///
    /// # Panics
    /// When none can be read.
    pub async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await.unwrap_or_else(|fail| panic!("no answer: {fail}"))
    }

    /// Reads a whole answer to a request with this method.
    ///
    /// # Errors
    /// Why none can be read.
    pub async fn answer_to(&mut self, method: &str) -> Result<Answer, Fail> {
        let mut head = self.head(method).await?;
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut head).await? {
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status: head.status, headers: head.headers, body, trailers: head.trailers })
    }

    /// Sends a request and reads its answer.
    pub async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    /// Reads a final head, and notes the interim ones before it.
    ///
    /// # Errors
    /// Why none can be read.
    pub async fn head(&mut self, method: &str) -> Result<Head, Fail> {
        let mut before = Vec::new();
        loop {
            let line = self.line(true).await?;
            let status = status(&line)?;
            let headers = self.fields().await?;
            if (100..200).contains(&status) && status != 101 {
                before.push(status);
                continue;
            }
            let framing = framing(method, status, &headers)?;
            return Ok(Head { status, headers, before, framing, trailers: Vec::new() });
        }
    }

    /// Reads an interim head (1xx) and no more.
    ///
    /// # Errors
    /// Why none can be read.
    pub async fn interim(&mut self) -> Result<u16, Fail> {
        let line = self.line(true).await?;
        let status = status(&line)?;
        self.fields().await?;
        Ok(status)
    }

    /// Reads the next piece of a body: a chunk, or what has come of a plain one. `None` at its end.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn piece(&mut self, head: &mut Head) -> Result<Option<Vec<u8>>, Fail> {
        match head.framing {
            Framing::Done | Framing::Left(0) => Ok(None),
            Framing::Left(left) => {
                if self.buffer.is_empty() && !self.fill().await? {
                    return Err(Fail::Broken);
                }
                let take = self.buffer.len().min(left as usize);
                head.framing = Framing::Left(left - take as u64);
                Ok(Some(self.buffer.drain(..take).collect()))
            }
            Framing::ToEnd => {
                if self.buffer.is_empty() && !self.fill().await? {
                    head.framing = Framing::Done;
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.buffer)))
            }
            Framing::Chunked => self.chunk(head).await,
        }
    }

    async fn chunk(&mut self, head: &mut Head) -> Result<Option<Vec<u8>>, Fail> {
        let line = self.line(false).await?;
        let digits = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = usize::from_str_radix(&line, 16).ok().filter(|_| digits && line.len() <= 8);
        let size = size.ok_or_else(|| Fail::Odd(format!("a chunk's size: {line:?}")))?;
        if size == 0 {
            head.trailers = self.fields().await?;
            head.framing = Framing::Done;
            return Ok(None);
        }
        while self.buffer.len() < size + 2 {
            if !self.fill().await? {
                return Err(Fail::Broken);
            }
        }
        let data = self.buffer.drain(..size).collect();
        let end: Vec<u8> = self.buffer.drain(..2).collect();
        if end != b"\r\n" {
            return Err(Fail::Odd(format!("a chunk's end: {end:?}")));
        }
        Ok(Some(data))
    }

    /// Asserts that the peer ends the connection, and sends nothing more before.
    pub async fn closed(&mut self) {
        let more = self.fill().await;
        let text = String::from_utf8_lossy(&self.buffer).into_owned();
        assert!(text.is_empty(), "more came before the end: {text}");
        assert!(
            matches!(more, Ok(false) | Err(Fail::Broken)),
            "the connection stays open: {more:?}"
        );
    }

    /// Waits for the next bytes and puts them into `buffer`: false at the peer's end or reset.
    ///
    /// # Errors
    /// [`Fail::Late`] when nothing came in time.
    pub async fn fill(&mut self) -> Result<bool, Fail> {
        self.buffer.reserve(16 * 1024);
        match timeout(LIMIT, self.stream.read_buf(&mut self.buffer)).await {
            Err(_) => Err(Fail::Late),
            Ok(Ok(0) | Err(_)) => Ok(false),
            Ok(Ok(_)) => Ok(true),
        }
    }

    /// The stream itself, for what comes after a switch of protocols. `buffer` must be empty.
    pub fn into_stream(self) -> impl AsyncRead + AsyncWrite + Unpin + Send {
        assert!(self.buffer.is_empty(), "bytes came before they were asked for");
        self.stream
    }

    async fn line(&mut self, first: bool) -> Result<String, Fail> {
        let end = loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                break end;
            }
            let nothing = self.buffer.is_empty();
            if !self.fill().await? {
                return Err(if first && nothing { Fail::Closed } else { Fail::Broken });
            }
        };
        let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
        if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(Fail::Odd(format!("a line: {:?}", String::from_utf8_lossy(&line))));
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    async fn fields(&mut self) -> Result<Vec<(String, String)>, Fail> {
        let mut fields = Vec::new();
        loop {
            let line = self.line(false).await?;
            if line.is_empty() {
                return Ok(fields);
            }
            let odd = || Fail::Odd(format!("a header line: {line:?}"));
            let (name, value) = line.split_once(':').ok_or_else(odd)?;
            let token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(odd());
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
    }
}

fn status(line: &str) -> Result<u16, Fail> {
    let odd = || Fail::Odd(format!("a status line: {line:?}"));
    let rest = line.strip_prefix("HTTP/1.1 ").ok_or_else(odd)?;
    let (digits, _) = rest.split_once(' ').ok_or_else(odd)?;
    let fits = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| fits).ok_or_else(odd)
}

fn framing(method: &str, status: u16, headers: &[(String, String)]) -> Result<Framing, Fail> {
    let all = |name: &str| -> Vec<&str> {
        let fits = headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        fits.map(|(_, value)| value.as_str()).collect()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    let odd = || Fail::Odd(format!("framing: {lengths:?} {codings:?} with {status}"));
    if lengths.len() + codings.len() > 1 || (status == 204 && lengths.len() + codings.len() > 0) {
        return Err(odd());
    }
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let length = match lengths.first() {
        Some(text) => Some(text.parse().ok().filter(|_| digits(text)).ok_or_else(odd)?),
        None => None,
    };
    if codings.first().is_some_and(|coding| *coding != "chunked") {
        return Err(odd());
    }
    if method == "HEAD" || matches!(status, 101 | 204 | 304) {
        return Ok(Framing::Done);
    }
    Ok(match length {
        Some(length) => Framing::Left(length),
        None if codings.is_empty() => Framing::ToEnd,
        None => Framing::Chunked,
    })
}

#[cfg(test)]
mod tests {
    use super::{Fail, Wire};
    use crate::{Raw, Step};

    async fn reads(answer: &str) -> Result<String, Fail> {
        let raw = Raw::start(vec![Step::Request, Step::send(answer), Step::Close]).await;
        let mut wire = Wire::connect(raw.address()).await;
        wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        wire.answer_to("GET").await.map(|answer| answer.text())
    }

    #[tokio::test]
    async fn whole_answers_are_read() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(reads(chunked).await.unwrap(), "abc");
        let plain = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(reads(plain).await.unwrap(), "ok");
        assert_eq!(reads("HTTP/1.1 200 OK\r\n\r\nto the end").await.unwrap(), "to the end");
    }

    #[tokio::test]
    async fn what_is_cut_short_is_broken() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ] {
            assert_eq!(reads(answer).await, Err(Fail::Broken), "{answer}");
        }
        assert_eq!(reads("").await, Err(Fail::Closed));
    }

    #[tokio::test]
    async fn what_is_odd_is_said_to_be_odd() {
        for answer in [
            "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
        ] {
            assert!(matches!(reads(answer).await, Err(Fail::Odd(_))), "{answer}");
        }
    }
}
