//! `doorbell load` at toy size: every scenario has its figures, and neither the service nor the load loses anything.
//! The figures themselves mean nothing here.

mod support;

use std::process::Output;

use serde_json::Value;
use support::service::doorbell;
use support::{Refusing, Service};

/// `doorbell load` with these words.
fn run(words: &[&str]) -> Output {
    let mut command = doorbell("load");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORBELL_")) {
        command.env_remove(name);
    }
    command.args(words).output().unwrap_or_else(|why| panic!("doorbell load does not start: {why}"))
}

/// The figures of its one run; it must have found nothing wrong.
fn figures(words: &[&str]) -> Value {
    let output = run(&[words, &["--json", "-"]].concat());
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {printed}");
    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {output:?}"));
    assert_eq!(report["runs"][0]["faults"], Value::Array(Vec::new()), "{words:?}: {printed}");
    report["runs"][0]["figures"].take()
}

/// Each of `names` is there and more than nothing.
fn has(figures: &Value, names: &[&str]) {
    for name in names {
        assert!(figures[name].as_f64().is_some_and(|value| value > 0.0), "{name} in {figures}");
    }
}

#[test]
fn idle_agents_have_their_memory_measured_at_each_door() {
    for door in ["firefox", "http2", "chromium"] {
        let found = figures(&["idle", "--agents", "40", "--seconds", "1", "--door", door]);
        has(&found, &["connects_per_s", "load_busy_percent", "commits"]);
        assert_eq!(found["agents"], 36.0, "a tenth of them comes before");
        let measured = ["user_bytes_per_agent", "kernel_bytes_per_agent", "connect_cpu_ms", "idle_cpu_percent"];
        assert!(measured.iter().all(|name| found[name].is_f64()), "{found}");
    }
}

#[test]
fn machines_with_wake_streams_have_their_memory_measured() {
    let found = figures(&["wake", "--agents", "20", "--seconds", "1", "--processes", "2"]);
    has(&found, &["load_busy_percent", "commits"]);
    assert_eq!((&found["machines"], &found["streams"]), (&18.0.into(), &200.0.into()), "{found}");
    let measured = ["machine", "profile"].map(|whose| format!("user_bytes_per_{whose}"));
    assert!(measured.iter().all(|name| found[name].is_f64()), "{found}");
}

#[test]
fn messages_to_connected_agents_arrive_at_each_door_over_both_kinds_of_sender() {
    let ways: [&[&str]; 4] = [
        &["--door", "firefox"],
        &["--door", "firefox", "--http1", "--no-tls", "--size", "200"],
        &["--door", "http2", "--processes", "2"],
        &["--door", "chromium"],
    ];
    for way in ways {
        let found = figures(&[&["connected", "--agents", "10", "--messages", "60"], way].concat());
        has(&found, &["accepted_per_s", "load_busy_percent", "down_bytes_per_message", "writes_per_commit"]);
        has(&found, &["answer_p50_ms", "answer_p99_ms", "arrival_p50_ms", "arrival_p99_ms"]);
        // A process's CPU is counted in ticks of 10 ms, of which 60 messages may take none.
        let measured = ["cpu_s_per_1000", "load_cpu_s_per_1000", "disk_bytes_per_message"];
        assert!(measured.iter().all(|name| found[name].is_f64()), "{found}");
        assert_eq!((&found["accepted"], &found["arrived"]), (&60.0.into(), &60.0.into()), "{way:?}");
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_service_on_postgresql_is_measured_together_with_its_server() {
    let Some(server) = doorbell_postgres_server::shared() else { return };
    let url = server.url(&server.create_database());
    let words = ["connected", "--agents", "10", "--messages", "60", "--database", &url, "--database-pid"];
    let found = figures(&[&words[..], &[&server.pid()]].concat());
    has(&found, &["accepted_per_s", "writes_per_commit"]);
    assert!(found["database_cpu_s_per_1000"].is_f64(), "{found}");
    assert_eq!((&found["accepted"], &found["arrived"]), (&60.0.into(), &60.0.into()));
}

#[test]
fn messages_for_agents_that_are_away_arrive_when_they_come() {
    for door in ["firefox", "http2", "chromium"] {
        let found = figures(&["offline", "--agents", "6", "--messages", "90", "--door", door]);
        has(&found, &["accepted_per_s", "drained_per_s"]);
        assert!(found["store_cpu_s_per_1000"].is_f64() && found["drain_cpu_s_per_1000"].is_f64(), "{found}");
        assert_eq!((&found["accepted"], &found["arrived"]), (&90.0.into(), &90.0.into()), "{door}");
    }
}

#[test]
fn a_service_that_is_killed_with_messages_waiting_delivers_all_of_them_when_it_is_back() {
    let found = figures(&["backlog", "--agents", "6", "--messages", "80"]);
    has(&found, &["accepted_per_s_quarter_1", "accepted_per_s_quarter_4", "start_ms", "first_ms", "drained_per_s"]);
    assert_eq!((&found["accepted"], &found["arrived"]), (&80.0.into(), &80.0.into()));
}

#[test]
fn latency_is_reported_with_what_the_disk_and_loopback_take() {
    let found = figures(&["latency", "--agents", "5", "--rate", "40", "--seconds", "1"]);
    has(&found, &["arrival_p50_ms", "arrival_p99_ms", "fdatasync_p99_ms", "loopback_p99_ms", "p99_over_floor"]);
    assert_eq!((&found["accepted"], &found["arrived"]), (&40.0.into(), &40.0.into()));
    assert!(found["slip_p99_ms"].is_f64(), "{found}");
}

#[test]
fn everybody_comes_back_after_a_cut_with_resumed_sessions_and_after_a_restart() {
    let found = figures(&["storm", "--agents", "20"]);
    has(&found, &["cut_connects_per_s", "restart_connects_per_s", "cut_connect_p99_ms"]);
    assert_eq!(found["cut_resumed_percent"], 100.0);
}

#[test]
fn nothing_is_lost_on_a_day_on_which_agents_come_and_go() {
    for door in ["firefox", "http2", "chromium"] {
        let found = figures(&["day", "--agents", "20", "--rate", "100", "--seconds", "3", "--door", door]);
        has(&found, &["accepted", "arrived"]);
        let counts = ["arrived", "expired", "expired_there", "replaced"].map(|name| found[name].as_f64().unwrap());
        assert_eq!(counts.iter().sum::<f64>(), 300.0, "every message has its fate: {found}");
        assert_eq!((&found["lost"], &found["twice"], &found["late"]), (&0.0.into(), &0.0.into(), &0.0.into()));
    }
}

#[test]
fn a_service_that_runs_already_is_measured_by_its_url() {
    let service = Service::start();
    let ca = service.ca().display().to_string();
    let words = ["connected", &service.origin(), "--ca", &ca, "--agents", "5", "--messages", "20", "--repeat", "2"];
    let output = run(&words);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(table.contains("messages accepted per second  ["), "two runs have a spread: {table}");
    assert!(!table.contains("CPU-s of the service"), "its process is unknown: {table}");
}

#[test]
fn an_impossible_measurement_is_an_error_with_what_to_do() {
    let usage = run(&["latency", "--rate", "0"]);
    assert!(String::from_utf8_lossy(&usage.stderr).contains("give a number from 0.01 to 1000000"), "{usage:?}");
    for option in ["--agents", "--messages", "--seconds", "--senders", "--processes", "--repeat"] {
        let none = run(&["idle", option, "0"]);
        let printed = String::from_utf8_lossy(&none.stderr);
        assert!(none.status.code() == Some(2) && printed.contains(option), "{option}: {printed}");
    }
    let refusing = Refusing::bind();
    let nowhere = format!("http://{}", refusing.address());
    let rejections: [(&[&str], &str); 5] = [
        (&["idle", &nowhere], "refused (os error 111); `doorbell doctor http://127.0.0.1:"),
        (&["idle", "--agents", "10000000000"], "--processes"),
        (&["connected", "--size", "7"], "--size must be between"),
        (&["connected", "ftp://127.0.0.1"], "begins neither with https:// nor with http://"),
        (&["idle", "--state", "/nowhere/at/all"], "--state"),
    ];
    for (words, fix) in rejections {
        let output = run(words);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && printed.contains(fix), "{words:?}: {printed}");
        assert_eq!(printed.matches("doorbell:").count(), 1, "the error is printed once: {printed}");
    }
}
