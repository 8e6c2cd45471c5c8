//! Subscriptions as browsers write them, from strangers: what is accepted is usable and reads back as itself.
#![no_main]

use doorbell_sender::endpoint::Endpoint;
use doorbell_sender::subscription::Subscription;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(subscription) = Subscription::from_json(text) {
        assert_eq!(Subscription::from_json(&subscription.to_json()), Ok(subscription));
    }
    if let Ok(endpoint) = Endpoint::parse(text) {
        assert!(endpoint.as_str().starts_with("https://") || endpoint.is_loopback());
        assert!(endpoint.as_str().starts_with(&endpoint.origin()) || !endpoint.origin().is_ascii());
        assert_eq!(Endpoint::parse(endpoint.as_str()), Ok(endpoint));
    }
});
