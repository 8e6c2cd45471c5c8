//! The relay between two real buses, with stand-ins for Firefox and for the notification server.

use std::collections::HashMap;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, DynamicType, Message, MessageStream, Variant};

use super::private_bus::PrivateBus;
use super::relay::{DBUS, DBUS_PATH, NAME, NotifyBody, PATH, Relay};

/// Prints a notice when the program is missing; in CI that is a failure.
async fn bus(folder: &Path) -> Option<PrivateBus> {
    let version = Command::new("dbus-daemon").arg("--version").stdout(Stdio::null()).status();
    if version.is_err() && std::env::var_os("CI").is_none() {
        writeln!(std::io::stderr(), "!! SKIPPED: dbus-daemon is missing; `cargo xtask setup` installs it").ok();
        return None;
    }
    Some(PrivateBus::start(folder).await.unwrap())
}

/// A program on a bus.
struct Program {
    connection: Connection,
    messages: MessageStream,
}

impl Program {
    async fn on(bus: &PrivateBus) -> Self {
        let connection = Builder::address(bus.address()).build().await.unwrap();
        Self { messages: MessageStream::from(&connection), connection }
    }

    async fn calls<B: Serialize + DynamicType>(&self, member: &str, body: &B) -> zbus::Result<Message> {
        self.connection.call_method(Some(NAME), PATH, Some(NAME), member, body).await
    }

    async fn notifies(&self, replaced: u32, hints: HashMap<&str, Variant<'_>>) -> u32 {
        let actions = ["default", "Activate", "call-moz", "Call back"];
        let body = ("Firefox", replaced, "", "Mom", "Answer", actions.as_slice(), hints, -1_i32);
        self.calls("Notify", &body).await.unwrap().body().deserialize().unwrap()
    }

    async fn emits<B: Serialize + DynamicType>(&self, to: Option<&str>, member: &str, body: &B) {
        self.connection.emit_signal(to, PATH, NAME, member, body).await.unwrap();
        // The bus has passed it on when it replies to what comes after it.
        self.connection.call_method(Some(DBUS), DBUS_PATH, Some(DBUS), "GetId", &()).await.unwrap();
    }

    /// The parameters of the next signal or call with this name; others are passed over.
    async fn next<B: DeserializeOwned + zbus::Type>(&mut self, kind: Type, member: &str) -> (Message, B) {
        loop {
            let message = self.messages.next().await.unwrap().unwrap();
            let is_it = message.header().member().is_some_and(|name| name.as_str() == member);
            if message.message_type() == kind && is_it {
                let body = message.body().deserialize().unwrap();
                return (message, body);
            }
        }
    }

    /// As the notification server: takes the next call, and replies.
    async fn serves<B, R>(&mut self, member: &str, reply: &R) -> (Message, B)
    where
        B: DeserializeOwned + zbus::Type,
        R: Serialize + DynamicType,
    {
        let (call, body) = self.next(Type::MethodCall, member).await;
        self.connection.reply(&call.header(), reply).await.unwrap();
        (call, body)
    }
}

/// Lets the relay pass on what comes while `others` act: their result, and whether there was a click.
async fn relayed<T>(relay: &mut Relay, others: impl Future<Output = T>) -> (T, bool) {
    let (mut others, mut clicked) = (pin!(others), false);
    loop {
        tokio::select! {
            done = &mut others => return (done, clicked),
            received = relay.next() => clicked |= relay.pass(received.expect("the buses run")).await,
        }
    }
}

#[tokio::test]
async fn a_notification_is_shown_changed_clicked_and_closed_on_the_bus_of_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(private), Some(session)) = (bus(folder.path()).await, bus(folder.path()).await) else { return };
    let mut server = Program::on(&session).await;
    server.connection.request_name(NAME).await.unwrap();
    let stranger = Program::on(&session).await;
    let mut relay = Relay::open(private.address(), Builder::address(session.address())).await.unwrap();
    let mut firefox = Program::on(&private).await;

    // What names the process, or is no hint of a known kind, is not passed on.
    let hints = HashMap::from([
        ("urgency", Variant::from(1_u8)),
        ("sender-pid", Variant::from(7_i64)),
        ("category", Variant::from(vec![1_u32])),
    ]);
    let shown = async { tokio::join!(firefox.notifies(0, hints), server.serves::<NotifyBody, _>("Notify", &70_u32)) };
    let ((id, (call, body)), _) = relayed(&mut relay, shown).await;
    assert_eq!((body.0.as_str(), body.1, body.3.as_str(), body.4.as_str()), ("Firefox", 0, "Mom", "Answer"));
    assert_eq!(body.5, ["default", "Activate", "call-moz", "Call back"]);
    assert_eq!(body.6.into_keys().collect::<Vec<_>>(), ["urgency"]);
    assert!(!relay.is_quiet());
    let relay_name = call.header().sender().unwrap().to_owned();

    let none = HashMap::new();
    let changed = async { tokio::join!(firefox.notifies(id, none), server.serves::<NotifyBody, _>("Notify", &71_u32)) };
    let ((same, (_, body)), _) = relayed(&mut relay, changed).await;
    assert_eq!((same, body.1), (id, 70));

    let capable = vec!["body"];
    // A click that comes before Firefox takes it is kept. It is on its way before the reply.
    let asked = async {
        server.emits(None, "ActionInvoked", &(71_u32, "default")).await;
        tokio::join!(firefox.calls("GetCapabilities", &()), server.serves::<(), _>("GetCapabilities", &capable))
    };
    let ((capabilities, _), clicked) = relayed(&mut relay, asked).await;
    assert_eq!(capabilities.unwrap().body().deserialize::<Vec<String>>().unwrap(), ["body"]);
    assert!(!clicked && relay.takes_clicks().await);
    let (_, invoked) = firefox.next::<(u32, String)>(Type::Signal, "ActionInvoked").await;
    assert_eq!(invoked, (id, "default".to_owned()));

    // Only the server clicks, and only what is there to click.
    stranger.emits(Some(relay_name.as_str()), "ActionInvoked", &(71_u32, "default")).await;
    server.emits(None, "ActionInvoked", &(70_u32, "default")).await;
    server.emits(None, "ActionInvoked", &(71_u32, "delete-moz")).await;
    server.emits(None, "ActionInvoked", &(71_u32, "call-moz")).await;
    let invoked = firefox.next::<(u32, String)>(Type::Signal, "ActionInvoked");
    let ((_, invoked), clicked) = relayed(&mut relay, invoked).await;
    assert_eq!((invoked, clicked), ((id, "call-moz".to_owned()), true));

    let closed = async {
        let (reply, (_, real)) =
            tokio::join!(firefox.calls("CloseNotification", &id), server.serves::<u32, _>("CloseNotification", &()));
        server.emits(None, "NotificationClosed", &(real, 3_u32)).await;
        (reply, real, firefox.next::<(u32, u32)>(Type::Signal, "NotificationClosed").await.1)
    };
    let ((reply, real, closed), _) = relayed(&mut relay, closed).await;
    assert!(reply.is_ok());
    assert_eq!((real, closed), (71, (id, 3)));
    assert!(relay.is_quiet());
}

#[tokio::test]
async fn without_a_notification_server_firefox_gets_an_error_and_what_it_showed_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(private), Some(session)) = (bus(folder.path()).await, bus(folder.path()).await) else { return };
    let mut relay = Relay::open(private.address(), Builder::address(session.address())).await.unwrap();
    relay.takes_clicks().await;
    let mut firefox = Program::on(&private).await;
    let (reply, _) = relayed(&mut relay, firefox.calls("GetServerInformation", &())).await;
    assert!(reply.unwrap_err().to_string().contains("the notification server of the session refuses"));

    let mut server = Program::on(&session).await;
    server.connection.request_name(NAME).await.unwrap();
    let none = HashMap::new();
    let shown = async { tokio::join!(firefox.notifies(0, none), server.serves::<NotifyBody, _>("Notify", &5_u32)) };
    let ((id, _), _) = relayed(&mut relay, shown).await;
    server.connection.release_name(NAME).await.unwrap();
    let closed = firefox.next::<(u32, u32)>(Type::Signal, "NotificationClosed");
    let ((_, (closed, _)), _) = relayed(&mut relay, closed).await;
    assert_eq!(closed, id);
    assert!(relay.is_quiet());
}

#[tokio::test]
async fn the_private_bus_ends_with_this_process_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    for is_killed in [false, true] {
        let Some(bus) = bus(folder.path()).await else { return };
        let mut firefox = Program::on(&bus).await;
        if is_killed {
            // What the system does for a process that was killed: it closes its files.
            drop(bus);
        } else {
            bus.end();
        }
        while firefox.messages.next().await.is_some_and(|message| message.is_ok()) {}
        let removed = async {
            while std::fs::read_dir(folder.path()).unwrap().next().is_some() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), removed).await.expect("its folder is removed");
    }
}
