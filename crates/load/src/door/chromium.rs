//! Chromium's door: check-in and registration over HTTP/1.1, then MCS.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use doorbell_protocol::mcs::frame::{Decoder, Encoder, Frame, tag};
use doorbell_protocol::mcs::wire::{Fields, WireError, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::body::Stamp;
use crate::context::{Context, Receiver};
use crate::error::{Blame, LoadError, Result};
use crate::http1::Http1;
use crate::net::{Alpn, Stream};
use crate::tickets::Tickets;

/// As a Chromium on Linux calls itself.
const APP: &str = "org.chromium.linux";
/// The client in the login.
const CLIENT: &str = "chrome-156.0.0.0";
/// Bytes read at once.
const READ: usize = 2048;

/// A device with one subscription.
#[derive(Clone)]
pub(crate) struct Identity {
    id: u64,
    secret: u64,
    pub(crate) endpoint: String,
}

/// A stream after its login.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    decoder: Decoder,
    encoder: Encoder,
    /// How many stanzas have come.
    received: u32,
}

/// Becomes a device and registers unless it is `known`, then logs in.
pub(crate) async fn connect(
    context: &Context,
    key: &str,
    known: &mut Option<Identity>,
    tickets: &Arc<Tickets>,
) -> io::Result<Connection> {
    let identity = match known {
        Some(known) => known,
        None => known.insert(check_in(context, key).await.map_err(io::Error::other)?),
    };
    let stream = context.net.agent(Alpn::Silent, tickets).await?;
    let mut connection = Connection { stream, decoder: Decoder::new(), encoder: Encoder::new(), received: 0 };
    connection.write(tag::LOGIN_REQUEST, identity.login()).await?;
    let answer = connection.next().await?;
    if answer.tag != tag::LOGIN_RESPONSE || bytes_of(&answer, 3).map_err(io::Error::other)?.is_some() {
        return Err(io::Error::other("the login is refused"));
    }
    Ok(connection)
}

/// Check-in and registration, on a connection of their own.
async fn check_in(context: &Context, key: &str) -> Result<Identity> {
    let mut http = Http1::new(context.net.sender(Alpn::Http1).await.blame_service("cannot connect")?);
    let authority = context.job.target.authority();
    // The first check-in: id and secret 0, version 3.
    let question = Writer::new().varint(2, 0).fixed64(13, 0).varint(14, 3).finish();
    let head = format!(
        "POST /checkin HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/x-protobuf\r\n\
         content-length: {}\r\n\r\n",
        question.len()
    );
    let answer = http.exchange(&[head.as_bytes(), &question].concat()).await.blame_service("checking in")?;
    if answer.status != 200 {
        return Err(LoadError::Service(format!("the check-in is answered {}", answer.status)));
    }
    let (mut id, mut secret) = (0, 0);
    let malformed = "the answer to the check-in is malformed";
    for field in Fields::new(&answer.body) {
        let field = field.blame_service(malformed)?;
        match field.number {
            7 => id = field.fixed64().blame_service(malformed)?,
            8 => secret = field.fixed64().blame_service(malformed)?,
            _ => {}
        }
    }
    // Only the separators have to be escaped.
    let form = format!(
        "app={APP}&X-subtype=wp%3Ahttps%3A%2F%2Fload.invalid%2F%23{:016x}&device={id}&sender={key}&scope=GCM",
        fastrand::u64(..)
    );
    let request = format!(
        "POST /c2dm/register3 HTTP/1.1\r\nhost: {authority}\r\nauthorization: AidLogin {id}:{secret}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = http.exchange(request.as_bytes()).await.blame_service("registering")?;
    let body = String::from_utf8_lossy(&answer.body);
    let token = body.split_once("token=").map(|(_, token)| token);
    let token = token.blame_service(format_args!("the registration is answered {}", answer.status))?;
    let endpoint = format!("{}/fcm/send/{token}", context.job.target.origin);
    Ok(Identity { id, secret, endpoint })
}

impl Identity {
    /// Fields: 1 client, 2 domain, 3 user, 4 resource, 5 the secret, 6 the device, 12 to 17 as Chromium has them.
    fn login(&self) -> Writer {
        let (id, secret) = (self.id.to_string(), self.secret.to_string());
        let login = Writer::new().bytes(1, CLIENT).bytes(2, "mcs.android.com").bytes(3, &id).bytes(4, &id);
        let login = login.bytes(5, secret).bytes(6, format!("android-{:x}", self.id));
        login.varint(12, 0).varint(14, 1).varint(16, 2).varint(17, 1)
    }
}

impl Connection {
    pub(crate) async fn receive(mut self, receiver: &Receiver) -> io::Result<Infallible> {
        loop {
            let frame = self.next().await?;
            match frame.tag {
                tag::DATA_MESSAGE_STANZA => {
                    let body = bytes_of(&frame, 21).map_err(io::Error::other)?;
                    receiver.received(body.and_then(Stamp::of));
                    // An IqStanza with extension 13, an acknowledgement of the stream: at once, as for a message that
                    // asks for it.
                    let extension = Writer::new().varint(1, 13).bytes(2, "").finish();
                    let ack = Writer::new().varint(2, 1).bytes(3, "").bytes(7, extension);
                    let ack = ack.varint(10, u64::from(self.received));
                    self.write(tag::IQ_STANZA, ack).await?;
                }
                tag::HEARTBEAT_PING => {
                    let ack = Writer::new().varint(2, u64::from(self.received));
                    self.write(tag::HEARTBEAT_ACK, ack).await?;
                }
                tag::CLOSE => return Err(io::Error::other("the service closed the stream")),
                _ => {}
            }
        }
    }

    async fn next(&mut self) -> io::Result<Frame> {
        let mut bytes = [0; READ];
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(io::Error::other)? {
                self.received += 1;
                return Ok(frame);
            }
            let read = self.stream.read(&mut bytes).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.decoder.feed(&bytes[..read]);
        }
    }

    async fn write(&mut self, tag: u8, body: Writer) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.encoder.write(&Frame { tag, body: body.finish().into() }, &mut bytes);
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await
    }
}

/// Field `number` of a stanza.
fn bytes_of(frame: &Frame, number: u32) -> Result<Option<&[u8]>, WireError> {
    for field in Fields::new(&frame.body) {
        let field = field?;
        if field.number == number {
            return field.bytes().map(Some);
        }
    }
    Ok(None)
}
