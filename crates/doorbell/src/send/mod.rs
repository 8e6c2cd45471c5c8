//! `doorbell send`: an application server in one command: encrypts, signs, sends, and explains the answer.

mod curl;
mod input;
mod outcome;
mod receipt;
mod setup;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use doorbell_protocol::headers::topic::Topic;
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_sender::client::{Client, Wait};
use doorbell_sender::origins::Mapping;
use doorbell_sender::request::{Message, ReceiptWish};
use doorbell_sender::retry::RetryPolicy;

use crate::browser::status;
use crate::{output, unusable};
use outcome::Outcome;
use setup::Setup;

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, next_line_help = true)]
pub(crate) struct Args {
    /// The recipient: a file with the JSON of the subscription, `-` for standard input, or the JSON itself
    subscription: String,

    /// The message; `-` for standard input
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    text: Option<String>,

    /// Send the contents of this file; `-` for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// How long the push service keeps trying, in seconds or as 30s, 5m, 2h, 1d; 0 means now or never
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = input::ttl)]
    ttl: Ttl,

    /// How urgent the message is, so that the service wakes a device for it or not: very-low, low, normal or high
    #[arg(long, value_name = "LEVEL")]
    urgency: Option<Urgency>,

    /// Replace the message of the same topic that still waits (up to 32 letters, digits, '-' and '_')
    #[arg(long)]
    topic: Option<Topic>,

    /// Hide the length of the message among those of up to this many bytes (at most 3993)
    #[arg(long, value_name = "BYTES")]
    pad: Option<usize>,

    /// The file of the VAPID key to sign with, in any form that `doorbell keys show` reads. It must exist, unless it is a `vapid.pem` in a folder that exists [default, made when it is first needed: $XDG_STATE_HOME/doorbell/vapid.pem or ~/.local/state/doorbell/vapid.pem]
    #[arg(long, value_name = "FILE", env = "DOORBELL_KEY")]
    key: Option<PathBuf>,

    /// Contact for the push service: mailto:you@your.domain or an https: URL. Mozilla and Apple require it
    #[arg(long, value_name = "URI", env = "DOORBELL_SUBJECT")]
    subject: Option<String>,

    /// Trust the certificate authorities in this file too (PEM)
    #[arg(long, value_name = "FILE", env = "DOORBELL_CA")]
    ca: Option<PathBuf>,

    /// Send to private addresses too (10.0.0.0/8 and the like)
    #[arg(long)]
    allow_private: bool,

    /// Send to TO where a subscription names FROM, both origins: for a Chromium that was started for our push service,
    /// whose endpoints still name Google's host. Repeat it for more, or separate them by commas
    #[arg(long, value_name = "FROM=TO", env = "DOORBELL_MAP_ORIGIN", value_delimiter = ',')]
    map_origin: Vec<Mapping>,

    /// Send at most this many times when the push service is busy or out of reach
    #[arg(long, value_name = "N", default_value = "6", value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,

    /// Begin no attempt later than this after the first
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = input::duration)]
    patience: Duration,

    /// Wait for the receipt, which reports the end of the message
    #[arg(long)]
    receipt: bool,

    /// Wait for the receipt for this long at most [default: the TTL and 15 seconds]
    #[arg(long, value_name = "TIME", requires = "receipt", value_parser = input::duration)]
    receipt_timeout: Option<Duration>,

    /// Send nothing; print a curl command that sends the same, signed, good for 12 hours
    #[arg(long, conflicts_with = "json")]
    curl: bool,

    /// Print the outcome as a line of JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  doorbell send sub.json 'Hello, it is me'
  date | doorbell send sub.json -
  doorbell send sub.json --file note.txt --ttl 0 --urgency high
  doorbell send sub.json '3:2' --topic score --ttl 2h
  doorbell send sub.json 'Are you there?' --ttl 30s --receipt
  doorbell send '{\"endpoint\":\"https://...\",\"keys\":{...}}' hi \\
      --subject mailto:me@my.domain
  doorbell send sub.json hi --curl | sh
  doorbell send chromium.json hi \\
      --map-origin https://jmt17.google.com=https://push.example.org

Exit status:
  0  accepted by the push service (not yet delivered); with --receipt: delivered
  1  another error
  2  the arguments, the subscription or the message cannot be used
  3  404 or 410: delete the subscription, if no proxy answered in its place
  4  refused: the same message would be refused again
  5  gave up: the push service was busy or out of reach for too long
  6  with --receipt: accepted, and never to be delivered
  7  with --receipt: accepted, and no receipt came in time, or there are none

A proxy that HTTPS_PROXY or ALL_PROXY names is used, unless NO_PROXY excepts the host. An endpoint on this machine \
is reached directly, and always allowed, since you named it yourself; private addresses are with \
--allow-private. (The library allows neither by default, because its subscriptions come from strangers.)";

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let setup = match Setup::read(&args) {
        Ok(setup) => setup,
        Err(error) => return Ok(unusable(&error)),
    };
    let signer = setup.signer();
    let message = Message {
        subscription: &setup.subscription,
        payload: &setup.payload,
        options: &setup.options,
        signer,
        receipt: if args.receipt { ReceiptWish::New } else { ReceiptWish::None },
    };
    if args.curl {
        output::result(curl::command(&message, &setup::ca_files(&args, &setup.subscription))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = match setup.client(&args) {
        Ok(config) => config,
        Err(error) => return Ok(unusable(&error)),
    };
    let client = Client::new(config)?;
    let policy = RetryPolicy { attempts_max: args.attempts, total_max: args.patience, ..RetryPolicy::BRIEF };
    if !args.json {
        status(&format!("sending {}", setup.summary()));
    }
    let mut failures = 0;
    let result = client.send_with_retries(&message, policy, |wait| {
        failures = wait.attempts;
        progress(&wait, policy.attempts_max);
    });
    let mut outcome = Outcome::of(result.await, failures + 1, &setup);
    if !args.json {
        outcome.print(setup.options.ttl);
    }
    if let Some(accepted) = outcome.accepted().filter(|_| args.receipt) {
        let time_max = args.receipt_timeout.unwrap_or_else(|| receipt::time_max(accepted, setup.options.ttl));
        if !args.json && accepted.receipt.is_some() {
            status(&format!("waiting up to {} s for the receipt", time_max.as_secs()));
        }
        let fate = receipt::wait(&client, accepted, time_max).await;
        if !args.json {
            output::report(format_args!("receipt  {}", fate.words(setup.options.ttl)));
            if let Some(receipts) = accepted.receipt.as_ref().filter(|_| fate.may_still_come()) {
                output::report(format_args!("receipts {receipts}"));
            }
        }
        outcome.learn(fate);
    }
    if args.json {
        output::report(outcome.to_json(setup.options.ttl));
    }
    Ok(ExitCode::from(outcome.exit_status()))
}

fn progress(wait: &Wait<'_>, attempts_max: u32) {
    let why = match wait.because {
        Ok(reply) => outcome::answer_line(reply),
        Err(error) => error.to_string(),
    };
    let (attempt, delay) = (wait.attempts, wait.delay.as_secs_f64());
    status(&format!("{why}; trying again in {delay:.1} s (attempt {attempt} of {attempts_max} failed)"));
}
