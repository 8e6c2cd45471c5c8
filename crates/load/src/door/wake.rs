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
use crate::net::Alpn;
use crate::tickets::Tickets;

/// The first profile of a machine, as the service knows it.
#[derive(Clone)]
pub(crate) struct Identity {
    uaid: String,
    pub(crate) endpoint: String,
}

/// A machine's connection with its streams.
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    streams: Vec<RecvStream>,
    /// For the subscriptions of further profiles.
    key: String,
    driver: Driver,
}

/// Connects, subscribes unless it is `known`, and opens the stream of the first profile.
pub(crate) async fn connect(
    context: &Context,
    key: &str,
    known: &mut Option<Identity>,
    tickets: &Arc<Tickets>,
) -> io::Result<Connection> {
    let stream = context.net.agent(Alpn::Http2, tickets).await?;
    let mut builder = h2::client::Builder::new();
    let (requests, connection) = builder.enable_push(false).handshake(stream).await.map_err(io::Error::other)?;
    let (streams, driver) = (Vec::new(), Driver::start(connection));
    let mut connection = Connection { requests, streams, key: key.to_owned(), driver };
    let identity = match known {
        Some(known) => known,
        None => known.insert(connection.subscribe(context).await.map_err(io::Error::other)?),
    };
    connection.open(context, &identity.uaid).await.map_err(io::Error::other)?;
    Ok(connection)
}

impl Connection {
    /// Holds the streams until the connection ends, and opens further ones when they are wanted.
    pub(crate) async fn hold(mut self, receiver: &Receiver) -> io::Result<Infallible> {
        let context = &receiver.context;
        let mut wanted = context.profiles.subscribe();
        loop {
            while self.streams.len() < *wanted.borrow_and_update() {
                let identity = self.subscribe(context).await.map_err(io::Error::other)?;
                self.open(context, &identity.uaid).await.map_err(io::Error::other)?;
                context.stream_opened();
            }
            tokio::select! {
                why = self.driver.end() => return Err(why),
                changed = wanted.changed() => changed.map_err(io::Error::other)?,
            }
        }
    }

    async fn subscribe(&self, context: &Context) -> Result<Identity> {
        let (identity, set) = subscribe(&self.requests, &context.job.target.origin, &self.key).await?;
        let uaid = set.rsplit('/').next().blame_service("a subscription set has no path")?.to_owned();
        Ok(Identity { uaid, endpoint: identity.endpoint })
    }

    async fn open(&mut self, context: &Context, uaid: &str) -> Result<()> {
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
