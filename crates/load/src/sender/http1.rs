//! A sender over HTTP/1.1 that keeps its connection, as most senders do.

use std::io;

use super::Message;
use crate::context::Context;
use crate::error::{Blame, Result};
use crate::http1::Http1;
use crate::net::Alpn;

/// One connection.
pub(super) struct Connection {
    http: Http1,
    is_fresh: bool,
    request: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(context: &Context) -> io::Result<Self> {
        let http = Http1::new(context.net.sender(Alpn::Http1).await?);
        Ok(Self { http, is_fresh: true, request: Vec::new() })
    }

    /// Sends a message: the status of the answer.
    pub(super) async fn post(&mut self, context: &Context, message: &Message<'_>) -> Result<u16> {
        self.write(message)?;
        let answer = match self.http.exchange(&self.request).await {
            // A service may close a connection that was quiet for a while; every client then opens another one.
            Err(_) if !self.is_fresh => {
                self.http = Http1::new(context.net.sender(Alpn::Http1).await.blame_service("cannot connect again")?);
                self.http.exchange(&self.request).await
            }
            answer => answer,
        };
        self.is_fresh = false;
        answer.map(|answer| answer.status).blame_service("no answer")
    }

    fn write(&mut self, message: &Message<'_>) -> Result<()> {
        let Message { to, ttl_secs, urgency, topic, body } = message;
        let authority = to.uri.authority().map_or("", |authority| authority.as_str());
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: {authority}\r\nttl: {ttl_secs}\r\ncontent-encoding: aes128gcm\r\n\
             content-length: {}\r\nauthorization: {}\r\n",
            to.uri.path(),
            body.len(),
            to.authorization.to_str().blame_generator("a token that is not text")?
        );
        if let Some(urgency) = urgency {
            head += &format!("urgency: {urgency}\r\n");
        }
        if *topic > 0 {
            head += &format!("topic: t{topic}\r\n");
        }
        self.request.clear();
        self.request.extend(head.as_bytes());
        self.request.extend(b"\r\n");
        self.request.extend(body);
        Ok(())
    }
}
