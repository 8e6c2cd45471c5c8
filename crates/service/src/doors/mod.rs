//! The doors: every resource of the service and its clients. This file is the index (RFC 8030 s2).
//!
//! | resource | client | GET | POST | DELETE |
//! |---|---|---|---|---|
//! | `/` | Firefox | WebSocket: subscribe, receive, acknowledge, remove | | |
//! | `/checkin` | Chromium | | become a device | |
//! | `/c2dm/register3` | Chromium | | subscribe, remove | |
//! | (a connection that begins with the byte 41) | Chromium | MCS: receive, acknowledge | | |
//! | `/subscribe` | agent | | new subscription | |
//! | `/s/…` subscription, `/a/…` set | agent | receive | | remove |
//! | `/wake` | desktop process | learn when messages wait for a browser that does not run | | |
//! | `/p/…` push resource, also `/fcm/send/…`, `/wp/…`, `/preprod/wp/…` | application server | | send | |
//! | `/m/…` message | any client that has the URL | read | | acknowledge, withdraw |
//! | `/r/…` receipt subscription | application server | receive the outcomes of messages | | remove |

mod agent;
mod app;
mod buckets;
mod growth;
mod promise;
mod sse;
mod wire;

use std::future::ready;
use std::sync::Arc;

use doorbell_protocol::headers::link::Link;
use doorbell_protocol::problem::ERRORS_PATH;
use futures_util::future::BoxFuture;
use http::header::{ALT_SVC, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::accept::Handler;
use crate::capability::{Capabilities, Resource};
use crate::clock::Clock;
use crate::config::{Config, FirefoxSettings, HttpSettings, Limits, Origin};
use crate::hub::{Hub, Scope};
use crate::transport::{Request, Response, date, mcs, websocket};
use agent::chromium::{CHECKIN_PATH, Chromium, REGISTRATION_PATH};
use agent::wake::{WAKE_PATH, WakeBudget};
use app::push::Target;
use growth::Growth;

/// The prefix of push resources' paths.
const PUSH: &str = "/p/";

/// What the doors need: they call the hub and no layer below it (invariant 5).
pub(crate) struct Doors {
    hub: Arc<Hub>,
    capabilities: Capabilities,
    origin: Origin,
    limits: Limits,
    clock: Clock,
    settings: HttpSettings,
    firefox: FirefoxSettings,
    chromium: Chromium,
    vapid: app::vapid::VapidVerifier,
    rates: app::rates::Rates,
    /// New agents.
    growth: Growth,
    /// New receipt subscriptions.
    receipt_growth: Growth,
    wakes: WakeBudget,
    shutdown: agent::ShutdownRegistry,
}

impl Doors {
    pub(crate) fn new(
        hub: Arc<Hub>,
        capabilities: Capabilities,
        origin: Origin,
        config: &Config,
        clock: Clock,
    ) -> Self {
        let limits = config.limits;
        Self {
            hub,
            capabilities,
            limits,
            clock,
            settings: config.http.clone(),
            firefox: config.firefox.clone(),
            chromium: Chromium::new(config.chromium),
            vapid: app::vapid::VapidVerifier::new(&origin, config.strict_audience),
            rates: app::rates::Rates::new(limits.per_subscription_per_minute, limits.per_key_per_minute),
            growth: Growth::new("agents", growth::Bounds::of_agents(&limits)),
            receipt_growth: Growth::new("receipt subscriptions", growth::Bounds::of_receipt_subscriptions(&limits)),
            wakes: WakeBudget::new(limits.wakes_per_hour),
            shutdown: agent::ShutdownRegistry::new(limits.drain_timeout),
            origin,
        }
    }

    /// Creates the answer to a request. Each future is boxed on its own, and no async function around it awaits the
    /// request: an agent's request to receive stays open for hours, and each such function would reserve its size.
    fn route(self: &Arc<Self>, request: Request) -> BoxFuture<'_, Response> {
        let method = request.method().clone();
        match (&method, request.uri().path()) {
            (&Method::GET, path) if self.firefox.serves(path) && websocket::is_requested(request.headers()) => {
                immediate(agent::firefox::accept(&request))
            }
            (&Method::GET, "/") => immediate(wire::greeting(&self.origin)),
            (&Method::GET, ERRORS_PATH) => immediate(wire::errors()),
            (&Method::GET, WAKE_PATH) => Box::pin(self.wake(request)),
            (_, WAKE_PATH) => immediate(wire::method_not_allowed("GET")),
            (&Method::POST, "/subscribe") => Box::pin(self.subscribe(request)),
            (_, "/subscribe") => immediate(wire::method_not_allowed("POST")),
            (&Method::POST, CHECKIN_PATH) if self.chromium.is_open() => Box::pin(self.check_in(request)),
            (&Method::POST, REGISTRATION_PATH) if self.chromium.is_open() => Box::pin(self.register(request)),
            (_, CHECKIN_PATH | REGISTRATION_PATH) if self.chromium.is_open() => {
                immediate(wire::method_not_allowed("POST"))
            }
            (_, path) => match self.open(path) {
                Some(resource) => self.route_resource(&method, resource, request),
                None if self.chromium.push_token(path).is_some() => immediate(no_resource(&method, PUSH)),
                None => immediate(no_resource(&method, path)),
            },
        }
    }

    fn route_resource(
        self: &Arc<Self>,
        method: &Method,
        resource: Resource,
        request: Request,
    ) -> BoxFuture<'_, Response> {
        match (resource, method) {
            (Resource::Push { agent, subscription, restricted_to, of_browser }, &Method::POST) => {
                Box::pin(self.push(Target { agent, subscription, restricted_to, of_browser }, request))
            }
            (Resource::Push { .. }, _) => immediate(wire::method_not_allowed("POST")),

            (Resource::Message { agent, id }, &Method::GET) => Box::pin(self.read_message(agent, id)),
            (Resource::Message { agent, id }, &Method::DELETE) => {
                Box::pin(async move { self.settle_message(agent, id, request.headers()).await })
            }
            (Resource::Message { .. }, _) => immediate(wire::method_not_allowed("GET, DELETE")),

            (Resource::Subscription { agent, subscription }, &Method::GET) => {
                Box::pin(self.monitor(agent, Scope::Subscription(subscription), request))
            }
            (Resource::Set { agent }, &Method::GET) => Box::pin(self.monitor(agent, Scope::Agent, request)),
            (Resource::Subscription { agent, subscription }, &Method::DELETE) => {
                Box::pin(self.remove(agent, Scope::Subscription(subscription)))
            }
            (Resource::Set { agent }, &Method::DELETE) => Box::pin(self.remove(agent, Scope::Agent)),
            (Resource::Receipts { id }, &Method::GET) => Box::pin(self.receipts(id, request)),
            (Resource::Receipts { id }, &Method::DELETE) => Box::pin(self.remove_receipts(id)),
            (Resource::Subscription { .. } | Resource::Set { .. } | Resource::Receipts { .. }, _) => {
                immediate(wire::method_not_allowed("GET, DELETE"))
            }
            (Resource::Wake { .. }, _) => immediate(wire::not_found(StatusCode::NOT_FOUND)),
        }
    }

    /// The resource of a path, in our form or, for a push resource, in Chromium's.
    fn open(&self, path: &str) -> Option<Resource> {
        match self.chromium.push_token(path) {
            Some(token) => self.capabilities.open(&format!("{PUSH}{token}")),
            None => self.capabilities.open(path),
        }
    }

    /// The resource of a link, by an absolute URI of this service or by a path.
    fn resource(&self, target: &str) -> Option<Resource> {
        self.capabilities.open(target.strip_prefix(self.origin.as_str()).unwrap_or(target))
    }

    /// The absolute URI of a resource.
    fn uri(&self, resource: Resource) -> String {
        format!("{}{}", self.origin, self.capabilities.path(resource))
    }

    /// The absolute URI of a resource, as a header value.
    fn location(&self, resource: Resource) -> HeaderValue {
        HeaderValue::try_from(self.uri(resource)).expect("an origin and a capability path are visible ASCII")
    }

    /// A Link field that names a resource by its relation to the answer.
    fn link(&self, resource: Resource, rel: &str) -> HeaderValue {
        link_to(&self.uri(resource), rel)
    }

    /// Adds the Date that pushes need from us (RFC 9110 s6.6.1).
    fn add_date(&self, headers: &mut HeaderMap) {
        date::add(headers, self.clock.wall());
    }
}

/// What the public listener serves: HTTP, Firefox's WebSocket and Chromium's MCS.
impl Handler for Doors {
    fn answer(self: &Arc<Self>, request: Request) -> impl Future<Output = Response> + Send {
        let answer = self.route(request);
        async move {
            let mut response = answer.await;
            if let Some(alt_svc) = &self.settings.alt_svc {
                response.headers_mut().insert(ALT_SVC, alt_svc.clone());
            }
            response
        }
    }

    fn serve_websocket<IO>(self: Arc<Self>, socket: websocket::Socket<IO>) -> impl Future<Output = ()> + Send
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_firefox(socket)
    }

    fn has_mcs(&self) -> bool {
        self.chromium.is_open()
    }

    fn serve_mcs<IO>(self: Arc<Self>, socket: mcs::Socket<IO>) -> impl Future<Output = ()> + Send
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.serve_chromium(socket)
    }

    /// The sockets close one after the other.
    fn shut_down(&self) {
        self.shutdown.begin();
    }
}

/// A Link field that names one of our URIs.
fn link_to(uri: &str, rel: &str) -> HeaderValue {
    Link::new(uri, rel).to_value().expect("URIs and relations have only characters that a Link field allows")
}

/// An answer that does not wait.
fn immediate(answer: Response) -> BoxFuture<'static, Response> {
    Box::pin(ready(answer))
}

/// The answer to a URL that names nothing. A removed resource and one that never existed reject the same methods, so
/// that no client can distinguish the two (PS-8030-8.3-2).
fn no_resource(method: &Method, path: &str) -> Response {
    match (path.get(..3), method) {
        (Some(PUSH), &Method::POST) => wire::not_found(StatusCode::NOT_FOUND),
        (Some(PUSH), _) => wire::method_not_allowed("POST"),
        (_, &Method::GET | &Method::DELETE) => wire::not_found(StatusCode::NOT_FOUND),
        (Some("/m/" | "/s/" | "/a/" | "/r/"), _) => wire::method_not_allowed("GET, DELETE"),
        _ => wire::not_found(StatusCode::NOT_FOUND),
    }
}
