//! `/readyz`: each condition that can fail, with real parts.

use std::time::Duration;

use doorbell_protocol::time::UnixMs;
use doorbell_service::config::{AdminAddress, Config, Settings};
use doorbell_service::{Clock, Service};
use http::StatusCode;
use rcgen::{CertificateParams, KeyPair};
use rusqlite::Connection;
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::operator::{address, get, get_at, get_with, json, start, until_readiness, with};
use crate::support::{START, TestService, raw, text, within};

/// More room than any disk has.
const HUGE: u64 = 1 << 60;

/// The line of this condition and, if there is one, what to do.
fn condition<'a>(report: &'a str, name: &str) -> Vec<&'a str> {
    let mut lines = report.lines().skip_while(|line| line.split_whitespace().nth(1) != Some(name));
    let first = lines.next().unwrap_or_else(|| panic!("no {name} in {report}"));
    std::iter::once(first).chain(lines.take_while(|line| line.starts_with(' '))).collect()
}

/// The only condition that fails is this one, and there is something to do.
fn assert_fails(report: &str, name: &str, text: &str, fix: &str) {
    let failed: Vec<_> = report.lines().filter(|line| line.starts_with("FAILED")).collect();
    let lines = condition(report, name);
    assert!(failed.len() == 1 && failed[0] == lines[0], "{report}");
    assert!(lines[0].contains(text) && lines[1].contains("fix: ") && lines[1].contains(fix), "{report}");
    assert!(report.ends_with("not ready\n"), "{report}");
}

#[tokio::test]
async fn a_service_that_works_is_ready_and_names_each_condition() {
    let service = start().await;
    let answer = get(&service, "/readyz").await;
    assert_eq!(answer.status(), StatusCode::OK, "{}", text(&answer));
    for name in ["running", "store", "disk", "certificate", "clock"] {
        assert!(condition(&text(&answer), name)[0].starts_with("ok "), "{}", text(&answer));
    }
    let answer = get_with(&service, "/readyz", &[("accept", "application/json")]).await;
    let document = json(&answer);
    assert_eq!(document["is_ready"], true);
    assert_eq!(document["conditions"].as_array().unwrap().len(), 5);
    assert_eq!(document["conditions"][1]["name"], "store");
}

#[tokio::test]
async fn below_the_floor_of_the_disk_it_is_not_ready_until_a_reload_lowers_it() {
    let mut service = with(Settings { disk_floor_bytes: Some(HUGE), ..Settings::default() }).await;
    let report = until_readiness(&service, address(&service), StatusCode::SERVICE_UNAVAILABLE).await;
    assert_fails(&report, "disk", "iB are free", "disk_floor_bytes");
    let metrics = text(&get(&service, "/metrics").await);
    assert!(metrics.contains("\ndoorbell_ready 0\n"), "{metrics}");
    // The store takes over the limit with its next commit.
    service.reload(|settings| settings.disk_floor_bytes = Some(0));
    let report = until_readiness(&service, address(&service), StatusCode::OK).await;
    assert!(condition(&report, "disk")[0].contains("the store keeps 0 bytes free"), "{report}");
    assert!(text(&get(&service, "/metrics").await).contains("\ndoorbell_ready 1\n"));
}

#[tokio::test]
async fn while_no_commit_succeeds_it_is_not_ready_and_afterwards_it_is() {
    let service = start().await;
    let store = Connection::open(service.dir.path().join("doorbell.db")).unwrap();
    // Another program holds the database, as a backup tool by mistake does: commits fail, and nothing is lost.
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let report = until_readiness(&service, address(&service), StatusCode::SERVICE_UNAVAILABLE).await;
    assert_fails(&report, "store", "a commit", "disk");
    assert_eq!(get(&service, "/livez").await.status(), StatusCode::OK, "a new start would not help");
    store.execute_batch("ROLLBACK").unwrap();
    until_readiness(&service, address(&service), StatusCode::OK).await;
}

#[tokio::test]
async fn a_wall_clock_that_cannot_be_right_makes_it_not_ready_and_one_that_jumped_does_not() {
    let service = start().await;
    service.clock.set_wall(UnixMs::default());
    let answer = get(&service, "/readyz").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_fails(&text(&answer), "clock", "1970-01-01", "set the clock");
    service.clock.set_wall(START.plus(Duration::from_secs(3600)));
    let answer = get(&service, "/readyz").await;
    assert_eq!(answer.status(), StatusCode::OK, "{}", text(&answer));
    assert!(condition(&text(&answer), "clock")[0].contains("jumped"), "{}", text(&answer));
    assert_eq!(json(&get(&service, "/status.json").await)["clock"]["state"], "jumped");
}

/// A service with TLS, and the address of its admin listener. Its clock stands at the start of the tests.
async fn with_tls(settings: Settings) -> (Service, std::net::SocketAddr, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        state_dir: Some(dir.path().join("state")),
        listen: Some(vec!["127.0.0.1:0".parse().unwrap()]),
        admin_listen: Some("127.0.0.1:0".to_owned()),
        ..settings
    };
    let service = Service::start(Config::from_settings(settings).unwrap(), Clock::manual(START)).await.unwrap();
    let Some(AdminAddress::Tcp(address)) = service.admin_address() else { panic!("no port") };
    let address = *address;
    (service, address, dir)
}

#[tokio::test]
async fn a_certificate_that_is_expired_or_not_yet_valid_makes_it_not_ready() {
    let now = OffsetDateTime::from_unix_timestamp(START.as_secs()).unwrap();
    let day = time::Duration::days(1);
    for (begin, end, expected) in [
        (now - 2 * day, now - day, Some(("expired at 2026-09-20T14:13:20Z", "renew it"))),
        (now + day, now + 2 * day, Some(("not valid before 2026-09-22T14:13:20Z", "set the clock"))),
        (now - day, now + day, None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (begin, end);
        let pair = KeyPair::generate().unwrap();
        std::fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        let settings = Settings { tls_cert: Some(cert), tls_key: Some(key), ..Settings::default() };
        let (service, at, _dir) = with_tls(settings).await;
        let report = text(&get_at(at, "/readyz", &[]).await);
        match expected {
            Some((seen, fix)) => assert_fails(&report, "certificate", seen, fix),
            None => assert!(report.ends_with("\nready\n"), "{report}"),
        }
        let status = json(&get_at(at, "/status.json", &[]).await);
        assert_eq!(status["certificate"]["source"], "files");
        assert_eq!(status["certificate"]["ends_in_secs"], (end - now).whole_seconds());
        service.stop().await.unwrap();
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_reported_by_a_reload_and_named_until_they_can() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let made = || {
        let now = OffsetDateTime::from_unix_timestamp(START.as_secs()).unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (now - time::Duration::days(1), now + time::Duration::days(90));
        let pair = KeyPair::generate().unwrap();
        (params.self_signed(&pair).unwrap().pem(), pair.serialize_pem())
    };
    let ((first_cert, first_key), (next_cert, next_key)) = (made(), made());
    std::fs::write(&cert, first_cert).unwrap();
    std::fs::write(&key, first_key).unwrap();
    let settings = Settings { tls_cert: Some(cert.clone()), tls_key: Some(key.clone()), ..Settings::default() };
    let (service, at, _dir) = with_tls(settings).await;
    within(service.reload_certificate()).await.unwrap();

    std::fs::remove_file(&key).unwrap();
    let missing = within(service.reload_certificate()).await.unwrap_err().to_string();
    assert!(missing.contains("private key") && missing.contains("key.pem"), "{missing}");
    std::fs::write(&key, &next_key).unwrap();
    let mismatch = within(service.reload_certificate()).await.unwrap_err().to_string();
    assert!(mismatch.contains("certificate and key cannot be used"), "{mismatch}");
    let again = within(service.reload_certificate()).await.unwrap_err().to_string();
    assert_eq!(again, mismatch, "also if the files have not changed since");
    let answer = get_at(at, "/readyz", &[]).await;
    assert_eq!(answer.status(), StatusCode::OK, "the old one is valid: {}", text(&answer));
    let report = text(&answer);
    let lines = condition(&report, "certificate");
    assert!(lines[0].contains("the certificate is valid until") && lines[0].contains(&mismatch), "{report}");
    assert!(lines[1].contains("`doorbell reload`"), "{report}");
    assert_eq!(json(&get_at(at, "/status.json", &[]).await)["certificate"]["problem"], mismatch.as_str());

    std::fs::write(&cert, next_cert).unwrap();
    within(service.reload_certificate()).await.unwrap();
    let report = text(&get_at(at, "/readyz", &[]).await);
    assert_eq!(condition(&report, "certificate").len(), 1, "{report}");
    assert_eq!(json(&get_at(at, "/status.json", &[]).await)["certificate"]["problem"], serde_json::Value::Null);
    service.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_certificate_from_its_authority_it_is_alive_and_not_ready() {
    let settings = Settings {
        domain: Some("push.example.org".to_owned()),
        // No program listens there.
        acme_directory: Some("https://127.0.0.1:1/directory".to_owned()),
        ..Settings::default()
    };
    let (service, at, _dir) = with_tls(settings).await;
    assert_eq!(get_at(at, "/livez", &[]).await.status(), StatusCode::OK);
    let answer = get_at(at, "/readyz", &[]).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_fails(&text(&answer), "certificate", "no certificate yet", "the log says what is tried");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn while_it_drains_it_is_not_ready_and_answers_until_the_end() {
    let mut service = start().await;
    let at = address(&service);
    let mut sender = TcpStream::connect(service.address).await.unwrap();
    // A request whose body has not arrived holds the drain.
    let head = b"POST /subscribe HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\ncontent-type: x/y\r\n\r\n12345";
    sender.write_all(head).await.unwrap();
    let subscribed = raw::once(service.address, "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(subscribed.starts_with("HTTP/1.1 200 "), "the first request is being served too: {subscribed}");
    let stopping = tokio::spawn(service.service.take().unwrap().stop());
    let report = until_readiness(&service, at, StatusCode::SERVICE_UNAVAILABLE).await;
    assert_fails(&report, "running", "stopping", "start it again");
    assert_eq!(get_at(at, "/livez", &[]).await.status(), StatusCode::OK);
    assert_eq!(json(&get_at(at, "/status.json", &[]).await)["is_draining"], true);
    sender.write_all(b"67890").await.unwrap();
    within(stopping).await.unwrap().unwrap();
    assert!(TcpStream::connect(at).await.is_err(), "the port is closed at the end");
}

/// How many commits the store has done, as `/metrics` reports it.
async fn commits(service: &TestService) -> u64 {
    let metrics = text(&get(service, "/metrics").await);
    let line = metrics.lines().find(|line| line.starts_with("doorbell_store_commit_seconds_count")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn many_monitors_share_one_commit_a_second() {
    // The clock stands, so that the service writes nothing by itself.
    let service = start().await;
    assert_eq!(get(&service, "/readyz").await.status(), StatusCode::OK);
    let before = commits(&service).await;
    let asked = (0..20).map(|_| get(&service, "/readyz"));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.status(), StatusCode::OK, "{}", text(&answer));
    }
    assert_eq!(commits(&service).await, before);
    service.clock.advance(Duration::from_secs(1));
    assert_eq!(get(&service, "/readyz").await.status(), StatusCode::OK);
    assert!(commits(&service).await > before, "a second later another one is tried");
}
