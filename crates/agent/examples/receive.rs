//! Subscribes once, then receives and prints: `cargo run --example receive -- https://push.example.org`.
//!
//! The profile is in the folder `profile`. What the first run prints as JSON is what an application server needs.

use std::error::Error;
use std::io;

use doorbell_agent::{Agent, Message, app_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = std::env::args().nth(1).ok_or("usage: receive SERVICE")?;
    let (agent, mut driver) = Agent::open("profile", &service)?;
    match agent.subscriptions().first() {
        Some(subscription) => println!("{}", subscription.to_push_subscription().to_json()),
        None => println!("{}", agent.subscribe(None).await?.to_json()),
    }
    let interrupted = async {
        if let Err(why) = tokio::signal::ctrl_c().await {
            eprintln!("cannot wait for Ctrl-C: {why}");
        }
    };
    driver.run(app_fn(print), interrupted).await?;
    Ok(())
}

/// `Ok` acknowledges the message; after an error it comes again.
async fn print(message: Message) -> io::Result<()> {
    match message.data {
        Some(data) => println!("{}", String::from_utf8_lossy(&data)),
        None => println!("(an empty message)"),
    }
    Ok(())
}
