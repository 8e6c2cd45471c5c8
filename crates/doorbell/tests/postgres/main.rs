//! `doorbell serve --database` on a real PostgreSQL: restarts, databases that are refused, and outages.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod outage;
mod refused;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;

use doorbell_postgres_server::{PASSWORD, shared};
use http::{Method, StatusCode};
use serde_json::Value;
use support::clock::Deadline;
use support::pebble::free_port;
use support::process::Running;
use support::prometheus::get;
use support::service::doorbell;
use support::{Peer, Service};
use tempfile::NamedTempFile;

const SINGLE: &str = "--allow-single-copy";

fn flag(url: &str) -> String {
    format!("--database={url}")
}

/// Whether a client gets 201 for a message with this body.
async fn post(peer: &Peer, push: &str, body: &str) -> StatusCode {
    let headers = [("ttl", "600"), ("content-encoding", "aes128gcm")];
    let reply = peer.request(Method::POST, push, &headers, body.as_bytes()).await.unwrap();
    if reply.status != StatusCode::CREATED {
        assert!(reply.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0, "{reply:?}");
    }
    reply.status
}

/// Asks `/readyz` until it has the status and all the words.
fn waits_for_readiness(admin: &str, status: &str, words: &[&str]) {
    let deadline = Deadline::soon();
    loop {
        let (head, body) = get(admin, "/readyz", "text/plain");
        if head.contains(status) && words.iter().all(|word| body.contains(word)) {
            return;
        }
        assert!(!deadline.left().is_zero(), "{head}\n{body}");
    }
}

#[tokio::test]
async fn what_was_accepted_is_there_after_the_end_of_the_service_and_after_its_death() {
    let Some(server) = shared() else { return };
    let mut service = Service::start_with(&[&flag(&server.url(&server.create_database())), SINGLE]);
    let peer = Peer::connect(&service).await.unwrap();
    let agent = peer.subscribe().await;
    let mut live = peer.monitor(&agent.subscription, true).await.unwrap();
    assert_eq!(post(&peer, &agent.push, "to a connected agent").await, StatusCode::CREATED);
    let pushed = live.recv().await.unwrap();
    assert_eq!(pushed.reply.body, "to a connected agent");
    peer.request(Method::DELETE, &pushed.path, &[], b"").await.unwrap();
    drop((live, peer));
    for (text, is_killed) in [("before the end", false), ("before the death", true)] {
        let peer = Peer::connect(&service).await.unwrap();
        assert_eq!(post(&peer, &agent.push, text).await, StatusCode::CREATED);
        if is_killed {
            service.kill()
        } else {
            service.ends()
        }
        // After a kill it waits for the lease of the process that died.
        service.start_again();
    }
    let peer = Peer::connect(&service).await.unwrap();
    let mut stored = peer.monitor(&agent.subscription, false).await.unwrap();
    let mut texts = BTreeSet::new();
    while let Some(pushed) = stored.recv().await {
        texts.insert(String::from_utf8(pushed.reply.body.to_vec()).unwrap());
    }
    assert_eq!(texts, ["before the death", "before the end"].map(str::to_owned).into());
}

#[tokio::test]
async fn the_operator_reads_where_messages_are_and_nothing_of_a_disk_or_a_password() {
    let Some(server) = shared() else { return };
    let database = server.create_database();
    let admin = format!("127.0.0.1:{}", free_port());
    let url = server.tcp_url(&database);
    let settings = [&flag(&url), SINGLE, "--admin-listen", &admin, "--log=trace"];
    let service = Service::start_with(&settings);
    let shown = format!("{database} at 127.0.0.1");
    service.prints(&format!("messages   in PostgreSQL, {shown}"));
    service.prints("the database's password is in the command line");
    let peer = Peer::connect(&service).await.unwrap();
    let subscribed = peer.subscribe().await;
    assert_eq!(post(&peer, &subscribed.push, "hello").await, StatusCode::CREATED);
    waits_for_readiness(&admin, " 200 ", &["store", "a commit succeeded"]);
    let status: Value = serde_json::from_str(&get(&admin, "/status", "application/json").1).unwrap();
    assert_eq!((&status["store"]["engine"], &status["store"]["database"]), (&"postgresql".into(), &shown.into()));
    assert_eq!((&status["disk"], &status["stored"]["messages"]), (&Value::Null, &1.into()));
    let conditions = status["readiness"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().all(|condition| condition["name"] != "disk"), "{conditions:?}");
    let metrics = get(&admin, "/metrics", "text/plain").1;
    assert!(metrics.contains("doorbell_store_info{engine=\"postgresql\"} 1"), "{metrics}");
    assert!(!metrics.contains("doorbell_disk_"), "{metrics}");
    // The first line is the test's own: the command.
    let output = service.output();
    let logged = output.split_once('\n').unwrap().1;
    let everything = format!("{status}{metrics}{logged}");
    assert!(!everything.contains(PASSWORD) && !everything.contains("correct%20horse"), "{logged}");
}

#[test]
fn url_and_password_come_from_flags_environment_or_file_under_the_same_words() {
    let Some(server) = shared() else { return };
    let password = NamedTempFile::new().unwrap();
    fs::write(password.path(), format!("{PASSWORD}\n")).unwrap();
    let url = format!("postgres://doorbell@{}/{}", server.host(), server.create_database());
    let config = NamedTempFile::new().unwrap();
    let path = password.path().display();
    let text = format!("database = '{url}'\ndatabase_password_file = '{path}'\nallow_single_copy = true\n");
    fs::write(config.path(), text).unwrap();
    let state = tempfile::tempdir().unwrap();
    for way in ["flags", "environment", "file"] {
        let mut command = doorbell("serve");
        command.args(["--listen=127.0.0.1:0", "--state-dir"]).arg(state.path());
        match way {
            "flags" => drop(command.args([&flag(&url), SINGLE, "--database-password-file"]).arg(password.path())),
            // The test's support removes variables of ours from the environment: the shell sets these.
            "environment" => {
                let script = "DOORBELL_DATABASE=$1 DOORBELL_DATABASE_PASSWORD_FILE=$2 DOORBELL_ALLOW_SINGLE_COPY=true \
                    exec \"$0\" serve --listen=127.0.0.1:0 --state-dir \"$3\"";
                command = std::process::Command::new("sh");
                command.args(["-c", script, env!("CARGO_BIN_EXE_doorbell"), &url]).arg(password.path());
                command.arg(state.path());
            }
            _ => drop(command.arg("--config").arg(config.path())),
        }
        let mut process = Running::start(&mut command);
        process.prints("listening on");
        assert_eq!(process.count("command line"), 0, "{way}: {}", process.output());
        process.terminate();
        assert!(process.exit(|_| {}).success(), "{way}");
    }
}
