//! The handler of a listener.

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use doorbell_protocol::problem::Problem;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::counts::Counts;
use crate::transport::{Request, Response, mcs, websocket};

/// Answers the requests of one listener, and serves the connections that leave HTTP.
///
/// Static dispatch: a connection holds the handler's own future, without a box around it. A handler that serves HTTP
/// only implements [`answer`](Self::answer) and [`reject`](Self::reject); the default methods reject everything else.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request of either HTTP version. With status 101 the connection of an HTTP/1.1 request becomes a
    /// WebSocket and goes to [`serve_websocket`](Self::serve_websocket).
    fn answer(self: &Arc<Self>, request: Request) -> impl Future<Output = Response> + Send;

    /// The answer to a request that HTTP itself rejects, in the handler's form of a problem.
    fn reject(&self, problem: &Problem) -> http::Response<Bytes>;

    /// Serves a connection that became a WebSocket, until one side ends it or the service stops.
    ///
    /// By default it closes the connection: a handler that answers 101 implements this method.
    fn serve_websocket<IO>(self: Arc<Self>, socket: websocket::Socket<IO>) -> impl Future<Output = ()> + Send
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        debug_assert!(false, "a handler that answers 101 implements this method");
        drop(socket);
        ready(())
    }

    /// Whether [`serve_mcs`](Self::serve_mcs) takes connections. Otherwise a connection that begins with the MCS byte
    /// is read as HTTP and gets 400.
    fn has_mcs(&self) -> bool {
        false
    }

    /// Serves an MCS connection, until one side ends it or the service stops.
    ///
    /// By default it closes the connection: without [`has_mcs`](Self::has_mcs) no connection arrives here.
    fn serve_mcs<IO>(self: Arc<Self>, socket: mcs::Socket<IO>) -> impl Future<Output = ()> + Send
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        debug_assert!(false, "a handler with MCS implements this method");
        drop(socket);
        ready(())
    }

    /// Where the listener counts its connections and handshakes; by default nowhere.
    fn counts(&self) -> Option<Arc<Counts>> {
        None
    }

    /// The listener accepts no more connections: the handler ends its sockets. HTTP connections end by themselves.
    fn shut_down(&self) {}
}
