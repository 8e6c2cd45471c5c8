//! HTTP/1.1, served by hyper: most application servers use it, and a WebSocket begins with it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::context::Context;
use super::handler::Handler;
use crate::transport::websocket::Socket;
use crate::transport::{Body, Incoming, Place};

/// The longest request head, in bytes: a capability URL, a VAPID token and the headers around them take under 2 KiB.
const HEAD_MAX: usize = 16 << 10;

/// Answers requests until the connection ends, or becomes a WebSocket.
pub(super) async fn serve<H, IO>(io: IO, context: Arc<Context<H>>, place: Arc<Place>) -> Option<Socket<IO>>
where
    H: Handler,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Whether the handler has answered 101.
    let upgraded = Arc::new(AtomicBool::new(false));
    let (handler, switch, connection) = (context.handler.clone(), upgraded.clone(), place.clone());
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (handler, switch) = (handler.clone(), switch.clone());
        let in_progress = connection.request();
        let place = connection.clone();
        let request = request.map(|body| Incoming { body: Body::Http1(body), pusher: None, place });
        Box::pin(async move {
            let response = handler.answer(request).await;
            drop(in_progress);
            switch.fetch_or(response.status() == StatusCode::SWITCHING_PROTOCOLS, Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        })
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // This also limits the silence between two requests.
        .header_read_timeout(context.limits.request_timeout)
        .max_buf_size(HEAD_MAX)
        .max_headers(64);
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
    if let Err(error) = ended {
        debug!(%error, "HTTP/1.1 connection ended");
        return None;
    }
    upgraded.load(Ordering::Relaxed).then(|| {
        let (parts, limits) = (connection.into_parts(), &context.limits);
        Socket::new(parts.io.into_inner(), &parts.read_buf, limits.websocket_frame_max, limits.idle_timeout, place)
    })
}
