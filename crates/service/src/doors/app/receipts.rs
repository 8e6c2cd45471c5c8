//! A receipt subscription: the application server hears what became of its messages (RFC 8030 s5.1, s6.3).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::prefer::Prefer;
use doorbell_protocol::id::ReceiptSubscriptionId;
use doorbell_protocol::receipt::OUTCOME;
use doorbell_protocol::time::UnixMs;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use tokio::time::timeout;

use super::answer::Refusal;
use crate::capability::Resource;
use crate::doors::promise::Promises;
use crate::doors::{Doors, sse, wire};
use crate::hub::{HubError, Receipt, ReceiptEvent, ReceiptStream};
use crate::transport::{Pusher, Request, Response};

/// An event stream gives no sign of what has arrived. What was written this long ago on a stream that is still open
/// has: a connection whose octets nobody acknowledges is ended sooner by TCP.
const TAKEN_AFTER: Duration = Duration::from_secs(90);

/// Receipts pushed at most before the client has to show that it has them: they have no body, so that no window of the
/// client's would hold them up, and what it does not read is in memory.
const UNCONFIRMED_MAX: usize = 32;

/// A receipt as an event.
#[derive(Serialize)]
struct Told {
    message: String,
    status: u16,
    outcome: &'static str,
    at: i64,
}

impl Doors {
    pub(in crate::doors) async fn receipts(self: &Arc<Self>, id: ReceiptSubscriptionId, request: Request) -> Response {
        self.try_receipts(id, request).await.unwrap_or_else(|refusal| refusal.answer(StatusCode::NOT_FOUND))
    }

    pub(in crate::doors) async fn remove_receipts(&self, id: ReceiptSubscriptionId) -> Response {
        match self.hub.receipts().remove(id).await {
            Ok(()) => wire::empty(StatusCode::NO_CONTENT),
            Err(error) => Refusal::from(error).answer(StatusCode::NOT_FOUND),
        }
    }

    async fn try_receipts(self: &Arc<Self>, id: ReceiptSubscriptionId, request: Request) -> Result<Response, Refusal> {
        let (head, incoming) = request.into_parts();
        let at_once = Prefer::from_headers(&head.headers).wait_secs == Some(0);
        if sse::is_wanted(&head.headers) {
            return self.receipt_events(id, at_once, &head.headers).await;
        }
        // That there is no such resource comes first: it is the same answer on every connection (PS-8030-8.3-2).
        let stream = self.hub.receipts().open(id, None).await?;
        let pusher = incoming.pusher.filter(|p| p.pushes_max() > 0).ok_or(Refusal::NoPush)?;
        let promises = Promises::for_request(self.clone(), head.uri).ok_or(Refusal::NoPush)?;
        self.push_receipts(id, stream, &pusher, &promises, at_once).await
    }

    /// Pushes receipts, each as the answer to a GET of its message (PS-8030-6.3-1), and takes them off the list when
    /// the client has shown that it has them.
    async fn push_receipts(
        &self,
        id: ReceiptSubscriptionId,
        mut stream: ReceiptStream,
        pusher: &Pusher,
        promises: &Promises,
        at_once: bool,
    ) -> Result<Response, Refusal> {
        let mut pushed = false;
        // How many, and the last one.
        let mut unconfirmed = (0, None);
        loop {
            let mut next = if unconfirmed.0 < UNCONFIRMED_MAX { stream.try_next().await? } else { None };
            if next.is_none() {
                if let (_, Some(up_to)) = std::mem::take(&mut unconfirmed) {
                    if !self.confirmed(pusher).await {
                        break;
                    }
                    self.hub.receipts().take(id, up_to).await?;
                    continue;
                }
                if !at_once {
                    next = tokio::select! {
                        event = stream.next() => match event {
                            ReceiptEvent::Receipt(receipt) => Some(receipt),
                            ReceiptEvent::Gone => return Err(HubError::Gone.into()),
                            ReceiptEvent::Stopping => None,
                        },
                        () = pusher.closed() => None,
                    };
                }
            }
            let Some(receipt) = next else { break };
            let resource = Resource::Message { agent: receipt.agent, id: receipt.message };
            let promised = promises.of(resource);
            let mut response = http::Response::new(());
            *response.status_mut() = receipt.outcome.status();
            self.add_date(response.headers_mut());
            response.headers_mut().insert(OUTCOME, HeaderValue::from_static(receipt.outcome.as_str()));
            if pusher.push(promised, response, Bytes::new()).await.is_err() {
                break;
            }
            pushed = true;
            unconfirmed = (unconfirmed.0 + 1, Some(receipt.seq));
        }
        Ok(wire::empty(if pushed { StatusCode::OK } else { StatusCode::NO_CONTENT }))
    }

    /// Whether the client shows in time that it has the pushes. One that has given the request up is not waited for, or
    /// it could leave as many behind as it likes.
    async fn confirmed(&self, pusher: &Pusher) -> bool {
        tokio::select! {
            confirmed = timeout(self.limits.idle_timeout, pusher.confirm()) => confirmed.unwrap_or(false),
            () = pusher.closed() => false,
        }
    }

    /// The same as server-sent events, for application servers that cannot take pushes (PS-8030-6.3-7).
    async fn receipt_events(
        self: &Arc<Self>,
        id: ReceiptSubscriptionId,
        at_once: bool,
        headers: &HeaderMap,
    ) -> Result<Response, Refusal> {
        let after = sse::last_event_id(headers);
        let stream = self.hub.receipts().open(id, after).await?;
        if let Some(up_to) = after {
            self.hub.receipts().take(id, up_to).await?;
        }
        let events = Events {
            doors: self.clone(),
            id,
            stream,
            at_once,
            handed_out: None,
            taking: None,
            later: None,
            begun: false,
        };
        Ok(sse::answer(Box::pin(stream::unfold(events, async |mut events| Some((events.next().await?, events))))))
    }

    fn told(&self, receipt: &Receipt) -> Told {
        Told {
            message: self.uri(Resource::Message { agent: receipt.agent, id: receipt.message }),
            status: receipt.outcome.status().as_u16(),
            outcome: receipt.outcome.as_str(),
            at: receipt.at.as_millis(),
        }
    }
}

/// A stream of receipt events in progress.
struct Events {
    doors: Arc<Doors>,
    id: ReceiptSubscriptionId,
    stream: ReceiptStream,
    at_once: bool,
    /// The receipt that was handed out last; it is written once the next one is asked for.
    handed_out: Option<i64>,
    /// The receipts up to this one were written by this moment, and are taken together.
    taking: Option<(UnixMs, i64)>,
    /// The same of those after it, however many have come meanwhile: a stream that is never quiet has them taken too.
    later: Option<(UnixMs, i64)>,
    begun: bool,
}

impl Events {
    /// The next octets; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.begun, true) {
            // The client knows at once that it is listening.
            return Some(sse::comment());
        }
        let clock = self.doors.clock.clone();
        self.note_written(clock.now());
        loop {
            // An error ends the stream, which has no other way to report it: the client comes back with what it has.
            self.take_written(clock.now()).await.ok()?;
            if let Some(receipt) = self.stream.try_next().await.ok()? {
                return Some(self.event(&receipt));
            }
            if self.at_once {
                return None;
            }
            let quiet_until = clock.now().plus(self.doors.limits.keepalive);
            let taken_at = self.taking.map(|(at, _)| at.plus(TAKEN_AFTER));
            tokio::select! {
                event = self.stream.next() => return match event {
                    ReceiptEvent::Receipt(receipt) => Some(self.event(&receipt)),
                    ReceiptEvent::Gone | ReceiptEvent::Stopping => None,
                },
                // `select!` makes the future of a branch that is off too, and drops it.
                () = clock.sleep_until(taken_at.unwrap_or_default()), if taken_at.is_some() => {}
                () = clock.sleep_until(quiet_until) => return Some(sse::comment()),
            }
        }
    }

    fn note_written(&mut self, now: UnixMs) {
        if let Some(seq) = self.handed_out.take() {
            let written = if self.taking.is_none() { &mut self.taking } else { &mut self.later };
            *written = Some((now, seq));
        }
    }

    /// Takes off the list what was written TAKEN_AFTER ago.
    async fn take_written(&mut self, now: UnixMs) -> Result<(), HubError> {
        while let Some((_, up_to)) = self.taking.filter(|(at, _)| at.plus(TAKEN_AFTER) <= now) {
            self.doors.hub.receipts().take(self.id, up_to).await?;
            self.taking = self.later.take();
        }
        Ok(())
    }

    fn event(&mut self, receipt: &Receipt) -> Bytes {
        self.handed_out = Some(receipt.seq);
        sse::event("receipt", &receipt.seq.to_string(), &self.doors.told(receipt))
    }
}
