//! Sends messages, and opens the streams that a follower of receipts reads.
//!
//! It never follows a redirection, and connects only where its [`AddressPolicy`] permits. It uses no proxy unless it is
//! given one: a proxy resolves names itself, and the policy cannot check the addresses.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::time::UnixMs;
use http::{Request, StatusCode};

use crate::answer::{Accepted, Answer};
use crate::clock::{Clock, Steady};
use crate::endpoint::{Endpoint, EndpointError};
use crate::error::{ClientError, SendError};
use crate::explanation::{EXPLANATION_MAX, Explanation};
use crate::guard::{AddressRefused, Guard};
use crate::network::AddressPolicy;
use crate::proxy::Proxy;
use crate::request::{self, Message, ReceiptWish};
use crate::retry::{Retry, RetryPolicy};
use crate::tls;

/// How a client connects. The default suits an application server whose subscriptions come from strangers.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where it may connect to.
    pub addresses: AddressPolicy,
    /// The proxy for all requests; `None`: connections are direct, whatever the environment names.
    pub proxy: Option<Proxy>,
    /// Certificates, in PEM, of certificate authorities to trust in addition to the system's. May be empty.
    pub extra_ca_pem: Vec<u8>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long one attempt may take, until the end of the answer.
    pub request_timeout: Duration,
    /// Where the client takes the time from, for tokens and for pauses.
    pub clock: Clock,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            addresses: AddressPolicy::public(),
            proxy: None,
            extra_ca_pem: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            clock: Clock::system(),
        }
    }
}

/// How often the client pings a push service whose answer it waits for, and how long the reply may take.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Sends messages to push services. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    addresses: Arc<AddressPolicy>,
    /// The origin of the proxy.
    proxy: Option<Arc<str>>,
    clock: Clock,
    /// For waits: a jump of the time of day makes none shorter or longer.
    steady: Steady,
}

/// The answer to one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// What it means.
    pub answer: Answer,
    /// The reason that the push service gave for an error; empty if it accepted the message.
    pub explanation: Explanation,
}

/// A pause between two attempts.
#[derive(Debug)]
pub struct Wait<'a> {
    /// How many attempts have failed.
    pub attempts: u32,
    /// How long the pause is.
    pub delay: Duration,
    /// How the last attempt ended.
    pub because: &'a Result<Reply, SendError>,
}

impl Client {
    /// Makes a client. It connects when it first sends.
    ///
    /// # Errors
    /// If a certificate cannot be read, or if there is no certificate authority to trust.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let addresses = Arc::new(config.addresses);
        let setup = |error: &reqwest::Error| ClientError::Setup(innermost(error));
        let proxy_host = config.proxy.as_ref().and_then(Proxy::host).map(str::to_owned);
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some(proxy) = &config.proxy {
            builder = builder.proxy(proxy.for_client().map_err(|e| setup(&e))?);
        }
        let http = builder
            .tls_backend_preconfigured(tls::config(&config.extra_ca_pem)?)
            .dns_resolver(Guard::new(Arc::clone(&addresses), proxy_host))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("doorbell/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            // A connection that is dead without having been closed would otherwise be used again and again.
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(KEEP_ALIVE)
            .timeout(config.request_timeout)
            .build()
            .map_err(|e| setup(&e))?;
        let steady = config.clock.steady();
        let proxy = config.proxy.map(|proxy| proxy.origin().into());
        Ok(Self { http, addresses, proxy, clock: config.clock, steady })
    }

    /// Sends a message once. It sends a second time only if the push service rejected the receipt subscription that the
    /// message's [`ReceiptBook`](crate::ReceiptBook) named (RFC 8030 s5.1).
    ///
    /// # Errors
    /// If there was no answer. Whatever the push service answers is a [`Reply`].
    pub async fn send(&self, message: &Message<'_>) -> Result<Reply, SendError> {
        let ReceiptWish::Book(book) = message.receipt else { return self.attempt(message).await };
        let endpoint = &message.subscription.endpoint;
        let known = book.get(endpoint);
        let receipt = known.as_deref().map_or(ReceiptWish::New, ReceiptWish::On);
        let mut reply = self.attempt(&Message { receipt, ..*message }).await?;
        if let Some(known) = known.filter(|_| reply.status == StatusCode::BAD_REQUEST) {
            // 400 may also mean that the receipt subscription is gone: then a new one helps.
            book.forget(endpoint, &known);
            reply = self.attempt(&Message { receipt: ReceiptWish::New, ..*message }).await?;
        }
        if let Answer::Accepted(Accepted { receipt: Some(receipts), .. }) = &reply.answer {
            book.remember(endpoint, receipts);
        }
        Ok(reply)
    }

    /// Deletes a resource by its URL: withdraws a message (RFC 8030 s5), or ends a receipt subscription. The status shows
    /// whether the resource existed.
    ///
    /// # Errors
    /// If there was no answer.
    pub async fn delete(&self, resource: &Endpoint) -> Result<StatusCode, SendError> {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = http::Method::DELETE;
        request.uri_mut().clone_from(resource.uri());
        Ok(self.execute(resource, request, None).await?.status())
    }

    /// Sends a message, and sends it again while the push service is busy or out of reach and `policy` allows another
    /// attempt. It calls `on_wait` before each pause. The result is that of the last attempt.
    ///
    /// # Errors
    /// If the last attempt got no answer.
    pub async fn send_with_retries(
        &self,
        message: &Message<'_>,
        policy: RetryPolicy,
        mut on_wait: impl FnMut(Wait<'_>),
    ) -> Result<Reply, SendError> {
        let mut retry = Retry::new(policy, self.steady.now());
        loop {
            let result = self.send(message).await;
            let asked = match &result {
                Ok(Reply { answer: Answer::RetryLater { after }, .. }) => *after,
                Err(SendError::Connect(_)) => None,
                _ => return result,
            };
            let Some(delay) = retry.after_failure(asked, self.steady.now(), random()) else { return result };
            on_wait(Wait { attempts: retry.attempts(), delay, because: &result });
            tokio::time::sleep(delay).await;
        }
    }

    /// The time for waits.
    pub(crate) fn steady_now(&self) -> UnixMs {
        self.steady.now()
    }

    /// The time of day.
    pub(crate) fn now(&self) -> UnixMs {
        self.clock.now()
    }

    /// The head of the answer to `request`; its body may take as long as `time_max` to arrive.
    pub(crate) async fn open(
        &self,
        resource: &Endpoint,
        request: Request<Bytes>,
        time_max: Duration,
    ) -> Result<reqwest::Response, SendError> {
        self.execute(resource, request, Some(time_max)).await
    }

    async fn attempt(&self, message: &Message<'_>) -> Result<Reply, SendError> {
        let endpoint = &message.subscription.endpoint;
        let request = request::build(message, self.now())?;
        let mut response = self.execute(endpoint, request, None).await?;
        let mut answer = Answer::read(endpoint, response.status(), response.headers(), self.now());
        let explanation = match &mut answer {
            Answer::Accepted(accepted) => {
                accepted.receipt_on(response.status(), message.receipt);
                Explanation::default()
            }
            _ => explanation(endpoint, &mut response).await,
        };
        if !matches!(answer, Answer::Accepted(_)) {
            answer = Answer::read_with(&explanation, endpoint, response.status(), response.headers(), self.now());
        }
        Ok(Reply { status: response.status(), answer, explanation })
    }

    /// Every request of this crate goes through here.
    async fn execute(
        &self,
        resource: &Endpoint,
        request: Request<Bytes>,
        time_max: Option<Duration>,
    ) -> Result<reqwest::Response, SendError> {
        // The resolver, which checks addresses, never sees an address that the URL itself contains.
        resource.check(&self.addresses)?;
        let mut request = reqwest::Request::try_from(request).map_err(|e| SendError::Connect(innermost(&e)))?;
        *request.timeout_mut() = time_max;
        self.http.execute(request).await.map_err(|error| self.failure(error))
    }

    fn failure(&self, error: reqwest::Error) -> SendError {
        let refused = sources(&error).any(|cause| cause.is::<AddressRefused>());
        match (error.is_connect(), &self.proxy) {
            _ if refused => SendError::Endpoint(EndpointError::Address),
            (true, Some(proxy)) if sources(&error).any(|cause| cause.to_string().starts_with(OF_PROXY)) => {
                let reason = innermost(&error);
                match reason.trim_start_matches(OF_PROXY) {
                    PROXY_WANTS_LOGIN => SendError::ProxyLogin(proxy.to_string()),
                    PROXY_REFUSES => SendError::Connect(format!("the proxy {proxy} refuses to connect to it")),
                    reason => SendError::Connect(format!("the proxy {proxy} fails: {reason}")),
                }
            }
            (true, _) => match sources(&error).find_map(tls::failure) {
                Some(failure) => tls::explained(failure),
                None => SendError::Connect(innermost(&error)),
            },
            (false, _) => SendError::Broken(innermost(&error)),
        }
    }
}

/// The answers of a proxy to CONNECT, in the words of the HTTP client: the type of its error is private.
const OF_PROXY: &str = "tunnel error: ";
const PROXY_REFUSES: &str = "unsuccessful";
const PROXY_WANTS_LOGIN: &str = "proxy authorization required";

/// The beginning of the body. The status has the meaning, so a body that breaks off is not an error.
pub(crate) async fn explanation(endpoint: &Endpoint, response: &mut reqwest::Response) -> Explanation {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= EXPLANATION_MAX {
            break;
        }
    }
    Explanation::read(endpoint, response.status(), &body)
}

/// The text of the innermost cause: the outer ones contain the URL, which is a secret, or nothing.
fn innermost(error: &reqwest::Error) -> String {
    sources(error).last().map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}

fn sources(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// A random number for the jitter.
pub(crate) fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness every pause has its shortest length, which is still correct.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u32::from_be_bytes(bytes)
}
