//! OPTIONS and HEAD (RFC 9110 s9.3.2, s9.3.7).

use bytes::Bytes;
use http::{Method, Request, StatusCode};

use crate::support::events::EventStream;
use crate::support::raw::{self, http2};
use crate::support::{Answer, TestService, header, path};

async fn ask(service: &TestService, method: Method, uri: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.ask(request.body(Bytes::new()).unwrap()).await
}

#[tokio::test]
async fn options_names_the_methods_of_a_resource_whether_it_exists_or_not_ps_8030_8_3_2() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], b"x").await;
    let origin = service.origin();
    let receive = "GET, HEAD, DELETE, OPTIONS";
    for (uri, methods) in [
        (to.push.as_str(), "POST, OPTIONS"),
        (&to.push.replace("/p/", "/wp/"), "POST, OPTIONS"),
        (&message, receive),
        (&to.subscription, receive),
        (&to.set, receive),
        (&format!("{origin}/r/unknown"), receive),
        (&format!("{origin}/p/unknown"), "POST, OPTIONS"),
        (&format!("{origin}/subscribe"), "POST, OPTIONS"),
        (&format!("{origin}/checkin"), "POST, OPTIONS"),
        (&format!("{origin}/c2dm/register3"), "POST, OPTIONS"),
        (&format!("{origin}/"), "GET, HEAD, OPTIONS"),
        (&format!("{origin}/errors"), "GET, HEAD, OPTIONS"),
        (&format!("{origin}/wake"), "GET, HEAD, OPTIONS"),
    ] {
        let answer = ask(&service, Method::OPTIONS, uri, &[]).await;
        assert_eq!((answer.status(), header(&answer, "allow")), (StatusCode::NO_CONTENT, methods), "{uri}");
        let refused = ask(&service, Method::PATCH, uri, &[]).await;
        assert_eq!((refused.status(), header(&refused, "allow")), (StatusCode::METHOD_NOT_ALLOWED, methods), "{uri}");
    }
    assert_eq!(ask(&service, Method::OPTIONS, &format!("{origin}/x"), &[]).await.status(), StatusCode::NOT_FOUND);
    let whole = raw::once(service.address, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(whole.starts_with("HTTP/1.1 204 ") && whole.contains("\r\nallow: "), "{whole}");
}

#[tokio::test]
async fn head_is_answered_as_get_is_and_has_no_body() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[("content-encoding", "aes128gcm")], b"hello").await;
    let origin = service.origin();
    for uri in [&format!("{origin}/"), &format!("{origin}/errors"), &message, &format!("{origin}/m/x"), &to.push] {
        let (get, head) = (ask(&service, Method::GET, uri, &[]).await, ask(&service, Method::HEAD, uri, &[]).await);
        assert_eq!(get.status(), head.status(), "{uri}");
        assert!(!get.body().is_empty() && head.body().is_empty(), "{uri}");
        let same = |answer: &Answer| {
            let mut headers = answer.headers().clone();
            headers.remove("date");
            // Each request has its own.
            headers.remove("x-request-id");
            headers
        };
        // hyper writes no Content-Length for HEAD that it would have to compute.
        assert!(same(&head).iter().all(|(name, value)| get.headers().get(name) == Some(value)), "{head:?} {get:?}");
        assert_eq!(head.headers().get("content-type"), get.headers().get("content-type"));
    }
}

#[tokio::test]
async fn head_of_a_stream_opens_no_stream() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let asked = service.post(&to, &[("prefer", "respond-async")], b"x").await;
    let receipts = header(&asked, "link").split(['<', '>']).nth(1).unwrap().to_owned();
    let mut held = EventStream::open(service.address, &to.set, &[]).await;
    assert!(held.next().await.is_some());
    let events = [("accept", "text/event-stream")];
    for uri in [&to.subscription, &to.set, &receipts] {
        // More often than an agent may have streams: each new one would end the oldest.
        for _ in 0..20 {
            let head = ask(&service, Method::HEAD, uri, &events).await;
            assert_eq!((head.status(), header(&head, "content-type")), (StatusCode::OK, "text/event-stream"));
        }
        assert_eq!(ask(&service, Method::HEAD, uri, &[]).await.status(), StatusCode::NOT_ACCEPTABLE, "as GET");
    }
    let live = service.send(&to, &[], b"still open").await;
    assert_eq!(held.next().await.unwrap().data["message"], live.as_str());
    let unknown = format!("{}/a/x", service.origin());
    assert_eq!(ask(&service, Method::HEAD, &unknown, &events).await.status(), StatusCode::NOT_FOUND);

    let stream = tokio::net::TcpStream::connect(service.address).await.unwrap();
    let mut connection = http2::Connection::open(stream).await;
    let authority = service.address.to_string();
    for (stream, uri) in [(1, &to.set), (3, &receipts)] {
        let path = path(uri);
        let fields = [(":method", "HEAD"), (":scheme", "http"), (":authority", &authority), (":path", &path)];
        connection.ask(stream, &fields).await;
        let answer = connection.answer(stream).await;
        assert_eq!(answer.fields[0], (":status".to_owned(), "204".to_owned()), "it ends, and is not held");
    }
}
