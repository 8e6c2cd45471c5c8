//! Sends one message to many subscriptions: a bounded number at a time, with retries, and without those that are gone.
//!
//! ```sh
//! cargo run --example fan_out -- subscriptions.jsonl 'It is raining' [CA.pem]
//! ```
//!
//! The file has one subscription in JSON on each line. At the end it has those that still exist. With a CA the push service
//! may be on this machine.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;

use doorbell_sender::{
    AddressPolicy, Answer, Client, ClientConfig, Message, Options, RetryPolicy, Signer, SigningKey, Subject,
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
            (subscription, result.map(|reply| reply.answer))
        });
    }
    while let Some(finished) = sending.join_next().await {
        collect(&mut summary, Some(finished));
    }
    summary
}

type Finished = (Subscription, Result<Answer, doorbell_sender::SendError>);

fn collect(summary: &mut Summary, finished: Option<Result<Finished, tokio::task::JoinError>>) {
    let Some(finished) = finished else { return };
    match finished.expect("a task that sends does not panic") {
        // 404 and 410: the subscription is gone. Another message to it is a wasted request.
        (_, Ok(Answer::Gone)) => {}
        (subscription, Ok(Answer::Accepted(_))) => {
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

    let lines = BufReader::new(File::open(&file)?).lines().map_while(Result::ok);
    // A line that cannot be read is reported, and is not in the new file.
    let read =
        |line: String| Subscription::from_json(&line).inspect_err(|error| eprintln!("a line is skipped: {error}"));
    let subscriptions = lines.filter_map(|line| read(line).ok());
    let Summary { accepted, failed, alive } = fan_out(&client, &signer, &text, subscriptions).await;

    println!("{accepted} accepted, {failed} failed, {} subscriptions left", alive.len());
    let mut written = File::create(format!("{file}.new"))?;
    for subscription in &alive {
        writeln!(written, "{}", subscription.to_json())?;
    }
    written.sync_all()?;
    fs::rename(format!("{file}.new"), file)?;
    Ok(())
}
