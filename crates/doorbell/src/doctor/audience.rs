//! Whether senders are accepted whose tokens name the origin without its port (RFC 8292 s2 asks for it).

use std::time::Duration;

use anyhow::{Context, Result};
use doorbell_protocol::vapid::header::Credentials;
use doorbell_protocol::vapid::sign::SigningKey;
use doorbell_sender::clock;

use super::checkin::ask;
use super::connector::Connector;
use super::report::Finding;
use super::target::Target;

/// The token is used at once.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The Authorization of a sender that leaves the port out; `None` if the origin has none.
pub(super) fn authorization(key: &SigningKey, target: &Target) -> Result<Option<String>> {
    let mut url = target.url.clone();
    if url.port().is_none() || url.set_port(None).is_err() {
        return Ok(None);
    }
    let token = key.sign(&url.origin().unicode_serialization(), clock::now().plus(LIFETIME), None)?;
    let value = Credentials { token: &token, key: *key.public_key() }.to_value().context("a token is text")?;
    Ok(Some(value.to_str()?.to_owned()))
}

/// The step: an empty message that expires at once.
pub(super) async fn check(connector: &Connector, push: &str, authorization: &str) -> Finding {
    let port = connector.target.port;
    let Some(path) = url::Url::parse(push).ok().map(|url| url.path().to_owned()) else {
        return Finding::skipped("the push resource is not a URL");
    };
    let fields = format!("ttl: 0\r\nauthorization: {authorization}\r\n");
    match ask(connector, "POST", &path, &fields, b"").await {
        Ok(answer) if answer.starts_with("HTTP/1.1 201") => {
            Finding::ok(format!("senders whose tokens leave the port {port} out of aud are accepted"))
        }
        Ok(answer) if answer.contains("(aud)") => Finding::warning(
            format!("senders whose tokens leave the port {port} out of aud are refused, and several libraries do that"),
            "start the service without --strict-audience, or serve it on port 443",
        ),
        Ok(answer) => {
            let line = answer.lines().next().unwrap_or_default();
            let status: String = line.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect();
            Finding::skipped(format!("another answer came ({status})"))
        }
        Err(error) => Finding::skipped(format!("no answer came: {error}")),
    }
}
