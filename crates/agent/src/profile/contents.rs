//! The contents of a profile and how they change, as rules without IO.

use std::collections::VecDeque;
use std::sync::Arc;

use url::Url;

use crate::profile::Subscription;

/// Endpoints of left subscriptions that are kept in mind. A service pushes for one until it has removed it, which
/// seldom takes longer than the DELETE of the call.
const LEFT_MAX: usize = 1024;

/// What a profile holds.
#[derive(Default)]
pub(crate) struct Contents {
    /// Oldest first.
    subscriptions: Vec<Arc<Subscription>>,
    /// What the service has ended and nothing has replaced yet. Still written down, so that the old keys go only when the
    /// new ones are there; a profile that is opened again asks the service again.
    ended: Vec<Arc<Subscription>>,
    /// Resources to delete: messages that the app has, subscriptions that were left.
    owed: Vec<Url>,
    /// Those of `owed` that a call of the handle deletes at this moment; not written down.
    in_call: Vec<Url>,
    /// The endpoints of the subscriptions that were left last, oldest first; not written down.
    left: VecDeque<Url>,
}

impl Contents {
    pub(super) fn new(subscriptions: Vec<Subscription>, owed: Vec<Url>) -> Self {
        let subscriptions = subscriptions.into_iter().map(Arc::new).collect();
        Self { subscriptions, owed, ..Self::default() }
    }

    /// Every subscription, oldest first.
    pub(crate) fn subscriptions(&self) -> &[Arc<Subscription>] {
        &self.subscriptions
    }

    /// Adds a subscription; `None` if one with its endpoint or its resource is there.
    pub(crate) fn add(&mut self, subscription: Subscription) -> Option<Arc<Subscription>> {
        let same = |s: &Arc<Subscription>| s.endpoint == subscription.endpoint || s.resource == subscription.resource;
        if self.subscriptions.iter().any(same) {
            return None;
        }
        self.left.retain(|left| *left != subscription.endpoint);
        self.forget_ended(&subscription.service);
        let subscription = Arc::new(subscription);
        self.subscriptions.push(Arc::clone(&subscription));
        Some(subscription)
    }

    /// Takes the subscription with this endpoint out and owes the deletion of its resource, which is returned: the
    /// caller sends the DELETE itself, and [`Contents::end_call`] must follow.
    pub(crate) fn leave(&mut self, endpoint: &str) -> Option<Url> {
        let place = self.subscriptions.iter().position(|s| s.endpoint.as_str() == endpoint)?;
        let subscription = self.subscriptions.remove(place);
        if self.left.len() >= LEFT_MAX {
            self.left.pop_front();
        }
        self.left.push_back(subscription.endpoint.clone());
        let resource = subscription.resource.clone();
        self.owe(resource.clone());
        self.in_call.push(resource.clone());
        self.check();
        Some(resource)
    }

    /// Whether the subscription with this endpoint was left since the profile was opened, and not ended by the service.
    pub(crate) fn is_left(&self, endpoint: &Url) -> bool {
        self.left.contains(endpoint)
    }

    /// The call that deletes `resource` is over. If it failed, the deletion is the driver's.
    pub(crate) fn end_call(&mut self, resource: &Url) {
        self.in_call.retain(|called| called != resource);
    }

    /// Takes out what the service has ended: every subscription whose messages came from `monitored`. Returns their
    /// endpoints. The file has them until [`Contents::forget_ended`], or until another one is added.
    pub(crate) fn end(&mut self, monitored: &Url) -> Vec<Url> {
        let is_ended = |s: &mut Arc<Subscription>| s.monitored() == monitored;
        let ended: Vec<_> = self.subscriptions.extract_if(.., is_ended).collect();
        let endpoints = ended.iter().map(|s| s.endpoint.clone()).collect();
        self.ended.extend(ended);
        endpoints
    }

    /// Drops what `service` has ended.
    pub(crate) fn forget_ended(&mut self, service: &Url) {
        self.ended.retain(|s| s.service != *service);
    }

    /// Every subscription for the file.
    pub(super) fn written(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.ended.iter().chain(&self.subscriptions)
    }

    /// Everything that is to be deleted, for the file.
    pub(super) fn owed(&self) -> &[Url] {
        &self.owed
    }

    /// How many resources are to be deleted.
    pub(crate) fn owed_count(&self) -> usize {
        self.owed.len()
    }

    /// What is to be deleted and is left to the driver.
    pub(crate) fn owed_by_driver(&self) -> impl Iterator<Item = &Url> {
        self.owed.iter().filter(|owed| !self.in_call.contains(owed))
    }

    /// Notes that `uri` is to be deleted.
    pub(crate) fn owe(&mut self, uri: Url) {
        if !self.owed.contains(&uri) {
            self.owed.push(uri);
        }
    }

    /// Forgets what is deleted. Should a crash undo this, the next DELETE is answered 404, which settles it too.
    pub(crate) fn settle(&mut self, uri: &Url) {
        self.owed.retain(|owed| owed != uri);
        self.in_call.retain(|called| called != uri);
        self.check();
    }

    fn check(&self) {
        debug_assert!(self.in_call.iter().all(|called| self.owed.contains(called)), "a call deletes what is not owed");
        debug_assert!(self.subscriptions.iter().all(|s| !self.left.contains(&s.endpoint)), "what is held is not left");
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::ece::keys::AgentKeys;

    use super::*;

    fn url(path: &str) -> Url {
        Url::parse(&format!("https://push.example{path}")).unwrap()
    }

    fn subscription(n: u32, set: Option<&str>) -> Subscription {
        Subscription {
            service: url("/subscribe"),
            resource: url(&format!("/s/{n}")),
            endpoint: url(&format!("/p/{n}")),
            set: set.map(url),
            vapid: None,
            keys: AgentKeys::generate().unwrap(),
        }
    }

    #[test]
    fn a_subscription_is_added_once() {
        let mut contents = Contents::default();
        assert!(contents.add(subscription(1, None)).is_some());
        assert!(contents.add(Subscription { resource: url("/s/2"), ..subscription(1, None) }).is_none());
        assert!(contents.add(Subscription { endpoint: url("/p/2"), ..subscription(1, None) }).is_none());
        assert_eq!(contents.subscriptions().len(), 1);
    }

    #[test]
    fn a_left_subscription_is_owed_by_its_call_and_then_by_the_driver() {
        let mut contents = Contents::new(vec![subscription(1, None)], vec![url("/m/1")]);
        assert_eq!(contents.leave("https://push.example/p/2"), None);
        assert_eq!(contents.leave("https://push.example/p/1"), Some(url("/s/1")));
        assert!(contents.subscriptions().is_empty());
        assert_eq!(contents.owed(), [url("/m/1"), url("/s/1")]);
        assert_eq!(contents.owed_by_driver().collect::<Vec<_>>(), [&url("/m/1")]);
        contents.end_call(&url("/s/1"));
        assert_eq!(contents.owed_by_driver().count(), 2);
        contents.settle(&url("/s/1"));
        assert_eq!(contents.owed(), [url("/m/1")]);
    }

    #[test]
    fn what_was_left_is_remembered_until_it_is_added_again_and_so_is_a_bounded_number() {
        let mut contents = Contents::default();
        let leave = |contents: &mut Contents, n: usize| {
            contents.add(subscription(u32::try_from(n).unwrap(), None)).unwrap();
            let resource = contents.leave(url(&format!("/p/{n}")).as_str()).unwrap();
            contents.settle(&resource);
        };
        leave(&mut contents, 0);
        assert!(contents.is_left(&url("/p/0")) && !contents.is_left(&url("/p/1")));
        contents.add(subscription(0, None)).unwrap();
        assert!(!contents.is_left(&url("/p/0")));
        (1..=LEFT_MAX + 1).for_each(|n| leave(&mut contents, n));
        assert!(!contents.is_left(&url("/p/1")) && contents.is_left(&url("/p/2")));
    }

    #[test]
    fn a_set_that_ends_takes_its_subscriptions_with_it_and_no_other() {
        let set = Some("/a/1");
        let mut contents =
            Contents::new(vec![subscription(1, set), subscription(2, None), subscription(3, set)], vec![]);
        assert_eq!(contents.end(&url("/a/1")), [url("/p/1"), url("/p/3")]);
        assert_eq!(contents.end(&url("/s/2")), [url("/p/2")]);
        assert!(contents.subscriptions().is_empty() && contents.owed_count() == 0, "no DELETE for what is gone");
    }

    #[test]
    fn what_the_service_ended_is_written_down_until_another_one_takes_its_place() {
        let mut contents = Contents::new(vec![subscription(1, None), subscription(2, None)], vec![]);
        contents.end(&url("/s/1"));
        let written = |contents: &Contents| contents.written().map(|s| s.endpoint.clone()).collect::<Vec<_>>();
        assert_eq!(written(&contents), [url("/p/1"), url("/p/2")]);
        contents.add(Subscription { service: url("/elsewhere"), ..subscription(3, None) }).unwrap();
        assert_eq!(written(&contents), [url("/p/1"), url("/p/2"), url("/p/3")]);
        contents.add(subscription(4, None)).unwrap();
        assert_eq!(written(&contents), [url("/p/2"), url("/p/3"), url("/p/4")]);
    }
}
