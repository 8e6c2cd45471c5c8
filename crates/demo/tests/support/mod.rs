//! The grammar of the demo's tests: a push service of paper, and browsers without a screen.
//!
//! ```text
//! let (push, demo) = (PushService::open().await, start(&push, …).await);
//! let mut alice = Browser::of(&demo).signs_in("Alice").await;
//! let phone = alice.subscribes(&push).await;
//! push.waiting(&phone)
//! ```

#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test binary uses its part of the grammar")]

mod browser;
mod push_service;

use std::time::Duration;

use doorbell_demo::{Demo, Settings};
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_sender::client::ClientConfig;
use doorbell_sender::network::AddressPolicy;
use doorbell_sender::origins::OriginMap;
use doorbell_sender::token::Signer;
use tempfile::TempDir;

pub use browser::{Answer, Browser};
pub use push_service::{Device, Mail, PushService};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

const LOOPBACK: &str = "127.0.0.1:0";

/// A demo with a state directory of its own, whose calls ring for so long.
pub struct Running {
    pub demo: Demo,
    _state: TempDir,
}

impl Running {
    pub async fn ringing_for(rings_for: Duration, push: &PushService) -> Self {
        Self::start(LOOPBACK, rings_for, push, false).await
    }

    /// One in which a new name needs an invitation.
    pub async fn for_invited_people(push: &PushService) -> Self {
        Self::start(LOOPBACK, Duration::from_secs(60), push, true).await
    }

    /// One that other machines reach too.
    pub async fn on_every_address(push: &PushService) -> Self {
        Self::start("0.0.0.0:0", Duration::from_secs(60), push, false).await
    }

    async fn start(listen: &str, rings_for: Duration, push: &PushService, invited_only: bool) -> Self {
        let state = tempfile::tempdir().expect("a state directory");
        let addresses = AddressPolicy::public().allow_loopback();
        let settings = Settings {
            listen: listen.parse().expect("an address"),
            certificate: None,
            site: None,
            invited_only,
            state_dir: state.path().to_owned(),
            push_origin: Some(push.origin()),
            origins: OriginMap::of_chromiums_at(&push.origin()).expect("an origin"),
            client: ClientConfig { addresses, ..ClientConfig::default() },
            signer: Signer::new(SigningKey::generate().expect("a key"), None),
            rings_for,
            ice_servers: Vec::new(),
        };
        Self { demo: Demo::start(settings).await.expect("the demo starts"), _state: state }
    }
}
