//! The honest parties: an agent, its application server, newcomers and new browsers. What each of them does is timed.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{Answer, Connection, PATIENCE};
use crate::clock::Stopwatch;

/// Where they come from.
pub(crate) const SOURCE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Idle agents of one address: fewer than the agents that one source may create in a minute.
const IDLE_PER_SOURCE: usize = 250;

/// Where the idle agent with this number comes from.
pub(crate) fn source_of_idle(number: usize) -> Ipv4Addr {
    let network = u16::try_from(number / IDLE_PER_SOURCE).expect("as many connections as there are ports");
    let [high, low] = network.to_be_bytes();
    Ipv4Addr::new(127, 1, high, low.max(1))
}

/// The pauses between two messages, newcomers, and new browsers. A subscription takes 20 messages a second, and one
/// source may enrol one browser a second.
const MESSAGE_PAUSE: Duration = Duration::from_millis(100);
const NEWCOMER_PAUSE: Duration = Duration::from_millis(200);
const BROWSER_PAUSE: Duration = Duration::from_millis(1500);

/// A check-in as Chromium sends it: its version is all that is needed.
pub(crate) const CHECKIN: &[u8] = &[0x70, 0x03];

/// What is timed.
#[derive(Clone, Copy)]
pub(crate) enum Party {
    /// From the POST to the notification.
    Agent,
    /// From the POST to its answer.
    Sender,
    /// From nothing to a subscription, on a connection of its own.
    Newcomer,
    /// From nothing to an identity, on a connection of its own.
    Browser,
}

const PARTIES: [(Party, &str); 4] =
    [(Party::Agent, "agent"), (Party::Sender, "sender"), (Party::Newcomer, "newcomer"), (Party::Browser, "browser")];

/// The names of the phases.
pub(crate) const PHASES: [&str; 3] = ["before", "during", "after"];

/// What was measured, by phase and party.
#[derive(Default)]
pub(crate) struct Measured {
    phase: AtomicUsize,
    samples: Mutex<[[Samples; PARTIES.len()]; PHASES.len()]>,
}

#[derive(Default)]
struct Samples {
    times: Vec<Duration>,
    failures: usize,
    last_failure: Option<String>,
}

impl Measured {
    pub(crate) fn begin_phase(&self, phase: usize) {
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// Times one piece of work in the phase in which it begins.
    async fn time<T>(&self, party: Party, work: impl Future<Output = io::Result<T>>) -> Option<T> {
        let (phase, stopwatch) = (self.phase.load(Ordering::Relaxed), Stopwatch::start());
        let done = work.await;
        self.note(phase, party, done.as_ref().map(|_| stopwatch.elapsed()).map_err(ToString::to_string));
        done.ok()
    }

    fn note(&self, phase: usize, party: Party, outcome: Result<Duration, String>) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let samples = &mut samples[phase][party as usize];
        match outcome {
            Ok(time) => samples.times.push(time),
            Err(why) => {
                samples.failures += 1;
                samples.last_failure = Some(why);
            }
        }
    }

    /// The table, and what failed.
    pub(crate) fn table(&self) -> (String, Vec<String>) {
        let (mut table, mut faults) = (String::new(), Vec::new());
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        for (party, name) in PARTIES {
            let _ = write!(table, "  {name:<9}");
            for (phase, when) in samples.iter_mut().zip(PHASES) {
                let Samples { times, failures, last_failure } = &mut phase[party as usize];
                times.sort_unstable();
                let at = |percent: usize| {
                    times.get(times.len().saturating_sub(1) * percent / 100).map_or(0.0, |t| t.as_secs_f64() * 1000.0)
                };
                let count = times.len();
                let _ = write!(table, " | {:8.1} {:8.1} {count:5} {failures:4}", at(50), at(99));
                if let Some(why) = last_failure {
                    faults.push(format!("{name} {when}: {failures} failures, the last one: {why}"));
                }
                if count == 0 {
                    faults.push(format!("{name} {when}: nothing was done"));
                }
            }
            table.push('\n');
        }
        (table, faults)
    }
}

/// The honest parties at work. They stop when this is dropped.
pub(crate) struct Honest {
    _tasks: JoinSet<()>,
}

impl Honest {
    pub(crate) async fn start(service: SocketAddr, measured: &Arc<Measured>) -> io::Result<Self> {
        let mut agent = Connection::open(service, SOURCE).await?;
        agent.hello().await?;
        let endpoint = agent.register().await?;
        let mut tasks = JoinSet::new();
        let (notified, notifications) = mpsc::unbounded_channel();
        tasks.spawn(receive(agent, notified));
        tasks.spawn(send(service, endpoint, notifications, measured.clone()));
        tasks.spawn(newcomers(service, measured.clone()));
        tasks.spawn(browsers(service, measured.clone()));
        Ok(Self { _tasks: tasks })
    }
}

/// Acknowledges what arrives, and reports the text of each message.
async fn receive(mut agent: Connection, notified: mpsc::UnboundedSender<String>) {
    loop {
        let message = match agent.next_whenever().await {
            Ok(message) => message,
            // The sender's side sees that nothing arrives.
            Err(error) => return eprintln!("the honest agent's connection ended: {error}"),
        };
        let (channel, version) = (message["channelID"].clone(), message["version"].clone());
        let update = serde_json::json!({"channelID": channel, "version": version, "code": 100});
        let ack = serde_json::json!({"messageType": "ack", "updates": [update]});
        if let Err(error) = agent.send(&ack.to_string()).await {
            return eprintln!("the honest agent cannot acknowledge: {error}");
        }
        // The reader is gone at the end.
        let _ = notified.send(message["data"].as_str().unwrap_or_default().to_owned());
    }
}

async fn send(
    service: SocketAddr,
    endpoint: String,
    mut notifications: mpsc::UnboundedReceiver<String>,
    measured: Arc<Measured>,
) {
    let mut connection: Option<Connection> = None;
    for number in 0_u64.. {
        let text = number.to_string();
        let (phase, stopwatch) = (measured.phase.load(Ordering::Relaxed), Stopwatch::start());
        let posting = async {
            let headers = "ttl: 60\r\ncontent-encoding: aes128gcm\r\n";
            if let Some(mut kept) = connection.take()
                && let Ok(answer) = kept.request("POST", &endpoint, headers, text.as_bytes()).await
            {
                connection = Some(kept);
                return expect(201, &answer);
            }
            // A service may close an idle connection at any time: clients try again on a new one.
            let mut open = Connection::open(service, SOURCE).await?;
            let answer = open.request("POST", &endpoint, headers, text.as_bytes()).await?;
            connection = Some(open);
            expect(201, &answer)
        };
        if measured.time(Party::Sender, posting).await.is_some() {
            let expected = doorbell_protocol::base64url::encode(text.as_bytes());
            let arriving = async {
                while let Some(arrived) = notifications.recv().await {
                    if arrived == expected {
                        return Ok(stopwatch.elapsed());
                    }
                }
                Err("its connection ended".to_owned())
            };
            let arrived = timeout(PATIENCE, arriving).await;
            measured.note(phase, Party::Agent, arrived.unwrap_or_else(|_| Err("nothing arrived in time".to_owned())));
        }
        sleep(MESSAGE_PAUSE).await;
    }
}

async fn newcomers(service: SocketAddr, measured: Arc<Measured>) {
    loop {
        let subscribing = async {
            let mut connection = Connection::open(service, SOURCE).await?;
            let answer = connection.request("POST", "/subscribe", "", &[]).await?;
            expect(201, &answer)?;
            Ok((connection, answer.link("urn:ietf:params:push:set")))
        };
        if let Some((mut connection, Some(set))) = measured.time(Party::Newcomer, subscribing).await {
            // It leaves nothing behind; if it cannot, the next ones show why.
            let _ = connection.request("DELETE", &set, "", &[]).await;
        }
        sleep(NEWCOMER_PAUSE).await;
    }
}

async fn browsers(service: SocketAddr, measured: Arc<Measured>) {
    loop {
        let checking_in = async {
            let mut connection = Connection::open(service, SOURCE).await?;
            expect(200, &connection.request("POST", "/checkin", "", CHECKIN).await?)
        };
        let _ = measured.time(Party::Browser, checking_in).await;
        sleep(BROWSER_PAUSE).await;
    }
}

fn expect(status: u16, answer: &Answer) -> io::Result<()> {
    let seen = answer.status;
    if seen == status { Ok(()) } else { Err(io::Error::other(format!("{seen} instead of {status}"))) }
}
