//! `doorbell listen`: a user agent in a terminal: subscribes, receives, prints or runs a command, acknowledges.

mod handler;
mod setup;
mod signals;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use doorbell_agent::{Agent, Backoff, Outcome, PublicKey, PushSubscription, Urgency};

use crate::browser::status;
use handler::Handler;
use signals::Signals;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Args {
    /// The push service: its address, or the URL of its subscribe resource
    #[arg(env = "DOORBELL_URL", default_value = "https://127.0.0.1:8443")]
    url: String,

    /// Where keys and subscription are kept [default: $XDG_STATE_HOME/doorbell/listen or ~/.local/state/doorbell/listen]
    #[arg(long, value_name = "DIR")]
    profile: Option<PathBuf>,

    /// Write the subscription to this file, for `doorbell send`, instead of to standard error
    #[arg(long, value_name = "FILE")]
    subscription: Option<PathBuf>,

    /// Remove the old subscription and make a new one, with new keys
    #[arg(long)]
    new: bool,

    /// Let only the application server with this VAPID key send (base64url)
    #[arg(long, value_name = "KEY", value_parser = vapid_key)]
    vapid: Option<PublicKey>,

    /// Run this command for each message (sh -c), with the message on its standard input, instead of printing it
    #[arg(long, value_name = "CMD", conflicts_with = "json")]
    exec: Option<String>,

    /// How long the command may take, in seconds; then it is ended and counts as failed
    #[arg(long, value_name = "SECONDS", default_value = "300", requires = "exec")]
    exec_timeout: u64,

    /// Print each message as a line of JSON: {"text": ...}, or {"base64url": ...} if it is not UTF-8
    #[arg(long)]
    json: bool,

    /// Exit after one message
    #[arg(long, conflicts_with = "count")]
    once: bool,

    /// Exit after this many messages
    #[arg(long, value_name = "N")]
    count: Option<NonZeroUsize>,

    /// Fetch what is stored, then exit
    #[arg(long)]
    drain: bool,

    /// Leave messages below this urgency at the service: very-low, low, normal or high
    #[arg(long, value_name = "LEVEL")]
    urgency: Option<Urgency>,

    /// Trust the certificate authorities in this file too (PEM)
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  doorbell listen --subscription sub.json   print each message on a line
  doorbell listen --once                    wait for one message, then exit
  doorbell listen --drain --json            print what is stored, then exit
  doorbell listen --exec 'notify-send -- \"Doorbell: $(cat)\"'
                                            show each one on the desktop
  doorbell listen https://push.example.org --urgency high

Standard output has messages and nothing else.

A message is the text of its sender, who may be anyone that has the subscription. The command of --exec reads it from \
its standard input; one that wants it as an argument takes it as one quoted word behind --, as above, so that it is never \
an option. xargs would make several arguments of it, and options. The type of the message is in \
DOORBELL_CONTENT_TYPE, if the sender named one.

A message counts as received when it is printed, or when the command exits with 0. A command that fails gets the \
message three times; then the message is given up, and its sender's receipt is `refused`. If no command can be started, \
listen ends with 1, and the message comes the next time.

Where a proxy lets no server pushes pass, messages come as server-sent events. A 404 of a proxy ends no subscription: \
listen asks again. A proxy should answer 502 or 503 while the service is away.

SIGINT and SIGTERM stop it in order; messages that were not yet received come the next time.";

/// Between new subscriptions, if a service ends them again and again.
const RESUBSCRIBE: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(300) };

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let signals = Signals::watch()?;
    let (agent, mut driver) = setup::agent(&args)?;
    agent.set_urgency(args.urgency);
    let subscription = setup::subscription(&agent, &args).await?;
    announce(&subscription, &args)?;
    let mut handler = Handler::new(&args, signals.end.clone());
    let mut endings = 0;
    loop {
        let handled_before = handler.handled();
        let outcome = if args.drain {
            driver.drain(&mut handler, signals.stopped()).await?
        } else {
            driver.run(&mut handler, signals.stopped()).await?
        };
        match outcome {
            Outcome::Stopped => return Ok(signals.exit_code()),
            Outcome::Enough | Outcome::Drained => return Ok(ExitCode::SUCCESS),
            Outcome::Gone => {}
        }
        endings = if handler.handled() > handled_before { 1 } else { endings + 1 };
        status("the service no longer has the subscription: making a new one");
        let renewed = tokio::select! {
            renewed = renew(&agent, &args, endings) => renewed?,
            () = signals.stopped() => return Ok(signals.exit_code()),
        };
        announce(&renewed, &args)?;
        status("give the new subscription to your senders: the old one receives nothing any more");
    }
}

/// A subscription in place of the one that the service ended (UA-8030-7.3-1). Until it is there the profile keeps the old
/// one. Tries again after every error that may pass.
async fn renew(agent: &Agent, args: &Args, endings: u32) -> Result<PushSubscription> {
    let (mut failures, mut last) = (endings, String::new());
    let mut wait = RESUBSCRIBE.draw(failures);
    loop {
        tokio::time::sleep(wait).await;
        match agent.subscribe(args.vapid).await {
            Ok(subscription) => return Ok(subscription),
            Err(why) if why.may_pass() => {
                failures += 1;
                wait = RESUBSCRIBE.draw(failures).max(why.retry_after().unwrap_or_default());
                let why = why.to_string();
                if why != last {
                    status(&format!("no new subscription yet: {why}; trying again"));
                    last = why;
                }
            }
            Err(why) => return Err(why.into()),
        }
    }
}

/// Writes the subscription to its file, or shows it. Standard output is for messages.
fn announce(subscription: &PushSubscription, args: &Args) -> Result<()> {
    let json = subscription.to_json();
    match &args.subscription {
        Some(file) => {
            setup::write_subscription(file, &json)?;
            status(&format!("the subscription is in {}", file.display()));
        }
        None => status(&format!("the subscription, for your senders: {json}")),
    }
    Ok(())
}

fn vapid_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_base64url(text).map_err(|e| e.to_string())
}
