//! Files: older formats are brought up to date. Foreign files are refused and stay unchanged.

use std::fs;
use std::path::Path;
use std::time::Duration;

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::id::{AgentId, MessageId, Mint, SubscriptionId};
use doorbell_protocol::receipt::Outcome;
use doorbell_protocol::time::UnixMs;
use doorbell_store::{
    ClockReading, ClockRecord, IdleBounds, IdleRemoved, Limits, NewMessage, OpenError, Receipt, Store, StoreError,
    Subscription, UnusedBounds,
};
use rusqlite::Connection;

use crate::bed::*;

const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/format-1.db");
const FORMAT_2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/format-2.db");
const FORMAT_3: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/format-3.db");
const FORMAT_4: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/format-4.db");
const STEP_TO_FORMAT_4: &str = include_str!("../../src/sqlite/migrations/4.sql");

fn refusal(dir: &Path) -> OpenError {
    Store::open_sqlite(dir, Limits::default()).map(|_| ()).unwrap_err()
}

/// A store on a copy of a sample file.
fn open_copy(file: &str) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(file, dir.path().join("doorbell.db")).unwrap();
    let store = open(dir.path(), Limits::default());
    (dir, store)
}

/// A copy of the sample of format 3, changed by `change` and brought to format 4 while the wall clock shows `wall`.
fn step_to_format_4(change: &str, wall: UnixMs) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("doorbell.db");
    fs::copy(FORMAT_3, &file).unwrap();
    let mut conn = Connection::open(file).unwrap();
    conn.execute_batch(change).unwrap();
    let step = STEP_TO_FORMAT_4.replace("unixepoch()", &wall.as_secs().to_string());
    assert!(!step.contains("unixepoch("), "the test sets each clock of the step");
    let transaction = conn.transaction().unwrap();
    transaction.execute_batch(&step).unwrap();
    transaction.pragma_update(None, "user_version", 4).unwrap();
    transaction.commit().unwrap();
    dir
}

/// What the sample files hold, each written with the version that introduced its format. This is the part that format
/// 1 can hold.
async fn write_sample_of_format_1(store: &Store) {
    populate(store).await;
    let restricted = Subscription { vapid_key: Some(vec![4; 65]), ..subscription(SAMPLE, BOB) };
    store.create_subscription(restricted).await.unwrap();
    store.append(NewMessage { topic: topic("score"), urgency: Urgency::High, ..news(101) }).await.unwrap();
    store.append(NewMessage { headers: vec![0, 0, 1, b'x'], body: vec![9; 4096].into(), ..to_bob(102) }).await.unwrap();
    store.append(news(103)).await.unwrap();
    store.erase(id(103), ALICE, DELIVERED, NOON).await.unwrap();
}

/// What format 2 added: 201 waits and wants a receipt, of three receipts the first was taken, Bob was seen later, and
/// one receipt subscription is gone.
async fn write_sample_of_format_2(store: &Store) {
    populate_with_receipts(store).await;
    store.append(NewMessage { expires_at: minutes(30), ..with_receipt(chat(201)) }).await.unwrap();
    store.append(with_receipt(chat(202))).await.unwrap();
    store.erase(id(202), ALICE, DELIVERED, minutes(1)).await.unwrap();
    store.append(with_receipt(chat(203))).await.unwrap();
    store.erase(id(203), ALICE, Outcome::Undecryptable, minutes(2)).await.unwrap();
    store.add_receipt(RECEIPTS, id(204), BOB, Outcome::Dropped, minutes(3)).await.unwrap();
    store.take_receipts(RECEIPTS, 1, minutes(4)).await.unwrap();
    store.delete_receipt_subscription(OTHER_RECEIPTS).await.unwrap();
    store.touch(BOB, minutes(2 * 24 * 60)).await.unwrap();
}

/// What format 3 added: a subscription with a channel.
async fn write_sample_of_format_3(store: &Store) {
    store.create_subscription(with_a_channel()).await.unwrap();
}

fn with_a_channel() -> Subscription {
    Subscription { channel: Some(CHANNEL.to_owned()), ..subscription(SubscriptionId::from_raw(301), BOB) }
}

const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";

/// What the samples have in common.
async fn holds_the_sample_of_format_1(store: &Store) {
    assert_eq!(waiting(store, BOB, NOON).await, [102]);
    let restricted = store.subscription(ALICE, SAMPLE).await.unwrap().unwrap();
    assert_eq!((restricted.agent, restricted.vapid_key, restricted.created), (BOB, Some(vec![4; 65]), NOON));
    let read = store.messages(ALICE, vec![id(101), id(102)], NOON).await.unwrap();
    assert_eq!(stored(&read[0]).map(|m| (m.urgency, m.expires_at)), Some((Urgency::High, minutes(60))));
    assert_eq!(stored(&read[1]).map(|m| (m.headers.len(), m.body.len())), Some((4, 4096)));
    let successor = store.append(NewMessage { topic: topic("score"), ..news(304) }).await.unwrap();
    assert_eq!(successor.replaced, Some(id(101)));
}

const SAMPLE: SubscriptionId = SubscriptionId::from_raw(22);

#[tokio::test]
#[ignore = "writes the file for a new format, once: DOORBELL_SAMPLE=DIR cargo test -p doorbell-store -- --ignored sample"]
async fn write_a_sample_of_the_present_format() {
    let dir = std::env::var_os("DOORBELL_SAMPLE").expect("DOORBELL_SAMPLE names the directory to write to");
    let store = open(Path::new(&dir), Limits::default());
    write_sample_of_format_1(&store).await;
    write_sample_of_format_2(&store).await;
    write_sample_of_format_3(&store).await;
    write_sample_of_format_4(&store).await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_file_of_format_1_opens_with_all_its_rows_and_supports_all_that_is_new() {
    let (_dir, store) = open_copy(FORMAT_1);
    assert_eq!(store.greatest_id(), 103);
    assert_eq!(waiting(&store, ALICE, NOON).await, [101]);
    holds_the_sample_of_format_1(&store).await;

    populate_with_receipts(&store).await;
    store.append(with_receipt(news(305))).await.unwrap();
    store.erase(id(305), ALICE, DELIVERED, NOON).await.unwrap();
    assert_eq!(receipts(&store, RECEIPTS).await[0].seq, 1);
}

#[tokio::test]
async fn no_agent_counts_as_idle_for_the_time_before_format_2() {
    let (_dir, store) = open_copy(FORMAT_1);
    let idle = |now| IdleBounds {
        now,
        served: now,
        agents_before: now,
        receipt_subscriptions_before: now,
        max: 10,
        keep: Vec::new(),
    };
    assert_eq!(store.expire_idle(idle(NOON)).await, Ok(IdleRemoved::default()));
    let far = minutes(100 * 365 * 24 * 60);
    assert_eq!(store.expire_idle(idle(far)).await.unwrap().agents, [ALICE, BOB]);
}

#[tokio::test]
async fn a_file_of_format_2_opens_with_all_its_rows() {
    let (_dir, store) = open_copy(FORMAT_2);
    assert_eq!(store.greatest_id(), 204);
    assert_eq!(waiting(&store, ALICE, NOON).await, [101, 201]);
    holds_the_sample_of_format_1(&store).await;

    let found: Vec<_> = receipts(&store, RECEIPTS).await;
    let second =
        Receipt { seq: 2, cell: 0, message: id(203), agent: ALICE, outcome: Outcome::Undecryptable, at: minutes(2) };
    let third = Receipt { seq: 3, cell: 0, message: id(204), agent: BOB, outcome: Outcome::Dropped, at: minutes(3) };
    assert_eq!(found, [second, third]);
    assert_eq!(store.receipt_subscription_exists(OTHER_RECEIPTS).await, Ok(false));

    assert_eq!(store.sweep(minutes(30), 10).await.unwrap().receipts, [RECEIPTS]);
    let fourth =
        Receipt { seq: 4, cell: 0, message: id(201), agent: ALICE, outcome: Outcome::Expired, at: minutes(30) };
    assert_eq!(receipts(&store, RECEIPTS).await.last(), Some(&fourth));
    let agents_before = minutes(2 * 24 * 60);
    let idle = IdleBounds {
        now: agents_before,
        served: agents_before,
        agents_before,
        receipt_subscriptions_before: NOON,
        max: 10,
        keep: Vec::new(),
    };
    let gone = IdleRemoved { agents: vec![ALICE], ..IdleRemoved::default() };
    assert_eq!(store.expire_idle(idle).await, Ok(gone), "Bob was seen at that moment");
}

#[tokio::test]
async fn a_file_of_format_2_supports_what_format_3_added() {
    let (_dir, store) = open_copy(FORMAT_2);
    assert_eq!(store.subscription_of_channel(BOB, CHANNEL.to_owned()).await, Ok(None));
    store.create_subscription(with_a_channel()).await.unwrap();
    assert_eq!(store.subscription_of_channel(BOB, CHANNEL.to_owned()).await, Ok(Some(with_a_channel())));
}

#[tokio::test]
async fn a_file_of_format_3_opens_with_all_its_rows() {
    let (_dir, store) = open_copy(FORMAT_3);
    assert_eq!(store.greatest_id(), 301);
    assert_eq!(waiting(&store, ALICE, NOON).await, [101, 201]);
    assert_eq!(store.subscription_of_channel(BOB, CHANNEL.to_owned()).await, Ok(Some(with_a_channel())));
    holds_the_sample_of_format_1(&store).await;
}

/// What format 4 added: the clock.
async fn write_sample_of_format_4(store: &Store) {
    store.note_clock(a_clock()).await.unwrap();
}

fn a_clock() -> ClockRecord {
    let (boot, boot_id) = (Duration::from_millis(90_001), Some("3f2c".to_owned()));
    let last = ClockReading { time: minutes(5), wall: minutes(6), newest_wall: minutes(7), boot, boot_id };
    ClockRecord { served: Some(minutes(4)), last: Some(last) }
}

#[tokio::test]
async fn a_file_of_format_4_opens_with_all_its_rows_and_the_clock() {
    let (_dir, store) = open_copy(FORMAT_4);
    assert_eq!(store.clock(), &a_clock());
    assert_eq!(store.subscription_of_channel(BOB, CHANNEL.to_owned()).await, Ok(Some(with_a_channel())));
    holds_the_sample_of_format_1(&store).await;
}

#[tokio::test]
async fn the_step_to_format_4_ages_no_one() {
    let last_seen = |file: &str| -> i64 {
        let read = "SELECT max(last_seen) FROM agent";
        Connection::open(file).unwrap().query_row(read, [], |row| row.get(0)).unwrap()
    };
    for file in [FORMAT_2, FORMAT_3] {
        let (_dir, store) = open_copy(file);
        let clock = store.clock();
        let served = clock.served.expect("the time of service has begun");
        assert!(served.as_millis() <= last_seen(file), "{file}: the last agent that was seen has no age");
        assert_eq!(clock.last, None);
    }
}

/// PS-8030-5.2-7
#[tokio::test]
async fn a_message_keeps_its_ttl_in_the_step_to_format_4_if_ids_are_ahead_of_the_wall_clock_ps_8030_5_2_7() {
    const AHEAD_DAYS: i64 = 100;
    let ahead = minutes(AHEAD_DAYS * 24 * 60);
    let greatest_id = Mint::new(7, 0).next(ahead);
    let in_mark = format!("UPDATE mark SET greatest_id = {greatest_id}");
    let in_a_message = format!("UPDATE message SET id = {greatest_id} WHERE id = 101");
    for change in [in_mark, in_a_message] {
        let dir = step_to_format_4(&change, NOON);
        let store = open(dir.path(), Limits::default());
        assert_eq!(MessageId::from_raw(store.greatest_id()).minted_at(), ahead, "the service continues here");
        let on_the_new_line = |n| minutes(AHEAD_DAYS * 24 * 60 + n);
        assert_eq!(receipts(&store, RECEIPTS).await[0].at, on_the_new_line(2));
        let waiting_at =
            async |moment| (waiting(&store, ALICE, moment).await.len(), waiting(&store, BOB, moment).await);
        store.sweep(ahead, 10).await.unwrap();
        assert_eq!(waiting_at(ahead).await, (2, vec![102]));
        assert_eq!(waiting_at(on_the_new_line(30)).await, (1, vec![102]), "201 had 30 minutes");
        assert_eq!(waiting_at(on_the_new_line(60)).await, (0, vec![]));
    }
}

#[tokio::test]
async fn the_step_to_format_4_moves_no_expiry_if_ids_are_not_ahead_or_the_wall_clock_shows_nothing() {
    let at_noon = format!("UPDATE mark SET greatest_id = {}", Mint::new(7, 0).next(NOON));
    for (change, wall) in [("", NOON), (&at_noon, NOON), (&at_noon, minutes(60)), (&at_noon, UnixMs::default())] {
        let dir = step_to_format_4(change, wall);
        let store = open(dir.path(), Limits::default());
        assert_eq!(waiting(&store, ALICE, minutes(30)).await, [101], "{wall:?}");
        assert!(waiting(&store, BOB, minutes(60)).await.is_empty(), "{wall:?}");
        assert_eq!(receipts(&store, RECEIPTS).await[0].at, minutes(2), "{wall:?}");
    }
}

#[tokio::test]
async fn agents_age_after_the_step_to_format_4_though_the_wall_clock_showed_1970() {
    let released = UnixMs::from_secs(1_788_220_800);
    for (wall, served) in [(UnixMs::default(), released), (released.plus(DAY), released.plus(DAY)), (FAR, SEEN)] {
        let dir = step_to_format_4("", wall);
        let store = open(dir.path(), Limits::default());
        assert_eq!(store.clock().served, Some(served), "{wall:?}");
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// When the last agent of the sample was seen.
const SEEN: UnixMs = minutes(2 * 24 * 60);
const FAR: UnixMs = minutes(100 * 365 * 24 * 60);

#[tokio::test]
async fn the_agents_of_format_3_count_as_used_and_none_of_them_goes_because_the_store_is_crowded() {
    let limits = Limits { unused_agents_max: 1, agents_max: 3, ..Limits::default() };
    let dir = tempfile::tempdir().unwrap();
    fs::copy(FORMAT_3, dir.path().join("doorbell.db")).unwrap();
    let store = open(dir.path(), limits);
    let later = UnixMs::from_millis(i64::MAX / 2);
    let bounds = UnusedBounds {
        now: later,
        empty_agents_before: later,
        unused_agents_before: later,
        unused_receipt_subscriptions_before: later,
        max: 32,
    };
    assert_eq!(store.expire_unused(bounds).await.unwrap(), IdleRemoved::default());
    let new = AgentId::from_raw(400);
    store.create_agent(new, NOON).await.unwrap();
    assert_eq!(store.create_agent(AgentId::from_raw(401), NOON).await, Err(StoreError::StoreFull));
    assert_eq!(store.expire_unused(bounds).await.unwrap().agents, [new]);
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
fn a_directory_that_cannot_be_created_is_named_in_the_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("occupied");
    fs::write(&file, "").unwrap();
    let refusal = refusal(&file.join("store"));
    assert!(matches!(refusal, OpenError::Io { .. }));
    assert!(refusal.to_string().contains("occupied/store"), "{refusal}");
}
