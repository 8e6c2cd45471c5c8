//! Crashes: a child process is killed during its work, and all writes that it acknowledged must be there.

pub(crate) mod child;
mod receipts;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use doorbell_protocol::id::MessageId;
use doorbell_store::{Limits, OpenError, Store};

use crate::bed::*;
use child::{AGENTS, Report, agent, limits, topics_of};

const ROUNDS: usize = 8;

/// This test's binary again, to run the test called `child` in `dir`.
pub(crate) fn spawn(child: &str, dir: impl AsRef<OsStr>) -> Child {
    let exe = std::env::current_exe().unwrap();
    let mut command = Command::new(exe);
    command.args(["--exact", child, "--ignored", "--nocapture"]).env(child::DIR, dir.as_ref());
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Reads what the child reports: `kill_after` reports, then what was still on its way when it was killed.
pub(crate) fn reports(child: &mut Child, kill_after: usize) -> Vec<Report> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut reports = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        // The kill cut a line without its end.
        if line.ends_with('\n') {
            reports.extend(Report::parse(&line));
        }
        line.clear();
        if reports.len() == kill_after {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    reports
}

/// How many reports to let pass before the kill, different in each round.
pub(crate) fn moment_of(round: usize) -> usize {
    let seed = u64::from(std::process::id()) ^ (round as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    100 + usize::try_from((seed ^ (seed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 54).unwrap() * 2
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_afterwards_ps_8030_5_2_and_5_4_8_and_6_2_6_and_6_3_6() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut child = spawn("crash::child::child_that_writes", dir.path());
        let moment = moment_of(round);
        let new = reports(&mut child, moment);
        assert!(new.len() >= moment, "round {round}: the child ended by itself after {} reports", new.len());
        acknowledged.extend(new);
        let losses = losses(&open(dir.path(), limits()), &acknowledged).await;
        assert!(losses.is_empty(), "round {round}: {losses:#?}");
    }
    println!("{ROUNDS} kills, {} acknowledged writes, none lost", acknowledged.len());
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_there_afterwards_in_each_cell_and_so_is_the_receipt_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let mut child = spawn("crash::child::child_that_writes_to_cells", dir.path());
        let moment = moment_of(round);
        let new = reports(&mut child, moment);
        assert!(new.len() >= moment, "round {round}: the child ended by itself after {} reports", new.len());
        acknowledged.extend(new);
        let losses = losses(&child::open_cells(dir.path()), &acknowledged).await;
        assert!(losses.is_empty(), "round {round}: {losses:#?}");
    }
    let cells: std::collections::HashSet<_> = acknowledged.iter().filter_map(Report::cell).collect();
    assert_eq!(cells.len(), 2, "receipts were read from both cells");
    println!("{ROUNDS} kills, {} acknowledged writes, none lost", acknowledged.len());
}

/// Compares the child's store with the child's reports. Returns what is missing, in words.
pub(crate) async fn losses(store: &Store, acknowledged: &[Report]) -> Vec<String> {
    let mut losses = Vec::new();
    let mut last_of_topic = HashMap::new();
    for report in acknowledged {
        match *report {
            Report::Kept { id } if !is_there(store, id).await => losses.push(format!("{id:?} was stored and is lost")),
            Report::Ended { id, outcome } if is_there(store, id).await => {
                losses.push(format!("{id:?} was {} and is back", outcome.as_str()));
            }
            Report::OnTopic { id, subscription } => {
                let last = last_of_topic.entry(subscription).or_insert(id);
                *last = id.max(*last);
            }
            _ => {}
        }
    }
    for n in 0..AGENTS {
        let Some(last) = last_of_topic.get(&topics_of(n)) else { continue };
        let survivors = survivors(store, n).await;
        if survivors.len() != 1 || survivors[0] < *last {
            losses.push(format!("{last:?} was the last of its topic, and there is {survivors:?}"));
        }
    }
    receipts::check(store, acknowledged, &mut losses).await;
    store.close().await.unwrap();
    losses
}

/// What waits for the agent `n` on its subscription with a topic.
async fn survivors(store: &Store, n: i64) -> Vec<MessageId> {
    let (mut survivors, mut after) = (Vec::new(), None);
    loop {
        let page = store.pending(agent(n), after, 1_000, NOON).await.unwrap();
        let on_topic = page.entries.iter().filter(|entry| entry.subscription == topics_of(n));
        survivors.extend(on_topic.map(|entry| entry.id));
        after = page.entries.last().map(|entry| entry.id);
        if !page.more {
            return survivors;
        }
    }
}

/// Whether a message is in any cell: the first agents are in all of them.
async fn is_there(store: &Store, id: MessageId) -> bool {
    for n in 0..4 {
        if stored(&store.messages(agent(n), vec![id], NOON).await.unwrap()[0]).is_some() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn the_test_above_notices_an_engine_that_acknowledges_too_early() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn("crash::child::child_with_an_engine_that_answers_early", dir.path());
    let acknowledged = reports(&mut child, 1_000);
    let losses = losses(&open(dir.path(), limits()), &acknowledged).await;
    for kind in ["was stored and is lost", "was the last of its topic", "the receipt of"] {
        assert!(losses.iter().any(|loss| loss.contains(kind)), "{kind}: {losses:#?}");
    }
}

#[test]
fn a_second_process_gets_the_pid_of_the_first_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn("crash::child::child_that_writes", dir.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| Report::parse(&line.unwrap()).is_some()), "the child never began");

    let refusal = Store::open_sqlite(dir.path(), Limits::default()).map(|_| ()).unwrap_err();
    assert!(matches!(refusal, OpenError::InUse { pid: Some(pid), .. } if pid == child.id()), "{refusal}");
    let text = refusal.to_string();
    assert!(text.contains(&format!("(pid {})", child.id())) && text.contains("stop that one first"), "{text}");

    child.kill().unwrap();
    child.wait().unwrap();
    open(dir.path(), limits());
}

/// A limit on the size of files makes the log's write fail in the middle of a commit, as a failing disk would.
#[tokio::test]
async fn a_commit_that_the_disk_refuses_is_never_answered_ok_and_stops_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let exe = std::env::current_exe().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 6000; exec "$0" "$@""#])
        .arg(exe)
        .args(["--exact", "crash::child::child_on_a_failing_disk", "--ignored", "--nocapture"])
        .env(child::DIR, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let acknowledged = reports(&mut child, usize::MAX);
    assert!(child.wait().unwrap().success(), "the child did not see a store that stops");
    assert!(!acknowledged.is_empty());
    let losses = losses(&open(dir.path(), limits()), &acknowledged).await;
    assert!(losses.is_empty(), "{losses:#?}");
}
