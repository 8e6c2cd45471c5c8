//! VAPID keys from a person's file: a private key that is accepted is written back as the same key.
#![no_main]

use doorbell_protocol::key::PublicKey;
use doorbell_protocol::vapid::sign::SigningKey;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let der = SigningKey::from_der(text.as_bytes());
    for key in [SigningKey::from_base64url(text), SigningKey::from_pem(text), der].into_iter().flatten() {
        let scalar = key.to_base64url().expect("a key can be written");
        assert_eq!(SigningKey::from_base64url(&scalar).expect("its own form").public_key(), key.public_key());
        let pem = key.to_pem().expect("a key can be written");
        assert_eq!(SigningKey::from_pem(&pem).expect("its own form").public_key(), key.public_key());
    }
    if let Ok(key) = PublicKey::from_base64url(text) {
        assert_eq!(PublicKey::from_base64url(&key.to_base64url()), Ok(key));
        assert_eq!(key.as_bytes()[0], 4);
    }
});
