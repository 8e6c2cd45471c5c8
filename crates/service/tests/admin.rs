//! The admin listener: health, status and metrics, for those on the same machine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use bytes::Bytes;
use doorbell_service::config::{AdminAddress, Settings};
use http::{Request, StatusCode};
use support::{Answer, TestService, header, raw, text, within};

/// A service with an admin listener on a free port.
async fn start() -> TestService {
    TestService::with(Settings { admin_listen: Some("127.0.0.1:0".to_owned()), ..Settings::default() }).await
}

/// One GET from the admin listener.
async fn get(service: &TestService, path: &str) -> Answer {
    let Some(AdminAddress::Tcp(address)) = service.service.as_ref().unwrap().admin_address() else { panic!("no port") };
    let request = Request::get(format!("http://{address}{path}")).body(Bytes::new()).unwrap();
    within(raw::http1(*address, request)).await
}

#[tokio::test]
async fn a_service_that_runs_is_alive_and_has_metrics() {
    let service = start().await;
    assert_eq!(get(&service, "/livez").await.status(), StatusCode::OK);
    let metrics = get(&service, "/metrics").await;
    assert!(header(&metrics, "content-type").starts_with("application/openmetrics-text"));
    assert!(text(&metrics).contains("doorbell_build_info{version=\"") && text(&metrics).ends_with("# EOF\n"));
}
