//! The notification server of the woken Firefox: it shows everything on the session's bus, and sends back what happens.
//!
//! What a site writes into a notification is passed on in the form that the real server takes, within bounds.

use std::collections::{HashMap, VecDeque};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::names::OwnedUniqueName;
use zbus::{Connection, DynamicType, Message, MessageStream, OwnedVariant, Variant};

use super::shown::{Ledger, Shown};

pub(super) const NAME: &str = "org.freedesktop.Notifications";
pub(super) const PATH: &str = "/org/freedesktop/Notifications";
pub(super) const DBUS: &str = "org.freedesktop.DBus";
pub(super) const DBUS_PATH: &str = "/org/freedesktop/DBus";
const FAILED: &str = "org.freedesktop.DBus.Error.Failed";

const OPEN_MAX: Duration = Duration::from_secs(5);
/// A message may be large, so few are read ahead.
const QUEUE: NonZeroUsize = NonZeroUsize::new(4).expect("four is not zero");
/// Calls that the real server has not replied to.
const CALLS_MAX: usize = 64;
/// Events that come before Firefox takes clicks.
const HELD_MAX: usize = 64;
/// The longest texts, in characters; a body may have markup.
const NAME_CHARS_MAX: usize = 256;
const BODY_CHARS_MAX: usize = 8192;
/// The names and the labels of the actions.
const ACTION_WORDS_MAX: usize = 32;
/// The hints that are passed on. They say how it looks and sounds, and nothing of the process.
const HINTS: [&str; 9] = [
    "urgency",
    "image-data",
    "image_data",
    "icon_data",
    "desktop-entry",
    "category",
    "transient",
    "resident",
    "suppress-sound",
];
/// Why a notification is closed: by a call, and for an unknown reason.
const CLOSED_BY_CALL: u32 = 3;
const CLOSED_SOMEHOW: u32 = 4;

/// The parameters of `Notify`.
pub(super) type NotifyBody = (String, u32, String, String, String, Vec<String>, HashMap<String, OwnedVariant>, i32);

/// Which bus a message came from.
#[derive(Debug)]
pub(super) enum Received {
    /// Firefox's.
    Private(Message),
    /// The session's.
    Session(Message),
}

/// What happened to a notification.
#[derive(Debug)]
enum Happened {
    Invoked { id: u32, action: String },
    Closed { id: u32, reason: u32 },
}

/// A call of Firefox that was passed on: what becomes of the reply.
struct Passed {
    serial: NonZeroU32,
    call: Message,
    /// The notification that it shows.
    shows: Option<(u32, Vec<String>)>,
}

/// Between the two buses.
pub(super) struct Relay {
    private: Connection,
    calls: MessageStream,
    session: Connection,
    events: MessageStream,
    passed: VecDeque<Passed>,
    shown: Ledger,
    /// `None` once Firefox takes clicks.
    held: Option<VecDeque<Happened>>,
}

impl Relay {
    /// Takes the name of the notification server on the bus at `private`, and connects to the session's bus.
    pub(super) async fn open(private: &str, session: Builder<'_>) -> Result<Self, String> {
        let private = open(Builder::address(private)).await?;
        let session = open(session).await.map_err(|why| {
            format!("no session bus ({why}): start it in a desktop session, where DBUS_SESSION_BUS_ADDRESS is set")
        })?;
        let owner = format!("type='signal',sender='{DBUS}',member='NameOwnerChanged',arg0='{NAME}'");
        for rule in [format!("type='signal',sender='{NAME}',interface='{NAME}'"), owner] {
            let added = session.call_method(Some(DBUS), DBUS_PATH, Some(DBUS), "AddMatch", &rule).await;
            added.map_err(|error| error.to_string())?;
        }
        let (calls, events) = (MessageStream::from(&private), MessageStream::from(&session));
        private.request_name(NAME).await.map_err(|error| error.to_string())?;
        let held = Some(VecDeque::new());
        Ok(Self { private, calls, session, events, passed: VecDeque::new(), shown: Ledger::default(), held })
    }

    /// The next message; `None` once a bus is gone. May be dropped and called again without a loss.
    pub(super) async fn next(&mut self) -> Option<Received> {
        tokio::select! {
            call = self.calls.next() => call?.ok().map(Received::Private),
            event = self.events.next() => event?.ok().map(Received::Session),
        }
    }

    /// Whether nothing is on the screen or on its way there.
    pub(super) fn is_quiet(&self) -> bool {
        self.shown.is_empty() && self.passed.is_empty()
    }

    /// Firefox takes clicks from now on: whether there was one.
    pub(super) async fn takes_clicks(&mut self) -> bool {
        let mut clicked = false;
        for happened in self.held.take().into_iter().flatten() {
            clicked |= self.send_back(happened).await;
        }
        clicked
    }

    /// Passes a message on: whether it was a click.
    pub(super) async fn pass(&mut self, received: Received) -> bool {
        match received {
            Received::Private(message) if message.message_type() == Type::MethodCall => self.pass_call(message).await,
            Received::Private(_) => {}
            Received::Session(message) => {
                if let Some(happened) = self.read(&message).await {
                    return self.send_back(happened).await;
                }
            }
        }
        false
    }

    /// A call of Firefox.
    async fn pass_call(&mut self, call: Message) {
        let header = call.header();
        let member = header.member().map(|member| member.as_str().to_owned()).unwrap_or_default();
        if self.passed.len() >= CALLS_MAX {
            return self.refuse(&call, "too many calls are under way").await;
        }
        let (serial, shows) = match member.as_str() {
            "GetCapabilities" | "GetServerInformation" => (self.call(&member, &()).await, None),
            "Notify" => {
                let Some((id, body)) = self.notification(&call) else {
                    return self.refuse(&call, "a notification that cannot be shown").await;
                };
                let actions = body.5.iter().step_by(2).cloned().collect();
                (self.call(&member, &body).await, Some((id, actions)))
            }
            "CloseNotification" => {
                let id: u32 = call.body().deserialize().unwrap_or_default();
                let Some(shown) = self.shown.of(id) else {
                    return self.refuse(&call, "there is no such notification").await;
                };
                (self.call(&member, &shown.real).await, None)
            }
            _ => return self.refuse(&call, "there is no such method").await,
        };
        match serial {
            Some(serial) => self.passed.push_back(Passed { serial, call, shows }),
            None => self.refuse(&call, "the session's bus is gone").await,
        }
    }

    /// What is shown, with the id for Firefox.
    fn notification(&mut self, call: &Message) -> Option<(u32, NotifyBody)> {
        let (app, replaced, icon, summary, body, mut actions, mut hints, expires): NotifyBody =
            call.body().deserialize().ok()?;
        let id = self.shown.id_for(replaced)?;
        let real = self.shown.of(id).map_or(0, |shown| shown.real);
        actions.truncate(ACTION_WORDS_MAX);
        let actions = actions.iter().map(|word| clipped(word, NAME_CHARS_MAX)).collect();
        hints.retain(|name, value| HINTS.contains(&name.as_str()) && fits(value));
        let (app, icon) = (clipped(&app, NAME_CHARS_MAX), clipped(&icon, NAME_CHARS_MAX));
        let (summary, body) = (clipped(&summary, NAME_CHARS_MAX), clipped(&body, BODY_CHARS_MAX));
        Some((id, (app, real, icon, summary, body, actions, hints, expires)))
    }

    /// A message on the session's bus.
    async fn read(&mut self, message: &Message) -> Option<Happened> {
        let header = message.header();
        let sender = header.sender()?.as_str();
        match message.message_type() {
            Type::MethodReturn | Type::Error => {
                let serial = header.reply_serial()?;
                let at = self.passed.iter().position(|passed| passed.serial == serial)?;
                let passed = self.passed.remove(at)?;
                self.reply(&passed, message).await;
                None
            }
            Type::Signal => match header.member()?.as_str() {
                "ActionInvoked" => {
                    let (real, action): (u32, String) = message.body().deserialize().ok()?;
                    let shown = self.shown.of_server(sender, real)?;
                    shown.actions.contains(&action).then_some(Happened::Invoked { id: shown.id, action })
                }
                "NotificationClosed" => {
                    let (real, reason): (u32, u32) = message.body().deserialize().ok()?;
                    let id = self.shown.of_server(sender, real)?.id;
                    Some(Happened::Closed { id, reason })
                }
                "NameOwnerChanged" if sender == DBUS => {
                    let (_, _, owner): (String, String, String) = message.body().deserialize().ok()?;
                    for shown in self.shown.without_server(&owner) {
                        self.signal(&shown, "NotificationClosed", &(shown.id, CLOSED_SOMEHOW)).await;
                    }
                    None
                }
                _ => None,
            },
            Type::MethodCall => None,
        }
    }

    /// The real server's reply goes back to Firefox.
    async fn reply(&mut self, passed: &Passed, reply: &Message) {
        if reply.message_type() == Type::Error {
            return self.refuse(&passed.call, "the notification server of the session refuses").await;
        }
        let (header, body) = (passed.call.header(), reply.body());
        let sent = match (&passed.shows, header.member().map(|member| member.as_str())) {
            (Some((id, actions)), _) => {
                let (Ok(real), Some(client), Some(server)) =
                    (body.deserialize::<u32>(), header.sender(), reply.header().sender().cloned())
                else {
                    return self.refuse(&passed.call, "the reply of the notification server cannot be read").await;
                };
                let (client, server) = (client.to_owned().into(), OwnedUniqueName::from(server.to_owned()));
                self.shown.insert(Shown { id: *id, client, server, real, actions: actions.clone() });
                self.private.reply(&header, id).await
            }
            (None, Some("GetCapabilities")) => {
                let all: Vec<String> = body.deserialize().unwrap_or_default();
                self.private.reply(&header, &all).await
            }
            (None, Some("GetServerInformation")) => {
                let information: (String, String, String, String) = body.deserialize().unwrap_or_default();
                self.private.reply(&header, &information).await
            }
            _ => self.private.reply(&header, &()).await,
        };
        sent.inspect_err(|error| tracing::debug!(%error, "the woken Firefox gets no reply")).ok();
    }

    /// Sends back what happened, or keeps it until Firefox takes clicks: whether it was a click.
    async fn send_back(&mut self, happened: Happened) -> bool {
        if let Some(held) = &mut self.held {
            if held.len() < HELD_MAX {
                held.push_back(happened);
            }
            return false;
        }
        match happened {
            Happened::Invoked { id, action } => {
                let Some(shown) = self.shown.of(id).cloned() else { return false };
                self.signal(&shown, "ActionInvoked", &(id, action)).await;
                true
            }
            Happened::Closed { id, reason } => {
                if let Some(shown) = self.shown.of(id).cloned() {
                    self.shown.remove(id);
                    self.signal(&shown, "NotificationClosed", &(id, reason)).await;
                }
                false
            }
        }
    }

    async fn call<B: Serialize + DynamicType>(&self, member: &str, body: &B) -> Option<NonZeroU32> {
        let call = Message::method_call(PATH, member).destination(NAME).interface(NAME).build(body);
        let call = call.inspect_err(|error| tracing::warn!(%error, "a call that cannot be built")).ok()?;
        self.session.send(&call).await.ok()?;
        Some(call.primary_header().serial_num())
    }

    async fn signal<B: Serialize + DynamicType>(&self, shown: &Shown, member: &str, body: &B) {
        let client = Some(shown.client.as_str());
        let sent = self.private.emit_signal(client, PATH, NAME, member, body).await;
        sent.inspect_err(|error| tracing::debug!(%error, "the woken Firefox gets no signal")).ok();
    }

    async fn refuse(&self, call: &Message, why: &str) {
        let sent = self.private.reply_error(&call.header(), FAILED, &why).await;
        sent.inspect_err(|error| tracing::debug!(%error, "the woken Firefox gets no reply")).ok();
    }

    /// Takes everything of Firefox from the screen: its clicks would lead nowhere.
    pub(super) async fn clear(&mut self) {
        for shown in self.shown.without_server("") {
            self.call("CloseNotification", &shown.real).await;
            self.signal(&shown, "NotificationClosed", &(shown.id, CLOSED_BY_CALL)).await;
        }
    }
}

async fn open(builder: Builder<'_>) -> Result<Connection, String> {
    match timeout(OPEN_MAX, builder.max_queued(QUEUE).build()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the bus does not answer within {} s", OPEN_MAX.as_secs())),
    }
}

/// A short text, a number, or the data of a picture, whose size the bus bounds.
fn fits(value: &Variant<'_>) -> bool {
    match value {
        Variant::Str(text) => text.chars().count() <= NAME_CHARS_MAX,
        Variant::U8(_) | Variant::Bool(_) => true,
        value => value.value_signature() == "(iiibiiay)",
    }
}

fn clipped(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}
