//! A sender over HTTP/2: many messages under way on one connection.

use std::io;

use bytes::Bytes;
use h2::client::SendRequest;
use http::header::{AUTHORIZATION, CONTENT_ENCODING};
use http::{HeaderName, HeaderValue, Method, Request};
use tokio::task::spawn_local;

use super::Message;
use crate::context::Context;
use crate::error::{Blame, Result};
use crate::net::Alpn;

const TTL: HeaderName = HeaderName::from_static("ttl");
const URGENCY: HeaderName = HeaderName::from_static("urgency");
const TOPIC: HeaderName = HeaderName::from_static("topic");

/// A shared connection. It closes with the last of its clones.
#[derive(Clone)]
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
}

impl Connection {
    pub(super) async fn open(context: &Context) -> io::Result<Self> {
        let stream = context.net.sender(Alpn::Http2).await?;
        let mut builder = h2::client::Builder::new();
        builder.enable_push(false);
        let (requests, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        spawn_local(async move {
            // A sender on it receives the error.
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
            headers.insert(TOPIC, HeaderValue::try_from(format!("t{}", message.topic)).blame_generator("the topic")?);
        }
        let answered = async {
            let (answer, mut stream) = self.requests.clone().ready().await?.send_request(request, false)?;
            stream.send_data(message.body.clone(), true)?;
            answer.await
        };
        answered.await.map(|answer| answer.status().as_u16()).blame_service("no answer")
    }
}
