//! Commands from standard input while messages come in: `subscribe`, `unsubscribe URL`, `urgency high`, `quit`.
//!
//! `cargo run --example subscribe_while_receiving -- https://push.example.org`

use std::convert::Infallible;
use std::error::Error;
use std::io::stdin;
use std::ops::ControlFlow;
use std::thread;

use doorbell_agent::{Agent, App, Event, Message, Urgency, Url};
use tokio::sync::{mpsc, oneshot};

/// Prints messages and events, and goes on when the service ends a subscription.
struct Printer;

impl App for Printer {
    type Failure = Infallible;

    async fn message(&mut self, message: &Message) -> Result<ControlFlow<()>, Infallible> {
        let data = message.data.as_deref().unwrap_or_default();
        println!("{}: {}", message.endpoint, String::from_utf8_lossy(data));
        Ok(ControlFlow::Continue(()))
    }

    fn event(&mut self, event: Event) {
        println!("{event:?}");
    }

    fn ended(&mut self, endpoints: &[Url]) -> ControlFlow<()> {
        println!("the service has ended {} subscriptions", endpoints.len());
        ControlFlow::Continue(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let service = std::env::args().nth(1).ok_or("usage: subscribe_while_receiving SERVICE")?;
    let (agent, mut driver) = Agent::open("profile", &service)?;
    let (quit, stop) = oneshot::channel::<()>();
    let receiving = tokio::spawn(async move {
        let stop = async {
            // A dropped sender stops it too.
            let _ = stop.await;
        };
        driver.run(Printer, stop).await
    });
    let (sender, mut lines) = mpsc::channel(1);
    thread::spawn(move || stdin().lines().map_while(Result::ok).try_for_each(|line| sender.blocking_send(line)));
    while let Some(line) = lines.recv().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["subscribe"] => println!("{}", agent.subscribe(None).await?.to_json()),
            ["unsubscribe", endpoint] => println!("{}", agent.unsubscribe(endpoint).await?),
            ["urgency", level] => agent.set_urgency(Some(level.parse::<Urgency>()?)),
            ["quit"] => break,
            _ => println!("subscribe | unsubscribe URL | urgency very-low|low|normal|high | quit"),
        }
    }
    drop(quit);
    receiving.await??;
    Ok(())
}
