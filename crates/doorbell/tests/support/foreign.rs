//! Clients that are not ours: user agents on Node's http2 and nghttp; and what all of them need.
//!
//! Where their tools are missing a test prints so and passes, except in CI, where that is a failure.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use doorbell_protocol::base64url;
use serde_json::Value;

use super::process::Running;
use super::service::Service;

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

pub(super) fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
