//! A receipt subscription: the application server receives the outcomes of its messages (RFC 8030 s5.1, s6.3).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use doorbell_protocol::headers::prefer::Prefer;
use doorbell_protocol::id::ReceiptSubscriptionId;
use doorbell_protocol::receipt::OUTCOME;
use doorbell_protocol::time::UnixMs;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Serialize;
use tokio::time::timeout;

use super::answer::Rejection;
use crate::capability::Resource;
use crate::doors::promise::Promises;
use crate::doors::{Doors, sse, wire};
use crate::hub::{HubError, Receipt, ReceiptEvent, ReceiptPosition, ReceiptStream};
use crate::transport::{Cut, Pusher, Request, Response};

/// An event stream does not show which events have arrived. An event that was written this long ago on an open stream
/// has arrived: TCP ends a connection with unacknowledged bytes sooner.
const TAKEN_AFTER: Duration = Duration::from_secs(90);

/// The maximum of receipts that are pushed before the client must confirm them. They have no body, so the client's flow
/// control does not limit them, and unread ones stay in memory.
const UNCONFIRMED_MAX: usize = 32;

/// A receipt as an event.
#[derive(Serialize)]
struct ReceiptJson {
    message: String,
    status: u16,
    outcome: &'static str,
    at: i64,
}

impl Doors {
    pub(in crate::doors) async fn receipts(self: &Arc<Self>, id: ReceiptSubscriptionId, request: Request) -> Response {
        self.try_receipts(id, request).await.unwrap_or_else(|rejection| rejection.answer())
    }

    pub(in crate::doors) async fn remove_receipts(&self, id: ReceiptSubscriptionId) -> Response {
        match self.hub.receipts().remove(id).await {
            Ok(()) => wire::empty(StatusCode::NO_CONTENT),
            Err(error) => Rejection::from(error).answer(),
        }
    }

    async fn try_receipts(
        self: &Arc<Self>,
        id: ReceiptSubscriptionId,
        request: Request,
    ) -> Result<Response, Rejection> {
        let (head, incoming) = request.into_parts();
        if head.method == Method::HEAD {
            // It is opened to see that it exists, and closed.
            drop(self.hub.receipts().open(id, ReceiptPosition::default()).await?);
            let takes_pushes = incoming.pusher.is_some_and(|p| p.pushes_max() > 0);
            return sse::head(&head.headers, takes_pushes).ok_or(Rejection::NoPush);
        }
        let no_wait = Prefer::from_headers(&head.headers).wait_secs == Some(0);
        if sse::is_requested(&head.headers) {
            let answer = self.receipt_events(id, no_wait, &head.headers).await?;
            incoming.place.keep();
            return Ok(answer);
        }
        // A missing resource has the same answer on every connection, so it is checked first (PS-8030-8.3-2).
        let stream = self.hub.receipts().open(id, ReceiptPosition::default()).await?;
        incoming.place.keep();
        let pusher = incoming.pusher.filter(|p| p.pushes_max() > 0).ok_or(Rejection::NoPush)?;
        let promises = Promises::for_request(self.clone(), head.uri).ok_or(Rejection::NoPush)?;
        if !no_wait {
            pusher.hold();
        }
        self.push_receipts(id, stream, &pusher, &promises, no_wait).await
    }

    /// Pushes receipts, each as the answer to a GET of its message (PS-8030-6.3-1), and takes them off the list after
    /// the client has confirmed them.
    async fn push_receipts(
        &self,
        id: ReceiptSubscriptionId,
        mut stream: ReceiptStream,
        pusher: &Pusher,
        promises: &Promises,
        no_wait: bool,
    ) -> Result<Response, Rejection> {
        let mut pushed = false;
        let mut unconfirmed = 0;
        // With the last of them.
        let mut position = ReceiptPosition::default();
        loop {
            let mut next = if unconfirmed < UNCONFIRMED_MAX { stream.try_next().await? } else { None };
            if next.is_none() {
                if std::mem::take(&mut unconfirmed) > 0 {
                    if !self.confirmed(pusher).await {
                        break;
                    }
                    self.hub.receipts().take(id, position.clone()).await?;
                    continue;
                }
                if !no_wait {
                    next = tokio::select! {
                        event = stream.next() => match event {
                            ReceiptEvent::Receipt(receipt) => Some(receipt),
                            ReceiptEvent::Gone => return Err(HubError::Gone.into()),
                            ReceiptEvent::Failed(error) => return Err(error.into()),
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
            unconfirmed += 1;
            position.pass(&receipt);
        }
        Ok(wire::empty(if pushed { StatusCode::OK } else { StatusCode::NO_CONTENT }))
    }

    /// Whether the client confirms the pushes in time. If it cancels the request, the wait ends: otherwise it could
    /// leave any number of requests behind.
    pub(in crate::doors) async fn confirmed(&self, pusher: &Pusher) -> bool {
        tokio::select! {
            confirmed = timeout(self.config().limits.idle_timeout, pusher.confirm()) => confirmed == Ok(true),
            () = pusher.closed() => false,
        }
    }

    /// The same as server-sent events, for application servers that cannot receive pushes (PS-8030-6.3-7).
    async fn receipt_events(
        self: &Arc<Self>,
        id: ReceiptSubscriptionId,
        no_wait: bool,
        headers: &HeaderMap,
    ) -> Result<Response, Rejection> {
        let after = sse::last_event_id(headers);
        let position: ReceiptPosition = after.clone().unwrap_or_default();
        let stream = self.hub.receipts().open(id, position.clone()).await?;
        if let Some(up_to) = after {
            self.hub.receipts().take(id, up_to).await?;
        }
        let events = Events {
            doors: self.clone(),
            id,
            stream,
            no_wait,
            position,
            is_returned: false,
            written: None,
            written_later: None,
            started: false,
        };
        let pieces = stream::unfold(events, async |mut events| Some((events.next().await?, events)));
        Ok(sse::answer(Box::pin(pieces), no_wait))
    }

    fn receipt_json(&self, receipt: &Receipt) -> ReceiptJson {
        ReceiptJson {
            message: self.uri(Resource::Message { agent: receipt.agent, id: receipt.message }),
            status: receipt.outcome.status().as_u16(),
            outcome: receipt.outcome.as_str(),
            at: self.clock.wall_at(receipt.at).as_millis(),
        }
    }
}

/// A stream of receipt events in progress.
struct Events {
    doors: Arc<Doors>,
    id: ReceiptSubscriptionId,
    stream: ReceiptStream,
    no_wait: bool,
    /// The last returned receipts.
    position: ReceiptPosition,
    /// Whether one was returned since a moment was noted; it counts as written when the next one is requested.
    is_returned: bool,
    /// The receipts up to this position were written at this moment; they are taken together.
    written: Option<(UnixMs, ReceiptPosition)>,
    /// The same for all later receipts: a stream that is never idle gets them taken too.
    written_later: Option<(UnixMs, ReceiptPosition)>,
    started: bool,
}

impl Events {
    /// The next bytes; `None` ends the stream.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        if !std::mem::replace(&mut self.started, true) {
            // An immediate comment shows the client that the stream is open.
            return Some(Ok(sse::comment()));
        }
        let clock = self.doors.clock.clone();
        self.note_written(clock.served());
        loop {
            // A cut is not the end: the client reconnects with its last id.
            let taken = self.take_written(clock.served()).await;
            let next = if taken.is_ok() { self.stream.try_next().await } else { taken.map(|()| None) };
            match next {
                Ok(Some(receipt)) => return Some(Ok(self.event(&receipt))),
                Ok(None) => {}
                Err(HubError::Gone) => return None,
                // The stream waits for it.
                Err(error) if !self.no_wait && self.stream.repeats(&error) => {}
                Err(_) => return Some(Err(Cut)),
            }
            if self.no_wait {
                return None;
            }
            let quiet_until = clock.served().plus(self.doors.config().limits.keepalive);
            let taken_at = self.written.as_ref().map(|(at, _)| at.plus(TAKEN_AFTER));
            tokio::select! {
                event = self.stream.next() => return match event {
                    ReceiptEvent::Receipt(receipt) => Some(Ok(self.event(&receipt))),
                    ReceiptEvent::Gone | ReceiptEvent::Stopping => None,
                    ReceiptEvent::Failed(_) => Some(Err(Cut)),
                },
                // `select!` also creates the future of a disabled branch, and drops it: any moment will do.
                () = clock.served_until(taken_at.unwrap_or_default()), if taken_at.is_some() => {}
                () = clock.served_until(quiet_until) => return Some(Ok(sse::comment())),
            }
        }
    }

    fn note_written(&mut self, now: UnixMs) {
        if std::mem::take(&mut self.is_returned) {
            let slot = if self.written.is_none() { &mut self.written } else { &mut self.written_later };
            *slot = Some((now, self.position.clone()));
        }
    }

    /// Takes the receipts off the list that were written TAKEN_AFTER ago.
    async fn take_written(&mut self, now: UnixMs) -> Result<(), HubError> {
        while let Some((_, up_to)) = self.written.as_ref().filter(|(at, _)| at.plus(TAKEN_AFTER) <= now) {
            self.doors.hub.receipts().take(self.id, up_to.clone()).await?;
            self.written = self.written_later.take();
        }
        Ok(())
    }

    fn event(&mut self, receipt: &Receipt) -> Bytes {
        self.is_returned = true;
        self.position.pass(receipt);
        sse::event("receipt", &self.position.to_string(), &self.doors.receipt_json(receipt))
    }
}
