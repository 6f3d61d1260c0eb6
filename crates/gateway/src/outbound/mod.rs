//! The gateway's own HTTP client: one thread, one set of connections for all that plugins ask. A
//! worker only waits for the answer; what it no longer waits for ends.

mod address;
#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use http::request::Parts;
use lockgate_config::model::HostHeader;
use lockgate_core::{
    Body, Call, Connection, Destination, Exchange, Fault, Outbound, SendFuture, Trailers, reasons,
};
use lockgate_upstream::{Caller, Origins, Plan, Registry, Upstream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{Instant, MissedTickBehavior, timeout_at};

/// Requests under way at once; more are refused.
const MOST: usize = 1024;
/// How often idle connections are looked after.
const TICK: Duration = Duration::from_secs(1);
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("lockgate/", env!("CARGO_PKG_VERSION")));

/// The way to the client's thread. The thread ends with the last of it.
pub(crate) struct Client {
    queue: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
}

/// One request on its way to the thread.
struct Job {
    call: Call,
    deadline: Instant,
    answer: oneshot::Sender<Result<Response<Bytes>, Fault>>,
    _room: OwnedSemaphorePermit,
}

impl Client {
    /// Starts the thread. Upstreams are those that are in force when a request is sent.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(registry: Arc<Registry>, origins: Origins) -> anyhow::Result<Arc<Self>> {
        let (queue, jobs) = mpsc::channel(MOST);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting the runtime for the gateway's own requests")?;
        std::thread::Builder::new()
            .name("outbound".to_owned())
            .spawn(move || {
                let sender = Rc::new(Sender::new(registry, origins));
                LocalSet::new().block_on(&runtime, sender.serve(jobs));
            })
            .context("starting the thread for the gateway's own requests")?;
        Ok(Arc::new(Self { queue, room: Arc::new(Semaphore::new(MOST)) }))
    }
}

impl Outbound for Client {
    fn send(&self, call: Call) -> SendFuture<Result<Response<Bytes>, Fault>> {
        let (queue, room) = (self.queue.clone(), Arc::clone(&self.room));
        Box::pin(async move {
            let deadline = Instant::now() + call.timeout;
            let full = || {
                let detail = format!("{MOST} requests of the gateway's own are under way");
                Fault::gateway(&reasons::OVERLOADED).detail(detail)
            };
            let _room = room.try_acquire_owned().map_err(|_| full())?;
            let (answer, answered) = oneshot::channel();
            queue.try_send(Job { call, deadline, answer, _room }).map_err(|_| full())?;
            match timeout_at(deadline, answered).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => {
                    let detail = "a request of the gateway's own panicked";
                    Err(Fault::gateway(&reasons::INTERNAL).detail(detail))
                }
                Err(_) => Err(Fault::upstream(&reasons::UPSTREAM_TIMEOUT)
                    .detail("no whole answer to a request of the gateway's own in time")),
            }
        })
    }
}

/// What the thread works with.
struct Sender {
    caller: Caller,
    registry: Arc<Registry>,
    origins: Origins,
    /// Every exchange has a connection that it came on.
    connection: Rc<Connection>,
}

impl Sender {
    fn new(registry: Arc<Registry>, origins: Origins) -> Self {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let connection =
            Connection { listener: "outbound".into(), ..Connection::plain(nowhere, nowhere) };
        Self { caller: Caller::new(), registry, origins, connection: Rc::new(connection) }
    }

    async fn serve(self: Rc<Self>, mut jobs: mpsc::Receiver<Job>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    self.caller.sweep();
                    self.origins.sweep();
                }
                job = jobs.recv() => match job {
                    Some(job) => drop(tokio::task::spawn_local(Rc::clone(&self).work(job))),
                    None => return,
                },
            }
        }
    }

    /// Does one job, for as long as somebody waits for its answer.
    async fn work(self: Rc<Self>, job: Job) {
        let Job { call, deadline, mut answer, _room } = job;
        let result = tokio::select! {
            () = answer.closed() => return,
            result = self.send(call, deadline) => result,
        };
        let _ = answer.send(result);
    }

    async fn send(&self, call: Call, deadline: Instant) -> Result<Response<Bytes>, Fault> {
        let (mut head, body) = call.request.into_parts();
        head.headers.entry(header::USER_AGENT).or_insert(AGENT);
        let upstream = self.upstream(&call.to, &mut head)?;
        let host = match head.headers.contains_key(header::HOST) {
            true => upstream.settings().host,
            false => HostHeader::Endpoint,
        };
        upstream.ready().await;
        let plan = Plan { retry: &upstream.settings().retry, host, stated: Default::default() };
        let mut exchange = self.exchange(head, body.into(), deadline);
        let answer = self.caller.call(&upstream, &plan, &mut exchange).await?;
        let (mut head, body) = answer.response.into_parts();
        let (body, trailers) = body.collect_all(call.max_body).await.map_err(|fault| {
            if fault.reason() != &reasons::TOO_LARGE {
                return fault;
            }
            let detail = format!("the answer has more than {} bytes", call.max_body);
            Fault::upstream(&reasons::UPSTREAM_BAD_ANSWER).detail(detail)
        })?;
        if let Some(trailers) = trailers {
            head.extensions.insert(Trailers(trailers));
        }
        Ok(Response::from_parts(head, body))
    }

    /// The upstream that is asked; the head gets its final target.
    fn upstream(&self, to: &Destination, head: &mut Parts) -> Result<Arc<Upstream>, Fault> {
        match to {
            Destination::Upstream(name) => {
                self.registry.upstreams().get(name.as_str()).cloned().ok_or_else(|| {
                    let detail = format!("the configuration has no upstream `{name}`");
                    Fault::gateway(&reasons::INTERNAL).detail(detail)
                })
            }
            Destination::Url { ca } | Destination::Http2 { ca } => {
                let http2 = matches!(to, Destination::Http2 { .. });
                let address = address::read(&head.uri, ca.clone(), http2)
                    .map_err(|why| Fault::gateway(&reasons::INTERNAL).detail(why))?;
                head.headers.entry(header::HOST).or_insert(address.host);
                head.uri = address.target;
                Ok(self.origins.get(address.origin))
            }
        }
    }

    fn exchange(&self, head: Parts, body: Body, deadline: Instant) -> Exchange {
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        Exchange {
            host: host.unwrap_or_default().into(),
            body,
            deadline: Some(deadline),
            ..Exchange::begun(head, Rc::clone(&self.connection))
        }
    }
}
