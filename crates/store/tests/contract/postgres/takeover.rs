//! Two processes and one database: the second is refused while the first lives, and what the first writes after the
//! second has taken over does not arrive.

use std::io::{BufRead, BufReader};
use std::process::Child;

use doorbell_store::{Limits, OpenError, PostgresEngine};
use rustix::process::{Pid, Signal, kill_process};

use super::server::{Databases, database, shared};
use super::{opened, reopen};
use crate::bed::*;
use crate::crash::child::{Report, limits};
use crate::crash::{losses, moment_of, reports, spawn};

const CHILD: &str = "crash::child::child_that_writes_to_a_database";
const KILLS: usize = 3;

#[tokio::test]
async fn a_second_process_is_refused_while_the_first_lives_even_if_it_writes_nothing() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    let first = opened(&options, Limits::default());
    populate(&first).await;
    match PostgresEngine::open(&options, Limits::default()).map(drop) {
        Err(error @ OpenError::DatabaseInUse { .. }) => {
            assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
        }
        other => panic!("{other:?}"),
    }
    first.append(news(101)).await.unwrap();
    let second = reopen(&options, first, Limits::default()).await;
    assert_eq!(waiting(&second, ALICE, NOON).await, [101]);
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn a_process_that_was_stopped_cannot_write_a_row_after_another_has_taken_over() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    let mut child = spawn(CHILD, &options.url);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged: Vec<_> =
        lines.by_ref().map_while(Result::ok).filter_map(|line| Report::parse(&line)).take(500).collect();
    signal(&child, Signal::STOP);
    let second = opened(&options, limits());
    let rows = "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM receipt), (SELECT max(seq) FROM receipt), \
        (SELECT count(*) FROM subscription), (SELECT sum(untaken) FROM receipt_subscription)";
    let before = server.sql(database(&options), rows);
    signal(&child, Signal::CONT);

    // More than a pipe holds: so much comes only from a child that goes on.
    let rest: Vec<_> = lines.map_while(Result::ok).take(20_000).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(server.sql(database(&options), rows), before, "a row of an ended life");
    let refused = rest.iter().find_map(|line| line.strip_prefix("over ")).expect("the child has ended by itself");
    acknowledged.extend(rest.iter().filter_map(|line| Report::parse(line)));
    let lost = losses(&second, &acknowledged).await;
    assert!(lost.is_empty(), "{lost:#?}");
    println!(
        "{} acknowledged before, 0 rows after; writes that failed, and whether all certainly: {refused}",
        acknowledged.len()
    );
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_afterwards() {
    let Some(server) = shared() else { return };
    let options = server.fresh();
    let mut acknowledged = Vec::new();
    for round in 0..KILLS {
        let mut child = spawn(CHILD, &options.url);
        let moment = moment_of(round);
        let new = reports(&mut child, moment);
        assert!(new.len() >= moment, "round {round}: the child ended by itself after {} reports", new.len());
        acknowledged.extend(new);
        let store = opened(&options, limits());
        let losses = losses(&store, &acknowledged).await;
        store.close().await.unwrap();
        assert!(losses.is_empty(), "round {round}: {losses:#?}");
    }
    println!("{KILLS} kills, {} acknowledged writes, none lost", acknowledged.len());
}
