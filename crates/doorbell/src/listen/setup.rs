//! The input of `doorbell listen`: the profile, the trusted authorities, and a subscription.

use std::path::Path;

use anyhow::{Context, Result, bail};
use doorbell_agent::{Agent, Driver, Error, Limits, Profile, PushSubscription, Trust};

use super::Args;
use crate::browser::status;
use crate::state::{is_loopback, local_ca, state_dir};

/// The agent that `args` describe, and its driver.
pub(super) fn agent(args: &Args) -> Result<(Agent, Driver)> {
    let folder = match &args.profile {
        Some(folder) => folder.clone(),
        None => state_dir().context("neither HOME nor XDG_STATE_HOME is set: name a --profile")?.join("listen"),
    };
    let profile = Profile::open(&folder)?;
    Ok(Agent::new(profile, &args.url, trust(args)?, Limits::default())?)
}

/// The subscription of the profile, or a new one.
pub(super) async fn subscription(agent: &Agent, args: &Args) -> Result<PushSubscription> {
    let old = agent.subscriptions();
    if !args.new
        && let Some(kept) = old.last()
    {
        if args.vapid.is_some() && kept.vapid() != args.vapid.as_ref() {
            bail!("the subscription of this profile was not made for that --vapid key: add --new to make one that is");
        }
        return Ok(kept.to_push_subscription());
    }
    let made = agent.subscribe(args.vapid).await.map_err(|e| explain(e, args))?;
    for subscription in old {
        agent.unsubscribe(subscription.endpoint().as_str()).await?;
    }
    status("made a new subscription");
    Ok(made)
}

/// Writes the subscription for its owner only: every process that reads it can send.
pub(super) fn write_subscription(file: &Path, json: &str) -> Result<()> {
    doorbell_private_file::replace(file, format!("{json}\n").as_bytes())
        .with_context(|| format!("cannot write the subscription to {}", file.display()))
}

/// The system's authorities, those that were named, and, for a service on this machine, the one that
/// `doorbell serve` made.
fn trust(args: &Args) -> Result<Trust> {
    let mut trust = Trust::system();
    if let Some(file) = &args.ca {
        trust = trust.with_file(file)?;
    }
    match local_ca(&args.url) {
        Some(file) => Ok(trust.with_file(&file)?),
        None => Ok(trust),
    }
}

/// Adds what a user tries next.
fn explain(error: Error, args: &Args) -> anyhow::Error {
    let hint = match &error {
        Error::Unreachable { .. } if is_loopback(&args.url) => Some("is `doorbell serve` running?"),
        Error::Untrusted { why, .. } if why.contains("expired") || why.contains("not valid yet") => {
            Some("its operator must renew the certificate, or the clock of this machine is wrong")
        }
        Error::Untrusted { why, .. } if why.contains("not valid for name") => {
            Some("use the name that the certificate has")
        }
        Error::Untrusted { .. } => Some("name the file of its certificate authority with --ca"),
        _ => None,
    };
    match hint {
        Some(hint) => anyhow::anyhow!("{error}; {hint}"),
        None => error.into(),
    }
}
