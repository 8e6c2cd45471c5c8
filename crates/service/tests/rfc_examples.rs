//! The examples of RFC 8030 and RFC 8292 on the wire: their requests are written here as bytes, and the answers are
//! compared byte by byte, except the tokens and dates, which are different for each service.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use doorbell_protocol::base64url;
use doorbell_protocol::time::UnixMs;
use doorbell_service::config::{Config, Settings};
use doorbell_service::{Clock, Service};
use support::raw;
use support::raw::http2::{Connection, Fields, Pushed, field};
use support::{TestService, path};
use tokio::net::TcpStream;

/// The push service of the RFCs' examples. A proxy in front ends its TLS.
const ORIGIN: &str = "https://push.example.net";

/// The 36 bytes of a body as RFC 8030's examples have it.
const BODY: &str = "iChYuI3jMzt3ir20P8r_jgRR-dSuN182x7iB";

/// The token of RFC 8292 s2.4, and the key that made it.
const TOKEN: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1Mj\
                     M3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0.i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9oj\
                     FwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA";
const KEY: &str = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";
/// The second at which the token expires.
const TOKEN_EXP: i64 = 1_453_523_768;

async fn service() -> TestService {
    TestService::with(example_net()).await
}

fn example_net() -> Settings {
    Settings { public_url: Some(ORIGIN.to_owned()), trust_proxy: Some(true), ..Settings::default() }
}

/// The URIs that a subscribe request gave.
struct Uris {
    subscription: String,
    push: String,
    set: String,
}

async fn subscribe(service: &TestService, more: &str) -> Uris {
    let request = format!("POST /subscribe HTTP/1.1\r\nHost: push.example.net\r\n{more}\r\n");
    let answer = raw::once(service.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    Uris {
        subscription: uri(&answer, "location: ", ""),
        push: uri(&answer, "link: <", ">;rel=\"urn:ietf:params:push\""),
        set: uri(&answer, "link: <", ">;rel=\"urn:ietf:params:push:set\""),
    }
}

/// POST to a push URI as in RFC 8030 s5; `fields` are lines.
async fn post(service: &TestService, push: &str, fields: &str, body: &str) -> String {
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: push.example.net\r\n{fields}Content-Type: text/plain;charset=utf8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        path(push),
        body.len()
    );
    raw::once(service.address, request).await
}

async fn http2(service: &TestService) -> Connection<TcpStream> {
    Connection::open(TcpStream::connect(service.address).await.unwrap()).await
}

/// What stands between two marks on one line of an answer.
fn uri(answer: &str, before: &str, after: &str) -> String {
    let found = answer.lines().find_map(|l| l.strip_prefix(before)?.strip_suffix(after));
    found.unwrap_or_else(|| panic!("no {before}…{after} in {answer}")).to_owned()
}

/// The head of an HTTP/1.1 answer: its lines sorted, with `…` for each token and date.
fn head(answer: &str) -> Vec<String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "");
    let mut lines: Vec<_> = head.split("\r\n").map(masked).collect();
    lines[1..].sort();
    lines
}

/// A header list of HTTP/2 in the same form.
fn list(fields: &Fields) -> Vec<String> {
    let mut lines: Vec<_> = fields.iter().map(|(name, value)| masked(&format!("{name}: {value}"))).collect();
    lines.sort();
    lines
}

fn masked(line: &str) -> String {
    for dated in ["date: ", "last-modified: "] {
        if let Some(date) = line.strip_prefix(dated) {
            assert!(httpdate::parse_http_date(date).is_ok() && date.ends_with(" GMT"), "{line}");
            return format!("{dated}…");
        }
    }
    let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = line.split_inclusive(|c| !is_token(c)).map(|word| {
        let token = word.trim_end_matches(|c| !is_token(c));
        if token.len() < 40 { word.to_owned() } else { word.replace(token, "…") }
    });
    words.collect()
}

/// A GET as the agents' examples have it.
fn get(path: &str) -> [(&str, &str); 4] {
    [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", "push.example.net")]
}

/// RFC 8030 s4 and s4.1; PS-8030-4-1, PS-8030-4-2, PS-8030-4-3, PS-8030-4.1-1, PS-8030-8-1.
#[tokio::test]
async fn the_subscribe_example_is_answered_with_a_subscription_a_push_resource_and_a_set_ps_8030_4_1_to_4_3() {
    let service = service().await;
    let answer = raw::once(service.address, "POST /subscribe HTTP/1.1\r\nHost: push.example.net\r\n\r\n").await;
    let expected = [
        "HTTP/1.1 201 Created",
        "content-length: 0",
        "date: …",
        "link: <https://push.example.net/a/…>;rel=\"urn:ietf:params:push:set\"",
        "link: <https://push.example.net/p/…>;rel=\"urn:ietf:params:push\"",
        "location: https://push.example.net/s/…",
    ];
    assert_eq!(head(&answer), expected);
}

/// RFC 8030 s4 over HTTP/2; PS-8030-4-5.
#[tokio::test]
async fn the_subscribe_example_is_answered_alike_in_frames_ps_8030_4_5() {
    let service = service().await;
    let mut connection = http2(&service).await;
    let post = [(":method", "POST"), (":scheme", "https"), (":path", "/subscribe"), (":authority", "push.example.net")];
    connection.ask(1, &post).await;
    let answer = connection.answer(1).await;
    let expected = [
        ":status: 201",
        "date: …",
        "link: <https://push.example.net/a/…>;rel=\"urn:ietf:params:push:set\"",
        "link: <https://push.example.net/p/…>;rel=\"urn:ietf:params:push\"",
        "location: https://push.example.net/s/…",
    ];
    assert_eq!(list(&answer.fields), expected);
    assert_eq!(answer.body, b"");
}

/// RFC 8030 s4.1; PS-8030-4.1-2, PS-8030-4.1-3, PS-8030-2-1.
#[tokio::test]
async fn a_subscribe_that_names_a_set_in_a_link_joins_it_and_one_that_names_none_is_400_ps_8030_4_1_2_and_4_1_3() {
    let service = service().await;
    let one = subscribe(&service, "").await;
    let relative = path(&one.set);
    for target in [&one.set, &relative] {
        let two = subscribe(&service, &format!("Link: <{target}>; rel=\"urn:ietf:params:push:set\"\r\n")).await;
        assert_eq!(two.set, one.set);
        assert!(two.push != one.push && two.subscription != one.subscription);
    }
    let unknown = "Link: </subscription-set/4UXwi2Rd7jGS7gp5cuutF8ZldnEuvbOy>; rel=\"urn:ietf:params:push:set\"";
    let request = format!("POST /subscribe HTTP/1.1\r\nHost: push.example.net\r\n{unknown}\r\n\r\n");
    let answer = raw::once(service.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
}

/// RFC 8030 s5 and s5.2; PS-8030-5-1, PS-8030-5.2-6, PS-8030-5.1-8.
#[tokio::test]
async fn the_push_example_is_answered_201_with_the_message_and_the_ttl_ps_8030_5_1_and_5_2_6() {
    let service = service().await;
    let to = subscribe(&service, "").await;
    let answer = post(&service, &to.push, "TTL: 15\r\n", BODY).await;
    let expected =
        ["HTTP/1.1 201 Created", "content-length: 0", "date: …", "location: https://push.example.net/m/…", "ttl: 15"];
    assert_eq!(head(&answer), expected);
}

/// RFC 8030 s5.2; PS-8030-5.2-1, PS-8030-5.2-4, PS-8030-5.2-5.
#[tokio::test]
async fn a_push_without_ttl_is_400_and_a_ttl_that_is_too_long_is_shortened_in_the_answer_ps_8030_5_2_1_and_5_2_5() {
    let service = service().await;
    let to = subscribe(&service, "").await;
    let answer = post(&service, &to.push, "", BODY).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    for ttl in ["2592001", "2147483648", "99999999999999999999"] {
        let answer = post(&service, &to.push, &format!("TTL: {ttl}\r\n"), BODY).await;
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "PS-8030-5.2-4: {answer}");
        assert!(answer.contains("\r\nttl: 2592000\r\n"), "{answer}");
    }
}

/// RFC 8030 s5.1; PS-8030-5.1-2, PS-8030-5.1-3, PS-8030-5.1-4.
#[tokio::test]
async fn the_receipt_example_is_answered_202_with_a_receipt_subscription_ps_8030_5_1_2_to_5_1_4() {
    let service = service().await;
    let to = subscribe(&service, "").await;
    let answer = post(&service, &to.push, "Prefer: respond-async\r\nTTL: 15\r\n", BODY).await;
    let expected = [
        "HTTP/1.1 202 Accepted",
        "content-length: 0",
        "date: …",
        "link: <https://push.example.net/r/…>;rel=\"urn:ietf:params:push:receipt\"",
        "location: https://push.example.net/m/…",
        "ttl: 15",
    ];
    assert_eq!(head(&answer), expected);
    let receipts = receipts_uri(&answer);
    let named =
        format!("Prefer: respond-async\r\nLink: <{receipts}>; rel=\"urn:ietf:params:push:receipt\"\r\nTTL: 15\r\n");
    let second = post(&service, &to.push, &named, BODY).await;
    assert_eq!(head(&second), expected);
    assert_eq!(receipts_uri(&second), receipts);
}

fn receipts_uri(answer: &str) -> String {
    uri(answer, "link: <", ">;rel=\"urn:ietf:params:push:receipt\"")
}

/// RFC 8030 s5.4; PS-8030-5.4-2, PS-8030-5.4-4.
#[tokio::test]
async fn the_topic_example_replaces_what_was_sent_on_its_topic_ps_8030_5_4_2() {
    let service = service().await;
    let to = subscribe(&service, "").await;
    let newer = "ZuHSZPKa2b1jtOKLGpWrcrn8cNqt0iVQyroF";
    let old = post(&service, &to.push, "TTL: 600\r\nTopic: upd\r\n", BODY).await;
    let new = post(&service, &to.push, "TTL: 600\r\nTopic: upd\r\n", newer).await;
    let [old, new] = [&old, &new].map(|answer| path(&uri(answer, "location: ", "")));
    let mut connection = http2(&service).await;
    connection.ask(1, &get(&old)).await;
    assert_eq!(connection.answer(1).await.status(), "404");
    let subscription = path(&to.subscription);
    let wait_0 = [&get(&subscription)[..], &[("prefer", "wait=0")]].concat();
    connection.ask(3, &wait_0).await;
    let (pushes, _) = connection.until_answered(3).await;
    let [push] = &pushes[..] else { panic!("{pushes:?}") };
    assert_eq!(field(&push.request, ":path"), new);
    assert_eq!(push.response.body, newer.as_bytes());
}

/// What a push of `BODY` to `push` has to look like.
fn assert_is_the_example(push: &Pushed, message: &str, to: &str) {
    let link = format!("link: <{ORIGIN}/p/…>;rel=\"urn:ietf:params:push\"");
    let request = [":authority: push.example.net", ":method: GET", ":path: /m/…", ":scheme: https", &link];
    assert_eq!(list(&push.request), request);
    assert_eq!(field(&push.request, ":path"), path(message), "PS-8030-6-2");
    let response = [
        ":status: 200",
        "cache-control: private",
        "content-length: 36",
        "content-type: text/plain;charset=utf8",
        "date: …",
        "last-modified: …",
        &link,
    ];
    assert_eq!(list(&push.response.fields), response);
    assert_eq!(push.response.body, BODY.as_bytes(), "PS-8030-6-4");
    for fields in [&push.request, &push.response.fields] {
        assert_eq!(field(fields, "link"), format!("<{to}>;rel=\"urn:ietf:params:push\""));
    }
}

/// RFC 8030 s6; PS-8030-6-1 to PS-8030-6-5, PS-8030-7.2-1, PS-8030-5.3-4.
#[tokio::test]
async fn the_monitoring_example_gets_a_promise_and_the_message_on_the_promised_stream_ps_8030_6_1_to_6_5() {
    let service = service().await;
    let to = subscribe(&service, "").await;
    let mut connection = http2(&service).await;
    // The request stays open: there is nothing yet.
    connection.ask(7, &get(&path(&to.subscription))).await;
    for _ in 0..2 {
        let answer = post(&service, &to.push, "TTL: 15\r\nUrgency: high\r\n", BODY).await;
        let push = connection.push(7).await;
        assert_is_the_example(&push, &uri(&answer, "location: ", ""), &to.push);
    }
}

/// RFC 8030 s6: `Prefer: wait=0`; PS-8030-6-6, PS-8030-6-7, PS-8030-6-8.
#[tokio::test]
async fn with_wait_0_what_is_there_is_pushed_and_the_request_answered_ps_8030_6_6_and_6_7() {
    let service = service().await;
    let to = subscribe(&service, "").await;
    let mut connection = http2(&service).await;
    let subscription = path(&to.subscription);
    let wait_0 = [&get(&subscription)[..], &[("prefer", "wait=0")]].concat();
    connection.ask(7, &wait_0).await;
    let nothing = connection.answer(7).await;
    assert_eq!(
        (list(&nothing.fields), &nothing.body[..]),
        (vec![":status: 204".to_owned(), "date: …".to_owned()], &b""[..])
    );
    let message = uri(&post(&service, &to.push, "TTL: 15\r\n", BODY).await, "location: ", "");
    connection.ask(9, &wait_0).await;
    let (pushes, answer) = connection.until_answered(9).await;
    let [push] = &pushes[..] else { panic!("{pushes:?}") };
    assert_is_the_example(push, &message, &to.push);
    assert_eq!((answer.status(), &answer.body[..]), ("200", &b""[..]));
}

/// RFC 8030 s6.1; PS-8030-6.1-1, PS-8030-6.1-2, PS-8030-6.1-3.
#[tokio::test]
async fn the_set_example_names_the_subscription_in_the_link_of_the_promised_request_ps_8030_6_1_1() {
    let service = service().await;
    let one = subscribe(&service, "").await;
    let mut connection = http2(&service).await;
    connection.ask(7, &get(&path(&one.set))).await;
    let two = subscribe(&service, &format!("Link: <{}>; rel=\"urn:ietf:params:push:set\"\r\n", one.set)).await;
    for to in [&one, &two, &one] {
        let answer = post(&service, &to.push, "TTL: 15\r\n", BODY).await;
        assert_is_the_example(&connection.push(7).await, &uri(&answer, "location: ", ""), &to.push);
    }
}

/// RFC 8030 s6.2; PS-8030-6.2-6.
#[tokio::test]
async fn the_acknowledgement_example_is_answered_204_and_the_message_is_gone_ps_8030_6_2_6() {
    let service = service().await;
    let to = subscribe(&service, "").await;
    let message = path(&uri(&post(&service, &to.push, "TTL: 15\r\n", BODY).await, "location: ", ""));
    let mut connection = http2(&service).await;
    connection.ask(1, &get(&message)).await;
    let read = connection.answer(1).await;
    assert_eq!((read.status(), &read.body[..]), ("200", BODY.as_bytes()), "PS-8030-5-6");
    let mut delete = get(&message);
    delete[0] = (":method", "DELETE");
    connection.ask(3, &delete).await;
    let answer = connection.answer(3).await;
    assert_eq!(
        (list(&answer.fields), &answer.body[..]),
        (vec![":status: 204".to_owned(), "date: …".to_owned()], &b""[..])
    );
    connection.ask(5, &delete).await;
    assert_eq!(connection.answer(5).await.status(), "404");
    let subscription = path(&to.subscription);
    let wait_0 = [&get(&subscription)[..], &[("prefer", "wait=0")]].concat();
    connection.ask(7, &wait_0).await;
    assert_eq!(connection.answer(7).await.status(), "204");
}

/// RFC 8030 s6.3; PS-8030-6.3-1, PS-8030-6.3-2, PS-8030-6.2-1.
#[tokio::test]
async fn the_receipt_of_an_acknowledged_message_is_a_promised_get_of_it_with_204_and_no_body_ps_8030_6_3_1() {
    let service = service().await;
    let to = subscribe(&service, "").await;
    let answer = post(&service, &to.push, "Prefer: respond-async\r\nTTL: 15\r\n", BODY).await;
    let mut sender = http2(&service).await;
    sender.ask(13, &get(&path(&receipts_uri(&answer)))).await;
    let message = path(&uri(&answer, "location: ", ""));
    let acknowledgement = format!("DELETE {message} HTTP/1.1\r\nHost: push.example.net\r\n\r\n");
    let acknowledged = raw::once(service.address, acknowledgement).await;
    assert_eq!(head(&acknowledged), ["HTTP/1.1 204 No Content", "date: …"]);
    assert_is_receipt(&sender.push(13).await, &message, "204", "delivered");
}

/// RFC 8030 s6.3, s7.2; PS-8030-6.3-3, PS-8030-6.3-4, PS-8030-6.2-2.
#[tokio::test]
async fn the_receipt_of_a_message_that_was_given_up_is_410_and_has_no_body_ps_8030_6_3_3() {
    let service = service().await;
    let to = subscribe(&service, "").await;
    let first = post(&service, &to.push, "Prefer: respond-async\r\nTTL: 15\r\n", BODY).await;
    let receipts = receipts_uri(&first);
    let named =
        format!("Prefer: respond-async\r\nLink: <{receipts}>; rel=\"urn:ietf:params:push:receipt\"\r\nTTL: 600\r\n");
    let second = post(&service, &to.push, &named, BODY).await;
    let mut sender = http2(&service).await;
    sender.ask(13, &get(&path(&receipts))).await;
    service.clock.advance(Duration::from_secs(16));
    assert_is_receipt(&sender.push(13).await, &path(&uri(&first, "location: ", "")), "410", "expired");
    let removal = format!("DELETE {} HTTP/1.1\r\nHost: push.example.net\r\n\r\n", path(&to.subscription));
    assert_eq!(head(&raw::once(service.address, removal).await), ["HTTP/1.1 204 No Content", "date: …"]);
    assert_is_receipt(&sender.push(13).await, &path(&uri(&second, "location: ", "")), "410", "unsubscribed");
}

fn assert_is_receipt(push: &Pushed, message: &str, status: &str, outcome: &str) {
    let request = [":authority: push.example.net", ":method: GET", ":path: /m/…", ":scheme: https"];
    assert_eq!(list(&push.request), request);
    assert_eq!(field(&push.request, ":path"), message);
    let response = [format!(":status: {status}"), "date: …".to_owned(), format!("doorbell-outcome: {outcome}")];
    assert_eq!(list(&push.response.fields), response);
    assert_eq!(push.response.body, b"");
}

/// The token of RFC 8292 s2.4 is good until it expires; PS-8292-2-3, PS-8292-2-4, PS-8292-2-5, PS-8292-3-1.
#[tokio::test]
async fn the_signed_example_is_taken_until_its_token_expires_ps_8292_2_3_to_2_5() {
    let service = in_2016().await;
    let to = subscribe_at(&service.0, "", "").await;
    for scheme in ["vapid", "Vapid"] {
        let answer = signed_push(&service.0, &to, &format!("{scheme} t={TOKEN}, k={KEY}")).await;
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    }
    service.1.advance(Duration::from_secs(7200));
    let answer = signed_push(&service.0, &to, &format!("vapid t={TOKEN}, k={KEY}")).await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
}

/// RFC 8292 s4.1 and s4.2; PS-8292-4.1-1, PS-8292-4.1-2, PS-8292-4.2-1, PS-8292-4.2-2, PS-8292-3-3.
#[tokio::test]
async fn the_restricted_subscribe_example_takes_the_keys_messages_only_ps_8292_4_1_1_and_4_2_1() {
    let service = in_2016().await;
    let options = format!("{{ \"vapid\": \"{KEY}\" }}");
    let to =
        subscribe_at(&service.0, "Content-Type: application/webpush-options+json;charset=utf-8\r\n", &options).await;
    let unsigned = push_at(&service.0, &to, "").await;
    assert!(unsigned.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{unsigned}");
    assert!(unsigned.contains("\r\nwww-authenticate: vapid\r\n"), "PS-8292-3-3: {unsigned}");
    let signed = signed_push(&service.0, &to, &format!("vapid t={TOKEN}, k={KEY}")).await;
    assert!(signed.starts_with("HTTP/1.1 201 Created\r\n"), "{signed}");
    // One byte of the signature is changed.
    let forged = TOKEN.replace(".i3CY", ".i3CZ");
    let forged = signed_push(&service.0, &to, &format!("vapid t={forged}, k={KEY}")).await;
    assert!(forged.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{forged}");
    let other_type = subscribe_at(&service.0, "Content-Type: text/plain\r\n", "hello").await;
    let unsigned = push_at(&service.0, &other_type, "").await;
    assert!(unsigned.starts_with("HTTP/1.1 201 Created\r\n"), "PS-8292-4.1-2: {unsigned}");
}

/// RFC 8292 s3.2: the key that signs must not be the one that encrypts; PS-8292-3.2-2.
#[tokio::test]
async fn a_signed_message_that_is_encrypted_with_the_signing_key_is_400_ps_8292_3_2_2() {
    let service = in_2016().await;
    let to = subscribe_at(&service.0, "", "").await;
    // RFC 8188 s2.1: salt, record size, length of the key id, key id; then one record.
    let mut body = [&[7; 16][..], &4096u32.to_be_bytes(), &[65]].concat();
    body.extend(base64url::decode(KEY).unwrap());
    body.extend([9; 50]);
    let mut request = format!(
        "POST {} HTTP/1.1\r\nHost: push.example.net\r\nTTL: 30\r\nContent-Encoding: aes128gcm\r\n\
         Authorization: vapid t={TOKEN}, k={KEY}\r\nContent-Length: {}\r\n\r\n",
        path(&to),
        body.len()
    )
    .into_bytes();
    request.extend(body);
    let answer = raw::once(service.0.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
}

/// The service an hour before the example's token expires.
async fn in_2016() -> (Service, Clock, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let listen = Some(vec!["127.0.0.1:0".parse().unwrap()]);
    let state_dir = Some(dir.path().to_owned());
    let config = Config::from_settings(Settings { listen, state_dir, plain: Some(true), ..example_net() }).unwrap();
    let clock = Clock::manual(UnixMs::from_secs(TOKEN_EXP - 3600));
    (Service::start(config, clock.clone()).await.unwrap(), clock, dir)
}

/// A subscribe request with options; the push URI.
async fn subscribe_at(service: &Service, fields: &str, body: &str) -> String {
    let length = body.len();
    let head =
        format!("POST /subscribe HTTP/1.1\r\nHost: push.example.net\r\n{fields}Content-Length: {length}\r\n\r\n");
    let answer = raw::once(service.address(), head + body).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    uri(&answer, "link: <", ">;rel=\"urn:ietf:params:push\"")
}

async fn signed_push(service: &Service, push: &str, credentials: &str) -> String {
    push_at(service, push, &format!("Authorization: {credentials}\r\n")).await
}

async fn push_at(service: &Service, push: &str, fields: &str) -> String {
    let path = path(push);
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: push.example.net\r\nTTL: 30\r\n{fields}Content-Length: 2\r\n\r\nhi");
    raw::once(service.address(), request).await
}
