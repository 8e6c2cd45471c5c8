//! A Chromium that works on bytes only: it checks in, registers pages and keeps a stream, as captured from a real one.
//! It reads answers with the codec's protobuf reader, and uses nothing else of the codec.

use std::io;

use bytes::Bytes;
use doorbell_protocol::mcs::wire::{Fields, Value, Writer};
use http::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, Subscription, TestService, text, within};

/// The check-in of a new profile, as Chromium 156 sent it.
const FIRST_CHECKIN: &str = "\
    10001a2a312d64613339613365653565366234623064333235356266656639353630313839306166643830373039221860\
    036a140803120e3135362e302e383037382e31303818056900000000000000007003b00100";

/// An application server key that pages may give (that of RFC 8292 s2.4).
pub const SENDER: &str = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

/// What a page without VAPID gave, so that application servers need not sign.
pub const OLD_SENDER: &str = "745476177629";

pub const SUBTYPE: &str = "wp:http://localhost:18201/#B14D0AE5-9201-4F94-ADCA-EDCA053CD-V2";

/// Doorbell's extension, whose registrations are for `GET /wake` only.
pub const EXTENSION: &str = "gkigfmlkdphhhddmngbopalgdekllnip";

/// A profile: what a browser knows after its check-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: u64,
    pub secret: u64,
}

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Posts a check-in.
pub async fn check_in(service: &TestService, body: Vec<u8>) -> Answer {
    let request = Request::post(service.origin() + "/checkin").header("content-type", "application/x-protobuf");
    service.ask(request.body(body.into()).unwrap()).await
}

/// The first check-in of a new profile.
pub async fn first_check_in(service: &TestService) -> Answer {
    check_in(service, hex(FIRST_CHECKIN)).await
}

/// The first check-in of a new profile, on a connection of its own.
pub async fn first_check_in_on(mut io: impl AsyncRead + AsyncWrite + Unpin) -> Device {
    let body = hex(FIRST_CHECKIN);
    let head =
        format!("POST /checkin HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut answer = Vec::new();
    within(async {
        io.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        // Some peers close without a close_notify of TLS.
        let _ = io.read_to_end(&mut answer).await;
    })
    .await;
    let start = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    Device::of(&Answer::new(Bytes::copy_from_slice(&answer[start..])))
}

impl Device {
    /// A new profile.
    pub async fn new(service: &TestService) -> Self {
        Self::of(&first_check_in(service).await)
    }

    /// What an answer to a check-in gives.
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status(), StatusCode::OK, "{}", text(answer));
        let fields = Stanza { tag: 0, body: answer.body().to_vec() };
        assert_eq!(fields.number(1), Some(1), "stats_ok");
        Self { id: fields.number(7).unwrap(), secret: fields.number(8).unwrap() }
    }

    /// A later check-in.
    pub fn checkin(self) -> Vec<u8> {
        Writer::new().varint(2, self.id).fixed64(13, self.secret).varint(14, 3).finish()
    }

    /// Posts a form as Chromium does.
    pub async fn post(self, service: &TestService, form: &str) -> Answer {
        let credentials = format!("AidLogin {}:{}", self.id, self.secret);
        let request = Request::post(service.origin() + "/c2dm/register3")
            .header("authorization", credentials)
            .header("content-type", "application/x-www-form-urlencoded");
        service.ask(request.body(Bytes::copy_from_slice(form.as_bytes())).unwrap()).await
    }

    /// The form of a page.
    pub fn form(self, subtype: &str, sender: &str) -> String {
        let subtype = subtype.replace('#', "%23");
        format!(
            "app=org.chromium.linux&X-subtype={subtype}&device={}&scope=GCM&X-scope=GCM&gmsv=156&appid=fGibHV8Uu-w\
             &sender={sender}",
            self.id
        )
    }

    /// Subscribes a page: its token.
    pub async fn register(self, service: &TestService, subtype: &str, sender: &str) -> String {
        let answer = self.post(service, &self.form(subtype, sender)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", text(&answer));
        text(&answer).strip_prefix("token=").unwrap().to_owned()
    }

    /// The form of the extension.
    pub fn extension_form(self) -> String {
        format!("app={EXTENSION}&device={}&sender=doorbell", self.id)
    }

    /// Registers the extension: its token.
    pub async fn wake_token(self, service: &TestService) -> String {
        let answer = self.post(service, &self.extension_form()).await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", text(&answer));
        text(&answer).strip_prefix("token=").unwrap().to_owned()
    }

    /// A page that every sender may send to: the application server's view.
    pub async fn subscribe(self, service: &TestService) -> Subscription {
        at(service, "/fcm/send/", &self.register(service, SUBTYPE, OLD_SENDER).await)
    }

    /// Logs in and expects success.
    pub async fn connect(self, service: &TestService) -> Chromium<TcpStream> {
        self.connect_with(service, &[]).await
    }

    /// The same, with a list of messages that it has received.
    pub async fn connect_with(self, service: &TestService, received: &[String]) -> Chromium<TcpStream> {
        let mut chromium = Chromium::open(service).await;
        chromium.log_in(self, received).await;
        chromium
    }
}

/// The push resource at one of Chromium's paths.
pub fn at(service: &TestService, endpoint: &str, token: &str) -> Subscription {
    let push = format!("{}{endpoint}{token}", service.origin());
    Subscription { subscription: String::new(), push, set: String::new() }
}

/// Whether a push resource is at one of Chromium's paths.
pub fn is_endpoint(push: &str) -> bool {
    ["/fcm/send/", "/wp/"].iter().any(|path| push.contains(path))
}

/// Salt, record size, the length of the key and the first byte of the key of an `aes128gcm` body (RFC 8188 s2.1).
const HEAD: [u8; 22] = [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 16, 0, 65, 4];
/// What follows: the rest of the key, and after the content the delimiter and the tag.
const KEY_REST: usize = 64;
const TAIL: usize = 17;

/// `content` where an encrypted message has its own, which no party can open.
pub fn wrapped(content: &[u8]) -> Vec<u8> {
    [&HEAD[..], &[7; KEY_REST], content, &[7; TAIL]].concat()
}

/// One stanza of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl Stanza {
    pub fn number(&self, field: u32) -> Option<u64> {
        Fields::new(&self.body).map(Result::unwrap).find(|found| found.number == field).map(|found| match found.value {
            Value::Varint(value) | Value::Fixed64(value) => value,
            _ => panic!("field {field} is no number"),
        })
    }

    pub fn bytes(&self, field: u32) -> Option<Vec<u8>> {
        let found = Fields::new(&self.body).map(Result::unwrap).find(|found| found.number == field);
        found.map(|found| found.bytes().unwrap().to_vec())
    }

    pub fn text(&self, field: u32) -> Option<String> {
        self.bytes(field).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    /// Names and values of a message's app data.
    pub fn app_data(&self) -> Vec<(String, String)> {
        let pairs = Fields::new(&self.body).map(Result::unwrap).filter(|field| field.number == 7);
        let texts =
            pairs.map(|pair| Fields::new(pair.bytes().unwrap()).map(|f| f.unwrap().text(9999).unwrap()).collect());
        texts.map(|pair: Vec<&str>| (pair[0].to_owned(), pair[1].to_owned())).collect()
    }

    pub fn persistent_id(&self) -> String {
        self.text(9).unwrap()
    }

    /// The content of a body that was [`wrapped`].
    pub fn body(&self) -> String {
        let whole = self.bytes(21).unwrap();
        let content = &whole[HEAD.len() + KEY_REST..whole.len() - TAIL];
        String::from_utf8(content.to_vec()).unwrap()
    }
}

/// One connection.
pub struct Chromium<IO> {
    io: IO,
    /// Whether the service's version byte has come.
    versioned: bool,
    /// How many stanzas have come: the number in an acknowledgement.
    pub arrived: u64,
}

impl Chromium<TcpStream> {
    /// Connects and sends its version.
    pub async fn open(service: &TestService) -> Self {
        let mut chromium = Self::over(TcpStream::connect(service.address).await.unwrap());
        chromium.write(&[0x29]).await;
        chromium
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Chromium<IO> {
    pub fn over(io: IO) -> Self {
        Self { io, versioned: false, arrived: 0 }
    }

    pub async fn log_in(&mut self, device: Device, received: &[String]) -> Stanza {
        self.send(2, &login(device, received)).await;
        let answer = self.next().await;
        assert_eq!((answer.tag, answer.bytes(3)), (3, None), "{answer:?}");
        answer
    }

    /// Sends a frame.
    pub async fn send(&mut self, tag: u8, body: &[u8]) {
        self.write(&frame(tag, body)).await;
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        within(self.io.write_all(bytes)).await.unwrap();
    }

    /// The next stanza.
    pub async fn next(&mut self) -> Stanza {
        within(self.read()).await.expect("a stanza, before the connection ends")
    }

    /// The next message, which is acknowledged at once, as `immediate_ack` demands.
    pub async fn message(&mut self) -> Stanza {
        let message = self.unacked().await;
        self.ack().await;
        message
    }

    /// The next message.
    pub async fn unacked(&mut self) -> Stanza {
        let stanza = self.next().await;
        assert_eq!(stanza.tag, 8, "{stanza:?}");
        stanza
    }

    /// Acknowledges all that has come, with the bytes that Chromium 156 sends.
    pub async fn ack(&mut self) {
        let stream_ack = Writer::new().varint(1, 13).bytes(2, "").finish();
        let iq = Writer::new().varint(2, 1).bytes(3, "").bytes(7, stream_ack).varint(10, self.arrived).finish();
        self.send(7, &iq).await;
    }

    /// The service has handled everything that was sent before, and has sent nothing but the answer to this.
    pub async fn is_answered(&mut self) {
        self.send(0, &Writer::new().varint(2, self.arrived).finish()).await;
        let answer = self.next().await;
        assert_eq!(answer.tag, 1, "{answer:?}");
    }

    /// The same, and nothing is acknowledged.
    pub async fn is_answered_without_acknowledging(&mut self) {
        self.send(0, &[]).await;
        assert_eq!(self.next().await.tag, 1);
    }

    /// Whether the service treats what was sent as HTTP.
    pub async fn is_taken_for_http(&mut self) -> bool {
        let mut received = Vec::new();
        // A reset closes too.
        let _ = within(self.io.read_to_end(&mut received)).await;
        received.is_empty() || received.starts_with(b"HTTP/1.1 400 ")
    }

    /// What the service sends before it closes.
    pub async fn until_closed(mut self) -> Vec<Stanza> {
        within(async {
            let mut received = Vec::new();
            while let Ok(stanza) = self.read().await {
                received.push(stanza);
            }
            received
        })
        .await
    }

    /// The service sends Close and closes the connection.
    pub async fn closed(self) {
        let received = self.until_closed().await;
        assert_eq!(received.last(), Some(&Stanza { tag: 4, body: Vec::new() }), "{received:?}");
    }

    async fn read(&mut self) -> io::Result<Stanza> {
        if !self.versioned {
            assert_eq!(self.io.read_u8().await?, 0x29);
            self.versioned = true;
        }
        let tag = self.io.read_u8().await?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.io.read_u8().await?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.io.read_exact(&mut body).await?;
        self.arrived += 1;
        Ok(Stanza { tag, body })
    }
}

/// The body of a login with the fields that Chromium 156 sends.
pub fn login(device: Device, received: &[String]) -> Vec<u8> {
    let (id, secret) = (device.id.to_string(), device.secret.to_string());
    let setting = Writer::new().bytes(1, "new_vc").bytes(2, "1").finish();
    let login = Writer::new().bytes(1, "chrome-156.0.8078.108").bytes(2, "mcs.android.com").bytes(3, &id);
    let login = login.bytes(4, &id).bytes(5, secret).bytes(6, format!("android-{:X}", device.id)).bytes(8, setting);
    let login = received.iter().fold(login, |login, id| login.bytes(10, id));
    login.varint(12, 0).varint(14, 1).varint(16, 2).varint(17, 1).finish()
}

/// A frame's bytes.
pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let mut length = body.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(body);
    bytes
}
