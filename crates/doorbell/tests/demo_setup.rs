//! How `doorbell demo` is set up: certificates, servers for calls between networks, a code in the terminal, browsers.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rqrr::PreparedImage;
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use support::clock::Deadline;
use support::process::Running;
use support::{Chromium, Desktop, Firefox, Star};

#[test]
fn a_certificate_reaches_the_listener_and_servers_for_calls_between_networks_reach_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = (folder.path().join("star.pem"), folder.path().join("star.key"));
    let made = rcgen::generate_simple_self_signed(["star.example.org".to_owned()]).unwrap();
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let star = Star::start_with(&[
        "--demo-url=https://star.example.org",
        &format!("--demo-tls-cert={}", chain.display()),
        &format!("--demo-tls-key={}", key.display()),
        "--stun=stun:stun.example.org:3478",
        "--turn=turn:turn.example.org:3478,user,pass,word",
    ]);
    assert_eq!(star.site(), "https://star.example.org");
    let port = star.prints("the demo serves").rsplit_once(':').unwrap().1.parse().unwrap();

    let (_, settings) = asks(port, &chain, "GET", "settings", "");
    let servers = json!([
        { "urls": "stun:stun.example.org:3478" },
        { "urls": "turn:turn.example.org:3478", "username": "user", "credential": "pass,word" },
    ]);
    assert_eq!(settings["iceServers"], servers);
    let (head, _) = asks(port, &chain, "POST", "sign-in", r#"{"name":"Alice"}"#);
    assert!(head.contains("; Secure"), "the cookie stays within TLS: {head}");
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let state = tempfile::tempdir().unwrap();
    let mut command = support::service::doorbell("demo");
    command.args(["--listen=127.0.0.1:0", "--demo-listen=127.0.0.1:0", "--state-dir"]).arg(state.path());
    let mut demo = Running::start(command.args(["--demo-tls-cert=/no/star.pem", "--demo-tls-key=/no/star.key"]));
    assert!(!demo.exit(|_| {}).success());
    demo.prints("cannot use /no/star.pem");
}

#[test]
fn the_terminal_shows_a_code_of_an_address_that_a_phone_can_open_and_of_no_other() {
    let star = Star::start_with(&["--demo-url=https://star.example.org"]);
    star.prints("For the camera of a phone:");
    star.prints("Sign in as Alice");
    let output = star.output();
    let is_drawn = |line: &&str| !line.is_empty() && line.chars().all(|c| " \u{2580}\u{2584}\u{2588}".contains(c));
    let lines: Vec<Vec<char>> = output.lines().filter(is_drawn).map(|line| line.chars().collect()).collect();
    let is_light = |x: usize, y: usize| match lines[y / 2][x] {
        '\u{2580}' => y.is_multiple_of(2),
        '\u{2584}' => !y.is_multiple_of(2),
        block => block == '\u{2588}',
    };
    let (width, height) = (4 * lines[0].len(), 8 * lines.len());
    let luma = |x: usize, y: usize| if is_light(x / 4, y / 4) { 255 } else { 0 };
    let mut image = PreparedImage::prepare_from_greyscale(width, height, luma);
    assert_eq!(image.detect_grids()[0].decode().unwrap().1, "https://star.example.org");

    let at_home = Star::start_with(&[]);
    at_home.prints("Sign in as Alice");
    assert!(!at_home.output().contains('\u{2588}'), "{}", at_home.output());
}

#[test]
fn firefox_and_chromium_are_opened_at_the_demo_and_firefox_is_quit_without_a_question() {
    if !Firefox::is_here() || !Chromium::is_here() || !Desktop::is_here() || !Desktop::shows_windows() {
        return;
    }
    let desktop = Desktop::start();
    let folder = tempfile::tempdir().unwrap();
    let (port, visits) = doorstep();
    let site = format!("--demo-url=http://localhost:{port}");
    let star = Star::start_for(&["--firefox", "--chromium", &site], |command| {
        command.env("HOME", folder.path()).env_remove("XDG_STATE_HOME").envs(desktop.variables());
        command.envs(Firefox::CUT_OFF).env("PATH", Chromium::path_for_tests(folder.path())).process_group(0);
    });
    let _browsers = Group(star.id());
    star.prints("Firefox is kept reachable");
    let (deadline, mut awaited) = (Deadline::soon(), vec!["Firefox/", "Chrome/"]);
    while !awaited.is_empty() {
        let visit = visits.recv_timeout(deadline.left());
        let visit = visit.unwrap_or_else(|_| panic!("no visit of {awaited:?}: {}", star.output()));
        awaited.retain(|browser| !visit.contains(browser));
    }
    assert!(
        !arguments().contains(&format!("localhost:{port}/#")),
        "every user of the machine can read an invitation there"
    );
    desktop.waits_until("Firefox has a window", || desktop.windows().len() == 1);
    desktop.presses("ctrl+q", desktop.windows()[0]);
    desktop.waits_until("Firefox has no window", || desktop.windows().is_empty());
}

/// As root Chromium ends at once, unless its sandbox is switched off.
#[test]
fn a_chromium_that_has_no_sandbox_is_reported_with_what_to_do_and_is_not_started_again() {
    if !Chromium::is_here() || !Desktop::is_here() {
        return;
    }
    let (desktop, folder) = (Desktop::start(), tempfile::tempdir().unwrap());
    let star = Star::start_for(&["--chromium"], |command| {
        command.env("HOME", folder.path()).env_remove("XDG_STATE_HOME").envs(desktop.variables()).process_group(0);
        if !geteuid().is_root() {
            command.env("PATH", Chromium::path_without_sandbox(folder.path()));
        }
    });
    let _browsers = Group(star.id());
    let line = star.prints("a browser is not opened: Chromium ended at once");
    for words in ["without --no-sandbox is not supported", "start it as another user", "doorbell never adds it"] {
        assert!(line.contains(words), "{line}");
    }
    assert!(!star.output().contains("Chromium is kept reachable"), "{}", star.output());
}

/// The arguments of every process.
fn arguments() -> String {
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    let arguments = folders.filter_map(|folder| std::fs::read(folder.path().join("cmdline")).ok());
    arguments.map(|of_one| String::from_utf8_lossy(&of_one).into_owned()).collect::<Vec<_>>().join("\n")
}

/// A port, and the requests of those who knock there: they were sent to the demo's address.
fn doorstep() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, visits) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let sender = sender.clone();
            // A browser opens connections ahead, on which nothing comes for long.
            thread::spawn(move || {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).unwrap_or(0);
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok();
                sender.send(String::from_utf8_lossy(&request[..length]).into_owned()).ok();
            });
        }
    });
    (port, visits)
}

/// The processes that the demo has started.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        let group = i32::try_from(self.0).ok().and_then(Pid::from_raw).expect("a process");
        kill_process_group(group, Signal::KILL).ok();
    }
}

/// One request over TLS to a demo whose certificate is in `chain`: the head of the answer and its JSON.
fn asks(port: u16, chain: &Path, method: &str, path: &str, body: &str) -> (String, Value) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(chain).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("star.example.org").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(("127.0.0.1", port)).unwrap());
    let head = format!("{method} /api/{path} HTTP/1.1\r\nHost: star.example.org\r\nConnection: close");
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    // It closes without a word of TLS.
    stream.read_to_string(&mut answer).ok();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.to_owned(), serde_json::from_str(body).expect("JSON"))
}
