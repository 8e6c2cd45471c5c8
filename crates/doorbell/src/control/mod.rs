//! The control socket of a running service, `control.sock` in its state directory: the only place that changes it.
//!
//! A client connects, sends one line of JSON, `{"verb":"status"}`, and gets one: `{"result":…}`, or
//! `{"error":{"message":…,"hint":…}}`. Only processes of the service's user, and root, are answered.
//!
//! Each verb has a file here, with its command and what the service does for it, and an entry in [`VERBS`].

mod address;
mod client;
pub(crate) mod reload;
mod server;
mod state_dir;
pub(crate) mod status;

use std::sync::Arc;
use std::time::Duration;

use doorbell_service::Service;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::time::timeout;

use reload::Reloader;

pub(crate) use server::Server;

/// Its name in the state directory.
pub(crate) use doorbell_service::CONTROL_SOCKET as NAME;

/// No client of ours sends a longer request.
const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// No answer is longer.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// Clients that are connected at the same time; a further one takes the place of the oldest.
const CLIENTS_MAX: usize = 16;
/// How long a client may take to send its request, and to read the answer.
const IO_MAX: Duration = Duration::from_secs(5);
/// How long the service works on a request. A file on a disk that does not answer must not hold a client.
const VERB_MAX: Duration = Duration::from_secs(60);
/// How long a client waits for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// What the verbs work on.
pub(crate) struct Running {
    pub(crate) service: Service,
    pub(crate) reloader: Reloader,
}

/// A verb of the protocol.
struct Verb {
    name: &'static str,
    run: fn(Arc<Running>) -> BoxFuture<'static, Result<Value, Problem>>,
}

/// All of them.
const VERBS: [Verb; 2] = [reload::VERB, status::VERB];

/// Why a request was not done, and what to do.
#[derive(Debug)]
struct Problem {
    message: String,
    hint: String,
}

impl Problem {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// The answer to a request.
async fn answer(request: &[u8], running: Arc<Running>) -> Value {
    match perform(request, running).await {
        Ok(result) => json!({ "result": result }),
        Err(Problem { message, hint }) => json!({ "error": { "message": message, "hint": hint } }),
    }
}

async fn perform(request: &[u8], running: Arc<Running>) -> Result<Value, Problem> {
    let verb = verb(request)?;
    timeout(VERB_MAX, (verb.run)(running)).await.unwrap_or_else(|_| {
        Err(Problem::new(
            format!("`{}` was not done within {} seconds", verb.name, VERB_MAX.as_secs()),
            "look at the disks of the state directory, the configuration and the certificate: one of them may not answer",
        ))
    })
}

fn verb(request: &[u8]) -> Result<&'static Verb, Problem> {
    let names = || VERBS.iter().map(|verb| verb.name).collect::<Vec<_>>().join(", ");
    let form = || Problem::new("this is not a request", "send one line of JSON such as {\"verb\":\"status\"}");
    let Ok(Value::Object(mut request)) = serde_json::from_slice(request) else { return Err(form()) };
    let Some(Value::String(name)) = request.remove("verb") else { return Err(form()) };
    let Some(verb) = VERBS.iter().find(|verb| verb.name == name) else {
        return Err(Problem::new(
            format!("there is no verb {:?}", name.chars().take(40).collect::<String>()),
            format!("the verbs are: {}", names()),
        ));
    };
    match request.keys().next() {
        None => Ok(verb),
        Some(_) => Err(Problem::new(
            format!("`{}` has no arguments", verb.name),
            "the service may be older than this program: restart it",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_object_with_a_verb_and_anything_else_is_an_error_that_shows_one() {
        assert_eq!(verb(b"{\"verb\":\"status\"}\n").map(|verb| verb.name).map_err(|error| error.message), Ok("status"));
        let junk: [&[u8]; 8] =
            [b"", b"\n", b"\xff\xfe", b"status", b"[]", b"{}", b"{\"verb\":1}", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"];
        for junk in junk {
            assert!(verb(junk).is_err_and(|error| error.hint.contains("{\"verb\":\"status\"}")), "{junk:?}");
        }
        let unknown = verb(b"{\"verb\":\"explode\"}").err().expect("no verb");
        assert_eq!(
            (unknown.message.as_str(), unknown.hint.as_str()),
            ("there is no verb \"explode\"", "the verbs are: reload, status")
        );
        assert!(verb(b"{\"verb\":\"status\",\"x\":1}").is_err());
    }
}
