//! One connection of a device: its login is checked, what comes for it is sent, what it acknowledges is settled.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use doorbell_protocol::headers::coding::{CRYPTO_KEY, ENCRYPTION};
use doorbell_protocol::id::{AgentId, MessageId};
use doorbell_protocol::mcs::client::{ClientStanza, LoginRequest};
use doorbell_protocol::mcs::frame::Frame;
use doorbell_protocol::mcs::persistent_id;
use doorbell_protocol::mcs::server::DataMessage;
use doorbell_protocol::mcs::stream::{Effect, IN_FLIGHT_MAX, NotSent, Stream};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use http::HeaderName;
use http::header::CONTENT_ENCODING;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use super::address::Address;
use super::answer::{Closing, End, NoLogin};
use crate::doors::Doors;
use crate::doors::agent::drain;
use crate::doors::agent::names::Names;
use crate::hub::{HubError, Message, Mode, Retry, Scope, Subscriber, SubscriberEvent, SubscriberSpec};
use crate::transport::mcs::Socket;

/// Messages that are handed to the socket before it is made to send them.
const TOGETHER_MAX: usize = 32;

/// Messages of a login's list that are settled at the same time: they share commits, and leave room for other devices.
const SETTLED_TOGETHER_MAX: usize = 64;

/// What the browser has to know of a message to decrypt it.
const APP_DATA: [HeaderName; 3] = [CONTENT_ENCODING, ENCRYPTION, CRYPTO_KEY];

/// A connection in progress.
struct Session<IO> {
    doors: Arc<Doors>,
    socket: Socket<IO>,
    stream: Stream<MessageId>,
    /// Open from the login on.
    subscriber: Option<Subscriber>,
    names: Names,
    /// When it is pinged, or given up if nothing was heard since the ping; before the login, when it is given up.
    alarm: UnixMs,
    logged_in: bool,
    pinged: bool,
    /// It has to end: nothing new is sent on it, and its turn to say Close comes.
    ended: bool,
}

impl Doors {
    /// Serves a connection that speaks MCS, until one side ends it or the service stops.
    pub(in crate::doors) fn serve_chromium<IO>(self: Arc<Self>, socket: Socket<IO>) -> impl Future<Output = ()> + Send
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        // Build the session outside the async block: otherwise the future also stores the constructor's arguments.
        let mut session = Session::new(self, socket);
        async move {
            let Err(end) = session.run().await;
            // Disconnects first: what was unacknowledged may go elsewhere while goodbyes are said.
            session.subscriber = None;
            Box::pin(session.finish(end)).await;
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> {
    fn new(doors: Arc<Doors>, socket: Socket<IO>) -> Self {
        let alarm = doors.clock.now().plus(doors.limits.request_timeout);
        Self {
            doors,
            socket,
            stream: Stream::new(),
            subscriber: None,
            names: Names::default(),
            alarm,
            logged_in: false,
            pinged: false,
            ended: false,
        }
    }

    async fn run(&mut self) -> Result<Infallible, End> {
        let doors = self.doors.clone();
        let mut dismissal = pin!(doors.drains.dismissal());
        loop {
            let event = tokio::select! {
                frame = self.socket.next() => Event::Heard(frame?),
                event = Subscriber::next_of(&mut self.subscriber), if !self.ended => Event::Subscriber(event),
                () = Box::pin(doors.clock.sleep_until(self.alarm)) => Event::Alarm,
                () = dismissal.as_mut() => return Err(Closing::Restarting.into()),
            };
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
            Event::Heard(frame) => self.on_frame(&frame).await?,
            Event::Subscriber(event) => self.on_subscriber(event).await?,
            Event::Alarm => self.on_alarm().await?,
        }
        Ok(self.socket.flush().await?)
    }

    async fn finish(mut self, end: End) {
        match end {
            End::Left => return,
            End::Said => {}
            End::Close(closing) => {
                debug!(%closing, "a stream is closed");
                if let Some(frame) = self.stream.close() {
                    // Whoever cannot be reached any more has left.
                    let _ = self.socket.say(&frame).await;
                }
            }
        }
        self.socket.close().await;
    }

    async fn on_frame(&mut self, frame: &Frame) -> Result<(), End> {
        let mut effects = Vec::new();
        let stanza = ClientStanza::parse(frame)?;
        let heard = self.stream.receive(stanza, &mut effects);
        self.settle(&effects).await?;
        for effect in effects {
            match effect {
                Effect::LogIn(login) => self.log_in(login).await?,
                Effect::Confirmed(_) => {}
                Effect::Write(frame) => self.socket.say(&frame).await?,
                Effect::End => return Err(End::Said),
            }
        }
        heard?;
        if self.logged_in {
            self.rest();
        }
        Ok(())
    }

    /// What was acknowledged is gone for good before anything is sent that counts this stanza: with that number the device
    /// forgets the message, and what then came out of the store would come twice. If it cannot be done, the stream ends
    /// before such a number is sent, and the next login lists the message.
    async fn settle(&mut self, effects: &[Effect<MessageId>]) -> Result<(), End> {
        let Some(subscriber) = &self.subscriber else { return Ok(()) };
        let confirmed =
            effects.iter().filter_map(|effect| if let Effect::Confirmed(id) = effect { Some(*id) } else { None });
        try_join_all(confirmed.map(|id| subscriber.settle_for_good(id, Outcome::Delivered)))
            .await
            .map_err(|_| End::Left)?;
        Ok(())
    }

    async fn log_in(&mut self, login: LoginRequest) -> Result<(), End> {
        let Some(agent) = self.doors.capabilities.agent_of(login.device) else {
            return self.refuse(NoLogin::Device).await;
        };
        let there: Vec<_> = login.received.iter().filter_map(|id| persistent_id::from_text(id)).collect();
        let subscriber = self.connect(agent);
        // With our answer the device forgets its list, and what then came out of the store would come twice.
        let mut known = Vec::new();
        for some in there.chunks(SETTLED_TOGETHER_MAX) {
            let settled = some.iter().map(|id| subscriber.settle_for_good(*id, Outcome::Delivered));
            let Ok(existed) = try_join_all(settled).await else { return self.refuse(NoLogin::Unavailable).await };
            // The others were never ours, or are over for long: whatever a device lists, no more is kept of it.
            known.extend(some.iter().zip(existed).filter_map(|(id, existed)| existed.then_some(*id)));
        }
        self.subscriber = Some(subscriber);
        self.logged_in = true;
        let heartbeat_ms = self.doors.chromium.settings.heartbeat.as_millis();
        let heartbeat_ms = u32::try_from(heartbeat_ms).expect("the configuration bounds the heartbeat by half an hour");
        let mut effects = Vec::new();
        self.stream.accept(known, heartbeat_ms, self.doors.clock.now(), &mut effects);
        self.write(effects).await
    }

    /// The device's one subscriber. It may have no subscription yet, and makes the first one on another connection.
    fn connect(&self, agent: AgentId) -> Subscriber {
        let spec = SubscriberSpec {
            scope: Scope::Agent,
            floor: None,
            mode: Mode::Hold,
            // What is unacknowledged stands in the next login, which has to fit into a frame.
            window: self
                .doors
                .limits
                .window
                .min(u16::try_from(IN_FLIGHT_MAX).expect("a login's list fits into a frame")),
            // Chromium takes a message that comes twice on one connection for two.
            retry: Retry::NextSubscriber,
        };
        self.doors.hub.take_over_early(agent, spec)
    }

    async fn refuse(&mut self, why: NoLogin) -> Result<(), End> {
        let (code, text) = why.error();
        debug!(code, text, "a login is refused");
        let mut effects = Vec::new();
        self.stream.refuse(code, text, &mut effects);
        self.write(effects).await?;
        Err(End::Said)
    }

    /// Writes what the answer to a login consists of. What it confirms was settled before.
    async fn write(&mut self, effects: Vec<Effect<MessageId>>) -> Result<(), End> {
        for effect in effects {
            if let Effect::Write(frame) = effect {
                self.socket.say(&frame).await?;
            }
        }
        Ok(())
    }

    /// What is ready is handed to the socket together.
    async fn on_subscriber(&mut self, first: SubscriberEvent) -> Result<(), End> {
        let mut event = Some(first);
        for more in (0..TOGETHER_MAX).rev() {
            let Some(now) = event.take() else { break };
            match now {
                SubscriberEvent::Message(message) => self.deliver(&message).await?,
                // It stays, for what is acknowledged from now on: a message that is not settled would come again.
                SubscriberEvent::Ended => self.ended = true,
                SubscriberEvent::Drained => {}
                SubscriberEvent::Gone => return Err(Closing::Gone.into()),
                SubscriberEvent::Superseded => return Err(Closing::Superseded.into()),
                SubscriberEvent::Failed(error) => return Err(error.into()),
            }
            event =
                if more > 0 && !self.ended { Subscriber::next_of(&mut self.subscriber).now_or_never() } else { None };
        }
        Ok(())
    }

    async fn deliver(&mut self, message: &Message) -> Result<(), End> {
        let channel = match self.names.channel(&self.doors, message.subscription).await {
            Err(HubError::Damaged) => {
                self.subscriber.iter().for_each(|subscriber| subscriber.undeliverable(message.id));
                return Ok(());
            }
            known => known?,
        };
        let Some(address) = channel.as_deref().and_then(Address::from_channel) else {
            // Just removed, or a subscription that was made at another door and has to be received there.
            self.decline(message.id);
            return Ok(());
        };
        let names = APP_DATA;
        let app_data = names.iter().filter_map(|name| Some((name.as_str(), message.headers.get(name)?)));
        let app_data: Vec<_> = app_data.collect();
        let sent = message.id.minted_at();
        let stanza = DataMessage {
            persistent_id: &persistent_id::to_text(message.id),
            from: address.sender,
            category: address.app,
            subtype: address.subtype,
            app_data: &app_data,
            body: Some(&message.body[..]).filter(|body| !body.is_empty()),
            ttl_s: message.expires_at.map_or(0, |at| whole_seconds(at.since(sent))),
            sent,
            // Each is settled as soon as it is there, and a login has little to list.
            immediate_ack: true,
        };
        match self.stream.send(message.id, stanza) {
            Ok(frame) => self.socket.say(&frame).await?,
            // Settled at the login, of which the shard had not learned when it put this one into the outbox.
            Err(NotSent::AlreadyThere) => {}
            Err(NotSent::Full) => self.decline(message.id),
            Err(NotSent::NotOpen) => return Err(End::Said),
        }
        Ok(())
    }

    fn decline(&self, id: MessageId) {
        if let Some(subscriber) = &self.subscriber {
            subscriber.declined(id);
        }
    }

    /// The login has not come in time, or nothing was heard for so long that Chromium must have said something.
    async fn on_alarm(&mut self) -> Result<(), End> {
        if !self.logged_in {
            return Err(Closing::NoLogin.into());
        }
        if self.pinged {
            return Err(Closing::Silent.into());
        }
        self.pinged = true;
        self.alarm = self.doors.clock.now().plus(self.doors.chromium.settings.heartbeat);
        match self.stream.ping() {
            Some(frame) => Ok(self.socket.say(&frame).await?),
            None => Err(End::Said),
        }
    }

    /// Something was heard: Chromium speaks by itself once a heartbeat, so that nobody is asked before two.
    fn rest(&mut self) {
        self.pinged = false;
        self.alarm = self.doors.clock.now().plus(2 * self.doors.chromium.settings.heartbeat);
    }
}

/// Rounded, because an id may be minted some milliseconds after its message was taken.
fn whole_seconds(span: Duration) -> u32 {
    u32::try_from((span.as_millis() + 500) / 1000).unwrap_or(u32::MAX)
}

/// What a session waits for.
enum Event {
    Heard(Frame),
    Subscriber(SubscriberEvent),
    Alarm,
}
