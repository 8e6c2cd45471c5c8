//! A small push service for tests (RFC 8030 over the `h2` server), which can also misbehave on request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use doorbell_agent::{Agent, Limits, Profile, PublicKey, PushSubscription, Trust};
use doorbell_protocol::base64url;
use doorbell_protocol::ece::aes128gcm::{self, Padding};
use doorbell_protocol::ece::keys::AuthSecret;
use doorbell_protocol::problem::{Problem, errno};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_rustls::TlsAcceptor;

use super::app::Idle;
use super::soon;

/// The service; it ends with the test's runtime.
pub(crate) struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
}

/// A request that the service saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) connection: usize,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A push, good or bad.
#[derive(Clone)]
pub(crate) struct Push {
    pub(crate) authority: Option<String>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) promise: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// After so many bytes the stream is reset.
    pub(crate) cut_after: Option<usize>,
}

struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    commands: broadcast::Sender<Command>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) seen: Vec<Seen>,
    pub(crate) connections: usize,
    with_sets: bool,
    without_pushes: bool,
    subscriptions: usize,
    messages: BTreeMap<String, Push>,
    held: Vec<Held>,
    /// For requests with this method and the start of this path: the answer, once each.
    canned: Vec<(Method, String, Response<String>)>,
    ignored: Option<Method>,
    /// Requests that were ignored.
    unanswered: Vec<Unanswered>,
    sent: usize,
}

struct Held {
    connection: usize,
    answer: HeldAnswer,
}

enum HeldAnswer {
    /// To come; messages are pushed meanwhile.
    Pushes(SendResponse<Bytes>),
    /// Events.
    Events(SendStream<Bytes>),
}

struct Unanswered {
    authority: String,
    request: Seen,
    respond: SendResponse<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    /// Drop every connection.
    Cut,
    /// Announce the end of every connection, and go on with what is open.
    GoAway,
    /// Read and write nothing more, and keep the sockets open.
    Freeze,
}

impl Service {
    /// A service that grants sets.
    pub(crate) async fn start() -> Self {
        Self::start_as("127.0.0.1", &[b"h2"]).await
    }

    /// A service whose certificate is for `name` and that offers `protocols` by ALPN.
    pub(crate) async fn start_as(name: &str, protocols: &[&[u8]]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = certificates(name, protocols, folder.path().join("ca.pem"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { with_sets: true, ..State::default() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changes: watch::channel(0).0,
            commands: broadcast::channel(16).0,
        });
        tokio::spawn(accept(listener, TlsAcceptor::from(tls), Arc::clone(&shared)));
        Self { address, shared, folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::none().with_file(&self.ca()).unwrap()
    }

    /// An agent that trusts this service.
    pub(crate) fn agent(&self, profile: Profile, limits: Limits) -> Idle {
        let (agent, driver) = Agent::new(profile, &self.url(), self.trust(), limits).unwrap();
        Idle { agent, driver }
    }

    pub(crate) fn without_sets(&self) {
        self.change(|s| s.with_sets = false);
    }

    /// Whether messages can be received as events only, as behind a proxy that removes pushes.
    pub(crate) fn without_pushes(&self, is_so: bool) {
        self.change(|s| s.without_pushes = is_so);
    }

    /// The next request with `method` to a path that starts with `path` gets this answer.
    pub(crate) fn answer_once(&self, method: Method, path: &str, answer: Response<String>) {
        self.change(|s| s.canned.push((method, path.to_owned(), answer)));
    }

    /// Requests with this method are not answered any more; `None`: all are.
    pub(crate) fn ignore(&self, method: Option<Method>) {
        self.change(|s| s.ignored = method);
    }

    /// Answers what was ignored so far, and ignores nothing any more.
    pub(crate) fn answer_ignored(&self) {
        self.change(|s| {
            s.ignored = None;
            for Unanswered { authority, request, respond } in std::mem::take(&mut s.unanswered) {
                answer(s, &authority, &request, respond);
            }
        });
    }

    /// Accepts a text for `subscription`.
    pub(crate) fn send(&self, subscription: &PushSubscription, text: &str) -> String {
        self.accept(subscription, Push::of(subscription, text))
    }

    /// Accepts any push for `subscription`; returns the path of the message.
    pub(crate) fn accept(&self, subscription: &PushSubscription, push: Push) -> String {
        let endpoint = subscription.endpoint.clone();
        let push = if push.promise.is_empty() {
            Push { promise: vec![("link", format!("<{endpoint}>; rel=\"urn:ietf:params:push\""))], ..push }
        } else {
            push
        };
        self.accept_as_it_is(push)
    }

    pub(crate) fn accept_as_it_is(&self, push: Push) -> String {
        let authority = self.address.to_string();
        self.change(|s| {
            s.sent += 1;
            let path = format!("/m/{:04}", s.sent);
            s.messages.insert(path.clone(), push.clone());
            match s.held.last_mut().map(|held| &mut held.answer) {
                Some(HeldAnswer::Pushes(respond)) => offer(&authority, &path, &push, respond),
                Some(HeldAnswer::Events(stream)) => {
                    let _ = stream.send_data(event(&authority, &path, &push).into(), false);
                }
                None => {}
            }
            path
        })
    }

    /// Ends every held GET with this answer, and a stream of events with its end.
    pub(crate) fn end_monitoring(&self, answer: &Response<String>) {
        self.change(|s| {
            for held in s.held.drain(..) {
                match held.answer {
                    HeldAnswer::Pushes(mut respond) => reply(&mut respond, answer.clone()),
                    HeldAnswer::Events(mut stream) => {
                        let _ = stream.send_data(Bytes::new(), true);
                    }
                }
            }
        });
    }

    pub(crate) fn cut(&self) {
        self.command(Command::Cut);
        self.change(|s| s.held.clear());
    }

    pub(crate) fn go_away(&self) {
        self.command(Command::GoAway);
    }

    pub(crate) fn freeze(&self) {
        self.command(Command::Freeze);
        self.change(|s| s.held.clear());
    }

    /// Waits until `state` is so.
    pub(crate) async fn until(&self, what: &str, state: impl Fn(&State) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        soon(what, async {
            while !state(&self.shared.state.lock().unwrap()) {
                changes.changed().await.unwrap();
            }
        })
        .await;
    }

    /// Waits until a GET is held open, and nothing else.
    pub(crate) async fn until_monitored(&self) {
        self.until("a held GET", |s| !s.held.is_empty()).await;
    }

    pub(crate) async fn until_deleted(&self, path: &str) {
        self.until(path, |s| s.count(&Method::DELETE, path) > 0 && !s.messages.contains_key(path)).await;
    }

    /// The requests so far.
    pub(crate) fn seen(&self, method: Method, path: &str) -> Vec<Seen> {
        let state = self.shared.state.lock().unwrap();
        state.seen.iter().filter(|s| s.method == method && s.path.starts_with(path)).cloned().collect()
    }

    fn command(&self, command: Command) {
        let _ = self.shared.commands.send(command);
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.shared.change(change)
    }
}

impl State {
    pub(crate) fn count(&self, method: &Method, path: &str) -> usize {
        self.seen.iter().filter(|s| s.method == *method && s.path.starts_with(path)).count()
    }

    pub(crate) fn stored(&self) -> usize {
        self.messages.len()
    }

    /// The numbers of the connections with a held GET.
    pub(crate) fn monitored_on(&self) -> Vec<usize> {
        self.held.iter().map(|h| h.connection).collect()
    }

    fn canned_for(&mut self, seen: &Seen) -> Option<Response<String>> {
        let fits = |(method, path, _): &(Method, String, _)| *method == seen.method && seen.path.starts_with(path);
        let place = self.canned.iter().position(fits)?;
        Some(self.canned.remove(place).2)
    }
}

impl Push {
    /// `text`, encrypted for `subscription`.
    pub(crate) fn of(subscription: &PushSubscription, text: &str) -> Self {
        let key = PublicKey::from_base64url(&subscription.keys.p256dh).unwrap();
        let auth = AuthSecret::from_base64url(&subscription.keys.auth).unwrap();
        let body = aes128gcm::encrypt(text.as_bytes(), Padding::default(), &key, &auth).unwrap();
        Self::raw(body).with("content-encoding", "aes128gcm")
    }

    pub(crate) fn raw(body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { authority: None, status: 200, headers: Vec::new(), promise: Vec::new(), body, cut_after: None }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changes.send_modify(|n| *n += 1);
        result
    }
}

/// A certificate for `name` from a new authority, whose own is written to `ca`.
fn certificates(name: &str, protocols: &[&[u8]], ca: PathBuf) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(ca, issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
    Arc::new(config)
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let number = shared.change(|s| {
            s.connections += 1;
            s.connections
        });
        let commands = shared.commands.subscribe();
        tokio::spawn(serve(tcp, tls.clone(), Arc::clone(&shared), number, commands));
    }
}

async fn serve(
    tcp: TcpStream,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    number: usize,
    mut commands: broadcast::Receiver<Command>,
) {
    let authority = tcp.local_addr().unwrap().to_string();
    let Ok(stream) = tls.accept(tcp).await else { return };
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    loop {
        tokio::select! {
            request = connection.accept() => {
                let Some(Ok((request, respond))) = request else { break };
                let (shared, authority) = (Arc::clone(&shared), authority.clone());
                tokio::spawn(async move { handle(&shared, &authority, number, request, respond).await });
            }
            command = commands.recv() => match command {
                Ok(Command::GoAway) => connection.graceful_shutdown(),
                Ok(Command::Freeze) => std::future::pending().await,
                _ => break,
            },
        }
    }
    shared.change(|s| s.held.retain(|h| h.connection != number));
}

async fn handle(
    shared: &Shared,
    authority: &str,
    connection: usize,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (head, mut stream) = request.into_parts();
    let mut body = BytesMut::new();
    while let Some(Ok(chunk)) = stream.data().await {
        body.extend_from_slice(&chunk);
        let _ = stream.flow_control().release_capacity(chunk.len());
    }
    let path = head.uri.path().to_owned();
    let seen = Seen { connection, method: head.method, path, headers: head.headers, body: body.freeze() };
    shared.change(|s| {
        s.seen.push(seen.clone());
        if let Some(answer) = s.canned_for(&seen) {
            reply(&mut respond, answer);
        } else if s.ignored.as_ref() == Some(&seen.method) {
            s.unanswered.push(Unanswered { authority: authority.to_owned(), request: seen, respond });
        } else {
            answer(s, authority, &seen, respond);
        }
    });
}

fn answer(s: &mut State, authority: &str, seen: &Seen, mut respond: SendResponse<Bytes>) {
    match (&seen.method, seen.path.get(..3)) {
        (&Method::POST, Some("/su")) => reply(&mut respond, subscribe(s)),
        (&Method::GET, Some("/a/" | "/s/")) => monitor(s, authority, seen, respond),
        (&Method::DELETE, Some("/m/")) if s.messages.remove(&seen.path).is_none() => {
            reply(&mut respond, problem(404));
        }
        (&Method::DELETE, _) => reply(&mut respond, status(204)),
        _ => reply(&mut respond, problem(404)),
    }
}

fn subscribe(s: &mut State) -> Response<String> {
    s.subscriptions += 1;
    let n = s.subscriptions;
    let mut answer = Response::builder()
        .status(201)
        .header("location", format!("/s/{n}"))
        .header("link", format!("</p/{n}>; rel=\"urn:ietf:params:push\""));
    if s.with_sets {
        answer = answer.header("link", "</a/1>; rel=\"urn:ietf:params:push:set\"");
    }
    answer.body(String::new()).unwrap()
}

fn monitor(s: &mut State, authority: &str, seen: &Seen, mut respond: SendResponse<Bytes>) {
    let is_drain = seen.headers.get("prefer").is_some_and(|v| v == "wait=0");
    if seen.headers.get("accept").is_some_and(|v| v == "text/event-stream") {
        let head = Response::builder().status(200).header("content-type", "text/event-stream").body(()).unwrap();
        let Ok(mut stream) = respond.send_response(head, false) else { return };
        let events = s.messages.iter().flat_map(|(path, push)| event(authority, path, push));
        let _ = stream.send_data([&b":\n\n"[..], &events.collect::<Vec<u8>>()].concat().into(), is_drain);
        if !is_drain {
            s.held.push(Held { connection: seen.connection, answer: HeldAnswer::Events(stream) });
        }
        return;
    }
    if s.without_pushes {
        return reply(&mut respond, problem(406));
    }
    for (path, push) in &s.messages {
        offer(authority, path, push, &mut respond);
    }
    if is_drain {
        reply(&mut respond, status(if s.messages.is_empty() { 204 } else { 200 }));
    } else {
        s.held.push(Held { connection: seen.connection, answer: HeldAnswer::Pushes(respond) });
    }
}

fn event(authority: &str, path: &str, push: &Push) -> Vec<u8> {
    let (_, endpoint) = push.promise.iter().find(|(name, _)| *name == "link").unwrap();
    let endpoint = endpoint.split(['<', '>']).nth(1).unwrap();
    let headers: BTreeMap<_, _> = push.headers.iter().cloned().collect();
    let (message, body) = (format!("https://{authority}{path}"), base64url::encode(&push.body));
    let data = serde_json::json!({ "message": message, "push": endpoint, "headers": headers, "body": body });
    format!("id: {path}\nevent: message\ndata: {data}\n\n").into()
}

fn offer(authority: &str, path: &str, push: &Push, respond: &mut SendResponse<Bytes>) {
    let authority = push.authority.as_deref().unwrap_or(authority);
    let mut request = Request::get(format!("https://{authority}{path}"));
    for (name, value) in &push.promise {
        request = request.header(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let Ok(mut pushed) = respond.push_request(request.body(()).unwrap()) else { return };
    let mut response = Response::builder().status(push.status);
    for (name, value) in &push.headers {
        response = response.header(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let Ok(stream) = pushed.send_response(response.body(()).unwrap(), false) else { return };
    deliver(stream, push.body.clone(), push.cut_after);
}

fn deliver(mut stream: SendStream<Bytes>, body: Bytes, cut_after: Option<usize>) {
    let Some(length) = cut_after else {
        let _ = stream.send_data(body, true);
        return;
    };
    let _ = stream.send_data(body.slice(..length), false);
    tokio::spawn(async move {
        // A reset overtakes what is queued: the bytes go first.
        stream.reserve_capacity(usize::from(u16::MAX));
        let _ = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        stream.send_reset(Reason::INTERNAL_ERROR);
    });
}

fn reply(respond: &mut SendResponse<Bytes>, answer: Response<String>) {
    let (head, body) = answer.into_parts();
    let end = body.is_empty();
    if let Ok(mut stream) = respond.send_response(Response::from_parts(head, ()), end)
        && !end
    {
        let _ = stream.send_data(body.into(), true);
    }
}

/// An error in the form of Doorbell.
pub(crate) fn problem(status: u16) -> Response<String> {
    let number = match status {
        404 => errno::UNKNOWN_URL,
        410 => errno::GONE,
        406 => errno::TRANSPORT,
        _ => errno::UNAVAILABLE,
    };
    let problem = Problem::new(StatusCode::from_u16(status).unwrap(), number, "It cannot be.");
    Response::builder()
        .status(status)
        .body(String::from_utf8(problem.to_json("https://push.example")).unwrap())
        .unwrap()
}

/// An answer without a body.
pub(crate) fn status(status: u16) -> Response<String> {
    Response::builder().status(status).body(String::new()).unwrap()
}
