//! What clients with sockets know, sent correctly and incorrectly.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::chromium::{self, Chromium, OLD_SENDER, first_check_in_on, login};
use crate::support::path;
use crate::{HTTP1, Io, Known, MCS, Secrets, Site};

/// The same on Firefox's socket, and what ends one.
pub(crate) async fn on_a_socket(site: &Site, known: &Known, secrets: &mut Secrets) {
    let origin = format!("ws://{}/", site.service.address());
    let open = async || tokio_tungstenite::client_async(&*origin, site.connect(HTTP1).await).await.unwrap().0;
    let channel = "channel-that-shows-which-app-a-person-uses";
    secrets.keep("a channelID", channel);
    let text = async |socket: &mut WebSocketStream<Box<dyn Io>>, message: String| {
        socket.send(Message::text(message)).await.unwrap();
        socket.next().await.unwrap().unwrap().into_text().unwrap().to_string()
    };
    let mut socket = open().await;
    let hello = r#"{"messageType":"hello","uaid":""}"#.to_owned();
    secrets.keep_tokens_of(&text(&mut socket, hello).await);
    let register = format!(r#"{{"messageType":"register","channelID":"{channel}"}}"#);
    let registered = text(&mut socket, register).await;
    secrets.keep_tokens_of(&registered);
    let push = path(registered.split('"').find(|word| word.contains("/p/")).unwrap());
    let body = "Wq-payload-that-comes-over-a-websocket-Wq";
    secrets.keep("a payload", body);
    let head = format!("POST {push} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Length: {}\r\n\r\n", body.len());
    secrets.keep_tokens_of(&site.ask(&(head + body)).await);
    let notification = socket.next().await.unwrap().unwrap().into_text().unwrap();
    assert!(notification.contains("notification"), "{notification}");
    secrets.keep("a body", notification.split('"').nth(15).unwrap());

    let secret = &known.set;
    let uaid = &secret[3..];
    for credential in [uaid, secret, &uaid[1..], &known.push[3..], &format!("{uaid}!"), &format!("{uaid}, {uaid}")] {
        let watch = format!("Accept: text/event-stream\r\nAuthorization: Bearer {credential}\r\n");
        site.ask(&format!("GET /wake HTTP/1.1\r\nHost: x\r\n{watch}\r\n")).await;
        site.ask(&format!("GET /wake?{credential} HTTP/1.1\r\nHost: x\r\n{watch}Urgency: {credential}\r\n\r\n")).await;
    }
    for frame in [
        Message::text(format!(r#"{{"messageType":"register","channelID":"{channel}","key":"{secret}"}}"#)),
        Message::text(format!(r#"{{"messageType":"{secret}"}}"#)),
        Message::text(format!(r#"{{"messageType":"hello","uaid":"{secret}"}}"#)),
        Message::text(format!("{secret}!")),
        Message::binary(secret.clone().into_bytes()),
        Message::Ping(secret.clone().into()),
        Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: secret.clone().into() })),
    ] {
        let mut socket = open().await;
        text(&mut socket, format!(r#"{{"messageType":"hello","uaid":"{secret}"}}"#)).await;
        let _ = socket.send(frame).await;
        let _ = tokio::time::timeout(Duration::from_millis(100), socket.next()).await;
    }
}

/// What a Chromium knows, sent correctly and incorrectly: its secret, its site, its token, a message.
pub(crate) async fn sent_by_chromium(site: &Site, known: &Known, secrets: &mut Secrets) {
    const SUBTYPE: &str = "wp:https://it-is-private-that-i-read-this.example/#B14D0AE5-9201-4F94-ADCA-EDCA053CD-V2";
    let device = first_check_in_on(site.connect(HTTP1).await).await;
    let (id, secret) = (device.id.to_string(), device.secret.to_string());
    for (what, secret) in [("a site", SUBTYPE), ("a device", &id), ("a device's secret", &secret)] {
        secrets.keep(what, secret);
    }
    let form = device.form(SUBTYPE, OLD_SENDER);
    let mut answers = Vec::new();
    let extension = device.extension_form();
    for (secret, form) in [
        (&secret[..], &extension[..]),
        (&secret, &form[..]),
        (&secret, &form[1..]),
        ("1", &form),
        (SUBTYPE, &form),
        (&secret, &format!("{form}&sender={SUBTYPE}")),
        (&secret, &format!("{form}&delete=true")),
        (&secret, &form),
    ] {
        let length = form.len();
        let post = format!(
            "POST /c2dm/register3 HTTP/1.1\r\nHost: x\r\nAuthorization: AidLogin {id}:{secret}\r\n\
             Content-Length: {length}\r\n\r\n{form}"
        );
        answers.push(site.ask(&post).await);
        secrets.keep_tokens_of(&answers[answers.len() - 1]);
    }
    let token = answers[answers.len() - 1].rsplit("token=").next().unwrap();
    let wake_token = answers[0].rsplit("token=").next().unwrap();
    for credential in [wake_token, &wake_token[1..], token] {
        let watch = format!("Accept: text/event-stream\r\nAuthorization: Bearer {credential}\r\n");
        site.ask(&format!("GET /wake HTTP/1.1\r\nHost: x\r\n{watch}\r\n")).await;
        site.ask(&format!("GET /w/{credential} HTTP/1.1\r\nHost: x\r\n{watch}\r\n")).await;
    }
    let mut stream = Chromium::over(site.connect(MCS).await);
    stream.write(&[0x29]).await;
    stream.log_in(device, &[SUBTYPE.to_owned()]).await;
    let body = "Bq---payload-for-a-chromium-that-no-other-may-read-Bq";
    secrets.keep("a payload", body);
    // Nothing else is accepted for a browser.
    let wrapped = String::from_utf8(chromium::wrapped(body.as_bytes())).unwrap();
    let length = wrapped.len();
    let head = format!(
        "POST /fcm/send/{token} HTTP/1.1\r\nHost: x\r\nTTL: 60\r\nContent-Encoding: aes128gcm\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    secrets.keep_tokens_of(&site.ask(&(head + &wrapped)).await);
    assert_eq!(stream.message().await.body(), body);
    stream.write(&chromium::frame(0, &[0x10, 99])).await;
    stream.until_closed().await;
    let wrong = chromium::Device { secret: 1, ..device };
    for login in [&login(wrong, &[])[..], &login(device, &[])[..40], known.push.as_bytes(), SUBTYPE.as_bytes()] {
        site.send(MCS, &[&[0x29], &chromium::frame(2, login)[..]].concat()).await;
        site.send(MCS, &[&[0x29], login].concat()).await;
        site.send(MCS, login).await;
    }
}
