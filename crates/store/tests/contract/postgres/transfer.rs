//! Moves between the engines: everything arrives, a move that is killed or loses its connections at any moment is
//! continued, and what must not be moved is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorbell_store::transfer::{Progress, Report, TransferError, export, import, known_columns};
use doorbell_store::{
    ClockReading, ClockRecord, Limits, Migration, OpenError, PostgresEngine, PostgresOptions, SqliteEngine, Store,
    Subscription,
};
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

use super::opened;
use super::server::{Databases, Server, database, shared};
use crate::bed::*;

const FORMAT_3: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/format-3.db");

fn clock() -> ClockRecord {
    let (boot, boot_id) = (Duration::from_millis(1_500), Some("run".to_owned()));
    let last = ClockReading { time: minutes(1), wall: minutes(-90), newest_wall: minutes(2), boot, boot_id };
    ClockRecord { served: Some(minutes(3)), last: Some(last) }
}

/// A store with rows of every kind, and `more` messages.
async fn filled(more: i64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Limits::default());
    populate(&store).await;
    populate_with_receipts(&store).await;
    let named = |raw, channel: &str| Subscription {
        vapid_key: Some(vec![4; 65]),
        channel: Some(channel.into()),
        ..subscription(doorbell_protocol::id::SubscriptionId::from_raw(raw), BOB)
    };
    store.create_subscription(named(41, "d9b74644-4f97")).await.unwrap();
    store.create_subscription(named(42, "é\0\u{10ffff}'\\")).await.unwrap();
    store.append(doorbell_store::NewMessage { topic: topic("t"), ..with_receipt(news(101)) }).await.unwrap();
    store.append(doorbell_store::NewMessage { body: vec![7; 1 << 20].into(), ..to_bob(102) }).await.unwrap();
    store
        .append(doorbell_store::NewMessage { headers: vec![0, 255], body: vec![].into(), ..to_bob(103) })
        .await
        .unwrap();
    for raw in 104..110 {
        store.append(with_receipt(to_bob(raw))).await.unwrap();
        store.erase(id(raw), BOB, DELIVERED, NOON).await.unwrap();
    }
    store.take_receipts(RECEIPTS, 2, NOON).await.unwrap();
    store.note_clock(clock()).await.unwrap();
    store.close().await.unwrap();
    let conn = Connection::open(dir.path().join("doorbell.db")).unwrap();
    // Taken, and the row is still there.
    conn.execute("INSERT INTO taken VALUES (?1, 3)", [RECEIPTS.raw()]).unwrap();
    let fill = "WITH RECURSIVE n(id) AS (SELECT 200000 UNION ALL SELECT id + 1 FROM n WHERE id < 200000 + ?1) \
        INSERT INTO message SELECT id, 2, 21, 1800003600000, id % 4, 600, NULL, x'00', randomblob(599), NULL FROM n";
    conn.execute(fill, [more]).unwrap();
    dir
}

/// The rows of the product's tables, without receipts that count as taken.
fn rows(dir: &Path) -> BTreeMap<String, Vec<Vec<Value>>> {
    let conn = Connection::open(dir.join("doorbell.db")).unwrap();
    let all = |text: &str| {
        let mut statement = conn.prepare(text).unwrap();
        let columns = statement.column_count();
        let read = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect();
        statement.query_map([], read).unwrap().collect::<rusqlite::Result<Vec<Vec<Value>>>>().unwrap()
    };
    let untaken = "SELECT * FROM receipt r WHERE seq > coalesce((SELECT up_to FROM taken t WHERE \
        t.receipt_subscription = r.receipt_subscription), 0) ORDER BY seq";
    let mark = "SELECT max(greatest_id, (SELECT max(id) FROM message)), greatest_seq, time, wall, newest_wall, boot, \
        boot_id, served FROM mark";
    [
        ("agent", "SELECT * FROM agent ORDER BY id"),
        ("subscription", "SELECT * FROM subscription ORDER BY id"),
        ("message", "SELECT * FROM message ORDER BY id"),
        ("receipt_subscription", "SELECT * FROM receipt_subscription ORDER BY id"),
        ("receipt", untaken),
        ("mark", mark),
    ]
    .map(|(name, text)| (name.to_owned(), all(text)))
    .into()
}

fn moved_in(dir: &Path, options: &PostgresOptions) -> Report {
    // Where the data is now is recorded before a service can open either side.
    let record = || {
        assert!(matches!(SqliteEngine::open(dir, Limits::default()), Err(OpenError::InUse { .. })));
        let held = PostgresEngine::open(options, Limits::default()).map(|_| ()).unwrap_err();
        assert!(matches!(held, OpenError::DatabaseInUse { .. }), "{held}");
        Ok(())
    };
    import(dir, options, &mut |_| {}, record).unwrap()
}

fn moved_out(options: &PostgresOptions, dir: &Path) -> Report {
    export(options, dir, &mut |_| {}, || Ok(())).unwrap()
}

fn refusal(done: Result<Report, TransferError>) -> String {
    let text = done.unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[tokio::test]
async fn everything_arrives_in_the_database_and_comes_back() {
    let Some(server) = shared() else { return };
    let (options, source) = (server.fresh(), filled(3_000).await);
    let before = (rows(source.path()), fs::read(source.path().join("doorbell.db")).unwrap());
    let report = moved_in(source.path(), &options);
    assert!(!report.was_complete && report.tables.iter().all(|table| table.is_same()), "{report:?}");
    let counts: Vec<_> = report.tables.iter().map(|table| (table.table, table.target_rows)).collect();
    let expected = [("agent", 2), ("subscription", 5), ("receipt_subscription", 2), ("receipt", 3), ("message", 3_004)];
    assert_eq!(counts[..5], expected);
    assert_eq!(fs::read(source.path().join("doorbell.db")).unwrap(), before.1, "the source is as it was");

    let target = tempfile::tempdir().unwrap();
    assert!(moved_out(&options, target.path()).tables.iter().all(|table| table.is_same()));
    assert!(rows(target.path()) == before.0, "a row differs");
    assert_eq!(fs::metadata(target.path().join("doorbell.db-wal")).map_or(0, |file| file.len()), 0, "one file");

    for store in [opened(&options, Limits::default()), open(target.path(), Limits::default())] {
        assert_eq!((store.clock(), store.greatest_id()), (&clock(), 203_000));
        assert_eq!(waiting(&store, ALICE, NOON).await, [101]);
        let found = store.subscription_of_channel(BOB, "é\0\u{10ffff}'\\".into()).await.unwrap().unwrap();
        assert_eq!((found.id.raw(), found.vapid_key), (42, Some(vec![4; 65])));
        let numbers: Vec<_> = receipts(&store, RECEIPTS).await.iter().map(|receipt| receipt.seq).collect();
        assert_eq!(numbers, [4, 5, 6]);
        store.erase(id(101), ALICE, DELIVERED, NOON).await.unwrap();
        assert_eq!(receipts(&store, RECEIPTS).await.last().map(|receipt| receipt.seq), Some(7), "numbers continue");
        store.take_receipts(RECEIPTS, 7, NOON).await.unwrap();
        assert_eq!(store.figures().contents.receipts, 0);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_killed_service_left_in_the_log_is_moved_too() {
    let Some(server) = shared() else { return };
    let (options, live, killed) = (server.fresh(), filled(0).await, tempfile::tempdir().unwrap());
    let store = open(live.path(), Limits::default());
    store.append(news(300_000)).await.unwrap();
    for file in ["doorbell.db", "doorbell.db-wal"] {
        fs::copy(live.path().join(file), killed.path().join(file)).unwrap();
    }
    store.close().await.unwrap();
    let files = || ["doorbell.db", "doorbell.db-wal"].map(|file| fs::read(killed.path().join(file)).unwrap());
    let before = files();
    assert!(!before[1].is_empty());
    moved_in(killed.path(), &options);
    assert!(files() == before, "the source is as it was");
    let store = opened(&options, Limits::default());
    assert_eq!(waiting(&store, ALICE, NOON).await, [101, 300_000]);
    store.close().await.unwrap();
}

#[test]
fn every_table_and_column_of_both_engines_is_known_to_the_moves() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    Migration::Expand.run(&options).unwrap();
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), Limits::default()));
    let in_sqlite = "SELECT group_concat(t.name || '.' || c.name) FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
        WHERE t.type = 'table'";
    let conn = Connection::open(dir.path().join("doorbell.db")).unwrap();
    let in_sqlite: String = conn.query_row(in_sqlite, [], |row| row.get(0)).unwrap();
    let in_postgres = "SELECT string_agg(table_name || '.' || column_name, ',') FROM information_schema.columns \
        WHERE table_schema = 'public'";
    let in_postgres = server.sql(database(&options), in_postgres);
    for (columns, known) in [in_sqlite, in_postgres].iter().zip(known_columns()) {
        let columns: BTreeSet<(&str, &str)> = columns.split(',').filter_map(|name| name.split_once('.')).collect();
        let is_known =
            |(table, column): &(&str, &str)| known.contains(&(table, column)) || known.contains(&(table, "*"));
        let unknown: Vec<_> = columns.iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "add to crates/store/src/transfer/table.rs: {unknown:?}");
        let is_there =
            |(table, column): &(&str, &str)| columns.iter().any(|(t, c)| t == table && (c == column || *column == "*"));
        let gone: Vec<_> = known.iter().filter(|name| !is_there(name)).collect();
        assert!(gone.is_empty(), "remove from crates/store/src/transfer/table.rs: {gone:?}");
    }
}

const DIRECTION: &str = "DOORBELL_TEST_MOVE";
const DIR: &str = "DOORBELL_TEST_MOVE_DIR";
const URL: &str = "DOORBELL_TEST_MOVE_URL";

#[test]
#[ignore = "a child of the tests below, which kill it"]
fn child_that_moves() {
    let variable = |name| std::env::var(name).unwrap();
    let (dir, options) =
        (variable(DIR), PostgresOptions { url: variable(URL), password: None, allow_single_copy: true, cluster: None });
    let mut progress = |at| println!("at {at}");
    let report = match &variable(DIRECTION)[..] {
        "import" => import(dir.as_ref(), &options, &mut progress, || Ok(())),
        _ => export(&options, dir.as_ref(), &mut progress, || Ok(())),
    };
    println!("done {}", report.unwrap().was_complete);
}

/// Starts a move in another process and kills it after so many lines of progress. Returns whether it was complete.
fn killed_after(lines: usize, direction: &str, dir: &Path, options: &PostgresOptions) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "postgres::transfer::child_that_moves", "--ignored", "--nocapture"]);
    command.env(DIRECTION, direction).env(DIR, dir).env(URL, &options.url).stdout(Stdio::piped());
    let mut child: Child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let is_progress = |line: &String| line.contains("at ") || line.contains("done ");
    let seen: Vec<_> = out.by_ref().filter(is_progress).take(lines).collect();
    child.kill().unwrap();
    let rest: Vec<_> = out.collect();
    child.wait().unwrap();
    seen.iter().chain(&rest).any(|line| line.contains("done "))
}

/// The lease of a process that was killed.
fn end_lease(server: &Server, options: &PostgresOptions) {
    server.sql(database(options), "UPDATE node SET lease_until = '-infinity'");
}

#[tokio::test]
async fn a_move_that_is_killed_at_any_moment_is_continued_by_the_next_and_its_target_is_not_served_meanwhile() {
    let Some(server) = shared() else { return };
    let (options, source) = (server.fresh(), filled(20_000).await);
    let before = rows(source.path());
    Migration::Expand.run(&options).unwrap();
    let target = tempfile::tempdir().unwrap();
    for (direction, dir) in [("import", source.path()), ("export", target.path())] {
        let (mut kills, mut unfinished) = (0, 0);
        // Each of them gets further, and each at another step.
        for lines in [1, 2, 5, 6, 7, 8, 9, 11, 13, 9, 8, 7, 6, 14, 20, 25, 30, 40, 50, 60, 60, 60, 60, usize::MAX] {
            if killed_after(lines, direction, dir, &options) {
                break;
            }
            kills += 1;
            end_lease(server, &options);
            let opened = match direction {
                "import" => Store::open_postgres(&options, Limits::default()).map(drop),
                _ => Store::open_sqlite(dir, Limits::default()).map(drop),
            };
            match opened {
                Err(OpenError::UnfinishedImport { .. } | OpenError::UnfinishedExport { .. }) => unfinished += 1,
                // Killed before it wrote anything, or after it was complete.
                Ok(()) => {}
                Err(error) => panic!("{error}"),
            }
            end_lease(server, &options);
        }
        assert!(unfinished >= 10, "{direction}: of {kills} kills only {unfinished} were in the middle");
        println!("{direction}: {kills} kills, {unfinished} of them in the middle");
        let last = match direction {
            "import" => moved_in(dir, &options),
            _ => moved_out(&options, dir),
        };
        assert!(last.was_complete && last.tables.iter().all(|table| table.is_same()), "{last:?}");
    }
    assert!(rows(target.path()) == before, "a row differs");
    opened(&options, Limits::default()).close().await.unwrap();
}

#[tokio::test]
async fn a_move_whose_connections_are_ended_all_the_time_goes_on() {
    let Some(server) = shared() else { return };
    let (options, source) = (server.fresh(), filled(20_000).await);
    let before = rows(source.path());
    Migration::Expand.run(&options).unwrap();
    let target = tempfile::tempdir().unwrap();
    let is_over = AtomicBool::new(false);
    /// Also if the test fails.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let over = Over(&is_over);
        let terminations = scope.spawn(|| {
            let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'doorbell' \
                AND datname = current_database()";
            let mut ended = 0;
            while !is_over.load(Ordering::Relaxed) {
                ended += server.sql(database(&options), end).parse::<u32>().unwrap();
                // Ever later, so that a move gets further also on a slow machine.
                let longest = (0.3 + 0.02 * f64::from(ended)).min(5.0);
                server.sql(database(&options), &format!("SELECT pg_sleep(random() * {longest})"));
            }
            ended
        });
        let mut moves = Vec::new();
        for direction in ["import", "export"] {
            // It may be ended while it is opened, when a person sees the error.
            moves.push(loop {
                let done = match direction {
                    "import" => import(source.path(), &options, &mut |_| {}, || Ok(())),
                    _ => export(&options, target.path(), &mut |_| {}, || Ok(())),
                };
                match done {
                    Ok(report) => break report,
                    Err(TransferError::Open(error)) => {
                        let text = error.to_string();
                        assert!(text.contains("57P01") || text.contains("connection closed"), "{text}");
                    }
                    Err(error) => panic!("{error}"),
                }
            });
        }
        drop(over);
        let terminations = terminations.join().unwrap();
        assert!(terminations > 2, "{terminations} connections were ended");
        println!("{terminations} connections were ended");
        assert!(moves.iter().flat_map(|report| &report.tables).all(|table| table.is_same()), "{moves:?}");
    });
    assert!(rows(target.path()) == before, "a row differs");
}

#[tokio::test]
async fn what_is_served_or_is_not_empty_or_is_of_another_version_is_refused() {
    let Some(server) = shared() else { return };
    let (options, source) = (server.fresh(), filled(0).await);
    let (other, empty) = (filled(5).await, tempfile::tempdir().unwrap());

    let serving = open(source.path(), Limits::default());
    let refused = refusal(import(source.path(), &options, &mut |_| {}, || Ok(())));
    assert!(refused.contains("in use by another process"), "{refused}");
    serving.close().await.unwrap();
    let serving = opened(&options, Limits::default());
    for refused in [
        import(source.path(), &options, &mut |_| {}, || Ok(())),
        export(&options, empty.path(), &mut |_| {}, || Ok(())),
    ] {
        let refused = refusal(refused);
        assert!(refused.contains("in use by another process of doorbell (pid"), "{refused}");
    }
    serving.close().await.unwrap();

    let refused = refusal(import(&empty.path().join("none"), &options, &mut |_| {}, || Ok(())));
    assert!(refused.contains("is no directory"), "{refused}");
    let refused = refusal(import(empty.path(), &options, &mut |_| {}, || Ok(())));
    assert!(refused.contains("holds no store"), "{refused}");
    fs::copy(FORMAT_3, empty.path().join("doorbell.db")).unwrap();
    let refused = refusal(import(empty.path(), &options, &mut |_| {}, || Ok(())));
    assert!(refused.contains("has format 3") && refused.contains("`doorbell serve` on it once"), "{refused}");
    let refused = refusal(export(&options, empty.path(), &mut |_| {}, || Ok(())));
    assert!(refused.contains("holds a store of an older version"), "{refused}");
    assert_eq!(fs::read(empty.path().join("doorbell.db")).unwrap(), fs::read(FORMAT_3).unwrap());
    let refused = refusal(export(&server.fresh(), &empty.path().join("new"), &mut |_| {}, || Ok(())));
    assert!(refused.contains("it is empty"), "{refused}");
    let foreign = server.fresh();
    server.sql(database(&foreign), "CREATE TABLE orders (id int)");
    let refused = refusal(import(source.path(), &foreign, &mut |_| {}, || Ok(())));
    assert!(refused.contains("give doorbell a database of its own"), "{refused}");

    // Complete, so the same is verified again, and another is refused.
    moved_in(source.path(), &options);
    assert!(moved_in(source.path(), &options).was_complete);
    let refused = refusal(import(other.path(), &options, &mut |_| {}, || Ok(())));
    assert!(refused.contains("is not empty"), "{refused}");
    let refused = refusal(export(&options, other.path(), &mut |_| {}, || Ok(())));
    assert!(refused.contains("is not empty"), "{refused}");
    let store = opened(&options, Limits::default());
    store.append(news(300_000)).await.unwrap();
    store.close().await.unwrap();
    let refused = refusal(import(source.path(), &options, &mut |_| {}, || Ok(())));
    assert!(refused.contains("is not empty"), "{refused}");
}

#[tokio::test]
async fn an_unfinished_move_of_another_source_is_refused_and_a_row_that_differs_is_found() {
    let Some(server) = shared() else { return };
    let (options, source, other) = (server.fresh(), filled(2_500).await, filled(5).await);
    Migration::Expand.run(&options).unwrap();
    let mut break_off = |at: Progress| assert!(at.table != "message" || at.done == 0, "as a defect would end it");
    let broken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        import(source.path(), &options, &mut break_off, || Ok(())).map(drop)
    }));
    assert!(broken.is_err());
    assert_eq!(server.sql(database(&options), "SELECT count(*) > 0 FROM message"), "t");
    let refused = refusal(import(other.path(), &options, &mut |_| {}, || Ok(())));
    assert!(refused.contains(&format!("unfinished import of {}", source.path().display())), "{refused}");
    let refused = refusal(export(&options, other.path(), &mut |_| {}, || Ok(())));
    assert!(refused.contains("run `doorbell import --from-sqlite"), "{refused}");

    let change = "UPDATE message SET body = 'x' WHERE id = (SELECT min(id) FROM message)";
    server.sql(database(&options), change);
    let refused = refusal(import(source.path(), &options, &mut |_| {}, || Ok(())));
    assert!(refused.contains("the copy differs from its source (message: source 2504 rows"), "{refused}");
    let refused = Store::open_postgres(&options, Limits::default()).map(drop).unwrap_err().to_string();
    assert!(refused.contains("unfinished import"), "{refused}");
}
