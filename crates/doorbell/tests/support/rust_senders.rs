//! One program against three Rust libraries: the `web-push` and `web-push-native` crates and ours (`e2e/senders/rust`).

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use doorbell_protocol::vapid::sign::SigningKey;
use serde_json::{Value, json};

use super::foreign::{here, tree};
use super::service::Service;

/// The library that a program uses.
#[derive(Clone, Copy, Debug)]
pub enum RustSender {
    /// `web-push` 0.11.
    WebPush,
    /// `web-push-native` 0.5.
    WebPushNative,
    /// `doorbell-sender`.
    Doorbell,
}

impl RustSender {
    /// The foreign ones.
    pub const FOREIGN: [Self; 2] = [Self::WebPush, Self::WebPushNative];
    /// All.
    pub const ALL: [Self; 3] = [Self::WebPush, Self::WebPushNative, Self::Doorbell];

    /// Whether the programs can be built; builds them, once for all tests of the process.
    pub fn are_here() -> bool {
        static BUILT: OnceLock<bool> = OnceLock::new();
        let build = || {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--locked", "--manifest-path"]);
            cargo.arg(tree("e2e/senders/rust/Cargo.toml")).arg("--target-dir").arg(tree("target/e2e-rust"));
            cargo.status().is_ok_and(|status| status.success())
        };
        here("the Rust senders (OpenSSL, the registry)", *BUILT.get_or_init(build))
    }

    /// Sends `text` to the W3C `subscription`, signed with `key`: `accepted`, `gone`, `unauthorized` or `failed`, and what
    /// the library reports.
    pub fn send(self, key: &SigningKey, text: &str, subscription: &Value, service: &Service) -> (String, String) {
        let job = json!({
            "subscription": subscription,
            "text": text,
            "vapid": {
                "privateKey": *key.to_base64url().expect("a private key"),
                "subject": "mailto:tests@example.org",
            },
            "ca": service.ca(),
            "ttl": 600,
        });
        let program = match self {
            Self::WebPush => "with_web_push",
            Self::WebPushNative => "with_web_push_native",
            Self::Doorbell => "with_doorbell_sender",
        };
        let mut command = Command::new(tree("target/e2e-rust/debug").join(program));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a sender");
        child.stdin.take().expect("stdin is piped").write_all(job.to_string().as_bytes()).expect("it reads its job");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{self:?} failed");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("its answer is JSON");
        let word = |name: &str| answer[name].as_str().expect("a text").to_owned();
        (word("outcome"), word("detail"))
    }
}
