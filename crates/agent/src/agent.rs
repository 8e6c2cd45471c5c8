//! A user agent at one push service: the handle that subscribes, unsubscribes and sets the urgency.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use doorbell_protocol::headers::urgency::Urgency;
use doorbell_protocol::key::PublicKey;
use tokio::sync::{Mutex, watch};
use url::Url;

use crate::calls::{self, Grant};
use crate::driver::Driver;
use crate::error::Error;
use crate::http2::connection::Connector;
use crate::limits::Limits;
use crate::profile::{Profile, Subscription};
use crate::subscription::PushSubscription;
use crate::task::joined;
use crate::tls::Trust;

/// The path of the subscribe resource, where the address of a service has none.
const SUBSCRIBE_PATH: &str = "/subscribe";

/// A user agent (RFC 8030 s2) at one push service: a handle that is cheap to clone and can be used from any task.
///
/// The other half is the [`Driver`], which receives. A call of the handle needs no driver: it connects to the service
/// by itself, in a task of its own, and so it can also be made from within [`App::message`](crate::App::message). A
/// driver that runs takes over the change at once, otherwise the next run does.
///
/// A call that is dropped before it returns leaves nothing half-done: a subscription that the service granted in spite
/// of it is removed again, and one that was being left is left. (Only if the process or the runtime ends at that moment
/// can a granted subscription stay behind, in the profile or, if the answer was not read yet, at the service.)
///
/// Calls must be made within a tokio runtime.
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
    /// The driver has the other end, and notices there when no handle is left.
    urgency: watch::Sender<Option<Urgency>>,
}

/// What handles, their calls and the driver share.
pub(crate) struct Shared {
    pub(crate) profile: Arc<Profile>,
    /// The subscribe resource.
    pub(crate) service: Url,
    pub(crate) connector: Connector,
    /// Notifies the driver that subscriptions or owed deletions changed.
    pub(crate) changes: watch::Sender<()>,
    /// Held by a call that subscribes: the next one then names the set that this one was given (RFC 8030 s4.1).
    pub(crate) subscribing: Arc<Mutex<()>>,
}

impl Agent {
    /// An agent with the memory `profile` at the service with the address `service`: the URL of its subscribe
    /// resource, or of its origin, which then has it at `/subscribe`.
    pub fn new(profile: Profile, service: &str, trust: Trust, limits: Limits) -> Result<(Self, Driver), Error> {
        let service = subscribe_resource(service).ok_or_else(|| Error::Address(service.to_owned()))?;
        let connector = Connector { tls: trust.client_config()?, limits };
        let (changes, changed) = watch::channel(());
        let subscribing = Arc::new(Mutex::new(()));
        let shared = Arc::new(Shared { profile: Arc::new(profile), service, connector, changes, subscribing });
        let (urgency, floor) = watch::channel(None);
        let driver = Driver::new(Arc::clone(&shared), changed, floor);
        Ok((Self { shared, urgency }, driver))
    }

    /// An agent with the profile in `folder`, which trusts the certificate authorities of this system and has the
    /// default limits.
    pub fn open(folder: impl AsRef<Path>, service: &str) -> Result<(Self, Driver), Error> {
        Self::new(Profile::open(folder.as_ref())?, service, Trust::system(), Limits::default())
    }

    /// The subscriptions at this service, oldest first.
    pub fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.shared.subscriptions()
    }

    /// A new subscription with new identifiers (RFC 8030 s8.2) and new keys (RFC 8291 s3.1, s3.2). With `vapid` only
    /// the application server with that key may send to it (RFC 8292 s4). When this returns, it is in the profile, on
    /// the disk. Calls are carried out one after the other.
    pub async fn subscribe(&self, vapid: Option<PublicKey>) -> Result<PushSubscription, Error> {
        let turn = Arc::clone(&self.shared.subscribing).lock_owned().await;
        let shared = Arc::clone(&self.shared);
        let call = tokio::spawn(async move {
            let _turn = turn;
            calls::subscribe(shared, vapid).await
        });
        joined(call.await).ok_or(Error::Shutdown)?.map(Grant::claim)
    }

    /// Ends the subscription with this endpoint, here at once, and at the service as soon as it can be reached: if it
    /// cannot be now, a later run of the driver removes it. What was received for it and not handled yet is dropped.
    /// `false` if there is no such subscription.
    pub async fn unsubscribe(&self, endpoint: &str) -> Result<bool, Error> {
        let Some(resource) = self.shared.leave(endpoint) else { return Ok(false) };
        let call = tokio::spawn(calls::delete_left(Arc::clone(&self.shared), resource));
        joined(call.await).ok_or(Error::Shutdown)?.map(|()| true)
    }

    /// Sets the least urgency that is worth being woken for (RFC 8030 s5.3), `None` for everything. What is below stays
    /// at the service. A run connects anew with it at once; until the old connection is closed, within
    /// [`Limits::leaving_grace`], it can still bring what is below. It is not kept in the profile: a new agent receives
    /// everything.
    pub fn set_urgency(&self, least: Option<Urgency>) {
        self.urgency.send_if_modified(|urgency| std::mem::replace(urgency, least) != least);
    }

    /// The least urgency that is worth being woken for, as it was set.
    pub fn urgency(&self) -> Option<Urgency> {
        *self.urgency.borrow()
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("service", &self.shared.service.host_str()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The subscriptions at this service, oldest first.
    pub(crate) fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        let contents = self.profile.contents();
        contents.subscriptions().iter().filter(|s| s.service == self.service).cloned().collect()
    }

    /// Takes the subscription out of the profile and returns its resource, which the caller must delete with
    /// [`calls::delete_left`].
    pub(crate) fn leave(&self, endpoint: &str) -> Option<Url> {
        let resource = self.profile.contents().leave(endpoint)?;
        self.changes.send_replace(());
        Some(resource)
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

    #[test]
    fn a_handle_can_be_shared_by_tasks_and_a_driver_can_move_to_one() {
        fn shared<T: Send + Sync + Clone + 'static>() {}
        fn moved<T: Send + 'static>() {}
        shared::<Agent>();
        moved::<Driver>();
    }
}
