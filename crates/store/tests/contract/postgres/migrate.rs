//! Schema steps, with one of the tests' own behind the present schema: it expands while the present version serves, and
//! contracts after it.

use std::sync::atomic::{AtomicBool, Ordering};

use doorbell_store::{Limits, Migrated, Migration, OpenError, PostgresEngine};

use super::opened;
use super::server::{Databases, database, shared};
use crate::bed::*;

const FIRST: &str = include_str!("../../../src/postgres/migrations/1.sql");

const NEXT: &str = "CREATE TABLE ended (message bigint PRIMARY KEY, at bigint NOT NULL);
ALTER TABLE agent ADD COLUMN note text;
--! concurrently
CREATE INDEX CONCURRENTLY IF NOT EXISTS subscription_by_age
    ON subscription (created);
CREATE INDEX CONCURRENTLY IF NOT EXISTS ended_by_time ON ended (at);
--! contract
DROP INDEX message_by_expiry;
";

const STEPS: &[&str] = &[FIRST, NEXT];

#[tokio::test]
async fn a_step_expands_while_the_older_version_serves_and_contracts_after_it() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    let store = opened(&options, Limits::default());
    populate(&store).await;
    let is_over = AtomicBool::new(false);
    let (stored, migrated) = tokio::join!(
        async {
            let mut stored = 0;
            while !is_over.load(Ordering::Relaxed) || stored < 100 {
                store.append(to_bob(1_000 + stored)).await.unwrap();
                store.erase(id(1_000 + stored), BOB, DELIVERED, NOON).await.unwrap();
                stored += 1;
            }
            stored
        },
        async {
            let options = options.clone();
            let migrated = tokio::task::spawn_blocking(move || Migration::Expand.run_steps(&options, STEPS)).await;
            is_over.store(true, Ordering::Relaxed);
            migrated.unwrap().unwrap()
        },
    );
    assert_eq!(migrated, Migrated { from: 1, to: 2, oldest: 1 });
    println!("{stored} messages were stored and delivered meanwhile");
    let indexes = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE indisvalid AND relname \
        IN ('subscription_by_age', 'ended_by_time', 'message_by_expiry')";
    assert_eq!(server.sql(database(&options), indexes), "3");

    let refused = Migration::Contract.run_steps(&options, STEPS).unwrap_err().to_string();
    assert!(refused.contains("a program of an older schema uses it (pid"), "{refused}");
    store.append(to_bob(1)).await.unwrap();
    store.close().await.unwrap();
    opened(&options, Limits::default()).close().await.unwrap();

    let contracted = Migration::Contract.run_steps(&options, STEPS).unwrap();
    assert_eq!(contracted, Migrated { from: 2, to: 2, oldest: 2 });
    assert_eq!(server.sql(database(&options), indexes), "2");
    match PostgresEngine::open(&options, Limits::default()).map(drop) {
        Err(error @ OpenError::NewerSchema { found: 2, known: 1, .. }) => {
            assert!(error.to_string().contains("doorbell migrate --contract"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    for migration in [Migration::Expand, Migration::Contract] {
        assert_eq!(migration.run_steps(&options, STEPS).unwrap(), Migrated { from: 2, to: 2, oldest: 2 });
        assert!(matches!(migration.run(&options), Err(OpenError::NewerSchema { .. })));
    }
}

#[tokio::test]
async fn a_process_that_was_stopped_before_the_contraction_cannot_write_after_it() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    let store = opened(&options, Limits::default());
    populate(&store).await;
    Migration::Expand.run_steps(&options, STEPS).unwrap();
    // As if it had been stopped: its lease ends and is not renewed.
    loop {
        server.sql(database(&options), "UPDATE node SET lease_until = '-infinity'");
        match Migration::Contract.run_steps(&options, STEPS) {
            Ok(_) => break,
            Err(error) => assert!(error.to_string().contains("a program of an older schema"), "{error}"),
        }
    }
    assert!(store.append(news(101)).await.is_err());
    assert_eq!(server.sql(database(&options), "SELECT count(*) FROM message"), "0");
}

#[test]
fn a_step_that_was_interrupted_is_continued() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    drop(PostgresEngine::open(&options, Limits::default()).unwrap());
    let failing = NEXT.replace("ON subscription (created)", "ON subscription (missing)");
    let error = Migration::Expand.run_steps(&options, &[FIRST, &failing]).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    let state = "SELECT schema || ' ' || expanded FROM cluster";
    assert_eq!(server.sql(database(&options), state), "1 2");
    drop(PostgresEngine::open(&options, Limits::default()).unwrap());

    // An index that was left invalid has the name, and is made again.
    server.sql(database(&options), "CREATE INDEX subscription_by_age ON subscription (created)");
    let spoil = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'subscription_by_age'::regclass";
    server.sql(database(&options), spoil);
    assert_eq!(Migration::Expand.run_steps(&options, STEPS).unwrap(), Migrated { from: 1, to: 2, oldest: 1 });
    let valid = "SELECT bool_and(indisvalid) FROM pg_index";
    assert_eq!(server.sql(database(&options), valid), "t");

    // An expansion that fails leaves nothing.
    let broken = "CREATE TABLE third (id int);\nSELECT 1 / 0;\n";
    assert!(Migration::Expand.run_steps(&options, &[FIRST, NEXT, broken]).is_err());
    assert_eq!(server.sql(database(&options), "SELECT to_regclass('third') IS NULL"), "t");
}

#[test]
fn an_empty_database_gets_the_tables_of_all_steps_and_an_older_schema_names_the_command() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    assert_eq!(Migration::Expand.run(&options).unwrap(), Migrated { from: 1, to: 1, oldest: 1 });
    drop(PostgresEngine::open(&options, Limits::default()).unwrap());
    server.sql(database(&options), "UPDATE cluster SET schema = 0, schema_min = 0");
    match PostgresEngine::open(&options, Limits::default()).map(drop) {
        Err(error @ OpenError::OlderSchema { found: 0, known: 1, .. }) => {
            assert!(error.to_string().contains("doorbell migrate --database"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let all = server.fresh();
    assert_eq!(Migration::Expand.run_steps(&all, STEPS).unwrap(), Migrated { from: 2, to: 2, oldest: 2 });
    let unfinished = Migration::Contract.run_steps(&server.fresh(), &[]);
    assert!(unfinished.is_err(), "a version without a step knows no table");

    let foreign = server.fresh();
    server.sql(database(&foreign), "CREATE TABLE orders (id int)");
    let refused = Migration::Expand.run(&foreign).unwrap_err().to_string();
    assert!(refused.contains("give doorbell a database of its own"), "{refused}");
}

#[test]
fn a_table_that_is_held_for_a_moment_delays_a_step() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    drop(PostgresEngine::open(&options, Limits::default()).unwrap());
    std::thread::scope(|scope| {
        let hold = "BEGIN; LOCK TABLE agent IN ACCESS SHARE MODE; SELECT pg_sleep(2); COMMIT";
        scope.spawn(|| server.sql(database(&options), hold));
        let is_held = "SELECT count(*) FROM pg_locks WHERE relation = 'agent'::regclass AND mode = 'AccessShareLock'";
        while server.sql(database(&options), is_held) == "0" {}
        assert_eq!(Migration::Expand.run_steps(&options, STEPS).unwrap().to, 2);
    });
}
