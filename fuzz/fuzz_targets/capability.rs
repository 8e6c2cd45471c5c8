//! Capability URLs: what the service did not seal does not open, and what it sealed opens as what it was.
#![no_main]

use std::sync::LazyLock;

use doorbell_protocol::id::{AgentId, MessageId, SubscriptionId};
use doorbell_protocol::time::UnixMs;
use doorbell_service::capability::{Capabilities, KeyRing, Resource};
use libfuzzer_sys::fuzz_target;

static OURS: LazyLock<Capabilities> = LazyLock::new(|| {
    let mut ring = KeyRing::generate(UnixMs::from_secs(1_800_000_000));
    ring.rotate(UnixMs::from_secs(1_900_000_000));
    Capabilities::new(&ring)
});

fuzz_target!(|input: (i64, i64, Option<[u8; 16]>, bool, &str)| {
    let (agent, id, restricted_to, of_browser, stranger) = input;
    assert!(OURS.open(stranger).is_none(), "somebody else made {stranger:?}");

    let (agent, subscription) = (AgentId::from_raw(agent), SubscriptionId::from_raw(id));
    let resources = [
        Resource::Push { agent, subscription, restricted_to, of_browser },
        Resource::Message { agent, id: MessageId::from_raw(id) },
        Resource::Subscription { agent, subscription },
        Resource::Set { agent },
        Resource::Wake { agent },
    ];
    for resource in resources {
        let path = OURS.path(resource);
        assert!(path.len() <= 1000);
        assert_eq!(OURS.open(&path), Some(resource));
        // A token of one kind is none of another.
        for kind in ["/p/", "/m/", "/s/", "/a/", "/w/"].iter().filter(|kind| !path.starts_with(**kind)) {
            assert!(OURS.open(&format!("{kind}{}", &path[3..])).is_none());
        }
    }
});
