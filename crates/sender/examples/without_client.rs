//! Sends a message with another HTTP client: the crate builds the request and reads the answer. Here it is hyper.
//!
//! ```sh
//! cargo run --no-default-features --example without_client -- "$(cat subscription.json)" 'Hello'
//! ```
//!
//! To stay short it connects without TLS, which works with a push service on this machine only.

use std::error::Error;

use doorbell_sender::http::Request;
use doorbell_sender::{
    AddressPolicy, Answer, Explanation, Message, Options, Signer, SigningKey, Subject, Subscription, Ttl, clock,
    request,
};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let (Some(subscription), Some(text)) = (args.next(), args.next()) else {
        return Err("usage: without_client SUBSCRIPTION_JSON TEXT".into());
    };
    let subscription = Subscription::from_json(&subscription)?;
    let signer = Signer::new(SigningKey::generate()?, Some(Subject::parse("mailto:ops@example.com")?));
    let options = Options::new(Ttl::from_secs(3600));
    let message = Message::new(&subscription, text.as_bytes(), &options, &signer);

    // A complete request: method, URL, header fields, encrypted body.
    let request = request::build(&message, clock::now())?;

    // Endpoints come from strangers. With your own HTTP client this check is yours, for each address before you connect.
    let policy = AddressPolicy::public().allow_loopback();
    subscription.endpoint.check(&policy)?;
    let uri = request.uri().clone();
    let host = uri.host().ok_or("the endpoint has a host")?.trim_matches(['[', ']']);
    let found = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(80))).await?;
    let permitted: Vec<_> = found.filter(|address| policy.permits(address.ip())).collect();
    let stream = TcpStream::connect(&permitted[..]).await?;

    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (mut head, body) = request.into_parts();
    let authority = uri.authority().ok_or("the endpoint has an authority")?;
    head.headers.insert("host", authority.as_str().parse()?);
    head.uri = uri.path_and_query().ok_or("the endpoint has a path")?.as_str().parse()?;
    let response = sender.send_request(Request::from_parts(head, Full::new(body))).await?;

    // Do not follow redirections: `Answer` reads one as refused.
    let (status, headers) = (response.status(), response.headers().clone());
    let answer = Answer::read(&subscription.endpoint, status, &headers, clock::now());
    if let Answer::Accepted(accepted) = answer {
        println!("accepted for {:?} s", accepted.ttl.map(Ttl::as_secs));
    } else {
        let body = Limited::new(response.into_body(), doorbell_sender::explanation::EXPLANATION_MAX);
        let explanation = Explanation::read(&subscription.endpoint, status, &body.collect().await?.to_bytes());
        // A 404 may be one of a proxy: the body shows it.
        let answer = Answer::read_with(&explanation, &subscription.endpoint, status, &headers, clock::now());
        println!("{answer:?}: {}", explanation.message);
    }
    Ok(())
}
