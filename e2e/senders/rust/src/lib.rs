//! What both programs share: a job arrives on standard input, an outcome goes to standard output.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What to send, in the shape that all foreign senders read (`job.mjs` describes it), and whom to trust.
#[derive(Debug, Deserialize)]
pub struct Job {
    /// The JSON of the Push API, as a web page posts it.
    pub subscription: serde_json::Value,
    /// The text to send.
    pub text: String,
    /// The keys to sign with.
    pub vapid: Vapid,
    /// A PEM file with a certificate authority to trust.
    pub ca: PathBuf,
    /// For how many seconds the push service keeps the message.
    pub ttl: u32,
}

/// The key pair of an application server.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vapid {
    /// The private scalar, in base64url.
    pub private_key: String,
    /// A `mailto:` or `https:` URI.
    pub subject: String,
}

/// How it ended, in the words that both libraries have.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The push service accepted the message.
    Accepted,
    /// The subscription is gone: 404 or 410.
    Gone,
    /// The push service refused the credentials: 401 or 403.
    Unauthorized,
    /// Anything else.
    Failed,
}

/// Reads the job.
pub fn read_job() -> Result<Job, serde_json::Error> {
    serde_json::from_reader(io::stdin())
}

/// Prints the outcome and, for a reader of a failed test, what the library reported.
pub fn report(outcome: Outcome, detail: &str) {
    println!("{}", serde_json::json!({ "outcome": outcome, "detail": detail }));
}
