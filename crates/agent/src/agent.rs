//! A user agent at one push service: subscribes, unsubscribes, listens.

use std::future::Future;

use doorbell_protocol::ece::keys::AgentKeys;
use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::key::PublicKey;
use http::StatusCode;
use tokio::sync::watch;
use url::Url;

use crate::app::{App, Outcome};
use crate::doors::http2::acknowledge::{Deleted, delete};
use crate::doors::http2::connection::Connector;
use crate::doors::http2::subscribe::{Granted, subscribe};
use crate::error::Error;
use crate::limits::Limits;
use crate::listen::Listener;
use crate::profile::{Profile, Subscription};
use crate::subscription::PushSubscription;
use crate::tls::Trust;

/// The path of the subscribe resource, where the address of a service has none.
const SUBSCRIBE_PATH: &str = "/subscribe";

/// A user agent.
pub struct Agent {
    pub(crate) profile: Profile,
    /// The subscribe resource.
    pub(crate) service: Url,
    pub(crate) connector: Connector,
}

/// How to listen.
pub struct Listening {
    /// Fetch what is stored, then end (RFC 8030 s6, `Prefer: wait=0`); if the service cannot be reached, fail.
    pub at_once: bool,
    /// The least urgency that is worth being woken for (RFC 8030 s5.3), `None` for everything. A change takes effect
    /// at once: what is below stays at the service.
    pub floor: watch::Receiver<Option<Urgency>>,
}

impl Listening {
    /// For every message of at least `floor`, until stopped.
    pub fn from(floor: Option<Urgency>) -> Self {
        Self { at_once: false, floor: watch::channel(floor).1 }
    }

    /// For what is stored now.
    pub fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }
}

impl Agent {
    /// An agent with the memory `profile` at the service with the address `service`: the URL of its subscribe
    /// resource, or of its origin, which then has it at `/subscribe`.
    pub fn new(profile: Profile, service: &str, trust: Trust, limits: Limits) -> Result<Self, Error> {
        let service = subscribe_resource(service).ok_or_else(|| Error::Address(service.to_owned()))?;
        let connector = Connector { tls: trust.client_config()?, limits };
        Ok(Self { profile, service, connector })
    }

    /// What is subscribed at this service, oldest first.
    pub fn subscriptions(&self) -> impl DoubleEndedIterator<Item = &Subscription> {
        self.profile.subscriptions.iter().filter(|s| s.service == self.service)
    }

    /// A new subscription with new identifiers and new keys (UA-8030-8.2-1, UA-8291-3.1-1, UA-8291-3.2-1). With
    /// `vapid` only the application server with that key may send to it (RFC 8292 s4).
    pub async fn subscribe(&mut self, vapid: Option<PublicKey>) -> Result<PushSubscription, Error> {
        let max = self.connector.limits.subscriptions_max;
        if self.profile.subscriptions.len() >= max {
            return Err(Error::TooManySubscriptions(max));
        }
        let keys = AgentKeys::generate().map_err(|_| Error::Randomness)?;
        let Granted { resource, endpoint, set } = self.ask_for_subscription(vapid.as_ref()).await?;
        if self.profile.subscriptions.iter().any(|s| s.endpoint == endpoint || s.resource == resource) {
            return Err(Error::Unusable("it gave the same subscription twice"));
        }
        let service = self.service.clone();
        let subscription = Subscription { service, resource, endpoint, set, vapid, keys };
        let public = subscription.to_push_subscription();
        self.profile.subscriptions.push(subscription);
        self.profile.save().await?;
        Ok(public)
    }

    /// Ends the subscription with this endpoint, here at once, and at the service as soon as it can be reached (WA-10,
    /// WA-11). `false` if there is none.
    pub async fn unsubscribe(&mut self, endpoint: &str) -> Result<bool, Error> {
        let found = self.profile.subscriptions.iter().position(|s| s.endpoint.as_str() == endpoint);
        let Some(place) = found else { return Ok(false) };
        let resource = self.profile.subscriptions.remove(place).resource;
        self.profile.owe(resource.clone());
        self.profile.save().await?;
        match self.delete(&resource).await {
            Ok(Deleted::NotYet) => {}
            Ok(_) => {
                self.profile.settle(&resource);
                self.profile.save().await?;
            }
            Err(why) => tracing::info!(%why, "the service will hear of the end of a subscription later"),
        }
        Ok(true)
    }

    /// Receives messages and gives them to `app` until something of [`Outcome`] happens. Connections that fail are
    /// made again, with growing waits. An error ends it: of the profile, and with [`Listening::at_once`] of the
    /// connection too.
    pub async fn listen<A: App>(
        &mut self,
        app: &mut A,
        how: Listening,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Outcome, Error> {
        if self.subscriptions().next().is_none() {
            return Err(Error::NotSubscribed);
        }
        Listener::new(self, app, how).run(stop).await
    }

    async fn ask_for_subscription(&self, vapid: Option<&PublicKey>) -> Result<Granted, Error> {
        let set = self.subscriptions().rev().find_map(|s| s.set.as_ref());
        let granted = subscribe(&self.connector, &self.service, set, vapid).await;
        match granted {
            // The set may have expired meanwhile (PS-8030-4.1-3).
            Err(Error::Refused { status: StatusCode::BAD_REQUEST, .. }) if set.is_some() => {
                subscribe(&self.connector, &self.service, None, vapid).await
            }
            granted => granted,
        }
    }

    async fn delete(&self, resource: &Url) -> Result<Deleted, Error> {
        let connection = self.connector.connect(resource).await?;
        delete(connection.requests(), resource, self.connector.limits.answer_timeout).await
    }
}

fn subscribe_resource(address: &str) -> Option<Url> {
    let mut url = Url::parse(address).ok()?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if url.scheme() != "https" || url.host().is_none() || !plain {
        return None;
    }
    if url.path() == "/" {
        url.set_path(SUBSCRIBE_PATH);
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_its_origin_or_its_subscribe_resource() {
        let resource = |address| subscribe_resource(address).map(String::from);
        assert_eq!(resource("https://127.0.0.1:8443").as_deref(), Some("https://127.0.0.1:8443/subscribe"));
        assert_eq!(resource("https://push.example/new").as_deref(), Some("https://push.example/new"));
        for address in ["http://push.example", "push.example", "https://u:p@push.example", "https://p/#x", ""] {
            assert_eq!(resource(address), None, "{address}");
        }
    }
}
