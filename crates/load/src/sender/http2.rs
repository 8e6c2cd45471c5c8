//! A sender over HTTP/2: many messages under way on one connection.

use std::io;

use anyhow::Result;
use bytes::Bytes;
use h2::client::SendRequest;
use http::header::{AUTHORIZATION, CONTENT_ENCODING};
use http::{HeaderName, HeaderValue, Method, Request};
use tokio::task::spawn_local;

use super::Message;
use crate::load::net::Alpn;
use crate::load::world::World;

const TTL: HeaderName = HeaderName::from_static("ttl");
const URGENCY: HeaderName = HeaderName::from_static("urgency");
const TOPIC: HeaderName = HeaderName::from_static("topic");

/// One of those that share a connection. It closes with the last of them.
#[derive(Clone)]
pub(in crate::load) struct Line {
    requests: SendRequest<Bytes>,
}

impl Line {
    pub(super) async fn open(world: &World) -> io::Result<Self> {
        let stream = world.net.sender(Alpn::Http2).await?;
        let mut builder = h2::client::Builder::new();
        builder.enable_push(false);
        let (requests, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        spawn_local(async move {
            // Whoever sends on it hears of its end.
            let _ = connection.await;
        });
        Ok(Self { requests })
    }

    /// Sends a message: the status of the answer.
    pub(super) async fn post(&mut self, message: &Message<'_>) -> Result<u16> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = message.to.uri.clone();
        let headers = request.headers_mut();
        headers.insert(TTL, message.ttl_secs.into());
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
        headers.insert(AUTHORIZATION, message.to.authorization.clone());
        if let Some(urgency) = message.urgency {
            headers.insert(URGENCY, HeaderValue::from_static(urgency));
        }
        if message.topic > 0 {
            headers.insert(TOPIC, HeaderValue::try_from(format!("t{}", message.topic))?);
        }
        let mut requests = self.requests.clone().ready().await?;
        let (answer, mut stream) = requests.send_request(request, false)?;
        stream.send_data(message.body.clone(), true)?;
        Ok(answer.await?.status().as_u16())
    }
}
