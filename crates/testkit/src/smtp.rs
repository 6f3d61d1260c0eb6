//! A mail server that keeps what it is given: plain, STARTTLS or TLS from the first byte, with a
//! password if one is demanded. It is strict about the order of commands and about line ends, and
//! can be told to fail.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// A mail as it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    pub from: String,
    pub to: Vec<String>,
    /// The message with its header, without the dots that SMTP adds.
    pub message: String,
    /// Whether it came under TLS.
    pub secured: bool,
    /// What was shown to log in, decoded, its parts separated by NUL.
    pub login: Option<Vec<u8>>,
}

/// How a mail server is secured.
#[derive(Clone)]
pub enum Secured {
    Never,
    ByStarttls(Arc<ServerConfig>),
    FromTheStart(Arc<ServerConfig>),
}

struct Shared {
    secured: Secured,
    /// The way of AUTH that is offered and demanded.
    auth: Option<&'static str>,
    letters: Mutex<Vec<Letter>>,
    connections: AtomicUsize,
    /// So many mails are refused for now (451), before any is taken.
    refusals: AtomicUsize,
}

/// A mail server; dropping it ends it.
pub struct Smtp {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Smtp {
    /// Starts one. With `auth` (`PLAIN` or `LOGIN`) it takes mail only from who logs in.
    pub async fn start(secured: Secured, auth: Option<&'static str>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            secured,
            auth,
            letters: Mutex::default(),
            connections: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
        });
        let theirs = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                theirs.connections.fetch_add(1, SeqCst);
                let shared = Arc::clone(&theirs);
                tokio::spawn(async move { serve(stream, &shared).await });
            }
        });
        Self { address, shared, task: task.abort_handle() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has taken.
    pub fn letters(&self) -> Vec<Letter> {
        self.shared.letters.lock().unwrap().clone()
    }

    /// How often it was connected to.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// Refuses the next mails for now.
    pub fn refuse(&self, mails: usize) {
        self.shared.refusals.store(mails, SeqCst);
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Session<'a> {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    shared: &'a Shared,
    secured: bool,
    greeted: bool,
    login: Option<Vec<u8>>,
    from: Option<String>,
    to: Vec<String>,
}

async fn serve(stream: TcpStream, shared: &Shared) {
    let (stream, secured): (Box<dyn Stream>, bool) = match &shared.secured {
        Secured::FromTheStart(config) => {
            let acceptor = TlsAcceptor::from(Arc::clone(config));
            let Ok(stream) = acceptor.accept(stream).await else { return };
            (Box::new(stream), true)
        }
        _ => (Box::new(stream), false),
    };
    let mut session = Session {
        stream,
        buffer: Vec::new(),
        shared,
        secured,
        greeted: false,
        login: None,
        from: None,
        to: Vec::new(),
    };
    session.say("220 mail.test ESMTP").await;
    while let Some(line) = session.line().await {
        let Some(next) = session.obey(&line).await else { return };
        session = next;
    }
}

impl<'a> Session<'a> {
    async fn say(&mut self, line: &str) {
        let _ = self.stream.write_all(format!("{line}\r\n").as_bytes()).await;
        let _ = self.stream.flush().await;
    }

    /// A line without its end, which must be CR LF.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = line.strip_suffix(b"\r\n").expect("lines end with CR LF");
                assert!(line.len() <= 998, "no line is longer (RFC 5321, section 4.5.3.1.6)");
                return Some(String::from_utf8(line.to_vec()).expect("lines are UTF-8"));
            }
            let mut piece = [0; 1024];
            match self.stream.read(&mut piece).await {
                Ok(read @ 1..) => self.buffer.extend_from_slice(&piece[..read]),
                _ => return None,
            }
        }
    }

    /// One command; `None` ends the connection.
    async fn obey(mut self, line: &str) -> Option<Session<'a>> {
        let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "EHLO" => self.hello().await,
            "STARTTLS" => return self.secure().await,
            "AUTH" => self.log_in(line).await,
            "MAIL" => self.mail(line).await,
            "RCPT" => {
                let to = between(line);
                if self.from.is_none() {
                    self.say("503 MAIL first").await;
                } else if to.starts_with("gone@") {
                    self.say("550 no such mailbox").await;
                } else {
                    self.to.push(to);
                    self.say("250 ok").await;
                }
            }
            "DATA" => self.data().await?,
            "QUIT" => {
                self.say("221 bye").await;
                return None;
            }
            _ => self.say("500 what?").await,
        }
        Some(self)
    }

    async fn hello(&mut self) {
        self.greeted = true;
        self.say("250-mail.test at your service").await;
        if matches!(self.shared.secured, Secured::ByStarttls(_)) && !self.secured {
            self.say("250-STARTTLS").await;
        }
        if let Some(way) = self.shared.auth {
            self.say(&format!("250-AUTH {way}")).await;
        }
        self.say("250 8BITMIME").await;
    }

    async fn secure(mut self) -> Option<Session<'a>> {
        let Secured::ByStarttls(config) = &self.shared.secured else {
            self.say("502 no").await;
            return Some(self);
        };
        self.say("220 go ahead").await;
        let acceptor = TlsAcceptor::from(Arc::clone(config));
        let stream = acceptor.accept(self.stream).await.ok()?;
        // Nothing that was said before counts (RFC 3207, section 4.2).
        Some(Session {
            stream: Box::new(stream),
            buffer: Vec::new(),
            shared: self.shared,
            secured: true,
            greeted: false,
            login: None,
            from: None,
            to: Vec::new(),
        })
    }

    async fn log_in(&mut self, line: &str) {
        let mut words = line.split(' ').skip(1);
        let shown = match (words.next(), words.next()) {
            (Some("PLAIN"), Some(proof)) => unbase64(proof),
            (Some("LOGIN"), None) => {
                self.say("334 VXNlcm5hbWU6").await;
                let user = unbase64(&self.line().await.unwrap_or_default());
                self.say("334 UGFzc3dvcmQ6").await;
                let password = unbase64(&self.line().await.unwrap_or_default());
                [user, vec![0], password].concat()
            }
            _ => return self.say("504 not so").await,
        };
        self.login = Some(shown);
        self.say("235 welcome").await;
    }

    async fn mail(&mut self, line: &str) {
        if !self.greeted || (self.shared.auth.is_some() && self.login.is_none()) {
            return self.say("530 log in first").await;
        }
        let refuse = |left: usize| left.checked_sub(1);
        if self.shared.refusals.fetch_update(SeqCst, SeqCst, refuse).is_ok() {
            return self.say("451 try later").await;
        }
        self.from = Some(between(line));
        self.say("250 ok").await;
    }

    async fn data(&mut self) -> Option<()> {
        let Some(from) = self.from.take().filter(|_| !self.to.is_empty()) else {
            self.say("503 who to whom?").await;
            return Some(());
        };
        self.say("354 go on").await;
        let mut message = String::new();
        loop {
            let line = self.line().await?;
            if line == "." {
                break;
            }
            message.push_str(line.strip_prefix('.').unwrap_or(&line));
            message.push_str("\r\n");
        }
        let letter = Letter {
            from,
            to: std::mem::take(&mut self.to),
            message,
            secured: self.secured,
            login: self.login.clone(),
        };
        self.shared.letters.lock().unwrap().push(letter);
        self.say("250 taken").await;
        Some(())
    }
}

/// What stands between `<` and `>`.
fn between(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(inner, _)| inner.to_owned()).unwrap_or_default()
}

/// Base64, so that the kit needs no crate for it.
fn unbase64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is not of base64"),
    };
    let (mut bits, mut held, mut out) = (0_u32, 0, Vec::new());
    for byte in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::from(value(byte));
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}
