//! A URI of the service shows neither whose it is nor whether such a resource ever existed (RFC 8030 s8.2, s8.3).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use doorbell_protocol::base64url;
use doorbell_protocol::id::MessageId;
use doorbell_service::config::Settings;
use http::StatusCode;
use support::raw;
use support::raw::http2::Connection;
use support::{START, Subscription, TestService, header, path, within};
use tokio::net::TcpStream;

/// URIs of each sort.
const COUNT: usize = 10_000;
/// Connections that ask for them.
const CLIENTS: usize = 50;

/// How far a sum of squares may be from what chance gives, in standard deviations. A test that looks at a thousand
/// such sums passes by mistake or fails by mistake less than once in a million runs.
const DEVIATIONS_MAX: f64 = 10.0;

/// Tokens as they came, in the order of their making on each connection.
struct Tokens {
    push: Vec<String>,
    message: Vec<String>,
}

/// Subscribes COUNT times and sends one message to each subscription; `fields` are lines of the subscribe request.
async fn gather(service: &TestService, fields: &str) -> Tokens {
    let subscribe = format!("POST /subscribe HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let start = |_| tokio::spawn(gather_some(service.address, subscribe.clone()));
    let clients: Vec<_> = (0..CLIENTS).map(start).collect();
    let mut tokens = Tokens { push: Vec::new(), message: Vec::new() };
    for client in clients {
        for (push, message) in client.await.unwrap() {
            tokens.push.push(push);
            tokens.message.push(message);
        }
    }
    tokens
}

async fn gather_some(address: SocketAddr, subscribe: String) -> Vec<(String, String)> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut tokens = Vec::new();
    for _ in 0..COUNT / CLIENTS {
        let answer = raw::exchange(&mut stream, subscribe.as_bytes()).await;
        let push = token_after(&answer, "/p/");
        let send = format!("POST /p/{push} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Length: 0\r\n\r\n");
        let answer = raw::exchange(&mut stream, send.as_bytes()).await;
        tokens.push((push, token_after(&answer, "/m/")));
    }
    tokens
}

fn token_after(answer: &str, kind: &str) -> String {
    let (_, rest) = answer.split_once(kind).unwrap_or_else(|| panic!("no {kind} in {answer}"));
    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_').collect()
}

/// PS-8030-8.2-1, PS-8030-8.2-2, PS-8030-8.2-3, PS-8030-8.2-4, PS-8030-8.3-1: what is measured of the URIs of one agent
/// is what chance gives, and so is what is measured of the URIs of as many agents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_uris_of_one_agent_are_like_those_of_as_many_agents_ps_8030_8_2_1_to_8_2_4_and_8_3_1() {
    let many = u32::try_from(2 * COUNT).unwrap();
    let service = TestService::with(Settings {
        subscriptions_per_agent_max: Some(many),
        messages_per_agent_max: Some(2 * many),
        rate_per_subscription: Some(0),
        new_agents_per_minute: Some(0),
        new_agents_per_source: Some(0),
        ..Settings::default()
    })
    .await;
    let to = service.subscribe().await;
    let in_one_set = format!("Link: <{}>; rel=\"urn:ietf:params:push:set\"\r\n", to.set);
    let one = gather(&service, &in_one_set).await;
    let others = gather(&service, "").await;

    let sorts = [
        ("push URIs of one agent", &one.push),
        ("message URIs of one agent", &one.message),
        ("push URIs of many agents", &others.push),
        ("message URIs of many agents", &others.message),
    ];
    for (what, tokens) in sorts {
        assert_eq!(tokens.len(), COUNT);
        assert_characters_are_even(what, tokens);
        assert_neighbours_differ_in_every_bit(what, tokens);
        assert_no_long_prefix_is_shared(what, tokens);
    }
    // What belongs together (the message and the push URI that it was sent to, the set that both are in) shares nothing
    // either, wherever in the token it stands.
    let mut of_one = [one.push, one.message].concat();
    of_one.extend([&to.set, &to.subscription, &to.push].map(|uri| path(uri)[3..].to_owned()));
    let of_many = [others.push, others.message].concat();
    for (what, tokens) in [("one agent", &of_one), ("many agents", &of_many)] {
        assert_no_bytes_are_shared(what, tokens);
        assert_nothing_reads_as_an_id(what, tokens);
    }
}

/// Chi-square for the 64 characters at each position, and their entropy (PS-8030-8.3-1).
fn assert_characters_are_even(what: &str, tokens: &[String]) {
    let length = tokens[0].len();
    let mut bits = 0.0;
    for at in 0..length {
        let mut counts = HashMap::<u8, f64>::new();
        for token in tokens {
            assert_eq!(token.len(), length, "{what}");
            *counts.entry(token.as_bytes()[at]).or_default() += 1.0;
        }
        // The last of 91 characters carries the last 4 bits of 68 bytes.
        let alphabet = if at + 1 == length { 16.0 } else { 64.0 };
        let expected = tokens.len() as f64 / alphabet;
        let unseen = alphabet - counts.len() as f64;
        let chi_square = counts.values().map(|c| (c - expected).powi(2) / expected).sum::<f64>() + unseen * expected;
        let freedom: f64 = alphabet - 1.0;
        let far = (chi_square - freedom) / (2.0 * freedom).sqrt();
        assert!(far.abs() < DEVIATIONS_MAX, "{what}, character {at}: {far} standard deviations from even");
        let collisions = counts.values().map(|c| (c / tokens.len() as f64).powi(2)).sum::<f64>();
        bits -= collisions.log2();
    }
    assert!(bits >= 120.0, "{what}: {bits} bits, if the positions are independent of each other");
}

/// Each bit of the difference between one URI and the next one is random: a counter or a date would show.
fn assert_neighbours_differ_in_every_bit(what: &str, tokens: &[String]) {
    let decoded: Vec<_> = tokens.iter().map(|t| base64url::decode(t).unwrap()).collect();
    let pairs = (tokens.len() - 1) as f64;
    for bit in 0..decoded[0].len() * 8 {
        let value = |bytes: &[u8]| bytes[bit / 8] >> (bit % 8) & 1;
        let flips = decoded.windows(2).filter(|w| value(&w[0]) != value(&w[1])).count() as f64;
        let far = (flips - pairs / 2.0) / (pairs / 4.0).sqrt();
        assert!(far.abs() < DEVIATIONS_MAX, "{what}, bit {bit}: {far} standard deviations from even");
    }
}

/// Among fifty million pairs, chance makes one share eight characters once in five million runs.
fn assert_no_long_prefix_is_shared(what: &str, tokens: &[String]) {
    let mut sorted: Vec<_> = tokens.iter().collect();
    sorted.sort();
    let shared = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let longest = sorted.windows(2).map(|w| shared(w[0], w[1])).max().unwrap();
    assert!(longest < 8, "{what}: two URIs begin with the same {longest} characters");
}

/// No eight bytes occur in two tokens, at whatever place: an id has eight.
fn assert_no_bytes_are_shared(what: &str, tokens: &[String]) {
    let mut seen = HashSet::new();
    for token in tokens {
        for bytes in base64url::decode(token).unwrap().windows(8) {
            assert!(seen.insert(<[u8; 8]>::try_from(bytes).unwrap()), "{what}: {bytes:?} occurs twice, in {token}");
        }
    }
}

/// Eight bytes that are read as an id give the minute in which all these were made no more often than chance would.
fn assert_nothing_reads_as_an_id(what: &str, tokens: &[String]) {
    let (mut looked_at, mut found) = (0.0, 0.0);
    for token in tokens {
        for bytes in base64url::decode(token).unwrap().windows(8) {
            let bytes = <[u8; 8]>::try_from(bytes).unwrap();
            for raw in [i64::from_be_bytes(bytes), i64::from_le_bytes(bytes)] {
                let minted_at = MessageId::from_raw(raw).minted_at().as_millis();
                looked_at += 1.0;
                found += if (minted_at - START.as_millis()).abs() < 60_000 { 1.0 } else { 0.0 };
            }
        }
    }
    // 120,000 of the 2^42 milliseconds that an i64 can hold: chance finds none in most runs.
    let expected: f64 = looked_at * 120_000.0 / 2f64.powi(42);
    assert!(found < expected + 10.0, "{what}: {found} byte strings look like an id, and {expected} would by chance");
}

/// The URLs of one resource of each kind.
#[derive(Clone)]
struct Urls {
    push: String,
    message: String,
    subscription: String,
    set: String,
    receipts: String,
}

/// One of them.
type Pick = fn(&Urls) -> &String;

impl Urls {
    async fn make(service: &TestService, ttl: &str) -> (Self, Subscription) {
        let to = service.subscribe().await;
        let answer = service.post(&to, &[("prefer", "respond-async"), ("ttl", ttl)], b"x").await;
        let receipts = header(&answer, "link").split(['<', '>']).nth(1).unwrap();
        let urls = Self {
            push: path(&to.push),
            message: path(header(&answer, "location")),
            subscription: path(&to.subscription),
            set: path(&to.set),
            receipts: path(receipts),
        };
        (urls, to)
    }

    /// Every URL, changed.
    fn each(&self, change: impl Fn(&str) -> String) -> Self {
        Self {
            push: change(&self.push),
            message: change(&self.message),
            subscription: change(&self.subscription),
            set: change(&self.set),
            receipts: change(&self.receipts),
        }
    }
}

/// PS-8030-8.3-2: the answers do not show a client whether a resource ever existed.
#[tokio::test]
async fn unknown_forged_foreign_removed_and_expired_resources_answer_alike_ps_8030_8_3_2() {
    let service = TestService::with(Settings { idle_expiry_days: Some(1), ..Settings::default() }).await;
    let (expired, agent) = Urls::make(&service, "60").await;
    service.clock.advance(Duration::from_secs(100 * 24 * 3600));
    within(async {
        let gone = async || {
            let push = service.post(&agent, &[("ttl", "0")], b"x").await.status() == StatusCode::NOT_FOUND;
            let get = format!(
                "GET {} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nPrefer: wait=0\r\n\r\n",
                expired.receipts
            );
            push && raw::once(service.address, get).await.starts_with("HTTP/1.1 404 ")
        };
        while !gone().await {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let (removed, _) = Urls::make(&service, "60").await;
    for url in [&removed.message, &removed.subscription, &removed.set, &removed.receipts] {
        assert_eq!(service.delete(&(service.origin() + url)).await, StatusCode::NO_CONTENT, "{url}");
    }
    let foreign = Urls::make(&TestService::start().await, "60").await.0;
    let (live, _) = Urls::make(&service, "60").await;
    let forged = live.each(|url| {
        let middle = if url.as_bytes()[40] == b'A' { "B" } else { "A" };
        [&url[..40], middle, &url[41..]].concat()
    });
    let unknown = live.each(|url| format!("{}{}", &url[..3], "A".repeat(url.len() - 3)));

    let sorts: [(&str, Pick, &[&str]); 5] = [
        ("push", |u| &u.push, &["POST"]),
        ("message", |u| &u.message, &["GET", "DELETE"]),
        ("subscription", |u| &u.subscription, &["GET", "DELETE"]),
        ("set", |u| &u.set, &["GET", "DELETE"]),
        ("receipts", |u| &u.receipts, &["GET", "DELETE"]),
    ];
    for (what, url, own_methods) in sorts {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            for accept in ["*/*", "text/event-stream"] {
                let unknown = answers(&service, method, url(&unknown), accept).await;
                if own_methods.contains(&method) {
                    assert!(unknown[0].contains(" 404 "), "{method} {what}: {unknown:?}");
                }
                for (state, urls) in
                    [("forged", &forged), ("foreign", &foreign), ("removed", &removed), ("expired", &expired)]
                {
                    let answers = answers(&service, method, url(urls), accept).await;
                    assert_eq!(answers, unknown, "{method} of a {state} {what}, and of an unknown one");
                }
            }
        }
    }
}

/// What is answered over HTTP/1.1 and over HTTP/2, but for the date and the id of the request.
async fn answers(service: &TestService, method: &str, url: &str, accept: &str) -> [String; 2] {
    let fields = "TTL: 5\r\nPrefer: wait=0\r\nConnection: close\r\nContent-Length: 0";
    let request = format!("{method} {url} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n{fields}\r\n\r\n");
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let answer = String::from_utf8(raw::until_closed(&mut stream).await).unwrap();
    let over_http1: Vec<_> =
        answer.lines().filter(|l| !l.starts_with("date: ") && !l.starts_with("x-request-id: ")).collect();

    let mut connection = Connection::open(TcpStream::connect(service.address).await.unwrap()).await;
    let request = [
        (":method", method),
        (":scheme", "http"),
        (":path", url),
        (":authority", "x"),
        ("ttl", "5"),
        ("prefer", "wait=0"),
        ("accept", accept),
    ];
    connection.ask(1, &request).await;
    let (pushes, answer) = connection.until_answered(1).await;
    assert!(pushes.is_empty());
    let fields: Vec<_> = answer.fields.iter().filter(|(name, _)| name != "date" && name != "x-request-id").collect();
    [over_http1.join("\n"), format!("{fields:?}\n{}", String::from_utf8(answer.body).unwrap())]
}
