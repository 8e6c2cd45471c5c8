//! Whether a token is accepted whose `aud` lacks the port: several libraries make such tokens (RFC 8292 s2 wants the origin).

use doorbell_sender::clock;
use doorbell_sender::endpoint::Endpoint;
use doorbell_sender::request::{self, Message};
use http::header::AUTHORIZATION;

use super::connector::Connector;
use super::http1::{ask, status};
use super::report::Finding;

const SENDERS: &str = "Rust's web-push, Ruby's web-push, PyPI's webpush and webpush-rs, PHP's and Java's libraries";

/// The step: sends `message` with such a token.
pub(super) async fn check(connector: &Connector, message: &Message<'_>) -> Finding {
    let target = &connector.target;
    let Some(port) = target.url.port() else {
        return Finding::ok("the origin has no port that a sender could leave out of its tokens");
    };
    let mut without_port = target.url.clone();
    let removed = without_port.set_port(None);
    debug_assert!(removed.is_ok(), "a URL with a host can be without a port");
    match answer(connector, message, without_port.as_str()).await {
        Ok(answer) => found(status(&answer), port),
        Err(error) => Finding::warning(error, "read the logs of the proxy and of the service"),
    }
}

async fn answer(connector: &Connector, message: &Message<'_>, audience: &str) -> anyhow::Result<String> {
    let now = clock::now();
    let mut request = request::build(message, now)?;
    let authorization = message.signer.authorization(&Endpoint::parse(audience)?, now)?;
    request.headers_mut().insert(AUTHORIZATION, authorization);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    Ok(ask(connector, "POST", path, request.headers(), request.body()).await?)
}

fn found(status: Option<u16>, port: u16) -> Finding {
    match status {
        Some(200..=299) => {
            Finding::ok(format!("a token whose aud lacks the port {port} is accepted too")).with_note(format!(
                "{SENDERS} leave the port out; the service logs each key whose sender does. On port 443 there is none"
            ))
        }
        Some(401 | 403) => Finding::warning(
            format!("a token whose aud lacks the port {port} is refused, as RFC 8292 demands"),
            format!("{SENDERS} leave the port out: serve on port 443, or switch strict_audience off"),
        ),
        Some(status) => Finding::warning(
            format!("a message whose token lacks the port {port} in its aud is answered {status}"),
            "read the logs of the proxy and of the service",
        ),
        None => Finding::warning("the answer is not HTTP", "read the logs of the proxy and of the service"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::report::Verdict;

    #[test]
    fn only_an_acceptance_is_well_and_a_refusal_names_the_setting() {
        assert_eq!(found(Some(201), 8443).verdict, Verdict::Ok);
        let refused = found(Some(403), 8443);
        assert_eq!(refused.verdict, Verdict::Warning);
        assert!(refused.advice.unwrap().contains("strict_audience"));
        assert_eq!((found(Some(502), 8443).verdict, found(None, 8443).verdict), (Verdict::Warning, Verdict::Warning));
    }
}
