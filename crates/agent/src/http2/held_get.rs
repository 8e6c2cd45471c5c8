//! One GET that is held open while the service pushes messages in response to it (RFC 8030 s6, s6.1), or sends them as
//! events in its answer.

use std::future::Future;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::{URGENCY, Urgency};
use doorbell_protocol::problem::{self, errno};
use h2::RecvStream;
use h2::client::{PushPromise, PushPromises, ResponseFuture, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use tokio::sync::oneshot;
use tokio::time::timeout;
use url::Url;

use crate::error::Error;
use crate::http2::answer::{ANSWER_BYTES_MAX, is_gone, read, refused, request};
use crate::http2::connection::lost;
use crate::http2::events::{EVENT_STREAM, Parser};
use crate::limits::Limits;
use crate::message::Pushed;

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Push what is stored, then answer (RFC 8030 s6).
const WAIT_0: HeaderValue = HeaderValue::from_static("wait=0");

/// How messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As server pushes.
    Pushes,
    /// As events in the answer, where pushes cannot pass.
    Events,
}

/// A GET that was sent.
pub(crate) struct HeldGet {
    resource: Url,
    drain: bool,
    way: Way,
    limits: Limits,
    response: ResponseFuture,
    pushes: PushPromises,
}

/// What a push turned out to be.
pub(crate) enum Push {
    /// A message.
    Complete(Box<Pushed>),
    /// A message that is longer than the agent reads, without its body.
    TooLong(Box<Pushed>),
    /// No message: it was refused, or it is broken. If there is a message behind it, the service pushes it again.
    Unusable(&'static str),
}

/// How a GET ended.
pub(crate) enum End {
    /// With 200 or 204; `pushes` came before.
    Finished { pushes: u64 },
    /// The subscription or set no longer exists (RFC 8030 s7.3).
    Gone,
    /// The service cannot push on this connection: a proxy is in between.
    WithoutPushes,
    /// With an error.
    Failed(Error),
}

impl HeldGet {
    /// Asks for the messages of `resource` of at least `urgency`; with `drain`, for those that are stored.
    pub(crate) async fn start(
        requests: SendRequest<Bytes>,
        resource: &Url,
        urgency: Option<Urgency>,
        drain: bool,
        way: Way,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let mut fields = HeaderMap::new();
        if let Some(urgency) = urgency {
            fields.insert(URGENCY, HeaderValue::from_static(urgency.as_str()));
        }
        if drain {
            fields.insert(PREFER, WAIT_0);
        }
        if way == Way::Events {
            fields.insert(header::ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        }
        let request = request(Method::GET, resource, fields)?;
        let mut requests = requests.ready().await.map_err(lost)?;
        let (mut response, _) = requests.send_request(request, true).map_err(lost)?;
        let pushes = response.push_promises();
        Ok(Self { resource: resource.clone(), drain, way, limits: *limits, response, pushes })
    }

    /// Gives each message to `on_push`, in order, until the GET ends or `on_push` returns `None`. `accepted` is sent when
    /// it is certain that the service has accepted the GET.
    pub(crate) async fn run<F>(self, accepted: oneshot::Sender<()>, on_push: impl Fn(Push) -> F) -> End
    where
        F: Future<Output = Option<()>>,
    {
        match self.way {
            Way::Pushes => self.receive_pushes(accepted, on_push).await,
            Way::Events => self.receive_events(accepted, on_push).await,
        }
    }

    /// The bodies are sent interleaved: h2 keeps what comes early, within the windows.
    async fn receive_pushes<F>(mut self, accepted: oneshot::Sender<()>, on_push: impl Fn(Push) -> F) -> End
    where
        F: Future<Output = Option<()>>,
    {
        let mut accepted = Some(accepted);
        let mut count = 0;
        let mut answered = false;
        let mut body: Option<RecvStream> = None;
        loop {
            tokio::select! {
                biased;
                push = self.pushes.push_promise() => match push {
                    Some(Ok(push)) => {
                        count += 1;
                        // The monitor may have stopped waiting for it.
                        let _ = accepted.take().map(|accepted| accepted.send(()));
                        let push = self.receive(push).await;
                        if on_push(push).await.is_none() {
                            return End::Finished { pushes: count };
                        }
                    }
                    Some(Err(e)) => return End::Failed(lost(e)),
                    None if answered => return End::Finished { pushes: count },
                    // The stream has ended, so the answer is there.
                    None => return match (&mut self.response).await {
                        Ok(answer) if answer.status().is_success() => End::Finished { pushes: count },
                        Ok(answer) => self.end_of(answer).await,
                        Err(e) => End::Failed(lost(e)),
                    },
                },
                answer = &mut self.response, if !answered => match answer {
                    Ok(answer) if answer.status().is_success() => {
                        answered = true;
                        body = Some(answer.into_body());
                    }
                    Ok(answer) => return self.end_of(answer).await,
                    Err(e) => return End::Failed(lost(e)),
                },
                // A service that does not know the preference would hold the GET open.
                () = tokio::time::sleep(self.limits.answer_timeout), if self.drain => {
                    return End::Failed(Error::Timeout("answer", self.limits.answer_timeout));
                }
                more = chunk(&mut body) => if !more { body = None },
            }
        }
    }

    /// Room is given back when a message was taken over: so a full inbox stops the service.
    async fn receive_events<F>(mut self, accepted: oneshot::Sender<()>, on_push: impl Fn(Push) -> F) -> End
    where
        F: Future<Output = Option<()>>,
    {
        let limit = self.limits.answer_timeout;
        let answer = match timeout(limit, &mut self.response).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(e)) => return End::Failed(lost(e)),
            Err(_) => return End::Failed(Error::Timeout("answer", limit)),
        };
        if answer.status() == StatusCode::NO_CONTENT {
            return End::Finished { pushes: 0 };
        }
        if !answer.status().is_success() {
            return self.end_of(answer).await;
        }
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with(EVENT_STREAM)) {
            return End::Failed(Error::Unusable("what it answers are no events"));
        }
        let _ = accepted.send(());
        let mut parser = Parser::new(self.resource.clone(), self.limits.body_bytes_max);
        let (mut body, mut count) = (answer.into_body(), 0);
        // A service that does not know the preference would hold the GET open.
        let patience = if self.drain { limit } else { self.limits.silence_max };
        loop {
            let chunk = match timeout(patience, body.data()).await {
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(e))) => return End::Failed(lost(e)),
                Ok(None) if parser.is_between_events() => return End::Finished { pushes: count },
                Ok(None) => return End::Failed(Error::Lost("the events were cut off".to_owned())),
                Err(_) if self.drain => return End::Failed(Error::Timeout("answer", limit)),
                Err(_) => return End::Failed(Error::Lost(format!("no event for {} s", patience.as_secs()))),
            };
            for push in parser.feed(&chunk) {
                count += 1;
                if on_push(push).await.is_none() {
                    return End::Finished { pushes: count };
                }
            }
            if let Err(e) = body.flow_control().release_capacity(chunk.len()) {
                return End::Failed(lost(e));
            }
        }
    }

    async fn receive(&self, push: PushPromise) -> Push {
        let (promised, response) = push.into_parts();
        // Leaving early drops the response, which resets the stream.
        let Ok(uri) = Url::parse(&promised.uri().to_string()) else {
            return Push::Unusable("a push whose URI is no URL");
        };
        // A service may push its own resources only: the DELETE goes to the origin of this URI.
        if uri.origin() != self.resource.origin() {
            return Push::Unusable("a push for another origin");
        }
        let read = async {
            let (head, body) = response.await.map_err(lost)?.into_parts();
            Ok::<_, Error>((head, read(body, self.limits.body_bytes_max).await?))
        };
        match timeout(self.limits.push_timeout, read).await {
            Err(_) => Push::Unusable("a push that did not end in time"),
            Ok(Err(_)) => Push::Unusable("a push that was cut off"),
            Ok(Ok((head, _))) if head.status != StatusCode::OK => Push::Unusable("a push that is no message"),
            Ok(Ok((head, body))) => {
                let promise = promised.into_parts().0.headers;
                let kind = if body.is_some() { Push::Complete } else { Push::TooLong };
                let body = body.unwrap_or_default();
                kind(Box::new(Pushed { uri, promise, headers: head.headers, body }))
            }
        }
    }

    /// What an answer without success means: only the service's own form ends the subscription, or the pushes.
    async fn end_of(&self, answer: Response<RecvStream>) -> End {
        let (head, body) = answer.into_parts();
        // Without the body nothing is known but the status: then it is an error that may pass.
        let body = match timeout(self.limits.answer_timeout, read(body, ANSWER_BYTES_MAX)).await {
            Ok(Ok(Some(body))) => body,
            _ => Bytes::new(),
        };
        let is_for_pushes = || problem::errno_in(head.status, &body) == Some(errno::TRANSPORT);
        if is_gone(head.status, &body) {
            End::Gone
        } else if self.way == Way::Pushes && head.status == StatusCode::NOT_ACCEPTABLE && is_for_pushes() {
            End::WithoutPushes
        } else {
            End::Failed(refused(head.status, &head.headers, &body))
        }
    }
}

/// Reads a chunk of the answer's body, which has no meaning, and drops it; false at its end.
async fn chunk(body: &mut Option<RecvStream>) -> bool {
    let Some(body) = body else { return std::future::pending().await };
    match body.data().await {
        Some(Ok(data)) => body.flow_control().release_capacity(data.len()).is_ok(),
        _ => false,
    }
}
