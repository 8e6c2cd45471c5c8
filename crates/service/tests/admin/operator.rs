//! What an operator reads from the admin listener of a service.

use std::net::SocketAddr;

use bytes::Bytes;
use doorbell_service::config::{AdminAddress, Settings};
use http::{Request, StatusCode};
use serde_json::Value;

use crate::support::{Answer, DEADLINE, TestService, raw, text, within};

/// A service with an admin listener on a free port.
pub(crate) async fn start() -> TestService {
    with(Settings::default()).await
}

pub(crate) async fn with(settings: Settings) -> TestService {
    TestService::with(Settings { admin_listen: Some("127.0.0.1:0".to_owned()), ..settings }).await
}

pub(crate) fn address(service: &TestService) -> SocketAddr {
    match service.service.as_ref().unwrap().admin_address() {
        Some(AdminAddress::Tcp(address)) => *address,
        other => panic!("no port: {other:?}"),
    }
}

/// One GET from the admin listener.
pub(crate) async fn get(service: &TestService, path: &str) -> Answer {
    get_with(service, path, &[]).await
}

pub(crate) async fn get_with(service: &TestService, path: &str, headers: &[(&str, &str)]) -> Answer {
    get_at(address(service), path, headers).await
}

pub(crate) async fn get_at(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    within(raw::http1(address, request.body(Bytes::new()).unwrap())).await
}

pub(crate) fn json(answer: &Answer) -> Value {
    serde_json::from_slice(answer.body()).unwrap_or_else(|error| panic!("{error} in {}", text(answer)))
}

/// Asks again until the status is this one, a second apart by the service's clock, as a result is kept for a second.
pub(crate) async fn until_readiness(service: &TestService, at: SocketAddr, status: StatusCode) -> String {
    let asking = async {
        loop {
            let answer = get_at(at, "/readyz", &[]).await;
            if answer.status() == status {
                return text(&answer);
            }
            service.clock.advance(std::time::Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.expect("the readiness changes in time")
}
