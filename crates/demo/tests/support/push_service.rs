//! A push service of paper: keeps what it is sent, replaces by topic as in RFC 8030 s5.4, and delivers nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use doorbell_protocol::ece::aes128gcm;
use doorbell_protocol::ece::keys::AgentKeys;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::PATIENCE;

/// What waits for each subscription, by its path. Those that are not here are gone.
type Waiting = HashMap<String, Vec<Sent>>;

#[derive(Clone)]
struct Sent {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

/// A running one.
pub struct PushService {
    port: u16,
    waiting: watch::Sender<Waiting>,
    door: JoinHandle<()>,
}

/// A subscription and its keys.
pub struct Device {
    path: String,
    keys: AgentKeys,
    pub subscription: Value,
}

/// A message that waits, opened.
#[derive(Debug)]
pub struct Mail {
    pub headers: HashMap<String, String>,
    pub message: Value,
}

impl Mail {
    pub fn title(&self) -> &str {
        self.message["notification"]["title"].as_str().expect("a title")
    }
}

impl PushService {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let waiting = watch::Sender::new(Waiting::new());
        let kept = waiting.clone();
        let door = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, kept.clone()));
            }
        });
        Self { port, waiting, door }
    }

    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A new subscription.
    pub fn subscribe(&self) -> Device {
        let keys = AgentKeys::generate().expect("keys");
        let path = format!("/p/{}", self.waiting.borrow().len());
        self.waiting.send_modify(|waiting| drop(waiting.insert(path.clone(), Vec::new())));
        let subscription = json!({
            "endpoint": format!("{}{path}", self.origin()),
            "keys": { "p256dh": keys.public_key().to_base64url(), "auth": keys.auth_secret().to_base64url() },
        });
        Device { path, keys, subscription }
    }

    /// No connection is accepted any more.
    pub async fn closes(&self) {
        self.door.abort();
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {}
    }

    /// The subscription is gone: 410 from now on.
    pub fn forgets(&self, device: &Device) {
        self.waiting.send_modify(|waiting| drop(waiting.remove(&device.path)));
    }

    /// Waits until something with this title waits for the device: all that waits for it then.
    pub async fn holds(&self, title: &str, device: &Device) -> Vec<Mail> {
        let mut waiting = self.waiting.subscribe();
        let arrives = waiting.wait_for(|waiting| open(waiting, device).iter().any(|mail| mail.title() == title));
        let found = timeout(PATIENCE, arrives).await;
        let Ok(found) = found else { panic!("no {title:?} but {:?}", open(&self.waiting.borrow(), device)) };
        open(&found.expect("it runs"), device)
    }

    /// All that waits for the device now.
    pub fn waiting(&self, device: &Device) -> Vec<Mail> {
        open(&self.waiting.borrow(), device)
    }
}

fn open(waiting: &Waiting, device: &Device) -> Vec<Mail> {
    let sent = waiting.get(&device.path).into_iter().flatten();
    let read = |sent: &Sent| {
        let text = aes128gcm::decrypt(&device.keys, &sent.body).expect("it is encrypted for this device");
        Mail { headers: sent.headers.clone(), message: serde_json::from_slice(&text).expect("JSON") }
    };
    sent.map(read).collect()
}

async fn serve(stream: TcpStream, kept: watch::Sender<Waiting>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let path = line.split_whitespace().nth(1)?.to_owned();
        let mut headers = HashMap::new();
        loop {
            line.clear();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut body = vec![0; headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
        stream.read_exact(&mut body).await.ok()?;
        let is_known = kept.borrow().contains_key(&path);
        kept.send_modify(|waiting| {
            if let Some(waiting) = waiting.get_mut(&path) {
                let topic = headers.get("topic").cloned();
                waiting.retain(|sent| topic.is_none() || sent.headers.get("topic") != topic.as_ref());
                waiting.push(Sent { headers, body });
            }
        });
        let head = if is_known { "201 Created\r\nLocation: /m/1\r\nTTL: 1" } else { "410 Gone" };
        stream.write_all(format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.ok()?;
    }
}
