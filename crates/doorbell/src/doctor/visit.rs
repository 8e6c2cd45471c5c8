//! The doctor's own subscription: made, sent to, received from, and removed, as a user agent and an application server
//! do it (RFC 8030 s4 to s7).

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::Result;
use doorbell_agent::{Agent, App, Driver, Error, Event, Limits, Message, Outcome, Profile, Trust};
use doorbell_protocol::headers::ttl::Ttl;
use doorbell_protocol::problem::errno;
use doorbell_protocol::receipt::Outcome as Delivery;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_sender::answer::{Accepted, Answer};
use doorbell_sender::client::{Client, ClientConfig, Reply};
use doorbell_sender::endpoint::Endpoint;
use doorbell_sender::error::SendError;
use doorbell_sender::network::AddressPolicy;
use doorbell_sender::receipts::follower::{Follower, ReceiptEvent};
use doorbell_sender::request::{self, Options, ReceiptWish};
use doorbell_sender::subscription::Subscription;
use doorbell_sender::token::Signer;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::STEP_MAX;
use super::audience;
use super::connector::Connector;
use super::rejection::{self, AWAY};
use super::report::{Finding, Report};
use super::target::Target;

/// A message that is not received expires soon.
const TTL_SECS: u32 = 60;

/// A user agent and an application server that know each other.
pub(super) struct Visit {
    agent: Agent,
    driver: Driver,
    client: Client,
    signer: Signer,
    subscription: Option<Subscription>,
    receipts: Option<Endpoint>,
}

impl Visit {
    pub(super) fn new(target: &Target, ca_files: &[PathBuf]) -> Result<Self> {
        let mut trust = Trust::system();
        let mut extra_ca_pem = Vec::new();
        for file in ca_files {
            trust = trust.with_file(file)?;
            extra_ca_pem.extend(std::fs::read(file)?);
            extra_ca_pem.push(b'\n');
        }
        let limits = Limits { connect_timeout: STEP_MAX, answer_timeout: STEP_MAX, ..Limits::default() };
        // The user named the service, and nothing is sent to another one.
        let addresses = AddressPolicy::public().allow_loopback().allow_private();
        let config = ClientConfig { addresses, extra_ca_pem, request_timeout: STEP_MAX, ..ClientConfig::default() };
        let (agent, driver) = Agent::new(Profile::in_memory(), &target.origin(), trust, limits)?;
        Ok(Self {
            agent,
            driver,
            client: Client::new(config)?,
            signer: Signer::new(SigningKey::generate()?, None),
            subscription: None,
            receipts: None,
        })
    }

    /// The step of subscribing, for our key only (RFC 8292 s4).
    pub(super) async fn subscribe(&mut self, target: &Target) -> Finding {
        let made = match self.agent.subscribe(Some(*self.signer.public_key())).await {
            Ok(made) => made,
            Err(Error::Refused { status, detail, .. }) => {
                // The agent keeps the service's message and not its number. A proxy sends no message that it can read.
                let number = (!detail.is_empty()).then_some(errno::UNAVAILABLE);
                let (lack, fix) = rejection::lacking(status.as_u16(), number);
                return Finding::failed(format!("{lack} ({status}{detail})"), fix);
            }
            Err(error) => {
                return Finding::failed(error, "let the proxy pass POST /subscribe on to `doorbell serve` over HTTP/2");
            }
        };
        let elsewhere = !target.serves(&made.endpoint);
        match Subscription::from_json(&made.to_json()) {
            Ok(subscription) => {
                let origin = subscription.endpoint.origin();
                self.subscription = Some(subscription);
                if elsewhere {
                    let fix = format!("start the service with --public-url {}", target.origin());
                    return Finding::failed(format!("its push resource is at {origin}, not here"), fix);
                }
                Finding::ok("subscribed, for one application server key only")
            }
            Err(error) => Finding::failed(error, "read the log of the service: its subscriptions cannot be used"),
        }
    }

    /// The steps of sending, receiving and the receipt.
    pub(super) async fn deliver(&mut self, report: &mut Report) {
        let Some(subscription) = &self.subscription else { return };
        let text = format!("doorbell doctor {}", self.signer.public_key().to_base64url());
        let (connected, is_connected) = oneshot::channel();
        let mut receiver =
            Receiver { text: &text, connected: Some(connected), problem: None, is_without_pushes: false };
        let options = Options::new(Ttl::from_secs(TTL_SECS));
        let message = request::Message {
            subscription,
            payload: text.as_bytes(),
            options: &options,
            signer: &self.signer,
            receipt: ReceiptWish::New,
        };
        let unsent = Notify::new();
        let (client, receipts) = (&self.client, &mut self.receipts);
        let sending = async {
            // A message that is sent before the agent is connected is stored, and still delivered.
            let _ = timeout(STEP_MAX, is_connected).await;
            let sent = client.send(&message).await;
            // Noted at once: an interrupted doctor has this to remove.
            *receipts =
                accepted(&sent).and_then(|accepted| accepted.receipt).and_then(|url| Endpoint::parse(&url).ok());
            if !matches!(&sent, Ok(Reply { answer: Answer::Accepted(_), .. })) {
                unsent.notify_one();
            }
            sent
        };
        let listening = self.driver.run(&mut receiver, unsent.notified());
        // Connecting, sending, and the message's way back.
        let (sent, received) = tokio::join!(sending, timeout(STEP_MAX * 3, listening));

        let is_sent = report.add("send", sent_finding(&sent));
        if !is_sent {
            report.skip(&["receive", "receipt"], "nothing was sent");
            return;
        }
        let is_received = report.add("receive", received_finding(received.ok(), &receiver));
        let finding = match &self.receipts {
            _ if !is_received => Finding::skipped("nothing was received"),
            Some(receipts) => receipt(&self.client, receipts.clone()).await,
            None => Finding::warning("the service has no receipts", "read its log, or do without"),
        };
        report.add("receipt", finding);
    }

    /// The step of tokens without the port.
    pub(super) async fn audience(&self, connector: &Connector) -> Finding {
        let Some(subscription) = &self.subscription else { return Finding::skipped("there is no subscription") };
        // It is not kept: the agent is no longer connected.
        let options = Options::new(Ttl::from_secs(0));
        audience::check(connector, &request::Message::new(subscription, b"", &options, &self.signer)).await
    }

    /// The step that removes what was made, and checks that the subscription is gone.
    pub(super) async fn tidy_up(&mut self) -> Finding {
        if let Some(receipts) = self.receipts.take() {
            let _ = timeout(STEP_MAX, self.client.delete(&receipts)).await;
        }
        let Some(subscription) = self.subscription.take() else { return Finding::skipped("nothing was made") };
        let endpoint = subscription.endpoint.as_str();
        let _ = timeout(STEP_MAX, self.agent.unsubscribe(endpoint)).await;
        let options = Options::new(Ttl::from_secs(0));
        let signer = &self.signer;
        let message = request::Message {
            subscription: &subscription,
            payload: b"",
            options: &options,
            signer,
            receipt: ReceiptWish::None,
        };
        match self.client.send(&message).await {
            Ok(Reply { answer: Answer::Gone, .. }) => Finding::ok("the doctor's subscription is removed"),
            Ok(_) => Finding::failed(
                "the doctor's subscription is still there",
                "fix the rest first, and see that the proxy passes DELETE on; the service itself removes it after \
                 idle_expiry_days",
            ),
            Err(error) => Finding::warning(
                format!("whether the doctor's subscription is removed is unknown: {error}"),
                "run the doctor again when the rest is fixed; the service removes it after idle_expiry_days",
            ),
        }
    }
}

/// The application behind the user agent.
struct Receiver<'a> {
    text: &'a str,
    connected: Option<oneshot::Sender<()>>,
    problem: Option<String>,
    is_without_pushes: bool,
}

impl App for Receiver<'_> {
    type Failure = Infallible;

    async fn message(&mut self, message: &Message) -> Result<ControlFlow<()>, Infallible> {
        let expected = message.data.as_deref() == Some(self.text.as_bytes());
        Ok(if expected { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => drop(self.connected.take().map(|connected| connected.send(()))),
            Event::WithoutPushes => self.is_without_pushes = true,
            Event::Disconnected { why, .. } => self.problem = Some(why.to_string()),
            Event::Discarded(why) => self.problem = Some(why.to_string()),
            Event::Refused(why) => self.problem = Some(why.to_owned()),
            Event::Failed { why, .. } => self.problem = Some(why),
        }
    }
}

fn accepted(sent: &Result<Reply, SendError>) -> Option<Accepted> {
    match sent {
        Ok(Reply { answer: Answer::Accepted(accepted), .. }) => Some(accepted.clone()),
        _ => None,
    }
}

fn sent_finding(sent: &Result<Reply, SendError>) -> Finding {
    match sent {
        Ok(Reply { status, answer: Answer::Accepted(_), .. }) => {
            Finding::ok(format!("a message was accepted ({}): the store has room", status.as_u16()))
        }
        Ok(reply) => rejection::of(reply),
        Err(error) => Finding::failed(error, "let the proxy pass POST /p/… on, with bodies of 4096 bytes and more"),
    }
}

fn received_finding(received: Option<Result<Outcome, Error>>, receiver: &Receiver<'_>) -> Finding {
    let fix = "let the proxy pass HTTP/2 through to the service, with server push and without a time limit on answers \
               (or pass TCP through)";
    let problem = match &receiver.problem {
        Some(problem) => format!(" ({problem})"),
        None => String::new(),
    };
    match received {
        Some(Ok(Outcome::Enough)) if receiver.is_without_pushes => Finding::warning(
            "it came as a server-sent event, because no server push can pass: user agents that know only pushes (RFC 8030) \
             receive nothing",
            format!(
                "no proxy for HTTP passes server pushes: pass TCP through (nginx `stream`, haproxy `mode tcp`), if you \
                 have such user agents; Firefox, Chromium and `doorbell listen` do without. {AWAY}, which the doctor \
                 cannot check while it is there"
            ),
        ),
        Some(Ok(Outcome::Enough)) => Finding::ok("it came by HTTP/2 push, was decrypted and acknowledged"),
        Some(Ok(_)) => Finding::failed(format!("the service ended the subscription{problem}"), "read its log"),
        Some(Err(error)) => Finding::failed(error, fix),
        None => Finding::failed(format!("it was accepted, and did not come by HTTP/2 push{problem}"), fix),
    }
}

/// The step of the receipt (RFC 8030 s5.1, s6.3).
async fn receipt(client: &Client, receipts: Endpoint) -> Finding {
    let fix = "let the proxy pass answers on as they come, without buffering (nginx: proxy_buffering off), and see that \
               the service still runs";
    match timeout(STEP_MAX, Follower::new(client, receipts).next()).await {
        Ok(Ok(ReceiptEvent::Receipt(receipt))) if receipt.outcome == Delivery::Delivered => {
            Finding::ok(format!("the sender has the receipt: delivered ({})", receipt.status.as_u16()))
        }
        Ok(Ok(ReceiptEvent::Receipt(receipt))) => {
            Finding::failed(format!("the receipt is `{}` instead", receipt.outcome.as_str()), "read the service's log")
        }
        Ok(Ok(ReceiptEvent::Gone | ReceiptEvent::Nothing)) => Finding::failed("the receipt subscription is gone", fix),
        Ok(Err(error)) => Finding::failed(error, fix),
        Err(_) => Finding::failed(format!("no receipt came within {} s", STEP_MAX.as_secs()), fix),
    }
}
