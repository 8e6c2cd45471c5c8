//! The metrics of a real service, read by the real Prometheus; its rules and its dashboard.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::Value;
use support::pebble::free_port;
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
    assert!(!no_metrics.status.success(), "promtool tells one from the other");
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
