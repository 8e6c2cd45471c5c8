//! HTTP/2, served by the h2 crate itself, because only it can push (RFC 8030 s6).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use h2::{Reason, RecvStream};
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::context::Context;
use super::handler::Handler;
use crate::transport::half_close::{HalfClose, Owed};
use crate::transport::pings::Pings;
use crate::transport::place::RequestInProgress;
use crate::transport::preface::{Peer, Sniffed};
use crate::transport::push::{Exchange, send_body, send_stream};
use crate::transport::{Body, Incoming, Payload, Place, Pusher, Request, date};

/// The longest header list, in bytes as RFC 9113 s6.5.2 counts them.
const HEADER_LIST_MAX: u32 = 16 << 10;
/// Requests at once on one connection.
const STREAMS_MAX: u32 = 100;
/// Streams that a client opened and reset before we answered: more are a rapid-reset attack (CVE-2023-44487).
const RESETS_MAX: usize = 20;

/// Answers requests until the connection ends.
pub(super) async fn serve<H, IO>(io: IO, context: Arc<Context<H>>, place: Arc<Place>)
where
    H: Handler,
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer = Arc::new(Peer::default());
    let mut builder = Builder::new();
    builder
        .max_header_list_size(HEADER_LIST_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_concurrent_reset_streams(RESETS_MAX)
        .max_send_buffer_size(64 << 10);
    // On the heap, like the connection after it: a stream that stays open for hours does not need the handshake's
    // memory.
    let owed = Arc::new(Owed::default());
    let io = HalfClose::new(Sniffed::new(io, peer.clone()), owed.clone());
    let handshake = Box::pin(async { builder.handshake(io).await.map(Box::new) });
    match timeout(context.config().limits.request_timeout, handshake).await {
        Ok(Ok(connection)) => requests(connection, peer, owed, context, place).await,
        Ok(Err(error)) => debug!(error = reason(&error), "HTTP/2 handshake failed"),
        Err(_) => debug!("HTTP/2 handshake timed out"),
    }
}

/// Answers requests until the client leaves, is idle for too long, or the service drains.
async fn requests<H, IO>(
    mut connection: Box<Connection<IO, Bytes>>,
    peer: Arc<Peer>,
    owed: Arc<Owed>,
    context: Arc<Context<H>>,
    place: Arc<Place>,
) where
    H: Handler,
    IO: AsyncRead + AsyncWrite + Unpin,
{
    owed.open();
    let mut stopping = std::pin::pin!(context.stopping());
    let mut shutting_down = false;
    let pings = connection.ping_pong().map(Pings::start);
    loop {
        let idle_timeout = context.config().limits.idle_timeout;
        tokio::select! {
            next = connection.accept() => match next {
                Some(Ok((request, respond))) => {
                    peer.set_pushes_max(connection.max_concurrent_send_streams());
                    let exchange = Exchange::new(respond, owed.add(), peer.clone(), pings.clone());
                    let request = request.map(|body| (body, owed.clone()));
                    tokio::spawn(answer(request, exchange, context.clone(), place.request()));
                }
                Some(Err(error)) => return debug!(error = reason(&error), "HTTP/2 connection ended"),
                None => return,
            },
            () = &mut stopping, if !shutting_down => {
                shutting_down = true;
                connection.graceful_shutdown();
            }
            () = sleep(idle_timeout), if !connection.has_streams() => {
                if shutting_down {
                    return;
                }
                shutting_down = true;
                connection.graceful_shutdown();
            }
            // While streams are open no idle time runs; check again later.
            () = sleep(idle_timeout.max(Duration::from_secs(1))), if connection.has_streams() => {}
        }
    }
}

async fn answer<H: Handler>(
    request: http::Request<(RecvStream, Arc<Owed>)>,
    exchange: Exchange,
    context: Arc<Context<H>>,
    in_progress: RequestInProgress,
) {
    let pusher = exchange.pusher();
    let for_head = request.method() == http::Method::HEAD;
    let place = in_progress.place();
    let answer = context.handler.answer(incoming(request, pusher, place)).await;
    drop(in_progress);
    let (mut head, body) = answer.into_parts();
    // An answer to HEAD has no content (RFC 9110 s9.3.2); in HTTP/1.1 hyper removes it.
    let body = if for_head { Payload::default() } else { body };
    if let Payload::Whole(body) = &body
        && !body.is_empty()
    {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    date::add(&mut head.headers, context.clock.wall());
    let response = http::Response::from_parts(head, ());
    // An error means that the client has left: no client receives a report.
    let Ok(stream) = exchange.respond(response, body.is_empty()) else { return };
    // A connection with an open stream is not idle: without a limit, a client that never opens its window keeps it
    // forever.
    let within = context.config().limits.idle_timeout;
    match body {
        // On the heap: while an agent's request waits in `answer` above, it needs no memory for this.
        Payload::Whole(body) => match Box::pin(timeout(within, send_body(stream, body, exchange.owed()))).await {
            Ok(sent) => log_unsent(sent),
            Err(_elapsed) => log_unsent(Err(Reason::CANCEL.into())),
        },
        // In a task of its own: it may last for hours, and the task of the request is three times as large.
        Payload::Stream(pieces) => drop(tokio::spawn(async move {
            log_unsent(send_stream(stream, pieces, within, exchange.owed()).await);
            drop(exchange);
        })),
        Payload::Held(pieces) => {
            let owed = exchange.owed().clone();
            drop(tokio::spawn(async move { log_unsent(send_stream(stream, pieces, within, &owed).await) }));
        }
    }
}

/// The request for the handler. It is built outside the async function, which would reserve the size of its parts.
fn incoming(request: http::Request<(RecvStream, Arc<Owed>)>, pusher: Option<Pusher>, place: Arc<Place>) -> Request {
    let (head, (body, owed)) = request.into_parts();
    let body = Body::http2(body, &head.headers, owed);
    Request::from_parts(head, Incoming { body, pusher, place })
}

fn log_unsent(sent: Result<(), h2::Error>) {
    if let Err(error) = sent {
        debug!(error = reason(&error), "the client did not receive the answer");
    }
}

/// Why HTTP/2 failed, without the debug data that a client may add when it leaves: those bytes could be one of our URIs
/// (invariant 8).
fn reason(error: &h2::Error) -> String {
    error.reason().map_or_else(|| error.to_string(), |reason| reason.to_string())
}
