//! What the tests of listeners, TLS and HTTP/2 share: a service with a path for each behaviour,
//! limits, and certificates made on the spot.

use std::cell::RefCell;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use lockgate_config::model::{ClientAuth, Http, Http2, KeyPair, ListenerTls};
use lockgate_core::{
    Body, Connection, Fault, Finish, Incoming, Outcome, Reply, Serve, Size, Time, reasons,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair as Key, SerialNumber,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs a test on a worker as the gateway has them: one thread, tasks that stay on it.
pub(crate) fn on_worker<T>(test: impl Future<Output = T>) -> T {
    run(false, test)
}

/// The same, with a clock that jumps to the next timer when nothing else is to be done.
pub(crate) fn on_paused_worker<T>(test: impl Future<Output = T>) -> T {
    run(true, test)
}

fn run<T>(paused: bool, test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(paused).build().unwrap();
    let longest = Duration::from_secs(if paused { 24 * 3600 } else { 20 });
    let test = async { tokio::time::timeout(longest, test).await.expect("the test hangs") };
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

pub(crate) fn limits() -> Http {
    let time = |seconds| Time(Duration::from_secs(seconds));
    Http {
        max_headers: 100,
        max_header_size: Size(32 * 1024),
        max_uri: Size(8 * 1024),
        max_buffered_body: Size(1024 * 1024),
        header_timeout: time(10),
        idle_timeout: time(60),
        body_timeout: time(30),
        write_timeout: time(30),
        min_rate: Size(240),
        min_rate_grace: time(10),
        max_connections: 1000,
        max_connections_per_ip: 0,
        max_requests_per_connection: 0,
        drain_delay: time(0),
        drain_timeout: time(30),
        http2: Http2 {
            max_concurrent_streams: 128,
            max_pending_resets: 20,
            max_streams_per_second: 2000,
            stream_window: Size(256 * 1024),
            connection_window: Size(1024 * 1024),
        },
    }
}

/// What a [`Service`] has seen.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) heads: Vec<http::request::Parts>,
    pub(crate) finished: Vec<Outcome>,
    pub(crate) refused: Vec<&'static str>,
    pub(crate) dropped: usize,
    pub(crate) body_fault: Option<Fault>,
    pub(crate) connection: Option<Rc<Connection>>,
}

/// Answers by path.
#[derive(Clone, Default)]
pub(crate) struct Service(pub(crate) Rc<RefCell<Seen>>);

struct Done(Rc<RefCell<Seen>>);

impl Finish for Done {
    fn finish(self: Box<Self>, outcome: Outcome) {
        self.0.borrow_mut().finished.push(outcome);
    }
}

struct Dropped(Rc<RefCell<Seen>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped += 1;
    }
}

impl Serve for Service {
    fn serve(&self, incoming: Incoming) -> impl Future<Output = Reply> + 'static {
        let seen = self.0.clone();
        async move {
            let Incoming { head, mut body, connection, upgrade } = incoming;
            seen.borrow_mut().connection = Some(connection.clone());
            let path = head.uri.path().to_owned();
            seen.borrow_mut().heads.push(head);
            let mut tunnel = None;
            let mut response = Response::new(Body::Empty);
            match path.as_str() {
                "/echo" => *response.body_mut() = body,
                "/hang" => {
                    let _dropped = Dropped(seen.clone());
                    std::future::pending::<()>().await;
                }
                "/endless" => *response.body_mut() = frames(u64::MAX, 16 * 1024, None),
                "/mega" => *response.body_mut() = frames(1024, 1024, None),
                "/break" => {
                    let fault = Fault::upstream(&reasons::UPSTREAM_BROKE_OFF);
                    *response.body_mut() = frames(3, 10, Some(End::Fault(fault)));
                }
                "/trailers" => {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    *response.body_mut() = frames(2, 10, Some(End::Trailers(trailers)));
                }
                "/read" => loop {
                    match body.frame().await {
                        Some(Ok(_)) => {}
                        Some(Err(fault)) => {
                            seen.borrow_mut().body_fault = Some(fault);
                            break;
                        }
                        None => break,
                    }
                },
                "/early" => *response.status_mut() = StatusCode::FORBIDDEN,
                "/upgrade" if upgrade => {
                    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                    response.headers_mut().insert("upgrade", HeaderValue::from_static("websocket"));
                    tunnel = Some(echo_tunnel());
                }
                _ => {
                    let text = format!("{} on {}", connection.peer, connection.listener);
                    *response.body_mut() = text.into();
                }
            }
            let finish: Option<Box<dyn lockgate_core::Finish>> = Some(Box::new(Done(seen)));
            Reply { finish, tunnel, ..response.into() }
        }
    }

    fn refuse(&self, fault: Fault, _: &Rc<Connection>) -> Reply {
        self.0.borrow_mut().refused.push(fault.reason().code);
        let mut response = Response::new(Body::from(fault.reason().code));
        *response.status_mut() = fault.kind().status();
        response.into()
    }
}

fn echo_tunnel() -> lockgate_core::Tunnel {
    Box::new(|mut io| {
        Box::pin(async move {
            let mut all = Vec::new();
            io.read_to_end(&mut all).await.unwrap();
            io.write_all(&all).await.unwrap();
            io.shutdown().await.unwrap();
            Outcome { received: all.len() as u64, ..Outcome::default() }
        })
    })
}

/// How a made-up body ends.
pub(crate) enum End {
    Trailers(HeaderMap),
    Fault(Fault),
}

struct Frames {
    left: u64,
    size: usize,
    end: Option<End>,
}

/// A streamed body of so many frames of so many bytes.
pub(crate) fn frames(count: u64, size: usize, end: Option<End>) -> Body {
    Body::stream(Frames { left: count, size, end })
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.left > 0 {
            self.left -= 1;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; self.size])))));
        }
        Poll::Ready(self.end.take().map(|end| match end {
            End::Trailers(trailers) => Ok(Frame::trailers(trailers)),
            End::Fault(fault) => Err(fault),
        }))
    }
}

/// A directory that goes with its test.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("lockgate-net-{:032x}", fastrand::u128(..)));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority that signs whatever it is asked to.
pub(crate) struct Authority {
    issuer: Issuer<'static, Key>,
    pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = Key::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// The authority's own certificate.
    pub(crate) fn file(&self, files: &Files, name: &str) -> PathBuf {
        files.write(&format!("{name}.pem"), &self.pem)
    }

    /// A server's certificate.
    pub(crate) fn pair(&self, files: &Files, name: &str, names: &[&str]) -> KeyPair {
        self.signed(files, name, params(names))
    }

    /// A client's certificate.
    pub(crate) fn client(&self, files: &Files, common: &str, names: &[&str]) -> KeyPair {
        let mut params = params(names);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example, Ltd");
        params.distinguished_name.push(DnType::CommonName, common);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(vec![0x0a, 0xbc]));
        self.signed(files, "client", params)
    }

    pub(crate) fn signed(&self, files: &Files, name: &str, params: CertificateParams) -> KeyPair {
        let key = Key::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        KeyPair {
            cert: files.write(&format!("{name}.pem"), &certificate.pem()),
            key: files.write(&format!("{name}.key"), &key.serialize_pem()),
        }
    }
}

pub(crate) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

pub(crate) fn listener_tls(certificates: Vec<KeyPair>) -> ListenerTls {
    ListenerTls { certificates, client_ca: None, client_auth: ClientAuth::Off }
}
