//! Files: older formats are brought up to date, and what is not ours is refused and left alone.

use std::{fs, path::Path};

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_store::{Limits, NewMessage, OpenError, Store, Subscription};
use rusqlite::Connection;

use crate::bed::*;

const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/format-1.db");

fn refusal(dir: &Path) -> OpenError {
    Store::open_sqlite(dir, Limits::default()).map(|_| ()).unwrap_err()
}

/// What the file of format 1 holds, written with the version that introduced it.
async fn write_sample(store: &Store) {
    furnish(store).await;
    let restricted = Subscription { vapid_key: Some([4; 65]), ..subscription(SAMPLE, BOB) };
    store.create_subscription(restricted).await.unwrap();
    store.append(NewMessage { topic: topic("score"), urgency: Urgency::High, ..news(101) }).await.unwrap();
    store.append(NewMessage { headers: vec![0, 0, 1, b'x'], body: vec![9; 4096].into(), ..to_bob(102) }).await.unwrap();
    store.append(news(103)).await.unwrap();
    store.erase(id(103), ALICE, DELIVERED, NOON).await.unwrap();
}

const SAMPLE: doorbell_protocol::id::SubscriptionId = doorbell_protocol::id::SubscriptionId::from_raw(22);

#[tokio::test]
#[ignore = "writes the file for a new format, once: DOORBELL_SAMPLE=DIR cargo test -p doorbell-store -- --ignored sample"]
async fn write_a_sample_of_the_present_format() {
    let dir = std::env::var_os("DOORBELL_SAMPLE").expect("DOORBELL_SAMPLE names the directory to write to");
    let store = open(Path::new(&dir), Limits::default());
    write_sample(&store).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_file_of_format_1_opens_with_all_that_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(FORMAT_1, dir.path().join("doorbell.db")).unwrap();
    let store = open(dir.path(), Limits::default());
    assert_eq!(store.greatest_id(), 103);
    assert_eq!(waiting(&store, ALICE, NOON).await, [101]);
    let restricted = store.subscription(SAMPLE).await.unwrap().unwrap();
    assert_eq!((restricted.agent, restricted.vapid_key, restricted.created), (BOB, Some([4; 65]), NOON));
    let read = store.messages(vec![id(101), id(102)], NOON).await.unwrap();
    assert_eq!(read[0].as_ref().map(|m| (m.urgency, m.expires_at)), Some((Urgency::High, minutes(60))));
    assert_eq!(read[1].as_ref().map(|m| (m.headers.len(), m.body.len())), Some((4, 4096)));
    let successor = store.append(NewMessage { topic: topic("score"), ..news(104) }).await.unwrap();
    assert_eq!(successor.replaced, Some(id(101)));
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), Limits::default()).close().await.unwrap();
    let file = dir.path().join("doorbell.db");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 1_000).unwrap();
    let before = fs::read(&file).unwrap();

    let refusal = refusal(dir.path());
    assert!(matches!(refusal, OpenError::NewerFormat { found: 1_000, .. }), "{refusal}");
    assert!(refusal.to_string().contains("has format 1000"), "{refusal}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_database_of_something_else_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("doorbell.db");
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE recipe (name TEXT)").unwrap();
    let before = fs::read(&file).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::NotAStore { .. }));
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("doorbell.db");
    fs::write(&file, "Dear diary, ".repeat(500)).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::NotAStore { .. }));
    assert_eq!(fs::read_to_string(&file).unwrap(), "Dear diary, ".repeat(500));
}

#[test]
fn a_directory_that_cannot_be_made_is_named_in_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("occupied");
    fs::write(&file, "").unwrap();
    let refusal = refusal(&file.join("store"));
    assert!(matches!(refusal, OpenError::Io { .. }));
    assert!(refusal.to_string().contains("occupied/store"), "{refusal}");
}
