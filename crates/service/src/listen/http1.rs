//! HTTP/1.1, served by hyper: most application servers speak it.

use std::convert::Infallible;
use std::pin::pin;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::{Body, Context, Incoming};

/// The longest request head, in octets: a capability URL, a VAPID token and the headers around them take under 2 KiB.
const HEAD_MAX: usize = 16 << 10;

pub(super) async fn serve<IO>(io: IO, context: Context)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let doors = context.doors.clone();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let doors = doors.clone();
        let request = request.map(|body| Incoming { body: Body::Http1(body), pusher: None });
        async move { Ok::<_, Infallible>(doors.answer(request).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Also bounds the silence between two requests.
        .header_read_timeout(context.limits.request_timeout)
        .max_buf_size(HEAD_MAX)
        .max_headers(64);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = context.stopping() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "HTTP/1.1 connection ended");
    }
}
