//! A proxy as most are: HTTP/2 with its clients and HTTP/1 with the service, so that no server push can pass. While the
//! service is away it answers in its place.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::front::{Faults, acceptor, service_behind};
use super::process::Running;

/// The status and the body of what the proxy answers by itself.
type OwnAnswer = Option<(u16, &'static str)>;

/// A service behind a proxy.
pub struct Proxy {
    address: SocketAddr,
    folder: TempDir,
    own: watch::Sender<OwnAnswer>,
    _service: Running,
}

impl Proxy {
    /// Starts both.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (service, behind) = service_behind(&format!("https://{address}"), folder.path());
        let acceptor = acceptor(Faults::default(), &folder.path().join("proxy-ca.pem"));
        let (own, answers) = watch::channel(None);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), behind, answers.clone()));
            }
        });
        Self { address, folder, own, _service: service }
    }

    /// Ends every stream to the service, and answers with this from now on.
    pub fn answers(&self, status: u16, body: &'static str) {
        self.own.send_replace(Some((status, body)));
    }

    /// The service is back.
    pub fn passes_on(&self) {
        self.own.send_replace(None);
    }

    pub fn origin(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("proxy-ca.pem")
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, behind: SocketAddr, own: watch::Receiver<OwnAnswer>) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        if let Ok(mut service) = TcpStream::connect(behind).await {
            copy_bidirectional(&mut stream, &mut service).await.ok();
        }
        return;
    }
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let mut own = own.clone();
        tokio::spawn(async move {
            let answer = *own.borrow_and_update();
            match answer {
                Some((status, body)) => answer_itself(respond, status, body),
                None => tokio::select! {
                    _ = own.changed() => {}
                    _ = pass(request, respond, behind) => {}
                },
            }
        });
    }
}

fn answer_itself(mut respond: SendResponse<Bytes>, status: u16, body: &'static str) {
    let head = Response::builder().status(status).header("content-type", "text/plain").body(()).expect("a head");
    if let Ok(mut stream) = respond.send_response(head, false) {
        stream.send_data(Bytes::from_static(body.as_bytes()), true).ok();
    }
}

/// One request, over a connection of its own. HTTP/1.0 needs no chunks.
async fn pass(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, behind: SocketAddr) -> Option<()> {
    let (head, mut stream) = request.into_parts();
    let mut body = BytesMut::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.ok()?;
        body.extend_from_slice(&chunk);
        stream.flow_control().release_capacity(chunk.len()).ok()?;
    }
    let host = head.uri.authority()?.as_str();
    let mut text =
        format!("{} {} HTTP/1.0\r\nhost: {host}\r\ncontent-length: {}\r\n", head.method, head.uri.path(), body.len());
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != "content-length") {
        text += &format!("{name}: {}\r\n", value.to_str().ok()?);
    }
    let mut service = TcpStream::connect(behind).await.ok()?;
    service.write_all(&[format!("{text}\r\n").as_bytes(), &body].concat()).await.ok()?;
    let mut read = BytesMut::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        (service.read_buf(&mut read).await.ok()? > 0).then_some(())?;
    };
    let mut answered = respond.send_response(response(&read[..end])?, false).ok()?;
    let rest = read.split_off(end + 4).freeze();
    pass_back(service, &mut answered, rest).await
}

fn response(head: &[u8]) -> Option<Response<()>> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let status: u16 = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields =
        fields.filter(|(name, _)| !["connection", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str()));
    fields.fold(Response::builder().status(status), |head, (name, value)| head.header(name, value)).body(()).ok()
}

async fn pass_back(mut service: TcpStream, answered: &mut SendStream<Bytes>, rest: Bytes) -> Option<()> {
    answered.send_data(rest, false).ok()?;
    let mut piece = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = service.read(&mut piece) => read.ok()?,
            // The client has enough.
            _ = std::future::poll_fn(|cx| answered.poll_reset(cx)) => return None,
        };
        answered.send_data(Bytes::copy_from_slice(&piece[..read]), read == 0).ok()?;
        if read == 0 {
            return Some(());
        }
    }
}
