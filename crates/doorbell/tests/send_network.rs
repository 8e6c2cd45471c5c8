//! `doorbell send` and what stands between it and a push service: HTTP proxies (CONNECT), and certificates.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use doorbell_protocol::ece::keys::AgentKeys;
use support::peer::tls_trusting;
use support::process::Running;
use support::service::doorbell;
use support::{Faults, Front, Peer};
use tempfile::TempDir;

/// The host of the push service, which no resolver knows.
const HOST: &str = "push.doorbell.invalid";

/// A proxy that knows one host, and where that is. It passes on the heads of the requests.
fn proxy_to(service: u16, answer: Option<&'static str>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (heads, received) = channel();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            heads.send(head).ok();
            (&client).write_all(answer.unwrap_or("HTTP/1.1 200 OK\r\n\r\n").as_bytes()).ok();
            if answer.is_none() {
                join(&client, &TcpStream::connect(("127.0.0.1", service)).unwrap());
            }
        }
    });
    (origin, received)
}

fn join(client: &TcpStream, service: &TcpStream) {
    for (from, to) in [(client, service), (service, client)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || {
            std::io::copy(&mut from, &mut to).ok();
            to.shutdown(Shutdown::Both).ok();
        });
    }
}

/// A service that its users reach by [`HOST`], and a subscription there.
struct Away {
    state: TempDir,
    port: u16,
    subscription: String,
    _service: Running,
}

impl Away {
    async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = doorbell("serve");
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--public-url", &format!("https://{HOST}:{port}")]);
        let service = Running::start(command.arg("--state-dir").arg(state.path()));
        service.wait_for("line `listening on`", |line| line.starts_with("listening on").then_some(()));
        let tls = tls_trusting(&state.path().join("ca.pem"));
        let origin = format!("https://{HOST}:{port}");
        let peer = Peer::connect_with(&origin, &format!("127.0.0.1:{port}"), tls).await.unwrap();
        let push = peer.subscribe().await.push;
        let endpoint = format!("{origin}/{}", push.trim_start_matches(&origin).trim_start_matches('/'));
        Self { state, port, subscription: subscription(&endpoint), _service: service }
    }

    fn sends(&self, environment: &[(&str, &str)]) -> (i32, String) {
        sends(&self.subscription, Some(&self.state.path().join("ca.pem")), environment)
    }
}

fn subscription(endpoint: &str) -> String {
    let agent = AgentKeys::generate().unwrap();
    let (auth, p256dh) = (agent.auth_secret().to_base64url(), agent.public_key().to_base64url());
    format!(r#"{{"endpoint":"{endpoint}","keys":{{"auth":"{auth}","p256dh":"{p256dh}"}}}}"#)
}

/// The exit status of `doorbell send`, and what it prints to stderr.
fn sends(subscription: &str, ca: Option<&Path>, environment: &[(&str, &str)]) -> (i32, String) {
    let state = tempfile::tempdir().unwrap();
    let mut command = doorbell("send");
    command.args([subscription, "ding", "--attempts", "1"]).stdin(Stdio::null());
    if let Some(ca) = ca {
        command.arg("--ca").arg(ca);
    }
    for name in ["HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env("DOORBELL_STATE_DIR", state.path()).envs(environment.iter().copied());
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_through_the_proxy_that_the_environment_names() {
    let service = Away::start().await;
    let (proxy, heads) = proxy_to(service.port, None);
    let with_password = proxy.replace("http://", "http://ops:secret@");
    let (exit, printed) = service.sends(&[("HTTPS_PROXY", &with_password)]);
    assert_eq!(exit, 0, "{printed}");
    assert!(printed.contains(&format!("through the proxy {proxy}")) && !printed.contains("secret"), "{printed}");
    let head = heads.recv().unwrap().to_lowercase();
    assert!(head.starts_with(&format!("connect {HOST}:{} http/1.1\r\n", service.port)), "{head}");
    assert!(head.contains("proxy-authorization: basic b3bzonnly3jlda=="), "{head}");

    let (exit, printed) = service.sends(&[("https_proxy", &proxy), ("HTTPS_PROXY", "http://127.0.0.1:1")]);
    assert_eq!(exit, 0, "small letters come first, as curl reads them: {printed}");
    let (exit, printed) = service.sends(&[("all_proxy", &proxy)]);
    assert_eq!(exit, 0, "{printed}");
    let (exit, printed) = service.sends(&[("HTTPS_PROXY", &proxy), ("NO_PROXY", "doorbell.invalid")]);
    assert!(exit == 5 && !printed.contains("proxy"), "the name does not resolve: {exit} {printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_and_one_that_cannot_be_used_are_named() {
    let service = Away::start().await;
    let (proxy, _heads) = proxy_to(service.port, Some("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"));
    let (exit, printed) = service.sends(&[("HTTPS_PROXY", &proxy)]);
    let wants_login = format!("the proxy {proxy} wants a user name and a password");
    assert!(exit == 1 && printed.contains(&wants_login) && !printed.contains("gave up"), "{exit} {printed}");
    let (away, _heads) = proxy_to(service.port, Some("HTTP/1.1 503 Service Unavailable\r\n\r\n"));
    let (exit, printed) = service.sends(&[("HTTPS_PROXY", &away)]);
    assert!(exit == 5 && printed.contains(&format!("the proxy {away} refuses to connect")), "{exit} {printed}");
    let (exit, printed) = service.sends(&[("HTTPS_PROXY", "socks5://127.0.0.1:1080")]);
    assert!(exit == 2 && printed.contains("HTTPS_PROXY") && printed.contains("not an HTTP proxy"), "{exit} {printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_advice_about_a_certificate_is_for_what_is_wrong_with_it() {
    let expired = Front::with(Faults { last_year: 2020, ..Faults::default() }).await;
    let misnamed = Front::with(Faults { name: "other.example", ..Faults::default() }).await;
    let foreign = Front::with(Faults::default()).await;
    for (front, ca, reason, advice) in [
        (&expired, expired.ca(), "it has expired", "doorbell doctor https://"),
        (&misnamed, misnamed.ca(), "it is for another host", "--public-url"),
        (&foreign, expired.ca(), "no authority that is trusted here has signed it", "with --ca"),
    ] {
        let (exit, printed) = sends(&subscription(&format!("{}/p/x", front.origin())), Some(&ca), &[]);
        assert_eq!(exit, 1, "{printed}");
        assert!(printed.contains(reason) && printed.contains(advice), "{printed}");
        assert_eq!(printed.contains("--ca"), advice.contains("--ca"), "{printed}");
    }
}

#[test]
fn a_server_without_tls_is_named_as_one() {
    let service = support::Service::start_with(&["--plain"]);
    let (exit, printed) = sends(&subscription(&format!("{}/p/x", service.origin())), None, &[]);
    assert!(exit == 5 && printed.contains("the server there does not use TLS"), "{exit} {printed}");
}

#[test]
fn a_file_of_authorities_that_cannot_be_used_is_named() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (file, why) in [(empty.path(), "no certificate"), (Path::new("/nowhere/ca.pem"), "No such file")] {
        let (exit, printed) = sends(&subscription("https://push.example.net/p/x"), Some(file), &[]);
        assert!(exit == 2 && printed.contains(why) && printed.contains(file.to_str().unwrap()), "{exit} {printed}");
    }
}
