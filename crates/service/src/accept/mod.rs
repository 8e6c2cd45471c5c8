//! Accepting connections: ports, TLS, HTTP/1.1, HTTP/2, and the choice of the protocol that a connection speaks.

mod http1;
mod http2;
mod listener;
pub(crate) mod tls;

use std::sync::Arc;

use tokio::sync::watch;

pub(crate) use listener::{Listener, Transport};

use crate::config::Limits;
use crate::doors::Doors;

/// What every connection needs to know.
pub(crate) struct Context {
    pub(crate) doors: Arc<Doors>,
    pub(crate) limits: Limits,
    /// Turns true when the service drains.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl Context {
    /// Waits until the service drains.
    async fn stopping(&self) {
        // An error means that the service is gone, which is the end of draining too.
        let _ = self.stopping.clone().wait_for(|stop| *stop).await;
    }
}
