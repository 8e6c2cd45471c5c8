//! The doors: every resource of the service and who knocks at it. This file is the index (RFC 8030 s2).
//!
//! | resource | who | GET | POST | DELETE |
//! |---|---|---|---|---|
//! | `/` | Firefox | WebSocket: subscribe, receive, acknowledge, remove | | |
//! | `/checkin` | Chromium | | become a device | |
//! | `/c2dm/register3` | Chromium | | subscribe, remove | |
//! | (a connection that begins with the octet 41) | Chromium | MCS: receive, acknowledge | | |
//! | `/subscribe` | agent | | new subscription | |
//! | `/s/…` subscription, `/a/…` set | agent | receive | | remove |
//! | `/p/…` push resource, also `/fcm/send/…`, `/wp/…`, `/preprod/wp/…` | application server | | send | |
//! | `/m/…` message | whoever holds it | read | | acknowledge, withdraw |
//! | `/r/…` receipt subscription | application server | hear what became of messages | | remove |

mod agent;
mod app;
mod buckets;
mod promise;
mod sse;
mod wire;

use std::sync::Arc;

use doorbell_protocol::problem::ERRORS_PATH;
use http::header::{ALT_SVC, DATE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};

use agent::chromium::{CHECKIN_PATH, Chromium, REGISTRATION_PATH};

use crate::capability::{Capabilities, Resource};
use crate::clock::Clock;
use crate::config::{Config, FirefoxSettings, HttpSettings, Limits, Origin};
use crate::hub::{Hub, Scope};
use crate::listen::{Request, Response, websocket};

/// Where the paths of push resources begin.
const PUSH: &str = "/p/";

/// What the doors need: they talk to the hub and to nothing else (invariant 5).
pub(crate) struct Doors {
    hub: Arc<Hub>,
    capabilities: Capabilities,
    origin: Origin,
    limits: Limits,
    clock: Clock,
    settings: HttpSettings,
    firefox: FirefoxSettings,
    chromium: Chromium,
    vapid: app::vapid::Gate,
    rates: app::rates::Rates,
    drains: agent::Drains,
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
            vapid: app::vapid::Gate::new(origin.clone()),
            rates: app::rates::Rates::new(limits.per_subscription_per_minute, limits.per_key_per_minute),
            drains: agent::Drains::new(limits.drain_timeout),
            origin,
        }
    }

    /// The service stops: sockets are closed one after the other.
    pub(crate) fn dismiss(&self) {
        self.drains.begin();
    }

    /// Answers one request, of either HTTP version.
    pub(crate) async fn answer(self: &Arc<Self>, request: Request) -> Response {
        let method = request.method().clone();
        let mut response = match (&method, request.uri().path()) {
            (&Method::GET, path) if self.firefox.serves(path) && websocket::is_wanted(request.headers()) => {
                agent::firefox::begin(&request)
            }
            (&Method::GET, "/") => wire::greeting(&self.origin),
            (&Method::GET, ERRORS_PATH) => wire::errors(),
            (&Method::POST, "/subscribe") => self.subscribe(request).await,
            (_, "/subscribe") => wire::method_not_allowed("POST"),
            (&Method::POST, CHECKIN_PATH) if self.chromium.is_open() => self.check_in(request).await,
            (&Method::POST, REGISTRATION_PATH) if self.chromium.is_open() => self.register(request).await,
            (_, CHECKIN_PATH | REGISTRATION_PATH) if self.chromium.is_open() => wire::method_not_allowed("POST"),
            (_, path) => match self.open(path) {
                Some(resource) => self.on_resource(&method, resource, request).await,
                None if self.chromium.push_token(path).is_some() => no_resource(&method, PUSH),
                None => no_resource(&method, path),
            },
        };
        if let Some(alt_svc) = &self.settings.alt_svc {
            response.headers_mut().insert(ALT_SVC, alt_svc.clone());
        }
        response
    }

    async fn on_resource(self: &Arc<Self>, method: &Method, resource: Resource, request: Request) -> Response {
        match (resource, method) {
            (Resource::Push { .. }, &Method::POST) => self.push(resource, request).await,
            (Resource::Push { .. }, _) => wire::method_not_allowed("POST"),

            (Resource::Message { id, .. }, &Method::GET) => self.read_message(id).await,
            (Resource::Message { agent, id }, &Method::DELETE) => {
                self.settle_message(agent, id, request.headers()).await
            }
            (Resource::Message { .. }, _) => wire::method_not_allowed("GET, DELETE"),

            (Resource::Subscription { agent, subscription }, &Method::GET) => {
                self.monitor(agent, Scope::Subscription(subscription), request).await
            }
            (Resource::Set { agent }, &Method::GET) => self.monitor(agent, Scope::Agent, request).await,
            (Resource::Subscription { agent, subscription }, &Method::DELETE) => {
                self.remove(agent, Scope::Subscription(subscription)).await
            }
            (Resource::Set { agent }, &Method::DELETE) => self.remove(agent, Scope::Agent).await,
            (Resource::Receipts { id }, &Method::GET) => self.receipts(id, request).await,
            (Resource::Receipts { id }, &Method::DELETE) => self.remove_receipts(id).await,
            (Resource::Subscription { .. } | Resource::Set { .. } | Resource::Receipts { .. }, _) => {
                wire::method_not_allowed("GET, DELETE")
            }
        }
    }

    /// The resource that a path names, in our way or, for a push resource, in Chromium's.
    fn open(&self, path: &str) -> Option<Resource> {
        match self.chromium.push_token(path) {
            Some(token) => self.capabilities.open(&format!("{PUSH}{token}")),
            None => self.capabilities.open(path),
        }
    }

    /// The resource that a link names, by an absolute URI of this service or by a path.
    fn resource(&self, target: &str) -> Option<Resource> {
        self.capabilities.open(target.strip_prefix(self.origin.as_str()).unwrap_or(target))
    }

    /// The absolute URI of a resource.
    fn uri(&self, resource: Resource) -> String {
        format!("{}{}", self.origin, self.capabilities.path(resource))
    }

    /// Adds the Date that HTTP/2 answers and pushes need from us (RFC 9110 s6.6.1).
    pub(crate) fn add_date(&self, headers: &mut HeaderMap) {
        if let Ok(date) = HeaderValue::try_from(wire::http_date(self.clock.now())) {
            headers.entry(DATE).or_insert(date);
        }
    }
}

/// What a URL gets that names nothing. A removed resource does not have other methods than it had, so one that never
/// was does not have them either: by no method can anybody tell which it was (PS-8030-8.3-2).
fn no_resource(method: &Method, path: &str) -> Response {
    match (path.get(..3), method) {
        (Some(PUSH), &Method::POST) => wire::not_found(StatusCode::NOT_FOUND),
        (Some(PUSH), _) => wire::method_not_allowed("POST"),
        (_, &Method::GET | &Method::DELETE) => wire::not_found(StatusCode::NOT_FOUND),
        (Some("/m/" | "/s/" | "/a/" | "/r/"), _) => wire::method_not_allowed("GET, DELETE"),
        _ => wire::not_found(StatusCode::NOT_FOUND),
    }
}
