//! Message encryption against the oracle `ece`, an implementation that is not ours (RFC 8291).

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use doorbell_protocol::ece::aes128gcm::{Padding, decrypt, encrypt};
use doorbell_protocol::ece::keys::{AgentKeys, AuthSecret};
use doorbell_protocol::ece::{EceError, PLAINTEXT_MAX, aesgcm};
use ece::EcKeyComponents;
use proptest::prelude::*;

/// A subscription of ours, in the oracle's words.
fn components(keys: &AgentKeys) -> EcKeyComponents {
    let private = keys.to_parts().unwrap().private;
    EcKeyComponents::new(private.to_vec(), keys.public_key().as_bytes().to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_oracle_opens_what_we_seal(text in proptest::collection::vec(any::<u8>(), 0..=PLAINTEXT_MAX), to in 0..=PLAINTEXT_MAX) {
        let keys = AgentKeys::generate().unwrap();
        for padding in [Padding::None, Padding::To(to)] {
            let body = encrypt(&text, padding, keys.public_key(), keys.auth_secret()).unwrap();
            let opened = ece::decrypt(&components(&keys), keys.auth_secret().as_bytes(), &body).unwrap();
            prop_assert_eq!(&opened, &text);
            prop_assert_eq!(&decrypt(&keys, &body).unwrap(), &text);
        }
    }

    #[test]
    fn we_open_what_the_oracle_seals(text in proptest::collection::vec(any::<u8>(), 1..3000)) {
        let keys = AgentKeys::generate().unwrap();
        let (public, auth) = (keys.public_key().as_bytes(), keys.auth_secret().as_bytes());
        prop_assert_eq!(decrypt(&keys, &ece::encrypt(public, auth, &text).unwrap()).unwrap(), text);
    }

    #[test]
    fn we_open_the_aesgcm_that_the_oracle_seals_cr_aesgcm_3(text in proptest::collection::vec(any::<u8>(), 1..3000)) {
        let keys = AgentKeys::generate().unwrap();
        let (public, auth) = (keys.public_key().as_bytes(), keys.auth_secret().as_bytes());
        let block = ece::legacy::encrypt_aesgcm(public, auth, &text).unwrap();
        let header = |name| block.headers(None).into_iter().find(|(n, _)| *n == name).unwrap().1;
        let body = doorbell_protocol::base64url::decode(&block.body()).unwrap();
        prop_assert_eq!(aesgcm::decrypt(&keys, &header("Encryption"), &header("Crypto-Key"), &body).unwrap(), text);
    }
}

#[test]
fn keys_survive_their_stored_form_and_differ_per_subscription_ua_8291_3_1() {
    let keys = AgentKeys::generate().unwrap();
    let back = AgentKeys::from_parts(&keys.to_parts().unwrap()).unwrap();
    assert_eq!(back.public_key(), keys.public_key());
    assert_eq!(back.auth_secret(), keys.auth_secret());
    let other = AgentKeys::generate().unwrap();
    assert_ne!(other.public_key(), keys.public_key());
    assert_ne!(other.auth_secret(), keys.auth_secret());
    assert_eq!(format!("{keys:?} {:?}", keys.auth_secret()), "AgentKeys(..) AuthSecret(..)");
}

#[test]
fn an_auth_secret_has_16_bytes_ua_8291_3_2_1() {
    let secret = AuthSecret::from_base64url("BTBZMqHH6r4Tts7J/aSIgg==").unwrap();
    assert_eq!(secret.to_base64url(), "BTBZMqHH6r4Tts7J_aSIgg");
    assert_eq!(AuthSecret::from_base64url("AAAA"), Err(EceError::AuthSecret(3)));
    assert_eq!(AuthSecret::from_base64url("!"), Err(EceError::AuthSecretText));
}

#[test]
fn a_message_for_another_subscription_does_not_open() {
    let (one, other) = (AgentKeys::generate().unwrap(), AgentKeys::generate().unwrap());
    let body = encrypt(b"x", Padding::None, one.public_key(), one.auth_secret()).unwrap();
    assert_eq!(decrypt(&other, &body), Err(EceError::Sealed));
    let wrong_secret = encrypt(b"x", Padding::None, one.public_key(), other.auth_secret()).unwrap();
    assert_eq!(decrypt(&one, &wrong_secret), Err(EceError::Sealed));
}
