//! `/status`: what it has, and what it must not have.

use std::time::Duration;

use doorbell_service::config::Settings;
use http::StatusCode;

use crate::operator::{address, get, get_with, json, start, with};
use crate::support::socket::Socket;
use crate::support::{TestService, header, path, raw, text};

const PAGE: [(&str, &str); 1] = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];

#[tokio::test]
async fn the_document_is_json_unless_a_browser_asks() {
    let service = start().await;
    service.clock.advance(Duration::from_secs(3661));
    let answer = get(&service, "/status").await;
    assert_eq!((answer.status(), header(&answer, "content-type")), (StatusCode::OK, "application/json"));
    let status = json(&answer);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["origin"], service.origin());
    assert_eq!(status["uptime_secs"], 3661);
    assert_eq!(status["time"], "2026-09-21T15:14:21Z");
    assert_eq!(status["listeners"][0]["address"], service.address.to_string());
    assert_eq!(status["listeners"][0]["serves"], "plain");
    assert_eq!((&status["is_draining"], &status["readiness"]["is_ready"]), (&false.into(), &true.into()));
    assert!(status["disk"]["available_bytes"].as_u64().unwrap() > 0);
    assert_eq!(status["disk"]["is_reserve_held"], true);
    assert_eq!(status["certificate"], serde_json::Value::Null);
    assert_eq!(json(&get_with(&service, "/status.json", &PAGE).await)["uptime_secs"], 3661);

    let page = get_with(&service, "/status", &PAGE).await;
    assert_eq!((page.status(), header(&page, "content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    let html = text(&page);
    assert!(html.contains("running for 1 hour 1 minute") && html.contains(">Ready<"), "{html}");
    assert!(!html.contains("http-equiv"), "it repeats only where that is asked for");
    let every = "GET /status?every=60 HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\nconnection: close\r\n\r\n";
    assert!(raw::once(address(&service), every).await.contains("http-equiv=\"refresh\""));
    assert!(
        !html.contains("<script") && !html.contains("src=") && !html.contains("style="),
        "nothing is loaded or run"
    );
}

#[tokio::test]
async fn limits_that_are_reached_are_named() {
    let settings = Settings {
        agents_max: Some(1),
        subscriptions_max: Some(2),
        unused_receipt_subscriptions_max: Some(1),
        stored_bytes_max: Some(600),
        ..Settings::default()
    };
    let mut service = with(settings).await;
    assert_eq!(json(&get(&service, "/status").await)["limits_reached"], serde_json::json!([]));
    let to = service.subscribe().await;
    assert_eq!(json(&get(&service, "/status").await)["limits_reached"], serde_json::json!(["agents_max"]));
    service.join(&to).await;
    let both = serde_json::json!(["agents_max", "subscriptions_max"]);
    assert_eq!(json(&get(&service, "/status").await)["limits_reached"], both);
    service.post(&to, &[("prefer", "respond-async")], &[b'x'; 100]).await;
    let all =
        serde_json::json!(["agents_max", "subscriptions_max", "unused_receipt_subscriptions_max", "stored_bytes_max"]);
    assert_eq!(json(&get(&service, "/status").await)["limits_reached"], all);
    service.reload(|settings| {
        settings.stored_bytes_max = Some(6_000);
        settings.agents_max = Some(7);
    });
    let rest = serde_json::json!(["subscriptions_max", "unused_receipt_subscriptions_max"]);
    assert_eq!(json(&get(&service, "/status").await)["limits_reached"], rest);
}

#[tokio::test]
async fn each_cell_has_its_counts_and_together_they_are_those_of_the_store() {
    let one = json(&get(&start().await, "/status").await);
    assert_eq!(one["cells"].as_array().unwrap().len(), 1, "{one:#}");
    let cells = Some(vec!["disk2".parse().unwrap()]);
    let service = with(Settings { cells, ..Settings::default() }).await;
    for _ in 0..30 {
        let to = service.subscribe().await;
        service.send(&to, &[], b"waits").await;
    }
    let status = json(&get(&service, "/status").await);
    let cells = status["cells"].as_array().unwrap();
    assert_eq!(cells.iter().map(|cell| cell["cell"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    for name in ["agents", "messages", "bytes"] {
        let each: Vec<_> = cells.iter().map(|cell| cell[name].as_u64().unwrap()).collect();
        assert!(each.iter().all(|count| *count > 0), "{name}: {each:?}");
        assert_eq!(each.iter().sum::<u64>(), status["stored"][name].as_u64().unwrap(), "{name}: {each:?}");
    }
    assert!(cells.iter().all(|cell| cell["commits"].as_u64().unwrap() > 0), "{status:#}");
}

#[tokio::test]
async fn counts_are_those_of_the_service() {
    let service = start().await;
    let to = service.subscribe().await;
    let kept = service.send(&to, &[], b"waits").await;
    service.send(&to, &[], b"waits too").await;
    assert_eq!(service.delete(&kept).await, StatusCode::NO_CONTENT);
    assert_eq!(service.get(&(service.origin() + "/nothing")).await.status(), StatusCode::NOT_FOUND);
    let (mut socket, _) = Socket::hello(service.address, None).await;
    let channel = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";
    let registered = socket.ask(serde_json::json!({"messageType": "register", "channelID": channel})).await;
    assert_eq!(registered["status"], 200, "{registered}");
    let status = json(&get(&service, "/status").await);
    assert_eq!(status["stored"]["agents"], 2, "{status:#}");
    assert_eq!((&status["stored"]["subscriptions"], &status["stored"]["messages"]), (&2.into(), &1.into()));
    assert!(status["stored"]["bytes"].as_u64().unwrap() >= 9);
    assert_eq!((&status["since_start"]["accepted"], &status["since_start"]["delivered"]), (&2.into(), &1.into()));
    assert_eq!(status["since_start"]["refused"], 1, "{status:#}");
    assert_eq!(status["connected"]["firefox"], 1, "{status:#}");
}

#[tokio::test]
async fn the_page_draws_the_last_hour_and_has_the_same_as_a_table() {
    let service = start().await;
    let to = service.subscribe().await;
    let page = async |service: &TestService| text(&get_with(service, "/status", &PAGE).await);
    assert!(page(&service).await.contains("The first minute is being measured"));
    for _ in 0..3 {
        service.send(&to, &[], b"x").await;
    }
    service.clock.advance(Duration::from_secs(60));
    let row = "<tr><th scope=\"row\">14:14</th><td>3</td><td>0</td><td>0</td><td>3</td>";
    crate::support::within(async {
        while !page(&service).await.contains(row) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let html = page(&service).await;
    assert!(html.contains("aria-label=\"Accepted messages: 3 in the last hour, at most 3 in a minute\""), "{html}");
    assert!(html.contains("M59 20.00V0.00h0.8V20.00z"), "the last minute is the highest: {html}");
}

/// Invariant 8 holds here too: a capability URL, a key or the origin of a site is nowhere.
#[tokio::test]
async fn nothing_that_identifies_a_user_or_a_site_is_shown() {
    let service = start().await;
    let key = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    let to = service.subscribe().await;
    let message = service.send(&to, &[("topic", "secrettopic")], b"secretbody").await;
    let origin =
        [("origin", "https://secret.example"), ("referer", "https://secret.example/"), ("user-agent", "secretagent")];
    let credentials = format!("vapid t=a.b.c, k={key}");
    let headers = [&origin[..], &[("authorization", &credentials)]].concat();
    service.post(&to, &headers, b"x").await;
    let (_socket, uaid) = Socket::hello(service.address, None).await;
    service.clock.advance(Duration::from_secs(60));
    let uris = [&to.subscription, &to.push, &to.set, &message].map(|uri| path(uri));
    let secrets = uris.iter().map(|path| path.rsplit('/').next().unwrap().to_owned());
    let secrets = secrets.chain(["secret".to_owned(), key.to_owned(), uaid]);
    let secrets: Vec<_> = secrets.collect();
    for resource in ["/status", "/status.json", "/metrics", "/readyz", "/livez"] {
        for accept in ["text/html", "application/json", "*/*"] {
            let shown = text(&get_with(&service, resource, &[("accept", accept)]).await);
            let seen: Vec<_> = secrets.iter().filter(|secret| shown.contains(secret.as_str())).collect();
            assert!(seen.is_empty(), "{resource} shows {seen:?}: {shown}");
        }
    }
}
