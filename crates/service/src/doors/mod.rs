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
//!
//! Each also answers OPTIONS, and HEAD if it has GET (`methods`).

mod agent;
mod app;
mod buckets;
mod growth;
mod methods;
mod path;
mod promise;
mod requests;
mod sse;
mod wire;

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use doorbell_protocol::headers::link::Link;
use doorbell_protocol::problem::{ERRORS_PATH, Problem, errno};
use futures_util::future::BoxFuture;
use http::header::{ALT_SVC, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::accept::Handler;
use crate::capability::{Capabilities, Resource};
use crate::clock::Clock;
use crate::config::{Config, Live, Origin};
use crate::counts::{Counts, Door};
use crate::hub::{Hub, Scope};
use crate::transport::{Request, Response, date, mcs, websocket};
use agent::chromium::{CHECKIN_PATH, Chromium, REGISTRATION_PATH};
use agent::wake::{WAKE_PATH, WakeBudget};
use app::push::Target;
use growth::Growth;
use methods::Methods;
use requests::Requests;

/// The prefix of push resources' paths.
const PUSH: &str = "/p/";
/// The path of the subscribe resource.
const SUBSCRIBE_PATH: &str = "/subscribe";

/// What the doors need: they call the hub and no layer below it (invariant 5).
pub(crate) struct Doors {
    hub: Arc<Hub>,
    capabilities: Capabilities,
    origin: Origin,
    config: Arc<Live>,
    clock: Clock,
    counts: Arc<Counts>,
    requests: Requests,
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
    /// Counts and logs that a client on a socket was not served, for a reason of the service.
    fn failed_on_socket(&self, door: Door) {
        self.counts.answered(door, StatusCode::SERVICE_UNAVAILABLE);
        self.failed_and_answered_on_socket(door);
    }

    /// The same, where the answer is already counted.
    fn failed_and_answered_on_socket(&self, door: Door) {
        self.counts.refused(errno::UNAVAILABLE);
        self.requests.failed_on_socket(door);
    }

    pub(crate) fn new(
        hub: Arc<Hub>,
        capabilities: Capabilities,
        origin: Origin,
        config: Arc<Live>,
        clock: Clock,
        counts: Arc<Counts>,
    ) -> Self {
        let now = config.get();
        let limits = now.limits;
        Self {
            hub,
            capabilities,
            config,
            requests: Requests::new(clock.clone()),
            clock,
            counts,
            chromium: Chromium::new(&now.chromium),
            vapid: app::vapid::VapidVerifier::new(&origin, now.strict_audience),
            rates: app::rates::Rates::new(limits.per_subscription_per_minute, limits.per_key_per_minute),
            growth: Growth::new("agents", growth::Bounds::of_agents(&limits)),
            receipt_growth: Growth::new("receipt subscriptions", growth::Bounds::of_receipt_subscriptions(&limits)),
            wakes: WakeBudget::new(limits.wakes_per_hour),
            shutdown: agent::ShutdownRegistry::default(),
            origin,
        }
    }

    /// Takes over the settings that are kept here in another form. The others are read from the configuration at each use.
    pub(crate) fn reload(&self, config: &Config) {
        let limits = &config.limits;
        self.rates.set(limits.per_subscription_per_minute, limits.per_key_per_minute);
        self.growth.set(growth::Bounds::of_agents(limits));
        self.receipt_growth.set(growth::Bounds::of_receipt_subscriptions(limits));
        self.chromium.set(&config.chromium);
        self.vapid.set_strict(config.strict_audience);
    }

    /// The present configuration.
    fn config(&self) -> Arc<Config> {
        self.config.get()
    }

    /// Creates the answer to a request. Each future is boxed on its own, and no async function around it awaits the
    /// request: an agent's request to receive stays open for hours, and each such function would reserve its size.
    fn route(self: &Arc<Self>, methods: Option<Methods>, request: Request) -> BoxFuture<'_, Response> {
        let method = request.method().clone();
        let path = request.uri().path();
        if method == Method::GET && self.config().firefox.serves(path) && websocket::is_requested(request.headers()) {
            return immediate(agent::firefox::accept(&request));
        }
        let Some(methods) = methods else { return immediate(wire::not_found(StatusCode::NOT_FOUND)) };
        if method == Method::OPTIONS {
            return immediate(methods.options(request.headers()));
        }
        if !methods.have(&method) {
            return immediate(wire::method_not_allowed(methods.list));
        }
        match path {
            "/" => immediate(wire::greeting(&self.origin)),
            ERRORS_PATH => immediate(wire::errors()),
            WAKE_PATH => Box::pin(self.wake(request)),
            SUBSCRIBE_PATH => Box::pin(self.subscribe(request)),
            CHECKIN_PATH => Box::pin(self.check_in(request)),
            REGISTRATION_PATH => Box::pin(self.register(request)),
            path => match self.open(path) {
                Some(resource) => self.route_resource(resource, request),
                None => immediate(wire::not_found(StatusCode::NOT_FOUND)),
            },
        }
    }

    /// The answer of a resource that has the request's method. The answer to HEAD is that to GET; its body is not sent.
    fn route_resource(self: &Arc<Self>, resource: Resource, request: Request) -> BoxFuture<'_, Response> {
        let is_removal = request.method() == Method::DELETE;
        match resource {
            Resource::Push { agent, subscription, restricted_to, of_browser } => {
                Box::pin(self.push(Target { agent, subscription, restricted_to, of_browser }, request))
            }
            Resource::Message { agent, id } if is_removal => {
                Box::pin(async move { self.settle_message(agent, id, request.headers()).await })
            }
            Resource::Message { agent, id } => Box::pin(self.read_message(agent, id)),
            Resource::Subscription { agent, subscription } if is_removal => {
                Box::pin(self.remove(agent, Scope::Subscription(subscription)))
            }
            Resource::Subscription { agent, subscription } => {
                Box::pin(self.monitor(agent, Scope::Subscription(subscription), request))
            }
            Resource::Set { agent } if is_removal => Box::pin(self.remove(agent, Scope::Agent)),
            Resource::Set { agent } => Box::pin(self.monitor(agent, Scope::Agent, request)),
            Resource::Receipts { id } if is_removal => Box::pin(self.remove_receipts(id)),
            Resource::Receipts { id } => Box::pin(self.receipts(id, request)),
            Resource::Wake { .. } => immediate(wire::not_found(StatusCode::NOT_FOUND)),
        }
    }

    /// The resource of a path, in our form or, for a push resource, in Chromium's.
    fn open(&self, path: &str) -> Option<Resource> {
        match self.chromium.push_token(path) {
            Some(token) => self.capabilities.open(&format!("{PUSH}{token}")),
            None => self.capabilities.open(path),
        }
    }

    /// What a request is for, by its path alone: whether the resource exists is seen in the status.
    fn door(&self, path: &str) -> Door {
        match path {
            SUBSCRIBE_PATH => Door::Subscribe,
            WAKE_PATH => Door::Wake,
            CHECKIN_PATH | REGISTRATION_PATH => Door::Chromium,
            _ => match path.get(..PUSH.len()) {
                Some(PUSH) => Door::Push,
                Some("/m/") => Door::Message,
                Some("/r/") => Door::Receipts,
                Some("/s/" | "/a/") => Door::Receive,
                _ if self.chromium.push_token(path).is_some() => Door::Push,
                _ => Door::Other,
            },
        }
    }

    /// The resource of a link, by an absolute URI of this service or by a path.
    fn resource(&self, target: &str) -> Option<Resource> {
        self.capabilities.open(&path::unescaped(target.strip_prefix(self.origin.as_str()).unwrap_or(target)))
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
    fn answer(self: &Arc<Self>, mut request: Request) -> impl Future<Output = Response> + Send {
        path::normalize(request.uri_mut());
        let methods = Methods::of(request.uri().path(), &self.chromium);
        let answers_pages = methods.is_some_and(|methods| methods.answer_pages(request.method(), request.headers()));
        let door = self.door(request.uri().path());
        let method = request.method().clone();
        let answer = self.requests.logged(door, &method, self.route(methods, request));
        async move {
            let mut response = answer.await;
            // Only a WebSocket switches protocols.
            let door = if response.status() == StatusCode::SWITCHING_PROTOCOLS { Door::Firefox } else { door };
            let status = response.status();
            self.counts.answered(door, status);
            let number = wire::write_problem(&mut response, &self.origin);
            if let Some(number) = number {
                self.counts.refused(number);
            }
            if status.is_client_error() || status.is_server_error() {
                self.requests.refused(response.headers_mut(), door, status, number);
            }
            if answers_pages {
                methods::show_to_pages(response.headers_mut());
            }
            if let Some(alt_svc) = &self.config().http.alt_svc {
                response.headers_mut().insert(ALT_SVC, alt_svc.clone());
            }
            response
        }
    }

    fn reject(&self, problem: &Problem) -> http::Response<Bytes> {
        self.counts.answered(Door::Other, problem.status);
        self.counts.refused(problem.errno);
        let mut answer = wire::problem(problem).map(|_unwritten| problem.to_json(self.origin.as_str()).into());
        self.requests.refused_by_http(answer.headers_mut(), problem);
        answer
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

    fn counts(&self) -> Option<Arc<Counts>> {
        Some(self.counts.clone())
    }

    /// The sockets close one after the other.
    fn shut_down(&self) {
        self.shutdown.begin(self.config().limits.drain_timeout);
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
