//! The dialogue with Firefox and its relatives, frame by frame, by a client that knows frames and JSON only.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod support;

use support::socket::Socket;
use support::{Subscription, TestService};

const CHANNEL: &str = "d9b74644-4f97-46aa-b8fa-9393985cd6cd";

fn endpoint(push: &str) -> Subscription {
    Subscription { subscription: String::new(), push: push.to_owned(), set: String::new() }
}

#[tokio::test]
async fn a_message_comes_to_its_channel_is_acknowledged_and_does_not_come_again_fx_1_and_fx_3_and_fx_5_and_fx_6() {
    let service = TestService::start().await;
    let (mut socket, uaid) = Socket::hello(service.address, None).await;
    let push = socket.register(CHANNEL).await;
    service.send(&endpoint(&push), &[("content-encoding", "aes128gcm")], b"ding").await;
    let message = socket.notified().await;
    assert_eq!((message.channel.as_str(), message.text.as_str()), (CHANNEL, "ding"));
    socket.ack(&message, 100).await;
    socket.is_heard().await;
    socket.cut();

    service.send(&endpoint(&push), &[], b"dong").await;
    let (mut again, same) = Socket::hello(service.address, Some(&uaid)).await;
    assert_eq!(same, uaid);
    assert_eq!(again.notified().await.text, "dong");
}
