//! Sends one message to many subscriptions: a bounded number at a time, with retries, and without those that are gone.
//!
//! ```sh
//! cargo run --example fan_out -- subscriptions.jsonl 'It is raining' [CA.pem]
//! ```
//!
//! The file has one subscription in JSON on each line. At the end it has those that still exist, and the lines that are no
//! subscription. With a CA the push service may be on this machine.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use doorbell_sender::{
    AddressPolicy, Answer, Client, ClientConfig, Message, Options, Reply, RetryPolicy, Signer, SigningKey, Subject,
    Subscription, Ttl,
};
use tokio::task::JoinSet;

/// Messages in flight at once. More do not make a push service faster, and each holds its memory.
const IN_FLIGHT_MAX: usize = 100;

/// How the fan-out ended.
#[derive(Debug, Default)]
pub struct Summary {
    /// Messages that a push service accepted.
    pub accepted: usize,
    /// Messages that got no acceptance although their subscription may exist.
    pub failed: usize,
    /// The subscriptions that still exist.
    pub alive: Vec<Subscription>,
}

/// Sends `text` to each of `subscriptions`. The next subscription is taken only when a message is finished, so the source
/// may be a file or a cursor of a database of any length.
pub async fn fan_out(
    client: &Client,
    signer: &Arc<Signer>,
    text: &str,
    subscriptions: impl Iterator<Item = Subscription>,
) -> Summary {
    let (text, options) = (Arc::<str>::from(text), Arc::new(Options::new(Ttl::from_secs(3600))));
    let mut sending = JoinSet::new();
    let mut summary = Summary::default();
    for subscription in subscriptions {
        if sending.len() >= IN_FLIGHT_MAX {
            collect(&mut summary, sending.join_next().await);
        }
        let (client, signer) = (client.clone(), Arc::clone(signer));
        let (text, options) = (Arc::clone(&text), Arc::clone(&options));
        sending.spawn(async move {
            let message = Message::new(&subscription, text.as_bytes(), &options, &signer);
            // A push service that is busy (429, 503) or out of reach is asked again, at the time that it names.
            let result = client.send_with_retries(&message, RetryPolicy::BRIEF, |_| {}).await;
            (subscription, result)
        });
    }
    while let Some(finished) = sending.join_next().await {
        collect(&mut summary, Some(finished));
    }
    summary
}

type Finished = (Subscription, Result<Reply, doorbell_sender::SendError>);

fn collect(summary: &mut Summary, finished: Option<Result<Finished, tokio::task::JoinError>>) {
    let Some(finished) = finished else { return };
    match finished.expect("a task that sends does not panic") {
        // 404 and 410: the subscription is gone. Another message to it is a wasted request. A proxy answers 404 too.
        (subscription, Ok(Reply { answer: Answer::Gone, status, explanation }))
            if explanation.proves_gone(&subscription.endpoint, status) => {}
        (subscription, Ok(Reply { answer: Answer::Accepted(_), .. })) => {
            summary.accepted += 1;
            summary.alive.push(subscription);
        }
        (subscription, _) => {
            summary.failed += 1;
            summary.alive.push(subscription);
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(text)) = (args.next(), args.next()) else {
        return Err("usage: fan_out SUBSCRIPTIONS.jsonl TEXT [CA.pem]".into());
    };
    let mut config = ClientConfig::default();
    if let Some(ca) = args.next() {
        config.extra_ca_pem = fs::read(ca)?;
        config.addresses = AddressPolicy::public().allow_loopback();
    }
    let client = Client::new(config)?;
    // Your program keeps its key: subscriptions work only with the key that they were made with.
    let key = match std::env::var("VAPID_PRIVATE_KEY") {
        Ok(key) => SigningKey::from_base64url(&key)?,
        Err(_) => SigningKey::generate()?,
    };
    let signer = Arc::new(Signer::new(key, Some(Subject::parse("mailto:ops@example.com")?)));

    let Summary { accepted, failed, alive } = fan_out_file(&client, &signer, &text, Path::new(&file)).await?;
    println!("{accepted} accepted, {failed} failed, {} subscriptions left", alive.len());
    Ok(())
}

/// Sends `text` to each subscription in `file`, and removes those that are gone from it.
///
/// # Errors
/// If the file cannot be read as a whole, nothing is sent. If it cannot be written, it stays as it is.
pub async fn fan_out_file(
    client: &Client,
    signer: &Arc<Signer>,
    text: &str,
    file: &Path,
) -> Result<Summary, Box<dyn Error>> {
    // As a whole: a line that is not UTF-8, or a read that fails, must not end the file early.
    let content = fs::read_to_string(file)?;
    let (mut subscriptions, mut foreign) = (Vec::new(), Vec::new());
    for (line, number) in content.lines().zip(1..) {
        match Subscription::from_json(line) {
            Ok(subscription) => subscriptions.push(subscription),
            // The line itself is not shown: the URL in it is a secret.
            Err(error) => {
                eprintln!("line {number} is no subscription and stays in the file: {error}");
                foreign.push(line);
            }
        }
    }
    let summary = fan_out(client, signer, text, subscriptions.into_iter()).await;
    let kept = summary.alive.iter().map(Subscription::to_json);
    replace(file, kept.chain(foreign.into_iter().map(str::to_owned)))?;
    Ok(summary)
}

/// Replaces `file`, as a whole or not at all; its permissions stay.
fn replace(file: &Path, lines: impl Iterator<Item = String>) -> io::Result<()> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    let mut written = create_private(new.as_ref())?;
    written.set_permissions(fs::metadata(file)?.permissions())?;
    for line in lines {
        writeln!(written, "{line}")?;
    }
    written.sync_all()?;
    fs::rename(new, file)
}

/// Creates a file that only its owner can read: the URL of a subscription is a permission to send to it.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
