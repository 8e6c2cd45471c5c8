//! What no Chromium should send.

use crate::support::TestService;
use crate::support::chromium::{Chromium, Device, frame, login};

/// The tags of the stanzas that the service sends after these bytes, on a connection that is logged in.
async fn after_login(service: &TestService, bytes: &[u8]) -> Vec<u8> {
    let mut chromium = Device::new(service).await.connect(service).await;
    chromium.write(bytes).await;
    chromium.until_closed().await.iter().map(|stanza| stanza.tag).collect()
}

#[tokio::test]
async fn what_breaks_the_framing_or_the_rules_ends_the_connection_and_not_the_service() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    // Chromium reconnects after a Close; a client that broke the rules of the dialogue is not Chromium.
    let (close, nothing) = (&[4][..], &[][..]);
    for (bytes, received) in [
        (&[8, 0xff, 0xff, 0x7f][..], close),
        (&[8, 0xff, 0xff, 0xff, 0xff], close),
        (&[8, 0x80, 0], close),
        (&frame(0, &[0x12, 1, 0, 0x10]), close),
        (&frame(7, &[0x3a, 9, 0]), close),
        (&frame(0, &[0x10, 99]), nothing),
        (&frame(2, &login(device, &[])), nothing),
    ] {
        assert_eq!(after_login(&service, bytes).await, received, "{bytes:02x?}");
    }
    // Unknown kinds are counted and skipped.
    let mut chromium = device.connect(&service).await;
    chromium.send(200, b"\xff\xff").await;
    chromium.is_answered().await;
}

#[tokio::test]
async fn a_client_that_is_not_logged_in_receives_nothing() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    for bytes in [
        &[b"garbage".as_slice(), &[0; 97]].concat()[..],
        &[0xff; 64],
        &frame(0, &[0x10, 1]),
        &frame(0, &[]),
        &frame(8, &[]),
        &frame(2, &[]),
        &frame(2, b"\x1a\x011"),
        &frame(4, &[]),
        &frame(2, &vec![0; (128 << 10) + 1]),
    ] {
        let mut chromium = Chromium::open(&service).await;
        chromium.write(bytes).await;
        assert_eq!(chromium.until_closed().await, [], "{:02x?}", &bytes[..bytes.len().min(8)]);
    }
    device.connect(&service).await.is_answered().await;
}

#[tokio::test]
async fn a_connection_that_is_cut_inside_a_frame_leaves_nothing_behind() {
    let service = TestService::start().await;
    let device = Device::new(&service).await;
    let whole = frame(2, &login(device, &[]));
    for cut in [0, 1, 2, 3, whole.len() / 2, whole.len() - 1] {
        let mut chromium = Chromium::open(&service).await;
        chromium.write(&whole[..cut]).await;
    }
    let mut slow = Chromium::open(&service).await;
    for byte in &whole {
        slow.write(&[*byte]).await;
    }
    assert_eq!(slow.next().await.tag, 3);
}

#[tokio::test]
async fn a_list_of_what_is_another_devices_changes_nothing_ps_8030_2_2() {
    let service = TestService::start().await;
    let (alice, mallory) = (Device::new(&service).await, Device::new(&service).await);
    let push = alice.subscribe(&service).await;
    mallory.subscribe(&service).await;
    let mut stream = alice.connect(&service).await;
    service.send(&push, &[], b"for Alice").await;
    let message = stream.unacked().await.persistent_id();
    drop(stream);
    let mut list = vec![message.clone(); 5000];
    list.truncate(4096);
    mallory.connect_with(&service, &list).await.is_answered().await;
    assert_eq!(alice.connect(&service).await.unacked().await.persistent_id(), message);
}
