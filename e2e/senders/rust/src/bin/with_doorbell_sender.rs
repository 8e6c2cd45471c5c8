//! Sends a message with `doorbell-sender`, as its documentation shows.

use std::error::Error;

use doorbell_sender::{
    AddressPolicy, Answer, Client, ClientConfig, Message, Options, Signer, SigningKey, Subject, Subscription, Ttl,
};
use rust_senders::{Outcome, read_job, report};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let job = read_job()?;
    let client = Client::new(ClientConfig {
        // The push service of the tests is on this machine.
        addresses: AddressPolicy::public().allow_loopback(),
        extra_ca_pem: std::fs::read(&job.ca)?,
        ..ClientConfig::default()
    })?;

    let subscription: Subscription = serde_json::from_value(job.subscription)?;
    let key = SigningKey::from_base64url(&job.vapid.private_key)?;
    let signer = Signer::new(key, Some(Subject::parse(&job.vapid.subject)?));

    let options = Options::new(Ttl::from_secs(job.ttl));
    let message = Message::new(&subscription, job.text.as_bytes(), &options, &signer);

    match client.send(&message).await {
        Ok(reply) => {
            let outcome = match reply.answer {
                Answer::Accepted(_) => Outcome::Accepted,
                Answer::Gone => Outcome::Gone,
                Answer::Refused if matches!(reply.status.as_u16(), 401 | 403) => Outcome::Unauthorized,
                _ => Outcome::Failed,
            };
            report(outcome, &format!("{} {}", reply.status, reply.explanation.message));
        }
        Err(error) => report(Outcome::Failed, &error.to_string()),
    }
    Ok(())
}
