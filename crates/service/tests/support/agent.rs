//! A user agent that knows HTTP/2 only: it opens monitoring requests and collects what is pushed.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{FlowControl, RecvStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpStream;

use super::within;

/// A client connection.
pub struct Agent {
    requests: SendRequest<Bytes>,
}

/// A GET in progress.
pub struct Monitoring {
    response: ResponseFuture,
    pushes: h2::client::PushPromises,
    /// The final answer, once it has come. When the answer ends the stream, the h2 client does not wake a task that
    /// waits for pushes, so a task waits for both.
    answer: Option<Response<RecvStream>>,
}

/// A push that was promised and has arrived.
#[derive(Debug)]
pub struct Push {
    pub uri: String,
    pub promised: HeaderMap,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The settings of an agent that takes pushes.
pub fn settings() -> Builder {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(true);
    builder
}

impl Agent {
    pub async fn connect(address: SocketAddr, builder: Builder) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = within(builder.handshake(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { requests }
    }

    pub async fn send(&mut self, request: Request<()>) -> ResponseFuture {
        let mut ready = within(self.requests.clone().ready()).await.unwrap();
        ready.send_request(request, true).unwrap().0
    }

    /// Opens a GET and leaves it open.
    pub async fn monitor(&mut self, uri: &str, headers: &[(&str, &str)]) -> Monitoring {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = self.send(request.body(()).unwrap()).await;
        let pushes = response.push_promises();
        Monitoring { response, pushes, answer: None }
    }

    /// Everything that is there now: the pushes and the final status.
    pub async fn fetch(&mut self, uri: &str) -> (Vec<Push>, StatusCode) {
        let mut monitoring = self.monitor(uri, &[("prefer", "wait=0")]).await;
        let mut pushes = Vec::new();
        while let Some(push) = monitoring.next().await {
            pushes.push(push);
        }
        (pushes, monitoring.finish().await)
    }

    /// Posts a message of 1,024 bytes; its URI, or `None` if it was refused with 429.
    pub async fn post(&mut self, uri: &str) -> Option<String> {
        let mut ready = within(self.requests.clone().ready()).await.unwrap();
        let request = Request::post(uri).header("ttl", "60").body(()).unwrap();
        let (response, mut body) = ready.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(&[7; 1024]), true).unwrap();
        let answer = within(response).await.unwrap();
        match answer.status() {
            StatusCode::CREATED => Some(super::header(&answer, "location").to_owned()),
            StatusCode::TOO_MANY_REQUESTS => None,
            status => panic!("{status}"),
        }
    }

    pub async fn delete(&mut self, uri: &str) -> StatusCode {
        let response = self.send(Request::delete(uri).body(()).unwrap()).await;
        within(response).await.unwrap().status()
    }
}

impl Monitoring {
    /// The next push, or `None` when the request is over.
    pub async fn next(&mut self) -> Option<Push> {
        let promise = within(self.promise()).await?;
        let (request, response) = promise.into_parts();
        let response = within(response).await.unwrap();
        let body = within(read(response)).await;
        Some(Push {
            uri: request.uri().to_string(),
            promised: request.headers().clone(),
            status: body.0.status(),
            headers: body.0.headers().clone(),
            body: body.1,
        })
    }

    /// The next push, which must come.
    pub async fn push(&mut self) -> Push {
        self.next().await.expect("a push, before the request ends")
    }

    /// The next promise, refused: the stream is reset before its response is read.
    pub async fn refuse(&mut self) -> String {
        let promise = within(self.promise()).await.expect("a push, before the request ends");
        let (request, response) = promise.into_parts();
        drop(response);
        request.uri().to_string()
    }

    /// The response to the next promise, which has not been waited for.
    pub async fn promised(&mut self) -> h2::client::PushedResponseFuture {
        within(self.promise()).await.expect("a push, before the request ends").into_parts().1
    }

    /// The head of the answer, and its body as it comes.
    pub async fn answer(self) -> Response<RecvStream> {
        within(self.response).await.unwrap()
    }

    /// The final status. Pushes that come before it are dropped.
    pub async fn finish(mut self) -> StatusCode {
        match self.answer {
            Some(answer) => answer.status(),
            None => within(&mut self.response).await.unwrap().status(),
        }
    }

    /// Reads the answer's body until it contains `end`, then closes.
    pub async fn body_until(self, end: &str) -> String {
        let mut body = within(self.response).await.unwrap().into_body();
        let mut seen = String::from("\n\n");
        while !seen.contains(end) || !seen.ends_with("\n\n") {
            let data = within(body.data()).await.expect("more of the body").unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            seen += std::str::from_utf8(&data).unwrap();
        }
        seen
    }

    async fn promise(&mut self) -> Option<h2::client::PushPromise> {
        loop {
            tokio::select! {
                biased;
                promise = self.pushes.push_promise() => return promise.map(Result::unwrap),
                answer = &mut self.response, if self.answer.is_none() => self.answer = Some(answer.unwrap()),
            }
        }
    }
}

async fn read(response: Response<RecvStream>) -> (Response<()>, Bytes) {
    let (head, mut stream) = response.into_parts();
    let mut body = BytesMut::new();
    while let Some(data) = stream.data().await {
        let data = data.unwrap();
        let flow: &mut FlowControl = stream.flow_control();
        flow.release_capacity(data.len()).unwrap();
        body.extend_from_slice(&data);
    }
    (Response::from_parts(head, ()), body.freeze())
}
