//! Clients that are not ours: senders on npm and PyPI, user agents on Node's http2 and nghttp.
//!
//! Where their tools are missing a test prints so and passes, except in CI, where that is a failure.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use doorbell_protocol::base64url;
use doorbell_protocol::vapid::sign::SigningKey;
use serde_json::{Value, json};

use super::process::Running;
use super::service::Service;

/// How long a message is kept: longer than any test takes.
const TTL_SECS: u32 = 600;

/// A foreign application server.
#[derive(Clone, Copy, Debug)]
pub enum Sender {
    /// npm's web-push: `aes128gcm`, `Authorization: vapid`.
    WebPush,
    /// npm's web-push: `aesgcm`, `Authorization: WebPush`.
    WebPushLegacy,
    /// PyPI's pywebpush: `aes128gcm`, `Authorization: vapid`.
    Pywebpush,
    /// PyPI's pywebpush: `aesgcm`, `Authorization: vapid`.
    PywebpushLegacy,
    /// npm's @pushforge/builder: `aesgcm`, `Authorization: vapid`.
    Pushforge,
    /// npm's webpush-webcrypto: `aesgcm`, `Authorization: WebPush`.
    WebpushWebcrypto,
}

impl Sender {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::WebPush,
        Self::WebPushLegacy,
        Self::Pywebpush,
        Self::PywebpushLegacy,
        Self::Pushforge,
        Self::WebpushWebcrypto,
    ];

    /// Whether its tools are here.
    pub fn is_here(self) -> bool {
        match self {
            Self::Pywebpush | Self::PywebpushLegacy => here("pywebpush", python().is_file()),
            _ => here("npm's senders", senders().join("node_modules/.installed").is_file() && runs("node")),
        }
    }

    /// Sends `text` to the W3C `subscription`: the service's answer.
    pub fn send(self, text: &str, subscription: &Value, service: &Service) -> Value {
        self.send_with(&SigningKey::generate().expect("a key"), &json!({}), text, subscription, service)
    }

    /// The same, signed with `key`, which is the one that the subscription was made for. npm's web-push also sends the
    /// `headers`.
    pub fn send_with(
        self,
        key: &SigningKey,
        headers: &Value,
        text: &str,
        subscription: &Value,
        service: &Service,
    ) -> Value {
        let job = json!({ "text": text, "headers": headers });
        self.does(key, job, subscription, service).pop().expect("an answer")
    }

    /// Does a job that names what to send: the service's answers, as many as there are texts.
    pub fn does(self, key: &SigningKey, what: Value, subscription: &Value, service: &Service) -> Vec<Value> {
        let mut job = json!({
            "subscription": subscription,
            "vapid": {
                "publicKey": key.public_key().to_base64url(),
                "privateKey": *key.to_base64url().expect("a private key"),
                "subject": "mailto:tests@example.org",
            },
            "ca": service.ca(),
            "ttl": TTL_SECS,
            "encoding": self.encoding(),
        });
        for (name, value) in what.as_object().expect("a job is an object") {
            job[name] = value.clone();
        }
        let mut child = self.command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a sender");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(job.to_string().as_bytes()).expect("it reads its job");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{self:?} failed");
        output.stdout.trim_ascii_end().split(|byte| *byte == b'\n').map(answer).collect()
    }

    /// What arrives when it sends `text`: @pushforge/builder has no payloads but JSON.
    pub fn payload(self, text: &str) -> String {
        if matches!(self, Self::Pushforge) { json!(text).to_string() } else { text.to_owned() }
    }

    fn encoding(self) -> &'static str {
        if matches!(self, Self::WebPush | Self::Pywebpush) { "aes128gcm" } else { "aesgcm" }
    }

    fn command(self) -> Command {
        let (program, script) = match self {
            Self::WebPush | Self::WebPushLegacy => (PathBuf::from("node"), "web_push.mjs"),
            Self::Pywebpush | Self::PywebpushLegacy => (python(), "pywebpush_sender.py"),
            Self::Pushforge => (PathBuf::from("node"), "pushforge.mjs"),
            Self::WebpushWebcrypto => (PathBuf::from("node"), "webpush_webcrypto.mjs"),
        };
        let mut command = Command::new(program);
        command.arg(senders().join(script));
        command
    }
}

fn answer(line: &[u8]) -> Value {
    serde_json::from_slice(line).expect("its answer is JSON")
}

/// A foreign user agent on Node's http2 module.
pub struct NodeAgent {
    process: Running,
    /// Events that were read while waiting for one of another kind.
    passed_over: VecDeque<Value>,
}

/// What Node received.
#[derive(Debug)]
pub struct NodePush {
    pub path: String,
    pub headers: Value,
    pub body: Vec<u8>,
}

impl From<&Value> for NodePush {
    fn from(event: &Value) -> Self {
        Self {
            path: event["path"].as_str().expect("a path").to_owned(),
            headers: event["headers"].clone(),
            body: base64url::decode_lenient(event["body"].as_str().expect("a body")).expect("base64"),
        }
    }
}

impl NodeAgent {
    /// Whether Node is here.
    pub fn is_here() -> bool {
        here("Node", runs("node"))
    }

    /// Holds a request open on `subscription` until it has `pushes` messages, and deletes each.
    pub fn holding(subscription: &str, pushes: usize, service: &Service) -> Self {
        Self::start(service, &["--monitor", subscription, "--pushes", &pushes.to_string()])
    }

    /// Asks once, with `Prefer: wait=0`, and deletes what came.
    pub fn draining(subscription: &str, service: &Service) -> Self {
        Self::start(service, &["--monitor", subscription, "--wait0"])
    }

    /// The same, with room for `streams` pushes at a time.
    pub fn draining_narrowly(subscription: &str, streams: usize, service: &Service) -> Self {
        Self::start(service, &["--monitor", subscription, "--wait0", "--streams", &streams.to_string()])
    }

    /// The next message.
    pub fn receives(&mut self) -> NodePush {
        NodePush::from(&self.event("push"))
    }

    /// The status of the answer to its DELETE of the next message.
    pub fn deletes(&mut self) -> u64 {
        self.event("deleted")["status"].as_u64().expect("a status")
    }

    /// The status of the answer to its request.
    pub fn is_answered(&mut self) -> u64 {
        self.event("answer")["status"].as_u64().expect("a status")
    }

    /// Waits until it has left, in order.
    pub fn leaves(mut self) {
        let status = self.process.exit(|_| {});
        assert!(status.success(), "{status}:\n{}", self.process.output());
    }

    /// Waits until it has left, in order or not: the messages that the test has not waited for.
    pub fn ends(mut self) -> Vec<NodePush> {
        self.process.exit(|line| self.passed_over.extend(serde_json::from_str::<Value>(line)));
        self.passed_over.iter().filter(|event| event["event"] == "push").map(NodePush::from).collect()
    }

    fn event(&mut self, kind: &str) -> Value {
        let is_wanted = |event: &Value| event["event"] == kind;
        if let Some(event) = self.passed_over.iter().position(is_wanted).and_then(|at| self.passed_over.remove(at)) {
            return event;
        }
        let passed_over = &mut self.passed_over;
        self.process.wait_for(&format!("event {kind}"), |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            if is_wanted(&event) {
                return Some(event);
            }
            passed_over.push_back(event);
            None
        })
    }

    fn start(service: &Service, args: &[&str]) -> Self {
        let mut command = Command::new("node");
        command.arg(tree("e2e/clients/http2_agent.mjs"));
        command.args(["--base", &service.origin(), "--ca"]).arg(service.ca()).args(args);
        Self { process: Running::start(&mut command), passed_over: VecDeque::new() }
    }
}

/// What `nghttp` prints when it gets `url` with `Prefer: wait=0`; `None` if it is not here.
pub fn nghttp(url: &str, headers: &[&str]) -> Option<String> {
    if !here("nghttp", runs("nghttp")) {
        return None;
    }
    let mut command = Command::new("nghttp");
    command.args(["--verbose", "--no-verify-peer", "--timeout=30"]);
    for header in headers {
        command.args(["--header", header]);
    }
    let output = command.arg(url).stdin(Stdio::null()).output().expect("nghttp runs");
    assert!(output.status.success(), "nghttp: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a foreign tool is installed; prints a notice when it is not. In CI that fails the test.
pub fn here(tool: &str, here: bool) -> bool {
    if !here {
        let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        assert!(!in_ci, "{tool} is missing, and in CI it must not be: `cargo xtask setup` installs it");
        // Past the test runner's capture, which would hide it because the test passes.
        writeln!(std::io::stderr(), "!! SKIPPED: {tool} is missing; `cargo xtask setup` installs it").ok();
    }
    here
}

pub(super) fn runs(tool: &str) -> bool {
    let version = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn senders() -> PathBuf {
    tree("e2e/senders")
}

/// The Python environment that `cargo xtask setup` makes.
fn python() -> PathBuf {
    tree("target/e2e-python/bin/python")
}

pub(super) fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
