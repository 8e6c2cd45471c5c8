//! Application servers that are not ours: libraries on npm and PyPI, each with a small script in `e2e/senders`.
//!
//! Where their tools are missing a test prints so and passes, except in CI, where that is a failure.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use doorbell_protocol::vapid::sign::SigningKey;
use serde_json::{Value, json};

use super::foreign::{here, runs, tree};

/// How long a message is kept: longer than any test takes.
const TTL_SECS: u32 = 600;

/// What runs a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    Node,
    Deno,
    Bun,
    Python,
    /// A page in a browser: see `e2e/senders/page.html`.
    Page,
}

/// A foreign application server: a library with one of its codings, and what runs it.
#[derive(Clone, Copy, Debug)]
pub struct Sender {
    pub runtime: Runtime,
    /// Its script, without what all of a runtime have in common.
    pub script: &'static str,
    encoding: &'static str,
}

/// npm's libraries, which run in Node, Deno and Bun. @pushforge/builder, webpush-webcrypto and @block65's have one coding
/// each; the `aesgcm` of web-push-browser cannot be decrypted by anyone.
const JAVASCRIPT: [(&str, &str); 7] = [
    ("web_push", "aes128gcm"),
    ("web_push", "aesgcm"),
    ("web_push_neo", "aes128gcm"),
    ("web_push_browser", "aes128gcm"),
    ("webcrypto_web_push", "aes128gcm"),
    ("webpush_webcrypto", "aesgcm"),
    ("pushforge", "aesgcm"),
];

/// PyPI's libraries.
const PYTHON: [(&str, &str); 6] = [
    ("pywebpush", "aes128gcm"),
    ("pywebpush", "aesgcm"),
    ("pywebpush_async", "aes128gcm"),
    ("pywebpush_async", "aesgcm"),
    ("webpush", "aes128gcm"),
    ("webpush_rs", "aes128gcm"),
];

/// npm's libraries that say they run in a page: together they send every header field that a sender may.
const PAGE: [(&str, &str); 3] =
    [("web_push_browser", "aes128gcm"), ("webpush_webcrypto", "aesgcm"), ("pushforge", "aesgcm")];

impl Sender {
    /// npm's web-push on Node: `aes128gcm`, `Authorization: vapid`.
    pub const WEB_PUSH: Self = Self { runtime: Runtime::Node, script: "web_push", encoding: "aes128gcm" };
    /// The same in the older coding: `aesgcm`, `Authorization: WebPush`.
    pub const WEB_PUSH_LEGACY: Self = Self { encoding: "aesgcm", ..Self::WEB_PUSH };

    /// All senders on the runtimes that are here.
    pub fn on(runtimes: &[Runtime]) -> Vec<Self> {
        let present = runtimes.iter().filter(|runtime| runtime.is_here());
        let rows = |&runtime: &Runtime| {
            let row = move |&(script, encoding): &(_, _)| Self { runtime, script, encoding };
            runtime.libraries().iter().map(row)
        };
        present.flat_map(rows).collect()
    }

    /// Sends `text` to the W3C `subscription`, trusting the CA in a file: the service's answer.
    pub fn send(self, text: &str, subscription: &Value, ca: &Path) -> Value {
        self.send_with(&SigningKey::generate().expect("a key"), &json!({}), text, subscription, ca)
    }

    /// The same, signed with `key`, which is the one that the subscription was made for. npm's web-push also sends the
    /// `headers`.
    pub fn send_with(self, key: &SigningKey, headers: &Value, text: &str, subscription: &Value, ca: &Path) -> Value {
        self.does(key, &json!({ "text": text, "headers": headers }), subscription, ca).pop().expect("an answer")
    }

    /// Does a job that names what to send: the service's answers, as many as there are texts.
    pub fn does(self, key: &SigningKey, what: &Value, subscription: &Value, ca: &Path) -> Vec<Value> {
        let mut command = self.runtime.command();
        command.arg(self.script).stdin(Stdio::piped()).stdout(Stdio::piped());
        for name in ["NODE_EXTRA_CA_CERTS", "DENO_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"] {
            command.env(name, ca);
        }
        for name in ["NO_PROXY", "no_proxy"] {
            command.env(name, "127.0.0.1");
        }
        let mut child = command.spawn().expect("a sender");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(self.job(key, what, subscription).to_string().as_bytes()).expect("it reads its job");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{self} failed");
        let answer = |line| serde_json::from_slice(line).expect("its answer is JSON");
        output.stdout.trim_ascii_end().split(|byte| *byte == b'\n').map(answer).collect()
    }

    /// The job for its script, which `job.mjs` describes.
    pub fn job(self, key: &SigningKey, what: &Value, subscription: &Value) -> Value {
        let mut job = json!({
            "subscription": subscription,
            "vapid": {
                "publicKey": key.public_key().to_base64url(),
                "privateKey": *key.to_base64url().expect("a private key"),
                "subject": "mailto:tests@example.org",
            },
            "ttl": TTL_SECS,
            "encoding": self.encoding,
        });
        for (name, value) in what.as_object().expect("a job is an object") {
            job[name] = value.clone();
        }
        job
    }

    /// What arrives when it sends `text`: @pushforge/builder has no payloads but JSON.
    pub fn payload(self, text: &str) -> String {
        if self.script == "pushforge" { json!(text).to_string() } else { text.to_owned() }
    }

    /// Whether its answer has the message's URL: webpush-rs returns nothing but the status.
    pub fn returns_location(self) -> bool {
        self.script != "webpush_rs"
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {:?}, {}", self.script, self.runtime, self.encoding)
    }
}

impl Runtime {
    /// Whether its libraries and what runs them are here.
    pub fn is_here(self) -> bool {
        let is_installed = match self {
            Self::Python => same(&senders().join("requirements.txt"), &environment().join("installed.txt")),
            _ => same(&senders().join("package-lock.json"), &senders().join("node_modules/.installed")),
        };
        let runs = match self {
            Self::Node => runs("node"),
            // A page's runtime is the browser that opens it.
            Self::Page => true,
            Self::Deno | Self::Bun | Self::Python => self.program().is_file(),
        };
        here(&format!("senders on {self:?}"), is_installed && runs)
    }

    fn libraries(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Node | Self::Deno | Self::Bun => &JAVASCRIPT,
            Self::Python => &PYTHON,
            Self::Page => &PAGE,
        }
    }

    fn command(self) -> Command {
        let mut command = Command::new(self.program());
        if self == Self::Deno {
            command.args(["run", "--quiet", "--no-lock", "--cached-only", "--allow-all"]);
            command.env("DENO_DIR", tree("target/e2e-deno")).env("DENO_NO_UPDATE_CHECK", "1");
        }
        command.arg(senders().join(if self == Self::Python { "run.py" } else { "run.mjs" }));
        command
    }

    fn program(self) -> PathBuf {
        let from_npm = |names: [&str; 2]| {
            let [one, other] = names.map(|name| senders().join("node_modules").join(name));
            if one.is_file() { one } else { other }
        };
        match self {
            Self::Node => PathBuf::from("node"),
            Self::Deno => from_npm(["@deno/linux-x64-glibc/deno", "@deno/linux-arm64-glibc/deno"]),
            Self::Bun => from_npm(["@oven/bun-linux-x64-baseline/bin/bun", "@oven/bun-linux-aarch64/bin/bun"]),
            Self::Python => environment().join("bin/python"),
            Self::Page => unreachable!("a browser is no program of a sender's"),
        }
    }
}

fn senders() -> PathBuf {
    tree("e2e/senders")
}

/// The Python environment that `cargo xtask setup` makes.
fn environment() -> PathBuf {
    tree("target/e2e-python")
}

/// Whether both files exist and are the same.
fn same(one: &Path, other: &Path) -> bool {
    matches!((std::fs::read(one), std::fs::read(other)), (Ok(one), Ok(other)) if one == other)
}
