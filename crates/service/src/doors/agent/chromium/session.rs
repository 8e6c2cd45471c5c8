//! One connection of a device: checks its login, sends its messages, and settles its acknowledgements.

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
use super::answer::{CloseReason, End, LoginRejection};
use crate::counts::{AgentDoor, Door};
use crate::doors::Doors;
use crate::doors::agent::channel_cache::ChannelCache;
use crate::doors::agent::shutdown;
use crate::doors::requests::SocketLine;
use crate::hub::{HubError, Message, Mode, Retry, Scope, Subscriber, SubscriberEvent, SubscriberSpec};
use crate::transport::mcs::Socket;

/// The maximum of messages that are queued before the socket sends them.
const BATCH_MAX: usize = 32;

/// Messages of a login's list that are settled at the same time: they share commits, and leave room for other devices.
const SETTLED_BATCH_MAX: usize = 64;

/// The fields of a message that the browser needs to decrypt it.
const APP_DATA: [HeaderName; 3] = [CONTENT_ENCODING, ENCRYPTION, CRYPTO_KEY];

/// A connection in progress.
struct Session<IO> {
    doors: Arc<Doors>,
    socket: Socket<IO>,
    stream: Stream<MessageId>,
    /// Open after the login.
    subscriber: Option<Subscriber>,
    channels: ChannelCache,
    /// The device after its login, until it is known to have a subscription: it makes its first one on another
    /// connection.
    stranger: Option<AgentId>,
    /// When to ping, or to close if nothing has arrived since the ping; before the login, when to close.
    alarm: UnixMs,
    /// The interval that the login's answer named, in seconds; a reload changes that of later logins.
    heartbeat_secs: u16,
    logged_in: bool,
    pinged: bool,
    /// The session has to end: it sends nothing new, and waits for its turn to send Close.
    ended: bool,
    /// For the access log.
    line: Option<Box<SocketLine>>,
}

impl Doors {
    /// Serves an MCS connection, until one side ends it or the service stops.
    pub(in crate::doors) fn serve_chromium<IO>(self: Arc<Self>, socket: Socket<IO>) -> impl Future<Output = ()> + Send
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        // Build the session outside the async block: otherwise the future also stores the constructor's arguments.
        let mut session = Session::new(self, socket);
        async move {
            let Err(end) = session.run().await;
            if end == End::Close(CloseReason::Unavailable) {
                session.doors.failed_on_socket(Door::Chromium);
            }
            if let Some(line) = &mut session.line {
                line.reason = end.text();
            }
            // Disconnect first: unacknowledged messages may go to another connection while this one closes.
            session.subscriber = None;
            Box::pin(session.finish(end)).await;
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Session<IO> {
    fn new(doors: Arc<Doors>, socket: Socket<IO>) -> Self {
        let alarm = doors.clock.served().plus(doors.config().limits.request_timeout);
        let line = doors.requests.socket(Door::Chromium);
        Self {
            doors,
            socket,
            stream: Stream::new(),
            subscriber: None,
            channels: ChannelCache::default(),
            alarm,
            stranger: None,
            heartbeat_secs: 0,
            logged_in: false,
            pinged: false,
            ended: false,
            line,
        }
    }

    async fn run(&mut self) -> Result<Infallible, End> {
        let doors = self.doors.clone();
        let mut shutdown_signal = pin!(doors.shutdown.signal());
        loop {
            let wakeup = tokio::select! {
                frame = self.socket.next() => Wakeup::Received(frame?),
                event = Subscriber::next_of(&mut self.subscriber), if !self.ended => Wakeup::Subscriber(event),
                () = Box::pin(doors.clock.served_until(self.alarm)) => Wakeup::Alarm,
                () = shutdown_signal.as_mut() => return Err(CloseReason::Restarting.into()),
            };
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
            Wakeup::Received(frame) => self.on_frame(&frame).await?,
            Wakeup::Subscriber(event) => self.on_subscriber(event).await?,
            Wakeup::Alarm => self.on_alarm().await?,
        }
        Ok(self.socket.flush().await?)
    }

    async fn finish(mut self, end: End) {
        match end {
            End::Left => return,
            End::Finished => {}
            End::Close(reason) => {
                debug!(%reason, "a stream is closed");
                if let Some(frame) = self.stream.close() {
                    // If the client cannot be reached, it has left.
                    let _ = self.socket.send(&frame).await;
                }
            }
        }
        self.socket.close().await;
    }

    async fn on_frame(&mut self, frame: &Frame) -> Result<(), End> {
        let mut effects = Vec::new();
        let stanza = ClientStanza::parse(frame)?;
        let received = self.stream.receive(stanza, &mut effects);
        self.settle(&effects).await?;
        for effect in effects {
            match effect {
                Effect::LogIn(login) => self.log_in(login).await?,
                Effect::Confirmed(_) => {}
                Effect::Write(frame) => self.socket.send(&frame).await?,
                Effect::End => return Err(End::Finished),
            }
        }
        received?;
        if self.logged_in {
            self.check_stranger().await;
            self.reset_alarm();
        }
        Ok(())
    }

    /// Settles acknowledged messages durably, before the session sends anything that counts this stanza: after that
    /// count the device forgets the message, and a second delivery would be shown twice. If settling fails, the stream
    /// ends before the count is sent, and the next login lists the message.
    async fn settle(&mut self, effects: &[Effect<MessageId>]) -> Result<(), End> {
        let Some(subscriber) = &self.subscriber else { return Ok(()) };
        let confirmed =
            effects.iter().filter_map(|effect| if let Effect::Confirmed(id) = effect { Some(*id) } else { None });
        let settled = try_join_all(confirmed.map(|id| subscriber.settle_for_good(id, Outcome::Delivered))).await;
        let settled = settled.map_err(|_| End::Left)?;
        if let Some(line) = &mut self.line {
            line.acknowledged += u64::try_from(settled.len()).expect("`u64` is as large as `usize`");
        }
        Ok(())
    }

    async fn log_in(&mut self, login: LoginRequest) -> Result<(), End> {
        let Some(agent) = self.doors.capabilities.agent_of(login.device) else {
            return self.refuse(LoginRejection::Device).await;
        };
        let listed: Vec<_> = login.received.iter().filter_map(|id| persistent_id::from_text(id)).collect();
        let subscriber = self.connect(agent);
        // After our answer the device forgets its list: messages that are still in the store would arrive twice.
        let mut known = Vec::new();
        for chunk in listed.chunks(SETTLED_BATCH_MAX) {
            let settled = chunk.iter().map(|id| subscriber.settle_for_good(*id, Outcome::Delivered));
            let Ok(existed) = try_join_all(settled).await else {
                self.doors.failed_on_socket(Door::Chromium);
                return self.refuse(LoginRejection::Unavailable).await;
            };
            // The other ids were never ours, or ended long ago: nothing is kept of them, whatever a device lists.
            known.extend(chunk.iter().zip(existed).filter_map(|(id, existed)| existed.then_some(*id)));
        }
        self.subscriber = Some(subscriber);
        self.logged_in = true;
        self.stranger = Some(agent);
        let heartbeat = self.doors.config().chromium.heartbeat.as_secs();
        self.heartbeat_secs = u16::try_from(heartbeat).expect("the configuration limits the heartbeat to half an hour");
        let heartbeat_ms = u32::from(self.heartbeat_secs) * 1000;
        let mut effects = Vec::new();
        self.stream.accept(known, heartbeat_ms, self.doors.clock.wall(), &mut effects);
        self.write(effects).await
    }

    /// The device's one subscriber. A device may have no subscription yet; it creates the first one on another
    /// connection.
    fn connect(&self, agent: AgentId) -> Subscriber {
        let spec = SubscriberSpec {
            scope: Scope::Agent,
            floor: None,
            mode: Mode::Hold,
            // The next login lists the unacknowledged messages, and must fit into a frame.
            window: self
                .doors
                .config()
                .limits
                .window
                .min(u16::try_from(IN_FLIGHT_MAX).expect("a login's list fits into a frame")),
            // Chromium shows a message twice if it arrives twice on one connection.
            retry: Retry::NextSubscriber,
        };
        self.doors.hub.take_over_early(agent, AgentDoor::Chromium, spec)
    }

    /// The connection of a device with a subscription is not closed to make room.
    async fn check_stranger(&mut self) {
        if let Some(agent) = self.stranger
            && self.doors.hub.check_scope(agent, Scope::Agent).await.is_ok()
        {
            self.stranger = None;
            self.socket.place.keep();
        }
    }

    async fn refuse(&mut self, why: LoginRejection) -> Result<(), End> {
        let (code, text) = why.error();
        debug!(code, text, "a login is rejected");
        let mut effects = Vec::new();
        self.stream.refuse(code, text, &mut effects);
        self.write(effects).await?;
        Err(End::Finished)
    }

    /// Writes the answer to a login. The confirmed messages are settled already.
    async fn write(&mut self, effects: Vec<Effect<MessageId>>) -> Result<(), End> {
        for effect in effects {
            if let Effect::Write(frame) = effect {
                self.socket.send(&frame).await?;
            }
        }
        Ok(())
    }

    /// Queues all ready messages, so that the socket sends them together.
    async fn on_subscriber(&mut self, first: SubscriberEvent) -> Result<(), End> {
        let mut event = Some(first);
        for more in (0..BATCH_MAX).rev() {
            let Some(now) = event.take() else { break };
            match now {
                SubscriberEvent::Message(message) => self.deliver(&message).await?,
                // The session stays, for further acknowledgements: an unsettled message would arrive again.
                SubscriberEvent::Ended => self.ended = true,
                SubscriberEvent::Drained => {}
                // Only watchers receive these.
                SubscriberEvent::Waiting(_) | SubscriberEvent::Quiet => {}
                SubscriberEvent::Gone => return Err(CloseReason::Gone.into()),
                SubscriberEvent::Superseded => return Err(CloseReason::Superseded.into()),
                SubscriberEvent::Failed(error) => return Err(error.into()),
            }
            event =
                if more > 0 && !self.ended { Subscriber::next_of(&mut self.subscriber).now_or_never() } else { None };
        }
        Ok(())
    }

    async fn deliver(&mut self, message: &Message) -> Result<(), End> {
        self.check_stranger().await;
        let Some(agent) = self.subscriber.as_ref().map(Subscriber::agent) else { return Ok(()) };
        let channel = match self.channels.channel(&self.doors, agent, message.subscription).await {
            Err(HubError::Damaged) => {
                self.subscriber.iter().for_each(|subscriber| subscriber.undeliverable(message.id));
                return Ok(());
            }
            known => known?,
        };
        let Some(address) = channel.as_deref().and_then(Address::from_channel) else {
            // The subscription was just removed, or another door created it and delivers its messages.
            self.decline(message.id);
            return Ok(());
        };
        let names = APP_DATA;
        let app_data = names.iter().filter_map(|name| Some((name.as_str(), message.headers.get(name)?)));
        let app_data: Vec<_> = app_data.collect();
        let accepted = message.id.minted_at();
        let stanza = DataMessage {
            persistent_id: &persistent_id::to_text(message.id),
            from: address.sender,
            category: address.app,
            subtype: address.subtype,
            app_data: &app_data,
            body: Some(&message.body[..]).filter(|body| !body.is_empty()),
            ttl_s: message.expires_at.map_or(0, |at| whole_seconds(at.since(accepted))),
            sent: self.doors.clock.wall_at(accepted),
            // The device acknowledges each one immediately, so a login has little to list.
            immediate_ack: true,
        };
        match self.stream.send(message.id, stanza) {
            Ok(frame) => {
                self.socket.send(&frame).await?;
                if let Some(line) = &mut self.line {
                    line.sent += 1;
                }
            }
            // The login settled it, but the shard had put it into the outbox before.
            Err(NotSent::AlreadyThere) => {}
            Err(NotSent::Full) => self.decline(message.id),
            Err(NotSent::NotOpen) => return Err(End::Finished),
        }
        Ok(())
    }

    fn decline(&self, id: MessageId) {
        if let Some(subscriber) = &self.subscriber {
            subscriber.declined(id);
        }
    }

    /// The login did not arrive in time, or nothing arrived for longer than Chromium's heartbeat.
    async fn on_alarm(&mut self) -> Result<(), End> {
        if !self.logged_in {
            return Err(CloseReason::NoLogin.into());
        }
        if self.pinged {
            return Err(CloseReason::Silent.into());
        }
        self.pinged = true;
        self.alarm = self.doors.clock.served().plus(self.heartbeat());
        match self.stream.ping() {
            Some(frame) => Ok(self.socket.send(&frame).await?),
            None => Err(End::Finished),
        }
    }

    fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_secs.into())
    }

    /// The client sent something. Chromium sends a heartbeat by itself, so the service pings after two intervals only.
    fn reset_alarm(&mut self) {
        self.pinged = false;
        self.alarm = self.doors.clock.served().plus(2 * self.heartbeat());
    }
}

/// Rounded, because an id may be minted some milliseconds after its message was received. A TTL is at most 2^31
/// seconds.
fn whole_seconds(span: Duration) -> u32 {
    u32::try_from((span.as_millis() + 500) / 1000).unwrap_or(u32::MAX)
}

/// What a session waits for.
enum Wakeup {
    Received(Frame),
    Subscriber(SubscriberEvent),
    Alarm,
}
