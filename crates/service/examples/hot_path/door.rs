//! The work for each request of an application server: opens its URL, parses its token, creates a URL.

use std::hint::black_box;
use std::path::Path;

use doorbell_protocol::id::{AgentId, MessageId, SubscriptionId};
use doorbell_protocol::time::UnixMs;
use doorbell_protocol::vapid::header::Credentials;
use doorbell_service::capability::{Capabilities, KeyRing, Resource};
use http::{HeaderMap, HeaderValue, header};

use crate::Step;

const AGENT: AgentId = AgentId::from_raw(1);

/// Opens a push resource's path.
pub(crate) fn open() -> Step {
    let capabilities = capabilities();
    let subscription = SubscriptionId::from_raw(2);
    let push = Resource::Push { agent: AGENT, subscription, restricted_to: Some([7; 16]), of_browser: true };
    let path = capabilities.path(push);
    Box::new(move || assert!(black_box(&capabilities).open(black_box(&path)).is_some()))
}

/// Creates the path of a message, for its Location.
pub(crate) fn path() -> Step {
    let capabilities = capabilities();
    let message = Resource::Message { agent: AGENT, id: MessageId::from_raw(3) };
    Box::new(move || drop(black_box(black_box(&capabilities).path(black_box(message)))))
}

/// Parses VAPID credentials. It does not verify them: the service does that once per token.
pub(crate) fn vapid() -> Step {
    let part = |bytes: usize| "A".repeat(bytes);
    let token = format!("{}.{}.{}", part(36), part(150), part(86));
    // The base point of P-256 (SEC 2 s2.4.2).
    let key = "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";
    let value = HeaderValue::from_str(&format!("vapid t={token}, k={key}")).unwrap();
    let headers: HeaderMap = [(header::AUTHORIZATION, value)].into_iter().collect();
    Box::new(move || assert!(black_box(Credentials::parse(black_box(&headers))).is_ok_and(|some| some.is_some())))
}

/// The capabilities of a fixed key, which is in no file.
fn capabilities() -> Capabilities {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("capability.keys");
    std::fs::write(&file, format!("0 {}\n", "A".repeat(43))).unwrap();
    Capabilities::new(&ring(&file))
}

fn ring(file: &Path) -> KeyRing {
    KeyRing::load_or_create(file, UnixMs::from_secs(0)).unwrap()
}
