//! One mail by SMTP (RFC 5321): STARTTLS or TLS from the first byte, AUTH, and no more than a
//! message needs. Lines and replies are bounded; the caller bounds the time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_config::model::MailTls;
use lockgate_net::tls::ClientTls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Fail;

/// Longest line of a reply, and most lines of one.
const LINE: usize = 2_048;
const LINES: usize = 100;
/// What of a server's words is told.
const TOLD: usize = 200;

/// Where mail goes, and how one gets in.
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: MailTls,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) login: Option<(String, String)>,
}

/// From whom, to whom, and what: the whole message with its header, lines ended by CR LF.
pub(crate) struct Mail<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a [String],
    pub(crate) message: &'a str,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Talk {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// A reply: its code, and its lines.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

/// Sends a mail. `name` is how this machine introduces itself.
pub(crate) async fn send(server: &Server, mail: &Mail<'_>, name: &str) -> Result<(), Fail> {
    let host = server.host.as_str();
    let stream = TcpStream::connect((host, server.port)).await;
    let stream = stream.map_err(|error| Fail::later(format!("cannot connect: {error}")))?;
    let stream: Box<dyn Stream> = match (server.security, &server.tls) {
        (MailTls::Implicit, Some(tls)) => Box::new(secured(tls, stream, host).await?),
        _ => Box::new(stream),
    };
    let mut talk = Talk { stream, buffer: Vec::new() };
    talk.expect(220, "greeting").await?;
    let mut offered = talk.hello(name).await?;
    if let (MailTls::Starttls, Some(tls)) = (server.security, &server.tls) {
        if !offered.iter().any(|word| word.eq_ignore_ascii_case("STARTTLS")) {
            return Err(Fail::never("the server does not offer STARTTLS".to_owned()));
        }
        talk.say("STARTTLS", 220, "STARTTLS").await?;
        // What came before TLS must not be taken for what came under it.
        if !talk.buffer.is_empty() {
            return Err(Fail::never("the server spoke between STARTTLS and TLS".to_owned()));
        }
        let stream = secured(tls, talk.stream, host).await?;
        talk = Talk { stream: Box::new(stream), buffer: Vec::new() };
        offered = talk.hello(name).await?;
    }
    if let Some((user, password)) = &server.login {
        talk.log_in(&offered, user, password).await?;
    }
    talk.hand_over(mail).await
}

async fn secured<S: Stream + 'static>(
    tls: &ClientTls,
    stream: S,
    host: &str,
) -> Result<impl Stream + 'static + use<S>, Fail> {
    let stream = tls.connect(stream, host).await;
    stream.map_err(|fault| Fail::later(format!("no TLS: {}", fault.story())))
}

impl Talk {
    /// EHLO: what the server offers, a line each.
    async fn hello(&mut self, name: &str) -> Result<Vec<String>, Fail> {
        let reply = self.say(&format!("EHLO {name}"), 250, "EHLO").await?;
        Ok(reply.lines.into_iter().skip(1).collect())
    }

    async fn log_in(&mut self, offered: &[String], user: &str, password: &str) -> Result<(), Fail> {
        let ways = offered.iter().find_map(|line| {
            let (word, ways) = line.split_once([' ', '='])?;
            word.eq_ignore_ascii_case("AUTH").then(|| ways.to_ascii_uppercase())
        });
        let ways = ways.unwrap_or_default();
        let knows = |way: &str| ways.split(' ').any(|word| word == way);
        if knows("PLAIN") {
            let proof = STANDARD.encode(format!("\0{user}\0{password}"));
            self.say(&format!("AUTH PLAIN {proof}"), 235, "AUTH PLAIN").await?;
        } else if knows("LOGIN") {
            self.say("AUTH LOGIN", 334, "AUTH LOGIN").await?;
            self.say(&STANDARD.encode(user), 334, "AUTH LOGIN").await?;
            self.say(&STANDARD.encode(password), 235, "AUTH LOGIN").await?;
        } else {
            let why = "the server takes no password by PLAIN or LOGIN";
            return Err(Fail::never(why.to_owned()));
        }
        Ok(())
    }

    async fn hand_over(&mut self, mail: &Mail<'_>) -> Result<(), Fail> {
        self.say(&format!("MAIL FROM:<{}>", mail.from), 250, "MAIL").await?;
        let mut taken = 0_usize;
        let mut refused = None;
        for to in mail.to {
            match self.say(&format!("RCPT TO:<{to}>"), 250, "RCPT").await {
                Ok(_) => taken += 1,
                Err(why) if why.is_reply => refused = Some(why),
                Err(why) => return Err(why),
            }
        }
        // One who is gone does not keep the others from being told.
        if let (0, Some(why)) = (taken, refused) {
            return Err(why);
        }
        self.say("DATA", 354, "DATA").await?;
        let mut text = String::with_capacity(mail.message.len() + 64);
        for line in mail.message.split("\r\n") {
            // RFC 5321, section 4.5.2.
            if line.starts_with('.') {
                text.push('.');
            }
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push('.');
        self.say(&text, 250, "the message").await?;
        // It is the server's by now, whatever it says to this.
        let _ = self.write("QUIT").await;
        Ok(())
    }

    /// Says a line, and reads the reply. `what` names it where it must not be shown.
    async fn say(&mut self, line: &str, code: u16, what: &str) -> Result<Reply, Fail> {
        self.write(line).await?;
        self.expect(code, what).await
    }

    async fn write(&mut self, line: &str) -> Result<(), Fail> {
        let text = format!("{line}\r\n");
        let sent = async {
            self.stream.write_all(text.as_bytes()).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| Fail::later(format!("the connection broke: {error}")))
    }

    async fn expect(&mut self, code: u16, what: &str) -> Result<Reply, Fail> {
        let reply = self.reply().await?;
        // 251: the mail goes on to where its receiver is now.
        if reply.code == code || (code == 250 && reply.code == 251) {
            return Ok(reply);
        }
        let words = reply.lines.first().map(String::as_str).unwrap_or_default();
        let words: String = words.chars().filter(|c| !c.is_control()).take(TOLD).collect();
        let why = format!("{what} was answered {} {words}", reply.code);
        // 5xx is for good, but a server may be mended while alerts wait.
        let fail = if reply.code >= 500 { Fail::never(why) } else { Fail::later(why) };
        Err(Fail { is_reply: true, ..fail })
    }

    async fn reply(&mut self) -> Result<Reply, Fail> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let (Some(code), true) = (code, lines.len() < LINES) else {
                return Err(Fail::later("the server does not speak SMTP".to_owned()));
            };
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
        }
    }

    async fn line(&mut self) -> Result<String, Fail> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.buffer.len() > LINE {
                return Err(Fail::later("the server does not speak SMTP".to_owned()));
            }
            let mut piece = [0; 512];
            let read = self.stream.read(&mut piece).await;
            let read =
                read.map_err(|error| Fail::later(format!("the connection broke: {error}")))?;
            if read == 0 {
                return Err(Fail::later("the server closed the connection".to_owned()));
            }
            self.buffer.extend_from_slice(piece.get(..read).unwrap_or_default());
        }
    }
}
