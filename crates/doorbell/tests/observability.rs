//! The metrics of a real service, read by the real Prometheus; its rules and its dashboard.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;

use http::{Method, StatusCode};
use serde_json::Value;
use support::authority::Signed;
use support::clock::Deadline;
use support::pebble::free_port;
use support::peer::tls;
use support::prometheus::{get, observability, promtool};
use support::{Peer, Prometheus, Service};

/// A service, and the address of its admin listener.
fn start() -> (Service, String) {
    let admin = format!("127.0.0.1:{}", free_port());
    (Service::start_with(&["--admin-listen", &admin]), admin)
}

fn scrape(admin: &str) -> String {
    let (head, body) = get(admin, "/metrics", "text/plain");
    assert!(head.contains(" 200 ") && head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    body
}

fn read(file: &str) -> String {
    std::fs::read_to_string(observability(file)).unwrap()
}

/// The names of our metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("doorbell_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// The names of the families and series in a scrape.
fn series(scrape: &str) -> BTreeSet<String> {
    let name = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
    let samples = scrape.lines().filter(|line| !line.starts_with('#')).map(name);
    samples.chain(scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(name)).collect()
}

/// The queries of a dashboard.
fn queries(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = targets.chain(annotations).map(|target| target["expr"].as_str().unwrap().to_owned());
    queries.chain(variables.filter_map(|variable| variable["definition"].as_str().map(str::to_owned))).collect()
}

#[test]
fn each_metric_that_a_rule_or_a_panel_names_is_in_a_real_scrape() {
    let (_service, admin) = start();
    let there = series(&scrape(&admin));
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = queries(&dashboard);
    assert!(panels.len() > 30, "{panels:?}");
    for (place, names) in [("alerts.yml", named(&read("alerts.yml"))), ("dashboard.json", named(&panels.join(" ")))] {
        let missing: Vec<_> = names.difference(&there).collect();
        assert!(!names.is_empty() && missing.is_empty(), "{place}: {missing:?}");
    }
    let rows = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] == "row");
    let titles: Vec<_> = rows.map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Traffic", "Delivery", "Store", "Connections", "Health"]);
}

/// Scrapes until a series has this value.
fn waits_for(admin: &str, series: &str, value: &str) -> String {
    let (deadline, line) = (Deadline::soon(), format!("{series} {value}"));
    loop {
        let text = scrape(admin);
        if text.lines().any(|found| found == line) {
            return text;
        }
        assert!(!deadline.left().is_zero(), "no {line} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_are_counted_as_full_resumed_or_failed() {
    let (service, admin) = start();
    let (origin, authority, tls) = (service.origin(), service.authority(), tls(&service));
    for _ in 0..2 {
        // The same configuration keeps the ticket of its first connection.
        let peer = Peer::connect_with(&origin, &authority, tls.clone()).await.unwrap();
        assert_eq!(peer.request(Method::GET, "/", &[], b"").await.unwrap().status, StatusCode::OK);
    }
    let mut stranger = TcpStream::connect(&authority).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let handshakes = |result| format!("doorbell_tls_handshakes_total{{result=\"{result}\"}}");
    for result in ["full", "resumed", "failed"] {
        tokio::task::block_in_place(|| waits_for(&admin, &handshakes(result), "1"));
    }
}

#[test]
fn a_certificate_that_cannot_be_used_is_a_failed_attempt_and_the_next_one_a_good_one() {
    let (folder, admin) = (tempfile::tempdir().unwrap(), format!("127.0.0.1:{}", free_port()));
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let write = |signed: &Signed| {
        std::fs::write(&key, signed.key.serialize_pem()).unwrap();
        std::fs::write(&cert, &signed.pem).unwrap();
    };
    write(&Signed::until(2098, "127.0.0.1"));
    let files = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let _service = Service::start_with(&[&files[..], &["--admin-listen", &admin]].concat());
    let remaining = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("doorbell_certificate_remaining_seconds ")).unwrap();
        line.split(' ').nth(1).unwrap().parse::<f64>().unwrap()
    };
    let attempts = |outcome| format!("doorbell_certificate_attempts_total{{outcome=\"{outcome}\"}}");
    let before = remaining(&waits_for(&admin, &attempts("ok"), "0"));
    assert!(before > 86_400.0 * 365.0, "{before}");
    std::fs::write(&cert, "no certificate").unwrap();
    let failed = waits_for(&admin, &attempts("failed"), "1");
    assert!(remaining(&failed) <= before, "the old one stays");
    write(&Signed::until(2099, "127.0.0.1"));
    let renewed = waits_for(&admin, &attempts("ok"), "1");
    assert!(remaining(&renewed) > before + 86_400.0 * 364.0, "the new one ends a year later");
}

#[test]
fn each_alert_says_what_is_wrong_and_what_to_do_and_has_a_test() {
    let (rules, tests) = (read("alerts.yml"), read("alerts_test.yml") + &read("alerts_days_test.yml"));
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 15);
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for part in ["summary: ", "description: ", "action: ", "severity: "] {
            assert!(alert.contains(part), "{name} has no {part}");
        }
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} has no test in which it fires");
    }
}

#[test]
fn promtool_accepts_the_rules_their_tests_the_configuration_and_the_metrics() {
    if !Prometheus::is_here() {
        return;
    }
    let (_service, admin) = start();
    let metrics = scrape(&admin);
    for (args, input) in [
        (&["check", "config", "prometheus.yml"][..], ""),
        (&["check", "rules", "alerts.yml"], ""),
        (&["test", "rules", "alerts_test.yml", "alerts_days_test.yml"], ""),
        // It also complains about names that are against the custom.
        (&["check", "metrics"], &metrics),
    ] {
        let done = promtool(args, input);
        let said = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "promtool {args:?}: {said}");
    }
    let no_metrics = promtool(&["check", "metrics"], "doorbell_wrong{ 1\n");
    assert!(!no_metrics.status.success(), "promtool finds the difference");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_the_service_while_messages_are_sent_and_has_their_numbers() {
    if !Prometheus::is_here() {
        return;
    }
    let (service, admin) = start();
    let prometheus = Prometheus::of(&admin);
    let (agent, sender) = (Peer::connect(&service).await.unwrap(), Peer::connect(&service).await.unwrap());
    let to = agent.subscribe().await;
    let mut pushes = agent.monitor(&to.subscription, true).await.unwrap();
    let connected = "sum(doorbell_agents_connected{job=\"doorbell\",door=\"http2\"})";
    tokio::task::block_in_place(|| prometheus.waits_for(connected, 1.0));
    for _ in 0..20 {
        let answer = sender.request(Method::POST, &to.push, &[("ttl", "600")], b"hello").await.unwrap();
        assert_eq!(answer.status, StatusCode::CREATED);
        let pushed = pushes.recv().await.unwrap();
        let deleted = agent.request(Method::DELETE, &pushed.path, &[], b"").await.unwrap();
        assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    }
    let refused = sender.request(Method::POST, &to.push, &[], b"no TTL").await.unwrap();
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    tokio::task::block_in_place(|| {
        prometheus.waits_for("sum(doorbell_messages_accepted_total)", 20.0);
        prometheus.waits_for("doorbell_messages_ended_total{outcome=\"delivered\"}", 20.0);
        prometheus.waits_for("doorbell_message_acknowledgement_seconds_bucket{le=\"+Inf\"}", 20.0);
        prometheus.waits_for("doorbell_requests_total{door=\"push\",code=\"2xx\"}", 20.0);
        prometheus.waits_for("doorbell_requests_refused_total{errno=\"111\"}", 1.0);
        prometheus.waits_for("doorbell_store_messages", 0.0);
        prometheus.waits_for("doorbell_tls_handshakes_total{result=\"full\"}", 2.0);
        prometheus.waits_for("doorbell_connections_open", 2.0);
        prometheus.waits_for("doorbell_certificate_remaining_seconds > bool 86400", 1.0);
        prometheus.waits_for("doorbell_ready * up{job=\"doorbell\"}", 1.0);
        prometheus.waits_for("count(doorbell_build_info)", 1.0);
    });
    // What Prometheus evaluates are the rules, and a service that is well raises no alert.
    let rules = prometheus.api("rules");
    let groups = rules["groups"].as_array().unwrap();
    let evaluated = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    let states: Vec<_> = evaluated.map(|rule| (rule["name"].clone(), rule["state"].clone())).collect();
    assert_eq!(states.len(), read("alerts.yml").matches("- alert: ").count());
    let firing: Vec<_> = states.iter().filter(|(_, state)| *state == "firing").collect();
    assert!(firing.is_empty(), "{firing:?}");
}
