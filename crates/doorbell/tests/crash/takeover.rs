//! Two services and one database: the second is refused while the first lives, and when the first was stopped and the
//! second has taken over, the first writes nothing more.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use doorbell_postgres_server::Server;
use http::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::SENDERS;
use crate::network::Network;
use crate::support::clock::Deadline;
use crate::support::process::Running;
use crate::support::service::doorbell;
use crate::support::{Peer, Service};

/// How many messages are accepted before the service is stopped.
const ENOUGH: usize = 500;

/// How the senders were answered.
#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    /// Answered with an error, or not.
    failed: AtomicUsize,
    enough: Notify,
}

/// The files of a service, on another machine.
fn copy_of(service: &Service) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let ca = service.ca();
    for entry in fs::read_dir(ca.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    copy
}

fn another(state: &Path, database: &str) -> Command {
    let mut command = doorbell("serve");
    command.args(["--listen", "127.0.0.1:0", "--database", database, "--allow-single-copy", "--state-dir"]).arg(state);
    command
}

fn signal(service: &Service, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(service.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// What is stored, as far as only senders and agents change it.
fn rows(server: &Server, database: &str) -> String {
    let rows = "SELECT (SELECT count(*) FROM message), (SELECT coalesce(max(id), 0) FROM message), \
        (SELECT count(*) FROM subscription)";
    server.sql(database, rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_service_is_refused_and_one_that_was_stopped_writes_nothing_after_a_takeover() {
    let Some(server) = doorbell_postgres_server::shared() else { return };
    let database = server.create_database();
    let url = server.url(&database);
    let settings = ["--rate-per-subscription", "0", "--database", &url, "--allow-single-copy"];
    let mut first = Service::start_with(&settings);
    let state = copy_of(&first);

    let mut refused = Running::start(&mut another(state.path(), &url));
    assert!(!refused.exit(|_| {}).success(), "{}", refused.output());
    refused.prints(&format!("pid {}", first.id()));

    let network = Network::of(&first);
    let counts = Arc::new(Counts::default());
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let peer = network.connect().await.expect("the service is up");
        let push = peer.subscribe().await.push;
        senders.spawn(send(peer, push, Arc::clone(&counts)));
    }
    tokio::time::timeout(Deadline::soon().left(), counts.enough.notified()).await.expect("messages are accepted");
    signal(&first, Signal::STOP);
    let second = Running::start(&mut another(state.path(), &url));
    second.prints("listening on");
    let before = rows(server, &database);
    signal(&first, Signal::CONT);
    assert!(!first.fails().success(), "{}", first.output());
    while senders.join_next().await.is_some() {}
    assert_eq!(rows(server, &database), before, "what the first has written after its end");
    let (accepted, failed) = (counts.accepted.load(Ordering::Relaxed), counts.failed.load(Ordering::Relaxed));
    let stored: usize = server.sql(&database, "SELECT count(*) FROM message").parse().unwrap();
    assert!(accepted <= stored, "{accepted} accepted, {stored} stored");
    writeln!(
        std::io::stderr(),
        "takeover: {accepted} accepted, all of them stored; the stopped service wrote 0 rows, {failed} writes refused"
    )
    .ok();
    assert!(failed > 0, "the stopped service had nothing to write");
}

/// Sends one message after another until the service is gone.
async fn send(peer: Peer, push: String, counts: Arc<Counts>) {
    loop {
        let reply = peer.request(Method::POST, &push, &[("ttl", "3600")], b"news").await;
        if reply.as_ref().is_ok_and(|reply| reply.status == StatusCode::CREATED) {
            if counts.accepted.fetch_add(1, Ordering::Relaxed) == ENOUGH {
                counts.enough.notify_one();
            }
        } else {
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        if reply.is_err() {
            return;
        }
    }
}
