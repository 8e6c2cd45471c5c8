//! What a call of the handle does at the service. It runs in a task of its own, so that a caller that goes away does
//! not interrupt it between the service and the profile.

use std::sync::Arc;

use doorbell_protocol::ece::keys::AgentKeys;
use doorbell_protocol::key::PublicKey;
use http::StatusCode;
use tokio::runtime::Handle;
use url::Url;

use crate::agent::Shared;
use crate::error::Error;
use crate::http2::acknowledge::{Deleted, delete};
use crate::http2::subscribe::{Granted, subscribe as post};
use crate::profile::Subscription;
use crate::subscription::PushSubscription;

/// A subscription that the service granted, before its caller has it. If the caller is gone it is left again: no
/// program would ever use it.
pub(crate) struct Grant {
    shared: Arc<Shared>,
    subscription: Arc<Subscription>,
    claimed: bool,
}

impl Grant {
    /// Hands it to the caller.
    pub(crate) fn claim(mut self) -> PushSubscription {
        self.claimed = true;
        self.subscription.to_push_subscription()
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if self.claimed {
            return;
        }
        // Without a runtime nothing can be sent: then the subscription stays in the profile.
        let Ok(runtime) = Handle::try_current() else { return };
        // The program may have found it in the list, and left it itself.
        let Some(resource) = self.shared.leave(self.subscription.endpoint.as_str()) else { return };
        let removal = delete_left(Arc::clone(&self.shared), resource);
        runtime.spawn(async move {
            if let Err(why) = removal.await {
                tracing::warn!(%why, "a subscription that its caller did not wait for is not removed cleanly");
            }
        });
    }
}

/// Subscribes and keeps the subscription. The caller holds [`Shared::subscribing`].
pub(crate) async fn subscribe(shared: Arc<Shared>, vapid: Option<PublicKey>) -> Result<Grant, Error> {
    let limits = &shared.connector.limits;
    {
        let contents = shared.profile.contents();
        if contents.subscriptions().len() >= limits.subscriptions_max {
            return Err(Error::TooManySubscriptions(limits.subscriptions_max));
        }
        if contents.owed_count() >= limits.owed_max {
            return Err(Error::TooManyDeletions(limits.owed_max));
        }
    }
    let keys = AgentKeys::generate().map_err(|_| Error::Randomness)?;
    let Granted { resource, endpoint, set } = ask(&shared, vapid.as_ref()).await?;
    let subscription = Subscription { service: shared.service.clone(), resource, endpoint, set, vapid, keys };
    let added = shared.profile.contents().add(subscription);
    let subscription = added.ok_or(Error::Unusable("it granted the same subscription twice"))?;
    // From here on a failure leaves the subscription again, by dropping the grant.
    let grant = Grant { shared: Arc::clone(&shared), subscription, claimed: false };
    shared.profile.save().await?;
    shared.changes.send_replace(());
    Ok(grant)
}

async fn ask(shared: &Shared, vapid: Option<&PublicKey>) -> Result<Granted, Error> {
    let subscriptions = shared.subscriptions();
    let set = subscriptions.iter().rev().find_map(|s| s.set.as_ref());
    match post(&shared.connector, &shared.service, set, vapid).await {
        // The set may have expired since (RFC 8030 s4.1).
        Err(Error::Refused { status: StatusCode::BAD_REQUEST, .. }) if set.is_some() => {
            post(&shared.connector, &shared.service, None, vapid).await
        }
        granted => granted,
    }
}

/// Completes [`Shared::leave`]: writes it down and deletes the resource at the service. If the service cannot be
/// reached the deletion stays owed, and the driver makes up for it.
pub(crate) async fn delete_left(shared: Arc<Shared>, resource: Url) -> Result<(), Error> {
    let mut saved = shared.profile.save().await;
    match send_delete(&shared, &resource).await {
        Ok(Deleted::NotYet | Deleted::Doubtful) => tracing::info!("the service removes a subscription later"),
        Ok(Deleted::Now | Deleted::Before | Deleted::Never) => {
            shared.profile.contents().settle(&resource);
            saved = shared.profile.save().await;
        }
        Err(why) => tracing::info!(%why, "the service removes a subscription later"),
    }
    shared.profile.contents().end_call(&resource);
    shared.changes.send_replace(());
    Ok(saved?)
}

async fn send_delete(shared: &Shared, resource: &Url) -> Result<Deleted, Error> {
    let connection = shared.connector.connect(resource).await?;
    delete(connection.requests(), resource, shared.connector.limits.answer_timeout).await
}
