//! The input of `doorbell send`: the message, the key, the trusted authorities and the allowed addresses.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use doorbell_protocol::ece::aes128gcm::Padding;
use doorbell_sender::client::ClientConfig;
use doorbell_sender::endpoint::EndpointError;
use doorbell_sender::network::AddressPolicy;
use doorbell_sender::origins::{OriginMap, UnmappedChromium};
use doorbell_sender::request::{Options, PAYLOAD_MAX};
use doorbell_sender::subject::Subject;
use doorbell_sender::subscription::Subscription;
use doorbell_sender::token::Signer;

use super::{Args, input};
use crate::keys::file;

/// What is to be sent, checked.
pub(super) struct Setup {
    pub(super) subscription: Subscription,
    pub(super) payload: Vec<u8>,
    pub(super) options: Options,
}

impl Setup {
    /// Every error in here is one of the arguments.
    pub(super) fn read(args: &Args) -> Result<Self> {
        let (text, file) = (args.text.as_deref(), args.file.as_deref());
        ensure!(
            !input::both_stdin(&args.subscription, text, file),
            "the subscription and the message cannot both come from standard input"
        );
        let origins = OriginMap::new(args.map_origin.iter().cloned()).context("--map-origin")?;
        let (subscription, notice) = input::subscription(&args.subscription, &origins)?;
        if let Some(unmapped) = notice {
            warn_of(&unmapped);
        }
        if let Err(error) = subscription.endpoint.check(&addresses(args)) {
            bail!(endpoint_error(&error));
        }
        if let Some(subject) = &args.subject {
            Subject::parse(subject).context("--subject")?;
        }
        let payload = input::payload(text, file)?;
        let longest = args.pad.map_or(payload.len(), |pad| pad.max(payload.len()));
        ensure!(longest <= PAYLOAD_MAX, "the message has {longest} bytes, and at most {PAYLOAD_MAX} fit");
        let padding = args.pad.map_or(Padding::None, Padding::To);
        let options = Options { urgency: args.urgency, topic: args.topic.clone(), padding, ..Options::new(args.ttl) };
        Ok(Self { subscription, payload, options })
    }

    /// What is sent where and how, with the defaults.
    pub(super) fn summary(&self) -> String {
        let Self { subscription, payload, options } = self;
        let urgency = options.urgency.unwrap_or_default();
        let topic = match &options.topic {
            Some(topic) => format!(", topic {topic}"),
            None => String::new(),
        };
        let bytes = match payload.len() {
            1 => "1 byte".to_owned(),
            n => format!("{n} bytes"),
        };
        let (ttl, origin) = (options.ttl, subscription.endpoint.origin());
        format!("{bytes} to {origin}, TTL {ttl} s, urgency {urgency}{topic}")
    }
}

/// The message is sent nevertheless: most of these subscriptions are Google's.
fn warn_of(unmapped: &UnmappedChromium) {
    let origin = &unmapped.origin;
    eprintln!(
        "doorbell: {unmapped}; if that browser was started for your own service, send there: \
         --map-origin {origin}=https://YOUR.PUSH.SERVICE"
    );
}

/// The key and the subject, with a warning if some push services reject them.
pub(super) fn signer(args: &Args, subscription: &Subscription) -> Result<Signer> {
    let subject = args.subject.as_deref().map(Subject::parse).transpose()?;
    let warning = match &subject {
        Some(subject) => subject.warning(),
        None => Some("there is no --subject: Mozilla and Apple refuse messages without one"),
    };
    if let Some(warning) = warning.filter(|_| !subscription.endpoint.is_loopback()) {
        eprintln!("doorbell: {warning}");
    }
    Ok(Signer::new(file::read_or_create(&file::path_or_default(args.key.clone())?)?, subject))
}

/// How to connect.
pub(super) fn client(args: &Args, subscription: &Subscription) -> Result<ClientConfig> {
    let mut extra_ca_pem = Vec::new();
    for file in ca_files(args, subscription) {
        let pem = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        extra_ca_pem.extend(pem);
        extra_ca_pem.push(b'\n');
    }
    Ok(ClientConfig { addresses: addresses(args), extra_ca_pem, ..ClientConfig::default() })
}

/// The certificate authorities that were named, and, for a service on this machine, the one that `doorbell serve` made.
pub(super) fn ca_files(args: &Args, subscription: &Subscription) -> Vec<PathBuf> {
    let local = crate::state::state_dir().map(|dir| dir.join("ca.pem"));
    let local = local.filter(|file| subscription.endpoint.is_loopback() && file.exists());
    let mut files: Vec<PathBuf> = args.ca.clone().into_iter().chain(local).collect();
    files.dedup();
    files
}

/// What is wrong with an endpoint; if it is the address, with the flag that allows it.
pub(super) fn endpoint_error(error: &EndpointError) -> String {
    match error {
        EndpointError::Address => {
            "the endpoint is at a private or otherwise special address; --allow-private allows private ones".to_owned()
        }
        other => other.to_string(),
    }
}

fn addresses(args: &Args) -> AddressPolicy {
    let policy = AddressPolicy::public().allow_loopback();
    if args.allow_private { policy.allow_private() } else { policy }
}
