//! VAPID tokens (RFC 8292 s2): the RFC's own, ours, and every way to get one wrong. p256 is the independent signer.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::time::Duration;

use doorbell_protocol::base64url;
use doorbell_protocol::key::PublicKey;
use doorbell_protocol::time::UnixMs;
use doorbell_protocol::vapid::claims::Claims;
use doorbell_protocol::vapid::header::Credentials;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_protocol::vapid::verify::{LIFETIME_MAX, SKEW_MAX, VapidError, verify};
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey as OracleKey, VerifyingKey};
use proptest::prelude::*;
use serde_json::json;

const ORIGIN: &str = "https://push.example.net";
const NOW: UnixMs = UnixMs::from_secs(1_800_000_000);

/// RFC 8292 s2.4.
const RFC_TOKEN: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA";
const RFC_KEY: &str = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";
const RFC_EXP: i64 = 1_453_523_768;

/// An application server that signs any text with p256.
struct Signatory(OracleKey);

impl Signatory {
    fn new(seed: u8) -> Self {
        Self(OracleKey::from_slice(&[seed; 32]).unwrap())
    }

    fn key(&self) -> PublicKey {
        PublicKey::from_bytes(self.0.verifying_key().to_encoded_point(false).as_bytes()).unwrap()
    }

    fn token(&self, header: &serde_json::Value, claims: &serde_json::Value) -> String {
        self.signed(&unsigned(header, claims))
    }

    fn signed(&self, text: &str) -> String {
        let signature: Signature = self.0.sign(text.as_bytes());
        format!("{text}.{}", base64url::encode(&signature.to_bytes()))
    }

    /// The result of a service with the origin `ORIGIN` at `NOW`.
    fn judged(&self, token: &str) -> Result<Claims, VapidError> {
        verify(&Credentials { token, key: self.key() }, &[ORIGIN], NOW)
    }

    /// The same for an ES256 token with these claims.
    fn judged_claims(&self, claims: &serde_json::Value) -> Result<Claims, VapidError> {
        self.judged(&self.token(&es256(), claims))
    }
}

fn unsigned(header: &serde_json::Value, claims: &serde_json::Value) -> String {
    format!("{}.{}", base64url::encode(header.to_string().as_bytes()), base64url::encode(claims.to_string().as_bytes()))
}

fn es256() -> serde_json::Value {
    json!({ "typ": "JWT", "alg": "ES256" })
}

fn good_claims() -> serde_json::Value {
    json!({ "aud": ORIGIN, "exp": NOW.as_secs() + 3600, "sub": "mailto:push@example.com" })
}

#[test]
fn the_token_of_the_rfc_is_good_until_it_expires() {
    let credentials = Credentials { token: RFC_TOKEN, key: PublicKey::from_base64url(RFC_KEY).unwrap() };
    let at = |secs| verify(&credentials, &["https://other.example", ORIGIN], UnixMs::from_secs(secs));
    let claims = at(RFC_EXP).unwrap();
    assert_eq!(claims.aud, [ORIGIN]);
    assert_eq!(claims.exp, UnixMs::from_secs(RFC_EXP));
    assert_eq!(claims.sub.as_deref(), Some("mailto:push@example.com"));
    assert_eq!(at(RFC_EXP + 1), Err(VapidError::Expired { exp: RFC_EXP.to_string(), now: RFC_EXP + 1 }));
}

#[test]
fn only_es256_with_a_raw_signature_counts_ps_8292_2_3() {
    let server = Signatory::new(1);
    for alg in ["none", "HS256", "ES384", "RS256", "es256", ""] {
        let token = server.token(&json!({ "typ": "JWT", "alg": alg }), &good_claims());
        assert_eq!(server.judged(&token), Err(VapidError::Algorithm), "{alg}");
    }
    let none = format!("{}.", unsigned(&json!({ "alg": "none" }), &good_claims()));
    assert_eq!(server.judged(&none), Err(VapidError::Algorithm));
    let signed = unsigned(&es256(), &good_claims());
    let der: Signature = server.0.sign(signed.as_bytes());
    let der = format!("{signed}.{}", base64url::encode(der.to_der().as_bytes()));
    assert_eq!(server.judged(&der), Err(VapidError::Signature));
    assert_eq!(server.judged(&format!("{signed}.")), Err(VapidError::Signature));
    let critical = server.token(&json!({ "alg": "ES256", "crit": ["b64"], "b64": false }), &good_claims());
    assert_eq!(server.judged(&critical), Err(VapidError::Algorithm));
}

#[test]
fn a_signature_by_another_key_or_over_another_text_is_refused_ps_8292_4_2_3() {
    let (server, other) = (Signatory::new(1), Signatory::new(2));
    assert_eq!(server.judged(&other.token(&es256(), &good_claims())), Err(VapidError::Signature));
    let token = server.token(&es256(), &good_claims());
    let (_, signature) = token.rsplit_once('.').unwrap();
    let longer = json!({ "aud": ORIGIN, "exp": NOW.as_secs() + 7200 });
    assert_eq!(server.judged(&format!("{}.{signature}", unsigned(&es256(), &longer))), Err(VapidError::Signature));
    let zeros = base64url::encode(&[0; 64]);
    assert_eq!(server.judged(&format!("{}.{zeros}", unsigned(&es256(), &good_claims()))), Err(VapidError::Signature));
}

#[test]
fn the_audience_is_the_exact_origin_alone_or_in_a_list_ps_8292_2_4() {
    let server = Signatory::new(1);
    let judged = |aud| server.judged_claims(&json!({ "aud": aud, "exp": NOW.as_secs() + 60 })).map(|claims| claims.aud);
    assert_eq!(judged(json!(ORIGIN)), Ok(vec![ORIGIN.to_owned()]));
    assert!(judged(json!(["https://other.example", ORIGIN])).is_ok());
    for wrong in [
        json!("https://push.example.net/"),
        json!("https://push.example.net/p/x"),
        json!("https://push.example.net:8443"),
        json!("http://push.example.net"),
        json!("https://push.example.org"),
        json!("push.example.net"),
        json!(""),
        json!([]),
        json!(["https://other.example"]),
        json!(null),
    ] {
        assert!(matches!(judged(wrong.clone()), Err(VapidError::Audience { .. })), "{wrong}");
    }
    let missing = server.judged_claims(&json!({ "exp": NOW.as_secs() + 60 }));
    assert!(matches!(missing, Err(VapidError::Audience { .. })), "{missing:?}");
    assert!(matches!(judged(json!([1])), Err(VapidError::Audience { .. })));
}

#[test]
fn a_port_that_is_not_the_default_is_part_of_the_origin_ps_8292_2_4() {
    let server = Signatory::new(1);
    let on_port = "https://push.example.net:8443";
    let token = server.token(&es256(), &json!({ "aud": on_port, "exp": NOW.as_secs() + 60 }));
    let credentials = Credentials { token: &token, key: server.key() };
    assert!(verify(&credentials, &[on_port], NOW).is_ok());
    assert!(matches!(verify(&credentials, &[ORIGIN], NOW), Err(VapidError::Audience { .. })));
}

#[test]
fn exp_is_required_not_past_and_at_most_a_day_ahead_ps_8292_2_5() {
    let server = Signatory::new(1);
    let judged = |exp| server.judged_claims(&json!({ "aud": ORIGIN, "exp": exp })).map(|claims| claims.exp.as_secs());
    let now = NOW.as_secs();
    let day = i64::try_from(LIFETIME_MAX.as_secs()).unwrap();
    let skew = i64::try_from(SKEW_MAX.as_secs()).unwrap();
    assert_eq!(day, 86_400);
    for good in [now, now + 1, now + day, now + day + skew] {
        assert_eq!(judged(json!(good)), Ok(good));
    }
    assert_eq!(judged(json!(1_800_000_060.75)), Ok(1_800_000_060));
    for past in [json!(now - 1), json!(0), json!(-1), json!(i64::MIN), json!(-1e300)] {
        assert!(matches!(judged(past.clone()), Err(VapidError::Expired { .. })), "{past}");
    }
    for far in [json!(now + day + skew + 1), json!(now * 1000), json!(u64::MAX), json!(1e300)] {
        assert!(matches!(judged(far.clone()), Err(VapidError::TooLong { .. })), "{far}");
    }
    let none = Err(VapidError::NoExpiry { latest: now + day + skew });
    assert_eq!(judged(json!(null)), none);
    assert_eq!(server.judged_claims(&json!({ "aud": ORIGIN })).map(|claims| claims.exp.as_secs()), none);
    assert!(matches!(judged(json!("1800000060")), Err(VapidError::Type { name: "exp", .. })));
}

/// What a person reads: the claim, the value that came and the one that is wanted.
#[test]
fn an_error_about_a_claim_names_what_came_and_what_is_wanted_ps_8292_4_2_3() {
    let server = Signatory::new(1);
    let (now, wanted) = (NOW.as_secs(), "\"https://push.example.net\"");
    for (claims, parts) in [
        (
            json!({ "aud": "https://push.example.net:8443", "exp": now }),
            ["(aud)", "\"https://push.example.net:8443\"", wanted],
        ),
        (json!({ "aud": ["https://a", "https://b"], "exp": now }), ["(aud)", "[\"https://a\",\"https://b\"]", wanted]),
        (json!({ "aud": ["https://a"], "exp": now }), ["(aud)", " is \"https://a\"", wanted]),
        (json!({ "aud": { "x": 1 }, "exp": now }), ["(aud)", "{\"x\":1}", wanted]),
        (json!({ "exp": now }), ["(aud)", "missing", wanted]),
        (json!({ "aud": ORIGIN }), ["(exp)", "missing", "1800086460"]),
        (json!({ "aud": ORIGIN, "exp": now - 5 }), ["(exp)", "1799999995", "1800000000"]),
        (json!({ "aud": ORIGIN, "exp": now + 90_000 }), ["(exp)", "1800090000", "1800086460"]),
        // As it was written, not as a clock would clamp it.
        (json!({ "aud": ORIGIN, "exp": u64::MAX }), ["(exp)", "is 18446744073709551615,", "1800086460"]),
        (json!({ "aud": ORIGIN, "exp": -1.5e300 }), ["(exp)", "is -1.5e+300,", "1800000000"]),
        (json!({ "aud": ORIGIN, "exp": 1.5 }), ["(exp)", "is 1.5,", "1800000000"]),
        (json!({ "aud": ORIGIN, "exp": "1800000060" }), ["claim exp", "\"1800000060\"", "a number of seconds"]),
        (json!({ "aud": ORIGIN, "exp": now, "sub": 7 }), ["claim sub", "7", "mailto:"]),
    ] {
        let text = server.judged_claims(&claims).unwrap_err().to_string();
        assert!(parts.iter().all(|part| text.contains(part)), "{claims}: {text}");
    }
}

#[test]
fn a_claim_in_an_error_is_short_and_cannot_drive_a_terminal() {
    let server = Signatory::new(1);
    let judged = |aud: serde_json::Value| server.judged_claims(&json!({ "aud": aud, "exp": NOW.as_secs() }));
    let hostile = judged(json!("\u{1b}[2J\u{202e}\u{7f}\n<münchen>")).unwrap_err().to_string();
    assert!(
        hostile.contains("<münchen>")
            && hostile.chars().all(|c| c.is_alphanumeric() || c.is_ascii_graphic() || c == ' '),
        "{hostile}"
    );
    // The bound counts what is shown: one character has up to ten when it is escaped.
    for one in ["x", "\u{202e}", "\u{e0001}"] {
        let Err(VapidError::Audience { came, .. }) = judged(json!(one.repeat(200))) else { panic!("{one:?}") };
        assert!((100..=121).contains(&came.chars().count()) && came.ends_with('…'), "{came}");
    }
    let Err(VapidError::Audience { came, .. }) = judged(json!("x".repeat(118))) else { panic!("another error") };
    assert!(!came.contains('…'), "with its quotes it has just room: {came}");
}

#[test]
fn sub_is_optional_and_unknown_claims_are_ignored_ps_8292_2_6() {
    let server = Signatory::new(1);
    let claims = json!({ "aud": ORIGIN, "exp": NOW.as_secs() + 60, "iat": 1, "x": { "y": [] } });
    assert_eq!(server.judged_claims(&claims).unwrap().sub, None);
}

#[test]
fn what_is_not_a_jwt_is_refused() {
    let server = Signatory::new(1);
    for text in ["", ".", "..", "...", "a.b.c", "e30.e30.", "a.b.c.d", "e30.e30", &"a".repeat(100_000)] {
        assert!(server.judged(text).is_err(), "{text:.20}");
    }
    let not_json = server.token(&es256(), &json!("text"));
    assert_eq!(server.judged(&not_json), Err(VapidError::Malformed));
    let twice = format!(r#"{{"aud":"https://a.example","aud":"{ORIGIN}","exp":{}}}"#, NOW.as_secs() + 60);
    let signed =
        format!("{}.{}", base64url::encode(es256().to_string().as_bytes()), base64url::encode(twice.as_bytes()));
    assert_eq!(
        server.judged(&server.signed(&signed)),
        Err(VapidError::Twice),
        "a claim given twice has no one meaning"
    );
}

#[test]
fn our_tokens_are_good_for_us_and_for_the_oracle_as_8292_2_1() {
    let key = SigningKey::generate().unwrap();
    let exp = NOW.plus(Duration::from_secs(12 * 3600));
    let token = key.sign(ORIGIN, exp, Some("mailto:push@example.com")).unwrap();
    let claims = verify(&Credentials { token: &token, key: *key.public_key() }, &[ORIGIN], NOW).unwrap();
    assert_eq!(claims, Claims { aud: vec![ORIGIN.to_owned()], exp, sub: Some("mailto:push@example.com".to_owned()) });
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let oracle = VerifyingKey::from_sec1_bytes(key.public_key().as_bytes()).unwrap();
    let signature = Signature::from_slice(&base64url::decode(signature).unwrap()).unwrap();
    oracle.verify(signed.as_bytes(), &signature).unwrap();
}

#[test]
fn a_signing_key_survives_both_of_its_text_forms() {
    let key = SigningKey::generate().unwrap();
    let scalar = key.to_base64url().unwrap();
    let pem = key.to_pem().unwrap();
    assert_eq!(SigningKey::from_base64url(&scalar).unwrap().public_key(), key.public_key());
    assert_eq!(SigningKey::from_pem(&pem).unwrap().public_key(), key.public_key());
    assert!(pem.lines().all(|line| line.len() <= 64));
    assert_eq!(format!("{key:?}"), "SigningKey(..)");
}

/// Made with `openssl ecparam -name prime256v1 -genkey`, and converted with `openssl pkcs8 -topk8 -nocrypt`.
#[test]
fn the_pem_files_of_openssl_are_read() {
    let sec1 = SigningKey::from_pem(include_str!("vapid-sec1.pem")).unwrap();
    let pkcs8 = SigningKey::from_pem(include_str!("vapid-pkcs8.pem")).unwrap();
    assert_eq!(sec1.public_key(), pkcs8.public_key());
}

#[test]
fn what_is_no_private_key_is_refused() {
    for text in ["", "AAAA", &base64url::encode(&[0; 32]), &base64url::encode(&[0xff; 32])] {
        assert!(SigningKey::from_base64url(text).is_err(), "{text}");
    }
    for text in ["", "PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
        assert!(SigningKey::from_pem(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_token_makes_it_panic(text: String, bytes: Vec<u8>) {
        let server = Signatory::new(1);
        prop_assert!(server.judged(&text).is_err());
        let header = base64url::encode(es256().to_string().as_bytes());
        let signed = format!("{header}.{}", base64url::encode(&bytes));
        prop_assert!(server.judged(&server.signed(&signed)).is_err());
    }

    #[test]
    fn one_changed_byte_anywhere_is_noticed(at in 0usize..1000, with in "[A-Za-z0-9_-]") {
        let credentials = |token| Credentials { token, key: PublicKey::from_base64url(RFC_KEY).unwrap() };
        let at = at % RFC_TOKEN.len();
        let mut token = RFC_TOKEN.to_owned();
        token.replace_range(at..=at, &with);
        prop_assume!(token != RFC_TOKEN);
        prop_assert!(verify(&credentials(&token), &[ORIGIN], UnixMs::from_secs(RFC_EXP)).is_err());
    }

    #[test]
    fn no_pem_makes_it_panic(text in "(-----BEGIN PRIVATE KEY-----|-----END|[A-Za-z0-9+/=\n])*") {
        let _ = (SigningKey::from_pem(&text), SigningKey::from_base64url(&text));
    }
}
