//! One connection of a client: what it asks is done, what comes for it is sent.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use doorbell_protocol::firefox::{
    Acknowledged, Broadcasts, ChannelId, ClientMessage, Notification, ServerMessage, Version,
};
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::AgentId;
use doorbell_protocol::key::PublicKey;
use doorbell_protocol::time::UnixMs;
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

use super::answer::{Closing, End, Refusal};
use super::dialogue::{Dialogue, news};
use super::in_flight::InFlight;
use crate::capability::Resource;
use crate::doors::Doors;
use crate::doors::agent::drain::{self, GOODBYE_TIMEOUT};
use crate::doors::agent::names::Names;
use crate::hub::{
    Agent, HubError, Message, Mode, NewSubscription, Retry, Scope, Subscriber, SubscriberEvent, SubscriberSpec,
};
use crate::transport::websocket::{Heard, Socket};

/// Messages that are handed to the socket before it is made to send them.
const TOGETHER_MAX: usize = 32;

/// The path of a subscription set without its token, which is what a uaid is.
const SET: &str = "/a/";

/// A connection in progress.
struct Session<IO> {
    doors: Arc<Doors>,
    socket: Socket<IO>,
    dialogue: Dialogue,
    /// Who the client is, once it has said hello.
    agent: Option<Agent>,
    /// What it has asked to be spared.
    floor: Option<Urgency>,
    /// Open from the moment on at which the client has an agent.
    subscriber: Option<Subscriber>,
    names: Names,
    in_flight: InFlight,
    /// When it is pinged, or given up if a ping is not answered.
    alarm: Option<UnixMs>,
    pinged: bool,
}

impl Doors {
    /// Serves a connection that has become a WebSocket, until one side ends it or the service stops.
    pub(in crate::doors) fn serve_firefox<IO>(self: Arc<Self>, socket: Socket<IO>) -> impl Future<Output = ()> + Send
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        // Build the session outside the async block: otherwise the future also stores the constructor's arguments.
        let mut session = Session::new(self, socket);
        async move {
            let Err(end) = session.run().await;
            if let End::Close(closing) = end {
                Box::pin(session.say_goodbye(closing)).await;
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> {
    fn new(doors: Arc<Doors>, socket: Socket<IO>) -> Self {
        let in_flight = InFlight::new(doors.limits.window);
        let alarm = Some(doors.clock.now().plus(doors.limits.request_timeout));
        Self {
            doors,
            socket,
            dialogue: Dialogue::default(),
            agent: None,
            floor: None,
            subscriber: None,
            names: Names::default(),
            in_flight,
            alarm,
            pinged: false,
        }
    }

    async fn run(&mut self) -> Result<Infallible, End> {
        let doors = self.doors.clone();
        let mut dismissal = pin!(doors.drains.dismissal());
        loop {
            // On the heap: most sessions have no alarm.
            let mut alarm = self.alarm.map(|at| Box::pin(doors.clock.sleep_until(at)));
            // One wait for everything, because each that is a future of its own takes room in every session. What is to be
            // sent comes first: it ends when the window is shut, and what is heard may have no end.
            let event = poll_fn(|cx| {
                if dismissal.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(Closing::Restarting.into()));
                }
                if alarm.as_mut().is_some_and(|alarm| alarm.as_mut().poll(cx).is_ready()) {
                    // Of a client that was pinged, whatever has come says that it is there.
                    if self.pinged
                        && let Poll::Ready(heard) = self.socket.poll_next(cx)
                    {
                        return Poll::Ready(Ok(Event::Heard(heard?)));
                    }
                    return Poll::Ready(Ok(Event::Alarm));
                }
                if self.subscriber.as_ref().is_some_and(|subscriber| subscriber.poll_ready(cx).is_ready()) {
                    return Poll::Ready(Ok(Event::Subscriber));
                }
                self.socket.poll_next(cx).map(|heard| Ok::<_, End>(Event::Heard(heard?)))
            })
            .await?;
            // On the heap, because a session that waits has no use for the room that work takes.
            let (done, dismissed) = Box::pin(drain::work(self.on_event(event), dismissal.as_mut())).await;
            // Work that is cut off waited for a client that does not read.
            done.unwrap_or(Err(End::Left))?;
            if dismissed {
                return Err(Closing::Restarting.into());
            }
        }
    }

    async fn on_event(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Heard(Some(heard)) => self.on_heard(heard).await?,
            Event::Heard(None) => {
                self.socket.flush().await?;
                return Err(End::Left);
            }
            Event::Subscriber => self.on_subscriber().await?,
            Event::Alarm => self.on_alarm().await?,
        }
        Ok(self.socket.flush().await?)
    }

    /// Says why the connection ends, and listens until the client has heard it. What it acknowledged before counts; else
    /// it would come again.
    async fn say_goodbye(&mut self, closing: Closing) {
        let (code, reason) = closing.frame();
        debug!(code, reason, "a WebSocket is closed");
        if closing != Closing::Restarting {
            // What was unacknowledged may go elsewhere meanwhile.
            self.subscriber = None;
        }
        let goodbye = async {
            self.socket.close(code, reason).await?;
            loop {
                if let Heard::Text(text) = self.socket.next().await?
                    && let Ok(ClientMessage::Ack { updates }) = self.dialogue.hear(&text)
                {
                    self.settle(updates).await?;
                }
            }
        };
        // It ends with the client's answer, or with its patience at an end.
        let _: Result<Result<Infallible, End>, _> = timeout(GOODBYE_TIMEOUT, goodbye).await;
    }

    async fn on_heard(&mut self, heard: Heard) -> Result<(), End> {
        let text = match heard {
            Heard::Text(text) => text,
            Heard::Ping => {
                self.rest();
                return Ok(());
            }
            Heard::Pong(payload) => {
                let arrived = self.in_flight.ponged(&payload);
                if let Some(subscriber) = &self.subscriber {
                    arrived.into_iter().for_each(|id| subscriber.arrived(id));
                }
                self.rest();
                return Ok(());
            }
        };
        let message = self.dialogue.hear(&text)?;
        self.rest();
        match message {
            ClientMessage::Hello { uaid, broadcasts } => self.hello(uaid, &broadcasts).await,
            ClientMessage::Register { channel, key } => self.register(&channel, key).await,
            ClientMessage::Unregister { channel } => self.unregister(&channel).await,
            ClientMessage::Ack { updates } => self.settle(updates).await,
            ClientMessage::BroadcastSubscribe { broadcasts } => {
                let news = news(&self.doors.firefox.broadcasts, &broadcasts);
                if news.is_empty() { Ok(()) } else { self.say(&ServerMessage::Broadcast { broadcasts: &news }).await }
            }
            ClientMessage::Urgency { min } => self.set_floor(min).await,
            ClientMessage::Ping => Ok(self.socket.say(|out| out.extend(ServerMessage::PONG.as_bytes())).await?),
            // A nack is about the web app's own code: the message has been acknowledged.
            ClientMessage::Nack | ClientMessage::Unknown => Ok(()),
        }
    }

    /// The client's agent, if it has one and we know it; else it begins anew, and sees by the other uaid that it must.
    async fn hello(&mut self, uaid: Option<String>, followed: &Broadcasts) -> Result<(), End> {
        let known = uaid.and_then(|uaid| self.doors.capabilities.open(&format!("{SET}{uaid}")));
        if let Some(Resource::Set { agent }) = known {
            match self.connect(agent).await {
                Ok(()) => self.agent = Some(Agent::Known(agent)),
                Err(HubError::Gone) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let agent = *self.agent.get_or_insert_with(|| self.doors.hub.new_agent());
        let uaid = self.doors.capabilities.token(Resource::Set { agent: agent.id() });
        let news = news(&self.doors.firefox.broadcasts, followed);
        self.say(&ServerMessage::Hello { uaid: &uaid, status: 200, use_webpush: true, broadcasts: &news }).await
    }

    async fn connect(&mut self, agent: AgentId) -> Result<(), HubError> {
        let spec = SubscriberSpec {
            scope: Scope::Agent,
            floor: self.floor,
            mode: Mode::Hold,
            window: self.doors.limits.window,
            // These clients know a message that comes twice on one connection for a mistake.
            retry: Retry::NextSubscriber,
        };
        self.subscriber = Some(self.doors.hub.take_over(agent, spec).await?);
        Ok(())
    }

    async fn register(&mut self, channel: &ChannelId, key: Option<String>) -> Result<(), End> {
        let made = self.subscribe(channel, key).await;
        match made {
            Ok(endpoint) => self.say(&ServerMessage::Register { channel, status: 200, endpoint: &endpoint }).await,
            // It has another agent with its next hello.
            Err(Refusal::Hub(HubError::Gone)) => Err(Closing::Gone.into()),
            Err(refusal) => {
                let (status, endpoint) = (refusal.status(), refusal.to_string());
                self.say(&ServerMessage::Register { channel, status, endpoint: &endpoint }).await
            }
        }
    }

    /// The URL of the push resource: of a new subscription, or of the one that the client has under this name, because
    /// it may not have heard our answer.
    async fn subscribe(&mut self, channel: &ChannelId, key: Option<String>) -> Result<String, Refusal> {
        let restricted_to = key.map(|key| PublicKey::from_base64url(&key)).transpose()?;
        let fingerprint = restricted_to.as_ref().map(PublicKey::fingerprint);
        let whose = self.agent.ok_or(HubError::Gone)?;
        let agent = whose.id();
        let known = match whose {
            Agent::Known(_) => self.doors.hub.subscription_of_channel(agent, channel.as_str()).await?,
            Agent::New(_) => None,
        };
        let subscription = match known {
            Some((subscription, restriction)) if restriction? == fingerprint => subscription,
            Some(_) => return Err(Refusal::Conflict),
            None => {
                let channel = Some(channel.as_str().to_owned());
                self.doors.hub.subscribe(NewSubscription { agent: whose, restricted_to, channel }).await?
            }
        };
        self.agent = Some(Agent::Known(agent));
        if self.subscriber.is_none() {
            self.connect(agent).await?;
        }
        Ok(self.doors.uri(Resource::Push { agent, subscription, restricted_to: fingerprint }))
    }

    async fn unregister(&mut self, channel: &ChannelId) -> Result<(), End> {
        let status = match self.unsubscribe(channel).await {
            // One that is not there is as good as one that was removed.
            Ok(()) | Err(HubError::Gone) => 200,
            Err(error) => Refusal::from(error).status(),
        };
        self.say(&ServerMessage::Unregister { channel, status }).await
    }

    async fn unsubscribe(&mut self, channel: &ChannelId) -> Result<(), HubError> {
        let Some(Agent::Known(agent)) = self.agent else { return Ok(()) };
        let found = self.doors.hub.subscription_of_channel(agent, channel.as_str()).await?;
        let Some((subscription, _)) = found else { return Ok(()) };
        self.doors.hub.remove(agent, Scope::Subscription(subscription)).await
    }

    async fn settle(&mut self, updates: Vec<Acknowledged>) -> Result<(), End> {
        let Some(subscriber) = &self.subscriber else { return Ok(()) };
        for Acknowledged { version: Version(id), code } in updates {
            self.in_flight.acknowledged(id);
            subscriber.settle(id, code.outcome()).await;
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
        self.say(&ServerMessage::Urgency { status }).await
    }

    /// What is ready is handed to the socket together.
    async fn on_subscriber(&mut self) -> Result<(), End> {
        for n in 0..TOGETHER_MAX {
            let Some(subscriber) = &mut self.subscriber else { break };
            // Only the first may have to be read: what was handed over does not wait for more.
            let event =
                if n == 0 { subscriber.try_next().await } else { subscriber.try_next().now_or_never().flatten() };
            let Some(event) = event else { break };
            match event {
                SubscriberEvent::Message(message) => self.deliver(&message).await?,
                // It stays, for what is acknowledged until it is this socket's turn to end.
                SubscriberEvent::Ended | SubscriberEvent::Drained => {}
                SubscriberEvent::Gone => return Err(Closing::Gone.into()),
                SubscriberEvent::Superseded => return Err(Closing::Superseded.into()),
                SubscriberEvent::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn deliver(&mut self, message: &Message) -> Result<(), End> {
        let known = match self.names.channel(&self.doors, message.subscription).await {
            Err(HubError::Damaged) => {
                self.subscriber.iter().for_each(|subscriber| subscriber.undeliverable(message.id));
                return Ok(());
            }
            known => known?,
        };
        let Some(channel) = known else {
            if let Some(subscriber) = &self.subscriber {
                // Just removed, or a subscription that was made at another door: it is received there, without this socket.
                subscriber.declined(message.id);
            }
            return Ok(());
        };
        let notification = Notification::new(&channel, Version(message.id), &message.headers, &message.body);
        self.socket.say(|out| notification.write(out)).await?;
        if let Some(ping) = self.in_flight.sent(message.id) {
            self.socket.ping(&ping);
        }
        Ok(())
    }

    /// The hello has not come in time, or the socket has been quiet for as long as a proxy may bear.
    async fn on_alarm(&mut self) -> Result<(), End> {
        if !self.dialogue.is_greeted() {
            return Err(Closing::NoHello.into());
        }
        if self.pinged {
            return Err(Closing::Silent.into());
        }
        self.set_alarm();
        self.pinged = true;
        self.socket.ping(&[]);
        Ok(())
    }

    /// Something was heard: the next ping has time. The hello has not, whatever else was heard.
    fn rest(&mut self) {
        if self.dialogue.is_greeted() {
            self.pinged = false;
            self.set_alarm();
        }
    }

    fn set_alarm(&mut self) {
        let after = |interval: Duration| self.doors.clock.now().plus(interval);
        self.alarm = self.doors.firefox.ping_interval.map(after);
    }

    async fn say(&mut self, message: &ServerMessage<'_>) -> Result<(), End> {
        Ok(self.socket.say(|out| message.write(out)).await?)
    }
}

/// What a session waits for.
enum Event {
    /// None: the client has left.
    Heard(Option<Heard>),
    Subscriber,
    Alarm,
}
