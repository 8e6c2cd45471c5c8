//! HTTP/1, served by hyper: most application servers use it, and a WebSocket begins with it.

mod edge;
mod head;
mod rules;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use doorbell_protocol::problem::Problem;
use http::header::{CONNECTION, HeaderValue};
use http::{HeaderMap, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tracing::debug;

use super::context::Context;
use super::handler::Handler;
use crate::transport::websocket::Socket;
use crate::transport::{Body, Incoming, Payload, Place, Request, date};
use edge::{Edge, Shared};

/// The longest request head, in bytes: a capability URL, a VAPID token and the headers around them take under 2 KiB.
const HEAD_MAX: usize = 16 << 10;
/// How long, and for how many bytes, a rejected client may go on sending. A connection that is closed before is reset,
/// and the client may not read the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_MAX: u64 = 1 << 20;

/// Answers requests until the connection ends, or becomes a WebSocket.
pub(crate) async fn serve<H, IO>(io: IO, context: Arc<Context<H>>, place: Arc<Place>) -> Option<Socket<IO>>
where
    H: Handler,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shared = Arc::new(Shared::default());
    let (handler, state, connection) = (context.handler.clone(), shared.clone(), place.clone());
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (handler, state) = (handler.clone(), state.clone());
        let in_progress = connection.request();
        let place = connection.clone();
        Box::pin(async move {
            // The last answer may have been held.
            state.is_held.store(false, Ordering::Relaxed);
            if let Err(problem) = rules::check(&request, state.is_followed.load(Ordering::Relaxed)) {
                state.is_rejected.store(true, Ordering::Relaxed);
                return Ok(closing(handler.reject(&problem)).map(Payload::from));
            }
            let response = handler.answer(incoming(request, place)).await;
            drop(in_progress);
            state.is_upgraded.fetch_or(response.status() == StatusCode::SWITCHING_PROTOCOLS, Ordering::Relaxed);
            state.is_held.store(matches!(response.body(), Payload::Held(_)), Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        })
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // This also limits the silence between two requests.
        .header_read_timeout(context.config().limits.request_timeout)
        .max_buf_size(HEAD_MAX)
        .max_headers(64)
        // A client that has sent its request may end its sending side, and read on.
        .half_close(true);
    let rejecting = context.clone();
    let io = Edge::new(io, shared.clone(), move |status| rejection(&rejecting, &rules::unreadable(status)));
    let mut connection = builder.serve_connection(TokioIo::new(io), service);
    let ended = {
        let mut stopping = pin!(context.stopping());
        let mut shutting_down = false;
        poll_fn(|cx| {
            if !shutting_down && stopping.as_mut().poll(cx).is_ready() {
                shutting_down = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            // After a 101 this is ready, and the connection is not shut down.
            Pin::new(&mut connection).poll(cx)
        })
        .await
    };
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner().into_inner();
    if let Err(error) = &ended {
        debug!(%error, "HTTP/1.1 connection ended");
        // Without a part of a head the client was only silent.
        if error.is_timeout() && !parts.read_buf.is_empty() {
            let answer = rejection(&context, &rules::timed_out());
            // An error means that the client has left.
            let _ = timeout(LINGER, io.write_all(&answer)).await;
        }
    }
    if ended.is_ok() && shared.is_upgraded.load(Ordering::Relaxed) {
        let limits = context.config().limits;
        let socket = Socket::new(io, &parts.read_buf, limits.websocket_frame_max, limits.idle_timeout, place);
        return Some(socket);
    }
    if shared.is_rejected.load(Ordering::Relaxed) {
        linger(io).await;
    }
    None
}

/// The request for the handler. It is built outside the async block, which would reserve the size of its parts.
fn incoming(request: http::Request<hyper::body::Incoming>, place: Arc<Place>) -> Request {
    let (head, body) = request.into_parts();
    let body = Body::http1(body, &head.headers);
    Request::from_parts(head, Incoming { body, pusher: None, place })
}

/// The same answer, as the last one of its connection: what the client sends after a rejected request is not another.
fn closing<B>(mut response: http::Response<B>) -> http::Response<B> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The bytes of an answer that hyper does not write.
fn rejection<H: Handler>(context: &Context<H>, problem: &Problem) -> Vec<u8> {
    let (mut head, body) = closing(context.handler.reject(problem)).into_parts();
    date::add(&mut head.headers, context.clock.wall());
    let mut bytes = format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", head.status, body.len()).into_bytes();
    write_fields(&head.headers, &mut bytes);
    bytes.extend_from_slice(&body);
    bytes
}

fn write_fields(headers: &HeaderMap, to: &mut Vec<u8>) {
    for (name, value) in headers {
        to.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    to.extend(b"\r\n");
}

/// Reads what a rejected client still sends.
async fn linger(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    let reading = async {
        io.shutdown().await?;
        tokio::io::copy(&mut io.take(LINGER_MAX), &mut tokio::io::sink()).await
    };
    // Errors and the time-out end it too.
    let _ = timeout(LINGER, reading).await;
}
