//! The control socket of a real service: `doorbell reload` and SIGHUP, `doorbell status`, and what clients that are not ours
//! may do to it.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use support::clock::Deadline;
use support::peer::Subscribed;
use support::process::Running;
use support::service::doorbell;
use support::{Peer, Service, Star};
use tempfile::TempDir;
use tokio::time::timeout;

/// A service with a configuration file.
struct Configured {
    service: Service,
    folder: TempDir,
}

impl Configured {
    fn start(toml: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("doorbell.toml"), toml).unwrap();
        let config = format!("--config={}", folder.path().join("doorbell.toml").display());
        let service = Service::start_with(&[&[config.as_str()], flags].concat());
        Self { service, folder }
    }

    fn write(&self, toml: &str) {
        fs::write(self.folder.path().join("doorbell.toml"), toml).unwrap();
    }

    /// Reloads with this file: what the command prints.
    fn reload(&self, toml: &str) -> Output {
        self.write(toml);
        run("reload", &[&state_flag(&self.service)])
    }

    async fn peer(&self) -> Peer {
        Peer::connect(&self.service).await.unwrap()
    }
}

fn state_dir(service: &Service) -> PathBuf {
    service.ca().parent().unwrap().to_owned()
}

fn state_flag(service: &Service) -> String {
    format!("--state-dir={}", state_dir(service).display())
}

/// One of our commands, to its end.
fn run(verb: &str, flags: &[&str]) -> Output {
    let mut command = doorbell(verb);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("DOORBELL_")) {
        command.env_remove(name);
    }
    command.args(flags).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn hang_up(service: &Service) {
    let sent = Command::new("kill").args(["-HUP", &service.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

async fn post(peer: &Peer, to: &Subscribed, body: &[u8]) -> support::Reply {
    peer.request(Method::POST, &to.push, &[("ttl", "60")], body).await.unwrap()
}

#[tokio::test]
async fn a_reload_takes_over_limits_rates_answers_and_the_log_and_names_them() {
    let configured = Configured::start("ttl_max_secs = 50\n", &[]);
    let peer = configured.peer().await;
    let to = peer.subscribe().await;
    assert_eq!(post(&peer, &to, b"x").await.headers["ttl"], "50");

    let reloaded = configured.reload("ttl_max_secs = 40\nbody_max = 5000\nalt_svc = 'h2=\":1001\"'\n");
    let expected = "reloaded: alt_svc, ttl_max_secs, body_max\nthe certificate is looked at again\n";
    assert_eq!((stdout(&reloaded).as_str(), reloaded.status.code()), (expected, Some(0)), "{}", stderr(&reloaded));
    let accepted = post(&peer, &to, &[b'x'; 5000]).await;
    assert_eq!((accepted.status, &accepted.headers["ttl"]), (StatusCode::CREATED, &"40".parse().unwrap()));
    assert_eq!(accepted.headers["alt-svc"], "h2=\":1001\"");
    configured.service.prints("reloaded: alt_svc, ttl_max_secs, body_max");

    configured.write("rate_per_subscription = 1\nfirefox = false\nchromium = false\n");
    hang_up(&configured.service);
    configured.service.prints("SIGHUP: reloading");
    configured.service.prints("reloaded: alt_svc, ttl_max_secs, body_max, rate_per_subscription, firefox, chromium");
    assert_eq!(post(&peer, &to, &[b'x'; 5000]).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(post(&peer, &to, b"x").await.status, StatusCode::TOO_MANY_REQUESTS);
    let check_in = peer.request(Method::POST, "/checkin", &[], b"").await.unwrap();
    assert_eq!(check_in.status, StatusCode::NOT_FOUND, "the same connection goes on");

    assert!(configured.reload("agents_max = 1\nunused_agents_max = 1\n").status.success());
    let refused = peer.request(Method::POST, "/subscribe", &[], b"").await.unwrap();
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "the bound of the store");
    configured.service.prints("the store holds as much as agents_max allows");
}

#[test]
fn a_reload_changes_what_is_logged_and_a_filter_that_is_none_changes_nothing() {
    let configured = Configured::start("", &[]);
    let garbage = || {
        let mut stream = TcpStream::connect(configured.service.authority()).unwrap();
        stream.write_all(&[0; 64]).unwrap();
        // The service ends the connection.
        stream.read_to_end(&mut Vec::new()).ok();
    };
    garbage();
    assert!(configured.reload("log = 'info,doorbell_service=debug'\n").status.success());
    assert!(!configured.service.output().contains("a connection did not open"), "nothing of it is logged at first");
    garbage();
    configured.service.prints("a connection did not open");
    let refused = configured.reload("log = 'loud'\nttl_max_secs = 1\n");
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("\"loud\" is not a level"), "{}", stderr(&refused));
    let reloaded = configured.reload("ttl_max_secs = 2\nlog = 'error'\n");
    assert!(stdout(&reloaded).starts_with("reloaded: ttl_max_secs, log\n"), "{}", stdout(&reloaded));
    assert!(!configured.service.output().contains("reloaded: ttl_max_secs"), "that is not logged as an error");
}

#[tokio::test]
async fn what_needs_a_restart_is_named_in_the_answer_and_the_log_until_there_is_one() {
    let mut configured = Configured::start("", &[]);
    let toml = "public_url = 'https://push.example.org'\nplain = true\ndisk_reserve_bytes = 0\nttl_max_secs = 9\n";
    let named = "needs a restart: public_url, plain, disk_reserve_bytes";
    let first = configured.reload(toml);
    let expected = format!("reloaded: ttl_max_secs\n{named}\nthe certificate is looked at again\n");
    assert_eq!((stdout(&first), first.status.code()), (expected, Some(0)));
    configured.service.prints(named);
    let again = stdout(&configured.reload(toml));
    assert!(again.starts_with(&format!("reloaded: nothing changes before a restart\n{named}\n")), "{again}");
    let peer = configured.peer().await;
    let to = peer.subscribe().await;
    assert!(to.push.starts_with(&configured.service.origin()), "until then it is as it was: {}", to.push);
    assert_eq!(post(&peer, &to, b"x").await.headers["ttl"], "9");
    configured.service.ends();
}

#[test]
fn a_reload_reports_a_certificate_that_cannot_be_used_and_the_old_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let flags = [format!("--tls-cert={}", cert.display()), format!("--tls-key={}", key.display())];
    let configured = Configured::start("", &flags.each_ref().map(String::as_str));
    assert!(configured.reload("ttl_max_secs = 50\n").status.success());
    fs::write(&cert, "garbage").unwrap();
    let reloaded = configured.reload("ttl_max_secs = 40\n");
    assert_eq!(reloaded.status.code(), Some(1));
    assert!(stdout(&reloaded).starts_with("reloaded: ttl_max_secs\n"), "{}", stdout(&reloaded));
    let error = stderr(&reloaded);
    assert!(error.contains("the new certificate cannot be used, and the old one stays"), "{error}");
    assert!(error.contains(&cert.display().to_string()), "{error}");
    hang_up(&configured.service);
    configured.service.prints_times("reload: the new certificate cannot be used, and the old one stays", 2);
    let status = run("status", &[&state_flag(&configured.service)]);
    assert_eq!(status.status.code(), Some(0), "clients get the old one");
    assert!(stdout(&status).contains("the next one cannot be used"), "{}", stdout(&status));
    fs::write(&cert, made.cert.pem()).unwrap();
    let reloaded = configured.reload("ttl_max_secs = 40\n");
    assert_eq!((reloaded.status.code(), stderr(&reloaded)), (Some(0), String::new()));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_changes_nothing_and_the_error_says_what_is_wrong() {
    let configured = Configured::start("ttl_max_secs = 50\n", &[]);
    let peer = configured.peer().await;
    let to = peer.subscribe().await;
    for (toml, reason) in [
        ("ttl_max_secs = 40\nttl_max_sec = 1\n", "did you mean `ttl_max_secs`?"),
        ("ttl_max_secs = 40\nbody_max = 1\n", "body_max must be between 4096"),
        ("ttl_max_secs = 40\nbody_max = 'x'\n", "line 2"),
        ("ttl_max_secs = 40\nplain = true\ntls_cert = 'x'\ntls_key = 'y'\n", "plain and tls_cert exclude each other"),
        ("ttl_max_secs = 40\n[", "line 2"),
    ] {
        let refused = configured.reload(toml);
        assert_eq!((refused.status.code(), stdout(&refused).as_str()), (Some(1), ""), "{toml}");
        let said = stderr(&refused);
        assert!(said.contains(reason) && said.contains("nothing has changed"), "{toml}: {said}");
        assert_eq!(post(&peer, &to, b"x").await.headers["ttl"], "50", "{toml}");
    }
    fs::remove_file(configured.folder.path().join("doorbell.toml")).unwrap();
    hang_up(&configured.service);
    configured.service.prints("cannot read the configuration file");
    assert_eq!(post(&peer, &to, b"x").await.headers["ttl"], "50");
}

#[test]
fn the_status_of_a_running_service_is_shown_and_that_none_runs_is_said() {
    let mut service = Service::start();
    let flag = state_flag(&service);
    let shown = run("status", &[&flag]);
    assert_eq!(shown.status.code(), Some(0), "{}{}", stdout(&shown), stderr(&shown));
    let origin = stdout(&shown).lines().find(|line| line.starts_with("origin")).unwrap().to_owned();
    assert!(origin.ends_with(&service.origin()), "{origin}");
    let json = run("status", &[&flag, "--json"]);
    let status: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(status["origin"], service.origin());
    assert_eq!(status["readiness"]["is_ready"], json!(true));

    // The directory may come from the environment, or from the configuration, whatever else is in it.
    let from_environment = doorbell("status").env("DOORBELL_STATE_DIR", state_dir(&service)).output().unwrap();
    assert_eq!(from_environment.status.code(), Some(0));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorbell.toml");
    fs::write(&file, format!("state_dir = '{}'\nunknown = 1\n", state_dir(&service).display())).unwrap();
    assert_eq!(run("status", &["--config", file.to_str().unwrap()]).status.code(), Some(0));

    service.ends();
    assert!(!state_dir(&service).join("control.sock").exists(), "a service that ends in order removes it");
    let absent = run("status", &[&flag]);
    assert_eq!(absent.status.code(), Some(3));
    assert!(stdout(&absent).contains("no service runs with the state directory"), "{}", stdout(&absent));
    assert!(stdout(&absent).contains("database"), "{}", stdout(&absent));
    let json: Value = serde_json::from_slice(&run("status", &[&flag, "--json"]).stdout).unwrap();
    assert_eq!(json["running"], json!(false));
    let refused = run("reload", &[&flag]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("nothing is reloaded") && stderr(&refused).contains("doorbell serve"));
    let nowhere = run("reload", &["--state-dir=/nowhere"]);
    assert!(stderr(&nowhere).contains("which does not exist"), "{}", stderr(&nowhere));
}

/// A client whose request is being served and ends when the test sends the rest: it holds a drain.
struct Unfinished(TcpStream);

impl Unfinished {
    fn begin(service: &Service) -> Self {
        let mut stream = TcpStream::connect(service.authority()).unwrap();
        stream.set_read_timeout(Some(Deadline::soon().left())).unwrap();
        let head = "POST /subscribe HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        Self(stream)
    }

    fn end(mut self) {
        self.0.write_all(b"1234567890").unwrap();
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "what was begun is answered: {answer}");
    }
}

/// A service without TLS whose drain waits for a request: longer than the test takes.
fn draining() -> (Configured, Unfinished) {
    let configured = Configured::start("drain_timeout_secs = 600\n", &["--plain"]);
    let unfinished = Unfinished::begin(&configured.service);
    configured.service.terminate();
    configured.service.prints("SIGTERM: draining");
    (configured, unfinished)
}

#[test]
fn a_service_that_drains_shows_that_it_runs_and_drains_and_is_not_reloaded() {
    let (mut configured, unfinished) = draining();
    let flag = state_flag(&configured.service);
    // The log's line comes a moment before.
    let deadline = Deadline::soon();
    let status = loop {
        let shown = run("status", &[&flag, "--json"]);
        let status: Value = serde_json::from_slice(&shown.stdout).unwrap();
        if status["is_draining"] == json!(true) {
            assert_eq!(shown.status.code(), Some(1), "{status:#}");
            break status;
        }
        assert!(!deadline.left().is_zero(), "it does not drain: {status:#}");
    };
    assert_eq!((&status["running"], &status["readiness"]["is_ready"]), (&json!(true), &json!(false)));
    let lines = stdout(&run("status", &[&flag]));
    let has = |name: &str, value: &str| {
        lines.lines().any(|line| line.starts_with(name) && line.trim_start_matches(name).trim().starts_with(value))
    };
    assert!(has("running ", "yes") && has("draining ", "yes"), "{lines}");
    assert!(has("readiness running ", "NOT OK: the service is stopping"), "{lines}");

    let refused = configured.reload("ttl_max_secs = 50\n");
    assert_eq!((refused.status.code(), stdout(&refused)), (Some(1), String::new()));
    assert!(stderr(&refused).contains("the service is stopping: not reloaded"), "{}", stderr(&refused));
    hang_up(&configured.service);
    configured.service.prints("SIGHUP: stopping: not reloaded");

    unfinished.end();
    configured.service.has_ended();
    configured.service.prints("stopped");
    assert!(!state_dir(&configured.service).join("control.sock").exists());
    assert_eq!(run("status", &[&flag]).status.code(), Some(3));
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let (configured, _unfinished) = draining();
    configured.service.terminate();
    configured.service.prints("SIGTERM again: stopping at once");
}

#[test]
fn a_file_that_is_never_read_to_its_end_holds_neither_the_signals_nor_the_end_of_the_service() {
    let mut configured = Configured::start("", &[]);
    let file = configured.folder.path().join("doorbell.toml");
    fs::remove_file(&file).unwrap();
    // To open it for reading waits for a writer, as a disk does that hangs.
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let signals = 20;
    for _ in 0..signals {
        hang_up(&configured.service);
    }
    configured.service.prints("SIGHUP: reloading");
    let status = run("status", &[&state_flag(&configured.service)]);
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
    // The first reload ends, and all signals that came meanwhile are one more.
    drop(fs::OpenOptions::new().write(true).open(&file).unwrap());
    configured.service.prints_times("SIGHUP: reloading", 2);
    configured.service.ends();
    let reloads = configured.service.count("SIGHUP: reloading");
    assert!((2..signals).contains(&reloads), "{reloads} lines:\n{}", configured.service.output());
}

#[test]
fn a_process_that_has_the_state_directory_and_no_socket_is_running_and_not_ready() {
    let service = Service::start();
    // As a service that starts, or that could not open it.
    fs::remove_file(state_dir(&service).join("control.sock")).unwrap();
    let shown = run("status", &[&state_flag(&service), "--json"]);
    let json: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((json["running"].clone(), shown.status.code()), (json!(true), Some(1)));
}

#[test]
fn the_demo_takes_over_the_log_has_a_control_socket_and_is_reloaded_like_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("doorbell.toml");
    fs::write(&file, "log = 'info,doorbell=warn'\n").unwrap();
    let star = Star::start_with(&[&format!("--config={}", file.display())]);
    let flag = format!("--state-dir={}", star.ca().parent().unwrap().display());
    let hang_up = || {
        let sent = Command::new("kill").args(["-HUP", &star.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    assert!(!star.output().contains("the demo serves"), "that part logs its warnings only: {}", star.output());
    let shown = run("status", &[&flag, "--json"]);
    let status: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&status["origin"], shown.status.code()), (&json!(star.push_service()), Some(0)));

    fs::write(&file, "ttl_max_secs = 50\nlog_format = 'json'\n").unwrap();
    let reloaded = run("reload", &[&flag]);
    assert!(stdout(&reloaded).starts_with("reloaded: ttl_max_secs, log, log_format\n"), "{}", stderr(&reloaded));
    hang_up();
    let line = star.prints("SIGHUP: reloading");
    assert!(line.contains("\"message\":\"SIGHUP: reloading\""), "{line}");
    star.prints("reloaded: no setting has changed");
    assert_eq!(run("status", &[&flag]).status.code(), Some(0), "SIGHUP does not end it");
}

#[test]
fn the_demo_writes_lines_of_json_from_its_start_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = (folder.path().join("doorbell.toml"), folder.path().join("state"));
    fs::write(&file, "log_format = 'json'\n").unwrap();
    let mut command = doorbell("demo");
    command.args(["--listen=127.0.0.1:0", "--demo-listen=127.0.0.1:0", "--config"]).arg(&file);
    let mut demo = Running::start(command.arg("--state-dir").arg(&state));
    let line = demo.prints("\"message\":\"listening\"");
    assert!(line.contains("\"origin\":\"https://127.0.0.1:") && line.contains("\"site\":\"http"), "{line}");
    demo.terminate();
    assert!(demo.exit(|line| assert!(line.is_empty() || line.starts_with('{'), "not JSON: {line}")).success());
    assert!(!state.join("control.sock").exists());
}

#[test]
fn two_services_with_two_state_directories_are_told_apart() {
    let (first, second) = (Service::start(), Service::start());
    for service in [&first, &second] {
        let status: Value = serde_json::from_slice(&run("status", &[&state_flag(service), "--json"]).stdout).unwrap();
        assert_eq!(status["origin"], service.origin());
    }
    let reloaded = run("reload", &[&state_flag(&first)]);
    assert!(stdout(&reloaded).contains("started without --config"), "{}", stdout(&reloaded));
    first.prints("reloaded: no setting has changed");
    assert!(!second.output().contains("reloaded"));
}

#[test]
fn the_socket_is_its_owners_alone_and_one_that_was_left_behind_is_replaced() {
    let mut service = Service::start();
    let socket = state_dir(&service).join("control.sock");
    let is_private = || {
        let metadata = fs::symlink_metadata(&socket).unwrap();
        metadata.file_type().is_socket() && metadata.permissions().mode() & 0o777 == 0o600
    };
    assert!(is_private());
    service.kill();
    assert!(socket.exists());
    assert_eq!(run("status", &[&state_flag(&service)]).status.code(), Some(3), "it leads nowhere");
    service.start_again();
    assert!(is_private());
    assert_eq!(run("status", &[&state_flag(&service)]).status.code(), Some(0));
    service.ends();
    fs::write(&socket, "precious").unwrap();
    service.start_again();
    service.prints("control.sock is there and is not a socket");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn a_state_directory_with_a_longer_path_than_an_address_has_a_socket_too() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("d".repeat(100)).join("e".repeat(100)).join("f".repeat(100));
    let mut service =
        Running::start(doorbell("serve").args(["--plain", "--listen=127.0.0.1:0", "--state-dir"]).arg(&state));
    service.prints("listening on");
    assert!(fs::symlink_metadata(state.join("control.sock")).unwrap().file_type().is_socket());
    let flag = format!("--state-dir={}", state.display());
    assert_eq!(run("status", &[&flag]).status.code(), Some(0));
    assert!(run("reload", &[&flag]).status.success());
    service.terminate();
    assert!(service.exit(|_| {}).success());
    assert!(!state.join("control.sock").exists());
}

/// What the socket answers to these bytes.
fn asked(socket: &Path, bytes: &[u8]) -> Option<Value> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Deadline::soon().left())).unwrap();
    // The service may have read enough before all is written.
    stream.write_all(bytes).ok();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

#[test]
fn foreign_bytes_get_an_error_that_shows_what_to_send_and_a_thousand_such_clients_do_no_harm() {
    let service = Service::start();
    let socket = state_dir(&service).join("control.sock");
    let unknown = asked(&socket, b"{\"verb\":\"explode\"}\n").unwrap();
    assert_eq!(unknown["error"]["hint"], "the verbs are: reload, status");
    for junk in [&b"\n"[..], b"GET / HTTP/1.1\r\n", b"\xff\xfe\n", b"[1]\n", b"{\"verb\":[]}\n", b"{}\n"] {
        let answer = asked(&socket, junk).unwrap();
        assert!(answer["error"]["hint"].as_str().unwrap().contains("{\"verb\":\"status\"}"), "{answer}");
    }
    let endless = asked(&socket, &vec![b'x'; 4 << 20]);
    assert!(endless.is_none_or(|answer| answer["error"].is_object()));
    let nested = [b"{\"verb\":".to_vec(), vec![b'['; 60_000], b"\n".to_vec()].concat();
    assert!(asked(&socket, &nested).unwrap()["error"].is_object());

    let mut held = Vec::new();
    for n in 0..1000_u32 {
        let mut stream = UnixStream::connect(&socket).unwrap();
        match n % 3 {
            0 => drop(stream),
            1 => stream.write_all(b"garbage\n").unwrap(),
            // Some stay, without a whole line; fewer than the places.
            _ if held.len() < 8 => {
                stream.write_all(b"{\"verb\"").unwrap();
                held.push(stream);
            }
            _ => stream.write_all(&[0; 100]).unwrap(),
        }
    }
    let status = run("status", &[&state_flag(&service)]);
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
    assert!(!service.output().contains("panicked"));
}

/// The owner of the service can always ask: these are more clients than the service takes, and they stay.
#[test]
fn clients_that_say_nothing_or_wait_for_a_reload_that_hangs_do_not_keep_the_owner_out() {
    let configured = Configured::start("", &[]);
    let (socket, flag) = (state_dir(&configured.service).join("control.sock"), state_flag(&configured.service));
    let silent: Vec<UnixStream> = (0..600).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let status = run("status", &[&flag]);
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));

    let file = configured.folder.path().join("doorbell.toml");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let mut reloads: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    for stream in &mut reloads {
        // The service may have closed it for a later one.
        stream.write_all(b"{\"verb\":\"reload\"}\n").ok();
    }
    let status = run("status", &[&flag]);
    assert_eq!(status.status.code(), Some(0), "{}", stderr(&status));
    drop((silent, reloads));
}

#[test]
fn an_admin_listener_in_the_place_of_the_control_socket_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (state, link) = (folder.path().join("state"), folder.path().join("link"));
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink(&state, &link).unwrap();
    for path in [&state, &link] {
        let mut command = doorbell("serve");
        command.args(["--plain", "--listen=127.0.0.1:0", "--state-dir"]).arg(&state);
        let admin = format!("--admin-listen=unix:{}", path.join("control.sock").display());
        let mut service = Running::start(command.arg(admin));
        service.prints("is the control socket of the service");
        assert!(!service.exit(|_| {}).success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_hundred_reloads_no_message_is_lost_and_no_connection_is_cut() {
    let configured = Configured::start("", &[]);
    let (sender, agent) = (configured.peer().await, configured.peer().await);
    let to = agent.subscribe().await;
    let mut pushes = agent.monitor(&to.subscription, true).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn({
        let (done, push) = (done.clone(), to.push.clone());
        async move {
            let mut accepted = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let request = sender.request(Method::POST, &push, &[("ttl", "600")], b"x");
                let reply = request.await.expect("the sender's connection is not cut");
                assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
                accepted.push(reply.location());
            }
            accepted
        }
    });
    let receiving = tokio::spawn(async move {
        let mut received = HashSet::new();
        while let Ok(Some(pushed)) = timeout(Deadline::soon().left(), pushes.recv()).await {
            if pushed.reply.body.as_ref() == b"last" {
                return received;
            }
            let acknowledged = agent.request(Method::DELETE, &pushed.path, &[], b"").await;
            let status = acknowledged.expect("the agent's connection is not cut").status;
            assert_eq!(status, StatusCode::NO_CONTENT);
            received.insert(pushed.path);
        }
        panic!("the stream ended after {} messages", received.len());
    });
    let configured = tokio::task::spawn_blocking(move || {
        for n in 0..50 {
            // Bounds above and below what is in use; none turns this sender away.
            let (connections, rate) = if n % 2 == 0 { (4, 0) } else { (16_384, 1_000_000) };
            let reloaded = configured.reload(&format!(
                "connections_max = {connections}\nrate_per_subscription = {rate}\nack_timeout_secs = {}\n\
                 messages_per_agent_max = {}\nidle_timeout_secs = {}\n",
                1 + n % 7,
                20_000 + n,
                60 + n
            ));
            assert!(reloaded.status.success(), "{}", stderr(&reloaded));
            hang_up(&configured.service);
        }
        configured
    });
    let configured = configured.await.unwrap();
    done.store(true, Ordering::Relaxed);
    let accepted = sending.await.unwrap();
    let last = configured.peer().await.request(Method::POST, &to.push, &[("ttl", "600")], b"last").await.unwrap();
    assert_eq!(last.status, StatusCode::CREATED);
    let received = receiving.await.unwrap();
    let lost = accepted.iter().filter(|location| !received.iter().any(|path| location.ends_with(path.as_str())));
    assert_eq!(lost.count(), 0, "of {}", accepted.len());
    assert!(accepted.len() > 100, "only {} were sent", accepted.len());
}
