//! Pages of other origins: what a browser asks before it sends, and what it lets a page read (WHATWG Fetch s3.3).

use bytes::Bytes;
use doorbell_service::config::Settings;
use http::{Method, Request, StatusCode};

use crate::support::{Answer, TestService, header};

const PAGE: &str = "https://app.example";

async fn from_page(service: &TestService, method: Method, uri: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(uri).header("origin", PAGE);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    service.ask(request.body(Bytes::from_static(b"x")).unwrap()).await
}

/// The words of a list, in lower case.
fn list(answer: &Answer, name: &str) -> Vec<String> {
    header(answer, name).split(',').map(|word| word.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn a_preflight_allows_what_senders_and_readers_of_receipts_need() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], b"x").await;
    let sent = service.post(&to, &[("prefer", "respond-async")], b"x").await;
    let receipts = header(&sent, "link").split(['<', '>']).nth(1).unwrap().to_owned();
    let chromium = to.push.replace("/p/", "/fcm/send/");
    for (uri, method) in
        [(&to.push, "POST"), (&chromium, "POST"), (&message, "DELETE"), (&message, "GET"), (&receipts, "GET")]
    {
        let asks = [
            ("access-control-request-method", method),
            ("access-control-request-headers", "authorization,content-encoding,prefer,topic,ttl,urgency"),
        ];
        let answer = from_page(&service, Method::OPTIONS, uri, &asks).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(header(&answer, "access-control-allow-origin"), "*");
        assert!(list(&answer, "access-control-allow-methods").contains(&method.to_ascii_lowercase()));
        let allowed = list(&answer, "access-control-allow-headers");
        for name in asks[1].1.split(',') {
            assert!(allowed.iter().any(|one| one == name), "{name}: `*` does not include every field");
        }
        assert!(header(&answer, "access-control-max-age").parse::<u32>().unwrap() > 0);
        assert!(answer.headers().get("access-control-allow-credentials").is_none(), "no resource has cookies");
    }
}

#[tokio::test]
async fn a_page_reads_what_it_gets_and_why_it_gets_nothing() {
    let service = TestService::with(Settings { messages_per_agent_max: Some(4), ..Settings::default() }).await;
    let to = service.subscribe().await;
    let message = service.send(&to, &[], b"x").await;
    let ttl = [("ttl", "5")];
    let unknown = service.origin() + "/p/unknown";
    let answers = [
        from_page(&service, Method::POST, &to.push, &[]).await,
        from_page(&service, Method::POST, &unknown, &ttl).await,
        from_page(&service, Method::GET, &to.push, &[]).await,
        from_page(&service, Method::GET, &message, &[]).await,
        from_page(&service, Method::POST, &to.push, &ttl).await,
        from_page(&service, Method::POST, &to.push, &ttl).await,
        from_page(&service, Method::DELETE, &message, &[]).await,
        from_page(&service, Method::GET, &message, &[]).await,
        from_page(&service, Method::GET, &(service.origin() + "/r/x"), &[]).await,
    ];
    let statuses = answers.each_ref().map(|answer| answer.status().as_u16());
    assert_eq!(statuses, [400, 404, 405, 200, 201, 429, 204, 404, 404]);
    for answer in &answers {
        assert_eq!(header(answer, "access-control-allow-origin"), "*", "{answer:?}");
        let exposed = list(answer, "access-control-expose-headers");
        for name in ["location", "link", "ttl", "retry-after", "date", "www-authenticate", "content-encoding"] {
            assert!(exposed.iter().any(|one| one == name), "{name}");
        }
    }
}

#[tokio::test]
async fn pages_get_nothing_that_belongs_to_agents() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let origin = service.origin();
    let uris = ["/", "/subscribe", "/wake", "/checkin", "/c2dm/register3", "/errors", "/unknown"];
    for uri in uris.iter().map(|path| format!("{origin}{path}")).chain([to.subscription, to.set]) {
        for method in [Method::OPTIONS, Method::GET, Method::POST] {
            let asks = [("access-control-request-method", "POST")];
            let answer = from_page(&service, method.clone(), &uri, &asks).await;
            let fields = answer.headers().keys().find(|name| name.as_str().starts_with("access-control-"));
            assert_eq!(fields, None, "{method} {uri}");
        }
    }
}
