//! Receipts: asked for with one receipt subscription per push service, and received once each whatever the network does.

use std::time::Duration;

use doorbell_protocol::receipt::Outcome;
use doorbell_sender::answer::{Accepted, Answer};
use doorbell_sender::client::{Client, ClientConfig, Reply};
use doorbell_sender::endpoint::{Endpoint, EndpointError};
use doorbell_sender::error::SendError;
use doorbell_sender::receipts::book::ReceiptBook;
use doorbell_sender::receipts::follower::{
    FollowError, FollowPolicy, Follower, RECEIPTS_PER_CONNECTION_MAX, ReceiptEvent,
};
use doorbell_sender::request::{Message, ReceiptWish};

use crate::service::{self, Received, Service};
use crate::{EAGER, Sender, local, local_client};

const PATIENT: FollowPolicy = FollowPolicy { retry: EAGER, silence_max: Duration::from_secs(20) };

/// The head of a stream that ends with its connection.
const STREAM: &str = "200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n";

/// The end of a receipt subscription, in the push service's own form.
const GONE: &str = "404 Not Found\r\ncontent-length: 24\r\n\r\n{\"code\":404,\"errno\":102}";

fn event(id: u32, message: u32, outcome: Outcome) -> String {
    let (status, word) = (outcome.status().as_u16(), outcome.as_str());
    let data = format!(r#"{{"message":"/m/{message}","status":{status},"outcome":"{word}","at":1800000000000}}"#);
    format!("id: {id}\r\nevent: receipt\r\ndata: {data}\r\n\r\n")
}

fn delivered(n: u32) -> String {
    event(n, n, Outcome::Delivered)
}

fn stream(events: &[String]) -> String {
    format!("{STREAM}{}", events.concat())
}

async fn answering(answers: &[String]) -> Service {
    Service::answering(&answers.iter().map(String::as_str).collect::<Vec<_>>()).await
}

fn receipts_of(service: &Service) -> Endpoint {
    Endpoint::parse(&service.url("/r/secret")).unwrap()
}

fn follower(service: &Service) -> Follower {
    Follower::new(&local_client(), receipts_of(service)).with_policy(PATIENT)
}

/// The number of the message that the next receipt is about, and its outcome.
async fn receipt(follower: &mut Follower) -> (u32, Outcome) {
    match follower.next().await.unwrap() {
        ReceiptEvent::Receipt(receipt) => {
            (receipt.message.rsplit('/').next().unwrap().parse().unwrap(), receipt.outcome)
        }
        other => panic!("{other:?}"),
    }
}

fn field<'a>(request: &'a Received, name: &str) -> Option<&'a str> {
    request.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

async fn last_event_ids(service: &Service) -> Vec<Option<String>> {
    service.received().await.iter().map(|request| field(request, "last-event-id").map(str::to_owned)).collect()
}

fn ids(ids: &[&str]) -> Vec<Option<String>> {
    ids.iter().map(|id| Some((*id).to_owned()).filter(|id| !id.is_empty())).collect()
}

impl Sender {
    async fn send_with(&self, receipt: ReceiptWish<'_>) -> Reply {
        local_client().send(&Message { receipt, ..self.message() }).await.unwrap()
    }
}

fn accepted(reply: &Reply) -> &Accepted {
    match &reply.answer {
        Answer::Accepted(accepted) => accepted,
        other => panic!("{other:?}"),
    }
}

fn promising(receipts: &str) -> String {
    format!("202 Accepted\r\nlocation: /m/1\r\nlink: <{receipts}>;rel=\"urn:ietf:params:push:receipt\"")
}

#[tokio::test]
async fn messages_to_one_push_service_share_a_receipt_subscription_as_8030_5_1_1() {
    let service = answering(&[promising("/r/1"), promising("/r/1"), promising("/r/2"), promising("/r/2")]).await;
    let (sender, book) = (Sender::to(&service.url("/p/x")), ReceiptBook::new());
    for path in ["/r/1", "/r/1", "/r/2", "/r/2"] {
        let reply = sender.send_with(ReceiptWish::Book(&book)).await;
        assert_eq!(accepted(&reply).receipt, Some(service.url(path)), "the push service may give a new one");
    }
    let received = service.received().await;
    assert!(received.iter().all(|request| field(request, "prefer") == Some("respond-async")));
    let link = |path: &str| Some(format!("<{}>;rel=\"urn:ietf:params:push:receipt\"", service.url(path)));
    let links: Vec<_> = received.iter().map(|request| field(request, "link").map(str::to_owned)).collect();
    assert_eq!(links, [None, link("/r/1"), link("/r/1"), link("/r/2")]);
}

#[tokio::test]
async fn a_receipt_subscription_that_is_refused_is_replaced_by_a_new_one_once_as_8030_5_1_1() {
    let service = answering(&["400 Bad Request".to_owned(), promising("/r/new")]).await;
    let (sender, book) = (Sender::to(&service.url("/p/x")), ReceiptBook::new());
    book.remember(&sender.subscription.endpoint, &service.url("/r/old"));
    let reply = sender.send_with(ReceiptWish::Book(&book)).await;
    assert_eq!(accepted(&reply).receipt, Some(service.url("/r/new")));
    assert_eq!(book.get(&sender.subscription.endpoint), Some(service.url("/r/new")));
    let links: Vec<_> = service.received().await.iter().map(|request| field(request, "link").is_some()).collect();
    assert_eq!(links, [true, false]);
}

#[tokio::test]
async fn a_refusal_that_is_not_about_the_receipt_subscription_is_final_as_8030_7_3_1() {
    for (answers, requests) in [(&["400 Bad Request"; 3], 2), (&["403 Forbidden"; 3], 1)] {
        let service = Service::answering(answers).await;
        let (sender, book) = (Sender::to(&service.url("/p/x")), ReceiptBook::new());
        book.remember(&sender.subscription.endpoint, &service.url("/r/old"));
        assert_eq!(sender.send_with(ReceiptWish::Book(&book)).await.answer, Answer::Refused);
        assert_eq!(service.received().await.len(), requests);
    }
    let service = Service::answering(&["400 Bad Request"; 3]).await;
    let sender = Sender::to(&service.url("/p/x"));
    assert_eq!(sender.send_with(ReceiptWish::Book(&ReceiptBook::new())).await.answer, Answer::Refused);
    assert_eq!(sender.send_with(ReceiptWish::On(&service.url("/r/1"))).await.answer, Answer::Refused);
    assert_eq!(service.received().await.len(), 2, "without a book nothing is tried twice");
}

#[tokio::test]
async fn a_push_service_without_receipts_is_recognised_as_8030_5_1_2() {
    let service = Service::answering(&["201 Created\r\nlocation: /m/1", "202 Accepted\r\nlocation: /m/2"]).await;
    let (sender, book) = (Sender::to(&service.url("/p/x")), ReceiptBook::new());
    let reply = sender.send_with(ReceiptWish::Book(&book)).await;
    assert_eq!(accepted(&reply).receipt, None);
    assert_eq!(book.get(&sender.subscription.endpoint), None);
    let named = service.url("/r/1");
    let reply = sender.send_with(ReceiptWish::On(&named)).await;
    assert_eq!(accepted(&reply).receipt, Some(named), "202 confirms the one that was named");
}

#[tokio::test]
async fn receipts_come_in_order_and_are_acknowledged_when_they_were_processed_as_8030_5_1_2() {
    let service = answering(&[
        stream(&[": hello\r\n\r\n".to_owned(), delivered(1), event(2, 2, Outcome::Undecryptable)]),
        stream(&[event(3, 3, Outcome::Expired)]),
        GONE.to_owned(),
    ])
    .await;
    let mut follower = follower(&service);
    assert_eq!(receipt(&mut follower).await, (1, Outcome::Delivered));
    assert_eq!(follower.last_event_id(), None, "the caller may not have dealt with it yet");
    assert_eq!(receipt(&mut follower).await, (2, Outcome::Undecryptable));
    assert_eq!(receipt(&mut follower).await, (3, Outcome::Expired));
    assert_eq!(follower.next().await, Ok(ReceiptEvent::Gone));
    assert_eq!(follower.last_event_id(), Some("3"));
    let received = service.received().await;
    assert!(received.iter().all(|request| request.head.starts_with("GET /r/secret HTTP/1.1\r\n")));
    assert!(received.iter().all(|request| field(request, "accept") == Some("text/event-stream")));
    assert!(received.iter().all(|request| field(request, "prefer").is_none()));
    let sent_ids: Vec<_> = received.iter().map(|request| field(request, "last-event-id")).collect();
    assert_eq!(sent_ids, [None, Some("2"), Some("3")]);
}

#[tokio::test]
async fn a_receipt_that_comes_again_is_returned_once_as_8030_5_1_2() {
    let twice = event(9, 1, Outcome::Delivered);
    let service = answering(&[
        stream(&[delivered(1), delivered(1), delivered(2)]),
        stream(&[delivered(1), delivered(2), twice, delivered(3)]),
        "410 Gone".to_owned(),
    ])
    .await;
    let mut follower = follower(&service);
    for expected in [1, 2, 3] {
        assert_eq!(receipt(&mut follower).await, (expected, Outcome::Delivered));
    }
    assert_eq!(follower.next().await, Ok(ReceiptEvent::Gone));
}

#[tokio::test]
async fn a_stream_that_is_cut_in_an_event_is_taken_up_before_that_event_as_8030_5_1_2() {
    for head in [STREAM.to_owned(), STREAM.replace("\r\n\r\n", "\r\ncontent-length: 9999\r\n\r\n")] {
        let whole = delivered(2);
        for cut in [1, 7, whole.len() / 2, whole.len() - 2] {
            let first = format!("{head}{}{}", delivered(1), &whole[..cut]);
            let service = answering(&[first, stream(&[delivered(2)]), GONE.to_owned()]).await;
            let mut follower = follower(&service);
            assert_eq!(receipt(&mut follower).await.0, 1);
            assert_eq!(receipt(&mut follower).await.0, 2, "cut at {cut}");
            assert_eq!(follower.next().await, Ok(ReceiptEvent::Gone));
            assert_eq!(last_event_ids(&service).await, ids(&["", "1", "2"]), "cut at {cut}");
        }
    }
}

/// The stream is held open until the follower has been silent for longer than a message may take.
#[tokio::test]
async fn a_stream_may_last_longer_than_sending_a_message() {
    let service = Service::holding(&[&stream(&[delivered(1)]), &stream(&[delivered(2)])]).await;
    let brief = Client::new(ClientConfig { request_timeout: Duration::from_millis(50), ..local() }).unwrap();
    let mut follower = Follower::new(&brief, receipts_of(&service)).with_policy(PATIENT);
    assert_eq!(receipt(&mut follower).await.0, 1);
    assert!(tokio::time::timeout(Duration::from_millis(200), follower.next()).await.is_err());
    assert_eq!(service.received().await.len(), 1, "the first connection is still good");
}

#[tokio::test]
async fn receipts_come_over_http_2_as_8030_5_1_2() {
    let (ca_pem, url) = service::http2_over_tls().await;
    let client = Client::new(ClientConfig { extra_ca_pem: ca_pem.into_bytes(), ..local() }).unwrap();
    let mut follower = Follower::new(&client, Endpoint::parse(&url).unwrap());
    assert_eq!(receipt(&mut follower).await, (1, Outcome::Delivered));
    assert!(tokio::time::timeout(Duration::from_millis(5), follower.next()).await.is_err(), "the stream stays open");
}

#[tokio::test]
async fn a_later_reader_begins_where_an_earlier_one_was() {
    let service = answering(&[stream(&[delivered(8)])]).await;
    let mut follower = follower(&service).after("7");
    assert_eq!(receipt(&mut follower).await.0, 8);
    assert_eq!(last_event_ids(&service).await, ids(&["7"]));
}

#[tokio::test]
async fn a_busy_or_broken_push_service_is_asked_again_and_in_the_end_left_alone_as_8030_7_3_1() {
    let busy = "503 Service Unavailable\r\nretry-after: 0".to_owned();
    let service = answering(&[busy.clone(), String::new(), STREAM.to_owned(), stream(&[delivered(1)])]).await;
    let mut follower = follower(&service);
    assert_eq!(receipt(&mut follower).await.0, 1, "four attempts are allowed, and the fourth is of use");
    let Err(FollowError::GaveUp(why)) = follower.next().await else { panic!("the service is gone") };
    assert!(why.contains("refused") && !why.contains("secret"), "{why}");
    let service = answering(&vec![busy; 9]).await;
    let gave_up = Follower::new(&local_client(), receipts_of(&service)).with_policy(PATIENT).next().await;
    assert_eq!(gave_up, Err(FollowError::GaveUp("the push service answers 503 Service Unavailable".to_owned())));
    assert_eq!(service.received().await.len(), 4);
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_replaced() {
    let silent = stream(&[delivered(1)]);
    let service = Service::holding(&[&silent, &stream(&[delivered(2)])]).await;
    let hasty = FollowPolicy { silence_max: Duration::from_millis(200), ..PATIENT };
    let mut follower = Follower::new(&local_client(), receipts_of(&service)).with_policy(hasty);
    assert_eq!(receipt(&mut follower).await.0, 1);
    assert_eq!(receipt(&mut follower).await.0, 2);
    assert_eq!(last_event_ids(&service).await, ids(&["", "1"]));
}

#[tokio::test]
async fn many_receipts_are_acknowledged_before_the_push_service_is_full_of_them_as_8030_5_1_2() {
    let last = RECEIPTS_PER_CONNECTION_MAX + 1;
    let first: Vec<String> = (1..last).map(delivered).collect();
    let service = Service::holding(&[&stream(&first), &stream(&[delivered(last)])]).await;
    let mut follower = follower(&service);
    for n in 1..=last {
        assert_eq!(receipt(&mut follower).await.0, n);
    }
    assert_eq!(last_event_ids(&service).await, ids(&["", "1000"]));
}

#[tokio::test]
async fn a_reader_that_is_cancelled_keeps_its_connection_and_its_place() {
    let service = Service::holding(&[&stream(&[delivered(1), delivered(2)])]).await;
    let mut follower = follower(&service);
    assert_eq!(receipt(&mut follower).await.0, 1);
    assert_eq!(receipt(&mut follower).await.0, 2);
    for _ in 0..3 {
        assert!(tokio::time::timeout(Duration::from_millis(5), follower.next()).await.is_err());
    }
    assert_eq!(follower.last_event_id(), Some("2"));
    assert_eq!(service.received().await.len(), 1);
}

#[tokio::test]
async fn what_there_is_now_is_read_without_waiting_and_asked_for_again_later() {
    let cut = format!("{STREAM}{}{}", delivered(1), &delivered(2)[..20]);
    let service = answering(&[
        "204 No Content".to_owned(),
        STREAM.to_owned(),
        cut,
        stream(&[delivered(2)]),
        stream(&[]),
        GONE.to_owned(),
    ])
    .await;
    let mut follower = Follower::not_waiting(&local_client(), receipts_of(&service)).with_policy(PATIENT);
    assert_eq!(follower.next().await, Ok(ReceiptEvent::Nothing));
    assert_eq!(follower.next().await, Ok(ReceiptEvent::Nothing));
    assert_eq!(receipt(&mut follower).await.0, 1);
    assert_eq!(receipt(&mut follower).await.0, 2, "a stream that was cut is no end");
    assert_eq!(follower.next().await, Ok(ReceiptEvent::Nothing));
    assert_eq!(follower.next().await, Ok(ReceiptEvent::Nothing));
    assert_eq!(follower.next().await, Ok(ReceiptEvent::Gone));
    let received = service.received().await;
    assert!(received.iter().all(|request| field(request, "prefer") == Some("wait=0")));
    let sent_ids: Vec<_> = received.iter().map(|request| field(request, "last-event-id")).collect();
    assert_eq!(sent_ids, [None, None, None, Some("1"), Some("2"), Some("2")]);
}

#[tokio::test]
async fn a_404_of_a_proxy_is_no_end_as_8030_5_1_2() {
    for stranger in ["404 Not Found\r\ncontent-length: 0", "404 Not Found\r\ncontent-length: 9\r\n\r\nnot found"] {
        let service = answering(&[stranger.to_owned(), stream(&[delivered(1)]), GONE.to_owned()]).await;
        let mut follower = follower(&service);
        assert_eq!(receipt(&mut follower).await.0, 1, "{stranger}");
        assert_eq!(follower.next().await, Ok(ReceiptEvent::Gone));
    }
}

#[tokio::test]
async fn an_end_is_an_end() {
    for answer in [GONE, "410 Gone", "204 No Content"] {
        let service = Service::answering(&[answer]).await;
        assert_eq!(follower(&service).next().await, Ok(ReceiptEvent::Gone), "{answer}");
    }
    let html = Service::answering(&["200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi"]).await;
    assert_eq!(follower(&html).next().await, Err(FollowError::NotEvents));
    let service = Service::answering(&["406 Not Acceptable\r\ncontent-length: 5\r\n\r\nnever"]).await;
    let Err(FollowError::Refused { status, explanation }) = follower(&service).next().await else { panic!("406") };
    assert_eq!((status.as_u16(), explanation.message.as_str()), (406, "never"));
}

#[tokio::test]
async fn a_follower_goes_only_where_a_message_may_go_as_ssrf_1() {
    let elsewhere = answering(&[stream(&[delivered(1)])]).await;
    let redirection = format!("302 Found\r\nlocation: {}", elsewhere.url("/inside"));
    let service = answering(&[redirection, stream(&[delivered(1)])]).await;
    let refused = follower(&service).next().await;
    assert!(matches!(refused, Err(FollowError::Refused { status, .. }) if status == 302), "{refused:?}");
    let public = Client::new(ClientConfig::default()).unwrap();
    let inside = [service.url("/r/1"), service.url("/r/1").replace("127.0.0.1", "localhost")];
    for url in inside {
        let denied = Follower::new(&public, Endpoint::parse(&url).unwrap()).next().await;
        assert_eq!(denied, Err(FollowError::Send(SendError::Endpoint(EndpointError::Address))));
    }
    assert_eq!((elsewhere.received().await.len(), service.received().await.len()), (0, 1));
}

#[tokio::test]
async fn a_resource_is_deleted_by_its_url() {
    let service = Service::answering(&["204 No Content"]).await;
    assert_eq!(local_client().delete(&receipts_of(&service)).await.unwrap(), 204);
    assert!(service.received().await[0].head.starts_with("DELETE /r/secret HTTP/1.1\r\n"));
}
