//! URLs that escape more than they must are the same URLs (RFC 3986 s6.2.2.2).

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{TestService, header, path, raw, within};

/// The URI with each character of its path escaped that may be, in upper and lower case.
fn escaped(uri: &str) -> String {
    let path = path(uri);
    let escape = |(n, c): (usize, char)| match c {
        '/' => c.to_string(),
        _ if n % 2 == 0 => format!("%{:02X}", u32::from(c)),
        _ => format!("%{:02x}", u32::from(c)),
    };
    uri.replace(&path, &path.chars().enumerate().map(escape).collect::<String>())
}

#[tokio::test]
async fn escaped_urls_are_the_same_urls_for_every_resource_and_in_links() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let subscribed =
        service.ask(Request::post(escaped(&(service.origin() + "/subscribe"))).body(Bytes::new()).unwrap());
    assert_eq!(subscribed.await.status(), StatusCode::CREATED);

    for push in [&to.push, &to.push.replace("/p/", "/fcm/send/"), &to.push.replace("/p/", "/wp/")] {
        let request = Request::post(escaped(push)).header("ttl", "60").body(Bytes::new()).unwrap();
        assert_eq!(service.ask(request).await.status(), StatusCode::CREATED, "{push}");
    }
    let link = |uri: &str, rel: &str| format!("<{}>; rel=\"urn:ietf:params:push{rel}\"", escaped(uri));
    let join = Request::post(service.origin() + "/subscribe").header("link", link(&to.set, ":set"));
    let joined = service.ask(join.body(Bytes::new()).unwrap()).await;
    assert_eq!(joined.status(), StatusCode::CREATED);
    let asked = service.post(&to, &[("prefer", "respond-async")], b"x").await;
    let receipts = header(&asked, "link").split(['<', '>']).nth(1).unwrap().to_owned();
    let again = [("prefer", "respond-async"), ("link", &link(&receipts, ":receipt"))];
    let answer = service.post(&to, &again, b"x").await;
    assert_eq!((answer.status(), header(&answer, "link")), (StatusCode::ACCEPTED, header(&asked, "link")));

    let message = header(&answer, "location");
    assert_eq!(service.get(&escaped(message)).await.body(), "x");
    let polled = service.agent().await.fetch(&escaped(&to.subscription)).await;
    assert_eq!((polled.0.len(), polled.1), (5, StatusCode::OK));
    for uri in [message, &receipts, &to.subscription, &to.set] {
        assert_eq!(service.delete(&escaped(uri)).await, StatusCode::NO_CONTENT, "{uri}");
        assert_eq!(service.delete(uri).await, StatusCode::NOT_FOUND, "{uri}");
    }
}

#[tokio::test]
async fn what_is_no_escape_of_an_unreserved_character_names_nothing() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let token = path(&to.push)[3..].to_owned();
    for bad in ["/p/%", "/p/%2", "/p/%zz", "/p/%%", "/p/%00", "/p/%FF%FE"].map(str::to_owned).into_iter().chain([
        format!("/p%2F{token}"),
        format!("/p/%25{:02X}{}", token.as_bytes()[0], &token[1..]),
        format!("/p/{}%", &token[1..]),
    ]) {
        let request = format!("POST {bad} HTTP/1.1\r\nHost: x\r\nTTL: 5\r\nContent-Length: 0\r\n\r\n");
        let answer = raw::once(service.address, request).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{bad}: {answer}");
    }
    service.send(&to, &[], b"it still serves").await;
}

#[tokio::test]
async fn a_websocket_opens_at_an_escaped_path_too() {
    let settings = doorbell_service::config::Settings { firefox_path: Some("/fire-fox".into()), ..Default::default() };
    let service = TestService::with(settings).await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = "GET /f%69re%2Dfox HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 13];
    within(stream.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 101 ");
}
