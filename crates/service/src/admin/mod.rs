//! The admin listener: what an operator and a monitor read of a running service. It changes nothing.
//!
//! | resource | what it is |
//! |---|---|
//! | `/livez` | whether the process works |
//! | `/readyz` | whether the service can do its work: one line for each condition, or JSON |
//! | `/metrics` | counters and gauges, as OpenMetrics text |
//! | `/status` | what the service is and does: JSON, or a page for a browser; `/status.json` is always JSON |
//!
//! Each answers GET and HEAD. The listener has no password: it is bound to loopback or to a Unix socket, and a page in
//! a browser on the same machine cannot read it, because it must be asked by the name of this machine ([`hosts`]) and
//! permits no other origin.

mod answer;
mod chart;
mod history;
mod hosts;
mod listener;
mod page;
mod report;
mod socket;

use std::sync::Arc;

use bytes::Bytes;
use doorbell_protocol::problem::Problem;
use http::header::ACCEPT;
use http::{HeaderMap, Method};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::accept::{Context, Handler};
use crate::config::{AdminAddress, Config, Live};
use crate::health::Health;
use crate::locked::Locked;
use crate::metrics::Metrics;
use crate::transport::{Request, Response};
use history::History;
use listener::AdminListener;
pub use socket::AdminError;
use socket::AdminSocket;

/// Answers the requests of the admin listener.
struct Admin {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    history: Locked<History>,
    /// Whether the listener has a port: a page in a browser cannot open a Unix socket.
    checks_host: bool,
}

/// An admin listener that runs.
pub(crate) struct Running {
    /// Its address, with the port that it really has.
    pub(crate) address: AdminAddress,
    stop: watch::Sender<bool>,
    listener: JoinHandle<()>,
    sampler: JoinHandle<()>,
}

/// Starts the admin listener, if one is configured.
///
/// # Errors
/// [`AdminError`] if its address cannot be used.
pub(crate) async fn start(
    config: &Config,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
) -> Result<Option<Running>, AdminError> {
    let Some(asked) = &config.admin else { return Ok(None) };
    let socket = AdminSocket::bind(asked).await?;
    let address = socket.address().unwrap_or_else(|_| asked.clone());
    let checks_host = matches!(address, AdminAddress::Tcp(_));
    let clock = health.clock.clone();
    let admin = Arc::new(Admin { health, metrics, history: Locked::default(), checks_host });
    let sampler = tokio::spawn(admin.clone().sample());
    let (stop, stopping) = watch::channel(false);
    // It never sees a reload: of these settings the listener uses only the time-out of requests, its own.
    let config = Live::new(Config { limits: listener::limits(&config.limits), ..config.clone() });
    let context = Context { handler: admin, config: Arc::new(config), clock, stopping };
    let listener = tokio::spawn(AdminListener { socket, context: Arc::new(context) }.run());
    info!(%address, "the admin listener is open");
    Ok(Some(Running { address, stop, listener, sampler }))
}

impl Running {
    /// Ends it: after everything else, so that it shows the whole drain.
    pub(crate) async fn stop(self) {
        self.sampler.abort();
        self.stop.send_replace(true);
        if let Err(error) = self.listener.await {
            error!(%error, "the admin listener failed while stopping");
        }
    }
}

impl Admin {
    async fn route(&self, request: &Asked) -> Response {
        if request.is_foreign {
            return answer::wrong_host();
        }
        if !request.reads {
            return answer::method_not_allowed();
        }
        match request.path.as_str() {
            "/livez" => answer::liveness(&self.health.liveness()),
            "/readyz" if answer::accepts(&request.accept, "application/json") => {
                answer::readiness_json(&self.health.readiness().await)
            }
            "/readyz" => answer::readiness(&self.health.readiness().await),
            "/metrics" => {
                self.metrics.note_ready(self.health.readiness().await.is_ready);
                let (content_type, text) = self.metrics.encode_for(&request.accept);
                answer::whole(content_type, text)
            }
            "/" => answer::to_status(),
            "/status" if answer::accepts(&request.accept, "text/html") => {
                let status = self.health.status().await;
                let minutes = self.history.lock().minutes(self.health.clock.now());
                answer::page(&page::html(&status, &minutes, request.repeats))
            }
            "/status" | "/status.json" => answer::json(&self.health.status().await),
            _ => answer::not_found(),
        }
    }

    /// Adds a sample to the history every minute. It runs until it is aborted.
    async fn sample(self: Arc<Self>) {
        let clock = &self.health.clock;
        loop {
            let now = clock.now();
            self.history.lock().add(now, clock.wall(), self.health.figures());
            clock.sleep_until(now.plus(history::INTERVAL)).await;
        }
    }
}

/// What matters of a request.
struct Asked {
    path: String,
    /// GET or HEAD.
    reads: bool,
    /// It names another host than this machine.
    is_foreign: bool,
    /// Its Accept fields.
    accept: HeaderMap,
    /// The page loads itself again every minute.
    repeats: bool,
}

impl Handler for Admin {
    fn answer(self: &Arc<Self>, request: Request) -> impl Future<Output = Response> + Send {
        let asked = Asked {
            path: request.uri().path().to_owned(),
            reads: matches!(*request.method(), Method::GET | Method::HEAD),
            is_foreign: self.checks_host && !hosts::is_local(&request),
            accept: request.headers().get_all(ACCEPT).iter().map(|value| (ACCEPT, value.clone())).collect(),
            repeats: request.uri().query() == Some(page::REPEAT),
        };
        let admin = self.clone();
        async move {
            let mut response = admin.route(&asked).await;
            answer::complete(&mut response, &admin.health.origin);
            response
        }
    }

    fn reject(&self, problem: &Problem) -> http::Response<Bytes> {
        answer::rejection(problem)
    }
}
