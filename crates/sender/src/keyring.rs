//! Several signing keys: a subscription works only with the key that it was made with (RFC 8292 s4.2), and keys change.

use crate::subscription::Subscription;
use crate::token::Signer;

/// The signers of an application server: the current one, for new subscriptions, and older ones.
#[derive(Debug)]
pub struct Keyring {
    current: Signer,
    older: Vec<Signer>,
}

impl Keyring {
    /// A keyring with one signer.
    pub fn new(current: Signer) -> Self {
        Self { current, older: Vec::new() }
    }

    /// Adds a signer whose subscriptions are still in use.
    #[must_use]
    pub fn with_older(mut self, signer: Signer) -> Self {
        self.older.push(signer);
        self
    }

    /// The signer for new subscriptions.
    pub fn current(&self) -> &Signer {
        &self.current
    }

    /// The signer whose key `subscription` was made with; the current one if the subscription does not record its key;
    /// `None` if it records a key that is not in the keyring.
    pub fn signer_for(&self, subscription: &Subscription) -> Option<&Signer> {
        // Not on record: subscriptions are made with the current key.
        let Some(key) = &subscription.application_server_key else { return Some(&self.current) };
        std::iter::once(&self.current).chain(&self.older).find(|signer| signer.public_key() == key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use doorbell_protocol::ece::keys::AgentKeys;
    use doorbell_protocol::key::PublicKey;
    use doorbell_protocol::vapid::sign::SigningKey;

    fn signer() -> Signer {
        Signer::new(SigningKey::generate().unwrap(), None)
    }

    fn subscription(application_server_key: Option<PublicKey>) -> Subscription {
        let keys = AgentKeys::generate().unwrap();
        Subscription {
            endpoint: Endpoint::parse("https://push.example.net/p/x").unwrap(),
            agent_key: *keys.public_key(),
            auth: keys.auth_secret().clone(),
            expires_at: None,
            application_server_key,
        }
    }

    #[test]
    fn each_subscription_gets_the_key_that_it_was_made_with_as_8292_4_2_1() {
        let keyring = Keyring::new(signer()).with_older(signer()).with_older(signer());
        let chosen = |key| keyring.signer_for(&subscription(key)).map(|signer| *signer.public_key());
        for signer in std::iter::once(&keyring.current).chain(&keyring.older) {
            assert_eq!(chosen(Some(*signer.public_key())), Some(*signer.public_key()));
        }
        assert_eq!(chosen(None), Some(*keyring.current().public_key()));
        assert_eq!(chosen(Some(*signer().public_key())), None);
    }
}
