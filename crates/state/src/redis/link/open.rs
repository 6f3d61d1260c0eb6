//! Opening a connection: TCP, the login, and the driver that moves bytes both ways.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::redis::figures::Calls;
use crate::redis::settings::{Address, Login, Settings, Stream, Tls};

/// How long opening may take in all.
const OPENING: Duration = Duration::from_secs(2);
/// When an idle connection is looked after, and how often.
const IDLE: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_secs(5);

/// What moves a connection's bytes; over when the connection is.
pub(crate) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Opens connections in one store's way.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    info: RedisConnectionInfo,
    tls: Option<Tls>,
    pub(super) figures: Arc<Calls>,
}

impl Dialer {
    pub(crate) fn new(settings: &Settings, figures: Arc<Calls>) -> Self {
        let info = info(&settings.login).set_db(settings.database.into());
        Self { info, tls: settings.tls.clone(), figures }
    }

    /// The same, for sentinels.
    pub(crate) fn for_sentinels(&self, login: &Login) -> Self {
        Self { info: info(login), tls: self.tls.clone(), figures: Arc::clone(&self.figures) }
    }

    /// The same, speaking the protocol in which messages come by themselves.
    pub(crate) fn for_messages(&self) -> Self {
        let info = self.info.clone().set_protocol(ProtocolVersion::RESP3);
        Self { info, tls: self.tls.clone(), figures: Arc::clone(&self.figures) }
    }

    /// A connection, logged in.
    ///
    /// # Errors
    /// What kept it from being opened.
    pub(crate) async fn open(
        &self,
        address: &Address,
        config: AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Driver), Cow<'static, str>> {
        // An answer is waited for by whoever asks.
        let config = config.set_response_timeout(None).set_connection_timeout(None);
        match timeout(OPENING, self.opened(address, config)).await {
            Ok(opened) => opened,
            Err(_) => Err(format!("does not answer at {address}").into()),
        }
    }

    async fn opened(
        &self,
        address: &Address,
        config: AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Driver), Cow<'static, str>> {
        let stream = TcpStream::connect((&*address.host, address.port))
            .await
            .map_err(|error| format!("cannot be reached at {address}: {error}"))?;
        tune(&stream).map_err(|error| format!("cannot be reached at {address}: {error}"))?;
        let Some(tls) = &self.tls else { return self.logged_in(address, stream, config).await };
        let stream = tls.secure.secure(stream, &address.host).await;
        let stream = stream.map_err(|error| {
            format!("at {address} cannot be trusted, or speaks no TLS: {error}")
        })?;
        self.logged_in(address, stream, config).await
    }

    async fn logged_in(
        &self,
        address: &Address,
        stream: impl Stream + 'static,
        config: AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Driver), Cow<'static, str>> {
        let made = MultiplexedConnection::new_with_config(&self.info, stream, config).await;
        let (connection, driver) = made.map_err(|error| refused(address, &error))?;
        Ok((connection, Box::pin(driver)))
    }
}

fn info(login: &Login) -> RedisConnectionInfo {
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP2)
        .set_lib_name("lockgate", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &login.username {
        info = info.set_username(username);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password);
    }
    info
}

fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(AGAIN).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Why a server did not let the gateway in. What it says does not repeat the password.
fn refused(address: &Address, error: &RedisError) -> String {
    if error.kind() == ErrorKind::AuthenticationFailed || error.code() == Some("NOAUTH") {
        return format!("at {address} refuses the user or the password");
    }
    format!("at {address} refuses the connection: {}", said(error))
}

/// An error as the server said it: its code and what follows.
pub(crate) fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    }
}
