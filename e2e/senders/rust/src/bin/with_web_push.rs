//! Sends a message with the `web-push` crate, as its documentation shows.

use std::error::Error;

use isahc::HttpClient;
use isahc::config::{CaCertificate, Configurable};
use rust_senders::{Outcome, read_job, report};
use web_push::{
    ContentEncoding, IsahcWebPushClient, SubscriptionInfo, VapidSignatureBuilder, WebPushClient, WebPushError,
    WebPushMessageBuilder,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let job = read_job()?;
    let http = HttpClient::builder().ssl_ca_certificate(CaCertificate::file(&job.ca)).build()?;
    let client = IsahcWebPushClient::from(http);

    let subscription: SubscriptionInfo = serde_json::from_value(job.subscription)?;
    let mut signature = VapidSignatureBuilder::from_base64(&job.vapid.private_key, &subscription)?;
    signature.add_claim("sub", job.vapid.subject.as_str());

    let mut message = WebPushMessageBuilder::new(&subscription);
    message.set_payload(ContentEncoding::Aes128Gcm, job.text.as_bytes());
    message.set_ttl(job.ttl);
    message.set_vapid_signature(signature.build()?);

    match client.send(message.build()?).await {
        Ok(()) => report(Outcome::Accepted, ""),
        Err(error) => {
            let outcome = match &error {
                WebPushError::EndpointNotValid(_) | WebPushError::EndpointNotFound(_) => Outcome::Gone,
                WebPushError::Unauthorized(_) => Outcome::Unauthorized,
                // 403 has no variant of its own.
                WebPushError::Other(info) if info.code == 403 => Outcome::Unauthorized,
                _ => Outcome::Failed,
            };
            report(outcome, &format!("{error:?}"));
        }
    }
    Ok(())
}
