//! The admin listener: what an operator and a monitor read of a running service. It changes nothing.
//!
//! | resource | what it is |
//! |---|---|
//! | `/livez` | whether the process works |
//! | `/metrics` | counters and gauges, as OpenMetrics text |
//!
//! Each answers GET and HEAD. The listener has no password: it is bound to loopback or to a Unix socket, and a page in
//! a browser on the same machine cannot read it, because it must be asked by the name of this machine ([`hosts`]) and
//! permits no other origin.

mod answer;
mod hosts;
mod listener;

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use doorbell_protocol::problem::Problem;
use http::Method;

use crate::accept::Handler;
use crate::health::Health;
use crate::metrics::{self, Metrics};
use crate::transport::{Request, Response};
pub(crate) use listener::{AdminListener, AdminSocket, limits};

/// Answers the requests of the admin listener.
pub(crate) struct Admin {
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the listener has a port: a page in a browser cannot open a Unix socket.
    pub(crate) checks_host: bool,
}

impl Admin {
    fn route(&self, request: &Request) -> Response {
        if self.checks_host && !hosts::is_local(request) {
            return answer::wrong_host();
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return answer::method_not_allowed();
        }
        match request.uri().path() {
            "/livez" => answer::text("ok\n"),
            "/metrics" => answer::whole(metrics::CONTENT_TYPE, self.metrics.encode()),
            _ => answer::not_found(),
        }
    }
}

impl Handler for Admin {
    fn answer(self: &Arc<Self>, request: Request) -> impl Future<Output = Response> + Send {
        let mut response = self.route(&request);
        answer::complete(&mut response, &self.health.origin);
        ready(response)
    }

    fn reject(&self, problem: &Problem) -> http::Response<Bytes> {
        answer::rejection(problem, &self.health.origin)
    }
}
