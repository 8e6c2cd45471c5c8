//! Slow, vanishing and greedy clients harm neither others nor themselves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Duration;

use doorbell_service::Service;
use doorbell_service::config::{Config, Settings};
use http::{Request, StatusCode};
use support::agent::settings;
use support::raw::http2::{END_HEADERS, END_STREAM, HEADERS};
use support::raw::{frame, frames, header_block, http2_preface};
use support::{START, TestService, path, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DATA: u8 = 0;

/// More messages of 4096 bytes than the 65,535 bytes that an HTTP/2 client takes without reading.
const WINDOW_AND_MORE: usize = 20;

async fn shut_window(service: &TestService, to: &support::Subscription) {
    for _ in 0..WINDOW_AND_MORE {
        service.send(to, &[], &[7; 4096]).await;
    }
}

#[tokio::test]
async fn a_ttl_0_message_does_not_wait_behind_a_shut_window_ps_8030_5_2_9() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut agent = service.agent().await;
    let mut stream = service.monitored(&mut agent, &to.set, &to).await;
    shut_window(&service, &to).await;
    let transient = service.send(&to, &[("ttl", "0")], b"now or never").await;
    service.clock.advance(Duration::from_secs(31));
    let later = service.send(&to, &[], b"later").await;
    loop {
        let push = stream.push().await;
        assert_ne!(path(&push.uri), path(&transient));
        if path(&push.uri) == path(&later) {
            return;
        }
    }
}

#[tokio::test]
async fn a_message_withdrawn_behind_a_shut_window_is_not_pushed_ps_8030_6_2_6_5_4_2() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut agent = service.agent().await;
    let mut stream = service.monitored(&mut agent, &to.set, &to).await;
    shut_window(&service, &to).await;
    let withdrawn = service.send(&to, &[], b"stopped ringing").await;
    let replaced = service.send(&to, &[("topic", "score")], b"1:0").await;
    assert_eq!(service.delete(&withdrawn).await, StatusCode::NO_CONTENT);
    let last = service.send(&to, &[("topic", "score")], b"1:1").await;
    loop {
        let push = stream.push().await;
        assert_ne!(path(&push.uri), path(&withdrawn));
        assert_ne!(path(&push.uri), path(&replaced));
        if path(&push.uri) == path(&last) {
            return;
        }
    }
}

#[tokio::test]
async fn a_push_whose_message_expires_behind_a_shut_window_is_given_up_ps_8030_5_2_7() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut builder = settings();
    builder.initial_window_size(0);
    let mut agent = service.agent_with(builder).await;
    service.send(&to, &[("ttl", "10")], b"waits for the window").await;
    let mut stream = agent.monitor(&to.set, &[]).await;
    let promise = stream.promised().await;
    service.clock.advance(Duration::from_secs(10));
    let mut body = within(promise).await.unwrap().into_body();
    assert!(within(body.data()).await.unwrap().unwrap_err().is_reset());
    // An empty body needs no window.
    let next = service.send(&to, &[], b"").await;
    assert_eq!(path(&stream.push().await.uri), path(&next));
}

#[tokio::test]
async fn refusing_a_push_that_waits_for_the_window_leaves_the_stream_open_ps_8030_6_11() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut builder = settings();
    builder.initial_window_size(0);
    let mut agent = service.agent_with(builder).await;
    service.send(&to, &[], b"waits for the window").await;
    let mut stream = agent.monitor(&to.set, &[]).await;
    stream.refuse().await;
    let next = service.send(&to, &[], b"").await;
    assert_eq!(path(&stream.push().await.uri), path(&next));
}

#[tokio::test]
async fn wait_0_that_is_cut_short_by_a_stop_is_not_answered_as_complete_ps_8030_6_6() {
    let mut service = TestService::start().await;
    let to = service.subscribe().await;
    let mut other = service.agent().await;
    let held = service.monitored_with(&mut other, &to.set, &to, &[("urgency", "high")]).await;
    for _ in 0..2 {
        service.send(&to, &[], b"xx").await;
    }
    let mut builder = settings();
    // One push at a time, and the second byte of the first one waits for the client's window.
    builder.max_concurrent_streams(1).initial_window_size(1);
    let mut agent = service.agent_with(builder).await;
    let mut stream = agent.monitor(&to.set, &[("prefer", "wait=0")]).await;
    let first = stream.promised().await;
    let stopped = tokio::spawn(service.service.take().unwrap().stop());
    // All streams of the agent end at the same time.
    assert_eq!(held.finish().await, StatusCode::OK);
    let mut body = within(first).await.unwrap().into_body();
    while let Some(byte) = within(body.data()).await {
        body.flow_control().release_capacity(byte.unwrap().len()).unwrap();
    }
    assert_eq!(stream.finish().await, StatusCode::SERVICE_UNAVAILABLE);
    drop((other, agent));
    within(stopped).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_oldest_of_too_many_streams_of_one_agent_ends() {
    let service = TestService::start().await;
    let to = service.subscribe().await;
    let mut agents = [service.agent().await, service.agent().await];
    let oldest = service.monitored(&mut agents[0], &to.set, &to).await;
    let mut others = Vec::new();
    for n in 0..100 {
        others.push(agents[n % 2].monitor(&to.set, &[]).await);
    }
    assert_eq!(oldest.finish().await, StatusCode::OK);
    let message = service.send(&to, &[], b"x").await;
    let pushes = others.iter_mut().map(|stream| Box::pin(stream.push()));
    let (push, _, _) = within(futures_util::future::select_all(pushes)).await;
    assert_eq!(path(&push.uri), path(&message));
}

#[tokio::test]
async fn a_removal_reaches_the_open_streams_although_the_client_that_asked_for_it_is_gone_ps_8030_7_3_1_2() {
    let service = TestService::start().await;
    for _ in 0..20 {
        let to = service.subscribe().await;
        let mut agent = service.agent().await;
        let stream = service.monitored(&mut agent, &to.set, &to).await;
        let mut remover = TcpStream::connect(service.address).await.unwrap();
        let delete = format!("DELETE {} HTTP/1.1\r\nHost: x\r\n\r\n", path(&to.set));
        remover.write_all(delete.as_bytes()).await.unwrap();
        drop(remover);
        assert_eq!(stream.finish().await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_answer_that_no_client_reads_is_given_up() {
    let service = TestService::with(Settings { idle_timeout_secs: Some(1), ..Settings::default() }).await;
    let mut builder = settings();
    builder.initial_window_size(0);
    let mut agent = service.agent_with(builder).await;
    let greeting = agent.send(Request::get(service.origin() + "/").body(()).unwrap()).await;
    let mut body = within(greeting).await.unwrap().into_body();
    assert!(within(body.data()).await.unwrap().is_err());
}

#[tokio::test]
async fn an_answer_to_head_has_no_body() {
    let service = TestService::start().await;
    let block = header_block(&[(":method", "HEAD"), (":scheme", "http"), (":authority", "x"), (":path", "/subscribe")]);
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream.write_all(&[http2_preface(), frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)].concat()).await.unwrap();
    let mut seen = Vec::new();
    within(async {
        while !frames(&seen).iter().any(|(_, flags, id, _)| *id == 1 && flags & END_STREAM != 0) {
            let mut chunk = [0; 1024];
            let read = stream.read(&mut chunk).await.unwrap();
            seen.extend_from_slice(&chunk[..read]);
        }
    })
    .await;
    assert!(!frames(&seen).iter().any(|(kind, _, _, payload)| *kind == DATA && !payload.is_empty()));
}

#[tokio::test]
async fn rotation_never_makes_a_key_ring_that_the_service_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let listen = Some(vec!["127.0.0.1:0".parse().unwrap()]);
    let state_dir = Some(dir.path().to_owned());
    let settings = Settings { state_dir, listen, plain: Some(true), ..Settings::default() };
    let config = Config::from_settings(settings).unwrap();
    let clock = doorbell_service::Clock::manual(START);
    while Service::rotate_capability_key(&config, &clock).is_ok() {}
    Service::start(config, clock).await.unwrap().stop().await.unwrap();
}
