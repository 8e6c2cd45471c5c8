//! The input of `doorbell send`: the message, the key, the trusted authorities and the allowed addresses.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use doorbell_protocol::ece::aes128gcm::Padding;
use doorbell_protocol::time::UnixMs;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_sender::client::ClientConfig;
use doorbell_sender::clock;
use doorbell_sender::endpoint::{Endpoint, EndpointError};
use doorbell_sender::network::AddressPolicy;
use doorbell_sender::origins::OriginMap;
use doorbell_sender::proxy::Proxy;
use doorbell_sender::request::{Options, PAYLOAD_MAX};
use doorbell_sender::subject::Subject;
use doorbell_sender::subscription::Subscription;
use doorbell_sender::token::Signer;

use super::{Args, input};
use crate::browser::status;
use crate::keys::file;

/// How a certificate in PEM begins.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Where Chrome subscribes.
const GOOGLE: &str = "https://fcm.googleapis.com";

/// What is to be sent, checked.
pub(super) struct Setup {
    pub(super) subscription: Subscription,
    pub(super) payload: Vec<u8>,
    pub(super) options: Options,
    signer: Signer,
    proxy: Option<Proxy>,
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
        let endpoint = &subscription.endpoint;
        // Most endpoints at Google's public host are Google's: only after an error may the browser be one of ours.
        if let Some(unmapped) = notice.filter(|notice| notice.origin != GOOGLE) {
            status(&format!("{unmapped}; {}", map_origin_hint(&unmapped.origin)));
        }
        if let Err(error) = endpoint.check(&addresses(args)) {
            bail!(endpoint_error(&error));
        }
        if let Some(end) = subscription.expires_at.filter(|_| subscription.has_ended(clock::now())) {
            let end = date(end);
            status(&format!("the subscription has ended, by its expirationTime ({end}): the page must make a new one"));
        }
        let proxy = Proxy::from_environment(endpoint).context("HTTPS_PROXY or ALL_PROXY")?;
        let subject = subject(args, endpoint)?;
        let payload = input::payload(text, file)?;
        let longest = args.pad.map_or(payload.len(), |pad| pad.max(payload.len()));
        ensure!(longest <= PAYLOAD_MAX, "the message has {longest} bytes, and at most {PAYLOAD_MAX} fit");
        let padding = args.pad.map_or(Padding::None, Padding::To);
        let options = Options { urgency: args.urgency, topic: args.topic.clone(), padding, ..Options::new(args.ttl) };
        let signer = Signer::new(key(args)?, subject);
        Ok(Self { subscription, payload, options, signer, proxy })
    }

    /// What is sent where and how, with the defaults.
    pub(super) fn summary(&self) -> String {
        let Self { subscription, payload, options, .. } = self;
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
        let proxy = match &self.proxy {
            Some(proxy) => format!(", through the proxy {}", proxy.origin()),
            None => String::new(),
        };
        format!("{bytes} to {origin}, TTL {ttl} s, urgency {urgency}{topic}{proxy}")
    }

    /// Signs the message.
    pub(super) fn signer(&self) -> &Signer {
        &self.signer
    }

    /// How to connect.
    pub(super) fn client(&self, args: &Args) -> Result<ClientConfig> {
        let mut extra_ca_pem = Vec::new();
        for file in ca_files(args, &self.subscription) {
            let pem = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            ensure!(
                pem.windows(CERTIFICATE.len()).any(|text| text == CERTIFICATE),
                "there is no certificate in {}: name a PEM file",
                file.display()
            );
            extra_ca_pem.extend(pem);
            extra_ca_pem.push(b'\n');
        }
        let proxy = self.proxy.clone();
        Ok(ClientConfig { addresses: addresses(args), proxy, extra_ca_pem, ..ClientConfig::default() })
    }
}

/// What helps if a Chromium was started for another push service than its endpoints name.
pub(super) fn map_origin_hint(origin: &str) -> String {
    format!(
        "if that browser was started for your own service, send there: --map-origin {origin}=https://YOUR.PUSH.SERVICE"
    )
}

/// The contact, with a warning if this push service rejects it.
fn subject(args: &Args, endpoint: &Endpoint) -> Result<Option<Subject>> {
    let subject = args.subject.as_deref().map(Subject::parse).transpose().context("--subject")?;
    if let Some(correction) = subject.as_ref().and_then(Subject::correction) {
        status(&correction);
    }
    let warning = match &subject {
        Some(subject) => subject.warning(),
        None => Some("there is no --subject: Mozilla and Apple refuse messages without one"),
    };
    let takes_any = endpoint.is_loopback() || endpoint.vendor().is_some_and(|vendor| !vendor.needs_subject());
    if let Some(warning) = warning.filter(|_| !takes_any) {
        status(warning);
    }
    Ok(subject)
}

/// The key that was named, or the user's own, which is made when it is first needed.
fn key(args: &Args) -> Result<SigningKey> {
    match &args.key {
        Some(file) => file::read_named(file).context("--key"),
        None => file::read_or_create(&file::path_or_default(None)?),
    }
}

/// A time in the past.
fn date(time: UnixMs) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(time.as_millis().max(0).unsigned_abs()))
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
