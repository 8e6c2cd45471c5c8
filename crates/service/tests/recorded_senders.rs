//! Requests as the libraries of Ruby, PHP and Java write them, which are not run here: every byte of their heads is theirs,
//! except the tokens and keys, which are fresh. The service is not on port 443, and all three leave the port out of `aud`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use doorbell_protocol::base64url;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_service::config::Settings;
use support::{START, Subscription, TestService, path, raw};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A request that a library has written.
struct Recorded {
    library: &'static str,
    /// What it calls the contact of an application server that gives `mailto:me@example.org`, or none.
    contact: &'static str,
    valid: Duration,
    /// After the request line; what differs each time is in braces.
    head: &'static str,
}

/// RubyGems' web-push 1.1.0, lib/web_push/request.rs, over Net::HTTP of Ruby 3.
const RUBY: &str = "Content-Type: application/octet-stream\r\nTtl: 2419200\r\nUrgency: normal\r\nContent-Encoding: aes128gcm\r\n\
       Content-Length: {length}\r\nAuthorization: vapid t={token},k={key}\r\n\
       Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3\r\nAccept: */*\r\nUser-Agent: Ruby\r\n\
       Connection: close\r\nHost: {host}\r\n";

const RECORDED: [Recorded; 6] = [
    Recorded {
        library: "Ruby's web-push",
        contact: "mailto:me@example.org",
        valid: HOUR.saturating_mul(24),
        head: RUBY,
    },
    // Without a subject it has one of its own, which is no URI.
    Recorded {
        library: "Ruby's web-push without a subject",
        contact: "sender@example.com",
        valid: HOUR.saturating_mul(24),
        head: RUBY,
    },
    // PHP's minishlink/web-push at commit ed78a79, src/WebPush.php and src/VAPID.php, over Guzzle 7.
    Recorded {
        library: "PHP's web-push, aes128gcm",
        contact: "mailto:me@example.org",
        valid: HOUR.saturating_mul(12),
        head: "Host: {host}\r\nUser-Agent: GuzzleHttp/7\r\nContent-Type: application/octet-stream\r\n\
               Content-Encoding: aes128gcm\r\nTTL: 2419200\r\nAuthorization: vapid t={token}, k={key}\r\n\
               Content-Length: {length}\r\n",
    },
    Recorded {
        library: "PHP's web-push, aesgcm",
        contact: "mailto:me@example.org",
        valid: HOUR.saturating_mul(12),
        head: "Host: {host}\r\nUser-Agent: GuzzleHttp/7\r\nContent-Type: application/octet-stream\r\n\
               Content-Encoding: aesgcm\r\nEncryption: salt={salt}\r\nCrypto-Key: dh={dh};p256ecdsa={key}\r\n\
               TTL: 2419200\r\nAuthorization: WebPush {token}\r\nContent-Length: {length}\r\n",
    },
    // Java's nl.martijndwars:web-push at commit 355be4b, AbstractPushService.java, over Apache's HttpAsyncClient 4.1, in the
    // order of its HashMap. Only its `dh` is padded; its key is in Crypto-Key with both codings.
    Recorded {
        library: "Java's webpush-java, aes128gcm",
        contact: "mailto:me@example.org",
        valid: HOUR.saturating_mul(12),
        head: "Authorization: vapid t={token}, k={key}\r\nContent-Encoding: aes128gcm\r\nTTL: 2419200\r\n\
               Crypto-Key: p256ecdsa={key}\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\
               Host: {host}\r\nConnection: Keep-Alive\r\nUser-Agent: Apache-HttpAsyncClient/4.1.5 (Java/17.0.15)\r\n",
    },
    Recorded {
        library: "Java's webpush-java, aesgcm",
        contact: "mailto:me@example.org",
        valid: HOUR.saturating_mul(12),
        head: "Authorization: WebPush {token}\r\nContent-Encoding: aesgcm\r\nEncryption: salt={salt}\r\nTTL: 2419200\r\n\
               Crypto-Key: dh={dh}=;p256ecdsa={key}\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\
               Host: {host}\r\nConnection: Keep-Alive\r\nUser-Agent: Apache-HttpAsyncClient/4.1.5 (Java/17.0.15)\r\n",
    },
];

impl Recorded {
    /// Sends it: the whole answer.
    async fn send(&self, to: &Subscription, body: &[u8], service: &TestService) -> String {
        let fresh = || SigningKey::generate().unwrap();
        let (key, dh) = (fresh(), fresh().public_key().to_base64url());
        let (aud, exp) = ("http://127.0.0.1", START.plus(self.valid));
        let token = key.sign(aud, exp, Some(self.contact)).unwrap();
        let claims = format!(r#"{{"aud":"{aud}","exp":{},"sub":"{}"}}"#, exp.as_secs(), self.contact);
        assert_eq!(token.split('.').nth(1).unwrap(), base64url::encode(claims.as_bytes()), "the libraries' claims");
        let head = self.head.replace("{token}", &token).replace("{key}", &key.public_key().to_base64url());
        let head = head.replace("{dh}", &dh).replace("{salt}", &base64url::encode(&[7; 16]));
        let head = head.replace("{host}", &service.address.to_string()).replace("{length}", &body.len().to_string());
        let mut request = format!("POST {} HTTP/1.1\r\n{head}\r\n", path(&to.push)).into_bytes();
        request.extend(body);
        raw::once(service.address, request).await
    }
}

/// As long as every aes128gcm body of PHP's library, which pads them.
fn body() -> Vec<u8> {
    (0..=255).cycle().take(2923).collect()
}

/// PS-8292-2-4, PS-8292-2-5, PS-8292-2-6, PS-8292-3-1, CR-aesgcm-1, CR-aesgcm-5
#[tokio::test]
async fn what_the_libraries_of_ruby_php_and_java_write_is_accepted_and_delivered() {
    let service = TestService::start().await;
    let mut agent = service.agent().await;
    for recorded in RECORDED {
        let to = service.subscribe().await;
        let answer = recorded.send(&to, &body(), &service).await;
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{}: {answer}", recorded.library);
        let (pushes, _) = agent.fetch(&to.subscription).await;
        assert_eq!(pushes.len(), 1, "{}", recorded.library);
        assert_eq!(pushes[0].body, body(), "{}", recorded.library);
        let is_older = recorded.head.contains("aesgcm");
        let salt = pushes[0].headers.get("encryption").map(|value| value.to_str().unwrap());
        assert_eq!(salt, is_older.then_some("salt=BwcHBwcHBwcHBwcHBwcHBw"), "{}", recorded.library);
    }
}

/// PS-8292-2-4, PS-8292-4.2-3
#[tokio::test]
async fn a_strict_service_names_the_audience_that_these_libraries_must_write() {
    let service = TestService::with(Settings { strict_audience: Some(true), ..Settings::default() }).await;
    let to = service.subscribe().await;
    for recorded in RECORDED {
        let answer = recorded.send(&to, &body(), &service).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}: {answer}", recorded.library);
        for named in [r#"\"http://127.0.0.1\""#.to_owned(), service.origin()] {
            assert!(answer.contains(&named), "{}: {named} in {answer}", recorded.library);
        }
    }
}
