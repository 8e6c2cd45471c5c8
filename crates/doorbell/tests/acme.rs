//! Certificates by ACME: the real service and Let's Encrypt's authority for tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use http::{Method, StatusCode};
use support::host::DOMAIN;
use support::pebble::{Manner, free_port};
use support::process::Running;
use support::service::doorbell;
use support::{Host, Pebble};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A service for the domain, on a port that the authority validates.
fn start(state: &Path, port: u16, authority: &Pebble, more: &[&str]) -> Host {
    Host::start(state, port, (authority.directory(), &authority.ca()), more)
}

/// How long its certificates live: 120 s with delays in the long form, which takes five minutes.
fn manner() -> Manner {
    let long = std::env::var_os("DOORBELL_LONG").is_some();
    Manner { validity_secs: if long { 120 } else { 30 }, bad_nonces: 20, delays: long, wants_binding: false }
}

#[tokio::test]
async fn from_an_empty_state_directory_to_a_trusted_certificate_and_three_renewals_without_a_lost_connection() {
    if !Pebble::is_here() {
        return;
    }
    let (port, state) = (free_port(), tempfile::tempdir().unwrap());
    let authority = Pebble::start(port, &manner());
    let host = start(state.path(), port, &authority, &["--rate-per-subscription", "0"]);
    let root = authority.root().await;
    host.service.prints("there is no certificate yet");
    host.service.prints("a new certificate is in use");

    // All three doors: Chromium's stream offers no protocol, Firefox's WebSocket HTTP/1.1.
    let mut chromium = host.handshake(&root, &[]).await.unwrap();
    chromium.write_all(b"GET / HTTP/1.1\r\nhost: push.example.org\r\n\r\n").await.unwrap();
    let mut firefox = host.handshake(&root, &[b"http/1.1"]).await.unwrap();
    let upgrade = format!(
        "GET / HTTP/1.1\r\nhost: {DOMAIN}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: push-notification\r\n\r\n"
    );
    firefox.write_all(upgrade.as_bytes()).await.unwrap();
    for (stream, status) in [(&mut chromium, "HTTP/1.1 200"), (&mut firefox, "HTTP/1.1 101")] {
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, status.as_bytes());
    }

    // Load: a message on each new connection, for an agent on one connection all the time.
    let agent = host.peer(&root).await.unwrap();
    let to = agent.subscribe().await;
    let mut received = agent.monitor(&to.subscription, true).await.unwrap();
    let mut seen = BTreeSet::from([host.leaf(&root).await]);
    let mut sent = 0_u32;
    while seen.len() < 4 {
        let sender = host.peer(&root).await.unwrap_or_else(|error| panic!("connection {sent}: {error}"));
        let body = sent.to_string();
        let reply = sender.request(Method::POST, &to.push, &[("ttl", "60")], body.as_bytes()).await.unwrap();
        assert_eq!(reply.status, StatusCode::CREATED);
        let pushed = received.recv().await.expect("the agent's connection stays");
        assert_eq!(pushed.reply.body, body.as_bytes());
        let acknowledged = agent.request(Method::DELETE, &pushed.path, &[], b"").await.unwrap();
        assert_eq!(acknowledged.status, StatusCode::NO_CONTENT);
        seen.insert(host.leaf(&root).await);
        sent += 1;
    }
    assert_eq!(host.service.count(" ERROR "), 0);
    eprintln!("acme: three renewals under load: {sent} messages on connections of their own, 0 failed");
}

#[tokio::test]
async fn a_saved_certificate_is_used_again_while_the_authority_is_away() {
    if !Pebble::is_here() {
        return;
    }
    let (port, state) = (free_port(), tempfile::tempdir().unwrap());
    let authority = Pebble::start(port, &Manner { validity_secs: 3600, ..manner() });
    let root = authority.root().await;
    let first = {
        let host = start(state.path(), port, &authority, &[]);
        host.service.prints("a new certificate is in use");
        host.leaf(&root).await
    };
    for file in ["account.json", "certificate.pem"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(state.path().join("acme").join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let (directory, ca) = (authority.directory().to_owned(), authority.ca());
    let ca_copy = state.path().join("authority.pem");
    std::fs::copy(ca, &ca_copy).unwrap();
    drop(authority);
    let mut command = doorbell("serve");
    command.args(["--domain", DOMAIN, "--listen", &format!("127.0.0.1:{port}"), "--state-dir"]).arg(state.path());
    command.args(["--acme-directory", &directory, "--acme-ca"]).arg(&ca_copy);
    let host = Host { port, service: Running::start(&mut command) };
    host.service.prints("listening on");
    assert_eq!(host.leaf(&root).await, first);
}

#[tokio::test]
async fn a_domain_that_leads_elsewhere_is_an_error_that_says_what_to_do_and_the_service_refuses_tls() {
    if !Pebble::is_here() {
        return;
    }
    let (port, state) = (free_port(), tempfile::tempdir().unwrap());
    // The authority looks at another port, where nothing is.
    let authority = Pebble::start(free_port(), &manner());
    let host = start(state.path(), port, &authority, &[]);
    let line = host.service.prints("no new certificate");
    for words in ["could not validate the domain", "port 443 of the domain", "next_attempt_in_secs=720"] {
        assert!(line.contains(words), "{line}");
    }
    let refused = host.handshake(&authority.root().await, &[b"h2"]).await.unwrap_err();
    assert!(refused.to_string().contains("alert"), "{refused}");
}

#[tokio::test]
async fn an_authority_that_wants_a_binding_says_so_and_gets_it_from_a_file() {
    if !Pebble::is_here() {
        return;
    }
    let (port, state) = (free_port(), tempfile::tempdir().unwrap());
    let authority = Pebble::start(port, &Manner { wants_binding: true, ..manner() });
    {
        let host = start(state.path(), port, &authority, &[]);
        let line = host.service.prints("no new certificate");
        assert!(line.contains("acme_binding_id and acme_binding_key_file"), "{line}");
    }
    let key = state.path().join("binding");
    std::fs::write(&key, Pebble::BINDING.1).unwrap();
    let binding = ["--acme-binding-id", Pebble::BINDING.0, "--acme-binding-key-file", key.to_str().unwrap()];
    start(state.path(), port, &authority, &binding).service.prints("a new certificate is in use");
}

#[tokio::test]
async fn a_directory_whose_certificate_is_not_trusted_is_named() {
    if !Pebble::is_here() {
        return;
    }
    let (port, state) = (free_port(), tempfile::tempdir().unwrap());
    let authority = Pebble::start(port, &manner());
    let mut command = doorbell("serve");
    command.args(["--domain", DOMAIN, "--listen", &format!("127.0.0.1:{port}"), "--state-dir"]).arg(state.path());
    let service = Running::start(command.args(["--acme-directory", authority.directory()]));
    let line = service.prints("no new certificate");
    assert!(line.contains("give its CA as acme_ca"), "{line}");
}
