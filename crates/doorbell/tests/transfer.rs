//! A service that moves to PostgreSQL and back: every door's agents get what was stored, and their endpoints work.

#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "clock/doors.rs"]
mod doors;
mod support;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use doorbell_postgres_server::shared;
use doors::{Agent, Door, wrapped};
use http::{Method, StatusCode};
use support::service::doorbell;
use support::{Peer, Service};

const DEADLINE: Duration = Duration::from_secs(120);

async fn send(service: &Service, agent: &Agent, text: &str) {
    let peer = Peer::connect_plain(&service.authority()).await.unwrap();
    let headers = [("ttl", "3600"), ("content-encoding", "aes128gcm")];
    let answer = peer.request(Method::POST, &agent.push, &headers, &wrapped(text)).await.unwrap();
    assert_eq!(answer.status, StatusCode::CREATED, "{agent:?}");
}

/// Each of them gets these messages, which were sent to it.
async fn all_receive(service: &Service, agents: &[Agent], texts: &[&str]) {
    for agent in agents {
        let missing: HashSet<String> = texts.iter().map(|&text| text.to_owned()).collect();
        let received = tokio::time::timeout(DEADLINE, agent.receives(&service.authority(), missing)).await;
        assert!(received.is_ok_and(|missing| missing.is_empty()), "{agent:?} did not get {texts:?}");
    }
}

fn run(command: &mut Command) -> Output {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORBELL_")) {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// Runs a verb that succeeds, and returns what it printed.
fn done(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a verb that fails, and returns its one line.
fn refused(command: &mut Command) -> String {
    let output = run(command);
    assert!(!output.status.success(), "{command:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.trim().lines().count(), 1, "{text}");
    text
}

fn import(dir: &Path, url: &str) -> Command {
    let mut command = doorbell("import");
    command.arg("--from-sqlite").arg(dir).args(["--allow-single-copy", "--database", url]);
    command
}

fn export(dir: &Path, url: &str, state: &Path) -> Command {
    let mut command = doorbell("export");
    command.arg("--to-sqlite").arg(dir).args(["--database", url, "--state-dir"]).arg(state);
    command
}

fn serve(dir: &Path) -> Command {
    let mut command = doorbell("serve");
    command.args(["--plain", "--listen", "127.0.0.1:0", "--state-dir"]).arg(dir);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_of_every_door_keep_their_messages_and_endpoints_in_a_move_to_a_database_and_back() {
    let Some(server) = shared() else { return };
    let url = server.url(&server.create_database());
    let mut service = Service::start_with(&["--plain", "--drain-timeout-secs=1", "--ack-timeout-secs=2"]);
    let mut agents = Vec::new();
    for door in Door::ALL {
        let agent = Agent::subscribe(door, &service.authority()).await;
        send(&service, &agent, "stored in the directory").await;
        agents.push(agent);
    }
    let state = service.state().to_owned();
    let in_use = refused(&mut import(&state, &url));
    assert!(in_use.contains("is in use by another process"), "{in_use}");
    service.ends();

    let printed = done(&mut import(&state, &url));
    let rows = |side: &str| printed.lines().filter(|line| line.contains(side) && line.contains("SHA-256")).count();
    assert_eq!((rows("source"), rows("target")), (6, 6), "{printed}");
    assert!(printed.lines().any(|line| line.starts_with("message ") && line.contains(" 3 rows")), "{printed}");
    let again = done(&mut import(&state, &url));
    assert_eq!(again, printed, "nothing was written twice");
    let without = refused(&mut serve(&state));
    assert!(without.contains("give --database"), "{without}");

    service.will_have(&[
        "--plain",
        "--drain-timeout-secs=1",
        "--ack-timeout-secs=2",
        "--allow-single-copy",
        "--database",
        &url,
    ]);
    service.start_again();
    all_receive(&service, &agents, &["stored in the directory"]).await;
    for agent in &agents {
        send(&service, agent, "sent to the old endpoint").await;
    }
    all_receive(&service, &agents, &["sent to the old endpoint"]).await;
    for agent in &agents {
        send(&service, agent, "stored in the database").await;
    }
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let in_use = refused(&mut export(&copy, &url, &state));
    assert!(in_use.contains("is in use by another process"), "{in_use}");
    service.ends();

    let occupied = refused(&mut export(&state, &url, &state));
    assert!(occupied.contains("move its doorbell.db away"), "{occupied}");
    done(&mut export(&copy, &url, &state));
    let keys = |dir: &Path| fs::read(dir.join("capability.keys")).unwrap();
    assert_eq!(keys(&copy), keys(&state), "a new directory gets the keys");
    fs::rename(state.join("doorbell.db"), folder.path().join("doorbell.db")).unwrap();
    let printed = done(&mut export(&state, &url, &state));
    assert!(printed.lines().any(|line| line.starts_with("message ") && line.contains(" 3 rows")), "{printed}");

    service.will_have(&["--plain", "--drain-timeout-secs=1", "--ack-timeout-secs=2"]);
    service.start_again();
    all_receive(&service, &agents, &["stored in the database"]).await;
    for agent in &agents {
        send(&service, agent, "sent after the way back").await;
    }
    all_receive(&service, &agents, &["sent after the way back"]).await;
    service.ends();

    // A second move, because the service has gone on since the first.
    let stale = refused(&mut import(&state, &url));
    assert!(stale.contains("name an empty database"), "{stale}");
    done(&mut import(&state, &server.url(&server.create_database())));
}

#[test]
fn arguments_that_cannot_be_used_are_refused_in_one_line_with_what_to_do() {
    let Some(server) = shared() else { return };
    let url = server.url(&server.create_database());
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path();
    let mut without = doorbell("import");
    without.arg("--from-sqlite").arg(empty);
    assert!(refused(&mut without).contains("give --database"));
    assert!(refused(&mut doorbell("migrate")).contains("give --database"));
    assert!(refused(&mut import(&empty.join("none"), &url)).contains("name the state directory of the service"));
    assert!(refused(&mut import(empty, &url)).contains("has no capability.keys"));
    let write = |name: &str, text: &str| {
        fs::write(empty.join(name), text).unwrap();
        fs::set_permissions(empty.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("capability.keys", "keys");
    let unbound = refused(&mut export(&empty.join("new"), &url, empty));
    assert!(unbound.contains("has no database"), "{unbound}");
    assert!(!empty.join("new").exists(), "nothing was made");

    // What it says is read by `doorbell serve` alone.
    write("cells.plan", "");
    for mut command in [import(empty, &url), export(&empty.join("new"), &url, empty)] {
        let partial = refused(&mut command);
        assert!(partial.contains("has several cells, and this would move only the first"), "{partial}");
    }
    assert!(!empty.join("new").exists(), "nothing was made");

    let migrated = done(doorbell("migrate").args(["--database", &url]));
    assert_eq!(migrated, "schema 1; older versions cannot use it\n");
    let wrong = refused(doorbell("migrate").args(["--database", "postgres://doorbell@127.0.0.1:1/doorbell"]));
    assert!(wrong.contains("start the server, or correct host and port"), "{wrong}");
}
