//! Notifications of our own.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use zbus::names::OwnedUniqueName;
use zbus::{Connection, DynamicType, Message, Type, Variant};

use super::bus::{Bus, DBUS, Service};

/// What shows notifications.
pub(super) const NOTIFICATIONS: Service = Service {
    name: "org.freedesktop.Notifications",
    path: "/org/freedesktop/Notifications",
    interface: "org.freedesktop.Notifications",
};
const APP: &str = "Doorbell";
/// A text may name a file or an error.
const CHARS_MAX: usize = 500;
/// The notification stays until the server's own time has passed.
const SERVER_DECIDES: i32 = -1;
const URGENCY_NORMAL: u8 = 1;

/// Shows them over one connection, which stays open: some servers take the notifications of a client that is gone away.
#[derive(Debug)]
pub(super) struct Notifier {
    bus: Bus,
    connection: Mutex<Result<Connection, String>>,
    /// What is shown, by key.
    shown: tokio::sync::Mutex<HashMap<String, ShownOnce>>,
}

/// A notification, under an id that only its server knows: after a restart the id may be another program's.
#[derive(Debug)]
struct ShownOnce {
    server: OwnedUniqueName,
    id: u32,
}

impl Notifier {
    pub(super) async fn connect(bus: Bus) -> Self {
        let connection = Mutex::new(bus.open().await);
        Self { bus, connection, shown: tokio::sync::Mutex::default() }
    }

    /// Why there is no session bus.
    pub(super) fn missing(&self) -> Option<String> {
        match self.current() {
            Ok(connection) if connection.is_closed() => Some("the connection is lost".to_owned()),
            Ok(_) => None,
            Err(why) => Some(why),
        }
    }

    /// Whether a notification can be shown: a server is there, or the bus starts one. `true` if that is not known.
    pub(super) async fn has_server(&self) -> bool {
        let Ok(connection) = self.open().await else { return true };
        let has_owner = ask(&connection, "NameHasOwner", &NOTIFICATIONS.name).await;
        if has_owner.unwrap_or(true) {
            return true;
        }
        let startable: zbus::Result<Vec<String>> = ask(&connection, "ListActivatableNames", &()).await;
        startable.map_or(true, |names| names.iter().any(|name| name == NOTIFICATIONS.name))
    }

    /// Shows a notification, in the place of the former one with the same key.
    pub(super) async fn notify(&self, key: &str, summary: &str, body: &str) -> Result<(), String> {
        let mut shown = self.shown.lock().await;
        let mut outcome = show(&self.open().await?, &mut shown, key, summary, body).await;
        // A connection whose end was not noticed before.
        if outcome.as_ref().is_err_and(is_lost) {
            self.keep(Err("the connection is lost".to_owned()));
            outcome = show(&self.open().await?, &mut shown, key, summary, body).await;
        }
        outcome
            .map_err(|error| format!("no notification can be shown ({error}): start a notification server, e.g. dunst"))
    }

    async fn open(&self) -> Result<Connection, String> {
        if let Ok(connection) = self.current()
            && !connection.is_closed()
        {
            return Ok(connection);
        }
        let opened = self.bus.open().await;
        self.keep(opened.clone());
        opened.map_err(|why| format!("no session bus: {why}"))
    }

    fn keep(&self, connection: Result<Connection, String>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    fn current(&self) -> Result<Connection, String> {
        // The value is replaced as a whole, so that a panic elsewhere leaves none half written.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn show(
    connection: &Connection,
    shown: &mut HashMap<String, ShownOnce>,
    key: &str,
    summary: &str,
    body: &str,
) -> zbus::Result<()> {
    // The first call starts the server where it is started on demand.
    let reply = call(connection, "GetCapabilities", &()).await?;
    let capabilities: Vec<String> = reply.body().deserialize()?;
    let server = reply.header().sender().map(|sender| OwnedUniqueName::from(sender.to_owned()));
    shown.retain(|_, one| Some(&one.server) == server.as_ref());
    let replaced = shown.get(key).map_or(0, |one| one.id);
    let body = clipped(body);
    let body = if capabilities.iter().any(|one| one == "body-markup") { escaped(&body) } else { body };
    let hints = HashMap::from([("urgency", Variant::from(URGENCY_NORMAL))]);
    let actions: &[&str] = &[];
    let notification = (APP, replaced, "", clipped(summary), body, actions, hints, SERVER_DECIDES);
    let reply = call(connection, "Notify", &notification).await?;
    let id = reply.body().deserialize()?;
    if let Some(server) = server {
        shown.insert(key.to_owned(), ShownOnce { server, id });
    }
    Ok(())
}

async fn call<B>(connection: &Connection, member: &'static str, body: &B) -> zbus::Result<Message>
where
    B: Serialize + DynamicType,
{
    let Service { name, path, interface } = NOTIFICATIONS;
    connection.call_method(Some(name), path, Some(interface), member, body).await
}

/// Asks the bus itself.
async fn ask<B, T>(connection: &Connection, member: &'static str, body: &B) -> zbus::Result<T>
where
    B: Serialize + DynamicType,
    T: for<'a> Deserialize<'a> + Type,
{
    let reply = connection.call_method(Some(DBUS.name), DBUS.path, Some(DBUS.interface), member, body).await?;
    reply.body().deserialize()
}

fn is_lost(error: &zbus::Error) -> bool {
    // A call without a reply in time is an IO error too.
    matches!(error, zbus::Error::InputOutput(error) if error.kind() != ErrorKind::TimedOut)
}

fn clipped(text: &str) -> String {
    text.chars().take(CHARS_MAX).collect()
}

/// The text for a server that takes it as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_of_a_text_is_shown_and_not_obeyed() {
        assert_eq!(escaped("<a href=\"x\">&amp;"), "&lt;a href=\"x\"&gt;&amp;amp;");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(clipped(&"é".repeat(CHARS_MAX + 1)).chars().count(), CHARS_MAX);
    }
}
