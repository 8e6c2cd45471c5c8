//! The attacks. Each is as fast as its clients get answers, and ends when its tasks are dropped.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use h2::client::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Connection, http2};
use crate::honest::CHECKIN;

/// Clients that work at the same time in one attack.
const CLIENTS: usize = 64;
/// Addresses of an attack that comes from many.
const SOURCES: usize = 8;

/// As many WebSockets as once kept every new client out.
const WEBSOCKETS: usize = 16_381;

/// Agents with a closed window.
const CLOSED_WINDOWS: usize = 2000;

/// What a client does after it was rejected: it tries again soon.
const PAUSE: Duration = Duration::from_millis(5);

/// The longest body that every service accepts.
const BODY: [u8; 4096] = [7; 4096];

/// What is done to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Attack {
    /// One source opens WebSockets, says hello and does nothing more
    Websockets,
    /// Eight sources do the same
    Sources,
    /// 2,000 agents of eight sources hold a GET and never open their window, and are sent messages with TTL 0
    Windows,
    /// One source checks in as new browsers
    Checkins,
    /// One source subscribes, without end
    Subscribing,
    /// One source asks for a receipt subscription with each message
    Receipts,
    /// One source opens connections and leaves
    Churn,
}

/// What an attack has done.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    done: AtomicU64,
    rejected: AtomicU64,
    cut: AtomicU64,
}

impl Counts {
    fn answered(&self, status: u16) {
        let count = if status < 400 { &self.done } else { &self.rejected };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn to_text(&self) -> String {
        let [done, rejected, cut] = [&self.done, &self.rejected, &self.cut].map(|count| count.load(Ordering::Relaxed));
        format!("{done} times with success, {rejected} rejected, {cut} connections cut")
    }
}

/// What every client of an attack knows.
#[derive(Clone)]
struct Target {
    service: SocketAddr,
    counts: Arc<Counts>,
    /// The paths of push resources that the attack may use.
    endpoints: Arc<Mutex<Vec<String>>>,
}

impl Attack {
    /// Begins. `files_max`: how many connections this process may open.
    pub(crate) fn start(self, service: SocketAddr, counts: &Arc<Counts>, files_max: usize) -> JoinSet<()> {
        let target = Target { service, counts: counts.clone(), endpoints: Arc::default() };
        let mut tasks = JoinSet::new();
        for client in 0..CLIENTS {
            let (target, source, of_eight) = (target.clone(), source(0), source(client % SOURCES));
            match self {
                Self::Websockets => drop(tasks.spawn(target.hold_websockets(source, WEBSOCKETS.min(files_max)))),
                Self::Sources => drop(tasks.spawn(target.hold_websockets(of_eight, WEBSOCKETS.min(files_max)))),
                Self::Windows if client % 2 == 0 => drop(tasks.spawn(target.hold_windows(of_eight))),
                Self::Windows => drop(tasks.spawn(target.send_transient(of_eight))),
                Self::Checkins => drop(tasks.spawn(target.repeat(source, Call::CheckIn))),
                Self::Subscribing => drop(tasks.spawn(target.repeat(source, Call::Subscribe))),
                Self::Receipts => drop(tasks.spawn(target.repeat(source, Call::AskForReceipt))),
                Self::Churn => drop(tasks.spawn(target.churn(source))),
            }
        }
        tasks
    }
}

/// An attacker's address of loopback.
fn source(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(n).expect("few sources"))
}

/// A request that is repeated.
#[derive(Clone, Copy)]
enum Call {
    CheckIn,
    Subscribe,
    AskForReceipt,
}

impl Target {
    /// Opens WebSockets until all clients together hold `most`, and from then on the oldest one again.
    async fn hold_websockets(self, source: Ipv4Addr, most: usize) {
        let mut held = VecDeque::new();
        loop {
            let opening = async {
                let mut socket = Connection::open(self.service, source).await?;
                socket.hello().await?;
                Ok::<_, io::Error>(socket)
            };
            match opening.await {
                Ok(socket) => {
                    self.counts.answered(101);
                    held.push_back(socket);
                }
                Err(_) => self.cut().await,
            }
            if held.len() > most / CLIENTS {
                held.pop_front();
                sleep(PAUSE).await;
            }
        }
    }

    /// Subscribes agents that hold a GET and give the service no room for bodies.
    async fn hold_windows(self, source: Ipv4Addr) {
        let mut held = Vec::new();
        while held.len() < CLOSED_WINDOWS / (CLIENTS / 2) {
            match self.hold_window(source).await {
                Ok(window) => held.push(window),
                Err(_) => self.cut().await,
            }
        }
        std::future::pending().await
    }

    async fn hold_window(&self, source: Ipv4Addr) -> io::Result<impl Sized + use<>> {
        let mut connection = Connection::open(self.service, source).await?;
        let subscribed = connection.request("POST", "/subscribe", "", &[]).await?;
        self.counts.answered(subscribed.status);
        let missing = || io::Error::other("no subscription");
        let push = subscribed.link("urn:ietf:params:push\"").ok_or_else(missing)?;
        let set = subscribed.link("urn:ietf:params:push:set").ok_or_else(missing)?;
        drop(connection);
        let mut builder = Builder::new();
        builder.initial_window_size(0).max_concurrent_streams(100);
        let (mut requests, driver) = http2(self.service, source, &builder).await?;
        let request = http::Request::get(format!("http://localhost{set}")).body(()).map_err(io::Error::other)?;
        let (answer, _) = requests.send_request(request, true).map_err(io::Error::other)?;
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).push(push);
        Ok((requests, answer, driver))
    }

    async fn send_transient(self, source: Ipv4Addr) {
        loop {
            let Ok(mut connection) = Connection::open(self.service, source).await else {
                self.cut().await;
                continue;
            };
            loop {
                let endpoint = self.any_endpoint();
                let Some(endpoint) = endpoint else {
                    sleep(PAUSE).await;
                    continue;
                };
                let headers = "ttl: 0\r\ncontent-encoding: aes128gcm\r\n";
                match connection.request("POST", &endpoint, headers, &BODY).await {
                    Ok(answer) => self.counts.answered(answer.status),
                    Err(_) => break self.cut().await,
                }
            }
        }
    }

    fn any_endpoint(&self) -> Option<String> {
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        (!endpoints.is_empty()).then(|| endpoints[fastrand::usize(..endpoints.len())].clone())
    }

    /// Sends one request after the other.
    async fn repeat(self, source: Ipv4Addr, call: Call) {
        loop {
            let calling = async {
                let mut connection = Connection::open(self.service, source).await?;
                // Each client has a subscription of its own, because each has its own limit.
                let endpoint = match call {
                    Call::AskForReceipt => {
                        let subscribed = connection.request("POST", "/subscribe", "", &[]).await?;
                        subscribed.link("urn:ietf:params:push\"").unwrap_or_default()
                    }
                    Call::CheckIn | Call::Subscribe => String::new(),
                };
                loop {
                    let answer = match call {
                        Call::CheckIn => connection.request("POST", "/checkin", "", CHECKIN).await?,
                        Call::Subscribe => connection.request("POST", "/subscribe", "", &[]).await?,
                        Call::AskForReceipt => {
                            let headers = "ttl: 0\r\nprefer: respond-async\r\n";
                            connection.request("POST", &endpoint, headers, b"x").await?
                        }
                    };
                    self.counts.answered(answer.status);
                    if answer.status == 429 && matches!(call, Call::AskForReceipt) {
                        // This subscription has had its share: take another one.
                        return Ok::<_, io::Error>(());
                    }
                }
            };
            if calling.await.is_err() {
                self.cut().await;
            }
        }
    }

    async fn churn(self, source: Ipv4Addr) {
        loop {
            match Connection::open(self.service, source).await {
                Ok(connection) => drop(connection),
                Err(_) => self.cut().await,
            }
            self.counts.answered(200);
        }
    }

    /// A connection was rejected or ended.
    async fn cut(&self) {
        self.counts.cut.fetch_add(1, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
}
