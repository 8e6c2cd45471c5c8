//! Sends a message with the `web-push-native` crate, as its documentation shows.

use std::error::Error;
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use isahc::config::{CaCertificate, Configurable};
use isahc::http::Request;
use isahc::{AsyncReadResponseExt, HttpClient};
use rust_senders::{Outcome, read_job, report};
use serde_json::Value;
use web_push_native::jwt_simple::algorithms::ES256KeyPair;
use web_push_native::p256::PublicKey;
use web_push_native::{Auth, WebPushBuilder};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let job = read_job()?;
    let http = HttpClient::builder().ssl_ca_certificate(CaCertificate::file(&job.ca)).build()?;

    let pair = ES256KeyPair::from_bytes(&bytes(&job.vapid.private_key)?)?;
    let keys = &job.subscription["keys"];
    let endpoint = word(&job.subscription["endpoint"])?.parse()?;
    let public = PublicKey::from_sec1_bytes(&bytes(word(&keys["p256dh"])?)?)?;
    let auth = Auth::clone_from_slice(&bytes(word(&keys["auth"])?)?);
    let message = WebPushBuilder::new(endpoint, public, auth)
        .with_valid_duration(Duration::from_secs(job.ttl.into()))
        .with_vapid(&pair, &job.vapid.subject)
        .build(job.text)?;

    // The two libraries have different versions of the `http` crate.
    let mut request = Request::post(message.uri().to_string());
    for (name, value) in message.headers() {
        request = request.header(name.as_str(), value.as_bytes());
    }
    let mut reply = http.send_async(request.body(message.into_body())?).await?;
    let outcome = match reply.status().as_u16() {
        201 => Outcome::Accepted,
        404 | 410 => Outcome::Gone,
        401 | 403 => Outcome::Unauthorized,
        _ => Outcome::Failed,
    };
    report(outcome, &reply.text().await?);
    Ok(())
}

fn word(value: &Value) -> Result<&str, &'static str> {
    value.as_str().ok_or("the subscription lacks a text")
}

fn bytes(text: &str) -> Result<Vec<u8>, base64ct::Error> {
    Base64UrlUnpadded::decode_vec(text)
}
