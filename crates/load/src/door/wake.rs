//! The wake door: a connection for each machine, and on it a GET for each browser profile (docs/wake.md).

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{Request, StatusCode};

use super::http2::{Driver, subscribe};
use crate::context::{Context, Receiver};
use crate::error::{Blame, LoadError, Result};
use crate::net::{Alpn, Stream};
use crate::tickets::Tickets;

/// How many browser profiles a machine has.
pub(crate) const PROFILES: usize = 10;

/// The profiles of a machine, as the service knows them.
#[derive(Clone)]
pub(crate) struct Identity {
    uaids: Vec<String>,
    pub(crate) endpoint: String,
}

/// A machine's connection with its streams.
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    streams: Vec<RecvStream>,
    uaids: Vec<String>,
    driver: Driver,
}

/// Connects, after all profiles have subscribed unless they are `known`, and opens the stream of the first one.
pub(crate) async fn connect(
    context: &Context,
    key: &str,
    known: &mut Option<Identity>,
    tickets: &Arc<Tickets>,
) -> io::Result<Connection> {
    let identity = match known {
        Some(known) => known,
        None => known.insert(subscribe_all(context, key).await?),
    };
    let (requests, driver) = handshake(context.net.agent(Alpn::Http2, tickets).await?).await?;
    let mut connection = Connection { requests, streams: Vec::new(), uaids: identity.uaids.clone(), driver };
    connection.open(context).await.map_err(io::Error::other)?;
    Ok(connection)
}

/// Subscribes as browsers do: on another connection. The one of the streams would keep what it has sent there.
async fn subscribe_all(context: &Context, key: &str) -> io::Result<Identity> {
    let (requests, _driver) = handshake(context.net.sender(Alpn::Http2).await?).await?;
    let (mut uaids, mut endpoint) = (Vec::new(), String::new());
    for _ in 0..PROFILES {
        let subscribed = subscribe(&requests, &context.job.target.origin, key).await;
        let (identity, set) = subscribed.map_err(io::Error::other)?;
        uaids.extend(set.rsplit('/').next().map(str::to_owned));
        endpoint = identity.endpoint;
    }
    Ok(Identity { uaids, endpoint })
}

async fn handshake(stream: Box<dyn Stream>) -> io::Result<(SendRequest<Bytes>, Driver)> {
    let mut builder = h2::client::Builder::new();
    let (requests, connection) = builder.enable_push(false).handshake(stream).await.map_err(io::Error::other)?;
    Ok((requests, Driver::start(connection)))
}

impl Connection {
    /// Holds the streams until the connection ends, and opens further ones when they are wanted.
    pub(crate) async fn hold(mut self, receiver: &Receiver) -> io::Result<Infallible> {
        let context = &receiver.context;
        let mut wanted = context.profiles.subscribe();
        loop {
            while self.streams.len() < *wanted.borrow_and_update() {
                self.open(context).await.map_err(io::Error::other)?;
                context.stream_opened();
            }
            tokio::select! {
                why = self.driver.end() => return Err(why),
                changed = wanted.changed() => changed.map_err(io::Error::other)?,
            }
        }
    }

    /// Opens the stream of the next profile.
    async fn open(&mut self, context: &Context) -> Result<()> {
        let uaid = self.uaids.get(self.streams.len()).blame_generator("a machine has no more profiles")?;
        let request = Request::get(format!("{}/wake", context.job.target.origin))
            .header(ACCEPT, "text/event-stream")
            .header(AUTHORIZATION, format!("Bearer {uaid}"));
        let request = request.body(()).blame_service("a uaid is no header")?;
        let answer = async { self.requests.clone().ready().await?.send_request(request, true)?.0.await };
        let answer = answer.await.blame_service("opening a wake stream")?;
        if answer.status() != StatusCode::OK {
            return Err(LoadError::Service(format!("a wake stream is answered {}", answer.status())));
        }
        self.streams.push(answer.into_body());
        Ok(())
    }
}
