//! The grammar of the service's tests: a running service on a free port with a clock that stands still, an application
//! server and a user agent that work on the wire only. They use none of our own clients.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the grammar")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

pub mod agent;
pub mod chromium;
pub mod events;
pub mod log;
pub mod raw;
pub mod scrape;
pub mod socket;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::time::UnixMs;
use doorbell_service::config::{Changes, Config, Settings};
use doorbell_service::{Clock, Service, StartError};
use http::{Request, Response, StatusCode};

/// How long anything may take before a test fails. Nothing waits that long unless the test fails.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// 2026-09-21, where every test's clock starts.
pub const START: UnixMs = UnixMs::from_secs(1_790_000_000);

/// A push service without TLS on loopback.
pub struct TestService {
    pub service: Option<Service>,
    pub clock: Clock,
    pub address: SocketAddr,
    settings: Settings,
    pub dir: tempfile::TempDir,
}

/// The URIs that a subscribe request gave.
#[derive(Clone, Debug)]
pub struct Subscription {
    pub subscription: String,
    pub push: String,
    pub set: String,
}

/// An answer with its whole body.
pub type Answer = Response<Bytes>;

impl TestService {
    pub async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub async fn with(settings: Settings) -> Self {
        Self::with_clock(settings, Clock::manual(START)).await
    }

    pub async fn with_clock(settings: Settings, clock: Clock) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = Some(dir.path().to_owned());
        let listen = Some("127.0.0.1:0".parse().unwrap());
        let settings = Settings { state_dir, listen, plain: Some(true), ..settings };
        let config = Config::from_settings(settings.clone()).unwrap();
        let service = Service::start(config, clock.clone()).await.unwrap();
        Self { address: service.address(), service: Some(service), clock, settings, dir }
    }

    /// Stops in order and starts again on the same state and port, like an upgrade.
    pub async fn restart(&mut self) {
        self.restart_after(|_| ()).await;
    }

    /// The same, with something done to the state directory in between.
    pub async fn restart_after(&mut self, change: impl FnOnce(&Path)) {
        self.service.take().unwrap().stop().await.unwrap();
        change(self.dir.path());
        self.service = Some(self.try_start().await.unwrap());
    }

    /// A service on the same state and port.
    pub async fn try_start(&self) -> Result<Service, StartError> {
        Service::start(self.config(), self.clock.clone()).await
    }

    /// The configuration, with the port that the first start got.
    pub fn config(&self) -> Config {
        let settings = Settings { listen: Some(self.address), ..self.settings.clone() };
        Config::from_settings(settings).unwrap()
    }

    /// Reloads with other settings while it runs: what it says.
    pub fn reload(&mut self, change: impl FnOnce(&mut Settings)) -> Changes {
        change(&mut self.settings);
        let next = Config::from_settings(self.settings.clone()).unwrap();
        self.service.as_ref().unwrap().reload(&next).unwrap()
    }

    /// Starts it again with other settings.
    pub async fn reconfigure(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.restart().await;
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One request over HTTP/1.1, by hyper's client.
    pub async fn ask(&self, request: Request<Bytes>) -> Answer {
        within(raw::http1(self.address, request)).await
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.ask(Request::get(uri).body(Bytes::new()).unwrap()).await
    }

    pub async fn delete(&self, uri: &str) -> StatusCode {
        self.ask(Request::delete(uri).body(Bytes::new()).unwrap()).await.status()
    }

    /// A new subscription in a set of its own.
    pub async fn subscribe(&self) -> Subscription {
        let answer = self.ask(Request::post(self.origin() + "/subscribe").body(Bytes::new()).unwrap()).await;
        Subscription::from(&answer)
    }

    /// A new subscription in the set of another one.
    pub async fn join(&self, with: &Subscription) -> Subscription {
        let link = format!("<{}>; rel=\"urn:ietf:params:push:set\"", with.set);
        let request = Request::post(self.origin() + "/subscribe").header("link", link);
        Subscription::from(&self.ask(request.body(Bytes::new()).unwrap()).await)
    }

    /// Sends a message and expects it to be accepted; its URI.
    pub async fn send(&self, to: &Subscription, headers: &[(&str, &str)], body: &[u8]) -> String {
        let answer = self.post(to, headers, body).await;
        assert_eq!(answer.status(), StatusCode::CREATED, "{}", text(&answer));
        header(&answer, "location").to_owned()
    }

    /// Posts to the push resource, with `TTL: 60` unless the headers have one. A Chromium gets a body without a coding in the
    /// form of an encrypted message.
    pub async fn post(&self, to: &Subscription, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let is_coded = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
        if chromium::is_endpoint(&to.push) && !is_coded && !body.is_empty() {
            let headers = [headers, &[("content-encoding", "aes128gcm")]].concat();
            return self.post_as_it_is(to, &headers, &chromium::wrapped(body)).await;
        }
        self.post_as_it_is(to, headers, body).await
    }

    /// The same, with no other coding than the one in `headers`.
    pub async fn post_as_it_is(&self, to: &Subscription, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = Request::post(&to.push);
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("ttl")) {
            request = request.header("ttl", "60");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.ask(request.body(Bytes::copy_from_slice(body)).unwrap()).await
    }

    /// A user agent, connected over HTTP/2.
    pub async fn agent(&self) -> agent::Agent {
        agent::Agent::connect(self.address, agent::settings()).await
    }

    /// Opens a held GET on `uri` and waits until it is served: a first message has come over it.
    pub async fn monitored(&self, agent: &mut agent::Agent, uri: &str, to: &Subscription) -> agent::Monitoring {
        self.monitored_with(agent, uri, to, &[]).await
    }

    pub async fn monitored_with(
        &self,
        agent: &mut agent::Agent,
        uri: &str,
        to: &Subscription,
        headers: &[(&str, &str)],
    ) -> agent::Monitoring {
        let first = self.send(to, &[("urgency", "high")], b"first").await;
        let mut monitoring = agent.monitor(uri, headers).await;
        assert_eq!(monitoring.push().await.uri, first);
        assert_eq!(agent.delete(&first).await, StatusCode::NO_CONTENT);
        monitoring
    }

    pub async fn agent_with(&self, builder: h2::client::Builder) -> agent::Agent {
        agent::Agent::connect(self.address, builder).await
    }
}

impl From<&Answer> for Subscription {
    fn from(answer: &Answer) -> Self {
        assert_eq!(answer.status(), StatusCode::CREATED, "{}", text(answer));
        let links: Vec<_> = answer.headers().get_all("link").iter().map(|v| v.to_str().unwrap()).collect();
        let link = |rel: &str| {
            let with_rel = links.iter().find(|l| l.ends_with(&format!("rel=\"{rel}\""))).unwrap();
            with_rel[1..with_rel.find('>').unwrap()].to_owned()
        };
        Self {
            subscription: header(answer, "location").to_owned(),
            push: link("urn:ietf:params:push"),
            set: link("urn:ietf:params:push:set"),
        }
    }
}

/// One header field that must be there.
pub fn header<'a, T>(answer: &'a Response<T>, name: &str) -> &'a str {
    let value = answer.headers().get(name).unwrap_or_else(|| panic!("no {name} in {:?}", answer.headers()));
    value.to_str().unwrap()
}

pub fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(answer.body()).into_owned()
}

/// Fails the test when `work` is not done by the deadline.
#[track_caller]
pub fn within<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let done = tokio::time::timeout(DEADLINE, work).await;
        done.unwrap_or_else(|_| panic!("not done in {DEADLINE:?}, waiting at {caller}"))
    }
}

/// The path of an absolute URI.
pub fn path(uri: &str) -> String {
    uri.parse::<http::Uri>().unwrap().path().to_owned()
}
