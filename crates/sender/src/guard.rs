//! The second check of where a message goes: after the name of the endpoint is resolved (RFC 8030 s8.4).
//!
//! A name that looks public may resolve to a private address, and to another one a second later. The client therefore
//! connects to exactly the addresses that were checked here.

use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

use crate::network::AddressPolicy;

/// The system's resolver, behind an [`AddressPolicy`].
pub(crate) struct Guard {
    policy: Arc<AddressPolicy>,
    /// The caller named it, so it may be anywhere. With a proxy no other name is resolved here.
    proxy_host: Option<String>,
}

/// The name has no address that the policy permits.
#[derive(Clone, Copy, Debug, Error)]
#[error("the name resolves to addresses that are not allowed")]
pub(crate) struct AddressRefused;

impl Guard {
    pub(crate) fn new(policy: Arc<AddressPolicy>, proxy_host: Option<String>) -> Self {
        Self { policy, proxy_host }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.policy);
        let is_proxy = self.proxy_host.as_deref().is_some_and(|host| host.eq_ignore_ascii_case(name.as_str()));
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let permitted: Vec<_> = found.filter(|address| is_proxy || policy.permits(address.ip())).collect();
            if permitted.is_empty() {
                return Err(AddressRefused.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn resolves(name: &str, proxy_host: Option<&str>) -> bool {
        let guard = Guard::new(Arc::new(AddressPolicy::public()), proxy_host.map(str::to_owned));
        guard.resolve(name.parse().unwrap()).await.is_ok()
    }

    #[tokio::test]
    async fn only_the_proxy_s_own_name_may_lead_inside_as_ssrf_1() {
        assert!(!resolves("localhost", None).await && !resolves("localhost", Some("proxy.corp")).await);
        assert!(resolves("localhost", Some("localhost")).await && resolves("localhost", Some("LocalHost")).await);
    }
}
