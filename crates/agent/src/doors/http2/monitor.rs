//! Monitoring: one GET that is held open while the service pushes messages at it (RFC 8030 s6, s6.1).

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::urgency::{URGENCY, Urgency};
use h2::RecvStream;
use h2::client::{PushPromise, PushPromises, ResponseFuture, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use tokio::time::timeout;
use url::Url;

use crate::doors::http2::answer::{ANSWER_OCTETS_MAX, read, refusal, request};
use crate::doors::http2::connection::lost;
use crate::error::Error;
use crate::limits::Limits;
use crate::message::Pushed;

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Push what is stored, then answer (RFC 8030 s6).
const AT_ONCE: HeaderValue = HeaderValue::from_static("wait=0");

/// A GET on its way.
pub(crate) struct Monitor {
    resource: Url,
    at_once: bool,
    limits: Limits,
    response: ResponseFuture,
    pushes: PushPromises,
}

/// What a push turned out to be.
pub(crate) enum Arrival {
    /// A message.
    Complete(Box<Pushed>),
    /// A message that is longer than the agent reads.
    TooLong(Url),
    /// No message; it was refused, or it is broken. If there is one behind it, the service will offer it again.
    Unusable(&'static str),
}

/// How a GET ended.
pub(crate) enum End {
    /// With 200 or 204; `pushes` came before.
    Finished { pushes: u64 },
    /// There is no such subscription or set any more (RFC 8030 s7.3).
    Gone,
    /// Not as it should.
    Failed(Error),
}

impl Monitor {
    /// Asks for the messages of `resource` of at least the urgency `floor`; if `at_once`, for those that are stored.
    pub(crate) async fn start(
        requests: SendRequest<Bytes>,
        resource: &Url,
        floor: Option<Urgency>,
        at_once: bool,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let mut fields = HeaderMap::new();
        if let Some(floor) = floor {
            fields.insert(URGENCY, HeaderValue::from_static(floor.as_str()));
        }
        if at_once {
            fields.insert(PREFER, AT_ONCE);
        }
        let request = request(Method::GET, resource, fields)?;
        let mut requests = requests.ready().await.map_err(lost)?;
        let (mut response, _) = requests.send_request(request, true).map_err(lost)?;
        let pushes = response.push_promises();
        Ok(Self { resource: resource.clone(), at_once, limits: *limits, response, pushes })
    }

    /// Gives each push to `arrived`, in the order of the promises, until the GET ends or nobody takes them.
    /// The bodies travel side by side: h2 keeps what comes early, within the windows.
    pub(crate) async fn run<F>(mut self, arrived: impl Fn(Arrival) -> F) -> End
    where
        F: Future<Output = Option<()>>,
    {
        let mut count = 0;
        let mut answered = false;
        let mut body: Option<RecvStream> = None;
        loop {
            tokio::select! {
                biased;
                push = self.pushes.push_promise() => match push {
                    Some(Ok(push)) => {
                        count += 1;
                        let arrival = self.receive(push).await;
                        if arrived(arrival).await.is_none() {
                            return End::Finished { pushes: count };
                        }
                    }
                    Some(Err(e)) => return End::Failed(lost(e)),
                    None if answered => return End::Finished { pushes: count },
                    // The stream has ended, so that the answer is here.
                    None => return match self.response.await {
                        Ok(answer) if answer.status().is_success() => End::Finished { pushes: count },
                        Ok(answer) => refused(answer, self.limits.answer_timeout).await,
                        Err(e) => End::Failed(lost(e)),
                    },
                },
                answer = &mut self.response, if !answered => match answer {
                    Ok(answer) if answer.status().is_success() => {
                        answered = true;
                        body = Some(answer.into_body());
                    }
                    Ok(answer) => return refused(answer, self.limits.answer_timeout).await,
                    Err(e) => return End::Failed(lost(e)),
                },
                // A service that does not know the preference would hold the GET open.
                () = tokio::time::sleep(self.limits.answer_timeout), if self.at_once => {
                    return End::Failed(Error::Late("answer", self.limits.answer_timeout));
                }
                more = chunk(&mut body) => if !more { body = None },
            }
        }
    }

    async fn receive(&self, push: PushPromise) -> Arrival {
        let (promised, response) = push.into_parts();
        // Leaving early drops the response, which resets the stream.
        let Ok(uri) = Url::parse(&promised.uri().to_string()) else {
            return Arrival::Unusable("a push for something that is no URL");
        };
        // The service may speak for itself only: a DELETE goes wherever this URI says.
        if uri.origin() != self.resource.origin() {
            return Arrival::Unusable("a push for another origin");
        }
        let read = async {
            let (head, body) = response.await.map_err(lost)?.into_parts();
            Ok::<_, Error>((head, read(body, self.limits.body_octets_max).await?))
        };
        match timeout(self.limits.push_timeout, read).await {
            Err(_) => Arrival::Unusable("a push that did not end in time"),
            Ok(Err(_)) => Arrival::Unusable("a push that was cut off"),
            Ok(Ok((head, _))) if head.status != StatusCode::OK => Arrival::Unusable("a push that is no message"),
            Ok(Ok((_, None))) => Arrival::TooLong(uri),
            Ok(Ok((head, Some(body)))) => {
                let promise = promised.into_parts().0.headers;
                Arrival::Complete(Box::new(Pushed { uri, promise, headers: head.headers, body }))
            }
        }
    }
}

async fn refused(answer: Response<RecvStream>, limit: Duration) -> End {
    let (head, body) = answer.into_parts();
    if matches!(head.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
        return End::Gone;
    }
    let body = timeout(limit, read(body, ANSWER_OCTETS_MAX)).await;
    let words = body.ok().and_then(Result::ok).flatten().unwrap_or_default();
    End::Failed(refusal(head.status, &head.headers, &words))
}

/// Reads and forgets a piece of the answer's body, which says nothing; false at its end.
async fn chunk(body: &mut Option<RecvStream>) -> bool {
    let Some(body) = body else { return std::future::pending().await };
    match body.data().await {
        Some(Ok(data)) => body.flow_control().release_capacity(data.len()).is_ok(),
        _ => false,
    }
}
