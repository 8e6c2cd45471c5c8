//! `doorbell serve` with cells: agents of every door in several, deaths of the process, and cells that are gone or are
//! named in another order.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "clock/doors.rs"]
mod doors;
mod support;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use doors::{Agent, Door, wrapped};
use http::{Method, StatusCode};
use serde_json::Value;
use support::pebble::free_port;
use support::prometheus::get;
use support::service::doorbell;
use support::{Peer, Service};

const DEADLINE: Duration = Duration::from_secs(120);

/// So many agents of each door, that no cell is without one.
const AGENTS: usize = 10;

/// A service with these flags, and the address for its operator.
fn start(flags: &[&str]) -> (Service, String) {
    let admin = format!("127.0.0.1:{}", free_port());
    let service = Service::start_with(&[&["--plain", "--admin-listen", &admin], flags].concat());
    (service, admin)
}

async fn subscribe(service: &Service) -> Vec<Agent> {
    let mut agents = Vec::new();
    for door in Door::ALL {
        for _ in 0..AGENTS {
            agents.push(Agent::subscribe(door, &service.authority()).await);
        }
    }
    agents
}

/// Sends these messages to each of them.
async fn send(service: &Service, agents: &[Agent], texts: &[&str]) {
    let peer = Peer::connect_plain(&service.authority()).await.unwrap();
    let headers = [("ttl", "3600"), ("content-encoding", "aes128gcm")];
    for agent in agents {
        for text in texts {
            let answer = peer.request(Method::POST, &agent.push, &headers, &wrapped(text)).await.unwrap();
            assert_eq!(answer.status, StatusCode::CREATED, "{agent:?}");
        }
    }
}

/// Each of them gets these messages, which were sent to it.
async fn all_receive(service: &Service, agents: &[Agent], texts: &[&str]) {
    for agent in agents {
        let missing: HashSet<String> = texts.iter().map(|&text| text.to_owned()).collect();
        let received = tokio::time::timeout(DEADLINE, agent.receives(&service.authority(), missing)).await;
        assert!(received.is_ok_and(|missing| missing.is_empty()), "{agent:?} did not get {texts:?}");
    }
}

/// The agents and the messages of each cell.
fn by_cell(admin: &str) -> Vec<[u64; 2]> {
    let status: Value = serde_json::from_str(&get(admin, "/status", "application/json").1).unwrap();
    let counts = |cell: &Value| ["agents", "messages"].map(|name| cell[name].as_u64().unwrap());
    status["cells"].as_array().unwrap().iter().map(counts).collect()
}

/// Each of `cells` cells has agents, and two messages for each of them.
fn are_spread(admin: &str, cells: usize) {
    let counts = by_cell(admin);
    assert_eq!(counts.len(), cells, "{counts:?}");
    assert!(counts.iter().all(|[agents, messages]| *agents > 0 && *messages == 2 * agents), "{counts:?}");
    assert_eq!(counts.iter().map(|[agents, _]| agents).sum::<u64>(), (AGENTS * Door::ALL.len()) as u64);
}

/// The one line that a start on this state with these flags is refused with.
fn refusal(state: &Path, flags: &[&str]) -> String {
    let mut command: Command = doorbell("serve");
    command.args(["--plain", "--listen=127.0.0.1:0", "--state-dir"]).arg(state).args(flags);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORBELL_")) {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{flags:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = text.trim().lines().collect();
    assert_eq!(lines.len(), 1, "{text}");
    lines[0].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_agents_in_several_cells_are_there_after_a_kill_and_no_cell_may_go_or_change_its_place() {
    let (mut service, admin) = start(&["--cells=disk2", "--cells=disk3"]);
    let agents = subscribe(&service).await;
    send(&service, &agents, &["the first", "the second"]).await;
    are_spread(&admin, 3);
    service.kill();
    let state = service.state().to_owned();

    let removed = refusal(&state, &["--cells=disk2"]);
    assert!(removed.contains("add to `cells`, at the end: ") && removed.contains("disk3"), "{removed}");
    let all_removed = refusal(&state, &[]);
    assert!(all_removed.contains("disk2, ") && all_removed.contains("disk3"), "{all_removed}");
    let swapped = refusal(&state, &["--cells=disk3", "--cells=disk2"]);
    assert!(swapped.contains("name them in their order"), "{swapped}");
    fs::rename(state.join("disk3"), state.join("away")).unwrap();
    let unmounted = refusal(&state, &["--cells=disk2", "--cells=disk3"]);
    assert!(unmounted.contains("holds no cell") && unmounted.contains("mount its disk"), "{unmounted}");
    fs::remove_dir_all(state.join("disk3")).ok();
    fs::rename(state.join("away"), state.join("disk3")).unwrap();

    fs::set_permissions(state.join("disk2"), fs::Permissions::from_mode(0o777)).unwrap();
    let loose = refusal(&state, &["--cells=disk2", "--cells=disk3"]);
    assert!(loose.contains("disk2") && loose.contains("chmod"), "{loose}");
    fs::set_permissions(state.join("disk2"), fs::Permissions::from_mode(0o700)).unwrap();

    service.start_again();
    are_spread(&admin, 3);
    all_receive(&service, &agents, &["the first", "the second"]).await;
    send(&service, &agents, &["to the old endpoint"]).await;
    // It also ends the agents' earlier streams.
    service.kill();
    service.start_again();
    all_receive(&service, &agents, &["to the old endpoint"]).await;
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn a_cell_may_be_a_database_which_has_its_messages_after_a_kill_and_no_other_takes_its_place() {
    let Some(server) = doorbell_postgres_server::shared() else { return };
    let [database, other] = [server.create_database(), server.create_database()];
    let cell = |database: &str| format!("--cells={}", server.url(database));
    let (mut service, admin) = start(&[&cell(&database), "--allow-single-copy"]);
    let agents = subscribe(&service).await;
    send(&service, &agents, &["the first", "the second"]).await;
    are_spread(&admin, 2);
    service.kill();
    let state = service.state().to_owned();

    let removed = refusal(&state, &[]);
    assert!(removed.contains("add to `cells`, at the end: ") && removed.contains(&database), "{removed}");
    let another = refusal(&state, &[&cell(&other), "--allow-single-copy"]);
    assert!(another.contains("holds no cell, and cell 2 was "), "{another}");

    // It waits for the lease of the process that died.
    service.start_again();
    are_spread(&admin, 2);
    all_receive(&service, &agents, &["the first", "the second"]).await;
    send(&service, &agents, &["to the old endpoint"]).await;
    // It also ends the agents' earlier streams.
    service.kill();
    service.start_again();
    all_receive(&service, &agents, &["to the old endpoint"]).await;
}
