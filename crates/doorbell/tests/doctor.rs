//! `doorbell doctor` finds what was planted and names the fix, and finds nothing where nothing is wrong.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::process::Running;
use support::service::doorbell;
use support::{Faults, Front, Proxy, Refusing, Service};

/// The doctor's finding in each step, and its exit status.
#[derive(Debug)]
struct Diagnosis {
    steps: Vec<Value>,
    exit: i32,
}

impl Diagnosis {
    fn of(url: &str, ca: Option<&Path>, options: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut process = Running::start(command(url, ca, home.path()).arg("--json").args(options));
        let mut printed = String::new();
        let status = process.exit(|line| printed.push_str(line));
        let report: Value = serde_json::from_str(&printed).unwrap();
        let exit = status.code().unwrap();
        assert_eq!(report["ok"], exit == 0, "{report}");
        Self { steps: report["steps"].as_array().unwrap().clone(), exit }
    }

    /// Of a service behind a proxy, without what only some tests are about.
    fn behind(front: &Front) -> Self {
        Self::of(&front.origin(), Some(&front.ca()), &["--idle-secs", "0"])
    }

    fn step(&self, name: &str) -> &Value {
        self.steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no step {name}: {self:?}"))
    }

    fn with_result(&self, result: &str) -> Vec<&str> {
        self.steps.iter().filter(|step| step["result"] == result).map(|step| step["step"].as_str().unwrap()).collect()
    }

    /// Asserts that this is the only failure, with this finding and this fix.
    fn is_only(&self, step: &str, found: &str, fix: &str) {
        assert_eq!((self.with_result("failed"), self.exit), (vec![step], 1), "{self:?}");
        self.finds(step, found, fix);
    }

    /// Asserts that this step has this finding and this fix.
    fn finds(&self, step: &str, found: &str, fix: &str) {
        let step = self.step(step);
        assert!(step["finding"].as_str().unwrap().contains(found), "{step}");
        assert!(step["advice"].as_str().unwrap().contains(fix), "{step}");
    }
}

fn command(url: &str, ca: Option<&Path>, home: &Path) -> Command {
    let mut command = doorbell("doctor");
    command.arg(url).env("HOME", home).env_remove("XDG_STATE_HOME");
    if let Some(ca) = ca {
        command.arg("--ca").arg(ca);
    }
    command
}

async fn with(faults: Faults) -> Front {
    Front::with(faults).await
}

#[test]
fn a_healthy_service_passes_every_step() {
    let service = Service::start();
    let diagnosis = Diagnosis::of(&service.origin(), Some(&service.ca()), &["--idle-secs", "1"]);
    assert_eq!(diagnosis.with_result("ok").len(), diagnosis.steps.len(), "{diagnosis:?}");
    let receipt = diagnosis.step("receipt")["finding"].as_str().unwrap();
    assert!(receipt.contains("204"), "{receipt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_behind_a_good_proxy_passes_every_step() {
    let front = with(Faults::default()).await;
    let diagnosis = Diagnosis::of(&front.origin(), Some(&front.ca()), &["--idle-secs", "2"]);
    assert_eq!((diagnosis.with_result("ok").len(), diagnosis.exit), (diagnosis.steps.len(), 0), "{diagnosis:?}");
}

#[test]
fn a_user_reads_a_line_for_each_step_and_a_fix_under_each_failure() {
    let service = Service::start();
    let home = tempfile::tempdir().unwrap();
    let mut doctor = Running::start(command(&service.origin(), None, home.path()).args(["--idle-secs", "0"]));
    let mut lines = Vec::new();
    let status = doctor.exit(|line| lines.push(line.to_owned()));
    assert_eq!(status.code(), Some(1));
    assert!(lines.iter().any(|line| line.starts_with("ok       tcp        connected to 127.0.0.1:")), "{lines:#?}");
    let failed = lines.iter().position(|line| line.starts_with("FAILED   tls        ")).unwrap();
    assert!(lines[failed + 1].trim_start().starts_with("fix: "), "{lines:#?}");
    assert!(lines.last().unwrap().starts_with("skipped  rest "), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_found() {
    let front = with(Faults { name: "other.example", ..Faults::default() }).await;
    Diagnosis::behind(&front).is_only("tls", "is for other.example, not for 127.0.0.1", "get one that names 127.0.0.1");
}

#[test]
fn a_certificate_of_an_untrusted_authority_is_found() {
    let service = Service::start();
    let diagnosis = Diagnosis::of(&service.origin(), None, &[]);
    diagnosis.is_only("tls", "no authority that this machine trusts", "name the file of its authority with --ca");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_found() {
    let front = with(Faults { last_year: 2020, ..Faults::default() }).await;
    Diagnosis::behind(&front).is_only("tls", "expired on Wed, 01 Jan 2020", "renew it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_lets_no_pushes_pass_is_found() {
    let proxy = Proxy::start().await;
    let diagnosis = Diagnosis::of(&proxy.origin(), Some(&proxy.ca()), &["--idle-secs", "0"]);
    assert_eq!((diagnosis.with_result("failed"), diagnosis.exit), (vec![], 0), "it works: {diagnosis:?}");
    assert_eq!(diagnosis.with_result("warning"), ["receive"], "{diagnosis:?}");
    diagnosis.finds("receive", "it came as a server-sent event", "no proxy for HTTP passes server pushes");
    diagnosis.finds("receive", "no server push can pass", "must answer 502 or 503");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cuts_idle_sockets_is_found() {
    let front = with(Faults { idle_max: Some(Duration::from_secs(1)), ..Faults::default() }).await;
    let diagnosis = Diagnosis::of(&front.origin(), Some(&front.ca()), &["--idle-secs", "2"]);
    diagnosis.is_only("idle", "does not survive 2 s without traffic", "a proxy cuts idle sockets: raise its time-out");
    assert!(diagnosis.step("idle")["advice"].as_str().unwrap().contains("firefox_ping_secs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_off_is_found() {
    let front = with(Faults { ahead: Duration::from_secs(3600), ..Faults::default() }).await;
    Diagnosis::behind(&front).is_only("clock", "s ahead of this machine's", "NTP");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_without_http2_is_found_and_what_needs_it_is_skipped() {
    let front = with(Faults { http2: false, ..Faults::default() }).await;
    let diagnosis = Diagnosis::behind(&front);
    diagnosis.is_only("http2", "there is only HTTP/1.1", "pass TCP through");
    assert_eq!(diagnosis.step("subscribe")["result"], "skipped");
    assert_eq!(diagnosis.step("websocket")["result"], "ok", "Firefox needs no HTTP/2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_closes_chromium_s_stream_is_found() {
    let front = with(Faults { closes_mcs: true, ..Faults::default() }).await;
    Diagnosis::behind(&front).is_only("mcs", "closed on a LoginRequest", "pass TCP through on this port");
}

#[test]
fn a_store_without_room_is_found_and_what_is_full_is_named() {
    let service = Service::start_with(&["--bytes-per-agent-max", "1"]);
    let diagnosis = Diagnosis::of(&service.origin(), Some(&service.ca()), &["--no-chromium", "--idle-secs", "0"]);
    diagnosis.is_only("send", "the quota", "raise messages_per_agent_max and bytes_per_agent_max");
    assert!(diagnosis.step("send")["finding"].as_str().unwrap().contains("429, errno 1005"), "{diagnosis:?}");
    assert_eq!(diagnosis.step("tidy up")["result"], "ok", "what was made is still removed");
}

#[test]
fn a_service_that_does_not_serve_chromium_is_found_and_can_be_meant() {
    let service = Service::start_with(&["--chromium", "false"]);
    let (origin, ca) = (service.origin(), service.ca());
    let diagnosis = Diagnosis::of(&origin, Some(&ca), &["--idle-secs", "0"]);
    assert_eq!(diagnosis.with_result("failed"), ["checkin", "mcs"], "{diagnosis:?}");
    let fix = diagnosis.step("checkin")["advice"].as_str().unwrap();
    assert!(fix.contains("the setting `chromium` is on"), "{fix}");
    let meant = Diagnosis::of(&origin, Some(&ca), &["--idle-secs", "0", "--no-chromium"]);
    assert!(meant.with_result("failed").is_empty(), "{meant:?}");
}

#[test]
fn a_check_in_that_names_another_port_than_that_of_the_stream_is_found() {
    let service = Service::start_with(&["--chromium-mcs-port", "5228"]);
    let origin = service.origin();
    let diagnosis = Diagnosis::of(&origin, Some(&service.ca()), &["--idle-secs", "0", "--no-firefox"]);
    assert_eq!((diagnosis.with_result("warning"), diagnosis.exit), (vec!["checkin"], 0), "{diagnosis:?}");
    let port = origin.rsplit(':').next().unwrap();
    diagnosis.finds("checkin", "names port 5228", &format!("--chromium-mcs-port {port}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_wait_does_not_end_with_success() {
    let front = with(Faults::default()).await;
    let home = tempfile::tempdir().unwrap();
    let mut doctor =
        Running::start(command(&front.origin(), Some(&front.ca()), home.path()).args(["--idle-secs", "3600"]));
    doctor.wait_for("the tidying up", |line| line.starts_with("ok       tidy up").then_some(()));
    doctor.terminate();
    let mut lines = Vec::new();
    assert_eq!(doctor.exit(|line| lines.push(line.to_owned())).code(), Some(1));
    assert!(lines.iter().any(|line| line.starts_with("FAILED   all        interrupted")), "{lines:#?}");
}

#[test]
fn a_service_with_another_address_than_its_users_use_is_found() {
    let service = Service::start();
    let url = service.origin().replace("127.0.0.1", "localhost");
    let diagnosis = Diagnosis::of(&url, Some(&service.ca()), &["--no-chromium"]);
    assert_eq!(diagnosis.with_result("failed"), ["doorbell", "subscribe", "websocket"], "{diagnosis:?}");
    let fix = diagnosis.step("doorbell")["advice"].as_str().unwrap();
    assert!(fix.contains(&format!("--public-url {url}")), "{fix}");
}

#[test]
fn a_service_out_of_reach_and_a_wrong_url_end_the_examination() {
    let refusing = Refusing::bind();
    for (url, step, found, fix, exit) in [
        (
            format!("https://{}", refusing.address()).as_str(),
            "tcp",
            "no address accepts a connection",
            "start the service",
            1,
        ),
        ("http://push.example", "url", "it is http", "give the origin", 2),
        ("nonsense", "url", "is not a URL", "give the origin", 2),
        ("https://no-such-host.invalid", "name", "does not resolve", "A or AAAA record", 1),
    ] {
        let diagnosis = Diagnosis::of(url, None, &[]);
        assert_eq!((diagnosis.with_result("failed"), diagnosis.exit), (vec![step], exit), "{diagnosis:?}");
        diagnosis.finds(step, found, fix);
    }
}

#[test]
fn a_service_that_takes_no_token_without_the_port_is_found_and_the_setting_named() {
    let service = Service::start_with(&["--strict-audience"]);
    let diagnosis = Diagnosis::of(&service.origin(), Some(&service.ca()), &["--no-chromium", "--idle-secs", "0"]);
    assert_eq!((diagnosis.with_result("warning"), diagnosis.exit), (vec!["audience"], 0), "{diagnosis:?}");
    diagnosis.finds("audience", "lacks the port", "strict_audience");
    let lenient = Service::start();
    let diagnosis = Diagnosis::of(&lenient.origin(), Some(&lenient.ca()), &["--no-chromium", "--idle-secs", "0"]);
    diagnosis.finds("audience", "is accepted too", "leave the port out");
}
