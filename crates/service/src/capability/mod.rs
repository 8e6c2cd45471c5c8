//! Capability URLs: each resource's path is a sealed token that only this service can create and open (RFC 8030 s8.3).
//!
//! A token is `base64url(nonce || AES-256-GCM-SIV(key, nonce, record))`, 91 characters for every kind of resource. The
//! nonce is a keyed hash of the record instead of a random value, because one resource must have one URI: the Location
//! for the application server equals the promised path for the user agent. Without the key the nonce looks random, so
//! two tokens of one agent cannot be linked (s8.2). Opening a token needs no database lookup.

mod device;
mod ring;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorbell_protocol::id::{AgentId, MessageId, ReceiptSubscriptionId, SubscriptionId};
use doorbell_protocol::time::UnixMs;

pub use ring::{KeyRing, KeyRingError};

const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const RECORD_LEN: usize = 40;
const SEALED_LEN: usize = NONCE_LEN + RECORD_LEN + TAG_LEN;
/// Base64url without padding.
const TOKEN_LEN: usize = (SEALED_LEN * 4).div_ceil(3);

/// The first 16 bytes of the SHA-256 of a VAPID public key: the key that a subscription is restricted to (RFC 8292 s4).
pub type KeyFingerprint = [u8; 16];

/// The resource behind a capability URL; one kind gives no access to the others (PS-8030-2-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `/p/`: an application server posts messages here (RFC 8030 s5).
    Push {
        /// The agent that the messages are for.
        agent: AgentId,
        /// The subscription that they belong to.
        subscription: SubscriptionId,
        /// The only key that may sign them, if the subscription is restricted.
        restricted_to: Option<KeyFingerprint>,
        /// Whether a browser registered it: nothing else can open the messages. URLs of earlier versions do not say so.
        of_browser: bool,
    },
    /// `/m/`: one message, to read, acknowledge or withdraw (RFC 8030 s6.2).
    Message {
        /// The agent that the message is for.
        agent: AgentId,
        /// The message.
        id: MessageId,
    },
    /// `/s/`: the user agent receives here, and removes the subscription (RFC 8030 s4, s6).
    Subscription {
        /// Its agent.
        agent: AgentId,
        /// The subscription.
        subscription: SubscriptionId,
    },
    /// `/a/`: a subscription set, all subscriptions of one agent (RFC 8030 s4.1).
    Set {
        /// The agent.
        agent: AgentId,
    },
    /// `/r/`: an application server receives the outcomes of its messages here (RFC 8030 s5.1, s6.3).
    Receipts {
        /// The receipt subscription.
        id: ReceiptSubscriptionId,
    },
    /// No URL: its token is the credential of Chromium's extension for `GET /wake` (docs/wake.md).
    Wake {
        /// The agent whose waiting messages are reported.
        agent: AgentId,
    },
}

/// Seals and opens the paths of resources.
#[derive(Debug)]
pub struct Capabilities {
    /// Oldest first.
    generations: Vec<Generation>,
}

#[derive(Debug)]
struct Generation {
    since: UnixMs,
    sealing: LessSafeKey,
    nonces: hmac::Key,
    /// For the secrets of Chromium devices.
    devices: hmac::Key,
}

impl Capabilities {
    /// Seals with the keys of `ring`.
    pub fn new(ring: &KeyRing) -> Self {
        let generations = ring.keys().map(|(since, key)| Generation::new(since, key)).collect();
        Self { generations }
    }

    /// The path of a resource: the same one each time.
    ///
    /// The key is the one that was current when the resource was created, so that rotation changes no URI that a client
    /// has.
    pub fn path(&self, resource: Resource) -> String {
        let (kind, record) = resource.to_record();
        let prefix = ["/", kind.segment(), "/"];
        let mut path = String::with_capacity(prefix.iter().map(|part| part.len()).sum::<usize>() + TOKEN_LEN);
        path.extend(prefix);
        self.append_token(kind, &record, resource.created_at(), &mut path);
        debug_assert_eq!(self.open(&path), Some(resource), "a path opens to the resource that it was made for");
        path
    }

    /// The last segment of a resource's path, for protocols that name a resource without its kind.
    pub fn token(&self, resource: Resource) -> String {
        let (kind, record) = resource.to_record();
        let mut token = String::with_capacity(TOKEN_LEN);
        self.append_token(kind, &record, resource.created_at(), &mut token);
        token
    }

    fn append_token(&self, kind: Kind, record: &[u8; RECORD_LEN], created_at: UnixMs, to: &mut String) {
        URL_SAFE_NO_PAD.encode_string(self.generation_of(created_at).seal(kind, record), to);
    }

    /// The key that was current at a moment; the oldest key for earlier moments.
    fn generation_of(&self, moment: UnixMs) -> &Generation {
        let current = self.generations.iter().rev().find(|g| g.since <= moment).or(self.generations.first());
        current.expect("a key ring has at least one key")
    }

    /// The resource that a path names, if this service sealed it.
    pub fn open(&self, path: &str) -> Option<Resource> {
        let (kind, token) = path.strip_prefix('/')?.split_once('/')?;
        let kind = Kind::from_segment(kind)?;
        // A token of another length is rejected before it is decoded.
        let token = (token.len() == TOKEN_LEN).then_some(token)?;
        let sealed: [u8; SEALED_LEN] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let record = self.generations.iter().rev().find_map(|g| g.open(kind, sealed))?;
        Some(Resource::from_record(kind, &record))
    }
}

impl Generation {
    fn new(since: UnixMs, secret: &[u8; 32]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derive = |label: &[u8]| hmac::sign(&root, label);
        let sealing = UnboundKey::new(&AES_256_GCM_SIV, derive(b"doorbell capability seal").as_ref());
        let sealing = LessSafeKey::new(sealing.expect("HMAC-SHA256 returns the 32 bytes of an AES-256 key"));
        let nonces = hmac::Key::new(hmac::HMAC_SHA256, derive(b"doorbell capability nonce").as_ref());
        let devices = hmac::Key::new(hmac::HMAC_SHA256, derive(b"doorbell device secret").as_ref());
        Self { since, sealing, nonces, devices }
    }

    fn seal(&self, kind: Kind, record: &[u8; RECORD_LEN]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.nonces);
        context.update(kind.segment().as_bytes());
        context.update(record);
        let hash = context.sign();
        let nonce: [u8; NONCE_LEN] = *hash.as_ref().first_chunk().expect("HMAC-SHA256 returns 32 bytes");
        let mut sealed = record.to_vec();
        let aad = Aad::from(kind.segment().as_bytes());
        let sealing = self.sealing.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed);
        sealing.expect("AES-256-GCM-SIV seals a record of 40 bytes");
        sealed.splice(0..0, nonce);
        debug_assert_eq!(sealed.len(), SEALED_LEN, "all tokens have one length");
        sealed
    }

    /// The record of a token that this key sealed; `None` for any other.
    fn open(&self, kind: Kind, mut sealed: [u8; SEALED_LEN]) -> Option<[u8; RECORD_LEN]> {
        let (nonce, rest) = sealed.split_first_chunk_mut::<NONCE_LEN>().expect("a token begins with its nonce");
        let aad = Aad::from(kind.segment().as_bytes());
        let record = self.sealing.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, rest).ok()?;
        Some(*record.first_chunk().expect("a token without nonce and tag is a record"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Push,
    Message,
    Subscription,
    Set,
    Receipts,
    Wake,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Push, Self::Message, Self::Subscription, Self::Set, Self::Receipts, Self::Wake];

    const fn segment(self) -> &'static str {
        match self {
            Self::Push => "p",
            Self::Message => "m",
            Self::Subscription => "s",
            Self::Set => "a",
            Self::Receipts => "r",
            Self::Wake => "w",
        }
    }

    fn from_segment(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.segment() == segment)
    }
}

impl Resource {
    fn created_at(&self) -> UnixMs {
        match self {
            Self::Push { subscription, .. } | Self::Subscription { subscription, .. } => subscription.minted_at(),
            Self::Message { id, .. } => id.minted_at(),
            Self::Set { agent } | Self::Wake { agent } => agent.minted_at(),
            Self::Receipts { id } => id.minted_at(),
        }
    }

    /// Agent, second id and key fingerprint, each at a fixed place. All kinds have the same length, so that the length
    /// reveals nothing.
    fn to_record(self) -> (Kind, [u8; RECORD_LEN]) {
        let mut record = [0; RECORD_LEN];
        let (kind, first, second) = match self {
            Self::Push { agent, subscription, restricted_to, of_browser } => {
                record[17] = u8::from(of_browser);
                if let Some(fingerprint) = restricted_to {
                    record[16] = 1;
                    record[24..].copy_from_slice(&fingerprint);
                }
                (Kind::Push, agent.raw(), subscription.raw())
            }
            Self::Message { agent, id } => (Kind::Message, agent.raw(), id.raw()),
            Self::Subscription { agent, subscription } => (Kind::Subscription, agent.raw(), subscription.raw()),
            Self::Set { agent } => (Kind::Set, agent.raw(), 0),
            Self::Receipts { id } => (Kind::Receipts, id.raw(), 0),
            Self::Wake { agent } => (Kind::Wake, agent.raw(), 0),
        };
        record[..8].copy_from_slice(&first.to_be_bytes());
        record[8..16].copy_from_slice(&second.to_be_bytes());
        (kind, record)
    }

    fn from_record(kind: Kind, record: &[u8; RECORD_LEN]) -> Self {
        let number = |at: usize| i64::from_be_bytes(std::array::from_fn(|i| record[at + i]));
        let agent = AgentId::from_raw(number(0));
        let subscription = SubscriptionId::from_raw(number(8));
        match kind {
            Kind::Push => {
                let restricted_to = (record[16] == 1).then(|| std::array::from_fn(|i| record[24 + i]));
                Self::Push { agent, subscription, restricted_to, of_browser: record[17] == 1 }
            }
            Kind::Message => Self::Message { agent, id: MessageId::from_raw(number(8)) },
            Kind::Subscription => Self::Subscription { agent, subscription },
            Kind::Set => Self::Set { agent },
            Kind::Receipts => Self::Receipts { id: ReceiptSubscriptionId::from_raw(number(0)) },
            Kind::Wake => Self::Wake { agent },
        }
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::id::Mint;

    use super::*;

    const NOON: UnixMs = UnixMs::from_secs(1_790_000_000);

    fn every_kind(mint: &Mint, now: UnixMs) -> [Resource; 8] {
        let agent = AgentId::from_raw(mint.next(now));
        let subscription = SubscriptionId::from_raw(mint.next(now));
        [
            Resource::Push { agent, subscription, restricted_to: None, of_browser: false },
            Resource::Push { agent, subscription, restricted_to: Some([7; 16]), of_browser: false },
            Resource::Push { agent, subscription, restricted_to: Some([7; 16]), of_browser: true },
            Resource::Message { agent, id: MessageId::from_raw(mint.next(now)) },
            Resource::Subscription { agent, subscription },
            Resource::Set { agent },
            Resource::Receipts { id: ReceiptSubscriptionId::from_raw(mint.next(now)) },
            Resource::Wake { agent },
        ]
    }

    #[test]
    fn a_path_opens_to_its_resource_and_is_the_same_each_time_ps_8030_6_2() {
        let capabilities = Capabilities::new(&KeyRing::generate(NOON));
        for resource in every_kind(&Mint::new(0, 0), NOON) {
            let path = capabilities.path(resource);
            assert_eq!(capabilities.open(&path), Some(resource));
            assert_eq!(capabilities.path(resource), path);
            assert_eq!(capabilities.token(resource), path[3..]);
            assert!(http::HeaderValue::try_from(path.as_str()).is_ok(), "it can stand in a Location");
            assert!(path.len() < 1000, "UP-S-1");
        }
    }

    #[test]
    fn a_token_of_one_kind_does_not_open_as_another_ps_8030_2_2() {
        let capabilities = Capabilities::new(&KeyRing::generate(NOON));
        for resource in every_kind(&Mint::new(0, 0), NOON) {
            let path = capabilities.path(resource);
            for kind in ["p", "m", "s", "a", "r", "w"] {
                let other = format!("/{kind}{}", &path[2..]);
                assert_eq!(capabilities.open(&other).is_some(), other == path);
            }
        }
    }

    #[test]
    fn a_forged_truncated_or_foreign_token_does_not_open() {
        let capabilities = Capabilities::new(&KeyRing::generate(NOON));
        let foreign = Capabilities::new(&KeyRing::generate(NOON));
        for resource in every_kind(&Mint::new(0, 0), NOON) {
            let path = capabilities.path(resource);
            assert_eq!(foreign.open(&path), None);
            for cut in 0..path.len() {
                assert_eq!(capabilities.open(&path[..cut]), None);
            }
            for at in 3..path.len() {
                let mut forged = path.clone().into_bytes();
                forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
                assert_eq!(capabilities.open(&String::from_utf8(forged).unwrap()), None, "at {at}");
            }
            assert_eq!(capabilities.open(&format!("{path}A")), None);
        }
    }

    #[test]
    fn rotation_keeps_every_uri_that_a_client_has() {
        let mut ring = KeyRing::generate(NOON);
        let old = every_kind(&Mint::new(0, 0), NOON);
        let before: Vec<_> = old.iter().map(|r| Capabilities::new(&ring).path(*r)).collect();
        let later = NOON.plus(std::time::Duration::from_secs(3600));
        ring.rotate(later);
        let capabilities = Capabilities::new(&ring);
        for (resource, path) in old.iter().zip(&before) {
            assert_eq!(capabilities.open(path), Some(*resource));
            assert_eq!(&capabilities.path(*resource), path);
        }
        let mut only_new = KeyRing::generate(NOON);
        only_new.keep_newest_of(&ring);
        for resource in every_kind(&Mint::new(0, 0), later) {
            let path = capabilities.path(resource);
            assert_eq!(Capabilities::new(&only_new).open(&path), Some(resource), "sealed with the new key");
        }
    }

    #[test]
    fn paths_of_one_agent_share_no_more_than_paths_of_many_ps_8030_8_2_1() {
        let capabilities = Capabilities::new(&KeyRing::generate(NOON));
        let mint = Mint::new(0, 0);
        let agent = AgentId::from_raw(mint.next(NOON));
        let path = |agent| {
            let subscription = SubscriptionId::from_raw(mint.next(NOON));
            capabilities.path(Resource::Push { agent, subscription, restricted_to: None, of_browser: false })
        };
        let one: Vec<_> = (0..2000).map(|_| path(agent)).collect();
        let many: Vec<_> = (0..2000).map(|_| path(AgentId::from_raw(mint.next(NOON)))).collect();
        // Expected by chance: 91 characters, each the same with probability 1/64.
        let shared = |paths: &[String]| {
            let same = |a: &str, b: &str| a.bytes().zip(b.bytes()).skip(3).filter(|(x, y)| x == y).count();
            paths.windows(2).map(|w| same(&w[0], &w[1])).sum::<usize>() as f64 / (paths.len() - 1) as f64
        };
        for (name, paths) in [("one agent", &one), ("many agents", &many)] {
            let mean = shared(paths);
            assert!((1.1..1.7).contains(&mean), "{name}: neighbours share {mean} characters of 91");
        }
    }
}
