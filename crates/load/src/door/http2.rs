//! The standard's door (RFC 8030): a GET that is held, messages as server pushes, and a DELETE for each.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use doorbell_protocol::headers::link;
use doorbell_protocol::headers::link::{REL_PUSH, REL_PUSH_SET};
use h2::Ping;
use h2::client::{PushPromise, PushPromises, SendRequest};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use tokio::task::{JoinHandle, spawn_local};

use crate::body::Stamp;
use crate::context::{Context, Receiver};
use crate::error::{Blame, LoadError, Result};
use crate::net::{Alpn, Stream};
use crate::tickets::Tickets;

/// Pushes that are open at the same time at most: as many as the service would have unacknowledged.
const PUSHES_MAX: u32 = 100;
/// The first bytes of a body, in which the stamp is: the rest is read and dropped.
const START: usize = 256;

/// A subscription, as the agent knows it.
#[derive(Clone)]
pub(crate) struct Identity {
    monitor: Uri,
    pub(crate) endpoint: String,
}

/// A connection with its GET.
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    pushes: PushPromises,
    driver: Driver,
}

/// The task that does the connection's reading and writing. It ends with its owner.
pub(super) struct Driver(JoinHandle<Result<(), h2::Error>>);

impl Driver {
    /// Drives the connection.
    pub(super) fn start(connection: h2::client::Connection<Box<dyn Stream>, Bytes>) -> Self {
        Self(spawn_local(connection))
    }

    /// Waits until the connection has ended: the reason.
    pub(super) async fn end(&mut self) -> io::Error {
        let ended = (&mut self.0).await.ok().and_then(Result::err);
        ended.map_or_else(|| io::Error::other("the service ended the connection"), io::Error::other)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects, subscribes unless it is `known`, and asks for messages.
pub(crate) async fn connect(
    context: &Context,
    key: &str,
    known: &mut Option<Identity>,
    tickets: &Arc<Tickets>,
) -> io::Result<Connection> {
    let stream = context.net.agent(Alpn::Http2, tickets).await?;
    let mut builder = h2::client::Builder::new();
    builder.enable_push(true).max_concurrent_streams(PUSHES_MAX).max_header_list_size(16 << 10);
    let (requests, mut connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
    let pings = connection.ping_pong();
    let driver = Driver::start(connection);
    let identity = match known {
        Some(known) => known,
        None => known.insert(subscribe(&requests, &context.job.target.origin, key).await.map_err(io::Error::other)?.0),
    };
    let mut request = Request::new(());
    *request.uri_mut() = identity.monitor.clone();
    let mut ready = requests.clone().ready().await.map_err(io::Error::other)?;
    let (mut answer, _) = ready.send_request(request, true).map_err(io::Error::other)?;
    let pushes = answer.push_promises();
    // A held GET has no answer until it ends; but when the service has answered a ping it has read the request.
    if let Some(mut pings) = pings {
        pings.ping(Ping::opaque()).await.map_err(io::Error::other)?;
    }
    Ok(Connection { requests, pushes, driver })
}

/// A new subscription, and the path of its set.
pub(super) async fn subscribe(requests: &SendRequest<Bytes>, origin: &str, key: &str) -> Result<(Identity, String)> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("{origin}/subscribe").parse().blame_usage("the origin is not a URL")?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/webpush-options+json"));
    let answer = async {
        let (answer, mut body) = requests.clone().ready().await?.send_request(request, false)?;
        body.send_data(format!(r#"{{"vapid":"{key}"}}"#).into(), true)?;
        answer.await
    };
    let answer = answer.await.blame_service("subscribing")?;
    if answer.status() != StatusCode::CREATED {
        return Err(LoadError::Service(format!("subscribing is answered {}", answer.status())));
    }
    let identity = Identity::of_answer(answer.headers(), origin);
    let set = link::target(answer.headers(), REL_PUSH_SET);
    identity.zip(set).blame_service("the answer to subscribing names no subscription")
}

impl Identity {
    fn of_answer(headers: &HeaderMap, origin: &str) -> Option<Self> {
        let absolute = |url: &str| if url.starts_with('/') { format!("{origin}{url}") } else { url.to_owned() };
        let monitor = headers.get(LOCATION)?.to_str().ok()?;
        Some(Self { monitor: absolute(monitor).parse().ok()?, endpoint: absolute(&link::target(headers, REL_PUSH)?) })
    }
}

impl Connection {
    pub(crate) async fn receive(mut self, receiver: &Receiver) -> io::Result<Infallible> {
        loop {
            match poll_fn(|cx| self.pushes.poll_push_promise(cx)).await {
                Some(Ok(push)) => {
                    let requests = self.requests.clone();
                    take(push, requests, receiver).await.map_err(io::Error::other)?;
                }
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Err(self.driver.end().await),
            }
        }
    }
}

/// Reads a pushed message and acknowledges it, without waiting for the answer to that.
async fn take(push: PushPromise, requests: SendRequest<Bytes>, receiver: &Receiver) -> Result<(), h2::Error> {
    let (promised, answer) = push.into_parts();
    let mut body = answer.await?.into_body();
    let mut start = Vec::with_capacity(START);
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        if start.len() < START {
            start.extend_from_slice(&piece);
        }
    }
    receiver.received(Stamp::of(&start));
    let mut request = Request::new(());
    *request.method_mut() = Method::DELETE;
    *request.uri_mut() = promised.uri().clone();
    let (answer, _) = requests.ready().await?.send_request(request, true)?;
    spawn_local(answer);
    Ok(())
}
