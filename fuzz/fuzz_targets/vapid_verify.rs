//! VAPID tokens: any JOSE header and any claims, properly signed; what passes obeys every rule of RFC 8292 s2.
//!
//! The first line is the header, the rest are the claims. Without a signature nothing behind it would be reached.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use doorbell_protocol::base64url::encode;
use doorbell_protocol::key::PublicKey;
use doorbell_protocol::time::UnixMs;
use doorbell_protocol::vapid::header::Credentials;
use doorbell_protocol::vapid::verify::{LIFETIME_MAX, SKEW_MAX, verify};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

const ORIGIN: &str = "https://push.example.net";
const NOW: UnixMs = UnixMs::from_secs(1_453_500_000);

static PAIR: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair"));

fuzz_target!(|data: &[u8]| {
    let (header, claims) = data.split_at(data.iter().position(|&b| b == b'\n').unwrap_or(data.len()));
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = PAIR.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
    let token = format!("{signed}.{}", encode(signature.as_ref()));
    let key = PublicKey::from_bytes(PAIR.public_key().as_ref()).expect("a point");
    let Ok(claims) = verify(&Credentials { token: &token, key }, &[ORIGIN], NOW) else { return };

    // Members that VAPID does not use are skipped unread: their strings, their depth and the size of their numbers may be
    // anything, so that this reads them raw too.
    let header = String::from_utf8_lossy(header);
    let header: BTreeMap<String, &RawValue> = serde_json::from_str(&header).expect("an accepted header is JSON");
    let algorithm: String = serde_json::from_str(header["alg"].get()).expect("an accepted algorithm is a string");
    assert_eq!(algorithm, "ES256");
    assert!(claims.aud.iter().any(|aud| aud == ORIGIN));
    assert!(claims.exp >= NOW && claims.exp.since(NOW) <= LIFETIME_MAX + SKEW_MAX + Duration::from_secs(1));
});
