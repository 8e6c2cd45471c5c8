//! Who may ask, what, and how: hosts, methods, header fields, and the Unix socket.

use std::os::unix::fs::PermissionsExt;

use doorbell_service::config::{Config, Settings};
use http::StatusCode;
use tokio::net::{TcpStream, UnixStream};

use crate::operator::{address, get, get_with, json, start};
use crate::support::{TestService, header, raw, text};

const GET: &str = "GET /livez HTTP/1.1\r\nconnection: close\r\nhost: ";

#[tokio::test]
async fn a_service_that_runs_is_alive_and_has_metrics() {
    let service = start().await;
    assert_eq!(get(&service, "/livez").await.status(), StatusCode::OK);
    let metrics = get(&service, "/metrics").await;
    assert!(header(&metrics, "content-type").starts_with("application/openmetrics-text"));
    assert!(text(&metrics).contains("doorbell_build_info{") && text(&metrics).ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_name_that_a_site_may_have_pointed_here_gets_421_and_no_data() {
    let service = start().await;
    for host in ["rebound.example.org", "localhost.example.org", "192.168.0.1:9191", "user@localhost", "", "[::2]"] {
        for path in ["/livez", "/status", "/metrics"] {
            let request = format!("GET {path} HTTP/1.1\r\nconnection: close\r\nhost: {host}\r\n\r\n");
            let answer = raw::once(address(&service), request).await;
            assert!(
                answer.starts_with("HTTP/1.1 421 ") || host.is_empty() && answer.starts_with("HTTP/1.1 4"),
                "{answer}"
            );
            assert!(answer.contains("\"errno\":") && !answer.contains("\"uptime_secs\""), "{answer}");
        }
    }
    for host in ["127.0.0.1", "127.0.0.1:9", "localhost:10000", "LOCALHOST", "[::1]:1"] {
        let answer = raw::once(address(&service), format!("{GET}{host}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    }
    let absolute = "GET http://rebound.example.org/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(raw::once(address(&service), absolute).await.starts_with("HTTP/1.1 421 "));
}

#[tokio::test]
async fn everything_is_read_only_and_what_is_not_there_is_404() {
    let service = start().await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let request =
            format!("{method} /status HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let answer = raw::once(address(&service), request).await.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 405 ") && answer.contains("allow: get, head"), "{answer}");
        assert!(answer.contains("\"errno\":1001"), "{answer}");
    }
    let mut head = TcpStream::connect(address(&service)).await.unwrap();
    let request = "HEAD /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut head, request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(raw::until_closed(&mut head).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    for path in ["/subscribe", "/metrics/", "/status/../metrics", "/p/x", "/favicon.ico"] {
        let answer = get(&service, path).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(json(&answer)["hint"].as_str().unwrap().contains("/readyz"));
    }
    let root = get(&service, "/").await;
    assert_eq!((root.status(), header(&root, "location")), (StatusCode::TEMPORARY_REDIRECT, "/status"));
}

#[tokio::test]
async fn no_answer_is_kept_embedded_or_readable_by_another_origin() {
    let service = start().await;
    for path in ["/livez", "/readyz", "/metrics", "/status", "/status.json", "/nothing"] {
        let answer = get_with(&service, path, &[("origin", "https://example.org"), ("accept", "text/html")]).await;
        assert_eq!(header(&answer, "cache-control"), "no-store", "{path}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
        let policy = header(&answer, "content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("script-src") && !policy.contains("unsafe-inline"), "{policy}");
        assert!(!answer.headers().keys().any(|name| name.as_str().starts_with("access-control-")), "{path}");
    }
}

#[tokio::test]
async fn the_public_port_has_none_of_these_resources() {
    let service = start().await;
    for path in ["/livez", "/readyz", "/metrics", "/status", "/status.json"] {
        assert_eq!(service.get(&(service.origin() + path)).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_unix_socket_is_for_its_owner_whatever_host_is_named_and_ends_with_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let admin_listen = Some(format!("unix:{}", path.display()));
    let mut service = TestService::with(Settings { admin_listen, ..Settings::default() }).await;
    assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for host in ["localhost", "doorbell", "anything.example.org"] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let answer = raw::exchange(&mut stream, format!("{GET}{host}\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let taken = tempfile::tempdir().unwrap();
    let settings = Settings {
        state_dir: Some(taken.path().to_owned()),
        listen: Some(vec!["127.0.0.1:0".parse().unwrap()]),
        admin_listen: Some(format!("unix:{}", path.display())),
        ..Settings::default()
    };
    let second =
        doorbell_service::Service::start(Config::from_settings(settings).unwrap(), service.clock.clone()).await;
    let error = second.err().expect("the socket is in use").to_string();
    assert!(error.contains("another process listens there") && error.contains("--admin-listen"), "{error}");
    service.restart().await;
    assert!(path.exists());
    service.service.take().unwrap().stop().await.unwrap();
    assert!(!path.exists());
}
