//! Sends a message and waits for its receipt: whether it was delivered, expired, or could not be decrypted.
//!
//! ```sh
//! cargo run --example receipts -- "$(cat subscription.json)" 'Are you there?' [CA.pem]
//! ```
//!
//! Receipts are part of RFC 8030 (s5.1). The push service Doorbell has them; those of the large browser vendors do not.

use std::error::Error;
use std::time::Duration;

use doorbell_sender::{
    AddressPolicy, Answer, Client, ClientConfig, Endpoint, Follower, Message, Options, ReceiptBook, ReceiptEvent,
    ReceiptWish, Signer, SigningKey, Subject, Subscription, Ttl,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(subscription), Some(text)) = (args.next(), args.next()) else {
        return Err("usage: receipts SUBSCRIPTION_JSON TEXT [CA.pem]".into());
    };
    let mut config = ClientConfig::default();
    if let Some(ca) = args.next() {
        config.extra_ca_pem = std::fs::read(ca)?;
        config.addresses = AddressPolicy::public().allow_loopback();
    }
    let client = Client::new(config)?;
    let signer = Signer::new(SigningKey::generate()?, Some(Subject::parse("mailto:ops@example.com")?));

    // A program has one book: all its messages to a push service then share one receipt subscription.
    let book = ReceiptBook::new();
    let subscription = Subscription::from_json(&subscription)?;
    let options = Options::new(Ttl::from_secs(60));
    let message = Message {
        receipt: ReceiptWish::Book(&book),
        ..Message::new(&subscription, text.as_bytes(), &options, &signer)
    };

    let reply = client.send(&message).await?;
    let Answer::Accepted(accepted) = reply.answer else {
        return Err(format!("not accepted: {} {}", reply.status, reply.explanation.message).into());
    };
    let Some(receipts) = accepted.receipt else {
        println!("accepted; this push service has no receipts");
        return Ok(());
    };

    // A program has one follower per receipt subscription, in a task of its own. It reconnects by itself.
    let mut follower = Follower::new(&client, Endpoint::parse(&receipts)?);
    let wait = async {
        loop {
            match follower.next().await? {
                ReceiptEvent::Receipt(receipt) if Some(&receipt.message) == accepted.message.as_ref() => {
                    return Ok::<_, Box<dyn Error>>(receipt.outcome.as_str());
                }
                ReceiptEvent::Receipt(_) => {}
                ReceiptEvent::Nothing | ReceiptEvent::Gone => return Err("the receipt subscription is gone".into()),
            }
        }
    };
    println!("{}", tokio::time::timeout(Duration::from_secs(75), wait).await??);
    Ok(())
}
