//! The forms in which Web Push tools write a private key.

use anyhow::{Result, anyhow, bail, ensure};
use doorbell_protocol::key::PublicKey;
use doorbell_protocol::vapid::sign::SigningKey;
use serde_json::Value;

/// What is read, for an error about anything else.
const FORMS: &str = "there is no P-256 private key in a known form: PEM or DER (PKCS#8, or SEC 1 as openssl writes it), \
    a line with the 32 bytes of the private key in base64url, JSON with a privateKey (as `web-push generate-vapid-keys \
    --json` prints it), or a JWK";

/// The length of a private key in base64url, without padding.
const PRIVATE_LENGTH: usize = 43;

/// Reads the contents of a file.
pub(super) fn read(bytes: &[u8]) -> Result<SigningKey> {
    // DER of a key on P-256 is never UTF-8: the name of the curve contains 0x86 where no character can have it.
    let Ok(text) = std::str::from_utf8(bytes) else { return SigningKey::from_der(bytes).map_err(|_| anyhow!(FORMS)) };
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.contains("-----BEGIN") {
        return pem(text);
    }
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => json(&value),
        _ => lines(text),
    }
}

fn pem(text: &str) -> Result<SigningKey> {
    ensure!(
        !text.contains("BEGIN ENCRYPTED PRIVATE KEY") && !text.contains("Proc-Type: 4,ENCRYPTED"),
        "the private key is encrypted; write it without a password: openssl pkcs8 -topk8 -nocrypt -in KEY -out PLAIN"
    );
    ensure!(
        text.contains("PRIVATE KEY-----"),
        "there is only a public key or a certificate; the private key is needed"
    );
    SigningKey::from_pem(text).map_err(|_| {
        anyhow!("the private key is not one on P-256 (openssl: prime256v1), which Web Push needs, or is damaged")
    })
}

/// npm's `{"publicKey","privateKey"}`, in which Deno's and other tools write JWKs instead of text; or a JWK alone.
fn json(value: &Value) -> Result<SigningKey> {
    let private = value.get("privateKey").unwrap_or(value);
    let key = match private {
        Value::String(text) => line(text.trim()),
        _ => jwk(private)?,
    };
    let key = key.ok_or_else(|| anyhow!(FORMS))?;
    let public = value.get("publicKey").and_then(Value::as_str).and_then(|text| PublicKey::from_base64url(text).ok());
    ensure!(
        public.is_none_or(|public| public == *key.public_key()),
        "publicKey and privateKey in it do not belong together"
    );
    Ok(key)
}

/// RFC 7518 s6.2; `None` without a private half.
fn jwk(value: &Value) -> Result<Option<SigningKey>> {
    if let Some(curve) = value["crv"].as_str() {
        ensure!(curve == "P-256", "the JWK is on another curve than P-256, which Web Push needs");
        ensure!(value.get("d").is_some(), "the JWK is a public key; the private key is needed (its member d)");
    }
    Ok(value["d"].as_str().and_then(line))
}

/// The line that is a private key, among others such as the headings that tools print.
fn lines(text: &str) -> Result<SigningKey> {
    let mut keys = text.lines().filter_map(|text| line(text.trim()));
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => bail!("there is more than one line that can be a private key"),
        (None, _) if text.lines().any(|line| PublicKey::from_base64url(line.trim()).is_ok()) => {
            bail!("there is only a public key; the private key is needed")
        }
        (None, _) => bail!(FORMS),
    }
}

/// A private key in base64url.
fn line(text: &str) -> Option<SigningKey> {
    let digits = text.trim_end_matches('=');
    if digits.len() != PRIVATE_LENGTH {
        return None;
    }
    SigningKey::from_base64url(digits).ok()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use doorbell_protocol::base64url;
    use serde_json::json;

    use super::*;

    fn read_as_text(text: &str) -> Result<SigningKey> {
        read(text.as_bytes())
    }

    #[test]
    fn the_keys_of_other_tools_are_read() {
        let key = SigningKey::generate().unwrap();
        let (private, public) = (key.to_base64url().unwrap(), key.public_key().to_base64url());
        let private = private.as_str();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "d": private, "ext": true });
        for text in [
            private.to_owned(),
            format!("\u{feff}{private}=\r\n"),
            json!({ "publicKey": public, "privateKey": private }).to_string(),
            json!({ "subject": "mailto:ops@doorbell.dev", "privateKey": private }).to_string(),
            json!({ "publicKey": { "kty": "EC", "crv": "P-256" }, "privateKey": jwk }).to_string(),
            jwk.to_string(),
            // What `web-push generate-vapid-keys` prints without --json.
            format!("\n=====\n\nPublic Key:\n{public}\n\nPrivate Key:\n{private}\n\n=====\n"),
            key.to_pem().unwrap().to_string(),
        ] {
            assert_eq!(read_as_text(&text).unwrap().public_key(), key.public_key(), "{text}");
        }
    }

    #[test]
    fn der_is_read_in_both_of_its_forms_with_or_without_pem() {
        let key = SigningKey::generate().unwrap();
        let scalar = base64url::decode(&key.to_base64url().unwrap()).unwrap();
        let curve = [0xa0, 0x0a, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let sec1 = [&[0x30, 0x31, 2, 1, 1, 4, 0x20], &scalar[..], &curve].concat();
        let pem: String = key.to_pem().unwrap().lines().filter(|line| !line.starts_with('-')).collect();
        for der in [sec1, STANDARD.decode(pem).unwrap()] {
            assert_eq!(read(&der).unwrap().public_key(), key.public_key());
            let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----", STANDARD.encode(der));
            assert_eq!(read_as_text(&pem).unwrap().public_key(), key.public_key());
        }
    }

    #[test]
    fn what_is_not_a_private_key_is_named_with_what_is_needed() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let (private, public) = (key.to_base64url().unwrap(), key.public_key().to_base64url());
        let two = format!("{}\n{}\n", private.as_str(), other.to_base64url().unwrap().as_str());
        let mixed = json!({ "publicKey": other.public_key().to_base64url(), "privateKey": private.as_str() });
        for (text, words) in [
            ("", "JWK"),
            ("no key", "web-push generate-vapid-keys --json"),
            ("{}", "in a known form"),
            ("[1]", "in a known form"),
            (&public, "only a public key"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "only a public key"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "not one on P-256"),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----", "is encrypted"),
            (&two, "more than one line"),
            (&mixed.to_string(), "do not belong together"),
            (r#"{"kty":"EC","crv":"P-384","d":"AAAA"}"#, "another curve"),
            (r#"{"kty":"EC","crv":"P-256","x":"AAAA"}"#, "a public key"),
        ] {
            let error = read_as_text(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(read(&[0x30, 0x82, 0xff]).unwrap_err().to_string().contains("in a known form"));
    }
}
