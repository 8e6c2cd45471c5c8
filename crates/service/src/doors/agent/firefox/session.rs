//! One connection of a client: serves its requests and sends its messages.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use doorbell_protocol::firefox::{
    AckCode, Acknowledged, Broadcasts, ChannelId, ClientMessage, Notification, ServerMessage, Version,
};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::AgentId;
use doorbell_protocol::key::PublicKey;
use doorbell_protocol::time::UnixMs;
use futures_util::FutureExt;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

use super::answer::{CloseReason, End, Rejection};
use super::dialogue::{Dialogue, news};
use super::in_flight::InFlight;
use crate::capability::Resource;
use crate::counts::{AgentDoor, Door};
use crate::doors::Doors;
use crate::doors::agent::channel_cache::ChannelCache;
use crate::doors::agent::shutdown::{self, CLOSE_TIMEOUT};
use crate::doors::requests::SocketLine;
use crate::hub::{
    Agent, HubError, Message, Mode, NewSubscription, Retry, Scope, Subscriber, SubscriberEvent, SubscriberSpec,
};
use crate::transport::websocket::{Event, Socket};

/// The maximum of messages that are queued before the socket sends them.
const BATCH_MAX: usize = 32;

/// The path of a subscription set before its token; the token is the uaid.
const SET: &str = "/a/";

/// A connection in progress.
struct Session<IO> {
    doors: Arc<Doors>,
    socket: Socket<IO>,
    dialogue: Dialogue,
    /// The client's agent, after its hello.
    agent: Option<Agent>,
    /// The least urgency that the client wants.
    floor: Option<Urgency>,
    /// Open as soon as the client has an agent.
    subscriber: Option<Subscriber>,
    channels: ChannelCache,
    in_flight: InFlight,
    /// When to ping, or to close if the ping is not answered.
    alarm: Option<UnixMs>,
    pinged: bool,
    /// Whether its hello has a list of broadcasts, as Firefox's always has.
    follows_broadcasts: bool,
    /// For the access log.
    line: Option<Box<SocketLine>>,
}

impl Doors {
    /// Serves a connection that became a WebSocket, until one side ends it or the service stops.
    pub(in crate::doors) fn serve_firefox<IO>(self: Arc<Self>, socket: Socket<IO>) -> impl Future<Output = ()> + Send
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        // Build the session outside the async block: otherwise the future also stores the constructor's arguments.
        let mut session = Session::new(self, socket);
        async move {
            let Err(end) = session.run().await;
            if end == End::Close(CloseReason::Unavailable) {
                session.doors.failed_on_socket(Door::Firefox);
            }
            if let Some(line) = &mut session.line {
                line.reason = end.text();
            }
            if let End::Close(reason) = end {
                Box::pin(session.close(reason)).await;
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> {
    fn new(doors: Arc<Doors>, socket: Socket<IO>) -> Self {
        let in_flight = InFlight::new(doors.config().limits.window);
        let alarm = Some(doors.clock.served().plus(doors.config().limits.request_timeout));
        let line = doors.requests.socket(Door::Firefox);
        Self {
            doors,
            socket,
            dialogue: Dialogue::default(),
            agent: None,
            floor: None,
            subscriber: None,
            channels: ChannelCache::default(),
            in_flight,
            alarm,
            pinged: false,
            follows_broadcasts: false,
            line,
        }
    }

    async fn run(&mut self) -> Result<Infallible, End> {
        let doors = self.doors.clone();
        let mut shutdown_signal = pin!(doors.shutdown.signal());
        loop {
            // On the heap: most sessions have no alarm.
            let mut alarm = self.alarm.map(|at| Box::pin(doors.clock.served_until(at)));
            // One wait for everything, because each separate future takes memory in every session. Sending comes before
            // receiving: it ends when the window is full, while a client may send without end.
            let wakeup = poll_fn(|cx| {
                if shutdown_signal.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(CloseReason::Restarting.into()));
                }
                if alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(cx).is_ready()) {
                    // After a ping, any event shows that the client is alive.
                    if self.pinged
                        && let Poll::Ready(received) = self.socket.poll_next(cx)
                    {
                        return Poll::Ready(Ok(Wakeup::Received(received?)));
                    }
                    return Poll::Ready(Ok(Wakeup::Alarm));
                }
                if self.subscriber.as_ref().is_some_and(|subscriber| subscriber.poll_ready(cx).is_ready()) {
                    return Poll::Ready(Ok(Wakeup::Subscriber));
                }
                self.socket.poll_next(cx).map(|received| Ok::<_, End>(Wakeup::Received(received?)))
            })
            .await?;
            // On the heap: a session that waits does not need the memory of this work.
            let (done, is_stopping) = Box::pin(shutdown::run(self.on_wakeup(wakeup), shutdown_signal.as_mut())).await;
            // Work that was cut off waited for a client that does not read.
            done.ok_or(End::Left)??;
            if is_stopping {
                return Err(CloseReason::Restarting.into());
            }
        }
    }

    async fn on_wakeup(&mut self, wakeup: Wakeup) -> Result<(), End> {
        match wakeup {
            Wakeup::Received(Some(event)) => self.on_event(event).await?,
            Wakeup::Received(None) => {
                self.socket.flush().await?;
                return Err(End::Left);
            }
            Wakeup::Subscriber => self.on_subscriber().await?,
            Wakeup::Alarm => self.on_alarm().await?,
        }
        Ok(self.socket.flush().await?)
    }

    /// Sends the reason for closing, and receives until the client answers. Its last acknowledgements count: otherwise
    /// the messages would arrive again.
    async fn close(&mut self, why: CloseReason) {
        let (code, text) = why.frame();
        debug!(code, reason = text, "a WebSocket is closed");
        if why != CloseReason::Restarting {
            // Unacknowledged messages may go to another connection meanwhile.
            self.subscriber = None;
        }
        let closing = async {
            self.socket.close(code, text).await?;
            loop {
                if let Event::Text(text) = self.socket.next().await?
                    && let Ok(ClientMessage::Ack { updates }) = self.dialogue.receive(&text)
                {
                    self.settle(updates).await?;
                }
            }
        };
        // It ends with the client's answer, or with the time-out.
        let _: Result<Result<Infallible, End>, _> = timeout(CLOSE_TIMEOUT, closing).await;
    }

    async fn on_event(&mut self, event: Event) -> Result<(), End> {
        let text = match event {
            Event::Text(text) => text,
            Event::Ping => {
                self.reset_alarm();
                return Ok(());
            }
            Event::Pong(payload) => {
                let arrived = self.in_flight.ponged(&payload);
                if let Some(subscriber) = &self.subscriber {
                    arrived.into_iter().for_each(|id| subscriber.arrived(id));
                }
                self.reset_alarm();
                return Ok(());
            }
        };
        let message = self.dialogue.receive(&text)?;
        self.reset_alarm();
        match message {
            ClientMessage::Hello { uaid, broadcasts } => {
                self.follows_broadcasts = broadcasts.is_some();
                self.hello(uaid, &broadcasts.unwrap_or_default()).await
            }
            ClientMessage::Register { channel, key } => self.register(&channel, key).await,
            ClientMessage::Unregister { channel } => self.unregister(&channel).await,
            ClientMessage::Ack { updates } => self.settle(updates).await,
            ClientMessage::BroadcastSubscribe { broadcasts } => {
                let news = news(&self.doors.config().firefox, &broadcasts);
                if news.is_empty() { Ok(()) } else { self.send(&ServerMessage::Broadcast { broadcasts: &news }).await }
            }
            ClientMessage::Urgency { min } => self.set_floor(min).await,
            ClientMessage::Ping => Ok(self.socket.send(|out| out.extend(ServerMessage::PONG.as_bytes())).await?),
            // A nack concerns the web app's own code: the client has acknowledged the message.
            ClientMessage::Nack | ClientMessage::Unknown => Ok(()),
        }
    }

    /// Uses the client's agent, if the service knows it.
    ///
    /// If this service made the uaid, but the store has lost the agent, Firefox gets a new uaid: it sees from it that it must
    /// start over, and its sites subscribe again. Other clients keep the uaid: they never register again by themselves, and
    /// with their uaid they receive again as soon as the right store is back.
    async fn hello(&mut self, uaid: Option<String>, followed: &Broadcasts) -> Result<(), End> {
        let known = uaid.and_then(|uaid| self.doors.capabilities.open(&format!("{SET}{uaid}")));
        if let Some(Resource::Set { agent }) = known {
            match self.connect(agent).await {
                Ok(()) => self.agent = Some(Agent::Known(agent)),
                Err(HubError::Gone) if self.follows_broadcasts => {}
                Err(HubError::Gone) => self.agent = Some(Agent::New(agent)),
                Err(error) => return Err(error.into()),
            }
        }
        let agent = *self.agent.get_or_insert_with(|| self.doors.hub.new_agent());
        let uaid = self.doors.capabilities.token(Resource::Set { agent: agent.id() });
        let news = news(&self.doors.config().firefox, followed);
        self.send(&ServerMessage::Hello { uaid: &uaid, status: 200, use_webpush: true, broadcasts: &news }).await
    }

    async fn connect(&mut self, agent: AgentId) -> Result<(), HubError> {
        let spec = SubscriberSpec {
            scope: Scope::Agent,
            floor: self.floor,
            mode: Mode::Hold,
            window: self.doors.config().limits.window,
            // These clients treat a message that arrives twice on one connection as an error.
            retry: Retry::NextSubscriber,
        };
        self.subscriber = Some(self.doors.hub.take_over(agent, AgentDoor::Firefox, spec).await?);
        self.socket.place.keep();
        Ok(())
    }

    async fn register(&mut self, channel: &ChannelId, key: Option<String>) -> Result<(), End> {
        let subscribed = self.subscribe(channel, key).await;
        match subscribed {
            Ok(endpoint) => {
                self.doors.counts.answered(Door::Firefox, StatusCode::OK);
                self.send(&ServerMessage::Register { channel, status: 200, endpoint: &endpoint }).await
            }
            // With its next hello the client gets another agent.
            Err(Rejection::Hub(HubError::Gone)) => Err(CloseReason::Gone.into()),
            Err(rejection) => {
                let (status, endpoint) = (rejection.status(), rejection.to_string());
                let code = StatusCode::from_u16(status).expect("a rejection has a status");
                self.doors.refused_on_socket(Door::Firefox, code, rejection.errno());
                self.send(&ServerMessage::Register { channel, status, endpoint: &endpoint }).await
            }
        }
    }

    /// The URL of a push resource: of a new subscription, or of the client's subscription with this name, because the
    /// client may not have received our first answer.
    async fn subscribe(&mut self, channel: &ChannelId, key: Option<String>) -> Result<String, Rejection> {
        let restricted_to = key.map(|key| PublicKey::from_base64url(&key)).transpose()?;
        let fingerprint = restricted_to.as_ref().map(PublicKey::fingerprint);
        let owner = self.agent.ok_or(HubError::Gone)?;
        let agent = owner.id();
        let known = match owner {
            Agent::Known(_) => self.doors.hub.subscription_of_channel(agent, channel.as_str()).await?,
            Agent::New(_) => None,
        };
        let subscription = match known {
            Some((subscription, restriction)) if restriction? == fingerprint => subscription,
            Some(_) => return Err(Rejection::Conflict),
            None => {
                if matches!(owner, Agent::New(_)) {
                    self.doors.growth.admit(self.socket.place.source(), self.doors.clock.now())?;
                }
                let channel = Some(channel.as_str().to_owned());
                self.doors.hub.subscribe(NewSubscription { agent: owner, restricted_to, channel }).await?
            }
        };
        self.agent = Some(Agent::Known(agent));
        if self.subscriber.is_none() {
            self.connect(agent).await?;
        }
        // Firefox alone does both. Test programs send its hello without the subprotocol, and bodies of their own.
        let of_browser = self.follows_broadcasts && self.socket.place.has_subprotocol();
        Ok(self.doors.uri(Resource::Push { agent, subscription, restricted_to: fingerprint, of_browser }))
    }

    async fn unregister(&mut self, channel: &ChannelId) -> Result<(), End> {
        let status = match self.unsubscribe(channel).await {
            // Removing a subscription that does not exist is a success too.
            Ok(()) | Err(HubError::Gone) => 200,
            Err(error) => Rejection::from(error).status(),
        };
        self.send(&ServerMessage::Unregister { channel, status }).await
    }

    async fn unsubscribe(&mut self, channel: &ChannelId) -> Result<(), HubError> {
        let Some(Agent::Known(agent)) = self.agent else { return Ok(()) };
        let found = self.doors.hub.subscription_of_channel(agent, channel.as_str()).await?;
        let Some((subscription, _)) = found else { return Ok(()) };
        self.doors.hub.remove(agent, Scope::Subscription(subscription)).await
    }

    async fn settle(&mut self, updates: Vec<Acknowledged>) -> Result<(), End> {
        let Some(subscriber) = &self.subscriber else { return Ok(()) };
        if let Some(line) = &mut self.line {
            line.acknowledged += u64::try_from(updates.len()).expect("`u64` is as large as `usize`");
        }
        for Acknowledged { version: Version { id, is_second }, code } in updates {
            self.in_flight.acknowledged(id);
            if code == AckCode::NotDelivered && !is_second {
                // Firefox also sends it for a message that arrives while its first window opens, and loses that message.
                subscriber.not_passed_on(id).await;
            } else {
                subscriber.settle(id, code.outcome()).await;
            }
        }
        Ok(())
    }

    async fn set_floor(&mut self, floor: Option<Urgency>) -> Result<(), End> {
        let status = if floor.is_some() { 200 } else { 400 };
        if floor.is_some() {
            self.floor = floor;
            if let Some(subscriber) = &self.subscriber {
                subscriber.set_floor(floor);
            }
        }
        self.send(&ServerMessage::Urgency { status }).await
    }

    /// Queues all ready messages, so that the socket sends them together.
    async fn on_subscriber(&mut self) -> Result<(), End> {
        for n in 0..BATCH_MAX {
            let Some(subscriber) = &mut self.subscriber else { break };
            // Only the first event may wait for the store: the queued ones do not wait for more.
            let event =
                if n == 0 { subscriber.try_next().await } else { subscriber.try_next().now_or_never().flatten() };
            let Some(event) = event else { break };
            match event {
                SubscriberEvent::Message(message) => self.deliver(&message).await?,
                // The session stays, for acknowledgements until its turn to close.
                SubscriberEvent::Ended | SubscriberEvent::Drained => {}
                // Only watchers receive these.
                SubscriberEvent::Waiting(_) | SubscriberEvent::Quiet => {}
                SubscriberEvent::Gone => return Err(CloseReason::Gone.into()),
                SubscriberEvent::Superseded => return Err(CloseReason::Superseded.into()),
                SubscriberEvent::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn deliver(&mut self, message: &Message) -> Result<(), End> {
        let Some(agent) = self.subscriber.as_ref().map(Subscriber::agent) else { return Ok(()) };
        let known = match self.channels.channel(&self.doors, agent, message.subscription).await {
            Err(HubError::Damaged) => {
                self.subscriber.iter().for_each(|subscriber| subscriber.undeliverable(message.id));
                return Ok(());
            }
            known => known?,
        };
        let Some(channel) = known else {
            if let Some(subscriber) = &self.subscriber {
                // The subscription was just removed, or another door created it and delivers its messages, without this
                // socket.
                subscriber.declined(message.id);
            }
            return Ok(());
        };
        let version = Version { id: message.id, is_second: message.is_second };
        let notification = Notification::new(&channel, version, &message.headers, &message.body);
        self.socket.send(|out| notification.write(out)).await?;
        if let Some(line) = &mut self.line {
            line.sent += 1;
        }
        if let Some(ping) = self.in_flight.sent(message.id) {
            self.socket.ping(&ping);
        }
        Ok(())
    }

    /// The hello did not arrive in time, or the socket was idle for the ping interval.
    async fn on_alarm(&mut self) -> Result<(), End> {
        if !self.dialogue.is_hello_received() {
            return Err(CloseReason::NoHello.into());
        }
        if self.pinged {
            return Err(CloseReason::Silent.into());
        }
        self.set_alarm();
        self.pinged = true;
        self.socket.ping(&[]);
        Ok(())
    }

    /// The client sent something, so the next ping has time. Before the hello nothing extends the time.
    fn reset_alarm(&mut self) {
        if self.dialogue.is_hello_received() {
            self.pinged = false;
            self.set_alarm();
        }
    }

    fn set_alarm(&mut self) {
        let after = |interval: Duration| self.doors.clock.served().plus(interval);
        self.alarm = self.doors.config().firefox.ping_interval.map(after);
    }

    async fn send(&mut self, message: &ServerMessage<'_>) -> Result<(), End> {
        Ok(self.socket.send(|out| message.write(out)).await?)
    }
}

/// What a session waits for.
enum Wakeup {
    /// `None`: the client has left.
    Received(Option<Event>),
    Subscriber,
    Alarm,
}
